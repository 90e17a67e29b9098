//! What happens to requests when an upstream fails or is slow: timeouts, retries and concurrency limits.

use schemars::{JsonSchema, Schema};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::forms::{or_short, two_forms};
use super::route::Method;
use super::units::{Duration, Size};

/// How long a request of this route may take. A key that is left out sets no limit here; the upstream's own timeouts
/// still apply.
#[derive(Clone, Debug, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RouteTimeouts {
    /// From the head of the request to the head of the response, including everything between: request hooks of
    /// plugins, waiting for a connection, the request body, all attempts and the backoff between them. After that, the
    /// current attempt is cancelled and the client gets 504, or 408 if the rest of its request is still to come. It
    /// interrupts neither a plugin's hook, which has its own limits, nor a response whose head has arrived. In the
    /// Gateway API: `timeouts.request`.
    pub request: Option<Duration>,

    /// One attempt: from choosing an endpoint, including connecting and the request body, to the head of the response.
    /// It replaces the upstream's `response_timeout`, so it may be longer or shorter. After that, the attempt is
    /// cancelled, and retried if `retries` has "timeout", unless the rest of the request is still to come. In the
    /// Gateway API: `timeouts.backendRequest`.
    pub attempt: Option<Duration>,
}

/// When a request is retried. `{}` has every default. No request is retried once a byte of a response has been sent to
/// the client. If nothing of a request can have reached an endpoint, another endpoint is tried even without this key,
/// up to three in all.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Retries {
    /// Attempts in all, including the first. 1 disables retries, even with another endpoint.
    #[schemars(range(min = 1, max = 10))]
    pub attempts: u32,

    /// What is retried.
    #[schemars(length(max = 10), extend("uniqueItems" = true))]
    pub on: Vec<RetryOn>,

    /// Additional response statuses that are retried, such as [429, 503].
    #[schemars(length(max = 50), inner(range(min = 400, max = 599)), extend("uniqueItems" = true))]
    pub statuses: Vec<u16>,

    /// gRPC statuses that are retried if the response ends with its head, which is how servers refuse calls. gRPC calls
    /// are POST requests, so `methods` must include "POST".
    #[schemars(length(max = 20), extend("uniqueItems" = true))]
    pub grpc_statuses: Vec<GrpcStatus>,

    /// The methods whose requests may reach an endpoint twice. Default: the methods that are idempotent by definition
    /// (RFC 9110, section 9.2.2), "GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE".
    #[schemars(length(min = 1, max = 50), extend("uniqueItems" = true))]
    pub methods: Option<Vec<Method>>,

    /// The largest request body that is kept for a retry; a request with a larger one gets one attempt. At most
    /// "10MiB".
    pub max_body: Size,

    /// How long to wait before another attempt.
    pub backoff: Backoff,
}

impl Default for Retries {
    fn default() -> Retries {
        Retries {
            attempts: 3,
            on: vec![RetryOn::ConnectFailure, RetryOn::Reset, RetryOn::Timeout, RetryOn::GatewayError],
            statuses: Vec::new(),
            grpc_statuses: Vec::new(),
            methods: None,
            max_body: Size::kibibytes(64),
            backoff: Backoff::default(),
        }
    }
}

/// What is retried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RetryOn {
    /// No connection could be made, or none was free. Another endpoint is tried in any case; with this, the same one is
    /// tried again if there is no other.
    ConnectFailure,
    /// The connection or the stream ended before the head of a response.
    Reset,
    /// The response did not start in time.
    Timeout,
    /// The response is not HTTP, or exceeds a limit.
    BadResponse,
    /// 502, 503 and 504.
    GatewayError,
    /// Any status from 500 to 599.
    #[serde(rename = "5xx")]
    ServerError,
}

/// A gRPC status that may be worth another attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum GrpcStatus {
    Cancelled = 1,
    Unknown = 2,
    DeadlineExceeded = 4,
    ResourceExhausted = 8,
    Aborted = 10,
    Internal = 13,
    Unavailable = 14,
}

/// Random waits, up to a bound that doubles with each attempt.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Backoff {
    /// The bound before the second attempt. At most "1m".
    pub base: Duration,

    /// The largest value of that bound. At most "1m".
    pub max: Duration,
}

impl Default for Backoff {
    fn default() -> Backoff {
        Backoff { base: Duration::milliseconds(25), max: Duration::milliseconds(250) }
    }
}

/// How many requests to an upstream may be retried, so that retries do not finish off an overloaded upstream: a
/// percentage of the requests of the last ten seconds, plus a number per second. Trying another endpoint because
/// nothing could be sent to the first does not count.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RetryBudget {
    /// The percentage of requests that may be retried.
    #[schemars(range(min = 0, max = 100))]
    pub percent: u32,

    /// Retries that are allowed per second in addition, however few requests there are.
    #[schemars(range(min = 0, max = 100_000))]
    pub min_per_second: u32,
}

impl Default for RetryBudget {
    fn default() -> RetryBudget {
        RetryBudget { percent: 20, min_per_second: 10 }
    }
}

/// Concurrent requests of a route, over all cores: a number, or an object with a queue. Further ones are answered with
/// 503 and `Retry-After`, before any plugin runs.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, remote = "Self")]
#[schemars(rename = "Concurrency", transform = or_number)]
pub struct Concurrency {
    /// Concurrent requests. Each counts until the last byte of its response is sent.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub requests: u32,

    /// Requests that may wait for their turn, in order of arrival.
    #[serde(default)]
    #[schemars(range(min = 0, max = 100_000))]
    pub queue: u32,

    /// How long each of them may wait. At most "1m".
    #[serde(default = "Concurrency::default_queue_timeout")]
    pub queue_timeout: Duration,

    /// The value of `Retry-After`, in whole seconds.
    #[serde(default = "Concurrency::default_retry_after")]
    pub retry_after: Duration,
}
two_forms!(Concurrency, short: u32);

impl Concurrency {
    const fn default_queue_timeout() -> Duration {
        Duration::seconds(1)
    }

    const fn default_retry_after() -> Duration {
        Duration::seconds(1)
    }
}

impl From<u32> for Concurrency {
    fn from(requests: u32) -> Concurrency {
        Concurrency {
            requests,
            queue: 0,
            queue_timeout: Concurrency::default_queue_timeout(),
            retry_after: Concurrency::default_retry_after(),
        }
    }
}

fn or_number(schema: &mut Schema) {
    or_short(schema, json!({ "type": "integer", "minimum": 1, "maximum": 1_000_000 }));
}
