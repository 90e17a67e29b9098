//! `oauth2` lets in who has a token of which its issuer says that it is active (token introspection, RFC 7662), and says who it
//! is.
//!
//! The issuer is an upstream, asked with the gateway's own credentials. What it answers is kept in the shared store under the
//! digest of the token: an active one for a while and never longer than it lives, an inactive one for some seconds, so that who
//! guesses does not make the gateway ask each time. Of requests with the same token at the same time one asks, and the others wait
//! for its answer. No token is kept or logged.

use std::time::{Duration, UNIX_EPOCH};

use base64::{Engine, engine::general_purpose::STANDARD};
use gatewright_sdk::{
    Decision, Exchange, Metric, Plugin,
    bearer::Bearer,
    clock,
    consumers::Owner,
    form, http_client, log, plugin,
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
    /// Without the token.
    question: http_client::Request,
    /// What is in the body beside the token.
    client: String,
    /// For an answer of the issuer.
    timeout: Duration,
    max_ttl: Duration,
    negative_ttl: Duration,
    /// What makes an answer one to this question: the same token may be worth something else elsewhere.
    context: [u8; 32],
}

/// Nobody can say what the token is worth.
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
        // RFC 6750, section 2.1: no token has other characters, so nobody has to be asked about this one.
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
    /// From memory, or as the issuer says.
    fn worth(&self, token: &str) -> Result<Worth, Unknown> {
        let place = self.place(token);
        if let Some(worth) = kept(&place) {
            return Ok(worth);
        }
        match single_flight::take(&place, Some(self.timeout)) {
            Turn::Mine => {
                // Another may have asked between the look and this turn.
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
        // What cannot be kept is asked again.
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
            // RFC 7662, section 2.2: 200 whatever the token is worth. 401 is about the gateway's own credentials.
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
        hash.finalize().iter().fold("token:".to_owned(), |text, byte| format!("{text}{byte:02x}"))
    }
}

/// What is remembered of a token.
fn kept(place: &str) -> Option<Worth> {
    let kept = shared_store::get(place)?;
    Some(match String::from_utf8(kept.value) {
        Ok(claims) if !claims.is_empty() => Worth::Active(claims, None),
        _ => Worth::Inactive,
    })
}

/// What those are told who have waited for the answer, so that no failure is asked about once more by each of them.
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

/// Of several texts, so that none can look like two.
fn digest(texts: &[&str]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for text in texts {
        hash.update(u64::try_from(text.len()).unwrap_or(u64::MAX).to_le_bytes());
        hash.update(text);
    }
    hash.finalize().into()
}

/// As the `jwt` plugin has it: no header line that carries a longer one is let in by default.
const LONGEST_BYTES: usize = 16 << 10;

#[cfg(test)]
mod tests;
