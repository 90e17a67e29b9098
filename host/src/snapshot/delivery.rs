//! How a route's requests are sent and admitted, from its configuration.

use std::sync::Arc;

use super::Snapshot;
use crate::admission::{self, Admission};
use crate::config::{self, RetryOn};
use crate::retry::{self, Backoff, Cause, Policy, Share, Statuses};
use crate::upstream::Delivery;

/// Retries and timeouts of a route's requests; `None` if there are none.
pub(super) fn of_route(route: &config::Route) -> Option<Delivery> {
    let timeouts = &route.timeouts;
    if route.retries.is_none() && *timeouts == config::RouteTimeouts::default() {
        return None;
    }
    Some(Delivery {
        retries: route.retries.as_ref().map_or_else(Policy::failover, policy),
        request_timeout: timeouts.request.map(Into::into),
        attempt_timeout: timeouts.attempt.map(Into::into),
    })
}

/// The concurrency limit of a route. A route with the same name and limit as before keeps it, so that a reload does not
/// exceed the limit.
pub(super) fn admission(route: &config::Route, name: &str, previous: Option<&Snapshot>) -> Option<Arc<Admission>> {
    let config = route.limits.max_concurrent.as_ref()?;
    let settings = admission::Settings {
        requests: config.requests as usize,
        queue: config.queue as usize,
        queue_timeout: config.queue_timeout.into(),
        retry_after: config.retry_after.into(),
    };
    let before = previous.and_then(|previous| previous.routes.iter().find(|route| *route.facts.name == *name));
    let before = before.and_then(|before| before.admission.as_ref());
    let same = before.filter(|before| *before.settings() == settings);
    Some(same.map_or_else(|| Arc::new(Admission::new(settings)), Arc::clone))
}

pub(super) fn share(budget: &config::RetryBudget) -> Share {
    Share { percent: budget.percent, min_per_second: budget.min_per_second }
}

fn policy(retries: &config::Retries) -> Policy {
    let has = |on: RetryOn| retries.on.contains(&on);
    let causes = [
        (RetryOn::ConnectFailure, Cause::Connect),
        (RetryOn::Reset, Cause::Reset),
        (RetryOn::Timeout, Cause::Timeout),
        (RetryOn::BadResponse, Cause::BadResponse),
    ];
    let mut listed = retries.statuses.clone();
    if has(RetryOn::GatewayError) {
        listed.extend([502, 503, 504]);
    }
    // The schema has already checked that they are tokens.
    let methods =
        |methods: &Vec<config::Method>| methods.iter().filter_map(|name| name.as_str().parse().ok()).collect();
    Policy {
        attempts: retries.attempts,
        causes: causes.into_iter().filter(|(on, _)| has(*on)).map(|(_, cause)| cause).collect(),
        statuses: Statuses { server_errors: has(RetryOn::ServerError), listed },
        grpc: retries.grpc_statuses.iter().map(|status| *status as u8).collect(),
        methods: retries.methods.as_ref().map_or_else(retry::idempotent, methods),
        backoff: Backoff { base: retries.backoff.base.into(), max: retries.backoff.max.into() },
        max_body: retries.max_body.as_usize(),
    }
}
