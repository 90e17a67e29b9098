//! How fast endpoints answer: a moving average that reacts to bad news at once and to good news slowly.
//!
//! The estimate of Finagle's "peak EWMA" balancer: a response slower than the average becomes the average; a faster one
//! pulls it down, the more so the longer ago the last one was; and without responses it decays towards zero, so that a
//! slow endpoint is tried again. It is multiplied by one core's own requests: cores converge soon enough, and share
//! nothing.

use std::time::Duration;

/// One core's latency data of its endpoints, by position.
#[derive(Clone, Debug)]
pub(super) struct Latencies(Box<[Latency]>);

#[derive(Clone, Copy, Debug, Default)]
struct Latency {
    /// In seconds; `None` before the first answer.
    average: Option<f64>,
    /// The time of that average.
    at: Duration,
}

impl Latencies {
    pub(super) fn new(endpoints: usize) -> Self {
        Latencies(vec![Latency::default(); endpoints].into())
    }

    /// Records the latency of an answer.
    pub(super) fn observe(&mut self, position: usize, latency: Duration, now: Duration) {
        let Some(known) = self.0.get_mut(position) else { return };
        let latency = latency.as_secs_f64();
        let average = known.faded(now).map_or(latency, |faded| {
            let average = known.average.unwrap_or_default();
            // `faded` is the old average's part of the new one; the answer supplies the rest.
            let rest = 1.0 - known.weight(now);
            if latency > average { latency } else { faded + latency * rest }
        });
        *known = Latency { average: Some(average), at: now };
    }

    /// Records that an endpoint was waited for this long without an answer. This counts only if it makes the average
    /// worse: somebody who gives up early says nothing about an endpoint that takes longer anyway.
    pub(super) fn outlasted(&mut self, position: usize, waited: Duration, now: Duration) {
        let Some(known) = self.0.get_mut(position) else { return };
        let waited = waited.as_secs_f64();
        if known.faded(now).is_none_or(|average| average < waited) {
            *known = Latency { average: Some(waited), at: now };
        }
    }

    /// The cost of a request there: how long it will take if `load` others come first. An endpoint that never answered
    /// gets a first request, but no second.
    pub(super) fn cost(&self, position: usize, load: u32, now: Duration) -> f64 {
        let known = self.0.get(position).copied().unwrap_or_default();
        match known.faded(now) {
            Some(average) => average.max(SHORTEST) * (f64::from(load) + 1.0),
            None => UNKNOWN * f64::from(load),
        }
    }
}

impl Latency {
    fn weight(&self, now: Duration) -> f64 {
        (-now.saturating_sub(self.at).as_secs_f64() / DECAY).exp()
    }

    fn faded(&self, now: Duration) -> Option<f64> {
        Some(self.average? * self.weight(now))
    }
}

/// Seconds in which an average loses two thirds of its weight, as in Finagle and Linkerd.
const DECAY: f64 = 10.0;

/// In seconds. Below it differences are noise, and load alone decides.
const SHORTEST: f64 = 0.000_1;

/// Assumed seconds of a request as long as none has ended.
const UNKNOWN: f64 = 1.0;

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    /// The cost in milliseconds of an idle endpoint at `now`, after these observations.
    fn cost(observed: &[(u64, u64)], now: u64) -> f64 {
        let mut latencies = Latencies::new(1);
        for (at, latency) in observed {
            latencies.observe(0, ms(*latency), ms(*at));
        }
        latencies.cost(0, 0, ms(now)) * 1000.0
    }

    #[test]
    fn bad_news_count_at_once_and_good_ones_slowly() {
        for (observed, now, expected) in [
            (&[][..], 0, 0.0..=0.0),
            (&[(0, 50)], 0, 50.0..=50.0),
            (&[(0, 50), (0, 400)], 0, 400.0..=400.0),
            (&[(0, 400), (0, 50)], 0, 400.0..=400.0),
            (&[(0, 400), (1000, 50)], 1000, 360.0..=370.0),
            (&[(0, 400), (60_000, 50)], 60_000, 50.0..=52.0),
            // With no new answers, the average is forgotten.
            (&[(0, 400)], 10_000, 147.0..=148.0),
            (&[(0, 400)], 100_000, 0.1..=0.1),
        ] {
            let cost = cost(observed, now);
            assert!(expected.contains(&cost), "{cost} after {observed:?} at {now}");
        }
    }

    #[test]
    fn an_endpoint_that_nobody_waits_for_any_longer_is_as_slow_as_they_were_patient() {
        for (before, waited, expected) in [(None, 700, 700.0), (Some(20), 700, 700.0), (Some(900), 700, 900.0)] {
            let mut latencies = Latencies::new(1);
            if let Some(before) = before {
                latencies.observe(0, ms(before), ms(0));
            }
            latencies.outlasted(0, ms(waited), ms(0));
            assert!((latencies.cost(0, 0, ms(0)) * 1000.0 - expected).abs() < 0.001, "{before:?}");
        }
    }

    #[test]
    fn cost_grows_with_load_and_an_unknown_endpoint_gets_one_request() {
        let mut latencies = Latencies::new(2);
        latencies.observe(0, ms(20), ms(0));
        assert!(latencies.cost(0, 3, ms(0)) > latencies.cost(0, 2, ms(0)));
        assert!(latencies.cost(1, 0, ms(0)) < latencies.cost(0, 0, ms(0)));
        assert!(latencies.cost(1, 1, ms(0)) > latencies.cost(0, 10, ms(0)));
    }
}
