//! Writes the head of a request, and reads the head of its response.

use std::mem::MaybeUninit;
use std::sync::LazyLock;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Version};
use memchr::memmem::Finder;

use super::super::error::BadResponse;
use super::super::settings::Transport;
use crate::intake::Intake;
use crate::outgoing::write_fields;

/// `GET /path HTTP/1.1` and the fields (RFC 9112, section 3). The target is in origin form, or `*`.
pub(super) fn write<B>(request: &Request<B>, out: &mut Vec<u8>) {
    let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
    let fields = request.headers();
    out.reserve(REQUEST_BYTES.max(target.len() + FIELD_BYTES * fields.len()));
    out.extend_from_slice(request.method().as_str().as_bytes());
    out.push(b' ');
    if !target.starts_with(['/', '*']) {
        // An absolute form without a path leaves only the query (RFC 9112, section 3.2.1).
        out.push(b'/');
    }
    out.extend_from_slice(target.as_bytes());
    out.extend_from_slice(b" HTTP/1.1\r\n");
    write_fields(fields, out);
    out.extend_from_slice(b"\r\n");
}

/// Limits of a response head.
pub(super) struct Limits {
    bytes: usize,
    fields: usize,
    pub(super) response_timeout: Duration,
}

impl Limits {
    pub(super) fn of(transport: &Transport) -> Self {
        Limits {
            bytes: transport.max_header_bytes,
            fields: transport.max_headers,
            response_timeout: transport.response_timeout,
        }
    }
}

/// The heads of one response: informational ones, and the final one.
#[derive(Default)]
pub(super) struct Heads {
    /// No head ends before this position.
    searched: usize,
    /// Bytes of the informational heads so far.
    informed: usize,
}

impl Heads {
    /// Whether no informational head has arrived.
    pub(super) fn is_first(&self) -> bool {
        self.informed == 0
    }

    /// Takes the final head from the input once it is complete. Informational heads before it are skipped (RFC 9110,
    /// section 15.2), except 101, which is the last message in HTTP.
    pub(super) fn read(&mut self, input: &mut Intake, limits: &Limits) -> Result<Option<Response<()>>, BadResponse> {
        loop {
            let Some(length) = self.end(&input.bytes) else {
                return match input.bytes.len() > limits.bytes {
                    true => Err(malformed(format!("a head of more than {} bytes", limits.bytes))),
                    false => Ok(None),
                };
            };
            if length > limits.bytes {
                return Err(malformed(format!("a head of more than {} bytes", limits.bytes)));
            }
            self.searched = 0;
            let head = input.take(length);
            let response = parse(&head, limits)?;
            let is_last = !response.status().is_informational() || response.status() == StatusCode::SWITCHING_PROTOCOLS;
            if is_last {
                return Ok(Some(response));
            }
            self.informed = self.informed.saturating_add(length);
            if self.informed > limits.bytes.saturating_mul(INFORMATIONAL_HEADS) {
                return Err(BadResponse::Informational);
            }
        }
    }

    /// Length of the head with its empty line, once it is complete. Lines may end in a bare LF, as parsers allow.
    fn end(&mut self, input: &[u8]) -> Option<usize> {
        static EMPTY_LINE: LazyLock<[Finder<'static>; 2]> =
            LazyLock::new(|| [Finder::new(b"\n\r\n"), Finder::new(b"\n\n")]);
        // The parser skips empty lines before a head, so they do not end it.
        let start = input.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count().max(self.searched);
        let unsearched = input.get(start..)?;
        let [usual, bare] = &*EMPTY_LINE;
        let found = usual.find(unsearched).map(|at| at + 3);
        // A bare line end counts if it comes first; most responses have none at all.
        let before = unsearched.get(..found.unwrap_or(unsearched.len())).unwrap_or_default();
        let found = bare.find(before).map(|at| at + 2).or(found);
        if found.is_none() {
            self.searched = start.max(input.len().saturating_sub(2));
        }
        found.map(|length| start + length)
    }
}

/// Parses a complete head.
fn parse(head: &Bytes, limits: &Limits) -> Result<Response<()>, BadResponse> {
    let mut on_stack = [const { MaybeUninit::uninit() }; FIELDS_ON_STACK];
    let mut on_heap = Vec::new();
    let fields = match limits.fields {
        few @ ..=FIELDS_ON_STACK => on_stack.get_mut(..few).unwrap_or_default(),
        more => {
            on_heap.resize_with(more, MaybeUninit::uninit);
            &mut on_heap[..]
        }
    };
    let mut parsed = httparse::Response::new(&mut []);
    let config = httparse::ParserConfig::default();
    match config.parse_response_with_uninit_headers(&mut parsed, head, fields) {
        Ok(status) if status.is_complete() => {}
        Ok(_) => return Err(malformed("the head ends too early")),
        Err(httparse::Error::TooManyHeaders) => return Err(BadResponse::TooManyHeaders(limits.fields)),
        Err(error) => return Err(malformed(error)),
    }
    let mut response = Response::new(());
    let status = parsed.code.map(StatusCode::from_u16);
    *response.status_mut() = status.transpose().map_err(malformed)?.ok_or_else(|| malformed("there is no status"))?;
    *response.version_mut() = if parsed.version == Some(1) { Version::HTTP_11 } else { Version::HTTP_10 };
    *response.headers_mut() = read_fields(parsed.headers, head)?;
    Ok(response)
}

/// The fields as a map. The values share the head's bytes.
pub(super) fn read_fields(fields: &[httparse::Header<'_>], head: &Bytes) -> Result<HeaderMap, BadResponse> {
    let mut map = HeaderMap::with_capacity(fields.len());
    for field in fields {
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(malformed)?;
        let value = HeaderValue::from_maybe_shared(head.slice_ref(field.value)).map_err(malformed)?;
        map.append(name, value);
    }
    Ok(map)
}

fn malformed(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> BadResponse {
    BadResponse::Malformed(error.into())
}

/// Up to this many fields are parsed without an allocation.
const FIELDS_ON_STACK: usize = 100;

/// Estimated size of a request head: it is rarely longer than this, or than this many bytes per field.
const REQUEST_BYTES: usize = 512;
const FIELD_BYTES: usize = 48;

/// How many informational header blocks of maximum size are skipped.
const INFORMATIONAL_HEADS: usize = 4;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// What is parsed from the bytes; the same however they are cut into pieces.
    fn read(bytes: &str) -> String {
        let limits = Limits { bytes: 200, fields: 4, response_timeout: Duration::ZERO };
        let read_in = |size: usize| {
            let (mut input, mut heads) = (Intake::default(), Heads::default());
            for piece in bytes.as_bytes().chunks(size) {
                input.bytes.extend_from_slice(piece);
                match heads.read(&mut input, &limits) {
                    Ok(None) => {}
                    Ok(Some(head)) => return format!("{} {:?}", head.status().as_u16(), head.headers()),
                    Err(flaw) => return flaw.to_string(),
                }
            }
            "more".to_owned()
        };
        let whole = read_in(1000);
        assert_eq!(read_in(1), whole, "{bytes:?}");
        whole
    }

    #[test]
    fn heads() {
        let long = format!("HTTP/1.1 200 OK\r\na: {}", "x".repeat(200));
        for (bytes, expected) in [
            ("HTTP/1.1 200 OK\r\na: b\r\n\r\n", r#"200 {"a": "b"}"#),
            ("HTTP/1.1 200 OK\r\n\r\n", "200 {}"),
            ("\r\n\r\nHTTP/1.1 200 OK\r\na: b\r\n\r\n", r#"200 {"a": "b"}"#),
            ("HTTP/1.1 200\na: b\n\nrest\r\n\r\n", r#"200 {"a": "b"}"#),
            ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 E\r\na: b\r\n\r\nHTTP/1.1 204 N\r\n\r\n", "204 {}"),
            ("HTTP/1.1 101 Switching\r\nupgrade: x\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", r#"101 {"upgrade": "x"}"#),
            ("HTTP/1.1 200 OK\r\na: b\r\n", "more"),
            ("HTTP/1.1 200 OK\r\na: b\r\n\r", "more"),
            ("", "more"),
            (&long, "a head of more than 200 bytes"),
            ("HTTP/1.1 200 OK\r\na: 1\r\nb: 2\r\nc: 3\r\nd: 4\r\ne: 5\r\n\r\n", "more than 4 header fields"),
            ("nonsense\r\n\r\n", "invalid HTTP version"),
        ] {
            assert_eq!(read(bytes), expected, "{bytes:?}");
        }
    }

    #[test]
    fn a_request_is_written_as_it_is() {
        for (uri, target) in [("/a?b=c", "/a?b=c"), ("*", "*"), ("http://x?b", "/?b"), ("http://x", "/")] {
            let mut out = Vec::new();
            let request = Request::builder().method("PUT").uri(uri).header("host", "x").header("a", "\u{e9}");
            write(&request.body(()).unwrap(), &mut out);
            let expected = format!("PUT {target} HTTP/1.1\r\nhost: x\r\na: \u{e9}\r\n\r\n");
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }
}
