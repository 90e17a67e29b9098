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

/// Lets in who has a token of which its issuer says that it is active (token introspection, RFC 7662).
#[config]
pub struct Config {
    /// The name of the upstream that is asked. It has to be granted: `"grants": { "upstreams": [NAME] }`.
    #[schemars(length(min = 1))]
    pub(crate) upstream: String,
    /// The path of its introspection endpoint.
    #[serde(default = "introspect")]
    #[schemars(regex(pattern = "^/"))]
    pub(crate) path: String,
    /// As whom the gateway asks.
    #[schemars(length(min = 1))]
    pub(crate) client_id: String,
    /// The name of a secret that is granted to this plugin and proves it.
    #[schemars(length(min = 1))]
    pub(crate) client_secret: String,
    /// How it is proved: `"basic"` (HTTP Basic, RFC 6749 section 2.3.1) or `"post"` (in the body).
    #[serde(default)]
    pub(crate) client_auth: ClientAuth,
    /// What `iss` of the answer must be, to the letter.
    pub(crate) issuer: Option<String>,
    /// What `aud` of the answer must be or contain: one text, or a list of which one is enough.
    pub(crate) audience: Option<OneOrMany>,
    /// How long an answer about an active token is kept, and never longer than its `exp`; `"0s"` asks for each request. A token that
    /// is revoked works on for as long. At most 1 hour.
    #[serde(default = "a_minute")]
    pub(crate) max_ttl: Span,
    /// How long it is kept that a token is not active, at most 1 minute.
    #[serde(default = "ten_seconds")]
    pub(crate) negative_ttl: Span,
    /// How long an answer may take; never longer than `limits.callout_timeout` of the plugin.
    #[serde(default = "one_second")]
    pub(crate) timeout: Span,
    /// Where the token is: `{ "header": NAME }`, `{ "query": NAME }` or `{ "cookie": NAME }`. In `authorization` it
    /// follows the word `Bearer`, elsewhere it is the whole value.
    #[serde(default = "authorization")]
    pub(crate) from: Location,
    /// Whether the upstream gets the token too.
    #[serde(default)]
    pub(crate) forward_credential: bool,
    /// Whether a request without a token passes, without an identity. A bad token never does.
    #[serde(default)]
    pub(crate) optional: bool,
    /// The member of the answer that says who is calling: a name, or a JSON pointer that begins with `/`.
    #[serde(default = "sub")]
    pub(crate) subject: String,
    /// Scopes of which the token must have every one.
    #[serde(default)]
    pub(crate) scopes: Vec<String>,
    /// Members that the answer must have, each with its value or a list of values of which one is enough. Where it is a list, it
    /// must contain one of them.
    #[serde(default)]
    pub(crate) required_claims: BTreeMap<String, Value>,
    /// Whether the token has to be a consumer's, which then is the caller: one that has a member with a value, under `oauth2` of its
    /// credentials. An active token of nobody is answered with 403.
    #[serde(default)]
    pub(crate) consumers: bool,
    /// Request headers to write, each with the member of the answer that it is written from. One that is not there leaves no
    /// header, whatever the client sent.
    #[serde(default)]
    pub(crate) claims_to_headers: BTreeMap<String, String>,
    /// What the `WWW-Authenticate` of a refusal names.
    #[serde(default = "api")]
    pub(crate) realm: String,
}

/// How the gateway proves who it is.
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

    /// What is said of tokens, whoever finds out what they are worth.
    ///
    /// # Errors
    /// A consumer's credential is none.
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
