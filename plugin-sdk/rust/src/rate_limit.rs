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

/// Takes `cost` from the bucket `key`, whole or not at all: from the one that [`take_all`] has under this key for a token
/// bucket of this quota. Keys are private to the plugin's configuration. Their number is bounded: the gateway forgets full
/// buckets first.
#[must_use]
pub fn take(key: &str, quota: Quota, cost: u32) -> Outcome {
    host::take(key, quota, cost)
}

/// One limit and how it counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// Room comes back evenly.
    TokenBucket(Quota),
    /// A window begins with the whole number; what is left of it is gone at its end.
    FixedWindow(Window),
    /// The count of the window before fades out over the running one.
    SlidingWindow(Window),
}

/// `requests` in `length`. Windows follow one another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// In one window.
    pub requests: u32,
    /// In whole milliseconds, up to 49 days.
    pub length: Duration,
    /// One of the windows begins then: since 1970 (UTC), in whole milliseconds.
    pub anchor: Duration,
}

/// Why nobody counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LimitError {
    /// More than 16 rules, or none.
    LimitExceeded,
    /// Nobody can count now, and the operator wants requests refused then.
    Unavailable,
    /// In the gateway's words.
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

/// Takes `cost` from what every rule has under `key`, or from none. Outcomes are in the order of the rules; it was taken
/// where all allow. Rules that differ in anything count apart.
///
/// # Errors
/// See [`LimitError`].
pub fn take_all(key: &str, rules: &[Rule], cost: u32) -> Result<Vec<Outcome>, LimitError> {
    host::take_all(key, rules, cost)
}
