//! The byte stream that hyper reads HTTP/1 from: the socket's, as far as it is beyond doubt.
//!
//! Bytes are read straight into hyper's buffer, looked at there, and left there, so the usual request is not copied.
//! What is not whole yet (a head, a chunk line) is taken back and held until the rest has come; hyper never sees half
//! a head, and never waits in the middle of one.
//!
//! When something is refused, hyper is told nothing: reads just stay pending, exchanges before it end in their time,
//! and who drives the connection then closes it. Closing goes through [`Guard::poll_shutdown`], which writes the
//! answer, and lets the client read it. A refusal in the middle of a body is an error of that body.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::SystemTime;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::framing::Framing;
use super::state::{State, Waiting};
use crate::gather;
use crate::headers::Reject;

/// A checked byte stream.
pub(super) struct Guard<IO> {
    io: IO,
    framing: Framing,
    /// Bytes that hyper has not got yet. The first `checked` of them may pass.
    held: Vec<u8>,
    checked: usize,
    /// Bytes that may still be thrown away, after the last message or a refused one.
    waste_left: usize,
    closing: Closing,
    state: Arc<State>,
}

enum Closing {
    NotYet,
    Answer { bytes: Vec<u8>, written: usize },
    Shutdown,
    Linger,
    Done,
}

impl<IO> Guard<IO> {
    /// `first` are bytes that have been read already.
    pub(super) fn new(io: IO, first: Vec<u8>, framing: Framing, state: Arc<State>) -> Self {
        let mut guard =
            Guard { io, framing, held: first, checked: 0, waste_left: WASTE_BYTES, closing: Closing::NotYet, state };
        guard.check_held();
        guard
    }

    /// The socket. What is held is lost.
    pub(super) fn into_inner(self) -> IO {
        self.io
    }

    /// Looks at held bytes; at least the first `checked` are passed on.
    fn check_held(&mut self) {
        self.checked = self.framing.advance(&mut self.held).unwrap_or_else(|(passed, reject)| {
            self.refuse(reject);
            passed
        });
        self.note_passed();
    }

    /// After a request for another protocol: whether reading goes on. Until the response says whose bytes follow, only
    /// a few are read, to see whether the client is still there. Who is told to wait asks again: hyper reads when it
    /// has written the response, the tunnel when it begins.
    fn is_settled(&mut self) -> bool {
        let Some(is_switched) = self.state.take_verdict() else { return self.held.len() < EARLY_BYTES };
        self.framing.settle(is_switched);
        self.check_held();
        true
    }

    fn refuse(&mut self, reject: Reject) {
        self.state.refuse(reject, self.framing.is_in_body());
    }

    fn note_passed(&mut self) {
        self.state.set_passed(self.framing.messages(), self.framing.is_between_messages() && self.held.is_empty());
        if self.framing.is_ended() || self.state.refused().is_some() {
            self.held.truncate(self.checked);
        }
    }

    /// Gives hyper what may pass of the held bytes.
    fn hand_over(&mut self, buf: &mut ReadBuf<'_>) {
        let length = self.checked.min(buf.remaining());
        if let Some(bytes) = self.held.get(..length) {
            buf.put_slice(bytes);
        }
        self.held.drain(..length);
        self.checked -= length;
        if self.held.is_empty() {
            self.held = Vec::new();
        }
        self.note_passed();
    }

    /// Notes what the client is waited for, now that it has nothing to read.
    fn note_waiting(&self) {
        if self.state.is_active() || self.state.refused().is_some() {
            self.state.wait(Waiting::Nothing);
        } else if self.held.is_empty() {
            self.state.wait(Waiting::Idle);
        } else {
            self.state.wait(Waiting::Head);
        }
    }

    /// Whether the client may still be sending something that nobody will read: then closing at once could destroy
    /// the answer on its way.
    fn must_linger(&self) -> bool {
        self.state.refused().is_some()
            || !self.held.is_empty()
            || !(self.framing.is_between_messages() || self.framing.is_ended())
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Guard<IO> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let me = self.get_mut();
        loop {
            if me.framing.is_upgrading() && !me.is_settled() {
                return Poll::Pending;
            }
            if me.checked > 0 {
                me.hand_over(buf);
                me.state.wait(Waiting::Nothing);
                return Poll::Ready(Ok(()));
            }
            if let Some((reject, true)) = me.state.refused() {
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, reject)));
            }
            let before = buf.filled().len();
            match Pin::new(&mut me.io).poll_read(cx, buf) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    me.note_waiting();
                    return Poll::Pending;
                }
            }
            let fresh = buf.filled_mut().get_mut(before..).unwrap_or_default();
            if fresh.is_empty() {
                return Poll::Ready(Ok(()));
            }
            if me.framing.is_ended() || me.state.refused().is_some() {
                let Some(left) = me.waste_left.checked_sub(fresh.len()) else { return Poll::Pending };
                me.waste_left = left;
                buf.set_filled(before);
            } else if me.held.is_empty() {
                let passed = me.framing.advance(fresh).unwrap_or_else(|(passed, reject)| {
                    me.state.refuse(reject, me.framing.is_in_body());
                    passed
                });
                me.held.extend_from_slice(fresh.get(passed..).unwrap_or_default());
                buf.set_filled(before + passed);
                me.note_passed();
                if passed > 0 {
                    me.state.wait(Waiting::Nothing);
                    return Poll::Ready(Ok(()));
                }
            } else {
                me.held.extend_from_slice(fresh);
                buf.set_filled(before);
                me.check_held();
            }
        }
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Guard<IO> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(cx, bytes);
        self.state.write_waits(written.is_pending());
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = gather::poll_write(&mut self.io, cx, slices);
        self.state.write_waits(written.is_pending());
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.io).poll_flush(cx);
        // TLS takes more than it can send: until this is done, a write waits.
        self.state.write_waits(flushed.is_pending());
        ready!(flushed)?;
        if self.framing.is_upgrading() && self.state.has_verdict() {
            // What was held back may be read now. hyper does not know: it believes that the socket has nothing.
            cx.waker().wake_by_ref();
        }
        Poll::Ready(Ok(()))
    }

    /// Writes the answer to what was refused, closes this direction, and waits for the client to close its own where
    /// that matters. Who drives the connection bounds the wait.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let me = self.get_mut();
        loop {
            match &mut me.closing {
                Closing::NotYet if me.framing.is_switched() => return Pin::new(&mut me.io).poll_shutdown(cx),
                Closing::NotYet => {
                    me.closing = match me.state.refused() {
                        Some((reject, false)) => Closing::Answer { bytes: answer(reject), written: 0 },
                        _ => Closing::Shutdown,
                    };
                }
                Closing::Answer { bytes, written } => {
                    let rest = bytes.get(*written..).unwrap_or_default();
                    if rest.is_empty() {
                        me.closing = Closing::Shutdown;
                        continue;
                    }
                    let polled = Pin::new(&mut me.io).poll_write(cx, rest);
                    me.state.write_waits(polled.is_pending());
                    match ready!(polled)? {
                        0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                        more => *written += more,
                    }
                }
                Closing::Shutdown => {
                    ready!(Pin::new(&mut me.io).poll_shutdown(cx))?;
                    me.closing = if me.must_linger() { Closing::Linger } else { Closing::Done };
                }
                Closing::Linger => {
                    me.state.wait(Waiting::Linger);
                    let mut waste = [0; 4096];
                    let mut buf = ReadBuf::new(&mut waste);
                    let polled = ready!(Pin::new(&mut me.io).poll_read(cx, &mut buf));
                    let length = buf.filled().len();
                    match me.waste_left.checked_sub(length) {
                        Some(left) if length > 0 && polled.is_ok() => me.waste_left = left,
                        _ => me.closing = Closing::Done,
                    }
                }
                Closing::Done => return Poll::Ready(Ok(())),
            }
        }
    }
}

/// The whole answer to what was refused, as bytes: hyper knows nothing of it.
fn answer(reject: Reject) -> Vec<u8> {
    let status = reject.status();
    let problem = reject.problem();
    format!(
        "HTTP/1.1 {} {}\r\ncontent-type: application/problem+json\r\ncontent-length: {}\r\nconnection: close\r\n\
         date: {}\r\n\r\n{problem}",
        status.as_u16(),
        status.canonical_reason().unwrap_or_default(),
        problem.len(),
        httpdate::fmt_http_date(SystemTime::now()),
    )
    .into_bytes()
}

/// What is held of a client that sends the other protocol before it was switched.
const EARLY_BYTES: usize = 16 << 10;
/// What is read of a client that goes on sending when nothing of it counts any more: enough for what is in flight.
const WASTE_BYTES: usize = 1 << 20;
