//! A circuit breaker: takes a plugin out of the path when it keeps failing, and probes whether it has recovered.
//!
//! Only consecutive failures count: one successful call closes the breaker again, so that a request made to crash a
//! plugin cannot take it away from everybody else. Each hook has its own breaker: the success of a request hook does
//! not make up for a body hook that always fails. A looping plugin takes a core's time up to its limit; so two timeouts
//! in a row are enough, and the breaker then stays open for long compared with what one cost. Until it has succeeded,
//! initially and after a timeout, it is suspect: it runs where it delays nobody else.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::telemetry::metrics::Hook;

/// The circuit breakers of one plugin, one per hook.
#[derive(Debug)]
pub struct Breakers {
    hooks: [Breaker; Hook::ALL.len()],
    /// No hook of the plugin has succeeded yet.
    unproven: AtomicBool,
}

impl Breakers {
    pub fn new(settings: Settings) -> Breakers {
        Breakers { hooks: std::array::from_fn(|_| Breaker::new(settings)), unproven: AtomicBool::new(true) }
    }

    pub fn of(&self, hook: Hook) -> &Breaker {
        &self.hooks[hook as usize]
    }

    /// Whether any hook's breaker is open.
    pub fn is_open(&self) -> bool {
        self.hooks.iter().any(Breaker::is_open)
    }

    /// Whether the hook has yet to show that it terminates: initially, until any hook has succeeded, and after the hook
    /// ran out of time.
    pub fn is_suspect(&self, hook: Hook) -> bool {
        self.unproven.load(Ordering::Relaxed) || self.of(hook).suspect.load(Ordering::Relaxed)
    }

    /// Notes that a hook succeeded. True if that closed its breaker.
    pub fn succeeded(&self, hook: Hook) -> bool {
        if self.unproven.load(Ordering::Relaxed) {
            self.unproven.store(false, Ordering::Relaxed);
        }
        self.of(hook).succeeded()
    }
}

/// The circuit breaker of one hook of a plugin, shared by all cores.
#[derive(Debug)]
pub struct Breaker {
    settings: Settings,
    /// Failures since the last successful call.
    failures: AtomicU32,
    open: AtomicBool,
    /// No call has succeeded since one ran out of time.
    suspect: AtomicBool,
    opening: Mutex<Opening>,
}

/// When a breaker opens and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Consecutive failures that open the breaker; 0 for never. Default 5. A hook that ran out of time counts as half
    /// of them.
    pub failures: u32,
    /// How long the breaker stays open before the plugin is probed; doubles with each failed probe. Default 1 s, but at
    /// least 200 times as long as the failed hook held its core.
    pub open_time: Duration,
    /// The longest time that it stays open. Default 60 s.
    pub max_open_time: Duration,
}

#[derive(Debug)]
struct Opening {
    time: Duration,
    until: Option<Instant>,
}

impl Default for Settings {
    fn default() -> Self {
        Settings { failures: 5, open_time: Duration::from_secs(1), max_open_time: Duration::from_secs(60) }
    }
}

impl Breaker {
    pub fn new(settings: Settings) -> Breaker {
        Breaker {
            settings,
            failures: AtomicU32::new(0),
            open: AtomicBool::new(false),
            suspect: AtomicBool::new(false),
            opening: Mutex::new(Opening { time: settings.open_time, until: None }),
        }
    }

    /// Whether a hook may run now. Once the breaker has been open for its time, exactly one call may: the probe.
    pub fn allows(&self, now: impl FnOnce() -> Instant) -> bool {
        if !self.open.load(Ordering::Relaxed) {
            return true;
        }
        let now = now();
        let mut opening = self.opening.lock().unwrap_or_else(PoisonError::into_inner);
        match opening.until {
            Some(until) if now < until => false,
            // The next probe comes after the full time, even if this one never reports back.
            _ => {
                opening.until = Some(now + opening.time);
                true
            }
        }
    }

    /// Notes a successful call. True if that closed the breaker.
    fn succeeded(&self) -> bool {
        if self.suspect.load(Ordering::Relaxed) {
            self.suspect.store(false, Ordering::Relaxed);
        }
        if self.failures.load(Ordering::Relaxed) == 0 {
            return false;
        }
        self.failures.store(0, Ordering::Relaxed);
        if !self.open.swap(false, Ordering::Relaxed) {
            return false;
        }
        *self.opening.lock().unwrap_or_else(PoisonError::into_inner) =
            Opening { time: self.settings.open_time, until: None };
        true
    }

    /// Notes a failure. `held` is how long a hook that ran out of time held its core; zero if it ended by itself. True
    /// if that opened the breaker.
    pub fn failed(&self, now: Instant, held: Duration) -> bool {
        if !held.is_zero() {
            self.suspect.store(true, Ordering::Relaxed);
        }
        let weight = if held.is_zero() { 1 } else { self.settings.failures.div_ceil(2).max(1) };
        let failures = self.failures.fetch_add(weight, Ordering::Relaxed).saturating_add(weight);
        if self.settings.failures == 0 || failures < self.settings.failures {
            return false;
        }
        let mut opening = self.opening.lock().unwrap_or_else(PoisonError::into_inner);
        let was_open = self.open.swap(true, Ordering::Relaxed);
        if was_open {
            opening.time *= 2;
        }
        opening.time = opening.time.max(held * SHARE).min(self.settings.max_open_time);
        opening.until = Some(now + opening.time);
        !was_open
    }

    pub fn is_open(&self) -> bool {
        self.open.load(Ordering::Relaxed)
    }
}

/// A plugin that does nothing but loop gets one part in this many of its core's time.
const SHARE: u32 = 200;

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: Duration = Duration::ZERO;

    #[test]
    fn time_outs_weigh_more_and_keep_it_open_for_longer() {
        let breaker = Breaker::new(Settings::default());
        let start = Instant::now();
        let held = Duration::from_millis(10);
        assert!(!breaker.failed(start, held), "once may be one bad request");
        assert!(breaker.failed(start, held));
        assert!(!breaker.allows(|| start + Duration::from_millis(1999)));
        assert!(breaker.allows(|| start + Duration::from_secs(2)));
    }

    #[test]
    fn opens_after_failures_in_a_row_and_probes_once_per_open_time() {
        let breaker = Breaker::new(Settings { failures: 3, ..Settings::default() });
        let start = Instant::now();
        let at = |milliseconds| start + Duration::from_millis(milliseconds);
        assert!(!breaker.failed(at(0), NONE));
        assert!(!breaker.failed(at(0), NONE));
        assert!(!breaker.succeeded(), "it was not open");
        assert!(!breaker.failed(at(1), NONE));
        assert!(!breaker.failed(at(2), NONE));
        assert!(breaker.allows(|| at(3)));
        assert!(breaker.failed(at(3), NONE), "three in a row");
        assert!(!breaker.allows(|| at(1002)));
        assert!(breaker.allows(|| at(1003)), "the probe");
        assert!(!breaker.allows(|| at(1004)), "one probe only");
        assert!(!breaker.failed(at(1005), NONE), "it was open already");
        assert!(!breaker.allows(|| at(3004)), "the time has doubled");
        assert!(breaker.allows(|| at(3005)));
        assert!(breaker.succeeded());
        assert!(breaker.allows(|| at(3006)) && breaker.allows(|| at(3006)));
    }

    #[test]
    fn it_is_suspect_until_it_does_well_and_after_a_time_out() {
        let breakers = Breakers::new(Settings::default());
        let now = Instant::now();
        let suspects = || [Hook::Request, Hook::Response].map(|hook| breakers.is_suspect(hook));
        assert_eq!(suspects(), [true, true]);
        breakers.of(Hook::Request).failed(now, NONE);
        assert_eq!(suspects(), [true, true]);
        breakers.succeeded(Hook::Request);
        assert_eq!(suspects(), [false, false], "one of them is enough in the beginning");
        breakers.of(Hook::Response).failed(now, NONE);
        assert_eq!(suspects(), [false, false], "it came to its end");
        breakers.of(Hook::Response).failed(now, Duration::from_millis(10));
        breakers.succeeded(Hook::Request);
        assert_eq!(suspects(), [false, true], "another one says nothing of it");
        breakers.succeeded(Hook::Response);
        assert_eq!(suspects(), [false, false]);
    }

    #[test]
    fn the_open_time_has_an_end() {
        let breaker = Breaker::new(Settings { failures: 1, ..Settings::default() });
        let start = Instant::now();
        for _ in 0..100 {
            breaker.failed(start, NONE);
        }
        assert!(!breaker.allows(|| start + Duration::from_secs(59)));
        assert!(breaker.allows(|| start + Duration::from_secs(60)));
    }

    #[test]
    fn a_probe_that_is_lost_does_not_keep_it_open_for_ever() {
        let breaker = Breaker::new(Settings { failures: 1, ..Settings::default() });
        let start = Instant::now();
        breaker.failed(start, NONE);
        assert!(breaker.allows(|| start + Duration::from_secs(1)));
        assert!(breaker.allows(|| start + Duration::from_secs(2)), "the client of the first probe left");
    }
}
