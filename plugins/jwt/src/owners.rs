//! Whose a token is, where that has to be a consumer.

use gatewright_sdk::{claims::Claims, consumers::Consumer, serde_json::Value};

use crate::Credential;

pub(crate) struct Owners(Vec<Owner>);

struct Owner {
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
    pub(crate) fn new(credentials: Vec<(Credential, Consumer)>, subject: &str) -> Result<Self, String> {
        let mut owners: Vec<Owner> = Vec::with_capacity(credentials.len());
        for (Credential { claim, value, issuer }, consumer) in credentials {
            let claim = claim.unwrap_or_else(|| subject.to_owned());
            let owner = Owner { claim, value: value.into(), issuer: issuer.map(Value::from), consumer };
            if let Some(other) = owners.iter().find(|other| other.is_like(&owner)) {
                let (one, two) = (&other.consumer.name, &owner.consumer.name);
                return Err(format!("the consumers {one:?} and {two:?} are known by the same tokens"));
            }
            owners.push(owner);
        }
        if owners.is_empty() { Err("consumers: none has a credential for this plugin".to_owned()) } else { Ok(Self(owners)) }
    }

    /// The only consumer that the token can be of: where its claims fit several, it is nobody's.
    pub(crate) fn of(&self, claims: &Claims) -> Option<&Consumer> {
        let mut owners = self.0.iter().filter(|owner| owner.has(claims)).map(|owner| &owner.consumer);
        let only = owners.next()?;
        owners.all(|other| other.name == only.name).then_some(only)
    }
}

impl Owner {
    fn has(&self, claims: &Claims) -> bool {
        let is = |claim: &str, value: &Value| claims.is_any(claim, std::slice::from_ref(value));
        is(&self.claim, &self.value) && self.issuer.as_ref().is_none_or(|issuer| is("iss", issuer))
    }

    fn is_like(&self, other: &Self) -> bool {
        let may_be_same = self.issuer.is_none() || other.issuer.is_none() || self.issuer == other.issuer;
        self.claim == other.claim && self.value == other.value && may_be_same
    }
}
