//! The misdeeds.

use std::{fmt::Debug, hint::black_box, time::Duration};

use gatewright_sdk::{
    Exchange, Headers, MutateError, Response, StatusCode, clock, config, log, random,
    rate_limit::{self, Quota},
    shared_store,
};

use crate::{Hook, NOISE};

/// A misdeed.
#[config]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// Nothing at all: the control.
    Behave,
    /// For ever, without a host call.
    Loop,
    /// For ever, with host calls.
    LoopHostCalls,
    /// 10 million host calls.
    HostCalls,
    /// Takes memory until there is no more, and writes to all of it.
    Memory,
    /// An instruction that traps, without a word.
    Trap,
    /// A panic with a message.
    Panic,
    /// Reads beyond the end of a slice.
    BadIndex,
    /// Calls itself until the stack ends.
    Recursion,
    /// Ends the process, as it believes.
    Exit,
    /// Configure: an error. A header hook: abort.
    Refuse,
    /// Gives back 100 MB.
    ReturnLarge,
    /// Answers with a header that would be two.
    RespondSplit,
    /// Answers with framing of its own.
    RespondFraming,
    /// Answers with 100,000 headers.
    RespondHeaders,
    /// Answers with a status that is none.
    RespondStatus,
    /// Names and values that would break the message.
    HeaderSplit,
    /// The headers that are the gateway's.
    HeaderForbidden,
    /// 100,000 headers.
    HeadersMany,
    /// One header of 1 MiB.
    HeaderLarge,
    /// Paths, methods, authorities and a status that would break the message.
    BadTarget,
    /// A state of 16 MiB.
    StateLarge,
    /// 100,000 attributes.
    AttributesMany,
    /// 100,000 lines in the log.
    LogFlood,
    /// One line of 1 MiB.
    LogLarge,
    /// A line that would be two, with colours.
    LogInjection,
    /// 100,000 lines on what it believes to be its terminal.
    PrintFlood,
    /// Keys without end in the shared store.
    StoreFlood,
    /// A value of 16 MiB.
    StoreLarge,
    /// 1 million buckets in the limiter.
    LimiterFlood,
    /// 100,000 series of one metric.
    MetricFlood,
    /// 4 GiB of random bytes.
    Random,
    /// Body hooks: holds everything, whatever comes.
    Hold,
    /// Body hooks: 1 MiB more for each chunk.
    GrowBody,
    /// Body hooks: traps on the third chunk.
    TrapOnThird,
}

/// What the hook does after the deed.
pub(crate) enum Effect {
    Nothing,
    Refuse,
    Respond(Response),
    Bytes(Vec<u8>),
}

impl Deed {
    pub(crate) fn run(self, exchange: Option<&Exchange>, hook: Hook, count: Option<u64>) -> Effect {
        let times = |default: u64| 0..count.unwrap_or(default);
        let outcome = match self {
            Self::Behave | Self::Hold | Self::GrowBody | Self::TrapOnThird => return Effect::Nothing,
            Self::Loop => spin(),
            Self::LoopHostCalls => loop {
                black_box(clock::monotonic());
            },
            Self::HostCalls => {
                for _ in times(10_000_000) {
                    black_box(clock::monotonic());
                }
                "done".to_owned()
            }
            Self::Memory => take_memory(),
            Self::Trap => std::process::abort(),
            Self::Panic => panic!("on purpose\r\n\u{1b}[31mred"),
            Self::BadIndex => black_box([1_u8].as_slice())[black_box(7)].to_string(),
            Self::Recursion => recurse(u64::MAX).to_string(),
            Self::Exit => std::process::exit(0),
            Self::Refuse => return Effect::Refuse,
            Self::ReturnLarge => {
                return Effect::Bytes(vec![b'x'; usize::try_from(count.unwrap_or(100 << 20)).unwrap_or(0)]);
            }
            Self::RespondSplit => return Effect::Respond(ok().with_header("x-a", "1\r\nx-injected: 1")),
            Self::RespondFraming => {
                return Effect::Respond(
                    ok().with_header("content-length", "1").with_header("transfer-encoding", "chunked"),
                );
            }
            Self::RespondHeaders => {
                let headers = times(100_000).map(|index| (format!("x-{index}"), "1".to_owned())).collect();
                return Effect::Respond(Response { headers, ..ok() });
            }
            Self::RespondStatus => return Effect::Respond(Response::new(StatusCode::CONTINUE)),
            Self::HeaderSplit => {
                each(SPLITS, |(name, value)| headers(exchange, hook).map(|headers| headers.set(name, value)))
            }
            Self::HeaderForbidden => each(FORBIDDEN, |name| {
                headers(exchange, hook).map(|headers| (headers.set(name, "1"), headers.remove(name)))
            }),
            Self::HeadersMany => {
                let append = |headers: Headers<'_>, index| headers.append(format!("x-many-{index}"), "1");
                let headers = headers(exchange, hook);
                let first =
                    first_error(times(100_000).map(|index| headers.map_or(Ok(()), |headers| append(headers, index))));
                // Makes room for the report.
                let _ = headers.map(|headers| headers.remove("x-many-0"));
                first
            }
            Self::HeaderLarge => {
                let value = "x".repeat(1 << 20);
                each(["x-large"], |name| headers(exchange, hook).map(|headers| headers.set(name, &value)))
            }
            Self::BadTarget => exchange.map_or_else(String::new, bad_targets),
            Self::StateLarge => each([()], |()| exchange.map(|exchange| exchange.set_state(&vec![1; 16 << 20]))),
            Self::AttributesMany => first_error(times(100_000).map(|index| {
                exchange.map_or(Ok(()), |exchange| exchange.set_attribute(&format!("many-{index}"), &"x".repeat(1000)))
            })),
            Self::LogFlood => {
                times(100_000)
                    .for_each(|index| log::error("a line nobody asked for", &[("index", &index.to_string())]));
                "done".to_owned()
            }
            Self::LogLarge => {
                log::error(&"x".repeat(1 << 20), &[]);
                "done".to_owned()
            }
            Self::LogInjection => {
                let forged = "fine\r\n{\"level\":\"error\",\"message\":\"forged\"}\u{1b}[31m\u{0}\u{2028}";
                log::error(forged, &[("key\n", forged), ("message", "again")]);
                "done".to_owned()
            }
            Self::PrintFlood => {
                times(100_000).for_each(|_| eprintln!("a line nobody asked for"));
                "done".to_owned()
            }
            Self::StoreFlood => first_error(
                times(10_000_000)
                    .map(|index| shared_store::set(&format!("flood-{index}"), &[b'x'; 1000], None).map(drop)),
            ),
            Self::StoreLarge => each([()], |()| Some(shared_store::set("large", &vec![b'x'; 16 << 20], None))),
            Self::LimiterFlood => {
                let quota = Quota { requests: 1, per: Duration::from_secs(3600), burst: 1 };
                let refused = times(1_000_000).filter(|index| !rate_limit::take(&index.to_string(), quota, 1).allowed);
                format!("{} refused", refused.count())
            }
            Self::MetricFlood => {
                times(100_000).for_each(|index| NOISE.add(1, &[&index.to_string()]));
                "done".to_owned()
            }
            Self::Random => random::bytes(u32::MAX).len().to_string(),
        };
        report(exchange, hook, &outcome);
        Effect::Nothing
    }
}

pub(crate) const fn ok() -> Response {
    Response::new(StatusCode::OK)
}

fn spin() -> ! {
    loop {
        std::hint::spin_loop();
    }
}

/// Down to the last page, in pieces of 64 KiB, each written to.
fn take_memory() -> String {
    let mut pieces: Vec<Vec<u8>> = Vec::new();
    loop {
        let mut piece: Vec<u8> = Vec::new();
        if pieces.try_reserve(1).is_err() || piece.try_reserve_exact(PIECE_BYTES).is_err() {
            return format!("{} MiB", (black_box(&pieces).len() * PIECE_BYTES) >> 20);
        }
        piece.resize(PIECE_BYTES, 0xaa);
        pieces.push(piece);
    }
}

const PIECE_BYTES: usize = 64 << 10;

#[allow(unconditional_recursion)]
fn recurse(depth: u64) -> u64 {
    let frame = black_box([depth; 32]);
    recurse(black_box(depth.wrapping_sub(1))).wrapping_add(frame[7])
}

/// The block that may be changed in this hook, if any.
fn headers(exchange: Option<&Exchange>, hook: Hook) -> Option<Headers<'_>> {
    match hook {
        Hook::OnRequest | Hook::OnRequestBody => exchange.map(Exchange::request_headers),
        Hook::OnResponse | Hook::OnResponseBody | Hook::OnComplete => exchange.map(Exchange::response_headers),
        Hook::Configure | Hook::OnTick => None,
    }
}

fn bad_targets(exchange: &Exchange) -> String {
    let paths = each(BAD_PATHS, |path| Some(exchange.set_path(path)));
    let authorities = each(["a\r\nb", "user@host", "", "a b"], |authority| Some(exchange.set_authority(authority)));
    let upstream = exchange.set_upstream("nowhere");
    format!("{paths} {authorities} {upstream:?} {:?}", exchange.set_status(StatusCode::SWITCHING_PROTOCOLS))
}

fn each<T, R: Debug>(all: impl IntoIterator<Item = T>, call: impl Fn(T) -> Option<R>) -> String {
    let outcomes: Vec<String> =
        all.into_iter().map(|one| call(one).map_or_else(String::new, |outcome| format!("{outcome:?}"))).collect();
    outcomes.join(" ")
}

fn first_error<E: Debug>(outcomes: impl Iterator<Item = Result<(), E>>) -> String {
    let first =
        outcomes.enumerate().find_map(|(index, outcome)| outcome.err().map(|error| format!("{index}: {error:?}")));
    first.unwrap_or_else(|| "no error".to_owned())
}

fn report(exchange: Option<&Exchange>, hook: Hook, outcome: &str) {
    let Some(exchange) = exchange else { return log::info("outcome", &[("outcome", outcome)]) };
    let _: Result<(), MutateError> = exchange.set_attribute("outcome", outcome);
    if let Some(headers) = headers(Some(exchange), hook) {
        let _ = headers.set("x-outcome", outcome);
    }
}

const SPLITS: [(&str, &str); 12] = [
    ("x-a", "1\r\nx-injected: 1"),
    ("x-a", "1\nx-injected: 1"),
    ("x-a", "1\rx-injected: 1"),
    ("x-a", "1\0"),
    ("x-a", "1\u{7f}"),
    ("x-a\r\nx-injected", "1"),
    ("x a", "1"),
    ("x:a", "1"),
    (":path", "/"),
    ("", "1"),
    ("x\0", "1"),
    ("x-ä", "1"),
];

const FORBIDDEN: [&str; 12] = [
    "content-length",
    "Transfer-Encoding",
    "CONNECTION",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "upgrade",
    "expect",
    "http2-settings",
    ":authority",
];

const BAD_PATHS: [&str; 9] = ["", "a", "*", "/a b", "/a\r\nx: y", "/\0", "/a/../b", "/%2e%2e/b", "http://elsewhere/"];
