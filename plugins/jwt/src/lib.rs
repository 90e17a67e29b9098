//! `jwt` lets in who has a valid signed token, and says who it is.
//!
//! The gateway checks signature, times, issuer and audience natively (the `jwt` capability) and keeps the keys fresh;
//! the plugin decides where the token is, what its claims must say, and what the upstream learns of them. The texts of
//! a refusal follow RFC 6750. A header that is written from a claim is always taken from the client first, so a client
//! cannot say it itself.

use gatewright_sdk::{
    Decision, Exchange, Metric, MutateError, Plugin, StatusCode,
    claims::Claims,
    credential::{self, Found, Location},
    jwt::{self, VerifyError},
    log, plugin, rules,
};

mod claims;
mod config;
mod refusal;

use claims::Demands;
pub use config::Config;
use refusal::Refusals;

static DENIED: Metric = Metric::counter("denied", "Requests without a good token.", &["reason"]);

/// The plugin.
pub struct Jwt {
    from: Location,
    forward: bool,
    optional: bool,
    subject: String,
    demands: Demands,
    /// Header and the claim it is written from.
    claim_headers: Vec<(String, String)>,
    refusals: Refusals,
}

#[plugin]
impl Plugin for Jwt {
    type Config = Config;

    const METRICS: &'static [&'static Metric] = &[&DENIED];
    const WANTS: &'static [&'static str] = &["jwt"];

    fn new(config: Config) -> Result<Self, String> {
        jwt::declare(KEYS, &config.definition()?)?;
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
        self.changed(self.admit(exchange, &claims, &text))
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

    fn admit(&self, exchange: &Exchange, claims: &Claims, text: &str) -> Result<(), MutateError> {
        if !self.forward {
            self.from.hide(exchange)?;
        }
        self.write_claims(exchange, claims)?;
        exchange.set_identity(&claims.text(&self.subject).unwrap_or_default(), text)
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
