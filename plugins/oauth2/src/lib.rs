//! `oauth2` lets callers in whose token is active according to its issuer (token introspection, RFC 7662), and sets the
//! identity.
//!
//! The issuer is an upstream, asked with the gateway's own credentials. Its response is kept in the shared store under
//! the digest of the token: for an active token for a while, but never longer than its lifetime, for an inactive one
//! for some seconds, so that guessing does not make the gateway ask each time. Of simultaneous requests with the same
//! token one asks, and the others wait for its response. No token is kept or logged.

use std::time::{Duration, UNIX_EPOCH};

use base64::{Engine, engine::general_purpose::STANDARD};
use gatewright_sdk::{
    Decision, Exchange, Metric, Plugin,
    bearer::Bearer,
    clock,
    consumers::Owner,
    form, hex, http_client, log, plugin,
    schemars::{JsonSchema, Schema, SchemaGenerator},
    secrets, shared_store,
    single_flight::{self, Turn},
};
use sha2::{Digest, Sha256};

mod config;
mod worth;

use config::ClientAuth;
pub use config::Config;
use worth::{Rules, Worth};

static DENIED: Metric = Metric::counter("denied", "Requests without an active token.", &["reason"]);
static ASKED: Metric = Metric::counter("introspections", "Questions to the issuer.", &["outcome"]);

/// The plugin.
pub struct OAuth2 {
    bearer: Bearer,
    rules: Rules,
    /// The request without the token.
    question: http_client::Request,
    /// The body without the token.
    client: String,
    /// How long to wait for the issuer.
    timeout: Duration,
    max_ttl: Duration,
    negative_ttl: Duration,
    /// Identifies this configuration in the store: the same token may have another result elsewhere.
    context: [u8; 32],
}

/// The token cannot be checked at the moment.
struct Unknown;

#[plugin]
impl Plugin for OAuth2 {
    type Config = Config;

    const METRICS: &'static [&'static Metric] = &[&DENIED, &ASKED];
    const WANTS: &'static [&'static str] = &["http-client", "secrets", "shared-store", "single-flight"];
    const CREDENTIAL: Option<fn(&mut SchemaGenerator) -> Schema> = Some(Owner::json_schema);

    fn new(config: Config) -> Result<Self, String> {
        config.check()?;
        let name = &config.client_secret;
        let secret = secrets::get(name).ok_or_else(|| format!("the secret {name:?} is not granted to this plugin"))?;
        let mut question = http_client::Request::post(config.upstream.as_str(), config.path.as_str(), Vec::new())
            .with_header("content-type", "application/x-www-form-urlencoded")
            .with_header("accept", "application/json")
            .with_timeout(config.timeout.0);
        let client = match config.client_auth {
            ClientAuth::Basic => {
                let pair = format!("{}:{}", form::encode(&config.client_id), form::encode(secret));
                question = question.with_header("authorization", format!("Basic {}", STANDARD.encode(pair)));
                String::new()
            }
            ClientAuth::Post => {
                format!("&{}", form::of(&[("client_id", &config.client_id), ("client_secret", &secret)]))
            }
        };
        Ok(Self {
            bearer: Bearer::new(config.settings()?, &DENIED)?,
            context: digest(&[
                &config.upstream,
                &config.path,
                &config.client_id,
                &format!("{:?} {:?}", config.issuer, config.audience),
                // What another route keeps for longer would be too old here.
                &format!("{:?} {:?}", config.max_ttl.0, config.negative_ttl.0),
            ]),
            rules: Rules { issuer: config.issuer, audience: config.audience },
            question,
            client,
            timeout: config.timeout.0,
            max_ttl: config.max_ttl.0,
            negative_ttl: config.negative_ttl.0,
        })
    }

    fn on_request(&self, exchange: &Exchange) -> Decision {
        let token = match self.bearer.token(exchange) {
            Ok(token) => token,
            Err(decision) => return decision,
        };
        // RFC 6750, section 2.1: tokens have no other characters, so there is no need to ask about this one.
        let is_plain = token.bytes().all(|byte| byte.is_ascii_graphic());
        if !is_plain || token.len() > LONGEST_BYTES {
            return self.bearer.invalid("invalid", "the token is malformed");
        }
        match self.worth(&token) {
            Ok(Worth::Active(claims, _)) => self.bearer.admit(exchange, &claims),
            Ok(Worth::Inactive) => self.bearer.invalid("inactive", "the token is not active"),
            Err(Unknown) => self.bearer.unavailable("unavailable"),
        }
    }
}

impl OAuth2 {
    /// The result for a token, from the store or from the issuer.
    fn worth(&self, token: &str) -> Result<Worth, Unknown> {
        let place = self.place(token);
        if let Some(worth) = kept(&place) {
            return Ok(worth);
        }
        match single_flight::take(&place, Some(self.timeout)) {
            Turn::Mine => {
                // Another request may have asked between the look-up and this turn.
                let worth = kept(&place).map_or_else(|| self.ask_and_keep(token, &place), Ok);
                single_flight::done(&place, &told(&worth));
                worth
            }
            Turn::Done(answer) => heard(&answer),
            Turn::TimedOut => Err(Unknown),
        }
    }

    fn ask_and_keep(&self, token: &str, place: &str) -> Result<Worth, Unknown> {
        let worth = self.ask(token)?;
        let (value, ttl) = match &worth {
            Worth::Active(claims, left) => (claims.as_bytes(), left.unwrap_or(self.max_ttl).min(self.max_ttl)),
            Worth::Inactive => (b"".as_slice(), self.negative_ttl),
        };
        // A result that cannot be stored is asked for again.
        if ttl >= Duration::from_millis(1)
            && let Err(error) = shared_store::set(place, value, Some(ttl))
        {
            log::debug("an answer was not kept", &[("why", &error.to_string())]);
        }
        Ok(worth)
    }

    fn ask(&self, token: &str) -> Result<Worth, Unknown> {
        let mut question = self.question.clone();
        question.body =
            format!("{}{}", form::of(&[("token", token), ("token_type_hint", "access_token")]), self.client).into();
        let read = match question.send() {
            // RFC 7662, section 2.2: 200 for any token. 401 is about the gateway's own credentials.
            Ok(answer) if answer.status == 200 => {
                let now = clock::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                self.rules.read(&answer.body, now).map_err(str::to_owned)
            }
            Ok(answer) => Err(format!("the answer was {}", answer.status)),
            Err(error) => Err(error.to_string()),
        };
        let outcome = match &read {
            Ok(Worth::Active(..)) => "active",
            Ok(Worth::Inactive) => "inactive",
            Err(_) => "failed",
        };
        ASKED.add(1, &[outcome]);
        read.map_err(|why| {
            log::error(
                "the issuer did not say what a token is worth",
                &[("upstream", &self.question.upstream), ("why", &why)],
            );
            Unknown
        })
    }

    fn place(&self, token: &str) -> String {
        let mut hash = Sha256::new();
        hash.update(self.context);
        hash.update(token);
        format!("token:{}", hex::encode(&hash.finalize()))
    }
}

/// The stored result for a token.
fn kept(place: &str) -> Option<Worth> {
    let kept = shared_store::get(place)?;
    Some(match String::from_utf8(kept.value) {
        Ok(claims) if !claims.is_empty() => Worth::Active(claims, None),
        _ => Worth::Inactive,
    })
}

/// The result for requests that waited, so that each of them does not repeat a failed question.
fn told(worth: &Result<Worth, Unknown>) -> Vec<u8> {
    match worth {
        Ok(Worth::Active(claims, _)) => [b"+", claims.as_bytes()].concat(),
        Ok(Worth::Inactive) => b"-".to_vec(),
        Err(Unknown) => Vec::new(),
    }
}

fn heard(answer: &[u8]) -> Result<Worth, Unknown> {
    match answer.split_first() {
        Some((b'+', claims)) => Ok(Worth::Active(String::from_utf8_lossy(claims).into_owned(), None)),
        Some((b'-', [])) => Ok(Worth::Inactive),
        _ => Err(Unknown),
    }
}

/// A digest of several texts, in which two cannot be mistaken for one.
fn digest(texts: &[&str]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for text in texts {
        hash.update(u64::try_from(text.len()).unwrap_or(u64::MAX).to_le_bytes());
        hash.update(text);
    }
    hash.finalize().into()
}

/// The same as in the `jwt` plugin: by default no header line with a longer token is accepted.
const LONGEST_BYTES: usize = 16 << 10;

#[cfg(test)]
mod tests;
