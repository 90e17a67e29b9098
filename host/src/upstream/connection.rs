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

/// A request without an answer.
pub(super) struct Unanswered {
    pub(super) reason: Reason,
    pub(super) again: Option<Again>,
}

/// A request that may go out once more, whatever its policy says.
pub(super) enum Again {
    /// The connection closed before any of it was written.
    Unsent(Box<Request<Body>>),
    /// The connection had been unused, and closed without a byte of an answer: most likely the endpoint closed it
    /// before the request was there. Such a request has no body and means the same twice. Or an HTTP/2 endpoint has said
    /// that it did not get to it, which holds for every request; all of this one's body is in memory.
    Unread(Box<Request<Body>>),
}

impl Again {
    fn unsent(request: Request<Outgoing>) -> Self {
        Again::Unsent(Box::new(request.map(Outgoing::into_body)))
    }
}

impl Lease {
    /// Sends the request and waits for the head of its answer.
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

    /// Whether the connection had carried requests before.
    pub(super) fn is_reused(&self) -> bool {
        match self {
            Lease::Http1(connection) => connection.is_reused(),
            Lease::Http2(place) => place.reused,
        }
    }

    pub(super) fn progress(&self) -> &Progress {
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
    /// Sweeps in which no stream was open.
    sweeps: u32,
}

/// What a connection and its streams know of each other.
pub(super) struct Streams {
    opened: Instant,
    open: AtomicU32,
    /// Streams that the endpoint allows at a time (RFC 9113, section 5.1.2), as far as known.
    allowed: AtomicU32,
    retired: AtomicBool,
    /// When a request went out since which nothing was read, in milliseconds since the connection was made, plus one; 0
    /// where there is none.
    silent_since: AtomicU64,
    /// Told when a stream ends.
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

    /// The endpoint allows this many streams.
    pub(super) fn allow(&self, streams: usize) {
        self.allowed.store(u32::try_from(streams).unwrap_or(u32::MAX), Relaxed);
    }

    /// A request goes out.
    fn ask(&self, at: Instant) {
        if self.silent_since.load(Relaxed) == 0 {
            self.silent_since.store(self.milliseconds(at).saturating_add(1), Relaxed);
        }
    }

    /// Something was read, whatever it was.
    pub(super) fn heard(&self) {
        self.silent_since.store(0, Relaxed);
    }

    /// Whether nothing was read for a while, although there was a request to answer.
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

    /// A place for a request, if one is free.
    pub(super) fn place(&self, max_streams: u32) -> Option<Http2> {
        let allowed = self.streams.allowed.load(Relaxed).min(max_streams);
        let free = !self.streams.retired.load(Relaxed) && self.streams.open.load(Relaxed) < allowed;
        free.then(|| self.take_place(true))
    }

    /// The place for the request that the connection was made for.
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

    /// One sweep. False when the connection was unused for more than `limit`, or is not wanted any more.
    pub(super) fn sweep(&mut self, limit: u32, spare: bool) -> bool {
        if self.streams.open.load(Relaxed) > 0 {
            self.sweeps = 0;
            return true;
        }
        self.sweeps = self.sweeps.saturating_add(1);
        !spare && self.sweeps <= limit && !self.streams.retired.load(Relaxed)
    }
}

/// A place on an HTTP/2 connection.
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

/// A request that waits for the head of its answer. One that is given up, by its client or by a time limit of its route,
/// cannot tell a slow endpoint from a dead connection; but where nothing at all was read for a while, later requests take
/// another.
struct Waiting<'a> {
    streams: &'a Streams,
    progress: &'a Progress,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        // It is nobody's turn where the answer is there.
        if self.progress.is_endpoints_turn() && self.streams.is_silent() {
            self.streams.retired.store(true, Relaxed);
        }
    }
}

impl Http2 {
    pub(super) fn progress(&self) -> &Progress {
        &self.progress
    }

    /// No further request over this connection.
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
                    // One stream cannot tell a slow endpoint from a dead connection: later requests take another.
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
    /// Turns what came into what is passed on.
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

/// The request for another attempt, where its body is in memory.
fn copy_of(request: &Request<Outgoing>) -> Option<Request<Body>> {
    let mut copy = Request::new(request.body().copy()?);
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    *copy.version_mut() = request.version();
    Some(copy)
}

/// Whether an HTTP/2 endpoint has said that it did not get to the request: the stream was refused, or is above the last
/// one of a GOAWAY (RFC 9113, section 8.7). h2 gives that GOAWAY as the error of such streams alone.
fn is_refused(reason: &Reason) -> bool {
    let Reason::Closed(error) = reason else { return false };
    let error = error.source().and_then(|cause| cause.downcast_ref::<h2::Error>());
    error.is_some_and(|error| {
        error.is_remote() && (error.is_go_away() || error.reason() == Some(h2::Reason::REFUSED_STREAM))
    })
}

/// Whether an HTTP/2 endpoint most likely did not get to the request: it was refused, or the connection ended. Any other
/// reset comes from an endpoint that worked on it.
fn is_unprocessed(reason: &Reason) -> bool {
    let Reason::Closed(error) = reason else { return false };
    match error.source().and_then(|cause| cause.downcast_ref::<h2::Error>()) {
        Some(error) if error.is_reset() => error.reason() == Some(h2::Reason::REFUSED_STREAM),
        _ => true,
    }
}

/// What hyper's error means to the one who sent the request.
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
    // A broken HTTP/2 answer is found by our side, and ends the stream or the connection.
    let broken = error
        .source()
        .and_then(|cause| cause.downcast_ref::<h2::Error>())
        .is_some_and(|error| error.is_library() && error.reason().is_some_and(|reason| reason != h2::Reason::NO_ERROR));
    match broken {
        true => Reason::BadResponse(BadResponse::Malformed(Box::new(error))),
        false => Reason::Closed(Box::new(error)),
    }
}

/// For so long nothing has to be read on a connection before a request that is given up takes that for its end. Long enough
/// that clients which leave at once do not cost connections.
const SILENCE: Duration = Duration::from_millis(500);
