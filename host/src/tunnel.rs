//! A connection after a protocol switch: from here on, bytes are passed both ways and not interpreted.
//!
//! `upstream` creates one end of it, `proxy` attaches the exchange, `http` owns the other end and runs it. Bytes are
//! read only when the other side accepts them: what it does not accept at once, up to [`READ_BYTES`], is all that is
//! ever held, so an idle tunnel holds no buffer at all.
//!
//! When one side closes its direction, the other is told and may continue (half-close). A tunnel ends when both
//! directions have, when a side fails, when no byte moves for the idle timeout, and at the end of the gateway's drain
//! timeout.

pub mod websocket;

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::HeaderValue;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use crate::drain::Drain;

/// A byte stream in both directions.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// One end of a tunnel, which resolves once its connection has released it.
pub type End = Pin<Box<dyn Future<Output = io::Result<Opened>> + Send>>;

/// An end of a tunnel, with whatever has to live as long as the tunnel: a connection's permit, a count.
pub struct Opened {
    pub stream: Box<dyn Stream>,
    pub held: Box<dyn Send>,
}

/// The protocol that a request asks to switch to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upgrade {
    /// One token, such as `websocket`.
    pub protocol: HeaderValue,
    /// The client accepts only a tunnel or an error: HTTP/2's extended CONNECT (RFC 8441), where every 2xx opens the
    /// tunnel.
    pub is_required: bool,
}

/// Passes a value that is neither `Clone` nor `Sync` through the extensions of a message. It can be taken once.
pub struct Handover<T>(Arc<Mutex<Option<T>>>);

impl<T> Handover<T> {
    pub fn new(it: T) -> Self {
        Handover(Arc::new(Mutex::new(Some(it))))
    }

    pub fn take(&self) -> Option<T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl<T> Clone for Handover<T> {
    fn clone(&self) -> Self {
        Handover(Arc::clone(&self.0))
    }
}

/// A tunnel that has its upstream end and waits for the client's.
pub struct Tunnel {
    /// The protocol that both sides agreed on.
    pub protocol: HeaderValue,
    upstream: End,
    idle_timeout: Duration,
    ending: Ending,
}

/// The result of a tunnel.
#[derive(Debug)]
pub struct Ended {
    /// Bytes from the client that the upstream accepted.
    pub from_client: u64,
    /// Bytes from the upstream that the client accepted.
    pub to_client: u64,
    pub how: How,
}

/// How a tunnel ended.
#[derive(Debug)]
pub enum How {
    /// Both sides closed.
    Complete,
    /// The client's connection failed, or never came about.
    ClientLeft,
    UpstreamFailed(io::Error),
    /// No byte moved for this long.
    Idle(Duration),
    /// The gateway stopped, or its listener was removed, and the drain time was over.
    ShutDown,
}

impl Tunnel {
    /// `report` is called once, however the tunnel ends.
    pub fn new(
        protocol: HeaderValue,
        upstream: End,
        idle_timeout: Duration,
        report: impl FnOnce(Ended) + Send + 'static,
    ) -> Self {
        let ending = Ending { report: Some(Box::new(report)), up: 0, down: 0, how: How::ClientLeft, drain: None };
        Tunnel { protocol, upstream, idle_timeout, ending }
    }

    /// Connects the client with the upstream until the tunnel ends. `drain` is held as long.
    pub async fn run(self, mut client: impl AsyncRead + AsyncWrite + Unpin, drain: Drain) {
        let Tunnel { upstream, idle_timeout, mut ending, .. } = self;
        let mut over = pin!(drain.over());
        ending.drain = Some(drain);
        let Opened { stream: mut upstream, held: _held } = match upstream.await {
            Ok(opened) => opened,
            Err(error) => return ending.is(How::UpstreamFailed(error)),
        };
        let (mut up, mut down) = (Pump::default(), Pump::default());
        let mut moved_at = Instant::now();
        let mut alarm = pin!(tokio::time::sleep(idle_timeout));
        let how = poll_fn(|cx| {
            let before = (up.bytes, down.bytes);
            let polled = (up.poll(cx, &mut client, &mut upstream), down.poll(cx, &mut upstream, &mut client));
            (ending.up, ending.down) = (up.bytes, down.bytes);
            match polled {
                (Poll::Ready(Err(Failed::Reading(_))), _) | (_, Poll::Ready(Err(Failed::Writing(_)))) => {
                    return Poll::Ready(How::ClientLeft);
                }
                (Poll::Ready(Err(Failed::Writing(error))), _) | (_, Poll::Ready(Err(Failed::Reading(error)))) => {
                    return Poll::Ready(How::UpstreamFailed(error));
                }
                (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => return Poll::Ready(How::Complete),
                _ => {}
            }
            if before != (up.bytes, down.bytes) {
                moved_at = Instant::now();
            }
            if over.as_mut().poll(cx).is_ready() {
                return Poll::Ready(How::ShutDown);
            }
            while alarm.as_mut().poll(cx).is_ready() {
                let until = moved_at + idle_timeout;
                if until <= Instant::now() {
                    return Poll::Ready(How::Idle(idle_timeout));
                }
                alarm.as_mut().reset(until);
            }
            Poll::Pending
        })
        .await;
        ending.is(how);
    }
}

/// Reports when dropped, with what is known then.
struct Ending {
    report: Option<Box<dyn FnOnce(Ended) + Send>>,
    up: u64,
    down: u64,
    how: How,
    /// Set while the tunnel runs.
    drain: Option<Drain>,
}

impl Ending {
    fn is(&mut self, how: How) {
        self.how = how;
        self.drain = None;
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        let Some(report) = self.report.take() else { return };
        let mut how = std::mem::replace(&mut self.how, How::Complete);
        // A tunnel that is dropped while it runs was cut because its core stops.
        if self.drain.as_ref().is_some_and(Drain::is_asked) {
            how = How::ShutDown;
        }
        report(Ended { from_client: self.up, to_client: self.down, how });
    }
}

/// One direction.
#[derive(Default)]
struct Pump {
    /// Bytes that the receiver has not accepted yet, and how many of them it has.
    held: Vec<u8>,
    taken: usize,
    /// Bytes that the receiver accepted.
    bytes: u64,
    is_closed: bool,
    is_done: bool,
}

/// Which side of a direction failed.
enum Failed {
    Reading(io::Error),
    Writing(io::Error),
}

impl Pump {
    /// Ready when the sender has closed and the receiver has been told.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut (impl AsyncRead + Unpin),
        to: &mut (impl AsyncWrite + Unpin),
    ) -> Poll<Result<(), Failed>> {
        if self.is_done {
            return Poll::Ready(Ok(()));
        }
        loop {
            ready!(self.poll_held(cx, to)).map_err(Failed::Writing)?;
            if self.is_closed {
                ready!(Pin::new(&mut *to).poll_shutdown(cx)).map_err(Failed::Writing)?;
                self.is_done = true;
                return Poll::Ready(Ok(()));
            }
            let mut space = [std::mem::MaybeUninit::uninit(); READ_BYTES];
            let mut read = ReadBuf::uninit(&mut space);
            let Poll::Ready(result) = Pin::new(&mut *from).poll_read(cx, &mut read) else {
                ready!(Pin::new(&mut *to).poll_flush(cx)).map_err(Failed::Writing)?;
                return Poll::Pending;
            };
            result.map_err(Failed::Reading)?;
            if read.filled().is_empty() {
                self.is_closed = true;
                continue;
            }
            let taken = match Pin::new(&mut *to).poll_write(cx, read.filled()) {
                Poll::Ready(taken) => taken.map_err(Failed::Writing)?,
                Poll::Pending => 0,
            };
            self.bytes += taken as u64;
            self.held.extend_from_slice(read.filled().get(taken..).unwrap_or_default());
        }
    }

    fn poll_held(&mut self, cx: &mut Context<'_>, to: &mut (impl AsyncWrite + Unpin)) -> Poll<io::Result<()>> {
        while let Some(rest @ [_, ..]) = self.held.get(self.taken..) {
            match ready!(Pin::new(&mut *to).poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                taken => {
                    self.taken += taken;
                    self.bytes += taken as u64;
                }
            }
        }
        if self.taken > 0 {
            self.held = Vec::new();
            self.taken = 0;
        }
        Poll::Ready(Ok(()))
    }
}

/// Bytes per read, and the maximum that is held for a side that does not read.
const READ_BYTES: usize = 16 << 10;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
