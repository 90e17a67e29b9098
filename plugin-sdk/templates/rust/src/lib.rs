//! A door: only requests that know the word are let in.

use gatewright_sdk::{Decision, Exchange, Plugin, StatusCode, config, plugin};

/// What the operator writes.
#[config]
pub struct Config {
    /// The value of `x-word` that opens the door.
    word: String,
}

pub struct Door {
    word: String,
}

#[plugin]
impl Plugin for Door {
    type Config = Config;

    /// Runs once for each instance: compute everything that depends only on the configuration here.
    fn new(config: Config) -> Result<Self, String> {
        if config.word.is_empty() {
            return Err("word: an empty word would open the door to everybody".to_owned());
        }
        Ok(Door { word: config.word })
    }

    /// Runs for each request.
    fn on_request(&self, exchange: &Exchange) -> Decision {
        let headers = exchange.request_headers();
        if headers.get("x-word").is_none_or(|word| word != self.word) {
            return Decision::problem(StatusCode::FORBIDDEN, "Forbidden", "the door stays shut");
        }
        // Hide the word from the servers behind the gateway.
        let _ = headers.remove("x-word");
        let _ = headers.set("x-door", "open");
        Decision::Proceed
    }
}

#[cfg(test)]
mod tests {
    use gatewright_sdk::testing::{Double, Request};

    use super::*;

    #[test]
    fn the_word_opens_the_door() {
        let gateway = Double::new();
        let door: Door = gateway.configure(r#"{ "word": "sesame" }"#).unwrap();
        gateway.receive(Request::get("/").header("x-word", "sesame"));
        assert_eq!(gateway.on_request(&door), Decision::Proceed);
        gateway.receive(Request::get("/"));
        assert!(matches!(gateway.on_request(&door), Decision::Respond(_)));
    }
}
