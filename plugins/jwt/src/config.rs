//! The configuration as the operator writes it, and the part of it that the gateway needs to verify tokens.

use std::collections::BTreeMap;

use gatewright_sdk::{
    bearer::Settings,
    config, consumers,
    credential::Location,
    schemars,
    serde::{self, Serialize},
    serde_json::{self, Value},
    units::Span,
};

/// Authenticates callers by signed token. Requires `algorithms`, and at least one of `keys`, `jwks`, `jwks_file` and
/// `discovery`; all but `keys` also require `issuer`, because a provider often signs for many with the same keys.
#[config]
#[schemars(extend(
    "anyOf" = [{ "required": ["keys"] }, { "required": ["jwks"] }, { "required": ["jwks_file"] }, { "required": ["discovery"] }],
    "dependentRequired" = { "jwks": ["issuer"], "jwks_file": ["issuer"], "discovery": ["issuer"] },
))]
pub struct Config {
    /// The exact value that `iss` must have.
    pub(crate) issuer: Option<String>,
    /// The value that `aud` must be or contain: one text, or a list of which one is enough.
    pub(crate) audience: Option<OneOrMany>,
    /// The accepted algorithms. Symmetric (HS) and asymmetric ones cannot be combined.
    #[schemars(length(min = 1))]
    pub(crate) algorithms: Vec<Algorithm>,
    /// Keys given here.
    #[serde(default)]
    pub(crate) keys: Vec<Key>,
    /// The URL of a key set (RFC 7517). Its host may be the name of an upstream; otherwise it is connected to directly.
    pub(crate) jwks: Option<String>,
    /// The path of a file with a key set.
    pub(crate) jwks_file: Option<String>,
    /// Instead of `jwks`: the name of an upstream through which the issuer's discovery document
    /// (`ISSUER/.well-known/openid-configuration`) and its key set are fetched. The key set must be at the host of the
    /// issuer.
    #[schemars(length(min = 1))]
    pub(crate) discovery: Option<String>,
    /// The tolerated clock difference, at most 5 minutes.
    #[serde(default = "no_leeway")]
    pub(crate) leeway: Span,
    /// Where the token is sent: `{ "header": NAME }`, `{ "query": NAME }` or `{ "cookie": NAME }`. In `authorization`
    /// it follows the word `Bearer`; elsewhere it is the whole value.
    #[serde(default = "authorization")]
    pub(crate) from: Location,
    /// Whether the upstream gets the token too.
    #[serde(default)]
    pub(crate) forward_credential: bool,
    /// Whether a request without a token passes, without an identity. An invalid token never does.
    #[serde(default)]
    pub(crate) optional: bool,
    /// The claim that identifies the caller: a name, or a JSON pointer that begins with `/`.
    #[serde(default = "sub")]
    pub(crate) subject: String,
    /// Scopes that the token must all have, in `scope` (text) or `scp` (text or list).
    #[serde(default)]
    pub(crate) scopes: Vec<String>,
    /// Claims that the token must have, each with its value or a list of values of which one is enough. A claim that is
    /// a list must contain one of them.
    #[serde(default)]
    pub(crate) required_claims: BTreeMap<String, Value>,
    /// Whether the token must belong to a consumer, who then is the caller: one with a matching claim under `jwt` in
    /// its credentials. A valid token that belongs to no consumer is answered with 403.
    #[serde(default)]
    pub(crate) consumers: bool,
    /// Request headers to set, each with the claim it is set from (a name, or a JSON pointer that begins with `/`).
    /// Lists and objects are written as JSON. If the claim is missing, the header is removed, even if the client sent
    /// it.
    #[serde(default)]
    pub(crate) claims_to_headers: BTreeMap<String, String>,
    /// The realm in the `WWW-Authenticate` of a refusal.
    #[serde(default = "api")]
    pub(crate) realm: String,
}

/// One text or a list.
#[derive(Clone, Debug, Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(crate = "gatewright_sdk::serde", untagged)]
#[schemars(crate = "gatewright_sdk::schemars")]
pub(crate) enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

/// A signature algorithm (RFC 7518 section 3.1, RFC 8037).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(crate = "gatewright_sdk::serde")]
#[schemars(crate = "gatewright_sdk::schemars")]
pub(crate) enum Algorithm {
    HS256,
    HS384,
    HS512,
    RS256,
    RS384,
    RS512,
    PS256,
    PS384,
    PS512,
    ES256,
    ES384,
    ES512,
    EdDSA,
}

/// A key: exactly one of `pem`, `secret` and `jwk`.
#[config]
#[derive(Serialize)]
#[schemars(extend("oneOf" = [{ "required": ["pem"] }, { "required": ["secret"] }, { "required": ["jwk"] }]))]
pub(crate) struct Key {
    /// A public key in PEM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pem: Option<String>,
    /// The shared secret of an HS algorithm. Preferably kept out of the file: `"${SECRET}"` or `"${file:path}"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
    /// A JSON Web Key (RFC 7517).
    #[serde(skip_serializing_if = "Option::is_none")]
    jwk: Option<serde_json::Map<String, Value>>,
    /// The `kid` of the tokens that it signs.
    #[serde(skip_serializing_if = "Option::is_none")]
    kid: Option<String>,
    /// The only algorithm it may be used with.
    #[serde(skip_serializing_if = "Option::is_none")]
    alg: Option<Algorithm>,
}

const fn no_leeway() -> Span {
    Span(std::time::Duration::ZERO)
}

fn authorization() -> Location {
    Location::Header("authorization".to_owned())
}

fn sub() -> String {
    "sub".to_owned()
}

fn api() -> String {
    "api".to_owned()
}

impl Config {
    /// What the gateway does not check itself.
    ///
    /// # Errors
    /// A consumer's credential is invalid.
    pub(crate) fn settings(self) -> Result<Settings, String> {
        Ok(Settings {
            from: self.from,
            forward_credential: self.forward_credential,
            optional: self.optional,
            subject: self.subject,
            scopes: self.scopes,
            required_claims: self.required_claims,
            claims_to_headers: self.claims_to_headers,
            realm: self.realm,
            owners: self.consumers.then(consumers::credentials).transpose()?,
        })
    }

    /// The key set's definition, as the contract describes it at `jwt.declare`. URLs and paths stay as written, because
    /// the gateway accepts no others.
    ///
    /// # Errors
    /// What is missing, for the operator.
    pub(crate) fn definition(&self) -> Result<String, String> {
        if self.algorithms.is_empty() {
            return Err("algorithms: at least one is needed".to_owned());
        }
        let elsewhere = [&self.jwks, &self.jwks_file, &self.discovery].into_iter().flatten().count();
        if self.keys.is_empty() && elsewhere == 0 {
            return Err("one of keys, jwks, jwks_file and discovery is needed".to_owned());
        }
        if self.issuer.is_none() && elsewhere > 0 {
            return Err(
                "issuer is needed with jwks, jwks_file and discovery: one provider may sign for many".to_owned()
            );
        }
        if self.jwks.is_some() && self.discovery.is_some() {
            return Err("discovery: not beside jwks, which it stands for".to_owned());
        }
        for (index, key) in self.keys.iter().enumerate() {
            let kinds = [key.pem.is_some(), key.secret.is_some(), key.jwk.is_some()];
            if kinds.into_iter().filter(|&given| given).count() != 1 {
                return Err(format!("keys[{index}]: exactly one of pem, secret and jwk is needed"));
            }
        }
        if self.leeway.0 > LEEWAY_MAX {
            return Err("leeway: at most 5m".to_owned());
        }
        let definition = Definition {
            algorithms: &self.algorithms,
            keys: &self.keys,
            jwks: self.jwks.as_deref(),
            jwks_file: self.jwks_file.as_deref(),
            discovery: self.discovery.as_deref(),
            issuer: self.issuer.as_deref(),
            audience: self.audience.as_ref(),
            leeway: self.leeway.0.as_secs(),
        };
        serde_json::to_string(&definition).map_err(|error| error.to_string())
    }
}

#[derive(Serialize)]
#[serde(crate = "gatewright_sdk::serde")]
struct Definition<'a> {
    algorithms: &'a [Algorithm],
    #[serde(skip_serializing_if = "<[Key]>::is_empty")]
    keys: &'a [Key],
    #[serde(skip_serializing_if = "Option::is_none")]
    jwks: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    jwks_file: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    discovery: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    issuer: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    audience: Option<&'a OneOrMany>,
    leeway: u64,
}

/// The gateway's limit: more would prolong tokens that their issuer let expire.
const LEEWAY_MAX: std::time::Duration = std::time::Duration::from_secs(300);
