//! `compose` answers a request with the responses of several upstreams.
//!
//! The parts of a response are calls to upstreams that the operator granted. The dependencies between parts are taken
//! from their templates when the plugin is configured, and a part is requested as soon as its dependencies are there:
//! those without any at once. The first required part that fails ends the composition, and calls in progress are
//! cancelled. Nothing is sent before everything is there, so a client sees a whole response or a problem.

use std::time::Duration;

use gatewright_sdk::{
    BodyDecision, BodyMode, Decision, Direction, Exchange, Metric, Plugin, Response, StatusCode, json, log, plugin,
    template::{PathPattern, RequestValues},
};

mod config;
mod plan;
mod run;

pub use config::Config;
use plan::{DEPTH, Plan};
use run::{Composition, problem};

static FAILED: Metric = Metric::counter("failed", "Parts without an answer.", &["part", "reason"]);
static REFUSED: Metric = Metric::counter("refused", "Requests that no part was asked for.", &["reason"]);

/// The plugin.
#[derive(Debug)]
pub struct Compose {
    plan: Plan,
    bounds: Bounds,
}

/// Limits for one composition. Sizes are in bytes.
#[derive(Debug)]
struct Bounds {
    deadline: Duration,
    part_size: usize,
    size: usize,
    request_size: usize,
    depth: u32,
}

#[plugin]
impl Plugin for Compose {
    type Config = Config;

    const METRICS: &'static [&'static Metric] = &[&FAILED, &REFUSED];
    const WANTS: &'static [&'static str] = &["http-client"];

    fn new(config: Config) -> Result<Self, String> {
        let bytes = |size: gatewright_sdk::units::Size| usize::try_from(size.0).unwrap_or(usize::MAX);
        let bounds = Bounds {
            deadline: config.deadline.0,
            part_size: bytes(config.max_part_size),
            size: bytes(config.max_size),
            request_size: bytes(config.max_request_size),
            depth: config.max_depth,
        };
        Ok(Self { plan: Plan::new(&config)?, bounds })
    }

    fn on_request(&self, exchange: &Exchange) -> Decision {
        if !self.plan.reads_body() || exchange.end_of_stream() {
            return self.compose(exchange, None).unwrap_or_else(|refusal| refusal).into();
        }
        // Do not wait for a body that will not be read.
        if let Err(refusal) = self.depth(exchange).and_then(|_| self.segments(exchange)) {
            return refusal.into();
        }
        if !exchange.request_headers().get("content-type").is_some_and(|kind| json::is_json(&kind)) {
            return refused("media-type", StatusCode::UNSUPPORTED_MEDIA_TYPE, "The body has to be JSON.").into();
        }
        if exchange.request_headers().get("content-encoding").is_some() {
            return refused("media-type", StatusCode::UNSUPPORTED_MEDIA_TYPE, "The body may have no content coding.")
                .with_header("accept-encoding", "identity")
                .into();
        }
        match exchange.set_body_mode(Direction::Request, BodyMode::Whole) {
            Ok(()) => Decision::Proceed,
            Err(error) => {
                log::error("the body cannot be read", &[("why", &error.to_string())]);
                problem(StatusCode::INTERNAL_SERVER_ERROR, "The body cannot be read.").into()
            }
        }
    }

    fn on_request_body(&self, exchange: &Exchange, body: Vec<u8>) -> BodyDecision {
        if body.len() > self.bounds.request_size {
            return refused("too-large", StatusCode::PAYLOAD_TOO_LARGE, "The body is too long.").into();
        }
        match json::Value::parse(&body) {
            Ok(body) => self.compose(exchange, Some(body)).unwrap_or_else(|refusal| refusal).into(),
            Err(error) => {
                let detail = format!("The body cannot be read: {error}.");
                refused("malformed", StatusCode::BAD_REQUEST, &detail).into()
            }
        }
    }
}

impl Compose {
    fn compose(&self, exchange: &Exchange, body: Option<json::Value>) -> Result<Response, Response> {
        let depth = self.depth(exchange)?;
        let segments = self.segments(exchange)?;
        let names = self.plan.pattern.as_ref().map_or(&[][..], PathPattern::names);
        let path = names.iter().map(String::as_str).zip(segments);
        let values = RequestValues::read(exchange, &self.plan.roots, path, body);
        Ok(Composition::new(&self.plan, &self.bounds, exchange, depth + 1, values).run())
    }

    /// How many compositions this one is nested in.
    fn depth(&self, exchange: &Exchange) -> Result<u32, Response> {
        let mut deepest = 0;
        for value in exchange.request_headers().values(DEPTH) {
            let depth = std::str::from_utf8(&value).ok().and_then(|depth| depth.parse::<u32>().ok());
            let Some(depth) = depth else {
                let detail = format!("The header {DEPTH:?} is not a number.");
                return Err(refused("malformed", StatusCode::BAD_REQUEST, &detail));
            };
            deepest = depth.max(deepest);
        }
        if deepest >= self.bounds.depth {
            return Err(refused("loop", StatusCode::LOOP_DETECTED, "The composition is within itself too often."));
        }
        Ok(deepest)
    }

    fn segments(&self, exchange: &Exchange) -> Result<Vec<String>, Response> {
        let Some(pattern) = &self.plan.pattern else { return Ok(Vec::new()) };
        let segments = pattern.matches(&exchange.path());
        segments.ok_or_else(|| refused("path", StatusCode::NOT_FOUND, "There is nothing at this path."))
    }
}

fn refused(reason: &str, status: StatusCode, detail: &str) -> Response {
    REFUSED.add(1, &[reason]);
    problem(status, detail)
}

#[cfg(test)]
mod tests;
