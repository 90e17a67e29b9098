//! Does nothing, in Rust.

use gatewright_sdk::{Decision, Exchange, NoConfig, Plugin, plugin};

pub struct Nothing;

#[plugin]
impl Plugin for Nothing {
    type Config = NoConfig;

    fn new(_: NoConfig) -> Result<Self, String> {
        Ok(Nothing)
    }

    fn on_request(&self, _: &Exchange) -> Decision {
        Decision::Proceed
    }
}
