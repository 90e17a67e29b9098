//! The configuration as the operator writes it.

use std::collections::BTreeMap;

use gatewright_sdk::{
    config, rules,
    serde::Serialize,
    serde_json::{Map, Value},
    units::Span,
};

use crate::nonces::PARTS;

/// Authenticates callers by request signature: HTTP message signatures (RFC 9421). Requires at least one of `keys` and
/// `consumers`.
#[config]
#[schemars(extend("anyOf" = [{ "required": ["keys"] }, { "required": ["consumers"] }]))]
pub struct Config {
    /// The accepted keys, at least one.
    #[schemars(length(min = 1))]
    pub(crate) keys: Option<Vec<Key>>,
    /// Whether the keys that consumers have under `hmac` are accepted too.
    #[serde(default)]
    pub(crate) consumers: bool,
    /// What every signature must cover. `@target-uri` also covers authority, path and query, `@request-target` path and
    /// query.
    #[serde(default = "method_and_target")]
    #[schemars(length(min = 1))]
    pub(crate) components: Vec<String>,
    /// Whether a request with a body must have a matching `Content-Digest` (RFC 9530, sha-256 or sha-512) that the
    /// signature covers. The whole body is then buffered, up to `limits.body` of the plugin.
    #[serde(default = "yes")]
    pub(crate) digest: bool,
    /// How old a signature may be, by its `created`; at most 1 day.
    #[serde(default = "five_minutes")]
    pub(crate) max_age: Span,
    /// The tolerated clock difference, at most 5 minutes.
    #[serde(default = "half_a_minute")]
    pub(crate) leeway: Span,
    /// Whether a signature must have a `nonce`. A nonce is accepted once while its signature is valid.
    #[serde(default)]
    pub(crate) nonce: Nonce,
    /// How many nonces of one key may be stored at once; a fifth of them may be used within a quarter of the time for
    /// which nonces are kept (`max_age` plus twice the `leeway`). Default: 60,000 divided by the number of keys, at
    /// least 4,000.
    #[schemars(range(min = 5, max = 100_000_000))]
    pub(crate) nonces_per_key: Option<u32>,
    /// The `tag` that a signature must have. Signatures with another are ignored.
    pub(crate) tag: Option<String>,
    /// Whether a request without a signature passes, without an identity. An invalid signature never does.
    #[serde(default)]
    pub(crate) optional: bool,
    /// The realm in the `WWW-Authenticate` of a 401.
    #[serde(default = "api")]
    pub(crate) realm: String,
}

/// Whether a signature must have a `nonce`.
#[config]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) enum Nonce {
    /// It must, so that no request can be replayed.
    #[default]
    Required,
    /// A request without a nonce can be replayed while its signature is valid.
    Optional,
}

/// A key and its owner. Requires exactly one of `secret`, `key`, `pem` and `jwk`.
#[config]
#[schemars(extend("oneOf" = [
    { "required": ["secret"] }, { "required": ["key"] }, { "required": ["pem"] }, { "required": ["jwk"] },
]))]
pub struct Key {
    /// The `keyid` in its signatures.
    #[schemars(length(min = 1, max = 256))]
    pub(crate) id: String,
    /// The only algorithm it may be used with.
    pub(crate) alg: Algorithm,
    /// The name of a secret, granted to this plugin, that contains the key of `hmac-sha256`, at least 32 bytes.
    #[schemars(length(min = 1))]
    pub(crate) secret: Option<String>,
    /// The key of `hmac-sha256` itself. Preferably kept out of the file: `"${HMAC_KEY}"` or `"${file:path}"`.
    #[schemars(length(min = 1))]
    pub(crate) key: Option<String>,
    /// How the key of `hmac-sha256` is written.
    #[serde(default)]
    pub(crate) encoding: Encoding,
    /// A public key in PEM.
    #[schemars(length(min = 1))]
    pub(crate) pem: Option<String>,
    /// A public key as a JSON Web Key (RFC 7517).
    pub(crate) jwk: Option<Map<String, Value>>,
    /// The caller's name. Default: the `id`.
    #[schemars(length(min = 1))]
    pub(crate) subject: Option<String>,
    /// Further claims about the caller, for later plugins.
    #[serde(default)]
    pub(crate) claims: BTreeMap<String, Value>,
}

/// A key of a consumer. Requires exactly one of `secret`, `key`, `pem` and `jwk`.
#[config]
#[schemars(extend("oneOf" = [
    { "required": ["secret"] }, { "required": ["key"] }, { "required": ["pem"] }, { "required": ["jwk"] },
]))]
pub struct Credential {
    /// The `keyid` in its signatures. Default: the consumer's name.
    #[schemars(length(min = 1, max = 256))]
    pub(crate) id: Option<String>,
    /// The only algorithm it may be used with.
    pub(crate) alg: Algorithm,
    /// The name of a secret, granted to this plugin, that contains the key of `hmac-sha256`, at least 32 bytes.
    #[schemars(length(min = 1))]
    pub(crate) secret: Option<String>,
    /// The key of `hmac-sha256` itself.
    #[schemars(length(min = 1))]
    pub(crate) key: Option<String>,
    /// How the key of `hmac-sha256` is written.
    #[serde(default)]
    pub(crate) encoding: Encoding,
    /// A public key in PEM.
    #[schemars(length(min = 1))]
    pub(crate) pem: Option<String>,
    /// A public key as a JSON Web Key (RFC 7517).
    pub(crate) jwk: Option<Map<String, Value>>,
}

/// How a shared key is written.
#[config]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) enum Encoding {
    /// The bytes of the text are the key.
    #[default]
    Text,
    /// The text is base64.
    Base64,
}

/// An algorithm of RFC 9421, section 3.3.
#[config]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Algorithm {
    HmacSha256,
    EcdsaP256Sha256,
    EcdsaP384Sha384,
    Ed25519,
    RsaPssSha512,
    #[serde(rename = "rsa-v1_5-sha256")]
    RsaV15Sha256,
}

impl Algorithm {
    /// Its name in signatures.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::HmacSha256 => "hmac-sha256",
            Self::EcdsaP256Sha256 => "ecdsa-p256-sha256",
            Self::EcdsaP384Sha384 => "ecdsa-p384-sha384",
            Self::Ed25519 => "ed25519",
            Self::RsaPssSha512 => "rsa-pss-sha512",
            Self::RsaV15Sha256 => "rsa-v1_5-sha256",
        }
    }

    /// Its name in tokens, where each has the same signature, byte for byte.
    pub(crate) const fn of_tokens(self) -> &'static str {
        match self {
            Self::HmacSha256 => "HS256",
            Self::EcdsaP256Sha256 => "ES256",
            Self::EcdsaP384Sha384 => "ES384",
            Self::Ed25519 => "EdDSA",
            Self::RsaPssSha512 => "PS512",
            Self::RsaV15Sha256 => "RS256",
        }
    }
}

impl Config {
    /// # Errors
    /// What is wrong, by its key.
    pub(crate) fn check(&self) -> Result<(), String> {
        rules::check_value(&self.realm).map_err(|why| format!("realm: {:?} {why}", self.realm))?;
        let minutes = |minutes: u64| std::time::Duration::from_secs(60 * minutes);
        if self.max_age.0.is_zero() || self.max_age.0 > minutes(24 * 60) {
            return Err("max_age: more than nothing, and at most 1d".to_owned());
        }
        if self.leeway.0 > minutes(5) {
            return Err("leeway: at most 5m".to_owned());
        }
        if self.nonces_per_key.is_some_and(|number| !(PARTS..=100_000_000).contains(&number)) {
            return Err("nonces_per_key: from 5 to 100000000".to_owned());
        }
        let is_plain = |tag: &str| !tag.is_empty() && tag.bytes().all(|byte| matches!(byte, b' '..=b'~'));
        match &self.tag {
            Some(tag) if !is_plain(tag) => {
                Err(format!("tag: {tag:?} is empty or has a character that no tag can have"))
            }
            _ => Ok(()),
        }
    }
}

fn method_and_target() -> Vec<String> {
    ["@method", "@authority", "@path", "@query"].map(str::to_owned).to_vec()
}

const fn yes() -> bool {
    true
}

const fn five_minutes() -> Span {
    Span(std::time::Duration::from_secs(300))
}

const fn half_a_minute() -> Span {
    Span(std::time::Duration::from_secs(30))
}

fn api() -> String {
    "api".to_owned()
}
