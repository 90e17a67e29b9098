//! `ip` allows or refuses requests by the client's address.
//!
//! The address is the one that the gateway knows: that of the connection, or the one a trusted proxy reports. The
//! client's own headers do not count.

use gatewright_sdk::{Decision, Exchange, Metric, Plugin, Response, StatusCode, config, plugin};

mod networks;

use networks::Networks;

/// Allows or denies requests by client address. Requires at least one of `allow` and `deny`; an address in both is
/// denied.
#[config]
#[derive(Debug)]
#[schemars(extend("anyOf" = [{ "required": ["allow"] }, { "required": ["deny"] }]))]
pub struct Config {
    /// Addresses and ranges that are allowed, such as `"10.0.0.0/8"`, `"2001:db8::/32"` or `"::1"`. All others are
    /// denied. Default: all that are not in `deny`.
    #[schemars(length(min = 1))]
    allow: Option<Vec<String>>,
    /// Addresses and ranges that are denied.
    #[schemars(length(min = 1))]
    deny: Option<Vec<String>>,
}

static DENIED: Metric = Metric::counter("denied", "Requests from an address that is kept out.", &[]);

/// The plugin.
#[derive(Debug)]
pub struct Ip {
    /// `None` allows all addresses that are not denied.
    allow: Option<Networks>,
    deny: Option<Networks>,
    refusal: Response,
}

#[plugin]
impl Plugin for Ip {
    type Config = Config;

    const METRICS: &'static [&'static Metric] = &[&DENIED];

    fn new(config: Config) -> Result<Self, String> {
        let list = |name: &str, texts: Option<Vec<String>>| match texts {
            Some(texts) if texts.is_empty() => Err(format!("{name}: at least one address is needed")),
            Some(texts) => Networks::parse(&texts).map(Some).map_err(|why| format!("{name}{why}")),
            None => Ok(None),
        };
        let (allow, deny) = (list("allow", config.allow)?, list("deny", config.deny)?);
        if allow.is_none() && deny.is_none() {
            return Err("at least one of allow and deny is needed".to_owned());
        }
        let refusal = Response::problem(StatusCode::FORBIDDEN, "Forbidden", "Your address is not let in.");
        Ok(Self { allow, deny, refusal })
    }

    fn on_request(&self, exchange: &Exchange) -> Decision {
        if self.lets_in(&exchange.attribute("source.address").unwrap_or_default()) {
            return Decision::Proceed;
        }
        DENIED.add(1, &[]);
        Decision::Respond(self.refusal.clone())
    }
}

impl Ip {
    /// A client without an address, such as one behind a proxy that hides it, is on no list and so is refused.
    fn lets_in(&self, address: &str) -> bool {
        let Ok(address) = address.parse() else { return false };
        let denied = self.deny.as_ref().is_some_and(|deny| deny.contain(address));
        !denied && self.allow.as_ref().is_none_or(|allow| allow.contain(address))
    }
}

#[cfg(test)]
mod tests;
