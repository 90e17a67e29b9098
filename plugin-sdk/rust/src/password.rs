//! Passwords, checked against slow hashes by the gateway: natively, and off the data path. A call looks blocking; the
//! gateway runs other work meanwhile.

use std::{error, fmt};

use crate::host::password as host;

/// Why a password was not checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VerifyError {
    /// Not a hash that [`check`] accepts; the text says why.
    Unsupported(String),
    /// So many passwords are being checked that this one would wait too long.
    Busy,
}

impl fmt::Display for VerifyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsupported(why) => f.write_str(why),
            Self::Busy => f.write_str("too many passwords are being checked"),
        }
    }
}

impl error::Error for VerifyError {}

/// Whether [`verify`] accepts this hash: argon2 (a PHC string) or bcrypt. For [`crate::Plugin::new`].
///
/// # Errors
/// Why not, for the operator. The text does not contain the hash.
pub fn check(hash: &str) -> Result<(), String> {
    host::check(hash)
}

/// Whether the hash was made from this password. The gateway remembers correct passwords for some minutes, and never
/// wrong ones. In a hook only.
///
/// # Errors
/// See [`VerifyError`].
pub fn verify(hash: &str, password: &str) -> Result<bool, VerifyError> {
    host::verify(hash, password)
}
