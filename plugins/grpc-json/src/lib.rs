//! `grpc-json` lets REST clients call gRPC servers.
//!
//! A request is found among the rules of `google.api.http`, its path, query and body become a message, and the call goes to
//! the upstream. The answer becomes JSON again: at once where there is one message, else message by message as they come.
//! Metadata are headers both ways.

use gatewright_sdk::{
    BodyDecision, BodyMode, Decision, Direction, Exchange, HeaderBlock, Metric, MutateError, Plugin, Response,
    StatusCode, log, plugin,
};
use gatewright_transcoding::{
    Binding, Code, Found, Method, Query, Refusal, Router, Schema, deadline, is_coded, is_grpc, json,
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
    config: Config,
    schema: Schema,
    router: Router<Binding>,
    query: Query,
    json: json::Options,
}

/// A call with the rule and the method that it is for.
struct Known<'a> {
    call: Call,
    binding: &'a Binding,
    method: &'a Method,
    /// Of the fields in the path.
    values: Vec<String>,
}

#[plugin]
impl Plugin for GrpcJson {
    type Config = Config;

    const METRICS: &'static [&'static Metric] = &[&REFUSED, &ENDED];

    fn new(config: Config) -> Result<Self, String> {
        let schema = config.schema()?;
        let router = schema.router(config.verbs())?;
        Ok(Self { schema, router, query: config.query(), json: config.json(), config })
    }

    fn on_request(&self, exchange: &Exchange) -> Decision {
        let names = ["content-type", "content-encoding", "accept", &self.config.timeout_header];
        let [kind, encoding, accept, timeout] = exchange.request_headers().select(names);
        if kind.as_deref().is_some_and(is_grpc) {
            return Decision::Proceed;
        }
        let call = Call {
            form: Form::accepted(accept.as_deref()),
            sequence: Default::default(),
            had: false,
            method: exchange.method().to_string(),
            target: exchange.path(),
            content_type: kind.unwrap_or_default(),
        };
        let known = match self.find(call) {
            Ok(known) => known,
            Err(_) if self.config.pass_unknown => return Decision::Proceed,
            Err(refusal) => return refused(&refusal).into(),
        };
        let begun = self.check(&known, encoding.as_deref(), timeout.as_deref());
        match begun.and_then(|timeout| begin(exchange, &known, timeout.as_deref()).map_err(|error| lost(&error))) {
            Ok(()) => Decision::Proceed,
            Err(refusal) => refused(&refusal).into(),
        }
    }

    fn on_request_body(&self, exchange: &Exchange, body: Vec<u8>) -> BodyDecision {
        let Some(known) = self.known(exchange) else { return BodyDecision::Pass };
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
    fn find(&self, call: Call) -> Result<Known<'_>, Refusal> {
        let path = call.target.split('?').next().unwrap_or_default();
        let nothing = || Refusal::new(StatusCode::NOT_FOUND, Code::Unimplemented, "There is no such method.");
        let path = path.strip_prefix(self.config.base_path.as_str()).ok_or_else(nothing)?;
        match self.router.find(&call.method, path) {
            Found::Rule(binding, values) => {
                let method = self.schema.methods().get(binding.method).ok_or_else(nothing)?;
                Ok(Known { call, binding, method, values })
            }
            Found::OtherMethods(methods) => {
                let detail = "This path takes other methods.";
                let refusal = Refusal::new(StatusCode::METHOD_NOT_ALLOWED, Code::Unimplemented, detail);
                Err(Refusal { allow: Some(methods.join(", ")), ..refusal })
            }
            Found::Nothing => Err(nothing()),
        }
    }

    /// The call that the exchange became in its request hook.
    fn known(&self, exchange: &Exchange) -> Option<Known<'_>> {
        self.find(Call::of_bytes(&exchange.state())?).ok()
    }

    /// Refuses what is wrong before the body is seen. The answer is the time that the call has.
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
            // The server would hear of it before the first message does not fit.
            self.message(known, None, b"")?;
        }
        let asked = timeout.map(|text| {
            let detail = format!("The header {} is no time.", self.config.timeout_header);
            deadline::parse(text).ok_or_else(|| Refusal::bad(&detail))
        });
        let asked = asked.transpose()?;
        let most = self.config.timeout.map(|most| most.0);
        let time = [asked, most].into_iter().flatten().min();
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

fn refused(refusal: &Refusal) -> Response {
    REFUSED.add(1, &[refusal.status.as_str()]);
    refusal.response()
}

fn lost(error: &MutateError) -> Refusal {
    log::error("the request could not be made a call", &[("why", &error.to_string())]);
    let detail = "The request could not be translated.";
    Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, Code::Internal, detail)
}

/// Headers that are about the representation that the client sent or wants, and mean nothing to the call.
const OF_HTTP: [&str; 10] = [
    "accept",
    "accept-charset",
    "accept-encoding",
    "content-encoding",
    "content-language",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-unmodified-since",
    "range",
];

#[cfg(test)]
mod tests;
