//! The table of keys.

use gatewright_sdk::{consumers::Consumer, secrets, serde_json};
use sha2::{Digest, Sha256};

use crate::{Credential, Key};

/// Callers by the digest of their key, sorted.
pub(crate) struct Keys(Vec<([u8; 32], Caller)>);

/// Who calls with a key.
pub(crate) struct Caller {
    pub(crate) subject: String,
    /// The text of a JSON object.
    pub(crate) claims: String,
}

impl Keys {
    /// # Errors
    /// Names the key by its place in the list, never by what it is.
    pub(crate) fn new(keys: Option<Vec<Key>>, consumers: Vec<(Credential, Consumer)>) -> Result<Self, String> {
        let mut table = Vec::new();
        for (index, key) in keys.into_iter().flatten().enumerate() {
            table.push(entry(key).map_err(|why| format!("keys[{index}]: {why}"))?);
        }
        for (credential, Consumer { name, claims }) in consumers {
            let digest = of_one(credential).map_err(|why| format!("the consumer {name:?}: {why}"))?;
            table.push((digest, Caller { subject: name, claims }));
        }
        if table.is_empty() {
            return Err("keys: at least one is needed, here or of a consumer".to_owned());
        }
        table.sort_by_key(|(digest, _)| *digest);
        if let Some([(_, one), (_, other)]) = table.array_windows().find(|[one, other]| one.0 == other.0) {
            return Err(format!("keys: {:?} and {:?} have the same key", one.subject, other.subject));
        }
        Ok(Self(table))
    }

    pub(crate) fn caller(&self, key: &str) -> Option<&Caller> {
        let digest = digest(key);
        let index = self.0.binary_search_by_key(&digest, |(digest, _)| *digest).ok()?;
        self.0.get(index).map(|(_, caller)| caller)
    }
}

fn entry(key: Key) -> Result<([u8; 32], Caller), String> {
    let digest = of_one(Credential { key: key.key, sha256: key.sha256, secret: key.secret })?;
    if key.subject.is_empty() {
        return Err("subject is empty".to_owned());
    }
    let claims = serde_json::to_string(&key.claims).map_err(|error| error.to_string())?;
    Ok((digest, Caller { subject: key.subject, claims }))
}

fn of_one(credential: Credential) -> Result<[u8; 32], String> {
    match (credential.key, credential.sha256, credential.secret) {
        (Some(key), None, None) if !key.is_empty() => Ok(digest(&key)),
        (None, Some(hex), None) => from_hex(&hex).ok_or_else(|| "sha256 is not 64 hexadecimal digits".to_owned()),
        (None, None, Some(name)) => match secrets::get(&name) {
            Some(key) if !key.is_empty() => Ok(digest(&key)),
            Some(_) => Err(format!("the secret {name:?} is empty")),
            None => Err(format!("the secret {name:?} is not granted to this plugin")),
        },
        (Some(_), None, None) => Err("key is empty".to_owned()),
        _ => Err("exactly one of key, sha256 and secret is needed".to_owned()),
    }
}

fn digest(key: &str) -> [u8; 32] {
    Sha256::digest(key).into()
}

fn from_hex(hex: &str) -> Option<[u8; 32]> {
    let digits: Vec<u8> = hex.chars().map(|digit| digit.to_digit(16)?.try_into().ok()).collect::<Option<_>>()?;
    let bytes: Vec<u8> = digits.as_chunks().0.iter().map(|[high, low]| high << 4 | low).collect();
    if digits.len() == 64 { bytes.try_into().ok() } else { None }
}
