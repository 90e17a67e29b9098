//! How long to wait before another attempt.

use std::time::Duration;

/// Full jitter: any time up to a bound that doubles with each attempt ("Exponential Backoff And Jitter", AWS
/// Architecture Blog, 2015). Requests that failed together do not come back together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The bound before the second attempt.
    pub base: Duration,
    /// The maximum of the bound.
    pub max: Duration,
}

impl Backoff {
    pub const DEFAULT: Backoff = Backoff { base: Duration::from_millis(25), max: Duration::from_millis(250) };

    /// The wait after the attempt with this number, the first being 1. `random` is evenly distributed.
    pub fn before(&self, attempt: u32, random: u64) -> Duration {
        let doublings = attempt.saturating_sub(1).min(31);
        let bound = self.base.saturating_mul(1 << doublings).min(self.max);
        let nanos = u64::try_from(bound.as_nanos()).unwrap_or(u64::MAX);
        // The upper half of the product is the random number scaled to the bound.
        let scaled = (u128::from(nanos) * u128::from(random)) >> 64;
        Duration::from_nanos(u64::try_from(scaled).unwrap_or(nanos))
    }
}
