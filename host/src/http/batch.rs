//! A byte stream that writes everything a connection has to say in one turn with one write.
//!
//! h2 writes and flushes frame by frame if frames are longer than a few bytes. Over TLS each is a separate record and
//! system call: with sixteen requests in flight that was a third of the cost of a request. So short writes are buffered
//! here, a flush only pretends to be done, and the driver of the connection sends everything at the end of its turn.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// One of the two handles of a stream that buffers short writes: h2's, or that of the connection's driver.
pub(super) struct Batch<IO>(Arc<Mutex<Inner<IO>>>);

struct Inner<IO> {
    io: IO,
    /// Bytes that are written but not sent. Allocates nothing while empty.
    held: Vec<u8>,
    sent: usize,
}

impl<IO> Clone for Batch<IO> {
    fn clone(&self) -> Self {
        Batch(Arc::clone(&self.0))
    }
}

impl<IO: AsyncWrite + Unpin> Batch<IO> {
    pub(super) fn new(io: IO) -> Self {
        Batch(Arc::new(Mutex::new(Inner { io, held: Vec::new(), sent: 0 })))
    }

    /// Sends what is buffered. To be called after each turn of the connection.
    pub(super) fn poll_send(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut inner = self.inner();
        ready!(inner.poll_drain(cx))?;
        Pin::new(&mut inner.io).poll_flush(cx)
    }
}

impl<IO> Batch<IO> {
    /// All handles are in one task, so nobody ever waits here.
    fn inner(&self) -> MutexGuard<'_, Inner<IO>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<IO: AsyncWrite + Unpin> Inner<IO> {
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.sent < self.held.len() {
            let rest = self.held.get(self.sent..).unwrap_or_default();
            match ready!(Pin::new(&mut self.io).poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                more => self.sent += more,
            }
        }
        (self.held, self.sent) = (Vec::new(), 0);
        Poll::Ready(Ok(()))
    }

    /// Buffers what fits; a write larger than the whole buffer bypasses it without a copy.
    fn poll_write(&mut self, cx: &mut Context<'_>, pieces: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let length: usize = pieces.iter().map(|piece| piece.len()).sum();
        if self.held.len() + length > HELD_BYTES {
            ready!(self.poll_drain(cx))?;
        }
        if length > HELD_BYTES {
            return Pin::new(&mut self.io).poll_write_vectored(cx, pieces);
        }
        if self.held.capacity() == 0 {
            self.held.reserve_exact(HELD_BYTES);
        }
        pieces.iter().for_each(|piece| self.held.extend_from_slice(piece));
        Poll::Ready(Ok(length))
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Batch<IO> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner().io).poll_read(cx, buf)
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Batch<IO> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.inner().poll_write(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.inner().poll_write(cx, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Does nothing: see [`Batch::poll_send`].
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut inner = self.inner();
        ready!(inner.poll_drain(cx))?;
        Pin::new(&mut inner.io).poll_shutdown(cx)
    }
}

/// As much as one TLS record holds (RFC 8446 §5.1).
const HELD_BYTES: usize = 16 << 10;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::task::Waker;

    /// Accepts up to this many bytes per write, none if it is 0; records each write.
    struct Sink {
        most: usize,
        pieces: Vec<usize>,
        is_shut: bool,
    }

    impl AsyncWrite for Sink {
        fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            if self.most == 0 {
                return Poll::Pending;
            }
            let taken = bytes.len().min(self.most);
            self.pieces.push(taken);
            Poll::Ready(Ok(taken))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.is_shut = true;
            Poll::Ready(Ok(()))
        }
    }

    /// What is written, how much of it is accepted, and in which writes it is sent before the turn ends and at its end.
    #[test]
    fn short_writes_are_sent_as_one_and_long_ones_at_once() {
        const ALL: usize = HELD_BYTES;
        let cases: [(&[usize], &[usize], &[usize]); 5] = [
            (&[9, 1000, 9, 1000], &[], &[2018]),
            (&[ALL], &[], &[ALL]),
            (&[ALL + 1], &[ALL + 1], &[]),
            (&[10, ALL], &[10], &[ALL]),
            (&[10, ALL + 1, 20, 30], &[10, ALL + 1], &[50]),
        ];
        let cx = &mut Context::from_waker(Waker::noop());
        for (writes, at_once, with_the_turn) in cases {
            let batch = Batch::new(Sink { most: usize::MAX, pieces: Vec::new(), is_shut: false });
            for length in writes {
                let bytes = vec![b'x'; *length];
                let mut end = batch.clone();
                assert!(
                    matches!(Pin::new(&mut end).poll_write(cx, &bytes), Poll::Ready(Ok(taken)) if taken == *length)
                );
                assert!(matches!(Pin::new(&mut end).poll_flush(cx), Poll::Ready(Ok(()))));
            }
            assert_eq!(batch.inner().io.pieces, at_once, "{writes:?}");
            assert!(matches!(batch.poll_send(cx), Poll::Ready(Ok(()))));
            assert_eq!(batch.inner().io.pieces[at_once.len()..], *with_the_turn, "{writes:?}");
            assert_eq!(batch.inner().held.capacity(), 0);
        }
    }

    #[test]
    fn who_takes_nothing_is_not_written_to_without_end() {
        let cx = &mut Context::from_waker(Waker::noop());
        let mut batch = Batch::new(Sink { most: 0, pieces: Vec::new(), is_shut: false });
        let mut taken = 0;
        while let Poll::Ready(written) = Pin::new(&mut batch).poll_write(cx, &[b'x'; 1000]) {
            taken += written.unwrap();
        }
        assert_eq!(taken, HELD_BYTES / 1000 * 1000);
        assert!(batch.poll_send(cx).is_pending());
        assert!(Pin::new(&mut batch).poll_shutdown(cx).is_pending());
        batch.inner().io.most = 10_000;
        assert!(matches!(Pin::new(&mut batch).poll_shutdown(cx), Poll::Ready(Ok(()))));
        assert_eq!(batch.inner().io.pieces.iter().sum::<usize>(), taken);
        assert!(batch.inner().io.is_shut);
    }
}
