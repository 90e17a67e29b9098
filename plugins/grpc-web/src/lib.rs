//! `grpc-web` lets browsers call gRPC servers: gRPC-Web in both its forms, and the Connect protocol for calls with one message
//! each way.
//!
//! Messages go through as they are, but for Connect in JSON, which needs to know their types.

use std::{collections::BTreeMap, time::Duration};

use gatewright_sdk::{
    BodyDecision, BodyMode, Decision, Direction, Exchange, Metric, MutateError, Plugin, Response, StatusCode, config,
    log, plugin,
};
use gatewright_transcoding::{Code, Method, Refusal, Schema, Sources, deadline, is_coded, is_grpc};

mod connect;
mod web;

/// Lets gRPC-Web and Connect clients call gRPC servers.
#[config]
#[derive(Debug)]
pub struct Config {
    /// Whether Connect is supported as well.
    #[serde(default = "yes")]
    connect: bool,
    /// The services as a `FileDescriptorSet` with all imports, in base64: `"${base64:shop.pb}"`. Connect in JSON
    /// requires it, or `protos`.
    descriptor_set: Option<String>,
    /// The services as `.proto` files, under the names by which they import each other: `{ "shop.proto":
    /// "${file:shop.proto}" }`.
    #[serde(default)]
    protos: BTreeMap<String, String>,
}

const fn yes() -> bool {
    true
}

static CALLS: Metric = Metric::counter("calls", "Calls that were translated, by protocol.", &["protocol"]);

/// The plugin.
#[derive(Debug)]
pub struct GrpcWeb {
    connect: bool,
    schema: Option<Schema>,
}

/// The client's protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Speech {
    Web,
    /// In base64.
    WebText,
    Connect,
    ConnectJson,
}

#[plugin]
impl Plugin for GrpcWeb {
    type Config = Config;

    const METRICS: &'static [&'static Metric] = &[&CALLS];

    fn new(config: Config) -> Result<Self, String> {
        let sources =
            Sources { descriptor_set: config.descriptor_set.as_deref(), protos: &config.protos, services: &[] };
        let has_types = config.descriptor_set.is_some() || !config.protos.is_empty();
        let schema = has_types.then(|| Schema::new(sources)).transpose()?;
        Ok(Self { connect: config.connect, schema })
    }

    fn on_request(&self, exchange: &Exchange) -> Decision {
        let [kind, version] = exchange.request_headers().select(["content-type", "connect-protocol-version"]);
        let Some(speech) = self.speech(exchange, kind.as_deref(), version.is_some()) else { return Decision::Proceed };
        CALLS.add(1, &[speech.name()]);
        let time = self.check(exchange, speech);
        match time.and_then(|time| begin(exchange, speech, time).map_err(|error| lost(&error))) {
            Ok(()) => Decision::Proceed,
            Err(refusal) => refused(exchange, speech, &refusal).into(),
        }
    }

    fn on_request_body(&self, exchange: &Exchange, body: Vec<u8>) -> BodyDecision {
        let Some(speech) = Speech::kept(exchange) else { return BodyDecision::Pass };
        let sent = match speech {
            Speech::Web => return BodyDecision::Pass,
            Speech::WebText => web::decoded(&body),
            Speech::Connect | Speech::ConnectJson => self.framed(exchange, speech, &body),
        };
        match sent {
            Ok(frames) => BodyDecision::Replace(frames),
            Err(refusal) => refused(exchange, speech, &refusal).into(),
        }
    }

    fn on_response(&self, exchange: &Exchange) -> Decision {
        let Some(speech) = Speech::kept(exchange) else { return Decision::Proceed };
        let kind = exchange.response_headers().get("content-type").unwrap_or_default();
        let begun = match speech {
            _ if kind.starts_with("application/problem+json") => Ok(gateways_own(exchange, speech).into()),
            // From a proxy in front of the server, from another plugin or from this one: clients understand its status.
            _ if !is_grpc(&kind) => {
                log::noted(exchange.set_body_mode(Direction::Response, BodyMode::Skip));
                return Decision::Proceed;
            }
            Speech::Web | Speech::WebText => web::begin(exchange, speech),
            Speech::Connect | Speech::ConnectJson => self.begin_answer(exchange, speech),
        };
        let decision = begun.unwrap_or_else(|error| lost(&error).response().into());
        if decision != Decision::Proceed {
            // The body is complete already.
            log::noted(exchange.set_body_mode(Direction::Response, BodyMode::Skip));
        }
        decision
    }

    fn on_response_body(&self, exchange: &Exchange, body: Vec<u8>) -> BodyDecision {
        match Speech::kept(exchange) {
            Some(speech @ (Speech::Web | Speech::WebText)) => web::go_on(exchange, speech, body),
            Some(speech) => self.answer(exchange, speech, &body),
            None => BodyDecision::Pass,
        }
    }
}

impl GrpcWeb {
    fn speech(&self, exchange: &Exchange, kind: Option<&str>, says_connect: bool) -> Option<Speech> {
        let kind = kind?.split(';').next()?.trim().to_ascii_lowercase();
        match kind.as_str() {
            "application/grpc-web" | "application/grpc-web+proto" => Some(Speech::Web),
            "application/grpc-web-text" | "application/grpc-web-text+proto" => Some(Speech::WebText),
            _ if !self.connect || exchange.method() != gatewright_sdk::Method::POST => None,
            "application/proto" => Some(Speech::Connect),
            "application/json" if says_connect || self.method(exchange).is_some() => Some(Speech::ConnectJson),
            _ => None,
        }
    }

    fn method(&self, exchange: &Exchange) -> Option<&Method> {
        let path = exchange.path();
        let path = path.split('?').next().unwrap_or_default();
        Some(self.schema.as_ref()?.method(path)?.1)
    }

    /// Refuses what is wrong before the body is seen. Returns the time limit of a Connect call.
    fn check(&self, exchange: &Exchange, speech: Speech) -> Result<Option<Duration>, Refusal> {
        let [encoding, milliseconds] = exchange.request_headers().select(["content-encoding", "connect-timeout-ms"]);
        if is_coded(encoding.as_deref()) {
            let detail = "The body may have no content coding.";
            return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, Code::Unimplemented, detail));
        }
        if speech == Speech::ConnectJson && self.method(exchange).is_none() {
            let detail = "The gateway does not know the types of this method, which JSON needs.";
            return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, Code::Unimplemented, detail));
        }
        let time = milliseconds.filter(|_| speech.is_connect()).map(|text| {
            let text = text.trim();
            let is_number = (1..=10).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
            let time = text.parse().ok().filter(|_| is_number).map(Duration::from_millis);
            time.ok_or_else(|| Refusal::bad("The header connect-timeout-ms is no time."))
        });
        time.transpose()
    }
}

impl Speech {
    /// What the request hook has kept.
    fn kept(exchange: &Exchange) -> Option<Self> {
        match exchange.state().as_slice() {
            [0] => Some(Self::Web),
            [1] => Some(Self::WebText),
            [2] => Some(Self::Connect),
            [3] => Some(Self::ConnectJson),
            _ => None,
        }
    }

    const fn is_connect(self) -> bool {
        matches!(self, Self::Connect | Self::ConnectJson)
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Web => "grpc-web",
            Self::WebText => "grpc-web-text",
            Self::Connect => "connect",
            Self::ConnectJson => "connect-json",
        }
    }

    const fn content_type(self) -> &'static str {
        match self {
            Self::Web => "application/grpc-web+proto",
            Self::WebText => "application/grpc-web-text+proto",
            Self::Connect => "application/proto",
            Self::ConnectJson => "application/json",
        }
    }
}

/// Makes the head of the request that of a gRPC call.
fn begin(exchange: &Exchange, speech: Speech, time: Option<Duration>) -> Result<(), MutateError> {
    exchange.set_state(&[speech as u8])?;
    let headers = exchange.request_headers();
    for name in ["connect-protocol-version", "connect-timeout-ms", "accept-encoding", "x-grpc-web"] {
        headers.remove(name)?;
    }
    headers.set("content-type", "application/grpc+proto")?;
    headers.set("grpc-accept-encoding", "identity")?;
    if let Some(time) = time {
        headers.set("grpc-timeout", deadline::text(time))?;
    }
    if speech != Speech::Web {
        exchange.set_body_mode(Direction::Request, BodyMode::Whole)?;
    }
    let mode = if speech.is_connect() { BodyMode::Whole } else { BodyMode::Chunks };
    exchange.set_body_mode(Direction::Response, mode)
}

/// The response to a request that is not a call.
fn refused(exchange: &Exchange, speech: Speech, refusal: &Refusal) -> Response {
    if speech.is_connect() {
        return connect::refused(refusal);
    }
    web::failed(exchange, speech, &gatewright_transcoding::Status::new(refusal.code, &refusal.detail))
}

/// An error of the gateway or of another plugin, in the form of the protocol. The text in a problem's body has not
/// arrived yet.
fn gateways_own(exchange: &Exchange, speech: Speech) -> Response {
    let status = exchange.status().unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let phrase = status.canonical_reason().unwrap_or_default();
    let code = match status.as_u16() {
        400 | 500 => Code::Internal,
        404 => Code::Unimplemented,
        431 => Code::ResourceExhausted,
        429 => Code::Unavailable,
        _ => Code::of_http(status),
    };
    let status = gatewright_transcoding::Status::new(code, phrase);
    if speech.is_connect() { connect::failed(exchange, &status) } else { web::failed(exchange, speech, &status) }
}

/// A response with the server's metadata.
fn with_metadata(exchange: &Exchange, body: Vec<u8>, status: StatusCode, kind: &str) -> Response {
    let metadata = exchange.response_headers().all().into_iter().filter(|(name, _)| {
        !name.starts_with("grpc-") && name != "content-type" && gatewright_sdk::rules::check_name(name).is_ok()
    });
    let response = metadata.fold(Response::new(status), |response, (name, value)| {
        response.with_header(name, String::from_utf8_lossy(&value).into_owned())
    });
    response.with_body(kind, body)
}

fn lost(error: &MutateError) -> Refusal {
    log::error("the call could not be translated", &[("why", &error.to_string())]);
    Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, Code::Internal, "The call could not be translated.")
}

#[cfg(test)]
mod tests;
