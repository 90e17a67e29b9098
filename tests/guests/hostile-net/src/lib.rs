//! Calls out as no plugin must. What came of it is in the request header `x-outcome`: how many calls went well, and the
//! first error.

use gatewright_sdk::{
    Decision, Exchange, Plugin, config,
    http_client::{self, CallError, Request},
    plugin,
};

/// What to do to which upstream.
#[config]
#[derive(Debug)]
pub struct Config {
    r#do: Deed,
    upstream: String,
    #[serde(default = "ten_thousand")]
    count: usize,
}

/// A misdeed.
#[config]
#[derive(Debug)]
pub enum Deed {
    /// Sends, one after the other.
    Sends,
    /// Sends all at once.
    SendAll,
    /// Sends and never listens.
    Dispatches,
    /// A name with a path, an address, and the like.
    OddNames,
    /// Headers, a method and a path that would be another request.
    Smuggle,
    /// Waits longer than anybody has time.
    LongWait,
    /// Loops after it has waited, so on a fiber.
    LoopAfter,
}

const fn ten_thousand() -> usize {
    10_000
}

/// The guest.
#[derive(Debug)]
pub struct HostileNet(Config);

#[plugin]
impl Plugin for HostileNet {
    type Config = Config;

    fn new(config: Config) -> Result<Self, String> {
        Ok(Self(config))
    }

    fn on_request(&self, exchange: &Exchange) -> Decision {
        let _ = exchange.request_headers().set("x-outcome", self.misbehave());
        Decision::Proceed
    }
}

impl HostileNet {
    fn misbehave(&self) -> String {
        let get = || Request::get(&self.0.upstream, "/");
        let count = self.0.count;
        match self.0.r#do {
            Deed::Sends => tell((0..count).map(|_| get().send().map(drop))),
            Deed::SendAll => {
                tell(http_client::send_all(&vec![get(); count]).into_iter().map(|answer| answer.map(drop)))
            }
            Deed::Dispatches => tell((0..count).map(|_| get().dispatch())),
            Deed::OddNames => tell(ODD_NAMES.into_iter().map(|name| Request::get(name, "/").send().map(drop))),
            Deed::Smuggle => tell(smuggled(&self.0.upstream).into_iter().map(|request| request.send().map(drop))),
            Deed::LongWait => {
                tell([get().with_timeout(std::time::Duration::from_secs(86_400)).send().map(drop)].into_iter())
            }
            Deed::LoopAfter => {
                let _ = get().send();
                loop {
                    std::hint::spin_loop();
                }
            }
        }
    }
}

fn smuggled(upstream: &str) -> Vec<Request> {
    let get = || Request::get(upstream, "/");
    vec![
        get().with_header("x-a", "1\r\n\r\nGET /admin HTTP/1.1\r\nhost: a"),
        get().with_header("x a", "1"),
        get().with_header("transfer-encoding", "chunked"),
        get().with_header("content-length", "1000"),
        Request::get(upstream, "/ HTTP/1.1\r\nx: y"),
        Request::get(upstream, "http://elsewhere/"),
    ]
}

/// Stops at nothing: every answer is asked for.
fn tell(outcomes: impl Iterator<Item = Result<(), CallError>>) -> String {
    let (mut good, mut first) = (0, None);
    for outcome in outcomes {
        match outcome {
            Ok(()) => good += 1,
            Err(error) => drop(first.get_or_insert(error)),
        }
    }
    first.map_or_else(|| format!("{good} ok"), |error| format!("{good} ok, {error:?}"))
}

const ODD_NAMES: [&str; 8] =
    ["", "nowhere", "127.0.0.1:80", "http://169.254.169.254/", "localhost", "../users", "users\0", "unix:/run/x.sock"];
