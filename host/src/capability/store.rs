//! `shared-store`: memory that all instances of a plugin share, across cores and reloads.
//!
//! One store belongs to one plugin name. [`Stores`] hands it out and holds it weakly: it lives as long as some snapshot
//! uses it, and it survives a reload because the new snapshot asks for it before the old one is dropped.
//!
//! Keys are spread over shards with a lock each, held for the length of one map operation and never while a value is
//! copied in or out. So every operation on one key is atomic, and a version only grows, even if a key is removed and
//! created again: compare-and-set has no ABA problem.
//!
//! A full store refuses writes and does not evict: a lock, a counter or a one-time token that vanishes silently is
//! worse than an error that the plugin sees. Expired entries are removed when they are accessed, and each write removes
//! a few more, in the order of expiry.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use bytes::Bytes;

/// The entries of one plugin.
pub struct Store {
    limits: Limits,
    shards: [Mutex<Shard>; SHARDS],
    seed: RandomState,
    /// Bytes and entries in all shards together.
    used_bytes: AtomicUsize,
    used_entries: AtomicUsize,
}

/// The limits of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Keys, values and [`ENTRY_OVERHEAD_BYTES`] for each entry. Default 16 MiB.
    pub bytes: usize,
    /// Default 65,536.
    pub entries: usize,
    /// Default 1 KiB.
    pub key_bytes: usize,
    /// Default 1 MiB.
    pub value_bytes: usize,
}

/// A value and the version with which it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub value: Bytes,
    pub version: u64,
}

/// Why a write was refused. Nothing was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreError {
    /// The key or the value is too long, the store is full, or a sum leaves the range of an `i64`.
    LimitExceeded,
    /// `increment` on a value that is not an integer in decimal ASCII.
    NotANumber,
}

/// Why a compare-and-set did not write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SwapError {
    /// The version differs; this is the current entry, if there is one.
    Conflict(Option<Entry>),
    Store(StoreError),
}

impl Store {
    pub fn new(limits: Limits) -> Store {
        Store {
            limits,
            shards: std::array::from_fn(|_| Mutex::default()),
            seed: RandomState::new(),
            used_bytes: AtomicUsize::new(0),
            used_entries: AtomicUsize::new(0),
        }
    }

    /// The entry of `key`, unless it is absent or has expired. The value is shared, not copied.
    pub fn get(&self, key: &str, now_ms: u64) -> Option<Entry> {
        self.live(key, now_ms).entries.get(key).map(Slot::entry)
    }

    /// Writes and returns the new version. Without `ttl_ms` the entry stays until it is removed, even if it had an
    /// expiry before; with a `ttl_ms` of 0 it expires at once.
    pub fn set(&self, key: &str, value: &[u8], ttl_ms: Option<u32>, now_ms: u64) -> Result<u64, StoreError> {
        let value = self.prepare(key, value, now_ms)?;
        let mut shard = self.live(key, now_ms);
        self.put(&mut shard, key, value, end(ttl_ms, now_ms))
    }

    /// Writes only if the version is still `expected` (`None`: if there is no entry), otherwise as [`Store::set`].
    pub fn compare_and_set(
        &self,
        key: &str,
        expected: Option<u64>,
        value: &[u8],
        ttl_ms: Option<u32>,
        now_ms: u64,
    ) -> Result<u64, SwapError> {
        let value = self.prepare(key, value, now_ms).map_err(SwapError::Store)?;
        let mut shard = self.live(key, now_ms);
        let current = shard.entries.get(key);
        if current.map(|slot| slot.version) != expected {
            return Err(SwapError::Conflict(current.map(Slot::entry)));
        }
        self.put(&mut shard, key, value, end(ttl_ms, now_ms)).map_err(SwapError::Store)
    }

    /// Whether there was an entry to remove.
    pub fn remove(&self, key: &str, now_ms: u64) -> bool {
        let mut shard = self.live(key, now_ms);
        self.take_out(&mut shard, key)
    }

    /// Adds `delta` and returns the sum. A missing key counts as 0; `ttl_ms` only applies if the key is created here,
    /// an existing entry keeps its expiry. [`Store::get`] returns the value as decimal ASCII.
    pub fn increment(&self, key: &str, delta: i64, ttl_ms: Option<u32>, now_ms: u64) -> Result<i64, StoreError> {
        self.check(key, 0)?;
        self.make_room(key.len() + NUMBER_BYTES, now_ms);
        let mut shard = self.live(key, now_ms);
        let (number, ends_ms) = match shard.entries.get(key) {
            Some(slot) => (slot.value.number().ok_or(StoreError::NotANumber)?, slot.end.map(|(end_ms, _)| end_ms)),
            None => (0, end(ttl_ms, now_ms)),
        };
        let sum = number.checked_add(delta).ok_or(StoreError::LimitExceeded)?;
        self.put(&mut shard, key, Value::Number(sum), ends_ms)?;
        Ok(sum)
    }

    /// Removes every entry. Versions continue to grow.
    pub fn clear(&self) {
        for shard in &self.shards {
            let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            while let Some(key) = shard.entries.keys().next().cloned() {
                self.take_out(&mut shard, &key);
            }
        }
    }

    /// Bytes in use, counted as in [`Limits::bytes`].
    pub fn used_bytes(&self) -> usize {
        self.used_bytes.load(Ordering::Relaxed)
    }

    /// The number of entries, including expired ones that were not removed yet.
    pub fn len(&self) -> usize {
        self.used_entries.load(Ordering::Relaxed)
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The part of a write that needs no lock: sizes, the copy of the value, and a reservation of room for it.
    fn prepare(&self, key: &str, value: &[u8], now_ms: u64) -> Result<Value, StoreError> {
        self.check(key, value.len())?;
        self.make_room(key.len() + value.len(), now_ms);
        Ok(Value::Text(Bytes::copy_from_slice(value)))
    }

    fn check(&self, key: &str, value_bytes: usize) -> Result<(), StoreError> {
        let fits = key.len() <= self.limits.key_bytes && value_bytes <= self.limits.value_bytes;
        fits.then_some(()).ok_or(StoreError::LimitExceeded)
    }

    /// The shard of `key`, after removing `key` itself if it has expired, and a few other expired entries.
    fn live(&self, key: &str, now_ms: u64) -> MutexGuard<'_, Shard> {
        let at = self.seed.hash_one(key) as usize % SHARDS;
        let mut shard = self.shards[at].lock().unwrap_or_else(PoisonError::into_inner);
        if shard.entries.get(key).is_some_and(|slot| slot.end.is_some_and(|(end_ms, _)| end_ms <= now_ms)) {
            self.take_out(&mut shard, key);
        }
        self.sweep(&mut shard, SWEPT_PER_CALL, now_ms);
        shard
    }

    /// Before a write into a store that looks full: removes expired entries from every shard.
    fn make_room(&self, bytes: usize, now_ms: u64) {
        let bytes = self.used_bytes() + bytes + ENTRY_OVERHEAD_BYTES;
        if bytes > self.limits.bytes || self.len() >= self.limits.entries {
            for shard in &self.shards {
                let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
                self.sweep(&mut shard, SWEPT_WHEN_FULL, now_ms);
            }
        }
    }

    fn sweep(&self, shard: &mut Shard, at_most: usize, now_ms: u64) {
        for _ in 0..at_most {
            match shard.ends.first_key_value() {
                Some((&(end_ms, _), key)) if end_ms <= now_ms => {
                    let key = Arc::clone(key);
                    self.take_out(shard, &key);
                }
                _ => return,
            }
        }
    }

    fn put(&self, shard: &mut Shard, key: &str, value: Value, ends_ms: Option<u64>) -> Result<u64, StoreError> {
        let old = shard.entries.get(key).map(|slot| slot.value.bytes());
        let is_new = old.is_none();
        let grows = value.bytes() + if is_new { key.len() + ENTRY_OVERHEAD_BYTES } else { 0 };
        if !reserve(&self.used_bytes, grows, old.unwrap_or(0), self.limits.bytes) {
            return Err(StoreError::LimitExceeded);
        }
        if is_new && !reserve(&self.used_entries, 1, 0, self.limits.entries) {
            self.used_bytes.fetch_sub(grows, Ordering::Relaxed);
            return Err(StoreError::LimitExceeded);
        }
        shard.last_version += 1;
        let version = shard.last_version;
        let end = ends_ms.map(|end_ms| (end_ms, version));
        let name = match shard.entries.get_mut(key) {
            Some(slot) => {
                (slot.value, slot.version) = (value, version);
                // A counter keeps its expiry through every increment, and so its place in the order of expiry.
                if slot.end.map(|(end_ms, _)| end_ms) == ends_ms {
                    return Ok(version);
                }
                if let Some(end) = std::mem::replace(&mut slot.end, end) {
                    shard.ends.remove(&end);
                }
                Arc::clone(&slot.key)
            }
            None => {
                let key: Arc<str> = key.into();
                shard.entries.insert(Arc::clone(&key), Slot { key: Arc::clone(&key), value, version, end });
                key
            }
        };
        if let Some(end) = end {
            shard.ends.insert(end, name);
        }
        Ok(version)
    }

    fn take_out(&self, shard: &mut Shard, key: &str) -> bool {
        let Some(slot) = shard.entries.remove(key) else { return false };
        if let Some(end) = slot.end {
            shard.ends.remove(&end);
        }
        self.used_bytes.fetch_sub(slot.value.bytes() + key.len() + ENTRY_OVERHEAD_BYTES, Ordering::Relaxed);
        self.used_entries.fetch_sub(1, Ordering::Relaxed);
        true
    }
}

impl Default for Store {
    fn default() -> Store {
        Store::new(Limits::default())
    }
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { bytes: 16 << 20, entries: 65_536, key_bytes: 1 << 10, value_bytes: 1 << 20 }
    }
}

/// Every store in use, by name: that of a plugin, or of a store that the operator shares among plugins.
#[derive(Default)]
pub struct Stores {
    by_name: Mutex<HashMap<String, Weak<Store>>>,
}

impl Stores {
    /// The store of this name, created with `limits` if it is not in use. A store in use keeps its limits.
    pub fn named(&self, name: &str, limits: Limits) -> Arc<Store> {
        let mut stores = self.by_name.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(store) = stores.get(name).and_then(Weak::upgrade) {
            return store;
        }
        stores.retain(|_, store| store.strong_count() > 0);
        let store = Arc::new(Store::new(limits));
        stores.insert(name.to_owned(), Arc::downgrade(&store));
        store
    }
}

#[derive(Default)]
struct Shard {
    entries: HashMap<Arc<str>, Slot>,
    ends: BTreeMap<End, Arc<str>>,
    last_version: u64,
}

struct Slot {
    key: Arc<str>,
    value: Value,
    version: u64,
    end: Option<End>,
}

/// When an entry expires, and the version with which it got this expiry: versions are unique within a shard.
type End = (u64, u64);

impl Slot {
    fn entry(&self) -> Entry {
        let value = match &self.value {
            Value::Text(text) => text.clone(),
            Value::Number(number) => Bytes::copy_from_slice(itoa::Buffer::new().format(*number).as_bytes()),
        };
        Entry { value, version: self.version }
    }
}

/// A counter stays a number until it is read, so that an increment neither parses nor allocates.
enum Value {
    Text(Bytes),
    Number(i64),
}

impl Value {
    fn bytes(&self) -> usize {
        match self {
            Value::Text(text) => text.len(),
            Value::Number(_) => NUMBER_BYTES,
        }
    }

    /// Only the canonical form counts as a number: "7", but not "+7" or "007".
    fn number(&self) -> Option<i64> {
        match self {
            Value::Number(number) => Some(*number),
            Value::Text(text) => {
                let number = std::str::from_utf8(text).ok()?.parse::<i64>().ok()?;
                (itoa::Buffer::new().format(number).as_bytes() == text).then_some(number)
            }
        }
    }
}

fn end(ttl_ms: Option<u32>, now_ms: u64) -> Option<u64> {
    ttl_ms.map(|ttl_ms| now_ms.saturating_add(u64::from(ttl_ms)))
}

/// Reserves `grows` and releases `frees`, or changes nothing if the sum would exceed `limit`. A pure reduction is never
/// refused.
fn reserve(used: &AtomicUsize, grows: usize, frees: usize, limit: usize) -> bool {
    let next = |used: usize| {
        let next = used + grows - frees;
        (grows <= frees || next <= limit).then_some(next)
    };
    used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).is_ok()
}

/// The size of an entry besides its key and its value: slots in two maps and the headers of two allocations, rounded
/// up.
pub const ENTRY_OVERHEAD_BYTES: usize = 192;
/// A counter is counted as its longest text, so that it never has to grow.
const NUMBER_BYTES: usize = 20;

const SHARDS: usize = 32;
const SWEPT_PER_CALL: usize = 4;
const SWEPT_WHEN_FULL: usize = 64;

#[cfg(test)]
mod tests;
