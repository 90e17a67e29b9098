//! What wakes a connection besides its socket: a deadline, and draining.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use tokio::time::{Instant, Sleep};

use crate::drain::Drain;

/// One timer for all deadlines of a connection. It is reset only if it would fire too late; if it fires too early, the
/// deadline is checked again. Deadlines move with every request, and setting a timer for each costs more than the
/// parser.
pub(super) struct Wakeup {
    timer: Pin<Box<Sleep>>,
    asked: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    /// The waker that is registered. Registering once is enough while the task has the same waker.
    waker: Option<Waker>,
}

impl Wakeup {
    pub(super) fn new(first: Instant, drain: &Drain) -> Self {
        let asked: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(drain.asked());
        Wakeup { timer: Box::pin(tokio::time::sleep_until(first)), asked: Some(asked), waker: None }
    }

    /// Ready at the moment; until then, the task is woken at that moment and when the drain is asked for.
    pub(super) fn poll(&mut self, moment: Instant, cx: &mut Context<'_>) -> Poll<()> {
        if !self.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            self.waker = Some(cx.waker().clone());
            let _ = self.timer.as_mut().poll(cx);
            if self.asked.as_mut().is_some_and(|asked| asked.as_mut().poll(cx).is_ready()) {
                self.asked = None;
            }
        }
        loop {
            if moment >= self.timer.deadline() && !self.timer.is_elapsed() {
                return Poll::Pending;
            }
            if moment <= Instant::now() {
                return Poll::Ready(());
            }
            self.timer.as_mut().reset(moment);
            if self.timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
    }
}
