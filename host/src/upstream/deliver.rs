//! Sends a request as its route demands: within its timeouts, and again if its retry policy says so.
//!
//! A route without timeouts and retries never gets here. The decisions are in the `retry` room; here is the work behind
//! them: a copy of the request while it may be resent, a timer for each attempt, another endpoint for the next.

use std::time::{Duration, Instant as Clock};

use http::{Request, Response};
use tokio::time::{Instant, sleep, timeout_at};

use super::attempt_guard::AttemptGuard;
use super::endpoint::Endpoint;
use super::error::{BadResponse, Reason, SendError};
use super::members::Tried;
use super::progress::Patience;
use super::replay::Kept;
use super::{Ask, Facts, Upstream, request_cap};
use crate::body::Body;
use crate::retry::{Attempt, Cause, End, Policy, Verdict};

/// How the requests of a route are sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Delivery {
    /// Which failures are retried.
    pub retries: Policy,
    /// From the head of the request to the head of the response, over all attempts.
    pub request_timeout: Option<Duration>,
    /// The same for one attempt; replaces the transport's `response_timeout`.
    pub attempt_timeout: Option<Duration>,
}

impl Upstream {
    /// Sends the request and returns the response, like [`Upstream::send`], with retries. `began` is when the head of
    /// the request arrived.
    ///
    /// A response that the policy would retry is passed on if there is no further attempt: it tells the client more
    /// than an error of ours.
    pub async fn deliver(
        &self,
        request: Request<Body>,
        delivery: &Delivery,
        began: Clock,
        ask: &Ask,
        facts: &mut Facts,
    ) -> Result<Response<Body>, SendError> {
        let place = self.request_cap.enter().map_err(|reason| self.error(facts, reason))?;
        let deadline = delivery.request_timeout.map(|limit| Instant::from_std(began) + limit);
        let policy = &delivery.retries;
        let (kept, mut request) = match policy.repeats(request.method()) {
            true => {
                self.budget.count_request();
                match Kept::new(request, policy.max_body) {
                    Ok(kept) => (Some(kept), None),
                    Err(too_long) => (None, Some(*too_long)),
                }
            }
            false => (None, Some(request)),
        };
        let members = self.members.held();
        let mut tried = Tried::default();
        for number in 1.. {
            let Some((position, endpoint)) = members.pick(&self.settings, ask, &tried) else { break };
            if request.is_none() {
                request = kept.as_ref().and_then(Kept::request);
            }
            let result = self.attempt_within(endpoint, &mut request, ask, delivery, deadline, facts).await;
            let cause = match &result {
                Ok(response) => policy.cause_of(response.status(), response.headers()),
                Err(reason) => cause_of(reason),
            };
            tried.add(position);
            let Some(cause) = cause else { return self.result(result, place, facts) };
            let attempt = Attempt {
                number,
                cause,
                unsent: request.is_some(),
                elsewhere: members.has_others(&self.settings, &tried),
                repeatable: kept.as_ref().is_some_and(Kept::is_whole),
            };
            let now = Instant::now();
            let left = deadline.map(|deadline| deadline.saturating_duration_since(now));
            let budget = || self.budget.withdraw(now.into_std());
            match policy.verdict(&attempt, left, budget, fastrand::u64(..)) {
                Verdict::Again(wait) => {
                    // Dropping a response closes its connection, unless all of it has arrived.
                    drop(result);
                    self.retry_counters.count(cause);
                    if !wait.is_zero() {
                        sleep(wait).await;
                    }
                }
                Verdict::Over(end) => {
                    if end == End::Budget {
                        self.retry_counters.count_over_budget();
                    }
                    return self.result(result, place, facts);
                }
            }
        }
        Err(self.error(facts, Reason::NoEndpoint))
    }

    /// One attempt, within its own time limit and that of the request.
    async fn attempt_within(
        &self,
        endpoint: &std::sync::Arc<Endpoint>,
        request: &mut Option<Request<Body>>,
        ask: &Ask,
        delivery: &Delivery,
        deadline: Option<Instant>,
        facts: &mut Facts,
    ) -> Result<Response<Body>, Reason> {
        let patience = if delivery.attempt_timeout.is_some() { Patience::Own } else { Patience::Usual };
        let guard = AttemptGuard::begin(self, endpoint);
        let mut progress = None;
        let attempt = self.attempt(endpoint, request, ask, patience, Some(&mut progress), facts);
        let attempt_end = delivery.attempt_timeout.map(|limit| (Instant::now() + limit, Reason::AttemptTimeout(limit)));
        let request_end = deadline.zip(delivery.request_timeout);
        let request_end = request_end.map(|(end, limit)| (end, Reason::RequestTimeout(limit)));
        let first = match (attempt_end, request_end) {
            (Some(attempt), Some(request)) => Some(if attempt.0 < request.0 { attempt } else { request }),
            (attempt, request) => attempt.or(request),
        };
        let result = match first {
            None => Ok(attempt.await),
            Some((end, reason)) => timeout_at(end, attempt).await.map_err(|_| reason),
        };
        let reason = match result {
            Ok(answer) => {
                guard.ends();
                return answer;
            }
            // The attempt was dropped, and its connection or stream with it.
            Err(reason) => reason,
        };
        if progress.is_some_and(|progress| progress.is_clients_turn()) {
            guard.excuse();
            return Err(reason.of_a_slow_client());
        }
        let started = guard.ends();
        endpoint.count_failure();
        self.members.held().observe(&self.settings, endpoint, started, false);
        Err(self.failed(endpoint, reason))
    }

    fn result(
        &self,
        result: Result<Response<Body>, Reason>,
        place: Option<request_cap::Place>,
        facts: &Facts,
    ) -> Result<Response<Body>, SendError> {
        match result {
            Ok(response) => Ok(request_cap::hold(response, place)),
            Err(reason) => Err(self.error(facts, reason)),
        }
    }
}

/// The retry cause of a failed attempt; `None` if the endpoint is not to blame.
fn cause_of(reason: &Reason) -> Option<Cause> {
    match reason {
        Reason::Connect(_) | Reason::Handshake(_) | Reason::ConnectTimeout(_) | Reason::Overloaded => {
            Some(Cause::Connect)
        }
        Reason::Closed(_) | Reason::BadResponse(BadResponse::Truncated) => Some(Cause::Reset),
        Reason::ResponseTimeout(_) | Reason::AttemptTimeout(_) | Reason::RequestTimeout(_) => Some(Cause::Timeout),
        Reason::BadResponse(_) => Some(Cause::BadResponse),
        Reason::NoEndpoint
        | Reason::TooManyRequests(_)
        | Reason::RequestBody(_)
        | Reason::ShortRequestBody
        | Reason::LateRequestBody(_)
        | Reason::Authority
        | Reason::Tunnel => None,
    }
}
