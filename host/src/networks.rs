//! Address ranges, and whether an address is in one.
//!
//! Pure. Ranges are sorted and merged when they are built, so that a lookup among ten thousand is one binary search. An
//! IPv4 address mapped into IPv6 (`::ffff:10.0.0.1`) is treated as the IPv4 address, in ranges and in lookups.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net};

/// A set of addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks {
    v4: Box<[(Ipv4Addr, Ipv4Addr)]>,
    v6: Box<[(Ipv6Addr, Ipv6Addr)]>,
}

impl Networks {
    #[inline]
    pub fn contain(&self, address: IpAddr) -> bool {
        match address.to_canonical() {
            IpAddr::V4(address) => within(&self.v4, address),
            IpAddr::V6(address) => within(&self.v6, address),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.v6.is_empty()
    }
}

impl FromIterator<IpNet> for Networks {
    fn from_iter<T: IntoIterator<Item = IpNet>>(networks: T) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for network in networks {
            match unmapped(network) {
                IpNet::V4(network) => v4.push((network.network(), network.broadcast())),
                IpNet::V6(network) => v6.push((network.network(), network.broadcast())),
            }
        }
        Networks { v4: merged(v4), v6: merged(v6) }
    }
}

/// Which addresses are allowed. An address on both lists is not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gate {
    /// Empty to allow all.
    pub allow: Networks,
    pub deny: Networks,
}

impl Gate {
    pub fn lets_in(&self, address: IpAddr) -> bool {
        !self.deny.contain(address) && (self.allow.is_empty() || self.allow.contain(address))
    }
}

impl fmt::Display for Networks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let v4 = self.v4.iter().map(|(first, last)| (IpAddr::from(*first), IpAddr::from(*last)));
        let v6 = self.v6.iter().map(|(first, last)| (IpAddr::from(*first), IpAddr::from(*last)));
        for (number, (first, last)) in v4.chain(v6).enumerate() {
            match number {
                0 => {}
                SHOWN => return f.write_str(", …"),
                _ => f.write_str(", ")?,
            }
            if first == last { write!(f, "{first}")? } else { write!(f, "{first} to {last}")? }
        }
        Ok(())
    }
}

/// `::ffff:10.0.0.0/104` is `10.0.0.0/8`. A shorter prefix is an IPv6 range that contains no IPv4 client.
fn unmapped(network: IpNet) -> IpNet {
    let IpNet::V6(v6) = network else { return network };
    let mapped = v6.addr().to_ipv4_mapped().zip(v6.prefix_len().checked_sub(MAPPED_BITS));
    mapped.and_then(|(address, prefix)| Ipv4Net::new(address, prefix).ok()).map_or(network, IpNet::V4)
}

/// Sorted, with overlapping ranges merged.
fn merged<A: Ord + Copy>(mut ranges: Vec<(A, A)>) -> Box<[(A, A)]> {
    ranges.sort_unstable();
    let mut merged: Vec<(A, A)> = Vec::with_capacity(ranges.len());
    for (first, last) in ranges {
        match merged.last_mut() {
            Some((_, end)) if first <= *end => *end = last.max(*end),
            _ => merged.push((first, last)),
        }
    }
    merged.into()
}

fn within<A: Ord + Copy>(ranges: &[(A, A)], address: A) -> bool {
    let after = ranges.partition_point(|(first, _)| *first <= address);
    after.checked_sub(1).and_then(|at| ranges.get(at)).is_some_and(|(_, last)| address <= *last)
}

const MAPPED_BITS: u8 = 96;
/// How many ranges of a list are shown to a person.
const SHOWN: usize = 10;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn networks(texts: &[&str]) -> Networks {
        texts.iter().map(|text| text.parse::<IpNet>().unwrap()).collect()
    }

    #[test]
    fn what_is_in_a_range() {
        for (ranges, address, inside) in [
            (&["10.0.0.0/8"][..], "10.255.255.255", true),
            (&["10.0.0.0/8"], "11.0.0.0", false),
            (&["10.0.0.0/8"], "9.255.255.255", false),
            (&["10.0.0.7/32"], "10.0.0.7", true),
            (&["0.0.0.0/0"], "255.255.255.255", true),
            (&["0.0.0.0/0"], "::1", false),
            (&["::/0"], "2001:db8::1", true),
            (&["::/0"], "::ffff:203.0.113.9", false),
            (&["203.0.113.0/24"], "::ffff:203.0.113.9", true),
            (&["::ffff:203.0.113.0/120"], "203.0.113.9", true),
            (&["2001:db8::/32"], "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", true),
            (&["2001:db8::/32"], "2001:db9::", false),
            (&["10.0.0.0/25", "192.168.0.0/16"], "10.0.0.200", false),
            (&["10.0.0.0/25", "10.0.0.128/25"], "10.0.0.200", true),
            (&[], "10.0.0.1", false),
        ] {
            assert_eq!(networks(ranges).contain(address.parse().unwrap()), inside, "{ranges:?} {address}");
        }
    }

    #[test]
    fn who_is_let_in() {
        let gate = |allow: &[&str], deny: &[&str]| Gate { allow: networks(allow), deny: networks(deny) };
        for (gate, address, expected) in [
            (gate(&[], &[]), "203.0.113.9", true),
            (gate(&["10.0.0.0/8"], &[]), "10.1.1.1", true),
            (gate(&["10.0.0.0/8"], &[]), "203.0.113.9", false),
            (gate(&[], &["10.0.0.0/8"]), "10.1.1.1", false),
            (gate(&[], &["10.0.0.0/8"]), "::1", true),
            (gate(&["10.0.0.0/8"], &["10.6.0.0/16"]), "10.6.0.1", false),
            (gate(&["10.6.0.0/16"], &["10.0.0.0/8"]), "10.6.0.1", false),
        ] {
            assert_eq!(gate.lets_in(address.parse().unwrap()), expected, "{gate:?} {address}");
        }
    }

    #[test]
    fn a_list_for_a_person() {
        assert_eq!(networks(&["10.0.0.0/8", "::1/128"]).to_string(), "10.0.0.0 to 10.255.255.255, ::1");
        let many: Vec<String> = (0..20).map(|number| format!("10.0.{number}.7/32")).collect();
        let many = networks(&many.iter().map(String::as_str).collect::<Vec<_>>()).to_string();
        assert!(many.ends_with("10.0.9.7, …"), "{many}");
    }

    proptest! {
        /// However ranges overlap: an address is in the set if it is in one of them.
        #[test]
        fn a_set_is_the_sum_of_its_ranges(ranges in vec((any::<u32>(), 20..=32_u8), 0..20), near in any::<u32>(), pick in any::<prop::sample::Index>()) {
            let ranges: Vec<Ipv4Net> =
                ranges.into_iter().map(|(bits, prefix)| Ipv4Net::new(bits.into(), prefix).unwrap().trunc()).collect();
            let set: Networks = ranges.iter().copied().map(IpNet::V4).collect();
            let base = ranges.get(pick.index(ranges.len().max(1))).map_or(0, |range| range.addr().to_bits());
            for bits in [near, base, base.wrapping_sub(1), base.wrapping_add(near % 5000)] {
                let address = Ipv4Addr::from_bits(bits);
                let expected = ranges.iter().any(|range| range.contains(&address));
                prop_assert_eq!(set.contain(address.into()), expected, "{}", address);
            }
        }
    }
}
