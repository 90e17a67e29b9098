//! The capabilities behind the contract's interfaces: each call is counted against the hook's budget and passed on to
//! the host's own implementation in `capability`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use wasmtime::{Error, Result};

use super::bindings::{
    Direction, MutateError, clock, codec, consumers, hooks, json_schema, jwt, log, metrics, password, random, seal,
    secrets, shared_store, types,
};
use super::minimal_wasi;
use super::state::{Call, State};
use crate::capability::{
    codec as codings, json_schema as schemas, jwt as keys, log as lines, password as passwords, seal as seals, store,
};
use crate::telemetry;
use crate::telemetry::metrics::PluginLimit;

impl types::Host for State {}

impl hooks::Host for State {
    fn skip(&mut self, hook: hooks::Hook) -> Result<()> {
        self.charge()?;
        if self.call != Call::Configure {
            return Err(Error::msg("hooks.skip was called outside of configure"));
        }
        self.hooks.skip(hook);
        Ok(())
    }

    fn always(
        &mut self,
        section: types::Section,
        changes: Vec<hooks::HeaderChange>,
    ) -> Result<Result<(), types::MutateError>> {
        self.charge()?;
        if self.call != Call::Configure {
            return Err(Error::msg("hooks.always was called outside of configure"));
        }
        Ok(self.constant_headers.add(section, &changes, &self.lent.limits))
    }
}

impl log::Host for State {
    fn enabled(&mut self, level: log::Level) -> Result<bool> {
        self.charge()?;
        Ok(telemetry::enabled(severity(level)))
    }

    fn write(&mut self, level: log::Level, message: String, fields: Vec<(String, String)>) -> Result<()> {
        self.charge()?;
        self.log(level, &message, &fields);
        Ok(())
    }
}

impl State {
    /// Writes a line to the plugin's log, made safe to print and cut to a reasonable length.
    pub(super) fn log(&mut self, level: log::Level, message: &str, fields: &[(String, String)]) {
        let Some(left) = self.log_lines.checked_sub(1) else {
            self.lent.abilities.counters.limit_hit(PluginLimit::LogBytes);
            return;
        };
        self.log_lines = left;
        if !telemetry::enabled(severity(level)) {
            return;
        }
        let substitutions = &self.lent.abilities.substitutions;
        let message = match self.call {
            Call::Configure if !substitutions.is_empty() => {
                let undone = |text: &String| substitutions.undo(text).into_owned();
                let fields: Vec<_> = fields.iter().map(|(name, value)| (undone(name), undone(value))).collect();
                lines::line(&substitutions.undo(message), &fields)
            }
            _ => lines::line(message, fields),
        };
        let request = self.exchange().map(|exchange| exchange.id().to_owned()).unwrap_or_default();
        telemetry::log_as(
            &self.lent.name,
            severity(level),
            &message,
            &[("plugin", &self.lent.name), ("request_id", &request)],
        );
    }
}

impl metrics::Host for State {
    fn count(&mut self, name: String, labels: Vec<String>, delta: u64) -> Result<()> {
        self.charge()?;
        let written = self.lent.abilities.metrics.count(&name, &labels, delta);
        self.count_dropped(written);
        Ok(())
    }

    fn gauge(&mut self, name: String, labels: Vec<String>, value: f64) -> Result<()> {
        self.charge()?;
        let written = self.lent.abilities.metrics.gauge(&name, &labels, value);
        self.count_dropped(written);
        Ok(())
    }

    fn observe(&mut self, name: String, labels: Vec<String>, value: f64) -> Result<()> {
        self.charge()?;
        let written = self.lent.abilities.metrics.observe(&name, &labels, value);
        self.count_dropped(written);
        Ok(())
    }
}

impl State {
    fn count_dropped(&self, written: bool) {
        if !written {
            self.lent.abilities.counters.metric_dropped();
        }
    }
}

impl clock::Host for State {
    fn now(&mut self) -> Result<clock::Timestamp> {
        self.charge()?;
        let since = since_epoch();
        Ok(clock::Timestamp { seconds: since.as_secs(), nanoseconds: since.subsec_nanos() })
    }

    fn monotonic(&mut self) -> Result<u64> {
        self.charge()?;
        Ok(minimal_wasi::monotonic_micros())
    }
}

impl random::Host for State {
    fn bytes(&mut self, length: u32) -> Result<Vec<u8>> {
        self.charge()?;
        minimal_wasi::random_bytes(length.into())
    }

    fn number(&mut self) -> Result<u64> {
        self.charge()?;
        minimal_wasi::random_number()
    }
}

impl shared_store::Host for State {
    fn get(&mut self, key: String) -> Result<Option<shared_store::Entry>> {
        self.charge()?;
        Ok(self.lent.abilities.store.get(&key, now_ms()).map(Into::into))
    }

    fn set(
        &mut self,
        key: String,
        value: Vec<u8>,
        ttl_ms: Option<u32>,
    ) -> Result<Result<u64, shared_store::StoreError>> {
        self.charge()?;
        Ok(self.lent.abilities.store.set(&key, &value, ttl_ms, now_ms()).map_err(Into::into))
    }

    fn compare_and_set(
        &mut self,
        key: String,
        expected: Option<u64>,
        value: Vec<u8>,
        ttl_ms: Option<u32>,
    ) -> Result<Result<u64, shared_store::SwapError>> {
        self.charge()?;
        let swapped = self.lent.abilities.store.compare_and_set(&key, expected, &value, ttl_ms, now_ms());
        Ok(swapped.map_err(Into::into))
    }

    fn remove(&mut self, key: String) -> Result<bool> {
        self.charge()?;
        Ok(self.lent.abilities.store.remove(&key, now_ms()))
    }

    fn increment(
        &mut self,
        key: String,
        delta: i64,
        ttl_ms: Option<u32>,
    ) -> Result<Result<i64, shared_store::StoreError>> {
        self.charge()?;
        Ok(self.lent.abilities.store.increment(&key, delta, ttl_ms, now_ms()).map_err(Into::into))
    }
}

impl From<store::Entry> for shared_store::Entry {
    fn from(entry: store::Entry) -> Self {
        shared_store::Entry { value: entry.value.to_vec(), version: entry.version }
    }
}

impl From<store::SwapError> for shared_store::SwapError {
    fn from(error: store::SwapError) -> Self {
        match error {
            store::SwapError::Conflict(entry) => shared_store::SwapError::Conflict(entry.map(Into::into)),
            store::SwapError::Store(error) => shared_store::SwapError::Store(error.into()),
        }
    }
}

impl From<store::StoreError> for shared_store::StoreError {
    fn from(error: store::StoreError) -> Self {
        match error {
            store::StoreError::LimitExceeded => shared_store::StoreError::LimitExceeded,
            store::StoreError::NotANumber => shared_store::StoreError::NotANumber,
        }
    }
}

impl jwt::Host for State {
    fn declare(&mut self, keys: String, definition: String) -> Result<Result<(), String>> {
        self.charge()?;
        if self.call != Call::Configure {
            return Err(Error::msg("jwt.declare was called outside of configure"));
        }
        Ok(self.lent.abilities.declare_keys(&keys, &definition))
    }

    fn verify(&mut self, keys: String, token: String) -> Result<Result<String, jwt::VerifyError>> {
        self.charge()?;
        let Some(key_sets) = &self.lent.abilities.key_sets else {
            return Err(Error::msg("jwt.verify was called outside of a hook"));
        };
        let verified = key_sets.verify(&keys, &token, since_epoch().as_secs());
        Ok(verified.map(|claims| claims.to_string()).map_err(Into::into))
    }

    fn verify_message(
        &mut self,
        keys: String,
        kid: Option<String>,
        algorithm: String,
        message: Vec<u8>,
        signature: Vec<u8>,
    ) -> Result<Result<(), jwt::VerifyError>> {
        self.charge()?;
        let Some(key_sets) = &self.lent.abilities.key_sets else {
            return Err(Error::msg("jwt.verify-message was called outside of a hook"));
        };
        let signed =
            keys::Signed { kid: kid.as_deref(), algorithm: &algorithm, message: &message, signature: &signature };
        Ok(key_sets.verify_message(&keys, &signed).map_err(Into::into))
    }

    fn discovered(&mut self, keys: String) -> Result<Option<String>> {
        self.charge()?;
        let Some(key_sets) = &self.lent.abilities.key_sets else {
            return Err(Error::msg("jwt.discovered was called outside of a hook"));
        };
        Ok(key_sets.discovered(&keys).map(|document| document.to_string()))
    }
}

impl From<keys::VerifyError> for jwt::VerifyError {
    fn from(error: keys::VerifyError) -> Self {
        match error {
            keys::VerifyError::Malformed => jwt::VerifyError::Malformed,
            keys::VerifyError::UnknownKey => jwt::VerifyError::UnknownKey,
            keys::VerifyError::BadSignature => jwt::VerifyError::BadSignature,
            keys::VerifyError::Expired => jwt::VerifyError::Expired,
            keys::VerifyError::NotYetValid => jwt::VerifyError::NotYetValid,
            keys::VerifyError::WrongIssuer => jwt::VerifyError::WrongIssuer,
            keys::VerifyError::WrongAudience => jwt::VerifyError::WrongAudience,
            keys::VerifyError::AlgorithmNotAllowed => jwt::VerifyError::AlgorithmNotAllowed,
            keys::VerifyError::KeysUnavailable => jwt::VerifyError::KeysUnavailable,
            keys::VerifyError::Other(reason) => jwt::VerifyError::Other(reason),
        }
    }
}

impl json_schema::Host for State {
    fn declare(&mut self, name: String, document: String, places: Vec<String>) -> Result<Result<(), String>> {
        self.charge()?;
        if self.call != Call::Configure {
            return Err(Error::msg("json-schema.declare was called outside of configure"));
        }
        Ok(self.lent.abilities.schemas.declare(&name, &document, &places))
    }

    fn check(
        &mut self,
        name: String,
        place: String,
        value: Vec<u8>,
    ) -> Result<Result<Vec<json_schema::Violation>, json_schema::CheckError>> {
        self.charge()?;
        let checked = self.lent.abilities.schemas.check(&name, &place, &value);
        let violation = |schemas::Violation { pointer, message }| json_schema::Violation { pointer, message };
        Ok(checked.map(|found| found.into_iter().map(violation).collect()).map_err(|error| match error {
            schemas::CheckError::NotJson(why) => json_schema::CheckError::NotJson(why),
            schemas::CheckError::Unknown => json_schema::CheckError::UnknownSchema,
        }))
    }
}

impl password::Host for State {
    async fn check(&mut self, hash: String) -> Result<Result<(), String>> {
        self.charge()?;
        Ok(passwords::check(&hash))
    }

    async fn verify(&mut self, hash: String, password: String) -> Result<Result<bool, password::VerifyError>> {
        self.charge()?;
        if matches!(self.call, Call::Describe | Call::Configure) {
            return Err(Error::msg("password.verify was called outside of a hook"));
        }
        self.charge_wait("the hook checked more passwords than limits.callouts allows")?;
        let passwords = self.lent.abilities.passwords.clone();
        let verified = passwords.verify(&hash, &password, now_ms).await;
        self.has_waited();
        Ok(verified.map_err(|error| match error {
            passwords::VerifyError::Unsupported(reason) => password::VerifyError::Unsupported(reason),
            passwords::VerifyError::Busy => password::VerifyError::Busy,
        }))
    }
}

impl codec::Host for State {
    fn compress(&mut self, direction: Direction, coding: codec::Coding, level: u32) -> Result<Result<(), MutateError>> {
        self.charge()?;
        self.has_exchange()?;
        Ok(self.set_codecs(direction, |codecs| codecs.compress = Some((coding.into(), level))))
    }

    fn decompress(
        &mut self,
        direction: Direction,
        coding: codec::Coding,
        bounds: codec::Bounds,
    ) -> Result<Result<(), MutateError>> {
        self.charge()?;
        self.has_exchange()?;
        let bounds = codings::Bounds { bytes: bounds.bytes, ratio: bounds.ratio };
        Ok(self.set_codecs(direction, |codecs| codecs.decompress = Some((coding.into(), bounds))))
    }
}

impl From<codec::Coding> for codings::Coding {
    fn from(coding: codec::Coding) -> Self {
        match coding {
            codec::Coding::Gzip => codings::Coding::Gzip,
            codec::Coding::Brotli => codings::Coding::Brotli,
            codec::Coding::Zstd => codings::Coding::Zstd,
        }
    }
}

impl consumers::Host for State {
    fn credentials(&mut self) -> Result<Vec<consumers::Credential>> {
        self.charge()?;
        if self.call != Call::Configure {
            return Err(Error::msg("consumers.credentials was called outside of configure"));
        }
        let credential = |credential: &crate::capability::consumers::Credential| consumers::Credential {
            consumer: credential.consumer.to_string(),
            claims: credential.claims.to_string(),
            definition: credential.definition.clone(),
        };
        Ok(self.lent.abilities.credentials.iter().map(credential).collect())
    }

    fn limits(&mut self) -> Result<Vec<consumers::Limit>> {
        self.charge()?;
        if self.call != Call::Configure {
            return Err(Error::msg("consumers.limits was called outside of configure"));
        }
        let limit = |limit: &crate::capability::consumers::Limit| consumers::Limit {
            consumer: limit.consumer.to_string(),
            definition: limit.definition.clone(),
        };
        Ok(self.lent.abilities.consumer_limits.iter().map(limit).collect())
    }
}

impl seal::Host for State {
    fn seal(&mut self, key: String, purpose: String, message: Vec<u8>) -> Result<Result<Vec<u8>, seal::SealError>> {
        self.charge()?;
        let Some(secret) = self.lent.abilities.secrets.get(&key) else { return Ok(Err(seal::SealError::UnknownKey)) };
        Ok(seals::seal(secret, &purpose, &message).map_err(|error| match error {
            seals::SealError::WeakKey => seal::SealError::WeakKey,
            seals::SealError::TooLarge => seal::SealError::TooLarge,
            seals::SealError::Random => seal::SealError::Other(error.to_string()),
        }))
    }

    fn open(&mut self, key: String, purpose: String, sealed: Vec<u8>) -> Result<Option<Vec<u8>>> {
        self.charge()?;
        Ok(self.lent.abilities.secrets.get(&key).and_then(|secret| seals::open(secret, &purpose, &sealed)))
    }
}

impl secrets::Host for State {
    fn get(&mut self, name: String) -> Result<Option<String>> {
        self.charge()?;
        Ok(self.lent.abilities.secrets.get(&name).map(str::to_owned))
    }
}

fn severity(level: log::Level) -> telemetry::Level {
    match level {
        log::Level::Trace | log::Level::Debug => telemetry::Level::Debug,
        log::Level::Info => telemetry::Level::Info,
        log::Level::Warn => telemetry::Level::Warn,
        log::Level::Error => telemetry::Level::Error,
    }
}

pub(super) fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// The clock for limits and lifetimes, in milliseconds; it never goes back.
pub(super) fn now_ms() -> u64 {
    minimal_wasi::monotonic_micros() / 1000
}
