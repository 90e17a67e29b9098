//! What a token says, and what it must say.

use std::{borrow::Cow, collections::BTreeMap};

use gatewright_sdk::serde_json::{self, Value};

/// The claims of a token: a JSON object.
pub(crate) struct Claims(Value);

impl Claims {
    /// `None` where the text is no object. The gateway gives nothing else.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let claims: Value = serde_json::from_str(text).ok()?;
        claims.is_object().then_some(Self(claims))
    }

    /// Of nobody.
    pub(crate) const fn none() -> Self {
        Self(Value::Null)
    }

    /// By name, or by JSON pointer (RFC 6901) where the name begins with `/`.
    fn get(&self, name: &str) -> Option<&Value> {
        let claim = if name.starts_with('/') { self.0.pointer(name) } else { self.0.get(name) };
        claim.filter(|claim| !claim.is_null())
    }

    /// A claim as text: lists and objects as JSON, where no element can pass for two.
    pub(crate) fn text(&self, name: &str) -> Option<Cow<'_, str>> {
        self.get(name).map(|claim| match claim {
            Value::String(text) => Cow::Borrowed(text.as_str()),
            other => Cow::Owned(other.to_string()),
        })
    }

    fn has_scope(&self, scope: &str) -> bool {
        ["scope", "scp"].iter().filter_map(|name| self.0.get(name)).any(|granted| match granted {
            Value::String(text) => text.split(' ').any(|one| one == scope),
            Value::Array(list) => list.iter().any(|one| one == scope),
            _ => false,
        })
    }
}

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
        let required = required.into_iter().map(|(claim, values)| {
            let values = match values {
                Value::Array(values) => values,
                value => vec![value],
            };
            match values.iter().all(|value| value.is_string() || value.is_number() || value.is_boolean()) {
                true if !values.is_empty() => Ok((claim, values)),
                _ => Err(format!("required_claims: {claim:?} needs a text, a number, a boolean, or a list of them")),
            }
        });
        Ok(Self { scopes, required: required.collect::<Result<_, _>>()? })
    }

    pub(crate) fn are_met(&self, claims: &Claims) -> bool {
        self.scopes.iter().all(|scope| claims.has_scope(scope))
            && self.required.iter().all(|(claim, values)| match claims.get(claim) {
                Some(Value::Array(list)) => list.iter().any(|one| values.contains(one)),
                Some(one) => values.contains(one),
                None => false,
            })
    }
}
