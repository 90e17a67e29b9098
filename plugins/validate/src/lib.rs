//! `validate` checks requests before the upstream sees them: their body, query and headers against JSON Schemas, or
//! everything against the operations of an OpenAPI 3.1 document.
//!
//! The plugin finds the schema for each part and converts parameters to JSON; the gateway compiles and checks the
//! schemas natively. A request that the document does not describe is refused, unless the configuration says otherwise.

use gatewright_sdk::{
    BodyDecision, BodyMode, Decision, Direction, Exchange, Metric, MutateError, Plugin, Response, StatusCode, config,
    json_schema::{self, CheckError},
    log, plugin,
    serde_json::{self, Value},
};

mod openapi;
mod parameter;
mod refusal;
mod schemas;

use openapi::Document;
use refusal::Refusal;
use schemas::Schemas;

/// Validates requests against JSON Schemas or an OpenAPI document.
#[config]
#[derive(Debug)]
#[schemars(extend("anyOf" = [{ "required": ["body"] }, { "required": ["query"] }, { "required": ["headers"] }, { "required": ["openapi"] }]))]
pub struct Config {
    /// A JSON Schema (draft 2020-12) for JSON bodies.
    body: Option<Value>,
    /// The allowed media types of bodies, if `body` is given.
    #[serde(default = "json")]
    #[schemars(length(min = 1))]
    content_types: Vec<String>,
    /// Whether POST, PUT and PATCH without a body are refused, if `body` is given.
    #[serde(default = "yes")]
    body_required: bool,
    /// A JSON Schema for the query arguments, as one object. Values that its `properties` declare as numbers, booleans
    /// or arrays are parsed as such.
    query: Option<Value>,
    /// The same for headers; names are in lower case.
    headers: Option<Value>,
    /// An OpenAPI 3.1 document, as JSON: an object, or text, such as `"${file:openapi.json}"`.
    openapi: Option<Value>,
    /// A prefix of the document's paths.
    #[serde(default)]
    base_path: String,
    /// Whether paths and methods that are not in the document pass. Otherwise they are answered with 404 or 405.
    #[serde(default)]
    allow_unknown: bool,
}

fn json() -> Vec<String> {
    vec!["application/json".to_owned()]
}

const fn yes() -> bool {
    true
}

static REFUSED: Metric = Metric::counter("refused", "Requests that are not as they should be.", &["reason"]);

/// The plugin.
#[derive(Debug)]
pub struct Validate {
    schemas: Schemas,
    document: Option<Document>,
    allow_unknown: bool,
}

/// The rules for a body: media types, and the places of their schemas.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct BodyRules {
    pub name: &'static str,
    pub types: Vec<(String, Option<String>)>,
    pub required: bool,
}

#[plugin]
impl Plugin for Validate {
    type Config = Config;

    const METRICS: &'static [&'static Metric] = &[&REFUSED];

    fn new(config: Config) -> Result<Self, String> {
        let document = config.openapi.as_ref().map(|openapi| Document::new(openapi, &config.base_path)).transpose()?;
        Ok(Self { allow_unknown: config.allow_unknown, document, schemas: Schemas::new(config)? })
    }

    fn on_request(&self, exchange: &Exchange) -> Decision {
        match self.check_head(exchange) {
            Ok(checks) if checks.is_empty() => Decision::Proceed,
            Ok(checks) => match checks.keep(exchange) {
                Ok(()) => Decision::Proceed,
                Err(error) => {
                    log::error("the body cannot be read", &[("why", &error.to_string())]);
                    Decision::problem(
                        StatusCode::INTERNAL_SERVER_ERROR,
                        "Internal Server Error",
                        "The body cannot be read.",
                    )
                }
            },
            Err(refusal) => Decision::Respond(refused(&refusal)),
        }
    }

    fn on_request_body(&self, exchange: &Exchange, body: Vec<u8>) -> BodyDecision {
        match Checks::kept(exchange).and_then(|checks| checks.check(&body)) {
            Ok(()) => BodyDecision::Pass,
            Err(refusal) => BodyDecision::Respond(refused(&refusal)),
        }
    }
}

impl Validate {
    /// What the body must be checked against.
    fn check_head(&self, exchange: &Exchange) -> Result<Checks, Refusal> {
        let mut refusal = Refusal::parameters();
        self.schemas.check(exchange, &mut refusal)?;
        let operation = self.operation(exchange)?;
        if let Some(operation) = &operation {
            operation.check_parameters(exchange, &mut refusal)?;
        }
        refusal.or_nothing()?;
        let of_document = operation.and_then(|operation| operation.body());
        let mut checks = Checks::default();
        for rules in self.schemas.body(exchange).into_iter().chain(of_document) {
            checks.0.extend(rules.wants(exchange)?.map(|place| (rules.name.to_owned(), place.to_owned())));
        }
        Ok(checks)
    }

    fn operation(&self, exchange: &Exchange) -> Result<Option<openapi::Match<'_>>, Refusal> {
        let Some(document) = &self.document else { return Ok(None) };
        match document.find(&exchange.path(), exchange.method().as_str()) {
            Err(_) if self.allow_unknown => Ok(None),
            found => found.map(Some),
        }
    }
}

impl BodyRules {
    /// The place of the schema for the body, if there is a body and its type has a schema.
    fn wants(&self, exchange: &Exchange) -> Result<Option<&str>, Refusal> {
        if exchange.end_of_stream() {
            return if self.required { Err(Refusal::no_body()) } else { Ok(None) };
        }
        let headers = exchange.request_headers();
        let kind = headers.sole("content-type").map_err(|_| Refusal::several_types())?;
        if headers.get("content-encoding").is_some_and(|coding| !coding.trim().eq_ignore_ascii_case("identity")) {
            return Err(Refusal::media_type("a body without a content coding"));
        }
        self.schema(&kind.unwrap_or_default())
    }

    /// The place of the schema for a media type.
    fn schema(&self, kind: &str) -> Result<Option<&str>, Refusal> {
        let essence = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let class = essence.split_once('/').map(|(class, _)| format!("{class}/*")).unwrap_or_default();
        let fits = |wanted: &str| self.types.iter().find(|(kind, _)| *kind == wanted);
        match fits(&essence).or_else(|| fits(&class)).or_else(|| fits("*/*")) {
            Some((_, schema)) => Ok(schema.as_deref()),
            None => {
                let types: Vec<&str> = self.types.iter().map(|(kind, _)| kind.as_str()).collect();
                Err(Refusal::media_type(&types.join(", ")))
            }
        }
    }
}

/// What a body must be checked against: names of schemas, and places in them.
///
/// This is decided in the request hook, and kept: with the changes of later plugins, path and headers could lead to
/// another schema, or to none.
#[derive(Debug, Default)]
struct Checks(Vec<(String, String)>);

impl Checks {
    const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Keeps the checks and asks for the body.
    fn keep(&self, exchange: &Exchange) -> Result<(), MutateError> {
        let text = serde_json::to_vec(&self.0).map_err(|error| MutateError::Other(error.to_string()))?;
        exchange.set_state(&text)?;
        exchange.set_body_mode(Direction::Request, BodyMode::Whole)
    }

    fn kept(exchange: &Exchange) -> Result<Self, Refusal> {
        serde_json::from_slice(&exchange.state()).map(Self).map_err(|error| {
            log::error("what was kept cannot be read", &[("why", &error.to_string())]);
            Refusal::missing()
        })
    }

    fn check(&self, body: &[u8]) -> Result<(), Refusal> {
        let mut refusal = Refusal::body();
        for (name, place) in &self.0 {
            check(name, place, body, |pointer, message| refusal.add("body", pointer, message))?;
        }
        refusal.or_nothing()
    }
}

/// Checks one value and reports what is wrong with it.
fn check(name: &str, place: &str, value: &[u8], mut complain: impl FnMut(String, String)) -> Result<(), Refusal> {
    match json_schema::check(name, place, value) {
        Ok(violations) => {
            violations.into_iter().for_each(|violation| complain(violation.pointer, violation.message));
            Ok(())
        }
        Err(CheckError::NotJson(why)) => Err(Refusal::not_json(&why)),
        Err(CheckError::Unknown) => {
            log::error("a schema is missing", &[("place", place)]);
            Err(Refusal::missing())
        }
    }
}

fn refused(refusal: &Refusal) -> Response {
    REFUSED.add(1, &[refusal.reason]);
    refusal.response()
}

/// JSON that the operator wrote as JSON, or as text.
fn document(value: &Value) -> Result<Value, String> {
    match value {
        Value::String(text) => serde_json::from_str(text).map_err(|error| format!("it is not JSON: {error}")),
        other => Ok(other.clone()),
    }
}

#[cfg(test)]
mod tests;
