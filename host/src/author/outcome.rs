//! The outcome of one exchange.

use bytes::Bytes;
use http::HeaderMap;

use crate::exchange::Caller;

/// Everything that a case may check.
#[derive(Default)]
pub struct Outcome {
    /// The request as the upstream gets it, if it got that far.
    pub forwarded: Option<Forwarded>,
    /// The response as the client gets it; `None` if the stream was reset.
    pub response: Option<Received>,
    /// Whether a plugin reset the stream.
    pub aborted: bool,
    /// The error of the hook that failed.
    pub failed: Option<String>,
    pub upstream: Option<String>,
    pub identity: Option<Caller>,
    pub attributes: Vec<(String, String)>,
    /// By name and label values, in the notation of cases.
    pub metrics: Vec<(String, f64)>,
    /// Calls without a matching fixture.
    pub unanswered: Vec<String>,
}

pub struct Forwarded {
    pub method: String,
    pub path: String,
    pub host: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

pub struct Received {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}
