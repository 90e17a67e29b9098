//! Which nonces were used. They are in the shared store, which has room for so many, and each key has a share of that: who uses
//! up a share of nonces keeps nobody else out.
//!
//! A nonce is kept for as long as its signature may be good. Nobody says when one goes, so it is counted how many a key uses in a
//! quarter of that time, from the first one on. At any moment those of at most five quarters are there, the oldest of them in
//! part, so in each a key may use a fifth of its share.

use std::time::Duration;

use gatewright_sdk::shared_store::{self, StoreError, SwapError};
use sha2::{Digest, Sha256};

/// The nonces of keys that have so much in common.
pub(crate) struct Nonces {
    /// How long a nonce is kept.
    life: Duration,
    quarter: Duration,
    /// Of one key, in a quarter.
    most: i64,
}

/// Why a nonce was not used. It can be used later then, unless it was before.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NotUsed {
    Before,
    /// The key has used up its share for now.
    Share,
    Store(StoreError),
}

impl Nonces {
    /// `share` is how many of one key may be there at once.
    pub(crate) fn new(life: Duration, share: u32) -> Self {
        let quarter_ms = u64::try_from(life.as_millis().div_ceil(4)).unwrap_or(u64::MAX);
        Self { life, quarter: Duration::from_millis(quarter_ms), most: i64::from(share / PARTS) }
    }

    /// Uses a nonce of this key, once. `nonce` is where it is.
    pub(crate) fn use_up(&self, key: &str, nonce: &str) -> Result<(), NotUsed> {
        match shared_store::compare_and_set(nonce, None, b"", Some(self.life)) {
            Ok(_) => {}
            Err(SwapError::Conflict(_)) => return Err(NotUsed::Before),
            Err(SwapError::Store(error)) => return Err(NotUsed::Store(error)),
        }
        // Only now: a signature that somebody sends again takes nothing from the share.
        let counted = shared_store::increment(&self.count(key), 1, Some(self.quarter));
        let refused = match counted {
            Ok(sum) if sum <= self.most => return Ok(()),
            Ok(_) => NotUsed::Share,
            Err(error) => NotUsed::Store(error),
        };
        shared_store::remove(nonce);
        Err(refused)
    }

    /// In seconds, for who has used up a share: until there is room again, or some of the way.
    pub(crate) fn wait(&self) -> u64 {
        self.quarter.as_secs().clamp(1, LONGEST_WAIT_SECONDS)
    }

    /// Where it is counted how many nonces a key uses. With another life they count apart, as a quarter is another one.
    fn count(&self, key: &str) -> String {
        format!("count:{}:{}", self.life.as_millis(), digest(key, ""))
    }
}

/// The share of each of so many keys. It is a part of what the store has room for, and with many keys no less than will do: then
/// one alone cannot fill the store, but many together can.
pub(crate) fn share(keys: usize) -> u32 {
    let keys = u32::try_from(keys).unwrap_or(u32::MAX).max(1);
    (ROOM / keys).max(LEAST_SHARE)
}

/// Where the store has a nonce of a key: of a length that does not depend on the client.
pub(crate) fn place(key: &str, nonce: &str) -> String {
    format!("nonce:{}", digest(key, nonce))
}

/// In hexadecimal. Where the key ends is a part of it, so no two pairs have the same.
fn digest(key: &str, nonce: &str) -> String {
    let mut hash = Sha256::new();
    hash.update(u64::try_from(key.len()).unwrap_or(u64::MAX).to_le_bytes());
    hash.update(key);
    hash.update(nonce);
    hash.finalize().iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

/// A nonce takes 262 bytes of the store's 16 MiB; what is left of them, 1 MiB, has room for 3,600 counts.
const ROOM: u32 = 60_000;
/// 15 keys have all the room.
const LEAST_SHARE: u32 = 4_000;
/// Of a share, one for each quarter of which something may be there.
pub(crate) const PARTS: u32 = 5;
const LONGEST_WAIT_SECONDS: u64 = 60;
