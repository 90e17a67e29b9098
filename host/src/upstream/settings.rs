//! The settings of an upstream. Configuration text is turned into these types once, so nothing here can be invalid.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU16;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use super::affinity::{HashBy, Sticky};
use super::probing::Probing;
use crate::discovery::{Found, Query};
use crate::health::Ejection;
use crate::proxy_protocol::Version;
use crate::{balance, retry, tls};

/// An upstream: its name, its servers, how to choose among them and how to talk to them.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// The name that routes, plugins and log lines use.
    pub name: Arc<str>,
    /// The servers. With none of them, every request is answered with 503.
    pub endpoints: Vec<Server>,
    /// Names that discovery resolves to more servers.
    pub names: Vec<Named>,
    /// How an endpoint is chosen for requests that neither `sticky` nor `hash` decides.
    pub balance: balance::Policy,
    /// Requests with the same key go to the same endpoint. Default: none.
    pub hash: Option<Hash>,
    /// Requests of the same client go to the same endpoint. Default: none.
    pub sticky: Option<Sticky>,
    /// How long the slow start of a new or returned endpoint takes until it gets its full share. Default: no slow
    /// start.
    pub slow_start: Option<Duration>,
    /// What happens while no endpoint is available.
    pub none_available: NoneAvailable,
    /// How connections to the endpoints are made.
    pub transport: Transport,
    /// When failing endpoints are ejected.
    pub ejection: Ejection,
    /// Active health checks, if any.
    pub probing: Option<Probing>,
    /// Maximum concurrent requests to all endpoints, over all cores. Default: as many as the connections allow.
    pub max_requests: Option<usize>,
    /// How many requests may be retried.
    pub retry_budget: retry::Share,
}

impl Settings {
    /// Settings with every default.
    pub fn new(name: impl Into<Arc<str>>, endpoints: Vec<Server>) -> Self {
        Settings {
            name: name.into(),
            endpoints,
            names: Vec::new(),
            balance: balance::Policy::default(),
            hash: None,
            sticky: None,
            slow_start: None,
            none_available: NoneAvailable::default(),
            transport: Transport::default(),
            ejection: Ejection::default(),
            probing: None,
            max_requests: None,
            retry_budget: retry::Share::default(),
        }
    }
}

impl Settings {
    /// Whether balancing uses the latency of endpoints.
    pub(super) fn is_timed(&self) -> bool {
        self.balance == balance::Policy::PeakEwma
    }
}

/// Consistent hashing. Requests without a key are balanced by [`Settings::balance`].
#[derive(Clone, Debug, PartialEq)]
pub struct Hash {
    pub by: HashBy,
    /// An endpoint whose requests in flight exceed its share by this factor passes its keys on to the next one. At
    /// least 1. Default: no bound.
    pub bounded_load: Option<f64>,
}

/// What happens to requests while no endpoint is available.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NoneAvailable {
    /// Refuse them with 503.
    #[default]
    Refuse,
    /// Send them to any endpoint, as if all were available.
    UseAll,
}

/// One server of an upstream.
#[derive(Clone, Debug, PartialEq)]
pub struct Server {
    pub address: Address,
    /// Its share of the requests, relative to the other servers. Default 1; with 0 it gets only sticky requests.
    pub weight: u32,
    /// Its priority group: 0 gets requests first. Default 0.
    pub priority: u32,
}

/// A name that stands for servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    pub query: Query,
    /// Multiplied by the weight of each server's SRV record.
    pub weight: u32,
    /// Added to the priority of each server's SRV record.
    pub priority: u32,
}

impl From<Address> for Server {
    fn from(address: Address) -> Self {
        Server { address, weight: 1, priority: 0 }
    }
}

/// How connections to the endpoints of one upstream are made, kept and limited. Endpoints whose transport did not
/// change keep their connections over a reload.
#[derive(Clone, Debug, PartialEq)]
pub struct Transport {
    /// The protocol of the endpoints. Default HTTP/1.1.
    pub protocol: Protocol,
    /// TLS to the endpoints. Default: none.
    pub tls: Option<Arc<tls::Connector>>,
    /// Whether connections begin with a PROXY header. It names a client only at layer 4. Default: no.
    pub proxy_protocol: Option<Version>,
    /// How long a request waits for a connection: resolving the name, the TCP and TLS handshakes, and a free permit if
    /// all connections are taken. Default 2 s.
    pub connect_timeout: Duration,
    /// How long the endpoint may take to begin its response after it has received all that the client sent so far. Time
    /// in which the gateway waits for the client's body does not count. It is checked in sweeps, so it fires up to an
    /// eighth late, and at most two seconds. Default 30 s.
    pub response_timeout: Duration,
    /// How long the endpoint may pause within a response body while the client waits for more. Default 5 min; event
    /// streams that are silent for longer need more.
    pub body_timeout: Duration,
    /// How long an unused connection is kept. It should be below the endpoint's own keep-alive time (60 s and more in
    /// common servers), so that we close first and no request meets a closing connection. Default 50 s.
    pub idle_timeout: Duration,
    /// A connection older than this takes no further request, so that DNS changes and rebalancing in front of the
    /// endpoint take effect. Default 1 h.
    pub max_age: Duration,
    /// Maximum connections to one endpoint, over all cores. Default 1024, at least 1.
    pub max_connections: usize,
    /// Maximum unused connections kept for one endpoint on one core. Default 128; 0 keeps none.
    pub max_idle: usize,
    /// Maximum requests to one endpoint that wait for a connection while `max_connections` are taken. Default 1024; 0
    /// refuses at once.
    pub max_pending: usize,
    /// Maximum concurrent requests on one HTTP/2 connection; fewer if the endpoint announces fewer. Default 100, at
    /// least 1.
    pub max_streams: u32,
    /// Maximum fields in a response's header block. Default 100; above that, parsing allocates for every response.
    pub max_headers: usize,
    /// Maximum bytes of a response's header block, and of its trailers. Default 64 KiB, at least 8 KiB.
    pub max_header_bytes: usize,
}

impl Default for Transport {
    fn default() -> Self {
        Transport {
            protocol: Protocol::Http1,
            tls: None,
            proxy_protocol: None,
            connect_timeout: Duration::from_secs(2),
            response_timeout: Duration::from_secs(30),
            body_timeout: Duration::from_secs(5 * 60),
            idle_timeout: Duration::from_secs(50),
            max_age: Duration::from_secs(60 * 60),
            max_connections: 1024,
            max_idle: 128,
            max_pending: 1024,
            max_streams: 100,
            max_headers: 100,
            max_header_bytes: 64 * 1024,
        }
    }
}

/// The protocol of the endpoints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1 with keep-alive (RFC 9112).
    #[default]
    Http1,
    /// HTTP/2 (RFC 9113): negotiated by ALPN over TLS; without TLS by prior knowledge (section 3.3).
    Http2,
}

/// Address of an endpoint: `host:port`, with an IP address (in brackets for IPv6) or a name that is resolved for each
/// new connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    text: Arc<str>,
    place: Place,
    /// The host name that discovery found for it.
    host: Option<Arc<str>>,
}

impl From<&Found> for Address {
    fn from(found: &Found) -> Self {
        Address {
            text: found.address.to_string().into(),
            place: Place::Socket(found.address),
            host: Some(found.host.clone()),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Socket(SocketAddr),
    Name { host: Arc<str>, port: u16 },
}

impl Address {
    /// The address as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The same host at another port.
    pub fn with_port(&self, port: NonZeroU16) -> Address {
        let place = match &self.place {
            Place::Socket(address) => Place::Socket((address.ip(), port.get()).into()),
            Place::Name { host, .. } => Place::Name { host: host.clone(), port: port.get() },
        };
        let host = self.text.rsplit_once(':').map_or(&*self.text, |(host, _)| host);
        Address { text: format!("{host}:{port}").into(), place, host: self.host.clone() }
    }

    /// The host as it was written; a certificate has to be valid for it.
    pub fn host(&self) -> String {
        match (&self.host, &self.place) {
            (Some(host), _) | (None, Place::Name { host, .. }) => host.to_string(),
            (None, Place::Socket(address)) => address.ip().to_string(),
        }
    }

    pub(super) fn place(&self) -> &Place {
        &self.place
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let (host, port) = text.rsplit_once(':').ok_or(AddressError::NoPort)?;
        // `u16::from_str` accepts a plus sign; RFC 3986 allows only digits here.
        let port: u16 = match port.bytes().all(|byte| byte.is_ascii_digit()) {
            true => port.parse().map_err(|_| AddressError::Port)?,
            false => return Err(AddressError::Port),
        };
        if port == 0 {
            return Err(AddressError::Port);
        }
        let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let place = match bracketed {
            Some(host) => Place::Socket((host.parse::<IpAddr>().map_err(|_| AddressError::Host)?, port).into()),
            None => match host.parse::<IpAddr>() {
                Ok(IpAddr::V4(ip)) => Place::Socket((ip, port).into()),
                Ok(IpAddr::V6(_)) => return Err(AddressError::Brackets),
                Err(_) if is_name(host) => Place::Name { host: host.into(), port },
                Err(_) => return Err(AddressError::Host),
            },
        };
        Ok(Address { text: text.into(), place, host: None })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Whether this can be a host name: RFC 1123 labels, plus the underscore that container networks use.
fn is_name(host: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let host = host.strip_suffix('.').unwrap_or(host);
    // If the last label has only digits, it is a mistyped address, such as 10.0.0.256.
    let numeric = host.rsplit('.').next().is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit()));
    host.len() <= 253 && host.split('.').all(label) && !numeric
}

/// Why a text is not an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressError {
    NoPort,
    Port,
    Brackets,
    Host,
}

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            AddressError::NoPort => "an address is host:port; the port is missing",
            AddressError::Port => "the port is not a number from 1 to 65535",
            AddressError::Brackets => "an IPv6 address stands in brackets, as in [::1]:8080",
            AddressError::Host => "the host is neither an IP address nor a host name",
        })
    }
}

impl std::error::Error for AddressError {}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let name = |host: &str, port| Ok(Place::Name { host: host.into(), port });
        let socket = |text: &str| Ok(Place::Socket(text.parse().unwrap()));
        for (text, expected) in [
            ("10.0.0.3:80", socket("10.0.0.3:80")),
            ("[::1]:8080", socket("[::1]:8080")),
            ("orders.internal:8080", name("orders.internal", 8080)),
            ("my_service:1", name("my_service", 1)),
            ("localhost.:65535", name("localhost.", 65535)),
            ("localhost", Err(AddressError::NoPort)),
            ("localhost:", Err(AddressError::Port)),
            ("localhost:0", Err(AddressError::Port)),
            ("localhost:+80", Err(AddressError::Port)),
            ("localhost:65536", Err(AddressError::Port)),
            ("::1:8080", Err(AddressError::Brackets)),
            ("[localhost]:80", Err(AddressError::Host)),
            (":80", Err(AddressError::Host)),
            ("a b:80", Err(AddressError::Host)),
            ("10.0.0.256:80", Err(AddressError::Host)),
            ("-a:80", Err(AddressError::Host)),
            ("a..b:80", Err(AddressError::Host)),
            ("http://a:80", Err(AddressError::Host)),
        ] {
            let result = text.parse::<Address>();
            if let Ok(address) = &result {
                assert_eq!(address.to_string(), text);
            }
            assert_eq!(result.map(|address| address.place), expected, "{text}");
        }
    }
}
