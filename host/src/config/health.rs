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

/// Active health checks: probes that find out whether an endpoint can serve. HTTP requests, unless `tcp` or `grpc` is
/// set. Each probe has its own connection, made like those for requests.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Health {
    /// The path of an HTTP probe, beginning with "/"; it may have a query.
    #[schemars(regex(pattern = r"^/[!-\x22\x24-~]*$"), length(max = 2048))]
    pub path: String,

    /// The method of an HTTP probe.
    pub method: Method,

    /// The host in an HTTP or gRPC probe. Default: the endpoint's address.
    #[schemars(regex(pattern = r"^[!-\x22\x24-.0->A-~]+$"), length(max = 255))]
    pub host: Option<String>,

    /// Header fields of an HTTP or gRPC probe. Default: none besides `User-Agent`.
    #[schemars(transform = keyed_by_header_name)]
    pub headers: BTreeMap<HeaderName, String>,

    /// What the response to an HTTP probe must be.
    pub expect: Expect,

    /// TCP probes instead of HTTP. With `{}`, a connection is enough.
    pub tcp: Option<TcpHealth>,

    /// gRPC probes instead of HTTP: calls of `grpc.health.v1.Health/Check`.
    pub grpc: Option<GrpcHealth>,

    /// The port of probes. Default: the endpoint's own.
    #[schemars(range(min = 1))]
    pub port: Option<u16>,

    /// The time from the start of one probe to the start of the next.
    pub interval: Duration,

    /// The percentage by which each interval is randomly lengthened or shortened, so that probes of several gateways do
    /// not coincide.
    #[schemars(range(max = 50))]
    pub jitter: u8,

    /// How long a probe may take, including the connection. At most the interval. Default: "2s", or the interval if
    /// shorter.
    pub timeout: Option<Duration>,

    /// Successful probes in a row that make an unhealthy endpoint healthy.
    #[schemars(range(min = 1, max = 100))]
    pub rise: u32,

    /// Failed probes in a row that make a healthy endpoint unhealthy.
    #[schemars(range(min = 1, max = 100))]
    pub fall: u32,

    /// The state of a new endpoint until its first probe, which decides by itself.
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

/// The state of an endpoint before its first probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum InitialHealth {
    /// It takes requests immediately.
    Healthy,
    /// It takes no requests until its first probe.
    Unhealthy,
}

/// What the response to an HTTP probe must be.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Expect {
    /// Its status: "200", "200-299", or a list of these.
    #[serde(deserialize_with = "one_or_many")]
    #[schemars(transform = or_one_alone, length(min = 1, max = 32))]
    pub status: Vec<StatusRange>,

    /// Text that must occur in the first 64 KiB of the body. Default: the body is not read.
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
    /// Text to send once connected. Default: nothing.
    #[schemars(length(min = 1, max = 1024))]
    pub send: Option<String>,

    /// Text that must be received within the first 64 KiB. Default: nothing.
    #[schemars(length(min = 1, max = 1024))]
    pub expect: Option<String>,
}

/// A gRPC probe. It passes if the response is SERVING.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct GrpcHealth {
    /// The service to ask about. Default: "", the server as a whole.
    #[schemars(length(max = 255))]
    pub service: String,
}

/// Passive health checks: endpoints are ejected because requests to them fail. An ejected endpoint takes no requests
/// for a while; after that, its first failure ejects it again.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Ejection {
    /// What counts as a failure. An empty list turns ejection off.
    #[schemars(extend("uniqueItems" = true))]
    pub on: Vec<EjectOn>,

    /// Failures in a row that eject an endpoint.
    #[schemars(range(min = 1, max = 1000))]
    pub consecutive: u32,

    /// Ejects endpoints whose success rate is lower than that of the others. Default: off; `{}` turns it on.
    pub success_rate: Option<SuccessRate>,

    /// How long the first ejection lasts. Each further one lasts twice as long as the one before, until the endpoint
    /// has been healthy for as long as it was ejected.
    pub time: Duration,

    /// The longest ejection. At most "1d". Default: "5m", or `time` if longer.
    pub max_time: Option<Duration>,

    /// The percentage of endpoints that may be ejected at the same time. One always may; the last available one is
    /// never ejected, unless this is 100. A priority group may be ejected whole while a later one is available.
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
    /// No connection could be made: refused, timed out, or TLS failed.
    #[serde(rename = "connect-failure")]
    ConnectFailure,
    /// The connection ended before a response started, or the response is not valid.
    #[serde(rename = "reset")]
    Reset,
    /// The response did not start within `response_timeout`.
    #[serde(rename = "timeout")]
    Timeout,
    /// A response with status 502, 503 or 504.
    #[serde(rename = "gateway-error")]
    GatewayError,
    /// A response with status 500 or above.
    #[serde(rename = "5xx")]
    ServerError,
}

/// Ejects endpoints whose success rate is lower than that of the others.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SuccessRate {
    /// An endpoint is ejected if its success rate is more than this many percentage points below the mean of the
    /// others.
    #[schemars(range(min = 1, max = 99))]
    pub margin: u8,

    /// How often success rates are compared, each time for the requests since the last comparison. From "100ms" to
    /// "1h".
    pub window: Duration,

    /// Requests that an endpoint must have had in the window to be compared.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub min_requests: u32,

    /// Endpoints that must have had that many requests for any comparison.
    #[schemars(range(min = 2, max = 1000))]
    pub min_endpoints: u32,
}

impl Default for SuccessRate {
    fn default() -> SuccessRate {
        SuccessRate { margin: 30, window: Duration::seconds(10), min_requests: 100, min_endpoints: 3 }
    }
}

/// HTTP statuses: `"200"` or `"200-299"`.
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
