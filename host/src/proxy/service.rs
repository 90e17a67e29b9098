//! The path of a request to a service, and of the response back: as with an upstream, except for what makes no sense
//! without a server: retries, mirrors, protocol switches.

use std::sync::Arc;
use std::time::Instant;

use http::uri::Scheme;
use http::{Request, StatusCode};

use super::error::Error;
use super::tail::Tail;
use super::{Outbound, give_head, stopped, take_head};
use crate::body::Body;
use crate::exchange::Phase;
use crate::plugin::Service;
use crate::snapshot::{Found, Target};

/// Lets the service answer.
pub(super) async fn answer(
    found: Found<'_>,
    target: &Target,
    service: &Arc<Service>,
    tail: &mut Tail,
    outbound: Outbound,
) -> Result<Body, Error> {
    let Found { snapshot, route, .. } = found;
    let exchange = &mut tail.exchange;
    exchange.outcome.answered_by = Some(service.name().clone());
    exchange.phase = Phase::Upstream;
    let https = exchange.request.scheme == Scheme::HTTPS;
    let mut head = take_head(exchange, route.chain.looks_back());
    if let Some(edits) = &target.edits {
        edits.request(&mut head, found.pattern())?;
    }
    let body = outbound.stream(tail);
    let time = route.time_left(tail.exchange.started);
    let started = Instant::now();
    let answered = service.serve(Request::from_parts(head, body), https, time, None).await;
    tail.take_back().await;
    let exchange = &mut tail.exchange;
    exchange.outcome.upstream_time = Some(started.elapsed());
    if let Some(stop) = exchange.run.take_stop() {
        return stopped(stop);
    }
    let (head, body) = answered.map_err(Error::Service)?.into_parts();
    // A 205 ends with its head (RFC 9110 section 15.3.6), whatever the service writes behind it.
    let body = if head.status == StatusCode::RESET_CONTENT { Body::Empty } else { body };
    give_head(snapshot, exchange, head, target.edits.as_deref());
    Ok(body)
}
