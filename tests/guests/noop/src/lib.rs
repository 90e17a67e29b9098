//! A request hook that does nothing: what a plugin costs by being there.

use gatewright_sdk::{Decision, Exchange, NoConfig, Plugin, plugin};

/// The guest.
#[derive(Debug)]
pub struct Noop;

#[plugin]
impl Plugin for Noop {
    type Config = NoConfig;

    fn new(_: NoConfig) -> Result<Self, String> {
        Ok(Self)
    }

    fn on_request(&self, _: &Exchange) -> Decision {
        Decision::Proceed
    }
}
