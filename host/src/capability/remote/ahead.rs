//! Requests that were taken ahead from the server's limits, and are used up here without asking it.
//!
//! A stock is the rest of what one key has taken at once: at most a quarter of what the limit had left. It is used
//! within [`KEPT`] and never beyond the window that it was taken from. The unused rest goes back to the server with the
//! next query for the key, as long as the server still counts it: so never more than the limit pass, and fewer only if
//! a gateway gets no further requests for the key. A refusal is kept as long as a stock, or until the wait that it
//! announced is over.
//!
//! Times here are counted from before the query: a slow response is not valid for longer.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Away;
use super::limits::Takings;
use crate::capability::rate_limit::{Outcomes, Rule};
use crate::capability::table::{Print, Tables};
use crate::capability::token_bucket::{DEFAULT_MAX_KEYS, NEVER_MS, Outcome, Quota, clamp};
use crate::capability::turns::Turns;

/// The stocks of one plugin configuration.
pub(super) struct Stocks {
    stocks: Tables<Stock>,
    began: Instant,
    /// The task that asks the server for a key, for all that wait for it. All of them get its error.
    pub turns: Arc<Turns<Result<(), Away>>>,
}

/// The local state of one key's limits.
#[derive(Clone, Copy, Debug)]
struct Stock {
    kept: Kept,
    /// Until then requests are allowed, or refused, without asking.
    good_until_ms: u64,
    /// Until then, on the server's clock, the rest can be given back.
    counted_until_ms: u64,
    /// The last outcome of each rule.
    told: [Option<Outcome>; MOST_RULES],
    told_at_ms: u64,
    /// From then on the stock can be dropped without loss.
    gone_at_ms: u64,
}

#[derive(Clone, Copy, Debug)]
enum Kept {
    /// This many may pass.
    Left(u32),
    /// Requests of this cost are refused.
    Refused(u32),
}

/// What was taken and not used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Unused {
    pub number: u32,
    /// On the server's clock, as [`Takings::now_ms`].
    pub counted_until_ms: u64,
}

impl Stocks {
    /// Whether anything can be taken ahead under these rules.
    pub fn suit(&self, rules: &[Rule]) -> bool {
        rules.len() <= MOST_RULES
    }

    pub fn print(&self, key: &str, rules: &[Rule]) -> Print {
        self.stocks.print(&(key, rules))
    }

    /// Takes from the stock, if it has enough; or returns the refusal of the server, if that is still valid.
    pub fn spend(&self, print: Print, cost: u32) -> Option<Outcomes> {
        let now_ms = self.now_ms();
        let mut table = self.stocks.of(print);
        let known = table.find(print);
        let (_, stock) = table.get(known)?;
        let (stock, outcomes) = stock.spend(cost, now_ms)?;
        table.put(print, known, stock.gone_at_ms, stock, now_ms);
        Some(outcomes)
    }

    /// Removes the rest, to be given back.
    pub fn withdraw(&self, print: Print) -> Unused {
        let now_ms = self.now_ms();
        let mut table = self.stocks.of(print);
        let known = table.find(print);
        let Some((_, stock @ Stock { kept: Kept::Left(number), counted_until_ms, .. })) = table.get(known) else {
            return Unused::default();
        };
        table.put(print, known, now_ms, stock.emptied(now_ms), now_ms);
        Unused { number, counted_until_ms }
    }

    /// Keeps what was taken beyond `cost`, or the refusal, and returns the server's outcomes.
    pub fn put(&self, print: Print, rules: &[Rule], cost: u32, taken: &Takings, asked_at_ms: u64) -> Outcomes {
        let stock = Stock::of(rules, cost, taken, asked_at_ms);
        let now_ms = self.now_ms();
        let mut table = self.stocks.of(print);
        let known = table.find(print);
        table.put(print, known, stock.gone_at_ms, stock, now_ms);
        stock.outcomes(now_ms)
    }

    pub fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

impl Default for Stocks {
    fn default() -> Stocks {
        Stocks { stocks: Tables::new(DEFAULT_MAX_KEYS), began: Instant::now(), turns: Arc::default() }
    }
}

impl Stock {
    fn of(rules: &[Rule], cost: u32, taken: &Takings, asked_at_ms: u64) -> Stock {
        let mut told = [None; MOST_RULES];
        told.iter_mut().zip(&taken.outcomes).for_each(|(place, outcome)| *place = Some(*outcome));
        let of_all = || rules.iter().zip(&taken.outcomes);
        let (kept, good_for_ms, counted_ms) = match taken.number.checked_sub(cost) {
            Some(left) if taken.number > 0 => {
                let good = of_all().map(|(rule, outcome)| rest_ms(rule, outcome)).min();
                let counted = of_all().map(|(rule, outcome)| counted_ms(rule, outcome, taken.number)).min();
                (Kept::Left(left), good, counted)
            }
            // The longest refusal counts.
            _ => (Kept::Refused(cost), taken.outcomes.iter().map(|told| told.retry_after_ms.into()).max(), None),
        };
        let good_for_ms = good_for_ms.unwrap_or(0).min(KEPT.as_millis() as u64);
        let counted_ms = counted_ms.unwrap_or(0);
        Stock {
            kept,
            good_until_ms: asked_at_ms.saturating_add(good_for_ms),
            counted_until_ms: taken.now_ms.saturating_add(counted_ms),
            told,
            told_at_ms: asked_at_ms,
            gone_at_ms: asked_at_ms.saturating_add(good_for_ms.max(counted_ms)),
        }
    }

    fn spend(self, cost: u32, now_ms: u64) -> Option<(Stock, Outcomes)> {
        if now_ms >= self.good_until_ms {
            return None;
        }
        let kept = match self.kept {
            Kept::Left(left) => Kept::Left(left.checked_sub(cost)?),
            // A higher cost waits at least as long.
            Kept::Refused(refused) if refused <= cost => self.kept,
            Kept::Refused(_) => return None,
        };
        let stock = Stock { kept, ..self };
        Some((stock, stock.outcomes(now_ms)))
    }

    fn emptied(self, now_ms: u64) -> Stock {
        Stock { kept: Kept::Left(0), gone_at_ms: now_ms, ..self }
    }

    /// The server's outcomes, with the rest here, adjusted for the time that has passed.
    fn outcomes(&self, now_ms: u64) -> Outcomes {
        let gone_by = clamp(now_ms.saturating_sub(self.told_at_ms));
        let left = match self.kept {
            Kept::Left(left) => left,
            Kept::Refused(_) => 0,
        };
        let later = |ms: u32| if ms == NEVER_MS { ms } else { ms.saturating_sub(gone_by) };
        let outcome = |told: &Outcome| Outcome {
            allowed: told.allowed,
            remaining: told.remaining.saturating_add(left),
            reset_ms: later(told.reset_ms),
            // A refusal is only returned while it lasts.
            retry_after_ms: later(told.retry_after_ms).max(u32::from(!told.allowed)),
        };
        self.told.iter().flatten().map(outcome).collect()
    }
}

/// The rest of the window from which it was taken. A bucket has none: if its requests are used up to [`KEPT`] later
/// than they were taken, as many pass in any time as the bucket allows in a time longer by that.
fn rest_ms(rule: &Rule, told: &Outcome) -> u64 {
    match rule {
        Rule::TokenBucket(_) => u64::MAX,
        Rule::FixedWindow(_) => told.reset_ms.into(),
        // The reset is the end of the next window, which counts it as well.
        Rule::SlidingWindow(window) => told.reset_ms.saturating_sub(window.length_ms.max(1)).into(),
    }
}

/// For how long the server certainly counts what was taken, whatever others take and give back: for a window until its
/// end, for a bucket until as much has leaked.
fn counted_ms(rule: &Rule, told: &Outcome, taken: u32) -> u64 {
    match rule {
        Rule::TokenBucket(Quota { requests, per_ms, .. }) => {
            u64::from(taken) * u64::from((*per_ms).max(1)) / u64::from((*requests).max(1))
        }
        Rule::FixedWindow(_) | Rule::SlidingWindow(_) => rest_ms(rule, told),
    }
}

/// With more rules nothing is taken ahead.
const MOST_RULES: usize = 4;
/// How long a stock is used, and a refusal is valid.
const KEPT: Duration = Duration::from_secs(1);

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::capability::rate_limit::Window;
    use proptest::prelude::*;
    use smallvec::smallvec;

    const SERVER_MS: u64 = 1_700_000_000_000;

    fn told(allowed: bool, remaining: u32, reset_ms: u32, retry_after_ms: u32) -> Outcome {
        Outcome { allowed, remaining, reset_ms, retry_after_ms }
    }

    fn window(length_ms: u32) -> Window {
        Window { requests: 100, length_ms, anchor_ms: 0 }
    }

    fn stock(rules: &[Rule], cost: u32, number: u32, outcomes: Outcomes) -> Stock {
        Stock::of(rules, cost, &Takings { now_ms: SERVER_MS, number, outcomes }, 500)
    }

    #[test]
    fn a_stock_is_good_for_its_window_and_a_second_at_the_most() {
        let bucket = |requests, per_ms| Rule::TokenBucket(Quota { requests, per_ms, burst: 0 });
        for (rules, outcomes, good_until_ms, counted_ms) in [
            (vec![Rule::FixedWindow(window(60_000))], vec![told(true, 90, 400, 0)], 900, 400),
            (vec![Rule::FixedWindow(window(60_000))], vec![told(true, 90, 40_000, 0)], 1500, 40_000),
            (vec![Rule::SlidingWindow(window(60_000))], vec![told(true, 90, 60_300, 0)], 800, 300),
            (vec![bucket(100, 60_000)], vec![told(true, 90, 6_000, 0)], 1500, 6_000),
            // Others have taken as well, so the bucket is not full when what was taken here has leaked.
            (vec![bucket(1_000, 1_000)], vec![told(true, 0, 900, 0)], 1500, 10),
            (
                vec![bucket(100, 60_000), Rule::FixedWindow(window(60_000))],
                vec![told(true, 90, 6_000, 0), told(true, 9, 700, 0)],
                1200,
                700,
            ),
        ] {
            let stock = stock(&rules, 1, 10, outcomes.into());
            assert_eq!(stock.good_until_ms, good_until_ms, "{rules:?}");
            assert_eq!(stock.counted_until_ms, SERVER_MS + counted_ms, "{rules:?}");
            assert!(stock.spend(1, good_until_ms - 1).is_some() && stock.spend(1, good_until_ms).is_none());
            assert!(stock.gone_at_ms >= good_until_ms && stock.gone_at_ms >= 500 + counted_ms);
        }
    }

    #[test]
    fn a_refusal_holds_for_its_cost_and_as_long_as_it_said() {
        let rules = [Rule::FixedWindow(window(60_000)), Rule::FixedWindow(window(1_000))];
        let said = smallvec![told(true, 8, 40_000, 0), told(false, 2, 300, 300)];
        let stock = stock(&rules, 5, 0, said);
        for (cost, now_ms, refused) in
            [(5, 500, true), (5, 799, true), (5, 800, false), (4, 500, false), (6, 500, true)]
        {
            assert_eq!(stock.spend(cost, now_ms).is_some(), refused, "{cost} at {now_ms}");
        }
        let (_, outcomes) = stock.spend(5, 700).unwrap();
        assert_eq!(outcomes[..], [told(true, 8, 39_800, 0), told(false, 2, 100, 100)]);
        // Even a request that can never pass is sent to the server again.
        let never = self::stock(&rules[..1], 500, 0, smallvec![told(false, 8, 40_000, NEVER_MS)]);
        assert_eq!(never.spend(500, 1499).unwrap().1[0].retry_after_ms, NEVER_MS);
        assert!(never.spend(500, 1500).is_none());
    }

    proptest! {
        #[test]
        fn what_is_spent_and_what_is_left_are_what_was_taken(
            cost in 1..20_u32,
            more in 0..200_u32,
            remaining in 0..1_000_u32,
            reset_ms in 1..3_000_u32,
            steps in prop::collection::vec((0..60_u64, 1..12_u32), 0..100),
        ) {
            let rules = [Rule::FixedWindow(window(3_000))];
            let mut stock = stock(&rules, cost, cost + more, smallvec![told(true, remaining, reset_ms, 0)]);
            let (mut now_ms, mut spent) = (500, cost);
            for (wait, cost) in steps {
                now_ms += wait;
                let Kept::Left(left) = stock.kept else { panic!("it is a stock") };
                match stock.spend(cost, now_ms) {
                    Some((next, outcomes)) => {
                        spent += cost;
                        prop_assert!(now_ms < 500 + u64::from(reset_ms.min(1_000)));
                        let gone_by = u32::try_from(now_ms - 500).unwrap();
                        prop_assert_eq!(outcomes[0], told(true, remaining + left - cost, reset_ms - gone_by, 0));
                        stock = next;
                    }
                    None => prop_assert!(left < cost || now_ms >= 500 + u64::from(reset_ms.min(1_000))),
                }
            }
            let Kept::Left(left) = stock.kept else { panic!("it is a stock") };
            prop_assert_eq!(spent + left, cost + more);
        }
    }
}
