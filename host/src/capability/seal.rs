//! `seal`: data that a client keeps for a plugin and can neither read nor change.
//!
//! AES-256-GCM, with a key for each message: HKDF-SHA256 (RFC 5869) derives it from the secret, the purpose, and 32
//! random bytes that precede the message. So no two messages share key and nonce, however many are sealed, and a
//! message sealed for one purpose does not open for another. Messages are not compressed: the sealed length reveals
//! only the length of the plaintext.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use aws_lc_rs::rand;

/// Why nothing was sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SealError {
    /// The secret is shorter than [`SHORTEST_SECRET_BYTES`].
    WeakKey,
    /// The message is longer than [`LONGEST_MESSAGE_BYTES`].
    TooLarge,
    /// The system has no random bytes.
    Random,
}

/// Seals a message.
///
/// # Errors
/// See [`SealError`].
pub fn seal(secret: &str, purpose: &str, message: &[u8]) -> Result<Vec<u8>, SealError> {
    if message.len() > LONGEST_MESSAGE_BYTES {
        return Err(SealError::TooLarge);
    }
    let mut salt = [0; SALT_BYTES];
    rand::fill(&mut salt).map_err(|_| SealError::Random)?;
    let (key, nonce) = key(secret, purpose, &salt).ok_or(SealError::WeakKey)?;
    let mut body = message.to_vec();
    key.seal_in_place_append_tag(nonce, Aad::from([VERSION]), &mut body).map_err(|_| SealError::TooLarge)?;
    let mut sealed = Vec::with_capacity(1 + SALT_BYTES + body.len());
    sealed.push(VERSION);
    sealed.extend_from_slice(&salt);
    sealed.extend_from_slice(&body);
    Ok(sealed)
}

/// Opens what was sealed with this secret for this purpose; nothing else opens.
pub fn open(secret: &str, purpose: &str, sealed: &[u8]) -> Option<Vec<u8>> {
    let (&version, rest) = sealed.split_first()?;
    let (salt, body) = rest.split_at_checked(SALT_BYTES)?;
    if version != VERSION || body.len() > LONGEST_MESSAGE_BYTES + AES_256_GCM.tag_len() {
        return None;
    }
    let (key, nonce) = key(secret, purpose, salt)?;
    let mut body = body.to_vec();
    let length = key.open_in_place(nonce, Aad::from([VERSION]), &mut body).ok()?.len();
    body.truncate(length);
    Some(body)
}

/// The key and nonce of one message.
fn key(secret: &str, purpose: &str, salt: &[u8]) -> Option<(LessSafeKey, Nonce)> {
    if secret.len() < SHORTEST_SECRET_BYTES {
        return None;
    }
    let made = Salt::new(HKDF_SHA256, salt).extract(secret.as_bytes());
    let info = [b"gatewright seal 1".as_slice(), purpose.as_bytes()];
    let mut bytes = [0; KEY_BYTES + NONCE_LEN];
    made.expand(&info, Length(bytes.len())).ok()?.fill(&mut bytes).ok()?;
    let (key, nonce) = bytes.split_at_checked(KEY_BYTES)?;
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).ok()?);
    Some((key, Nonce::try_assume_unique_for_key(nonce).ok()?))
}

struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

impl fmt::Display for SealError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SealError::WeakKey => write!(out, "the secret has less than {SHORTEST_SECRET_BYTES} bytes"),
            SealError::TooLarge => write!(out, "the message has more than {LONGEST_MESSAGE_BYTES} bytes"),
            SealError::Random => out.write_str("the system has no random bytes"),
        }
    }
}

impl std::error::Error for SealError {}

/// As long as the key derived from it.
pub const SHORTEST_SECRET_BYTES: usize = 32;
/// More than any cookie or token holds.
pub const LONGEST_MESSAGE_BYTES: usize = 64 << 10;
const VERSION: u8 = 1;
const SALT_BYTES: usize = 32;
const KEY_BYTES: usize = 32;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const SECRET: &str = "a secret of at least 32 bytes, say";

    #[test]
    fn only_what_was_sealed_opens_and_only_for_its_purpose() {
        for message in [b"".as_slice(), b"a", &[7; 5000]] {
            let sealed = seal(SECRET, "session", message).unwrap();
            assert_eq!(open(SECRET, "session", &sealed).as_deref(), Some(message));
            assert_ne!(seal(SECRET, "session", message).unwrap(), sealed, "each is another");
            assert!(message.len() < 8 || !sealed.windows(8).any(|part| part == &message[..8]));
            for (secret, purpose) in
                [(SECRET, "login"), (SECRET, ""), ("another secret of at least 32 bytes", "session"), ("", "session")]
            {
                assert_eq!(open(secret, purpose, &sealed), None, "{purpose}");
            }
            for at in 0..sealed.len() {
                let mut bad = sealed.clone();
                bad[at] ^= 1;
                assert_eq!(open(SECRET, "session", &bad), None, "byte {at}");
            }
            for length in 0..sealed.len().min(80) {
                assert_eq!(open(SECRET, "session", &sealed[..length]), None, "cut at {length}");
            }
            let longer = [sealed.as_slice(), b"x"].concat();
            assert_eq!(open(SECRET, "session", &longer), None);
        }
    }

    #[test]
    fn what_is_not_sealed() {
        assert_eq!(seal("short", "session", b"a"), Err(SealError::WeakKey));
        assert_eq!(seal(SECRET, "session", &vec![0; LONGEST_MESSAGE_BYTES + 1]), Err(SealError::TooLarge));
        let largest = seal(SECRET, "session", &vec![0; LONGEST_MESSAGE_BYTES]).unwrap();
        assert!(open(SECRET, "session", &largest).is_some());
    }
}
