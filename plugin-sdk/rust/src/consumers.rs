//! The consumers of the gateway's configuration: who may call, whichever plugin authenticates them.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use crate::{Exchange, Identity, MutateError, claims::Claims, host::consumers as host};

/// A consumer, to be set as the caller of an exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consumer {
    /// The subject of its identity.
    pub name: String,
    /// The claims of its identity: the text of a JSON object with `consumer`, and `groups` if it has any.
    pub claims: String,
}

impl Consumer {
    /// Makes this consumer the caller.
    ///
    /// # Errors
    /// As [`Exchange::set_identity`].
    pub fn admit(&self, exchange: &Exchange) -> Result<(), MutateError> {
        exchange.set_identity(&self.name, &self.claims)
    }

    /// Makes this consumer the caller, and adds the claims of its credential. Where both name a claim, the
    /// configuration's wins: no token makes its owner a member of a group.
    ///
    /// # Errors
    /// As [`Exchange::set_identity`].
    pub fn admit_with(&self, exchange: &Exchange, mut said: Map<String, Value>) -> Result<(), MutateError> {
        for own in ["consumer", "groups"] {
            said.remove(own);
        }
        let known: Map<String, Value> = serde_json::from_str(&self.claims).unwrap_or_default();
        said.extend(known);
        exchange.set_identity(&self.name, &Value::Object(said).to_string())
    }
}

/// The credentials under this plugin's name, each with its consumer; for [`crate::Plugin::new`]. The gateway has
/// checked them against [`crate::Plugin::CREDENTIAL`].
///
/// # Errors
/// Names the consumer whose credential is not valid, never the credential.
pub fn credentials<T: DeserializeOwned>() -> Result<Vec<(T, Consumer)>, String> {
    let read = |(name, claims, definition): (String, String, String)| match serde_json::from_str(&definition) {
        Ok(credential) => Ok((credential, Consumer { name, claims })),
        Err(_) => Err(format!("a credential of the consumer {name:?} is not one that this plugin takes")),
    };
    host::credentials().into_iter().map(read).collect()
}

/// The consumers' own limits under this plugin's name, by consumer; for [`crate::Plugin::new`]. The gateway has checked
/// them against [`crate::Plugin::LIMIT`].
///
/// # Errors
/// Names the consumer whose limit is not valid.
pub fn limits<T: DeserializeOwned>() -> Result<BTreeMap<String, T>, String> {
    let read = |(consumer, definition): (String, String)| match serde_json::from_str(&definition) {
        Ok(limit) => Ok((consumer, limit)),
        Err(error) => Err(format!("the limit of the consumer {consumer:?}: {error}")),
    };
    host::limits().into_iter().map(read).collect()
}

/// What consumers have of their own instead of the general value, by consumer.
#[derive(Debug)]
pub struct Own<T>(BTreeMap<String, T>);

impl<T> Own<T> {
    /// Converts each consumer's limit into the plugin's own type with `make`; reads none if `consumers` is false.
    ///
    /// # Errors
    /// Names the consumer whose limit is not valid.
    pub fn read<L: DeserializeOwned>(consumers: bool, make: impl Fn(L) -> Result<T, String>) -> Result<Self, String> {
        let limits = if consumers { limits::<L>()? } else { BTreeMap::new() };
        let make = |(consumer, limit)| match make(limit) {
            Ok(own) => Ok((consumer, own)),
            Err(why) => Err(format!("the limit of the consumer {consumer:?}: {why}")),
        };
        limits.into_iter().map(make).collect::<Result<_, _>>().map(Self)
    }

    /// The caller's own value, if the caller is a consumer that has one.
    #[must_use]
    pub fn of(&self, exchange: &Exchange) -> Option<&T> {
        self.find(exchange).map(|(_, own)| own)
    }

    /// The same with the consumer's name: for a later hook, before which another plugin may have set another caller.
    #[must_use]
    pub fn find(&self, exchange: &Exchange) -> Option<(&str, &T)> {
        if self.0.is_empty() {
            return None;
        }
        let (consumer, own) = self.0.get_key_value(&of(&exchange.identity()?)?)?;
        Some((consumer, own))
    }

    /// The own value of a consumer.
    #[must_use]
    pub fn get(&self, consumer: &str) -> Option<&T> {
        self.0.get(consumer)
    }
}

/// Which consumer the caller is, if any.
#[must_use]
pub fn of(identity: &Identity) -> Option<String> {
    Claims::parse(&identity.claims)?.text("consumer").map(std::borrow::Cow::into_owned)
}

/// The claim that identifies a consumer: the credential of every plugin whose callers have claims.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Owner {
    /// The claim that identifies it: a name, or a JSON pointer that begins with `/`. Default: the plugin's `subject`.
    #[schemars(length(min = 1))]
    pub claim: Option<String>,
    /// The value of the claim, or one of its elements if it is a list.
    #[schemars(length(min = 1))]
    pub value: String,
    /// The value of `iss`, if more than one issuer is trusted.
    #[schemars(length(min = 1))]
    pub issuer: Option<String>,
}

/// The consumers, and the claims by which they are known.
#[derive(Debug)]
pub struct Owners(Vec<Known>);

#[derive(Debug)]
struct Known {
    claim: String,
    value: Value,
    issuer: Option<Value>,
    consumer: Consumer,
}

impl Owners {
    /// `subject` is the claim to compare if a credential names none.
    ///
    /// # Errors
    /// No consumer has a credential, or two have the same.
    pub fn new(credentials: Vec<(Owner, Consumer)>, subject: &str) -> Result<Self, String> {
        let mut owners: Vec<Known> = Vec::with_capacity(credentials.len());
        for (Owner { claim, value, issuer }, consumer) in credentials {
            let claim = claim.unwrap_or_else(|| subject.to_owned());
            let owner = Known { claim, value: value.into(), issuer: issuer.map(Value::from), consumer };
            if let Some(other) = owners.iter().find(|other| other.is_like(&owner)) {
                let (one, two) = (&other.consumer.name, &owner.consumer.name);
                return Err(format!("the consumers {one:?} and {two:?} are known by the same claim"));
            }
            owners.push(owner);
        }
        match owners.is_empty() {
            true => Err("consumers: none has a credential for this plugin".to_owned()),
            false => Ok(Self(owners)),
        }
    }

    /// The only consumer that these claims fit; none if they fit several.
    #[must_use]
    pub fn of(&self, claims: &Claims) -> Option<&Consumer> {
        let mut owners = self.0.iter().filter(|owner| owner.has(claims)).map(|owner| &owner.consumer);
        let only = owners.next()?;
        owners.all(|other| other.name == only.name).then_some(only)
    }
}

impl Known {
    fn has(&self, claims: &Claims) -> bool {
        let is = |claim: &str, value: &Value| claims.is_any(claim, std::slice::from_ref(value));
        is(&self.claim, &self.value) && self.issuer.as_ref().is_none_or(|issuer| is("iss", issuer))
    }

    fn is_like(&self, other: &Self) -> bool {
        let may_be_same = self.issuer.is_none() || other.issuer.is_none() || self.issuer == other.issuer;
        self.claim == other.claim && self.value == other.value && may_be_same
    }
}
