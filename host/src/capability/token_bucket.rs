//! `rate-limit`: the arithmetic of token buckets, exact to the request and to the millisecond. `rate_limit` keeps them.
//!
//! A bucket is a leaky bucket in whole numbers: a request costs `per_ms` points, `requests` points leak away each
//! millisecond, and `burst * per_ms` points fit. So a quota of three per second gives back exactly three each second,
//! where an emission interval rounded to nanoseconds (classic GCRA) drifts or hands out one too few. A full bucket is
//! equivalent to no bucket, so only the moment at which it is full again has to be kept.
//!
//! The arithmetic runs under the lock of the table's shard, so it may use two words. The `governor` crate was measured
//! and rejected. It ties one quota to one limiter while the quota is an argument here, its key map has no bound and is
//! swept by a full scan, and it rounds the emission interval. It is no faster: 64 ns per take among 1,000 keys as here,
//! 231 ns among 100,000 against 158 (one thread, a 2-core machine).

/// `requests` per `per_ms` milliseconds, of which `burst` may come at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Quota {
    /// 0 lets nothing pass.
    pub requests: u32,
    /// Milliseconds. 0 counts as 1.
    pub per_ms: u32,
    /// 0 stands for as many as `requests`.
    pub burst: u32,
}

/// The result of a `take`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    pub allowed: bool,
    /// How much can still be taken at once.
    pub remaining: u32,
    /// Milliseconds until the whole burst is available again, rounded up.
    pub reset_ms: u32,
    /// 0 if allowed; otherwise the milliseconds until `cost` can be taken, rounded up. [`NEVER_MS`] if it never can,
    /// because `cost` is above the burst or the quota lets nothing pass.
    pub retry_after_ms: u32,
}

/// A quota in points: what a request costs, what leaks away per millisecond, and what fits.
pub(super) struct Rate {
    pub(super) cost: u64,
    pub(super) leak: u64,
    pub(super) capacity: u64,
}

impl Rate {
    pub(super) fn of(quota: Quota) -> Rate {
        let burst = if quota.burst == 0 { quota.requests } else { quota.burst };
        let cost = u64::from(quota.per_ms.max(1));
        // Two 32-bit numbers: the product fits.
        Rate { cost, leak: u64::from(quota.requests), capacity: u64::from(burst) * cost }
    }

    /// Points in the bucket. The clamp only matters if the clock went back by more than the bucket holds.
    pub(super) fn level(&self, full_at_ms: u64, slack: Slack, now_ms: u64) -> u64 {
        let until_full = full_at_ms.saturating_sub(now_ms);
        until_full.saturating_mul(self.leak).saturating_sub(u64::from(slack)).min(self.capacity)
    }

    /// When a bucket with this many points is full again, and the amount of rounding up.
    pub(super) fn fill(&self, level: u64, now_ms: u64) -> (u64, Slack) {
        let until_full = level.div_ceil(self.leak);
        // The rounding is less than one millisecond's leak, which is a 32-bit number.
        let slack = (until_full.saturating_mul(self.leak) - level) as u32;
        (now_ms.saturating_add(until_full), slack)
    }

    pub(super) fn outcome(&self, level: u64, refused_for_ms: Option<u32>) -> Outcome {
        Outcome {
            allowed: refused_for_ms.is_none(),
            remaining: clamp((self.capacity - level) / self.cost),
            reset_ms: clamp(level.div_ceil(self.leak)),
            retry_after_ms: refused_for_ms.unwrap_or(0),
        }
    }
}

/// Stored with a bucket besides the moment at which it is full: its level at time t is `(full_at_ms - t) * leak -
/// slack` points.
pub(super) type Slack = u32;

pub(super) fn clamp(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// 100,000 counts are at most about 9 MiB.
pub const DEFAULT_MAX_KEYS: usize = 100_000;
/// The wait if it can never be taken, and for anything that takes longer than 49 days.
pub const NEVER_MS: u32 = u32::MAX;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::capability::rate_limit::RateLimiter;
    use proptest::prelude::*;

    fn quota(requests: u32, per_ms: u32, burst: u32) -> Quota {
        Quota { requests, per_ms, burst }
    }

    fn outcome(allowed: bool, remaining: u32, reset_ms: u32, retry_after_ms: u32) -> Outcome {
        Outcome { allowed, remaining, reset_ms, retry_after_ms }
    }

    #[test]
    fn a_quota_that_does_not_divide_evenly_is_given_back_in_full() {
        let limiter = RateLimiter::default();
        let three_a_second = quota(3, 1000, 0);
        for second in 0..100 {
            let now = second * 1000;
            assert_eq!(limiter.take("k", three_a_second, 1, now), outcome(true, 2, 334, 0));
            assert_eq!(limiter.take("k", three_a_second, 1, now), outcome(true, 1, 667, 0));
            assert_eq!(limiter.take("k", three_a_second, 1, now), outcome(true, 0, 1000, 0));
            assert_eq!(limiter.take("k", three_a_second, 1, now), outcome(false, 0, 1000, 334));
        }
    }

    #[test]
    fn odd_quotas_and_costs() {
        let limiter = RateLimiter::default();
        let check = |quota, cost, expected| assert_eq!(limiter.take("k", quota, cost, 5), expected);
        check(quota(0, 1000, 5), 1, outcome(false, 0, NEVER_MS, NEVER_MS));
        check(quota(10, 1000, 5), 6, outcome(false, 5, 0, NEVER_MS));
        check(quota(10, 1000, 5), 0, outcome(true, 5, 0, 0));
        check(quota(10, 1000, 5), 5, outcome(true, 0, 500, 0));
        check(quota(10, 1000, 5), 0, outcome(true, 0, 500, 0));
        check(quota(10, 0, 0), 10, outcome(true, 0, 1, 0));
        let most = quota(u32::MAX, u32::MAX, u32::MAX);
        check(most, u32::MAX, outcome(true, 0, u32::MAX, 0));
        check(most, u32::MAX, outcome(false, 0, u32::MAX, u32::MAX));
        let slowest = quota(1, u32::MAX, u32::MAX);
        check(slowest, u32::MAX, outcome(true, 0, u32::MAX, 0));
    }

    #[test]
    fn one_key_under_two_quotas_is_two_buckets() {
        let limiter = RateLimiter::default();
        assert!(limiter.take("k", quota(1, 1000, 0), 1, 0).allowed);
        assert!(!limiter.take("k", quota(1, 1000, 0), 1, 0).allowed);
        assert!(limiter.take("k", quota(1, 2000, 0), 1, 0).allowed);
        assert_eq!(limiter.keys(), 2);
    }

    #[test]
    fn a_clock_that_goes_back_gives_nothing_away() {
        let limiter = RateLimiter::default();
        let ten = quota(10, 1000, 0);
        for _ in 0..10 {
            assert!(limiter.take("k", ten, 1, 10_000).allowed);
        }
        assert!(!limiter.take("k", ten, 1, 9_950).allowed);
        assert!(!limiter.take("k", ten, 1, 0).allowed);
        assert!(limiter.take("k", ten, 1, 10_100).allowed);
    }

    #[test]
    fn of_many_threads_exactly_the_budget_passes() {
        let limiter = RateLimiter::default();
        let budget = quota(5_000, 1_000_000, 5_000);
        let passed: usize = std::thread::scope(|scope| {
            let takers: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| (0..2_000).filter(|_| limiter.take("k", budget, 1, 7).allowed).count()))
                .collect();
            takers.into_iter().map(|taker| taker.join().unwrap()).sum()
        });
        assert_eq!(passed, 5_000);
    }

    #[test]
    fn full_buckets_make_room_first() {
        let limiter = RateLimiter::new(64);
        let (slow, quick) = (quota(1, 1_000_000, 1), quota(1000, 1000, 0));
        assert!(limiter.take("victim", slow, 1, 0).allowed);
        for other in 0..10_000u64 {
            assert!(limiter.take(&other.to_string(), quick, 1, other * 10).allowed);
            assert!(limiter.keys() <= 64);
        }
        assert!(!limiter.take("victim", slow, 1, 100_000).allowed);
        assert_eq!(limiter.forgotten(), 0);
        assert!(limiter.keys() < 10, "places are reused before the table grows: {}", limiter.keys());
    }

    #[test]
    fn a_flood_of_keys_stays_within_the_bound_and_is_counted() {
        let limiter = RateLimiter::new(1_000);
        for key in 0..50_000u64 {
            assert!(limiter.take(&key.to_string(), quota(1, 1_000_000, 1), 1, 0).allowed);
        }
        assert!((900..=1_000).contains(&limiter.keys()), "{}", limiter.keys());
        assert_eq!(limiter.forgotten(), 50_000 - limiter.keys() as u64);
    }

    /// The same bucket in exact fractions: points in 128 bits, always brought up to date.
    struct Oracle {
        level: u128,
        at_ms: u64,
    }

    impl Oracle {
        fn take(&mut self, quota: Quota, cost: u32, now_ms: u64) -> bool {
            let leaked = u128::from(now_ms - self.at_ms) * u128::from(quota.requests);
            self.level = self.level.saturating_sub(leaked);
            self.at_ms = now_ms;
            let needed = u128::from(cost) * u128::from(quota.per_ms);
            let fits = self.level + needed <= u128::from(quota.burst) * u128::from(quota.per_ms);
            self.level += if fits { needed } else { 0 };
            fits
        }
    }

    proptest! {
        #[test]
        fn laws(
            requests in 1..5_000u32,
            per_ms in 1..100_000u32,
            burst in 1..200u32,
            steps in prop::collection::vec((0..3_000u64, 0..12u32), 1..200),
        ) {
            let quota = quota(requests, per_ms, burst);
            let limiter = RateLimiter::default();
            let mut oracle = Oracle { level: 0, at_ms: 1_000 };
            let mut now = 1_000;
            let mut taken: Vec<(u64, u32)> = Vec::new();
            for (wait, cost) in steps {
                now += wait;
                let before = limiter.take("k", quota, 0, now);
                let got = limiter.take("k", quota, cost, now);
                prop_assert_eq!(got.allowed, oracle.take(quota, cost, now));
                prop_assert_eq!(got.allowed, cost <= before.remaining);
                prop_assert_eq!(got.remaining, before.remaining - if got.allowed { cost } else { 0 });
                prop_assert_eq!(got.retry_after_ms == NEVER_MS, cost > burst);
                // The burst is whole after `reset_ms` and not a millisecond before.
                let reset = now + u64::from(got.reset_ms);
                prop_assert_eq!(limiter.take("k", quota, 0, reset).remaining, burst);
                if got.reset_ms > 0 {
                    prop_assert!(limiter.take("k", quota, 0, reset - 1).reset_ms > 0);
                }
                if got.allowed {
                    taken.push((now, cost));
                } else if cost <= burst {
                    let retry = now + u64::from(got.retry_after_ms);
                    prop_assert!(limiter.take("k", quota, 0, retry).remaining >= cost);
                    prop_assert!(limiter.take("k", quota, 0, retry - 1).remaining < cost);
                }
            }
            // In no window does more pass than the burst and what the time gives back.
            for (from, &(start, _)) in taken.iter().enumerate() {
                let mut sum = 0u128;
                for &(end, cost) in &taken[from..] {
                    sum += u128::from(cost);
                    let given_back = u128::from(end - start) * u128::from(requests);
                    prop_assert!(sum * u128::from(per_ms) <= u128::from(burst) * u128::from(per_ms) + given_back);
                }
            }
        }
    }
}
