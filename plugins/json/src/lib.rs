//! `json` changes the fields of JSON bodies, on the way to the upstream and back.
//!
//! A body is held whole, changed in the order of the configuration, and written again; everything else stays as it was,
//! digit by digit. The SDK's [`json_body`] defines which bodies are changed, and what happens to those that cannot be.

use gatewright_sdk::{
    BodyDecision, Decision, Exchange, Metric, Plugin, config, json,
    json_body::{self, BadResponse, JsonBodies, StatusClass},
    plugin,
};

mod change;

pub use change::Change;
use change::Changes;

/// Changes the fields of JSON bodies. Bodies of other media types pass unchanged.
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
    #[serde(default = "json_body::successes")]
    #[schemars(length(min = 1))]
    statuses: Vec<StatusClass>,
    /// What happens to a response that claims to be JSON but is not, whose coding is unknown, or that is a part of a
    /// body.
    #[serde(default)]
    bad_response: BadResponse,
}

/// The plugin.
#[derive(Debug)]
pub struct Json {
    bodies: JsonBodies,
    request: Changes,
    response: Changes,
}

#[plugin]
impl Plugin for Json {
    type Config = Config;

    const METRICS: &'static [&'static Metric] = &[&json_body::REFUSED, &json_body::BAD];

    fn new(config: Config) -> Result<Self, String> {
        let request = Changes::new(config.request).map_err(|why| format!("request.{why}"))?;
        let response = Changes::new(config.response).map_err(|why| format!("response.{why}"))?;
        let bodies = JsonBodies {
            request: !request.is_empty(),
            response: !response.is_empty(),
            statuses: config.statuses,
            bad_response: config.bad_response,
        };
        Ok(Self { bodies, request, response })
    }

    fn on_request(&self, exchange: &Exchange) -> Decision {
        self.bodies.on_request(exchange)
    }

    fn on_request_body(&self, exchange: &Exchange, body: Vec<u8>) -> BodyDecision {
        changed(self.bodies.read_request(&body), &self.request, exchange)
    }

    fn on_response(&self, exchange: &Exchange) -> Decision {
        self.bodies.on_response(exchange)
    }

    fn on_response_body(&self, exchange: &Exchange, body: Vec<u8>) -> BodyDecision {
        changed(self.bodies.read_response(&body), &self.response, exchange)
    }
}

fn changed(read: Result<json::Value, BodyDecision>, changes: &Changes, exchange: &Exchange) -> BodyDecision {
    match read {
        Ok(mut document) => {
            changes.make(&mut document, exchange);
            BodyDecision::Replace(document.to_bytes())
        }
        Err(instead) => instead,
    }
}

#[cfg(test)]
mod tests;
