//! What the gateway says about the client to the upstream, and what it believes of others who said it before.

use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::uri::Scheme;
use http::{Version, request};

use super::authority;

/// Which forwarding headers the upstream gets. Each costs some 50 ns and its bytes per request,
/// `forwarded` about twice that, because it is written anew each time.
///
/// A header that is off is still taken away from requests of peers that are not trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// `X-Forwarded-For`: the addresses of the clients, the nearest last.
    pub x_forwarded_for: bool,
    /// `X-Forwarded-Proto`: `http` or `https`, as the first client spoke.
    pub x_forwarded_proto: bool,
    /// `X-Forwarded-Host`: the Host that the first client sent.
    pub x_forwarded_host: bool,
    /// `X-Forwarded-Port`: the port that the first client connected to.
    pub x_forwarded_port: bool,
    /// `Forwarded` (RFC 7239).
    pub forwarded: bool,
    /// `Via` on requests, which RFC 9110 §7.6.3 demands of gateways.
    pub via: bool,
    /// `Via` on responses, where it is optional. Off by default.
    pub response_via: bool,
    /// `X-Request-Id`: 32 hexadecimal digits, made here or by a trusted proxy.
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

/// The peer of a connection as its requests will present it: made once per connection.
#[derive(Clone, Debug)]
pub struct Client {
    address: IpAddr,
    address_text: HeaderValue,
    port: HeaderValue,
    proto: HeaderValue,
    local_authority: HeaderValue,
    /// `for=..;proto=..;host=`, to which the host is added.
    forwarded: Box<str>,
}

impl Client {
    /// `local` is the address that the peer connected to.
    pub fn new(peer: SocketAddr, local: SocketAddr, scheme: &Scheme) -> Self {
        let address = peer.ip().to_canonical();
        let proto = if *scheme == Scheme::HTTPS { "https" } else { "http" };
        let node = match address {
            IpAddr::V4(address) => address.to_string(),
            IpAddr::V6(address) => format!("\"[{address}]\""),
        };
        let local_ip = SocketAddr::new(local.ip().to_canonical(), local.port());
        Client {
            address,
            address_text: text(&address.to_string()),
            port: text(&local.port().to_string()),
            proto: HeaderValue::from_static(proto),
            local_authority: text(&local_ip.to_string()),
            forwarded: format!("for={node};proto={proto};host=").into_boxed_str(),
        }
    }

    /// The peer's address; IPv4 also where it came over an IPv6 socket.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// What stands in for a Host that an HTTP/1.0 client did not send.
    pub(super) fn local_authority(&self) -> &HeaderValue {
        &self.local_authority
    }
}

/// What the gateway knows of a request once its head is in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The client: the peer, or who it stands for if it is a trusted proxy.
    pub client: IpAddr,
    /// The request's id; also what `X-Request-Id` says.
    pub request_id: HeaderValue,
}

/// Replaces what the client claims by what is known.
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
    let is_trusted = trusted(client.address);
    let mut address = client.address;
    let mut request_id = None;
    if seen != 0 && is_trusted {
        address = first_untrusted(headers, client.address, &trusted);
        request_id = believed_id(headers);
    } else if seen != 0 {
        for (index, name) in NAMES.iter().enumerate() {
            if has(index) && index != VIA {
                headers.remove(name);
            }
        }
    }
    let chain = is_trusted && seen != 0;

    if policy.x_forwarded_for {
        let value = if chain && has(FOR) { joined(headers, &NAMES[FOR], client.address_text.as_bytes()) } else { None };
        headers.insert(&NAMES[FOR], value.unwrap_or_else(|| client.address_text.clone()));
    }
    if policy.forwarded {
        let host = headers.get(header::HOST).map_or(&b""[..], HeaderValue::as_bytes);
        let element = forwarded_element(&client.forwarded, host);
        let value = if chain && has(FORWARDED) { joined(headers, &NAMES[FORWARDED], &element) } else { None };
        if let Some(value) = value.or_else(|| HeaderValue::from_maybe_shared(Bytes::from(element)).ok()) {
            headers.insert(&NAMES[FORWARDED], value);
        }
    }
    let believed = |headers: &HeaderMap, index: usize, is_sane: fn(&[u8]) -> bool| {
        chain && has(index) && single(headers, &NAMES[index]).is_some_and(|value| is_sane(value.as_bytes()))
    };
    if policy.x_forwarded_proto && !believed(headers, PROTO, |value| matches!(value, b"http" | b"https")) {
        headers.insert(&NAMES[PROTO], client.proto.clone());
    }
    if policy.x_forwarded_host && !believed(headers, HOST, authority::is_valid) {
        match headers.get(header::HOST).cloned() {
            Some(host) => headers.insert(&NAMES[HOST], host),
            None => headers.remove(&NAMES[HOST]),
        };
    }
    let is_port = |value: &[u8]| value.len() <= 5 && super::is_decimal(value);
    if policy.x_forwarded_port && !believed(headers, PORT, is_port) {
        headers.insert(&NAMES[PORT], client.port.clone());
    }
    let request_id = request_id.unwrap_or_else(|| new_id(random));
    if policy.x_request_id {
        headers.insert(&NAMES[REQUEST_ID], request_id.clone());
    }
    if policy.via {
        headers.append(header::VIA, via(request.version));
    }
    Facts { client: address, request_id }
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

/// The place of a field in [`NAMES`].
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

/// Walks the chain of addresses from the nearest to the farthest and stops at the first that is not a trusted proxy:
/// what stands to the left of it may be invented. Something that is no address ends the walk as well.
fn first_untrusted(headers: &HeaderMap, peer: IpAddr, trusted: impl Fn(IpAddr) -> bool) -> IpAddr {
    let mut client = peer;
    let values: smallvec::SmallVec<[&HeaderValue; 4]> = headers.get_all(&NAMES[FOR]).iter().collect();
    for element in values.into_iter().rev().flat_map(|value| value.as_bytes().rsplit(|&byte| byte == b',')) {
        let Some(address) = parse_node(element.trim_ascii()) else { break };
        client = address;
        if !trusted(address) {
            break;
        }
    }
    client
}

/// An address, perhaps with a port, perhaps in brackets.
fn parse_node(node: &[u8]) -> Option<IpAddr> {
    let node = std::str::from_utf8(node).ok()?;
    let bare = node.strip_prefix('[').and_then(|node| node.strip_suffix(']')).unwrap_or(node);
    let address = bare.parse().or_else(|_| node.parse::<SocketAddr>().map(|node| node.ip())).ok()?;
    Some(address.to_canonical())
}

/// The id that a trusted peer sent, if it is one that can be put into a log line or a URL as it is.
fn believed_id(headers: &HeaderMap) -> Option<HeaderValue> {
    let is_safe =
        |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':' | b'/' | b'+' | b'=');
    let value = single(headers, &NAMES[REQUEST_ID])?;
    let text = value.as_bytes();
    (!text.is_empty() && text.len() <= MAX_REQUEST_ID && text.iter().all(is_safe)).then(|| value.clone())
}

/// A request id of 128 random bits, as `X-Request-Id` writes it.
pub fn new_id(random: u128) -> HeaderValue {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut id = Vec::with_capacity(32);
    for byte in random.to_be_bytes() {
        id.extend_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    }
    HeaderValue::from_maybe_shared(Bytes::from(id)).unwrap_or_else(|_| HeaderValue::from_static(""))
}

fn forwarded_element(prefix: &str, host: &[u8]) -> Vec<u8> {
    let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    let mut element = Vec::with_capacity(prefix.len() + host.len() + 2);
    element.extend_from_slice(prefix.as_bytes());
    if !host.is_empty() && host.iter().all(is_token) {
        element.extend_from_slice(host);
    } else {
        // A valid authority has neither quotes nor backslashes, so a quoted string needs no escapes.
        element.push(b'"');
        element.extend_from_slice(host);
        element.push(b'"');
    }
    element
}

/// All values of a field and one more, as one list. `None` only if that is no header value, which cannot be.
fn joined(headers: &HeaderMap, name: &HeaderName, last: &[u8]) -> Option<HeaderValue> {
    let mut list = Vec::with_capacity(128);
    for value in headers.get_all(name) {
        list.extend_from_slice(value.as_bytes());
        list.extend_from_slice(b", ");
    }
    list.extend_from_slice(last);
    HeaderValue::from_maybe_shared(Bytes::from(list)).ok()
}

/// The value of a field that comes exactly once.
fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

/// A header value of text that is known to be printable ASCII.
fn text(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// A longer id from a trusted peer is replaced.
const MAX_REQUEST_ID: usize = 128;

const FOR: usize = 0;
const PROTO: usize = 1;
const HOST: usize = 2;
const PORT: usize = 3;
const FORWARDED: usize = 4;
const REQUEST_ID: usize = 5;
const REAL_IP: usize = 6;
const VIA: usize = 7;

/// What only a trusted peer may say; `Via` only describes a path, so anybody may. `X-Real-IP` is not sent by this
/// gateway, but many servers believe it.
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
