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

/// What an endpoint is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum State {
    /// It takes requests.
    #[default]
    Healthy,
    /// Its probes fail.
    Unhealthy,
    /// Its requests failed, and it rests for a while.
    Ejected,
}

impl State {
    /// Whether requests go there.
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

/// How many probes in a row turn an endpoint around.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thresholds {
    /// Passed ones, until it is healthy.
    pub rise: u32,
    /// Failed ones, until it is unhealthy.
    pub fall: u32,
}

/// A change of state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    pub from: State,
    pub to: State,
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Health {
    probes: Probes,
    ejection: Ejections,
}

/// What the probes have said.
#[derive(Clone, Debug, Default)]
struct Probes {
    failing: bool,
    /// Whether there was one. The first decides alone: before it there is nothing to hold on to.
    known: bool,
    /// Those in a row that say the opposite.
    contrary: u32,
}

/// The ejection that runs, and what is remembered of the last ones.
#[derive(Clone, Debug, Default)]
struct Ejections {
    until: Option<Instant>,
    /// How many in a row, without a time in between that was as long as the ejection before.
    in_a_row: u32,
    last: Option<Last>,
}

#[derive(Clone, Copy, Debug)]
struct Last {
    ended: Instant,
    lasted: Duration,
}

impl Health {
    /// An endpoint that nothing is known of; `healthy` says what it is until its first probe.
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

    /// When the ejection that runs ends.
    pub fn ejected_until(&self) -> Option<Instant> {
        self.ejection.until
    }

    /// Whether a probe has said anything yet.
    pub fn is_probed(&self) -> bool {
        self.probes.known
    }

    /// A probe is over.
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

    /// It failed too often. One that is ejected already stays so for its time.
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

    /// Time has passed.
    pub fn tick(&mut self, now: Instant) -> Option<Change> {
        self.change(|health| health.ejection.until = health.ejection.until.filter(|until| now < *until))
    }

    /// Forgets what nobody looks after any more: the probes where `probed` is false, the ejection where `ejects` is.
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
            // The first alone decides.
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
        // Passing ones do not end it, failing ones show at once.
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
