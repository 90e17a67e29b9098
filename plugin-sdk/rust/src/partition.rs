//! Who shares a limit.

use std::net::{IpAddr, Ipv6Addr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Exchange, rules};

/// Who shares a limit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum By {
    /// The client's address.
    #[default]
    Ip,
    /// The caller that an earlier plugin proved, or the address.
    Identity,
    /// All requests of the route together.
    Route,
    /// Requests with the same value of this header; those without it by their address. A client chooses its headers, so
    /// this is a limit among friends.
    Header(String),
}

/// Makes the key of a request. Keys of different kinds begin differently, so that nobody can name himself like somebody's
/// address.
#[derive(Clone, Debug)]
pub struct Partition {
    by: By,
    ipv6_prefix: u8,
}

impl Partition {
    /// `ipv6_prefix` is how many leading bits of an IPv6 address count as one client: who has one address has most often a
    /// /64.
    ///
    /// # Errors
    /// What is wrong, for the operator.
    pub fn new(by: By, ipv6_prefix: u8) -> Result<Self, String> {
        if !(32..=128).contains(&ipv6_prefix) {
            return Err("ipv6_prefix: from 32 to 128".to_owned());
        }
        if let By::Header(header) = &by {
            rules::check_name(header).map_err(|why| format!("by: {header:?} {why}"))?;
        }
        Ok(Self { by, ipv6_prefix })
    }

    /// The key of the exchange's request. The gateway keeps no keys but their hashes, so a long one costs no memory.
    #[must_use]
    pub fn key(&self, exchange: &Exchange) -> String {
        let own = match &self.by {
            By::Ip => None,
            By::Identity => {
                let subject = exchange.identity().map(|identity| identity.subject);
                subject.filter(|subject| !subject.is_empty()).map(|subject| format!("i:{subject}"))
            }
            By::Route => Some(format!("r:{}", exchange.attribute("route.name").unwrap_or_default())),
            By::Header(name) => exchange.request_headers().get(name).map(|value| format!("h:{value}")),
        };
        own.unwrap_or_else(|| self.address(exchange))
    }

    /// All clients whose address the gateway does not know share a key: none of them may slip through.
    fn address(&self, exchange: &Exchange) -> String {
        let address = exchange.attribute("source.address").unwrap_or_default();
        match address.parse().map(|address: IpAddr| address.to_canonical()) {
            Ok(IpAddr::V6(address)) => format!("a:{}", self.network(address)),
            Ok(IpAddr::V4(address)) => format!("a:{address}"),
            Err(_) => format!("a:{address}"),
        }
    }

    fn network(&self, address: Ipv6Addr) -> Ipv6Addr {
        let host_bits = u32::from(128_u8.saturating_sub(self.ipv6_prefix));
        Ipv6Addr::from_bits(address.to_bits() & u128::MAX.checked_shl(host_bits).unwrap_or(0))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::{
        Decision, NoConfig, Plugin,
        testing::{Double, Request},
    };

    struct Probe(Partition);

    impl Plugin for Probe {
        type Config = NoConfig;
        fn new(_: NoConfig) -> Result<Self, String> {
            Err("made by hand".to_owned())
        }
        fn on_request(&self, exchange: &Exchange) -> Decision {
            exchange.set_attribute("key", &self.0.key(exchange)).unwrap();
            Decision::Proceed
        }
    }

    fn key(by: By, prefix: u8, request: Request) -> String {
        let gateway = Double::new();
        gateway.receive(request);
        let _ = gateway.on_request(&Probe(Partition::new(by, prefix).unwrap()));
        gateway.attribute("plugin.under-test.key").unwrap()
    }

    #[test]
    fn keys() {
        let from = |address: &str| Request::get("/").attribute("source.address", address);
        let team = || By::Header("x-team".to_owned());
        for (by, prefix, request, expected) in [
            (By::Ip, 64, from("203.0.113.1"), "a:203.0.113.1"),
            (By::Ip, 64, from("::ffff:203.0.113.1"), "a:203.0.113.1"),
            (By::Ip, 64, from("2001:db8:1:2:3::1"), "a:2001:db8:1:2::"),
            (By::Ip, 128, from("2001:db8::1"), "a:2001:db8::1"),
            (By::Ip, 48, from("2001:db8:1:2::1"), "a:2001:db8:1::"),
            (By::Ip, 64, from("_hidden"), "a:_hidden"),
            (By::Ip, 64, Request::get("/"), "a:"),
            (By::Identity, 64, from("203.0.113.1").identity("ada", "{}"), "i:ada"),
            (By::Identity, 64, from("203.0.113.1").identity("", "{}"), "a:203.0.113.1"),
            (By::Identity, 64, from("203.0.113.1"), "a:203.0.113.1"),
            (By::Route, 64, from("203.0.113.1").attribute("route.name", "shop"), "r:shop"),
            (team(), 64, from("203.0.113.1").header("X-Team", "a:203.0.113.2"), "h:a:203.0.113.2"),
            (team(), 64, from("203.0.113.1"), "a:203.0.113.1"),
        ] {
            assert_eq!(key(by, prefix, request), expected);
        }
    }

    #[test]
    fn what_cannot_be_a_partition() {
        assert!(Partition::new(By::Ip, 31).unwrap_err().contains("ipv6_prefix"));
        assert!(Partition::new(By::Ip, 129).unwrap_err().contains("ipv6_prefix"));
        assert!(Partition::new(By::Header("a b".to_owned()), 64).unwrap_err().contains("a b"));
    }
}
