//! `jwt` lets callers in who have a valid signed token, and sets the identity.
//!
//! The gateway checks signature, times, issuer and audience natively (the `jwt` capability) and keeps the keys up to
//! date; what all plugins for bearer tokens have in common (where the token is, what its claims must say, what the
//! upstream learns) is in the SDK. The texts of a refusal follow RFC 6750.

use gatewright_sdk::{
    Decision, Exchange, Metric, Plugin,
    bearer::Bearer,
    consumers::Owner,
    jwt::{self, VerifyError},
    log, plugin,
    schemars::{JsonSchema, Schema, SchemaGenerator},
};

mod config;

pub use config::Config;

static DENIED: Metric = Metric::counter("denied", "Requests without a good token.", &["reason"]);

/// The plugin.
pub struct Jwt {
    bearer: Bearer,
}

#[plugin]
impl Plugin for Jwt {
    type Config = Config;

    const METRICS: &'static [&'static Metric] = &[&DENIED];
    const WANTS: &'static [&'static str] = &["jwt"];
    const CREDENTIAL: Option<fn(&mut SchemaGenerator) -> Schema> = Some(Owner::json_schema);

    fn new(config: Config) -> Result<Self, String> {
        jwt::declare(KEYS, &config.definition()?)?;
        Ok(Self { bearer: Bearer::new(config.settings()?, &DENIED)? })
    }

    fn on_request(&self, exchange: &Exchange) -> Decision {
        let token = match self.bearer.token(exchange) {
            Ok(token) => token,
            Err(decision) => return decision,
        };
        match jwt::verify(KEYS, &token) {
            Ok(claims) => self.bearer.admit(exchange, &claims),
            Err(VerifyError::KeysUnavailable) => {
                log::error("the keys to check tokens with are not available", &[]);
                self.bearer.unavailable("keys-unavailable")
            }
            // A mistake of the issuer's that its operator should learn of.
            Err(VerifyError::Other(why)) if why == NO_EXP => self.bearer.invalid("invalid", NO_EXP),
            Err(VerifyError::Other(why)) => {
                log::warn("a token was not accepted", &[("why", &why)]);
                self.bearer.invalid("invalid", "the token is not valid")
            }
            Err(VerifyError::Expired) => self.bearer.invalid("expired", &VerifyError::Expired.to_string()),
            Err(error) => self.bearer.invalid("invalid", &error.to_string()),
        }
    }
}

/// The name of the plugin's one key set.
const KEYS: &str = "keys";

/// What the gateway says of a token without `exp`; the contract has no case for it.
const NO_EXP: &str = "the token has no exp";

#[cfg(test)]
mod tests;
