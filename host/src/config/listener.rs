//! `listeners`: where clients connect.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::address::ListenAddress;
use super::forms::{or_text, two_forms};
use super::text::Name;
use super::tls::ListenerTls;

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
}
two_forms!(Listener, short: ListenAddress);

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

impl From<ListenAddress> for Listener {
    fn from(address: ListenAddress) -> Listener {
        Listener { address, name: None, protocols: Protocol::all(), tls: None }
    }
}
