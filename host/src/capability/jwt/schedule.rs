//! When a JWKS document is fetched next, and when its keys are too old. Pure: time and randomness are arguments.

use std::time::{Duration, Instant};

/// The times of fetching. The defaults are the ones the gateway uses.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Timing {
    /// From one successful fetch to the next, if the response does not say. 10 minutes.
    pub refresh: Duration,
    /// The limits for a response's `max-age`. 1 minute to 1 hour.
    pub refresh_bounds: (Duration, Duration),
    /// The first wait after a failure, doubled by each further one up to the second value. 1 second to 5 minutes; a
    /// random part of up to a half is subtracted, so that gateways do not ask in step.
    pub retry: (Duration, Duration),
    /// The least time between fetches caused by unknown keys, however many tokens name them. 30 seconds.
    pub pause: Duration,
    /// How long the last good keys of an address stay valid while fetches fail. 24 hours. The keys of a file never
    /// expire.
    pub stale: Duration,
    /// Time limit for one fetch. 10 seconds.
    pub timeout: Duration,
    /// How often a file is checked. 5 seconds.
    pub poll: Duration,
}

impl Default for Timing {
    fn default() -> Timing {
        let seconds = Duration::from_secs;
        Timing {
            refresh: seconds(600),
            refresh_bounds: (seconds(60), seconds(3_600)),
            retry: (seconds(1), seconds(300)),
            pause: seconds(30),
            stale: seconds(24 * 3_600),
            timeout: seconds(10),
            poll: seconds(5),
        }
    }
}

/// The relevant history of one document's fetches.
#[derive(Debug)]
pub(super) struct Schedule {
    timing: Timing,
    failures: u32,
    last_good: Option<Instant>,
}

impl Schedule {
    pub(super) fn new(timing: Timing) -> Schedule {
        Schedule { timing, failures: 0, last_good: None }
    }

    /// After a good fetch that ended at `now`: how long to wait for the next.
    pub(super) fn succeeded(&mut self, max_age: Option<Duration>, now: Instant) -> Duration {
        self.failures = 0;
        self.last_good = Some(now);
        let (shortest, longest) = self.timing.refresh_bounds;
        max_age.map_or(self.timing.refresh, |max_age| max_age.clamp(shortest, longest))
    }

    /// After a failed fetch. `random` is from 0 to 1.
    pub(super) fn failed(&mut self, random: f64) -> Duration {
        let (first, longest) = self.timing.retry;
        let wait = first.saturating_mul(2u32.saturating_pow(self.failures)).min(longest);
        self.failures = self.failures.saturating_add(1);
        wait.mul_f64(1.0 - random.clamp(0.0, 1.0) / 2.0)
    }

    /// Whether the last good keys may still be used at `now`.
    pub(super) fn is_fresh(&self, now: Instant) -> bool {
        self.last_good.is_some_and(|good| now.saturating_duration_since(good) < self.timing.stale)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits() {
        let (start, seconds) = (Instant::now(), Duration::from_secs);
        let mut schedule = Schedule::new(Timing::default());
        assert!(!schedule.is_fresh(start));
        let waits: Vec<_> = (0..12).map(|_| schedule.failed(0.0).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]);
        assert_eq!(schedule.failed(1.0), seconds(150));
        for _ in 0..100 {
            assert!(schedule.failed(0.5) <= seconds(300));
        }
        for (max_age, expected) in [(None, 600), (Some(5), 60), (Some(120), 120), (Some(1 << 40), 3_600)] {
            assert_eq!(schedule.succeeded(max_age.map(seconds), start), seconds(expected));
        }
        assert_eq!(schedule.failed(0.0), seconds(1), "a success starts over");
        assert!(schedule.is_fresh(start + seconds(24 * 3_600 - 1)));
        assert!(!schedule.is_fresh(start + seconds(24 * 3_600)));
    }
}
