//! A limiter that the gateway runs, so that the common case costs one call.

use std::{error, fmt, time::Duration};

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

/// The result of a [`take`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Whether the cost was taken.
    pub allowed: bool,
    /// How much can still be taken at once.
    pub remaining: u32,
    /// The time until the whole burst is available again.
    pub reset: Duration,
    /// Zero if allowed; otherwise the wait until the cost can be taken.
    pub retry_after: Duration,
}

/// Takes `cost` from the bucket `key`, whole or not at all. It is the same bucket that [`take_all`] uses for this key
/// and a token bucket with this quota. Keys are private to the plugin's configuration. Their number is bounded: the
/// gateway forgets full buckets first.
#[must_use]
pub fn take(key: &str, quota: Quota, cost: u32) -> Outcome {
    host::take(key, quota, cost)
}

/// One limit and how it counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// Capacity comes back evenly.
    TokenBucket(Quota),
    /// Each window begins with the full number of requests; what is unused at its end is lost.
    FixedWindow(Window),
    /// The count of the previous window fades out over the current one.
    SlidingWindow(Window),
}

/// `requests` in `length`. Windows follow one another without gaps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// In one window.
    pub requests: u32,
    /// In whole milliseconds, up to 49 days.
    pub length: Duration,
    /// The start of one of the windows, since 1970 (UTC), in whole milliseconds.
    pub anchor: Duration,
}

/// Why nothing was counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LimitError {
    /// More than 16 rules, or none.
    LimitExceeded,
    /// Counting is not possible now, and the operator wants requests refused in this case.
    Unavailable,
    /// Any other reason, in the gateway's words.
    Other(String),
}

impl fmt::Display for LimitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LimitExceeded => f.write_str("too many rules, or none"),
            Self::Unavailable => f.write_str("nobody can count now"),
            Self::Other(text) => f.write_str(text),
        }
    }
}

impl error::Error for LimitError {}

/// Takes `cost` under `key` from every rule, or from none. The outcomes are in the order of the rules; the cost was
/// taken if all of them allow it. Rules that differ in anything count separately.
///
/// # Errors
/// See [`LimitError`].
pub fn take_all(key: &str, rules: &[Rule], cost: u32) -> Result<Vec<Outcome>, LimitError> {
    host::take_all(key, rules, cost)
}
