//! Signed tokens, checked by the gateway at native speed. The gateway fetches, caches and rotates the keys.

use std::{error, fmt};

use crate::host::jwt as host;

/// Why a token was not accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VerifyError {
    /// Not a signed token in compact form, or a claim of the wrong type.
    Malformed,
    /// No key of the set can have made the signature.
    UnknownKey,
    /// Another key made the signature, or the token was changed.
    BadSignature,
    /// `exp` has passed.
    Expired,
    /// `nbf` or `iat` is in the future.
    NotYetValid,
    /// `iss` is missing or names another issuer.
    WrongIssuer,
    /// `aud` is missing or names another audience.
    WrongAudience,
    /// The algorithm is not on the set's list, or not one its key may be used for.
    AlgorithmNotAllowed,
    /// The keys could not be fetched: the fault is not the client's.
    KeysUnavailable,
    /// Any other reason, in the gateway's words.
    Other(String),
}

impl fmt::Display for VerifyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "the token is malformed",
            Self::UnknownKey => "the token is signed with an unknown key",
            Self::BadSignature => "the signature does not match",
            Self::Expired => "the token has expired",
            Self::NotYetValid => "the token is not valid yet",
            Self::WrongIssuer => "the token is from another issuer",
            Self::WrongAudience => "the token is for another audience",
            Self::AlgorithmNotAllowed => "the algorithm is not allowed",
            Self::KeysUnavailable => "the keys are not available",
            Self::Other(text) => text,
        })
    }
}

impl error::Error for VerifyError {}

/// Declares a key set; only in [`crate::Plugin::new`]. `definition` is a JSON object, described in the contract. An
/// address or a path in it must appear in the plugin's configuration exactly as the operator wrote it.
///
/// # Errors
/// What is wrong with the definition, for the operator.
pub fn declare(keys: &str, definition: &str) -> Result<(), String> {
    host::declare(keys, definition)
}

/// Checks a token against a declared key set and returns its claims, the text of a JSON object.
///
/// # Errors
/// Why it is not valid.
pub fn verify(keys: &str, token: &str) -> Result<String, VerifyError> {
    host::verify(keys, token)
}

/// The discovery document of a key set that was declared with `discovery`: the text of a JSON object whose `issuer` is
/// that of the set. `None` while the gateway does not have it.
#[must_use]
pub fn discovered(keys: &str) -> Option<String> {
    host::discovered(keys)
}

/// Checks the signature of any bytes against a declared key set. `algorithm` is its name in a token (`"ES256"`), and
/// the signature has the same form as in a token: two numbers of a fixed length for ECDSA. `kid` is the name of the
/// key, if known.
///
/// # Errors
/// Why it is not the signature of this message.
pub fn verify_message(
    keys: &str,
    kid: Option<&str>,
    algorithm: &str,
    message: &[u8],
    signature: &[u8],
) -> Result<(), VerifyError> {
    host::verify_message(keys, kid, algorithm, message, signature)
}
