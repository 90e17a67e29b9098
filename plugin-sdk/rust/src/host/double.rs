//! The test double behind the seam. Same functions as `component.rs`, same rules as the gateway.

pub(crate) mod exchange {
    use http::Method;

    use crate::{
        BodyMode, Direction, Identity, MutateError, Section, rules,
        testing::world::{self, Edit, Phase, World, with},
    };

    pub(crate) fn method() -> String {
        look(|exchange| exchange.method.clone())
    }

    pub(crate) fn scheme() -> String {
        look(|exchange| exchange.scheme.clone())
    }

    pub(crate) fn authority() -> String {
        look(|exchange| exchange.authority.clone())
    }

    pub(crate) fn path() -> String {
        look(|exchange| exchange.path.clone())
    }

    pub(crate) fn status() -> u16 {
        look(|exchange| exchange.status)
    }

    pub(crate) fn header(section: Section, name: &str) -> Option<String> {
        let value = look(|exchange| exchange.values(section, name)).into_iter().next()?;
        Some(String::from_utf8_lossy(&value).into_owned())
    }

    pub(crate) fn select_headers(section: Section, names: &[&str]) -> Vec<Option<String>> {
        names.iter().map(|name| header(section, name)).collect()
    }

    pub(crate) fn header_values(section: Section, name: &str) -> Vec<Vec<u8>> {
        look(|exchange| exchange.values(section, name))
    }

    pub(crate) fn headers(section: Section) -> Vec<(String, Vec<u8>)> {
        look(|exchange| exchange.sections.get(&section).cloned().unwrap_or_default())
    }

    pub(crate) fn set_header(section: Section, name: &str, value: &str) -> Result<(), MutateError> {
        edit(section, Edit::Set(name.to_ascii_lowercase(), trimmed(value)))
    }

    pub(crate) fn append_header(section: Section, name: &str, value: &str) -> Result<(), MutateError> {
        edit(section, Edit::Append(name.to_ascii_lowercase(), trimmed(value)))
    }

    pub(crate) fn remove_header(section: Section, name: &str) -> Result<(), MutateError> {
        edit(section, Edit::Remove(name.to_ascii_lowercase()))
    }

    pub(crate) fn set_headers(section: Section, block: &[u8]) -> Result<(), MutateError> {
        edit_all(section, block, set_header)
    }

    pub(crate) fn append_headers(section: Section, block: &[u8]) -> Result<(), MutateError> {
        edit_all(section, block, append_header)
    }

    fn edit_all(
        section: Section,
        block: &[u8],
        edit: fn(Section, &str, &str) -> Result<(), MutateError>,
    ) -> Result<(), MutateError> {
        let before = look(world::Exchange::clone);
        let changed = fields(block)?.into_iter().try_for_each(|(name, value)| edit(section, &name, &value));
        if changed.is_err() {
            change(|world| world.exchange = before);
        }
        changed
    }

    fn fields(mut block: &[u8]) -> Result<Vec<(String, String)>, MutateError> {
        let mut fields = Vec::new();
        while let Some((lengths, rest)) = block.split_first_chunk::<6>() {
            let [n0, n1, v0, v1, v2, v3] = *lengths;
            let name = usize::from(u16::from_le_bytes([n0, n1]));
            let value = u32::from_le_bytes([v0, v1, v2, v3]) as usize;
            let (name, rest) = rest.split_at_checked(name).ok_or(MutateError::InvalidSyntax)?;
            let (value, rest) = rest.split_at_checked(value).ok_or(MutateError::InvalidSyntax)?;
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).map_err(|_| MutateError::InvalidSyntax);
            fields.push((text(name)?, text(value)?));
            block = rest;
        }
        if block.is_empty() { Ok(fields) } else { Err(MutateError::InvalidSyntax) }
    }

    pub(crate) fn set_method(method: &str) -> Result<(), MutateError> {
        change(|world| {
            world.phase.request_open()?;
            let parsed = Method::from_bytes(method.as_bytes()).map_err(|_| MutateError::InvalidSyntax)?;
            if parsed == Method::CONNECT {
                return Err(MutateError::Forbidden);
            }
            method.clone_into(&mut world.exchange.method);
            Ok(())
        })
    }

    pub(crate) fn set_authority(authority: &str) -> Result<(), MutateError> {
        change(|world| {
            world.phase.request_open()?;
            let valid = authority.parse::<http::uri::Authority>().is_ok_and(|parsed| !parsed.as_str().contains('@'));
            if !valid {
                return Err(MutateError::InvalidSyntax);
            }
            authority.clone_into(&mut world.exchange.authority);
            Ok(())
        })
    }

    pub(crate) fn set_path(path: &str) -> Result<(), MutateError> {
        change(|world| {
            world.phase.request_open()?;
            let (before, _) = path.split_once('?').unwrap_or((path, ""));
            let is_dots =
                |segment: &str| matches!(segment.to_ascii_lowercase().replace("%2e", ".").as_str(), "." | "..");
            let clean = path.starts_with('/')
                && path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#')
                && !before.split('/').any(is_dots);
            if !clean {
                return Err(MutateError::InvalidSyntax);
            }
            path.clone_into(&mut world.exchange.path);
            Ok(())
        })
    }

    pub(crate) fn set_status(status: u16) -> Result<(), MutateError> {
        change(|world| {
            world.phase.response_open()?;
            if !(200..=599).contains(&status) {
                return Err(MutateError::InvalidSyntax);
            }
            world.exchange.status = status;
            Ok(())
        })
    }

    pub(crate) fn set_upstream(name: &str) -> Result<(), MutateError> {
        change(|world| {
            world.phase.request_open()?;
            if !world.route_upstreams.iter().any(|allowed| allowed == name) {
                return Err(MutateError::NotGranted);
            }
            world.exchange.upstream = Some(name.to_owned());
            Ok(())
        })
    }

    pub(crate) fn attribute(name: &str) -> Option<String> {
        look(|exchange| match name {
            "identity.subject" => exchange.identity.as_ref().map(|identity| identity.subject.clone()),
            name => exchange.attributes.get(name).cloned(),
        })
    }

    pub(crate) fn set_attribute(name: &str, value: &str) -> Result<(), MutateError> {
        change(|world| {
            if name.is_empty() || name.len() > NAME_LIMIT_BYTES || value.len() > VALUE_LIMIT_BYTES {
                return Err(MutateError::LimitExceeded);
            }
            world.exchange.attributes.insert(format!("plugin.under-test.{name}"), value.to_owned());
            Ok(())
        })
    }

    pub(crate) fn identity() -> Option<Identity> {
        look(|exchange| exchange.identity.clone())
    }

    pub(crate) fn set_identity(subject: &str, claims: &str) -> Result<(), MutateError> {
        change(|world| {
            world.phase.request_open()?;
            if serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(claims).is_err() {
                return Err(MutateError::InvalidSyntax);
            }
            if subject.len() > NAME_LIMIT_BYTES || claims.len() > CLAIMS_LIMIT_BYTES {
                return Err(MutateError::LimitExceeded);
            }
            world.exchange.identity = Some(Identity { subject: subject.to_owned(), claims: claims.to_owned() });
            Ok(())
        })
    }

    pub(crate) fn set_body_mode(direction: Direction, mode: BodyMode) -> Result<(), MutateError> {
        change(|world| match (direction, world.phase) {
            (Direction::Request, Phase::Request) => {
                world.exchange.request_body = mode;
                Ok(())
            }
            (Direction::Response, Phase::Request | Phase::RequestBody { .. } | Phase::Response) => {
                world.exchange.response_body = mode;
                Ok(())
            }
            _ => Err(MutateError::WrongPhase),
        })
    }

    pub(crate) fn state() -> Vec<u8> {
        look(|exchange| exchange.state.clone())
    }

    pub(crate) fn set_state(state: &[u8]) -> Result<(), MutateError> {
        change(|world| {
            if state.len() > STATE_LIMIT_BYTES {
                return Err(MutateError::LimitExceeded);
            }
            world.exchange.state = state.to_vec();
            Ok(())
        })
    }

    fn look<T>(read: impl FnOnce(&world::Exchange) -> T) -> T {
        change(|world| read(&world.exchange))
    }

    fn change<T>(run: impl FnOnce(&mut World) -> T) -> T {
        with(|world| {
            let in_a_hook = !matches!(world.phase, Phase::Outside | Phase::Configure);
            assert!(in_a_hook, "the exchange was used outside of a hook, which traps in the gateway");
            run(world)
        })
    }

    fn edit(section: Section, edit: Edit) -> Result<(), MutateError> {
        change(|world| {
            let is_later = section == Section::ResponseHeaders && world.phase.request_open().is_ok();
            if !is_later {
                world.phase.section_open(section)?;
            }
            if http::HeaderName::from_bytes(edit.name().as_bytes()).is_err() {
                return Err(MutateError::InvalidSyntax);
            }
            if rules::check_name(edit.name()).is_err() {
                return Err(MutateError::Forbidden);
            }
            if rules::check_value(edit.value()).is_err() {
                return Err(MutateError::InvalidSyntax);
            }
            if is_later {
                world.exchange.later.push(edit);
                return Ok(());
            }
            let headers = world.exchange.sections.entry(section).or_default();
            let bytes: usize = headers.iter().map(|(name, value)| name.len() + value.len()).sum();
            let added = edit.name().len() + edit.value().len();
            let is_full = headers.len() >= HEADER_LIMIT || bytes + added > HEADER_LIMIT_BYTES;
            if is_full && !matches!(edit, Edit::Remove(_)) {
                return Err(MutateError::LimitExceeded);
            }
            edit.apply(headers);
            Ok(())
        })
    }

    fn trimmed(value: &str) -> String {
        value.trim_matches([' ', '\t']).to_owned()
    }

    /// The gateway's limits are set by the operator; these are near its defaults.
    const HEADER_LIMIT: usize = 100;
    const HEADER_LIMIT_BYTES: usize = 64 * 1024;
    const STATE_LIMIT_BYTES: usize = 64 * 1024;
    const CLAIMS_LIMIT_BYTES: usize = 64 * 1024;
    const NAME_LIMIT_BYTES: usize = 1024;
    const VALUE_LIMIT_BYTES: usize = 4096;
}

pub(crate) mod hooks {
    use crate::{
        Hook,
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

    /// Since 1970; the double is made at the beginning of 2026.
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

    /// The double hides nothing: it keeps what was sealed, and gives out where it is.
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
        with(|world| world.limiter.take(key, quota, cost, world.elapsed))
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

pub(crate) mod http_client {
    use crate::{
        http_client::{CallError, Request, Response},
        testing::world::with,
    };

    pub(crate) fn send(request: &Request) -> Result<Response, CallError> {
        // The answer is the test's own code, so it runs while the world is free.
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

    pub(crate) fn send_all(requests: &[Request]) -> Vec<Result<Response, CallError>> {
        requests.iter().map(send).collect()
    }
}
