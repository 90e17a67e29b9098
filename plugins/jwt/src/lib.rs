//! `jwt` lets in who has a valid signed token, and says who it is.
//!
//! The gateway checks signature, times, issuer and audience natively (the `jwt` capability) and keeps the keys fresh;
//! the plugin decides where the token is, what its claims must say, and what the upstream learns of them. The texts of
//! a refusal follow RFC 6750. A header that is written from a claim is always taken from the client first, so a client
//! cannot say it itself.

use gatewright_sdk::{
    Decision, Exchange, Metric, MutateError, Plugin, StatusCode,
    claims::Claims,
    consumers,
    credential::{self, Found, Location},
    jwt::{self, VerifyError},
    log, plugin, rules,
    schemars::{JsonSchema, Schema, SchemaGenerator},
};

mod claims;
mod config;
mod owners;
mod refusal;

use claims::Demands;
pub use config::{Config, Credential};
use owners::Owners;
use refusal::Refusals;

static DENIED: Metric = Metric::counter("denied", "Requests without a good token.", &["reason"]);

/// The plugin.
pub struct Jwt {
    from: Location,
    forward: bool,
    optional: bool,
    subject: String,
    demands: Demands,
    /// None where a token's owner need not be a consumer.
    owners: Option<Owners>,
    /// Header and the claim it is written from.
    claim_headers: Vec<(String, String)>,
    refusals: Refusals,
}

#[plugin]
impl Plugin for Jwt {
    type Config = Config;

    const METRICS: &'static [&'static Metric] = &[&DENIED];
    const WANTS: &'static [&'static str] = &["jwt"];
    const CREDENTIAL: Option<fn(&mut SchemaGenerator) -> Schema> = Some(Credential::json_schema);

    fn new(config: Config) -> Result<Self, String> {
        jwt::declare(KEYS, &config.definition()?)?;
        let owners = match config.consumers {
            true => Some(Owners::new(consumers::credentials()?, &config.subject)?),
            false => None,
        };
        let Config { from, forward, optional, subject, scopes, required_claims, claims_to_headers, realm, .. } = config;
        from.check().map_err(|why| format!("from: {why}"))?;
        for header in claims_to_headers.keys() {
            rules::check_name(header).map_err(|why| format!("claims_to_headers: {header:?} {why}"))?;
            if matches!(&from, Location::Header(from) if from.eq_ignore_ascii_case(header)) {
                return Err(format!("claims_to_headers: {header:?} is where the token is"));
            }
        }
        Ok(Self {
            refusals: Refusals::new(&realm, &scopes, &from)?,
            demands: Demands::new(scopes, required_claims)?,
            claim_headers: claims_to_headers.into_iter().collect(),
            owners,
            from,
            forward,
            optional,
            subject,
        })
    }

    fn on_request(&self, exchange: &Exchange) -> Decision {
        let token = match self.token(exchange) {
            Found::One(token) => token,
            Found::Nothing if self.optional => return self.changed(self.write_claims(exchange, &Claims::none())),
            Found::Nothing => return self.refuse(&self.refusals.missing),
            Found::Unclear => return self.refuse(&self.refusals.unclear),
        };
        let text = match jwt::verify(KEYS, &token) {
            Ok(text) => text,
            Err(error) => return self.refuse_token(&error),
        };
        let Some(claims) = Claims::parse(&text) else { return self.refuse_token(&VerifyError::Malformed) };
        if !self.demands.are_met(&claims) {
            return self.refuse(&self.refusals.insufficient);
        }
        match self.owners.as_ref().map(|owners| owners.of(&claims)) {
            None => self.changed(self.admit(exchange, &claims, || {
                exchange.set_identity(&claims.text(&self.subject).unwrap_or_default(), &text)
            })),
            Some(Some(consumer)) => {
                self.changed(self.admit(exchange, &claims, || consumer.admit_with(exchange, claims.clone().into_map())))
            }
            Some(None) => self.refuse(&self.refusals.ownerless),
        }
    }
}

impl Jwt {
    /// A bearer token where the place is `Authorization`, else whatever is there.
    fn token(&self, exchange: &Exchange) -> Found {
        let found = self.from.find(exchange);
        let is_authorization =
            matches!(&self.from, Location::Header(name) if name.eq_ignore_ascii_case("authorization"));
        match found {
            Found::One(value) if is_authorization => match credential::bearer(&value) {
                Some(token) => Found::One(token.to_owned()),
                None => Found::Nothing,
            },
            found => found,
        }
    }

    fn admit(
        &self,
        exchange: &Exchange,
        claims: &Claims,
        identify: impl FnOnce() -> Result<(), MutateError>,
    ) -> Result<(), MutateError> {
        if !self.forward {
            self.from.hide(exchange)?;
        }
        self.write_claims(exchange, claims)?;
        identify()
    }

    /// Every header that stands for a claim is set or removed, so that none is left as the client sent it.
    fn write_claims(&self, exchange: &Exchange, claims: &Claims) -> Result<(), MutateError> {
        let headers = exchange.request_headers();
        for (header, claim) in &self.claim_headers {
            match claims.text(claim) {
                Some(value) => match headers.set(header, value) {
                    Err(MutateError::InvalidSyntax) => {
                        log::warn("a claim cannot be a header's value and is left out", &[("claim", claim)]);
                        headers.remove(header)?;
                    }
                    set => set?,
                },
                None => headers.remove(header)?,
            }
        }
        Ok(())
    }

    fn changed(&self, result: Result<(), MutateError>) -> Decision {
        match result {
            Ok(()) => Decision::Proceed,
            Err(error) => {
                log::error("the token is good but the request could not be changed", &[("why", &error.to_string())]);
                Decision::problem(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error", "The token was not used.")
            }
        }
    }

    fn refuse(&self, refusal: &refusal::Refusal) -> Decision {
        DENIED.add(1, &[refusal.reason]);
        Decision::Respond(refusal.response.clone())
    }

    fn refuse_token(&self, error: &VerifyError) -> Decision {
        match error {
            VerifyError::KeysUnavailable => {
                log::error("the keys to check tokens with are not available", &[]);
                self.refuse(&self.refusals.unavailable)
            }
            error => {
                if let VerifyError::Other(why) = error {
                    log::warn("a token was not accepted", &[("why", why)]);
                }
                self.refuse(&self.refusals.invalid(error))
            }
        }
    }
}

/// The name of the plugin's one key set.
const KEYS: &str = "keys";

#[cfg(test)]
mod tests;
