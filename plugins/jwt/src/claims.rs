//! What a token must say.

use std::collections::BTreeMap;

use gatewright_sdk::{
    claims::{self, Claims},
    serde_json::Value,
};

/// What the claims of a token must say for the token to be enough.
pub(crate) struct Demands {
    scopes: Vec<String>,
    /// A claim and the values of which one is enough.
    required: Vec<(String, Vec<Value>)>,
}

impl Demands {
    /// # Errors
    /// Names the claim that can never be right.
    pub(crate) fn new(scopes: Vec<String>, required: BTreeMap<String, Value>) -> Result<Self, String> {
        let required = required.into_iter().map(|(claim, value)| match claims::values(value) {
            Ok(values) => Ok((claim, values)),
            Err(why) => Err(format!("required_claims: {claim:?} {why}")),
        });
        Ok(Self { scopes, required: required.collect::<Result<_, _>>()? })
    }

    pub(crate) fn are_met(&self, claims: &Claims) -> bool {
        self.scopes.iter().all(|scope| claims.has_scope(scope))
            && self.required.iter().all(|(claim, values)| claims.is_any(claim, values))
    }
}
