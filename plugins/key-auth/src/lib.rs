//! `key-auth` lets callers in who present a known API key, and sets the identity.
//!
//! Only tags of keys are kept, made with a secret that each instance draws for itself; a key given as a SHA-256 is kept
//! as that. A presented key is looked up by its tag or its digest, so the time of a lookup reveals nothing about any
//! key: to get close to a stored value one would have to know what to hash. No key is ever logged.

use std::collections::BTreeMap;

use gatewright_sdk::{
    Decision, Exchange, HeaderChange, Metric, MutateError, Plugin, Response, Section, StatusCode, config, consumers,
    credential::{Found, Location},
    log, plugin, rules,
    schemars::{JsonSchema, Schema, SchemaGenerator},
    serde_json::Value,
};

mod keys;

use keys::Keys;

/// Authenticates callers by API key. Requires at least one of `keys` and `consumers`.
#[config]
#[schemars(extend("anyOf" = [{ "required": ["keys"] }, { "required": ["consumers"] }]))]
pub struct Config {
    /// The accepted keys, at least one.
    #[schemars(length(min = 1))]
    keys: Option<Vec<Key>>,
    /// Whether the keys that consumers have under `key-auth` are accepted too.
    #[serde(default)]
    consumers: bool,
    /// Where the client sends its key: `{ "header": NAME }`, `{ "query": NAME }` or `{ "cookie": NAME }`.
    #[serde(rename = "in", default = "x_api_key")]
    location: Location,
    /// Whether a request without a key passes, without an identity. An unknown key never does.
    #[serde(default)]
    optional: bool,
    /// Whether the upstream gets the key too.
    #[serde(default)]
    forward_credential: bool,
    /// The realm in the `WWW-Authenticate` of a 401.
    #[serde(default = "api")]
    realm: String,
}

/// A key and its owner. Requires exactly one of `key`, `sha256` and `secret`.
#[config]
#[schemars(extend("oneOf" = [{ "required": ["key"] }, { "required": ["sha256"] }, { "required": ["secret"] }]))]
pub struct Key {
    /// The key itself. Preferably kept out of the file: `"${API_KEY}"` or `"${file:path}"`.
    #[schemars(length(min = 1))]
    key: Option<String>,
    /// The SHA-256 of the key, in hexadecimal.
    #[schemars(regex(pattern = r"^[0-9a-fA-F]{64}$"))]
    sha256: Option<String>,
    /// The name of a secret, granted to this plugin, that contains the key.
    #[schemars(length(min = 1))]
    secret: Option<String>,
    /// The caller's name, for later plugins and the access log.
    #[schemars(length(min = 1))]
    subject: String,
    /// Further claims about the caller, for later plugins.
    #[serde(default)]
    claims: BTreeMap<String, Value>,
}

/// A key of a consumer. Requires exactly one of `key`, `sha256` and `secret`.
#[config]
#[schemars(extend("oneOf" = [{ "required": ["key"] }, { "required": ["sha256"] }, { "required": ["secret"] }]))]
pub struct Credential {
    /// The key itself. Preferably kept out of the file: `"${API_KEY}"` or `"${file:path}"`.
    #[schemars(length(min = 1))]
    key: Option<String>,
    /// The SHA-256 of the key, in hexadecimal.
    #[schemars(regex(pattern = r"^[0-9a-fA-F]{64}$"))]
    sha256: Option<String>,
    /// The name of a secret, granted to this plugin, that contains the key.
    #[schemars(length(min = 1))]
    secret: Option<String>,
}

fn x_api_key() -> Location {
    Location::Header("x-api-key".to_owned())
}

fn api() -> String {
    "api".to_owned()
}

static DENIED: Metric = Metric::counter("denied", "Requests without a known key.", &["reason"]);

/// The plugin.
pub struct KeyAuth {
    keys: Keys,
    location: Location,
    optional: bool,
    forward_credential: bool,
    missing: Refusal,
    unclear: Refusal,
    unknown: Refusal,
}

/// A 401 and its reason, made once.
struct Refusal {
    reason: &'static str,
    response: Response,
}

#[plugin]
impl Plugin for KeyAuth {
    type Config = Config;

    const METRICS: &'static [&'static Metric] = &[&DENIED];
    const CREDENTIAL: Option<fn(&mut SchemaGenerator) -> Schema> = Some(Credential::json_schema);

    fn new(config: Config) -> Result<Self, String> {
        let Config { keys, consumers, location, optional, forward_credential, realm } = config;
        location.check().map_err(|why| format!("in: {why}"))?;
        rules::check_value(&realm).map_err(|why| format!("realm: {realm:?} {why}"))?;
        let challenge = format!("ApiKey realm={}", rules::quoted(&realm));
        let refusal = |reason, detail: &str| {
            let response = Response::problem(StatusCode::UNAUTHORIZED, "Unauthorized", detail);
            Refusal { reason, response: response.with_header("www-authenticate", challenge.as_str()) }
        };
        Ok(Self {
            keys: Keys::new(keys, if consumers { consumers::credentials()? } else { Vec::new() })?,
            missing: refusal("missing", &format!("An API key is needed in {location}.")),
            unclear: refusal("unclear", &format!("There must be exactly one API key in {location}.")),
            unknown: refusal("unknown", "The API key is not known."),
            location,
            optional,
            forward_credential,
        })
    }

    fn always(&self) -> Vec<(Section, HeaderChange)> {
        match &self.location {
            Location::Header(name) if !self.forward_credential => {
                vec![(Section::RequestHeaders, HeaderChange::Remove(name.clone()))]
            }
            _ => Vec::new(),
        }
    }

    fn on_request(&self, exchange: &Exchange) -> Decision {
        let caller = match self.location.find(exchange) {
            Found::One(key) => self.keys.caller(&key).ok_or(&self.unknown),
            Found::Nothing if self.optional => return Decision::Proceed,
            Found::Nothing => Err(&self.missing),
            Found::Unclear => Err(&self.unclear),
        };
        match caller {
            Ok(caller) => match self.admit(exchange, caller) {
                Ok(()) => Decision::Proceed,
                Err(error) => {
                    log::error(
                        "a caller was let in but the request could not be changed",
                        &[("why", &error.to_string())],
                    );
                    Decision::problem(
                        StatusCode::INTERNAL_SERVER_ERROR,
                        "Internal Server Error",
                        "The key was not used.",
                    )
                }
            },
            Err(refusal) => {
                DENIED.add(1, &[refusal.reason]);
                Decision::Respond(refusal.response.clone())
            }
        }
    }
}

impl KeyAuth {
    fn admit(&self, exchange: &Exchange, caller: &keys::Caller) -> Result<(), MutateError> {
        // A header is hidden without a call.
        if !self.forward_credential && !matches!(self.location, Location::Header(_)) {
            self.location.hide(exchange)?;
        }
        exchange.set_identity(&caller.subject, &caller.claims)
    }
}

#[cfg(test)]
mod tests;
