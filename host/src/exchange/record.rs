//! What the access log and the metrics record about an exchange.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::Parts;

/// Told when an exchange starts and ends: exactly once for each, even if the client disconnected.
pub trait Observer: Send + Sync {
    fn started(&self);
    fn ended(&self, exchange: &mut Parts);
}

/// Facts that are gathered along the way.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    pub upstream: Option<Arc<str>>,
    pub endpoint: Option<Arc<str>>,
    /// How often the request was sent to an endpoint.
    pub attempts: u32,
    /// From the first attempt until the response head arrived.
    pub upstream_time: Option<Duration>,
    /// How the cache dealt with the request, by its name in the metrics; `None` if the cache was not asked.
    pub cache: Option<&'static str>,
    /// Body bytes received from the client so far, if there is a body and it was read.
    pub request_bytes: Option<Arc<AtomicU64>>,
    /// Body bytes sent to the client.
    pub response_bytes: u64,
    /// The plugin or service that answered, or whose failure was answered with an error.
    pub answered_by: Option<Arc<str>>,
    /// Whose fault the error was.
    pub fault: Option<Fault>,
    /// What went wrong, for the operator.
    pub error: Option<Cow<'static, str>>,
    /// Whether the client's own deadline has ended the response body, if there is such a deadline.
    pub overdue: Option<Arc<AtomicBool>>,
    /// A plugin wants the client's stream reset.
    pub aborted: bool,
    /// The last byte of the response has been handed to the transport.
    pub complete: bool,
}

impl Outcome {
    /// Body bytes received from the client so far.
    pub fn request_bytes(&self) -> u64 {
        self.request_bytes.as_ref().map_or(0, |bytes| bytes.load(Ordering::Relaxed))
    }

    /// Whether the client's own deadline has ended the response body.
    pub fn is_overdue(&self) -> bool {
        self.overdue.as_ref().is_some_and(|overdue| overdue.load(Ordering::Relaxed))
    }
}

/// Where an exchange failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The client sent something that is refused.
    Request,
    /// The client left before it had sent the whole request.
    ClientLeft,
    /// No upstream answered, or its response broke off.
    Upstream,
    /// A time limit of the gateway ended it.
    TimedOut,
    /// A plugin failed and the request was denied, or a plugin ended the exchange.
    Plugin,
    /// The gateway shut down, or the listener was removed, and the drain time was over.
    ShutDown,
}
