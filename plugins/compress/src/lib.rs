//! `compress` compresses responses for clients that can decompress them.
//!
//! It decides and the gateway compresses: the coding is chosen in the request hook, when the client's `Accept-Encoding`
//! is still unchanged, and the response's headers show whether compression is worthwhile. If the client's field made a
//! difference, or could have, `Vary` says so, even if this client gets the plain form.

use std::collections::BTreeMap;

use gatewright_sdk::{
    Decision, Direction, Exchange, Headers, Method, Metric, MutateError, Plugin, StatusCode,
    codec::{self, AcceptEncoding, Coding},
    config, log, plugin, representation,
    units::Size,
};

mod media_type;

use media_type::MediaTypes;

/// Compresses responses for clients that accept it.
#[config]
#[derive(Debug)]
pub struct Config {
    /// The codings. Of those that a client prefers equally, the first is used.
    #[serde(default = "all")]
    #[schemars(length(min = 1))]
    codings: Vec<Coding>,
    /// The compression levels, by coding, from 1 (fast) to 9 (small). Default: gzip 6, br 4, zstd 3.
    #[serde(default)]
    levels: Levels,
    /// Responses that declare fewer bytes are not compressed.
    #[serde(default = "one_kibibyte")]
    min_length: Size,
    /// The media types that are compressed: `"application/json"`, `"text/*"`, `"*+json"` or `"*/*"`.
    #[serde(default = "media_type::usual")]
    #[schemars(length(min = 1))]
    types: Vec<String>,
}

/// How hard to compress.
#[config]
#[derive(Debug, Default)]
pub struct Levels {
    #[schemars(range(min = 1, max = 9))]
    gzip: Option<u8>,
    #[schemars(range(min = 1, max = 9))]
    br: Option<u8>,
    #[schemars(range(min = 1, max = 9))]
    zstd: Option<u8>,
}

fn all() -> Vec<Coding> {
    Coding::ALL.to_vec()
}

fn one_kibibyte() -> Size {
    Size(1024)
}

static COMPRESSED: Metric = Metric::counter("compressed", "Responses that were compressed.", &["coding"]);

/// The plugin.
#[derive(Debug)]
pub struct Compress {
    codings: Vec<Coding>,
    levels: BTreeMap<Coding, u8>,
    min_length: u64,
    types: MediaTypes,
}

#[plugin]
impl Plugin for Compress {
    type Config = Config;

    const METRICS: &'static [&'static Metric] = &[&COMPRESSED];

    fn new(config: Config) -> Result<Self, String> {
        let Config { codings, levels, min_length, types } = config;
        if codings.is_empty() {
            return Err("codings: without one there is nothing to do".to_owned());
        }
        let levels = [(Coding::Gzip, levels.gzip), (Coding::Br, levels.br), (Coding::Zstd, levels.zstd)];
        let levels: BTreeMap<Coding, u8> = levels.into_iter().filter_map(|(of, level)| Some((of, level?))).collect();
        if let Some((coding, level)) = levels.iter().find(|(_, level)| !(1..=9).contains(*level)) {
            return Err(format!("levels.{}: {level} is not from 1 to 9", coding.token()));
        }
        Ok(Self { codings, levels, min_length: min_length.0, types: MediaTypes::parse(&types)? })
    }

    fn on_request(&self, exchange: &Exchange) -> Decision {
        let accepted = AcceptEncoding::parse(&exchange.request_headers().values("accept-encoding"));
        if let Some(coding) = accepted.best(&self.codings)
            && let Err(error) = exchange.set_state(coding.token().as_bytes())
        {
            log::error("the coding cannot be kept", &[("why", &error.to_string())]);
        }
        Decision::Proceed
    }

    fn on_response(&self, exchange: &Exchange) -> Decision {
        if !self.is_worth_it(exchange) {
            return Decision::Proceed;
        }
        let headers = exchange.response_headers();
        // Also for clients that get the plain form: caches must not give this response to other clients.
        if let Err(error) = representation::varies_by_coding(headers) {
            log::error("vary was not changed", &[("why", &error.to_string())]);
        }
        let Some(coding) = std::str::from_utf8(&exchange.state()).ok().and_then(Coding::named) else {
            return Decision::Proceed;
        };
        if exchange.method() == Method::HEAD || exchange.status() == Some(StatusCode::NOT_MODIFIED) {
            if stands_for_compressed(exchange)
                && let Err(error) = representation::changed(headers)
            {
                log::error("the headers are those of the plain response", &[("why", &error.to_string())]);
            }
            return Decision::Proceed;
        }
        if exchange.end_of_stream() {
            return Decision::Proceed;
        }
        let level = self.levels.get(&coding).copied().unwrap_or(0).into();
        // The headers first: if there is no room for them, the response stays as it is.
        match describe(headers, coding).and_then(|()| codec::compress(Direction::Response, coding, level)) {
            Ok(()) => COMPRESSED.add(1, &[coding.token()]),
            Err(error) => log::error("the response is not compressed", &[("why", &error.to_string())]),
        }
        Decision::Proceed
    }
}

impl Compress {
    /// Whether this response may be compressed, and would be for some client.
    fn is_worth_it(&self, exchange: &Exchange) -> bool {
        let headers = exchange.response_headers();
        let [encoding, range, length, kind] =
            headers.select(["content-encoding", "content-range", "content-length", "content-type"]);
        let status = exchange.status();
        // 206 is part of something uncompressed, and the others have no body.
        let has_body = !matches!(
            status,
            None | Some(StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::PARTIAL_CONTENT)
        );
        let is_plain = encoding.is_none_or(|encoding| encoding.trim().eq_ignore_ascii_case("identity"));
        let is_long = length.and_then(|length| length.parse().ok()).is_none_or(|length: u64| length >= self.min_length);
        let is_kind = kind.is_some_and(|kind| self.types.have(&kind));
        // A 304 describes the response that it stands for (RFC 9110 section 15.4.5), and has neither of its own.
        let fits = status == Some(StatusCode::NOT_MODIFIED) || (is_long && is_kind);
        has_body && is_plain && range.is_none() && fits && representation::may_change(headers)
    }
}

/// Whether a response without a body, to a client that takes a coding, stands for a compressed one (RFC 9110 sections
/// 9.3.2 and 15.4.5). Of a 304 only the client knows: it has named the entity tag of what it holds.
fn stands_for_compressed(exchange: &Exchange) -> bool {
    if exchange.status() != Some(StatusCode::NOT_MODIFIED) {
        return true;
    }
    let Some(tag) = exchange.response_headers().get("etag") else { return false };
    let weak = format!("W/{tag}");
    let held = exchange.request_headers().values("if-none-match");
    held.iter().filter_map(|tags| std::str::from_utf8(tags).ok()).any(|tags| tags.contains(&weak))
}

/// Adapts the headers to the compressed response.
fn describe(headers: Headers<'_>, coding: Coding) -> Result<(), MutateError> {
    headers.set("content-encoding", coding.token())?;
    representation::changed(headers)
}

#[cfg(test)]
mod tests;
