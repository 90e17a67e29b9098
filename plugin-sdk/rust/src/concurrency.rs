//! How many exchanges are under way at once, counted by the gateway over all its cores.

use crate::host::concurrency as host;

/// What became of an [`enter`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Whether the exchange has a place.
    pub allowed: bool,
    /// How many places are taken under the key, this one with them.
    pub taken: u32,
}

/// Takes one of `limit` places under `key` for the exchange of the running hook. The exchange gives it back when it is over,
/// however it ends. Keys are private to the plugin's configuration.
#[must_use]
pub fn enter(key: &str, limit: u32) -> Outcome {
    host::enter(key, limit)
}
