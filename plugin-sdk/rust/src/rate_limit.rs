//! A limiter that the gateway runs, so that the common case costs one call.

use std::time::Duration;

use crate::host::rate_limit as host;

/// `requests` per `per`, of which `burst` may come at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// 0 lets nothing pass.
    pub requests: u32,
    /// In whole milliseconds, up to 49 days.
    pub per: Duration,
    /// 0: as many as `requests`.
    pub burst: u32,
}

/// What became of a [`take`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Whether the cost was taken.
    pub allowed: bool,
    /// How much may still be taken at once.
    pub remaining: u32,
    /// Until the whole burst is there again.
    pub reset: Duration,
    /// Zero where allowed; else the wait until the cost could be taken.
    pub retry_after: Duration,
}

/// Takes `cost` from the bucket `key`, whole or not at all. Keys are private to the plugin's configuration. Their
/// number is bounded: the gateway forgets full buckets first.
#[must_use]
pub fn take(key: &str, quota: Quota, cost: u32) -> Outcome {
    host::take(key, quota, cost)
}
