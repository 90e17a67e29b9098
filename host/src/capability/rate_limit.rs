//! `rate-limit`: several limits in one decision, each counted in its own way.
//!
//! A request that is under all limits is counted by all, and one that is over any by none: so with "10/s and 1,000/h" a
//! request that the limit per second refuses takes nothing from the hour. All limits of a key are in one shard, so one
//! lock is one decision, and of any number of threads exactly as many pass as there is room for.
//!
//! A count is found by a 128-bit keyed hash of the key **and** the rule (`table`), so a plugin may use one key under
//! two quotas without mixing their units. Counts that are equivalent to none, such as a full bucket, are evicted from
//! the table first.
//!
//! * A token bucket refills evenly; it is the bucket of `token_bucket`.
//! * A fixed window starts with the full number; what is unused at its end is lost. Windows are aligned to a time on
//!   the wall clock, so a day can end at midnight where the operator lives, on all gateways at once.
//! * A sliding window also counts the remainder of the previous window: its count fades out evenly over the current
//!   one. So twice the limit can never come around a boundary. It is the usual approximation with two counters, not a
//!   log of every request: requests of the last window count as if they had been evenly spread.
//!
//! The wall clock may be set back; a window then continues, and is never granted twice.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use smallvec::SmallVec;

use super::table::{Print, Table, Tables};
use super::token_bucket::{self, NEVER_MS, Outcome, Quota, Rate, clamp};

/// The counts of one plugin configuration, for as long as it lives.
pub struct RateLimiter {
    counts: Tables<Count>,
    forgotten: AtomicU64,
}

/// One limit and how it counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Rule {
    TokenBucket(Quota),
    FixedWindow(Window),
    SlidingWindow(Window),
}

/// `requests` in a window of `length_ms`; one of the windows begins at `anchor_ms`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Window {
    pub requests: u32,
    /// 0 counts as 1.
    pub length_ms: u32,
    /// Milliseconds since 1970 (UTC).
    pub anchor_ms: u64,
}

/// The time of a decision, on both clocks.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// Never goes back.
    pub monotonic_ms: u64,
    /// Since 1970 (UTC).
    pub wall_ms: u64,
}

/// One for each rule, in their order.
pub type Outcomes = SmallVec<[Outcome; 4]>;

impl RateLimiter {
    /// Keeps counts for at most `max_keys` keys and rules ([`token_bucket::DEFAULT_MAX_KEYS`]). The limit applies per
    /// shard, so with evenly spread keys the first significant count is forgotten at about nine tenths of it.
    pub fn new(max_keys: usize) -> RateLimiter {
        RateLimiter { counts: Tables::new(max_keys), forgotten: AtomicU64::new(0) }
    }

    /// Takes `cost` from the token bucket of `key`, whole or not at all: what [`RateLimiter::take_all`] does with
    /// this one rule.
    ///
    /// `now_ms` comes from a clock that does not go back; threads whose readings are a little out of order are fine.
    pub fn take(&self, key: &str, quota: Quota, cost: u32, now_ms: u64) -> Outcome {
        let print = self.print(key, &Rule::TokenBucket(quota));
        let mut table = self.counts.of(print);
        let known = table.find(print);
        let verdict = bucket(quota, table.get(known).map(|(_, count)| count), cost, now_ms);
        if verdict.outcome.allowed && cost > 0 {
            self.keep(&mut table, (print, known), &verdict, now_ms);
        }
        verdict.outcome
    }

    /// Takes `cost` from every rule's count under `key`, or from none. A cost of 0 only looks.
    pub fn take_all(&self, key: &str, rules: &[Rule], cost: u32, now: Now) -> Outcomes {
        let prints: SmallVec<[Print; 4]> = rules.iter().map(|rule| self.print(key, rule)).collect();
        let Some(first) = prints.first() else { return Outcomes::new() };
        let mut table = self.counts.of(*first);
        let entries: SmallVec<[_; 4]> = prints
            .iter()
            .map(|print| {
                let known = table.find(*print);
                (*print, known, table.get(known).map(|(_, count)| count))
            })
            .collect();
        let verdicts: SmallVec<[Verdict; 4]> =
            rules.iter().zip(&entries).map(|(rule, (_, _, count))| rule.judge(*count, cost, now)).collect();
        let all_allow = verdicts.iter().all(|verdict| verdict.outcome.allowed);
        if all_allow && cost > 0 {
            for ((print, _, _), verdict) in entries.iter().zip(&verdicts) {
                // Looked up again: an earlier rule may have evicted a neighbour.
                let known = table.find(*print);
                self.keep(&mut table, (*print, known), verdict, now.monotonic_ms);
            }
        }
        // Nothing was taken, so the outcome must not say so.
        let told = |(rule, (verdict, (_, _, count))): (&Rule, (&Verdict, &(_, _, Option<Count>)))| match all_allow {
            true => verdict.outcome,
            false => {
                let untouched = rule.judge(*count, 0, now).outcome;
                let Outcome { allowed, retry_after_ms, .. } = verdict.outcome;
                Outcome { allowed, retry_after_ms, ..untouched }
            }
        };
        rules.iter().zip(verdicts.iter().zip(&entries)).map(told).collect()
    }

    /// The key selects the shard, and the rule distinguishes its entry from those of other rules.
    fn print(&self, key: &str, rule: &Rule) -> Print {
        self.counts.print_beside(&key, &(key, rule))
    }

    /// `known` is where it was found just before.
    fn keep(&self, table: &mut Table<Count>, (print, known): (Print, Option<u32>), verdict: &Verdict, now_ms: u64) {
        let gone_at_ms = now_ms.saturating_add(verdict.gone_in_ms);
        if !table.put(print, known, gone_at_ms, verdict.count, now_ms) {
            self.forgotten.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Forgets every count.
    pub fn clear(&self) {
        self.counts.clear();
    }

    /// The number of counts, including insignificant ones that wait to be reused.
    pub fn keys(&self) -> usize {
        self.counts.len()
    }

    /// How many significant counts were forgotten: above 0 the limit is too small for the traffic.
    pub fn forgotten(&self) -> u64 {
        self.forgotten.load(Ordering::Relaxed)
    }
}

impl Default for RateLimiter {
    fn default() -> RateLimiter {
        RateLimiter::new(token_bucket::DEFAULT_MAX_KEYS)
    }
}

/// The stored count of one key and rule.
#[derive(Clone, Copy, Debug)]
enum Count {
    /// As in `token_bucket`, on the monotonic clock.
    Bucket { full_at_ms: u64, slack: u32 },
    /// `index` counts windows from the anchor.
    Window { index: i64, used: u32, before: u32 },
}

/// A rule's verdict, and the count to store if all rules allow.
struct Verdict {
    outcome: Outcome,
    count: Count,
    /// After this time the count is equivalent to none.
    gone_in_ms: u64,
}

impl Rule {
    fn judge(&self, count: Option<Count>, cost: u32, now: Now) -> Verdict {
        match self {
            Rule::TokenBucket(quota) => bucket(*quota, count, cost, now.monotonic_ms),
            Rule::FixedWindow(window) => window.fixed(count, cost, now.wall_ms),
            Rule::SlidingWindow(window) => window.sliding(count, cost, now.wall_ms),
        }
    }
}

fn bucket(quota: Quota, count: Option<Count>, cost: u32, now_ms: u64) -> Verdict {
    let rate = Rate::of(quota);
    let kept = |level, outcome| {
        let (full_at_ms, slack) = rate.fill(level, now_ms);
        let gone_in_ms = full_at_ms.saturating_sub(now_ms);
        Verdict { outcome, count: Count::Bucket { full_at_ms, slack }, gone_in_ms }
    };
    if rate.leak == 0 {
        let outcome = Outcome { allowed: false, remaining: 0, reset_ms: NEVER_MS, retry_after_ms: NEVER_MS };
        return Verdict { outcome, count: Count::Bucket { full_at_ms: 0, slack: 0 }, gone_in_ms: 0 };
    }
    let level = match count {
        Some(Count::Bucket { full_at_ms, slack }) => rate.level(full_at_ms, slack, now_ms),
        _ => 0,
    };
    let needed = u64::from(cost) * rate.cost;
    let free = rate.capacity - level;
    if needed > free {
        let wait = if needed > rate.capacity { NEVER_MS } else { clamp((needed - free).div_ceil(rate.leak)) };
        return kept(level, rate.outcome(level, Some(wait)));
    }
    kept(level + needed, rate.outcome(level + needed, None))
}

impl Window {
    fn length(&self) -> u64 {
        u64::from(self.length_ms.max(1))
    }

    /// The count in the current window, and how much of the window has passed.
    fn at(&self, count: Option<Count>, wall_ms: u64) -> (i64, u32, u32, u64) {
        let length = i128::from(self.length());
        let since = i128::from(wall_ms) - i128::from(self.anchor_ms);
        // Both fit: 2^64 milliseconds divided by at least one, and a remainder below 2^32.
        let index = i64::try_from(since.div_euclid(length)).unwrap_or(i64::MAX);
        let elapsed = u64::try_from(since.rem_euclid(length)).unwrap_or(0);
        match count {
            Some(Count::Window { index: kept, used, before }) if kept == index => (index, used, before, elapsed),
            Some(Count::Window { index: kept, used, .. }) if kept.checked_add(1) == Some(index) => {
                (index, 0, used, elapsed)
            }
            // The clock was set back: the current window continues, at its beginning.
            Some(Count::Window { index: kept, used, before }) if kept > index => (kept, used, before, 0),
            _ => (index, 0, 0, elapsed),
        }
    }

    fn fixed(&self, count: Option<Count>, cost: u32, wall_ms: u64) -> Verdict {
        let (index, used, _, elapsed) = self.at(count, wall_ms);
        let left_ms = self.length() - elapsed;
        let sum = used.checked_add(cost).filter(|sum| *sum <= self.requests);
        let kept = sum.unwrap_or(used);
        let outcome = Outcome {
            allowed: sum.is_some(),
            remaining: self.requests.saturating_sub(kept),
            reset_ms: if kept > 0 { clamp(left_ms) } else { 0 },
            retry_after_ms: match sum {
                Some(_) => 0,
                None if cost > self.requests => NEVER_MS,
                None => clamp(left_ms),
            },
        };
        Verdict { outcome, count: Count::Window { index, used: kept, before: 0 }, gone_in_ms: left_ms }
    }

    fn sliding(&self, count: Option<Count>, cost: u32, wall_ms: u64) -> Verdict {
        let (index, used, before, elapsed) = self.at(count, wall_ms);
        let length = self.length();
        let left_ms = length - elapsed;
        // In request-milliseconds: products of two 32-bit numbers, and a sum of three of them in 128 bits.
        let wide = |number: u32| u128::from(number) * u128::from(length);
        let faded = u128::from(before) * u128::from(left_ms);
        let allowed = wide(used) + faded + wide(cost) <= wide(self.requests);
        let kept = if allowed { used.saturating_add(cost) } else { used };
        let free = wide(self.requests).saturating_sub(wide(kept) + faded);
        let outcome = Outcome {
            allowed,
            remaining: u32::try_from(free / u128::from(length)).unwrap_or(u32::MAX),
            reset_ms: match (kept, before) {
                (0, 0) => 0,
                (0, _) => clamp(left_ms),
                _ => clamp(left_ms.saturating_add(length)),
            },
            retry_after_ms: if allowed { 0 } else { self.wait(used, before, cost, left_ms) },
        };
        let gone_in_ms = left_ms.saturating_add(length);
        Verdict { outcome, count: Count::Window { index, used: kept, before }, gone_in_ms }
    }

    /// Milliseconds until `cost` has room, if nothing else is taken meanwhile.
    fn wait(&self, used: u32, before: u32, cost: u32, left_ms: u64) -> u32 {
        let Some(room) = self.requests.checked_sub(cost) else { return NEVER_MS };
        let length = u128::from(self.length());
        // The time until `count`, faded from a window with `left` remaining, is down to `room`.
        let fade = |count: u32, room: u32, left: u128| {
            let over = (u128::from(count) * left).saturating_sub(u128::from(room) * length);
            over.div_ceil(u128::from(count.max(1)))
        };
        let wait = match room.checked_sub(used) {
            // Once the previous window has faded enough.
            Some(room) => fade(before, room, u128::from(left_ms)),
            // Once this window is the previous one, and has faded enough.
            None => u128::from(left_ms) + fade(used, room, length),
        };
        clamp(u64::try_from(wait).unwrap_or(u64::MAX))
    }
}

/// Windows of a day and longer are counted in 32 bits of milliseconds: 49 days.
pub const LONGEST_WINDOW: Duration = Duration::from_millis(u32::MAX as u64);

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const DAY_MS: u32 = 86_400_000;

    fn window(requests: u32, length_ms: u32) -> Window {
        Window { requests, length_ms, anchor_ms: 0 }
    }

    fn at(ms: u64) -> Now {
        Now { monotonic_ms: ms, wall_ms: ms }
    }

    fn one(limiter: &RateLimiter, rule: Rule, cost: u32, ms: u64) -> (bool, u32, u32, u32) {
        let outcomes = limiter.take_all("k", &[rule], cost, at(ms));
        let Outcome { allowed, remaining, reset_ms, retry_after_ms } = outcomes[0];
        (allowed, remaining, reset_ms, retry_after_ms)
    }

    #[test]
    fn a_fixed_window_begins_anew_at_its_border() {
        let limiter = RateLimiter::default();
        let rule = Rule::FixedWindow(window(3, 1000));
        assert_eq!(one(&limiter, rule, 0, 400), (true, 3, 0, 0));
        assert_eq!(one(&limiter, rule, 2, 400), (true, 1, 600, 0));
        assert_eq!(one(&limiter, rule, 2, 900), (false, 1, 100, 100), "whole or not at all");
        assert_eq!(one(&limiter, rule, 1, 999), (true, 0, 1, 0));
        assert_eq!(one(&limiter, rule, 1, 999), (false, 0, 1, 1));
        assert_eq!(one(&limiter, rule, 3, 1000), (true, 0, 1000, 0));
        limiter.clear();
        assert_eq!((one(&limiter, rule, 0, 1000), limiter.keys()), ((true, 3, 0, 0), 0), "forgotten");
        assert_eq!(one(&limiter, rule, 4, 2000), (false, 3, 0, NEVER_MS));
    }

    #[test]
    fn windows_begin_where_the_anchor_says() {
        let limiter = RateLimiter::default();
        // Midnight at UTC+2, given as a much later moment.
        let local = Window { requests: 1, length_ms: DAY_MS, anchor_ms: 100 * u64::from(DAY_MS) - 7_200_000 };
        let midnight = 20 * u64::from(DAY_MS) - 7_200_000;
        let rule = Rule::FixedWindow(local);
        assert_eq!(one(&limiter, rule, 1, midnight - 1), (true, 0, 1, 0));
        assert_eq!(one(&limiter, rule, 1, midnight - 1), (false, 0, 1, 1));
        assert_eq!(one(&limiter, rule, 1, midnight), (true, 0, DAY_MS, 0));
    }

    #[test]
    fn a_sliding_window_fades_the_one_before() {
        let limiter = RateLimiter::default();
        let rule = Rule::SlidingWindow(window(10, 1000));
        assert_eq!(one(&limiter, rule, 10, 900), (true, 0, 1100, 0));
        assert_eq!(one(&limiter, rule, 1, 999), (false, 0, 1001, 101), "until a tenth of it has faded");
        assert_eq!(one(&limiter, rule, 1, 1099), (false, 0, 901, 1));
        assert_eq!(one(&limiter, rule, 1, 1100), (true, 0, 1900, 0));
        assert_eq!(one(&limiter, rule, 1, 1500), (true, 3, 1500, 0));
        assert_eq!(one(&limiter, rule, 11, 1500), (false, 3, 1500, NEVER_MS));
        assert_eq!(one(&limiter, rule, 10, 3000), (true, 0, 2000, 0), "two windows later nothing is left");
    }

    #[test]
    fn a_token_bucket_is_one_whichever_way_it_is_taken_of() {
        let [one, all, mixed] = [0; 3].map(|_| RateLimiter::default());
        let quota = Quota { requests: 3, per_ms: 1000, burst: 5 };
        for (cost, ms) in [(1, 0), (4, 0), (1, 0), (1, 333), (1, 334), (6, 400), (2, 5000), (0, 5001)] {
            let take = |limiter: &RateLimiter| limiter.take("k", quota, cost, ms);
            let take_all = |limiter: &RateLimiter| limiter.take_all("k", &[Rule::TokenBucket(quota)], cost, at(ms))[0];
            let own = take(&one);
            assert_eq!(take_all(&all), own, "{cost} at {ms}");
            assert_eq!(if cost % 2 == 0 { take(&mixed) } else { take_all(&mixed) }, own, "{cost} at {ms}");
        }
    }

    #[test]
    fn what_one_limit_refuses_no_other_counts() {
        let limiter = RateLimiter::default();
        let rules = [Rule::FixedWindow(window(2, 1000)), Rule::FixedWindow(window(5, 60_000))];
        let take = |cost, ms| {
            let outcomes = limiter.take_all("k", &rules, cost, at(ms));
            (outcomes.iter().all(|outcome| outcome.allowed), outcomes[0].remaining, outcomes[1].remaining)
        };
        assert_eq!(take(2, 0), (true, 0, 3));
        for _ in 0..100 {
            assert_eq!(take(1, 1), (false, 0, 3));
        }
        assert_eq!(take(2, 1000), (true, 0, 1));
        assert_eq!(take(2, 2000), (false, 2, 1), "the minute refuses, and the second keeps its two");
        assert_eq!(take(1, 2000), (true, 1, 0));
    }

    #[test]
    fn a_clock_that_is_set_back_gives_nothing_away() {
        let limiter = RateLimiter::default();
        for rule in [Rule::FixedWindow(window(5, 1000)), Rule::SlidingWindow(window(5, 1000))] {
            assert!(one(&limiter, rule, 5, 10_500).0);
            assert!(!one(&limiter, rule, 1, 9_900).0);
            assert!(!one(&limiter, rule, 1, 0).0);
            assert!(one(&limiter, rule, 5, 12_000).0);
        }
    }

    #[test]
    fn of_many_threads_exactly_the_budget_passes() {
        for rule in [Rule::FixedWindow(window(5_000, DAY_MS)), Rule::SlidingWindow(window(5_000, DAY_MS))] {
            let limiter = RateLimiter::default();
            let wide = Rule::TokenBucket(Quota { requests: u32::MAX, per_ms: 1000, burst: 0 });
            let take = || limiter.take_all("k", &[wide, rule], 1, at(7)).iter().all(|outcome| outcome.allowed);
            let passed: usize = std::thread::scope(|scope| {
                let takers: Vec<_> = (0..8).map(|_| scope.spawn(|| (0..2_000).filter(|_| take()).count())).collect();
                takers.into_iter().map(|taker| taker.join().unwrap()).sum()
            });
            assert_eq!(passed, 5_000, "{rule:?}");
        }
    }

    proptest! {
        /// Waiting for exactly the given time succeeds, and a millisecond less does not.
        #[test]
        fn the_wait_is_neither_too_long_nor_too_short(
            requests in 1u32..20,
            length in 1u32..5000,
            takes in prop::collection::vec((1u32..5, 0u64..3000), 1..20),
        ) {
            for rule in [Rule::FixedWindow(window(requests, length)), Rule::SlidingWindow(window(requests, length))] {
                let limiter = RateLimiter::default();
                let mut now = 0;
                for (cost, pause) in &takes {
                    now += pause;
                    let outcome = limiter.take_all("k", &[rule], *cost, at(now))[0];
                    if outcome.allowed || outcome.retry_after_ms == NEVER_MS {
                        prop_assert!(outcome.allowed || *cost > requests);
                        continue;
                    }
                    let wait = u64::from(outcome.retry_after_ms);
                    prop_assert!(wait > 0);
                    prop_assert!(!rule_allows(&limiter, rule, *cost, now + wait - 1));
                    prop_assert!(rule_allows(&limiter, rule, *cost, now + wait));
                }
            }
        }

        /// No aligned window lets more pass than the limit.
        #[test]
        fn no_window_lets_more_pass_than_it_holds(
            requests in 1u32..20,
            length in 10u32..1000,
            pauses in prop::collection::vec(0u64..200, 1..200),
        ) {
            for rule in [Rule::FixedWindow(window(requests, length)), Rule::SlidingWindow(window(requests, length))] {
                let limiter = RateLimiter::default();
                let (mut now, mut passed) = (0, std::collections::BTreeMap::<u64, u32>::new());
                for pause in &pauses {
                    now += pause;
                    if limiter.take_all("k", &[rule], 1, at(now))[0].allowed {
                        *passed.entry(now / u64::from(length)).or_default() += 1;
                    }
                }
                prop_assert!(passed.values().all(|count| *count <= requests), "{passed:?}");
            }
        }
    }

    /// Whether it would pass then; nothing is taken.
    fn rule_allows(limiter: &RateLimiter, rule: Rule, cost: u32, ms: u64) -> bool {
        let print = limiter.print("k", &rule);
        let table = limiter.counts.of(print);
        let count = table.get(table.find(print)).map(|(_, count)| count);
        rule.judge(count, cost, at(ms)).outcome.allowed
    }
}
