//! What plugins that take bearer tokens (RFC 6750) have in common: where the token is, what its claims must say, which
//! consumer owns it, what the upstream learns, and how a request is refused.
//!
//! The plugin itself only validates the token. A header that is written from a claim is always removed from the
//! client's request first, so a client cannot set it.

use std::collections::BTreeMap;

use http::StatusCode;
use serde_json::Value;

use crate::{
    Decision, Exchange, Metric, MutateError, Response,
    claims::{Claims, Demands},
    consumers::{Consumer, Owner, Owners},
    credential::{self, Found, Location},
    log, rules,
};

mod refusal;

use refusal::{Refusal, Refusals};

/// The settings for tokens, as in the plugin's configuration.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where the token is. In `authorization` it follows the word `Bearer`; elsewhere it is the whole value.
    pub from: Location,
    /// Whether the token is forwarded to the upstream.
    pub forward_credential: bool,
    /// Whether a request without a token passes, without an identity.
    pub optional: bool,
    /// The claim that says who is calling.
    pub subject: String,
    /// Scopes that the token must have, all of them.
    pub scopes: Vec<String>,
    /// Claims that the token must have, each with a value or a list of accepted values.
    pub required_claims: BTreeMap<String, Value>,
    /// Headers, each with the claim that it is written from.
    pub claims_to_headers: BTreeMap<String, String>,
    /// The realm in the `WWW-Authenticate` of a refusal.
    pub realm: String,
    /// The consumers, one of whom must own the token; `None` if the owner need not be known.
    pub owners: Option<Vec<(Owner, Consumer)>>,
}

/// Finds tokens and checks their claims.
#[derive(Debug)]
pub struct Bearer {
    from: Location,
    forward_credential: bool,
    optional: bool,
    subject: String,
    demands: Demands,
    owners: Option<Owners>,
    /// Headers, each with the claim that it is written from.
    claim_headers: Vec<(String, String)>,
    refusals: Refusals,
    /// A counter with the label `reason`.
    denied: &'static Metric,
}

impl Bearer {
    /// `denied` is a counter of the plugin with the label `reason`.
    ///
    /// # Errors
    /// What is wrong, with the name of the setting.
    pub fn new(settings: Settings, denied: &'static Metric) -> Result<Self, String> {
        let Settings {
            from,
            forward_credential,
            optional,
            subject,
            scopes,
            required_claims,
            claims_to_headers,
            realm,
            owners,
        } = settings;
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
            owners: owners.map(|owners| Owners::new(owners, &subject)).transpose()?,
            claim_headers: claims_to_headers.into_iter().collect(),
            from,
            forward_credential,
            optional,
            subject,
            denied,
        })
    }

    /// The token of the request.
    ///
    /// # Errors
    /// The decision for a request without one: it passes if tokens are optional, and is refused otherwise.
    pub fn token(&self, exchange: &Exchange) -> Result<String, Decision> {
        let is_authorization =
            matches!(&self.from, Location::Header(name) if name.eq_ignore_ascii_case("authorization"));
        let found = match self.from.find(exchange) {
            Found::One(value) if is_authorization => match credential::bearer(&value) {
                Some(token) => Found::One(token.to_owned()),
                None => Found::Nothing,
            },
            found => found,
        };
        match found {
            Found::One(token) => Ok(token),
            Found::Nothing if self.optional => Err(changed(self.write_claims(exchange, &Claims::none()))),
            Found::Nothing => Err(self.refuse(&self.refusals.missing)),
            Found::Unclear => Err(self.refuse(&self.refusals.unclear)),
        }
    }

    /// Lets a request with a valid token in if the claims are sufficient. `text` is the claims, a JSON object.
    pub fn admit(&self, exchange: &Exchange, text: &str) -> Decision {
        let Some(claims) = Claims::parse(text) else { return self.invalid("invalid", "the token is malformed") };
        if !self.demands.are_met(&claims) {
            return self.refuse(&self.refusals.insufficient);
        }
        let owner = match self.owners.as_ref().map(|owners| owners.of(&claims)) {
            Some(None) => return self.refuse(&self.refusals.ownerless),
            Some(owner) => owner,
            None => None,
        };
        let admit = || {
            if !self.forward_credential {
                self.from.hide(exchange)?;
            }
            self.write_claims(exchange, &claims)?;
            match owner {
                Some(consumer) => consumer.admit_with(exchange, claims.clone().into_map()),
                None => exchange.set_identity(&claims.text(&self.subject).unwrap_or_default(), text),
            }
        };
        changed(admit())
    }

    /// 401: the token is not valid. `why` is a fixed text that tells the client the reason.
    pub fn invalid(&self, reason: &str, why: &str) -> Decision {
        self.denied.add(1, &[reason]);
        Decision::Respond(self.refusals.invalid(why))
    }

    /// 503: the token cannot be checked at the moment.
    pub fn unavailable(&self, reason: &str) -> Decision {
        self.denied.add(1, &[reason]);
        Decision::Respond(self.refusals.unavailable.clone())
    }

    fn refuse(&self, refusal: &Refusal) -> Decision {
        self.denied.add(1, &[refusal.reason]);
        Decision::Respond(refusal.response.clone())
    }

    /// Sets or removes every header that is written from a claim, so that none is left as the client sent it.
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
}

fn changed(result: Result<(), MutateError>) -> Decision {
    match result {
        Ok(()) => Decision::Proceed,
        Err(error) => {
            log::error("the token is good but the request could not be changed", &[("why", &error.to_string())]);
            let detail = "The token was not used.";
            Decision::Respond(Response::problem(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error", detail))
        }
    }
}
