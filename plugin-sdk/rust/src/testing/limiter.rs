//! A token bucket per key. Small and exact; it behaves like the gateway's own.

use std::{collections::BTreeMap, time::Duration};

use crate::rate_limit::{Outcome, Quota};

#[derive(Clone, Debug, Default)]
pub(crate) struct Limiter {
    buckets: BTreeMap<String, Bucket>,
}

/// Levels are counted in tokens times the quota's milliseconds, so that refilling is exact: a millisecond adds
/// `requests` of these units.
#[derive(Clone, Debug)]
struct Bucket {
    level: u128,
    at: Duration,
}

impl Limiter {
    pub(crate) fn take(&mut self, key: &str, quota: Quota, cost: u32, now: Duration) -> Outcome {
        let token = quota.per.as_millis().max(1);
        let requests = u128::from(quota.requests.max(1));
        let burst = u128::from(if quota.burst == 0 { quota.requests } else { quota.burst });
        let full = burst * token;
        let bucket = self.buckets.entry(key.to_owned()).or_insert(Bucket { level: full, at: now });
        let elapsed_ms = now.saturating_sub(bucket.at).as_millis();
        bucket.level = full.min(bucket.level + elapsed_ms * requests);
        bucket.at = now;

        let price = u128::from(cost) * token;
        let allowed = price <= bucket.level;
        if allowed {
            bucket.level -= price;
        }
        let wait = |missing: u128| Duration::from_millis(u64::try_from(missing.div_ceil(requests)).unwrap_or(u64::MAX));
        Outcome {
            allowed,
            remaining: u32::try_from(bucket.level / token).unwrap_or(u32::MAX),
            reset: wait(full - bucket.level),
            retry_after: if allowed { Duration::ZERO } else { wait(price - bucket.level) },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_then_the_rate() {
        let quota = Quota { requests: 2, per: Duration::from_secs(1), burst: 3 };
        let mut limiter = Limiter::default();
        let mut take = |ms, cost| {
            let outcome = limiter.take("k", quota, cost, Duration::from_millis(ms));
            (outcome.allowed, outcome.remaining, outcome.reset.as_millis(), outcome.retry_after.as_millis())
        };
        assert_eq!(take(0, 1), (true, 2, 500, 0));
        assert_eq!(take(0, 2), (true, 0, 1500, 0));
        assert_eq!(take(0, 1), (false, 0, 1500, 500));
        assert_eq!(take(499, 1), (false, 0, 1001, 1));
        assert_eq!(take(500, 1), (true, 0, 1500, 0));
        assert_eq!(take(9000, 4), (false, 3, 0, 500), "more than the burst is never there");
    }

    #[test]
    fn keys_are_apart() {
        let quota = Quota { requests: 1, per: Duration::from_secs(60), burst: 0 };
        let mut limiter = Limiter::default();
        assert!(limiter.take("a", quota, 1, Duration::ZERO).allowed);
        assert!(!limiter.take("a", quota, 1, Duration::ZERO).allowed);
        assert!(limiter.take("b", quota, 1, Duration::ZERO).allowed);
    }
}
