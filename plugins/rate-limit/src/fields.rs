//! `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers-10): structured fields (RFC 9651), each a
//! list of named items, so several limits on one response are several items.

use std::time::Duration;

use gatewright_sdk::{HeaderBlock, rate_limit::Quota};

pub(crate) const POLICY: &str = "ratelimit-policy";
pub(crate) const LIMIT: &str = "ratelimit";

/// The texts of one limit.
#[derive(Debug)]
pub(crate) struct Fields {
    /// All of `RateLimit-Policy`: the quota `q` and its window `w` in seconds. It is the same for every response.
    pub(crate) policy: String,
    name: String,
    /// `RateLimit-Policy`, ready to be handed over.
    block: HeaderBlock,
}

impl Fields {
    /// # Errors
    /// Where the name would need escapes in a structured field.
    pub(crate) fn new(name: &str, quota: Quota) -> Result<Self, String> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
        if name.is_empty() || name.len() > 64 || !name.bytes().all(plain) {
            return Err(format!("name: {name:?} is not 1 to 64 letters, digits, '_', '.' or '-'"));
        }
        // A bucket of `burst` is full again after the time in which the rate gives as much.
        let window = quota.per.as_millis() * u128::from(quota.burst) / u128::from(quota.requests.max(1));
        let window = seconds(Duration::from_millis(u64::try_from(window).unwrap_or(u64::MAX))).max(1);
        let policy = format!("\"{name}\";q={};w={window}", quota.burst);
        let mut block = HeaderBlock::new();
        block.push(POLICY, &policy);
        Ok(Self { policy, name: name.to_owned(), block })
    }

    /// All of `RateLimit`: what remains `r`, and the seconds `t` until all is there again.
    pub(crate) fn limit(&self, remaining: u32, reset: Duration) -> String {
        // By hand: for every request, and a formatter costs more than all the rest of this plugin.
        let mut text = String::with_capacity(self.name.len() + 40);
        text.push('"');
        text.push_str(&self.name);
        text.push_str("\";r=");
        text.push_str(itoa::Buffer::new().format(remaining));
        text.push_str(";t=");
        text.push_str(itoa::Buffer::new().format(seconds(reset)));
        text
    }

    /// Both fields.
    pub(crate) fn block(&self, remaining: u32, reset: Duration) -> HeaderBlock {
        let mut block = self.block.clone();
        block.push(LIMIT, &self.limit(remaining, reset));
        block
    }
}

/// Rounded up: a client that waits so long has waited long enough.
pub(crate) fn seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}
