//! The last part of an exchange: its response body, which ends it.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{HeaderValue, Method, Response, StatusCode};
use http_body::{Body as _, Frame, SizeHint};

use super::error::Error;
use super::middleware::Behind;
use super::to_upstream::GivenUp;
use crate::admission::Admitted;
use crate::body::{Body, BodyError};
use crate::exchange::{Exchange, Fault, Phase};
use crate::http::Abort;
use crate::plugin::{Bodies, Loan, Turn, fault_of};
use crate::snapshot::{Route, Snapshot};
use crate::tunnel::{End, Ended, Handover, How, Tunnel, Upgrade};

/// An exchange until its end. When it is dropped, the plugins that asked for it are told and the record is written. So
/// a client that disconnects, at any point, ends the exchange in the same way as the last byte.
pub(super) struct Tail {
    pub exchange: Exchange,
    /// The route's index in the snapshot, once it is found.
    pub route: Option<usize>,
    /// The hooks that the response body is yet to stream through.
    pub stream: Option<Bodies>,
    /// The permit for the request, on a route that limits the number of requests in flight.
    pub admitted: Option<Admitted>,
    /// The upstream's end of a tunnel, until the response is sent to the client.
    pub upstream_end: Option<End>,
    /// What is behind the route's middleware, while the middleware's answer is awaited.
    pub behind: Option<Arc<Behind>>,
    /// The request to the upstream, if its answer was not awaited.
    pub given_up: Option<Box<GivenUp>>,
    /// The cookie that keeps the client on its endpoint, until the response is past the cache.
    pub cookie: Option<Box<HeaderValue>>,
    snapshot: Arc<Snapshot>,
    /// While the request body streams through hooks, the exchange is shared with the task that does it.
    loan: Option<Loan>,
    /// Held from the arrival of the response head until it is sent: request body hooks wait in the meantime.
    turn: Option<Turn>,
    sent: Sent,
}

/// What was sent to the client.
#[derive(Default)]
struct Sent {
    bytes: u64,
    complete: bool,
    /// Why the response broke off.
    error: Option<(Fault, String)>,
}

impl Tail {
    pub fn new(exchange: Exchange, snapshot: Arc<Snapshot>) -> Tail {
        let (loan, turn, sent) = (None, None, Sent::default());
        let (stream, upstream_end, admitted, behind) = (None, None, None, None);
        let (route, given_up, cookie) = (None, None, None);
        Tail { exchange, route, stream, upstream_end, admitted, behind, given_up, cookie, snapshot, loan, turn, sent }
    }

    /// The configuration that the exchange sees.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.clone()
    }

    /// Shares the exchange, which is not here until [`Tail::take_back`].
    pub fn lend(&mut self) -> Loan {
        let loan = Loan::new(self.exchange.take());
        self.loan = Some(loan.clone());
        loan
    }

    /// Takes the exchange back, at the latest when the running hook has returned.
    pub async fn take_back(&mut self) {
        if let Some(loan) = &self.loan {
            let mut turn = loan.turn().await;
            self.exchange = turn.take();
            self.turn = Some(turn);
        }
    }

    /// Shares the exchange again if the request body is still being streamed through its hooks.
    fn lend_again(&mut self) {
        match self.turn.take() {
            Some(mut turn) if !turn.is_last() => *turn = self.exchange.take(),
            _ => self.loan = None,
        }
    }

    /// The response for the client. The exchange ends with its body.
    pub fn response(mut self, mut body: Body) -> Response<Body> {
        if let Some(upgrade) = self.exchange.upgrade.take() {
            match self.upstream_end.take() {
                Some(end) if self.exchange.response.status == Some(StatusCode::SWITCHING_PROTOCOLS) => {
                    return self.into_tunnel(upgrade, end, body);
                }
                _ if upgrade.is_required && self.exchange.response.status.is_some_and(|it| it.is_success()) => {
                    body = Error::NotSwitched.answer(&mut self.exchange);
                    self.stream = None;
                }
                _ => {}
            }
        }
        let exchange = &mut self.exchange;
        exchange.phase = Phase::Sent;
        let has_left = exchange.outcome.fault == Some(Fault::ClientLeft);
        let is_aborted = exchange.outcome.aborted || has_left;
        let status = exchange.response.status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        if has_left {
            // It does not get the answer, so the record has no status.
            exchange.response.status = None;
        }
        if !body.is_end_stream() && is_without_content(&exchange.received.method, status) {
            if let Some(length) = body.size_hint().exact().filter(|_| exchange.received.method == Method::HEAD) {
                exchange.response.headers.entry(CONTENT_LENGTH).or_insert(length.into());
            }
            (body, self.stream) = (Body::Empty, None);
        }
        self.sent.complete = body.is_read();
        let mut response = Response::new(Body::Empty);
        *response.status_mut() = status;
        let keep = self.route().is_some_and(|route| route.chain.has_completion());
        let headers = &mut self.exchange.response.headers;
        *response.headers_mut() = if keep { headers.clone() } else { std::mem::take(headers) };
        self.lend_again();
        *response.body_mut() = match self.stream.take() {
            Some(bodies) => self.stream(bodies, body),
            None => Body::boxed(TailBody { body, tail: self }),
        };
        if is_aborted {
            response.extensions_mut().insert(Abort);
        }
        response
    }

    /// Whether the protocol is about to be switched.
    pub fn is_switched(&self) -> bool {
        self.upstream_end.is_some() && self.exchange.response.status == Some(StatusCode::SWITCHING_PROTOCOLS)
    }

    /// The 101 for the client, with the tunnel for the owner of the client's connection. The exchange ends when the
    /// tunnel does.
    fn into_tunnel(mut self, upgrade: Upgrade, end: End, body: Body) -> Response<Body> {
        self.exchange.phase = Phase::Sent;
        let mut response = Response::new(Body::Empty);
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        *response.headers_mut() = self.exchange.response.headers.clone();
        let idle_timeout = self.route().map_or(Duration::ZERO, |route| route.upgrades.idle_timeout);
        let tunnel = Tunnel::new(upgrade.protocol, end, idle_timeout, move |ended| {
            // The body is empty, but it may hold a permit, which is taken for as long as the tunnel exists.
            drop(body);
            self.ended(ended);
        });
        response.extensions_mut().insert(Handover::new(tunnel));
        response
    }

    fn ended(mut self, ended: Ended) {
        let (fault, error) = match ended.how {
            How::Complete => (None, None),
            How::ClientLeft => (None, None),
            How::UpstreamFailed(ref error) => (Some(Fault::Upstream), Some(format!("the tunnel broke off: {error}"))),
            How::Idle(time) => (Some(Fault::TimedOut), Some(format!("no byte went through the tunnel for {time:?}"))),
            How::ShutDown => (Some(Fault::ShutDown), None),
        };
        self.sent = Sent { bytes: ended.to_client, complete: matches!(ended.how, How::Complete), error: None };
        let outcome = &mut self.exchange.outcome;
        outcome.request_bytes = Some(Arc::new(ended.from_client.into()));
        outcome.fault = fault;
        outcome.error = error.map(Into::into);
    }

    /// The body as its hooks leave it. The exchange moves along and ends when they are done.
    fn stream(mut self, bodies: Bodies, body: Body) -> Body {
        let exchange = self.exchange.take();
        let loan = self.loan.take();
        bodies.stream_response(body, exchange, loan, move |exchange, bytes, complete| {
            self.exchange = exchange;
            self.sent = Sent { bytes, complete, error: None };
            drop(self);
        })
    }

    fn route(&self) -> Option<&Route> {
        self.snapshot.route(self.route?)
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        let (sent, behind, given_up) = (std::mem::take(&mut self.sent), self.behind.take(), self.given_up.take());
        let note = move |exchange: &mut Exchange| {
            if let Some(behind) = &behind {
                behind.note_given_up(&mut exchange.outcome);
            }
            if let Some(given_up) = &given_up {
                given_up.note(exchange);
            }
            sent.note(exchange);
        };
        let loan = self.loan.take().filter(|_| self.exchange.is_lent());
        if !self.exchange.is_lent() {
            note(&mut self.exchange);
        }
        let Some(chain) = self.route().map(|route| &route.chain) else { return };
        if loan.is_none() && (self.exchange.is_lent() || !chain.has_completion()) {
            return;
        }
        let (chain, mut exchange) = (chain.clone(), self.exchange.take());
        let end = async move {
            if let Some(loan) = loan {
                exchange = loan.turn().await.take();
                if exchange.is_lent() {
                    return;
                }
                note(&mut exchange);
            }
            chain.on_complete(&mut exchange).await;
        };
        // Completion hooks may wait, which a destructor cannot. If there is no runtime, the process is ending.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(end);
        }
    }
}

impl Sent {
    fn note(&self, exchange: &mut Exchange) {
        let outcome = &mut exchange.outcome;
        outcome.response_bytes = self.bytes;
        outcome.complete = self.complete;
        if let (Some((fault, error)), None) = (&self.error, outcome.fault) {
            outcome.fault = Some(*fault);
            outcome.error = Some(error.clone().into());
        }
        if outcome.fault.is_none() && outcome.is_overdue() {
            Error::Deadline.note(outcome);
        }
    }
}

/// The response body as the connection reads it.
struct TailBody {
    body: Body,
    tail: Tail,
}

impl http_body::Body for TailBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        let is_whole = self.body.is_read();
        let sent = &mut self.tail.sent;
        match &frame {
            Some(Ok(frame)) => {
                sent.bytes += frame.data_ref().map_or(0, Bytes::len) as u64;
                sent.complete = is_whole;
            }
            Some(Err(error)) => (sent.complete, sent.error) = (false, Some((fault_of(error), error.to_string()))),
            None => sent.complete = true,
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Whether a response ends with its head (RFC 9110 sections 9.3.2, 15.3.5 and 15.4.5), even if a plugin wrote a body:
/// HTTP/1 would leave the body out, HTTP/2 would send it.
pub(super) fn is_without_content(method: &Method, status: StatusCode) -> bool {
    method == Method::HEAD || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}
