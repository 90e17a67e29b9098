//! Signing in: to the provider, and back.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use gatewright_sdk::{
    form, random,
    serde::{Deserialize, Serialize},
};
use sha2::{Digest, Sha256};

use crate::Config;

/// What is kept of a login under way, in a cookie of the browser that began it. So no login can be finished in another.
#[derive(Debug, Serialize, Deserialize)]
#[serde(crate = "gatewright_sdk::serde")]
pub(crate) struct Login {
    state: String,
    pub(crate) nonce: String,
    /// RFC 7636.
    pub(crate) verifier: String,
    /// Path and query to go on with.
    pub(crate) return_to: String,
    /// Seconds since 1970.
    pub(crate) ends: u64,
}

impl Login {
    /// `target` is the requested path, with its query.
    pub(crate) fn begin(target: &str, ends: u64) -> Self {
        let text = || BASE64.encode(random::bytes(32));
        // A long one would make the cookie too large for browsers.
        let return_to = if target.len() > LONGEST_TARGET_BYTES { "/" } else { target };
        Self { state: text(), nonce: text(), verifier: text(), return_to: return_to.to_owned(), ends }
    }

    /// Where the browser signs in.
    pub(crate) fn address(&self, endpoint: &str, config: &Config) -> String {
        let challenge = BASE64.encode(Sha256::digest(&self.verifier));
        let scopes = config.scopes.join(" ");
        let mut fields: Vec<(&str, &str)> = vec![
            ("response_type", "code"),
            ("client_id", &config.client_id),
            ("redirect_uri", &config.redirect_uri),
            ("scope", &scopes),
            ("state", &self.state),
            ("nonce", &self.nonce),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
        ];
        fields.extend(config.authorization_parameters.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        with_query(endpoint, &form::of(&fields))
    }

    /// The code in a redirect that belongs to this login.
    ///
    /// # Errors
    /// Why there is no code.
    pub(crate) fn code(&self, query: &str, issuer: &str, now: u64) -> Result<String, NoCode> {
        // Digests, so that the time of the comparison reveals nothing about the state.
        let state = form::only(query, "state").map(|state| Sha256::digest(state.as_bytes()));
        if state != Some(Sha256::digest(&self.state)) || now >= self.ends {
            return Err(NoCode::Foreign);
        }
        // RFC 9207: refuses the response of another provider than the one that was asked.
        if form::pairs(query).any(|pair| form::decode(pair.name) == b"iss".as_slice())
            && form::only(query, "iss").as_deref() != Some(issuer)
        {
            return Err(NoCode::Foreign);
        }
        if let Some(error) = form::only(query, "error") {
            // RFC 6749, section 4.1.2.1; in a log it stays one word.
            return Err(NoCode::Refused(error.chars().filter(|char| char.is_ascii_graphic()).take(64).collect()));
        }
        match form::only(query, "code") {
            Some(code) if !code.is_empty() => Ok(code.into_owned()),
            _ => Err(NoCode::Foreign),
        }
    }
}

/// Why a redirect has no code.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NoCode {
    /// It does not belong to this login.
    Foreign,
    /// The provider refused, with this error.
    Refused(String),
}

pub(crate) fn with_query(address: &str, fields: &str) -> String {
    format!("{address}{}{fields}", if address.contains('?') { "&" } else { "?" })
}

const LONGEST_TARGET_BYTES: usize = 2000;
