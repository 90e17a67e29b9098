//! The path of a request through its route's middleware, and of the response back.
//!
//! A middleware stands behind the plugins and before the target, so all that is behind it is the choice of a target and
//! that target's response. It may call it once, not at all, or repeatedly; each time a target is chosen anew.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use http::uri::Scheme;
use http::{HeaderValue, Method, Request, Response, StatusCode};

use super::error::Error;
use super::tail::{Tail, is_without_content};
use super::{Outbound, deadline, give_head, stopped, take_head};
use crate::body::Body;
use crate::exchange::{Outcome, Phase, RequestHead};
use crate::plugin::{Handled, Next, NextError, Service, ServiceError};
use crate::snapshot::{Found, Goal, Route, Snapshot};
use crate::upstream::{self, Ask, Upstream};
use crate::{headers, mirror};

/// Lets the middleware answer.
pub(super) async fn through(
    found: Found<'_>,
    middleware: &Service,
    tail: &mut Tail,
    outbound: Outbound,
) -> Result<Body, Error> {
    let Found { snapshot, route, rule, .. } = found;
    if tail.exchange.upgrade.as_ref().is_some_and(|upgrade| upgrade.is_required) {
        return Err(Error::NoTunnel);
    }
    let behind = Arc::new(Behind::of(tail, rule));
    tail.behind = Some(behind.clone());
    let exchange = &mut tail.exchange;
    exchange.phase = Phase::Upstream;
    let https = exchange.request.scheme == Scheme::HTTPS;
    let deadline = deadline::of(exchange, outbound.becomes_grpc);
    let mut head = take_head(exchange, route.chain.looks_back());
    outbound.settle_te(&mut head.headers);
    let copies = route.mirrors.as_ref();
    let copies = copies.map(|mirrors| mirrors.copies(&head, &behind.client(), found.pattern()));
    let body = outbound.stream(tail);
    let body = match copies {
        Some(copies) => mirror::send(copies, body),
        None => body,
    };
    let time = route.time_left(behind.began).map(|left| left.saturating_add(TO_PASS_ON));
    let started = Instant::now();
    let serving = middleware.serve(Request::from_parts(head, body), https, time, Some(behind.clone()));
    let answered = match deadline {
        None => Ok(serving.await),
        Some(deadline) => tokio::time::timeout_at(deadline, serving).await.map_err(|_| Error::Deadline),
    };
    tail.take_back().await;
    tail.behind = None;
    let exchange = &mut tail.exchange;
    let Seen { is_asked, service, facts, error, .. } = behind.note(&mut exchange.outcome);
    exchange.outcome.upstream_time = Some(started.elapsed());
    if let Some(stop) = exchange.run.take_stop() {
        return stopped(stop);
    }
    exchange.outcome.answered_by = if is_asked { service } else { Some(middleware.name().clone()) };
    let (head, body) = match (answered?, error) {
        (Ok(response), _) => response.into_parts(),
        // The middleware only passed on that there was no answer; this is the reason.
        (Err(ServiceError::Code(_)), Some(error)) => return Err(error),
        (Err(error), _) => {
            exchange.outcome.answered_by = Some(middleware.name().clone());
            return Err(Error::Service(error));
        }
    };
    // As in `service`, a 205 ends with its head. So does the answer to a HEAD request: the length in its head is that
    // of a body that never comes, and a hook that wants the whole body would wait for it.
    let ends = head.status == StatusCode::RESET_CONTENT || is_without_content(&exchange.request.method, head.status);
    let body = if ends { Body::Empty } else { body };
    give_head(snapshot, exchange, head, None);
    tail.cookie = facts.cookie;
    Ok(deadline::apply(deadline, body, &mut tail.exchange.outcome))
}

/// What is behind the middleware in one exchange: the rest of the route.
pub(super) struct Behind {
    snapshot: Arc<Snapshot>,
    route: Option<usize>,
    rule: usize,
    address: IpAddr,
    identity: Option<String>,
    scheme: Scheme,
    /// The host that the client asked for, if a trusted proxy reports it.
    host: Option<HeaderValue>,
    /// The upstream that a plugin chose.
    choice: Option<String>,
    /// Index of the requested version of the API.
    version: Option<usize>,
    began: Instant,
    seen: Mutex<Seen>,
}

/// What happened to the request behind the middleware: to the last one, if there were several.
#[derive(Default)]
struct Seen {
    is_asked: bool,
    upstream: Option<Arc<str>>,
    service: Option<Arc<str>>,
    facts: upstream::Facts,
    error: Option<Error>,
}

impl Behind {
    fn of(tail: &Tail, rule: usize) -> Behind {
        let exchange = &tail.exchange;
        Behind {
            snapshot: tail.snapshot(),
            route: tail.route,
            rule,
            address: exchange.source.client,
            identity: exchange.identity.as_ref().map(|caller| caller.subject.to_string()),
            scheme: exchange.request.scheme.clone(),
            host: exchange.source.host.clone(),
            choice: exchange.upstream_choice.as_deref().map(str::to_owned),
            version: exchange.version.as_ref().map(|version| version.index),
            began: exchange.started,
            seen: Mutex::default(),
        }
    }

    fn client(&self) -> upstream::Client<'_> {
        upstream::Client {
            address: self.address,
            identity: self.identity.as_deref(),
            over_tls: self.scheme == Scheme::HTTPS,
        }
    }

    /// Notes in `outcome` whom it asked, and returns the rest of what was seen.
    fn note(&self, outcome: &mut Outcome) -> Seen {
        let mut seen = std::mem::take(&mut *self.seen());
        outcome.upstream = seen.upstream.take();
        outcome.endpoint = seen.facts.endpoint.take();
        outcome.attempts = seen.facts.attempts;
        seen
    }

    /// Notes who was being asked when the client disconnected.
    pub fn note_given_up(&self, outcome: &mut Outcome) {
        let service = self.note(outcome).service;
        outcome.answered_by = outcome.answered_by.take().or(service);
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes the destination before the request is sent, so that it is known even if the request is given up.
    fn goes_to(&self, upstream: Option<Arc<str>>, service: Option<Arc<str>>) {
        let mut seen = self.seen();
        (seen.upstream, seen.service) = (upstream, service);
        (seen.facts.endpoint, seen.facts.cookie) = (None, None);
    }

    /// Sends the request to its target and returns the answer.
    async fn answer(&self, request: Request<Body>) -> Result<Response<Body>, Error> {
        let route = self.route.and_then(|route| self.snapshot.route(route)).ok_or(Error::NoRoute)?;
        let target = route.pick(self.choice.as_deref(), self.version).ok_or(Error::NoTarget)?;
        let pattern = self.snapshot.pattern(self.rule);
        let (mut head, body) = request.into_parts();
        let method = head.method.clone();
        if let Goal::Redirect(redirect) = &target.goal {
            let head = RequestHead {
                method,
                scheme: self.scheme.clone(),
                target: head.uri.into_parts().path_and_query.ok_or(Error::Rewritten)?,
                headers: head.headers,
            };
            let answer = target.redirect(redirect, &head, head.authority_told(self.host.as_ref()), pattern)?;
            let mut response = Response::new(Body::Empty);
            *response.status_mut() = answer.status.unwrap_or_default();
            *response.headers_mut() = answer.headers;
            return Ok(response);
        }
        // Computed from the request as the middleware passed it on, before the target's edits, as on a route without
        // middleware.
        let ask = match (&target.goal, head.uri.path_and_query()) {
            (Goal::Upstream(to), Some(asked)) => to.ask(&self.client(), asked, &head.headers),
            _ => Ask::default(),
        };
        if let Some(edits) = &target.edits {
            edits.request(&mut head, pattern)?;
        }
        let request = Request::from_parts(head, body);
        let mut response = match &target.goal {
            Goal::Upstream(to) => self.send(to, route, request, &ask).await?,
            Goal::Service(service) => {
                self.goes_to(None, Some(service.name().clone()));
                let (https, time) = (self.scheme == Scheme::HTTPS, route.time_left(self.began));
                service.serve(request, https, time, None).await.map_err(Error::Service)?
            }
            Goal::Redirect(_) => return Err(Error::NoTarget),
        };
        // Before the middleware sees the response: fields that `Connection` names end with that connection.
        let (status, version) = (response.status(), response.version());
        // The gateway adds its Via only once, to the middleware's response.
        let policy = headers::Policy { response_via: false, ..self.snapshot.forwarding.clone() };
        headers::from_upstream(&method, status, version, response.headers_mut(), &policy);
        if let Some(edits) = &target.edits {
            edits.response(response.headers_mut());
        }
        Ok(response)
    }

    async fn send(
        &self,
        to: &Upstream,
        route: &Route,
        request: Request<Body>,
        ask: &Ask,
    ) -> Result<Response<Body>, Error> {
        self.goes_to(Some(to.name().clone()), None);
        let (method, started) = (request.method().clone(), Instant::now());
        let mut sending = Sending { behind: self, to, method, started, status: 0, facts: upstream::Facts::default() };
        let facts = &mut sending.facts;
        let sent = match &route.delivery {
            None => to.send(request, ask, facts).await,
            Some(delivery) => to.deliver(request, delivery, self.began, ask, facts).await,
        };
        sending.status = sent.as_ref().map_or(0, |response| response.status().as_u16());
        drop(sending);
        sent.map_err(Error::Upstream)
    }
}

/// A request that is with an upstream. Dropping this notes what was learned and counts the request in the metrics, also
/// if nobody waits for its answer any more.
struct Sending<'a> {
    behind: &'a Behind,
    to: &'a Upstream,
    method: Method,
    started: Instant,
    /// 0 without an answer.
    status: u16,
    facts: upstream::Facts,
}

impl Drop for Sending<'_> {
    fn drop(&mut self) {
        self.to.metrics().record(&self.method, self.status, self.started.elapsed());
        let (mut seen, mut facts) = (self.behind.seen(), std::mem::take(&mut self.facts));
        facts.attempts = facts.attempts.saturating_add(seen.facts.attempts);
        (seen.upstream, seen.service, seen.facts) = (Some(self.to.name().clone()), None, facts);
    }
}

impl Next for Behind {
    fn handle(self: Arc<Self>, request: Request<Body>) -> Handled {
        let behind = self;
        Box::pin(async move {
            behind.seen().is_asked = true;
            let answered = behind.answer(request).await;
            let mut seen = behind.seen();
            match answered {
                Ok(response) => {
                    seen.error = None;
                    Ok(response)
                }
                Err(error) => {
                    let told = if error.is_about_time() { NextError::TimedOut } else { NextError::Failed };
                    seen.error = Some(error);
                    Err(told)
                }
            }
        })
    }
}

/// How long the middleware may exceed the route's `timeouts.request`. That limit ends what is behind it, and this gives
/// it time to pass the failure on, so that the client learns who was too slow.
const TO_PASS_ON: Duration = Duration::from_millis(50);
