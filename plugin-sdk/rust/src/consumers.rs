//! The consumers of the gateway's configuration: who may call, whoever proves it.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::{MutateError, Exchange, host::consumers as host};

/// A consumer, as a plugin makes it the caller of an exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consumer {
    /// The subject of its identity.
    pub name: String,
    /// The claims of its identity: the text of a JSON object with `consumer`, and `groups` and `limits` where it has some.
    pub claims: String,
}

impl Consumer {
    /// Makes it the caller.
    ///
    /// # Errors
    /// As [`Exchange::set_identity`].
    pub fn admit(&self, exchange: &Exchange) -> Result<(), MutateError> {
        exchange.set_identity(&self.name, &self.claims)
    }

    /// Makes it the caller, with what its credential says beside what is known of it. What is known counts more: no token
    /// makes its owner a member of a group.
    ///
    /// # Errors
    /// As [`Exchange::set_identity`].
    pub fn admit_with(&self, exchange: &Exchange, mut said: Map<String, Value>) -> Result<(), MutateError> {
        for own in ["consumer", "groups", "limits"] {
            said.remove(own);
        }
        let known: Map<String, Value> = serde_json::from_str(&self.claims).unwrap_or_default();
        said.extend(known);
        exchange.set_identity(&self.name, &Value::Object(said).to_string())
    }
}

/// The credentials that stand under this plugin's name, each with its consumer; for [`crate::Plugin::new`]. The gateway has
/// checked them against [`crate::Plugin::CREDENTIAL`].
///
/// # Errors
/// Names the consumer whose credential is none, never the credential.
pub fn credentials<T: DeserializeOwned>() -> Result<Vec<(T, Consumer)>, String> {
    let read = |(name, claims, definition): (String, String, String)| match serde_json::from_str(&definition) {
        Ok(credential) => Ok((credential, Consumer { name, claims })),
        Err(_) => Err(format!("a credential of the consumer {name:?} is not one that this plugin takes")),
    };
    host::credentials().into_iter().map(read).collect()
}
