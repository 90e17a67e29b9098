//! The hash tables of the router: the standard map with a hash made for short byte strings.
//!
//! The standard SipHash costs more than the rest of a lookup. Its protection is not needed here: the keys in a table
//! are the operator's; requests only look keys up, which cannot lengthen a probe.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use smallvec::SmallVec;

/// A name, segment or value as a key. Short keys are stored inline, so that comparing them touches no other memory.
pub(super) type Key = SmallVec<[u8; 24]>;

/// A map whose keys come from the configuration.
pub(super) type Table<K, V> = HashMap<K, V, BuildHasherDefault<TableHasher>>;

/// Multiplies every eight bytes into 128 bits and folds the halves together, as wyhash and foldhash do.
#[derive(Default)]
pub(super) struct TableHasher(u64);

impl TableHasher {
    fn mix(&mut self, word: u64) {
        self.0 = fold(self.0 ^ word ^ SALT, MULTIPLIER);
    }
}

impl Hasher for TableHasher {
    /// Reads the last eight (or four) bytes separately, overlapping the ones before, so that no tail is copied.
    fn write(&mut self, bytes: &[u8]) {
        if let Some(last) = bytes.last_chunk() {
            for chunk in bytes.as_chunks().0 {
                self.mix(u64::from_le_bytes(*chunk));
            }
            self.mix(u64::from_le_bytes(*last));
        } else if let (Some(first), Some(last)) = (bytes.first_chunk(), bytes.last_chunk()) {
            self.mix(u64::from(u32::from_le_bytes(*first)) << 32 | u64::from(u32::from_le_bytes(*last)));
        } else {
            self.mix(bytes.iter().fold(0, |word, byte| word << 8 | u64::from(*byte)));
        }
    }

    fn write_u8(&mut self, value: u8) {
        self.mix(u64::from(value));
    }

    /// The length, which the standard library writes before the bytes of a slice.
    fn write_usize(&mut self, value: usize) {
        self.mix(value as u64);
    }

    /// One more round: without it, keys that differ in their last digits fill a sixth fewer buckets.
    fn finish(&self) -> u64 {
        fold(self.0 ^ LAST_SALT, LAST_MULTIPLIER)
    }
}

fn fold(one: u64, other: u64) -> u64 {
    let product = u128::from(one) * u128::from(other);
    (product as u64) ^ ((product >> 64) as u64)
}

/// Digits of pi and of the golden ratio: they have no structure in common with keys.
const SALT: u64 = 0x243f_6a88_85a3_08d3;
const MULTIPLIER: u64 = 0xa409_3822_299f_31d1;
const LAST_SALT: u64 = 0x1319_8a2e_0370_7344;
const LAST_MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::hash::BuildHasher;

    use super::*;

    /// A map takes the bucket from the low bits and the tag from the high ones: similar keys must differ in both.
    #[test]
    fn near_keys_spread_over_low_and_high_bits() {
        let hasher = BuildHasherDefault::<TableHasher>::default();
        for prefix in ["", "/", "users-", "/api/v1/tenants/", "host.example."] {
            let hashes: Vec<u64> =
                (0..1 << 14).map(|number| hasher.hash_one(format!("{prefix}{number}").as_bytes())).collect();
            let all: HashSet<u64> = hashes.iter().copied().collect();
            let low: HashSet<u64> = hashes.iter().map(|hash| hash & 0x3fff).collect();
            let high: HashSet<u64> = hashes.iter().map(|hash| hash >> 50).collect();
            assert_eq!(all.len(), hashes.len(), "{prefix}: a full collision");
            // A random function fills 1 - 1/e of as many buckets as there are keys: 10357, give or take 60.
            assert!(low.len() > 10_100, "{prefix}: only {} of 16384 low buckets", low.len());
            assert!(high.len() > 10_100, "{prefix}: only {} of 16384 high buckets", high.len());
        }
    }
}
