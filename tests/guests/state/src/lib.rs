//! Carries the request's path to the response in the exchange's state, and counts: in the shared store (`x-count`), and
//! in the instance (`x-instance-count`), which tells a fresh instance from a warm one.

use std::cell::Cell;

use gatewright_sdk::{Decision, Exchange, NoConfig, Plugin, State, plugin, shared_store};

/// The guest.
#[derive(Debug)]
pub struct Stateful {
    requests: Cell<u64>,
}

#[plugin]
impl Plugin for Stateful {
    type Config = NoConfig;

    const STATE: State = State::Instance;

    fn new(_: NoConfig) -> Result<Self, String> {
        Ok(Self { requests: Cell::new(0) })
    }

    fn on_request(&self, exchange: &Exchange) -> Decision {
        self.requests.set(self.requests.get() + 1);
        let count = shared_store::increment("count", 1, None).unwrap_or(-1);
        let kept = format!("{count} {} {}", self.requests.get(), exchange.path());
        let _ = exchange.set_state(kept.as_bytes());
        Decision::Proceed
    }

    fn on_response(&self, exchange: &Exchange) -> Decision {
        let state = exchange.state();
        let kept = String::from_utf8_lossy(&state);
        let headers = exchange.response_headers();
        for (name, value) in ["x-count", "x-instance-count", "x-path"].into_iter().zip(kept.splitn(3, ' ')) {
            let _ = headers.set(name, value);
        }
        Decision::Proceed
    }
}
