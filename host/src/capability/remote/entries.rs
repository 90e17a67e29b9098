//! The entries of a shared store, kept in the server: the operations of `store`.

use bytes::Bytes;
use redis::{FromRedisValue, Value};

use super::script::WRITE;
use super::{Away, Share, hex, sha256};
use crate::capability::store::{Entry, Limits, StoreError, SwapError};

/// The server's response, or why there is none.
pub type Answer<T> = Result<T, Away>;

impl Share {
    pub async fn get(&self, key: &str) -> Answer<Option<Entry>> {
        let key = self.entry_key(key);
        let mut call = redis::cmd("HMGET");
        call.arg(&key).arg("v").arg("n");
        let (value, version): (Option<Vec<u8>>, Option<u64>) =
            self.remote.links.ask(|mut redis| async move { call.query_async(&mut redis).await }).await?;
        Ok(value.zip(version).map(|(value, version)| Entry { value: value.into(), version }))
    }

    pub async fn set(&self, key: &str, value: &[u8], ttl_ms: Option<u32>) -> Answer<Result<u64, StoreError>> {
        if !fits(key, value) {
            return Ok(Err(StoreError::LimitExceeded));
        }
        self.write::<u64>("set", key, value, ttl_ms, None).await.map(Ok)
    }

    pub async fn compare_and_set(
        &self,
        key: &str,
        expected: Option<u64>,
        value: &[u8],
        ttl_ms: Option<u32>,
    ) -> Answer<Result<u64, SwapError>> {
        if !fits(key, value) {
            return Ok(Err(SwapError::Store(StoreError::LimitExceeded)));
        }
        let swap = self.write::<Swap>("swap", key, value, ttl_ms, Some(expected)).await?;
        Ok(match swap {
            Swap::Done(version) => Ok(version),
            Swap::Found(found) => Err(SwapError::Conflict(found)),
        })
    }

    pub async fn remove(&self, key: &str) -> Answer<bool> {
        let mut call = redis::cmd("DEL");
        call.arg(self.entry_key(key));
        self.remote.links.ask(|mut redis| async move { call.query_async::<bool>(&mut redis).await }).await
    }

    pub async fn increment(&self, key: &str, delta: i64, ttl_ms: Option<u32>) -> Answer<Result<i64, StoreError>> {
        if !fits(key, b"") {
            return Ok(Err(StoreError::LimitExceeded));
        }
        let delta = itoa::Buffer::new().format(delta).to_owned();
        match self.write::<i64>("add", key, delta.as_bytes(), ttl_ms, None).await {
            Ok(sum) => Ok(Ok(sum)),
            Err(Away::Failed(words)) if words.contains("not an integer") => Ok(Err(StoreError::NotANumber)),
            Err(Away::Failed(words)) if words.contains("overflow") => Ok(Err(StoreError::LimitExceeded)),
            Err(away) => Err(away),
        }
    }

    async fn write<T: FromRedisValue>(
        &self,
        what: &str,
        key: &str,
        value: &[u8],
        ttl_ms: Option<u32>,
        expected: Option<Option<u64>>,
    ) -> Answer<T> {
        let ttl = ttl_ms.map_or(self.remote.settings().entry_ttl.as_millis(), u128::from).max(1);
        let mut call = WRITE.prepare_invoke();
        call.key(self.entry_key(key)).arg(what).arg(value).arg(u64::try_from(ttl).unwrap_or(u64::MAX));
        if let Some(expected) = expected {
            call.arg(expected.map(|version| version.to_string()).unwrap_or_default());
        }
        self.remote.links.ask(|mut redis| async move { call.invoke_async(&mut redis).await }).await
    }

    /// Entries belong to the plugin's name, whatever its configuration.
    fn entry_key(&self, key: &str) -> String {
        format!("{}{{{}}}:entry", self.prefix, hex(&sha256(&[key.as_bytes()])))
    }
}

/// The result of a compare-and-set.
enum Swap {
    Done(u64),
    Found(Option<Entry>),
}

impl FromRedisValue for Swap {
    fn from_redis_value(value: Value) -> Result<Swap, redis::ParsingError> {
        match value {
            Value::Nil => Ok(Swap::Found(None)),
            Value::Array(found) => {
                let (version, value) = <(u64, Vec<u8>)>::from_redis_value(Value::Array(found))?;
                Ok(Swap::Found(Some(Entry { value: Bytes::from(value), version })))
            }
            version => u64::from_redis_value(version).map(Swap::Done),
        }
    }
}

/// The limits are those of the store in memory; the number of entries is up to the server.
fn fits(key: &str, value: &[u8]) -> bool {
    let limits = Limits::default();
    key.len() <= limits.key_bytes && value.len() <= limits.value_bytes
}
