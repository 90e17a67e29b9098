//! What gRPC requires of intermediaries ("gRPC over HTTP2", in grpc/grpc: doc/PROTOCOL-HTTP2.md): to recognise its
//! requests, to enforce its deadlines, and to answer in its own terms.

use std::time::Duration;

use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use http::{StatusCode, Version};

use crate::exchange::ResponseHead;

/// Whether this is the head of a gRPC request: HTTP/2, and `application/grpc`, possibly with a format after it.
/// gRPC-Web is another protocol, with a name of its own.
pub fn is_request(version: Version, headers: &HeaderMap) -> bool {
    version == Version::HTTP_2 && is_message(headers)
}

/// Whether the content is gRPC's, over any version of HTTP: plugins translate from others.
pub fn is_message(headers: &HeaderMap) -> bool {
    const NAME: &[u8] = b"application/grpc";
    headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.as_bytes().split_at_checked(NAME.len()))
        .is_some_and(|(name, rest)| name.eq_ignore_ascii_case(NAME) && matches!(rest.first(), None | Some(b'+' | b';')))
}

/// The value of `grpc-timeout`: one to eight digits and a unit. `None` if it is absent or cannot be parsed: such a
/// request has no deadline here, and the server decides about it.
pub fn timeout(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(TIMEOUT)?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(count * 3600),
        "M" => Duration::from_secs(count * 60),
        "S" => Duration::from_secs(count),
        "m" => Duration::from_millis(count),
        "u" => Duration::from_micros(count),
        "n" => Duration::from_nanos(count),
        _ => return None,
    })
}

/// A response with trailers only: the head says everything, and no body follows. gRPC's HTTP status is always 200.
pub fn answer(status: StatusCode, detail: &str) -> ResponseHead {
    let mut headers = status_of(status, detail);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    ResponseHead { status: Some(StatusCode::OK), headers }
}

/// The trailers that end a response that has begun.
pub fn status_of(status: StatusCode, detail: &str) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(4);
    headers.insert(STATUS, HeaderValue::from(code(status)));
    // The gateway's sentences are plain ASCII, which needs no percent-encoding.
    if let Ok(message) = HeaderValue::from_str(detail) {
        headers.insert(MESSAGE, message);
    }
    headers
}

/// The gRPC status for one of the gateway's own HTTP statuses. Clients would translate most of them the same way
/// (doc/http-grpc-status-mapping.md), but cannot see which 504 is the deadline's, and what was too large.
fn code(status: StatusCode) -> u16 {
    const UNKNOWN: u16 = 2;
    const DEADLINE_EXCEEDED: u16 = 4;
    const PERMISSION_DENIED: u16 = 7;
    const RESOURCE_EXHAUSTED: u16 = 8;
    const UNIMPLEMENTED: u16 = 12;
    const INTERNAL: u16 = 13;
    const UNAVAILABLE: u16 = 14;
    const UNAUTHENTICATED: u16 = 16;
    match status {
        StatusCode::BAD_REQUEST | StatusCode::INTERNAL_SERVER_ERROR => INTERNAL,
        StatusCode::UNAUTHORIZED => UNAUTHENTICATED,
        StatusCode::FORBIDDEN => PERMISSION_DENIED,
        StatusCode::NOT_FOUND | StatusCode::NOT_IMPLEMENTED => UNIMPLEMENTED,
        StatusCode::PAYLOAD_TOO_LARGE | StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => RESOURCE_EXHAUSTED,
        StatusCode::REQUEST_TIMEOUT | StatusCode::GATEWAY_TIMEOUT => DEADLINE_EXCEEDED,
        StatusCode::TOO_MANY_REQUESTS | StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE => UNAVAILABLE,
        _ => UNKNOWN,
    }
}

const TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
const STATUS: HeaderName = HeaderName::from_static("grpc-status");
const MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn with(name: HeaderName, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_static(value))])
    }

    #[test]
    fn requests_are_known_by_their_content_type_in_http2() {
        for (kind, expected) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("Application/GRPC;charset=utf-8", true),
            ("application/grpc-web", false),
            ("application/grp", false),
            ("application/json", false),
        ] {
            assert_eq!(is_request(Version::HTTP_2, &with(CONTENT_TYPE, kind)), expected, "{kind}");
            assert!(!is_request(Version::HTTP_11, &with(CONTENT_TYPE, kind)), "{kind}");
        }
        assert!(!is_request(Version::HTTP_2, &HeaderMap::new()));
    }

    #[test]
    fn timeouts() {
        for (text, expected) in [
            ("1H", Some(Duration::from_secs(3600))),
            ("2M", Some(Duration::from_secs(120))),
            ("3S", Some(Duration::from_secs(3))),
            ("250m", Some(Duration::from_millis(250))),
            ("7u", Some(Duration::from_micros(7))),
            ("99999999n", Some(Duration::from_nanos(99_999_999))),
            ("99999999H", Some(Duration::from_secs(99_999_999 * 3600))),
            ("0m", Some(Duration::ZERO)),
            ("100000000n", None),
            ("S", None),
            ("", None),
            ("+1S", None),
            ("1s", None),
            ("1 S", None),
        ] {
            assert_eq!(timeout(&with(TIMEOUT, text)), expected, "{text:?}");
        }
        assert_eq!(timeout(&HeaderMap::new()), None);
    }
}
