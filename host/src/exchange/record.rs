//! What the access log and the metrics record about an exchange.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::Parts;

/// Whoever is told that an exchange has ended: once for each, also when the client left.
pub trait Observer: Send + Sync {
    fn started(&self);
    fn ended(&self, exchange: &mut Parts);
}

/// Facts that gather along the way.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    pub upstream: Option<Arc<str>>,
    pub endpoint: Option<Arc<str>>,
    /// How often the request was sent to an endpoint.
    pub attempts: u32,
    /// Until the response head was there, from the first attempt on.
    pub upstream_time: Option<Duration>,
    /// What the request met in the cache, in the word of the metrics; `None` where the cache was not asked.
    pub cache: Option<&'static str>,
    /// Body bytes from the client so far, where there is a body that was read.
    pub request_bytes: Option<Arc<AtomicU64>>,
    /// Body bytes to the client.
    pub response_bytes: u64,
    /// The plugin that answered, or whose failure did.
    pub answered_by: Option<Arc<str>>,
    /// Whose fault it was that it went wrong, and what it was, for the operator.
    pub fault: Option<Fault>,
    pub error: Option<Cow<'static, str>>,
    /// A plugin wants the client's stream reset.
    pub aborted: bool,
    /// The last byte of the response is with the transport.
    pub complete: bool,
}

impl Outcome {
    /// Body bytes from the client so far.
    pub fn request_bytes(&self) -> u64 {
        self.request_bytes.as_ref().map_or(0, |bytes| bytes.load(Ordering::Relaxed))
    }
}

/// Where an exchange failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The client sent what is refused.
    Request,
    /// No upstream answered, or the one that did broke off.
    Upstream,
    /// A time limit of the gateway ended it.
    TimedOut,
    /// A plugin failed and the route denies then, or a plugin ended the exchange.
    Plugin,
    /// The gateway stopped, and its drain time was over.
    ShutDown,
}
