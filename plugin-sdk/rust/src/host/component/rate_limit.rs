//! The limiter.

use std::time::Duration;

use super::{milliseconds, wit::rate_limit};
use crate::rate_limit::{LimitError, Outcome, Quota, Rule, Window};

pub(crate) fn take(key: &str, quota: Quota, cost: u32) -> Outcome {
    outcome(rate_limit::take(key, lower(quota), cost))
}

pub(crate) fn take_all(key: &str, rules: &[Rule], cost: u32) -> Result<Vec<Outcome>, LimitError> {
    let window = |window: Window| rate_limit::Window {
        requests: window.requests,
        length_ms: milliseconds(window.length),
        anchor_ms: u64::try_from(window.anchor.as_millis()).unwrap_or(u64::MAX),
    };
    let rule = |rule: &Rule| match *rule {
        Rule::TokenBucket(quota) => rate_limit::Rule::TokenBucket(lower(quota)),
        Rule::FixedWindow(of) => rate_limit::Rule::FixedWindow(window(of)),
        Rule::SlidingWindow(of) => rate_limit::Rule::SlidingWindow(window(of)),
    };
    let rules: Vec<rate_limit::Rule> = rules.iter().map(rule).collect();
    match rate_limit::take_all(key, &rules, cost) {
        Ok(outcomes) => Ok(outcomes.into_iter().map(outcome).collect()),
        Err(rate_limit::LimitError::LimitExceeded) => Err(LimitError::LimitExceeded),
        Err(rate_limit::LimitError::Unavailable) => Err(LimitError::Unavailable),
        Err(rate_limit::LimitError::Other(text)) => Err(LimitError::Other(text)),
    }
}

fn lower(quota: Quota) -> rate_limit::Quota {
    rate_limit::Quota { requests: quota.requests, per_ms: milliseconds(quota.per), burst: quota.burst }
}

fn outcome(outcome: rate_limit::Outcome) -> Outcome {
    Outcome {
        allowed: outcome.allowed,
        remaining: outcome.remaining,
        reset: Duration::from_millis(outcome.reset_ms.into()),
        retry_after: Duration::from_millis(outcome.retry_after_ms.into()),
    }
}
