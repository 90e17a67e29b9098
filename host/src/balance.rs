//! Which endpoint of an upstream takes a request, and which upstream of a route.
//!
//! Pure picks over positions: the caller passes how loaded an endpoint is, whether it may be used, and the randomness.
//! A [`Balancer`] or [`Split`] belongs to one core, so `&mut self` is all the synchronisation there is. It lives as
//! long as the list of endpoints it was made for.
//!
//! Fairness holds per core, and therefore overall. Cores start at different positions (the `seed`), or else the first
//! request of every core would go to the first endpoint.
//!
//! A retry that must not return to an endpoint it has tried says so through `usable`:
//!
//! ```
//! # use gatewright::balance::{Balancer, Policy};
//! # use std::time::Duration;
//! let mut balancer = Balancer::new(Policy::RoundRobin, &[1, 1, 1], 0);
//! let mut random = || 4;
//! let tried = [0, 2];
//! let healthy = |_endpoint: usize| true;
//! let usable = |endpoint: usize| healthy(endpoint) && !tried.contains(&endpoint);
//! let endpoint = balancer.pick(|_| 0, usable, &mut random, Duration::ZERO);
//! assert_eq!(endpoint, Some(1));
//! ```
//!
//! Policies are an enum: adding one takes a variant here, a state below and a line in two matches. Consistent hashing
//! is not a per-core policy: its [`Ring`] is the same on all. The steps before a pick are in neighbouring modules:
//! [`Priorities`] chooses the group, and [`accepts`] decides whether an endpoint in slow start takes part.

mod draw;
mod latency;
mod priority;
mod ring;
mod rotation;
mod warm_up;

use std::fmt;
use std::time::Duration;

pub use priority::Priorities;
pub use ring::{Ring, hash, most_in_flight};
pub use warm_up::accepts;

use draw::Draw;
use latency::Latencies;
use rotation::Rotation;

/// How an upstream chooses among its endpoints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// Weighted round robin, without bursts on heavy endpoints.
    #[default]
    RoundRobin,
    /// Of two endpoints drawn by weight, the one with fewer requests in flight relative to its weight. In practice as
    /// good as the least loaded of all, without the herd effect (Mitzenmacher, "The Power of Two Choices", 2001).
    LeastRequests,
    /// Of two endpoints drawn by weight, the one expected to answer first relative to its weight, judging by its recent
    /// latency and its requests in flight.
    PeakEwma,
    /// Random, by weight.
    Random,
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Policy::RoundRobin => "round-robin",
            Policy::LeastRequests => "least-requests",
            Policy::PeakEwma => "peak-ewma",
            Policy::Random => "random",
        })
    }
}

/// Chooses endpoints for one upstream on one core.
#[derive(Clone, Debug)]
pub struct Balancer(State);

#[derive(Clone, Debug)]
enum State {
    RoundRobin(Rotation),
    LeastRequests(Draw),
    PeakEwma(Draw, Latencies),
    Random(Draw),
}

impl Balancer {
    /// One weight per endpoint, in the order of the endpoints. An endpoint of weight 0 is never picked.
    #[must_use]
    pub fn new(policy: Policy, weights: &[u32], seed: u64) -> Self {
        Balancer(match policy {
            Policy::RoundRobin => State::RoundRobin(Rotation::new(weights, seed)),
            Policy::LeastRequests => State::LeastRequests(Draw::new(weights)),
            Policy::PeakEwma => State::PeakEwma(Draw::new(weights), Latencies::new(weights.len())),
            Policy::Random => State::Random(Draw::new(weights)),
        })
    }

    /// The position of the endpoint for one request; `None` only if no endpoint with a weight is usable.
    ///
    /// `load` is the number of requests in flight, called only for the two-choice policies. `usable` is called once or
    /// twice while endpoints are healthy, otherwise at most 1,024 times, or a few times the number of endpoints.
    /// `random` returns independent, evenly distributed 64-bit numbers. `now` is the time since any fixed point, used
    /// only for [`Policy::PeakEwma`].
    pub fn pick(
        &mut self,
        load: impl Fn(usize) -> u32,
        usable: impl Fn(usize) -> bool,
        random: &mut impl FnMut() -> u64,
        now: Duration,
    ) -> Option<usize> {
        match &mut self.0 {
            State::RoundRobin(rotation) => rotation.next(usable),
            State::LeastRequests(draw) => draw.lighter_of_two(load, usable, random),
            State::PeakEwma(draw, latencies) => {
                draw.cheaper_of_two(|endpoint| latencies.cost(endpoint, load(endpoint), now), usable, random)
            }
            State::Random(draw) => draw.one(usable, random),
        }
    }

    /// Records that an endpoint began to answer after `latency`. Used only by [`Policy::PeakEwma`].
    pub fn observe(&mut self, endpoint: usize, latency: Duration, now: Duration) {
        if let State::PeakEwma(_, latencies) = &mut self.0 {
            latencies.observe(endpoint, latency, now);
        }
    }

    /// Records that an endpoint was waited for this long without an answer. Used only by [`Policy::PeakEwma`].
    pub fn outlasted(&mut self, endpoint: usize, waited: Duration, now: Duration) {
        if let State::PeakEwma(_, latencies) = &mut self.0 {
            latencies.outlasted(endpoint, waited, now);
        }
    }
}

/// Splits the requests of a route among upstreams, on one core: exactly by weight over time, and evenly in between.
#[derive(Clone, Debug)]
pub struct Split(Rotation);

impl Split {
    /// One weight per upstream. An upstream of weight 0 is never picked.
    #[must_use]
    pub fn new(weights: &[u32], seed: u64) -> Self {
        Split(Rotation::new(weights, seed))
    }

    /// The position of the upstream for one request; `None` only if all weights are 0.
    pub fn pick(&mut self) -> Option<usize> {
        self.0.next(|_| true)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;

    const ALL: [Policy; 4] = [Policy::RoundRobin, Policy::LeastRequests, Policy::PeakEwma, Policy::Random];
    const NOW: Duration = Duration::ZERO;

    /// How often each endpoint is picked.
    fn counts(balancer: &mut Balancer, endpoints: usize, picks: usize, seed: u64) -> Vec<f64> {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut counts = vec![0.0; endpoints];
        for _ in 0..picks {
            counts[balancer.pick(|_| 0, |_| true, &mut || random.u64(..), NOW).unwrap()] += 1.0;
        }
        counts
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

        #[test]
        fn a_hundred_thousand_picks_are_fair_within_one_percent(
            policy in select(vec![Policy::RoundRobin, Policy::Random]), weights in vec(0..100u32, 1..30), seed: u64,
        ) {
            let sum = f64::from(weights.iter().sum::<u32>());
            prop_assume!(sum > 0.0);
            let picks = 100_000;
            let counts = counts(&mut Balancer::new(policy, &weights, seed), weights.len(), picks, seed);
            for (count, weight) in counts.iter().zip(&weights) {
                let expected = picks as f64 * f64::from(*weight) / sum;
                prop_assert!((count - expected).abs() <= 0.01 * picks as f64, "{count} instead of {expected}");
                // Round robin is exact, so the tolerance also holds relative to the endpoint's own share.
                let tolerance = if policy == Policy::RoundRobin { (0.01 * expected).max(2.0) } else { f64::INFINITY };
                prop_assert!((count - expected).abs() <= tolerance, "{count} instead of {expected}");
            }
        }

        #[test]
        fn only_what_is_usable_is_picked(
            policy in select(ALL.to_vec()), weights in vec(prop_oneof![0..3u32, 0..1000u32, any::<u32>()], 0..40),
            up in vec(any::<bool>(), 40), few in any::<bool>(), seed: u64,
        ) {
            // With `few`, one in eight is up, so that the slow path is tested too.
            let usable = |endpoint: usize| up[endpoint] && (!few || endpoint.is_multiple_of(8));
            let some = weights.iter().enumerate().any(|(endpoint, weight)| *weight > 0 && usable(endpoint));
            let mut balancer = Balancer::new(policy, &weights, seed);
            let mut random = fastrand::Rng::with_seed(seed);
            for _ in 0..100 {
                let picked = balancer.pick(|endpoint| u32::try_from(endpoint).unwrap(), usable, &mut || random.u64(..), NOW);
                prop_assert_eq!(picked.is_some(), some);
                prop_assert!(picked.is_none_or(|endpoint| usable(endpoint) && weights[endpoint] > 0));
            }
        }

        #[test]
        fn a_pick_asks_a_bounded_number_of_times(
            policy in select(ALL.to_vec()), weights in vec(prop_oneof![0..3u32, 0..1000u32, any::<u32>()], 0..40), seed: u64,
        ) {
            let mut balancer = Balancer::new(policy, &weights, seed);
            let asked = std::cell::Cell::new(0);
            let refuse = |_| { asked.set(asked.get() + 1); false };
            let mut random = fastrand::Rng::with_seed(seed);
            prop_assert_eq!(balancer.pick(|_| 0, refuse, &mut || random.u64(..), NOW), None);
            prop_assert!(asked.get() <= rotation::MAX_SEQUENCE.max(2 * weights.len() + 8), "{}", asked.get());
        }

        #[test]
        fn a_split_is_exact_over_every_turn(weights in vec(0..60u32, 1..8), seed: u64) {
            let sum: u32 = weights.iter().sum();
            prop_assume!(sum > 0);
            let mut split = Split::new(&weights, seed);
            for _ in 0..3 {
                let mut counts = vec![0; weights.len()];
                for _ in 0..sum {
                    counts[split.pick().unwrap()] += 1;
                }
                prop_assert_eq!(&counts, &weights);
            }
        }

        /// Ten endpoints, of which one is idle: it is among the two in one pick of five, and wins each of them.
        #[test]
        fn two_choices_prefer_the_idle_one(idle in 0..10usize, seed: u64) {
            let mut balancer = Balancer::new(Policy::LeastRequests, &[1; 10], seed);
            let mut random = fastrand::Rng::with_seed(seed);
            let load = |endpoint: usize| if endpoint == idle { 0 } else { 10 };
            let picks = (0..10_000).filter_map(|_| balancer.pick(load, |_| true, &mut || random.u64(..), NOW));
            let picked = picks.filter(|endpoint| *endpoint == idle).count();
            prop_assert!((1700..2300).contains(&picked), "{picked} of 10000");
        }

        /// Endpoints that answer after 10 ms, and one after 200: the slow one gets a request only when the others are
        /// busy.
        #[test]
        fn peak_ewma_leaves_a_slow_endpoint_alone(slow in 0..5usize, seed: u64) {
            let mut balancer = Balancer::new(Policy::PeakEwma, &[1; 5], seed);
            let mut random = fastrand::Rng::with_seed(seed);
            let mut counts = [0u32; 5];
            for request in 0..5_000u64 {
                let now = Duration::from_millis(10 * request);
                let picked = balancer.pick(|_| 0, |_| true, &mut || random.u64(..), now).unwrap();
                counts[picked] += 1;
                balancer.observe(picked, Duration::from_millis(if picked == slow { 200 } else { 10 }), now);
            }
            prop_assert!(counts[slow] < 60, "{counts:?}");
            prop_assert!((0..5).all(|endpoint| endpoint == slow || counts[endpoint] > 700), "{counts:?}");
        }

        /// With requests that never end, loads become proportional to weights.
        #[test]
        fn least_requests_level_the_load(weights in vec(1..5u32, 2..10), seed: u64) {
            let mut balancer = Balancer::new(Policy::LeastRequests, &weights, seed);
            let mut random = fastrand::Rng::with_seed(seed);
            let mut loads = vec![0u32; weights.len()];
            let sum: u32 = weights.iter().sum();
            for _ in 0..sum * 1000 {
                let picked = balancer.pick(|endpoint| loads[endpoint], |_| true, &mut || random.u64(..), NOW).unwrap();
                loads[picked] += 1;
            }
            for (load, weight) in loads.iter().zip(&weights) {
                prop_assert!((950 * weight..=1050 * weight).contains(load), "{loads:?} for {weights:?}");
            }
        }
    }

    #[test]
    fn a_balancer_without_endpoints_picks_none() {
        for policy in ALL {
            assert_eq!(Balancer::new(policy, &[], 9).pick(|_| 0, |_| true, &mut || 7, NOW), None);
        }
        assert_eq!(Split::new(&[], 9).pick(), None);
        assert_eq!(Split::new(&[0, 0], 9).pick(), None);
    }
}
