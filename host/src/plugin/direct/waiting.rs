//! The host's functions that may wait, for guests that run directly: each line is a function of the contract, its
//! parameters, and the work, which is awaited on the hook's fiber.

use wasmtime::Result;

use super::super::bindings::{http_client, password, rate_limit, single_flight};
use super::super::state::State;
use super::abi::Pass;
use super::host::Definition;

/// Defines the imported function, if it is one of these. Those that count ask the server that several gateways share.
pub fn define(into: Definition<'_>, interface: &str, function: &str) -> Result<bool> {
    /// `name |state, parameter: type, ..| future`, by interface.
    macro_rules! functions {
        ($($interface:literal {
            $($function:literal |$state:ident $(, $parameter:ident: $type:ty)*| $body:expr;)*
        })*) => {
            match (interface, function) {
                $($(($interface, $function) => {
                    #[allow(unused_mut)] // of those that take nothing
                    let mut types = Vec::new();
                    $(<$type as Pass<'_>>::types(&mut types);)*
                    into.waiting(
                        types,
                        |guest| {
                            let _ = &guest;
                            $(let $parameter = <$type as Pass<'_>>::take(guest)?;)*
                            Ok(($($parameter,)*))
                        },
                        |$state: &mut State, ($($parameter,)*): ($($type,)*)| Box::pin(async move { $body.await }),
                    )
                })*)*
                _ => return Ok(false),
            }?
        };
    }

    functions! {
        "http-client" {
            "send" |s, request: http_client::Request| http_client::Host::send(s, request);
            "send-all" |s, requests: Vec<http_client::Request>| http_client::Host::send_all(s, requests);
            "dispatch" |s, request: http_client::Request| http_client::Host::dispatch(s, request);
            "start" |s, request: http_client::Request| http_client::Host::start(s, request);
            "next" |s| http_client::Host::next(s);
        }
        "single-flight" {
            "take" |s, key: String, wait_ms: u32| single_flight::Host::take(s, key, wait_ms);
            "done" |s, key: String, answer: Vec<u8>| single_flight::Host::done(s, key, answer);
        }
        "password" {
            "check" |s, hash: String| password::Host::check(s, hash);
            "verify" |s, hash: String, password: String| password::Host::verify(s, hash, password);
        }
        "rate-limit" {
            "take" |s, key: String, quota: rate_limit::Quota, cost: u32| s.take_shared(&key, quota, cost);
            "take-all" |s, key: String, rules: Vec<rate_limit::Rule>, cost: u32| s.take_all_shared(&key, rules, cost);
        }
        "concurrency" {
            "enter" |s, key: String, limit: u32| s.enter_shared(&key, limit);
        }
        "shared-store" {
            "get" |s, key: String| s.get_shared(&key);
            "set" |s, key: String, value: Vec<u8>, ttl: Option<u32>| s.set_shared(&key, &value, ttl);
            "compare-and-set" |s, key: String, expected: Option<u64>, value: Vec<u8>, ttl: Option<u32>| {
                s.swap_shared(&key, expected, &value, ttl)
            };
            "remove" |s, key: String| s.remove_shared(&key);
            "increment" |s, key: String, delta: i64, ttl: Option<u32>| s.increment_shared(&key, delta, ttl);
        }
    }
    Ok(true)
}
