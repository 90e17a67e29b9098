//! What a plugin may write into a message. Pure: text in, a checked value or the reason out.
//!
//! Framing and hop-by-hop fields are the gateway's alone: a plugin that could write them could smuggle requests.
//! The host is changed only through `set-authority`, and a path is parsed again, so that what the upstream reads is
//! what the rest of the chain saw.

use http::header::{self, HeaderName, HeaderValue};
use http::uri::{Authority, PathAndQuery};
use http::{Method, StatusCode};
use smallvec::SmallVec;

use super::bindings::MutateError;

/// A header name that a plugin may set, append or remove.
pub(super) fn writable_name(name: &[u8]) -> Result<HeaderName, MutateError> {
    let name = HeaderName::from_bytes(name).map_err(|_| MutateError::InvalidSyntax)?;
    if FORBIDDEN.contains(&name) { Err(MutateError::Forbidden) } else { Ok(name) }
}

/// A header value: visible characters, spaces, tabs and bytes from 0x80; no CR, LF or NUL. Whitespace at the ends is
/// removed, as a later parser would do.
pub(super) fn value(mut bytes: &[u8]) -> Result<HeaderValue, MutateError> {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    HeaderValue::from_bytes(bytes).map_err(|_| MutateError::InvalidSyntax)
}

/// The fields of an encoded block: for each u16le name length, u32le value length, name, value.
pub(super) fn fields(mut block: &[u8]) -> Result<Fields, MutateError> {
    let mut fields = Fields::new();
    while let Some((lengths, rest)) = block.split_first_chunk::<6>() {
        let [n0, n1, v0, v1, v2, v3] = *lengths;
        let (name, rest) = split(rest, u16::from_le_bytes([n0, n1]).into())?;
        let (value, rest) = split(rest, u32::from_le_bytes([v0, v1, v2, v3]) as usize)?;
        fields.push(field(name, value)?);
        block = rest;
    }
    if block.is_empty() { Ok(fields) } else { Err(MutateError::InvalidSyntax) }
}

pub(super) type Fields = SmallVec<[(HeaderName, HeaderValue); 4]>;

fn split(block: &[u8], at: usize) -> Result<(&[u8], &[u8]), MutateError> {
    block.split_at_checked(at).ok_or(MutateError::InvalidSyntax)
}

/// Validates a field of a header block.
pub(super) fn field(name: &[u8], value: &[u8]) -> Result<(HeaderName, HeaderValue), MutateError> {
    Ok((writable_name(name)?, self::value(value)?))
}

/// A method. CONNECT is forbidden: it would turn the request into a tunnel.
pub(super) fn method(text: &str) -> Result<Method, MutateError> {
    let method = Method::from_bytes(text.as_bytes()).map_err(|_| MutateError::InvalidSyntax)?;
    if method == Method::CONNECT { Err(MutateError::Forbidden) } else { Ok(method) }
}

/// A host with an optional port, without user information, as the value of Host.
pub(super) fn authority(text: &str) -> Result<HeaderValue, MutateError> {
    let authority: Authority = text.parse().map_err(|_| MutateError::InvalidSyntax)?;
    if authority.host().is_empty() || text.contains('@') {
        return Err(MutateError::InvalidSyntax);
    }
    value(text.as_bytes())
}

/// An absolute path with an optional query. Dot segments are refused rather than resolved: a later plugin or the
/// upstream might resolve them to something that the router never saw.
pub(super) fn target(text: &str) -> Result<PathAndQuery, MutateError> {
    let parsed: PathAndQuery = text.parse().map_err(|_| MutateError::InvalidSyntax)?;
    let clean = text.starts_with('/')
        && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#')
        && parsed.path().split('/').all(|segment| !is_dots(segment));
    if clean { Ok(parsed) } else { Err(MutateError::InvalidSyntax) }
}

/// A final status, 200 to 599: 1xx is not an answer.
pub(super) fn status(code: u16) -> Result<StatusCode, MutateError> {
    match code {
        200..=599 => StatusCode::from_u16(code).map_err(|_| MutateError::InvalidSyntax),
        _ => Err(MutateError::InvalidSyntax),
    }
}

/// The fields that only the gateway sets.
static FORBIDDEN: [HeaderName; 11] = [
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::EXPECT,
    header::HOST,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("http2-settings"),
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

/// Whether a segment is one dot or two, each as itself or as `%2e`.
fn is_dots(segment: &str) -> bool {
    let (mut rest, mut dots) = (segment.as_bytes(), 0);
    while let [b'.', after @ ..] | [b'%', b'2', b'e' | b'E', after @ ..] = rest {
        (rest, dots) = (after, dots + 1);
    }
    rest.is_empty() && matches!(dots, 1 | 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for (name, expected) in [
            ("x-user", "ok"),
            ("X-User", "ok"),
            ("content-length", "forbidden"),
            ("Transfer-Encoding", "forbidden"),
            ("connection", "forbidden"),
            ("host", "forbidden"),
            ("keep-alive", "forbidden"),
            ("upgrade", "forbidden"),
            ("te", "forbidden"),
            ("expect", "forbidden"),
            ("", "invalid"),
            ("a b", "invalid"),
            ("a:", "invalid"),
            ("a\r\nb", "invalid"),
            ("a\0", "invalid"),
            (":path", "invalid"),
            ("naïve", "invalid"),
        ] {
            assert_eq!(verdict(writable_name(name.as_bytes())), expected, "{name:?}");
        }
    }

    #[test]
    fn values() {
        for (text, expected) in [
            ("plain", "ok"),
            ("", "ok"),
            ("with tab\tinside", "ok"),
            ("ümlaut", "ok"),
            ("a\r\nset-cookie: b", "invalid"),
            ("a\nb", "invalid"),
            ("a\0b", "invalid"),
        ] {
            assert_eq!(verdict(value(text.as_bytes())), expected, "{text:?}");
        }
        assert_eq!(value(b"  spaced \t").ok(), HeaderValue::from_str("spaced").ok());
    }

    #[test]
    fn blocks() {
        let field = |name: &[u8], value: &[u8]| {
            let lengths = [&(name.len() as u16).to_le_bytes()[..], &(value.len() as u32).to_le_bytes()].concat();
            [&lengths, name, value].concat()
        };
        let two = [field(b"x-a", b"1"), field(b"x-b", b"")].concat();
        assert_eq!(verdict(fields(&two)), "ok");
        assert_eq!(fields(&two).unwrap_or_default().len(), 2);
        assert_eq!(verdict(fields(b"")), "ok");
        assert_eq!(verdict(fields(&field(b"x-a", b"\xff"))), "ok", "what encoded-headers shows can be set");
        for (block, expected) in [
            (two[..two.len() - 1].to_vec(), "invalid"),
            (two[..3].to_vec(), "invalid"),
            (field(b"", b"1"), "invalid"),
            (field(b"x-a", b"1\r\n"), "invalid"),
            (field(b"\xff", b"1"), "invalid"),
            ([field(b"x-a", b"1"), field(b"content-length", b"1")].concat(), "forbidden"),
            (vec![0xff; 6], "invalid"),
        ] {
            assert_eq!(verdict(fields(&block)), expected, "{block:?}");
        }
    }

    #[test]
    fn paths() {
        for (text, expected) in [
            ("/", "ok"),
            ("/a/b?c=d", "ok"),
            ("/a%20b", "ok"),
            ("a", "invalid"),
            ("", "invalid"),
            ("*", "invalid"),
            ("http://other/", "invalid"),
            ("/a b", "invalid"),
            ("/a\r\nX: y", "invalid"),
            ("/a#b", "invalid"),
            ("/a/../b", "invalid"),
            ("/a/%2E%2e/b", "invalid"),
            ("/./b", "invalid"),
            ("/a/.%2E", "invalid"),
            ("/%2e", "invalid"),
            ("/...", "ok"),
            ("/.a/%2e%2", "ok"),
        ] {
            assert_eq!(verdict(target(text)), expected, "{text:?}");
        }
    }

    #[test]
    fn methods_authorities_and_statuses() {
        assert_eq!(verdict(method("PATCH")), "ok");
        assert_eq!(verdict(method("CONNECT")), "forbidden");
        assert_eq!(verdict(method("GE T")), "invalid");
        assert_eq!(verdict(authority("example.com:80")), "ok");
        assert_eq!(verdict(authority("[::1]:80")), "ok");
        assert_eq!(verdict(authority("user@example.com")), "invalid");
        assert_eq!(verdict(authority("a/b")), "invalid");
        for (code, expected) in [(0, "invalid"), (100, "invalid"), (101, "invalid"), (200, "ok"), (599, "ok")] {
            assert_eq!(verdict(status(code)), expected, "{code}");
        }
        assert_eq!(verdict(status(600)), "invalid");
    }

    fn verdict<T>(result: Result<T, MutateError>) -> &'static str {
        match result {
            Ok(_) => "ok",
            Err(MutateError::Forbidden) => "forbidden",
            Err(MutateError::InvalidSyntax) => "invalid",
            Err(_) => "other",
        }
    }
}
