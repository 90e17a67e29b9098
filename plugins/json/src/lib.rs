//! `json` changes the fields of JSON bodies, on the way to the upstream and back.
//!
//! A body is held whole, changed in the order of the configuration, and written again; what no change is about stays as it
//! was, digit by digit. A request that is not JSON though it says so is refused, so that the upstream never sees what this
//! plugin did not understand. A response that is not JSON goes through as it came, or is answered with 502.

use gatewright_sdk::{
    BodyDecision, BodyMode, Decision, Direction, Exchange, Method, Metric, Plugin, Response, StatusCode,
    codec::{self, Bounds, Coding},
    config, json, log, plugin, representation,
    serde::Serialize,
};

mod change;

pub use change::Change;
use change::Changes;

/// Changes the fields of JSON bodies. Bodies of other media types go by untouched.
#[config]
#[derive(Debug)]
pub struct Config {
    /// The changes of request bodies, in order.
    #[serde(default)]
    request: Vec<Change>,
    /// The changes of response bodies, in order.
    #[serde(default)]
    response: Vec<Change>,
    /// Which responses are changed: those with a status in one of these classes.
    #[serde(default = "successes")]
    #[schemars(length(min = 1))]
    statuses: Vec<Class>,
    /// What becomes of a response that says it is JSON and is not, or whose coding is not known.
    #[serde(default)]
    bad_response: Bad,
}

/// A class of statuses.
#[config]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Class {
    /// 200 to 299.
    #[serde(rename = "2xx")]
    Success,
    /// 300 to 399.
    #[serde(rename = "3xx")]
    Redirection,
    /// 400 to 499.
    #[serde(rename = "4xx")]
    ClientError,
    /// 500 to 599.
    #[serde(rename = "5xx")]
    ServerError,
}

/// What becomes of a response that cannot be changed.
#[config]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub enum Bad {
    /// It goes to the client as it came.
    #[default]
    Pass,
    /// The client gets 502.
    Fail,
}

fn successes() -> Vec<Class> {
    vec![Class::Success]
}

static REFUSED: Metric = Metric::counter("refused", "Requests that are no JSON, though they say so.", &[]);
static BAD: Metric = Metric::counter("bad_responses", "Responses that are no JSON, though they say so.", &[]);

/// The plugin.
#[derive(Debug)]
pub struct Json {
    request: Changes,
    response: Changes,
    statuses: Vec<Class>,
    bad_response: Bad,
}

#[plugin]
impl Plugin for Json {
    type Config = Config;

    const METRICS: &'static [&'static Metric] = &[&REFUSED, &BAD];

    fn new(config: Config) -> Result<Self, String> {
        Ok(Self {
            request: Changes::new(config.request).map_err(|why| format!("request.{why}"))?,
            response: Changes::new(config.response).map_err(|why| format!("response.{why}"))?,
            statuses: config.statuses,
            bad_response: config.bad_response,
        })
    }

    fn on_request(&self, exchange: &Exchange) -> Decision {
        let headers = exchange.request_headers();
        if !self.response.is_empty() {
            // What is not compressed need not be decompressed.
            noted(headers.set("accept-encoding", "identity"));
        }
        if self.request.is_empty() || exchange.end_of_stream() {
            return Decision::Proceed;
        }
        let [kind, encoding] = headers.select(["content-type", "content-encoding"]);
        if !kind.as_deref().is_some_and(json::is_json) {
            return Decision::Proceed;
        }
        if !is_plain(encoding.as_deref()) {
            REFUSED.add(1, &[]);
            let refusal = Response::problem(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "Unsupported Media Type",
                "The body may have no content coding.",
            );
            return Decision::Respond(refusal.with_header("accept-encoding", "identity"));
        }
        noted(representation::changed(headers));
        match exchange.set_body_mode(Direction::Request, BodyMode::Whole) {
            Ok(()) => Decision::Proceed,
            Err(error) => {
                noted(Err(error));
                Decision::problem(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "Internal Server Error",
                    "The body cannot be read.",
                )
            }
        }
    }

    fn on_request_body(&self, exchange: &Exchange, body: Vec<u8>) -> BodyDecision {
        match json::Value::parse(&body) {
            Ok(mut document) => {
                self.request.make(&mut document, exchange);
                BodyDecision::Replace(document.to_bytes())
            }
            Err(error) => {
                REFUSED.add(1, &[]);
                let detail = format!("The body cannot be read: {error}.");
                BodyDecision::Respond(Response::problem(StatusCode::BAD_REQUEST, "Bad Request", &detail))
            }
        }
    }

    fn on_response(&self, exchange: &Exchange) -> Decision {
        let headers = exchange.response_headers();
        let [kind, encoding] = headers.select(["content-type", "content-encoding"]);
        let is_ours = !self.response.is_empty()
            && exchange.status().is_some_and(|status| self.has(status))
            && !exchange.end_of_stream()
            && exchange.method() != Method::HEAD
            && exchange.status() != Some(StatusCode::PARTIAL_CONTENT)
            && kind.as_deref().is_some_and(json::is_json);
        if !is_ours {
            return Decision::Proceed;
        }
        if !is_plain(encoding.as_deref()) {
            let Some(coding) = encoding.as_deref().and_then(Coding::named) else {
                return self.bad("an unknown coding");
            };
            let taken_off = codec::decompress(Direction::Response, coding, BOUNDS);
            noted(taken_off.and_then(|()| headers.remove("content-encoding")));
        }
        noted(representation::changed(headers));
        noted(exchange.set_body_mode(Direction::Response, BodyMode::Whole));
        Decision::Proceed
    }

    fn on_response_body(&self, exchange: &Exchange, body: Vec<u8>) -> BodyDecision {
        match json::Value::parse(&body) {
            Ok(mut document) => {
                self.response.make(&mut document, exchange);
                BodyDecision::Replace(document.to_bytes())
            }
            Err(error) => match self.bad(&error.to_string()) {
                Decision::Respond(response) => BodyDecision::Respond(response),
                _ => BodyDecision::Pass,
            },
        }
    }
}

impl Json {
    fn has(&self, status: StatusCode) -> bool {
        self.statuses.iter().any(|class| match class {
            Class::Success => status.is_success(),
            Class::Redirection => status.is_redirection(),
            Class::ClientError => status.is_client_error(),
            Class::ServerError => status.is_server_error(),
        })
    }

    fn bad(&self, why: &str) -> Decision {
        BAD.add(1, &[]);
        log::warn("the response cannot be changed", &[("why", why)]);
        match self.bad_response {
            Bad::Pass => Decision::Proceed,
            Bad::Fail => {
                Decision::problem(StatusCode::BAD_GATEWAY, "Bad Gateway", "The upstream's answer could not be read.")
            }
        }
    }
}

fn is_plain(encoding: Option<&str>) -> bool {
    encoding.is_none_or(|encoding| encoding.trim().eq_ignore_ascii_case("identity"))
}

fn noted(changed: Result<(), gatewright_sdk::MutateError>) {
    if let Err(error) = changed {
        log::error("the message was not changed as it should be", &[("why", &error.to_string())]);
    }
}

/// Of a response; how much of it is held is bounded by `limits.body` before that.
const BOUNDS: Bounds = Bounds { bytes: 64 << 20, ratio: 1000 };

#[cfg(test)]
mod tests;
