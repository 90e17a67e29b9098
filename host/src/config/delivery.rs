//! How requests get to their upstream when something goes wrong: timeouts, retries, and concurrency limits.

use schemars::{JsonSchema, Schema};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::forms::{or_short, two_forms};
use super::route::Method;
use super::units::{Duration, Size};

/// How long a request of this route may take. What is left out is not limited here; the upstream's own timeouts hold.
#[derive(Clone, Debug, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RouteTimeouts {
    /// From the head of the request to the head of the response, with everything between: the request hooks of plugins,
    /// waiting for a connection, the request's body, every attempt and the waits between them. Then the attempt under
    /// way is cancelled and the client gets 504. It never cuts a plugin's hook short, which has limits of its own, nor a
    /// response whose head has come. Gateway API calls it `timeouts.request`.
    pub request: Option<Duration>,

    /// One attempt: from the moment when an endpoint is chosen, with connecting and the request's body, to the head of
    /// the response. In place of the upstream's `response_timeout`, so it may be longer or shorter. Then the attempt is
    /// cancelled, and retried where `retries` has "timeout". Gateway API calls it `timeouts.backendRequest`.
    pub attempt: Option<Duration>,
}

/// When a request is sent again. `{}` is every default. Nothing is sent again once a byte of a response is with the
/// client. A request of which an endpoint can have got nothing is sent to another endpoint even without this key: up to
/// three are tried.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Retries {
    /// Attempts in all, the first included. 1 never sends again, not even to another endpoint.
    #[schemars(range(min = 1, max = 10))]
    pub attempts: u32,

    /// What is tried again.
    #[schemars(length(max = 10), extend("uniqueItems" = true))]
    pub on: Vec<RetryOn>,

    /// Statuses of responses that are tried again, beside those of `on`: such as [429, 503].
    #[schemars(length(max = 50), inner(range(min = 400, max = 599)), extend("uniqueItems" = true))]
    pub statuses: Vec<u16>,

    /// Statuses of gRPC that are tried again where the response ends with its head, which is how servers refuse calls.
    /// gRPC calls are POST, so `methods` has to have it.
    #[schemars(length(max = 20), extend("uniqueItems" = true))]
    pub grpc_statuses: Vec<GrpcStatus>,

    /// The methods whose requests may reach an endpoint twice. Default: those that are idempotent by definition (RFC
    /// 9110, section 9.2.2), "GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE".
    #[schemars(length(min = 1, max = 50), extend("uniqueItems" = true))]
    pub methods: Option<Vec<Method>>,

    /// A request body is kept up to this length, to be sent again; a request with a longer one is tried once. At most
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

/// What is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RetryOn {
    /// No connection could be made or none was free. Another endpoint is tried in any case; with this, the same one is,
    /// too, where there is no other.
    ConnectFailure,
    /// The connection or the stream ended before the head of a response was there.
    Reset,
    /// The response did not begin in time.
    Timeout,
    /// What came is not HTTP, or over a limit.
    BadResponse,
    /// 502, 503 and 504.
    GatewayError,
    /// Every status from 500 to 599.
    #[serde(rename = "5xx")]
    ServerError,
}

/// A status of gRPC that may be worth another attempt.
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

/// Waits at random, up to a bound that doubles with each attempt.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Backoff {
    /// The bound before the second attempt. At most "1m".
    pub base: Duration,

    /// What the bound grows to at most. At most "1m".
    pub max: Duration,
}

impl Default for Backoff {
    fn default() -> Backoff {
        Backoff { base: Duration::milliseconds(25), max: Duration::milliseconds(250) }
    }
}

/// How many of the requests to an upstream may be tried again, so that retries do not finish off what is overloaded: a
/// share of the requests of the last ten seconds, and so many per second beside. Trying another endpoint because nothing
/// could be sent to the first costs nothing of it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RetryBudget {
    /// So many of a hundred requests.
    #[schemars(range(min = 0, max = 100))]
    pub percent: u32,

    /// So many in a second, however few requests there are.
    #[schemars(range(min = 0, max = 100_000))]
    pub min_per_second: u32,
}

impl Default for RetryBudget {
    fn default() -> RetryBudget {
        RetryBudget { percent: 20, min_per_second: 10 }
    }
}

/// Requests of a route at the same time, over all cores: a number, or an object with a queue. What is over it is
/// answered with 503 and `Retry-After`, before any plugin runs.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, remote = "Self")]
#[schemars(rename = "Concurrency", transform = or_number)]
pub struct Concurrency {
    /// Requests at the same time, each until the last byte of its response is sent.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub requests: u32,

    /// Requests that may wait for their turn, in the order in which they came.
    #[serde(default)]
    #[schemars(range(min = 0, max = 100_000))]
    pub queue: u32,

    /// How long each of them may wait. At most "1m".
    #[serde(default = "Concurrency::default_queue_timeout")]
    pub queue_timeout: Duration,

    /// What `Retry-After` says, in whole seconds.
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
