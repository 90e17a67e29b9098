//! `mtls` lets in who shows a client certificate that fits a rule, and says who it is.
//!
//! That the certificate is signed by an authority of the listener, and that the client has its key, was proved in the
//! handshake; no header of a client can say so. A name in it is compared whole: the gateway writes names so that none
//! can look like more than it is, and the plugin takes them apart again.

use gatewright_sdk::{
    Decision, Exchange, Metric, Plugin, Response, StatusCode, log, plugin, serde_json::Value,
};

mod config;
mod names;
mod rules;

pub use config::Config;
use config::Identity;
use rules::{Certificate, Conditions};

static DENIED: Metric = Metric::counter("denied", "Requests without a certificate that is let in.", &["reason"]);

/// The plugin.
pub struct Mtls {
    allow: Vec<Conditions>,
    deny: Vec<Conditions>,
    identity: Identity,
    optional: bool,
    missing: Response,
    refused: Response,
}

#[plugin]
impl Plugin for Mtls {
    type Config = Config;

    const METRICS: &'static [&'static Metric] = &[&DENIED];

    fn new(config: Config) -> Result<Self, String> {
        let Config { allow, deny, identity, optional } = config;
        if allow.is_empty() {
            return Err("allow: at least one rule is needed".to_owned());
        }
        let read = |name: &str, rules: Vec<config::Rule>| {
            let rules = rules.into_iter().enumerate();
            rules.map(|(at, rule)| Conditions::new(rule).map_err(|why| format!("{name}[{at}]{why}"))).collect()
        };
        // Not 401: there is no challenge that a client could answer within this connection.
        let forbidden = |detail| Response::problem(StatusCode::FORBIDDEN, "Forbidden", detail);
        Ok(Self {
            allow: read("allow", allow)?,
            deny: read("deny", deny)?,
            identity,
            optional,
            missing: forbidden("A client certificate is needed."),
            refused: forbidden("The client certificate is not let in."),
        })
    }

    fn on_request(&self, exchange: &Exchange) -> Decision {
        let Some(certificate) = Certificate::of(exchange) else {
            return if self.optional { Decision::Proceed } else { refuse("missing", &self.missing) };
        };
        let meets = |rules: &[Conditions]| rules.iter().any(|rule| rule.are_met(&certificate));
        if meets(&self.deny) {
            return refuse("denied", &self.refused);
        }
        let Some(rule) = self.allow.iter().find(|rule| rule.are_met(&certificate)) else {
            return refuse("not-allowed", &self.refused);
        };
        let Some(subject) = self.subject(&certificate) else { return refuse("nameless", &self.refused) };
        let mut claims = certificate.claims();
        claims.extend(rule.claims.clone());
        match exchange.set_identity(&subject, &Value::Object(claims).to_string()) {
            Ok(()) => Decision::Proceed,
            Err(error) => {
                log::error("the certificate's owner cannot be the caller", &[("why", &error.to_string())]);
                refuse("nameless", &self.refused)
            }
        }
    }
}

impl Mtls {
    fn subject(&self, certificate: &Certificate) -> Option<String> {
        let only = |names: &[String]| match names {
            [name] => Some(name.clone()),
            _ => None,
        };
        let subject = match self.identity {
            Identity::Subject => Some(certificate.subject.clone()),
            Identity::CommonName => certificate.common_name(),
            Identity::Dns => only(&certificate.dns),
            Identity::Uri => only(&certificate.uri),
            Identity::Email => only(&certificate.email),
            Identity::Fingerprint => Some(certificate.fingerprint.clone()),
        };
        subject.filter(|subject| !subject.is_empty())
    }
}

fn refuse(reason: &str, response: &Response) -> Decision {
    DENIED.add(1, &[reason]);
    Decision::Respond(response.clone())
}

#[cfg(test)]
mod tests;
