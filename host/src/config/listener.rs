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

/// Where clients connect: an address, or an object with it and more.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, remote = "Self")]
#[schemars(rename = "Listener", transform = or_text::<ListenAddress>)]
pub struct Listener {
    /// Where to listen: ":8080" (every address of the machine, IPv4 and IPv6), "127.0.0.1:8080" or "[::1]:8080".
    /// Port 0 takes a free one.
    pub address: ListenAddress,

    /// What logs and metrics call it. Default: its address.
    #[serde(default)]
    pub name: Option<Name>,

    /// What clients may speak. Over TLS they choose by ALPN. Without it, a client that begins with the preface of HTTP/2
    /// (prior knowledge, RFC 9113, section 3.3) speaks that, every other one HTTP/1.1. Default: both.
    #[serde(default = "Protocol::all")]
    #[schemars(length(min = 1, max = 2), extend("uniqueItems" = true))]
    pub protocols: Vec<Protocol>,

    /// TLS with clients. Default: none, they speak in the clear.
    #[serde(default)]
    pub tls: Option<ListenerTls>,

    /// Sends clients to https: `true`, or an object. For a listener without TLS beside one with it. Default: their
    /// requests are served.
    #[serde(default)]
    pub https_redirect: Option<HttpsRedirect>,

    /// "http", "tcp" or "udp": whether requests are served or what comes is forwarded as it is.
    #[serde(default)]
    pub protocol: Layer,

    /// Where connections or datagrams go that are forwarded as they are: the name of an upstream, or a list of them
    /// with weights. Required with "tcp" and "udp", unless there is `passthrough`.
    #[serde(default, deserialize_with = "one_or_many")]
    #[schemars(transform = or_one_alone, length(min = 1, max = 100))]
    pub to: Vec<ForwardTarget>,

    /// TLS connections that are forwarded as they are, by server name (SNI). The certificate is the server's. Default:
    /// none.
    #[serde(default)]
    #[schemars(length(min = 1, max = 10_000))]
    pub passthrough: Vec<Passthrough>,

    /// A connection that is forwarded ends when for so long no byte has come from or gone to either side; the session
    /// of a UDP client when for so long no datagram has. At most "24h". Default: "10m"; for "udp", "1m".
    #[serde(default)]
    pub idle_timeout: Option<Duration>,

    /// Connections at the same time; more are closed at once. With "udp", sessions; datagrams of further clients are
    /// dropped. Default: `limits.connections` alone; for "udp", 16384.
    #[serde(default)]
    #[schemars(range(min = 1, max = 10_000_000))]
    pub max_connections: Option<u32>,

    /// Who may come, by the client's address. Default: everybody.
    #[serde(default)]
    pub ip: Option<AddressLists>,

    /// Whether connections begin with a header of the PROXY protocol. Default: no.
    #[serde(default)]
    pub proxy_protocol: Option<AcceptProxyProtocol>,
}
two_forms!(Listener, short: ListenAddress);

/// Who may come, by the client's address: that of the connection, or what the PROXY protocol or, for a request, one of
/// `trusted_proxies` says of it. A connection that may not is closed at once, before TLS and before a byte of it is read
/// (but for the PROXY protocol's header); a request that may not, behind a trusted proxy, gets 403; a datagram is dropped.
#[derive(Clone, Debug, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("minProperties" = 1))]
pub struct AddressLists {
    /// Only these. Left out: everybody who is not in `deny`.
    #[schemars(length(min = 1, max = 100_000))]
    pub allow: Vec<Cidr>,

    /// Not these, also where `allow` has them.
    #[schemars(length(min = 1, max = 100_000))]
    pub deny: Vec<Cidr>,
}

/// What a client may speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
pub enum Protocol {
    /// HTTP/1.1 (RFC 9112), and HTTP/1.0 clients.
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
    /// Whether what comes is forwarded as it is.
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
