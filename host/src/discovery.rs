//! DNS discovery: names become addresses, repeatedly.
//!
//! A [`Query`] is a name from the configuration; an [`Answer`] is what it currently resolves to and for how long.
//! Queries run on the control thread, by the TTL of the records: no request ever waits for DNS. The hosts file comes
//! first, as everywhere; then the DNS servers of the settings, or else of the system. hickory-resolver implements DNS,
//! without its cache, because each name is queried exactly when its answer has expired.
//!
//! A failed query is repeated soon, and the last answer stays. A name that no longer has addresses loses its last ones
//! only after a while ([`Settings::hold`]): keeping servers that are gone does no harm, but a DNS server that has lost
//! its zone does. [`Schedule`] is that rule, pure.

mod hosts;
mod resolver;
mod schedule;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub use resolver::{Answers, Resolver, ResolverError, ask_all};
pub use schedule::{Schedule, Step};

/// The servers to ask, and how long answers are valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The DNS servers; the system's if empty.
    pub servers: Vec<SocketAddr>,
    /// The content of the system's file ([`SYSTEM`]), if the system's servers are used: settings from another content
    /// are different. `None` if it cannot be read.
    pub system: Option<Vec<u8>>,
    /// Time limit for one query to one server; a query is sent at most twice.
    pub timeout: Duration,
    /// Answers are valid for at least and at most these times, whatever their time to live.
    pub min_ttl: Duration,
    pub max_ttl: Duration,
    /// How long a name keeps its last addresses after it has none any more.
    pub hold: Duration,
    /// The machine's own names, which come before DNS.
    pub hosts: PathBuf,
}

/// The system's list of servers (resolv.conf(5)).
pub const SYSTEM: &str = "/etc/resolv.conf";

/// A name to look up.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Query {
    /// The addresses of a host, all with this port.
    Host { host: Arc<str>, port: u16, family: Family },
    /// The servers of a service (RFC 2782): `_http._tcp.orders.internal`.
    Service { name: Arc<str>, family: Family },
}

/// Which addresses of a host are used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4, or IPv6 if there is none: a server with both is one server.
    #[default]
    Ipv4First,
    Ipv6First,
    Ipv4,
    Ipv6,
    /// All addresses.
    All,
}

/// One server that a name resolves to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Found {
    pub address: SocketAddr,
    /// The host that has the address; certificates must be issued for it.
    pub host: Arc<str>,
    /// From an SRV record: its rank among the existing priorities, 0 for the most preferred. 0 for a host.
    pub priority: u32,
    /// From an SRV record. 1 for a host.
    pub weight: u32,
}

/// The result for a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// In order, each address once, so that equal answers compare equal. Empty if the name has no addresses.
    pub found: Vec<Found>,
    /// How long it is valid, according to the records.
    pub ttl: Duration,
}

impl Query {
    /// The name that is looked up.
    pub fn name(&self) -> &str {
        match self {
            Query::Host { host, .. } => host,
            Query::Service { name, .. } => name,
        }
    }
}

impl fmt::Display for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Family {
    /// Whether an address is used, depending on which families the host has.
    fn takes(self, address: IpAddr, has_ipv4: bool, has_ipv6: bool) -> bool {
        match self {
            Family::All => true,
            Family::Ipv4 => address.is_ipv4(),
            Family::Ipv6 => address.is_ipv6(),
            Family::Ipv4First => address.is_ipv4() || !has_ipv4,
            Family::Ipv6First => address.is_ipv6() || !has_ipv6,
        }
    }

    /// The `addresses` that are used, in order, each once.
    fn choose(self, mut addresses: Vec<IpAddr>) -> Vec<IpAddr> {
        let has_ipv4 = addresses.iter().any(IpAddr::is_ipv4);
        let has_ipv6 = addresses.iter().any(IpAddr::is_ipv6);
        addresses.retain(|address| self.takes(*address, has_ipv4, has_ipv6));
        addresses.sort_unstable();
        addresses.dedup();
        addresses
    }
}
