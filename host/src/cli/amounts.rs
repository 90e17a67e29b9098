//! Amounts in the configuration's units.

use std::time::Duration;

use crate::config;

/// Such as "1h" or "250ms".
pub(super) fn time(time: Duration) -> config::Duration {
    config::Duration::milliseconds(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}

/// Such as "10MiB" or "512B".
pub(super) fn size(bytes: u64) -> config::Size {
    config::Size::bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_shown_as_they_are_configured() {
        assert_eq!(time(Duration::from_secs(3600)).to_string(), "1h");
        assert_eq!(time(Duration::from_millis(1500)).to_string(), "1500ms");
        assert_eq!(size(10 << 20).to_string(), "10MiB");
    }
}
