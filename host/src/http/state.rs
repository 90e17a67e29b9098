//! State shared by the parts of an HTTP/2 connection: how many exchanges there are, and since when there is none.
//!
//! All of it runs on one thread; atomics are here because futures must be `Send`, and cost nothing where nobody contends.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use tokio::time::Instant;

/// State shared by the parts of a connection.
pub(super) struct State {
    start: Instant,
    /// Exchanges whose response is not completely written yet.
    active: AtomicUsize,
    /// When the last exchange ended, in milliseconds from the start.
    idle_since: AtomicU64,
}

impl State {
    pub(super) fn new(start: Instant) -> Self {
        State { start, active: AtomicUsize::new(0), idle_since: AtomicU64::new(0) }
    }

    /// Whether there is no exchange.
    pub(super) fn is_idle(&self) -> bool {
        self.active.load(Relaxed) == 0
    }

    /// When the connection will have been idle for `limit`, if no exchange begins.
    pub(super) fn is_idle_until(&self, limit: Duration) -> Instant {
        self.start + Duration::from_millis(self.idle_since.load(Relaxed)) + limit
    }
}

/// Counts an exchange as active until dropped.
pub(super) struct Active(Arc<State>);

impl Active {
    pub(super) fn start(state: &Arc<State>) -> Self {
        // Only one thread writes these, so no atomic read-modify-write is needed.
        state.active.store(state.active.load(Relaxed) + 1, Relaxed);
        Active(Arc::clone(state))
    }

    /// The same for something that runs beside the exchange.
    pub(super) fn another(&self) -> Self {
        Active::start(&self.0)
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        let state = &self.0;
        let left = state.active.load(Relaxed).saturating_sub(1);
        state.active.store(left, Relaxed);
        if left == 0 {
            let since = u64::try_from(state.start.elapsed().as_millis()).unwrap_or(u64::MAX);
            state.idle_since.store(since, Relaxed);
        }
    }
}
