//! Why a request is refused before anything sees it.

use http::StatusCode;

/// Why a request is refused before anything sees it.
///
/// One list for what the bytes of a connection show (`http`) and for what a parsed head shows (this room), so that a
/// reason has the same status and text wherever it is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reject {
    /// A line of the head, a chunk line or a trailer is malformed: bare CR or LF, a control character, a folded line, a
    /// space before the colon, no colon, a name that is not a token (RFC 9112 §2.2, §5).
    Syntax,
    /// Not `METHOD SP TARGET SP HTTP/1.x` (RFC 9112 §3).
    RequestLine,
    /// HTTP, but neither 1.0 nor 1.1 (RFC 9110 §15.6.6).
    Version,
    /// HTTP/1, but only HTTP/2 is allowed.
    Http2Only,
    /// The request target has none of the forms that its method allows, or contains bytes that no URI may have (RFC
    /// 9112 §3.2).
    Target,
    /// A percent-encoding in the path is malformed or encodes NUL.
    PathEncoding,
    /// `CONNECT`: this gateway opens no tunnels (RFC 9110 §9.3.6).
    Tunnel,
    /// No Host, several, or one that is not an authority (RFC 9112 §3.2).
    Host,
    /// The target, or `:authority`, and Host name different servers (RFC 9112 §3.2.2, RFC 9113 §8.3.1).
    HostMismatch,
    /// Content-Length is repeated or not a plain decimal number (RFC 9110 §8.6).
    ContentLength,
    /// Transfer-Encoding that is not exactly `chunked`, in HTTP/1.0 or in HTTP/2 (RFC 9112 §6.1).
    TransferEncoding,
    /// A transfer coding before `chunked`: allowed, but not implemented here (RFC 9112 §6.1).
    TransferCoding,
    /// Content-Length together with Transfer-Encoding: the classic smuggling vector (RFC 9112 §6.3).
    Ambiguous,
    /// A chunk's size, extension or end is malformed (RFC 9112 §7.1).
    Chunk,
    /// A field that is not allowed in trailers, or more trailers than the limit (RFC 9110 §6.5.1).
    Trailer,
    /// A name that differs from a framing header's only by `_` for `-`; many servers confuse the two.
    Lookalike,
    /// A field that concerns one HTTP/1 connection, in HTTP/2 (RFC 9113 §8.2.2).
    ConnectionSpecific,
    /// An expectation other than `100-continue` (RFC 9110 §10.1.1).
    Expectation,
    /// The request line exceeds its limit.
    TargetTooLong,
    /// The head exceeds its limit in bytes or fields (RFC 6585 §5).
    HeadTooLarge,
    /// The head did not arrive in time (RFC 9110 §15.5.9).
    HeadTimeout,
}

impl Reject {
    /// Every reason, for tables of counters; `as usize` is its index.
    pub const ALL: [Reject; 21] = [
        Reject::Syntax,
        Reject::RequestLine,
        Reject::Version,
        Reject::Http2Only,
        Reject::Target,
        Reject::PathEncoding,
        Reject::Tunnel,
        Reject::Host,
        Reject::HostMismatch,
        Reject::ContentLength,
        Reject::TransferEncoding,
        Reject::TransferCoding,
        Reject::Ambiguous,
        Reject::Chunk,
        Reject::Trailer,
        Reject::Lookalike,
        Reject::ConnectionSpecific,
        Reject::Expectation,
        Reject::TargetTooLong,
        Reject::HeadTooLarge,
        Reject::HeadTimeout,
    ];

    /// The status of the response.
    pub fn status(self) -> StatusCode {
        match self {
            Reject::Version | Reject::Http2Only => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            Reject::Tunnel | Reject::TransferCoding => StatusCode::NOT_IMPLEMENTED,
            Reject::Expectation => StatusCode::EXPECTATION_FAILED,
            Reject::TargetTooLong => StatusCode::URI_TOO_LONG,
            Reject::HeadTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Reject::HeadTimeout => StatusCode::REQUEST_TIMEOUT,
            _ => StatusCode::BAD_REQUEST,
        }
    }

    /// The reason in words, for the client and the log. It reveals nothing that the client did not send.
    pub fn detail(self) -> &'static str {
        match self {
            Reject::Syntax => "a line of the message is malformed",
            Reject::RequestLine => "the request line is malformed",
            Reject::Version => "only HTTP/1.0, HTTP/1.1 and HTTP/2 are spoken here",
            Reject::Http2Only => "only HTTP/2 is spoken here",
            Reject::Target => "the request target is malformed",
            Reject::PathEncoding => "a percent-encoding in the path is broken",
            Reject::Tunnel => "tunnels are not opened here",
            Reject::Host => "exactly one valid Host is needed",
            Reject::HostMismatch => "the request target and Host differ",
            Reject::ContentLength => "Content-Length is malformed",
            Reject::TransferEncoding => "Transfer-Encoding is malformed",
            Reject::TransferCoding => "the only transfer coding understood is chunked",
            Reject::Ambiguous => "Content-Length and Transfer-Encoding exclude each other",
            Reject::Chunk => "the chunked body is malformed",
            Reject::Trailer => "a trailer field is not allowed",
            Reject::Lookalike => "a header name imitates a framing header",
            Reject::ConnectionSpecific => "a connection-specific header is not allowed in HTTP/2",
            Reject::Expectation => "the only expectation understood is 100-continue",
            Reject::TargetTooLong => "the request line is too long",
            Reject::HeadTooLarge => "the request head is too large",
            Reject::HeadTimeout => "the request head did not come in time",
        }
    }

    /// The name for metrics and logs.
    pub fn name(self) -> &'static str {
        match self {
            Reject::Syntax => "syntax",
            Reject::RequestLine => "request-line",
            Reject::Version => "version",
            Reject::Http2Only => "http2-only",
            Reject::Target => "target",
            Reject::PathEncoding => "path-encoding",
            Reject::Tunnel => "tunnel",
            Reject::Host => "host",
            Reject::HostMismatch => "host-mismatch",
            Reject::ContentLength => "content-length",
            Reject::TransferEncoding => "transfer-encoding",
            Reject::TransferCoding => "transfer-coding",
            Reject::Ambiguous => "ambiguous",
            Reject::Chunk => "chunk",
            Reject::Trailer => "trailer",
            Reject::Lookalike => "lookalike",
            Reject::ConnectionSpecific => "connection-specific",
            Reject::Expectation => "expectation",
            Reject::TargetTooLong => "target-too-long",
            Reject::HeadTooLarge => "head-too-large",
            Reject::HeadTimeout => "head-timeout",
        }
    }

    /// The response body (RFC 9457), as `application/problem+json`.
    pub fn problem(self) -> String {
        let status = self.status();
        format!(
            r#"{{"type":"about:blank","title":"{}","status":{},"detail":"{}"}}"#,
            status.canonical_reason().unwrap_or_default(),
            status.as_u16(),
            self.detail()
        )
    }
}

impl std::fmt::Display for Reject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.detail())
    }
}

impl std::error::Error for Reject {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_is_listed_at_its_index_and_answers_with_an_error() {
        for (index, reject) in Reject::ALL.into_iter().enumerate() {
            assert_eq!(reject as usize, index);
            assert!(reject.status().is_client_error() || reject.status().is_server_error());
            assert!(reject.problem().contains(reject.detail()));
        }
    }
}
