//! The configuration as the operator writes it.

use std::{collections::BTreeMap, time::Duration};

use gatewright_sdk::{
    bearer::Settings,
    config, consumers,
    credential::Location,
    rules, schemars,
    serde::{self, Serialize},
    serde_json::Value,
    units::Span,
};

/// Authenticates callers by asking the token's issuer whether it is active (token introspection, RFC 7662).
#[config]
pub struct Config {
    /// The name of the upstream that is asked. It must be granted: `"grants": { "upstreams": [NAME] }`.
    #[schemars(length(min = 1), extend("format" = "gateway-upstream"))]
    pub(crate) upstream: String,
    /// The path of its introspection endpoint.
    #[serde(default = "introspect")]
    #[schemars(regex(pattern = "^/"))]
    pub(crate) path: String,
    /// The gateway's client ID at the issuer.
    #[schemars(length(min = 1))]
    pub(crate) client_id: String,
    /// The name of a secret, granted to this plugin, that contains the client secret.
    #[schemars(length(min = 1))]
    pub(crate) client_secret: String,
    /// How the gateway authenticates: `"basic"` (HTTP Basic, RFC 6749 section 2.3.1) or `"post"` (in the body).
    #[serde(default)]
    pub(crate) client_auth: ClientAuth,
    /// The exact value that `iss` of the answer must have.
    pub(crate) issuer: Option<String>,
    /// The value that `aud` of the answer must be or contain: one text, or a list of which one is enough.
    pub(crate) audience: Option<OneOrMany>,
    /// How long an answer about an active token is cached, and never longer than its `exp`; `"0s"` asks for each
    /// request. A revoked token keeps working for as long. At most 1 hour.
    #[serde(default = "a_minute")]
    pub(crate) max_ttl: Span,
    /// How long the answer that a token is not active is cached, at most 1 minute.
    #[serde(default = "ten_seconds")]
    pub(crate) negative_ttl: Span,
    /// How long a response may take, at most `limits.callout_timeout` of the plugin.
    #[serde(default = "one_second")]
    pub(crate) timeout: Span,
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
    /// The member of the answer that identifies the caller: a name, or a JSON pointer that begins with `/`.
    #[serde(default = "sub")]
    pub(crate) subject: String,
    /// Scopes that the token must all have.
    #[serde(default)]
    pub(crate) scopes: Vec<String>,
    /// Members that the answer must have, each with its value or a list of values of which one is enough. A member that
    /// is a list must contain one of them.
    #[serde(default)]
    pub(crate) required_claims: BTreeMap<String, Value>,
    /// Whether the token must belong to a consumer, who then is the caller: one with a matching member under `oauth2`
    /// in its credentials. An active token that belongs to no consumer is answered with 403.
    #[serde(default)]
    pub(crate) consumers: bool,
    /// Request headers to set, each with the member of the answer it is set from. If the member is missing, the header
    /// is removed, even if the client sent it.
    #[serde(default)]
    pub(crate) claims_to_headers: BTreeMap<String, String>,
    /// The realm in the `WWW-Authenticate` of a refusal.
    #[serde(default = "api")]
    pub(crate) realm: String,
}

/// How the gateway authenticates itself.
#[config]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) enum ClientAuth {
    #[default]
    Basic,
    Post,
}

/// One text or a list.
#[derive(Clone, Debug, serde::Deserialize, schemars::JsonSchema)]
#[serde(crate = "gatewright_sdk::serde", untagged)]
#[schemars(crate = "gatewright_sdk::schemars")]
pub(crate) enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl Config {
    /// # Errors
    /// What is wrong, by its key.
    pub(crate) fn check(&self) -> Result<(), String> {
        if !rules::is_path(&self.path) {
            return Err(format!("path: {:?} is not a path such as \"/introspect\"", self.path));
        }
        if self.client_id.is_empty() {
            return Err("client_id is empty".to_owned());
        }
        if matches!(&self.audience, Some(OneOrMany::Many(list)) if list.is_empty()) {
            return Err("audience is an empty list".to_owned());
        }
        for (key, time, most) in [("max_ttl", self.max_ttl.0, 3600), ("negative_ttl", self.negative_ttl.0, 60)] {
            if time > Duration::from_secs(most) {
                return Err(format!("{key}: at most {most}s"));
            }
        }
        if self.timeout.0.is_zero() {
            return Err("timeout: it has to be more than nothing".to_owned());
        }
        Ok(())
    }

    /// The settings for tokens that do not depend on how they are verified.
    ///
    /// # Errors
    /// A consumer's credential is invalid.
    pub(crate) fn settings(&self) -> Result<Settings, String> {
        Ok(Settings {
            from: self.from.clone(),
            forward_credential: self.forward_credential,
            optional: self.optional,
            subject: self.subject.clone(),
            scopes: self.scopes.clone(),
            required_claims: self.required_claims.clone(),
            claims_to_headers: self.claims_to_headers.clone(),
            realm: self.realm.clone(),
            owners: self.consumers.then(consumers::credentials).transpose()?,
        })
    }
}

fn introspect() -> String {
    "/introspect".to_owned()
}

const fn a_minute() -> Span {
    Span(Duration::from_secs(60))
}

const fn ten_seconds() -> Span {
    Span(Duration::from_secs(10))
}

const fn one_second() -> Span {
    Span(Duration::from_secs(1))
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
