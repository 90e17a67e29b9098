//! Bytes both ways between two streams, until both have ended.
//!
//! What is read goes straight on to the other side, out of one buffer that the connections of a core share; only what
//! the other side does not take at once is kept, so that an idle connection holds no buffer and a slow reader at most
//! [`CHUNK_BYTES`] for each way. No more is read until that is gone: the pressure goes back to the sender.
//!
//! The end of one direction is passed on as such (half-close); the other continues. Only streams that both sides have
//! closed in order are closed in order: in all other cases the other side sees a reset, and does not mistake half a
//! stream for a whole one.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

use crate::upstream::Socket;

/// A stream that can be reset.
pub trait Stream: AsyncRead + AsyncWrite + Unpin {
    /// Makes the stream end with a reset when dropped.
    fn abort(&self);
}

impl Stream for TcpStream {
    fn abort(&self) {
        // Fails only if the socket is already gone.
        let _ = self.set_zero_linger();
    }
}

impl Stream for Socket {
    fn abort(&self) {
        Socket::abort(self);
    }
}

/// One of the two sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Client,
    Server,
}

/// How a relay ended.
#[derive(Debug)]
pub enum End {
    /// Both sides ended their streams, this one first.
    Closed(Side),
    /// This side's connection broke, or it accepted no more.
    Broken(Side, io::Error),
    /// Nothing moved for the idle timeout.
    Idle,
}

/// Relays bytes in both directions. See the module. Dropping it before its end resets both streams.
pub struct Relay<C: Stream, S: Stream> {
    client: C,
    server: S,
    up: Way,
    down: Way,
    first: Option<Side>,
    in_order: bool,
}

/// One direction.
#[derive(Default)]
struct Way {
    /// Bytes that were read and not accepted yet, from `taken` on.
    kept: Vec<u8>,
    taken: usize,
    state: State,
    /// Bytes read from this side.
    bytes: u64,
    /// Something was written and not flushed.
    unflushed: bool,
    /// Increases with every read and write, to detect idle relays.
    steps: u64,
    /// Why the reader accepts no more.
    refused: Option<io::Error>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum State {
    #[default]
    Open,
    /// The sender has ended; the reader has to be told.
    Ending,
    Ended,
}

impl<C: Stream, S: Stream> Relay<C, S> {
    /// `first` are bytes of the client that have already been read and counted.
    pub fn new(client: C, server: S, first: Vec<u8>) -> Self {
        let up = Way { kept: first, ..Way::default() };
        Relay { client, server, up, down: Way::default(), first: None, in_order: false }
    }

    /// Runs until the end. `moved` is called with the bytes from the client and from the server since its last call.
    pub async fn run(mut self, idle_timeout: Duration, mut moved: impl FnMut(u64, u64)) -> End {
        let mut last = Instant::now();
        let mut idle = pin!(sleep(idle_timeout));
        let (mut up, mut down) = (0, 0);
        let end = poll_fn(|context| {
            let steps = self.up.steps.wrapping_add(self.down.steps);
            let polled = self.poll(context);
            if self.up.bytes != up || self.down.bytes != down {
                moved(self.up.bytes - up, self.down.bytes - down);
                (up, down) = (self.up.bytes, self.down.bytes);
            }
            if let Poll::Ready(end) = polled {
                return Poll::Ready(end);
            }
            if self.up.steps.wrapping_add(self.down.steps) != steps {
                last = Instant::now();
            }
            while idle.as_mut().poll(context).is_ready() {
                let deadline = last + idle_timeout;
                if deadline <= Instant::now() {
                    return Poll::Ready(End::Idle);
                }
                idle.as_mut().reset(deadline);
            }
            Poll::Pending
        })
        .await;
        // A reader that refused bytes has received everything before them, so the end cuts nothing off.
        self.in_order = matches!(end, End::Closed(_)) || self.has_ended();
        end
    }

    fn has_ended(&self) -> bool {
        self.up.state == State::Ended && self.down.state == State::Ended
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<End> {
        let up = self.up.poll(&mut self.client, &mut self.server, context);
        if let Poll::Ready(Err(error)) = up {
            return Poll::Ready(End::Broken(Side::Client, error));
        }
        if self.first.is_none() && self.up.state != State::Open {
            self.first = Some(if self.up.refused.is_some() { Side::Server } else { Side::Client });
        }
        let down = self.down.poll(&mut self.server, &mut self.client, context);
        if let Poll::Ready(Err(error)) = down {
            return Poll::Ready(End::Broken(Side::Server, error));
        }
        if self.first.is_none() && self.down.state != State::Open {
            self.first = Some(if self.down.refused.is_some() { Side::Client } else { Side::Server });
        }
        if !self.has_ended() {
            return Poll::Pending;
        }
        Poll::Ready(match (self.up.refused.take(), self.down.refused.take()) {
            (Some(error), _) => End::Broken(Side::Server, error),
            (None, Some(error)) => End::Broken(Side::Client, error),
            (None, None) => End::Closed(self.first.unwrap_or(Side::Client)),
        })
    }
}

impl<C: Stream, S: Stream> Drop for Relay<C, S> {
    fn drop(&mut self) {
        if !self.in_order {
            self.client.abort();
            self.server.abort();
        }
    }
}

impl Way {
    /// Moves what it can. Only reading returns errors. If writing fails, this direction has ended and the other
    /// continues: what the reader sent before it closed still arrives.
    fn poll(&mut self, mut from: impl Stream, mut to: impl Stream, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        for _ in 0..ROUNDS {
            if self.state == State::Ended {
                return Poll::Ready(Ok(()));
            }
            ready!(self.poll_write_kept(&mut to, context));
            match self.state {
                State::Ended => {}
                State::Ending => {
                    if let Err(error) = ready!(Pin::new(&mut to).poll_shutdown(context)) {
                        self.refuse(error);
                    }
                    self.step(State::Ended);
                }
                State::Open => match self.poll_copy(&mut from, &mut to, context) {
                    Poll::Ready(result) => result?,
                    Poll::Pending => {
                        if self.unflushed && Pin::new(&mut to).poll_flush(context).is_ready() {
                            self.unflushed = false;
                        }
                        return Poll::Pending;
                    }
                },
            }
        }
        // Gives the other connections of the core their turn.
        context.waker().wake_by_ref();
        Poll::Pending
    }

    fn poll_write_kept(&mut self, to: &mut impl Stream, context: &mut Context<'_>) -> Poll<()> {
        while let Some(rest) = self.kept.get(self.taken..).filter(|rest| !rest.is_empty()) {
            match ready!(Pin::new(&mut *to).poll_write(context, rest)) {
                Ok(0) => self.refuse(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    self.taken += written;
                    self.steps = self.steps.wrapping_add(1);
                    self.unflushed = true;
                }
                Err(error) => self.refuse(error),
            }
        }
        if !self.kept.is_empty() {
            (self.kept, self.taken) = (Vec::new(), 0);
        }
        Poll::Ready(())
    }

    fn poll_copy(
        &mut self,
        from: &mut impl Stream,
        to: &mut impl Stream,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        CHUNK.with_borrow_mut(|chunk| {
            let mut read = ReadBuf::new(chunk);
            ready!(Pin::new(from).poll_read(context, &mut read))?;
            let read = read.filled();
            if read.is_empty() {
                self.step(State::Ending);
                return Poll::Ready(Ok(()));
            }
            self.bytes += read.len() as u64;
            self.steps = self.steps.wrapping_add(1);
            let written = match Pin::new(to).poll_write(context, read) {
                Poll::Ready(Ok(written)) => written,
                Poll::Ready(Err(error)) => {
                    self.refuse(error);
                    return Poll::Ready(Ok(()));
                }
                Poll::Pending => 0,
            };
            self.unflushed |= written > 0;
            if let Some(rest) = read.get(written..).filter(|rest| !rest.is_empty()) {
                self.kept = rest.to_vec();
            }
            Poll::Ready(Ok(()))
        })
    }

    fn refuse(&mut self, error: io::Error) {
        self.kept = Vec::new();
        self.taken = 0;
        self.refused = Some(error);
        self.step(State::Ended);
    }

    fn step(&mut self, state: State) {
        self.state = state;
        self.steps = self.steps.wrapping_add(1);
    }
}

impl<T: Stream> Stream for &mut T {
    fn abort(&self) {
        T::abort(self);
    }
}

/// Bytes per read, and so the maximum held for one direction. Large enough that a bulk transfer needs few system calls;
/// half of what Linux lets a socket receive by default.
pub const CHUNK_BYTES: usize = 64 << 10;

/// Chunks of one direction before the other connections of the core get their turn: 1 MiB.
const ROUNDS: usize = 16;

thread_local! {
    /// This core's read buffer, whose contents are written at once.
    pub(super) static CHUNK: RefCell<Box<[u8]>> = RefCell::new(vec![0; CHUNK_BYTES].into_boxed_slice());
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
