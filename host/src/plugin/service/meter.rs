//! Measures the CPU time of a guest.
//!
//! Neither waiting nor time in which the core ran something else counts, so it sums the thread's CPU time from the beginning to
//! the end of each poll.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use crate::plugin::engine::Engine;
use crate::plugin::state::processor_time;

/// The processor time of one guest. Only its own thread reads and writes it; the atomics only satisfy the type system.
pub(super) struct Meter {
    limit_us: u64,
    used_us: AtomicU64,
    /// The thread's time at the start of the current poll.
    began_us: AtomicU64,
}

impl Meter {
    pub fn new(limit: Duration) -> Meter {
        Meter { limit_us: micros(limit), used_us: AtomicU64::new(0), began_us: AtomicU64::new(0) }
    }

    /// Whether the guest has used up its time. To be called while it runs.
    pub fn is_over(&self) -> bool {
        let running = micros(processor_time()).saturating_sub(self.began_us.load(Ordering::Relaxed));
        self.used_us.load(Ordering::Relaxed).saturating_add(running) > self.limit_us
    }

    /// Does work that does not count for the guest, although it happens while the guest is polled.
    pub fn pause<T>(&self, work: impl FnOnce() -> T) -> T {
        let began_us = micros(processor_time());
        let done = work();
        self.began_us.fetch_add(micros(processor_time()).saturating_sub(began_us), Ordering::Relaxed);
        done
    }

    fn begin(&self) {
        self.began_us.store(micros(processor_time()), Ordering::Relaxed);
    }

    fn end(&self) {
        let running = micros(processor_time()).saturating_sub(self.began_us.load(Ordering::Relaxed));
        self.used_us.fetch_add(running, Ordering::Relaxed);
    }
}

/// A guest whose polls are timed.
pub(super) struct Metered<F> {
    guest: Pin<Box<F>>,
    meter: Arc<Meter>,
    engine: Engine,
}

impl<F: Future> Metered<F> {
    pub fn new(guest: F, meter: Arc<Meter>, engine: Engine) -> Metered<F> {
        Metered { guest: Box::pin(guest), meter, engine }
    }
}

impl<F: Future> Future for Metered<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        // The clock may have stopped while the guest waited. Its steps are short, and at each of them other tasks have
        // a turn.
        self.engine.epoch().deadline(TICKS);
        self.meter.begin();
        let polled = self.guest.as_mut().poll(context);
        self.meter.end();
        polled
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// For how many ticks the clock runs each time a guest continues. The guest keeps the core for a quarter of that.
const TICKS: u64 = 8;
