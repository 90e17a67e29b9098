//! An HTTP/1 connection that is idle between two requests: it holds nothing but the socket and a timer.

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::Instant;

use super::{FIRST_READ_BYTES, Settings, Stage};
use crate::drain::Drain;

/// How long a connection is idle before it rests: creating a parser and buffers anew is then negligible against the
/// wait.
pub(super) const AFTER: Duration = Duration::from_secs(1);

/// A resting connection.
pub struct Resting<IO> {
    pub io: IO,
    /// When it became idle.
    pub since: Instant,
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Resting<IO> {
    /// Waits for the first bytes of the next request. `None` if the connection is over: closed by the client, idle for
    /// too long, or closed by the drain.
    pub async fn wake(mut self, settings: &Settings, drain: &Drain) -> Option<Stage<IO>> {
        let first = tokio::select! {
            biased;
            read = first_bytes(&mut self.io) => read.ok()?,
            // Bytes that have already arrived are read first; the runtime checks for them when a task yields.
            () = async { drain.asked().await; tokio::task::yield_now().await } => Vec::new(),
            () = tokio::time::sleep_until(self.since + settings.idle_timeout) => Vec::new(),
        };
        if first.is_empty() {
            // A client that has gone needs no orderly shutdown, and one that does not take part is not waited for.
            let _ = tokio::time::timeout(settings.linger_timeout, self.io.shutdown()).await;
            return None;
        }
        Some(Stage::Awake(self.io, first))
    }
}

/// The first bytes that are read; empty at the end. Allocates no buffer while there is nothing to read.
async fn first_bytes<IO: AsyncRead + Unpin>(io: &mut IO) -> io::Result<Vec<u8>> {
    poll_fn(|cx| {
        let mut bytes = [MaybeUninit::uninit(); FIRST_READ_BYTES];
        let mut read = ReadBuf::uninit(&mut bytes);
        Pin::new(&mut *io).poll_read(cx, &mut read).map_ok(|()| read.filled().to_vec())
    })
    .await
}
