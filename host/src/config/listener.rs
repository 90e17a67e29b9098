//! `listeners`: where clients connect.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::address::ListenAddress;
use super::forms::{one_or_many, or_one_alone, or_text, two_forms};
use super::https::HttpsRedirect;
use super::layer4::{AcceptProxyProtocol, ForwardTarget, Layer, Passthrough};
use super::text::{Cidr, Name};
use super::tls::ListenerTls;
use super::units::Duration;

/// An address that accepts clients, or an object with the address and more.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, remote = "Self")]
#[schemars(rename = "Listener", transform = or_text::<ListenAddress>)]
pub struct Listener {
    /// The address to listen on: ":8080" (all addresses, IPv4 and IPv6), "127.0.0.1:8080" or "[::1]:8080". Port 0 picks
    /// a free one.
    pub address: ListenAddress,

    /// Its name in logs and metrics. Default: its address.
    #[serde(default)]
    pub name: Option<Name>,

    /// The protocols that clients may use. With TLS they choose by ALPN. Without TLS, a client that begins with the
    /// HTTP/2 preface (prior knowledge, RFC 9113, section 3.3) gets HTTP/2, every other one HTTP/1.1. Default: both.
    #[serde(default = "Protocol::all")]
    #[schemars(length(min = 1, max = 2), extend("uniqueItems" = true))]
    pub protocols: Vec<Protocol>,

    /// TLS with clients. Default: none, connections are not encrypted.
    #[serde(default)]
    pub tls: Option<ListenerTls>,

    /// Redirects clients to https: `true`, or an object. For a listener without TLS, next to one with it. Default:
    /// requests are served.
    #[serde(default)]
    pub https_redirect: Option<HttpsRedirect>,

    /// "http" serves requests; "tcp" and "udp" forward connections or datagrams unchanged.
    #[serde(default)]
    pub protocol: Layer,

    /// Where connections or datagrams are forwarded to: the name of an upstream, or a list of them with weights.
    /// Required with "tcp" and "udp", unless there is `passthrough`.
    #[serde(default, deserialize_with = "one_or_many")]
    #[schemars(transform = or_one_alone, length(min = 1, max = 100))]
    pub to: Vec<ForwardTarget>,

    /// TLS connections to forward unchanged, by server name (SNI). The server presents its own certificate. Default:
    /// none.
    #[serde(default)]
    #[schemars(length(min = 1, max = 10_000))]
    pub passthrough: Vec<Passthrough>,

    /// How long a forwarded connection may carry no byte in either direction, or a UDP session no datagram, before it
    /// ends. At most "24h". Default: "10m"; for "udp", "1m".
    #[serde(default)]
    pub idle_timeout: Option<Duration>,

    /// Concurrent connections; further ones are closed at once. With "udp", concurrent sessions; datagrams of further
    /// clients are dropped. Default: only `limits.connections`; for "udp", 16384.
    #[serde(default)]
    #[schemars(range(min = 1, max = 10_000_000))]
    pub max_connections: Option<u32>,

    /// Which client addresses are allowed. Default: all.
    #[serde(default)]
    pub ip: Option<AddressLists>,

    /// Whether connections begin with a PROXY protocol header. Default: no.
    #[serde(default)]
    pub proxy_protocol: Option<AcceptProxyProtocol>,
}
two_forms!(Listener, short: ListenAddress);

/// Which client addresses are allowed. The address is that of the connection, or the one given by the PROXY protocol
/// or, for a request, by one of `trusted_proxies`. A refused connection is closed at once, before TLS and before any
/// byte of it is read (except the PROXY protocol header); a refused request behind a trusted proxy gets 403; a refused
/// datagram is dropped.
#[derive(Clone, Debug, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("minProperties" = 1))]
pub struct AddressLists {
    /// Only these addresses are allowed. Default: all that are not in `deny`.
    #[schemars(length(min = 1, max = 100_000))]
    pub allow: Vec<Cidr>,

    /// These addresses are refused, even if `allow` has them.
    #[schemars(length(min = 1, max = 100_000))]
    pub deny: Vec<Cidr>,
}

/// A protocol that clients may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
pub enum Protocol {
    /// HTTP/1.1 (RFC 9112), including HTTP/1.0 clients.
    #[serde(rename = "http/1.1")]
    Http1,
    /// HTTP/2 (RFC 9113).
    #[serde(rename = "h2")]
    Http2,
}

impl Protocol {
    pub fn all() -> Vec<Protocol> {
        vec![Protocol::Http1, Protocol::Http2]
    }
}

impl Listener {
    /// Whether its traffic is forwarded unchanged.
    pub fn is_layer4(&self) -> bool {
        self.protocol != Layer::Http || !self.passthrough.is_empty()
    }
}

impl From<ListenAddress> for Listener {
    fn from(address: ListenAddress) -> Listener {
        Listener {
            address,
            name: None,
            protocols: Protocol::all(),
            tls: None,
            https_redirect: None,
            protocol: Layer::Http,
            to: Vec::new(),
            passthrough: Vec::new(),
            idle_timeout: None,
            max_connections: None,
            ip: None,
            proxy_protocol: None,
        }
    }
}
