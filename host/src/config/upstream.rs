//! `upstreams`: the named groups of servers that requests go to.

use schemars::{JsonSchema, Schema};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::address::EndpointAddress;
use super::forms::{or_short, or_text, two_forms};
use super::health::{Ejection, Health};
use super::units::Duration;

/// A named group of servers: a list of addresses, or an object with them and more.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, remote = "Self")]
#[schemars(rename = "Upstream", transform = or_endpoints)]
pub struct Upstream {
    /// The servers of the group, 1 to 1000, each once: "10.0.0.1:80", or an object with `address` and `weight`.
    #[schemars(length(min = 1, max = 1000))]
    pub endpoints: Vec<Endpoint>,

    /// Which endpoint the next request goes to.
    pub balance: Balance,

    /// What the servers speak.
    pub protocol: UpstreamProtocol,

    /// How long connecting may take, waiting for one of `max_connections` included. At most "5m".
    pub connect_timeout: Duration,

    /// How long an endpoint may take from the end of the request to the head of its response. A route may say
    /// otherwise.
    pub response_timeout: Duration,

    /// How long an endpoint may bring no byte of a response's body while the client takes them. At most "1h".
    pub body_timeout: Duration,

    /// A pooled connection that nobody used for so long is closed. It should be below the idle timeout of the servers,
    /// so that a request does not meet a connection that is just being closed.
    pub idle_timeout: Duration,

    /// Connections to one endpoint at the same time, over all cores.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_connections: u32,

    /// Pooled connections that wait for work, to one endpoint on one core. 0 opens a connection for every request.
    #[schemars(range(min = 0, max = 100_000))]
    pub max_idle: u32,

    /// A connection older than that is closed after its request, so that a change in DNS or in a load balancer behind
    /// gets through.
    pub max_age: Duration,

    /// Requests at the same time on one HTTP/2 connection; fewer where the endpoint announces fewer.
    #[schemars(range(min = 1, max = 10_000))]
    pub max_streams: u32,

    /// Requests that wait on one core for a connection to one endpoint when `max_connections` is reached. More are
    /// answered with 503 at once.
    #[schemars(range(min = 0, max = 1_000_000))]
    pub max_pending: u32,

    /// Probes that find out which endpoints can serve. Default: none.
    pub health: Option<Health>,

    /// When endpoints are left out because requests to them fail. By default three failed connections in a row take one
    /// out for 10 seconds.
    pub ejection: Ejection,
}
two_forms!(Upstream, short: Vec<Endpoint>);

impl Default for Upstream {
    fn default() -> Upstream {
        Upstream {
            endpoints: Vec::new(),
            balance: Balance::RoundRobin,
            protocol: UpstreamProtocol::Http1,
            connect_timeout: Duration::seconds(2),
            response_timeout: Duration::seconds(30),
            body_timeout: Duration::seconds(300),
            idle_timeout: Duration::seconds(50),
            max_connections: 1024,
            max_idle: 128,
            max_age: Duration::seconds(3600),
            max_streams: 100,
            max_pending: 1024,
            health: None,
            ejection: Ejection::default(),
        }
    }
}

impl From<Vec<Endpoint>> for Upstream {
    fn from(endpoints: Vec<Endpoint>) -> Upstream {
        Upstream { endpoints, ..Upstream::default() }
    }
}

/// One server: its address, or an object with it and its weight.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, remote = "Self")]
#[schemars(rename = "Endpoint", transform = or_text::<EndpointAddress>)]
pub struct Endpoint {
    /// "10.0.0.1:80", "users.internal:8080" or "[2001:db8::1]:80".
    pub address: EndpointAddress,

    /// Its share of the requests, beside those of the other endpoints.
    #[serde(default = "Endpoint::default_weight")]
    #[schemars(range(min = 1, max = 1000))]
    pub weight: u32,
}
two_forms!(Endpoint, short: EndpointAddress);

impl Endpoint {
    const fn default_weight() -> u32 {
        1
    }
}

impl From<EndpointAddress> for Endpoint {
    fn from(address: EndpointAddress) -> Endpoint {
        Endpoint { address, weight: Endpoint::default_weight() }
    }
}

/// Which endpoint the next request goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Balance {
    /// Each in turn, as often as its weight says, evenly mixed.
    RoundRobin,
    /// Of two chosen at random by weight, the one with fewer requests under way.
    LeastRequests,
    /// Any, by weight.
    Random,
}

/// What the servers of an upstream speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
pub enum UpstreamProtocol {
    /// HTTP/1.1 (RFC 9112), one request at a time per connection.
    #[serde(rename = "http/1.1")]
    Http1,
    /// HTTP/2 without TLS, by prior knowledge (RFC 9113, section 3.3).
    #[serde(rename = "h2c")]
    Http2,
}

fn or_endpoints(schema: &mut Schema) {
    let endpoints = schema.pointer("/properties/endpoints").cloned();
    let mut short = endpoints.unwrap_or_else(|| json!({ "type": "array" }));
    if let Some(short) = short.as_object_mut() {
        short.remove("description");
    }
    schema.insert("required".to_owned(), json!(["endpoints"]));
    or_short(schema, short);
}
