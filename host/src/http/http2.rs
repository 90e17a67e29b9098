//! One HTTP/2 connection, driven to its end.
//!
//! h2 checks frames, states, header names and values, pseudo-headers, and that the body is as long as Content-Length
//! says; what is left is in `headers::from_downstream`. Every budget is set here, none is left to a default.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::header::{CONTENT_LENGTH, EXPECT, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY};
use http::{Method, Request, Response, StatusCode};
use http_body::Body as _;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use super::batch::Batch;
use super::request_body::{RequestBody, Rest};
use super::response_body::ResponseBody;
use super::send_stall::{Responses, SendProgress};
use super::state::{Active, State};
use super::{Abort, Connection, Settings};
use crate::body::Body;
use crate::drain::Drain;
use crate::tunnel::{Handover, Tunnel, Upgrade, websocket};

/// Serves an HTTP/2 connection; `io` still yields the preface.
pub(super) async fn serve<IO, H, F>(
    io: IO,
    connection: Arc<Connection>,
    settings: Arc<Settings>,
    handler: H,
    drain: Drain,
) where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    H: Fn(Arc<Connection>, Request<Body>) -> F + Clone + Send + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let state = Arc::new(State::new(Instant::now()));
    let responses = Responses::new(settings.write_timeout);
    let service = {
        let (state, bounds) = (Arc::clone(&state), Arc::new((Arc::clone(&settings), drain.clone())));
        let responses = responses.clone();
        service_fn(move |request| {
            let (active, progress) = (Active::start(&state), responses.begin());
            // Boxed where it is created: it is kilobytes large, and would otherwise be moved into its task.
            Box::pin(exchange(request, Arc::clone(&connection), handler.clone(), active, progress, Arc::clone(&bounds)))
        })
    };
    let batch = Batch::new(io);
    let mut served = pin!(builder(&settings, responses.clone()).serve_connection(TokioIo::new(batch.clone()), service));
    // Wakes this task also when the drain is asked for.
    let mut over = pin!(drain.over());
    let period = responses.period().min(settings.idle_timeout);
    let mut alarm = pin!(tokio::time::sleep(period));
    let mut is_ending = false;

    let mut turn = |cx: &mut Context<'_>| {
        loop {
            // An error means that the client left or violated the protocol; h2 has told it so.
            if served.as_mut().poll(cx).is_ready() || over.as_mut().poll(cx).is_ready() {
                return Poll::Ready(());
            }
            if is_ending {
                // After GOAWAY there is a ping that the client has to answer, and responses may still be on their way.
                // A client that neither answers nor reads has had its time.
                ready!(alarm.as_mut().poll(cx));
                let (now, until) = (Instant::now(), state.is_idle_until(FAREWELL));
                responses.look(now);
                match state.is_idle() {
                    true if until <= now => return Poll::Ready(()),
                    true => alarm.as_mut().reset(until),
                    false => alarm.as_mut().reset(now + FAREWELL),
                }
                continue;
            }
            let mut ends = drain.is_asked();
            if !ends && alarm.as_mut().poll(cx).is_ready() {
                let now = Instant::now();
                responses.look(now);
                let idle_until = state.is_idle_until(settings.idle_timeout);
                ends = state.is_idle() && idle_until <= now;
                let next = now + period;
                alarm.as_mut().reset(if state.is_idle() { next.min(idle_until) } else { next });
            }
            if ends {
                is_ending = true;
                alarm.as_mut().reset(Instant::now() + FAREWELL);
                served.as_mut().graceful_shutdown();
            } else if alarm.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
    };
    poll_fn(|cx| {
        let ended = turn(cx);
        match batch.poll_send(cx) {
            Poll::Ready(Err(_)) => Poll::Ready(()),
            _ => ended,
        }
    })
    .await;
}

/// Passes a request to the handler and its response to hyper.
async fn exchange<H, F>(
    mut request: Request<Incoming>,
    connection: Arc<Connection>,
    handler: H,
    active: Active,
    progress: Arc<SendProgress>,
    bounds: Arc<(Arc<Settings>, Drain)>,
) -> Result<Response<ResponseBody>, Reset>
where
    H: Fn(Arc<Connection>, Request<Body>) -> F,
    F: Future<Output = Response<Body>>,
{
    let (settings, drain) = &*bounds;
    let upgrade = if request.method() == Method::CONNECT { extended_connect(&mut request) } else { None };
    let mut has_body = !request.body().is_end_stream();
    if has_body && request.headers().get(CONTENT_LENGTH).is_some_and(|length| length == "0") {
        // An HTTP/1 upstream takes this request as complete after its head, before h2 can notice that bytes follow.
        is_empty(request.body_mut(), settings).await?;
        has_body = false;
    }
    let expects_continue = has_body && request.headers().contains_key(EXPECT);
    let mut reader = None;
    let request = request.map(|incoming| {
        if !has_body {
            return Body::Empty;
        }
        let (bytes_limit, time_limit) = (settings.unread_bytes_limit, settings.unread_timeout);
        let rest = Rest { bytes_limit, time_limit, expects_continue };
        let (body, of_rest) = RequestBody::new(incoming, settings.body_idle_timeout, rest);
        reader = Some(of_rest);
        Body::boxed(body)
    });
    let mut response = handler(connection, request).await;
    if !response.extensions().is_empty() && response.extensions().get::<Abort>().is_some() {
        return Err(Reset);
    }
    if let Some(reader) = reader {
        reader.finished().await;
    }
    if let Some((io, tunnel)) = upgrade.and_then(|io| Some((io, switched(&mut response)?))) {
        let (active, drain) = (active.another(), drain.clone());
        // It ends with its stream, its idle timeout, or the drain.
        tokio::spawn(async move {
            if let Ok(io) = io.await {
                tunnel.run(TokioIo::new(io), drain).await;
            }
            drop(active);
        });
    }
    Ok(response.map(|body| ResponseBody::new(body, progress, active)))
}

/// Converts an extended CONNECT (RFC 8441) to the HTTP/1.1 form, which routes, plugins and upstreams use. A plain
/// CONNECT is left as it is, and is refused.
fn extended_connect(request: &mut Request<Incoming>) -> Option<OnUpgrade> {
    let protocol = request.extensions_mut().remove::<hyper::ext::Protocol>()?;
    let protocol = HeaderValue::from_str(protocol.as_str()).ok()?;
    let io = request.extensions_mut().remove::<OnUpgrade>()?;
    *request.method_mut() = Method::GET;
    if protocol.as_bytes().eq_ignore_ascii_case(websocket::PROTOCOL.as_bytes()) {
        request.headers_mut().insert(SEC_WEBSOCKET_KEY, websocket::key(fastrand::u128(..)));
    }
    request.extensions_mut().insert(Upgrade { protocol, is_required: true });
    Some(io)
}

/// The tunnel of a response that switches the protocol, which HTTP/2 expresses with 200.
fn switched(response: &mut Response<Body>) -> Option<Tunnel> {
    let tunnel = response.extensions_mut().remove::<Handover<Tunnel>>()?.take()?;
    *response.status_mut() = StatusCode::OK;
    response.headers_mut().remove(SEC_WEBSOCKET_ACCEPT);
    Some(tunnel)
}

/// Waits for the end of a body that must be empty.
async fn is_empty(body: &mut Incoming, settings: &Settings) -> Result<(), Reset> {
    let first = tokio::time::timeout(settings.body_idle_timeout, poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)));
    match first.await {
        Ok(None) => Ok(()),
        Ok(Some(Ok(frame))) if frame.data_ref().is_some_and(|data| data.is_empty()) && body.is_end_stream() => Ok(()),
        _ => Err(Reset),
    }
}

fn builder(settings: &Settings, responses: Responses) -> http2::Builder<Responses> {
    let bounds = &settings.http2;
    let mut builder = http2::Builder::new(responses);
    builder
        .timer(TokioTimer::new())
        .adaptive_window(false)
        .auto_date_header(true)
        .enable_connect_protocol()
        .header_table_size(bounds.header_table_bytes)
        .initial_connection_window_size(bounds.connection_window_bytes)
        .initial_stream_window_size(bounds.stream_window_bytes)
        .keep_alive_interval(bounds.ping_interval)
        .keep_alive_timeout(bounds.ping_timeout)
        .max_concurrent_streams(bounds.streams_limit)
        .max_frame_size(bounds.frame_bytes_limit)
        .max_header_list_size(u32::try_from(settings.head_bytes_limit).unwrap_or(u32::MAX))
        .max_local_error_reset_streams(bounds.local_resets_limit)
        .max_pending_accept_reset_streams(bounds.pending_resets_limit)
        .max_send_buf_size(bounds.send_buffer_bytes);
    builder
}

/// How long a client without requests in flight may take to close after it was told to.
const FAREWELL: Duration = Duration::from_secs(5);

/// The stream ends without a response.
#[derive(Debug)]
struct Reset;

impl std::fmt::Display for Reset {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the stream was reset")
    }
}

impl std::error::Error for Reset {}
