//! `redact` masks data that should not leave: fields of JSON, and secrets found by pattern in text.
//!
//! It is the last line of defence, so it fails closed: a body that claims to be JSON but is not, whose coding or
//! charset is unknown, or that is a part of another one is not sent. JSON is held whole. Text is processed line by
//! line, so that a stream stays a stream; no match extends over the end of a line, and none is cut by the end of a
//! chunk.

use gatewright_sdk::{
    BodyDecision, BodyMode, Decision, Direction, Exchange, Headers, Method, Metric, MutateError, Plugin, Response,
    StatusCode,
    codec::{self, Bounds, Coding},
    config,
    json::{self, Path, Value},
    log, plugin, representation, rules,
};

mod pattern;

use pattern::Patterns;
pub use pattern::{Custom, Named, Pattern};

/// Masks fields of JSON bodies, and what looks like a secret in any text. Requires at least one of `fields`, `patterns`
/// and `headers`.
#[config]
#[derive(Debug)]
#[schemars(extend("anyOf" = [{ "required": ["fields"] }, { "required": ["patterns"] }, { "required": ["headers"] }]))]
pub struct Config {
    /// Whether responses are masked.
    #[serde(default = "yes")]
    response: bool,
    /// Whether requests are masked.
    #[serde(default)]
    request: bool,
    /// Fields of JSON bodies whose value is masked, as JSON Pointers (RFC 6901); a segment `*` matches every item or
    /// member, `**` any number of segments, so `/**/password` is every member of that name.
    #[serde(default)]
    fields: Vec<String>,
    /// Patterns that are masked anywhere in a text, or in strings and numbers of JSON.
    #[serde(default)]
    patterns: Vec<Pattern>,
    /// Headers whose values are masked.
    #[serde(default)]
    headers: Vec<String>,
    /// The replacement.
    #[serde(default = "redacted")]
    mask: String,
}

const fn yes() -> bool {
    true
}

fn redacted() -> String {
    "[redacted]".to_owned()
}

static MASKED: Metric = Metric::counter("masked", "Bodies in which something was masked.", &["direction"]);
static SHUT: Metric = Metric::counter("shut", "Bodies that could not be looked into.", &["direction"]);

/// The plugin.
#[derive(Debug)]
pub struct Redact {
    response: bool,
    request: bool,
    fields: Vec<Path>,
    patterns: Patterns,
    headers: Vec<String>,
    mask: String,
}

#[plugin]
impl Plugin for Redact {
    type Config = Config;

    const METRICS: &'static [&'static Metric] = &[&MASKED, &SHUT];

    fn new(config: Config) -> Result<Self, String> {
        let fields =
            config.fields.iter().enumerate().map(|(index, text)| {
                Path::parse(text).map_err(|why| format!("fields.{index}: the path {text:?} {why}"))
            });
        for name in &config.headers {
            rules::check_name(name).map_err(|why| format!("headers: {name:?} {why}"))?;
        }
        rules::check_value(&config.mask).map_err(|why| format!("mask: it {why}"))?;
        if !config.response && !config.request {
            return Err("response, request: one of them has to be true".to_owned());
        }
        if config.fields.is_empty() && config.patterns.is_empty() && config.headers.is_empty() {
            return Err("there is nothing to redact: at least one of fields, patterns and headers is needed".to_owned());
        }
        Ok(Self {
            response: config.response,
            request: config.request,
            fields: fields.collect::<Result<_, _>>()?,
            patterns: Patterns::new(config.patterns)?,
            headers: config.headers,
            mask: config.mask,
        })
    }

    fn on_request(&self, exchange: &Exchange) -> Decision {
        let headers = exchange.request_headers();
        if self.response && self.looks_into_bodies() {
            // Asks the upstream for a response that need not be decompressed, and for all of it.
            log::noted(headers.set("accept-encoding", "identity"));
            log::noted(representation::asked_whole(headers));
        }
        if !self.request {
            return Decision::Proceed;
        }
        self.mask_headers(headers);
        if exchange.end_of_stream() {
            return Decision::Proceed;
        }
        self.begin(exchange, Direction::Request, headers)
    }

    fn on_request_body(&self, exchange: &Exchange, body: Vec<u8>) -> BodyDecision {
        self.body(exchange, Direction::Request, body)
    }

    fn on_response(&self, exchange: &Exchange) -> Decision {
        if !self.response {
            return Decision::Proceed;
        }
        let headers = exchange.response_headers();
        self.mask_headers(headers);
        // The response to a HEAD describes the body of a GET.
        if exchange.end_of_stream() && exchange.method() != Method::HEAD {
            return Decision::Proceed;
        }
        if self.looks_into_bodies() && representation::is_part(exchange) {
            log::warn("a body is a part of another one", &[("direction", way(Direction::Response))]);
            return Decision::Respond(shut(Direction::Response));
        }
        self.begin(exchange, Direction::Response, headers)
    }

    fn on_response_body(&self, exchange: &Exchange, body: Vec<u8>) -> BodyDecision {
        self.body(exchange, Direction::Response, body)
    }
}

/// How a body is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Json,
    Lines,
}

impl Kind {
    fn of(content_type: &str) -> Option<Self> {
        let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let is_text = essence.starts_with("text/")
            || essence.ends_with("+xml")
            || ["application/xml", "application/x-ndjson", "application/javascript"].contains(&essence.as_str());
        match json::is_json(&essence) {
            true => Some(Self::Json),
            false => is_text.then_some(Self::Lines),
        }
    }

    /// Keeps the decision about the body of one direction, beside the other's: both may be in progress at once.
    fn keep(self, exchange: &Exchange, direction: Direction) -> Result<(), MutateError> {
        let mut kept = exchange.state();
        kept.extend((self == Self::Json).then_some(json_mark(direction)));
        exchange.set_state(&kept)
    }

    fn kept(exchange: &Exchange, direction: Direction) -> Self {
        if exchange.state().contains(&json_mark(direction)) { Self::Json } else { Self::Lines }
    }
}

/// Whether every charset that a media type names has ASCII at its usual place, so that patterns find it.
fn is_readable(content_type: &str) -> bool {
    let charsets = content_type.split(';').skip(1).filter_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("charset").then(|| value.trim().trim_matches('"').to_ascii_lowercase())
    });
    charsets.into_iter().all(|charset| {
        ["utf-8", "utf8", "us-ascii", "ascii", "latin1"].contains(&charset.as_str())
            || ["iso-8859-", "iso8859-", "iso_8859-", "windows-125", "cp125"]
                .iter()
                .any(|family| charset.starts_with(family))
    })
}

/// The mark in the exchange's state if the body of this direction is JSON.
const fn json_mark(direction: Direction) -> u8 {
    match direction {
        Direction::Request => b'q',
        Direction::Response => b's',
    }
}

impl Redact {
    const fn looks_into_bodies(&self) -> bool {
        !self.fields.is_empty() || !self.patterns.is_empty()
    }

    fn mask_headers(&self, headers: Headers<'_>) {
        for name in &self.headers {
            if headers.get(name).is_some() {
                // A value that cannot be masked is removed.
                log::noted(headers.set(name, &self.mask).or_else(|error| headers.remove(name).and(Err(error))));
            }
        }
    }

    /// Decides how a body is read. Later changes of the headers by other plugins have no effect on this.
    fn begin(&self, exchange: &Exchange, direction: Direction, headers: Headers<'_>) -> Decision {
        if !self.looks_into_bodies() {
            return Decision::Proceed;
        }
        let Ok(kind) = headers.sole("content-type") else {
            log::warn("a body has several types", &[("direction", way(direction))]);
            return Decision::Respond(shut(direction));
        };
        let content_type = kind.unwrap_or_default();
        let Some(kind) = Kind::of(&content_type) else { return Decision::Proceed };
        if !is_readable(&content_type) {
            let fields = [("direction", way(direction)), ("type", content_type.as_str())];
            log::warn("a body has a charset that cannot be looked into", &fields);
            return Decision::Respond(shut(direction));
        }
        let encoding = headers.get("content-encoding");
        match self.open(exchange, direction, headers, kind, encoding.as_deref()) {
            Ok(()) => Decision::Proceed,
            Err(error) => {
                log::noted(Err(error));
                Decision::Respond(shut(direction))
            }
        }
    }

    fn open(
        &self,
        exchange: &Exchange,
        direction: Direction,
        headers: Headers<'_>,
        kind: Kind,
        encoding: Option<&str>,
    ) -> Result<(), MutateError> {
        if let Some(encoding) = encoding.filter(|encoding| !encoding.trim().eq_ignore_ascii_case("identity")) {
            let unknown = || MutateError::Other(format!("the coding {encoding:?} is not known"));
            codec::decompress(direction, Coding::named(encoding).ok_or_else(unknown)?, BOUNDS)?;
            headers.remove("content-encoding")?;
        }
        match direction {
            Direction::Request => representation::changed(headers)?,
            Direction::Response => representation::changed_response(exchange)?,
        }
        if direction == Direction::Response && exchange.method() == Method::HEAD {
            return Ok(());
        }
        kind.keep(exchange, direction)?;
        let mode = if kind == Kind::Json { BodyMode::Whole } else { BodyMode::Chunks };
        exchange.set_body_mode(direction, mode)
    }

    fn body(&self, exchange: &Exchange, direction: Direction, body: Vec<u8>) -> BodyDecision {
        match Kind::kept(exchange, direction) {
            Kind::Json => self.document(direction, &body),
            Kind::Lines => self.lines(exchange, direction, body),
        }
    }

    fn document(&self, direction: Direction, body: &[u8]) -> BodyDecision {
        match Value::parse(body) {
            Ok(mut document) => match self.mask_document(&mut document) {
                true => {
                    MASKED.add(1, &[way(direction)]);
                    BodyDecision::Replace(document.to_bytes())
                }
                false => BodyDecision::Pass,
            },
            Err(error) => {
                log::warn(
                    "a body cannot be looked into",
                    &[("direction", way(direction)), ("why", &error.to_string())],
                );
                BodyDecision::Respond(shut(direction))
            }
        }
    }

    /// Sends complete lines on; the gateway keeps the beginning of the next one.
    fn lines(&self, exchange: &Exchange, direction: Direction, chunk: Vec<u8>) -> BodyDecision {
        let end = match chunk.iter().rposition(|byte| *byte == b'\n') {
            _ if exchange.end_of_stream() => chunk.len(),
            at => at.map_or(0, |at| at + 1),
        };
        let (text, rest) = chunk.split_at(end);
        if !rest.is_empty() && exchange.hold_back(rest.len(), 0).is_err() {
            // The line is longer than the gateway's limit, so this ends the body.
            return BodyDecision::Hold;
        }
        let mut masked = Vec::with_capacity(text.len());
        for line in text.split_inclusive(|byte| *byte == b'\n') {
            masked.extend(self.mask_line(line));
        }
        if masked == text {
            return BodyDecision::Pass;
        }
        MASKED.add(1, &[way(direction)]);
        BodyDecision::Replace(masked)
    }

    /// A line that is JSON, as in a stream of JSON lines or of events, is masked as JSON.
    fn mask_line(&self, line: &[u8]) -> Vec<u8> {
        let data = line.strip_prefix(b"data:").unwrap_or(line);
        let json = data.trim_ascii();
        if !self.fields.is_empty()
            && json.first().is_some_and(|byte| matches!(byte, b'{' | b'['))
            && let Ok(mut document) = Value::parse(json)
        {
            if !self.mask_document(&mut document) {
                return line.to_vec();
            }
            let at = line.len() - data.len() + data.len() - data.trim_ascii_start().len();
            let (before, after) = (line.get(..at), line.get(at + json.len()..));
            return [before.unwrap_or_default(), &document.to_bytes(), after.unwrap_or_default()].concat();
        }
        self.patterns.mask(line, &self.mask).unwrap_or_else(|| line.to_vec())
    }

    /// Masks a document, and returns whether anything was masked.
    fn mask_document(&self, document: &mut Value) -> bool {
        let mut found = false;
        for path in &self.fields {
            path.each(document, &mut |value| {
                found = true;
                *value = Value::String(self.mask.clone());
            });
        }
        document.each_scalar(&mut |value| {
            let text = match &*value {
                Value::String(text) | Value::Number(text) => text,
                _ => return,
            };
            if let Some(masked) = self.patterns.mask(text.as_bytes(), &self.mask) {
                found = true;
                *value = Value::String(String::from_utf8_lossy(&masked).into_owned());
            }
        });
        found
    }
}

const fn way(direction: Direction) -> &'static str {
    match direction {
        Direction::Request => "request",
        Direction::Response => "response",
    }
}

fn shut(direction: Direction) -> Response {
    SHUT.add(1, &[way(direction)]);
    match direction {
        Direction::Request => Response::problem(StatusCode::BAD_REQUEST, "Bad Request", "The body cannot be read."),
        Direction::Response => {
            Response::problem(StatusCode::BAD_GATEWAY, "Bad Gateway", "The upstream's answer could not be read.")
        }
    }
}

/// `limits.body` bounds the held bytes as well.
const BOUNDS: Bounds = Bounds { bytes: 64 << 20, ratio: 1000 };

#[cfg(test)]
mod tests;
