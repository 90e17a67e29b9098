//! Request collapsing: one fetch per key at a time; the first request fetches, and the others wait for the result.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::Cache;

/// The fetches in progress. There are never more than requests.
#[derive(Default)]
pub(super) struct Flights {
    shards: [Mutex<Shard>; SHARDS],
    seed: RandomState,
}

type Shard = HashMap<Arc<str>, Arc<Flight>>;

struct Flight {
    end: watch::Sender<Option<End>>,
    /// The key was purged during the fetch, so the response must not be stored.
    is_doomed: AtomicBool,
}

/// How a fetch ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The response is stored, or known not to be storable.
    Answered,
    /// It failed, or its client left.
    Abandoned,
}

/// The right to fetch, or a fetch to wait for.
pub enum Joined {
    Mine(Ticket),
    Others(Waiting),
}

/// Another request's fetch.
pub struct Waiting(watch::Receiver<Option<End>>);

/// The right to fetch the response for one key. When dropped, it passes to the next request.
pub struct Ticket {
    cache: Arc<Cache>,
    key: Arc<str>,
    flight: Arc<Flight>,
    end: End,
}

impl Flights {
    pub fn join(&self, cache: &Arc<Cache>, key: &str) -> Joined {
        let mut shard = self.shard(key);
        if let Some(flight) = shard.get(key) {
            return Joined::Others(Waiting(flight.end.subscribe()));
        }
        let flight = Arc::new(Flight { end: watch::Sender::new(None), is_doomed: AtomicBool::new(false) });
        let key: Arc<str> = key.into();
        shard.insert(key.clone(), flight.clone());
        Joined::Mine(Ticket { cache: cache.clone(), key, flight, end: End::Abandoned })
    }

    /// The responses of these fetches must not be stored.
    pub fn doom(&self, which: impl Fn(&str) -> bool) {
        for shard in &self.shards {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            for (_, flight) in shard.iter().filter(|(key, _)| which(key)) {
                flight.is_doomed.store(true, Ordering::SeqCst);
            }
        }
    }

    /// The same for one key.
    pub fn doom_one(&self, key: &str) {
        if let Some(flight) = self.shard(key).get(key) {
            flight.is_doomed.store(true, Ordering::SeqCst);
        }
    }

    fn shard(&self, key: &str) -> MutexGuard<'_, Shard> {
        let at = self.seed.hash_one(key) as usize % SHARDS;
        self.shards[at].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    pub async fn end(mut self) -> End {
        match self.0.wait_for(Option::is_some).await {
            Ok(end) => end.unwrap_or(End::Abandoned),
            Err(_) => End::Abandoned,
        }
    }
}

impl Ticket {
    pub(super) fn key(&self) -> &Arc<str> {
        &self.key
    }

    pub(super) fn is_doomed(&self) -> bool {
        self.flight.is_doomed.load(Ordering::SeqCst)
    }

    /// Wakes the waiting requests: the response is known.
    pub(super) fn answered(mut self) {
        self.end = End::Answered;
    }

    pub fn cache(&self) -> &Arc<Cache> {
        &self.cache
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.cache.flights.shard(&self.key).remove(&self.key);
        self.flight.end.send_replace(Some(self.end));
    }
}

const SHARDS: usize = 16;
