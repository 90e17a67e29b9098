//! Several limits in one decision. Small and plain; it behaves like the gateway's own.

use std::{collections::BTreeMap, time::Duration};

use super::limiter::Limiter;
use crate::rate_limit::{Outcome, Rule, Window};

#[derive(Clone, Debug, Default)]
pub(crate) struct Meters {
    buckets: Limiter,
    /// The count of every window, by key, rule and the window's number.
    counts: BTreeMap<(String, String, u128), u32>,
}

impl Meters {
    pub(crate) fn take_all(
        &mut self,
        key: &str,
        rules: &[Rule],
        cost: u32,
        elapsed: Duration,
        wall: Duration,
    ) -> Vec<Outcome> {
        let mut trial = self.clone();
        let outcomes: Vec<Outcome> = rules.iter().map(|rule| trial.take(key, rule, cost, elapsed, wall)).collect();
        if outcomes.iter().all(|outcome| outcome.allowed) {
            *self = trial;
            return outcomes;
        }
        let looks = rules.iter().map(|rule| self.take(key, rule, 0, elapsed, wall)).collect::<Vec<_>>();
        let told =
            |(outcome, look): (Outcome, Outcome)| Outcome { remaining: look.remaining, reset: look.reset, ..outcome };
        outcomes.into_iter().zip(looks).map(told).collect()
    }

    /// Takes from one rule. Token buckets ignore the wall clock.
    pub(crate) fn take(&mut self, key: &str, rule: &Rule, cost: u32, elapsed: Duration, wall: Duration) -> Outcome {
        let (window, slides) = match rule {
            Rule::TokenBucket(quota) => return self.buckets.take(&format!("{key} {quota:?}"), *quota, cost, elapsed),
            Rule::FixedWindow(window) => (window, false),
            Rule::SlidingWindow(window) => (window, true),
        };
        let Window { requests, length, anchor } = *window;
        let length_ms = length.as_millis().max(1);
        // Shifted far after the anchor, so that the number of a window is never below zero.
        let since = wall.as_millis() + (1 << 40) * length_ms - anchor.as_millis();
        let (number, over) = (since / length_ms, since % length_ms);
        let left_ms = length_ms - over;
        let name = |number| (key.to_owned(), format!("{rule:?}"), number);
        let before = if slides { self.counts.get(&name(number - 1)).copied().unwrap_or(0) } else { 0 };
        let used = self.counts.entry(name(number)).or_default();
        let level = |used: u32| u128::from(used) * length_ms + u128::from(before) * left_ms;
        let allowed = level(used.saturating_add(cost)) <= u128::from(requests) * length_ms;
        if allowed {
            *used += cost;
        }
        let free = (u128::from(requests) * length_ms).saturating_sub(level(*used)) / length_ms;
        let end = Duration::from_millis(u64::try_from(left_ms).unwrap_or(u64::MAX));
        Outcome {
            allowed,
            remaining: u32::try_from(free).unwrap_or(u32::MAX),
            reset: if *used == 0 && before == 0 { Duration::ZERO } else { end },
            retry_after: if allowed { Duration::ZERO } else { end },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rate_limit::Quota;

    #[test]
    fn all_or_none() {
        let window =
            |requests, seconds| Window { requests, length: Duration::from_secs(seconds), anchor: Duration::ZERO };
        let rules = [Rule::FixedWindow(window(1, 10)), Rule::SlidingWindow(window(3, 100))];
        let mut meters = Meters::default();
        let mut take = |seconds| {
            let now = Duration::from_secs(seconds);
            let outcomes = meters.take_all("k", &rules, 1, now, now);
            (outcomes.iter().all(|outcome| outcome.allowed), outcomes[1].remaining)
        };
        assert_eq!(take(0), (true, 2));
        assert_eq!(take(9), (false, 2));
        assert_eq!(take(10), (true, 1));
        assert_eq!(take(20), (true, 0));
        assert_eq!(take(30), (false, 0));
        assert_eq!(take(150), (true, 0), "half of the window before has faded");
    }

    #[test]
    fn a_token_bucket_is_one_whichever_way_it_is_taken_of() {
        let rule = Rule::TokenBucket(Quota { requests: 2, per: Duration::from_secs(60), burst: 0 });
        let (mut meters, now) = (Meters::default(), Duration::ZERO);
        assert!(meters.take("k", &rule, 1, now, now).allowed);
        assert!(meters.take_all("k", &[rule], 1, now, now)[0].allowed);
        assert!(!meters.take("k", &rule, 1, now, now).allowed);
    }
}
