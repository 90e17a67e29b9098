//! The consumers of the gateway's configuration: who may call, whoever proves it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use crate::{Exchange, Identity, MutateError, claims::Claims, host::consumers as host};

/// A consumer, as a plugin makes it the caller of an exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consumer {
    /// The subject of its identity.
    pub name: String,
    /// The claims of its identity: the text of a JSON object with `consumer`, and `groups` where it has some.
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
        for own in ["consumer", "groups"] {
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

/// The limits of their own that consumers have under this plugin's name, by consumer; for [`crate::Plugin::new`]. The gateway has
/// checked them against [`crate::Plugin::LIMIT`].
///
/// # Errors
/// Names the consumer whose limit is none.
pub fn limits<T: DeserializeOwned>() -> Result<BTreeMap<String, T>, String> {
    let read = |(consumer, definition): (String, String)| match serde_json::from_str(&definition) {
        Ok(limit) => Ok((consumer, limit)),
        Err(error) => Err(format!("the limit of the consumer {consumer:?}: {error}")),
    };
    host::limits().into_iter().map(read).collect()
}

/// What consumers have of their own in place of what everybody has, by consumer.
#[derive(Debug)]
pub struct Own<T>(BTreeMap<String, T>);

impl<T> Own<T> {
    /// Makes of each consumer's limit what the plugin keeps; of none, where the plugin's `consumers` does not say so.
    ///
    /// # Errors
    /// Names the consumer whose limit is none.
    pub fn read<L: DeserializeOwned>(consumers: bool, make: impl Fn(L) -> Result<T, String>) -> Result<Self, String> {
        let limits = if consumers { limits::<L>()? } else { BTreeMap::new() };
        let make = |(consumer, limit)| match make(limit) {
            Ok(own) => Ok((consumer, own)),
            Err(why) => Err(format!("the limit of the consumer {consumer:?}: {why}")),
        };
        limits.into_iter().map(make).collect::<Result<_, _>>().map(Self)
    }

    /// What the caller has, where it is a consumer with something of its own.
    #[must_use]
    pub fn of(&self, exchange: &Exchange) -> Option<&T> {
        self.find(exchange).map(|(_, own)| own)
    }

    /// The same with which consumer that is: for a later hook, when another plugin may have proved another caller.
    #[must_use]
    pub fn find(&self, exchange: &Exchange) -> Option<(&str, &T)> {
        if self.0.is_empty() {
            return None;
        }
        let (consumer, own) = self.0.get_key_value(&of(&exchange.identity()?)?)?;
        Some((consumer, own))
    }

    /// What a consumer has.
    #[must_use]
    pub fn get(&self, consumer: &str) -> Option<&T> {
        self.0.get(consumer)
    }
}

/// Which consumer the caller is, if it is one.
#[must_use]
pub fn of(identity: &Identity) -> Option<String> {
    Claims::parse(&identity.claims)?.text("consumer").map(std::borrow::Cow::into_owned)
}

/// By which claims a consumer is known: the credential of every plugin that proves claims.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Owner {
    /// The claim that names it: a name, or a JSON pointer that begins with `/`. What `subject` of the plugin says unless set.
    #[schemars(length(min = 1))]
    pub claim: Option<String>,
    /// What the claim is, or has in it where it is a list.
    #[schemars(length(min = 1))]
    pub value: String,
    /// What `iss` is, where more than one issuer is trusted.
    #[schemars(length(min = 1))]
    pub issuer: Option<String>,
}

/// The consumers that claims can be of.
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
    /// `subject` is the claim that counts where a credential names none.
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

    /// The only consumer that these claims can be of: where they fit several, they are nobody's.
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
