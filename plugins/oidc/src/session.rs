//! Who has signed in, and until when.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use gatewright_sdk::{
    random,
    serde::{Deserialize, Serialize},
    serde_json::{Map, Value},
};

use crate::{Config, provider::Tokens};

/// What the session cookie holds. Times are seconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(crate = "gatewright_sdk::serde")]
pub(crate) struct Session {
    /// Says which one it is, to end it before its time.
    pub(crate) id: String,
    pub(crate) claims: Map<String, Value>,
    /// When the provider's tokens end.
    pub(crate) until: u64,
    /// When it is over in any case.
    pub(crate) ends: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) refresh: Option<String>,
    /// Where the upstream gets it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) access: Option<String>,
}

impl Session {
    pub(crate) fn begin(config: &Config, tokens: Tokens, now: u64) -> Self {
        let ends = now.saturating_add(config.session_ttl.0.as_secs());
        let id = BASE64.encode(random::bytes(16));
        let session = Self { id, claims: Map::new(), until: ends, ends, refresh: None, access: None };
        session.renewed(config, tokens, now)
    }

    /// The same session with new tokens. Values that the provider does not return again stay.
    pub(crate) fn renewed(self, config: &Config, tokens: Tokens, now: u64) -> Self {
        let Tokens { claims, access, refresh, lifetime } = tokens;
        let expires = |claims: &Map<String, Value>| claims.get("exp").and_then(Value::as_f64).map(|exp| exp as u64);
        let until = lifetime.map(|seconds| now.saturating_add(seconds)).or_else(|| claims.as_ref().and_then(expires));
        Self {
            claims: claims.map_or(self.claims, |claims| kept(config, claims)),
            until: until.unwrap_or(self.ends).min(self.ends),
            refresh: refresh.or(self.refresh),
            access: config.forward_access_token.then_some(access),
            id: self.id,
            ends: self.ends,
        }
    }
}

fn kept(config: &Config, claims: Map<String, Value>) -> Map<String, Value> {
    let is_kept = |name: &String| name == "sub" || name == "iss" || config.claims.contains(name);
    claims.into_iter().filter(|(name, _)| is_kept(name)).collect()
}
