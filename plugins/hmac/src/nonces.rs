//! The used nonces. They are in the shared store, whose room is limited, and each key has a share of it: a key that
//! uses up its share affects no other.
//!
//! A nonce is kept for as long as its signature may be valid. Nothing reports when one expires, so the plugin counts
//! how many a key uses in a quarter of that time, which begins with the first one. At any moment the store has the
//! nonces of at most five quarters, the oldest of them in part, so a key may use a fifth of its share in each.

use std::collections::BTreeMap;
use std::time::Duration;

use gatewright_sdk::{
    hex,
    shared_store::{self, StoreError, SwapError},
};
use sha2::{Digest, Sha256};

/// The nonces of keys with the same settings.
pub(crate) struct Nonces {
    /// How long a nonce is kept.
    life: Duration,
    quarter: Duration,
    /// The most nonces of one key in a quarter.
    most: i64,
    /// Where the store counts the nonces of each key.
    counts: BTreeMap<String, String>,
}

/// Why a nonce was not used. It can be used later, unless it was used before.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NotUsed {
    Before,
    /// The key has used up its share for now.
    Share,
    Store(StoreError),
}

impl Nonces {
    /// `share` is how many nonces of one of these keys may be kept at once.
    pub(crate) fn new<'a>(life: Duration, share: u32, keys: impl Iterator<Item = &'a str>) -> Self {
        let quarter_ms = u64::try_from(life.as_millis().div_ceil(4)).unwrap_or(u64::MAX);
        // Another lifetime has another count, since its quarters differ.
        let count = |key: &str| format!("count:{}:{}", life.as_millis(), digest(key, ""));
        Self {
            life,
            quarter: Duration::from_millis(quarter_ms),
            most: i64::from(share / PARTS),
            counts: keys.map(|key| (key.to_owned(), count(key))).collect(),
        }
    }

    /// Uses a nonce of this key, once. `nonce` is its place in the store.
    pub(crate) fn use_up(&self, key: &str, nonce: &str) -> Result<(), NotUsed> {
        // Only keys of the table can have signed.
        let Some(count) = self.counts.get(key) else { return Err(NotUsed::Share) };
        match shared_store::compare_and_set(nonce, None, b"", Some(self.life)) {
            Ok(_) => {}
            Err(SwapError::Conflict(_)) => return Err(NotUsed::Before),
            Err(SwapError::Store(error)) => return Err(NotUsed::Store(error)),
        }
        // Only now: a replayed signature takes nothing from the share.
        let counted = shared_store::increment(count, 1, Some(self.quarter));
        let refused = match counted {
            Ok(sum) if sum <= self.most => return Ok(()),
            Ok(_) => NotUsed::Share,
            Err(error) => NotUsed::Store(error),
        };
        shared_store::remove(nonce);
        Err(refused)
    }

    /// Seconds to wait for a key that has used up its share: until there is room again, or part of the way.
    pub(crate) fn wait(&self) -> u64 {
        self.quarter.as_secs().clamp(1, LONGEST_WAIT_SECONDS)
    }
}

/// The share of each of this many keys. It is a fraction of the store's room, but with many keys no less than a useful
/// minimum: then one key alone cannot fill the store, but many together can.
pub(crate) fn share(keys: usize) -> u32 {
    let keys = u32::try_from(keys).unwrap_or(u32::MAX).max(1);
    (ROOM / keys).max(LEAST_SHARE)
}

/// The place of a key's nonce in the store: its length does not depend on the client.
pub(crate) fn place(key: &str, nonce: &str) -> String {
    format!("nonce:{}", digest(key, nonce))
}

/// In hexadecimal. The length of the key is part of it, so no two pairs have the same.
fn digest(key: &str, nonce: &str) -> String {
    let mut hash = Sha256::new();
    hash.update(u64::try_from(key.len()).unwrap_or(u64::MAX).to_le_bytes());
    hash.update(key);
    hash.update(nonce);
    hex::encode(&hash.finalize())
}

/// A nonce takes 262 bytes of the store's 16 MiB; the rest, 1 MiB, has room for 3,600 counts.
const ROOM: u32 = 60_000;
/// With this, 15 keys have all the room.
const LEAST_SHARE: u32 = 4_000;
/// Parts of a share: one for each quarter whose nonces may still be kept.
pub(crate) const PARTS: u32 = 5;
const LONGEST_WAIT_SECONDS: u64 = 60;
