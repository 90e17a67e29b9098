//! Who a request is for: Host, `:authority` and the authority of an absolute target.

use http::Version;
use http::header::{HOST, HeaderMap, HeaderValue};
use http::uri::{Authority, Scheme};

use super::Reject;

/// Leaves exactly one valid Host in the headers.
///
/// `target` is the authority in the request target: an absolute form in HTTP/1, the pseudo-headers in HTTP/2. It takes
/// precedence over Host and must not differ from it: if a request named two servers, two parties could act on different
/// ones. `default` is for HTTP/1.0 clients that name none: the address they connected to (RFC 9112 §3.3).
pub(super) fn settle(
    version: Version,
    scheme: Option<&Scheme>,
    target: Option<&Authority>,
    hosts: usize,
    headers: &mut HeaderMap,
    default: &HeaderValue,
) -> Result<(), Reject> {
    let host = match hosts {
        0 => None,
        1 => headers.get(HOST),
        _ => return Err(Reject::Host),
    };
    match (target, host) {
        (None, Some(host)) if is_valid(host.as_bytes()) => Ok(()),
        (None, None) if version < Version::HTTP_11 => {
            headers.insert(HOST, default.clone());
            Ok(())
        }
        (None, _) => Err(Reject::Host),
        (Some(target), host) => {
            let name = target.as_str();
            if !is_valid(name.as_bytes()) {
                return Err(Reject::Host);
            }
            match host {
                Some(host) if !is_valid(host.as_bytes()) => return Err(Reject::Host),
                Some(host) if !same(name.as_bytes(), host.as_bytes(), scheme) => return Err(Reject::HostMismatch),
                None if version == Version::HTTP_11 => return Err(Reject::Host),
                _ => {}
            }
            let value = HeaderValue::from_str(name).map_err(|_| Reject::Host)?;
            headers.insert(HOST, value);
            Ok(())
        }
    }
}

/// The host of a valid authority, without the trailing dot of a fully qualified name.
pub fn host(authority: &str) -> &str {
    let port = authority.rsplit_once(':').filter(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()));
    let host = port.map_or(authority, |(host, _)| host);
    host.strip_suffix('.').unwrap_or(host)
}

/// The port of a valid authority; `None` if there is none, or an empty one.
pub(super) fn port(authority: &[u8]) -> Option<&[u8]> {
    split(authority).1.filter(|port| !port.is_empty())
}

/// Checks `uri-host [ ":" port ]` (RFC 9110 §7.2): a name, an IPv4 address, or an IPv6 address in brackets; not empty,
/// without user information.
pub(super) fn is_valid(authority: &[u8]) -> bool {
    let (host, port) = split(authority);
    let port_is_valid = port.is_none_or(|port| port.len() <= 5 && port.iter().all(u8::is_ascii_digit));
    let host_is_valid = match host {
        [b'[', address @ .., b']'] => {
            std::str::from_utf8(address).is_ok_and(|address| address.parse::<std::net::Ipv6Addr>().is_ok())
        }
        _ => !host.is_empty() && host.iter().all(|&byte| IN_NAME[usize::from(byte)]),
    };
    host_is_valid && port_is_valid
}

/// Whether two authorities name the same server: hosts are compared case-insensitively, and a missing or empty port is
/// the scheme's default.
fn same(one: &[u8], other: &[u8], scheme: Option<&Scheme>) -> bool {
    let default: &[u8] = if scheme == Some(&Scheme::HTTPS) { b"443" } else { b"80" };
    let parts = |authority| (split(authority).0, port(authority).unwrap_or(default));
    let ((host, port), (other_host, other_port)) = (parts(one), parts(other));
    host.eq_ignore_ascii_case(other_host) && port == other_port
}

/// The host, and what follows the colon, if there is one.
fn split(authority: &[u8]) -> (&[u8], Option<&[u8]>) {
    match authority.iter().rposition(|&byte| byte == b':' || byte == b']') {
        Some(at) if authority.get(at) == Some(&b':') => {
            let (host, port) = authority.split_at(at);
            (host, port.get(1..))
        }
        _ => (authority, None),
    }
}

/// Unreserved characters and sub-delimiters (RFC 3986 §3.2.2). The RFC also allows percent signs, but no DNS name has
/// one, so they are refused here.
const IN_NAME: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0x21_u8;
    while byte < 0x7f {
        table[byte as usize] = byte.is_ascii_alphanumeric()
            || matches!(
                byte,
                b'-' | b'.' | b'_' | b'~' | b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'='
            );
        byte += 1;
    }
    table
};

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_is_a_host_and_perhaps_a_port() {
        for valid in
            ["a", "a.example", "A.b:80", "a:", "10.0.0.1:8080", "[::1]", "[2001:db8::1]:443", "a_b", "0.0.0.0=5000"]
        {
            assert!(is_valid(valid.as_bytes()), "{valid}");
        }
        for invalid in [
            "", ":80", "a b", "u@a", "a:b", "a:123456", "::1", "[::1", "[]", "[x]", "[::1]x", "a/b", "a%20b",
            "a\u{fc}", "a:80:80",
        ] {
            assert!(!is_valid(invalid.as_bytes()), "{invalid}");
        }
    }

    #[test]
    fn the_host_of_an_authority() {
        for (authority, expected) in [
            ("a.test", "a.test"),
            ("a.test:443", "a.test"),
            ("a.test.:443", "a.test"),
            ("a.test:", "a.test"),
            ("[::1]", "[::1]"),
            ("[::1]:443", "[::1]"),
            ("10.0.0.1:1", "10.0.0.1"),
        ] {
            assert_eq!(host(authority), expected, "{authority}");
        }
    }

    #[test]
    fn default_ports_and_case_make_no_difference() {
        let http = Some(&Scheme::HTTP);
        let https = Some(&Scheme::HTTPS);
        for (one, other, scheme, expected) in [
            ("a", "A", None, true),
            ("a:80", "a", http, true),
            ("a:", "a", http, true),
            ("a:443", "a:", https, true),
            ("a:443", "a", http, false),
            ("a", "b", http, false),
            ("[::1]:80", "[::1]", None, true),
        ] {
            assert_eq!(same(one.as_bytes(), other.as_bytes(), scheme), expected, "{one} {other}");
        }
    }
}
