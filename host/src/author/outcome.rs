//! The outcome of one exchange.

use bytes::Bytes;
use http::HeaderMap;

use crate::exchange::Caller;

/// Everything that a case may look at.
#[derive(Default)]
pub struct Outcome {
    /// The request as the upstream gets it, where it got there.
    pub forwarded: Option<Forwarded>,
    /// The response as the client gets it; none where the stream was reset.
    pub response: Option<Received>,
    /// A plugin wanted the stream reset.
    pub aborted: bool,
    /// What is said of the hook that failed.
    pub failed: Option<String>,
    pub upstream: Option<String>,
    pub identity: Option<Caller>,
    pub attributes: Vec<(String, String)>,
    /// By name and values of labels, as a case writes them.
    pub metrics: Vec<(String, f64)>,
    /// Calls that no fixture answers.
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
