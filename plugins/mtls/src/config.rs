//! The configuration as the operator writes it.

use std::collections::BTreeMap;

use gatewright_sdk::{
    config, schemars,
    serde::{self, Serialize},
    serde_json::Value,
};

/// Lets in who has shown a client certificate that meets a rule. The listener asks for certificates and checks who has
/// signed them (`tls.client`); here is decided which of those may come in. At least one of `allow` and `consumers` is given.
#[config]
#[schemars(extend("anyOf" = [{ "required": ["allow"] }, { "required": ["consumers"] }]))]
pub struct Config {
    /// What is let in: every certificate that meets one of these rules.
    #[schemars(length(min = 1))]
    pub(crate) allow: Option<Vec<Rule>>,
    /// Whether certificates are let in too that meet a rule which a consumer has under `mtls`; the consumer is the caller then,
    /// before any rule of `allow`.
    #[serde(default)]
    pub(crate) consumers: bool,
    /// What is refused all the same: every certificate that meets one of these rules.
    #[serde(default)]
    pub(crate) deny: Vec<Rule>,
    /// What of the certificate is the caller's name. A certificate that does not have it, or has it more than once, is refused.
    #[serde(default)]
    pub(crate) identity: Identity,
    /// Whether a request without a certificate passes, without an identity. A certificate that meets no rule never does.
    #[serde(default)]
    pub(crate) optional: bool,
}

/// What of a certificate names its owner.
#[config]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) enum Identity {
    /// The whole distinguished name: `CN=orders,O=Example`.
    #[default]
    Subject,
    /// The common name in it.
    CommonName,
    /// The DNS name among the alternative names.
    Dns,
    /// The URI among them, such as a SPIFFE id.
    Uri,
    /// The mail address among them.
    Email,
    /// The SHA-256 of the certificate.
    Fingerprint,
}

/// A certificate meets a rule if it meets each of its conditions. At least one is given, each as one text or as a list of which
/// one is enough.
#[config]
#[schemars(extend("minProperties" = 1))]
pub struct Rule {
    /// The subject: a distinguished name to the letter, as RFC 4514 writes it (`"CN=orders,O=Example"`), or an object of
    /// attributes that it has: `{ "O": "Example", "OU": ["orders", "billing"] }`.
    pub(crate) subject: Option<Name>,
    /// The issuer, in the same way.
    pub(crate) issuer: Option<Name>,
    /// A DNS name among the alternative names. `"*.shop.test"` is any with one more label.
    pub(crate) dns: Option<OneOrMany>,
    /// A URI among the alternative names. `"spiffe://shop/ns/*"` is any that goes on after the slash.
    pub(crate) uri: Option<OneOrMany>,
    /// A mail address among the alternative names. `"*@shop.test"` is any of that host.
    pub(crate) email: Option<OneOrMany>,
    /// An IP address among the alternative names.
    pub(crate) ip: Option<OneOrMany>,
    /// The SHA-256 of the certificate, in hexadecimal.
    pub(crate) fingerprint: Option<OneOrMany>,
    /// The serial number, in hexadecimal; it says something with an `issuer` only.
    pub(crate) serial: Option<OneOrMany>,
    /// What else is known of a caller that was let in by this rule, such as `groups` for `acl`.
    #[serde(default)]
    pub(crate) claims: BTreeMap<String, Value>,
}

/// A rule for the certificates of a consumer. At least one condition is given, as in `allow`.
#[config]
#[schemars(extend("minProperties" = 1))]
pub struct Credential {
    /// The subject: a distinguished name to the letter, or an object of attributes that it has.
    pub(crate) subject: Option<Name>,
    /// The issuer, in the same way.
    pub(crate) issuer: Option<Name>,
    /// A DNS name among the alternative names.
    pub(crate) dns: Option<OneOrMany>,
    /// A URI among the alternative names.
    pub(crate) uri: Option<OneOrMany>,
    /// A mail address among the alternative names.
    pub(crate) email: Option<OneOrMany>,
    /// An IP address among the alternative names.
    pub(crate) ip: Option<OneOrMany>,
    /// The SHA-256 of the certificate, in hexadecimal.
    pub(crate) fingerprint: Option<OneOrMany>,
    /// The serial number, in hexadecimal.
    pub(crate) serial: Option<OneOrMany>,
}

impl From<Credential> for Rule {
    fn from(credential: Credential) -> Self {
        let Credential { subject, issuer, dns, uri, email, ip, fingerprint, serial } = credential;
        Self { subject, issuer, dns, uri, email, ip, fingerprint, serial, claims: BTreeMap::new() }
    }
}

/// A distinguished name, or what it has.
#[derive(Clone, Debug, serde::Deserialize, schemars::JsonSchema)]
#[serde(crate = "gatewright_sdk::serde", untagged)]
#[schemars(crate = "gatewright_sdk::schemars")]
pub(crate) enum Name {
    Whole(OneOrMany),
    Parts(BTreeMap<String, OneOrMany>),
}

/// One text or a list.
#[derive(Clone, Debug, serde::Deserialize, schemars::JsonSchema)]
#[serde(crate = "gatewright_sdk::serde", untagged)]
#[schemars(crate = "gatewright_sdk::schemars")]
pub(crate) enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl OneOrMany {
    pub(crate) fn into_list(self) -> Vec<String> {
        match self {
            Self::One(text) => vec![text],
            Self::Many(list) => list,
        }
    }
}
