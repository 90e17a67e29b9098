//! How far one request has come: shared by the sender, the connection that carries it, its body, and the sweep.
//!
//! An HTTP/1.1 connection has one of these for its whole life, an HTTP/2 stream one of its own. All of them are on one
//! core; the atomics are there because futures that tokio spawns must be `Send`, and cost what plain fields would.
//!
//! Timeouts are counts of sweeps, not timers: registering and removing a tokio timer costs 0.4 µs for each request
//! (measured), a relaxed store nothing. Only the endpoint's turn counts: while a request body is still being sent the
//! count is reset, so that a long upload has as much time as it needs, and a client that is slow to send or to read is
//! not blamed on the endpoint. Nor is it if a time limit of the route ends the request in the client's turn.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use tokio::time::Instant;

use crate::body::BodyError;

/// Whose turn it is in an exchange with an endpoint, and for how long. See the module.
pub(super) struct Progress {
    /// When the connection was made.
    pub(super) opened: Instant,
    /// A request was sent, and its response head has not arrived.
    awaiting: AtomicBool,
    /// Sweeps since the endpoint's turn began, plus one; 0 while nobody waits for the endpoint.
    sweeps: AtomicU32,
    /// The current response is awaited with a time limit of its own.
    own_limit: AtomicBool,
    /// The sweep has given up this request.
    expired: AtomicBool,
    /// The connection takes no further request.
    retired: AtomicBool,
    /// Woken when a response is overdue.
    waiter: Mutex<Option<Waker>>,
    /// HTTP/2: why the request body failed, which hyper is not told.
    fault: Mutex<Option<BodyError>>,
}

/// Who gives up when the head of a response does not arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Patience {
    /// The sweep, after the transport's `response_timeout`.
    Usual,
    /// The caller, by its own time limit.
    Own,
}

impl Progress {
    pub(super) fn new() -> Self {
        Progress {
            opened: Instant::now(),
            awaiting: AtomicBool::new(false),
            sweeps: AtomicU32::new(0),
            own_limit: AtomicBool::new(false),
            expired: AtomicBool::new(false),
            retired: AtomicBool::new(false),
            waiter: Mutex::new(None),
            fault: Mutex::new(None),
        }
    }

    /// A request is sent.
    pub(super) fn begin(&self) {
        self.sweeps.store(1, Relaxed);
        self.awaiting.store(true, Relaxed);
    }

    /// Sets who gives up when the head of the next response does not arrive.
    pub(super) fn wait(&self, patience: Patience) {
        self.own_limit.store(patience == Patience::Own, Relaxed);
    }

    /// The response head has arrived, or never will.
    pub(super) fn answered(&self) {
        self.awaiting.store(false, Relaxed);
        self.sweeps.store(0, Relaxed);
    }

    /// The request body waits for the client: the endpoint's time is stopped.
    pub(super) fn clients_turn(&self) {
        if self.awaiting.load(Relaxed) {
            self.sweeps.store(0, Relaxed);
        }
    }

    /// The endpoint has received more of the request, or all of it: its time starts anew.
    pub(super) fn endpoints_turn(&self) {
        if self.awaiting.load(Relaxed) {
            self.sweeps.store(1, Relaxed);
        }
    }

    /// Whether the endpoint is being waited for.
    pub(super) fn is_endpoints_turn(&self) -> bool {
        self.sweeps.load(Relaxed) > 0
    }

    /// The endpoint accepts no more of the request at present, although the client may have more to send.
    pub(super) fn endpoint_is_full(&self) {
        if self.is_clients_turn() {
            self.sweeps.store(1, Relaxed);
        }
    }

    /// Whether the client is being waited for: the endpoint has taken all that has come of the request, which is not
    /// all of it.
    pub(super) fn is_clients_turn(&self) -> bool {
        self.awaiting.load(Relaxed) && self.sweeps.load(Relaxed) == 0
    }

    /// The client wants more of the response body than has arrived.
    pub(super) fn body_is_awaited(&self) {
        if self.sweeps.load(Relaxed) == 0 {
            self.sweeps.store(1, Relaxed);
        }
    }

    /// More of the response body, or its end, has arrived. If the sweep gave it up in the meantime, it did so only
    /// because nobody polled: the client had not read what came before.
    pub(super) fn body_has_come(&self) {
        self.sweeps.store(0, Relaxed);
        self.expired.store(false, Relaxed);
    }

    /// Counts one sweep. What is awaited is overdue after more sweeps than the limit within the endpoint's turn.
    pub(super) fn sweep(&self, head_limit: u32, body_limit: u32) {
        let awaiting = self.awaiting.load(Relaxed);
        let limit = if awaiting { head_limit } else { body_limit };
        let sweeps = self.sweeps.load(Relaxed);
        if sweeps == 0 || (awaiting && self.own_limit.load(Relaxed)) {
            return;
        }
        if sweeps <= limit {
            self.sweeps.store(sweeps.saturating_add(1), Relaxed);
            return;
        }
        self.answered();
        self.expired.store(true, Relaxed);
        self.wake();
    }

    /// Whether the sweep has given up the request.
    pub(super) fn is_expired(&self) -> bool {
        self.expired.load(Relaxed)
    }

    /// Ready when the sweep has given up the request.
    pub(super) fn poll_expired(&self, context: &mut Context<'_>) -> Poll<()> {
        if self.is_expired() {
            return Poll::Ready(());
        }
        let mut waiter = lock(&self.waiter);
        if !waiter.as_ref().is_some_and(|waiter| waiter.will_wake(context.waker())) {
            *waiter = Some(context.waker().clone());
        }
        Poll::Pending
    }

    /// Wakes the task that waits for the response, which will not come.
    pub(super) fn wake(&self) {
        lock(&self.waiter).take().into_iter().for_each(Waker::wake);
    }

    /// No further request is accepted after this one.
    pub(super) fn retire(&self) {
        self.retired.store(true, Relaxed);
    }

    pub(super) fn is_retired(&self) -> bool {
        self.retired.load(Relaxed)
    }

    /// The request body failed. The first failure is kept.
    pub(super) fn fail(&self, error: BodyError) {
        lock(&self.fault).get_or_insert(error);
    }

    /// Why the request body failed, if it did.
    pub(super) fn take_fault(&self) -> Option<BodyError> {
        lock(&self.fault).take()
    }
}

/// Nothing that holds one of these locks can panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_with_a_limit_of_its_own_is_not_swept() {
        let progress = Progress::new();
        progress.wait(Patience::Own);
        progress.begin();
        (0..99).for_each(|_| progress.sweep(2, 4));
        assert!(!progress.is_expired());
        progress.answered();
        progress.body_is_awaited();
        (0..5).for_each(|_| progress.sweep(2, 4));
        assert!(progress.is_expired(), "the body has the usual limit");
    }

    #[test]
    fn it_is_the_clients_turn_while_the_endpoint_has_all_that_came_of_the_request() {
        let progress = Progress::new();
        let is = |expected: bool, why: &str| assert_eq!(progress.is_clients_turn(), expected, "{why}");
        is(false, "nothing is sent");
        progress.begin();
        is(false, "the request is on its way");
        progress.clients_turn();
        is(true, "more of its body is to come");
        progress.endpoint_is_full();
        is(false, "the endpoint does not take what came");
        progress.clients_turn();
        progress.endpoints_turn();
        is(false, "more has come");
        progress.answered();
        progress.clients_turn();
        is(false, "the answer is here");
    }

    #[test]
    fn only_the_endpoints_turn_counts() {
        let progress = Progress::new();
        let sweep = |count: u32| {
            (0..count).for_each(|_| progress.sweep(2, 4));
            progress.is_expired()
        };
        assert!(!sweep(9), "nothing is awaited");
        progress.begin();
        progress.clients_turn();
        assert!(!sweep(9), "the client sends");
        progress.endpoints_turn();
        assert!(!sweep(2));
        progress.endpoints_turn();
        assert!(!sweep(2), "the endpoint has got more");
        progress.answered();
        progress.endpoints_turn();
        assert!(!sweep(9), "the rest of the body is of no interest");
        progress.body_is_awaited();
        assert!(!sweep(4));
        assert!(sweep(1));
        progress.body_has_come();
        assert!(!sweep(9), "the client did not read it before");
    }
}
