//! One HTTP/1 connection, driven to its end.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use http::header::{CONNECTION, EXPECT, HeaderValue, UPGRADE};
use http::{Request, Response};
use http_body::Body as _;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::time::Instant;

use super::framing::{Framing, Limits};
use super::guard::Guard;
use super::request_body::{Leave, Reader, RequestBody};
use super::response_body::ResponseBody;
use super::rest::{self, Resting};
use super::state::{Active, State, Switch, Waiting};
use super::{Abort, Connection, DRAIN_PATIENCE, Settings};
use crate::body::Body;
use crate::drain::Drain;
use crate::headers::Reject;
use crate::tunnel::{Handover, Tunnel, Upgrade};

/// Serves requests until the connection is over, which is None, or idle for so long that it may rest. `first` are the first
/// bytes.
pub(super) async fn serve<IO, H, F>(
    io: IO,
    first: Vec<u8>,
    connection: &Arc<Connection>,
    settings: &Arc<Settings>,
    handler: &H,
    drain: &Drain,
) -> Option<Resting<IO>>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    H: Fn(Arc<Connection>, Request<Body>) -> F + Clone + Send + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let state = Arc::new(State::new(Instant::now()));
    state.wait_from_start(Waiting::Head);
    let first = if settings.http1 { first } else { Vec::new() };
    if !settings.http1 {
        state.refuse(Reject::Http2Only, false);
    }
    let guard = Guard::new(io, first, Framing::new(limits(settings)), Arc::clone(&state));
    let service = service_fn(|request| exchange(request, connection, handler, &state, settings));
    // Accepted while the gateway stops: its first request is its last.
    let keep_alive = !drain.is_asked();
    let builder = builder(settings, keep_alive);
    let mut served = builder.serve_connection(TokioIo::new(guard), service).with_upgrades();
    let mut asked = pin!(drain.asked());
    let mut alarm = pin!(tokio::time::sleep(settings.head_timeout));
    let mut watcher = Watcher::new(&state, settings, connection, drain);
    let mut waker: Option<Waker> = None;

    let rests = poll_fn(|cx| {
        // Being registered once is enough, as long as the task is woken the same way: polling the drain signal and
        // the timer each time would cost more than the rest of this function.
        if !waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            waker = Some(cx.waker().clone());
            state.set_waker(cx.waker());
            let _ = asked.as_mut().poll(cx);
            let _ = alarm.as_mut().poll(cx);
        }
        loop {
            // An error means that the client went, or broke off: there is nobody left to tell.
            if Pin::new(&mut served).poll(cx).is_ready() {
                watcher.report();
                return Poll::Ready(false);
            }
            watcher.poll_unread(cx);
            if watcher.wants_end() {
                Pin::new(&mut served).graceful_shutdown();
                continue;
            }
            let Some(deadline) = watcher.deadline() else { return Poll::Pending };
            if deadline >= alarm.deadline() && !alarm.is_elapsed() {
                return Poll::Pending;
            }
            if deadline > Instant::now() {
                alarm.as_mut().reset(deadline);
                if alarm.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
                continue;
            }
            match watcher.give_up() {
                Verdict::GoesOn => {}
                Verdict::Rests => return Poll::Ready(true),
                Verdict::IsDropped => return Poll::Ready(false),
            }
        }
    })
    .await;
    if rests {
        let parts = served.into_parts()?;
        // The rest of a body that somebody holds and does not read, or let go of just now: no request begins there.
        if !parts.read_buf.is_empty() {
            return None;
        }
        let since = state.waits_until(Duration::ZERO);
        return Some(Resting { io: parts.io.into_inner().into_inner(), since });
    }
    drop(served);
    if let Some(switch) = state.take_switch() {
        after_http(*switch, settings, drain.clone()).await;
    }
    None
}

/// What becomes of a connection that hyper has left to whoever asked for another protocol: it is that protocol's from
/// here on, or, where the protocol was not switched, it is closed as every other.
async fn after_http(switch: Switch, settings: &Settings, drain: Drain) {
    // An error: hyper has closed the connection itself.
    let Ok(io) = switch.io.await else { return };
    let mut io = TokioIo::new(io);
    match switch.tunnel {
        Some(tunnel) => tunnel.run(io, drain).await,
        None => drop(tokio::time::timeout(settings.linger_timeout, io.shutdown()).await),
    }
}

/// Hands a request to the handler and its response to hyper.
async fn exchange<H, F>(
    mut request: Request<Incoming>,
    connection: &Arc<Connection>,
    handler: &H,
    state: &Arc<State>,
    settings: &Settings,
) -> Result<Response<ResponseBody>, Aborted>
where
    H: Fn(Arc<Connection>, Request<Body>) -> F,
    F: Future<Output = Response<Body>>,
{
    let active = Active::start(state);
    let has_body = !request.body().is_end_stream();
    let expects_continue = has_body && request.headers().contains_key(EXPECT);
    let upgrade = if request.extensions().is_empty() { None } else { asks_for_upgrade(&mut request) };
    let request = request.map(|incoming| {
        if !has_body {
            return Body::Empty;
        }
        let to = Reader::Connection(Arc::clone(state));
        let leave = Leave { to, bytes_limit: settings.unread_bytes_limit, expects_continue };
        Body::boxed(RequestBody::new(incoming, settings.body_idle_timeout, leave))
    });
    let mut response = handler(Arc::clone(connection), request).await;
    if has_body && (state.take_abandoned() || state.refused().is_some()) {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    if !response.extensions().is_empty() && response.extensions().get::<Abort>().is_some() {
        return Err(Aborted);
    }
    if let Some(io) = upgrade {
        state.switch(Switch { io, tunnel: switched(&mut response) });
    }
    Ok(response.map(|body| ResponseBody::new(body, active)))
}

/// The connection for another protocol, where the request asks for one (the guard has seen to it that it may). What it
/// asks for is put into its extensions.
fn asks_for_upgrade(request: &mut Request<Incoming>) -> Option<OnUpgrade> {
    let io = request.extensions_mut().remove::<OnUpgrade>()?;
    if let Some(protocol) = request.headers().get(UPGRADE).cloned() {
        request.extensions_mut().insert(Upgrade { protocol, is_required: false });
    }
    Some(io)
}

/// The tunnel of a response that switches the protocol. What belongs to the connection is added to its head.
fn switched(response: &mut Response<Body>) -> Option<Tunnel> {
    let tunnel = response.extensions_mut().remove::<Handover<Tunnel>>()?.take()?;
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
    response.headers_mut().insert(UPGRADE, tunnel.protocol.clone());
    Some(tunnel)
}

/// Sees to it that a connection ends when it has to.
struct Watcher<'a> {
    state: &'a State,
    settings: &'a Settings,
    connection: &'a Connection,
    drain: &'a Drain,
    /// The rest of a body that nobody reads, how many bytes of it are read still, and until when.
    unread: Option<(Incoming, u64, Instant)>,
    /// It has been idle for too long.
    is_expired: bool,
    /// Since when hyper has been told to finish.
    ending_since: Option<Instant>,
    is_reported: bool,
}

impl<'a> Watcher<'a> {
    fn new(state: &'a State, settings: &'a Settings, connection: &'a Connection, drain: &'a Drain) -> Self {
        Watcher {
            state,
            settings,
            connection,
            drain,
            unread: None,
            is_expired: false,
            ending_since: None,
            is_reported: false,
        }
    }

    /// Tells, once, why the connection is refused.
    fn report(&mut self) {
        if let (false, Some((reject, _))) = (self.is_reported, self.state.refused()) {
            self.is_reported = true;
            if let Some(on_reject) = &self.settings.on_reject {
                on_reject(self.connection, reject);
            }
        }
    }

    /// Reads what nobody wants. When it is dropped before its end, hyper closes the connection.
    fn poll_unread(&mut self, cx: &mut Context<'_>) {
        if let Some(body) = self.state.take_unread() {
            let until = Instant::now() + self.settings.unread_timeout;
            self.unread = Some((body, self.settings.unread_bytes_limit, until));
        }
        while let Some((body, bytes_left, _)) = &mut self.unread {
            let Poll::Ready(frame) = Pin::new(body).poll_frame(cx) else { return };
            let length = match frame {
                Some(Ok(frame)) => frame.data_ref().map_or(0, |data| data.len() as u64),
                Some(Err(_)) | None => u64::MAX,
            };
            match bytes_left.checked_sub(length) {
                Some(left) => *bytes_left = left,
                None => self.unread = None,
            }
        }
    }

    /// Whether hyper is to be told to finish: once, when what was refused has only good exchanges before it, and those
    /// are over; when the gateway stops and this connection has had a request; or when it has been idle too long.
    fn wants_end(&mut self) -> bool {
        if self.ending_since.is_some() {
            return false;
        }
        let is_refused = self.state.refused().is_some_and(|(_, in_body)| !in_body) && self.state.is_quiet();
        let is_drained = self.drain.is_asked() && self.state.has_started();
        let wants_end = is_refused || is_drained || self.is_expired;
        if wants_end {
            self.ending_since = Some(Instant::now());
        }
        wants_end
    }

    /// Whether nothing of a request or a response is anywhere.
    fn may_rest(&self) -> bool {
        self.state.is_between() && self.unread.is_none() && self.state.refused().is_none()
    }

    /// The earliest moment at which something is too late.
    fn deadline(&self) -> Option<Instant> {
        let write = self.state.write_waits_until(self.settings.write_timeout);
        let unread = self.unread.as_ref().map(|(_, _, until)| *until);
        let waiting = match (self.state.waiting(), self.ending_since) {
            _ if write.is_some() => None,
            (Waiting::Linger, _) => Some(self.state.waits_until(self.settings.linger_timeout)),
            _ if self.state.is_active() => None,
            // Only a body that somebody else still reads can hold hyper up now.
            (_, Some(since)) => Some(since + self.settings.unread_timeout),
            (Waiting::Nothing, None) => None,
            (Waiting::Idle, None) if self.drain.is_asked() => Some(self.state.waits_until(DRAIN_PATIENCE)),
            (Waiting::Idle, None) if self.may_rest() => {
                Some(self.state.waits_until(self.settings.idle_timeout.min(rest::AFTER)))
            }
            (Waiting::Idle, None) => Some(self.state.waits_until(self.settings.idle_timeout)),
            (Waiting::Head, None) => Some(self.state.waits_until(self.settings.head_timeout)),
        };
        [write, unread, waiting].into_iter().flatten().min()
    }

    /// Acts on a deadline that has passed.
    fn give_up(&mut self) -> Verdict {
        let now = Instant::now();
        if self.unread.as_ref().is_some_and(|(_, _, until)| *until <= now) {
            self.unread = None;
            return Verdict::GoesOn;
        }
        if self.state.write_waits_until(self.settings.write_timeout).is_some_and(|until| until <= now) {
            return Verdict::IsDropped;
        }
        let is_idle_for_long = self.state.waits_until(self.settings.idle_timeout) <= now || self.drain.is_asked();
        match self.state.waiting() {
            _ if self.ending_since.is_some() => return Verdict::IsDropped,
            Waiting::Linger => return Verdict::IsDropped,
            Waiting::Idle if !is_idle_for_long && self.may_rest() => return Verdict::Rests,
            Waiting::Head => self.state.refuse(Reject::HeadTimeout, false),
            Waiting::Idle | Waiting::Nothing => self.is_expired = true,
        }
        self.state.wait(Waiting::Nothing);
        Verdict::GoesOn
    }
}

/// What becomes of a connection at a deadline.
enum Verdict {
    GoesOn,
    /// It is idle, and nothing of a request or a response is anywhere.
    Rests,
    /// As it is.
    IsDropped,
}

fn builder(settings: &Settings, keep_alive: bool) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .auto_date_header(true)
        .half_close(false)
        .header_read_timeout(None)
        .keep_alive(keep_alive)
        .max_buf_size(limits(settings).head_bytes.max(BUFFER_BYTES))
        .pipeline_flush(false);
    if settings.fields_limit > HYPER_FIELDS {
        // Only then: any number set makes hyper fill tables of that size per request.
        builder.max_headers(settings.fields_limit);
    }
    builder
}

fn limits(settings: &Settings) -> Limits {
    Limits {
        head_bytes: settings.head_bytes_limit.max(HEAD_BYTES_FLOOR),
        request_line_bytes: settings.request_line_bytes_limit.min(REQUEST_LINE_BYTES_CEILING),
        fields: settings.fields_limit,
    }
}

/// The handler asked for the connection to be closed without an answer.
#[derive(Debug)]
struct Aborted;

impl std::fmt::Display for Aborted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the exchange was aborted")
    }
}

impl std::error::Error for Aborted {}

/// hyper's own bound, above which it allocates per request.
const HYPER_FIELDS: usize = 100;
/// hyper's buffers begin with this size.
const HEAD_BYTES_FLOOR: usize = 8 << 10;
/// The `http` crate's longest URI is 65,534 bytes.
const REQUEST_LINE_BYTES_CEILING: usize = 65_000;
/// What hyper may read or write at once; a larger body goes through in pieces of this size.
const BUFFER_BYTES: usize = 64 << 10;
