//! The table of keys. The gateway has the keys themselves; this has their other properties.

use std::collections::BTreeMap;

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use gatewright_sdk::{
    consumers::Consumer,
    jwt::{self, VerifyError},
    secrets,
    serde_json::{self, Value, json},
};

use crate::config::{Algorithm, Credential, Encoding, Key};

pub(crate) struct Keys(BTreeMap<String, Known>);

/// The properties of a key, except the key itself.
pub(crate) struct Known {
    pub(crate) algorithm: Algorithm,
    pub(crate) subject: String,
    /// The text of a JSON object.
    pub(crate) claims: String,
}

impl Keys {
    /// Declares the keys to the gateway: shared and public ones separately, since one set cannot have both.
    ///
    /// # Errors
    /// Names the key by its position, never by its value.
    pub(crate) fn new(keys: Option<Vec<Key>>, consumers: Vec<(Credential, Consumer)>) -> Result<Self, String> {
        let mut table = Table::default();
        for (index, key) in keys.into_iter().flatten().enumerate() {
            let at = |why: String| format!("keys[{index}]: {why}");
            let Key { id, alg, secret, key, encoding, pem, jwk, subject, claims } = key;
            let claims = serde_json::to_string(&claims).map_err(|error| at(error.to_string()))?;
            let subject = subject.unwrap_or_else(|| id.clone());
            let credential = Credential { id: None, alg, secret, key, encoding, pem, jwk };
            table.add(id, &credential, subject, claims).map_err(at)?;
        }
        for (credential, Consumer { name, claims }) in consumers {
            let id = credential.id.clone().unwrap_or_else(|| name.clone());
            let added = table.add(id, &credential, name.clone(), claims);
            added.map_err(|why| format!("the consumer {name:?}: {why}"))?;
        }
        if table.known.is_empty() {
            return Err("keys: at least one is needed, here or of a consumer".to_owned());
        }
        for (set, (algorithms, keys)) in table.sets {
            jwt::declare(set, &json!({ "algorithms": algorithms, "keys": keys }).to_string())?;
        }
        Ok(Self(table.known))
    }

    pub(crate) fn ids(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    pub(crate) fn get(&self, id: &str) -> Option<&Known> {
        self.0.get(id)
    }

    /// Whether the key `id` made this signature of the message.
    pub(crate) fn verify(&self, id: &str, message: &str, signature: &[u8]) -> Result<(), VerifyError> {
        let algorithm = self.0.get(id).ok_or(VerifyError::UnknownKey)?.algorithm;
        jwt::verify_message(set_of(algorithm), Some(id), algorithm.of_tokens(), message.as_bytes(), signature)
    }
}

/// The keys while they are read.
#[derive(Default)]
struct Table {
    known: BTreeMap<String, Known>,
    /// Algorithms and keys, by the name of the set.
    sets: BTreeMap<&'static str, (Vec<&'static str>, Vec<Value>)>,
}

impl Table {
    fn add(&mut self, id: String, credential: &Credential, subject: String, claims: String) -> Result<(), String> {
        let mut entry = material(credential)?;
        let algorithm = credential.alg.of_tokens();
        entry["kid"] = json!(id);
        entry["alg"] = json!(algorithm);
        if id.is_empty() || subject.is_empty() {
            return Err("id or subject is empty".to_owned());
        }
        let (algorithms, entries) = self.sets.entry(set_of(credential.alg)).or_default();
        if !algorithms.contains(&algorithm) {
            algorithms.push(algorithm);
        }
        entries.push(entry);
        match self.known.insert(id.clone(), Known { algorithm: credential.alg, subject, claims }) {
            None => Ok(()),
            Some(_) => Err(format!("the id {id:?} is there twice")),
        }
    }
}

const fn set_of(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::HmacSha256 => "shared",
        _ => "public",
    }
}

/// The key in the form that the gateway takes.
fn material(key: &Credential) -> Result<Value, String> {
    let is_shared = key.alg == Algorithm::HmacSha256;
    match (&key.secret, &key.key, &key.pem, &key.jwk) {
        (Some(name), None, None, None) if is_shared => {
            let secret =
                secrets::get(name).ok_or_else(|| format!("the secret {name:?} is not granted to this plugin"))?;
            shared(&secret, key.encoding)
        }
        (None, Some(text), None, None) if is_shared => shared(text, key.encoding),
        (None, None, Some(pem), None) if !is_shared => Ok(json!({ "pem": pem })),
        (None, None, None, Some(jwk)) if !is_shared => Ok(json!({ "jwk": jwk })),
        (Some(_), None, None, None) | (None, Some(_), None, None) => {
            Err(format!("{} needs a public key, in pem or jwk", key.alg.name()))
        }
        (None, None, Some(_), None) | (None, None, None, Some(_)) => {
            Err("hmac-sha256 needs a shared key, in secret or key".to_owned())
        }
        _ => Err("exactly one of secret, key, pem and jwk is needed".to_owned()),
    }
}

fn shared(text: &str, encoding: Encoding) -> Result<Value, String> {
    let bytes = match encoding {
        Encoding::Text => text.as_bytes().to_vec(),
        Encoding::Base64 => STANDARD.decode(text.trim_end()).map_err(|_| "the key is not base64".to_owned())?,
    };
    if bytes.len() < SHORTEST_BYTES {
        return Err(format!("the key has {} bytes, hmac-sha256 needs at least {SHORTEST_BYTES}", bytes.len()));
    }
    Ok(json!({ "jwk": { "kty": "oct", "k": URL_SAFE_NO_PAD.encode(bytes) } }))
}

/// The length of the digest (RFC 2104, section 3).
const SHORTEST_BYTES: usize = 32;
