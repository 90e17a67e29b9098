//! Data that a client keeps for a plugin and can neither read nor change: authenticated encryption with a secret that
//! the operator granted.

use std::{error, fmt};

use crate::host::seal as host;

/// Why nothing was sealed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SealError {
    /// The secret does not exist or was not granted.
    UnknownKey,
    /// The secret is shorter than 32 bytes.
    WeakKey,
    /// The message is longer than 64 KiB.
    TooLarge,
    /// Any other reason, in the gateway's words.
    Other(String),
}

/// Seals a message with the secret named `key`. A message sealed for one purpose does not open for another.
///
/// # Errors
/// See [`SealError`].
pub fn seal(key: &str, purpose: &str, message: &[u8]) -> Result<Vec<u8>, SealError> {
    host::seal(key, purpose, message)
}

/// Opens what was sealed with this secret for this purpose; `None` for anything else.
#[must_use]
pub fn open(key: &str, purpose: &str, sealed: &[u8]) -> Option<Vec<u8>> {
    host::open(key, purpose, sealed)
}

impl fmt::Display for SealError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownKey => f.write_str("the secret is not granted to this plugin"),
            Self::WeakKey => f.write_str("the secret has less than 32 bytes"),
            Self::TooLarge => f.write_str("the message is too large"),
            Self::Other(text) => f.write_str(text),
        }
    }
}

impl error::Error for SealError {}
