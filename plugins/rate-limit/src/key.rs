//! Who shares a bucket.

use std::net::{IpAddr, Ipv6Addr};

use gatewright_sdk::Exchange;
use sha2::{Digest, Sha256};

use crate::By;

/// Makes the key of a request's bucket. Keys of different kinds begin differently, so that nobody can name himself like
/// somebody's address.
#[derive(Debug)]
pub(crate) struct Partition {
    by: By,
    ipv6_prefix: u8,
}

impl Partition {
    pub(crate) const fn new(by: By, ipv6_prefix: u8) -> Self {
        Self { by, ipv6_prefix }
    }

    pub(crate) fn key(&self, exchange: &Exchange) -> String {
        let own = match &self.by {
            By::Ip => None,
            By::Identity => {
                let subject = exchange.attribute("identity.subject").filter(|subject| !subject.is_empty());
                subject.map(|subject| named('i', &subject))
            }
            By::Route => Some(named('r', &exchange.attribute("route.name").unwrap_or_default())),
            By::Header(name) => exchange.request_headers().get(name).map(|value| named('h', &value)),
        };
        own.unwrap_or_else(|| self.address(exchange))
    }

    /// All clients whose address the gateway does not know share a bucket: none of them may slip through.
    fn address(&self, exchange: &Exchange) -> String {
        let address = exchange.attribute("source.address").unwrap_or_default();
        match address.parse() {
            Ok(IpAddr::V6(v6)) => match v6.to_ipv4_mapped() {
                Some(v4) => named('a', &v4.to_string()),
                None => named('a', &self.network(v6).to_string()),
            },
            _ => named('a', &address),
        }
    }

    fn network(&self, address: Ipv6Addr) -> Ipv6Addr {
        let host_bits = u32::from(128_u8.saturating_sub(self.ipv6_prefix));
        Ipv6Addr::from_bits(address.to_bits() & u128::MAX.checked_shl(host_bits).unwrap_or(0))
    }
}

/// Long names are hashed, so that no client can make the gateway keep long keys.
fn named(kind: char, name: &str) -> String {
    let mut key = String::with_capacity(2 + name.len().min(KEY_MAX_BYTES));
    key.push(kind);
    if name.len() <= KEY_MAX_BYTES {
        key.push(':');
        key.push_str(name);
        return key;
    }
    key.push('#');
    for byte in Sha256::digest(name) {
        key.extend([byte >> 4, byte & 0xf].map(|digit| char::from_digit(digit.into(), 16).unwrap_or('0')));
    }
    key
}

/// As long as a digest in hexadecimal.
const KEY_MAX_BYTES: usize = 64;
