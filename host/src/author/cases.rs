//! Files of test cases: the exchanges with a plugin, and the expected results.

use std::collections::BTreeMap;
use std::path::Path;

use http::{HeaderName, HeaderValue};
use schemars::JsonSchema;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use super::Error;
use crate::config::{self, Diagnostic, Document};

/// A parsed file of test cases.
pub struct Cases {
    pub file: File,
    /// The same with positions, for messages.
    pub document: Document,
}

/// Test cases of a plugin. Each case has a plugin of its own: counters and stores begin empty.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// Where editors find the schema of this file.
    #[serde(rename = "$schema", default)]
    #[allow(dead_code)] // accepted for editors
    schema: Option<String>,

    /// The plugin's configuration, unless a case has its own. Default: `{}`.
    #[serde(default = "empty")]
    pub config: Value,

    /// The secrets that the plugin is granted, with their values. Default: none.
    #[serde(default)]
    pub secrets: BTreeMap<String, String>,

    /// The upstreams that the plugin is granted, and how they answer its calls. Default: none.
    #[serde(default)]
    pub upstreams: BTreeMap<String, Vec<Fixture>>,

    /// The upstreams of the route that the plugin may choose between. Default: none.
    #[serde(default)]
    pub route: Vec<String>,

    /// The cases, in any order.
    pub cases: Vec<Case>,
}

/// One case: a configuration that is refused, one exchange, or several after one another.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// What holds here, in words.
    pub name: String,

    /// In place of the file's.
    pub config: Option<Value>,

    /// The plugin refuses the configuration, and its words contain these.
    pub refused: Option<String>,

    /// What the client sends. Default: `GET /` without a body.
    pub request: Option<Request>,

    /// What the upstream of the route answers, if the request gets there. Default: 200 without a body.
    pub response: Option<Response>,

    /// What comes of it.
    pub expect: Option<Expect>,

    /// Several exchanges, one after another, for what a plugin counts or keeps. In place of the three above.
    #[serde(default)]
    pub steps: Vec<Step>,
}

/// One exchange.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// What the client sends. Default: `GET /` without a body.
    #[serde(default)]
    pub request: Request,

    /// What the upstream of the route answers, if the request gets there. Default: 200 without a body.
    #[serde(default)]
    pub response: Response,

    /// What comes of it.
    #[serde(default)]
    pub expect: Expect,
}

/// What a client sends.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Request {
    /// Default: GET.
    pub method: String,

    /// With the query. Default: "/".
    pub path: String,

    /// Default: example.test.
    pub host: String,

    /// The client's address. Default: 192.0.2.1.
    pub client: std::net::IpAddr,

    /// A text, or a list of texts where a field comes more than once.
    pub headers: BTreeMap<String, Values>,

    /// The body as text. Default: none.
    pub body: Option<String>,

    /// The body as JSON, in place of `body`.
    pub json: Option<Value>,

    /// The body in the pieces that it comes in, in place of `body`.
    pub chunks: Vec<String>,

    /// Who an earlier plugin has found the caller to be. Default: nobody.
    pub identity: Option<Identity>,

    /// What earlier plugins have noted, such as "plugin.geo.country". Default: nothing.
    pub attributes: BTreeMap<String, String>,
}

/// What an upstream answers.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Response {
    /// Default: 200.
    #[schemars(range(min = 200, max = 599))]
    pub status: u16,

    /// A text, or a list of texts where a field comes more than once.
    pub headers: BTreeMap<String, Values>,

    /// The body as text. Default: none.
    pub body: Option<String>,

    /// The body as JSON, in place of `body`.
    pub json: Option<Value>,

    /// The body in the pieces that it comes in, in place of `body`.
    pub chunks: Vec<String>,
}

/// How an upstream answers a call of the plugin. The first fixture that fits a call answers it, however often.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Fixture {
    /// The calls that it answers. Default: any.
    #[serde(default)]
    pub method: Option<String>,

    /// The path with the query, exactly. Default: any.
    #[serde(default)]
    pub path: Option<String>,

    /// Fields that the call has. Default: any.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,

    /// The answer; without one the connection fails.
    #[serde(default)]
    pub response: Option<Response>,
}

/// What is expected of an exchange. What is not written is not looked at.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Expect {
    /// Whether the plugin answers the request itself, so that no upstream sees it.
    pub answered: Option<bool>,

    /// The request as the upstream gets it; so it has to get there.
    pub request: Option<ExpectRequest>,

    /// The upstream that the plugin chooses.
    pub upstream: Option<String>,

    /// The response as the client gets it.
    pub response: Option<ExpectResponse>,

    /// Who the caller is in the end.
    pub identity: Option<Identity>,

    /// Whether nobody is known to call in the end.
    pub anonymous: Option<bool>,

    /// What is noted in the end, such as "plugin.my-plugin.reason".
    pub attributes: BTreeMap<String, String>,

    /// Metrics of the plugin in the end, such as `"stopped{crawler}": 1`: the values of the labels are in braces.
    pub metrics: BTreeMap<String, f64>,

    /// The plugin resets the client's stream.
    pub aborted: bool,

    /// A hook fails, and the words about it contain these.
    pub failed: Option<String>,
}

/// What is expected of the request that goes to the upstream.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ExpectRequest {
    pub method: Option<String>,
    /// With the query.
    pub path: Option<String>,
    pub host: Option<String>,
    /// A text, or a list of texts where a field comes more than once.
    pub headers: BTreeMap<String, Values>,
    /// Fields that it has not.
    pub absent: Vec<String>,
    pub body: Option<String>,
    /// The body, compared as JSON.
    pub json: Option<Value>,
}

/// What is expected of the response that the client gets.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ExpectResponse {
    #[schemars(range(min = 200, max = 599))]
    pub status: Option<u16>,
    /// A text, or a list of texts where a field comes more than once.
    pub headers: BTreeMap<String, Values>,
    /// Fields that it has not.
    pub absent: Vec<String>,
    pub body: Option<String>,
    /// The body, compared as JSON.
    pub json: Option<Value>,
}

/// A proven caller.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    pub subject: String,
    /// A JSON object. Default: `{}`.
    #[serde(default = "empty")]
    pub claims: Value,
}

/// The values of one header field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Values(pub Vec<String>);

impl Cases {
    /// Reads a file of cases.
    ///
    /// # Errors
    /// Every mistake in it, with its place.
    pub fn read(path: &Path) -> Result<Cases, Error> {
        let (file, document) = config::read::<File>(path)?;
        let mut mistakes = Vec::new();
        for (index, case) in file.cases.iter().enumerate() {
            let pointer = config::child("/cases", index);
            let has_exchange = case.request.is_some() || case.response.is_some() || case.expect.is_some();
            if !case.steps.is_empty() && has_exchange {
                let message = "a case has either steps, or a request with what belongs to it";
                mistakes.push(document.at_value(&config::child(&pointer, "steps"), message));
            }
            if case.refused.is_some() && (has_exchange || !case.steps.is_empty()) {
                let message = "where the configuration is refused, there is nothing to send";
                mistakes.push(document.at_value(&config::child(&pointer, "refused"), message));
            }
            let of_request = case.request.iter().map(|request| request.mistakes(&document, &pointer));
            let of_response = case.response.iter().map(|response| response.mistakes(&document, &pointer));
            mistakes.extend(of_request.chain(of_response).flatten());
            for (number, step) in case.steps.iter().enumerate() {
                let pointer = config::child(&config::child(&pointer, "steps"), number);
                mistakes.extend(step.request.mistakes(&document, &pointer));
                mistakes.extend(step.response.mistakes(&document, &pointer));
            }
        }
        for (name, fixtures) in &file.upstreams {
            let pointer = config::child("/upstreams", name);
            for (number, fixture) in fixtures.iter().enumerate() {
                let pointer = config::child(&pointer, number);
                let of_response = fixture.response.iter().map(|response| response.mistakes(&document, &pointer));
                mistakes.extend(of_response.flatten());
            }
        }
        if file.cases.is_empty() {
            mistakes.push(document.at_key("/cases", "there is no case, so nothing would be tested"));
        }
        if mistakes.is_empty() { Ok(Cases { file, document }) } else { Err(document.report(mistakes).into()) }
    }
}

impl Case {
    /// The exchanges of the case.
    pub fn steps(&self) -> Vec<Step> {
        if !self.steps.is_empty() {
            return self.steps.clone();
        }
        vec![Step {
            request: self.request.clone().unwrap_or_default(),
            response: self.response.clone().unwrap_or_default(),
            expect: self.expect.clone().unwrap_or_default(),
        }]
    }
}

impl Request {
    /// Everything that no request can have. The request is at `request`, below the pointer.
    fn mistakes(&self, document: &Document, below: &str) -> Vec<Diagnostic> {
        let bodies = [self.body.is_some(), self.json.is_some(), !self.chunks.is_empty()];
        mistakes(document, &config::child(below, "request"), &self.headers, bodies)
    }
}

impl Response {
    /// Everything that no response can have. The response is at `response`, below the pointer.
    fn mistakes(&self, document: &Document, below: &str) -> Vec<Diagnostic> {
        let bodies = [self.body.is_some(), self.json.is_some(), !self.chunks.is_empty()];
        mistakes(document, &config::child(below, "response"), &self.headers, bodies)
    }
}

/// Fields that cannot be sent, and a body that is given in more than one way.
fn mistakes(
    document: &Document,
    pointer: &str,
    headers: &BTreeMap<String, Values>,
    bodies: [bool; 3],
) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for (name, Values(values)) in headers {
        let is_value = |value: &String| HeaderValue::from_str(value).is_ok();
        if name.parse::<HeaderName>().is_err() || !values.iter().all(is_value) {
            let pointer = config::child(&config::child(pointer, "headers"), name);
            found.push(document.at_key(&pointer, format!("the field {name:?} cannot be sent as it is written")));
        }
    }
    if bodies.into_iter().filter(|is_written| *is_written).count() > 1 {
        found.push(document.at_key(pointer, "it has more than one of \"body\", \"json\" and \"chunks\""));
    }
    found
}

impl Default for Request {
    fn default() -> Self {
        Request {
            method: "GET".to_owned(),
            path: "/".to_owned(),
            host: "example.test".to_owned(),
            // From the block for documentation (RFC 5737).
            client: [192, 0, 2, 1].into(),
            headers: BTreeMap::new(),
            body: None,
            json: None,
            chunks: Vec::new(),
            identity: None,
            attributes: BTreeMap::new(),
        }
    }
}

impl Default for Response {
    fn default() -> Self {
        Response { status: 200, headers: BTreeMap::new(), body: None, json: None, chunks: Vec::new() }
    }
}

/// The pieces of a body that may be given in three ways.
pub fn pieces(body: Option<&String>, json: Option<&Value>, chunks: &[String]) -> Vec<String> {
    match (body, json) {
        (Some(text), _) => vec![text.clone()],
        (None, Some(value)) => vec![value.to_string()],
        (None, None) => chunks.to_vec(),
    }
}

impl<'de> Deserialize<'de> for Values {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::String(text) => Ok(Values(vec![text])),
            list @ Value::Array(_) => serde_json::from_value(list).map(Values).map_err(D::Error::custom),
            _ => Err(D::Error::custom("a text or a list of texts")),
        }
    }
}

impl JsonSchema for Values {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Values".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "anyOf": [{ "type": "string" }, { "type": "array", "items": { "type": "string" } }]
        })
    }
}

fn empty() -> Value {
    Value::Object(Map::new())
}
