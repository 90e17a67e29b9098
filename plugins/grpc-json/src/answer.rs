//! Responses as JSON.

use gatewright_sdk::{
    BodyDecision, BodyMode, Decision, Direction, Exchange, Headers, MutateError, Response, StatusCode, log,
};
use gatewright_transcoding::{
    Code, DynamicMessage, Refusal, Status,
    frame::{self, Next},
    is_grpc, json,
};

use crate::{ENDED, GrpcJson, Known};

impl GrpcJson {
    /// Prepares for the body from the head of a response.
    pub(crate) fn begin_answer(&self, exchange: &Exchange, known: &Known<'_>) -> Decision {
        let headers = exchange.response_headers();
        let [kind, status, message, details] =
            headers.select(["content-type", Status::FIELDS[0], Status::FIELDS[1], Status::FIELDS[2]]);
        if !kind.is_some_and(|kind| is_grpc(&kind)) {
            return not_grpc(exchange);
        }
        if exchange.end_of_stream() {
            // There is no body.
            return match Status::read([status, message, details]) {
                Some(Status { code: Code::Ok, .. }) if known.method.server_streams => {
                    ended(Code::Ok);
                    let end = known.call.form.end(false);
                    with_metadata(exchange, Response::new(StatusCode::OK), known.call.form.content_type(), end.into())
                }
                Some(Status { code: Code::Ok, .. }) => unreadable(&Refusal::answer("The answer has no message.")),
                Some(status) => self.failed(exchange, &status),
                None => unreadable(&no_status()),
            }
            .into();
        }
        let begun = if known.method.server_streams {
            headers
                .set("content-type", self.stream_type(known))
                .and_then(|()| clean(headers))
                .and_then(|()| exchange.set_body_mode(Direction::Response, BodyMode::Chunks))
        } else {
            exchange.set_body_mode(Direction::Response, BodyMode::Whole)
        };
        match begun {
            Ok(()) => Decision::Proceed,
            Err(error) => lost(&error).response().into(),
        }
    }

    /// The one message of a response, with its status.
    pub(crate) fn answer(&self, exchange: &Exchange, known: &Known<'_>, body: &[u8]) -> BodyDecision {
        let written = match Status::read(exchange.response_trailers().select(Status::FIELDS)) {
            Some(status) if status.code != Code::Ok => return self.failed(exchange, &status).into(),
            Some(_) => self.only(known, body).and_then(|message| self.written(known, &message)),
            None => Err(no_status()),
        };
        let (kind, bytes) = match written {
            Ok(written) => written,
            Err(refusal) => return unreadable(&refusal).into(),
        };
        ended(Code::Ok);
        match finish(exchange, &kind) {
            Ok(()) => BodyDecision::Replace(bytes),
            Err(error) => lost(&error).response().into(),
        }
    }

    fn only(&self, known: &Known<'_>, body: &[u8]) -> Result<DynamicMessage, Refusal> {
        let Next::Frame { flags, message, rest: [] } = frame::next(body) else {
            return Err(Refusal::answer("The answer is not one message."));
        };
        self.read(known, flags, message)
    }

    fn read(&self, known: &Known<'_>, flags: u8, message: &[u8]) -> Result<DynamicMessage, Refusal> {
        if flags != 0 {
            return Err(Refusal::answer("The answer is compressed, which it was asked not to be."));
        }
        let message = DynamicMessage::decode(known.method.output.clone(), message);
        message.map_err(|_| Refusal::answer("The answer is no message of its type."))
    }

    /// A message in the form for the client, with its media type.
    fn written(&self, known: &Known<'_>, message: &DynamicMessage) -> Result<(String, Vec<u8>), Refusal> {
        let json = || "application/json".to_owned();
        if let Some(content) = json::http_body_of(message) {
            return Ok(content);
        }
        match &known.binding.response_body {
            Some(field) => {
                let inner = message.get_field(field);
                let kind = inner.as_message().and_then(json::http_body_of).map_or_else(json, |(kind, _)| kind);
                Ok((kind, self.json.bytes_of_field(message, field)?))
            }
            None => Ok((json(), self.json.bytes(message)?)),
        }
    }

    fn stream_type(&self, known: &Known<'_>) -> &'static str {
        if json::is_http_body(&known.method.output) {
            "application/octet-stream"
        } else {
            known.call.form.content_type()
        }
    }

    /// The messages of a stream that are complete in a chunk.
    pub(crate) fn go_on(&self, exchange: &Exchange, mut known: Known<'_>, chunk: &[u8]) -> BodyDecision {
        let mut out = Vec::with_capacity(chunk.len() * 2);
        let mut rest = chunk;
        let needs = loop {
            match frame::next(rest) {
                Next::Frame { flags, message, rest: behind } => {
                    if let Err(refusal) = self.push(&mut known, flags, message, &mut out) {
                        return broken(&refusal.detail);
                    }
                    rest = behind;
                }
                Next::Needs(bytes) => break bytes,
                Next::Nothing => break 0,
            }
        };
        if exchange.end_of_stream() {
            if needs > 0 {
                return broken("The last message is cut off.");
            }
            self.end(exchange, &known, &mut out);
            return BodyDecision::Replace(out);
        }
        let kept = exchange.set_state(&known.call.to_bytes()).and_then(|()| match needs {
            0 => Ok(()),
            needs => exchange.hold_back(rest.len(), needs),
        });
        match kept {
            Ok(()) => BodyDecision::Replace(out),
            Err(MutateError::LimitExceeded) => broken("A message is larger than limits.body."),
            Err(error) => broken(&error.to_string()),
        }
    }

    fn push(&self, known: &mut Known<'_>, flags: u8, message: &[u8], out: &mut Vec<u8>) -> Result<(), Refusal> {
        let message = self.read(known, flags, message)?;
        if let Some((_, data)) = json::http_body_of(&message) {
            out.extend(data);
            return Ok(());
        }
        let form = known.call.form;
        out.extend(form.before(!known.call.had).as_bytes());
        match &known.binding.response_body {
            Some(field) => out.extend(self.json.bytes_of_field(&message, field)?),
            None => self.json.write(&message, out)?,
        }
        out.extend(form.behind().as_bytes());
        known.call.had = true;
        Ok(())
    }

    /// The end of a stream; an error is its last element.
    fn end(&self, exchange: &Exchange, known: &Known<'_>, out: &mut Vec<u8>) {
        let trailers = exchange.response_trailers();
        let status = Status::read(trailers.select(Status::FIELDS));
        let status = status.unwrap_or_else(|| Status::new(Code::Unknown, &no_status().detail));
        ended(status.code);
        for name in Status::FIELDS {
            log::noted(trailers.remove(name));
        }
        if json::is_http_body(&known.method.output) {
            return;
        }
        let form = known.call.form;
        let mut had = known.call.had;
        if status.code != Code::Ok {
            let error = serde_json::json!({ "error": status.json(self.schema.pool()) }).to_string();
            if form == crate::Form::Events {
                out.extend(b"event: error\n");
            }
            out.extend([form.before(!had), &error, form.behind()].concat().as_bytes());
            had = true;
        }
        out.extend(form.end(had).as_bytes());
    }

    /// The response to a call that failed.
    fn failed(&self, exchange: &Exchange, status: &Status) -> Response {
        ended(status.code);
        let body = status.json(self.schema.pool()).to_string();
        with_metadata(exchange, Response::new(status.code.http()), "application/json", body)
    }
}

/// A response with the server's metadata.
fn with_metadata(exchange: &Exchange, response: Response, kind: &str, body: String) -> Response {
    let is_metadata = |name: &str| !OF_GRPC.contains(&name) && !Status::FIELDS.contains(&name);
    let sent = [exchange.response_headers().all(), exchange.response_trailers().all()].concat();
    let metadata = sent.into_iter().filter(|(name, _)| {
        is_metadata(name) && gatewright_sdk::rules::check_name(name).is_ok() && name != "content-type"
    });
    let response = metadata.fold(response, |response, (name, value)| {
        response.with_header(name, String::from_utf8_lossy(&value).into_owned())
    });
    response.with_body(kind, body)
}

/// Makes the head of a response, which is still here, that of a JSON response.
fn finish(exchange: &Exchange, kind: &str) -> Result<(), MutateError> {
    let (headers, trailers) = (exchange.response_headers(), exchange.response_trailers());
    headers.set("content-type", kind)?;
    clean(headers)?;
    for (name, value) in trailers.all() {
        if !Status::FIELDS.contains(&name.as_str()) {
            // The client would not look for it in trailers.
            headers.append(&name, String::from_utf8_lossy(&value))?;
        }
        trailers.remove(&name)?;
    }
    Ok(())
}

fn clean(headers: Headers<'_>) -> Result<(), MutateError> {
    OF_GRPC.into_iter().try_for_each(|name| headers.remove(name))
}

/// A response of the gateway or of another plugin passes unchanged; so does an error of a proxy in front of the server.
fn not_grpc(exchange: &Exchange) -> Decision {
    let is_upstreams = exchange.attribute("upstream.endpoint").is_some();
    if !is_upstreams || exchange.status().is_none_or(|status| status != StatusCode::OK) {
        return Decision::Proceed;
    }
    log::warn("the upstream's answer is not gRPC; does it speak HTTP/2, and is it \"protocol\": \"h2c\"?", &[]);
    Refusal::answer("The upstream's answer is not gRPC.").response().into()
}

fn no_status() -> Refusal {
    Refusal::answer("The answer ended without a status.")
}

/// The response to the client if the upstream's response cannot be read.
fn unreadable(refusal: &Refusal) -> Response {
    log::warn("an answer of the upstream cannot be read", &[("why", &refusal.detail)]);
    ended(refusal.code);
    refusal.response()
}

fn ended(code: Code) {
    ENDED.add(1, &[code.name()]);
}

/// Breaks off the stream, so that nobody takes it for complete.
fn broken(why: &str) -> BodyDecision {
    log::warn("a stream of the upstream was broken off", &[("why", why)]);
    ended(Code::Internal);
    BodyDecision::Abort
}

fn lost(error: &MutateError) -> Refusal {
    log::error("the answer could not be translated", &[("why", &error.to_string())]);
    Refusal::answer("The upstream's answer could not be translated.")
}

/// Headers that are about the call and not for the client.
const OF_GRPC: [&str; 3] = ["grpc-encoding", "grpc-accept-encoding", "content-encoding"];
