//! When a name is resolved again, and what an answer changes. Pure: time and randomness are arguments.

use std::time::Duration;

use super::{Answer, Found, Settings};

/// The state of one name.
#[derive(Clone, Debug, Default)]
pub struct Schedule {
    found: Vec<Found>,
    /// Failures since the last successful answer.
    failures: u32,
    /// Since when the name has had no addresses.
    empty_since: Option<Duration>,
}

/// What to do after an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The new servers, if they have changed.
    pub change: Option<Vec<Found>>,
    /// How long to wait before asking again.
    pub wait: Duration,
}

impl Schedule {
    /// Starts with the last known servers.
    #[must_use]
    pub fn new(found: Vec<Found>) -> Self {
        Schedule { found, ..Schedule::default() }
    }

    /// Processes an answer or a failure. `now` is the time since any fixed point.
    pub fn step<E>(&mut self, answer: Result<&Answer, E>, settings: &Settings, now: Duration, random: u64) -> Step {
        let Ok(answer) = answer else {
            let wait = settings.min_ttl.max(SHORTEST).saturating_mul(1 << self.failures.min(10));
            self.failures = self.failures.saturating_add(1);
            return Step {
                change: None,
                wait: jittered(wait.min(LONGEST_AFTER_FAILURE.max(settings.min_ttl)), random),
            };
        };
        self.failures = 0;
        let wait = jittered(answer.ttl.clamp(settings.min_ttl, settings.max_ttl.max(settings.min_ttl)), random);
        if !answer.found.is_empty() {
            self.empty_since = None;
        } else if !self.found.is_empty() {
            let empty_for = now.saturating_sub(*self.empty_since.get_or_insert(now));
            if empty_for < settings.hold {
                // Not later than the end of the hold time.
                return Step { change: None, wait: wait.min((settings.hold - empty_for).max(SHORTEST)) };
            }
        }
        let change = (answer.found != self.found).then(|| answer.found.clone());
        if let Some(found) = &change {
            self.found.clone_from(found);
        }
        Step { change, wait }
    }
}

/// Up to a tenth longer, so that a thousand gateways, or the names of one, do not ask at the same moment.
fn jittered(wait: Duration, random: u64) -> Duration {
    wait + wait.mul_f64(0.1 * (random as f64 / u64::MAX as f64))
}

/// The least time between two queries, whatever the settings say.
const SHORTEST: Duration = Duration::from_millis(10);

/// The most time between two queries after failures: the wait doubles up to this, so that a DNS server that comes back
/// is noticed.
const LONGEST_AFTER_FAILURE: Duration = Duration::from_secs(30);

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn settings() -> Settings {
        let seconds = Duration::from_secs;
        Settings {
            servers: Vec::new(),
            system: None,
            timeout: seconds(1),
            min_ttl: seconds(1),
            max_ttl: seconds(300),
            hold: seconds(30),
            hosts: "/etc/hosts".into(),
        }
    }

    fn answer(last: &[u8], ttl: u64) -> Answer {
        let found =
            |last: &u8| Found { address: ([10, 0, 0, *last], 80).into(), host: "users".into(), priority: 0, weight: 1 };
        Answer { found: last.iter().map(found).collect(), ttl: Duration::from_secs(ttl) }
    }

    /// Answers at these seconds (`None`: a failure), with the resulting number of servers, if changed, and the wait.
    #[test]
    fn answers_change_failures_keep_and_emptiness_has_to_last() {
        let mut schedule = Schedule::default();
        for (at, reply, change, wait) in [
            (0, Some(answer(&[1, 2], 60)), Some(2), 60),
            (60, Some(answer(&[1, 2], 0)), None, 1),
            (61, Some(answer(&[1, 2, 3], 86_400)), Some(3), 300),
            (361, None, None, 1),
            (362, None, None, 2),
            (364, None, None, 4),
            (368, None, None, 8),
            (376, None, None, 16),
            (392, None, None, 30),
            (422, None, None, 30),
            (452, Some(answer(&[], 5)), None, 5),
            (457, None, None, 1),
            (458, Some(answer(&[], 60)), None, 24),
            (470, Some(answer(&[4], 5)), Some(1), 5),
            (475, Some(answer(&[], 20)), None, 20),
            (495, Some(answer(&[], 20)), None, 10),
            (505, Some(answer(&[], 20)), Some(0), 20),
            (525, Some(answer(&[], 20)), None, 20),
            (545, Some(answer(&[1], 20)), Some(1), 20),
        ] {
            let step = schedule.step(reply.as_ref().ok_or(()), &settings(), Duration::from_secs(at), 0);
            assert_eq!((step.change.map(|found| found.len()), step.wait.as_secs()), (change, wait), "at {at}");
        }
    }

    #[test]
    fn waits_are_a_little_uneven() {
        let step = Schedule::default().step(Ok::<_, ()>(&answer(&[1], 100)), &settings(), Duration::ZERO, u64::MAX);
        assert_eq!(step.wait.as_secs(), 110);
    }
}
