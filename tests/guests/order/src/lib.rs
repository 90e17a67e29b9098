//! Appends its name to `x-order` of the request and of the response, so that the order of hooks can be read off. May
//! answer by itself; the body is then the request's `x-order`.

use gatewright_sdk::{Decision, Exchange, HeaderChange, Plugin, Response, Section, StatusCode, config, log, plugin};

/// Who it is.
#[config]
#[derive(Debug)]
pub struct Config {
    name: String,
    #[serde(default)]
    respond: bool,
    /// A name that it has appended without a hook.
    always: Option<String>,
    /// Whether it logs its name when it is configured.
    #[serde(default)]
    announce: bool,
}

/// The guest.
#[derive(Debug)]
pub struct Order(Config);

#[plugin]
impl Plugin for Order {
    type Config = Config;

    fn new(config: Config) -> Result<Self, String> {
        if config.announce {
            log::error("configured", &[("name", config.name.as_str())]);
        }
        Ok(Self(config))
    }

    fn always(&self) -> Vec<(Section, HeaderChange)> {
        let Some(name) = &self.0.always else { return Vec::new() };
        let append = HeaderChange::Append("x-order".to_owned(), name.clone());
        [Section::RequestHeaders, Section::ResponseHeaders].map(|section| (section, append.clone())).to_vec()
    }

    fn on_request(&self, exchange: &Exchange) -> Decision {
        let headers = exchange.request_headers();
        let _ = headers.append("x-order", &self.0.name);
        if !self.0.respond {
            return Decision::Proceed;
        }
        let order = headers.values("x-order").join(b",".as_slice());
        Response::text(StatusCode::OK, String::from_utf8_lossy(&order)).into()
    }

    fn on_response(&self, exchange: &Exchange) -> Decision {
        let _ = exchange.response_headers().append("x-order", &self.0.name);
        Decision::Proceed
    }
}
