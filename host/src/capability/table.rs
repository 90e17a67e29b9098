//! A bounded table of counts, found by a keyed hash of the key.
//!
//! The key itself is not kept: an entry costs less than 100 bytes whatever a client sends as its key, and no address or
//! API key is kept in memory. An entry has a time after which it is equivalent to no entry; then its slot is reused
//! before the table grows, and a full table evicts, among a few, the entry whose time is nearest.
//!
//! One short lock per shard, not one atomic per key: finding an entry in a shared map needs the lock anyway.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher, BuildHasherDefault, Hash, Hasher, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A table in shards with a lock each.
pub(super) struct Tables<T> {
    shards: Box<[Mutex<Table<T>>]>,
    seeds: [RandomState; 2],
}

impl<T: Copy> Tables<T> {
    pub(super) fn new(max_entries: usize) -> Tables<T> {
        let shards = (max_entries / ENTRIES_PER_SHARD).clamp(1, MAX_SHARDS).next_power_of_two();
        let most = (max_entries / shards).max(1);
        Tables {
            shards: (0..shards).map(|_| Mutex::new(Table::new(most))).collect(),
            seeds: [RandomState::new(), RandomState::new()],
        }
    }

    /// The hash is seeded, so nobody outside can aim for a collision.
    pub(super) fn print(&self, key: &impl Hash) -> Print {
        self.print_beside(key, key)
    }

    /// The same in the shard of another key, so that both are under one lock.
    pub(super) fn print_beside(&self, other: &impl Hash, key: &impl Hash) -> Print {
        let [shard, place] = &self.seeds;
        Print { shard: shard.hash_one(other), place: place.hash_one(key) }
    }

    /// The shard of a key, locked.
    pub(super) fn of(&self, print: Print) -> MutexGuard<'_, Table<T>> {
        // The number of shards is a power of two.
        let at = print.shard as usize & (self.shards.len() - 1);
        self.shards[at].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Removes every entry.
    pub(super) fn clear(&self) {
        for shard in &self.shards {
            let mut table = shard.lock().unwrap_or_else(PoisonError::into_inner);
            table.index.clear();
            table.entries.clear();
            table.hand = 0;
        }
    }

    /// The number of entries, including those whose slot can be reused.
    pub(super) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().unwrap_or_else(PoisonError::into_inner).entries.len()).sum()
    }
}

/// One shard.
pub(super) struct Table<T> {
    index: HashMap<Print, u32, BuildHasherDefault<Identity>>,
    entries: Vec<Entry<T>>,
    most: usize,
    /// Where the search for a reusable slot continues.
    hand: usize,
}

#[derive(Clone, Copy)]
struct Entry<T> {
    print: Print,
    gone_at_ms: u64,
    value: T,
}

impl<T: Copy> Table<T> {
    fn new(most: usize) -> Table<T> {
        Table { index: HashMap::default(), entries: Vec::new(), most, hand: 0 }
    }

    /// The position of the entry, for the other two functions.
    pub(super) fn find(&self, print: Print) -> Option<u32> {
        self.index.get(&print).copied()
    }

    /// The time from which the entry is insignificant, and its value until then.
    pub(super) fn get(&self, known: Option<u32>) -> Option<(u64, T)> {
        self.entries.get(known? as usize).map(|entry| (entry.gone_at_ms, entry.value))
    }

    /// Returns false if a significant entry had to be evicted. `known` is what `find` has just returned.
    pub(super) fn put(&mut self, print: Print, known: Option<u32>, gone_at_ms: u64, value: T, now_ms: u64) -> bool {
        let entry = Entry { print, gone_at_ms, value };
        if let Some(place) = known.and_then(|at| self.entries.get_mut(at as usize)) {
            *place = entry;
            return true;
        }
        let is_full = self.entries.len() >= self.most;
        let looks = if is_full { LOOKS_WHEN_FULL } else { LOOKS_BEFORE_GROWING };
        let mut victim: Option<usize> = None;
        for _ in 0..looks.min(self.entries.len()) {
            self.hand = (self.hand + 1) % self.entries.len();
            if victim.is_none_or(|victim| self.entries[self.hand].gone_at_ms < self.entries[victim].gone_at_ms) {
                victim = Some(self.hand);
            }
            if self.entries[self.hand].gone_at_ms <= now_ms {
                break;
            }
        }
        match victim {
            Some(at) if is_full || self.entries[at].gone_at_ms <= now_ms => {
                let old = std::mem::replace(&mut self.entries[at], entry);
                self.index.remove(&old.print);
                self.index.insert(print, at as u32);
                old.gone_at_ms <= now_ms
            }
            _ => {
                self.index.insert(print, self.entries.len() as u32);
                self.entries.push(entry);
                true
            }
        }
    }
}

/// A keyed hash: one half selects the shard, the other the slot in its map, and both are compared.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Print {
    pub(super) shard: u64,
    pub(super) place: u64,
}

impl fmt::Display for Print {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}{:016x}", self.shard, self.place)
    }
}

impl Hash for Print {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        hasher.write_u64(self.place);
    }
}

/// The map's hasher: a print is random already.
#[derive(Default)]
struct Identity(u64);

impl Hasher for Identity {
    fn write(&mut self, _: &[u8]) {}
    fn write_u64(&mut self, half: u64) {
        self.0 = half;
    }
    fn finish(&self) -> u64 {
        self.0
    }
}

const MAX_SHARDS: usize = 64;
const ENTRIES_PER_SHARD: usize = 64;
/// More than one per new entry, so that a flood of one-time keys does not make the table grow for ever.
const LOOKS_BEFORE_GROWING: usize = 2;
const LOOKS_WHEN_FULL: usize = 16;
