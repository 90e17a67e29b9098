//! Limits counted in the server: the rules of `rate_limit`, in one script.

use std::time::Instant;

use super::ahead::Unused;
use super::script::TAKE;
use super::{Away, Share};
use crate::capability::rate_limit::{Outcomes, Rule, Window};
use crate::capability::table::Print;
use crate::capability::token_bucket::{Outcome, Quota, clamp};
use crate::capability::turns::Taken;

impl Share {
    /// As `RateLimiter::take_all`, over all gateways.
    ///
    /// # Errors
    /// The server did not decide.
    pub async fn take(&self, key: &str, rules: &[Rule], cost: u32) -> Result<Outcomes, Away> {
        if self.remote.settings().ahead <= 1 || cost == 0 || !self.stocks.suit(rules) {
            return self.take_just(key, rules, cost).await;
        }
        let print = self.stocks.print(key, rules);
        if let Some(outcomes) = self.stocks.spend(print, cost) {
            return Ok(outcomes);
        }
        let (turns, name) = (&self.stocks.turns, print.to_string());
        let until = Instant::now() + self.remote.settings().timeout;
        loop {
            match turns.take(&name, until.saturating_duration_since(Instant::now())).await {
                Taken::Own(turn) => {
                    // Another caller's turn may just have ended.
                    if let Some(outcomes) = self.stocks.spend(print, cost) {
                        return Ok(outcomes);
                    }
                    let told = self.take_ahead(print, key, rules, cost).await;
                    turn.done(told.as_ref().map(drop).map_err(Clone::clone));
                    return told;
                }
                Taken::Done(Ok(())) => {
                    if let Some(outcomes) = self.stocks.spend(print, cost) {
                        return Ok(outcomes);
                    }
                }
                Taken::Done(Err(away)) => return Err(away),
                // So many callers are waiting that they will use up everything that is taken.
                Taken::TimedOut => return self.take_just(key, rules, cost).await,
            }
        }
    }

    async fn take_just(&self, key: &str, rules: &[Rule], cost: u32) -> Result<Outcomes, Away> {
        Ok(self.ask(key, rules, Want { cost, most: cost, back: Unused::default() }).await?.outcomes)
    }

    /// Gives back the rest of the last stock and takes the next one.
    async fn take_ahead(&self, print: Print, key: &str, rules: &[Rule], cost: u32) -> Result<Outcomes, Away> {
        let asked_at_ms = self.stocks.now_ms();
        // If the query fails it is unknown whether the rest was given back, so it is removed here in any case.
        let back = self.stocks.withdraw(print);
        let most = self.remote.settings().ahead.max(cost);
        let taken = self.ask(key, rules, Want { cost, most, back }).await?;
        Ok(self.stocks.put(print, rules, cost, &taken, asked_at_ms))
    }

    /// Takes what is wanted, or nothing.
    pub(super) async fn ask(&self, key: &str, rules: &[Rule], want: Want) -> Result<Takings, Away> {
        let mut call = TAKE.prepare_invoke();
        call.arg(want.cost).arg(want.most).arg(want.back.number).arg(want.back.counted_until_ms);
        for rule in rules {
            let (kind, [first, second, third]) = arguments(rule);
            call.key(self.own_key(key, format_args!("{kind}:{first}:{second}:{third}")));
            call.arg(kind).arg(first).arg(second).arg(third);
        }
        let told: Vec<i64> =
            self.remote.links.ask(|mut redis| async move { call.invoke_async(&mut redis).await }).await?;
        Takings::read(&told, rules.len()).ok_or_else(|| Away::Failed("its answer is none".to_owned()))
    }
}

/// A request to the server.
#[derive(Clone, Copy, Debug)]
pub(super) struct Want {
    /// The minimum to take.
    pub cost: u32,
    /// The maximum to take; beyond the cost, no more than the script's share of what is left.
    pub most: u32,
    /// What is given back before.
    pub back: Unused,
}

/// What the script has taken.
#[derive(Debug)]
pub(super) struct Takings {
    /// The server's clock, milliseconds since 1970.
    pub now_ms: u64,
    pub number: u32,
    pub outcomes: Outcomes,
}

impl Takings {
    fn read(told: &[i64], rules: usize) -> Option<Takings> {
        let [now_ms, number, rest @ ..] = told else { return None };
        let small = |number: i64| clamp(u64::try_from(number).unwrap_or(0));
        let outcomes: Outcomes = rest
            .chunks_exact(4)
            .map(|told| Outcome {
                allowed: told[0] != 0,
                remaining: small(told[1]),
                reset_ms: small(told[2]),
                retry_after_ms: small(told[3]),
            })
            .collect();
        let now_ms = u64::try_from(*now_ms).ok()?;
        (outcomes.len() == rules).then_some(Takings { now_ms, number: small(*number), outcomes })
    }
}

/// A rule in the script's format, which also distinguishes its key from those of other rules.
fn arguments(rule: &Rule) -> (&'static str, [u64; 3]) {
    let window = |window: &Window| {
        let length = u64::from(window.length_ms.max(1));
        // Windows with the same boundaries count together, whichever of them was named.
        [window.requests.into(), length, window.anchor_ms % length]
    };
    match rule {
        Rule::TokenBucket(Quota { requests, per_ms, burst }) => {
            let burst = if *burst == 0 { *requests } else { *burst };
            ("b", [(*requests).into(), (*per_ms).max(1).into(), burst.into()])
        }
        Rule::FixedWindow(fixed) => ("f", window(fixed)),
        Rule::SlidingWindow(sliding) => ("s", window(sliding)),
    }
}
