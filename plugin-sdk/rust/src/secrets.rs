//! Secrets the operator granted by name, kept out of the configuration's text.

use crate::host::secrets as host;

/// `None` where there is no such secret or it was not granted.
#[must_use]
pub fn get(name: &str) -> Option<String> {
    host::get(name)
}
