//! `resolver`: how hostnames of endpoints are resolved.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};

use super::text::{Written, written_as_text};
use super::units::Duration;

/// How hostnames of endpoints are resolved: first by the hosts file, then by DNS.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Resolver {
    /// DNS servers: "10.0.0.2", "10.0.0.2:5353", "[2001:db8::1]:53". If set, names are fully qualified as written;
    /// otherwise search domains are tried as well. Default: those of the system (/etc/resolv.conf).
    #[schemars(length(min = 1, max = 16))]
    pub servers: Vec<DnsServer>,

    /// How long a DNS server may take. A query is sent twice.
    pub timeout: Duration,

    /// The shortest time that a response is used, whatever its TTL.
    pub min_ttl: Duration,

    /// The longest time that a response is used, whatever its TTL.
    pub max_ttl: Duration,

    /// How long a name that no longer has addresses keeps its last ones. If DNS fails, names keep theirs until it works
    /// again.
    pub hold: Duration,

    /// The path of the hosts file.
    pub hosts: PathBuf,

    /// What happens if a name has no address when the configuration is loaded.
    pub unresolved: Unresolved,
}

impl Default for Resolver {
    fn default() -> Resolver {
        Resolver {
            servers: Vec::new(),
            timeout: Duration::seconds(2),
            min_ttl: Duration::seconds(1),
            max_ttl: Duration::seconds(300),
            hold: Duration::seconds(30),
            hosts: "/etc/hosts".into(),
            unresolved: Unresolved::Refuse,
        }
    }
}

/// What happens if a name has no address when the configuration is loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Unresolved {
    /// The configuration is refused.
    Refuse,
    /// It is applied, with a warning. The name has no endpoints until it has addresses.
    Warn,
}

/// The address of a DNS server; the default port is 53.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DnsServer(pub SocketAddr);

impl FromStr for DnsServer {
    type Err = String;

    fn from_str(text: &str) -> Result<DnsServer, String> {
        let address = text.parse::<SocketAddr>().or_else(|_| text.parse::<IpAddr>().map(|ip| (ip, 53).into()));
        match address {
            Ok(address) if address.port() > 0 => Ok(DnsServer(address)),
            _ => Err("it is no IP address, with a port or without".to_owned()),
        }
    }
}

impl Serialize for DnsServer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl Written for DnsServer {
    const FORMAT: &'static str = "gateway-dns-server";
    const NOUN: &'static str = "the address of a DNS server";
    const HINT: &'static str = "an IP address, with or without a port: \"10.0.0.2\", \"10.0.0.2:5353\", \"[::1]:53\"";
    const PATTERN: Option<&'static str> = Some("^[0-9A-Fa-f:.\\[\\]]+$");
    const EXAMPLES: &'static [&'static str] = &["10.0.0.2", "10.0.0.2:5353", "[2001:db8::1]:53"];
}
written_as_text!(DnsServer);
