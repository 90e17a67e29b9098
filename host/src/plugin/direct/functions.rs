//! The host's functions for guests that run directly: each line is a function of the contract, its parameters, and what
//! it does. A name that is not here makes the component run as one.

use wasmtime::Result;

use super::super::bindings::{
    BodyMode, Caller, Direction, Section, clock, codec, concurrency, consumers, hooks, json_schema, jwt, log, metrics,
    random, rate_limit, seal, secrets, shared_store,
};
use super::super::run::Edit;
use super::super::state::State;
use super::super::{edit, guard};
use super::host::{Definition, function};

/// Defines the imported function, if it is one of these.
pub fn define(into: Definition<'_>, interface: &str, function: &str) -> Result<bool> {
    /// `name |state, parameter: type, ..| answer`, by interface.
    macro_rules! functions {
        ($($interface:literal { $($function:literal |$state:ident $(, $parameter:ident: $type:ty)*| $body:expr;)* })*) => {
            match (interface, function) {
                $($(($interface, $function) => function!(into, |$state $(, $parameter: $type)*| $body),)*)*
                _ => return Ok(false),
            }?
        };
    }

    functions! {
        "exchange" {
            "method" |s| Ok(s.asked()?.request.method.as_str().to_owned());
            "scheme" |s| Ok(s.asked()?.request.scheme.as_str().to_owned());
            "authority" |s| Ok(s.asked()?.request.authority().to_owned());
            "path" |s| Ok(s.asked()?.request.target.as_str().to_owned());
            "status" |s| Ok(edit::status(s.asked()?));
            "header" |s, section: Section, name: &str| Ok(edit::header(s.asked()?, section, name));
            "select-headers" |s, section: Section, names: Vec<&str>| {
                let exchange = s.asked()?;
                Ok(names.iter().map(|name| edit::header(exchange, section, name)).collect::<Vec<_>>())
            };
            "header-values" |s, section: Section, name: &str| Ok(edit::header_values(s.asked()?, section, name));
            "headers" |s, section: Section| Ok(edit::all_headers(s.asked()?, section));
            "encoded-headers" |s, section: Section| Ok(edit::encoded_headers(s.asked()?, section));
            "set-header" |s, section: Section, name: &str, value: &str| {
                let field = s.names.field(name.as_bytes(), value.as_bytes());
                change(s, |s| field.and_then(|(name, value)| s.edit_header(section, Edit::Set(name, value))))
            };
            "append-header" |s, section: Section, name: &str, value: &str| {
                let field = s.names.field(name.as_bytes(), value.as_bytes());
                change(s, |s| field.and_then(|(name, value)| s.edit_header(section, Edit::Append(name, value))))
            };
            "remove-header" |s, section: Section, name: &str| {
                let name = s.names.writable(name.as_bytes());
                change(s, |s| name.and_then(|name| s.edit_header(section, Edit::Remove(name))))
            };
            "set-headers" |s, section: Section, block: &[u8]| {
                change(s, |s| guard::fields(block).and_then(|fields| s.set_headers(section, fields)))
            };
            "append-headers" |s, section: Section, block: &[u8]| {
                change(s, |s| guard::fields(block).and_then(|fields| s.append_headers(section, fields)))
            };
            "set-method" |s, method: &str| change(s, |s| s.set_method(method));
            "set-authority" |s, authority: &str| change(s, |s| s.set_authority(authority));
            "set-path" |s, path: &str| change(s, |s| s.set_path(path));
            "set-status" |s, status: u16| change(s, |s| s.set_status(status));
            "set-upstream" |s, name: &str| change(s, |s| s.set_upstream(name));
            "attribute" |s, name: &str| Ok(s.asked()?.attribute(name));
            "set-attribute" |s, name: &str, value: &str| change(s, |s| s.set_attribute(name, value));
            "identity" |s| Ok(edit::identity(s.asked()?));
            "set-identity" |s, caller: Caller| change(s, |s| s.set_identity(caller));
            "set-body-mode" |s, direction: Direction, mode: BodyMode| change(s, |s| s.set_body_mode(direction, mode));
            "hold-back" |s, tail: u64, enough: u64| change(s, |s| s.hold_back(tail, enough));
            "state" |s| change(s, |s| s.kept_state());
            "set-state" |s, state: &[u8]| change(s, |s| s.set_state(state.to_vec()));
        }
        "hooks" {
            "skip" |s, hook: hooks::Hook| hooks::Host::skip(s, hook);
            "always" |s, section: Section, changes: Vec<hooks::HeaderChange>| hooks::Host::always(s, section, changes);
        }
        "log" {
            "enabled" |s, level: log::Level| log::Host::enabled(s, level);
            "write" |s, level: log::Level, message: String, fields: Vec<(String, String)>| {
                log::Host::write(s, level, message, fields)
            };
        }
        "metrics" {
            "count" |s, name: String, labels: Vec<String>, delta: u64| metrics::Host::count(s, name, labels, delta);
            "gauge" |s, name: String, labels: Vec<String>, value: f64| metrics::Host::gauge(s, name, labels, value);
            "observe" |s, name: String, labels: Vec<String>, value: f64| metrics::Host::observe(s, name, labels, value);
        }
        "clock" {
            "now" |s| clock::Host::now(s);
            "monotonic" |s| clock::Host::monotonic(s);
        }
        "random" {
            "bytes" |s, length: u32| random::Host::bytes(s, length);
            "number" |s| random::Host::number(s);
        }
        "shared-store" {
            "get" |s, key: String| shared_store::Host::get(s, key);
            "set" |s, key: String, value: Vec<u8>, ttl: Option<u32>| shared_store::Host::set(s, key, value, ttl);
            "compare-and-set" |s, key: String, expected: Option<u64>, value: Vec<u8>, ttl: Option<u32>| {
                shared_store::Host::compare_and_set(s, key, expected, value, ttl)
            };
            "remove" |s, key: String| shared_store::Host::remove(s, key);
            "increment" |s, key: String, delta: i64, ttl: Option<u32>| {
                shared_store::Host::increment(s, key, delta, ttl)
            };
        }
        "rate-limit" {
            "take" |s, key: String, quota: rate_limit::Quota, cost: u32| rate_limit::Host::take(s, key, quota, cost);
            "take-all" |s, key: String, rules: Vec<rate_limit::Rule>, cost: u32| {
                rate_limit::Host::take_all(s, key, rules, cost)
            };
        }
        "concurrency" {
            "enter" |s, key: String, limit: u32| concurrency::Host::enter(s, key, limit);
        }
        "codec" {
            "compress" |s, direction: Direction, coding: codec::Coding, level: u32| {
                codec::Host::compress(s, direction, coding, level)
            };
            "decompress" |s, direction: Direction, coding: codec::Coding, bounds: codec::Bounds| {
                codec::Host::decompress(s, direction, coding, bounds)
            };
        }
        "json-schema" {
            "declare" |s, name: String, document: String, places: Vec<String>| {
                json_schema::Host::declare(s, name, document, places)
            };
            "check" |s, name: String, place: String, value: Vec<u8>| json_schema::Host::check(s, name, place, value);
        }
        "consumers" {
            "credentials" |s| consumers::Host::credentials(s);
            "limits" |s| consumers::Host::limits(s);
        }
        "jwt" {
            "declare" |s, keys: String, definition: String| jwt::Host::declare(s, keys, definition);
            "verify" |s, keys: String, token: String| jwt::Host::verify(s, keys, token);
            "verify-message"
                |s, keys: String, kid: Option<String>, algorithm: String, message: Vec<u8>, signature: Vec<u8>| {
                    jwt::Host::verify_message(s, keys, kid, algorithm, message, signature)
                };
            "discovered" |s, keys: String| jwt::Host::discovered(s, keys);
        }
        "seal" {
            "seal" |s, key: String, purpose: String, message: Vec<u8>| seal::Host::seal(s, key, purpose, message);
            "open" |s, key: String, purpose: String, sealed: Vec<u8>| seal::Host::open(s, key, purpose, sealed);
        }
        "secrets" {
            "get" |s, name: String| secrets::Host::get(s, name);
        }
    }
    Ok(true)
}

/// Changes the state of a hook that has an exchange.
fn change<T>(state: &mut State, what: impl FnOnce(&mut State) -> T) -> Result<T> {
    state.asked()?;
    Ok(what(state))
}
