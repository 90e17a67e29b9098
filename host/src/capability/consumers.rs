//! `consumers`: the credentials and limits that the operator configured for a plugin, each with its consumer.
//!
//! A plugin gets them only while it is configured, and only those under its own name. No credential is ever shown:
//! `Debug` prints the consumer's name.

use std::fmt;
use std::sync::Arc;

/// One credential of one consumer.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Credential {
    /// The consumer's name.
    pub consumer: Arc<str>,
    /// Facts about the consumer: a JSON object, for the claims of an identity.
    pub claims: Arc<str>,
    /// The credential, a JSON object.
    pub definition: String,
}

/// The limit of one consumer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Limit {
    /// The consumer's name.
    pub consumer: Arc<str>,
    /// The limit, as JSON.
    pub definition: String,
}

impl fmt::Debug for Credential {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Credential").field("consumer", &self.consumer).finish_non_exhaustive()
    }
}
