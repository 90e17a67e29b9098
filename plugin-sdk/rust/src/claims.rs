//! Facts about a caller: the claims of an [`Identity`](crate::Identity).

use std::{borrow::Cow, collections::BTreeMap};

use serde_json::{Map, Value};

/// Claims: a JSON object.
#[derive(Clone, Debug, Default)]
pub struct Claims(Value);

impl Claims {
    /// `None` if the text is not an object, which the gateway never passes.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let claims: Value = serde_json::from_str(text).ok()?;
        claims.is_object().then_some(Self(claims))
    }

    /// No claims.
    #[must_use]
    pub const fn none() -> Self {
        Self(Value::Null)
    }

    /// The claims as a map.
    #[must_use]
    pub fn into_map(self) -> Map<String, Value> {
        match self.0 {
            Value::Object(claims) => claims,
            _ => Map::new(),
        }
    }

    /// A claim by name, or by JSON pointer (RFC 6901) if the name begins with `/`. A claim that is null counts as
    /// absent.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        let claim = if name.starts_with('/') { self.0.pointer(name) } else { self.0.get(name) };
        claim.filter(|claim| !claim.is_null())
    }

    /// A claim as text; lists and objects as JSON, so that one element cannot be mistaken for two.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<Cow<'_, str>> {
        self.get(name).map(|claim| match claim {
            Value::String(text) => Cow::Borrowed(text.as_str()),
            other => Cow::Owned(other.to_string()),
        })
    }

    /// Whether the caller was granted this scope: it is a word of `scope` or `scp`, or an element if that is a list.
    #[must_use]
    pub fn has_scope(&self, scope: &str) -> bool {
        ["scope", "scp"].iter().filter_map(|name| self.0.get(name)).any(|granted| match granted {
            Value::String(text) => text.split(' ').any(|one| one == scope),
            Value::Array(list) => list.iter().any(|one| one == scope),
            _ => false,
        })
    }

    /// Whether a claim is one of `values` or, if the claim is a list, contains one of them.
    #[must_use]
    pub fn is_any(&self, name: &str, values: &[Value]) -> bool {
        match self.get(name) {
            Some(Value::Array(list)) => list.iter().any(|one| values.contains(one)),
            Some(one) => values.contains(one),
            None => false,
        }
    }
}

/// Requirements on claims.
#[derive(Clone, Debug, Default)]
pub struct Demands {
    scopes: Vec<String>,
    /// A claim and its accepted values.
    required: Vec<(String, Vec<Value>)>,
}

impl Demands {
    /// Requires all of these scopes, and each of these claims with its value or one of its list.
    ///
    /// # Errors
    /// Names the claim that no token could satisfy.
    pub fn new(scopes: Vec<String>, required: BTreeMap<String, Value>) -> Result<Self, String> {
        let required = required.into_iter().map(|(claim, value)| match values(value) {
            Ok(values) => Ok((claim, values)),
            Err(why) => Err(format!("required_claims: {claim:?} {why}")),
        });
        Ok(Self { scopes, required: required.collect::<Result<_, _>>()? })
    }

    /// Whether these claims meet all requirements.
    #[must_use]
    pub fn are_met(&self, claims: &Claims) -> bool {
        self.scopes.iter().all(|scope| claims.has_scope(scope))
            && self.required.iter().all(|(claim, values)| claims.is_any(claim, values))
    }
}

/// Reads the value that an operator requires of a claim: one text, number or boolean, or a list of accepted ones.
///
/// # Errors
/// What is expected, as a clause that follows the claim's name.
pub fn values(value: Value) -> Result<Vec<Value>, &'static str> {
    let values = match value {
        Value::Array(values) => values,
        value => vec![value],
    };
    match values.iter().all(|value| value.is_string() || value.is_number() || value.is_boolean()) {
        true if !values.is_empty() => Ok(values),
        _ => Err("needs a text, a number, a boolean, or a list of them"),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const CLAIMS: &str = r#"{ "sub": "ada", "scope": "read write", "scp": ["mail"], "level": 3, "none": null,
        "groups": ["staff", "admin"], "realm_access": { "roles": ["ops"] }, "a/b": true }"#;

    #[test]
    fn a_claim_is_found_by_name_or_pointer() {
        let claims = Claims::parse(CLAIMS).unwrap();
        for (name, text) in [
            ("sub", Some("ada")),
            ("level", Some("3")),
            ("groups", Some(r#"["staff","admin"]"#)),
            ("/realm_access/roles", Some(r#"["ops"]"#)),
            ("/groups/0", Some("staff")),
            ("a/b", Some("true")),
            ("none", None),
            ("nobody", None),
            ("/realm_access/nobody", None),
        ] {
            assert_eq!(claims.text(name).as_deref(), text, "{name}");
        }
        assert!(Claims::parse("[]").is_none() && Claims::parse("\"a\"").is_none() && Claims::parse("{").is_none());
        assert!(Claims::none().get("sub").is_none());
    }

    #[test]
    fn scopes_are_words_or_elements() {
        let claims = Claims::parse(CLAIMS).unwrap();
        for (scope, has) in
            [("read", true), ("write", true), ("mail", true), ("rea", false), ("read write", false), ("", false)]
        {
            assert_eq!(claims.has_scope(scope), has, "{scope:?}");
        }
    }

    #[test]
    fn one_of_the_wanted_values_is_enough() {
        let claims = Claims::parse(CLAIMS).unwrap();
        for (name, wanted, is) in [
            ("sub", serde_json::json!("ada"), true),
            ("sub", serde_json::json!(["bob", "ada"]), true),
            ("sub", serde_json::json!("Ada"), false),
            ("level", serde_json::json!(3), true),
            ("level", serde_json::json!("3"), false),
            ("groups", serde_json::json!("admin"), true),
            ("groups", serde_json::json!("adm"), false),
            ("nobody", serde_json::json!("ada"), false),
        ] {
            assert_eq!(claims.is_any(name, &values(wanted.clone()).unwrap()), is, "{name} {wanted}");
        }
        for wrong in [serde_json::json!([]), serde_json::json!({}), serde_json::json!(null), serde_json::json!([[1]])] {
            assert!(values(wrong.clone()).is_err(), "{wrong}");
        }
    }
}
