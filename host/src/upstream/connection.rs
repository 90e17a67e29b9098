//! One connection to an endpoint, or one slot on a shared HTTP/2 connection, and the possible outcomes of sending over
//! it.

use std::error::Error;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use http::{Request, Response};
use http_body::Body as _;
use hyper::body::Incoming;
use hyper::client::conn::http2;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::endpoint::{Endpoint, InFlight};
use super::error::{BadResponse, Reason};
use super::http1;
use super::progress::Progress;
use super::request::Outgoing;
use super::response::{self, Held};
use crate::body::Body;

/// The right to send one request.
pub(super) enum Lease {
    Http1(Box<http1::Connection>),
    Http2(Http2),
}

/// A request that got no response.
pub(super) struct Unanswered {
    pub(super) reason: Reason,
    pub(super) again: Option<Again>,
}

/// A request that may be sent once more, whatever the retry policy says.
pub(super) enum Again {
    /// The connection closed before any of the request was written.
    Unsent(Box<Request<Body>>),
    /// Either a pooled connection closed without a byte of a response, most likely because the endpoint closed it
    /// before the request arrived; such a request is idempotent and has no body. Or an HTTP/2 endpoint said that it did
    /// not process the request, which allows a retry of any method as long as all of the body is in memory.
    Unread(Box<Request<Body>>),
}

impl Again {
    fn unsent(request: Request<Outgoing>) -> Self {
        Again::Unsent(Box::new(request.map(Outgoing::into_body)))
    }
}

impl Lease {
    /// Sends the request and waits for the head of its response.
    pub(super) async fn send(
        self,
        request: Request<Body>,
        in_flight: InFlight<&Arc<Endpoint>>,
    ) -> Result<Response<Body>, Unanswered> {
        match self {
            Lease::Http1(connection) => connection.send(request, in_flight).await,
            Lease::Http2(place) => Box::pin(place.send(request, in_flight)).await,
        }
    }

    /// Whether the connection has carried requests before.
    pub(super) fn is_reused(&self) -> bool {
        match self {
            Lease::Http1(connection) => connection.is_reused(),
            Lease::Http2(place) => place.reused,
        }
    }

    pub(super) fn progress(&self) -> &Arc<Progress> {
        match self {
            Lease::Http1(connection) => connection.progress(),
            Lease::Http2(place) => &place.progress,
        }
    }
}

/// An HTTP/2 connection, shared by the requests of one core.
pub(super) struct Shared {
    sender: http2::SendRequest<Outgoing>,
    streams: Arc<Streams>,
    /// Consecutive sweeps that found no open stream.
    sweeps: u32,
}

/// State shared between a connection and its streams.
pub(super) struct Streams {
    opened: Instant,
    open: AtomicU32,
    /// Concurrent streams that the endpoint allows (RFC 9113, section 5.1.2), as far as known.
    allowed: AtomicU32,
    retired: AtomicBool,
    /// When the first request went out after which nothing was read, in milliseconds since the connection was made,
    /// plus one; 0 if there is none.
    silent_since: AtomicU64,
    /// Notified when a stream ends.
    available: Arc<Notify>,
}

impl Streams {
    pub(super) fn new(available: Arc<Notify>) -> Self {
        Streams {
            opened: Instant::now(),
            open: AtomicU32::new(0),
            allowed: AtomicU32::new(u32::MAX),
            retired: AtomicBool::new(false),
            silent_since: AtomicU64::new(0),
            available,
        }
    }

    /// Sets how many concurrent streams the endpoint allows.
    pub(super) fn allow(&self, streams: usize) {
        self.allowed.store(u32::try_from(streams).unwrap_or(u32::MAX), Relaxed);
    }

    /// Records that a request was sent.
    fn ask(&self, at: Instant) {
        if self.silent_since.load(Relaxed) == 0 {
            self.silent_since.store(self.milliseconds(at).saturating_add(1), Relaxed);
        }
    }

    /// Records that something was read, whatever it was.
    pub(super) fn heard(&self) {
        self.silent_since.store(0, Relaxed);
    }

    /// Whether nothing has been read for [`SILENCE`] although a request was waiting for its response.
    fn is_silent(&self) -> bool {
        let since = self.silent_since.load(Relaxed).checked_sub(1);
        let silence = since.map(|since| self.milliseconds(Instant::now()).saturating_sub(since));
        silence.is_some_and(|silence| Duration::from_millis(silence) >= SILENCE)
    }

    fn milliseconds(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.opened).as_millis()).unwrap_or(u64::MAX)
    }
}

impl Shared {
    pub(super) fn new(sender: http2::SendRequest<Outgoing>, streams: Arc<Streams>) -> Self {
        Shared { sender, streams, sweeps: 0 }
    }

    /// A slot for a request, if one is free.
    pub(super) fn place(&self, max_streams: u32) -> Option<Http2> {
        let allowed = self.streams.allowed.load(Relaxed).min(max_streams);
        let free = !self.streams.retired.load(Relaxed) && self.streams.open.load(Relaxed) < allowed;
        free.then(|| self.take_place(true))
    }

    /// The slot for the request that the connection was made for.
    pub(super) fn first_place(&self) -> Http2 {
        self.take_place(false)
    }

    fn take_place(&self, reused: bool) -> Http2 {
        let open = &self.streams.open;
        open.store(open.load(Relaxed).saturating_add(1), Relaxed);
        let place = Place(Arc::clone(&self.streams));
        Http2 { sender: self.sender.clone(), place, progress: Arc::new(Progress::new()), reused }
    }

    pub(super) fn opened(&self) -> Instant {
        self.streams.opened
    }

    pub(super) fn retire(&self) {
        self.streams.retired.store(true, Relaxed);
    }

    pub(super) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// One sweep. False if the connection has been unused for more than `limit` sweeps, or is not wanted any more.
    pub(super) fn sweep(&mut self, limit: u32, spare: bool) -> bool {
        if self.streams.open.load(Relaxed) > 0 {
            self.sweeps = 0;
            return true;
        }
        self.sweeps = self.sweeps.saturating_add(1);
        !spare && self.sweeps <= limit && !self.streams.retired.load(Relaxed)
    }
}

/// A slot on an HTTP/2 connection.
pub(super) struct Http2 {
    sender: http2::SendRequest<Outgoing>,
    place: Place,
    progress: Arc<Progress>,
    reused: bool,
}

struct Place(Arc<Streams>);

impl Drop for Place {
    fn drop(&mut self) {
        let open = &self.0.open;
        open.store(open.load(Relaxed).saturating_sub(1), Relaxed);
        self.0.available.notify_one();
    }
}

/// A request that waits for the head of its response. If it is given up, by the client or by a time limit of its route,
/// that alone does not distinguish a slow endpoint from a dead connection; but if nothing at all was read for a while,
/// later requests use another connection.
struct Waiting<'a> {
    streams: &'a Streams,
    progress: &'a Progress,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        // Once the response is here, it is nobody's turn.
        if self.progress.is_endpoints_turn() && self.streams.is_silent() {
            self.streams.retired.store(true, Relaxed);
        }
    }
}

impl Http2 {
    pub(super) fn progress(&self) -> &Progress {
        &self.progress
    }

    /// Accepts no further requests on this connection.
    pub(super) fn retire(&self) {
        self.place.0.retired.store(true, Relaxed);
    }

    async fn send(
        mut self,
        request: Request<Body>,
        in_flight: InFlight<&Arc<Endpoint>>,
    ) -> Result<Response<Body>, Unanswered> {
        let endpoint = in_flight.endpoint();
        let progress = Arc::clone(&self.progress);
        endpoint.watch(&progress);
        let request = request.map(|body| Outgoing::new(body, &progress));
        let replayable = self.reused && http1::is_replayable(&request);
        let copy = copy_of(&request);
        progress.begin();
        let sent = self.sender.try_send_request(request);
        let result = {
            self.place.0.ask(progress.opened);
            let _waiting = Waiting { streams: &self.place.0, progress: &progress };
            let result = tokio::select! {
                biased;
                result = sent => result,
                () = poll_fn(|context| progress.poll_expired(context)) => {
                    // One stream cannot tell a slow endpoint from a dead connection, so later requests use another one.
                    self.retire();
                    let timeout = endpoint.transport().response_timeout;
                    return Err(Unanswered { reason: Reason::ResponseTimeout(timeout), again: None });
                }
            };
            progress.answered();
            result
        };
        match result {
            Ok(response) => self.receive(response, in_flight),
            Err(mut error) => {
                let unsent = error.take_message().map(Again::unsent);
                let reason = reason(error.into_error(), &progress, endpoint);
                let goes_again = is_refused(&reason) || replayable && is_unprocessed(&reason);
                let unread = copy.filter(|_| goes_again).map(|copy| Again::Unread(Box::new(copy)));
                Err(Unanswered { reason, again: unsent.or(unread) })
            }
        }
    }
}

impl Http2 {
    /// Converts the endpoint's response into the one that is passed on.
    fn receive(
        self,
        mut response: Response<Incoming>,
        in_flight: InFlight<&Arc<Endpoint>>,
    ) -> Result<Response<Body>, Unanswered> {
        let limit = in_flight.endpoint().transport().max_headers;
        response::check(&mut response, limit, false)
            .map_err(|flaw| Unanswered { reason: Reason::BadResponse(flaw), again: None })?;
        Ok(response.map(|body| match body.is_end_stream() {
            true => Body::Empty,
            false => Body::boxed(Held::new(body, self, in_flight.keep())),
        }))
    }
}

/// A copy of the request for another attempt, if its body is in memory.
fn copy_of(request: &Request<Outgoing>) -> Option<Request<Body>> {
    let mut copy = Request::new(request.body().copy()?);
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    *copy.version_mut() = request.version();
    Some(copy)
}

/// Whether an HTTP/2 endpoint has said that it did not process the request: the stream was refused, or its number is
/// above the last one of a GOAWAY (RFC 9113, section 8.7). h2 reports that GOAWAY as an error only to such streams.
fn is_refused(reason: &Reason) -> bool {
    let Reason::Closed(error) = reason else { return false };
    let error = error.source().and_then(|cause| cause.downcast_ref::<h2::Error>());
    error.is_some_and(|error| {
        error.is_remote() && (error.is_go_away() || error.reason() == Some(h2::Reason::REFUSED_STREAM))
    })
}

/// Whether an HTTP/2 endpoint most likely did not process the request: it was refused, or the connection ended. Any
/// other reset comes from an endpoint that worked on it.
fn is_unprocessed(reason: &Reason) -> bool {
    let Reason::Closed(error) = reason else { return false };
    match error.source().and_then(|cause| cause.downcast_ref::<h2::Error>()) {
        Some(error) if error.is_reset() => error.reason() == Some(h2::Reason::REFUSED_STREAM),
        _ => true,
    }
}

/// Converts hyper's error into a reason.
fn reason(error: hyper::Error, progress: &Progress, endpoint: &Endpoint) -> Reason {
    if let Some(fault) = progress.take_fault() {
        return Reason::RequestBody(fault);
    }
    if progress.is_expired() {
        return Reason::ResponseTimeout(endpoint.transport().response_timeout);
    }
    if error.is_body_write_aborted() {
        return Reason::ShortRequestBody;
    }
    // A broken HTTP/2 response is detected on our side, and ends the stream or the connection.
    let broken = error
        .source()
        .and_then(|cause| cause.downcast_ref::<h2::Error>())
        .is_some_and(|error| error.is_library() && error.reason().is_some_and(|reason| reason != h2::Reason::NO_ERROR));
    match broken {
        true => Reason::BadResponse(BadResponse::Malformed(Box::new(error))),
        false => Reason::Closed(Box::new(error)),
    }
}

/// If nothing was read for this long and a request is given up, the connection is considered dead. Long enough that
/// clients which leave at once do not cost connections.
const SILENCE: Duration = Duration::from_millis(500);
