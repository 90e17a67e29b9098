//! Passwords, checked against slow hashes by the gateway: natively, and beside the data path. A call looks blocking; the
//! gateway runs other work meanwhile.

use std::{error, fmt};

use crate::host::password as host;

/// Why a password was not checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VerifyError {
    /// Not a hash that [`check`] accepts; why.
    Unsupported(String),
    /// So many are being checked that this one would wait too long.
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

/// Whether this is a hash that [`verify`] takes: argon2 (a PHC string) or bcrypt. For [`crate::Plugin::new`].
///
/// # Errors
/// Why not, for the operator. The hash itself is not told.
pub fn check(hash: &str) -> Result<(), String> {
    host::check(hash)
}

/// Whether the password is the one that the hash was made of. The gateway remembers for some minutes what was right,
/// never what was wrong. In a hook only.
///
/// # Errors
/// See [`VerifyError`].
pub fn verify(hash: &str, password: &str) -> Result<bool, VerifyError> {
    host::verify(hash, password)
}
