//! The configuration as the operator writes it.

use std::collections::BTreeMap;

use gatewright_sdk::{
    config, schemars,
    serde::{self, Serialize},
    serde_json::Value,
};

/// Authenticates callers by client certificate. The listener requests certificates and verifies who has signed them
/// (`tls.client`); the rules here decide which of those are accepted. Requires at least one of `allow` and `consumers`.
#[config]
#[schemars(extend("anyOf" = [{ "required": ["allow"] }, { "required": ["consumers"] }]))]
pub struct Config {
    /// A certificate that meets one of these rules is accepted.
    #[schemars(length(min = 1))]
    pub(crate) allow: Option<Vec<Rule>>,
    /// Whether certificates that meet a rule of a consumer, under `mtls` in its credentials, are accepted too. The
    /// consumer then is the caller; this takes precedence over `allow`.
    #[serde(default)]
    pub(crate) consumers: bool,
    /// A certificate that meets one of these rules is refused, even if `allow` matches.
    #[serde(default)]
    pub(crate) deny: Vec<Rule>,
    /// Which part of the certificate is the caller's name. A certificate without it, or with more than one, is refused.
    #[serde(default)]
    pub(crate) identity: Identity,
    /// Whether a request without a certificate passes, without an identity. A certificate that is not accepted never
    /// does.
    #[serde(default)]
    pub(crate) optional: bool,
}

/// The part of a certificate that is the caller's name.
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
    /// The email address among them.
    Email,
    /// The SHA-256 of the certificate.
    Fingerprint,
}

/// A certificate meets a rule if it meets all of its conditions. At least one is required, each as one text or as a
/// list of which one is enough.
#[config]
#[schemars(extend("minProperties" = 1))]
pub struct Rule {
    /// The subject: the exact distinguished name as in RFC 4514 (`"CN=orders,O=Example"`), or an object of attributes
    /// that it has: `{ "O": "Example", "OU": ["orders", "billing"] }`.
    pub(crate) subject: Option<Name>,
    /// The issuer, in the same form.
    pub(crate) issuer: Option<Name>,
    /// A DNS name among the alternative names. `"*.shop.test"` is any with one more label.
    pub(crate) dns: Option<OneOrMany>,
    /// A URI among the alternative names. `"spiffe://shop/ns/*"` is any that continues after the slash.
    pub(crate) uri: Option<OneOrMany>,
    /// An email address among the alternative names. `"*@shop.test"` is any at that host.
    pub(crate) email: Option<OneOrMany>,
    /// An IP address among the alternative names.
    pub(crate) ip: Option<OneOrMany>,
    /// The SHA-256 of the certificate, in hexadecimal.
    pub(crate) fingerprint: Option<OneOrMany>,
    /// The serial number, in hexadecimal; meaningful only with an `issuer`.
    pub(crate) serial: Option<OneOrMany>,
    /// Further claims about a caller accepted by this rule, such as `groups` for `acl`.
    #[serde(default)]
    pub(crate) claims: BTreeMap<String, Value>,
}

/// A rule for the certificates of a consumer. At least one condition is required, as in `allow`.
#[config]
#[schemars(extend("minProperties" = 1))]
pub struct Credential {
    /// The subject: the exact distinguished name, or an object of attributes that it has.
    pub(crate) subject: Option<Name>,
    /// The issuer, in the same form.
    pub(crate) issuer: Option<Name>,
    /// A DNS name among the alternative names.
    pub(crate) dns: Option<OneOrMany>,
    /// A URI among the alternative names.
    pub(crate) uri: Option<OneOrMany>,
    /// An email address among the alternative names.
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

/// A distinguished name, or attributes that it has.
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
