//! The test double behind the seam. It has the same functions as `component.rs` and the same rules as the gateway.

#[path = "double/exchange.rs"]
pub(crate) mod exchange;

pub(crate) mod hooks {
    use super::exchange::checked;
    use crate::{
        HeaderChange, Hook, MutateError, Section,
        testing::world::{Phase, with},
    };

    pub(crate) fn skip(hook: Hook) {
        with(|world| {
            assert!(
                world.phase == Phase::Configure,
                "hooks are skipped in configure; elsewhere it traps in the gateway"
            );
            world.skipped.push(hook);
        });
    }

    pub(crate) fn always(section: Section, changes: &[&HeaderChange]) -> Result<(), MutateError> {
        if matches!(section, Section::RequestTrailers | Section::ResponseTrailers) {
            return Err(MutateError::WrongPhase);
        }
        let changes = changes.iter().map(|change| checked((*change).clone())).collect::<Result<Vec<_>, _>>()?;
        with(|world| {
            assert!(
                world.phase == Phase::Configure,
                "what is always changed is said in configure; elsewhere it traps in the gateway"
            );
            world.always.extend(changes.into_iter().map(|change| (section, change)));
        });
        Ok(())
    }
}

pub(crate) mod log {
    use crate::{
        log::Level,
        testing::{Line, world::with},
    };

    pub(crate) fn enabled(level: Level) -> bool {
        level >= Level::Info
    }

    pub(crate) fn write(level: Level, message: &str, fields: &[(&str, &str)]) {
        let fields = fields.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect();
        with(|world| world.lines.push(Line { level, message: message.to_owned(), fields }));
    }
}

pub(crate) mod metrics {
    use crate::testing::{Measure, world::with};

    #[allow(clippy::cast_precision_loss)]
    pub(crate) fn count(name: &str, labels: &[&str], delta: u64) {
        gauge(name, labels, delta as f64);
    }

    pub(crate) fn observe(name: &str, labels: &[&str], value: f64) {
        gauge(name, labels, value);
    }

    pub(crate) fn gauge(name: &str, labels: &[&str], value: f64) {
        let labels = labels.iter().map(|&label| label.to_owned()).collect();
        with(|world| {
            assert!(
                world.metrics_declared.contains(&name),
                "the metric {name} is not in Plugin::METRICS, so the gateway drops it"
            );
            world.measures.push(Measure { name: name.to_owned(), labels, value });
        });
    }
}

pub(crate) mod clock {
    use std::time::Duration;

    use crate::testing::world::with;

    /// Since 1970; the double's clock starts at the beginning of 2026.
    pub(crate) fn now() -> Duration {
        Duration::from_secs(1_767_225_600) + with(|world| world.elapsed)
    }

    pub(crate) fn monotonic() -> u64 {
        with(|world| u64::try_from(world.elapsed.as_micros()).unwrap_or(u64::MAX))
    }
}

pub(crate) mod random {
    use crate::testing::world::with;

    pub(crate) fn bytes(length: u32) -> Vec<u8> {
        assert!(length <= 65_536, "more than 65,536 random bytes at once trap in the gateway");
        std::iter::repeat_with(number).flat_map(u64::to_le_bytes).take(length as usize).collect()
    }

    /// Splitmix64: the same numbers in every test.
    pub(crate) fn number() -> u64 {
        let state = with(|world| {
            world.random = world.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
            world.random
        });
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

pub(crate) mod consumers {
    use crate::testing::world::{Phase, with};

    pub(crate) fn credentials() -> Vec<(String, String, String)> {
        with(|world| {
            let configures = world.phase == Phase::Configure;
            assert!(configures, "consumers::credentials outside of Plugin::new traps in the gateway");
            world.credentials.clone()
        })
    }

    pub(crate) fn limits() -> Vec<(String, String)> {
        with(|world| {
            let configures = world.phase == Phase::Configure;
            assert!(configures, "consumers::limits outside of Plugin::new traps in the gateway");
            world.consumer_limits.clone()
        })
    }
}

pub(crate) mod seal {
    use crate::{seal::SealError, testing::world::with};

    /// The double encrypts nothing: it remembers what was sealed and returns a reference to it.
    pub(crate) fn seal(key: &str, purpose: &str, message: &[u8]) -> Result<Vec<u8>, SealError> {
        with(|world| match world.secrets.get(key) {
            None => Err(SealError::UnknownKey),
            Some(secret) if secret.len() < 32 => Err(SealError::WeakKey),
            Some(_) if message.len() > 65_536 => Err(SealError::TooLarge),
            Some(secret) => {
                let sealed = format!("sealed-{}", world.sealed.len()).into_bytes();
                let bound = [secret.as_str(), purpose].map(str::to_owned);
                world.sealed.insert(sealed.clone(), (bound, message.to_vec()));
                Ok(sealed)
            }
        })
    }

    pub(crate) fn open(key: &str, purpose: &str, sealed: &[u8]) -> Option<Vec<u8>> {
        with(|world| {
            let secret = world.secrets.get(key)?;
            let (bound, message) = world.sealed.get(sealed)?;
            (*bound == [secret.as_str(), purpose]).then(|| message.clone())
        })
    }
}

pub(crate) mod secrets {
    use crate::testing::world::with;

    pub(crate) fn get(name: &str) -> Option<String> {
        with(|world| world.secrets.get(name).cloned())
    }
}

pub(crate) mod rate_limit {
    use std::time::Duration;

    use crate::{
        rate_limit::{LimitError, Outcome, Quota, Rule},
        testing::world::with,
    };

    pub(crate) fn take_all(key: &str, rules: &[Rule], cost: u32) -> Result<Vec<Outcome>, LimitError> {
        if rules.is_empty() || rules.len() > 16 {
            return Err(LimitError::LimitExceeded);
        }
        let wall = super::clock::now();
        with(|world| match world.limits_unavailable {
            true => Err(LimitError::Unavailable),
            false => Ok(world.meters.take_all(key, rules, cost, world.elapsed, wall)),
        })
    }

    pub(crate) fn take(key: &str, quota: Quota, cost: u32) -> Outcome {
        with(|world| world.meters.take(key, &Rule::TokenBucket(quota), cost, world.elapsed, Duration::ZERO))
    }
}

pub(crate) mod codec {
    use crate::{
        Direction, MutateError, Section,
        codec::{Bounds, Coding},
        testing::{
            Codec,
            world::{Phase, with},
        },
    };

    pub(crate) fn compress(direction: Direction, coding: Coding, level: u32) -> Result<(), MutateError> {
        set(direction, Codec::Compress { coding, level })
    }

    pub(crate) fn decompress(direction: Direction, coding: Coding, bounds: Bounds) -> Result<(), MutateError> {
        set(direction, Codec::Decompress { coding, bounds })
    }

    fn set(direction: Direction, codec: Codec) -> Result<(), MutateError> {
        with(|world| match (direction, world.phase) {
            (_, Phase::Outside | Phase::Configure) => panic!("a codec was asked for outside of a hook, which traps"),
            (Direction::Request, Phase::Request) | (Direction::Response, Phase::Response) => {
                world.exchange.codecs.push((direction, codec));
                let section = match direction {
                    Direction::Request => Section::RequestHeaders,
                    Direction::Response => Section::ResponseHeaders,
                };
                // It was the length of the original bytes.
                let headers = world.exchange.sections.entry(section).or_default();
                headers.retain(|(name, _)| name != "content-length");
                Ok(())
            }
            _ => Err(MutateError::WrongPhase),
        })
    }
}

pub(crate) mod json_schema {
    use crate::{
        json_schema::{CheckError, Violation},
        testing::world::{Phase, with},
    };

    pub(crate) fn declare(name: &str, document: &str, places: &[String]) -> Result<(), String> {
        let document: serde_json::Value = serde_json::from_str(document).map_err(|error| error.to_string())?;
        if let Some(missing) = places.iter().find(|place| document.pointer(place).is_none()) {
            return Err(format!("there is nothing at {missing:?}"));
        }
        with(|world| {
            assert!(
                world.phase == Phase::Configure,
                "schemas are declared in configure; elsewhere it traps in the gateway"
            );
            world.schemas.extend(places.iter().map(|place| (name.to_owned(), place.clone())));
        });
        Ok(())
    }

    pub(crate) fn check(name: &str, place: &str, value: &[u8]) -> Result<Vec<Violation>, CheckError> {
        let key = (name.to_owned(), place.to_owned());
        let value = crate::json::unique(value).map_err(CheckError::NotJson)?;
        with(|world| {
            if !world.schemas.contains(&key) {
                return Err(CheckError::Unknown);
            }
            world.checked.push((key.0.clone(), key.1.clone(), value));
            Ok(world.violations.get(&key).cloned().unwrap_or_default())
        })
    }
}

pub(crate) mod concurrency {
    use crate::{
        concurrency::Outcome,
        testing::world::{Phase, with},
    };

    pub(crate) fn enter(key: &str, limit: u32) -> Outcome {
        with(|world| {
            let in_a_hook = !matches!(world.phase, Phase::Outside | Phase::Configure);
            assert!(in_a_hook, "concurrency::enter was used outside of a hook, which traps in the gateway");
            let taken = world.places.entry(key.to_owned()).or_default();
            let allowed = *taken < limit;
            if allowed {
                *taken += 1;
                world.exchange.places.push(key.to_owned());
            }
            Outcome { allowed, taken: *taken }
        })
    }
}

pub(crate) mod shared_store {
    use std::time::Duration;

    use crate::{
        shared_store::{Entry, StoreError, SwapError},
        testing::world::with,
    };

    pub(crate) fn get(key: &str) -> Option<Entry> {
        with(|world| world.store.get(key, world.elapsed))
    }

    pub(crate) fn set(key: &str, value: &[u8], ttl: Option<Duration>) -> Result<u64, StoreError> {
        Ok(with(|world| world.store.set(key, value, ttl, world.elapsed)))
    }

    pub(crate) fn compare_and_set(
        key: &str,
        expected: Option<u64>,
        value: &[u8],
        ttl: Option<Duration>,
    ) -> Result<u64, SwapError> {
        with(|world| world.store.compare_and_set(key, expected, value, ttl, world.elapsed))
    }

    pub(crate) fn remove(key: &str) -> bool {
        with(|world| world.store.remove(key, world.elapsed))
    }

    pub(crate) fn increment(key: &str, delta: i64, ttl: Option<Duration>) -> Result<i64, StoreError> {
        with(|world| world.store.increment(key, delta, ttl, world.elapsed))
    }
}

pub(crate) mod jwt {
    use crate::{
        jwt::VerifyError,
        testing::world::{Phase, with},
    };

    pub(crate) fn declare(keys: &str, definition: &str) -> Result<(), String> {
        with(|world| {
            assert!(world.phase == Phase::Configure, "jwt::declare outside of Plugin::new traps in the gateway");
            if let Some(why) = &world.keys_refused {
                return Err(why.clone());
            }
            world.keys.insert(keys.to_owned(), definition.to_owned());
            Ok(())
        })
    }

    pub(crate) fn verify(keys: &str, token: &str) -> Result<String, VerifyError> {
        with(|world| {
            if !world.keys.contains_key(keys) {
                return Err(VerifyError::Other(format!("no key set {keys:?} was declared")));
            }
            world.tokens.get(token).cloned().unwrap_or(Err(VerifyError::BadSignature))
        })
    }

    pub(crate) fn discovered(keys: &str) -> Option<String> {
        with(|world| world.discovered.get(keys).cloned())
    }

    pub(crate) fn verify_message(
        keys: &str,
        kid: Option<&str>,
        algorithm: &str,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), VerifyError> {
        with(|world| {
            if !world.keys.contains_key(keys) {
                return Err(VerifyError::Other(format!("no key set {keys:?} was declared")));
            }
            let made = format!("{} {algorithm} {}", kid.unwrap_or_default(), String::from_utf8_lossy(message));
            match world.signatures.get(&made) {
                Some(right) if right == signature => Ok(()),
                _ => Err(VerifyError::BadSignature),
            }
        })
    }
}

pub(crate) mod password {
    use crate::{
        password::VerifyError,
        testing::world::{Phase, with},
    };

    pub(crate) fn check(hash: &str) -> Result<(), String> {
        let known = ["$argon2", "$2a$", "$2b$", "$2y$"].iter().any(|prefix| hash.starts_with(prefix));
        if known { Ok(()) } else { Err("it is neither argon2 ($argon2id$...) nor bcrypt ($2y$...)".to_owned()) }
    }

    pub(crate) fn verify(hash: &str, password: &str) -> Result<bool, VerifyError> {
        check(hash).map_err(VerifyError::Unsupported)?;
        with(|world| {
            assert!(world.phase != Phase::Configure, "password::verify in Plugin::new traps in the gateway");
            if world.passwords_busy {
                return Err(VerifyError::Busy);
            }
            world.passwords_checked.push(hash.to_owned());
            Ok(world.passwords.get(hash).is_some_and(|right| right == password))
        })
    }
}

pub(crate) mod single_flight {
    use std::time::Duration;

    use crate::{
        single_flight::Turn,
        testing::world::{Phase, with},
    };

    pub(crate) fn take(key: &str, _: Option<Duration>) -> Turn {
        with(|world| {
            assert!(world.phase != Phase::Configure, "single_flight::take in Plugin::new traps in the gateway");
            assert!(
                !world.turns.contains(key),
                "single_flight::take under a key whose turn the hook has traps in the gateway"
            );
            world.others_turn.clone().unwrap_or_else(|| {
                world.turns.insert(key.to_owned());
                Turn::Mine
            })
        })
    }

    pub(crate) fn done(key: &str, _: &[u8]) {
        with(|world| assert!(world.turns.remove(key), "single_flight::done without a turn traps in the gateway"));
    }
}

pub(crate) mod http_client {
    use crate::{
        http_client::{CallError, Request, Response},
        testing::world::with,
    };

    pub(crate) fn send(request: &Request) -> Result<Response, CallError> {
        // The response comes from the test's own code, so it runs while the world is not borrowed.
        let answer = with(|world| {
            world.calls.push(request.clone());
            world.upstreams.remove(&request.upstream)
        });
        let mut answer = answer.ok_or(CallError::UnknownUpstream)?;
        let response = answer(request);
        with(|world| world.upstreams.insert(request.upstream.clone(), answer));
        response
    }

    pub(crate) fn dispatch(request: &Request) -> Result<(), CallError> {
        match send(request) {
            Err(error @ (CallError::UnknownUpstream | CallError::LimitExceeded)) => Err(error),
            _ => Ok(()),
        }
    }

    /// The call is answered at once; the result waits for [`next`].
    pub(crate) fn start(request: &Request) -> Result<u32, CallError> {
        let answer = match send(request) {
            Err(error @ (CallError::UnknownUpstream | CallError::LimitExceeded)) => return Err(error),
            answer => answer,
        };
        Ok(with(|world| {
            let number = u32::try_from(world.calls.len()).unwrap_or(u32::MAX);
            world.running.push_back((number, answer));
            number
        }))
    }

    pub(crate) fn next() -> Option<(u32, Result<Response, CallError>)> {
        with(|world| world.running.pop_front())
    }

    pub(crate) fn send_all(requests: &[Request]) -> Vec<Result<Response, CallError>> {
        requests.iter().map(send).collect()
    }
}
