//! The life of a request, from top to bottom.
//!
//! Each step is one call into one room, and all branching between rooms is here. An upstream's response, a plugin's
//! early answer and the gateway's own errors take the same way back: through the response hooks of exactly the plugins
//! that ran. The last step moves the exchange into the response body, which ends it when the last byte is sent or when
//! the client disconnects.

mod cached;
mod deadline;
mod error;
mod max_forwards;
mod middleware;
mod refresh;
mod service;
mod tail;
mod to_upstream;
mod upgrade;

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Instant;

use http::{Request, Response, Version, header};
use http_body::Body as _;

use crate::body::Body;
use crate::exchange::{Exchange, RequestHead, Source};
use crate::http::Connection;
use crate::plugin::{Bodies, Chain, Direction, Stop};
use crate::problem::grpc;
use crate::snapshot::{Edits, Found, Goal, Listener, Snapshot};
use crate::tunnel::Upgrade;
use crate::{headers, upstream};
use cached::Way;
use error::Error;
use tail::Tail;

/// Answers one request. From start to end the request sees `snapshot` as its configuration, even if that no longer has
/// the listener that the connection came through.
pub async fn handle(
    snapshot: Arc<Snapshot>,
    listener: Arc<Listener>,
    connection: Arc<Connection>,
    request: Request<Body>,
) -> Response<Body> {
    let (exchange, body) = accept(&snapshot, &listener, &connection, request);
    let mut tail = Tail::new(exchange, snapshot.clone());
    let https = snapshot.https(&listener);
    let body = match body {
        Err(error) => error.answer(&mut tail.exchange),
        Ok(_) if https.is_some_and(|https| https.redirects(&mut tail.exchange)) => Body::Empty,
        Ok(body) => respond(&snapshot, &mut tail, body).await,
    };
    let mut response = tail.response(body);
    if let Some(hsts) = https.and_then(|https| https.hsts.as_ref()) {
        response.headers_mut().insert(header::STRICT_TRANSPORT_SECURITY, hsts.clone());
    }
    response
}

/// Normalises the head and starts the exchange, which exists even for a request that is refused.
fn accept(
    snapshot: &Snapshot,
    listener: &Listener,
    connection: &Connection,
    request: Request<Body>,
) -> (Exchange, Result<Body, Error>) {
    let (mut parts, body) = request.into_parts();
    let asked = if parts.extensions.is_empty() { None } else { parts.extensions.remove::<Upgrade>() };
    let policy = &snapshot.forwarding;
    let trusted = |address| snapshot.trusts(address);
    let facts = headers::from_downstream(&mut parts, &connection.client, policy, trusted, fastrand::u128(..));
    let (client, scheme, host, id, refused) = match facts {
        Ok(facts) => (facts.client, facts.scheme, facts.host, facts.request_id, None),
        Err(reject) => (connection.client.address(), None, None, headers::new_id(fastrand::u128(..)), Some(reject)),
    };
    let head = RequestHead {
        method: parts.method,
        scheme: scheme.unwrap_or_else(|| connection.scheme.clone()),
        target: parts.uri.into_parts().path_and_query.unwrap_or_else(|| http::uri::PathAndQuery::from_static("/")),
        headers: parts.headers,
    };
    let source = Source {
        peer: connection.peer,
        client,
        host,
        listener: connection.listener.clone(),
        protocol: protocol(parts.version),
        tls: connection.tls.clone(),
    };
    let refused = refused.map(Error::Refused).or_else(|| {
        let gate = snapshot.gate(listener)?;
        (!gate.lets_in(client)).then_some(Error::KeptOut)
    });
    let refused = refused.or_else(|| misdirected(snapshot, listener, connection, parts.version, head.authority()));
    let is_grpc = grpc::is_request(parts.version, &head.headers);
    let mut exchange = Exchange::start(head, source, id, Instant::now(), listener.observer.clone());
    exchange.upgrade = asked;
    exchange.received.is_grpc = is_grpc;
    (exchange, refused.map_or(Ok(body), Err))
}

/// Whether an HTTP/2 client sent a request over a connection whose certificate is for other hosts (RFC 9110, section
/// 15.5.20). The client then retries on a connection of its own for that host.
fn misdirected(
    snapshot: &Snapshot,
    listener: &Listener,
    connection: &Connection,
    version: Version,
    authority: &str,
) -> Option<Error> {
    let name = connection.tls.as_ref()?.server_name.as_deref().filter(|_| version == Version::HTTP_2)?;
    let host = headers::host(authority);
    let covers = name == host || snapshot.tls_of(listener).is_none_or(|tls| tls.covers(name, host));
    (!covers).then_some(Error::Misdirected)
}

/// Route, request hooks, upstream, response hooks.
async fn respond(snapshot: &Snapshot, tail: &mut Tail, body: Body) -> Body {
    let exchange = &mut tail.exchange;
    let Some(found) = snapshot.find(&exchange.request) else {
        return Error::NoRoute.answer(exchange);
    };
    let route = found.route;
    exchange.route = Some(route.facts.clone());
    tail.route = Some(found.index);
    if !route.chain.plugins().is_empty() {
        exchange.template = snapshot.template(found.rule).cloned();
    }
    if let Some(versions) = &route.versions {
        let request = &exchange.request;
        match versions.version(&request.headers, request.target.path(), found.pattern()) {
            Ok(version) => exchange.version = Some(version),
            Err(refusal) => return Error::Version(refusal, versions.names().to_vec()).answer(exchange),
        }
    }
    if let Some(admission) = &route.admission {
        match Box::pin(admission.admit()).await {
            Ok(admitted) => tail.admitted = Some(admitted),
            Err(shed) => return Error::Shed(shed).answer(&mut tail.exchange),
        }
    }

    let exchange = &mut tail.exchange;
    let answer = match route.chain.on_request(exchange, body.is_end_stream()).await {
        ControlFlow::Continue(()) => match &route.cache {
            None => forward(found, tail, body).await,
            // Boxed, so that routes without a cache do not carry its state.
            Some(rules) => Box::pin(cached::through(Way { found, rules }, tail, body)).await,
        },
        ControlFlow::Break(stop) => stopped(stop),
    };
    let exchange = &mut tail.exchange;
    // Only now, after the cache, which must not store this client's cookie for others.
    if let Some(cookie) = tail.cookie.take() {
        exchange.response.headers.append(header::SET_COOKIE, *cookie);
    }
    let body = answer.unwrap_or_else(|error| error.answer(exchange));
    let body = match route.chain.on_response(exchange, body.is_end_stream()).await {
        ControlFlow::Continue(None) => body,
        ControlFlow::Continue(Some(replaced)) => Body::from(replaced),
        ControlFlow::Break(stop) => return stopped(stop).unwrap_or_else(|error| error.answer(exchange)),
    };
    filter_response(&route.chain, tail, body).await
}

/// Forwards the request to its target and puts the response head into the exchange. Returns the response body.
async fn forward(found: Found<'_>, tail: &mut Tail, body: Body) -> Result<Body, Error> {
    let route = found.route;
    let exchange = &mut tail.exchange;
    if let Some(answer) = max_forwards::spend(&mut exchange.request)? {
        exchange.response = answer;
        return Ok(Body::Empty);
    }
    let mut count = None;
    let mut body = route.limits.apply(&exchange.request.headers, body, &mut count).map_err(Error::TooLarge)?;
    exchange.outcome.request_bytes = count;
    let mut bodies = Bodies::of(&route.chain, exchange, Direction::Request, &body);
    let may_become_grpc = bodies.is_some() || exchange.run.wants(Direction::Response);
    if bodies.is_some() {
        exchange.request.headers.remove(header::CONTENT_LENGTH);
    }
    if let Some(whole) = bodies.take_if(|bodies| bodies.wants_whole()) {
        // Boxed, like everything rare on the path: the future of every request is moved once, and is as large as its
        // largest part.
        body = match Box::pin(whole.collect(exchange, body)).await {
            ControlFlow::Continue(body) => body.map_err(Error::RequestBody)?,
            ControlFlow::Break(stop) => return stopped(stop),
        };
    }
    let becomes_grpc = may_become_grpc && grpc::is_message(&exchange.request.headers);
    let outbound = Outbound { bodies, body, becomes_grpc };
    if let Some(middleware) = &route.middleware {
        return Box::pin(middleware::through(found, middleware, tail, outbound)).await;
    }
    let version = exchange.version.as_ref().map(|version| version.index);
    let target = route.pick(exchange.upstream_choice.as_deref(), version).ok_or(Error::NoTarget)?;
    match &target.goal {
        Goal::Upstream(to) => to_upstream::send(found, target, to, tail, outbound).await,
        Goal::Service(service) => Box::pin(service::answer(found, target, service, tail, outbound)).await,
        Goal::Redirect(redirect) => {
            let authority = exchange.source.authority(&exchange.request);
            exchange.response = target.redirect(redirect, &exchange.request, authority, found.pattern())?;
            Ok(Body::Empty)
        }
    }
}

/// A request body on its way to the target.
struct Outbound {
    /// The hooks that the body is yet to be streamed through.
    bodies: Option<Bodies>,
    body: Body,
    /// Whether the request is a gRPC message, after plugins had a chance to make it one.
    becomes_grpc: bool,
}

impl Outbound {
    /// The body as it leaves the hooks, which hold the exchange until it is taken back.
    fn stream(self, tail: &mut Tail) -> Body {
        match self.bodies {
            Some(bodies) => bodies.stream_request(self.body, tail.lend()),
            None => self.body,
        }
    }

    /// gRPC servers insist on `TE: trailers`, and plugins cannot set hop-by-hop fields.
    fn settle_te(&self, headers: &mut http::HeaderMap) {
        if self.becomes_grpc {
            headers.insert(header::TE, header::HeaderValue::from_static("trailers"));
        }
    }
}

/// The client, as far as the choice of an endpoint may depend on it.
fn client(exchange: &Exchange) -> upstream::Client<'_> {
    upstream::Client {
        address: exchange.source.client,
        identity: exchange.identity.as_ref().map(|caller| caller.subject.as_str()),
        over_tls: exchange.request.scheme == http::uri::Scheme::HTTPS,
    }
}

/// Puts the head of an answer into the exchange.
fn give_head(snapshot: &Snapshot, exchange: &mut Exchange, mut head: http::response::Parts, edits: Option<&Edits>) {
    let asked = &exchange.received.method;
    headers::from_upstream(asked, head.status, head.version, &mut head.headers, &snapshot.forwarding);
    exchange.response.status = Some(head.status);
    exchange.response.headers = head.headers;
    if let Some(edits) = edits {
        edits.response(&mut exchange.response.headers);
    }
}

/// The head as it is sent to the upstream. With `keep`, the headers also stay in the exchange, for later hooks.
fn take_head(exchange: &mut Exchange, keep: bool) -> http::request::Parts {
    let head = &mut exchange.request;
    let mut request = Request::new(());
    *request.method_mut() = head.method.clone();
    *request.uri_mut() = head.target.clone().into();
    *request.headers_mut() = if keep { head.headers.clone() } else { std::mem::take(&mut head.headers) };
    request.into_parts().0
}

/// Passes the response body through the hooks that asked for it: right away if one of them wants it whole, otherwise
/// while it streams.
async fn filter_response(chain: &Arc<Chain>, tail: &mut Tail, body: Body) -> Body {
    if tail.is_switched() {
        return body;
    }
    let exchange = &mut tail.exchange;
    let Some(bodies) = Bodies::of(chain, exchange, Direction::Response, &body) else {
        return body.with_trailers(exchange.trailers.response.take());
    };
    exchange.response.headers.remove(header::CONTENT_LENGTH);
    if !bodies.wants_whole() {
        tail.stream = Some(bodies);
        return body;
    }
    match Box::pin(bodies.collect(exchange, body)).await {
        ControlFlow::Continue(Ok(body)) => body,
        ControlFlow::Continue(Err(error)) => Error::ResponseBody(error).answer(exchange),
        ControlFlow::Break(stop) => stopped(stop).unwrap_or_else(|error| error.answer(exchange)),
    }
}

fn stopped(stop: Stop) -> Result<Body, Error> {
    match stop {
        Stop::Answer(body) => Ok(body.into()),
        Stop::Failed(failure) => Err(Error::Plugin(failure)),
        Stop::Abort => Err(Error::Aborted),
    }
}

fn protocol(version: http::Version) -> &'static str {
    match version {
        http::Version::HTTP_2 => "h2",
        http::Version::HTTP_10 => "http/1.0",
        _ => "http/1.1",
    }
}
