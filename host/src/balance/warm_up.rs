//! Slow start: an endpoint that has just joined, or come back, gets its share of requests gradually.
//!
//! It is drawn as often as any other, and then accepted with a probability that grows to one over the duration of the
//! slow start. So slow start works with every policy that draws endpoints, and each keeps its own rule for who is next.

use std::time::Duration;

/// Whether an endpoint that was added `age` ago takes the request that it was drawn for.
pub fn accepts(age: Duration, slow_start: Duration, random: u64) -> bool {
    if age >= slow_start {
        return true;
    }
    let grown = age.as_secs_f64() / slow_start.as_secs_f64();
    let chance = LEAST + (1.0 - LEAST) * grown;
    (random as f64) < chance * u64::MAX as f64
}

/// The fraction of its full share at the very start, as in Envoy: with none, nothing would show whether it works.
const LEAST: f64 = 0.1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_grows_evenly() {
        let slow_start = Duration::from_secs(10);
        let mut random = fastrand::Rng::with_seed(7);
        for (seconds, expected) in [(0, 10), (1, 19), (5, 55), (9, 91), (10, 100), (1000, 100)] {
            let age = Duration::from_secs(seconds);
            let accepted = (0..100_000).filter(|_| accepts(age, slow_start, random.u64(..))).count();
            assert!(accepted.abs_diff(expected * 1000) <= 1000, "{accepted} of 100000 after {seconds} s");
        }
        assert!(accepts(Duration::ZERO, Duration::ZERO, u64::MAX));
    }
}
