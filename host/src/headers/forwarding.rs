//! What the gateway tells the upstream about the client, and which forwarding headers of previous proxies it trusts.

use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::uri::Scheme;
use http::{Version, request};

use super::authority;
use super::proxy_report::{Node, ProxyReport, push_host};

/// Which forwarding headers upstreams get. Per request, each costs some 50 ns and its bytes; `forwarded` costs about
/// twice that, because it is written anew each time.
///
/// A header that is turned off is still removed from requests of untrusted peers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// `X-Forwarded-For`: the addresses of the clients, the nearest last.
    pub x_forwarded_for: bool,
    /// `X-Forwarded-Proto`: the first client's scheme, `http` or `https`.
    pub x_forwarded_proto: bool,
    /// `X-Forwarded-Host`: the Host that the first client sent.
    pub x_forwarded_host: bool,
    /// `X-Forwarded-Port`: the port that the first client connected to.
    pub x_forwarded_port: bool,
    /// `Forwarded` (RFC 7239).
    pub forwarded: bool,
    /// `Via` on requests, which RFC 9110 §7.6.3 requires of gateways.
    pub via: bool,
    /// `Via` on responses, where it is optional. Off by default.
    pub response_via: bool,
    /// `X-Request-Id`: 32 hexadecimal digits, generated here, or the id from a trusted proxy.
    pub x_request_id: bool,
}

impl Default for Policy {
    fn default() -> Self {
        Policy {
            x_forwarded_for: true,
            x_forwarded_proto: true,
            x_forwarded_host: true,
            x_forwarded_port: true,
            forwarded: true,
            via: true,
            response_via: false,
            x_request_id: true,
        }
    }
}

/// The peer of a connection, prepared for the forwarding headers of its requests. Made once per connection.
#[derive(Clone, Debug)]
pub struct Client {
    address: IpAddr,
    address_text: HeaderValue,
    port: HeaderValue,
    proto: HeaderValue,
    local_authority: HeaderValue,
    /// `for=..;proto=`, to which scheme and host are appended.
    forwarded: Box<[u8]>,
}

impl Client {
    /// `local` is the address that the peer connected to.
    pub fn new(peer: SocketAddr, local: SocketAddr, scheme: &Scheme) -> Self {
        let address = peer.ip().to_canonical();
        let local_ip = SocketAddr::new(local.ip().to_canonical(), local.port());
        let mut forwarded = b"for=".to_vec();
        Node::Address(address, None).push_forwarded(&mut forwarded);
        forwarded.extend_from_slice(b";proto=");
        Client {
            address,
            address_text: text(&address.to_string()),
            port: text(&local.port().to_string()),
            proto: proto(scheme),
            local_authority: text(&local_ip.to_string()),
            forwarded: forwarded.into_boxed_slice(),
        }
    }

    /// The peer's address; an IPv4 address even if it came over an IPv6 socket.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// Replaces the Host that an HTTP/1.0 client did not send.
    pub(super) fn local_authority(&self) -> &HeaderValue {
        &self.local_authority
    }
}

/// What the gateway knows about a request once its head has been checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The client: the peer, or the client that a trusted proxy reports.
    pub client: IpAddr,
    /// The request's id, as in `X-Request-Id`.
    pub request_id: HeaderValue,
    /// The client's scheme, if a trusted proxy reports it; forwarded to upstreams.
    pub scheme: Option<Scheme>,
    /// The host that the client asked for, if a trusted proxy reports it; forwarded to upstreams.
    pub host: Option<HeaderValue>,
}

/// Replaces the client's claims by what is known.
pub(super) fn apply(
    request: &mut request::Parts,
    seen: u16,
    client: &Client,
    policy: &Policy,
    trusted: impl Fn(IpAddr) -> bool,
    random: u128,
) -> Facts {
    let has = |index: usize| seen & 1 << index != 0;
    let headers = &mut request.headers;
    let is_believed = seen != 0 && trusted(client.address);
    let mut report = ProxyReport::nothing(client.address);
    let mut request_id = None;
    if is_believed {
        report = ProxyReport::read(headers, seen, client.address, &trusted);
        request_id = believed_id(headers);
    } else if seen != 0 {
        for (index, name) in NAMES.iter().enumerate() {
            if has(index) && index != VIA {
                headers.remove(name);
            }
        }
    }

    if policy.x_forwarded_for {
        let value = continued(report.addresses, client.address_text.as_bytes());
        headers.insert(&NAMES[FOR], value.unwrap_or_else(|| client.address_text.clone()));
    }
    let proto = report.scheme.as_ref().map_or_else(|| client.proto.clone(), proto);
    if policy.forwarded {
        let asked = headers.get(header::HOST).map_or(&b""[..], HeaderValue::as_bytes);
        // If no earlier hop is reported, the report is about the peer.
        let (proto, host) = match &report.host {
            _ if !report.elements.is_empty() => (&client.proto, asked),
            Some(host) => (&proto, host.as_bytes()),
            None => (&proto, asked),
        };
        let element = forwarded_element(&client.forwarded, proto.as_bytes(), host);
        let value = continued(report.elements, &element);
        if let Some(value) = value.or_else(|| HeaderValue::from_maybe_shared(Bytes::from(element)).ok()) {
            headers.insert(&NAMES[FORWARDED], value);
        }
    }
    if policy.x_forwarded_proto {
        headers.insert(&NAMES[PROTO], proto);
    }
    if policy.x_forwarded_host {
        match report.host.as_ref().or_else(|| headers.get(header::HOST)).cloned() {
            Some(host) => headers.insert(&NAMES[HOST], host),
            None => headers.remove(&NAMES[HOST]),
        };
    }
    let port = single(headers, &NAMES[PORT]).filter(|_| is_believed);
    if policy.x_forwarded_port && !port.is_some_and(|port| is_port(port.as_bytes())) {
        let port = port_told(report.scheme.as_ref(), report.host.as_ref(), client);
        headers.insert(&NAMES[PORT], port.unwrap_or_else(|| client.port.clone()));
    }
    let request_id = request_id.unwrap_or_else(|| new_id(random));
    if policy.x_request_id {
        headers.insert(&NAMES[REQUEST_ID], request_id.clone());
    }
    if policy.via {
        headers.append(header::VIA, via(request.version));
    }
    Facts { client: report.client, request_id, scheme: report.scheme, host: report.host }
}

/// `received-protocol received-by`; the name is a pseudonym, as RFC 9110 §7.6.3 allows.
pub(super) fn via(version: Version) -> HeaderValue {
    match version {
        Version::HTTP_2 => VIA_2.clone(),
        Version::HTTP_10 => VIA_1_0.clone(),
        _ => VIA_1_1.clone(),
    }
}

static VIA_1_0: HeaderValue = HeaderValue::from_static("1.0 gatewright");
static VIA_1_1: HeaderValue = HeaderValue::from_static("1.1 gatewright");
static VIA_2: HeaderValue = HeaderValue::from_static("2 gatewright");

/// The index of a field in [`NAMES`].
pub(super) fn index(name: &str) -> Option<usize> {
    match name {
        "x-forwarded-for" => Some(FOR),
        "x-forwarded-proto" => Some(PROTO),
        "x-forwarded-host" => Some(HOST),
        "x-forwarded-port" => Some(PORT),
        "forwarded" => Some(FORWARDED),
        "x-request-id" => Some(REQUEST_ID),
        "x-real-ip" => Some(REAL_IP),
        "via" => Some(VIA),
        _ => None,
    }
}

/// The id from a trusted peer, if it is safe to use unescaped in a log line or a URL.
fn believed_id(headers: &HeaderMap) -> Option<HeaderValue> {
    let is_safe =
        |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':' | b'/' | b'+' | b'=');
    let value = single(headers, &NAMES[REQUEST_ID])?;
    let text = value.as_bytes();
    (!text.is_empty() && text.len() <= MAX_REQUEST_ID && text.iter().all(is_safe)).then(|| value.clone())
}

/// Formats 128 random bits as a request id for `X-Request-Id`.
pub fn new_id(random: u128) -> HeaderValue {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut id = Vec::with_capacity(32);
    for byte in random.to_be_bytes() {
        id.extend_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    }
    HeaderValue::from_maybe_shared(Bytes::from(id)).unwrap_or_else(|_| HeaderValue::from_static(""))
}

fn forwarded_element(prefix: &[u8], proto: &[u8], host: &[u8]) -> Vec<u8> {
    let mut element = Vec::with_capacity(prefix.len() + proto.len() + host.len() + b";host=\"\"".len());
    element.extend_from_slice(prefix);
    element.extend_from_slice(proto);
    element.extend_from_slice(b";host=");
    push_host(&mut element, host);
    element
}

/// The list with one more element. `None` if the list is empty, or if the result is no header value, which cannot
/// happen.
fn continued(mut list: Vec<u8>, last: &[u8]) -> Option<HeaderValue> {
    if list.is_empty() {
        return None;
    }
    list.extend_from_slice(b", ");
    list.extend_from_slice(last);
    HeaderValue::from_maybe_shared(Bytes::from(list)).ok()
}

/// The port that the client connected to, from the scheme and the host that a trusted proxy reports without it: that of
/// the host, otherwise the default of the scheme. `None` if the proxy reports neither.
fn port_told(scheme: Option<&Scheme>, host: Option<&HeaderValue>, client: &Client) -> Option<HeaderValue> {
    let port = host.and_then(|host| authority::port(host.as_bytes())).filter(|port| is_port(port));
    if let Some(port) = port {
        return HeaderValue::from_bytes(port).ok();
    }
    let is_https = match (scheme, host) {
        (Some(scheme), _) => *scheme == Scheme::HTTPS,
        (None, Some(_)) => client.proto == "https",
        (None, None) => return None,
    };
    Some(HeaderValue::from_static(if is_https { "443" } else { "80" }))
}

fn is_port(value: &[u8]) -> bool {
    value.len() <= 5 && super::is_decimal(value)
}

fn proto(scheme: &Scheme) -> HeaderValue {
    HeaderValue::from_static(if *scheme == Scheme::HTTPS { "https" } else { "http" })
}

/// The value of a field that occurs exactly once.
pub(super) fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

/// A header value from text that is known to be printable ASCII.
fn text(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// Maximum length of a trusted peer's id; a longer one is replaced.
const MAX_REQUEST_ID: usize = 128;

pub(super) const FOR: usize = 0;
pub(super) const PROTO: usize = 1;
pub(super) const HOST: usize = 2;
const PORT: usize = 3;
pub(super) const FORWARDED: usize = 4;
const REQUEST_ID: usize = 5;
const REAL_IP: usize = 6;
const VIA: usize = 7;

/// Fields that only a trusted peer may send. `Via` is not listed: it only describes a path, so anybody may send it.
/// This gateway does not send `X-Real-IP`, but many servers believe it.
pub(super) static NAMES: [HeaderName; 8] = [
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-forwarded-proto"),
    HeaderName::from_static("x-forwarded-host"),
    HeaderName::from_static("x-forwarded-port"),
    header::FORWARDED,
    HeaderName::from_static("x-request-id"),
    HeaderName::from_static("x-real-ip"),
    header::VIA,
];
