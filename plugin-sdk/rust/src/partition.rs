//! Which requests share a limit.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use schemars::JsonSchema;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer, StrDeserializer};
use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};

use crate::{Exchange, claims::Claims, rules};

/// Which requests share a limit: those that have one property, or several properties, in common.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum By {
    /// Requests with this property in common.
    One(Part),
    /// Requests with all of these properties in common.
    All(#[schemars(length(min = 1, max = 8))] Vec<Part>),
}

/// A property that requests may have in common.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// The client's address.
    Ip,
    /// The caller that an earlier plugin authenticated, or else the client's address.
    Identity,
    /// The route.
    Route,
    /// The value of this header, or else the client's address. Clients choose their headers, so this limits only clients that
    /// are trusted.
    Header(String),
    /// The value of this cookie, or else the client's address. Only for trusted clients as well.
    Cookie(String),
    /// The value of this query parameter as written in the URL, or else the client's address. Only for trusted clients as well.
    Query(String),
    /// The value of this path parameter as written in the URL (`id` of `/orders/{id}`), or else the client's address. Clients
    /// choose it as well.
    Path(String),
    /// This claim of the caller that an earlier plugin authenticated (a name, or a JSON pointer), or else the client's address.
    Claim(String),
}

impl By {
    /// The caller that an earlier plugin authenticated.
    pub const IDENTITY: Self = Self::One(Part::Identity);

    /// Checks that consumers, if they may have limits of their own, do not share one: the caller is among what
    /// requests have in common.
    ///
    /// # Errors
    /// What is wrong, for the operator.
    pub fn check_consumers(&self, consumers: bool) -> Result<(), String> {
        match consumers && !self.parts().contains(&Part::Identity) {
            true => {
                Err("consumers: without \"by\": \"identity\", alone or in a list, consumers would share a limit"
                    .to_owned())
            }
            false => Ok(()),
        }
    }

    fn parts(&self) -> &[Part] {
        match self {
            Self::One(part) => std::slice::from_ref(part),
            Self::All(parts) => parts,
        }
    }
}

impl Default for By {
    fn default() -> Self {
        Self::One(Part::Ip)
    }
}

// Written by hand: serde's errors for an untagged enum name no variant.
impl<'de> Deserialize<'de> for By {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Form;

        impl<'de> Visitor<'de> for Form {
            type Value = By;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("what requests have in common, or a list of that")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<By, E> {
                Part::deserialize(StrDeserializer::new(text)).map(By::One)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<By, A::Error> {
                Part::deserialize(MapAccessDeserializer::new(map)).map(By::One)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<By, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(seq)).map(By::All)
            }
        }

        deserializer.deserialize_any(Form)
    }
}

/// Makes the key of a request. Keys of different kinds begin differently, so that nobody can choose a name equal to
/// somebody's address.
#[derive(Clone, Debug)]
pub struct Partition {
    by: By,
    ipv6_prefix: u8,
}

impl Partition {
    /// `ipv6_prefix` is how many leading bits of an IPv6 address count as one client: whoever has one address usually
    /// has a /64.
    ///
    /// # Errors
    /// What is wrong, for the operator.
    pub fn new(by: By, ipv6_prefix: u8) -> Result<Self, String> {
        if !(32..=128).contains(&ipv6_prefix) {
            return Err("ipv6_prefix: from 32 to 128".to_owned());
        }
        if !(1..=MOST_PARTS).contains(&by.parts().len()) {
            return Err(format!("by: a list has 1 to {MOST_PARTS} items"));
        }
        for part in by.parts() {
            match part {
                Part::Header(name) => rules::check_name(name).map_err(|why| format!("by: {name:?} {why}"))?,
                Part::Cookie(name) | Part::Query(name) | Part::Path(name) | Part::Claim(name) if name.is_empty() => {
                    return Err("by: a name is empty".to_owned());
                }
                _ => {}
            }
        }
        Ok(Self { by, ipv6_prefix })
    }

    /// The key of the exchange's request. The gateway keeps only hashes of keys, so a long one costs no memory.
    #[must_use]
    pub fn key(&self, exchange: &Exchange) -> String {
        match &self.by {
            By::One(part) => self.part(part, exchange),
            By::All(parts) => {
                let mut key = String::new();
                for part in parts {
                    let one = self.part(part, exchange);
                    // With its length, so that two values cannot be mistaken for one.
                    key.push_str(&one.len().to_string());
                    key.push(':');
                    key.push_str(&one);
                }
                key
            }
        }
    }

    fn part(&self, part: &Part, exchange: &Exchange) -> String {
        let own = match part {
            Part::Ip => None,
            Part::Identity => {
                let subject = exchange.attribute("identity.subject").filter(|subject| !subject.is_empty());
                subject.map(|subject| format!("i:{subject}"))
            }
            Part::Route => Some(format!("r:{}", exchange.attribute("route.name").unwrap_or_default())),
            Part::Header(name) => exchange.request_headers().get(name).map(|value| format!("h:{value}")),
            Part::Cookie(name) => {
                let cookies = exchange.request_headers().get("cookie");
                cookies.and_then(|cookies| pair(&cookies, ';', name).map(|value| format!("c:{value}")))
            }
            Part::Query(name) => {
                let path = exchange.path();
                let query = path.split_once('?').and_then(|(_, query)| pair(query, '&', name));
                query.map(|value| format!("q:{value}"))
            }
            Part::Path(name) => exchange.attribute(&format!("route.path.{name}")).map(|value| format!("p:{value}")),
            Part::Claim(name) => {
                let claims = exchange.identity().and_then(|identity| Claims::parse(&identity.claims));
                claims.and_then(|claims| claims.text(name).map(|value| format!("j:{value}")))
            }
        };
        own.unwrap_or_else(|| self.address(exchange))
    }

    /// All clients whose address the gateway does not know share a key, so that none escapes the limit.
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

/// The value of the first pair with this name.
fn pair<'a>(pairs: &'a str, separator: char, name: &str) -> Option<&'a str> {
    let mut pairs = pairs.split(separator).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(known, _)| *known == name).map(|(_, value)| value)
}

/// The most parts in a combination.
const MOST_PARTS: usize = 8;

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
        let claim = || Part::Claim("/plan/name".to_owned());
        let from = |address: &str| Request::get("/").attribute("source.address", address);
        let team = || Part::Header("x-team".to_owned());
        for (by, prefix, request, expected) in [
            (Part::Ip, 64, from("203.0.113.1"), "a:203.0.113.1"),
            (Part::Ip, 64, from("::ffff:203.0.113.1"), "a:203.0.113.1"),
            (Part::Ip, 64, from("2001:db8:1:2:3::1"), "a:2001:db8:1:2::"),
            (Part::Ip, 128, from("2001:db8::1"), "a:2001:db8::1"),
            (Part::Ip, 48, from("2001:db8:1:2::1"), "a:2001:db8:1::"),
            (Part::Ip, 64, from("_hidden"), "a:_hidden"),
            (Part::Ip, 64, Request::get("/"), "a:"),
            (Part::Identity, 64, from("203.0.113.1").identity("ada", "{}"), "i:ada"),
            (Part::Identity, 64, from("203.0.113.1").identity("", "{}"), "a:203.0.113.1"),
            (Part::Identity, 64, from("203.0.113.1"), "a:203.0.113.1"),
            (Part::Route, 64, from("203.0.113.1").attribute("route.name", "shop"), "r:shop"),
            (team(), 64, from("203.0.113.1").header("X-Team", "a:203.0.113.2"), "h:a:203.0.113.2"),
            (team(), 64, from("203.0.113.1"), "a:203.0.113.1"),
            (Part::Cookie("s".to_owned()), 64, from("203.0.113.1").header("cookie", "t=1; s=2=3"), "c:2=3"),
            (Part::Cookie("s".to_owned()), 64, from("203.0.113.1").header("cookie", "ss=1"), "a:203.0.113.1"),
            (Part::Query("k".to_owned()), 64, Request::get("/?kk=1&k=2&k=3"), "q:2"),
            (Part::Query("k".to_owned()), 64, Request::get("/k=1"), "a:"),
            (Part::Path("id".to_owned()), 64, Request::get("/7").attribute("route.path.id", "7"), "p:7"),
            (Part::Path("id".to_owned()), 64, Request::get("/7").attribute("route.path.other", "7"), "a:"),
            (claim(), 64, Request::get("/").identity("ada", r#"{"plan":{"name":"gold"}}"#), "j:gold"),
            (claim(), 64, from("203.0.113.1").identity("ada", "{}"), "a:203.0.113.1"),
        ] {
            assert_eq!(key(By::One(by), prefix, request), expected);
        }
    }

    #[test]
    fn consumers_share_no_limit() {
        let with = |part: Part| By::All(vec![Part::Route, part]);
        for (by, is_apart) in [
            (By::IDENTITY, true),
            (with(Part::Identity), true),
            (with(Part::Ip), false),
            (By::default(), false),
            (By::One(Part::Claim("consumer".to_owned())), false),
        ] {
            assert_eq!(by.check_consumers(true).is_ok(), is_apart, "{by:?}");
            assert_eq!(by.check_consumers(false), Ok(()), "{by:?}");
        }
    }

    #[test]
    fn a_combination_takes_every_part_and_no_value_passes_for_two() {
        let both = || By::All(vec![Part::Header("a".to_owned()), Part::Header("b".to_owned())]);
        let with = |a: &str, b: &str| Request::get("/").header("a", a).header("b", b);
        assert_eq!(key(both(), 64, with("1", "2")), "3:h:13:h:2");
        assert_ne!(key(both(), 64, with("13:h:2", "2")), key(both(), 64, with("1", "23:h:2")));
        assert!(Partition::new(By::All(Vec::new()), 64).unwrap_err().contains("1 to 8"));
    }

    #[test]
    fn what_cannot_be_a_partition() {
        assert!(Partition::new(By::default(), 31).unwrap_err().contains("ipv6_prefix"));
        assert!(Partition::new(By::default(), 129).unwrap_err().contains("ipv6_prefix"));
        assert!(Partition::new(By::One(Part::Header("a b".to_owned())), 64).unwrap_err().contains("a b"));
    }
}
