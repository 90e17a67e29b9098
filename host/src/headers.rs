//! The rules about header fields at the two borders of the gateway: what a client may send, what travels on, and what
//! the gateway adds. Pure: no runtime, no clock; randomness and trust are arguments.
//!
//! [`from_downstream`] turns a request as it was received into the only form that the router, the plugins and the
//! upstream see: one valid Host, a normalised origin-form target ([`path`](mod@path)), no field that is about the
//! client's connection, and forwarding headers that can be trusted. [`from_upstream`] is its smaller counterpart for
//! the response. What cannot be put into that form without guessing is refused ([`Reject`]).
//!
//! `Upgrade` is hop-by-hop as well, so it is dropped here. A request to switch protocols is kept apart from the fields,
//! in the request's extensions; if the route does not allow it, the request continues as plain HTTP (RFC 9110 §7.8 lets
//! a server ignore it), and a client that insists gets the upstream's own answer, never a tunnel.
//!
//! Both run on every request, so they walk the fields once and touch the map only for what that walk has found; what is
//! the same for a whole connection is computed once ([`Client`]).

mod authority;
mod forwarding;
pub mod path;
mod proxy_report;
mod reject;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::uri::PathAndQuery;
use http::{Method, StatusCode, Uri, Version, request};
use smallvec::SmallVec;

pub use authority::host;
pub use forwarding::{Client, Facts, Policy, new_id};
pub use reject::Reject;

/// Checks and rewrites the head of a client's request. On `Err`, the request is refused and the connection closed.
///
/// `trusted` says whether an address is a proxy whose forwarding headers are believed. `random` is used once, for the
/// request id if one has to be generated.
pub fn from_downstream(
    request: &mut request::Parts,
    client: &Client,
    policy: &Policy,
    trusted: impl Fn(std::net::IpAddr) -> bool,
    random: u128,
) -> Result<Facts, Reject> {
    if request.method == Method::CONNECT {
        return Err(Reject::Tunnel);
    }
    let seen = look(request.version, &request.headers)?;
    settle_target(request, seen.hosts, client)?;
    strip(&mut request.headers, &seen, Direction::Request);
    if seen.cookies > 1 && request.version == Version::HTTP_2 {
        join_cookies(&mut request.headers);
    }
    Ok(forwarding::apply(request, seen.forwarding, client, policy, trusted, random))
}

/// Rewrites the head of a response from an upstream that spoke `version`. `method` is the request's.
///
/// Stating the length of the body is up to the sender. This function only removes what is not allowed: a 1xx, 204 or
/// 205 response has no meaningful Content-Length (RFC 9110 §8.6, §15.3.6).
pub fn from_upstream(method: &Method, status: StatusCode, version: Version, headers: &mut HeaderMap, policy: &Policy) {
    let mut seen = Seen::default();
    for (name, value) in headers.iter() {
        seen.note(name, value);
    }
    strip(headers, &seen, Direction::Response);
    let is_empty = status.is_informational() || matches!(status, StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT);
    if seen.content_lengths > 0 && is_empty && method != Method::HEAD {
        headers.remove(header::CONTENT_LENGTH);
    }
    if policy.response_via {
        headers.append(header::VIA, forwarding::via(version));
    }
}

/// What one pass over the fields has found.
#[derive(Default)]
struct Seen {
    hosts: usize,
    content_lengths: usize,
    cookies: usize,
    connection: bool,
    /// The fields of [`HOP_BY_HOP`] by index, followed by the two rare ones.
    hop_by_hop: u16,
    /// The fields of [`forwarding::NAMES`], by index.
    forwarding: u16,
    /// Some field name contains an underscore.
    underscore: bool,
    transfer_encoding: bool,
    te_trailers: bool,
    expectation: bool,
}

impl Seen {
    fn note(&mut self, name: &HeaderName, value: &HeaderValue) {
        let name = name.as_str();
        match name {
            "host" => self.hosts += 1,
            "content-length" => self.content_lengths += 1,
            "cookie" => self.cookies += 1,
            "connection" => self.connection = true,
            "transfer-encoding" => {
                self.transfer_encoding = true;
                self.hop_by_hop |= 1 << TRANSFER_ENCODING;
            }
            "te" => {
                self.te_trailers |= has_token(value, b"trailers");
                self.hop_by_hop |= 1 << TE;
            }
            "expect" => {
                self.expectation |= !value.as_bytes().eq_ignore_ascii_case(b"100-continue");
                self.hop_by_hop |= 1 << EXPECT;
            }
            "upgrade" => self.hop_by_hop |= 1 << UPGRADE,
            "keep-alive" => self.hop_by_hop |= 1 << KEEP_ALIVE,
            _ if name.starts_with("proxy") => match name {
                "proxy" => self.hop_by_hop |= 1 << PROXY,
                "proxy-connection" => self.hop_by_hop |= 1 << PROXY_CONNECTION,
                "proxy-authorization" => self.hop_by_hop |= 1 << PROXY_AUTHORIZATION,
                "proxy-authenticate" => self.hop_by_hop |= 1 << PROXY_AUTHENTICATE,
                "proxy-authentication-info" => self.hop_by_hop |= 1 << PROXY_AUTHENTICATION_INFO,
                _ => {}
            },
            _ => match forwarding::index(name) {
                Some(index) => self.forwarding |= 1 << index,
                None => self.underscore |= has_underscore(name),
            },
        }
    }
}

/// Passes over a request's fields once, and refuses what is never allowed.
fn look(version: Version, headers: &HeaderMap) -> Result<Seen, Reject> {
    let mut seen = Seen::default();
    for (name, value) in headers {
        seen.note(name, value);
    }
    if seen.transfer_encoding && version != Version::HTTP_11 {
        return Err(Reject::TransferEncoding);
    }
    if seen.transfer_encoding && seen.content_lengths > 0 {
        return Err(Reject::Ambiguous);
    }
    const CONNECTION_SPECIFIC: u16 = 1 << UPGRADE | 1 << KEEP_ALIVE | 1 << PROXY_CONNECTION;
    if version == Version::HTTP_2 && (seen.connection || seen.hop_by_hop & CONNECTION_SPECIFIC != 0) {
        return Err(Reject::ConnectionSpecific);
    }
    if seen.content_lengths > 0 {
        let length = headers.get(header::CONTENT_LENGTH).filter(|value| is_decimal(value.as_bytes()));
        if seen.content_lengths > 1 || length.is_none() {
            return Err(Reject::ContentLength);
        }
    }
    if seen.expectation && version != Version::HTTP_10 {
        return Err(Reject::Expectation);
    }
    if seen.underscore && headers.keys().any(|name| imitates(name.as_str(), &FRAMING)) {
        return Err(Reject::Lookalike);
    }
    Ok(seen)
}

/// Converts the target to a normalised origin form, and makes Host unique and valid.
fn settle_target(request: &mut request::Parts, hosts: usize, client: &Client) -> Result<(), Reject> {
    let scheme = request.uri.scheme();
    if scheme.is_some_and(|scheme| scheme.as_str() != "http" && scheme.as_str() != "https") {
        return Err(Reject::Target);
    }
    let authority = request.uri.authority();
    authority::settle(request.version, scheme, authority, hosts, &mut request.headers, client.local_authority())?;
    let is_absolute = authority.is_some();
    let target = request.uri.path_and_query().ok_or(Reject::Target)?;
    if target == "*" {
        if request.method != Method::OPTIONS {
            return Err(Reject::Target);
        }
    } else if let Some(normal) = path::normalise(target.as_str())? {
        request.uri = PathAndQuery::try_from(normal).map_err(|_| Reject::Target)?.into();
        return Ok(());
    }
    if is_absolute {
        // An absolute form without a path makes OPTIONS apply to the server itself (RFC 9112 §3.2.4); the parser has
        // turned it into `/`, which every server understands.
        let target = std::mem::take(&mut request.uri).into_parts().path_and_query.ok_or(Reject::Target)?;
        request.uri = Uri::from(target);
    }
    Ok(())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Request,
    Response,
}

/// Removes the fields that concern one connection: hop-by-hop fields and those that Connection names (RFC 9110 §7.6.1).
fn strip(headers: &mut HeaderMap, seen: &Seen, direction: Direction) {
    if seen.connection {
        let mut nominated: SmallVec<[HeaderName; 4]> = SmallVec::new();
        for value in headers.get_all(header::CONNECTION) {
            if !matches!(value.as_bytes(), b"keep-alive" | b"close") {
                let names = tokens(value.as_bytes()).filter(|token| !is_end_to_end(token));
                nominated.extend(names.filter_map(|token| HeaderName::from_bytes(token).ok()));
            }
        }
        headers.remove(header::CONNECTION);
        for name in nominated {
            headers.remove(name);
        }
    }
    if seen.hop_by_hop != 0 {
        for (index, name) in HOP_BY_HOP.iter().enumerate() {
            if seen.hop_by_hop & 1 << index != 0 {
                headers.remove(name);
            }
        }
        if seen.te_trailers && direction == Direction::Request {
            // The gateway forwards trailers, so it may say so; gRPC servers require it.
            headers.insert(header::TE, HeaderValue::from_static("trailers"));
        }
    }
    if seen.underscore && direction == Direction::Request {
        let imitations: Vec<HeaderName> =
            headers.keys().filter(|name| imitates(name.as_str(), &forwarding::NAMES)).cloned().collect();
        for name in imitations {
            headers.remove(name);
        }
    }
}

/// Joins cookies into one field. HTTP/2 clients may split them for better compression (RFC 9113 §8.2.3), but from here
/// on everybody expects a single field, as in HTTP/1.
fn join_cookies(headers: &mut HeaderMap) {
    let length: usize = headers.get_all(header::COOKIE).iter().map(|piece| piece.len() + 2).sum();
    let mut whole: Vec<u8> = Vec::with_capacity(length);
    let mut is_sensitive = false;
    for piece in headers.get_all(header::COOKIE) {
        if !whole.is_empty() {
            whole.extend_from_slice(b"; ");
        }
        whole.extend_from_slice(piece.as_bytes());
        is_sensitive |= piece.is_sensitive();
    }
    // Cannot fail: what is allowed in the pieces is allowed in the whole.
    if let Ok(mut whole) = HeaderValue::try_from(whole) {
        whole.set_sensitive(is_sensitive);
        headers.insert(header::COOKIE, whole);
    }
}

/// Whether Connection must not remove this field, because that would change what the message means or who it claims to
/// be from. All other fields that a client nominates are removed, as RFC 9110 §7.6.1 requires.
fn is_end_to_end(name: &[u8]) -> bool {
    const PROTECTED: [&[u8]; 12] = [
        b"host",
        b"authorization",
        b"cookie",
        b"origin",
        b"cache-control",
        b"content-length",
        b"content-type",
        b"content-encoding",
        b"te",
        b"trailer",
        b"close",
        b"date",
    ];
    let is = |other: &[u8]| name.eq_ignore_ascii_case(other);
    PROTECTED.into_iter().any(is) || forwarding::NAMES.iter().any(|other| is(other.as_str().as_bytes()))
}

/// Whether `name` equals one of `names` with `_` in place of `-`. Servers that pass fields on as environment variables
/// (CGI, WSGI, PHP) cannot tell the two apart.
fn imitates(name: &str, names: &[HeaderName]) -> bool {
    let equal = |one: u8, other: u8| one == other || (one == b'_' && other == b'-');
    name.contains('_')
        && names.iter().any(|original| {
            let original = original.as_str();
            original.len() == name.len() && name.bytes().zip(original.bytes()).all(|(one, other)| equal(one, other))
        })
}

/// Has no branch per byte, because names are short.
fn has_underscore(name: &str) -> bool {
    name.bytes().fold(false, |found, byte| found | (byte == b'_'))
}

/// Whether this is a plain decimal number: digits only, no sign, no leading zero, within 63 bits.
pub(crate) fn is_decimal(text: &[u8]) -> bool {
    match text {
        [b'0'] => true,
        [b'1'..=b'9', rest @ ..] => rest.len() < 18 && rest.iter().all(u8::is_ascii_digit),
        _ => false,
    }
}

fn has_token(value: &HeaderValue, token: &[u8]) -> bool {
    tokens(value.as_bytes()).any(|other| other.eq_ignore_ascii_case(token))
}

/// The elements of a list (RFC 9110 §5.6.1), without empty ones and without parameters.
fn tokens(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value
        .split(|&byte| byte == b',')
        .filter_map(|element| element.split(|&byte| byte == b';').next())
        .map(<[u8]>::trim_ascii)
        .filter(|element| !element.is_empty())
}

/// The fields whose imitations are refused: they decide where a message ends and whom it is for.
static FRAMING: [HeaderName; 5] =
    [header::CONTENT_LENGTH, header::TRANSFER_ENCODING, header::HOST, header::CONNECTION, header::UPGRADE];

const TRANSFER_ENCODING: usize = 0;
const TE: usize = 1;
const EXPECT: usize = 2;
const UPGRADE: usize = 3;
const KEEP_ALIVE: usize = 4;
const PROXY: usize = 5;
const PROXY_CONNECTION: usize = 6;
const PROXY_AUTHORIZATION: usize = 7;
const PROXY_AUTHENTICATE: usize = 8;
const PROXY_AUTHENTICATION_INFO: usize = 9;

/// Fields that are never forwarded. `Expect` is answered by this server and asked anew of the next. `Proxy` is not a
/// real field, but becomes `HTTP_PROXY` in CGI ("httpoxy"). `Trailer` is not listed: it belongs to the trailers, which
/// are forwarded.
static HOP_BY_HOP: [HeaderName; 10] = [
    header::TRANSFER_ENCODING,
    header::TE,
    header::EXPECT,
    header::UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHORIZATION,
    header::PROXY_AUTHENTICATE,
    HeaderName::from_static("proxy-authentication-info"),
];

#[cfg(test)]
mod tests;
