//! Write Gatewright plugins in Rust.
//!
//! A plugin is a type that implements [`Plugin`]: [`Plugin::new`] takes the typed configuration, and each hook it
//! implements is called at one moment of an exchange. The attribute [`macro@plugin`] on that `impl` turns it into a
//! component that exports exactly the hooks it has and imports exactly what it calls; the operator grants by that list.
//!
//! ```
//! use gatewright_sdk::{Decision, Exchange, Plugin, StatusCode, config, plugin};
//!
//! #[config]
//! struct Config {
//!     /// The only value of `x-door` that is let in.
//!     word: String,
//! }
//!
//! struct Door(Config);
//!
//! #[plugin]
//! impl Plugin for Door {
//!     type Config = Config;
//!
//!     fn new(config: Config) -> Result<Self, String> {
//!         Ok(Door(config))
//!     }
//!
//!     fn on_request(&self, exchange: &Exchange) -> Decision {
//!         match exchange.request_headers().get("x-door") {
//!             Some(word) if word == self.0.word => Decision::Proceed,
//!             _ => Decision::problem(StatusCode::FORBIDDEN, "Forbidden", "the door stays shut"),
//!         }
//!     }
//! }
//! ```
//! Everything a plugin calls goes through one private seam, `host`: on Wasm it is the gateway, natively it is the
//! double in [`testing`]. So a plugin's tests run with plain `cargo test`, and only the seam knows which of the two is
//! behind it.
//! knows which of the two it talks to.
//! An instance runs one hook at a time and may serve many exchanges, one after another. Keep data of one exchange in
//! its [`Exchange::state`], and data of all in [`shared_store`]; the fields of the plugin are for what is computed from
//! the configuration.

pub mod bearer;
pub mod claims;
pub mod clock;
pub mod codec;
pub mod concurrency;
pub mod consumers;
pub mod credential;
mod decision;
mod exchange;
pub mod form;
pub mod hex;
pub mod http_client;
pub mod json;
pub mod json_body;
pub mod json_schema;
pub mod jwt;
pub mod log;
mod manifest;
#[cfg(any(test, all(target_family = "wasm", feature = "allocator")))]
mod memory;
mod metrics;
pub mod partition;
pub mod password;
mod plugin;
pub mod random;
pub mod rate_limit;
pub mod representation;
pub mod rules;
pub mod seal;
pub mod secrets;
pub mod shared_store;
pub mod single_flight;
pub mod template;
pub mod units;

#[cfg(target_family = "wasm")]
#[doc(hidden)]
pub mod export;
#[cfg(target_family = "wasm")]
#[path = "host/component.rs"]
mod host;
#[cfg(not(target_family = "wasm"))]
#[path = "host/double.rs"]
mod host;
#[cfg(not(target_family = "wasm"))]
pub mod testing;

pub use decision::{BodyDecision, Decision, Response};
pub use exchange::{
    BodyMode, Direction, Exchange, HeaderBlock, HeaderChange, Headers, Identity, MutateError, Section, Several,
};
pub use gatewright_sdk_macros::{config, plugin};
pub use http::{Method, StatusCode, header};
pub use manifest::manifest;
pub use metrics::Metric;
pub use plugin::{Exported, Hook, NoConfig, Plugin, State};
pub use {http, schemars, serde, serde_json};

/// The examples in documents are compiled, so that they stay correct.
#[cfg(doctest)]
mod examples {
    #[doc = include_str!("../../README.md")]
    struct Readme;

    #[doc = include_str!("../../../docs/plugins/writing.md")]
    struct Writing;

    /// A plugin without a hook is a mistake.
    ///
    /// ```compile_fail
    /// # use gatewright_sdk::{NoConfig, Plugin, plugin};
    /// struct Idle;
    ///
    /// #[plugin]
    /// impl Plugin for Idle {
    ///     type Config = NoConfig;
    ///     fn new(_: NoConfig) -> Result<Self, String> { Ok(Idle) }
    /// }
    /// ```
    ///
    /// So is one with a parameter.
    ///
    /// ```compile_fail
    /// # use gatewright_sdk::{Decision, Exchange, NoConfig, Plugin, plugin};
    /// struct Idle<T>(T);
    ///
    /// #[plugin]
    /// impl<T: 'static> Plugin for Idle<T> {
    ///     type Config = NoConfig;
    ///     fn new(_: NoConfig) -> Result<Self, String> { Err(String::new()) }
    ///     fn on_request(&self, _: &Exchange) -> Decision { Decision::Proceed }
    /// }
    /// ```
    struct Refused;
}
