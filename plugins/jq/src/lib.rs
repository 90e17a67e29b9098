//! `jq` transforms JSON bodies of requests and responses with programs in the language of jq.
//!
//! It is a plugin of its own and not part of `json`: the interpreter is two megabytes of code, which users who only
//! rename a field should not have to load. Programs are compiled once in the life of an instance ([`program`]); their
//! input and output are JSON by the RFC, and not the wider language that jq reads and writes ([`value`]).

use gatewright_sdk::{
    BodyDecision, Decision, Exchange, Metric, Plugin, Response, StatusCode, config, json,
    json_body::{self, BadResponse, JsonBodies, StatusClass},
    log, plugin,
    units::Size,
};

mod program;
mod value;
mod variable;

use program::{Failure, Program};

/// Transforms JSON bodies with jq programs. Bodies of other media types pass unchanged.
#[config]
#[derive(Debug)]
pub struct Config {
    /// The program for request bodies, at most 64 KiB. Default: they stay as they are.
    #[schemars(length(min = 1, max = 65_536))]
    request: Option<String>,
    /// The program for response bodies, at most 64 KiB. Default: they stay as they are.
    #[schemars(length(min = 1, max = 65_536))]
    response: Option<String>,
    /// Which responses are changed: those with a status in one of these classes.
    #[serde(default = "json_body::successes")]
    #[schemars(length(min = 1))]
    statuses: Vec<StatusClass>,
    /// What happens to a response that claims to be JSON but is not, whose coding is unknown, or that is a part of a
    /// body. If the program itself fails, the client always gets 502.
    #[serde(default)]
    bad_response: BadResponse,
    /// The maximum size of a program's result. `limits.transfer` of the plugin bounds it as well.
    #[serde(default = "one_mebibyte")]
    max_size: Size,
}

const fn one_mebibyte() -> Size {
    Size(1 << 20)
}

static FAILURES: Metric =
    Metric::counter("failures", "Bodies that a program made nothing of.", &["direction", "reason"]);

/// The plugin.
#[derive(Debug)]
pub struct Jq {
    bodies: JsonBodies,
    request: Option<Program>,
    response: Option<Program>,
    max_size: usize,
}

#[plugin]
impl Plugin for Jq {
    type Config = Config;

    const METRICS: &'static [&'static Metric] = &[&json_body::REFUSED, &json_body::BAD, &FAILURES];

    fn new(config: Config) -> Result<Self, String> {
        let compiled = |name: &str, code: Option<String>| {
            code.map(|code| Program::compile(&code).map_err(|why| format!("{name}: {why}"))).transpose()
        };
        let (request, response) = (compiled("request", config.request)?, compiled("response", config.response)?);
        if request.is_none() && response.is_none() {
            return Err("one of \"request\" and \"response\" has to be there".to_owned());
        }
        let bodies = JsonBodies {
            request: request.is_some(),
            response: response.is_some(),
            statuses: config.statuses,
            bad_response: config.bad_response,
        };
        Ok(Self { bodies, request, response, max_size: usize::try_from(config.max_size.0).unwrap_or(usize::MAX) })
    }

    fn on_request(&self, exchange: &Exchange) -> Decision {
        self.bodies.on_request(exchange)
    }

    fn on_request_body(&self, exchange: &Exchange, body: Vec<u8>) -> BodyDecision {
        let Some(program) = &self.request else { return BodyDecision::Pass };
        match self.bodies.read_request(&body) {
            Ok(document) => self.made(program, &document, exchange, "request"),
            Err(instead) => instead,
        }
    }

    fn on_response(&self, exchange: &Exchange) -> Decision {
        self.bodies.on_response(exchange)
    }

    fn on_response_body(&self, exchange: &Exchange, body: Vec<u8>) -> BodyDecision {
        let Some(program) = &self.response else { return BodyDecision::Pass };
        match self.bodies.read_response(&body) {
            Ok(document) => self.made(program, &document, exchange, "response"),
            Err(instead) => instead,
        }
    }
}

impl Jq {
    fn made(&self, program: &Program, document: &json::Value, exchange: &Exchange, direction: &str) -> BodyDecision {
        match program.run(document, exchange, self.max_size) {
            Ok(body) => BodyDecision::Replace(body),
            Err(failure) => {
                FAILURES.add(1, &[direction, failure.reason()]);
                if let Failure::Error(words) = &failure
                    && log::enabled(log::Level::Debug)
                {
                    log::debug("a program failed", &[("direction", direction), ("why", words)]);
                }
                BodyDecision::Respond(answer(failure, direction == "request"))
            }
        }
    }
}

/// The response that replaces a body. jq's message contains values of the body, so the client does not get it.
fn answer(failure: Failure, is_request: bool) -> Response {
    match failure {
        Failure::Refused { status, detail } => {
            Response::problem(status, status.canonical_reason().unwrap_or("Refused"), &detail)
        }
        _ if !is_request => {
            Response::problem(StatusCode::BAD_GATEWAY, "Bad Gateway", "The upstream's answer could not be changed.")
        }
        Failure::TooLarge => {
            Response::problem(StatusCode::PAYLOAD_TOO_LARGE, "Content Too Large", "The body becomes too large.")
        }
        _ => Response::problem(StatusCode::BAD_REQUEST, "Bad Request", "The body is not what is expected here."),
    }
}

#[cfg(test)]
mod tests;
