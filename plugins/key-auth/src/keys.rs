//! The table of keys.

use std::hash::Hasher;

use gatewright_sdk::{consumers::Consumer, random, secrets, serde_json};
use sha2::{Digest, Sha256};
use siphasher::sip128::{Hasher128, SipHasher24};

use crate::{Credential, Key};

/// Callers by the tags or digests of their keys.
pub(crate) struct Keys {
    /// The secret of the tags; each instance draws its own.
    secret: [u8; 16],
    /// The tag of each key, sorted, with the position in `callers`.
    tags: Vec<(u128, usize)>,
    /// The digest of each key that is only given as a digest, sorted, with the position in `callers`.
    digests: Vec<([u8; 32], usize)>,
    callers: Vec<Caller>,
}

/// The caller of a key.
pub(crate) struct Caller {
    pub(crate) subject: String,
    /// The text of a JSON object.
    pub(crate) claims: String,
}

impl Keys {
    /// # Errors
    /// Names the key by its position in the list, never by its value.
    pub(crate) fn new(keys: Option<Vec<Key>>, consumers: Vec<(Credential, Consumer)>) -> Result<Self, String> {
        let mut found = Vec::new();
        for (index, key) in keys.into_iter().flatten().enumerate() {
            found.push(entry(key).map_err(|why| format!("keys[{index}]: {why}"))?);
        }
        for (credential, Consumer { name, claims }) in consumers {
            let shown = of_one(credential).map_err(|why| format!("the consumer {name:?}: {why}"))?;
            found.push((shown, Caller { subject: name, claims }));
        }
        if found.is_empty() {
            return Err("keys: at least one is needed, here or of a consumer".to_owned());
        }
        found.sort_by_key(|(shown, _)| shown.digest);
        if let Some([(_, one), (_, other)]) = found.array_windows().find(|[one, other]| one.0.digest == other.0.digest)
        {
            return Err(format!("keys: {:?} and {:?} have the same key", one.subject, other.subject));
        }
        let mut secret = [0; 16];
        secret.copy_from_slice(&random::bytes(16));
        let (mut tags, mut digests, mut callers) = (Vec::new(), Vec::new(), Vec::new());
        for (Shown { digest, key }, caller) in found {
            match key {
                Some(key) => tags.push((tag(&secret, &key), callers.len())),
                None => digests.push((digest, callers.len())),
            }
            callers.push(caller);
        }
        tags.sort_unstable();
        Ok(Self { secret, tags, digests, callers })
    }

    /// The caller of this key.
    pub(crate) fn caller(&self, key: &str) -> Option<&Caller> {
        let by_tag = place(&self.tags, &tag(&self.secret, key));
        let place = by_tag.or_else(|| match self.digests.is_empty() {
            true => None,
            false => place(&self.digests, &digest(key)),
        });
        self.callers.get(place?)
    }
}

/// A key as shown in the configuration.
struct Shown {
    digest: [u8; 32],
    /// The key, if it is shown in plain text.
    key: Option<String>,
}

impl From<String> for Shown {
    fn from(key: String) -> Self {
        Self { digest: digest(&key), key: Some(key) }
    }
}

fn place<T: Ord>(sorted: &[(T, usize)], known: &T) -> Option<usize> {
    let index = sorted.binary_search_by(|(entry, _)| entry.cmp(known)).ok()?;
    sorted.get(index).map(|(_, place)| *place)
}

fn entry(key: Key) -> Result<(Shown, Caller), String> {
    let shown = of_one(Credential { key: key.key, sha256: key.sha256, secret: key.secret })?;
    if key.subject.is_empty() {
        return Err("subject is empty".to_owned());
    }
    let claims = serde_json::to_string(&key.claims).map_err(|error| error.to_string())?;
    Ok((shown, Caller { subject: key.subject, claims }))
}

fn of_one(credential: Credential) -> Result<Shown, String> {
    match (credential.key, credential.sha256, credential.secret) {
        (Some(key), None, None) if !key.is_empty() => Ok(key.into()),
        (None, Some(hex), None) => {
            let digest = from_hex(&hex).ok_or("sha256 is not 64 hexadecimal digits")?;
            Ok(Shown { digest, key: None })
        }
        (None, None, Some(name)) => match secrets::get(&name) {
            Some(key) if !key.is_empty() => Ok(key.into()),
            Some(_) => Err(format!("the secret {name:?} is empty")),
            None => Err(format!("the secret {name:?} is not granted to this plugin")),
        },
        (Some(_), None, None) => Err("key is empty".to_owned()),
        _ => Err("exactly one of key, sha256 and secret is needed".to_owned()),
    }
}

/// SipHash-2-4 with 128 bits: without the secret nobody can tell a key's tag from a random number.
fn tag(secret: &[u8; 16], key: &str) -> u128 {
    let mut hasher = SipHasher24::new_with_key(secret);
    hasher.write(key.as_bytes());
    hasher.finish128().as_u128()
}

fn digest(key: &str) -> [u8; 32] {
    Sha256::digest(key).into()
}

fn from_hex(hex: &str) -> Option<[u8; 32]> {
    let digits: Vec<u8> = hex.chars().map(|digit| digit.to_digit(16)?.try_into().ok()).collect::<Option<_>>()?;
    let bytes: Vec<u8> = digits.as_chunks().0.iter().map(|[high, low]| high << 4 | low).collect();
    if digits.len() == 64 { bytes.try_into().ok() } else { None }
}
