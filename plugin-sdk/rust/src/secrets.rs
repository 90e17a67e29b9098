//! Secrets that the operator granted by name, kept out of the configuration's text.

use crate::host::secrets as host;

/// `None` if the secret does not exist or was not granted.
#[must_use]
pub fn get(name: &str) -> Option<String> {
    host::get(name)
}
