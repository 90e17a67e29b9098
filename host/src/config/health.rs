//! `health` and `ejection` of an upstream: how the gateway finds out which endpoints can take requests.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::forms::{keyed_by_header_name, one_or_many, or_one_alone};
use super::route::{HeaderName, Method};
use super::text::{Written, written_as_text};
use super::units::Duration;

/// Probes: requests of the gateway's own that find out whether an endpoint can serve. An HTTP request, unless `tcp` or
/// `grpc` says otherwise. Each goes over a connection of its own, made as those for requests are.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Health {
    /// The path that an HTTP probe asks for, from its "/" on; it may have a query.
    #[schemars(regex(pattern = r"^/[!-\x22\x24-~]*$"), length(max = 2048))]
    pub path: String,

    /// The method of an HTTP probe.
    pub method: Method,

    /// The host that an HTTP or gRPC probe names. Default: the endpoint's address.
    #[schemars(regex(pattern = r"^[!-\x22\x24-.0->A-~]+$"), length(max = 255))]
    pub host: Option<String>,

    /// Header fields of an HTTP or gRPC probe. Default: none besides `User-Agent`.
    #[schemars(transform = keyed_by_header_name)]
    pub headers: BTreeMap<HeaderName, String>,

    /// What the answer to an HTTP probe has to be.
    pub expect: Expect,

    /// Probes that make a TCP connection, in place of HTTP. `{}` asks for no more than that.
    pub tcp: Option<TcpHealth>,

    /// Probes that call `grpc.health.v1.Health/Check`, in place of HTTP.
    pub grpc: Option<GrpcHealth>,

    /// The port that probes go to. Default: the endpoint's own.
    #[schemars(range(min = 1))]
    pub port: Option<u16>,

    /// From the start of a probe to the start of the next one.
    pub interval: Duration,

    /// By how many percent of itself each interval is made longer or shorter, at random, so that the probes of many
    /// gateways do not come together.
    #[schemars(range(max = 50))]
    pub jitter: u8,

    /// How long a probe may take, the connection included. At most the interval. Default: "2s", or the interval where
    /// that is shorter.
    pub timeout: Option<Duration>,

    /// After so many passed probes in a row, an unhealthy endpoint is healthy.
    #[schemars(range(min = 1, max = 100))]
    pub rise: u32,

    /// After so many failed probes in a row, a healthy endpoint is unhealthy.
    #[schemars(range(min = 1, max = 100))]
    pub fall: u32,

    /// What an endpoint that is new is until its first probe, which alone decides.
    pub initial: InitialHealth,
}

impl Default for Health {
    fn default() -> Health {
        Health {
            path: "/".to_owned(),
            method: Method::get(),
            host: None,
            headers: BTreeMap::new(),
            expect: Expect::default(),
            tcp: None,
            grpc: None,
            port: None,
            interval: Duration::seconds(5),
            jitter: 10,
            timeout: None,
            rise: 2,
            fall: 3,
            initial: InitialHealth::Healthy,
        }
    }
}

impl Health {
    /// How long a probe may take.
    pub fn timeout(&self) -> Duration {
        self.timeout.unwrap_or_else(|| Duration::seconds(2).min(self.interval))
    }
}

/// What an endpoint is before anything is known of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum InitialHealth {
    /// It takes requests at once.
    Healthy,
    /// It waits for its first probe.
    Unhealthy,
}

/// What the answer to an HTTP probe has to be.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Expect {
    /// Its status: "200", "200-299", or a list of such.
    #[serde(deserialize_with = "one_or_many")]
    #[schemars(transform = or_one_alone, length(min = 1, max = 32))]
    pub status: Vec<StatusRange>,

    /// A text that is in the first 64 KiB of its body. Default: the body is not read.
    #[schemars(length(min = 1, max = 1024))]
    pub body: Option<String>,
}

impl Default for Expect {
    fn default() -> Expect {
        Expect { status: vec![StatusRange { first: 200, last: 399 }], body: None }
    }
}

/// A TCP probe.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TcpHealth {
    /// A text to send when the connection is made. Default: nothing.
    #[schemars(length(min = 1, max = 1024))]
    pub send: Option<String>,

    /// A text that has to come within the first 64 KiB. Default: nothing has to come.
    #[schemars(length(min = 1, max = 1024))]
    pub expect: Option<String>,
}

/// A gRPC probe. It passes where the answer is SERVING.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct GrpcHealth {
    /// The service that is asked about. Default: "", which is the server as a whole.
    #[schemars(length(max = 255))]
    pub service: String,
}

/// When endpoints are left out because requests to them fail. An ejected endpoint takes no requests for a while; when
/// it is back, its first failure ejects it again.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Ejection {
    /// What counts as a failure. An empty list turns ejection off.
    #[schemars(extend("uniqueItems" = true))]
    pub on: Vec<EjectOn>,

    /// So many failures in a row eject an endpoint.
    #[schemars(range(min = 1, max = 1000))]
    pub consecutive: u32,

    /// Ejects endpoints that fail more of their requests than the others do. Default: off; `{}` turns it on.
    pub success_rate: Option<SuccessRate>,

    /// How long the first ejection lasts. Each lasts twice as long as the one before, until the endpoint was well for
    /// as long as it had been ejected.
    pub time: Duration,

    /// The longest ejection. At most "1d". Default: "5m", or `time` where that is longer.
    pub max_time: Option<Duration>,

    /// The share of the endpoints, in percent, that may be ejected at the same time. One may always be; the last one
    /// that is available stays in, unless this is 100.
    #[schemars(range(min = 1, max = 100))]
    pub max_ejected: u8,
}

impl Default for Ejection {
    fn default() -> Ejection {
        Ejection {
            on: vec![EjectOn::ConnectFailure],
            consecutive: 3,
            success_rate: None,
            time: Duration::seconds(10),
            max_time: None,
            max_ejected: 50,
        }
    }
}

impl Ejection {
    /// The longest ejection.
    pub fn max_time(&self) -> Duration {
        self.max_time.unwrap_or_else(|| Duration::seconds(300).max(self.time))
    }
}

/// What counts as a failure of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum EjectOn {
    /// No connection can be made: refused, not in time, or TLS fails.
    #[serde(rename = "connect-failure")]
    ConnectFailure,
    /// The connection ends before an answer begins, or what comes is no answer.
    #[serde(rename = "reset")]
    Reset,
    /// The answer does not begin within `response_timeout`.
    #[serde(rename = "timeout")]
    Timeout,
    /// An answer of 502, 503 or 504.
    #[serde(rename = "gateway-error")]
    GatewayError,
    /// An answer of 500 or above.
    #[serde(rename = "5xx")]
    ServerError,
}

/// Endpoints that fail more of their requests than the others do.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SuccessRate {
    /// An endpoint is ejected whose rate of success is by more percentage points than this below the mean of the
    /// others.
    #[schemars(range(min = 1, max = 99))]
    pub margin: u8,

    /// How often that is looked at, each time for the requests since the last. From "100ms" to "1h".
    pub window: Duration,

    /// Requests in the window, for an endpoint to be compared.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub min_requests: u32,

    /// Endpoints with that many requests, for anything to be compared.
    #[schemars(range(min = 2, max = 1000))]
    pub min_endpoints: u32,
}

impl Default for SuccessRate {
    fn default() -> SuccessRate {
        SuccessRate { margin: 30, window: Duration::seconds(10), min_requests: 100, min_endpoints: 3 }
    }
}

/// Statuses of HTTP: `"200"` or `"200-299"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StatusRange {
    first: u16,
    last: u16,
}

impl StatusRange {
    pub fn get(self) -> RangeInclusive<u16> {
        self.first..=self.last
    }
}

impl FromStr for StatusRange {
    type Err = String;

    fn from_str(text: &str) -> Result<StatusRange, String> {
        let status = |text: &str| {
            let digits = text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_digit());
            let status = text.parse::<u16>().ok().filter(|status| digits && (100..=599).contains(status));
            status.ok_or_else(|| "a status is from 100 to 599".to_owned())
        };
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let range = StatusRange { first: status(first)?, last: status(last)? };
        if range.first > range.last {
            return Err("the range ends before it begins".to_owned());
        }
        Ok(range)
    }
}

impl Written for StatusRange {
    const FORMAT: &'static str = "gateway-status-range";
    const NOUN: &'static str = "a status or a range of them";
    const HINT: &'static str = "\"200\", \"200-299\"";
    const PATTERN: Option<&'static str> = Some("^[1-5][0-9][0-9](-[1-5][0-9][0-9])?$");
    const EXAMPLES: &'static [&'static str] = &["200", "200-399"];
}
written_as_text!(StatusRange);
