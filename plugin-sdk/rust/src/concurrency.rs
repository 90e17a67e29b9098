//! How many exchanges are in progress at once, counted by the gateway over all its cores.

use crate::host::concurrency as host;

/// The result of [`enter`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Whether the exchange has a place.
    pub allowed: bool,
    /// How many places are taken under the key, including this one.
    pub taken: u32,
}

/// Takes one of `limit` places under `key` for the exchange of the running hook. The exchange gives it back when it
/// ends, however it ends. Keys are private to the plugin's configuration.
#[must_use]
pub fn enter(key: &str, limit: u32) -> Outcome {
    host::enter(key, limit)
}
