//! The clock that interrupts hooks: a thread that advances the engine's epoch while there is a hook that it may have to
//! interrupt.
//!
//! An idle gateway has no use for ticks, and on a shared core each tick costs two context switches. So the clock runs
//! until the last deadline that was requested, and a while longer; then it waits. Its tick is a quarter of the shortest
//! time limit in use, so that each hook is interrupted within one and a half times its own limit; limits of less than 4
//! ms are exceeded by a tick or two. A hook that begins reads four numbers that hardly ever change.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::Thread;
use std::time::Duration;

/// The length of a tick. Time limits are rounded up to whole ticks.
pub const TICK: Duration = Duration::from_micros(500);

/// The epoch of one engine. Dropping it ends its thread.
pub(super) struct Epoch {
    shared: Arc<Shared>,
    thread: Thread,
}

struct Shared {
    /// Ticks so far. Only the clock's thread writes this.
    now: AtomicU64,
    /// The tick until which the clock runs.
    until: AtomicU64,
    /// How many ticks the clock advances at once.
    step: AtomicU64,
    /// How many ticks come next: the clock may have begun to sleep for them before the step became shorter.
    coming: AtomicU64,
    is_waiting: AtomicBool,
    is_stopped: AtomicBool,
}

impl Epoch {
    /// Starts the clock; `advance` moves the epoch by one.
    ///
    /// # Errors
    /// The system cannot create a thread.
    pub fn start(advance: impl Fn() + Send + 'static) -> std::io::Result<Epoch> {
        let shared = Arc::new(Shared {
            now: AtomicU64::new(0),
            until: AtomicU64::new(0),
            step: AtomicU64::new(LONGEST),
            coming: AtomicU64::new(LONGEST),
            is_waiting: AtomicBool::new(false),
            is_stopped: AtomicBool::new(false),
        });
        let clock = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("plugin-clock".into()).spawn(move || clock.run(advance))?;
        Ok(Epoch { shared, thread: thread.thread().clone() })
    }

    /// Keeps the clock running for the next `ticks`, in steps of at most a quarter of them. Returns the deadline, in
    /// ticks from now, that gives a hook at least `ticks`, however soon the next step comes.
    #[inline]
    pub fn deadline(&self, ticks: u64) -> u64 {
        let step = self.shared.step.load(Ordering::Relaxed);
        if step > SHORTEST && step > ticks / 4 {
            self.shared.step.fetch_min((ticks / 4).max(SHORTEST), Ordering::Relaxed);
        }
        let deadline = ticks.saturating_add(self.shared.coming.load(Ordering::Relaxed));
        self.run_for(deadline);
        deadline
    }

    /// Keeps the clock running for the next `ticks`. To be called whenever a deadline is set, and when a guest
    /// continues after a wait.
    #[inline]
    pub fn run_for(&self, ticks: u64) {
        let until = self.shared.now.load(Ordering::Relaxed).saturating_add(ticks);
        // With some margin: the epoch may advance before the deadline is set.
        if self.shared.until.load(Ordering::Relaxed) <= until.saturating_add(LINGER / 2) {
            self.prolong(until);
        }
    }

    #[cold]
    fn prolong(&self, until: u64) {
        // Here and in `wait`, each side stores before it reads what the other side stored, in sequentially consistent
        // order: either the clock sees the new end, or this sees that the clock is waiting.
        self.shared.until.fetch_max(until.saturating_add(LINGER), Ordering::SeqCst);
        if self.shared.is_waiting.load(Ordering::SeqCst) {
            self.thread.unpark();
        }
    }

    /// Whether the clock is stopped.
    #[cfg(test)]
    fn is_waiting(&self) -> bool {
        self.shared.is_waiting.load(Ordering::SeqCst)
    }
}

impl Drop for Epoch {
    fn drop(&mut self) {
        self.shared.is_stopped.store(true, Ordering::SeqCst);
        self.thread.unpark();
    }
}

impl Shared {
    fn run(&self, advance: impl Fn()) {
        let mut now = 0;
        while !self.is_stopped.load(Ordering::Relaxed) {
            if self.until.load(Ordering::Relaxed) <= now {
                self.wait(now);
                continue;
            }
            let step = self.step.load(Ordering::Relaxed);
            self.coming.store(step, Ordering::Relaxed);
            std::thread::sleep(TICK.saturating_mul(u32::try_from(step).unwrap_or(u32::MAX)));
            now += step;
            self.now.store(now, Ordering::Relaxed);
            (0..step).for_each(|_| advance());
        }
    }

    fn wait(&self, now: u64) {
        self.step.store(LONGEST, Ordering::Relaxed);
        self.coming.store(LONGEST, Ordering::Relaxed);
        self.is_waiting.store(true, Ordering::SeqCst);
        while self.until.load(Ordering::SeqCst) <= now && !self.is_stopped.load(Ordering::SeqCst) {
            std::thread::park();
        }
        self.is_waiting.store(false, Ordering::SeqCst);
    }
}

/// How many ticks the clock runs on after the last deadline: one second. Hooks extend it once half of that is left.
const LINGER: u64 = 2000;

/// The longest step, a quarter of the default time of a hook; below it the shortest.
const LONGEST: u64 = 5;
const SHORTEST: u64 = 2;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn the_clock_runs_as_long_as_it_is_asked_to_and_starts_again() {
        let (send, ticks) = mpsc::channel();
        let epoch = Epoch::start(move || send.send(()).unwrap()).unwrap();
        for round in 1..=2 {
            epoch.run_for(20);
            for _ in 0..LINGER + 20 {
                ticks.recv_timeout(Duration::from_secs(60)).unwrap();
            }
            while !epoch.is_waiting() {
                std::thread::yield_now();
            }
            assert!(ticks.try_iter().count() < 5, "round {round}: it stands still at the end of its step");
        }
    }

    #[test]
    fn a_running_clock_is_asked_for_more_only_when_its_end_is_near() {
        let (send, ticks) = mpsc::channel();
        // The clock is held in its first step: otherwise its end might be near if the test itself is held up.
        let (_go, gone) = mpsc::channel::<()>();
        let epoch = Epoch::start(move || {
            send.send(()).unwrap_or_default();
            gone.recv().unwrap_or_default();
        });
        let epoch = epoch.unwrap();
        epoch.run_for(5);
        ticks.recv_timeout(Duration::from_secs(60)).unwrap();
        let until = || epoch.shared.until.load(Ordering::SeqCst);
        let before = until();
        epoch.run_for(5);
        assert_eq!(until(), before);
        epoch.run_for(2 * LINGER);
        assert!(until() > before);
    }

    #[test]
    fn steps_are_a_quarter_of_the_shortest_time_and_a_deadline_has_room_for_one() {
        let (go, gone) = mpsc::channel::<()>();
        let (enter, entered) = mpsc::channel();
        let epoch = Epoch::start(move || {
            enter.send(()).unwrap_or_default();
            gone.recv().unwrap_or_default();
        });
        let epoch = epoch.unwrap();
        while !epoch.is_waiting() {
            std::thread::yield_now();
        }
        // The clock is held in its first step, which has the length that steps had when it began.
        epoch.run_for(1);
        entered.recv_timeout(Duration::from_secs(60)).unwrap();
        for (ticks, deadline, step) in
            [(20, 25, 5), (10_000, 10_005, 5), (19, 24, 4), (20, 25, 4), (1, 6, 2), (1, 6, 2)]
        {
            assert_eq!(epoch.deadline(ticks), deadline, "{ticks}");
            assert_eq!(epoch.shared.step.load(Ordering::Relaxed), step, "{ticks}");
        }
        drop(go);
        while epoch.deadline(1) != 3 {
            std::thread::yield_now();
        }
    }

    #[test]
    fn dropped_the_clock_ends() {
        let (send, ticks) = mpsc::channel::<()>();
        drop(Epoch::start(move || send.send(()).unwrap()).unwrap());
        assert_eq!(ticks.recv_timeout(Duration::from_secs(60)), Err(mpsc::RecvTimeoutError::Disconnected));
    }
}
