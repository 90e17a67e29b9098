//! Time. The gateway may return the same value throughout a hook.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::host::clock as host;

/// The wall clock.
#[must_use]
pub fn now() -> SystemTime {
    UNIX_EPOCH + host::now()
}

/// Time from an arbitrary point; never goes back.
#[must_use]
pub fn monotonic() -> Duration {
    Duration::from_micros(host::monotonic())
}
