//! The gateway behind the seam: the contract's imports, in this crate's own types.
//!
//! A function that no plugin code reaches is not linked, and its import is then not in the component. Arguments are
//! borrowed (`ownership`), so a call copies nothing on this side.

#[allow(unsafe_code, unreachable_pub, missing_docs, clippy::all, clippy::unwrap_used, clippy::expect_used)]
pub(crate) mod bindings {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "gatewright:plugin/imports-net",
        generate_unused_types: true,
        ownership: Borrowing { duplicate_if_necessary: true },
    });
}

use bindings::gatewright::plugin as wit;

pub(crate) mod exchange {
    use super::wit::{exchange, types};
    use crate::{BodyMode, Direction, Identity, MutateError, Section};

    pub(crate) use super::wit::exchange::{attribute, authority, method, path, scheme, state, status};

    pub(crate) fn header(section: Section, name: &str) -> Option<String> {
        exchange::header(section.into(), name)
    }

    pub(crate) fn select_headers(section: Section, names: &[&str]) -> Vec<Option<String>> {
        exchange::select_headers(section.into(), names)
    }

    pub(crate) fn header_values(section: Section, name: &str) -> Vec<Vec<u8>> {
        exchange::header_values(section.into(), name)
    }

    pub(crate) fn headers(section: Section) -> Vec<(String, Vec<u8>)> {
        exchange::headers(section.into())
    }

    pub(crate) fn set_header(section: Section, name: &str, value: &str) -> Result<(), MutateError> {
        exchange::set_header(section.into(), name, value).map_err(Into::into)
    }

    pub(crate) fn append_header(section: Section, name: &str, value: &str) -> Result<(), MutateError> {
        exchange::append_header(section.into(), name, value).map_err(Into::into)
    }

    pub(crate) fn remove_header(section: Section, name: &str) -> Result<(), MutateError> {
        exchange::remove_header(section.into(), name).map_err(Into::into)
    }

    pub(crate) fn set_headers(section: Section, block: &[u8]) -> Result<(), MutateError> {
        exchange::set_headers(section.into(), block).map_err(Into::into)
    }

    pub(crate) fn append_headers(section: Section, block: &[u8]) -> Result<(), MutateError> {
        exchange::append_headers(section.into(), block).map_err(Into::into)
    }

    pub(crate) fn set_method(method: &str) -> Result<(), MutateError> {
        exchange::set_method(method).map_err(Into::into)
    }

    pub(crate) fn set_authority(authority: &str) -> Result<(), MutateError> {
        exchange::set_authority(authority).map_err(Into::into)
    }

    pub(crate) fn set_path(path: &str) -> Result<(), MutateError> {
        exchange::set_path(path).map_err(Into::into)
    }

    pub(crate) fn set_status(status: u16) -> Result<(), MutateError> {
        exchange::set_status(status).map_err(Into::into)
    }

    pub(crate) fn set_upstream(name: &str) -> Result<(), MutateError> {
        exchange::set_upstream(name).map_err(Into::into)
    }

    pub(crate) fn set_attribute(name: &str, value: &str) -> Result<(), MutateError> {
        exchange::set_attribute(name, value).map_err(Into::into)
    }

    pub(crate) fn identity() -> Option<Identity> {
        exchange::identity().map(|caller| Identity { subject: caller.subject, claims: caller.claims })
    }

    pub(crate) fn set_identity(subject: &str, claims: &str) -> Result<(), MutateError> {
        exchange::set_identity(types::CallerParam { subject, claims }).map_err(Into::into)
    }

    pub(crate) fn set_body_mode(direction: Direction, mode: BodyMode) -> Result<(), MutateError> {
        let mode = match mode {
            BodyMode::Skip => types::BodyMode::Skip,
            BodyMode::Whole => types::BodyMode::Whole,
            BodyMode::Chunks => types::BodyMode::Chunks,
        };
        exchange::set_body_mode(direction.into(), mode).map_err(Into::into)
    }

    pub(crate) fn hold_back(tail: usize, enough: usize) -> Result<(), MutateError> {
        exchange::hold_back(tail as u64, enough as u64).map_err(Into::into)
    }

    pub(crate) fn set_state(state: &[u8]) -> Result<(), MutateError> {
        exchange::set_state(state).map_err(Into::into)
    }

    impl From<Section> for types::Section {
        fn from(section: Section) -> Self {
            match section {
                Section::RequestHeaders => Self::RequestHeaders,
                Section::RequestTrailers => Self::RequestTrailers,
                Section::ResponseHeaders => Self::ResponseHeaders,
                Section::ResponseTrailers => Self::ResponseTrailers,
            }
        }
    }

    impl From<types::MutateError> for MutateError {
        fn from(error: types::MutateError) -> Self {
            match error {
                types::MutateError::InvalidSyntax => Self::InvalidSyntax,
                types::MutateError::Forbidden => Self::Forbidden,
                types::MutateError::LimitExceeded => Self::LimitExceeded,
                types::MutateError::WrongPhase => Self::WrongPhase,
                types::MutateError::NotGranted => Self::NotGranted,
                types::MutateError::Other(text) => Self::Other(text),
            }
        }
    }
}

pub(crate) mod hooks {
    use super::wit::hooks;
    use crate::Hook;

    pub(crate) fn skip(hook: Hook) {
        hooks::skip(match hook {
            Hook::Request => hooks::Hook::Request,
            Hook::RequestBody => hooks::Hook::RequestBody,
            Hook::Response => hooks::Hook::Response,
            Hook::ResponseBody => hooks::Hook::ResponseBody,
            Hook::Completion => hooks::Hook::Completion,
        });
    }
}

pub(crate) mod log {
    use super::wit::log;
    use crate::log::Level;

    pub(crate) fn enabled(level: Level) -> bool {
        log::enabled(level.into())
    }

    pub(crate) fn write(level: Level, message: &str, fields: &[(&str, &str)]) {
        log::write(level.into(), message, fields);
    }

    impl From<Level> for log::Level {
        fn from(level: Level) -> Self {
            match level {
                Level::Trace => Self::Trace,
                Level::Debug => Self::Debug,
                Level::Info => Self::Info,
                Level::Warn => Self::Warn,
                Level::Error => Self::Error,
            }
        }
    }
}

pub(crate) mod metrics {
    pub(crate) use super::wit::metrics::{count, gauge, observe};
}

pub(crate) mod clock {
    use std::time::Duration;

    pub(crate) use super::wit::clock::monotonic;

    /// Since 1970.
    pub(crate) fn now() -> Duration {
        let now = super::wit::clock::now();
        Duration::new(now.seconds, now.nanoseconds)
    }
}

pub(crate) mod random {
    pub(crate) use super::wit::random::{bytes, number};
}

pub(crate) mod consumers {
    /// Consumer, claims, definition.
    pub(crate) fn credentials() -> Vec<(String, String, String)> {
        let credentials = super::wit::consumers::credentials().into_iter();
        credentials.map(|credential| (credential.consumer, credential.claims, credential.definition)).collect()
    }

    /// Consumer, definition.
    pub(crate) fn limits() -> Vec<(String, String)> {
        super::wit::consumers::limits().into_iter().map(|limit| (limit.consumer, limit.definition)).collect()
    }
}

pub(crate) mod seal {
    use super::wit::seal;
    use crate::seal::SealError;

    pub(crate) use super::wit::seal::open;

    pub(crate) fn seal(key: &str, purpose: &str, message: &[u8]) -> Result<Vec<u8>, SealError> {
        seal::seal(key, purpose, message).map_err(|error| match error {
            seal::SealError::UnknownKey => SealError::UnknownKey,
            seal::SealError::WeakKey => SealError::WeakKey,
            seal::SealError::TooLarge => SealError::TooLarge,
            seal::SealError::Other(text) => SealError::Other(text),
        })
    }
}

pub(crate) mod secrets {
    pub(crate) use super::wit::secrets::get;
}

pub(crate) mod rate_limit {
    use std::time::Duration;

    use super::{milliseconds, wit::rate_limit};
    use crate::rate_limit::{LimitError, Outcome, Quota, Rule, Window};

    pub(crate) fn take(key: &str, quota: Quota, cost: u32) -> Outcome {
        outcome(rate_limit::take(key, lower(quota), cost))
    }

    pub(crate) fn take_all(key: &str, rules: &[Rule], cost: u32) -> Result<Vec<Outcome>, LimitError> {
        let window = |window: Window| rate_limit::Window {
            requests: window.requests,
            length_ms: milliseconds(window.length),
            anchor_ms: u64::try_from(window.anchor.as_millis()).unwrap_or(u64::MAX),
        };
        let rule = |rule: &Rule| match *rule {
            Rule::TokenBucket(quota) => rate_limit::Rule::TokenBucket(lower(quota)),
            Rule::FixedWindow(of) => rate_limit::Rule::FixedWindow(window(of)),
            Rule::SlidingWindow(of) => rate_limit::Rule::SlidingWindow(window(of)),
        };
        let rules: Vec<rate_limit::Rule> = rules.iter().map(rule).collect();
        match rate_limit::take_all(key, &rules, cost) {
            Ok(outcomes) => Ok(outcomes.into_iter().map(outcome).collect()),
            Err(rate_limit::LimitError::LimitExceeded) => Err(LimitError::LimitExceeded),
            Err(rate_limit::LimitError::Unavailable) => Err(LimitError::Unavailable),
            Err(rate_limit::LimitError::Other(text)) => Err(LimitError::Other(text)),
        }
    }

    fn lower(quota: Quota) -> rate_limit::Quota {
        rate_limit::Quota { requests: quota.requests, per_ms: milliseconds(quota.per), burst: quota.burst }
    }

    fn outcome(outcome: rate_limit::Outcome) -> Outcome {
        Outcome {
            allowed: outcome.allowed,
            remaining: outcome.remaining,
            reset: Duration::from_millis(outcome.reset_ms.into()),
            retry_after: Duration::from_millis(outcome.retry_after_ms.into()),
        }
    }
}

pub(crate) mod concurrency {
    use super::wit::concurrency;
    use crate::concurrency::Outcome;

    pub(crate) fn enter(key: &str, limit: u32) -> Outcome {
        let concurrency::Outcome { allowed, taken } = concurrency::enter(key, limit);
        Outcome { allowed, taken }
    }
}

pub(crate) mod codec {
    use super::wit::{codec, types};
    use crate::{
        Direction, MutateError,
        codec::{Bounds, Coding},
    };

    pub(crate) fn compress(direction: Direction, coding: Coding, level: u32) -> Result<(), MutateError> {
        codec::compress(direction.into(), coding.into(), level).map_err(Into::into)
    }

    pub(crate) fn decompress(direction: Direction, coding: Coding, bounds: Bounds) -> Result<(), MutateError> {
        let bounds = codec::Bounds { bytes: bounds.bytes, ratio: bounds.ratio };
        codec::decompress(direction.into(), coding.into(), bounds).map_err(Into::into)
    }

    impl From<Direction> for types::Direction {
        fn from(direction: Direction) -> Self {
            match direction {
                Direction::Request => Self::Request,
                Direction::Response => Self::Response,
            }
        }
    }

    impl From<Coding> for codec::Coding {
        fn from(coding: Coding) -> Self {
            match coding {
                Coding::Gzip => Self::Gzip,
                Coding::Br => Self::Brotli,
                Coding::Zstd => Self::Zstd,
            }
        }
    }
}

pub(crate) mod shared_store {
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
}

pub(crate) mod jwt {
    use super::wit::jwt;
    use crate::jwt::VerifyError;

    pub(crate) use super::wit::jwt::declare;

    pub(crate) fn verify(keys: &str, token: &str) -> Result<String, VerifyError> {
        jwt::verify(keys, token).map_err(Into::into)
    }

    pub(crate) fn verify_message(
        keys: &str,
        kid: Option<&str>,
        algorithm: &str,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), VerifyError> {
        jwt::verify_message(keys, kid, algorithm, message, signature).map_err(Into::into)
    }

    impl From<jwt::VerifyError> for VerifyError {
        fn from(error: jwt::VerifyError) -> Self {
            match error {
                jwt::VerifyError::Malformed => Self::Malformed,
                jwt::VerifyError::UnknownKey => Self::UnknownKey,
                jwt::VerifyError::BadSignature => Self::BadSignature,
                jwt::VerifyError::Expired => Self::Expired,
                jwt::VerifyError::NotYetValid => Self::NotYetValid,
                jwt::VerifyError::WrongIssuer => Self::WrongIssuer,
                jwt::VerifyError::WrongAudience => Self::WrongAudience,
                jwt::VerifyError::AlgorithmNotAllowed => Self::AlgorithmNotAllowed,
                jwt::VerifyError::KeysUnavailable => Self::KeysUnavailable,
                jwt::VerifyError::Other(text) => Self::Other(text),
            }
        }
    }
}

pub(crate) mod json_schema {
    use super::wit::json_schema;
    use crate::json_schema::{CheckError, Violation};

    pub(crate) fn declare(name: &str, document: &str, places: &[String]) -> Result<(), String> {
        let places: Vec<&str> = places.iter().map(String::as_str).collect();
        json_schema::declare(name, document, &places)
    }

    pub(crate) fn check(name: &str, place: &str, value: &[u8]) -> Result<Vec<Violation>, CheckError> {
        let violation = |found: json_schema::Violation| Violation { pointer: found.pointer, message: found.message };
        match json_schema::check(name, place, value) {
            Ok(found) => Ok(found.into_iter().map(violation).collect()),
            Err(json_schema::CheckError::NotJson(why)) => Err(CheckError::NotJson(why)),
            Err(json_schema::CheckError::UnknownSchema) => Err(CheckError::Unknown),
        }
    }
}

pub(crate) mod password {
    use super::wit::password;
    use crate::password::VerifyError;

    pub(crate) use super::wit::password::check;

    pub(crate) fn verify(hash: &str, password: &str) -> Result<bool, VerifyError> {
        password::verify(hash, password).map_err(|error| match error {
            password::VerifyError::Unsupported(why) => VerifyError::Unsupported(why),
            password::VerifyError::Busy => VerifyError::Busy,
        })
    }
}

pub(crate) mod http_client {
    use http::StatusCode;

    use super::{milliseconds, wit::http_client};
    use crate::http_client::{CallError, Request, Response};

    pub(crate) fn send(request: &Request) -> Result<Response, CallError> {
        with_request(request, |request| response(http_client::send(request)))
    }

    pub(crate) fn dispatch(request: &Request) -> Result<(), CallError> {
        with_request(request, |request| http_client::dispatch(request).map_err(Into::into))
    }

    pub(crate) fn start(request: &Request) -> Result<u32, CallError> {
        with_request(request, |request| http_client::start(request).map_err(Into::into))
    }

    pub(crate) fn next() -> Option<(u32, Result<Response, CallError>)> {
        http_client::next().map(|(number, answer)| (number, response(answer)))
    }

    pub(crate) fn send_all(requests: &[Request]) -> Vec<Result<Response, CallError>> {
        let headers: Vec<Vec<(&str, &str)>> = requests.iter().map(borrow_headers).collect();
        let requests: Vec<http_client::Request<'_>> =
            requests.iter().zip(&headers).map(|(request, headers)| lower(request, headers)).collect();
        http_client::send_all(&requests).into_iter().map(response).collect()
    }

    fn with_request<T>(request: &Request, call: impl FnOnce(http_client::Request<'_>) -> T) -> T {
        call(lower(request, &borrow_headers(request)))
    }

    fn borrow_headers(request: &Request) -> Vec<(&str, &str)> {
        request.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
    }

    fn lower<'a>(request: &'a Request, headers: &'a [(&'a str, &'a str)]) -> http_client::Request<'a> {
        http_client::Request {
            upstream: &request.upstream,
            method: request.method.as_str(),
            path: &request.path,
            headers,
            body: &request.body,
            timeout_ms: milliseconds(request.timeout),
        }
    }

    fn response(answer: Result<http_client::Response, http_client::CallError>) -> Result<Response, CallError> {
        let http_client::Response { status, headers, body } = answer?;
        let status = StatusCode::from_u16(status).map_err(|_| CallError::Other("not an HTTP status".to_owned()))?;
        Ok(Response { status, headers, body })
    }

    impl From<http_client::CallError> for CallError {
        fn from(error: http_client::CallError) -> Self {
            match error {
                http_client::CallError::UnknownUpstream => Self::UnknownUpstream,
                http_client::CallError::TimedOut => Self::TimedOut,
                http_client::CallError::ConnectionFailed(why) => Self::ConnectionFailed(why),
                http_client::CallError::ResponseTooLarge => Self::ResponseTooLarge,
                http_client::CallError::LimitExceeded => Self::LimitExceeded,
                http_client::CallError::Other(text) => Self::Other(text),
            }
        }
    }
}

/// The contract counts in milliseconds; longer than 49 days is 49 days.
fn milliseconds(duration: std::time::Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}
