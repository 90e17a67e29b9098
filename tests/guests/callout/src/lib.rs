//! Calls the upstreams of its configuration and tells what they said in the request header `x-callout`: for each
//! `STATUS:BODY` or the name of the error, with `|` between them.

use std::time::Duration;

use gatewright_sdk::{
    Decision, Exchange, Plugin, config,
    http_client::{self, CallError, Request, Response},
    plugin,
    units::Span,
};

/// Whom to call and how.
#[config]
#[derive(Debug)]
pub struct Config {
    upstreams: Vec<String>,
    how: How,
    #[serde(default = "root")]
    path: String,
    /// Sent by POST where it is given.
    body: Option<String>,
    #[serde(default = "a_second")]
    timeout: Span,
}

/// How to call.
#[config]
#[derive(Debug)]
pub enum How {
    /// One after the other.
    Send,
    /// All at once.
    SendAll,
    /// Without waiting.
    Dispatch,
    /// All at once, and the first that is done.
    Race,
}

fn root() -> String {
    "/".to_owned()
}

const fn a_second() -> Span {
    Span(Duration::from_secs(1))
}

/// The guest.
#[derive(Debug)]
pub struct Callout {
    how: How,
    requests: Vec<Request>,
}

#[plugin]
impl Plugin for Callout {
    type Config = Config;

    const WANTS: &'static [&'static str] = &["http-client"];

    fn new(config: Config) -> Result<Self, String> {
        let request = |upstream: &String| match &config.body {
            Some(body) => Request::post(upstream, &config.path, body.as_str()),
            None => Request::get(upstream, &config.path),
        };
        let requests = config
            .upstreams
            .iter()
            .map(|upstream| request(upstream).with_header("x-from", "guest-callout").with_timeout(config.timeout.0));
        Ok(Self { requests: requests.collect(), how: config.how })
    }

    fn on_request(&self, exchange: &Exchange) -> Decision {
        let told: Vec<String> = match self.how {
            How::Send => self.requests.iter().map(|request| tell(request.send())).collect(),
            How::SendAll => http_client::send_all(&self.requests).into_iter().map(tell).collect(),
            How::Race => {
                let refused = self.requests.iter().filter_map(|request| request.start().err());
                let mut told: Vec<String> = refused.map(|error| name(&error).to_owned()).collect();
                told.extend(http_client::next().map(|(number, answer)| format!("{number}:{}", tell(answer))));
                told
            }
            How::Dispatch => self.requests.iter().map(|request| tell_sent(request.dispatch())).collect(),
        };
        let _ = exchange.request_headers().set("x-callout", told.join("|"));
        Decision::Proceed
    }
}

fn tell(answer: Result<Response, CallError>) -> String {
    match answer {
        Ok(response) => format!("{}:{}", response.status.as_u16(), String::from_utf8_lossy(&response.body)),
        Err(error) => name(&error).to_owned(),
    }
}

fn tell_sent(sent: Result<(), CallError>) -> String {
    sent.map_or_else(|error| name(&error), |()| "sent").to_owned()
}

const fn name(error: &CallError) -> &'static str {
    match error {
        CallError::UnknownUpstream => "unknown-upstream",
        CallError::TimedOut => "timed-out",
        CallError::ConnectionFailed(_) => "connection-failed",
        CallError::ResponseTooLarge => "response-too-large",
        CallError::LimitExceeded => "limit-exceeded",
        CallError::Other(_) => "other",
    }
}
