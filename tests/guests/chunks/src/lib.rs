//! Sees a body chunk by chunk: passes it, holds it back, replaces it, or cuts it off.

use gatewright_sdk::{
    BodyDecision, BodyMode, Decision, Direction, Exchange, Plugin, Response, StatusCode, config, plugin,
};

/// What becomes of the chunks, in both directions unless told otherwise.
#[config]
#[derive(Debug)]
pub struct Config {
    r#do: Deed,
    #[serde(default = "yes")]
    request: bool,
    #[serde(default = "yes")]
    response: bool,
}

/// What becomes of a chunk.
#[config]
#[derive(Debug)]
pub enum Deed {
    /// It goes on as it is.
    Pass,
    /// All are held until the last.
    Hold,
    /// All are held until the last, and then it goes on how often this was called, and with how many bytes.
    Count,
    /// It goes on in capitals.
    Upper,
    /// It goes on twice.
    Double,
    /// Nothing goes on.
    Swallow,
    /// The client gets a 422 instead.
    Respond,
    /// The stream is reset.
    Abort,
}

const fn yes() -> bool {
    true
}

/// The guest.
#[derive(Debug)]
pub struct Chunks(Config);

#[plugin]
impl Plugin for Chunks {
    type Config = Config;

    fn new(config: Config) -> Result<Self, String> {
        Ok(Self(config))
    }

    fn on_request(&self, exchange: &Exchange) -> Decision {
        if self.0.request {
            let _ = exchange.set_body_mode(Direction::Request, BodyMode::Chunks);
        }
        if self.0.response {
            let _ = exchange.set_body_mode(Direction::Response, BodyMode::Chunks);
        }
        Decision::Proceed
    }

    fn on_request_body(&self, exchange: &Exchange, chunk: Vec<u8>) -> BodyDecision {
        self.decide(exchange, chunk)
    }

    fn on_response_body(&self, exchange: &Exchange, chunk: Vec<u8>) -> BodyDecision {
        self.decide(exchange, chunk)
    }
}

impl Chunks {
    fn decide(&self, exchange: &Exchange, chunk: Vec<u8>) -> BodyDecision {
        match self.0.r#do {
            Deed::Pass => BodyDecision::Pass,
            Deed::Hold if exchange.end_of_stream() => BodyDecision::Pass,
            Deed::Hold => BodyDecision::Hold,
            Deed::Count => count(exchange, chunk.len()),
            Deed::Upper => BodyDecision::Replace(chunk.to_ascii_uppercase()),
            Deed::Double => BodyDecision::Replace([chunk.as_slice(), chunk.as_slice()].concat()),
            Deed::Swallow => BodyDecision::Replace(Vec::new()),
            Deed::Respond => Response::text(StatusCode::UNPROCESSABLE_ENTITY, "not this body").into(),
            Deed::Abort => BodyDecision::Abort,
        }
    }
}

fn count(exchange: &Exchange, bytes: usize) -> BodyDecision {
    let state = String::from_utf8(exchange.state()).unwrap_or_default();
    let (calls, seen) = state.split_once(' ').unwrap_or(("0", "0"));
    let add = |text: &str, more: usize| text.parse().map_or(more, |number: usize| number + more);
    let counted = format!("{} {}", add(calls, 1), add(seen, bytes));
    if exchange.end_of_stream() {
        return BodyDecision::Replace(counted.into_bytes());
    }
    match exchange.set_state(counted.as_bytes()) {
        Ok(()) => BodyDecision::Hold,
        Err(_) => BodyDecision::Abort,
    }
}
