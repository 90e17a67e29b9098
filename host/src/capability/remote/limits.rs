//! Limits that are counted in the server: the rules of `meters`, in one script.

use super::script::TAKE;
use super::{Away, Share};
use crate::capability::limiter::{Outcome, Quota, clamp};
use crate::capability::meters::{Outcomes, Rule, Window};

impl Share {
    /// As `Meters::take_all`, over all gateways.
    ///
    /// # Errors
    /// The server did not decide.
    pub async fn take(&self, key: &str, rules: &[Rule], cost: u32) -> Result<Outcomes, Away> {
        let ahead = self.remote.settings().ahead;
        if ahead <= 1 || cost == 0 || !self.stocks.suit(rules) {
            return Ok(self.ask(key, rules, cost, cost).await?.outcomes);
        }
        if let Some(outcomes) = self.stocks.spend(key, rules, cost) {
            return Ok(outcomes);
        }
        let taken = self.ask(key, rules, cost, ahead.max(cost)).await?;
        Ok(self.stocks.put(key, rules, cost, &taken))
    }

    /// Takes from `cost` to `most`, or nothing.
    pub(super) async fn ask(&self, key: &str, rules: &[Rule], cost: u32, most: u32) -> Result<Taken, Away> {
        let mut call = TAKE.prepare_invoke();
        call.arg(cost).arg(most.max(cost));
        for rule in rules {
            let (kind, [first, second, third]) = arguments(rule);
            call.key(self.own_key(key, format_args!("{kind}:{first}:{second}:{third}")));
            call.arg(kind).arg(first).arg(second).arg(third);
        }
        let told: Vec<i64> =
            self.remote.links.ask(|mut redis| async move { call.invoke_async(&mut redis).await }).await?;
        Taken::read(&told, rules.len()).ok_or_else(|| Away::Failed("its answer is none".to_owned()))
    }
}

/// What a script has taken.
#[derive(Debug)]
pub(super) struct Taken {
    /// The server's clock, milliseconds since 1970.
    #[cfg_attr(not(test), allow(dead_code))]
    pub now_ms: u64,
    pub number: u32,
    pub outcomes: Outcomes,
}

impl Taken {
    fn read(told: &[i64], rules: usize) -> Option<Taken> {
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
        (outcomes.len() == rules).then_some(Taken { now_ms, number: small(*number), outcomes })
    }
}

/// A rule as the script takes it, which is also what tells its key from those of other rules.
fn arguments(rule: &Rule) -> (&'static str, [u64; 3]) {
    let window = |window: &Window| {
        let length = u64::from(window.length_ms.max(1));
        // Windows that lie alike count together, whichever of them was named.
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
