//! The socket of a connection to an endpoint, seen by hyper.
//!
//! Four things are done here because hyper does not say enough above: it does not tell whether any byte of a response
//! came before a connection ended, it reads informational responses without end, it gives a response up that has come
//! already when writing the rest of the request fails, and it takes chunks that are none.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::OwnedSemaphorePermit;

use super::chunks::Chunks;
use super::progress::Progress;
use super::socket::Socket;
use crate::gather;

/// A socket that reports to the [`Progress`] of the request on it.
pub(super) struct Wire {
    socket: Socket,
    progress: Arc<Progress>,
    /// Most bytes that may come before a response head is complete.
    head_limit: u32,
    /// How far the response on it has come, if it is in chunks.
    chunks: Chunks,
    /// Writing failed; what is still written goes nowhere.
    broken: bool,
    /// The place among the endpoint's connections, which is taken as long as the socket is open: also when it has
    /// become a tunnel.
    _slot: OwnedSemaphorePermit,
}

impl Wire {
    pub(super) fn new(
        socket: Socket,
        progress: Arc<Progress>,
        max_header_bytes: usize,
        slot: OwnedSemaphorePermit,
    ) -> Self {
        let head_limit = u32::try_from(max_header_bytes.saturating_mul(HEADS)).unwrap_or(u32::MAX);
        Wire { socket, progress, head_limit, chunks: Chunks::new(), broken: false, _slot: slot }
    }

    /// A server that answers early (413) and closes makes our next write fail while its answer waits to be read. So a
    /// failed write is passed over while an answer is awaited: reading tells what there is, the answer or the end.
    fn written(&mut self, result: io::Result<usize>, length: usize) -> io::Result<usize> {
        match result {
            Err(error) if self.progress.is_awaiting() && is_hang_up(&error) => {
                self.broken = true;
                Ok(length)
            }
            result => result,
        }
    }
}

fn is_hang_up(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let result = Pin::new(&mut self.socket).poll_read(context, buffer);
        if let Poll::Ready(Ok(())) = result {
            let this = &mut *self;
            let new = buffer.filled().get(before..).unwrap_or_default();
            let received = this.progress.add_received(new.len());
            if received > this.head_limit {
                return Poll::Ready(Err(io::Error::from(io::ErrorKind::FileTooLarge)));
            }
            if received as usize == new.len() {
                this.chunks.restart();
            }
            this.chunks.walk(new);
            this.progress.set_unchunked(this.chunks.is_broken());
        }
        result
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.broken {
            return Poll::Ready(Ok(bytes.len()));
        }
        Pin::new(&mut self.socket).poll_write(context, bytes).map(|result| {
            let result = self.written(result, bytes.len());
            if let Ok(count) = result {
                self.progress.add_sent(count, [bytes].into_iter());
            }
            result
        })
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let length = || slices.iter().map(|slice| slice.len()).sum();
        if self.broken {
            return Poll::Ready(Ok(length()));
        }
        gather::poll_write(&mut self.socket, context, slices).map(|result| {
            let result = self.written(result, length());
            if let Ok(count) = result {
                self.progress.add_sent(count, slices.iter().map(|slice| &**slice));
            }
            result
        })
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}

/// How many full header blocks may come for one request: the response, what hyper reads ahead of its body, and the
/// informational responses before it.
const HEADS: usize = 4;
