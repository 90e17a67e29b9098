//! `json-grpc` lets gRPC clients call REST servers: the rules of `google.api.http` in reverse, for calls with one
//! message each way.

use std::collections::BTreeMap;

use gatewright_sdk::{
    BodyDecision, BodyMode, Decision, Direction, Exchange, Method as Verb, Metric, MutateError, Plugin, Response,
    StatusCode, config, log, plugin, representation,
};
use gatewright_transcoding::{
    Binding, Code, DynamicMessage, Message as _, Method, Refusal, Schema, Sources, Status,
    frame::{self, Next},
    is_coded, is_grpc, json,
};
use serde_json::Value;

/// Lets gRPC clients call REST servers. Requires one of `descriptor_set` and `protos`.
#[config]
#[derive(Debug)]
#[schemars(extend("oneOf" = [{ "required": ["descriptor_set"] }, { "required": ["protos"] }]))]
pub struct Config {
    /// The services as a `FileDescriptorSet` with all imports, in base64: `"${base64:shop.pb}"`.
    descriptor_set: Option<String>,
    /// The services as `.proto` files, under the names by which they import each other: `{ "shop.proto":
    /// "${file:shop.proto}" }`.
    #[serde(default)]
    protos: BTreeMap<String, String>,
    /// The services to expose, such as `shop.v1.Orders`. Default: all of the files.
    #[serde(default)]
    services: Vec<String>,
    /// A prefix of the rules' paths.
    #[serde(default)]
    #[schemars(regex(pattern = "^(/[^/?#]+)*$"))]
    base_path: String,
    /// Whether bodies use the field names from the `.proto` file instead of lowerCamelCase.
    #[serde(default)]
    original_names: bool,
}

static CALLS: Metric = Metric::counter("calls", "Calls, by the name of their status.", &["code"]);

/// The plugin.
#[derive(Debug)]
pub struct JsonGrpc {
    schema: Schema,
    /// The rules of each method, in order, with their HTTP methods.
    rules: Vec<Vec<(Verb, Binding)>>,
    base_path: String,
    json: json::Options,
}

#[plugin]
impl Plugin for JsonGrpc {
    type Config = Config;

    const METRICS: &'static [&'static Metric] = &[&CALLS];

    fn new(config: Config) -> Result<Self, String> {
        let descriptor_set = config.descriptor_set.as_deref();
        let schema = Schema::new(Sources { descriptor_set, protos: &config.protos, services: &config.services })?;
        let mut rules = vec![Vec::new(); schema.methods().len()];
        for (verb, binding) in schema.bindings()? {
            let verb = match verb {
                Some(verb) => verb.parse::<Verb>().map_err(|_| format!("{verb:?} is no method of HTTP"))?,
                None => Verb::POST,
            };
            if let Some(of_method) = rules.get_mut(binding.method) {
                of_method.push((verb, binding));
            }
        }
        // Servers may send more fields than the schema has.
        let json = json::Options { lenient: true, original_names: config.original_names, ..Default::default() };
        Ok(Self { schema, rules, base_path: config.base_path, json })
    }

    fn on_request(&self, exchange: &Exchange) -> Decision {
        let kind = exchange.request_headers().get("content-type").unwrap_or_default();
        if !is_grpc(&kind) {
            return Decision::Proceed;
        }
        let method = match self.method(exchange) {
            None => return failed(&Status::new(Code::Unimplemented, "There is no such method.")).into(),
            Some((_, method)) if method.client_streams || method.server_streams => {
                return failed(&Status::new(Code::Unimplemented, "Methods with streams have no form in REST.")).into();
            }
            Some((at, _)) => at,
        };
        let begun = exchange
            .set_state(&Kept { method, rule: 0 }.to_bytes())
            .and_then(|()| exchange.set_body_mode(Direction::Request, BodyMode::Whole))
            .and_then(|()| exchange.set_body_mode(Direction::Response, BodyMode::Whole));
        match begun {
            Ok(()) => Decision::Proceed,
            Err(error) => failed(&lost(&error)).into(),
        }
    }

    fn on_request_body(&self, exchange: &Exchange, body: Vec<u8>) -> BodyDecision {
        let Some((kept, method)) = self.kept(exchange) else { return BodyDecision::Pass };
        let sent = read(method, &body).and_then(|message| self.request(exchange, kept.method, &message));
        match sent {
            Ok(body) => BodyDecision::Replace(body),
            Err(refusal) => failed(&Status::new(refusal.code, &refusal.detail)).into(),
        }
    }

    fn on_response(&self, exchange: &Exchange) -> Decision {
        let Some((_, method)) = self.kept(exchange) else { return Decision::Proceed };
        let [kind, encoding] = exchange.response_headers().select(["content-type", "content-encoding"]);
        if kind.is_some_and(|kind| is_grpc(&kind)) {
            // A response of the gateway itself.
            return Decision::Proceed;
        }
        if is_coded(encoding.as_deref()) {
            return failed(&Status::new(Code::Internal, "The answer has a content coding.")).into();
        }
        if !exchange.end_of_stream() {
            return Decision::Proceed;
        }
        match self.status(exchange, b"") {
            Some(status) => failed(&status).into(),
            None => {
                let empty = frame::of(&DynamicMessage::new(method.output.clone()).encode_to_vec());
                match finish(exchange) {
                    Ok(()) => Response::new(StatusCode::OK).with_body("application/grpc", empty).into(),
                    Err(error) => failed(&lost(&error)).into(),
                }
            }
        }
    }

    fn on_response_body(&self, exchange: &Exchange, body: Vec<u8>) -> BodyDecision {
        let Some((kept, method)) = self.kept(exchange) else { return BodyDecision::Pass };
        if exchange.response_headers().get("content-type").is_some_and(|kind| is_grpc(&kind)) {
            return BodyDecision::Pass;
        }
        if let Some(status) = self.status(exchange, &body) {
            return failed(&status).into();
        }
        let message = match self.answer(exchange, kept, method, &body) {
            Ok(message) => message,
            Err(refusal) => {
                let detail = format!("The answer is not as it should be. {}", refusal.detail);
                return failed(&Status::new(Code::Internal, &detail)).into();
            }
        };
        match finish(exchange) {
            Ok(()) => BodyDecision::Replace(frame::of(&message.encode_to_vec())),
            Err(error) => failed(&lost(&error)).into(),
        }
    }
}

impl JsonGrpc {
    fn method(&self, exchange: &Exchange) -> Option<(usize, &Method)> {
        let path = exchange.path();
        self.schema.method(path.split('?').next().unwrap_or_default())
    }

    /// The kept data of the exchange's call, and its method.
    fn kept(&self, exchange: &Exchange) -> Option<(Kept, &Method)> {
        let kept = Kept::of_bytes(&exchange.state())?;
        Some((kept, self.schema.methods().get(kept.method)?))
    }

    /// Makes the call a request, by the first rule that its message fits; returns the body.
    fn request(&self, exchange: &Exchange, at: usize, message: &DynamicMessage) -> Result<Vec<u8>, Refusal> {
        let rules = self.rules.get(at).map(Vec::as_slice).unwrap_or_default();
        let mut refusal = Refusal::bad("The method has no rule.");
        let made = rules.iter().enumerate().find_map(|(rule, (verb, binding))| {
            let made = binding.request(message, &self.json).map_err(|why| refusal = why);
            made.ok().map(|(path, body)| (rule, verb, path, body))
        });
        let Some((rule, verb, path, body)) = made else { return Err(refusal) };
        let headers = exchange.request_headers();
        let changed = exchange
            .set_state(&Kept { method: at, rule }.to_bytes())
            .and_then(|()| exchange.set_method(verb))
            .and_then(|()| exchange.set_path(&format!("{}{path}", self.base_path)))
            .and_then(|()| {
                ["grpc-encoding", "grpc-accept-encoding"].into_iter().try_for_each(|name| headers.remove(name))
            })
            .and_then(|()| representation::asked_whole(headers))
            .and_then(|()| headers.set("accept", "application/json"))
            .and_then(|()| headers.set("accept-encoding", "identity"))
            .and_then(|()| match &body {
                Some(_) => headers.set("content-type", "application/json"),
                None => headers.remove("content-type"),
            });
        changed.map_err(|error| {
            let status = lost(&error);
            Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, status.code, &status.message)
        })?;
        Ok(body.unwrap_or_default())
    }

    /// The error of a REST response, if any: in the words of `google.rpc.Status` or of a problem, if it has some.
    fn status(&self, exchange: &Exchange, body: &[u8]) -> Option<Status> {
        let status = exchange.status().unwrap_or(StatusCode::BAD_GATEWAY);
        if status.is_success() {
            return None;
        }
        let said: Value = serde_json::from_slice(body).unwrap_or_default();
        let said = if said.get("error").is_some_and(Value::is_object) { &said["error"] } else { &said };
        let text = |name: &str| said.get(name).and_then(Value::as_str);
        let code = said.get("code").and_then(Value::as_i64).filter(|code| (1..=16).contains(code));
        let code = code.and_then(|code| i32::try_from(code).ok()).map_or_else(|| Code::of_http(status), Code::of);
        let code = if code == Code::Ok { Code::Unknown } else { code };
        let phrase = status.canonical_reason().unwrap_or("the server failed");
        let message = text("message").or_else(|| text("detail")).or_else(|| text("title")).unwrap_or(phrase);
        let details = said.get("details").is_some_and(Value::is_array).then(|| {
            let kind = self.schema.pool().get_message_by_name("google.rpc.Status")?;
            let known = DynamicMessage::deserialize(kind, said.clone()).ok()?;
            Some(known.encode_to_vec())
        });
        Some(Status { details: details.flatten(), ..Status::new(code, message) })
    }

    fn answer(&self, exchange: &Exchange, kept: Kept, method: &Method, body: &[u8]) -> Result<DynamicMessage, Refusal> {
        let kind = exchange.response_headers().get("content-type");
        let rule = self.rules.get(kept.method).and_then(|rules| rules.get(kept.rule));
        match rule.and_then(|(_, binding)| binding.response_body.as_ref()) {
            Some(field) => {
                let mut message = DynamicMessage::new(method.output.clone());
                self.json.field(&mut message, field, kind.as_deref(), body)?;
                Ok(message)
            }
            None => self.json.message(&method.output, kind.as_deref(), body),
        }
    }
}

/// The data of a call that is kept from hook to hook.
#[derive(Clone, Copy, Debug)]
struct Kept {
    /// The position of the method in the schema.
    method: usize,
    /// The rule that was used; the first one before that is known.
    rule: usize,
}

impl Kept {
    fn to_bytes(self) -> [u8; 8] {
        let Self { method, rule } = self;
        // A schema with more methods or rules exceeds the size limit of a configuration.
        let [a, b, c, d] = u32::try_from(method).unwrap_or(u32::MAX).to_le_bytes();
        let [e, f, g, h] = u32::try_from(rule).unwrap_or(u32::MAX).to_le_bytes();
        [a, b, c, d, e, f, g, h]
    }

    fn of_bytes(bytes: &[u8]) -> Option<Self> {
        let (method, rule) = bytes.split_first_chunk()?;
        let rule = rule.first_chunk()?;
        Some(Self { method: u32::from_le_bytes(*method) as usize, rule: u32::from_le_bytes(*rule) as usize })
    }
}

/// The one message of a call.
fn read(method: &Method, body: &[u8]) -> Result<DynamicMessage, Refusal> {
    let (flags, message) = match frame::next(body) {
        Next::Frame { flags, message, rest: [] } => (flags, message),
        _ => return Err(Refusal::bad("The body is not one message.")),
    };
    if flags != 0 {
        let detail = "Compressed messages are not read here.";
        return Err(Refusal::new(StatusCode::NOT_IMPLEMENTED, Code::Unimplemented, detail));
    }
    DynamicMessage::decode(method.input.clone(), message)
        .map_err(|_| Refusal::bad("The body is no message of its type."))
}

/// Makes a response that of a successful call.
fn finish(exchange: &Exchange) -> Result<(), MutateError> {
    CALLS.add(1, &[Code::Ok.name()]);
    exchange.set_status(StatusCode::OK)?;
    exchange.response_headers().set("content-type", "application/grpc")?;
    exchange.response_trailers().set("grpc-status", "0")
}

/// A response with trailers only.
fn failed(status: &Status) -> Response {
    CALLS.add(1, &[status.code.name()]);
    let response = Response::new(StatusCode::OK).with_header("content-type", "application/grpc");
    status.fields().into_iter().fold(response, |response, (name, value)| response.with_header(name, value))
}

fn lost(error: &MutateError) -> Status {
    log::error("the call could not be translated", &[("why", &error.to_string())]);
    Status::new(Code::Internal, "The call could not be translated.")
}

#[cfg(test)]
mod tests;
