//! `grpc-json` lets REST clients call gRPC servers.
//!
//! A request is matched with the rules of `google.api.http`, its path, query and body become a message, and the call
//! goes to the upstream. The response becomes JSON again: in one piece if there is one message, otherwise message by
//! message as they arrive. Metadata are headers in both directions.

use std::time::Duration;

use gatewright_sdk::{
    BodyDecision, BodyMode, Decision, Direction, Exchange, HeaderBlock, Metric, MutateError, Plugin, Response,
    StatusCode, log, plugin,
};
use gatewright_transcoding::{
    Binding, Code, Found, Method, Query, Refusal, Router, Schema, Verbs, deadline, is_coded, is_grpc, json,
};

mod answer;
mod call;
mod config;
mod message;

use call::{Call, Form};
pub use config::Config;

static REFUSED: Metric = Metric::counter("refused", "Requests that are no call of a method.", &["status"]);
static ENDED: Metric = Metric::counter("calls", "Calls that were made, by the name of their status.", &["code"]);

/// The plugin.
#[derive(Debug)]
pub struct GrpcJson {
    schema: Schema,
    rules: Vec<Binding>,
    /// Leads to positions in `rules`.
    router: Router<u32>,
    verbs: Verbs,
    query: Query,
    json: json::Options,
    base_path: String,
    pass_unknown: bool,
    timeout_header: String,
    timeout: Option<Duration>,
}

/// A call with its rule and its method.
struct Known<'a> {
    call: Call,
    binding: &'a Binding,
    method: &'a Method,
    /// Values of the fields in the path; the response hooks do not need them.
    values: Vec<String>,
}

#[plugin]
impl Plugin for GrpcJson {
    type Config = Config;

    const METRICS: &'static [&'static Metric] = &[&REFUSED, &ENDED];

    fn new(config: Config) -> Result<Self, String> {
        let schema = config.schema()?;
        let (rules, places): (Vec<_>, Vec<_>) = schema
            .bindings()?
            .into_iter()
            .zip(0..)
            .map(|((method, rule), at)| {
                let place = (method, rule.template().clone(), at);
                (rule, place)
            })
            .unzip();
        let verbs = config.verbs();
        Ok(Self {
            schema,
            rules,
            router: Router::new(places, verbs)?,
            verbs,
            query: config.query(),
            json: config.json(),
            base_path: config.base_path,
            pass_unknown: config.pass_unknown,
            timeout_header: config.timeout_header,
            timeout: config.timeout.map(|most| most.0),
        })
    }

    fn on_request(&self, exchange: &Exchange) -> Decision {
        let names = ["content-type", "content-encoding", "accept", &self.timeout_header];
        let [kind, encoding, accept, timeout] = exchange.request_headers().select(names);
        if kind.as_deref().is_some_and(is_grpc) {
            return Decision::Proceed;
        }
        let target = exchange.path();
        let found = self.find(exchange.method().as_str(), &target).and_then(|(rule, values)| {
            let call = Call {
                form: Form::accepted(accept.as_deref()),
                sequence: Default::default(),
                had: false,
                rule,
                target,
                content_type: kind.unwrap_or_default(),
            };
            self.of(call, values).ok_or_else(nothing)
        });
        let known = match found {
            Ok(known) => known,
            Err(_) if self.pass_unknown => return Decision::Proceed,
            Err(refusal) => return refused(&refusal).into(),
        };
        let begun = self.check(&known, encoding.as_deref(), timeout.as_deref());
        match begun.and_then(|timeout| begin(exchange, &known, timeout.as_deref()).map_err(|error| lost(&error))) {
            Ok(()) => Decision::Proceed,
            Err(refusal) => refused(&refusal).into(),
        }
    }

    fn on_request_body(&self, exchange: &Exchange, body: Vec<u8>) -> BodyDecision {
        let Some(known) = self.known_with_values(exchange) else { return BodyDecision::Pass };
        let sent =
            if known.method.client_streams { self.stream(exchange, known, &body) } else { self.frame(&known, &body) };
        match sent {
            Ok(frames) => BodyDecision::Replace(frames),
            Err(refusal) => refused(&refusal).into(),
        }
    }

    fn on_response(&self, exchange: &Exchange) -> Decision {
        match self.known(exchange) {
            Some(known) => self.begin_answer(exchange, &known),
            None => Decision::Proceed,
        }
    }

    fn on_response_body(&self, exchange: &Exchange, body: Vec<u8>) -> BodyDecision {
        match self.known(exchange) {
            Some(known) if known.method.server_streams => self.go_on(exchange, known, &body),
            Some(known) => self.answer(exchange, &known, &body),
            None => BodyDecision::Pass,
        }
    }
}

impl GrpcJson {
    /// The position of the rule for a request, and the values of the fields in its path.
    fn find(&self, method: &str, target: &str) -> Result<(u32, Vec<String>), Refusal> {
        match self.router.find(method, self.path(target).ok_or_else(nothing)?) {
            Found::Rule(at, values) => Ok((*at, values)),
            Found::OtherMethods(methods) => {
                let detail = "This path takes other methods.";
                let refusal = Refusal::new(StatusCode::METHOD_NOT_ALLOWED, Code::Unimplemented, detail);
                Err(Refusal { allow: Some(methods.join(", ")), ..refusal })
            }
            Found::Nothing => Err(nothing()),
        }
    }

    /// The part of a target that the rules see; `None` if it is outside of `base_path`.
    fn path<'target>(&self, target: &'target str) -> Option<&'target str> {
        target.split('?').next()?.strip_prefix(self.base_path.as_str())
    }

    fn of(&self, call: Call, values: Vec<String>) -> Option<Known<'_>> {
        let binding = self.rules.get(call.rule as usize)?;
        let method = self.schema.methods().get(binding.method)?;
        Some(Known { call, binding, method, values })
    }

    /// The call that the request hook made of the exchange.
    fn known(&self, exchange: &Exchange) -> Option<Known<'_>> {
        self.of(Call::of_bytes(&exchange.state())?, Vec::new())
    }

    fn known_with_values(&self, exchange: &Exchange) -> Option<Known<'_>> {
        let known = self.known(exchange)?;
        let values = known.binding.template().matches(self.path(&known.call.target)?, self.verbs)?;
        Some(Known { values, ..known })
    }

    /// Refuses what is wrong before the body is seen. Returns the time limit of the call.
    fn check(
        &self,
        known: &Known<'_>,
        encoding: Option<&str>,
        timeout: Option<&str>,
    ) -> Result<Option<String>, Refusal> {
        if is_coded(encoding) {
            let detail = "The body may have no content coding.";
            return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, Code::InvalidArgument, detail));
        }
        if known.method.client_streams {
            // Otherwise the server would see the call before its first message is refused.
            self.message(known, None, b"")?;
        }
        let asked = timeout.map(|text| {
            let detail = format!("The header {} is no time.", self.timeout_header);
            deadline::parse(text).ok_or_else(|| Refusal::bad(&detail))
        });
        let asked = asked.transpose()?;
        let time = [asked, self.timeout].into_iter().flatten().min();
        Ok(time.map(deadline::text))
    }
}

/// Makes the head of the request that of a call.
fn begin(exchange: &Exchange, known: &Known<'_>, timeout: Option<&str>) -> Result<(), MutateError> {
    exchange.set_state(&known.call.to_bytes())?;
    exchange.set_method(&gatewright_sdk::Method::POST)?;
    exchange.set_path(&known.method.path)?;
    let headers = exchange.request_headers();
    for (name, _) in OF_HTTP.into_iter().zip(headers.select(OF_HTTP)).filter(|(_, value)| value.is_some()) {
        headers.remove(name)?;
    }
    let mut block = HeaderBlock::new();
    block.push("content-type", "application/grpc");
    block.push("grpc-accept-encoding", "identity");
    match timeout {
        Some(timeout) => block.push("grpc-timeout", timeout),
        None => headers.remove("grpc-timeout")?,
    }
    headers.set_all(&block)?;
    let mode = if known.method.client_streams { BodyMode::Chunks } else { BodyMode::Whole };
    exchange.set_body_mode(Direction::Request, mode)
}

fn nothing() -> Refusal {
    Refusal::new(StatusCode::NOT_FOUND, Code::Unimplemented, "There is no such method.")
}

fn refused(refusal: &Refusal) -> Response {
    REFUSED.add(1, &[refusal.status.as_str()]);
    refusal.response()
}

fn lost(error: &MutateError) -> Refusal {
    log::error("the request could not be made a call", &[("why", &error.to_string())]);
    let detail = "The request could not be translated.";
    Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, Code::Internal, detail)
}

/// Headers about the representation that the client sent or wants, which mean nothing to the call.
const OF_HTTP: [&str; 11] = [
    "accept",
    "accept-charset",
    "accept-encoding",
    "content-encoding",
    "content-language",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "range",
];

#[cfg(test)]
mod tests;
