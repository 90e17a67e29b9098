//! The contract as Rust: types and host traits generated from `wit/plugin.wit`.
//!
//! The `exchange` interface is not linked from here but by hand (`link.rs`): its functions are called several times per
//! hook, and there borrowed strings save an allocation per argument.

wasmtime::component::bindgen!({
    path: "../wit",
    world: "gatewright:plugin/imports-net",
    imports: {
        "gatewright:plugin/http-client": async | trappable,
        "gatewright:plugin/single-flight": async | trappable,
        "gatewright:plugin/password": async | trappable,
        default: trappable,
    },
});

pub use self::gatewright::plugin::types::{
    BodyDecision, BodyMode, Caller, Decision, Direction, LocalResponse, MutateError, Section,
};
pub use self::gatewright::plugin::{
    clock, codec, concurrency, consumers, hooks, http_client, json_schema, jwt, log, metrics, password, random,
    rate_limit, seal, secrets, shared_store, single_flight, types,
};
