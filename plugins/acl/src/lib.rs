//! `acl` lets callers do what their groups, scopes and claims allow.
//!
//! It authenticates nobody: an earlier plugin of the chain has done that and set the exchange's identity. So the same
//! rules hold for a caller with a key and one with a token. Whatever is unclear is refused: no identity, or no rule
//! that fits.

use std::collections::BTreeMap;

use gatewright_sdk::{
    Decision, Exchange, Metric, Plugin, Response, StatusCode, claims::Claims, config, plugin, serde_json::Value,
};

mod path;
mod rules;

use rules::{Request, Rules};

/// Authorizes callers by their groups, scopes and claims. Requires at least one of `allow` and `deny`; a request that
/// meets rules of both is refused.
#[config]
#[derive(Debug)]
#[schemars(extend("anyOf" = [{ "required": ["allow"] }, { "required": ["deny"] }]))]
pub struct Config {
    /// Requests that meet one of these rules are allowed. Default: all that meet no rule of `deny`.
    #[schemars(length(min = 1))]
    allow: Option<Vec<Rule>>,
    /// Requests that meet one of these rules are refused, even if `allow` matches too.
    #[schemars(length(min = 1))]
    deny: Option<Vec<Rule>>,
    /// The claim that lists a caller's groups: a name, or a JSON pointer that begins with `/`. Its value is a list or a
    /// single text.
    #[serde(default = "groups")]
    #[schemars(length(min = 1))]
    groups_claim: String,
    /// Whether requests without an authenticated caller are judged by the rules, as a caller without groups, scopes and
    /// claims. Otherwise they are refused.
    #[serde(default)]
    anonymous: bool,
}

/// A request meets a rule if it meets all of its conditions. At least one is required.
#[config]
#[derive(Debug)]
#[schemars(extend("minProperties" = 1))]
pub struct Rule {
    /// The caller is one of these.
    #[schemars(length(min = 1))]
    subjects: Option<Vec<String>>,
    /// The caller is in one of these groups.
    #[schemars(length(min = 1))]
    groups: Option<Vec<String>>,
    /// The caller has every one of these scopes, in `scope` or `scp`.
    #[schemars(length(min = 1))]
    scopes: Option<Vec<String>>,
    /// The caller has each of these claims, with the given value or one of the given list. A claim that is a list must
    /// contain one of them.
    #[schemars(length(min = 1))]
    claims: Option<BTreeMap<String, Value>>,
    /// The request's method is one of these.
    #[schemars(length(min = 1))]
    methods: Option<Vec<String>>,
    /// The request's path matches one of these, written as in a route: `"/orders"`, `"/orders/*"`, `"/users/{id}"`.
    #[schemars(length(min = 1))]
    paths: Option<Vec<String>>,
}

fn groups() -> String {
    "groups".to_owned()
}

static DENIED: Metric = Metric::counter("denied", "Requests that may not be made.", &["reason"]);

/// The plugin.
#[derive(Debug)]
pub struct Acl {
    rules: Rules,
    anonymous: bool,
    refusal: Response,
}

#[plugin]
impl Plugin for Acl {
    type Config = Config;

    const METRICS: &'static [&'static Metric] = &[&DENIED];

    fn new(config: Config) -> Result<Self, String> {
        let Config { allow, deny, groups_claim, anonymous } = config;
        Ok(Self {
            rules: Rules::new(allow, deny, groups_claim)?,
            anonymous,
            // Not 401: that requires a challenge, which only the plugin that knows the credentials can choose.
            refusal: Response::problem(StatusCode::FORBIDDEN, "Forbidden", "You may not do this."),
        })
    }

    fn on_request(&self, exchange: &Exchange) -> Decision {
        match self.refused(exchange) {
            None => Decision::Proceed,
            Some(reason) => {
                DENIED.add(1, &[reason]);
                Decision::Respond(self.refusal.clone())
            }
        }
    }
}

impl Acl {
    fn refused(&self, exchange: &Exchange) -> Option<&'static str> {
        let identity = exchange.identity();
        if identity.is_none() && !self.anonymous {
            return Some("anonymous");
        }
        let (subject, claims) = match &identity {
            Some(identity) => match Claims::parse(&identity.claims) {
                Some(claims) => (Some(identity.subject.as_str()), claims),
                None => return Some("claims"),
            },
            None => (None, Claims::none()),
        };
        let (method, target) = (exchange.method(), exchange.path());
        let path = target.split_once('?').map_or(target.as_str(), |(path, _)| path);
        self.rules.refuse(&Request { subject, claims: &claims, method: method.as_str(), path })
    }
}

#[cfg(test)]
mod tests;
