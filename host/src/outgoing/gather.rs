//! Writes a few short pieces at once.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::AsyncWrite;

/// Writes several pieces. Short ones, such as a head and a small body, are copied together, because a plain write costs
/// the kernel less than a vectored one, by more than the copy. Longer ones are not copied.
pub(super) fn poll_write<W: AsyncWrite + Unpin>(
    writer: &mut W,
    context: &mut Context<'_>,
    pieces: &[IoSlice<'_>],
) -> Poll<io::Result<usize>> {
    let writer = Pin::new(writer);
    if let [only] = pieces {
        return writer.poll_write(context, only);
    }
    let length: usize = pieces.iter().map(|piece| piece.len()).sum();
    if length > SHORT_BYTES {
        return writer.poll_write_vectored(context, pieces);
    }
    let mut together = smallvec::SmallVec::<[u8; SHORT_BYTES]>::new();
    for piece in pieces {
        together.extend_from_slice(piece);
    }
    writer.poll_write(context, &together)
}

/// A typical head with a body of a kilobyte.
const SHORT_BYTES: usize = 2048;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::task::Waker;

    /// Accepts at most this many bytes per write, and records how they were passed.
    struct Sink {
        most: usize,
        taken: Vec<u8>,
        pieces: Vec<usize>,
    }

    impl AsyncWrite for Sink {
        fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            let taken = bytes.len().min(self.most);
            self.taken.extend_from_slice(&bytes[..taken]);
            self.pieces.push(1);
            Poll::Ready(Ok(taken))
        }

        fn poll_write_vectored(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            slices: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            let all: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
            let taken = all.len().min(self.most);
            self.taken.extend_from_slice(&all[..taken]);
            self.pieces.push(slices.len());
            Poll::Ready(Ok(taken))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[test]
    fn short_pieces_go_as_one_and_long_ones_as_they_are() {
        let long = vec![b'x'; SHORT_BYTES];
        let cases: [(&[&[u8]], usize, usize, usize); 6] = [
            (&[], usize::MAX, 0, 1),
            (&[b"head"], usize::MAX, 4, 1),
            (&[&long, &long], usize::MAX, 2 * SHORT_BYTES, 2),
            (&[b"head", b"", b"body"], usize::MAX, 8, 1),
            (&[b"head", b"body"], 6, 6, 1),
            (&[b"h", &long], usize::MAX, 1 + SHORT_BYTES, 2),
        ];
        for (pieces, most, written, given) in cases {
            let mut sink = Sink { most, taken: Vec::new(), pieces: Vec::new() };
            let slices: Vec<IoSlice<'_>> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
            let Poll::Ready(taken) = poll_write(&mut sink, &mut Context::from_waker(Waker::noop()), &slices) else {
                panic!("pending")
            };
            assert_eq!((taken.unwrap(), sink.pieces.as_slice()), (written, [given].as_slice()));
            assert_eq!(sink.taken, pieces.concat()[..written]);
        }
    }
}
