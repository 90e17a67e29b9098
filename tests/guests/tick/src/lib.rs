//! Counts its ticks in the shared store and tells the count in the request header `x-ticks`.

use std::time::Duration;

use gatewright_sdk::{Decision, Exchange, Plugin, config, plugin, shared_store, units::Span};

/// When to tick.
#[config]
#[derive(Debug)]
pub struct Config {
    every: Span,
    /// No more ticks after so many.
    stop_after: Option<i64>,
}

/// The guest.
#[derive(Debug)]
pub struct Tick(Config);

#[plugin]
impl Plugin for Tick {
    type Config = Config;

    fn new(config: Config) -> Result<Self, String> {
        Ok(Self(config))
    }

    fn on_request(&self, exchange: &Exchange) -> Decision {
        let ticks = shared_store::get("ticks").map_or_else(|| "0".into(), |entry| entry.value);
        let _ = exchange.request_headers().set("x-ticks", String::from_utf8_lossy(&ticks));
        Decision::Proceed
    }

    fn on_tick(&self) -> Option<Duration> {
        let ticks = shared_store::increment("ticks", 1, None).ok()?;
        let go_on = self.0.stop_after.is_none_or(|last| ticks < last);
        go_on.then_some(self.0.every.0)
    }
}
