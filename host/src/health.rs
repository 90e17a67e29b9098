//! Whether an endpoint takes requests: one state machine for the results of probes and of requests.
//!
//! ```text
//!                 `fall` probes failed             failures in a row, or a success rate
//!               ┌──────────────────────┐         far below the others'
//!               ▼                      │       ┌────────────────────────┐
//!          Unhealthy ──────────────▶ Healthy ──┘                        ▼
//!               ▲   `rise` passed      ▲  └───────────────────────── Ejected
//!               └──────────────────────┴─── the time is over ───────────┘
//! ```
//!
//! A [`Health`] holds both results and [`Health::state`] is the one place that turns them into a state. Probes say
//! whether the endpoint can serve at all, so they take precedence: an endpoint found unhealthy while it is ejected
//! comes back only through probes, and one that passes its probes but fails its requests stays out until its time is
//! over.
//!
//! Pure: time and counts are arguments. Nothing here locks, logs or waits.

mod ejection;
#[cfg(test)]
mod laws;
mod schedule;
mod success_rate;

use std::time::{Duration, Instant};

pub use ejection::{Ejection, Failure, FailureKind};
pub use schedule::Schedule;
pub use success_rate::{Outlier, Sample, SuccessRate};

/// The state of an endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum State {
    /// It takes requests.
    #[default]
    Healthy,
    /// Its probes fail.
    Unhealthy,
    /// Its requests failed, and it is left out for a while.
    Ejected,
}

impl State {
    /// Whether it takes requests.
    pub fn is_available(self) -> bool {
        self == State::Healthy
    }

    pub fn name(self) -> &'static str {
        match self {
            State::Healthy => "healthy",
            State::Unhealthy => "unhealthy",
            State::Ejected => "ejected",
        }
    }
}

/// How many consecutive probes change the state of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thresholds {
    /// Successes until it is healthy.
    pub rise: u32,
    /// Failures until it is unhealthy.
    pub fall: u32,
}

/// A change of state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    pub from: State,
    pub to: State,
}

/// The health of one endpoint. See the module.
#[derive(Clone, Debug, Default)]
pub struct Health {
    probes: Probes,
    ejection: Ejections,
}

/// The results of the probes.
#[derive(Clone, Debug, Default)]
struct Probes {
    failing: bool,
    /// Whether there was a probe. The first one decides alone, as there is no earlier result.
    known: bool,
    /// Consecutive probes that contradict the current result.
    contrary: u32,
}

/// The current ejection, and what is remembered of earlier ones.
#[derive(Clone, Debug, Default)]
struct Ejections {
    until: Option<Instant>,
    /// Consecutive ejections, each of which began within as much time as the one before it had lasted.
    in_a_row: u32,
    last: Option<Last>,
}

#[derive(Clone, Copy, Debug)]
struct Last {
    ended: Instant,
    lasted: Duration,
}

impl Health {
    /// An endpoint of which nothing is known; `healthy` is its state until the first probe.
    pub fn new(healthy: bool) -> Health {
        Health { probes: Probes { failing: !healthy, ..Probes::default() }, ..Health::default() }
    }

    pub fn state(&self) -> State {
        match (self.probes.failing, self.ejection.until) {
            (true, _) => State::Unhealthy,
            (false, Some(_)) => State::Ejected,
            (false, None) => State::Healthy,
        }
    }

    /// When the current ejection ends.
    pub fn ejected_until(&self) -> Option<Instant> {
        self.ejection.until
    }

    /// Whether any probe has ended yet.
    pub fn is_probed(&self) -> bool {
        self.probes.known
    }

    /// A probe has ended.
    pub fn probed(&mut self, passed: bool, thresholds: Thresholds) -> Option<Change> {
        self.change(|health| {
            let probes = &mut health.probes;
            probes.contrary = if passed == probes.failing { probes.contrary.saturating_add(1) } else { 0 };
            let enough = if passed { thresholds.rise } else { thresholds.fall };
            if probes.contrary > 0 && (!probes.known || probes.contrary >= enough) {
                probes.failing = !passed;
                probes.contrary = 0;
            }
            probes.known = true;
        })
    }

    /// Ejects the endpoint. If it is ejected already, the end does not change.
    pub fn eject(&mut self, now: Instant, policy: &Ejection) -> Option<Change> {
        self.change(|health| {
            let ejection = &mut health.ejection;
            if ejection.until.is_some() {
                return;
            }
            let recovered = |last: Last| now.saturating_duration_since(last.ended) >= last.lasted;
            if ejection.last.is_none_or(recovered) {
                ejection.in_a_row = 0;
            }
            let time = policy.time(ejection.in_a_row);
            ejection.in_a_row = ejection.in_a_row.saturating_add(1);
            ejection.until = now.checked_add(time);
            ejection.last = ejection.until.map(|ended| Last { ended, lasted: time });
        })
    }

    /// Ends the ejection if its time is over.
    pub fn tick(&mut self, now: Instant) -> Option<Change> {
        self.change(|health| health.ejection.until = health.ejection.until.filter(|until| now < *until))
    }

    /// Forgets what is no longer maintained: the probes if `probed` is false, the ejection if `ejects` is.
    pub fn adopt(&mut self, probed: bool, ejects: bool) -> Option<Change> {
        self.change(|health| {
            if !probed {
                health.probes = Probes::default();
            }
            if !ejects {
                health.ejection = Ejections::default();
            }
        })
    }

    fn change(&mut self, step: impl FnOnce(&mut Health)) -> Option<Change> {
        let from = self.state();
        step(self);
        let to = self.state();
        (from != to).then_some(Change { from, to })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const THRESHOLDS: Thresholds = Thresholds { rise: 2, fall: 3 };

    fn probe(health: &mut Health, results: &[bool]) -> State {
        for passed in results {
            health.probed(*passed, THRESHOLDS);
        }
        health.state()
    }

    #[test]
    fn probes_turn_an_endpoint_around_at_the_thresholds() {
        for (initial, results, expected) in [
            (true, &[][..], State::Healthy),
            (false, &[], State::Unhealthy),
            // The first probe alone decides.
            (true, &[false], State::Unhealthy),
            (false, &[true], State::Healthy),
            (true, &[true, false, false], State::Healthy),
            (true, &[true, false, false, false], State::Unhealthy),
            (true, &[true, false, false, true, false, false], State::Healthy),
            (true, &[false, true], State::Unhealthy),
            (true, &[false, true, false, true], State::Unhealthy),
            (true, &[false, true, true], State::Healthy),
        ] {
            assert_eq!(probe(&mut Health::new(initial), results), expected, "{initial} {results:?}");
        }
    }

    #[test]
    fn probes_stand_above_an_ejection() {
        let (start, policy) = (Instant::now(), Ejection::default());
        let mut health = Health::new(true);
        assert_eq!(health.eject(start, &policy), Some(Change { from: State::Healthy, to: State::Ejected }));
        assert_eq!(health.eject(start, &policy), None);
        // Successful probes do not end the ejection, failing ones show at once.
        assert_eq!(probe(&mut health, &[true, true, true]), State::Ejected);
        assert_eq!(probe(&mut health, &[false, false, false]), State::Unhealthy);
        assert_eq!(health.tick(start + policy.time), None);
        assert_eq!(probe(&mut health, &[true, true]), State::Healthy);
    }

    #[test]
    fn ejections_grow_until_the_endpoint_was_well_for_as_long() {
        let policy =
            Ejection { time: Duration::from_secs(10), max_time: Duration::from_secs(35), ..Ejection::default() };
        let mut now = Instant::now();
        let mut health = Health::new(true);
        let mut lasts = |well: u64| {
            now += Duration::from_secs(well);
            health.eject(now, &policy);
            let until = health.ejected_until().unwrap_or(now);
            let lasted = until - now;
            assert_eq!(health.tick(until - Duration::from_millis(1)), None);
            assert_eq!(health.tick(until), Some(Change { from: State::Ejected, to: State::Healthy }));
            now = until;
            lasted.as_secs()
        };
        assert_eq!([lasts(0), lasts(1), lasts(19), lasts(34), lasts(35), lasts(0)], [10, 20, 35, 35, 10, 20]);
    }

    #[test]
    fn what_nobody_looks_after_is_forgotten() {
        let mut health = Health::new(false);
        health.eject(Instant::now(), &Ejection::default());
        assert_eq!(health.adopt(true, true), None);
        assert_eq!(health.adopt(false, true), Some(Change { from: State::Unhealthy, to: State::Ejected }));
        assert_eq!(health.adopt(false, false), Some(Change { from: State::Ejected, to: State::Healthy }));
    }
}
