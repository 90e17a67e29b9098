//! Tokens that were verified a short time ago, so that the next request with the same token costs a hash.
//!
//! A token is found by its SHA-256: no secret text is compared, so a lookup takes the same time for a near miss as for
//! any other, and the token itself is not kept. An entry is only valid for the generation of keys that verified it and
//! within the token's own time. The rules cannot change under it, since the cache belongs to one key set.
//!
//! The cache is a small table of sets of eight entries with a lock each: constant work, no allocation but the claims,
//! and no list to keep in order. A full set evicts the entry that was not used for the longest time.

use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::digest;

use super::verify::Validity;

/// Verified tokens of one key set, at most [`MAX_CACHED_TOKENS`].
pub(super) struct Cache {
    sets: Box<[Mutex<Set>]>,
}

/// The SHA-256 of a token.
pub(super) type Digest = [u8; 32];

impl Cache {
    pub(super) fn new() -> Cache {
        Cache { sets: (0..MAX_CACHED_TOKENS / WAYS).map(|_| Mutex::default()).collect() }
    }

    /// `None` for tokens too long to be worth keeping.
    pub(super) fn digest(token: &str) -> Option<Digest> {
        let is_short = token.len() <= MAX_CACHED_TOKEN_BYTES;
        is_short.then(|| digest::digest(&digest::SHA256, token.as_bytes()).as_ref().try_into().ok()).flatten()
    }

    /// The claims of a token that was verified by the keys of this generation.
    pub(super) fn claims(&self, digest: &Digest, generation: u64, now_s: u64) -> Option<Arc<str>> {
        let mut set = self.set(digest)?.lock().unwrap_or_else(PoisonError::into_inner);
        let used = set.tick();
        let entry = set.places.iter_mut().flatten().find(|entry| entry.digest == *digest)?;
        entry.used = used;
        let counts = entry.generation == generation && entry.validity.check(now_s).is_ok();
        counts.then(|| Arc::clone(&entry.claims))
    }

    pub(super) fn keep(&self, digest: Digest, generation: u64, validity: Validity, claims: Arc<str>) {
        let Some(set) = self.set(&digest) else { return };
        let mut set = set.lock().unwrap_or_else(PoisonError::into_inner);
        let used = set.tick();
        // Prefer the token's own slot, then an empty one or one of old keys, then the least recently used.
        let rank = |entry: &Option<Verified>| match entry {
            Some(entry) if entry.digest == digest => (0, 0),
            Some(entry) if entry.generation == generation => (2, entry.used),
            _ => (1, 0),
        };
        if let Some(place) = set.places.iter_mut().min_by_key(|entry| rank(entry)) {
            *place = Some(Verified { digest, generation, validity, claims, used });
        }
    }

    fn set(&self, digest: &Digest) -> Option<&Mutex<Set>> {
        let [first, second, ..] = digest;
        self.sets.get(usize::from(u16::from_le_bytes([*first, *second])) % self.sets.len())
    }
}

#[derive(Default)]
struct Set {
    places: [Option<Verified>; WAYS],
    /// How often the set was asked: the clock of `used`.
    asked: u64,
}

impl Set {
    fn tick(&mut self) -> u64 {
        self.asked = self.asked.wrapping_add(1);
        self.asked
    }
}

struct Verified {
    digest: Digest,
    generation: u64,
    validity: Validity,
    claims: Arc<str>,
    used: u64,
}

/// Per key set. With the claims of typical tokens this takes some 600 KiB, at the very most 4 MiB.
pub(super) const MAX_CACHED_TOKENS: usize = 1_024;
const MAX_CACHED_TOKEN_BYTES: usize = 4 << 10;
const WAYS: usize = 8;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const VALIDITY: Validity = Validity { from_s: 10, until_s: 20 };

    #[test]
    fn an_entry_counts_in_its_time_and_generation_only() {
        let cache = Cache::new();
        let digest = Cache::digest("token").unwrap();
        cache.keep(digest, 1, VALIDITY, "claims".into());
        for (generation, now_s, is_there) in
            [(1, 10, true), (1, 19, true), (1, 20, false), (1, 9, false), (2, 15, false), (0, 15, false)]
        {
            assert_eq!(cache.claims(&digest, generation, now_s).is_some(), is_there, "{generation} {now_s}");
        }
        assert_eq!(cache.claims(&Cache::digest("tokem").unwrap(), 1, 15), None);
        cache.keep(digest, 2, VALIDITY, "newer".into());
        assert_eq!(cache.claims(&digest, 2, 15).as_deref(), Some("newer"));
        assert_eq!(cache.claims(&digest, 1, 15), None, "one token has one place");
        assert_eq!(Cache::digest(&"x".repeat(5_000)), None);
    }

    #[test]
    fn a_full_cache_keeps_what_is_used() {
        let cache = Cache::new();
        let used: Vec<_> = (0..64).map(|n| Cache::digest(&format!("used {n}")).unwrap()).collect();
        for digest in &used {
            cache.keep(*digest, 1, VALIDITY, "used".into());
        }
        for n in 0..10_000 {
            cache.keep(Cache::digest(&format!("other {n}")).unwrap(), 1, VALIDITY, "other".into());
            assert!(n % 100 > 0 || used.iter().all(|digest| cache.claims(digest, 1, 15).is_some()));
        }
        let places: usize = cache.sets.iter().map(|set| set.lock().unwrap().places.iter().flatten().count()).sum();
        assert_eq!(places, MAX_CACHED_TOKENS);
    }
}
