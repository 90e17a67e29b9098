//! Puts the secrets of its configuration into the request header `x-secrets`: their values, or `none` for those that it
//! may not read, with `|` between them.

use gatewright_sdk::{Decision, Exchange, Plugin, config, plugin, secrets};

/// Which secrets.
#[config]
#[derive(Debug)]
pub struct Config {
    names: Vec<String>,
}

/// The guest.
#[derive(Debug)]
pub struct Secret(Config);

#[plugin]
impl Plugin for Secret {
    type Config = Config;

    fn new(config: Config) -> Result<Self, String> {
        Ok(Self(config))
    }

    fn on_request(&self, exchange: &Exchange) -> Decision {
        let values = self.0.names.iter().map(|name| secrets::get(name).unwrap_or_else(|| "none".to_owned()));
        let _ = exchange.request_headers().set("x-secrets", values.collect::<Vec<_>>().join("|"));
        Decision::Proceed
    }
}
