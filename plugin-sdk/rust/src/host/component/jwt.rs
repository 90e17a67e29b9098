//! Key sets and the checks of tokens and signatures.

use super::wit::jwt;
use crate::jwt::VerifyError;

pub(crate) use super::wit::jwt::{declare, discovered};

pub(crate) fn verify(keys: &str, token: &str) -> Result<String, VerifyError> {
    jwt::verify(keys, token).map_err(Into::into)
}

pub(crate) fn verify_message(
    keys: &str,
    kid: Option<&str>,
    algorithm: &str,
    message: &[u8],
    signature: &[u8],
) -> Result<(), VerifyError> {
    jwt::verify_message(keys, kid, algorithm, message, signature).map_err(Into::into)
}

impl From<jwt::VerifyError> for VerifyError {
    fn from(error: jwt::VerifyError) -> Self {
        match error {
            jwt::VerifyError::Malformed => Self::Malformed,
            jwt::VerifyError::UnknownKey => Self::UnknownKey,
            jwt::VerifyError::BadSignature => Self::BadSignature,
            jwt::VerifyError::Expired => Self::Expired,
            jwt::VerifyError::NotYetValid => Self::NotYetValid,
            jwt::VerifyError::WrongIssuer => Self::WrongIssuer,
            jwt::VerifyError::WrongAudience => Self::WrongAudience,
            jwt::VerifyError::AlgorithmNotAllowed => Self::AlgorithmNotAllowed,
            jwt::VerifyError::KeysUnavailable => Self::KeysUnavailable,
            jwt::VerifyError::Other(text) => Self::Other(text),
        }
    }
}
