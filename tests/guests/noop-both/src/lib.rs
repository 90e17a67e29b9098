//! A request and a response hook that do nothing.

use gatewright_sdk::{Decision, Exchange, NoConfig, Plugin, plugin};

/// The guest.
#[derive(Debug)]
pub struct NoopBoth;

#[plugin]
impl Plugin for NoopBoth {
    type Config = NoConfig;

    fn new(_: NoConfig) -> Result<Self, String> {
        Ok(Self)
    }

    fn on_request(&self, _: &Exchange) -> Decision {
        Decision::Proceed
    }

    fn on_response(&self, _: &Exchange) -> Decision {
        Decision::Proceed
    }
}
