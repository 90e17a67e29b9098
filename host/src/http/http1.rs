//! One HTTP/1 connection, from its first request to its end.
//!
//! Nothing runs beside it: one task reads a request, runs the handler, writes the response. While the handler runs, what it
//! asks for of the body is read, and a client that leaves drops it. hyper's server was measured first: behind a check of the
//! framing of our own it parsed every head a second time.

mod feed;
mod head;
mod reply;
mod wakeup;
mod wire;

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use http::header::UPGRADE;
use http::{Request, Response, StatusCode};
use tokio::io::{AsyncRead, AsyncWrite};

use self::reply::{Asked, Reply};
use self::wire::{Next, Wire};
use super::rest::Resting;
use super::rewind::Rewind;
use super::{Abort, Connection, Settings};
use crate::body::Body;
use crate::drain::Drain;
use crate::headers::Reject;
use crate::outgoing::Framing;
use crate::tunnel::{Handover, Tunnel, Upgrade};

/// Serves requests until the connection ends (`None`), or has been idle long enough to rest. `first` are bytes already
/// read.
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
    let mut wire = Wire::new(io, &first, connection, settings, drain);
    drop(first);
    if !settings.http1 {
        return over(wire.refuse(Reject::Http2Only)).await;
    }
    loop {
        let head = match wire.next().await {
            Next::Head(head) => head,
            Next::Rest => return Some(wire.rest()),
            Next::Refused(reject) => return over(wire.refuse(reject)).await,
            Next::Over => return over(wire.close(b"")).await,
            Next::Gone => return None,
        };
        let mut request = match wire.request(&head) {
            Ok(request) => request,
            Err(reject) => return over(wire.refuse(reject)).await,
        };
        let asked = Asked::new(request.method(), head.line.is_http_10, head.takes_trailers);
        let upgrades = head.asks_for_upgrade && ask_for_upgrade(&mut request);

        let mut response = {
            let mut exchange = pin!(handler(Arc::clone(connection), request));
            poll_fn(|cx| {
                loop {
                    if let Poll::Ready(response) = exchange.as_mut().poll(cx) {
                        return Poll::Ready(Some(response));
                    }
                    match wire.poll_input(cx) {
                        Poll::Ready(Ok(())) => {}
                        Poll::Ready(Err(_)) => return Poll::Ready(None),
                        Poll::Pending => return wire.poll_cut(cx).map(Result::ok),
                    }
                }
            })
            .await?
        };
        if !response.extensions().is_empty() {
            if response.extensions().get::<Abort>().is_some() {
                return None;
            }
            if let Some(tunnel) = switched(&mut response).filter(|_| upgrades) {
                let head = reply::switching(&response, &tunnel.protocol);
                wire.send(head, Framing::Nothing, Body::Empty).await.ok()?;
                let (io, early) = wire.into_parts();
                return over(tunnel.run(Rewind::new(io, early.into()), drain.clone())).await;
            }
        }
        if response.status().is_informational() {
            // The client would expect another response after it.
            response = Response::new(Body::Empty);
            *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        }
        let Reply { head, framing, is_last } = reply::reply(&response, asked, wire.is_last());
        if wire.send(head, framing, response.into_body()).await.is_err() {
            if framing == Framing::UntilClosed {
                wire.abort();
            }
            return None;
        }
        if !wire.finish(is_last).await {
            return over(wire.close(b"")).await;
        }
    }
}

/// Runs the last step of a connection.
async fn over<IO>(last: impl Future<Output = ()>) -> Option<Resting<IO>> {
    last.await;
    None
}

/// Puts the requested protocol into the request's extensions.
fn ask_for_upgrade(request: &mut Request<Body>) -> bool {
    let Some(protocol) = request.headers().get(UPGRADE).cloned() else { return false };
    request.extensions_mut().insert(Upgrade { protocol, is_required: false });
    true
}

/// The tunnel of a response that switches the protocol.
fn switched(response: &mut Response<Body>) -> Option<Tunnel> {
    response.extensions_mut().remove::<Handover<Tunnel>>()?.take()
}
