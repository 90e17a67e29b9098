//! `rate-limit` and `concurrency`: what limits plugins count with, behind the contract's interfaces.

use smallvec::SmallVec;
use wasmtime::{Error, Result};

use super::abilities::{now_ms, since_epoch};
use super::bindings::concurrency;
use super::bindings::rate_limit::{self, LimitError, Outcome, Quota, Rule, Window};
use super::run::Held;
use super::state::State;
use crate::capability::{rate_limit as limits, token_bucket};

impl rate_limit::Host for State {
    fn take(&mut self, key: String, quota: Quota, cost: u32) -> Result<Outcome> {
        self.charge()?;
        Ok(self.lent.abilities.limiter.take(&key, quota.into(), cost, now_ms()).into())
    }

    fn take_all(&mut self, key: String, rules: Vec<Rule>, cost: u32) -> Result<Result<Vec<Outcome>, LimitError>> {
        self.charge()?;
        let Some(rules) = self::rules(rules) else { return Ok(Err(LimitError::LimitExceeded)) };
        let outcomes = self.lent.abilities.limiter.take_all(&key, &rules, cost, now());
        Ok(Ok(outcomes.into_iter().map(Into::into).collect()))
    }
}

impl concurrency::Host for State {
    fn enter(&mut self, key: String, limit: u32) -> Result<concurrency::Outcome> {
        self.charge()?;
        self.has_exchange()?;
        let entered = self.lent.abilities.places.enter(&key, limit);
        self.hold(entered.place.map(|place| Held::Own { _place: place }), entered.taken)
    }
}

impl State {
    /// Gives the exchange the concurrency slot that was taken for it.
    pub(super) fn hold(&mut self, held: Option<Held>, taken: u32) -> Result<concurrency::Outcome> {
        let allowed = held.is_some();
        if let Some(held) = held {
            let slot = self.exchange.run.slot(self.position);
            slot.ok_or_else(|| Error::msg("the plugin is not in the chain of this exchange"))?.places.push(held);
        }
        Ok(concurrency::Outcome { allowed, taken })
    }
}

/// The rules of one decision; none if there are too many, or no rules.
pub(super) fn rules(rules: Vec<Rule>) -> Option<SmallVec<[limits::Rule; 4]>> {
    (1..=MOST_RULES).contains(&rules.len()).then(|| rules.into_iter().map(Into::into).collect())
}

/// The current time of both clocks.
pub(super) fn now() -> limits::Now {
    let wall_ms = u64::try_from(since_epoch().as_millis()).unwrap_or(u64::MAX);
    limits::Now { monotonic_ms: now_ms(), wall_ms }
}

impl From<Quota> for token_bucket::Quota {
    fn from(Quota { requests, per_ms, burst }: Quota) -> Self {
        token_bucket::Quota { requests, per_ms, burst }
    }
}

impl From<Window> for limits::Window {
    fn from(Window { requests, length_ms, anchor_ms }: Window) -> Self {
        limits::Window { requests, length_ms, anchor_ms }
    }
}

impl From<Rule> for limits::Rule {
    fn from(rule: Rule) -> Self {
        match rule {
            Rule::TokenBucket(quota) => limits::Rule::TokenBucket(quota.into()),
            Rule::FixedWindow(window) => limits::Rule::FixedWindow(window.into()),
            Rule::SlidingWindow(window) => limits::Rule::SlidingWindow(window.into()),
        }
    }
}

impl From<token_bucket::Outcome> for Outcome {
    fn from(token_bucket::Outcome { allowed, remaining, reset_ms, retry_after_ms }: token_bucket::Outcome) -> Self {
        Outcome { allowed, remaining, reset_ms, retry_after_ms }
    }
}

/// The most rules of one decision.
const MOST_RULES: usize = 16;
