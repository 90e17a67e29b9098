//! `rate-limit`, `concurrency` and `shared-store` for plugins that were granted a store: the counts are on a server
//! that several gateways share, and asking it means waiting.
//!
//! Linked by hand, with the types of the generated bindings: these interfaces exist twice, and only a plugin that was
//! granted a store gets the kind that puts it on a fiber.

use std::sync::Arc;

use wasmtime::component::{Linker, LinkerInstance};
use wasmtime::{Error, Result, StoreContextMut};

use super::abilities::now_ms;
use super::artifact::Import;
use super::bindings::concurrency::Outcome as Entered;
use super::bindings::rate_limit::{LimitError, Outcome, Quota, Rule};
use super::bindings::shared_store::{Entry, StoreError, SwapError};
use super::limits::{now, rules};
use super::run::Held;
use super::state::{Call, State};
use crate::capability::rate_limit::{self as limits, Outcomes};
use crate::capability::remote::{Away, OnError, Share};
use crate::capability::token_bucket;

/// Links the imported interface, if it is one of these.
pub(super) fn link(linker: &mut Linker<State>, import: &Import) -> Result<bool> {
    match import {
        Import::RateLimit => rate_limit(linker.instance("gatewright:plugin/rate-limit@0.1.0")?)?,
        Import::Concurrency => concurrency(linker.instance("gatewright:plugin/concurrency@0.1.0")?)?,
        Import::SharedStore => shared_store(linker.instance("gatewright:plugin/shared-store@0.1.0")?)?,
        _ => return Ok(false),
    }
    Ok(true)
}

type Guest<'a> = StoreContextMut<'a, State>;
type Answer<T, E> = std::result::Result<T, E>;

fn rate_limit(mut i: LinkerInstance<'_, State>) -> Result<()> {
    i.func_wrap_async("take", |mut guest: Guest<'_>, (key, quota, cost): (String, Quota, u32)| {
        Box::new(async move { Ok((guest.data_mut().take_shared(&key, quota, cost).await?,)) })
    })?;
    i.func_wrap_async("take-all", |mut guest: Guest<'_>, (key, rules, cost): (String, Vec<Rule>, u32)| {
        Box::new(async move { Ok((guest.data_mut().take_all_shared(&key, rules, cost).await?,)) })
    })
}

fn concurrency(mut i: LinkerInstance<'_, State>) -> Result<()> {
    i.func_wrap_async("enter", |mut guest: Guest<'_>, (key, limit): (String, u32)| {
        Box::new(async move { Ok((guest.data_mut().enter_shared(&key, limit).await?,)) })
    })
}

fn shared_store(mut i: LinkerInstance<'_, State>) -> Result<()> {
    i.func_wrap_async("get", |mut guest: Guest<'_>, (key,): (String,)| {
        Box::new(async move { Ok((guest.data_mut().get_shared(&key).await?,)) })
    })?;
    i.func_wrap_async("set", |mut guest: Guest<'_>, (key, value, ttl): (String, Vec<u8>, Option<u32>)| {
        Box::new(async move { Ok((guest.data_mut().set_shared(&key, &value, ttl).await?,)) })
    })?;
    type Swap = (String, Option<u64>, Vec<u8>, Option<u32>);
    i.func_wrap_async("compare-and-set", |mut guest: Guest<'_>, (key, expected, value, ttl): Swap| {
        Box::new(async move { Ok((guest.data_mut().swap_shared(&key, expected, &value, ttl).await?,)) })
    })?;
    i.func_wrap_async("remove", |mut guest: Guest<'_>, (key,): (String,)| {
        Box::new(async move { Ok((guest.data_mut().remove_shared(&key).await?,)) })
    })?;
    i.func_wrap_async("increment", |mut guest: Guest<'_>, (key, delta, ttl): (String, i64, Option<u32>)| {
        Box::new(async move { Ok((guest.data_mut().increment_shared(&key, delta, ttl).await?,)) })
    })
}

impl State {
    pub(super) async fn take_shared(&mut self, key: &str, quota: Quota, cost: u32) -> Result<Outcome> {
        let rule = limits::Rule::TokenBucket(quota.into());
        let outcomes = self.decide(key, &[rule], cost).await?;
        Ok(outcomes.and_then(|outcomes| outcomes.first().copied()).unwrap_or(REFUSED).into())
    }

    pub(super) async fn take_all_shared(
        &mut self,
        key: &str,
        rules: Vec<Rule>,
        cost: u32,
    ) -> Result<Answer<Vec<Outcome>, LimitError>> {
        let Some(rules) = self::rules(rules) else { return Ok(Err(LimitError::LimitExceeded)) };
        let outcomes = self.decide(key, &rules, cost).await?.ok_or(LimitError::Unavailable);
        Ok(outcomes.map(|outcomes| outcomes.into_iter().map(Into::into).collect()))
    }

    /// Takes from the limits in the server, or applies the operator's fallback if the server is not available. `None`
    /// refuses.
    async fn decide(&mut self, key: &str, rules: &[limits::Rule], cost: u32) -> Result<Option<Outcomes>> {
        let share = self.share()?;
        let taken = share.take(key, rules, cost).await;
        Ok(match self.settle(&share, taken) {
            Ok(outcomes) => Some(outcomes),
            Err(OnError::Local) => Some(self.lent.abilities.limiter.take_all(key, rules, cost, now())),
            Err(OnError::Allow) => Some(rules.iter().map(unlimited).collect()),
            Err(OnError::Deny) => None,
        })
    }

    pub(super) async fn enter_shared(&mut self, key: &str, limit: u32) -> Result<Entered> {
        self.has_exchange()?;
        let share = self.share()?;
        let entered = share.enter(key, limit).await;
        match self.settle(&share, entered) {
            Ok((lease, taken)) => self.hold(lease.map(|lease| Held::Shared { _lease: lease }), taken),
            Err(OnError::Local) => {
                let entered = self.lent.abilities.places.enter(key, limit);
                self.hold(entered.place.map(|place| Held::Own { _place: place }), entered.taken)
            }
            Err(OnError::Allow) => Ok(Entered { allowed: true, taken: 0 }),
            Err(OnError::Deny) => Ok(Entered { allowed: false, taken: limit }),
        }
    }

    pub(super) async fn get_shared(&mut self, key: &str) -> Result<Option<Entry>> {
        let share = self.share()?;
        let found = share.get(key).await;
        let found = match self.settle(&share, found) {
            Ok(found) => found,
            Err(OnError::Local) => self.lent.abilities.store.get(key, now_ms()),
            Err(OnError::Allow) => None,
            Err(OnError::Deny) => return Err(away()),
        };
        Ok(found.map(Into::into))
    }

    pub(super) async fn set_shared(
        &mut self,
        key: &str,
        value: &[u8],
        ttl_ms: Option<u32>,
    ) -> Result<Answer<u64, StoreError>> {
        let share = self.share()?;
        let set = share.set(key, value, ttl_ms).await;
        Ok(match self.settle(&share, set) {
            Ok(set) => set.map_err(Into::into),
            Err(OnError::Local) => self.lent.abilities.store.set(key, value, ttl_ms, now_ms()).map_err(Into::into),
            Err(_) => Err(unavailable()),
        })
    }

    pub(super) async fn swap_shared(
        &mut self,
        key: &str,
        expected: Option<u64>,
        value: &[u8],
        ttl_ms: Option<u32>,
    ) -> Result<Answer<u64, SwapError>> {
        let share = self.share()?;
        let swapped = share.compare_and_set(key, expected, value, ttl_ms).await;
        Ok(match self.settle(&share, swapped) {
            Ok(swapped) => swapped.map_err(Into::into),
            Err(OnError::Local) => {
                let store = &self.lent.abilities.store;
                store.compare_and_set(key, expected, value, ttl_ms, now_ms()).map_err(Into::into)
            }
            Err(_) => Err(SwapError::Store(unavailable())),
        })
    }

    pub(super) async fn remove_shared(&mut self, key: &str) -> Result<bool> {
        let share = self.share()?;
        let removed = share.remove(key).await;
        match self.settle(&share, removed) {
            Ok(removed) => Ok(removed),
            Err(OnError::Local) => Ok(self.lent.abilities.store.remove(key, now_ms())),
            Err(OnError::Allow) => Ok(false),
            Err(OnError::Deny) => Err(away()),
        }
    }

    pub(super) async fn increment_shared(
        &mut self,
        key: &str,
        delta: i64,
        ttl_ms: Option<u32>,
    ) -> Result<Answer<i64, StoreError>> {
        let share = self.share()?;
        let sum = share.increment(key, delta, ttl_ms).await;
        Ok(match self.settle(&share, sum) {
            Ok(sum) => sum.map_err(Into::into),
            Err(OnError::Local) => {
                self.lent.abilities.store.increment(key, delta, ttl_ms, now_ms()).map_err(Into::into)
            }
            Err(_) => Err(unavailable()),
        })
    }

    /// The connection to the plugin's server, for one query.
    fn share(&mut self) -> Result<Arc<Share>> {
        self.charge()?;
        let share = match &self.lent.abilities.share {
            Some(share) if !matches!(self.call, Call::Describe | Call::Configure) => share.clone(),
            _ => return Err(Error::msg("a store was asked for something outside of a hook")),
        };
        self.charge_wait("the hook asked its store more often than limits.callouts allows")?;
        Ok(share)
    }

    /// Ends a query. The error is what the operator wants instead of an answer.
    fn settle<T>(&mut self, share: &Share, answer: Answer<T, Away>) -> Answer<T, OnError> {
        self.has_waited();
        answer.map_err(|_| {
            share.fell_back();
            share.on_error()
        })
    }
}

/// The outcome reported when nothing is counted.
fn unlimited(rule: &limits::Rule) -> token_bucket::Outcome {
    let remaining = match rule {
        limits::Rule::TokenBucket(token_bucket::Quota { requests, burst: 0, .. }) => *requests,
        limits::Rule::TokenBucket(quota) => quota.burst,
        limits::Rule::FixedWindow(window) | limits::Rule::SlidingWindow(window) => window.requests,
    };
    token_bucket::Outcome { allowed: true, remaining, reset_ms: 0, retry_after_ms: 0 }
}

fn unavailable() -> StoreError {
    StoreError::Other("the store is not available".into())
}

/// The only way for `get` and `remove` to report this.
fn away() -> Error {
    Error::msg("the store is not available, and the operator wants requests refused then")
}

/// The outcome of `take` if nothing can be counted and requests are to be refused.
const REFUSED: token_bucket::Outcome =
    token_bucket::Outcome { allowed: false, remaining: 0, reset_ms: 1000, retry_after_ms: 1000 };
