//! `xml-json` connects clients and upstreams of which one speaks JSON and the other XML or SOAP.
//!
//! Both bodies are held whole: a message that cannot be read is answered with a problem before any of it is sent on.
//! One rule maps elements to JSON and back (see [`Config`]); its prefixes are the configuration's and not the sender's.

use std::collections::BTreeSet;

use gatewright_sdk::{
    BodyDecision, BodyMode, Decision, Direction, Exchange, HeaderBlock, Metric, MutateError, Plugin, Response,
    StatusCode, codec,
    json::{self, Path, Value},
    log, plugin, representation,
    template::{Document, PathPattern, RequestValues, Root},
};

mod config;
mod media;
mod names;
mod read;
mod setup;
mod soap;
mod write;

pub use config::Config;
use config::Language;
use names::Names;
use read::Reading;
use soap::{Envelope, Said};
use write::Writer;

static FAILED: Metric = Metric::counter("failed", "Messages that were not translated.", &["reason"]);

/// The plugin.
#[derive(Debug)]
pub struct XmlJson {
    upstream: Language,
    soap: Option<Envelope>,
    names: Names,
    pattern: Option<PathPattern>,
    endpoint: Option<String>,
    method: Option<gatewright_sdk::Method>,
    /// Headers of every request to the upstream; with `soap` including the media type.
    headers: HeaderBlock,
    request: Option<Document>,
    roots: BTreeSet<Root>,
    root: Option<String>,
    result: Path,
    reading: Reading,
}

#[plugin]
impl Plugin for XmlJson {
    type Config = Config;

    const METRICS: &'static [&'static Metric] = &[&FAILED];

    fn new(config: Config) -> Result<Self, String> {
        setup::new(config)
    }

    fn on_request(&self, exchange: &Exchange) -> Decision {
        if self.pattern.as_ref().is_some_and(|pattern| pattern.matches(&exchange.path()).is_none()) {
            return refused("path", StatusCode::NOT_FOUND, "There is nothing at this path.").into();
        }
        let has_body = !exchange.end_of_stream();
        if has_body && (self.request.is_none() || self.roots.contains(&Root::Body)) && !self.takes(exchange) {
            let detail = match self.upstream {
                Language::Xml => "The body has to be JSON in UTF-8 without a content coding.",
                Language::Json => "The body has to be XML in UTF-8 without a content coding.",
            };
            return refused("media-type", StatusCode::UNSUPPORTED_MEDIA_TYPE, detail).into();
        }
        let sends = has_body || self.request.is_some() || self.soap.is_some();
        let prepared = match sends {
            // The body hook does the rest, since the head can still be changed then.
            true => exchange.set_body_mode(Direction::Request, BodyMode::Whole),
            false => self.prepare_request(exchange, false),
        };
        prepared.map_or_else(|error| broken(&error).into(), |()| Decision::Proceed)
    }

    fn on_request_body(&self, exchange: &Exchange, body: Vec<u8>) -> BodyDecision {
        let translated = self.request_value(exchange, &body).and_then(|value| self.translate_request(exchange, &value));
        match translated.map(|translated| self.prepare_request(exchange, true).map(|()| translated)) {
            Ok(Ok(translated)) => BodyDecision::Replace(translated),
            Ok(Err(error)) => broken(&error).into(),
            Err(refusal) => refusal.into(),
        }
    }

    fn on_response(&self, exchange: &Exchange) -> Decision {
        let [kind, coding] = exchange.response_headers().select(["content-type", "content-encoding"]);
        let kind = kind.unwrap_or_default();
        // A response of the gateway, or of a later plugin.
        if kind.starts_with("application/problem+json") {
            return Decision::Proceed;
        }
        if exchange.end_of_stream() && self.soap.is_none() {
            return Decision::Proceed;
        }
        let is_readable = match self.upstream {
            Language::Xml => media::is_xml(&kind) && media::is_utf8(&kind),
            Language::Json => json::is_json(&kind),
        };
        if exchange.end_of_stream() || !is_readable || representation::is_part(exchange) {
            let status = exchange.status().map_or(0, |status| status.as_u16());
            return unreadable(&format!("status {status}, type {kind:?}")).into();
        }
        match self.prepare_response(exchange, coding.as_deref()) {
            Ok(true) => Decision::Proceed,
            Ok(false) => unreadable("it has a content coding that is not known").into(),
            Err(error) => broken(&error).into(),
        }
    }

    fn on_response_body(&self, exchange: &Exchange, body: Vec<u8>) -> BodyDecision {
        let status = exchange.status().unwrap_or_default();
        match self.translate_response(status, &body) {
            Ok(translated) => BodyDecision::Replace(translated),
            Err(answer) => answer.into(),
        }
    }
}

impl XmlJson {
    /// Whether the request's body is in the client's format.
    fn takes(&self, exchange: &Exchange) -> bool {
        let [kind, coding] = exchange.request_headers().select(["content-type", "content-encoding"]);
        let kind = kind.unwrap_or_default();
        let is_right = match self.upstream {
            Language::Xml => json::is_json(&kind),
            Language::Json => media::is_xml(&kind),
        };
        is_right && media::is_utf8(&kind) && coding.is_none()
    }

    /// The request's content as JSON: the template with its values, or the body.
    fn request_value(&self, exchange: &Exchange, body: &[u8]) -> Result<Value, Response> {
        let malformed =
            |why: &str| refused("malformed", StatusCode::BAD_REQUEST, &format!("The body cannot be read: {why}."));
        let reads_body = self.request.is_none() || self.roots.contains(&Root::Body);
        let read = match self.upstream {
            _ if !reads_body => None,
            Language::Xml if body.is_empty() && self.request.is_some() => None,
            Language::Xml if body.len() > self.reading.size => return Err(malformed("it is too long")),
            Language::Xml => Some(Value::parse(body).map_err(|error| malformed(&error.to_string()))?),
            Language::Json if body.is_empty() => None,
            Language::Json => {
                let read = self.reading.read(&self.names, body).map_err(|error| malformed(&error.to_string()))?;
                Some(self.without_root(read).ok_or_else(|| malformed("its outermost element is another one"))?)
            }
        };
        let Some(template) = &self.request else { return Ok(read.unwrap_or_default()) };
        let names = self.pattern.as_ref().map_or(&[][..], PathPattern::names);
        let segments = self.pattern.as_ref().and_then(|pattern| pattern.matches(&exchange.path())).unwrap_or_default();
        let path = names.iter().map(String::as_str).zip(segments);
        let values = RequestValues::read(exchange, &self.roots, path, read);
        template.value(&values).ok_or_else(|| malformed("there is nothing in it that is asked for"))
    }

    fn translate_request(&self, exchange: &Exchange, value: &Value) -> Result<Vec<u8>, Response> {
        let wrong = |error: write::WriteError| {
            let detail = format!("The request cannot be written as XML: {error}.");
            refused("malformed", StatusCode::BAD_REQUEST, &detail)
        };
        match (self.upstream, &self.soap) {
            (Language::Json, _) => Ok(value.to_bytes()),
            (Language::Xml, None) => self.document(value).map_err(wrong),
            (Language::Xml, Some(envelope)) => {
                let header = envelope.header.as_ref().and_then(|header| {
                    let values = RequestValues::read(exchange, &self.roots, [], None);
                    header.value(&values)
                });
                let root = self.outermost(value).map_err(wrong)?;
                envelope.around(&self.names, self.reading.size, header.as_ref(), root).map_err(wrong)
            }
        }
    }

    /// The translated body of the response, or the response that replaces it.
    fn translate_response(&self, status: StatusCode, body: &[u8]) -> Result<Vec<u8>, Response> {
        let read = match self.upstream {
            Language::Json if body.len() > self.reading.size => return Err(unreadable("it is too long")),
            Language::Json => Value::parse(body).map_err(|error| unreadable(&error.to_string()))?,
            Language::Xml => self.reading.read(&self.names, body).map_err(|error| unreadable(&error.to_string()))?,
        };
        let said = match &self.soap {
            Some(envelope) => match envelope.open(&read) {
                Said::Body(_) if !status.is_success() => {
                    return Err(unreadable(&format!("status {status} without a fault")));
                }
                Said::Body(body) => body,
                Said::Fault { status, message, why } => {
                    log::warn("the upstream answered with a fault", &[("why", &why)]);
                    let detail = message.as_deref().unwrap_or("The upstream refused the request.");
                    return Err(refused("fault", status, detail));
                }
                Said::Nothing(why) => return Err(unreadable(why)),
            },
            None => read,
        };
        let rootless = match self.upstream {
            Language::Xml => {
                self.without_root(said).ok_or_else(|| unreadable("its outermost element is another one"))?
            }
            Language::Json => said,
        };
        let result = self.result.find(&rootless).unwrap_or(&Value::Null);
        match self.upstream {
            Language::Xml => Ok(result.to_bytes()),
            Language::Json => self.document(result).map_err(|error| unreadable(&error.to_string())),
        }
    }

    fn document(&self, value: &Value) -> Result<Vec<u8>, write::WriteError> {
        let (name, content) = self.outermost(value)?;
        let mut writer = Writer::new(&self.names, self.reading.size);
        writer.element(name, content, true)?;
        writer.finish()
    }

    /// The outermost element and its content.
    fn outermost<'a>(&'a self, value: &'a Value) -> Result<(&'a str, &'a Value), write::WriteError> {
        match &self.root {
            Some(root) => write::one(root, value),
            None => write::root(value),
        }
    }

    fn without_root(&self, value: Value) -> Option<Value> {
        let Some(root) = &self.root else { return Some(value) };
        match value {
            Value::Object(members) => members.into_iter().find(|(name, _)| name == root).map(|(_, value)| value),
            _ => None,
        }
    }

    /// Makes the request's head that for the upstream.
    fn prepare_request(&self, exchange: &Exchange, has_body: bool) -> Result<(), MutateError> {
        if let Some(method) = &self.method {
            exchange.set_method(method)?;
        }
        if let Some(endpoint) = &self.endpoint {
            exchange.set_path(endpoint)?;
        }
        let headers = exchange.request_headers();
        representation::asked_anew(headers)?;
        headers.set_all(&self.headers)?;
        match self.upstream {
            _ if !has_body || self.soap.is_some() => Ok(()),
            Language::Xml => headers.set("content-type", media::XML),
            Language::Json => headers.set("content-type", "application/json"),
        }
    }

    /// Prepares the response's head and body to be read; false if the coding is not known.
    fn prepare_response(&self, exchange: &Exchange, coding: Option<&str>) -> Result<bool, MutateError> {
        if !codec::decompress_whole(coding)? {
            return Ok(false);
        }
        let headers = exchange.response_headers();
        let kind = match self.upstream {
            Language::Xml => "application/json",
            Language::Json => media::XML,
        };
        headers.set("content-type", kind)?;
        representation::replaced(headers)?;
        exchange.set_body_mode(Direction::Response, BodyMode::Whole)?;
        Ok(true)
    }
}

fn refused(reason: &'static str, status: StatusCode, detail: &str) -> Response {
    FAILED.add(1, &[reason]);
    Response::problem(status, status.canonical_reason().unwrap_or("Refused"), detail)
}

fn unreadable(why: &str) -> Response {
    log::warn("the upstream's answer could not be read", &[("why", why)]);
    refused("unreadable", StatusCode::BAD_GATEWAY, "The upstream's answer could not be read.")
}

fn broken(error: &MutateError) -> Response {
    log::error("the message could not be changed", &[("why", &error.to_string())]);
    refused("gateway", StatusCode::INTERNAL_SERVER_ERROR, "The message could not be translated.")
}

#[cfg(test)]
mod tests;
