//! The read buffer of an HTTP/1 connection: bytes that were read and not used yet.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// The bytes that were read from a connection and not used yet. See the module.
pub struct Intake {
    pub bytes: BytesMut,
    /// How much to read at once.
    reads: usize,
}

impl Default for Intake {
    fn default() -> Self {
        Intake { bytes: BytesMut::new(), reads: SHORT_READ }
    }
}

impl Intake {
    /// Reads what is available; 0 means that the other side has ended its stream.
    pub fn poll_fill<R: AsyncRead + Unpin>(&mut self, reader: &mut R, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.bytes.reserve(self.reads);
        let capacity = self.bytes.capacity().saturating_sub(self.bytes.len());
        // The future has no state, so it can be created for each poll.
        let polled = pin!(reader.read_buf(&mut self.bytes)).poll(cx);
        if let Poll::Ready(Ok(count)) = polled
            && count == capacity
        {
            self.reads = self.reads.saturating_mul(2).min(LONG_READ);
        }
        polled
    }

    /// Takes the first bytes. A short piece is copied, so that the buffer stays with the connection alone and need not
    /// be allocated again for the next message.
    pub fn take(&mut self, length: usize) -> Bytes {
        if length > COPIED {
            return self.bytes.split_to(length).freeze();
        }
        let bytes = Bytes::copy_from_slice(self.bytes.get(..length).unwrap_or_default());
        self.bytes.advance(length);
        bytes
    }

    /// After a long message: the next one starts with a small buffer.
    pub fn shrink(&mut self) {
        if self.bytes.is_empty() && self.bytes.capacity() > LONG_READ / 2 {
            self.bytes = BytesMut::new();
        }
        self.reads = SHORT_READ;
    }
}

/// How much is read at once of a short message: a head, and a body of a few kilobytes.
const SHORT_READ: usize = 8 << 10;

/// Maximum that is read at once of a long message.
const LONG_READ: usize = 64 << 10;

/// Up to this size, copying costs less than a new buffer.
const COPIED: usize = 4 << 10;
