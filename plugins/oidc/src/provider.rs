//! The gateway's own requests to the provider: tokens for a code, and new tokens for old ones.

use base64::{Engine, engine::general_purpose::STANDARD};
use gatewright_sdk::{
    form,
    http_client::{self, CallError},
    jwt::{self, VerifyError},
    secrets,
    serde::Deserialize,
    serde_json::{self, Map, Value},
};

use crate::config::{ClientAuth, Config};
use crate::endpoints::Source;

pub(crate) struct Provider {
    pub(crate) endpoints: Source,
    /// The request without its path.
    question: http_client::Request,
    /// The part that every body has.
    client: String,
    client_id: String,
    redirect_uri: String,
}

/// Tokens; only the ID token is verified.
#[derive(Debug)]
pub(crate) struct Tokens {
    /// `None` if a refresh returned no ID token.
    pub(crate) claims: Option<Map<String, Value>>,
    pub(crate) access: String,
    pub(crate) refresh: Option<String>,
    /// In seconds.
    pub(crate) lifetime: Option<u64>,
}

/// Why there are no tokens.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NoTokens {
    /// The code or token is not valid, or no longer.
    Refused(String),
    /// The provider, or its response, cannot be used at the moment.
    Failed(String),
}

#[derive(Deserialize)]
#[serde(crate = "gatewright_sdk::serde")]
struct Answer {
    access_token: String,
    token_type: String,
    id_token: Option<String>,
    refresh_token: Option<String>,
    expires_in: Option<u64>,
}

impl Provider {
    /// Declares the key set of ID tokens.
    ///
    /// # Errors
    /// What is wrong, with its key.
    pub(crate) fn new(config: &Config) -> Result<Self, String> {
        jwt::declare(KEYS, &config.key_set())?;
        let secret = match &config.client_secret {
            Some(name) => {
                secrets::get(name).ok_or_else(|| format!("the secret {name:?} is not granted to this plugin"))?
            }
            None => String::new(),
        };
        let endpoints = Source::new(config);
        let mut question = http_client::Request::post(config.upstream.as_str(), "/", Vec::new())
            .with_header("content-type", "application/x-www-form-urlencoded")
            .with_header("accept", "application/json")
            .with_timeout(config.timeout.0);
        if let Some(host) = endpoints.host() {
            question = question.with_header("host", host);
        }
        let id = config.client_id.as_str();
        let client = match config.client_auth {
            ClientAuth::Basic => {
                let pair = format!("{}:{}", form::encode(id), form::encode(secret));
                question = question.with_header("authorization", format!("Basic {}", STANDARD.encode(pair)));
                String::new()
            }
            ClientAuth::Post => format!("&{}", form::of(&[("client_id", id), ("client_secret", &secret)])),
            ClientAuth::None => format!("&{}", form::of(&[("client_id", id)])),
        };
        Ok(Self { endpoints, question, client, client_id: id.to_owned(), redirect_uri: config.redirect_uri.clone() })
    }

    /// Redeems the code of a login with this verifier and nonce.
    pub(crate) fn redeem(&self, code: &str, verifier: &str, nonce: &str) -> Result<Tokens, NoTokens> {
        let tokens = self.ask(&[
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", &self.redirect_uri),
            ("code_verifier", verifier),
        ])?;
        match &tokens.claims {
            // OpenID Connect Core, section 3.1.3.7: the token belongs to this login, and is not replayed from another.
            Some(claims) if claims.get("nonce").and_then(Value::as_str) == Some(nonce) => Ok(tokens),
            Some(_) => Err(NoTokens::Refused("the ID token is of another login".to_owned())),
            None => Err(NoTokens::Failed("there is no ID token".to_owned())),
        }
    }

    /// Redeems a refresh token of this subject.
    pub(crate) fn refresh(&self, token: &str, subject: Option<&Value>) -> Result<Tokens, NoTokens> {
        let tokens = self.ask(&[("grant_type", "refresh_token"), ("refresh_token", token)])?;
        match &tokens.claims {
            // Section 12.2.
            Some(claims) if claims.get("sub") != subject => {
                Err(NoTokens::Refused("the ID token is of somebody else".to_owned()))
            }
            _ => Ok(tokens),
        }
    }

    fn ask(&self, fields: &[(&str, &str)]) -> Result<Tokens, NoTokens> {
        let mut question = self.question.clone();
        question.path = self.endpoints.get().map_err(NoTokens::Failed)?.token.clone();
        question.body = format!("{}{}", form::of(fields), self.client).into();
        let answer = question.send().map_err(|error: CallError| NoTokens::Failed(error.to_string()))?;
        match answer.status.as_u16() {
            200 => self.read(&answer.body),
            // RFC 6749, section 5.2. Other errors are about the gateway itself.
            400 if says_invalid_grant(&answer.body) => Err(NoTokens::Refused("invalid_grant".to_owned())),
            status => Err(NoTokens::Failed(format!("the answer was {status}"))),
        }
    }

    fn read(&self, body: &[u8]) -> Result<Tokens, NoTokens> {
        let failed = |why: &str| NoTokens::Failed(why.to_owned());
        let answer: Answer = serde_json::from_slice(body).map_err(|_| failed("the answer has no tokens"))?;
        if !answer.token_type.eq_ignore_ascii_case("bearer")
            || !answer.access_token.bytes().all(|byte| byte.is_ascii_graphic())
        {
            return Err(failed("the access token is no bearer token"));
        }
        let claims = answer.id_token.map(|token| self.claims(&token)).transpose()?;
        Ok(Tokens { claims, access: answer.access_token, refresh: answer.refresh_token, lifetime: answer.expires_in })
    }

    /// The claims of an ID token, signed by the provider for this client.
    fn claims(&self, token: &str) -> Result<Map<String, Value>, NoTokens> {
        let text = jwt::verify(KEYS, token).map_err(|error| match error {
            VerifyError::KeysUnavailable => NoTokens::Failed(error.to_string()),
            error => NoTokens::Refused(format!("the ID token is not good: {error}")),
        })?;
        let claims: Map<String, Value> =
            serde_json::from_str(&text).map_err(|_| NoTokens::Failed("the ID token has no claims".to_owned()))?;
        // Section 3.1.3.7: a token for several audiences belongs to the authorized party.
        let is_for_others =
            matches!(claims.get("aud"), Some(Value::Array(list)) if list.len() > 1) || claims.contains_key("azp");
        if is_for_others && claims.get("azp").and_then(Value::as_str) != Some(&self.client_id) {
            return Err(NoTokens::Refused("the ID token is for another client".to_owned()));
        }
        if !matches!(claims.get("sub"), Some(Value::String(subject)) if !subject.is_empty()) {
            return Err(NoTokens::Refused("the ID token is of nobody".to_owned()));
        }
        Ok(claims)
    }
}

fn says_invalid_grant(body: &[u8]) -> bool {
    serde_json::from_slice::<Value>(body).is_ok_and(|answer| answer["error"] == "invalid_grant")
}

/// The name of the plugin's one key set.
pub(crate) const KEYS: &str = "provider";
