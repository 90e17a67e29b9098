//! Cookies that only the gateway can read.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use gatewright_sdk::{
    Exchange,
    credential::{Found, Location},
    seal::{self, SealError},
    serde::{Serialize, de::DeserializeOwned},
    serde_json,
};

use crate::Config;

/// One cookie, and how it is sealed.
pub(crate) struct Cookie {
    location: Location,
    name: String,
    /// Separates the cookies of one provider and client from all others.
    purpose: String,
    keys: Vec<String>,
    secure: bool,
}

/// Why there is no cookie.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NoCookie {
    Sealing(SealError),
    /// Browsers reject cookies of more than 4096 bytes, name and attributes included.
    TooLarge,
}

impl Cookie {
    pub(crate) fn new(config: &Config, suffix: &str) -> Self {
        let name = config.cookie_name(suffix);
        Self {
            location: Location::Cookie(name.clone()),
            purpose: format!("oidc{suffix} {} {}", config.client_id, config.issuer),
            name,
            keys: config.keys.clone(),
            secure: config.secure,
        }
    }

    /// Whether every key works.
    pub(crate) fn check_keys(&self) -> Result<(), String> {
        self.keys.iter().enumerate().try_for_each(|(at, key)| {
            seal::seal(key, &self.purpose, b"").map(drop).map_err(|why| format!("keys[{at}]: {key:?}: {why}"))
        })
    }

    /// The content of the request's cookie, if the gateway has sealed it.
    pub(crate) fn open<T: DeserializeOwned>(&self, exchange: &Exchange) -> Option<T> {
        match self.location.find(exchange) {
            Found::One(text) => self.read(&text),
            Found::Nothing | Found::Unclear => None,
        }
    }

    pub(crate) fn read<T: DeserializeOwned>(&self, text: &str) -> Option<T> {
        let sealed = BASE64.decode(text).ok()?;
        let message = self.keys.iter().find_map(|key| seal::open(key, &self.purpose, &sealed))?;
        serde_json::from_slice(&message).ok()
    }

    /// The value of a cookie with this content.
    pub(crate) fn seal(&self, content: &impl Serialize) -> Result<String, NoCookie> {
        let message =
            serde_json::to_vec(content).map_err(|error| NoCookie::Sealing(SealError::Other(error.to_string())))?;
        let key = self.keys.first().map_or("", String::as_str);
        let text = BASE64.encode(seal::seal(key, &self.purpose, &message).map_err(NoCookie::Sealing)?);
        if self.name.len() + text.len() > LONGEST_BYTES { Err(NoCookie::TooLarge) } else { Ok(text) }
    }

    /// The value of a `set-cookie`. No script can read the cookie, and from other sites it is only sent when a link is
    /// followed, so that a login survives the way back from the provider.
    pub(crate) fn set(&self, value: &str, seconds: u64) -> String {
        let secure = if self.secure { "; Secure" } else { "" };
        format!("{}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}", self.name)
    }

    pub(crate) fn forget(&self) -> String {
        self.set("", 0)
    }
}

/// Leaves room for the attributes.
const LONGEST_BYTES: usize = 3900;
