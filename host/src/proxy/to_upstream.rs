//! The request's way to an upstream, and the response head's way back.

use std::sync::Arc;
use std::time::Instant;

use http::Request;

use super::error::Error;
use super::tail::Tail;
use super::{Outbound, client, deadline, give_head, stopped, take_head, upgrade};
use crate::body::Body;
use crate::exchange::Phase;
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

    let mut facts = Facts::default();
    let started = Instant::now();
    let request = Request::from_parts(head, body);
    // Boxed, because these are larger than everything else, and most requests do without them.
    let sent = match (&route.delivery, deadline) {
        (None, None) => to.send(request, &ask, &mut facts).await.map_err(Error::Upstream),
        (None, Some(deadline)) => deadline::keep(deadline, Box::pin(to.send(request, &ask, &mut facts))).await,
        (Some(delivery), None) => {
            Box::pin(to.deliver(request, delivery, began, &ask, &mut facts)).await.map_err(Error::Upstream)
        }
        (Some(delivery), Some(deadline)) => {
            deadline::keep(deadline, Box::pin(to.deliver(request, delivery, began, &ask, &mut facts))).await
        }
    };
    tail.take_back().await;
    let exchange = &mut tail.exchange;
    let took = started.elapsed();
    exchange.outcome.endpoint = facts.endpoint;
    exchange.outcome.attempts = facts.attempts;
    exchange.outcome.upstream_time = Some(took);
    let status = sent.as_ref().map_or(0, |response| response.status().as_u16());
    to.metrics().record(&exchange.request.method, status, took);
    if let Some(stop) = exchange.run.take_stop() {
        return stopped(stop);
    }
    let (mut head, body) = sent?.into_parts();
    if let Some(asked) = asked {
        tail.upstream_end = asked.end(&mut head)?;
    }
    give_head(snapshot, &mut tail.exchange, head, target.edits.as_deref());
    tail.cookie = facts.cookie;
    Ok(deadline::apply(deadline, body))
}
