//! An HTTP/1.1 connection to an endpoint, read and written by the request that currently holds it.
//!
//! There is no background task: the request's future, and then the body of its response, write the request and read
//! what arrives. A request without a body is one write, a short response one read, and nobody is woken in between but
//! the one who waits. Only a request that is still being sent when its response begins continues in a separate task.
//! hyper's client was measured first: it has a task for each connection, two channels between that task and the
//! request, and one for the body. With it a plain request took 42,300 user-space instructions in the whole gateway,
//! with this 35,300.
//!
//! Responses are checked more strictly than RFC 9112 demands: one whose end two readers could see in different places
//! is refused ([`response::check`](super::response::check), [`chunks`]), and any bytes after a response end the
//! connection.
//!
//! An unused connection is not watched. That it was closed is noticed by the sweep, or when it is about to be taken,
//! without a system call unless something arrived.

mod answer;
mod chunks;
mod head;
mod switched_stream;
mod upload;

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use http::{Method, Request, Response, StatusCode};
use tokio::io::{AsyncRead as _, ReadBuf};
use tokio::sync::OwnedSemaphorePermit;

use self::answer::Answer;
use self::upload::Upload;
use super::connection::{Again, Unanswered};
use super::endpoint::{Endpoint, InFlight};
use super::error::{BadResponse, Reason};
use super::progress::Progress;
use super::protocol_switch;
use super::response;
use super::socket::Socket;
use crate::body::Body;
use crate::intake::Intake;
use crate::tunnel::Upgrade;

/// An HTTP/1.1 connection to an endpoint. See the module.
pub(super) struct Connection {
    socket: Socket,
    /// Bytes that were read and not used yet.
    input: Intake,
    progress: Arc<Progress>,
    /// Whether it has carried requests before.
    reused: bool,
    /// The permit for this connection. Held as long as the socket is open, even after a switch to a tunnel.
    _slot: OwnedSemaphorePermit,
}

impl Connection {
    pub(super) fn new(socket: Socket, progress: Arc<Progress>, slot: OwnedSemaphorePermit) -> Box<Self> {
        Box::new(Connection { socket, input: Intake::default(), progress, reused: false, _slot: slot })
    }

    pub(super) fn progress(&self) -> &Arc<Progress> {
        &self.progress
    }

    pub(super) fn is_reused(&self) -> bool {
        self.reused
    }

    /// Whether it can take a request: the endpoint has not closed it and has sent nothing unasked.
    pub(super) fn is_open(&mut self) -> bool {
        let mut byte = [0; 1];
        let mut byte = ReadBuf::new(&mut byte);
        // Nobody needs to be woken: the next request reads, too.
        let mut context = Context::from_waker(Waker::noop());
        self.input.bytes.is_empty() && Pin::new(&mut self.socket).poll_read(&mut context, &mut byte).is_pending()
    }

    /// Sends the request and waits for the head of its response.
    pub(super) async fn send(
        mut self: Box<Self>,
        mut request: Request<Body>,
        in_flight: InFlight<&Arc<Endpoint>>,
    ) -> Result<Response<Body>, Unanswered> {
        // Whether the request may be sent again if the endpoint turns out to have closed the unused connection.
        let replayable = self.reused && is_replayable(&request);
        let asked = protocol_switch::asked(&request);
        let mut upload = Upload::new(&mut request);
        self.progress.begin();
        let limits = head::Limits::of(in_flight.endpoint().transport());
        let mut heads = head::Heads::default();
        let answer = poll_fn(|context| self.poll_answer(&mut upload, &mut heads, &limits, context)).await;
        self.progress.answered();
        match answer {
            Ok(head) => self.receive(head, &request, asked, upload, in_flight),
            Err(failed) => {
                let unread = failed.nothing_came && replayable && matches!(failed.reason, Reason::Closed(_));
                let again = unread.then(|| Again::Unread(Box::new(request)));
                Err(Unanswered { reason: failed.reason, again })
            }
        }
    }

    /// Writes as much of the request as possible until the head of the response has arrived.
    fn poll_answer(
        &mut self,
        upload: &mut Upload,
        heads: &mut head::Heads,
        limits: &head::Limits,
        context: &mut Context<'_>,
    ) -> Poll<Result<Response<()>, Failed>> {
        if let Poll::Ready(Err(error)) = upload.poll(&mut self.socket, &self.progress, context) {
            return Poll::Ready(Err(Failed { reason: error.into(), nothing_came: false }));
        }
        loop {
            match heads.read(&mut self.input, limits) {
                Ok(Some(head)) => return Poll::Ready(Ok(head)),
                Ok(None) => {}
                Err(flaw) => {
                    return Poll::Ready(Err(Failed { reason: Reason::BadResponse(flaw), nothing_came: false }));
                }
            }
            let nothing_came = self.input.bytes.is_empty() && heads.is_first();
            match self.input.poll_fill(&mut self.socket, context) {
                Poll::Ready(Ok(1..)) => {}
                Poll::Ready(Ok(0)) if !nothing_came => {
                    let reason = Reason::BadResponse(BadResponse::Truncated);
                    return Poll::Ready(Err(Failed { reason, nothing_came }));
                }
                Poll::Ready(end) => {
                    let error = end.err().unwrap_or_else(|| io::ErrorKind::UnexpectedEof.into());
                    return Poll::Ready(Err(Failed { reason: Reason::Closed(Box::new(error)), nothing_came }));
                }
                Poll::Pending => break,
            }
        }
        if self.progress.poll_expired(context).is_ready() {
            let reason = Reason::ResponseTimeout(limits.response_timeout);
            return Poll::Ready(Err(Failed { reason, nothing_came: false }));
        }
        Poll::Pending
    }

    /// Converts the endpoint's response into the one that is passed on. A bad response closes the connection.
    fn receive(
        mut self: Box<Self>,
        head: Response<()>,
        request: &Request<Body>,
        asked: Option<Box<Upgrade>>,
        upload: Upload,
        in_flight: InFlight<&Arc<Endpoint>>,
    ) -> Result<Response<Body>, Unanswered> {
        let bad = |flaw| Unanswered { reason: Reason::BadResponse(flaw), again: None };
        let mut response = head;
        if let Some(asked) = asked
            && response.status() == StatusCode::SWITCHING_PROTOCOLS
        {
            let head = protocol_switch::check(response, &asked).map_err(bad)?;
            return Ok(switched_stream::receive(head, self, in_flight.keep()));
        }
        let limit = in_flight.endpoint().transport().max_headers;
        let framing = response::check(&mut response, limit, request.method() == Method::HEAD).map_err(bad)?;
        let keeps = response::keeps_connection(&response);
        let answer = Answer::new(framing, &mut self.input, in_flight.endpoint().transport()).map_err(bad)?;
        if !keeps {
            self.progress.retire();
        }
        Ok(response.map(|()| answer.body(self, upload, in_flight)))
    }

    /// Returns the connection to the pool if it can take another request.
    fn give_back(mut self: Box<Self>, endpoint: &Endpoint) {
        if !self.input.bytes.is_empty() || self.progress.is_retired() {
            return;
        }
        self.input.shrink();
        self.reused = true;
        endpoint.put(self);
    }
}

/// A request that got no response.
struct Failed {
    reason: Reason,
    /// Not a byte of a response had arrived.
    nothing_came: bool,
}

/// Whether the request can be sent again when its outcome is unknown: it is idempotent (RFC 9110, section 9.2.2), and
/// no body has been consumed.
pub(super) fn is_replayable<B: http_body::Body>(request: &Request<B>) -> bool {
    let idempotent = matches!(
        *request.method(),
        Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE | Method::PUT | Method::DELETE
    );
    idempotent && request.body().is_end_stream()
}
