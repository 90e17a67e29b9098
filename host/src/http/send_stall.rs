//! Whether the client of an HTTP/2 connection reads what it is sent.
//!
//! hyper asks a body for its next frame when it has passed on the last one, and waits for the client's window as long
//! as it takes, without telling the body. So each response records here what happens to its frames, and the connection
//! periodically checks whether one of them has waited too long; then it ends the task that sends the response, which
//! resets the stream. A check reads the clock; a record costs a store.

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use bytes::{Buf, Bytes};
use hyper::rt::Executor;
use tokio::task::AbortHandle;
use tokio::time::Instant;

/// Whether the sending of one response makes progress.
#[derive(Default)]
pub(super) struct SendProgress {
    /// Whether something waits for the client, and since which check: [`NOTHING`], [`FRESH`], or the milliseconds from
    /// the connection's start to that check, plus [`LOOKED`].
    waiting: AtomicU64,
    /// The task that sends the response.
    task: OnceLock<AbortHandle>,
}

impl SendProgress {
    /// A frame waits for the client.
    pub(super) fn has_more(&self) {
        self.waiting.store(FRESH, Relaxed);
    }

    /// Everything was passed on, and the client waits for more.
    pub(super) fn has_nothing(&self) {
        self.waiting.store(NOTHING, Relaxed);
    }

    /// The client has accepted some bytes; others may still wait.
    fn goes_on(&self) {
        if self.waiting.load(Relaxed) != NOTHING {
            self.waiting.store(FRESH, Relaxed);
        }
    }

    /// A check at `now`, in milliseconds from the connection's start: gives up a response that has waited for the
    /// limit.
    fn look(&self, now: u64, limit: u64) {
        match self.waiting.load(Relaxed) {
            NOTHING => {}
            FRESH => self.waiting.store(now.saturating_add(LOOKED), Relaxed),
            since if now.saturating_add(LOOKED).saturating_sub(since) < limit => {}
            _ => {
                if let Some(task) = self.task.get() {
                    task.abort();
                }
            }
        }
    }
}

/// A piece of a response body that notices when its bytes are sent to the client.
pub(super) struct Piece {
    bytes: Bytes,
    progress: Arc<SendProgress>,
}

impl Piece {
    pub(super) fn new(bytes: Bytes, progress: &Arc<SendProgress>) -> Self {
        Piece { bytes, progress: Arc::clone(progress) }
    }
}

impl Buf for Piece {
    fn remaining(&self) -> usize {
        self.bytes.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.bytes.chunk()
    }

    fn advance(&mut self, count: usize) {
        self.progress.goes_on();
        self.bytes.advance(count);
    }
}

/// The responses of one connection. It is the executor of their tasks, in order to know which task belongs to which.
#[derive(Clone)]
pub(super) struct Responses(Arc<Inner>);

struct Inner {
    start: Instant,
    limit: Duration,
    /// Responses that may still be in progress, and some that are gone.
    responses: Mutex<Vec<Weak<SendProgress>>>,
}

impl Responses {
    /// Gives up responses of which the client accepts nothing for `limit`, provided [`Responses::look`] is called often
    /// enough.
    pub(super) fn new(limit: Duration) -> Self {
        Responses(Arc::new(Inner { start: Instant::now(), limit, responses: Mutex::default() }))
    }

    /// Begins a response. The next task that is spawned is its own.
    pub(super) fn begin(&self) -> Arc<SendProgress> {
        let progress = Arc::<SendProgress>::default();
        let mut responses = self.responses();
        if responses.len() == responses.capacity() {
            responses.retain(|progress| progress.strong_count() > 0);
        }
        responses.push(Arc::downgrade(&progress));
        progress
    }

    /// How often to check: a stalled response is given up after the limit, and at most half as long again.
    pub(super) fn period(&self) -> Duration {
        (self.0.limit / 4).max(SHORTEST_PERIOD)
    }

    /// Gives up responses that have waited for too long.
    pub(super) fn look(&self, now: Instant) {
        let milliseconds = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let limit = milliseconds(self.0.limit);
        let now = milliseconds(now.saturating_duration_since(self.0.start));
        self.responses().retain(|progress| {
            let Some(progress) = progress.upgrade() else { return false };
            progress.look(now, limit);
            true
        });
    }

    /// Everything runs on one thread, so nobody ever waits here.
    fn responses(&self) -> MutexGuard<'_, Vec<Weak<SendProgress>>> {
        self.0.responses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Responses {
    fn execute(&self, future: F) {
        let task = tokio::spawn(future);
        // hyper creates an exchange and its task in one go. The only other task that it spawns is the stream of a
        // tunnel, which has a limit of its own; by then the last exchange has its task.
        if let Some(progress) = self.responses().last().and_then(Weak::upgrade) {
            let _ = progress.task.set(task.abort_handle());
        }
    }
}

/// Nothing waits for the client.
const NOTHING: u64 = 0;

/// Something has arrived, or was sent, since the last check.
const FRESH: u64 = 1;

/// Above the other values.
const LOOKED: u64 = 2;

/// So that a limit of zero does not keep the core busy.
const SHORTEST_PERIOD: Duration = Duration::from_millis(10);
