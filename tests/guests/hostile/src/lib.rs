//! Does everything a plugin must not do: `{ "do": DEED, "in": HOOK }`.
//!
//! In a hook of an exchange it misbehaves only where the request has the header `x-misbehave`, so the next request
//! shows whether the plugin serves on. What the gateway answered to a refused call is in the attribute `outcome` and,
//! where headers may be changed, in the header `x-outcome`. Needs no grant; what needs one is in `hostile-net`.

use std::time::Duration;

use gatewright_sdk::{BodyDecision, BodyMode, Decision, Direction, Exchange, Metric, Plugin, Response, config, plugin};

mod deed;

pub use deed::Deed;
use deed::Effect;

/// What to do, and where.
#[config]
#[derive(Debug)]
pub struct Config {
    r#do: Deed,
    #[serde(default)]
    r#in: Hook,
    /// How often, or how many bytes, where the deed has such a number.
    count: Option<u64>,
}

/// Where to do it.
#[config]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Hook {
    Configure,
    #[default]
    OnRequest,
    OnRequestBody,
    OnResponse,
    OnResponseBody,
    OnComplete,
    OnTick,
}

pub(crate) static NOISE: Metric = Metric::counter("noise", "Counts what nobody asked for.", &["id"]);

/// The guest.
#[derive(Debug)]
pub struct Hostile(Config);

#[plugin]
impl Plugin for Hostile {
    type Config = Config;

    const METRICS: &'static [&'static Metric] = &[&NOISE];

    fn new(config: Config) -> Result<Self, String> {
        let hostile = Self(config);
        if hostile.0.r#in == Hook::Configure && matches!(hostile.act(None), Effect::Refuse) {
            return Err("refused on purpose\r\n\u{1b}[31m".to_owned());
        }
        Ok(hostile)
    }

    fn on_request(&self, exchange: &Exchange) -> Decision {
        if exchange.request_headers().get("x-misbehave").is_none() {
            return Decision::Proceed;
        }
        let _ = exchange.set_state(&[0]);
        let _ = match self.0.r#in {
            Hook::OnRequestBody => exchange.set_body_mode(Direction::Request, BodyMode::Chunks),
            Hook::OnResponseBody => exchange.set_body_mode(Direction::Response, BodyMode::Chunks),
            _ => Ok(()),
        };
        self.decide(Hook::OnRequest, exchange)
    }

    fn on_request_body(&self, exchange: &Exchange, chunk: Vec<u8>) -> BodyDecision {
        self.decide_body(Hook::OnRequestBody, exchange, chunk)
    }

    fn on_response(&self, exchange: &Exchange) -> Decision {
        self.decide(Hook::OnResponse, exchange)
    }

    fn on_response_body(&self, exchange: &Exchange, chunk: Vec<u8>) -> BodyDecision {
        self.decide_body(Hook::OnResponseBody, exchange, chunk)
    }

    fn on_complete(&self, exchange: &Exchange) {
        if self.is_due(Hook::OnComplete, exchange) {
            let _ = self.act(Some(exchange));
        }
    }

    fn on_tick(&self) -> Option<Duration> {
        if self.0.r#in != Hook::OnTick {
            return None;
        }
        let _ = self.act(None);
        Some(Duration::ZERO)
    }
}

impl Hostile {
    fn is_due(&self, hook: Hook, exchange: &Exchange) -> bool {
        self.0.r#in == hook && !exchange.state().is_empty()
    }

    fn act(&self, exchange: Option<&Exchange>) -> Effect {
        self.0.r#do.run(exchange, self.0.r#in, self.0.count)
    }

    fn decide(&self, hook: Hook, exchange: &Exchange) -> Decision {
        if !self.is_due(hook, exchange) {
            return Decision::Proceed;
        }
        match self.act(Some(exchange)) {
            Effect::Nothing => Decision::Proceed,
            Effect::Refuse => Decision::Abort,
            Effect::Respond(response) => Decision::Respond(response),
            Effect::Bytes(bytes) => Decision::Respond(Response { body: bytes, ..deed::ok() }),
        }
    }

    fn decide_body(&self, hook: Hook, exchange: &Exchange, chunk: Vec<u8>) -> BodyDecision {
        if !self.is_due(hook, exchange) {
            return BodyDecision::Pass;
        }
        match self.0.r#do {
            Deed::Hold => return BodyDecision::Hold,
            Deed::GrowBody => return BodyDecision::Replace([chunk, vec![b'x'; 1 << 20]].concat()),
            Deed::TrapOnThird => return trap_on_third(exchange),
            _ => {}
        }
        match self.act(Some(exchange)) {
            Effect::Nothing => BodyDecision::Pass,
            Effect::Refuse => BodyDecision::Abort,
            Effect::Respond(response) => BodyDecision::Respond(response),
            Effect::Bytes(bytes) => BodyDecision::Replace(bytes),
        }
    }
}

/// Chunks are counted in the exchange's state, so other exchanges of the instance do not matter.
fn trap_on_third(exchange: &Exchange) -> BodyDecision {
    let chunks = exchange.state().first().copied().unwrap_or_default() + 1;
    if chunks == 3 {
        std::process::abort();
    }
    let _ = exchange.set_state(&[chunks]);
    BodyDecision::Pass
}
