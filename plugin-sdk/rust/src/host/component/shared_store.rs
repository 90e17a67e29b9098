//! The store that instances share.

use std::time::Duration;

use super::{milliseconds, wit::shared_store};
use crate::shared_store::{Entry, StoreError, SwapError};

pub(crate) use super::wit::shared_store::remove;

pub(crate) fn get(key: &str) -> Option<Entry> {
    shared_store::get(key).map(Into::into)
}

pub(crate) fn set(key: &str, value: &[u8], ttl: Option<Duration>) -> Result<u64, StoreError> {
    shared_store::set(key, value, ttl.map(milliseconds)).map_err(Into::into)
}

pub(crate) fn compare_and_set(
    key: &str,
    expected: Option<u64>,
    value: &[u8],
    ttl: Option<Duration>,
) -> Result<u64, SwapError> {
    shared_store::compare_and_set(key, expected, value, ttl.map(milliseconds)).map_err(|error| match error {
        shared_store::SwapError::Conflict(entry) => SwapError::Conflict(entry.map(Into::into)),
        shared_store::SwapError::Store(error) => SwapError::Store(error.into()),
    })
}

pub(crate) fn increment(key: &str, delta: i64, ttl: Option<Duration>) -> Result<i64, StoreError> {
    shared_store::increment(key, delta, ttl.map(milliseconds)).map_err(Into::into)
}

impl From<shared_store::Entry> for Entry {
    fn from(entry: shared_store::Entry) -> Self {
        Self { value: entry.value, version: entry.version }
    }
}

impl From<shared_store::StoreError> for StoreError {
    fn from(error: shared_store::StoreError) -> Self {
        match error {
            shared_store::StoreError::LimitExceeded => Self::LimitExceeded,
            shared_store::StoreError::NotANumber => Self::NotANumber,
            shared_store::StoreError::Other(text) => Self::Other(text),
        }
    }
}
