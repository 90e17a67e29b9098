//! The path of one exchange through a plugin: what `proxy` does around a chain, but without a client and an upstream.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use http::header::{HOST, HeaderName};
use http::uri::Scheme;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use http_body::Frame;
use http_body_util::BodyExt;

use super::Error;
use super::cases::{Request, Response, Step, Values, pieces};
use super::outcome::{Forwarded, Outcome, Received};
use crate::body::{Body, BodyError};
use crate::exchange::{Caller, Exchange, Observer, Parts, Phase, RequestHead, ResponseHead, RouteFacts, Source};
use crate::plugin::{Bodies, Chain, Direction, Stop};

/// Starts the exchange of a step.
///
/// # Errors
/// The step has something that no request or response can have.
pub fn start(step: &Step, upstreams: &[String]) -> Result<Exchange, Error> {
    response_head(&step.response)?;
    let request = &step.request;
    let source = Source {
        peer: SocketAddr::new(request.client, 50_000),
        client: request.client,
        host: None,
        listener: "test".into(),
        protocol: "http/1.1",
        tls: None,
    };
    let id = HeaderValue::from_static("00000000000000000000000000000001");
    let mut exchange = Exchange::start(request_head(request)?, source, id, Instant::now(), Arc::new(Nobody));
    exchange.route = Some(Arc::new(RouteFacts {
        name: "test".into(),
        upstreams: upstreams.iter().map(|name| name.as_str().into()).collect(),
        metrics: None,
    }));
    exchange.identity = request
        .identity
        .as_ref()
        .map(|caller| Caller { subject: caller.subject.clone(), claims: caller.claims.to_string() });
    let attributes = request.attributes.iter();
    exchange.attributes = attributes.map(|(name, value)| (name.as_str().into(), value.as_str().into())).collect();
    Ok(exchange)
}

/// Takes the exchange through all hooks.
pub async fn walk(chain: &Arc<Chain>, step: &Step, exchange: &mut Exchange) -> Outcome {
    let mut outcome = Outcome::default();
    let received = match forward(chain, step, exchange, &mut outcome).await {
        ControlFlow::Continue(body) => Some(body),
        ControlFlow::Break(stop) => stopped(stop, exchange, &mut outcome),
    };
    if let Some(body) = received {
        outcome.response = match back(chain, exchange, body, &mut outcome).await {
            ControlFlow::Continue(received) => Some(received),
            ControlFlow::Break(stop) => match stopped(stop, exchange, &mut outcome) {
                Some(body) => Some(seen(exchange, whole(body).await)),
                None => None,
            },
        };
    }
    chain.on_complete(exchange).await;
    outcome.upstream = exchange.upstream_choice.as_deref().map(str::to_owned);
    outcome.identity = exchange.identity.take();
    let attributes = std::mem::take(&mut exchange.attributes);
    outcome.attributes = attributes.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
    outcome
}

/// The body that the client sends.
pub fn request_body(step: &Step) -> Body {
    let request = &step.request;
    body(pieces(request.body.as_ref(), request.json.as_ref(), &request.chunks))
}

/// The body that the upstream answers with.
pub fn response_body(step: &Step) -> Body {
    let response = &step.response;
    body(pieces(response.body.as_ref(), response.json.as_ref(), &response.chunks))
}

/// Takes a body through the body hooks, to the end.
pub async fn through(
    chain: &Arc<Chain>,
    exchange: &mut Exchange,
    direction: Direction,
    body: Body,
) -> ControlFlow<Stop, ()> {
    if let Some(bodies) = Bodies::of(chain, exchange, direction, &body) {
        if !bodies.wants_whole() {
            exchange.phase = match direction {
                Direction::Request => Phase::Upstream,
                Direction::Response => Phase::Sent,
            };
        }
        whole(complete(bodies.collect(exchange, body).await?)).await;
    }
    ControlFlow::Continue(())
}

/// The request's way to the upstream; returns the body of the upstream's response.
async fn forward(
    chain: &Arc<Chain>,
    step: &Step,
    exchange: &mut Exchange,
    outcome: &mut Outcome,
) -> ControlFlow<Stop, Body> {
    let mut body = request_body(step);
    chain.on_request(exchange, http_body::Body::is_end_stream(&body)).await?;
    let mut bodies = Bodies::of(chain, exchange, Direction::Request, &body);
    if let Some(whole) = bodies.take_if(|bodies| bodies.wants_whole()) {
        body = complete(whole.collect(exchange, body).await?);
    }
    let head = exchange.request.clone();
    exchange.phase = Phase::Upstream;
    if let Some(chunks) = bodies {
        body = complete(chunks.collect(exchange, body).await?);
    }
    outcome.forwarded = Some(Forwarded {
        method: head.method.to_string(),
        path: head.target.to_string(),
        host: head.authority().to_owned(),
        headers: head.headers,
        body: whole(body).await,
    });
    exchange.outcome.upstream = exchange.upstream_choice.as_deref().map(Into::into);
    exchange.response = response_head(&step.response).unwrap_or_default();
    ControlFlow::Continue(response_body(step))
}

/// The response's way to the client.
async fn back(
    chain: &Arc<Chain>,
    exchange: &mut Exchange,
    mut body: Body,
    outcome: &mut Outcome,
) -> ControlFlow<Stop, Received> {
    if let Some(replaced) = chain.on_response(exchange, http_body::Body::is_end_stream(&body)).await? {
        if let Some(error) = &exchange.outcome.error {
            outcome.failed = Some(error.to_string());
        }
        body = replaced.into();
    }
    let mut bodies = Bodies::of(chain, exchange, Direction::Response, &body);
    if let Some(whole) = bodies.take_if(|bodies| bodies.wants_whole()) {
        body = complete(whole.collect(exchange, body).await?);
    }
    let head = exchange.response.clone();
    exchange.phase = Phase::Sent;
    if let Some(chunks) = bodies {
        body = complete(chunks.collect(exchange, body).await?);
    }
    let status = head.status.unwrap_or_default().as_u16();
    ControlFlow::Continue(Received { status, headers: head.headers, body: whole(body).await })
}

/// What remains if a plugin stopped the exchange: the body of the response, if there is one.
fn stopped(stop: Stop, exchange: &mut Exchange, outcome: &mut Outcome) -> Option<Body> {
    match stop {
        Stop::Answer(body) => Some(body.into()),
        Stop::Abort => {
            outcome.aborted = true;
            None
        }
        Stop::Failed(failure) => {
            outcome.failed = Some(failure.to_string());
            Some(failure.answer(exchange).into())
        }
    }
}

fn seen(exchange: &Exchange, body: Bytes) -> Received {
    let head = exchange.response.clone();
    Received { status: head.status.unwrap_or_default().as_u16(), headers: head.headers, body }
}

/// The fields of a case as a header block.
///
/// # Errors
/// A name or a value cannot be sent.
pub fn headers(written: &BTreeMap<String, Values>) -> Result<HeaderMap, Error> {
    let mut headers = HeaderMap::new();
    for (name, values) in written {
        for value in &values.0 {
            let bad = || Error::told(format!("the header {name:?} with the value {value:?} cannot be sent"));
            let name: HeaderName = name.parse().map_err(|_| bad())?;
            headers.append(name, HeaderValue::from_str(value).map_err(|_| bad())?);
        }
    }
    Ok(headers)
}

fn request_head(request: &Request) -> Result<RequestHead, Error> {
    let bad = |what: &str, text: &str| Error::told(format!("{what} {text:?} is not valid HTTP"));
    let mut headers = headers(&request.headers)?;
    let host = HeaderValue::from_str(&request.host).map_err(|_| bad("the host", &request.host))?;
    headers.insert(HOST, host);
    Ok(RequestHead {
        method: Method::from_bytes(request.method.as_bytes()).map_err(|_| bad("the method", &request.method))?,
        scheme: Scheme::HTTP,
        target: request.path.parse().map_err(|_| bad("the path", &request.path))?,
        headers,
    })
}

/// The head of the upstream's response.
///
/// # Errors
/// It has something that no response can have.
pub fn response_head(response: &Response) -> Result<ResponseHead, Error> {
    let status = StatusCode::from_u16(response.status)
        .map_err(|_| Error::told(format!("the status {} does not exist", response.status)))?;
    Ok(ResponseHead { status: Some(status), headers: headers(&response.headers)? })
}

fn body(pieces: Vec<String>) -> Body {
    match pieces.len() {
        0 => Body::Empty,
        1 => pieces.into_iter().map(Bytes::from).next().unwrap_or_default().into(),
        _ => Body::boxed(Pieces(pieces.into_iter())),
    }
}

/// A body made here never breaks off.
fn complete(body: Result<Body, BodyError>) -> Body {
    body.unwrap_or_default()
}

async fn whole(body: Body) -> Bytes {
    body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default()
}

/// A body in pieces.
struct Pieces(std::vec::IntoIter<String>);

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        Poll::Ready(self.0.next().map(|piece| Ok(Frame::data(piece.into()))))
    }
}

/// These exchanges are not recorded.
struct Nobody;

impl Observer for Nobody {
    fn started(&self) {}
    fn ended(&self, _: &mut Parts) {}
}
