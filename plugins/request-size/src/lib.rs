//! `request-size` refuses request bodies that are too large.
//!
//! A declared length is trusted, because the gateway's framing enforces it: such a body is judged before a byte of it
//! is read, and then passes untouched. Only a body without a declared length is counted on its way, chunk by chunk; the
//! count is in the exchange's state, so any instance can continue it.

use gatewright_sdk::{
    BodyDecision, BodyMode, Decision, Direction, Exchange, Metric, Plugin, Response, StatusCode, config, log, plugin,
    units::Size,
};

/// Refuses request bodies that are too large.
#[config]
#[derive(Debug)]
pub struct Config {
    /// The maximum body size, such as `"1MiB"`; `"0B"` allows none.
    limit: Size,
    /// Whether a body must declare its length with `Content-Length`; one that does not is answered with 411.
    #[serde(default)]
    require_length: bool,
}

static REFUSED: Metric = Metric::counter("refused", "Requests whose body is too large.", &["reason"]);

/// The plugin.
#[derive(Debug)]
pub struct RequestSize {
    limit_bytes: u64,
    require_length: bool,
    too_large: Response,
    no_length: Response,
}

#[plugin]
impl Plugin for RequestSize {
    type Config = Config;

    const METRICS: &'static [&'static Metric] = &[&REFUSED];

    fn new(config: Config) -> Result<Self, String> {
        let detail = format!("The body may have {} bytes at most.", config.limit.0);
        Ok(Self {
            limit_bytes: config.limit.0,
            require_length: config.require_length,
            too_large: Response::problem(StatusCode::PAYLOAD_TOO_LARGE, "Content Too Large", &detail),
            no_length: Response::problem(
                StatusCode::LENGTH_REQUIRED,
                "Length Required",
                "The body must declare its length with Content-Length.",
            ),
        })
    }

    fn on_request(&self, exchange: &Exchange) -> Decision {
        if exchange.end_of_stream() {
            return Decision::Proceed;
        }
        let declared = exchange.request_headers().get("content-length").and_then(|length| length.parse::<u64>().ok());
        match declared {
            Some(length) if length <= self.limit_bytes => Decision::Proceed,
            Some(_) => Decision::Respond(self.refuse("declared")),
            None if self.require_length => {
                REFUSED.add(1, &["no-length"]);
                Decision::Respond(self.no_length.clone())
            }
            None => match exchange.set_body_mode(Direction::Request, BodyMode::Chunks) {
                Ok(()) => Decision::Proceed,
                Err(error) => {
                    log::error("the body cannot be counted", &[("why", &error.to_string())]);
                    Decision::Respond(self.refuse("uncounted"))
                }
            },
        }
    }

    fn on_request_body(&self, exchange: &Exchange, chunk: Vec<u8>) -> BodyDecision {
        let before = <[u8; 8]>::try_from(exchange.state()).map_or(0, u64::from_le_bytes);
        let so_far = before.saturating_add(chunk.len() as u64);
        if so_far > self.limit_bytes {
            return BodyDecision::Respond(self.refuse("streamed"));
        }
        match exchange.set_state(&so_far.to_le_bytes()) {
            Ok(()) => BodyDecision::Pass,
            Err(error) => {
                log::error("the body cannot be counted", &[("why", &error.to_string())]);
                BodyDecision::Respond(self.refuse("uncounted"))
            }
        }
    }
}

impl RequestSize {
    fn refuse(&self, reason: &str) -> Response {
        REFUSED.add(1, &[reason]);
        self.too_large.clone()
    }
}

#[cfg(test)]
mod tests;
