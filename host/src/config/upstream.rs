//! `upstreams`: the named groups of servers that requests go to.

use schemars::{JsonSchema, Schema};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::address::EndpointAddress;
use super::cookie::{CookieName, CookiePath};
use super::delivery::RetryBudget;
use super::forms::{or_short, or_text, two_forms};
use super::health::{Ejection, Health};
use super::layer4::ProxyProtocol;
use super::route::HeaderName;
use super::tls::UpstreamTls;
use super::units::Duration;

/// A named group of servers: a list of addresses, or an object with the addresses and more.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, remote = "Self")]
#[schemars(rename = "Upstream", transform = or_endpoints)]
pub struct Upstream {
    /// The servers of the group, 1 to 1000, without duplicates: "10.0.0.1:80", or an object with `address` and
    /// `weight`.
    #[schemars(length(min = 1, max = 1000))]
    pub endpoints: Vec<Endpoint>,

    /// How the endpoint of a request is chosen: a policy by name, or an object with `hash`.
    pub balance: Balance,

    /// Sticky sessions: keeps a client on the endpoint that took its first request, by a signed cookie; `{}` has every
    /// default. It takes precedence over `balance` while the endpoint exists and is available. Default: off.
    pub sticky: Option<Sticky>,

    /// How long an endpoint that is new or available again takes to reach its full share of requests, beginning with a
    /// tenth. Keys of a hash move at once. At most "1h". Default: it gets its full share at once.
    pub slow_start: Option<Duration>,

    /// What happens to requests while no endpoint is available.
    pub none_available: NoneAvailable,

    /// The protocol of the servers.
    pub protocol: UpstreamProtocol,

    /// TLS with the servers: `{}`, or an object with more. Probes use it too, except TCP probes. Default: none,
    /// connections are not encrypted.
    pub tls: Option<UpstreamTls>,

    /// How long connecting may take, including the TLS handshake and waiting for one of `max_connections`. At most
    /// "5m".
    pub connect_timeout: Duration,

    /// How long an endpoint may take from the end of the request to the head of its response. A route may override it.
    pub response_timeout: Duration,

    /// How long an endpoint may send no byte of a response body while the client is reading. At most "1h".
    pub body_timeout: Duration,

    /// How long a pooled connection may be unused before it is closed. Set it below the servers' idle timeout, so that
    /// no request is sent on a connection that is just being closed.
    pub idle_timeout: Duration,

    /// Connections to one endpoint, over all cores.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_connections: u32,

    /// Idle pooled connections to one endpoint on one core. 0 opens a connection for every request.
    #[schemars(range(min = 0, max = 100_000))]
    pub max_idle: u32,

    /// The age after which a connection is closed when its request ends, so that changes in DNS or in a load balancer
    /// behind it take effect.
    pub max_age: Duration,

    /// Concurrent requests on one HTTP/2 connection; fewer if the endpoint announces fewer.
    #[schemars(range(min = 1, max = 10_000))]
    pub max_streams: u32,

    /// Requests on one core that wait for a connection to one endpoint once `max_connections` is reached. Further ones
    /// are answered with 503 at once.
    #[schemars(range(min = 0, max = 1_000_000))]
    pub max_pending: u32,

    /// Active health checks: probes that find out which endpoints can serve. Default: none.
    pub health: Option<Health>,

    /// Passive health checks: endpoints are ejected because requests to them fail. By default, three failed connections
    /// in a row eject one for 10 seconds.
    pub ejection: Ejection,
    /// Concurrent requests to all endpoints together, over all cores. Further ones are answered with 503 at once.
    /// Default: as many as connections allow.
    #[schemars(range(min = 1, max = 10_000_000))]
    pub max_requests: Option<u32>,

    /// How many requests may be retried, by the `retries` of routes.
    pub retry_budget: RetryBudget,

    /// Begins connections with a PROXY protocol header that contains the client's address: "v1" or "v2". Only for
    /// connections forwarded by TCP listeners: an HTTP connection carries the requests of many clients, whose addresses
    /// are in `Forwarded` and `X-Forwarded-For`. Default: none.
    pub proxy_protocol: Option<ProxyProtocol>,
}
two_forms!(Upstream, short: Vec<Endpoint>);

impl Default for Upstream {
    fn default() -> Upstream {
        Upstream {
            endpoints: Vec::new(),
            balance: Balance::RoundRobin,
            sticky: None,
            slow_start: None,
            none_available: NoneAvailable::Refuse,
            protocol: UpstreamProtocol::Http1,
            tls: None,
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
            max_requests: None,
            retry_budget: RetryBudget::default(),
            proxy_protocol: None,
        }
    }
}

impl From<Vec<Endpoint>> for Upstream {
    fn from(endpoints: Vec<Endpoint>) -> Upstream {
        Upstream { endpoints, ..Upstream::default() }
    }
}

/// One server: its address, or an object with the address and more.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, remote = "Self")]
#[schemars(rename = "Endpoint", transform = or_text::<EndpointAddress>)]
pub struct Endpoint {
    /// "10.0.0.1:80", "users.internal:8080" or "[2001:db8::1]:80"; or a service, "_http._tcp.users.internal", whose SRV
    /// records give the servers with their ports, priorities and weights. Names are resolved again when their records
    /// expire; each address is an endpoint.
    pub address: EndpointAddress,

    /// Which of a name's addresses are used. Default: "ipv4-first"; for "localhost", "connection".
    #[serde(default)]
    pub resolve: Option<Resolve>,

    /// Its share of the requests, relative to the other endpoints. 0 drains it: it gets only clients that a `sticky`
    /// cookie keeps there.
    #[serde(default = "Endpoint::default_weight")]
    #[schemars(range(min = 0, max = 1000))]
    pub weight: u32,

    /// Its priority group. Group 0 gets all requests while 5 of 7 of its endpoints, by weight, are available; with
    /// fewer, the next group gets the rest, until they are back.
    #[serde(default)]
    #[schemars(range(max = 15))]
    pub priority: u32,
}
two_forms!(Endpoint, short: EndpointAddress);

impl Endpoint {
    const fn default_weight() -> u32 {
        1
    }
}

impl From<EndpointAddress> for Endpoint {
    fn from(address: EndpointAddress) -> Endpoint {
        Endpoint { address, resolve: None, weight: Endpoint::default_weight(), priority: 0 }
    }
}

/// Which of a name's addresses are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Resolve {
    /// Each IPv4 address is an endpoint; if there is none, each IPv6 address.
    Ipv4First,
    /// Each IPv6 address is an endpoint; if there is none, each IPv4 address.
    Ipv6First,
    /// Each IPv4 address is an endpoint.
    Ipv4,
    /// Each IPv6 address is an endpoint.
    Ipv6,
    /// Each address is an endpoint.
    All,
    /// The name is one endpoint. It is resolved by the system for each connection, which tries the addresses in turn
    /// (RFC 8305, "happy eyeballs").
    Connection,
}

/// How the endpoint of a request is chosen.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Balance {
    /// Each in turn, in proportion to its weight, interleaved smoothly.
    RoundRobin,
    /// Of two drawn by weight, the one with fewer requests in flight.
    LeastRequests,
    /// Of two drawn by weight, the one expected to answer first, by its recent latency (a slow response counts at once,
    /// fast ones gradually) and its requests in flight.
    PeakEwma,
    /// Any, by weight.
    Random,
    /// Always the same for requests with the same key: consistent hashing. If an endpoint goes away, only its keys
    /// move.
    Hash(Hash),
}

/// Consistent hashing by a key of requests.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Hash {
    /// The key of a request. A request without it goes to any endpoint, by weight.
    pub by: HashBy,

    /// An endpoint with more than this factor times its share of all requests in flight passes its keys to the next
    /// one, so that a hot key does not overload an endpoint. 1.25 is a good value. Default: no bound; a key has one
    /// endpoint.
    #[serde(default)]
    #[schemars(range(min = 1.0, max = 100.0))]
    pub bounded_load: Option<f64>,
}

/// The key of a request.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum HashBy {
    /// The client's address, behind `trusted_proxies`.
    Source,
    /// The path, without the query.
    Path,
    /// The caller that a plugin has authenticated.
    Identity,
    /// A header field, by name: its first line.
    Header(HeaderName),
    /// A cookie, by name.
    Cookie(CookieName),
    /// A query parameter, by name: its first value as written.
    Query(String),
}

/// Sticky sessions, by a cookie that names the endpoint, encrypted and signed.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Sticky {
    /// The cookie's name. Default: "gatewright-" and the upstream's name.
    pub cookie: Option<CookieName>,

    /// The name of a secret of at least 16 bytes that signs cookies. Default: a random key of this process, which no
    /// other gateway knows and which changes on restart.
    pub key: Option<String>,

    /// How long a client keeps the cookie after it is set. At least "1s". Default: until the browser is closed.
    pub ttl: Option<Duration>,

    /// The cookie's `Path`: clients send it with requests below that.
    pub path: CookiePath,

    /// The cookie's `SameSite`: whether it is sent with requests that come from another site.
    pub same_site: SameSite,

    /// Whether the cookie is sent over TLS only. Default: if it is set over TLS. `"same_site": "none"` requires `true`.
    pub secure: Option<bool>,
}

impl Default for Sticky {
    fn default() -> Sticky {
        Sticky { cookie: None, key: None, ttl: None, path: CookiePath::root(), same_site: SameSite::Lax, secure: None }
    }
}

/// Whether a cookie is sent with requests that come from another site.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SameSite {
    Strict,
    Lax,
    None,
}

/// What happens to requests while no endpoint is available.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum NoneAvailable {
    /// They are answered with 503.
    Refuse,
    /// They go to any of the endpoints, as if all were available: for health checks that are wrong more often than
    /// endpoints.
    UseAll,
}

/// The protocol of the servers of an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
pub enum UpstreamProtocol {
    /// HTTP/1.1 (RFC 9112), one request at a time per connection.
    #[serde(rename = "http/1.1")]
    Http1,
    /// HTTP/2 over TLS (RFC 9113), which the server must accept by ALPN. Requires `tls`.
    #[serde(rename = "h2")]
    Http2,
    /// HTTP/2 without TLS, by prior knowledge (RFC 9113, section 3.3).
    #[serde(rename = "h2c")]
    Http2Clear,
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
