//! The Connect protocol, for calls with one message each way: the message is the body, and errors are JSON.

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use gatewright_sdk::{BodyDecision, Decision, Exchange, MutateError, Response};
use gatewright_transcoding::{
    Code, DynamicMessage, Message as _, Refusal, Status,
    frame::{self, Next},
    json,
};
use serde_json::{Map, Value, json};

use crate::{GrpcWeb, Speech, lost, with_metadata};

impl GrpcWeb {
    /// The one frame of a call.
    pub(crate) fn framed(&self, exchange: &Exchange, speech: Speech, body: &[u8]) -> Result<Vec<u8>, Refusal> {
        if speech == Speech::Connect {
            return Ok(frame::of(body));
        }
        let method = self.method(exchange).ok_or_else(|| Refusal::bad("There is no such method."))?;
        // An empty body is an empty message in Connect's other form, but not JSON in this one.
        let options = json::Options { lenient: true, ..json::Options::default() };
        Ok(frame::of(&options.message(&method.input, None, body)?.encode_to_vec()))
    }

    pub(crate) fn begin_answer(&self, exchange: &Exchange, speech: Speech) -> Result<Decision, MutateError> {
        if exchange.end_of_stream() {
            let status = Status::read(exchange.response_headers().select(Status::FIELDS));
            let status = status.filter(|status| status.code != Code::Ok);
            let status = status.unwrap_or_else(|| Status::new(Code::Internal, "The answer has no message."));
            return Ok(Decision::Respond(failed(exchange, &status)));
        }
        let headers = exchange.response_headers();
        headers.set("content-type", speech.content_type())?;
        headers.remove("grpc-encoding")?;
        headers.remove("grpc-accept-encoding")?;
        Ok(Decision::Proceed)
    }

    pub(crate) fn answer(&self, exchange: &Exchange, speech: Speech, body: &[u8]) -> BodyDecision {
        let trailers = exchange.response_trailers();
        let status = Status::read(trailers.select(Status::FIELDS));
        let status = status.unwrap_or_else(|| Status::new(Code::Unknown, "The answer ended without a status."));
        if status.code != Code::Ok {
            return failed(exchange, &status).into();
        }
        let message = match self.message(exchange, speech, body) {
            Ok(message) => message,
            Err(refusal) => return failed(exchange, &Status::new(refusal.code, &refusal.detail)).into(),
        };
        let moved = trailers.all().into_iter().try_for_each(|(name, value)| {
            trailers.remove(&name)?;
            if Status::FIELDS.contains(&name.as_str()) {
                return Ok(());
            }
            exchange.response_headers().append(format!("trailer-{name}"), String::from_utf8_lossy(&value))
        });
        match moved {
            Ok(()) => BodyDecision::Replace(message),
            Err(error) => refused(&lost(&error)).into(),
        }
    }

    fn message(&self, exchange: &Exchange, speech: Speech, body: &[u8]) -> Result<Vec<u8>, Refusal> {
        let Next::Frame { flags: 0, message, rest: [] } = frame::next(body) else {
            return Err(Refusal::answer("The answer is not one message."));
        };
        if speech == Speech::Connect {
            return Ok(message.to_vec());
        }
        let method = self.method(exchange).ok_or_else(|| Refusal::answer("There is no such method."))?;
        let message = DynamicMessage::decode(method.output.clone(), message);
        json::Options::default().bytes(&message.map_err(|_| Refusal::answer("The answer is no message of its type."))?)
    }
}

/// An error of the server or the gateway.
pub(crate) fn failed(exchange: &Exchange, status: &Status) -> Response {
    let trailers = exchange.response_trailers().all();
    let response = with_metadata(exchange, error(status), status.code.http(), "application/json");
    trailers.into_iter().filter(|(name, _)| !name.starts_with("grpc-")).fold(response, |response, (name, value)| {
        response.with_header(format!("trailer-{name}"), String::from_utf8_lossy(&value).into_owned())
    })
}

/// An error of the gateway's own.
pub(crate) fn refused(refusal: &Refusal) -> Response {
    let status = Status::new(refusal.code, &refusal.detail);
    Response::new(refusal.status).with_body("application/json", error(&status))
}

fn error(status: &Status) -> Vec<u8> {
    let code = match status.code {
        Code::Cancelled => "canceled".to_owned(),
        code => code.name().to_ascii_lowercase(),
    };
    let mut object = Map::from_iter([("code".to_owned(), json!(code))]);
    if !status.message.is_empty() {
        object.insert("message".to_owned(), json!(status.message));
    }
    let details: Vec<Value> = status
        .details()
        .into_iter()
        .map(|(kind, value)| {
            let name = kind.rsplit('/').next().unwrap_or_default();
            json!({ "type": name, "value": STANDARD_NO_PAD.encode(value) })
        })
        .collect();
    if !details.is_empty() {
        object.insert("details".to_owned(), Value::Array(details));
    }
    Value::Object(object).to_string().into_bytes()
}
