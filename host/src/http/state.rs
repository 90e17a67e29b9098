//! What the parts of one connection tell each other: the guard at the socket, the exchanges, and who drives them.
//!
//! All of it runs on one thread, mostly in one task; atomics are here because futures must be `Send`, and cost nothing
//! where nobody contends.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Waker;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use tokio::time::Instant;

use crate::headers::Reject;
use crate::tunnel::Tunnel;

/// What is common to a connection's parts.
pub(super) struct State {
    /// Times are kept as milliseconds since then.
    start: Instant,
    waiting: AtomicU8,
    waiting_since: AtomicU64,
    /// 0 where no write waits; else one more than the time.
    write_since: AtomicU64,
    /// Requests that the guard has let pass.
    passed: AtomicU64,
    /// Whether they end with the last byte that came.
    is_between: AtomicBool,
    /// Requests that have come to the handler.
    started: AtomicU64,
    /// Exchanges whose response is not wholly written yet.
    active: AtomicUsize,
    /// 0 for none; else one more than the reason's index.
    reject: AtomicU8,
    /// The refused bytes are part of a body, so its exchange answers.
    reject_in_body: AtomicBool,
    /// The request's body will not be read to its end, so the connection closes after the response.
    abandoned: AtomicBool,
    /// A body was left unread.
    has_unread: AtomicBool,
    unread: Mutex<(Option<Incoming>, Option<Waker>)>,
    /// What the guard is to learn of the last request for another protocol: 0 nothing yet, 1 refused, 2 switched.
    verdict: AtomicU8,
    switch: Mutex<Option<Box<Switch>>>,
}

/// The connection itself, once hyper lets go of it after a request for another protocol, and what it is for.
pub(super) struct Switch {
    pub(super) io: OnUpgrade,
    /// `None` where the protocol was not switched.
    pub(super) tunnel: Option<Tunnel>,
}

/// What a connection waits for the client to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waiting {
    /// Nothing: it is the gateway's turn.
    Nothing = 0,
    /// To send another request, or none.
    Idle = 1,
    /// To send the rest of a head.
    Head = 2,
    /// To close, after the last answer.
    Linger = 3,
}

impl State {
    pub(super) fn new(start: Instant) -> Self {
        State {
            start,
            waiting: AtomicU8::new(Waiting::Nothing as u8),
            waiting_since: AtomicU64::new(0),
            write_since: AtomicU64::new(0),
            passed: AtomicU64::new(0),
            is_between: AtomicBool::new(false),
            started: AtomicU64::new(0),
            active: AtomicUsize::new(0),
            reject: AtomicU8::new(0),
            reject_in_body: AtomicBool::new(false),
            abandoned: AtomicBool::new(false),
            has_unread: AtomicBool::new(false),
            unread: Mutex::new((None, None)),
            verdict: AtomicU8::new(0),
            switch: Mutex::new(None),
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Notes what the connection waits for; the clock starts when that changes.
    pub(super) fn wait(&self, waiting: Waiting) {
        if self.waiting.load(Relaxed) == waiting as u8 {
            return;
        }
        self.waiting.store(waiting as u8, Relaxed);
        if waiting != Waiting::Nothing {
            self.waiting_since.store(self.now(), Relaxed);
        }
    }

    /// The same as [`State::wait`], but the clock started with the connection.
    pub(super) fn wait_from_start(&self, waiting: Waiting) {
        self.waiting.store(waiting as u8, Relaxed);
        self.waiting_since.store(0, Relaxed);
    }

    pub(super) fn waiting(&self) -> Waiting {
        match self.waiting.load(Relaxed) {
            1 => Waiting::Idle,
            2 => Waiting::Head,
            3 => Waiting::Linger,
            _ => Waiting::Nothing,
        }
    }

    /// When the connection has waited for `limit`.
    pub(super) fn waits_until(&self, limit: Duration) -> Instant {
        self.start + Duration::from_millis(self.waiting_since.load(Relaxed)) + limit
    }

    /// Notes whether a write waits for the client.
    pub(super) fn write_waits(&self, waits: bool) {
        match (waits, self.write_since.load(Relaxed)) {
            (true, 0) => self.write_since.store(self.now() + 1, Relaxed),
            (false, 1..) => self.write_since.store(0, Relaxed),
            _ => {}
        }
    }

    /// When a write has waited for `limit`; `None` if none waits.
    pub(super) fn write_waits_until(&self, limit: Duration) -> Option<Instant> {
        let since = self.write_since.load(Relaxed).checked_sub(1)?;
        Some(self.start + Duration::from_millis(since) + limit)
    }

    /// Notes how many messages have passed, and whether that was all that came.
    pub(super) fn set_passed(&self, messages: u64, is_all: bool) {
        self.passed.store(messages, Relaxed);
        self.is_between.store(is_all, Relaxed);
    }

    /// Whether nothing that passed is still to be answered.
    pub(super) fn is_quiet(&self) -> bool {
        self.active.load(Relaxed) == 0 && self.started.load(Relaxed) >= self.passed.load(Relaxed)
    }

    /// Whether nothing is there of any message: all that came was whole, and is answered.
    pub(super) fn is_between(&self) -> bool {
        self.is_between.load(Relaxed) && self.is_quiet()
    }

    pub(super) fn is_active(&self) -> bool {
        self.active.load(Relaxed) > 0
    }

    pub(super) fn has_started(&self) -> bool {
        self.started.load(Relaxed) > 0
    }

    /// Notes the first reason to refuse what came.
    pub(super) fn refuse(&self, reject: Reject, in_body: bool) {
        if self.reject.load(Relaxed) == 0 {
            self.reject.store(reject as u8 + 1, Relaxed);
            self.reject_in_body.store(in_body, Relaxed);
        }
    }

    /// Why the connection is refused, and whether that happened in a body.
    pub(super) fn refused(&self) -> Option<(Reject, bool)> {
        let index = usize::from(self.reject.load(Relaxed)).checked_sub(1)?;
        Some((*Reject::ALL.get(index)?, self.reject_in_body.load(Relaxed)))
    }

    /// Whether the request body was given up; the question clears it.
    pub(super) fn take_abandoned(&self) -> bool {
        let abandoned = self.abandoned.load(Relaxed);
        if abandoned {
            self.abandoned.store(false, Relaxed);
        }
        abandoned
    }

    pub(super) fn set_abandoned(&self) {
        self.abandoned.store(true, Relaxed);
    }

    /// Leaves the rest of a body to who drives the connection.
    pub(super) fn leave_unread(&self, body: Incoming) {
        let mut unread = self.unread.lock().unwrap_or_else(PoisonError::into_inner);
        unread.0 = Some(body);
        self.has_unread.store(true, Relaxed);
        if let Some(waker) = &unread.1 {
            waker.wake_by_ref();
        }
    }

    pub(super) fn take_unread(&self) -> Option<Incoming> {
        if !self.has_unread.load(Relaxed) {
            return None;
        }
        self.has_unread.store(false, Relaxed);
        self.unread.lock().unwrap_or_else(PoisonError::into_inner).0.take()
    }

    /// Notes what became of a request for another protocol.
    pub(super) fn switch(&self, switch: Switch) {
        self.verdict.store(if switch.tunnel.is_some() { 2 } else { 1 }, Relaxed);
        *self.switch.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(switch));
    }

    /// Whether it is known what became of a request for another protocol.
    pub(super) fn has_verdict(&self) -> bool {
        self.verdict.load(Relaxed) > 0
    }

    /// Whether the protocol was switched, once that is known; the question clears it.
    pub(super) fn take_verdict(&self) -> Option<bool> {
        let verdict = self.verdict.load(Relaxed);
        self.verdict.store(0, Relaxed);
        (verdict > 0).then_some(verdict == 2)
    }

    /// The last request for another protocol, if there was one.
    pub(super) fn take_switch(&self) -> Option<Box<Switch>> {
        self.switch.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Who is to be woken for an unread body.
    pub(super) fn set_waker(&self, waker: &Waker) {
        self.unread.lock().unwrap_or_else(PoisonError::into_inner).1 = Some(waker.clone());
    }
}

/// One exchange that runs; it ends when this is dropped.
pub(super) struct Active(Arc<State>);

impl Active {
    pub(super) fn start(state: &Arc<State>) -> Self {
        // One thread writes these, so no locked instruction is needed.
        state.started.store(state.started.load(Relaxed) + 1, Relaxed);
        state.active.store(state.active.load(Relaxed) + 1, Relaxed);
        state.wait(Waiting::Nothing);
        Active(Arc::clone(state))
    }
}

impl Active {
    /// The same for what goes on beside the exchange.
    pub(super) fn another(&self) -> Self {
        let state = &self.0;
        state.active.store(state.active.load(Relaxed) + 1, Relaxed);
        Active(Arc::clone(state))
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        let left = self.0.active.load(Relaxed).saturating_sub(1);
        self.0.active.store(left, Relaxed);
        if left == 0 {
            self.0.wait(Waiting::Idle);
        }
    }
}
