//! `basic-auth` lets callers in who know a name and its password (RFC 7617), and sets the identity.
//!
//! Passwords are only kept as argon2 or bcrypt hashes, and the gateway checks them (the `password` capability): it does
//! the slow work off the data path and remembers correct passwords. An unknown name costs as much as a known one, so
//! response times do not reveal which names exist.

use std::collections::BTreeMap;

use gatewright_sdk::{
    Decision, Exchange, Metric, MutateError, Plugin, Response, StatusCode, config, consumers, log,
    password::{self, VerifyError},
    plugin, rules,
    schemars::{JsonSchema, Schema, SchemaGenerator},
    serde_json::Value,
};

mod credentials;
mod users;

use credentials::{Credentials, Found};
use users::{Caller, Users};

/// Authenticates callers by user name and password. Requires at least one of `users`, `htpasswd` and `consumers`.
#[config]
#[schemars(extend("anyOf" = [{ "required": ["users"] }, { "required": ["htpasswd"] }, { "required": ["consumers"] }]))]
pub struct Config {
    /// The users, at least one.
    #[schemars(length(min = 1))]
    users: Option<Vec<User>>,
    /// The content of an htpasswd file, as `"${file:users.htpasswd}"`: lines of `NAME:HASH`, with argon2 or bcrypt
    /// (`htpasswd -B`). Empty lines and those that begin with `#` are ignored.
    #[schemars(length(min = 1))]
    htpasswd: Option<String>,
    /// Whether the names and passwords that consumers have under `basic-auth` are accepted too.
    #[serde(default)]
    consumers: bool,
    /// Whether a request without credentials passes, without an identity. Wrong credentials never do.
    #[serde(default)]
    optional: bool,
    /// Whether the upstream gets the password too.
    #[serde(default)]
    forward_credential: bool,
    /// The realm in the `WWW-Authenticate` of a 401.
    #[serde(default = "api")]
    realm: String,
}

/// A user. Requires exactly one of `hash` and `secret`.
#[config]
#[schemars(extend("oneOf" = [{ "required": ["hash"] }, { "required": ["secret"] }]))]
pub struct User {
    /// The user name, without a colon.
    #[schemars(length(min = 1))]
    name: String,
    /// The hash of the password: argon2 (`"$argon2id$..."`) or bcrypt (`"$2y$..."`).
    #[schemars(length(min = 1))]
    hash: Option<String>,
    /// The name of a secret, granted to this plugin, that contains the hash.
    #[schemars(length(min = 1))]
    secret: Option<String>,
    /// The caller's name for later plugins and the access log. Default: the user name.
    #[schemars(length(min = 1))]
    subject: Option<String>,
    /// Further claims about the caller, for later plugins.
    #[serde(default)]
    claims: BTreeMap<String, Value>,
}

/// The user name and password of a consumer. Requires exactly one of `hash` and `secret`.
#[config]
#[schemars(extend("oneOf" = [{ "required": ["hash"] }, { "required": ["secret"] }]))]
pub struct Credential {
    /// The user name, without a colon. Default: the consumer's name.
    #[schemars(length(min = 1))]
    name: Option<String>,
    /// The hash of the password: argon2 (`"$argon2id$..."`) or bcrypt (`"$2y$..."`).
    #[schemars(length(min = 1))]
    hash: Option<String>,
    /// The name of a secret, granted to this plugin, that contains the hash.
    #[schemars(length(min = 1))]
    secret: Option<String>,
}

fn api() -> String {
    "api".to_owned()
}

static DENIED: Metric = Metric::counter("denied", "Requests without a right name and password.", &["reason"]);

/// The plugin.
pub struct BasicAuth {
    users: Users,
    optional: bool,
    forward_credential: bool,
    missing: Response,
    malformed: Response,
    wrong: Response,
    busy: Response,
}

#[plugin]
impl Plugin for BasicAuth {
    type Config = Config;

    const METRICS: &'static [&'static Metric] = &[&DENIED];
    const WANTS: &'static [&'static str] = &["password"];
    const CREDENTIAL: Option<fn(&mut SchemaGenerator) -> Schema> = Some(Credential::json_schema);

    fn new(config: Config) -> Result<Self, String> {
        let Config { users, htpasswd, consumers, optional, forward_credential, realm } = config;
        rules::check_value(&realm).map_err(|why| format!("realm: {realm:?} {why}"))?;
        let challenge = format!("Basic realm={}, charset=\"UTF-8\"", rules::quoted(&realm));
        let refusal = |detail| {
            let response = Response::problem(StatusCode::UNAUTHORIZED, "Unauthorized", detail);
            response.with_header("www-authenticate", challenge.as_str())
        };
        let busy = Response::problem(
            StatusCode::SERVICE_UNAVAILABLE,
            "Service Unavailable",
            "Too many passwords are being checked; try again soon.",
        );
        Ok(Self {
            users: Users::new(
                users,
                htpasswd.as_deref(),
                if consumers { consumers::credentials()? } else { Vec::new() },
            )?,
            optional,
            forward_credential,
            missing: refusal("A name and a password are needed."),
            malformed: refusal("The header authorization does not hold one name and one password."),
            wrong: refusal("The name or the password is wrong."),
            busy: busy.with_header("retry-after", "1"),
        })
    }

    fn on_request(&self, exchange: &Exchange) -> Decision {
        let credentials = match credentials::find(exchange) {
            Found::One(credentials) => credentials,
            Found::Nothing if self.optional => return Decision::Proceed,
            Found::Nothing => return refuse("missing", &self.missing),
            Found::Malformed => return refuse("malformed", &self.malformed),
        };
        match self.caller(&credentials) {
            Ok(Some(caller)) => match self.admit(exchange, caller) {
                Ok(()) => Decision::Proceed,
                Err(error) => {
                    let why = error.to_string();
                    log::error("a caller was let in but the request could not be changed", &[("why", &why)]);
                    let detail = "The password was not used.";
                    Decision::problem(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error", detail)
                }
            },
            Ok(None) => refuse("wrong", &self.wrong),
            Err(VerifyError::Busy) => refuse("busy", &self.busy),
            Err(VerifyError::Unsupported(why)) => {
                log::error("a hash that was accepted before cannot be checked", &[("why", &why)]);
                refuse("wrong", &self.wrong)
            }
        }
    }
}

impl BasicAuth {
    /// The caller, if name and password are correct.
    fn caller(&self, credentials: &Credentials) -> Result<Option<&Caller>, VerifyError> {
        let Credentials { name, password } = credentials;
        match self.users.get(name) {
            Some((hash, caller)) => Ok(password::verify(hash, password)?.then_some(caller)),
            None => {
                // The same work, for a password that no client can send: the gateway's memory of correct passwords must
                // not make this quicker.
                password::verify(self.users.decoy(name), &impossible(password))?;
                Ok(None)
            }
        }
    }

    fn admit(&self, exchange: &Exchange, caller: &Caller) -> Result<(), MutateError> {
        if !self.forward_credential {
            exchange.request_headers().remove("authorization")?;
        }
        exchange.set_identity(&caller.subject, &caller.claims)
    }
}

fn refuse(reason: &str, response: &Response) -> Decision {
    DENIED.add(1, &[reason]);
    Decision::Respond(response.clone())
}

/// As long as the password, and with a control character, which no password has.
fn impossible(password: &str) -> String {
    let kept = password.char_indices().next_back().map_or(0, |(at, _)| at);
    let mut impossible = password.get(..kept).unwrap_or_default().to_owned();
    let missing = password.len().saturating_sub(kept).max(1);
    impossible.extend(std::iter::repeat_n('\u{1}', missing));
    impossible
}

#[cfg(test)]
mod tests;
