//! gRPC-Web: gRPC's frames, and the trailers as one more frame, with the flag 0x80. In its text form everything is
//! base64, in pieces that each end with their padding.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use gatewright_sdk::{BodyDecision, Decision, Exchange, MutateError, Response, StatusCode};
use gatewright_transcoding::{Code, Refusal, Status, frame};

use crate::{Speech, with_metadata};

/// The frames of a request in base64.
pub(crate) fn decoded(text: &[u8]) -> Result<Vec<u8>, Refusal> {
    let refusal = || Refusal::bad("The body is not base64.");
    let mut frames = Vec::with_capacity(text.len() / 4 * 3);
    let mut rest = text.trim_ascii();
    while !rest.is_empty() {
        // A piece ends with its padding and has a multiple of four characters.
        let end = rest.iter().position(|byte| *byte == b'=').map_or(rest.len(), |at| (at / 4 + 1) * 4);
        let (piece, behind) = rest.split_at_checked(end).ok_or_else(refusal)?;
        frames.extend(STANDARD.decode(piece).map_err(|_| refusal())?);
        rest = behind;
    }
    Ok(frames)
}

pub(crate) fn begin(exchange: &Exchange, speech: Speech) -> Result<Decision, MutateError> {
    let headers = exchange.response_headers();
    if exchange.end_of_stream() {
        // There is no body; browsers show less of the head than of a body.
        let mut trailers = Vec::new();
        for (name, value) in headers.all() {
            if name.starts_with("grpc-") {
                field(&mut trailers, &name, &value);
            }
        }
        let body = written(speech, last(&trailers));
        return Ok(Decision::Respond(with_metadata(exchange, body, StatusCode::OK, speech.content_type())));
    }
    headers.set("content-type", speech.content_type())?;
    headers.remove("grpc-accept-encoding")?;
    Ok(Decision::Proceed)
}

/// A response that consists of a status only.
pub(crate) fn failed(exchange: &Exchange, speech: Speech, status: &Status) -> Response {
    let mut fields = Vec::new();
    for (name, value) in status.fields() {
        field(&mut fields, name, value.as_bytes());
    }
    with_metadata(exchange, written(speech, last(&fields)), StatusCode::OK, speech.content_type())
}

pub(crate) fn go_on(exchange: &Exchange, speech: Speech, mut chunk: Vec<u8>) -> BodyDecision {
    if exchange.end_of_stream() {
        let trailers = exchange.response_trailers();
        let mut fields = Vec::new();
        for (name, value) in trailers.all() {
            field(&mut fields, &name, &value);
            let _ = trailers.remove(&name);
        }
        if fields.is_empty() {
            let status = Status::new(Code::Unknown, "The answer ended without a status.");
            for (name, value) in status.fields() {
                field(&mut fields, name, value.as_bytes());
            }
        }
        chunk.extend(last(&fields));
    } else if speech == Speech::Web {
        return BodyDecision::Pass;
    }
    BodyDecision::Replace(written(speech, chunk))
}

fn field(to: &mut Vec<u8>, name: &str, value: &[u8]) {
    to.extend(name.as_bytes());
    to.extend(b": ");
    to.extend(value);
    to.extend(b"\r\n");
}

fn last(fields: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    frame::push(&mut frame, 0x80, fields);
    frame
}

fn written(speech: Speech, bytes: Vec<u8>) -> Vec<u8> {
    if speech == Speech::WebText { STANDARD.encode(bytes).into_bytes() } else { bytes }
}
