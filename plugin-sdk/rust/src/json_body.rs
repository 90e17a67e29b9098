//! What plugins that change JSON bodies have in common: which bodies they look at, how these are read, and what happens
//! to a body that cannot be read.
//!
//! A body is held whole. A request that claims to be JSON but is not is refused, so the upstream never sees a body that
//! the plugin did not understand. A response that is not JSON passes unchanged, or is replaced by a 502.

use http::{Method, StatusCode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::codec::{self, Bounds, Coding};
use crate::{BodyDecision, BodyMode, Decision, Direction, Exchange, Metric, Response, json, log, representation};

/// Which bodies are changed.
#[derive(Clone, Debug)]
pub struct JsonBodies {
    /// Whether bodies of requests are changed.
    pub request: bool,
    /// Whether bodies of responses are changed.
    pub response: bool,
    /// Only responses with a status in one of these classes are changed.
    pub statuses: Vec<StatusClass>,
    /// What happens to a response that claims to be JSON but is not, whose coding is not known, or that is a part
    /// of a body.
    pub bad_response: BadResponse,
}

/// A class of status codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub enum StatusClass {
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

/// What happens to a response that cannot be changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum BadResponse {
    /// It is passed to the client unchanged.
    #[default]
    Pass,
    /// The client gets 502.
    Fail,
}

/// Requests that were refused. Listed in [`crate::Plugin::METRICS`].
pub static REFUSED: Metric = Metric::counter("refused", "Requests that are no JSON, though they say so.", &[]);
/// Responses that could not be read. Listed in [`crate::Plugin::METRICS`].
pub static BAD: Metric = Metric::counter("bad_responses", "Responses that are no JSON, though they say so.", &[]);

/// The default of `statuses`.
#[must_use]
pub fn successes() -> Vec<StatusClass> {
    vec![StatusClass::Success]
}

impl JsonBodies {
    /// The request hook: asks for the body if it is JSON.
    pub fn on_request(&self, exchange: &Exchange) -> Decision {
        let headers = exchange.request_headers();
        if self.response {
            // Asks the upstream for a response that need not be decompressed.
            log::noted(headers.set("accept-encoding", "identity"));
            log::noted(representation::asked_whole(headers));
        }
        if !self.request || exchange.end_of_stream() {
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
        log::noted(representation::changed(headers));
        match exchange.set_body_mode(Direction::Request, BodyMode::Whole) {
            Ok(()) => Decision::Proceed,
            Err(error) => {
                log::noted(Err(error));
                Decision::problem(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "Internal Server Error",
                    "The body cannot be read.",
                )
            }
        }
    }

    /// The response hook: asks for the body if it is JSON and its status is one to change. A part of a body cannot be
    /// changed; the request hook asked for none.
    pub fn on_response(&self, exchange: &Exchange) -> Decision {
        let headers = exchange.response_headers();
        let [kind, encoding] = headers.select(["content-type", "content-encoding"]);
        let is_head = exchange.method() == Method::HEAD;
        let kind = kind.unwrap_or_default();
        let is_ours = self.response
            && exchange.status().is_some_and(|status| self.has(status))
            && (is_head || !exchange.end_of_stream())
            && (json::is_json(&kind) || has_parts(&kind));
        if !is_ours {
            return Decision::Proceed;
        }
        if has_parts(&kind) || representation::is_part(exchange) {
            return self.bad("it is a part of a body");
        }
        if !is_plain(encoding.as_deref()) {
            let Some(coding) = encoding.as_deref().and_then(Coding::named) else {
                return self.bad("an unknown coding");
            };
            let taken_off = codec::decompress(Direction::Response, coding, BOUNDS);
            log::noted(taken_off.and_then(|()| headers.remove("content-encoding")));
        }
        log::noted(representation::changed_response(exchange));
        if !is_head {
            log::noted(exchange.set_body_mode(Direction::Response, BodyMode::Whole));
        }
        Decision::Proceed
    }

    /// Parses a request's body.
    ///
    /// # Errors
    /// The decision for a body that is not JSON.
    pub fn read_request(&self, body: &[u8]) -> Result<json::Value, BodyDecision> {
        json::Value::parse(body).map_err(|error| {
            REFUSED.add(1, &[]);
            let detail = format!("The body cannot be read: {error}.");
            BodyDecision::Respond(Response::problem(StatusCode::BAD_REQUEST, "Bad Request", &detail))
        })
    }

    /// Parses a response's body.
    ///
    /// # Errors
    /// The decision for a body that is not JSON.
    pub fn read_response(&self, body: &[u8]) -> Result<json::Value, BodyDecision> {
        json::Value::parse(body).map_err(|error| match self.bad(&error.to_string()) {
            Decision::Respond(response) => BodyDecision::Respond(response),
            _ => BodyDecision::Pass,
        })
    }

    fn has(&self, status: StatusCode) -> bool {
        self.statuses.iter().any(|class| match class {
            StatusClass::Success => status.is_success(),
            StatusClass::Redirection => status.is_redirection(),
            StatusClass::ClientError => status.is_client_error(),
            StatusClass::ServerError => status.is_server_error(),
        })
    }

    fn bad(&self, why: &str) -> Decision {
        BAD.add(1, &[]);
        log::warn("the response cannot be changed", &[("why", why)]);
        match self.bad_response {
            BadResponse::Pass => Decision::Proceed,
            BadResponse::Fail => {
                Decision::problem(StatusCode::BAD_GATEWAY, "Bad Gateway", "The upstream's answer could not be read.")
            }
        }
    }
}

/// Whether this is the type of several parts of a body (RFC 9110 section 14.6).
fn has_parts(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("multipart/byteranges")
}

fn is_plain(encoding: Option<&str>) -> bool {
    encoding.is_none_or(|encoding| encoding.trim().eq_ignore_ascii_case("identity"))
}

/// Limits for a decompressed response; `limits.body` bounds the held bytes before these do.
pub const BOUNDS: Bounds = Bounds { bytes: 64 << 20, ratio: 1000 };
