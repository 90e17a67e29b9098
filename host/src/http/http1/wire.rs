//! The client's end of an HTTP/1 connection: input is parsed, output is written, and nothing waits forever.

mod reading;

use std::any::Any;
use std::future::poll_fn;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use http::Request;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use super::super::framing::{Framing, Head, Limits, Part};
use super::super::rest::{self, Resting};
use super::super::{Connection, DRAIN_PATIENCE, Settings};
use super::feed::Feed;
use super::wakeup::Wakeup;
use super::{head, reply};
use crate::body::Body;
use crate::drain::Drain;
use crate::headers::Reject;
use crate::intake::Intake;
use crate::outgoing::{self, Outgoing};

/// An HTTP/1 connection with a client. See the module.
pub(super) struct Wire<'a, IO> {
    io: IO,
    input: Intake,
    framing: Framing,
    /// The body of the current request, until it is read to its end.
    feed: Option<Feed>,
    /// The unsent part of the interim response that asks the client for a body.
    interim: &'static [u8],
    /// The interim response is written, but may not be flushed.
    must_flush: bool,
    /// The response has begun, so no interim response can precede it.
    has_begun: bool,
    /// How much more of an unwanted body is read.
    unread_bytes_left: u64,
    /// Nothing more is read: the client sends nothing, or nothing that matters.
    is_deaf: bool,
    wakeup: Wakeup<'a>,
    waits: Waits,
    /// When the current wait began.
    since: Instant,
    has_served: bool,
    connection: &'a Connection,
    settings: &'a Settings,
}

/// What a connection is waiting for the client to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waits {
    /// Nothing: it is the gateway's turn.
    Not,
    /// To send another request, if any.
    Idle,
    /// To send the rest of a head.
    Head,
    /// To read more of a response, of which it has read this much.
    Write(u64),
}

/// The result of waiting for a request.
pub(super) enum Next {
    /// The head of a request.
    Head(Head),
    /// Nothing for a while: no part of a request or response is pending.
    Rest,
    /// The connection is refused, because of what arrived or did not.
    Refused(Reject),
    /// It has been idle for too long, or the gateway drains.
    Over,
    /// The client has gone.
    Gone,
}

/// The client has gone, or does not read, or its response broke off or was cut by the drain: nothing more can be sent.
#[derive(Debug)]
pub(super) struct Gone;

impl<'a, IO: AsyncRead + AsyncWrite + Unpin> Wire<'a, IO> {
    /// `first` are bytes already read.
    pub(super) fn new(
        io: IO,
        first: &[u8],
        connection: &'a Connection,
        settings: &'a Settings,
        drain: &'a Drain,
    ) -> Self {
        let limits = Limits {
            head_bytes: settings.head_bytes_limit.max(HEAD_BYTES_FLOOR),
            request_line_bytes: settings.request_line_bytes_limit.min(REQUEST_LINE_BYTES_CEILING),
            fields: settings.fields_limit,
        };
        let now = Instant::now();
        let mut input = Intake::default();
        input.bytes.extend_from_slice(first);
        Wire {
            io,
            input,
            framing: Framing::new(limits),
            feed: None,
            interim: b"",
            must_flush: false,
            has_begun: false,
            unread_bytes_left: 0,
            is_deaf: false,
            wakeup: Wakeup::new(now + settings.head_timeout, drain),
            waits: Waits::Not,
            since: now,
            has_served: false,
            connection,
            settings,
        }
    }

    /// Waits for the next request. The head's deadline starts with its first byte.
    pub(super) async fn next(&mut self) -> Next {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Next> {
        loop {
            match self.framing.next(&self.input.bytes) {
                Ok(Some(Part::Head(head))) => {
                    self.waits = Waits::Not;
                    (self.has_served, self.has_begun) = (true, false);
                    return Poll::Ready(Next::Head(head));
                }
                Ok(Some(Part::Blank(length))) => {
                    self.input.bytes.advance(length);
                    continue;
                }
                // Between two messages there is nothing else.
                Ok(Some(_)) => return Poll::Ready(Next::Refused(Reject::Syntax)),
                Ok(None) => {}
                Err(reject) => return Poll::Ready(Next::Refused(reject)),
            }
            match self.input.poll_fill(&mut self.io, cx) {
                Poll::Ready(Ok(1..)) => {}
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Next::Gone),
                Poll::Pending => return self.poll_overdue(cx),
            }
        }
    }

    /// Ready if the wait for a request has timed out.
    fn poll_overdue(&mut self, cx: &mut Context<'_>) -> Poll<Next> {
        let is_idle = self.input.bytes.is_empty();
        self.wait(if is_idle { Waits::Idle } else { Waits::Head });
        if !is_idle {
            ready!(self.wakeup.poll(self.since + self.settings.head_timeout, cx));
            return Poll::Ready(Next::Refused(Reject::HeadTimeout));
        }
        if self.wakeup.is_drain_asked() {
            if !self.has_served {
                ready!(self.wakeup.poll(self.since + DRAIN_PATIENCE, cx));
            }
            return Poll::Ready(Next::Over);
        }
        let over = self.since + self.settings.idle_timeout;
        ready!(self.wakeup.poll(over.min(self.since + rest::AFTER), cx));
        Poll::Ready(if over <= Instant::now() { Next::Over } else { Next::Rest })
    }

    /// Sets what the client is waited for; the clock restarts when that changes.
    fn wait(&mut self, waits: Waits) {
        if self.waits != waits {
            self.waits = waits;
            self.since = Instant::now();
        }
    }

    /// The request with this head, and its body.
    pub(super) fn request(&mut self, head: &Head) -> Result<Request<Body>, Reject> {
        let bytes = self.input.take(head.length);
        let request = head::request(head, self.framing.fields(), &bytes)?;
        Ok(request.map(|()| self.body(head)))
    }

    /// Whether the connection has to close after the response that is about to be sent: the client asked for it, the
    /// gateway drains, or nobody will read what the client is still sending.
    pub(super) fn is_last(&self) -> bool {
        let is_abandoned = self.is_deaf || self.feed.as_ref().is_some_and(Feed::is_abandoned);
        self.framing.is_last() || is_abandoned || self.wakeup.is_drain_asked()
    }

    /// Sends a response, and meanwhile reads as much of the request as is wanted.
    pub(super) async fn send(&mut self, mut head: Vec<u8>, framing: outgoing::Framing, body: Body) -> Result<(), Gone> {
        if !self.interim.is_empty() && self.interim.len() < CONTINUE.len() {
            // The client already has the beginning of it.
            head.splice(..0, self.interim.iter().copied());
        }
        (self.interim, self.has_begun) = (b"", true);
        let mut outgoing = Outgoing::new(head, framing, body);
        poll_fn(|cx| {
            loop {
                match outgoing.poll(&mut self.io, |_| (), cx) {
                    Poll::Ready(sent) => return Poll::Ready(sent.map_err(|_| Gone)),
                    Poll::Pending => {}
                }
                match self.poll_input(cx) {
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(gone)) => return Poll::Ready(Err(gone)),
                    Poll::Pending => break,
                }
            }
            if !outgoing.is_blocked() {
                self.waits = Waits::Not;
                return self.poll_cut(cx);
            }
            self.wait(Waits::Write(outgoing.taken()));
            self.wakeup.poll(self.since + self.settings.write_timeout, cx).map(|()| Err(Gone))
        })
        .await
    }

    /// Ready when the exchange has to end because the drain is over.
    pub(super) fn poll_cut<T>(&mut self, cx: &mut Context<'_>) -> Poll<Result<T, Gone>> {
        self.wakeup.poll_over(cx).map(|()| Err(Gone))
    }

    /// Waits until the request's body is read, or not worth reading. Returns whether another request may follow.
    pub(super) async fn finish(&mut self, is_last: bool) -> bool {
        let is_short = is_last || self.wakeup.is_drain_asked();
        let patience = if is_short { self.settings.unread_timeout } else { self.settings.idle_timeout };
        let mut until = None;
        let mut has_reader = true;
        let read = poll_fn(|cx| {
            while self.feed.is_some() && !self.is_deaf {
                if let Poll::Ready(read) = self.poll_input(cx) {
                    if read.is_err() {
                        return Poll::Ready(false);
                    }
                    continue;
                }
                let Some(feed) = self.feed.as_ref().filter(|_| !self.is_deaf) else { break };
                if has_reader && !feed.has_reader() {
                    (has_reader, until) = (false, Some(Instant::now() + self.settings.unread_timeout));
                }
                ready!(self.wakeup.poll(*until.get_or_insert_with(|| Instant::now() + patience), cx));
                return Poll::Ready(false);
            }
            Poll::Ready(!self.is_deaf)
        });
        let is_read = read.await;
        self.waits = Waits::Not;
        self.input.shrink();
        is_read && !is_last && !self.framing.is_ended()
    }

    /// Sends the last bytes and closes. If the client may still be sending something, that is read for a while, because
    /// closing at once could destroy the response on its way (RFC 9112, section 9.6).
    pub(super) async fn close(mut self, last: &[u8]) {
        let has_more = !self.input.bytes.is_empty() && !self.framing.is_ended();
        let must_linger = !last.is_empty() || has_more || self.framing.is_in_body();
        let farewell = async {
            self.io.write_all(last).await?;
            self.io.shutdown().await
        };
        if !matches!(timeout(self.settings.write_timeout, farewell).await, Ok(Ok(()))) || !must_linger {
            return;
        }
        let rest = async {
            let (mut waste, mut left) = ([0; 4096], WASTE_BYTES);
            while let Ok(length @ 1..) = self.io.read(&mut waste).await
                && length <= left
            {
                left -= length;
            }
        };
        // A client that does not close in time is not waited for.
        let _ = timeout(self.settings.linger_timeout, rest).await;
    }

    /// Sends the reason of the refusal, and closes.
    pub(super) async fn refuse(self, reject: Reject) {
        self.report(reject);
        self.close(&reply::refusal(reject)).await;
    }

    fn report(&self, reject: Reject) {
        if let Some(on_reject) = &self.settings.on_reject {
            on_reject(self.connection, reject);
        }
    }

    /// Lets the connection rest.
    pub(super) fn rest(self) -> Resting<IO> {
        Resting { io: self.io, since: self.since }
    }

    /// Makes the connection end with a reset: nothing else says of a body that ends with its connection that it has
    /// broken off. Over TLS, the end without `close_notify` does.
    pub(super) fn abort(&self)
    where
        IO: 'static,
    {
        let io: &dyn Any = &self.io;
        if let Some(socket) = io.downcast_ref::<TcpStream>() {
            // Fails only if the socket is already gone.
            let _ = socket.set_zero_linger();
        }
    }

    /// The stream, and the bytes that arrived after the last request.
    pub(super) fn into_parts(self) -> (IO, BytesMut) {
        (self.io, self.input.bytes)
    }
}

const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// Minimum of the limit: heads of this size are read at once.
const HEAD_BYTES_FLOOR: usize = 8 << 10;
/// The `http` crate's longest URI is 65,534 bytes.
const REQUEST_LINE_BYTES_CEILING: usize = 65_000;
/// How much is read from a client whose further bytes no longer matter: enough for what is in flight.
const WASTE_BYTES: usize = 1 << 20;
