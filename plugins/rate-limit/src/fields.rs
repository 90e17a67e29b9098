//! `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers-10): structured fields (RFC 9651), each a
//! list of named items, so several limits on one response are several items.

use std::time::Duration;

use gatewright_sdk::{HeaderBlock, rate_limit::Outcome};

use crate::limit::Limit;

pub(crate) const POLICY: &str = "ratelimit-policy";
pub(crate) const LIMIT: &str = "ratelimit";

/// The texts of the limits.
#[derive(Debug)]
pub(crate) struct Fields {
    /// All of `RateLimit-Policy`: quotas `q` and their windows `w` in seconds. It is the same for every response.
    pub(crate) policy: String,
    names: Vec<String>,
    /// `RateLimit-Policy`, ready to be set.
    block: HeaderBlock,
}

impl Fields {
    /// # Errors
    /// A name would need escapes in a structured field, or is there twice.
    pub(crate) fn new(limits: &[Limit]) -> Result<Self, String> {
        let mut names: Vec<String> = Vec::new();
        let mut items = Vec::new();
        for limit in limits {
            let name = limit.name.as_deref().unwrap_or("default");
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
            if name.is_empty() || name.len() > 64 || !name.bytes().all(plain) {
                return Err(format!("name: {name:?} is not 1 to 64 letters, digits, '_', '.' or '-'"));
            }
            if names.iter().any(|known| known == name) {
                return Err(format!("name: two limits are called {name:?}; give each its own"));
            }
            items.push(format!("\"{name}\";q={};w={}", limit.at_once(), seconds(limit.length()).max(1)));
            names.push(name.to_owned());
        }
        let policy = items.join(", ");
        let mut block = HeaderBlock::new();
        block.push(POLICY, &policy);
        Ok(Self { policy, names, block })
    }

    /// All of `RateLimit`: the remaining `r`, and the seconds `t` until everything is available again.
    pub(crate) fn limit(&self, outcomes: &[Outcome]) -> String {
        // Written by hand: this runs for every request, and a formatter costs more than the rest of this plugin.
        let mut text = String::with_capacity(self.names.iter().map(|name| name.len() + 40).sum());
        for (name, outcome) in self.names.iter().zip(outcomes) {
            if !text.is_empty() {
                text.push_str(", ");
            }
            text.push('"');
            text.push_str(name);
            text.push_str("\";r=");
            text.push_str(itoa::Buffer::new().format(outcome.remaining));
            text.push_str(";t=");
            text.push_str(itoa::Buffer::new().format(seconds(outcome.reset)));
        }
        text
    }

    /// Both fields.
    pub(crate) fn block(&self, outcomes: &[Outcome]) -> HeaderBlock {
        let mut block = self.block.clone();
        block.push(LIMIT, &self.limit(outcomes));
        block
    }
}

/// Rounded up: a client that waits this long has waited long enough.
pub(crate) fn seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}
