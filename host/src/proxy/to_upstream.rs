//! The request's way to an upstream, and the response head's way back.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::Request;

use super::error::Error;
use super::tail::Tail;
use super::{Outbound, client, deadline, give_head, stopped, take_head, upgrade};
use crate::body::Body;
use crate::exchange::{Exchange, Phase};
use crate::mirror;
use crate::snapshot::{Found, Target};
use crate::upstream::{Facts, Upstream};

/// Has an endpoint of the upstream answer the request, and sends copies of it to the mirrors.
pub(super) async fn send(
    found: Found<'_>,
    target: &Target,
    to: &Arc<Upstream>,
    tail: &mut Tail,
    outbound: Outbound,
) -> Result<Body, Error> {
    let Found { snapshot, route, .. } = found;
    let exchange = &mut tail.exchange;
    exchange.outcome.upstream = Some(to.name().clone());
    exchange.phase = Phase::Upstream;
    let ask = to.ask(&client(exchange), &exchange.request.target, &exchange.request.headers);
    let began = exchange.started;
    let deadline = deadline::of(exchange, outbound.becomes_grpc);
    let mut head = take_head(exchange, route.chain.looks_back());
    outbound.settle_te(&mut head.headers);
    let mirrors = route.mirrors.as_ref().filter(|_| exchange.upgrade.is_none());
    let copies = mirrors.map(|mirrors| mirrors.copies(&head, &client(exchange), found.pattern()));
    if let Some(edits) = &target.edits {
        edits.request(&mut head, found.pattern())?;
    }
    let asked = upgrade::ask(exchange, route, &mut head)?;
    let body = outbound.stream(tail);
    let body = match copies {
        Some(copies) => mirror::send(copies, body),
        None => body,
    };

    let mut sending = Sending::begin(to, tail);
    let facts = &mut sending.facts;
    let request = Request::from_parts(head, body);
    // Boxed, because these are larger than everything else, and most requests do without them.
    let sent = match (&route.delivery, deadline) {
        (None, None) => to.send(request, &ask, facts).await.map_err(Error::Upstream),
        (None, Some(deadline)) => deadline::keep(deadline, Box::pin(to.send(request, &ask, facts))).await,
        (Some(delivery), None) => {
            Box::pin(to.deliver(request, delivery, began, &ask, facts)).await.map_err(Error::Upstream)
        }
        (Some(delivery), Some(deadline)) => {
            deadline::keep(deadline, Box::pin(to.deliver(request, delivery, began, &ask, facts))).await
        }
    };
    sending.tail.take_back().await;
    let (mut facts, took) = sending.ends();
    let exchange = &mut tail.exchange;
    note(exchange, to, &mut facts, sent.as_ref().map_or(0, |response| response.status().as_u16()), took);
    if let Some(stop) = exchange.run.take_stop() {
        return stopped(stop);
    }
    let (mut head, body) = sent?.into_parts();
    if let Some(asked) = asked {
        tail.upstream_end = asked.end(&mut head)?;
    }
    give_head(snapshot, &mut tail.exchange, head, target.edits.as_deref());
    tail.cookie = facts.cookie;
    Ok(deadline::apply(deadline, body, &mut tail.exchange.outcome))
}

/// A request that is with an upstream. If this is dropped before it [ends](Sending::ends), because the client has
/// disconnected or the gateway shuts down, what was learned is left to the tail for the record.
struct Sending<'a> {
    to: &'a Arc<Upstream>,
    tail: &'a mut Tail,
    started: Instant,
    facts: Facts,
}

impl<'a> Sending<'a> {
    fn begin(to: &'a Arc<Upstream>, tail: &'a mut Tail) -> Sending<'a> {
        Sending { to, tail, started: Instant::now(), facts: Facts::default() }
    }

    /// What was learned, and how long it took.
    fn ends(mut self) -> (Facts, Duration) {
        let learned = (std::mem::take(&mut self.facts), self.started.elapsed());
        // Only references and empty facts are left, so forgetting them leaks nothing.
        std::mem::forget(self);
        learned
    }
}

impl Drop for Sending<'_> {
    #[cold]
    fn drop(&mut self) {
        let (facts, took) = (std::mem::take(&mut self.facts), self.started.elapsed());
        self.tail.given_up = Some(Box::new(GivenUp { to: Arc::clone(self.to), facts, took }));
    }
}

/// A request to an upstream whose answer nobody waits for any more.
pub(super) struct GivenUp {
    to: Arc<Upstream>,
    facts: Facts,
    took: Duration,
}

impl GivenUp {
    /// Notes it in the exchange and in the metrics.
    pub fn note(&self, exchange: &mut Exchange) {
        note(exchange, &self.to, &mut self.facts.clone(), 0, self.took);
    }
}

/// Notes where a request was sent and counts it in the metrics. `status` 0: there was no answer.
fn note(exchange: &mut Exchange, to: &Upstream, facts: &mut Facts, status: u16, took: Duration) {
    exchange.outcome.endpoint = facts.endpoint.take();
    exchange.outcome.attempts = facts.attempts;
    exchange.outcome.upstream_time = Some(took);
    to.metrics().record(&exchange.request.method, status, took);
}
