//! `rest-graphql` answers a REST endpoint with a stored GraphQL query.
//!
//! The query, the types of its variables and the parts of a request that they come from are fixed when the plugin is
//! configured. A request becomes one POST to the route's upstream (GraphQL over HTTP), and the response the part of
//! `data` that the client wants, or a problem with the status of the error's code. A client never sends GraphQL, so
//! none can ask for more.

use std::collections::{BTreeMap, BTreeSet};

use gatewright_sdk::{
    BodyDecision, BodyMode, Decision, Direction, Exchange, HeaderBlock, Method, Metric, MutateError, Plugin, Response,
    StatusCode, codec,
    json::{self, Path, Value},
    log, plugin, representation,
    template::{Document, PathPattern, RequestValues, Root, Scope, Target},
};

mod coerce;
mod config;
mod operation;
mod outcome;

pub use config::Config;
use operation::Variable;
use outcome::{Outcome, Reading, unreadable};

static FAILED: Metric = Metric::counter("failed", "Requests without a result.", &["reason"]);

/// The plugin.
#[derive(Debug)]
pub struct RestGraphql {
    pattern: Option<PathPattern>,
    endpoint: String,
    /// The body for the upstream, up to the values of the variables.
    question: Vec<u8>,
    /// The headers of the request to the upstream.
    headers: HeaderBlock,
    variables: Vec<(Variable, Document)>,
    roots: BTreeSet<Root>,
    reading: Reading,
}

#[plugin]
impl Plugin for RestGraphql {
    type Config = Config;

    const METRICS: &'static [&'static Metric] = &[&FAILED];

    fn new(config: Config) -> Result<Self, String> {
        let pattern = config.path.as_deref().map(PathPattern::parse).transpose();
        let pattern = pattern.map_err(|why| format!("path: {why}"))?;
        let declared = operation::variables(&config.query, config.operation.as_deref());
        let declared = declared.map_err(|why| format!("query: {why}"))?;
        let scope = Scope { path: pattern.as_ref().map_or(&[], PathPattern::names), body: true, parts: &[] };
        let variables = variables(declared, config.variables, &scope)?;
        let mut roots = BTreeSet::new();
        for (_, document) in &variables {
            document.each_place(&mut |place| {
                roots.insert(place.root().clone());
            });
        }
        Target::parse(&config.endpoint, &Scope::default()).map_err(|why| format!("endpoint: {why}")).and_then(
            |target| target.places().next().map_or(Ok(()), |_| Err("endpoint: it is no template".to_owned())),
        )?;
        let result = Path::parse(&config.result).map_err(|why| format!("result: {:?} {why}", config.result))?;
        if !result.is_single() {
            return Err(format!("result: {:?} is more than one place", config.result));
        }
        let reading = Reading {
            result,
            status: status("status", config.status, 200..300)?,
            missing: status("missing", config.missing, 200..500)?,
            errors: errors(config.errors)?,
            messages: config.messages,
            partial: config.partial,
        };
        let mut headers = HeaderBlock::new();
        headers.push("content-type", "application/json");
        headers.push("accept", "application/graphql-response+json, application/json;q=0.9");
        headers.push("accept-encoding", "identity");
        let question = question(config.query, config.operation);
        Ok(Self { pattern, endpoint: config.endpoint, question, headers, variables, roots, reading })
    }

    fn on_request(&self, exchange: &Exchange) -> Decision {
        if self.pattern.as_ref().is_some_and(|pattern| pattern.matches(&exchange.path()).is_none()) {
            return refused("path", StatusCode::NOT_FOUND, "There is nothing at this path.").into();
        }
        if self.reads_body() && !exchange.end_of_stream() {
            let [kind, coding] = exchange.request_headers().select(["content-type", "content-encoding"]);
            if !kind.is_some_and(|kind| json::is_json(&kind)) || coding.is_some() {
                let detail = "The body has to be JSON without a content coding.";
                return refused("media-type", StatusCode::UNSUPPORTED_MEDIA_TYPE, detail).into();
            }
        }
        match exchange.set_body_mode(Direction::Request, BodyMode::Whole) {
            Ok(()) => Decision::Proceed,
            Err(error) => broken(&error).into(),
        }
    }

    fn on_request_body(&self, exchange: &Exchange, body: Vec<u8>) -> BodyDecision {
        let body = match self.reads_body() && !body.is_empty() {
            false => None,
            true => match Value::parse(&body) {
                Ok(body) => Some(body),
                Err(error) => {
                    let detail = format!("The body cannot be read: {error}.");
                    return refused("malformed", StatusCode::BAD_REQUEST, &detail).into();
                }
            },
        };
        match self.question(exchange, body).map(|question| self.ask(exchange).map(|()| question)) {
            Ok(Ok(question)) => BodyDecision::Replace(question),
            Ok(Err(error)) => broken(&error).into(),
            Err(refusal) => refusal.into(),
        }
    }

    fn on_response(&self, exchange: &Exchange) -> Decision {
        let headers = exchange.response_headers();
        let [kind, coding] = headers.select(["content-type", "content-encoding"]);
        let kind = kind.unwrap_or_default();
        // A response of the gateway, or of a later plugin.
        if kind.starts_with("application/problem+json") {
            return Decision::Proceed;
        }
        if exchange.end_of_stream() || !json::is_json(&kind) {
            let status = exchange.status().map_or(0, |status| status.as_u16());
            return answer(unreadable(&format!("it is no GraphQL response: status {status}, type {kind:?}"))).into();
        }
        match prepare(exchange, coding.as_deref()) {
            Ok(true) => Decision::Proceed,
            Ok(false) => answer(unreadable("it has a content coding that is not known")).into(),
            Err(error) => broken(&error).into(),
        }
    }

    fn on_response_body(&self, exchange: &Exchange, body: Vec<u8>) -> BodyDecision {
        match self.reading.read(&body) {
            Outcome::Result(status, result) => match exchange.set_status(status) {
                Ok(()) => BodyDecision::Replace(result),
                Err(error) => broken(&error).into(),
            },
            problem => answer(problem).into(),
        }
    }
}

impl RestGraphql {
    fn reads_body(&self) -> bool {
        self.roots.contains(&Root::Body)
    }

    /// The body for the upstream.
    fn question(&self, exchange: &Exchange, body: Option<Value>) -> Result<Vec<u8>, Response> {
        let names = self.pattern.as_ref().map_or(&[][..], PathPattern::names);
        let segments = self.pattern.as_ref().and_then(|pattern| pattern.matches(&exchange.path())).unwrap_or_default();
        let path = names.iter().map(String::as_str).zip(segments);
        let values = RequestValues::read(exchange, &self.roots, path, body);
        let mut variables = Vec::new();
        for (variable, document) in &self.variables {
            let name = &variable.name;
            match document.value(&values) {
                Some(value) => {
                    let wrong =
                        |why| refused("variable", StatusCode::BAD_REQUEST, &format!("The value of {name:?} {why}."));
                    variables.push((name.clone(), coerce::coerce(&variable.kind, value).map_err(wrong)?));
                }
                None if variable.is_required() => {
                    let detail = format!("The value of {name:?} is missing.");
                    return Err(refused("variable", StatusCode::BAD_REQUEST, &detail));
                }
                None => {}
            }
        }
        let mut question = self.question.clone();
        question.extend(Value::Object(variables).to_bytes());
        question.push(b'}');
        Ok(question)
    }

    fn ask(&self, exchange: &Exchange) -> Result<(), MutateError> {
        exchange.set_method(&Method::POST)?;
        exchange.set_path(&self.endpoint)?;
        let headers = exchange.request_headers();
        headers.set_all(&self.headers)?;
        representation::asked_anew(headers)
    }
}

/// Prepares the response's head and body to be read; false if the coding is not known.
fn prepare(exchange: &Exchange, coding: Option<&str>) -> Result<bool, MutateError> {
    if !codec::decompress_whole(coding)? {
        return Ok(false);
    }
    let headers = exchange.response_headers();
    headers.set("content-type", "application/json")?;
    representation::replaced(headers)?;
    headers.remove("last-modified")?;
    exchange.set_body_mode(Direction::Response, BodyMode::Whole)?;
    Ok(true)
}

/// The body of every request, up to the values of the variables.
fn question(query: String, operation: Option<String>) -> Vec<u8> {
    let mut members = vec![("query".to_owned(), Value::String(query))];
    members.extend(operation.map(|name| ("operationName".to_owned(), Value::String(name))));
    let mut question = Value::Object(members).to_bytes();
    // The last brace follows the variables.
    question.pop();
    question.extend(b",\"variables\":");
    question
}

/// The template of each declared variable that has one.
fn variables(
    declared: Vec<Variable>,
    mut given: BTreeMap<String, Value>,
    scope: &Scope<'_>,
) -> Result<Vec<(Variable, Document)>, String> {
    let mut variables = Vec::new();
    let names: Vec<&str> = declared.iter().map(|variable| variable.name.as_str()).collect();
    let names = names.join(", ");
    for variable in declared {
        let name = &variable.name;
        match given.remove(name) {
            Some(template) => {
                let document = Document::parse(&template, scope).map_err(|why| format!("variables.{name}: {why}"))?;
                variables.push((variable, document));
            }
            None if variable.is_required() => {
                return Err(format!("variables: the operation needs ${name}, which has no value here"));
            }
            None => {}
        }
    }
    match given.keys().next() {
        None => Ok(variables),
        Some(unknown) if names.is_empty() => Err(format!("variables.{unknown}: the operation declares none")),
        Some(unknown) => Err(format!("variables.{unknown}: the operation does not declare it; it declares {names}")),
    }
}

/// The statuses of error codes, including the well-known ones.
fn errors(given: BTreeMap<String, u16>) -> Result<BTreeMap<String, StatusCode>, String> {
    let known = KNOWN.iter().map(|(code, status)| ((*code).to_owned(), *status));
    known
        .chain(given)
        .map(|(code, number)| Ok((code.clone(), status(&format!("errors.{code}"), number, 400..600)?)))
        .collect()
}

fn status(key: &str, number: u16, allowed: std::ops::Range<u16>) -> Result<StatusCode, String> {
    let (first, last) = (allowed.start, allowed.end - 1);
    let status = StatusCode::from_u16(number).ok().filter(|_| allowed.contains(&number));
    status.ok_or_else(|| format!("{key}: {number} is not from {first} to {last}"))
}

fn refused(reason: &'static str, status: StatusCode, detail: &str) -> Response {
    FAILED.add(1, &[reason]);
    Response::problem(status, status.canonical_reason().unwrap_or("Refused"), detail)
}

/// The response to the client if there is no result.
fn answer(outcome: Outcome) -> Response {
    match outcome {
        Outcome::Result(status, body) => Response::new(status).with_body("application/json", body),
        Outcome::Problem { reason, status, detail, why } => {
            if reason != "missing" {
                log::warn("the upstream gave no result", &[("why", &why)]);
            }
            refused(reason, status, &detail)
        }
    }
}

fn broken(error: &MutateError) -> Response {
    log::error("the message could not be changed", &[("why", &error.to_string())]);
    refused("gateway", StatusCode::INTERNAL_SERVER_ERROR, "The request could not be translated.")
}

const KNOWN: [(&str, u16); 4] =
    [("BAD_USER_INPUT", 400), ("FORBIDDEN", 403), ("NOT_FOUND", 404), ("UNAUTHENTICATED", 401)];

#[cfg(test)]
mod tests;
