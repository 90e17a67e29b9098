//! `graphql-guard` limits GraphQL requests before they reach the upstream.
//!
//! One HTTP request can ask for anything at any depth, so limits on requests say little. This plugin parses the
//! document and counts: its depth, its cost, and how often it asks the same under another name. Fragments are counted
//! wherever they are spread, without being written out, so a short document cannot hide a long one. A request that
//! exceeds a limit, or is not GraphQL, is answered here.

use std::collections::BTreeMap;

use gatewright_sdk::{
    BodyDecision, BodyMode, Decision, Direction, Exchange, Method, Metric, Plugin, Response, StatusCode, config, log,
    plugin, serde_json::Value,
};

mod count;
mod limits;
mod request;

use limits::{Judge, Refusal};
pub use limits::{Limits, Persisted};
use request::{Operation, requests};

/// Limits what GraphQL requests may ask for.
#[config]
#[derive(Debug)]
pub struct Config {
    /// The limits of one document.
    #[serde(default)]
    limits: Limits,
    /// Whether `__schema` and `__type` may be queried.
    #[serde(default)]
    introspection: bool,
    /// Whether queries may be sent with `GET`. Mutations never may.
    #[serde(default = "yes")]
    get: bool,
    /// Documents that clients may refer to instead of sending one.
    #[serde(default)]
    persisted: Option<Persisted>,
}

const fn yes() -> bool {
    true
}

static REFUSED: Metric = Metric::counter("refused", "Requests that were refused.", &["reason"]);

/// The plugin.
#[derive(Debug)]
pub struct GraphqlGuard {
    judge: Judge,
    get: bool,
}

#[plugin]
impl Plugin for GraphqlGuard {
    type Config = Config;

    const METRICS: &'static [&'static Metric] = &[&REFUSED];

    fn new(config: Config) -> Result<Self, String> {
        let Config { limits, introspection, get, persisted } = config;
        Ok(Self { judge: Judge::new(limits, introspection, persisted)?, get })
    }

    fn on_request(&self, exchange: &Exchange) -> Decision {
        let judged = match exchange.method() {
            Method::GET | Method::HEAD if self.get => self.judge_query(&exchange.path()),
            // Preflights carry no query.
            Method::OPTIONS => Ok(()),
            Method::POST => return self.begin(exchange),
            _ => Err(Refusal::method(if self.get { "GET, POST" } else { "POST" })),
        };
        match judged {
            Ok(()) => Decision::Proceed,
            Err(refusal) => Decision::Respond(refused(&refusal)),
        }
    }

    fn on_request_body(&self, exchange: &Exchange, body: Vec<u8>) -> BodyDecision {
        match self.judge_body(exchange.state() == DOCUMENT, &body) {
            Ok(()) => BodyDecision::Pass,
            Err(refusal) => BodyDecision::Respond(refused(&refusal)),
        }
    }
}

/// The kind of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A request, or several, as JSON.
    Json,
    /// The bare document.
    Document,
}

/// The exchange's state if the body is the bare document.
const DOCUMENT: &[u8] = b"document";

fn kind(exchange: &Exchange) -> Result<Kind, Refusal> {
    let kind = exchange.request_headers().sole("content-type");
    let kind = kind.map_err(|_| Refusal::malformed("it has several content types"))?.unwrap_or_default();
    match kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase().as_str() {
        "application/json" => Ok(Kind::Json),
        "application/graphql" => Ok(Kind::Document),
        _ => Err(Refusal::media_type()),
    }
}

impl GraphqlGuard {
    fn begin(&self, exchange: &Exchange) -> Decision {
        let kind = match Self::check_head(exchange) {
            Ok(kind) => kind,
            Err(refusal) => return Decision::Respond(refused(&refusal)),
        };
        // Kept, because later plugins may change the content type before the body arrives.
        let kept = if kind == Kind::Document { exchange.set_state(DOCUMENT) } else { Ok(()) };
        match kept.and_then(|()| exchange.set_body_mode(Direction::Request, BodyMode::Whole)) {
            Ok(()) => Decision::Proceed,
            Err(error) => {
                log::error("the body cannot be read", &[("why", &error.to_string())]);
                Decision::problem(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "Internal Server Error",
                    "The body cannot be read.",
                )
            }
        }
    }

    fn check_head(exchange: &Exchange) -> Result<Kind, Refusal> {
        let kind = kind(exchange)?;
        let encoding = exchange.request_headers().get("content-encoding");
        if encoding.is_some_and(|encoding| !encoding.trim().eq_ignore_ascii_case("identity")) {
            return Err(Refusal::media_type());
        }
        if exchange.end_of_stream() {
            return Err(Refusal::malformed("there is no body"));
        }
        // Some servers prefer the query in the URL, and read the body only if there is none.
        match request::named_in(query(&exchange.path())) {
            Some(name) => Err(Refusal::malformed(&format!("{name} is in the address, and there is a body"))),
            None => Ok(kind),
        }
    }

    fn judge_query(&self, target: &str) -> Result<(), Refusal> {
        let operation = Operation::of_query(query(target))?;
        self.judge.judge(&operation, true)
    }

    fn judge_body(&self, is_document: bool, body: &[u8]) -> Result<(), Refusal> {
        if is_document {
            let text = std::str::from_utf8(body).map_err(|_| Refusal::malformed("it is not UTF-8"))?;
            return self.judge.judge(&Operation::of_document(text), false);
        }
        let operations = requests(body)?;
        self.judge.count(operations.len())?;
        operations.iter().try_for_each(|operation| self.judge.judge(operation, false))
    }
}

fn query(target: &str) -> &str {
    target.split_once('?').map_or("", |(_, query)| query)
}

fn refused(refusal: &Refusal) -> Response {
    REFUSED.add(1, &[refusal.reason]);
    let response =
        Response::problem(refusal.status, refusal.status.canonical_reason().unwrap_or_default(), &refusal.detail);
    match refusal.allow {
        Some(allow) => response.with_header("allow", allow),
        None => response,
    }
}

/// The variables sent along with a document.
type Variables = BTreeMap<String, Value>;

#[cfg(test)]
mod tests;
