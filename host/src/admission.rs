//! Concurrency limits of routes: how many requests may be in flight, and which wait for a slot.
//!
//! One count for all cores, exact: a request takes a slot before any plugin runs and keeps it until its exchange is
//! over, in whatever way. When all slots are taken, a bounded number of requests waits for a bounded time, first come,
//! first served; all others are told at once to come back later, which costs next to nothing and keeps admitted
//! requests fast. Routes without a limit never get here.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The limits of one route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Requests at a time, over all cores.
    pub requests: usize,
    /// Requests that may wait.
    pub queue: usize,
    /// How long each of them may wait.
    pub queue_timeout: Duration,
    /// How long a refused client is told to wait.
    pub retry_after: Duration,
}

/// The places of one route.
pub struct Admission {
    settings: Settings,
    places: Arc<Semaphore>,
    waiting: AtomicUsize,
    shed: AtomicU64,
}

/// A slot. When it is dropped, the next request gets it.
pub struct Admitted {
    _place: OwnedSemaphorePermit,
}

/// All slots are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shed {
    pub retry_after: Duration,
    /// The limit of requests.
    pub requests: usize,
}

impl Admission {
    pub fn new(settings: Settings) -> Admission {
        let requests = settings.requests.clamp(1, Semaphore::MAX_PERMITS);
        let places = Arc::new(Semaphore::new(requests));
        Admission { settings, places, waiting: AtomicUsize::new(0), shed: AtomicU64::new(0) }
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Takes a slot, possibly after a wait.
    ///
    /// # Errors
    /// No slot is free, and none became free while this request could wait.
    pub async fn admit(&self) -> Result<Admitted, Shed> {
        if let Ok(place) = Arc::clone(&self.places).try_acquire_owned() {
            return Ok(Admitted { _place: place });
        }
        let waited = match self.join_queue() {
            Some(_waiting) => {
                let place = Arc::clone(&self.places).acquire_owned();
                // The semaphore is never closed.
                tokio::time::timeout(self.settings.queue_timeout, place).await.ok().and_then(Result::ok)
            }
            None => None,
        };
        match waited {
            Some(place) => Ok(Admitted { _place: place }),
            None => {
                self.shed.fetch_add(1, Relaxed);
                Err(Shed { retry_after: self.settings.retry_after, requests: self.settings.requests })
            }
        }
    }

    /// Requests being served.
    pub fn active(&self) -> usize {
        self.settings.requests.saturating_sub(self.places.available_permits())
    }

    /// Requests waiting.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Relaxed)
    }

    /// Requests refused so far.
    pub fn shed(&self) -> u64 {
        self.shed.load(Relaxed)
    }

    fn join_queue(&self) -> Option<Waiting<'_>> {
        let join = |waiting: usize| (waiting < self.settings.queue).then_some(waiting.saturating_add(1));
        self.waiting.try_update(Relaxed, Relaxed, join).ok()?;
        Some(Waiting(&self.waiting))
    }
}

impl std::fmt::Debug for Admission {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Admission").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// A request's place in the queue.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn admission(requests: usize, queue: usize) -> Arc<Admission> {
        let (queue_timeout, retry_after) = (Duration::from_secs(5), Duration::from_secs(2));
        Arc::new(Admission::new(Settings { requests, queue, queue_timeout, retry_after }))
    }

    #[tokio::test]
    async fn what_is_over_the_limit_is_turned_away_at_once() {
        let admission = admission(2, 0);
        let first = admission.admit().await.unwrap();
        let _second = admission.admit().await.unwrap();
        let shed = admission.admit().await.map(|_| ()).unwrap_err();
        assert_eq!(shed, Shed { retry_after: Duration::from_secs(2), requests: 2 });
        drop(first);
        let _third = admission.admit().await.unwrap();
        assert_eq!((admission.active(), admission.shed()), (2, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_queue_is_first_come_first_served_and_bounded_in_length_and_time() {
        let admission = admission(1, 2);
        let first = admission.admit().await.unwrap();
        let (told, mut order) = tokio::sync::mpsc::unbounded_channel();
        let mut tasks = Vec::new();
        for name in ["a", "b"] {
            let (queue, told) = (admission.clone(), told.clone());
            tasks.push(tokio::spawn(async move {
                let place = queue.admit().await;
                told.send((name, place.is_ok())).unwrap();
                std::future::pending::<()>().await;
                drop(place);
            }));
            while admission.waiting() < tasks.len() {
                tokio::task::yield_now().await;
            }
        }
        assert!(admission.admit().await.is_err(), "the queue is full");
        drop(first);
        assert_eq!(order.recv().await, Some(("a", true)));
        let started = tokio::time::Instant::now();
        assert_eq!(order.recv().await, Some(("b", false)), "nobody makes room in time");
        assert!(started.elapsed() <= Duration::from_secs(5));
        // When an admitted client leaves, its slot is free again.
        tasks[0].abort();
        let _next = admission.admit().await.unwrap();
        assert_eq!((admission.waiting(), admission.shed()), (0, 2));
    }

    #[test]
    fn the_count_is_exact_over_cores() {
        let admission = admission(7, 0);
        let most = Arc::new(AtomicUsize::new(0));
        let now = Arc::new(AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                let (admission, most, now) = (admission.clone(), most.clone(), now.clone());
                scope.spawn(move || {
                    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
                    runtime.block_on(async {
                        let mut held = Vec::new();
                        for turn in 0..20_000 {
                            if turn % 3 == 2 {
                                now.fetch_sub(held.len(), Relaxed);
                                held.clear();
                            } else if let Ok(place) = admission.admit().await {
                                most.fetch_max(now.fetch_add(1, Relaxed) + 1, Relaxed);
                                held.push(place);
                            }
                        }
                        now.fetch_sub(held.len(), Relaxed);
                    });
                });
            }
        });
        assert!(most.load(Relaxed) <= 7, "{most:?}");
        assert_eq!((admission.active(), now.load(Relaxed)), (0, 0));
    }
}
