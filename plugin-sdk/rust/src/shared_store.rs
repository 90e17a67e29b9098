//! Memory shared by all instances of a plugin in one gateway process.

use std::{error, fmt, time::Duration};

use crate::host::shared_store as host;

/// What is stored under a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// A counter is stored as its decimal digits.
    pub value: Vec<u8>,
    /// Changes with every write.
    pub version: u64,
}

/// Why nothing was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreError {
    /// The key, the value or the store would be too big, or a number too large.
    LimitExceeded,
    /// [`increment`] found something other than a number.
    NotANumber,
    /// Any other reason, in the gateway's words.
    Other(String),
}

/// Why [`compare_and_set`] wrote nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SwapError {
    /// The entry is not the expected one; this is the current one.
    Conflict(Option<Entry>),
    /// The write itself was refused.
    Store(StoreError),
}

/// `None` if there is no entry, or it has expired.
#[must_use]
pub fn get(key: &str) -> Option<Entry> {
    host::get(key)
}

/// Writes and returns the new version. `ttl` is in whole milliseconds, up to 49 days; `None` never expires.
///
/// # Errors
/// [`StoreError::LimitExceeded`] if the key, the value or the store is too big.
pub fn set(key: &str, value: &[u8], ttl: Option<Duration>) -> Result<u64, StoreError> {
    host::set(key, value, ttl)
}

/// Writes only if the version is still the expected one; `None` expects that there is no entry.
///
/// # Errors
/// [`SwapError::Conflict`] if another writer was faster, otherwise as [`set`].
pub fn compare_and_set(
    key: &str,
    expected: Option<u64>,
    value: &[u8],
    ttl: Option<Duration>,
) -> Result<u64, SwapError> {
    host::compare_and_set(key, expected, value, ttl)
}

/// Returns whether there was something to remove.
pub fn remove(key: &str) -> bool {
    host::remove(key)
}

/// Adds to a number and returns the sum, atomically. A missing key counts as 0; `ttl` is set when the key is created.
///
/// # Errors
/// [`StoreError::NotANumber`], or as [`set`].
pub fn increment(key: &str, delta: i64, ttl: Option<Duration>) -> Result<i64, StoreError> {
    host::increment(key, delta, ttl)
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::LimitExceeded => "limit exceeded",
            Self::NotANumber => "the entry is not a number",
            Self::Other(text) => text,
        })
    }
}

impl fmt::Display for SwapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Conflict(_) => f.write_str("another write was faster"),
            Self::Store(error) => error.fmt(f),
        }
    }
}

impl error::Error for StoreError {}
impl error::Error for SwapError {}
