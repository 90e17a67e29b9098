//! The native capabilities that the host offers to plugins.
//!
//! Each part is plain Rust behind one interface of `wit/plugin.wit` and has the shape of that interface with plain
//! types. `plugin/` wires them to guests; nothing here knows what a guest is. What a plugin may reach (which key sets,
//! which secrets) is resolved when its configuration is loaded, so a call on the request path is only a lookup.
//!
//! Three rules hold for every part:
//!   * **bounded**: keys, bytes, series, lines and tokens all have a limit with a documented default;
//!   * **time is an argument**: no part reads a clock on the request path, so every rule is testable to the
//!     millisecond;
//!   * **never async on the request path**: the only futures are those that refresh JWKS documents, which run on the
//!     control thread, and those of an interface whose purpose is to wait (`password`), which put their plugin on a
//!     fiber.

pub mod codec;
pub mod concurrency;
pub mod consumers;
pub mod json_schema;
pub mod jwt;
pub mod log;
pub mod metrics;
pub mod password;
pub mod rate_limit;
pub mod remote;
pub mod seal;
pub mod secrets;
pub mod store;
mod table;
pub mod token_bucket;
pub mod turns;
mod unique_json;
