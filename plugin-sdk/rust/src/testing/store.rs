//! The shared store: entries with versions and a time to live.

use std::{collections::BTreeMap, time::Duration};

use crate::shared_store::{Entry, StoreError, SwapError};

#[derive(Debug, Default)]
pub(crate) struct Store {
    entries: BTreeMap<String, Kept>,
    last_version: u64,
}

#[derive(Debug)]
struct Kept {
    entry: Entry,
    /// Expires at this moment.
    until: Option<Duration>,
}

impl Store {
    pub(crate) fn get(&self, key: &str, now: Duration) -> Option<Entry> {
        let kept = self.entries.get(key)?;
        kept.until.is_none_or(|until| now < until).then(|| kept.entry.clone())
    }

    pub(crate) fn set(&mut self, key: &str, value: &[u8], ttl: Option<Duration>, now: Duration) -> u64 {
        self.last_version += 1;
        let entry = Entry { value: value.to_vec(), version: self.last_version };
        self.entries.insert(key.to_owned(), Kept { entry, until: ttl.map(|ttl| now + ttl) });
        self.last_version
    }

    pub(crate) fn compare_and_set(
        &mut self,
        key: &str,
        expected: Option<u64>,
        value: &[u8],
        ttl: Option<Duration>,
        now: Duration,
    ) -> Result<u64, SwapError> {
        let found = self.get(key, now);
        if found.as_ref().map(|entry| entry.version) != expected {
            return Err(SwapError::Conflict(found));
        }
        Ok(self.set(key, value, ttl, now))
    }

    pub(crate) fn remove(&mut self, key: &str, now: Duration) -> bool {
        let there = self.get(key, now).is_some();
        self.entries.remove(key);
        there
    }

    pub(crate) fn increment(
        &mut self,
        key: &str,
        delta: i64,
        ttl: Option<Duration>,
        now: Duration,
    ) -> Result<i64, StoreError> {
        let found = self.get(key, now);
        let until = match &found {
            Some(_) => self.entries.get(key).and_then(|kept| kept.until),
            None => ttl.map(|ttl| now + ttl),
        };
        let number = match found {
            None => 0,
            Some(entry) => {
                let text = str::from_utf8(&entry.value).map_err(|_| StoreError::NotANumber)?;
                text.parse::<i64>().map_err(|_| StoreError::NotANumber)?
            }
        };
        let sum = number.checked_add(delta).ok_or(StoreError::LimitExceeded)?;
        self.set(key, sum.to_string().as_bytes(), until.map(|until| until - now), now);
        Ok(sum)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const START: Duration = Duration::ZERO;
    const LATER: Duration = Duration::from_secs(5);

    #[test]
    fn a_swap_needs_the_version_that_is_there() {
        let mut store = Store::default();
        let first = store.compare_and_set("k", None, b"a", None, START).unwrap();
        let Err(SwapError::Conflict(Some(found))) = store.compare_and_set("k", None, b"b", None, START) else {
            panic!("made twice")
        };
        assert_eq!((found.value.as_slice(), found.version), (b"a".as_slice(), first));
        let second = store.compare_and_set("k", Some(first), b"b", None, START).unwrap();
        assert!(second > first);
        assert!(store.compare_and_set("k", Some(first), b"c", None, START).is_err());
        assert!(store.remove("k", START) && !store.remove("k", START));
        assert_eq!(store.compare_and_set("k", Some(second), b"d", None, START), Err(SwapError::Conflict(None)));
    }

    #[test]
    fn entries_end_and_counters_keep_their_first_end() {
        let mut store = Store::default();
        store.set("k", b"a", Some(LATER), START);
        assert!(store.get("k", LATER - Duration::from_millis(1)).is_some());
        assert_eq!(store.get("k", LATER), None);
        assert_eq!(store.increment("n", 2, Some(LATER), START), Ok(2));
        assert_eq!(store.increment("n", -3, Some(LATER), Duration::from_secs(4)), Ok(-1));
        assert_eq!(store.increment("n", 7, None, LATER), Ok(7), "the counter began anew");
        store.set("n", b"x", None, LATER);
        assert_eq!(store.increment("n", 1, None, LATER), Err(StoreError::NotANumber));
    }
}
