//! Sees a whole body at once and writes it in capitals. Its length goes into `x-whole`, which shows that the headers
//! waited.

use gatewright_sdk::{BodyDecision, BodyMode, Decision, Direction, Exchange, Plugin, config, plugin};

/// Which bodies, both unless told otherwise.
#[config]
#[derive(Debug)]
pub struct Config {
    #[serde(default = "yes")]
    request: bool,
    #[serde(default = "yes")]
    response: bool,
}

const fn yes() -> bool {
    true
}

/// The guest.
#[derive(Debug)]
pub struct Whole(Config);

#[plugin]
impl Plugin for Whole {
    type Config = Config;

    fn new(config: Config) -> Result<Self, String> {
        Ok(Self(config))
    }

    fn on_request(&self, exchange: &Exchange) -> Decision {
        if self.0.request {
            let _ = exchange.set_body_mode(Direction::Request, BodyMode::Whole);
        }
        if self.0.response {
            let _ = exchange.set_body_mode(Direction::Response, BodyMode::Whole);
        }
        Decision::Proceed
    }

    fn on_request_body(&self, exchange: &Exchange, body: Vec<u8>) -> BodyDecision {
        let _ = exchange.request_headers().set("x-whole", body.len().to_string());
        BodyDecision::Replace(body.to_ascii_uppercase())
    }

    fn on_response_body(&self, exchange: &Exchange, body: Vec<u8>) -> BodyDecision {
        let _ = exchange.response_headers().set("x-whole", body.len().to_string());
        BodyDecision::Replace(body.to_ascii_uppercase())
    }
}
