//! When an endpoint is probed next.

use std::time::Duration;

/// The schedule of probes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// From the start of one probe to the start of the next.
    pub interval: Duration,
    /// By how many percent an interval may be longer or shorter.
    pub jitter: u8,
}

impl Schedule {
    /// How long to wait for the first probe. New endpoints are probed soon, though not all at the same moment. Known
    /// ones (after a reload) wait for a random part of the interval, so that a reload causes no burst. `random` is from
    /// 0 to 1.
    pub fn first(&self, known: bool, random: f64) -> Duration {
        let span = if known { self.interval } else { self.interval.min(Duration::from_secs(5)) / 20 };
        span.mul_f64(random.clamp(0.0, 1.0))
    }

    /// How long to wait for the next probe after one that took this long.
    pub fn next(&self, took: Duration, random: f64) -> Duration {
        let jitter = f64::from(self.jitter.min(100)) / 100.0;
        let factor = 1.0 + jitter * (2.0 * random.clamp(0.0, 1.0) - 1.0);
        self.interval.mul_f64(factor).saturating_sub(took)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn probes_keep_their_rhythm(
            interval in 100..86_400_000_u64, jitter in 0..50_u8, random in 0.0..1.0_f64, known: bool, took in 0..200_u64,
        ) {
            let schedule = Schedule { interval: Duration::from_millis(interval), jitter };
            let first = schedule.first(known, random);
            prop_assert!(first <= schedule.interval);
            prop_assert!(known || first <= Duration::from_millis(250));
            let took = Duration::from_millis(took);
            let whole = (schedule.next(took, random) + took).as_secs_f64();
            let (least, most) = (1.0 - f64::from(jitter) / 100.0, 1.0 + f64::from(jitter) / 100.0);
            let interval = schedule.interval.as_secs_f64();
            prop_assert!(whole >= interval * least - 1e-6);
            prop_assert!(whole <= (interval * most).max(took.as_secs_f64()) + 1e-6);
        }
    }
}
