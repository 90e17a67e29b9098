//! What wakes a connection besides its socket: a deadline, and draining.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use tokio::task::coop::unconstrained;
use tokio::time::{Instant, Sleep};

use crate::drain::Drain;

/// One timer for all deadlines of a connection. It is reset only if it would fire too late; if it fires too early, the
/// deadline is checked again. Deadlines move with every request, and setting a timer for each costs more than the
/// parser.
pub(super) struct Wakeup<'a> {
    timer: Pin<Box<Sleep>>,
    drain: &'a Drain,
    /// Wakes the task when the drain is asked for and when it is over; `None` from then on.
    over: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    /// The waker that is registered. Registering once is enough while the task has the same waker.
    waker: Option<Waker>,
}

impl<'a> Wakeup<'a> {
    pub(super) fn new(first: Instant, drain: &'a Drain) -> Self {
        let over: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(unconstrained(drain.over()));
        Wakeup { timer: Box::pin(tokio::time::sleep_until(first)), drain, over: Some(over), waker: None }
    }

    /// Whether the drain was asked for.
    pub(super) fn is_drain_asked(&self) -> bool {
        self.drain.is_asked()
    }

    /// Ready at the moment, or when the drain is over; until then, the task is woken at that moment and when the drain
    /// is asked for.
    pub(super) fn poll(&mut self, moment: Instant, cx: &mut Context<'_>) -> Poll<()> {
        if self.poll_over(cx).is_ready() {
            return Poll::Ready(());
        }
        loop {
            if moment >= self.timer.deadline() && !self.timer.is_elapsed() {
                return Poll::Pending;
            }
            if moment <= Instant::now() {
                return Poll::Ready(());
            }
            self.timer.as_mut().reset(moment);
            if self.poll_timer(cx).is_pending() {
                return Poll::Pending;
            }
        }
    }

    /// Ready when the drain is over. Once the task is registered, and until the drain is asked for, this only compares.
    pub(super) fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let is_registered = self.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker()));
        if !is_registered {
            self.waker = Some(cx.waker().clone());
            let _ = self.poll_timer(cx);
        }
        if !is_registered || self.drain.is_asked() {
            let Some(over) = &mut self.over else { return Poll::Ready(()) };
            if over.as_mut().poll(cx).is_ready() {
                self.over = None;
                return Poll::Ready(());
            }
        }
        Poll::Pending
    }
    /// Like the drain, even if the task has used up its budget: otherwise that would register nothing.
    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut unconstrained(self.timer.as_mut())).poll(cx)
    }
}
