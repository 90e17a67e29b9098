//! The gateway behind the seam: the contract's imports, in this crate's own types.
//!
//! A function that no plugin code reaches is not linked, so its import is not in the component. Arguments are borrowed
//! (`ownership`), so a call copies nothing on this side.

#[allow(unsafe_code, unreachable_pub, missing_docs, clippy::all, clippy::unwrap_used, clippy::expect_used)]
pub(crate) mod bindings {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "gatewright:plugin/imports-net",
        generate_unused_types: true,
        ownership: Borrowing { duplicate_if_necessary: true },
    });
}

#[path = "component/exchange.rs"]
pub(crate) mod exchange;
#[path = "component/http_client.rs"]
pub(crate) mod http_client;
#[path = "component/jwt.rs"]
pub(crate) mod jwt;
#[path = "component/rate_limit.rs"]
pub(crate) mod rate_limit;
#[path = "component/shared_store.rs"]
pub(crate) mod shared_store;

use bindings::gatewright::plugin as wit;

pub(crate) mod hooks {
    use super::wit::hooks;
    use crate::{HeaderChange, Hook, MutateError, Section};

    pub(crate) fn skip(hook: Hook) {
        hooks::skip(match hook {
            Hook::Request => hooks::Hook::Request,
            Hook::RequestBody => hooks::Hook::RequestBody,
            Hook::Response => hooks::Hook::Response,
            Hook::ResponseBody => hooks::Hook::ResponseBody,
            Hook::Completion => hooks::Hook::Completion,
        });
    }

    pub(crate) fn always(section: Section, changes: &[&HeaderChange]) -> Result<(), MutateError> {
        let changes: Vec<_> = changes
            .iter()
            .map(|change| match change {
                HeaderChange::Set(name, value) => hooks::HeaderChange::Set((name, value)),
                HeaderChange::Append(name, value) => hooks::HeaderChange::Append((name, value)),
                HeaderChange::Remove(name) => hooks::HeaderChange::Remove(name),
            })
            .collect();
        hooks::always(section.into(), &changes).map_err(Into::into)
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

pub(crate) mod single_flight {
    use std::time::Duration;

    use super::wit::single_flight;
    use crate::single_flight::Turn;

    pub(crate) use super::wit::single_flight::done;

    pub(crate) fn take(key: &str, wait: Option<Duration>) -> Turn {
        // A wait below the shortest one must not become 0, which means the longest.
        let wait_ms = wait.map_or(0, |wait| super::milliseconds(wait).max(1));
        match single_flight::take(key, wait_ms) {
            single_flight::Turn::Mine => Turn::Mine,
            single_flight::Turn::Done(answer) => Turn::Done(answer),
            single_flight::Turn::TimedOut => Turn::TimedOut,
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

/// The contract counts in milliseconds; more than 49 days becomes 49 days.
fn milliseconds(duration: std::time::Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}
