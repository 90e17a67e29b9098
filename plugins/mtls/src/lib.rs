//! `mtls` lets callers in who present a client certificate that matches a rule, and sets the identity.
//!
//! The handshake has verified that an authority of the listener signed the certificate, and that the client has its
//! key; no header of a client can claim this. Names are compared as a whole: the gateway escapes them so that none can
//! look like more than one, and the plugin unescapes them.

use gatewright_sdk::{
    Decision, Exchange, Metric, Plugin, Response, StatusCode,
    consumers::{self, Consumer},
    log, plugin,
    schemars::{JsonSchema, Schema, SchemaGenerator},
    serde_json::{Map, Value},
};

mod config;
mod names;
mod rules;

use config::Identity;
pub use config::{Config, Credential};
use rules::{Certificate, Conditions};

static DENIED: Metric = Metric::counter("denied", "Requests without a certificate that is let in.", &["reason"]);

/// The plugin.
pub struct Mtls {
    allow: Vec<Conditions>,
    consumers: Vec<(Conditions, Consumer)>,
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
    const CREDENTIAL: Option<fn(&mut SchemaGenerator) -> Schema> = Some(Credential::json_schema);

    fn new(config: Config) -> Result<Self, String> {
        let Config { allow, consumers, deny, identity, optional } = config;
        let credentials: Vec<(Credential, Consumer)> = if consumers { consumers::credentials()? } else { Vec::new() };
        let allow = allow.unwrap_or_default();
        if allow.is_empty() && credentials.is_empty() {
            return Err("allow: at least one rule is needed, here or of a consumer".to_owned());
        }
        let of_consumer = |(credential, consumer): (Credential, Consumer)| {
            let conditions = Conditions::new(credential.into());
            let conditions = conditions.map_err(|why| format!("the consumer {:?}{why}", consumer.name))?;
            Ok((conditions, consumer))
        };
        let read = |name: &str, rules: Vec<config::Rule>| {
            let rules = rules.into_iter().enumerate();
            let read = |(at, rule)| Conditions::new(rule).map_err(|why| format!("{name}[{at}]{why}"));
            rules.map(read).collect::<Result<Vec<_>, _>>()
        };
        // Not 401: there is no challenge that a client could answer within this connection.
        let forbidden = |detail| Response::problem(StatusCode::FORBIDDEN, "Forbidden", detail);
        Ok(Self {
            consumers: credentials.into_iter().map(of_consumer).collect::<Result<_, String>>()?,
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
        let admitted = match self.caller(&certificate) {
            Caller::Consumer(consumer) => consumer.admit_with(exchange, certificate.claims()),
            Caller::Named(subject, claims) => exchange.set_identity(&subject, &Value::Object(claims).to_string()),
            Caller::Nobody(reason) => return refuse(reason, &self.refused),
        };
        match admitted {
            Ok(()) => Decision::Proceed,
            Err(error) => {
                log::error("the certificate's owner cannot be the caller", &[("why", &error.to_string())]);
                refuse("nameless", &self.refused)
            }
        }
    }
}

/// The owner of a certificate.
enum Caller<'a> {
    Consumer(&'a Consumer),
    Named(String, Map<String, Value>),
    /// Why it is refused.
    Nobody(&'static str),
}

impl Mtls {
    fn caller(&self, certificate: &Certificate) -> Caller<'_> {
        let mut consumers = self.consumers.iter().filter(|(rule, _)| rule.are_met(certificate)).map(|(_, it)| it);
        if let Some(consumer) = consumers.next() {
            let is_only = consumers.all(|other| other.name == consumer.name);
            return if is_only { Caller::Consumer(consumer) } else { Caller::Nobody("ambiguous") };
        }
        let Some(rule) = self.allow.iter().find(|rule| rule.are_met(certificate)) else {
            return Caller::Nobody("not-allowed");
        };
        let Some(subject) = self.subject(certificate) else { return Caller::Nobody("nameless") };
        let mut claims = certificate.claims();
        claims.extend(rule.claims.clone());
        Caller::Named(subject, claims)
    }

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
