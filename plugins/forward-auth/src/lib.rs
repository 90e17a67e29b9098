//! `forward-auth` asks another server whether a request may pass, like nginx's `auth_request` and Traefik's
//! `ForwardAuth`.
//!
//! The authorization request is a request of its own: its headers say the method, host, path and client of the
//! original, and carry the headers that the operator lists, but never the body. 2xx lets the original pass; 401, 403
//! and redirects are returned to the client; anything else is no decision and denies, unless the operator wants
//! otherwise. Headers that the response may write onto the request are first removed from the client's request.

use gatewright_sdk::{
    Decision, Exchange, Metric, MutateError, Plugin, Response, Section, StatusCode, http_client, log, plugin,
    serde_json::{Map, Value},
};

mod config;
mod verdict;

pub use config::Config;
use config::{CLAIMS, Identity, OnError, TOLD};
use verdict::{Failure, Verdict};

static DENIED: Metric = Metric::counter("denied", "Requests that were not let pass.", &["reason"]);

/// The plugin.
pub struct ForwardAuth {
    config: Config,
    /// The authorization request without what an exchange adds to it.
    question: http_client::Request,
}

#[plugin]
impl Plugin for ForwardAuth {
    type Config = Config;

    const METRICS: &'static [&'static Metric] = &[&DENIED];
    const WANTS: &'static [&'static str] = &["http-client"];

    fn new(config: Config) -> Result<Self, String> {
        config.check()?;
        let method = config.method.parse().map_err(|_| format!("method: {:?} is no method", config.method))?;
        let question = http_client::Request::new(method, config.upstream.as_str(), config.path.as_str());
        Ok(Self { question: question.with_timeout(config.timeout.0), config })
    }

    fn on_request(&self, exchange: &Exchange) -> Decision {
        if let Err(error) = self.forget(exchange) {
            return broken(&error);
        }
        let Some(question) = self.question(exchange) else {
            DENIED.add(1, &["malformed"]);
            return Decision::problem(StatusCode::BAD_REQUEST, "Bad Request", "A header of the request is not text.");
        };
        let failure = match question.send() {
            Ok(answer) => match verdict::judge(&self.config, &answer) {
                Verdict::Pass => match self.admit(exchange, &answer) {
                    Ok(()) => return Decision::Proceed,
                    Err(failure) => failure,
                },
                Verdict::Refuse(response) => {
                    DENIED.add(1, &["refused"]);
                    return Decision::Respond(response);
                }
                Verdict::Failed(failure) => failure,
            },
            Err(error) => error.into(),
        };
        self.without_an_answer(exchange, &failure)
    }
}

impl ForwardAuth {
    /// Removes from the request what only a response of the authorization server may set, and what only the gateway may
    /// say of the request.
    fn forget(&self, exchange: &Exchange) -> Result<(), MutateError> {
        let copied = self.config.copy_headers.iter().map(String::as_str);
        copied.chain(CLAIMS).try_for_each(|name| exchange.request_headers().remove(name))
    }

    /// `None` if a header to be forwarded is not text: the authorization server must see what the upstream will see.
    fn question(&self, exchange: &Exchange) -> Option<http_client::Request> {
        let (method, scheme) = (exchange.method().to_string(), exchange.scheme());
        let (host, target) = (exchange.authority(), exchange.path());
        let client = exchange.attribute("source.address").unwrap_or_default();
        let url = format!("{scheme}://{host}{target}");
        let told = [client, host, method.clone(), scheme, target.clone(), method, target, url];
        let mut question = self.question.clone();
        question.headers.extend(TOLD.map(str::to_owned).into_iter().zip(told));
        for name in &self.config.request_headers {
            for value in exchange.request_headers().values(name) {
                question.headers.push((name.clone(), String::from_utf8(value).ok()?));
            }
        }
        Some(question)
    }

    /// Applies everything a positive response says; fails if any part cannot be applied.
    fn admit(&self, exchange: &Exchange, answer: &http_client::Response) -> Result<(), Failure> {
        let refused = |error: MutateError| Failure::unclear(format!("what the answer says cannot be kept: {error}"));
        let identity = self.config.identity.as_ref().map(|identity| read(identity, answer)).transpose()?;
        for (names, section) in [
            (&self.config.copy_headers, Section::RequestHeaders),
            (&self.config.response_headers, Section::ResponseHeaders),
        ] {
            for name in names {
                for value in values(answer, name)? {
                    exchange.headers(section).append(name, value).map_err(refused)?;
                }
            }
        }
        match identity {
            Some((subject, claims)) => {
                exchange.set_identity(subject, &Value::Object(claims).to_string()).map_err(refused)
            }
            None => Ok(()),
        }
    }

    fn without_an_answer(&self, exchange: &Exchange, failure: &Failure) -> Decision {
        log::error("nobody decided about a request", &[("upstream", &self.config.upstream), ("why", &failure.why)]);
        if self.config.on_error == OnError::Allow {
            // Parts of a bad response may have been applied already.
            return self.forget(exchange).map_or_else(|error| broken(&error), |()| Decision::Proceed);
        }
        DENIED.add(1, &[failure.reason]);
        let phrase = failure.status.canonical_reason().unwrap_or_default();
        let detail = "It could not be decided whether the request may pass.";
        Decision::Respond(Response::problem(failure.status, phrase, detail))
    }
}

/// The caller named by the response.
fn read<'a>(identity: &Identity, answer: &'a http_client::Response) -> Result<(&'a str, Map<String, Value>), Failure> {
    let [subject] = *values(answer, &identity.subject)? else {
        return Err(Failure::unclear(format!("the answer names the caller not once in {:?}", identity.subject)));
    };
    if subject.is_empty() {
        return Err(Failure::unclear(format!("the answer has nobody's name in {:?}", identity.subject)));
    }
    let mut claims = Map::new();
    for (claim, name) in &identity.claims {
        if let Some(value) = values(answer, name)?.first() {
            claims.insert(claim.clone(), (*value).into());
        }
    }
    if let Some(name) = &identity.groups {
        let values = values(answer, name)?;
        let groups = values.iter().flat_map(|value| value.split(',')).map(str::trim).filter(|group| !group.is_empty());
        claims.insert("groups".to_owned(), groups.collect());
    }
    Ok((subject, claims))
}

fn values<'a>(answer: &'a http_client::Response, name: &str) -> Result<Vec<&'a str>, Failure> {
    verdict::values(answer, name)
        .ok_or_else(|| Failure::unclear(format!("the header {name:?} of the answer is not text")))
}

fn broken(error: &MutateError) -> Decision {
    log::error("the request could not be changed", &[("why", &error.to_string())]);
    Decision::problem(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error", "The request was not judged.")
}

#[cfg(test)]
mod tests;
