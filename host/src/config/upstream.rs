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

/// A named group of servers: a list of addresses, or an object with them and more.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, remote = "Self")]
#[schemars(rename = "Upstream", transform = or_endpoints)]
pub struct Upstream {
    /// The servers of the group, 1 to 1000, each once: "10.0.0.1:80", or an object with `address` and `weight`.
    #[schemars(length(min = 1, max = 1000))]
    pub endpoints: Vec<Endpoint>,

    /// Which endpoint the next request goes to: a policy by name, or an object with `hash`.
    pub balance: Balance,

    /// Keeps a client at the endpoint that took its first request, by a signed cookie; `{}` has every default. It
    /// comes before `balance`, while the endpoint is there and available. Default: none.
    pub sticky: Option<Sticky>,

    /// How long an endpoint that has come or come back takes to get its full share of requests, beginning with a
    /// tenth. Keys of a hash move at once. At most "1h". Default: it gets its full share at once.
    pub slow_start: Option<Duration>,

    /// What happens to requests while none of the endpoints is available.
    pub none_available: NoneAvailable,

    /// What the servers speak.
    pub protocol: UpstreamProtocol,

    /// TLS with the servers: `{}`, or an object with more. Probes speak it, too, but those of a TCP connection. Default:
    /// none, they are spoken to in the clear.
    pub tls: Option<UpstreamTls>,

    /// How long connecting may take, the TLS handshake and waiting for one of `max_connections` included. At most "5m".
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
    /// Requests to all endpoints together at the same time, over all cores. More are answered with 503 at once. Default:
    /// as many as connections allow.
    #[schemars(range(min = 1, max = 10_000_000))]
    pub max_requests: Option<u32>,

    /// How many requests may be sent again, by the `retries` of routes.
    pub retry_budget: RetryBudget,

    /// Whether connections begin with a header of the PROXY protocol that names the client: "v1" or "v2". Only for what
    /// TCP listeners forward: a connection for HTTP carries the requests of many clients, and tells each of them in
    /// `Forwarded` and `X-Forwarded-For`. Default: none.
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

/// One server: its address, or an object with it and more.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, remote = "Self")]
#[schemars(rename = "Endpoint", transform = or_text::<EndpointAddress>)]
pub struct Endpoint {
    /// "10.0.0.1:80", "users.internal:8080" or "[2001:db8::1]:80"; or a service, "_http._tcp.users.internal", whose SRV
    /// records give the servers with their ports, priorities and weights. Names are asked for again when what they
    /// stand for expires; each address is an endpoint.
    pub address: EndpointAddress,

    /// What of a name's addresses is used. Default: "ipv4-first"; for "localhost", "connection".
    #[serde(default)]
    pub resolve: Option<Resolve>,

    /// Its share of the requests, beside those of the other endpoints. 0 drains it: it gets only clients that a
    /// `sticky` cookie keeps there.
    #[serde(default = "Endpoint::default_weight")]
    #[schemars(range(min = 0, max = 1000))]
    pub weight: u32,

    /// The group it is in. Group 0 gets all requests while 5 of 7 of its endpoints, by weight, are available; with
    /// fewer, the next group gets what is missing, and it goes back when they return.
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

/// What of a name's addresses is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Resolve {
    /// Each IPv4 address is an endpoint; where there is none, each IPv6 address.
    Ipv4First,
    /// The other way round.
    Ipv6First,
    /// Each IPv4 address is an endpoint.
    Ipv4,
    /// Each IPv6 address is an endpoint.
    Ipv6,
    /// Each address is an endpoint.
    All,
    /// The name is one endpoint. The system's resolver is asked for each connection, which tries the addresses by turns
    /// (RFC 8305, "happy eyeballs").
    Connection,
}

/// Which endpoint the next request goes to.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Balance {
    /// Each in turn, as often as its weight says, evenly mixed.
    RoundRobin,
    /// Of two chosen at random by weight, the one with fewer requests under way.
    LeastRequests,
    /// Of two chosen at random by weight, the one that will answer first, by how fast it answered lately (a slow answer
    /// counts at once, fast ones little by little) and by what it has under way.
    PeakEwma,
    /// Any, by weight.
    Random,
    /// Always the same for requests with the same key: consistent hashing. When an endpoint leaves, only its keys move.
    Hash(Hash),
}

/// Consistent hashing: what requests are told apart by.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Hash {
    /// The key of a request. One that has none goes anywhere, by weight.
    pub by: HashBy,

    /// An endpoint that has more than this times its part of all requests under way leaves its keys to the next one, so
    /// that a hot key takes no endpoint down. 1.25 is a good value. Default: no bound, a key has one endpoint.
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
    /// The caller that a plugin has proved.
    Identity,
    /// A header field, by name: its first line.
    Header(HeaderName),
    /// A cookie, by name.
    Cookie(CookieName),
    /// A query parameter, by name: its first value as it is written.
    Query(String),
}

/// Sticky sessions: the cookie that names the endpoint, unreadable and signed.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Sticky {
    /// The cookie's name. Default: "gatewright-" and the upstream's name.
    pub cookie: Option<CookieName>,

    /// The name of a secret of at least 16 bytes, which cookies are signed with. Default: a random key of this process,
    /// which no other gateway knows and which a restart changes.
    pub key: Option<String>,

    /// How long a client keeps the cookie, from when it is set. At least "1s". Default: until the browser is closed.
    pub ttl: Option<Duration>,

    /// The path below which clients send the cookie.
    pub path: CookiePath,

    /// Whether the cookie is sent along where another site links here.
    pub same_site: SameSite,

    /// Whether the cookie is sent over TLS only. Default: where it is set over TLS. "none" of `same_site` needs `true`.
    pub secure: Option<bool>,
}

impl Default for Sticky {
    fn default() -> Sticky {
        Sticky { cookie: None, key: None, ttl: None, path: CookiePath::root(), same_site: SameSite::Lax, secure: None }
    }
}

/// When a cookie goes along with a request that another site caused.
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
    /// They go to any of the endpoints, as if all were available: for checks that are wrong more often than endpoints.
    UseAll,
}

/// What the servers of an upstream speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
pub enum UpstreamProtocol {
    /// HTTP/1.1 (RFC 9112), one request at a time per connection.
    #[serde(rename = "http/1.1")]
    Http1,
    /// HTTP/2 over TLS (RFC 9113), which the server has to agree to by ALPN. Needs `tls`.
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
