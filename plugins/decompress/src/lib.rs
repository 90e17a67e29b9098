//! `decompress` removes the content coding of request bodies, and of responses that their client cannot decode.
//!
//! Later plugins of the chain and the upstream see plain bodies, so rules about bodies cannot be evaded by compressing
//! them. A body that grows too large is stopped as it grows: the gateway decompresses piece by piece and never holds
//! more than a piece.

use gatewright_sdk::{
    Decision, Direction, Exchange, Headers, Metric, MutateError, Plugin, Response, StatusCode,
    codec::{self, AcceptEncoding, Bounds, Coding},
    config, log, plugin, representation,
    serde::Serialize,
    units::Size,
};

/// Decompresses request bodies, and responses whose client does not accept their coding.
#[config]
#[derive(Debug)]
pub struct Config {
    /// Whether request bodies are decompressed. One in a coding that is not listed is answered with 415.
    #[serde(default = "yes")]
    request: bool,
    /// Which responses are decompressed.
    #[serde(default)]
    response: Which,
    /// The codings that are decompressed.
    #[serde(default = "all")]
    #[schemars(length(min = 1))]
    codings: Vec<Coding>,
    /// The maximum decompressed size of a body. A request beyond it is answered with 413; a response breaks off.
    #[serde(default = "ten_mebibytes")]
    limit: Size,
    /// The maximum ratio of decompressed to compressed size. Bodies of up to 1 MiB (decompressed) may exceed it.
    #[serde(default = "hundred")]
    #[schemars(range(min = 1))]
    ratio: u32,
}

/// Which responses are decompressed.
#[config]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub enum Which {
    /// Those in a coding that the client does not accept; a client that sends no `Accept-Encoding` accepts none.
    #[default]
    NotAccepted,
    /// All responses.
    All,
    /// No responses.
    None,
}

const fn yes() -> bool {
    true
}

fn all() -> Vec<Coding> {
    Coding::ALL.to_vec()
}

const fn ten_mebibytes() -> Size {
    Size(10 << 20)
}

const fn hundred() -> u32 {
    100
}

static DECOMPRESSED: Metric =
    Metric::counter("decompressed", "Bodies that were decompressed.", &["direction", "coding"]);
static REFUSED: Metric = Metric::counter("refused", "Requests in a coding that is not taken off.", &[]);

/// The plugin.
#[derive(Debug)]
pub struct Decompress {
    request: bool,
    response: Which,
    codings: Vec<Coding>,
    bounds: Bounds,
    unsupported: Response,
}

#[plugin]
impl Plugin for Decompress {
    type Config = Config;

    const METRICS: &'static [&'static Metric] = &[&DECOMPRESSED, &REFUSED];

    fn new(config: Config) -> Result<Self, String> {
        let Config { request, response, codings, limit, ratio } = config;
        if codings.is_empty() {
            return Err("codings: without one there is nothing to do".to_owned());
        }
        if ratio == 0 {
            return Err("ratio: at least 1".to_owned());
        }
        let names: Vec<&str> = codings.iter().map(|coding| coding.token()).collect();
        let names = names.join(", ");
        let detail = format!("The body may be in one of these content codings: {names}.");
        let unsupported = Response::problem(StatusCode::UNSUPPORTED_MEDIA_TYPE, "Unsupported Media Type", &detail)
            // RFC 9110 section 12.5.3.
            .with_header("accept-encoding", names);
        Ok(Self { request, response, codings, bounds: Bounds { bytes: limit.0, ratio }, unsupported })
    }

    fn on_request(&self, exchange: &Exchange) -> Decision {
        if self.response == Which::NotAccepted {
            self.keep_what_is_accepted(exchange);
        }
        if !self.request || exchange.end_of_stream() {
            return Decision::Proceed;
        }
        let headers = exchange.request_headers();
        match self.coding(headers) {
            Ok(None) => Decision::Proceed,
            Ok(Some(coding)) => match self.take_off(Direction::Request, headers, coding) {
                Ok(()) => Decision::Proceed,
                Err(error) => {
                    log::error("the request is not decompressed", &[("why", &error.to_string())]);
                    Decision::problem(
                        StatusCode::INTERNAL_SERVER_ERROR,
                        "Internal Server Error",
                        "The body cannot be read.",
                    )
                }
            },
            Err(Unknown) => {
                REFUSED.add(1, &[]);
                Decision::Respond(self.unsupported.clone())
            }
        }
    }

    fn on_response(&self, exchange: &Exchange) -> Decision {
        let headers = exchange.response_headers();
        let Ok(Some(coding)) = self.coding(headers) else { return Decision::Proceed };
        let is_wanted = match self.response {
            Which::All => true,
            Which::None => false,
            Which::NotAccepted => !exchange.state().contains(&id(coding)),
        };
        // A part of a compressed body cannot be decompressed.
        let is_part = exchange.status() == Some(StatusCode::PARTIAL_CONTENT) || headers.get("content-range").is_some();
        let varied = match self.response {
            Which::NotAccepted => representation::varies_by_coding(headers),
            Which::All | Which::None => Ok(()),
        };
        let is_due = is_wanted && !is_part && !exchange.end_of_stream() && representation::may_change(headers);
        let taken_off = if is_due { self.take_off(Direction::Response, headers, coding) } else { Ok(()) };
        if let Err(error) = varied.and(taken_off) {
            log::error("the response is not decompressed", &[("why", &error.to_string())]);
        }
        Decision::Proceed
    }
}

/// There is more than one coding, or an unknown one.
struct Unknown;

impl Decompress {
    /// Keeps a byte for each coding that the client accepts: a later plugin may change the field.
    fn keep_what_is_accepted(&self, exchange: &Exchange) {
        let accepted = AcceptEncoding::parse(&exchange.request_headers().values("accept-encoding"));
        let of: Vec<u8> = Coding::ALL.into_iter().filter(|coding| accepted.weight(*coding) > 0).map(id).collect();
        if let Err(error) = exchange.set_state(&of) {
            log::error("what is accepted cannot be kept", &[("why", &error.to_string())]);
        }
    }

    /// The one coding of a message; `None` if it is plain.
    fn coding(&self, headers: Headers<'_>) -> Result<Option<Coding>, Unknown> {
        let fields = headers.values("content-encoding");
        let mut found = None;
        for field in &fields {
            let field = std::str::from_utf8(field).map_err(|_| Unknown)?;
            for name in field.split(',').map(str::trim).filter(|name| !name.is_empty()) {
                if name.eq_ignore_ascii_case("identity") {
                    continue;
                }
                let coding = Coding::named(name).filter(|coding| self.codings.contains(coding)).ok_or(Unknown)?;
                if found.replace(coding).is_some() {
                    return Err(Unknown);
                }
            }
        }
        Ok(found)
    }

    fn take_off(&self, direction: Direction, headers: Headers<'_>, coding: Coding) -> Result<(), MutateError> {
        codec::decompress(direction, coding, self.bounds)?;
        headers.remove("content-encoding")?;
        representation::changed(headers)?;
        let way = if direction == Direction::Request { "request" } else { "response" };
        DECOMPRESSED.add(1, &[way, coding.token()]);
        Ok(())
    }
}

const fn id(coding: Coding) -> u8 {
    match coding {
        Coding::Gzip => b'g',
        Coding::Br => b'b',
        Coding::Zstd => b'z',
    }
}

#[cfg(test)]
mod tests;
