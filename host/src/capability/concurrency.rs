//! `concurrency`: how many exchanges are in flight at once, by key, exact across all cores.
//!
//! A place is a value owned by its exchange. It is given back when dropped, and an exchange is dropped however it ends:
//! with its last byte, with a client that disconnects, with an upstream that breaks off, with a plugin that traps. So
//! nothing can leak, and a key without places takes no memory: there are never more keys than exchanges.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The places of one plugin configuration.
pub struct Places {
    shards: [Mutex<HashMap<u128, u32>>; SHARDS],
    seeds: [RandomState; 2],
}

/// One place, until it is dropped.
pub struct Place {
    places: Arc<Places>,
    print: u128,
}

/// The result of an `enter`.
#[derive(Debug)]
pub struct Outcome {
    /// `None` if all were taken.
    pub place: Option<Place>,
    /// How many are taken under the key, including this one.
    pub taken: u32,
}

impl Places {
    /// Takes one of `limit` places under `key`. If several threads try at once, exactly as many get one as are free.
    pub fn enter(self: &Arc<Self>, key: &str, limit: u32) -> Outcome {
        // As in `rate_limit`: no key is kept in memory, and nobody outside can aim for a collision.
        let [high, low] = self.seeds.each_ref().map(|seed| u128::from(seed.hash_one(key)));
        let print = high << 64 | low;
        let mut shard = self.shard(print);
        let taken = shard.get(&print).copied().unwrap_or(0);
        if taken >= limit {
            return Outcome { place: None, taken };
        }
        let taken = taken.saturating_add(1);
        shard.insert(print, taken);
        drop(shard);
        Outcome { place: Some(Place { places: self.clone(), print }), taken }
    }

    fn leave(&self, print: u128) {
        if let Entry::Occupied(mut taken) = self.shard(print).entry(print) {
            match taken.get().checked_sub(1) {
                Some(left) if left > 0 => *taken.get_mut() = left,
                _ => drop(taken.remove()),
            }
        }
    }

    fn shard(&self, print: u128) -> MutexGuard<'_, HashMap<u128, u32>> {
        // The number of shards is a power of two.
        self.shards[print as usize & (SHARDS - 1)].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Places {
    fn default() -> Places {
        Places { shards: Default::default(), seeds: [RandomState::new(), RandomState::new()] }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.leave(self.print);
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Place").finish_non_exhaustive()
    }
}

const SHARDS: usize = 16;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn places_come_back_when_they_are_dropped() {
        let places = Arc::new(Places::default());
        let first = places.enter("k", 2);
        let second = places.enter("k", 2);
        assert_eq!((first.taken, second.taken), (1, 2));
        let refused = places.enter("k", 2);
        assert!(refused.place.is_none() && refused.taken == 2);
        assert!(places.enter("other", 1).place.is_some());
        drop(first);
        assert!(places.enter("k", 2).place.is_some());
        assert!(places.enter("k", 0).place.is_none());
        drop(second);
        let left: usize = places.shards.iter().map(|shard| shard.lock().unwrap().len()).sum();
        assert_eq!(left, 0, "what nobody holds takes no memory");
    }

    #[test]
    fn of_many_threads_never_more_than_the_limit_are_in() {
        let places = Arc::new(Places::default());
        let most = std::sync::atomic::AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..5_000 {
                        let outcome = places.enter("k", 3);
                        assert!(outcome.taken <= 3);
                        most.fetch_max(outcome.taken, std::sync::atomic::Ordering::Relaxed);
                    }
                });
            }
        });
        assert!(most.into_inner() >= 1);
        assert_eq!(places.enter("k", 3).taken, 1, "all came back");
    }
}
