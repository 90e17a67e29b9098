//! Address ranges, and whether an address is in one.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Ranges of addresses, sorted and merged, so that thousands cost one binary search.
#[derive(Debug)]
pub(crate) struct Networks {
    v4: Vec<(Ipv4Addr, Ipv4Addr)>,
    v6: Vec<(Ipv6Addr, Ipv6Addr)>,
}

impl Networks {
    /// # Errors
    /// Names the text by its position, and what is wrong with it.
    pub(crate) fn parse(texts: &[String]) -> Result<Self, String> {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for (index, text) in texts.iter().enumerate() {
            match parse(text).map_err(|why| format!("[{index}]: {text:?} {why}"))? {
                Range::V4(first, last) => v4.push((first, last)),
                Range::V6(first, last) => v6.push((first, last)),
            }
        }
        Ok(Self { v4: merged(v4), v6: merged(v6) })
    }

    /// An IPv4 address that is mapped into IPv6 is the IPv4 address.
    pub(crate) fn contain(&self, address: IpAddr) -> bool {
        match address.to_canonical() {
            IpAddr::V4(address) => within(&self.v4, address),
            IpAddr::V6(address) => within(&self.v6, address),
        }
    }
}

#[derive(Debug)]
enum Range {
    V4(Ipv4Addr, Ipv4Addr),
    V6(Ipv6Addr, Ipv6Addr),
}

fn parse(text: &str) -> Result<Range, String> {
    const EXPECTED: &str = "is not an address, or an address and a prefix length, such as \"10.0.0.0/8\" or \"::1\"";
    let (address, prefix) = match text.split_once('/') {
        Some((address, prefix)) => (address, Some(prefix)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().map_err(|_| EXPECTED)?;
    let bits = if address.is_ipv4() { 32 } else { 128 };
    let prefix = match prefix {
        None => bits,
        Some(digits) if digits.len() <= 3 && digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            digits.parse().ok().filter(|prefix| *prefix <= bits).ok_or(EXPECTED)?
        }
        Some(_) => return Err(EXPECTED.to_owned()),
    };
    match address {
        IpAddr::V4(address) => v4(address, prefix),
        // ::ffff:10.0.0.0/104 is 10.0.0.0/8; a shorter prefix is a range of IPv6 that no IPv4 client is in.
        IpAddr::V6(address) => match (address.to_ipv4_mapped(), prefix.checked_sub(96)) {
            (Some(mapped), Some(prefix)) => v4(mapped, prefix),
            _ => v6(address, prefix),
        },
    }
}

fn v4(address: Ipv4Addr, prefix: u32) -> Result<Range, String> {
    let host = u32::MAX.checked_shr(prefix).unwrap_or(0);
    let first = Ipv4Addr::from_bits(address.to_bits() & !host);
    check_host_bits(first == address, first, prefix)?;
    Ok(Range::V4(first, Ipv4Addr::from_bits(address.to_bits() | host)))
}

fn v6(address: Ipv6Addr, prefix: u32) -> Result<Range, String> {
    let host = u128::MAX.checked_shr(prefix).unwrap_or(0);
    let first = Ipv6Addr::from_bits(address.to_bits() & !host);
    check_host_bits(first == address, first, prefix)?;
    Ok(Range::V6(first, Ipv6Addr::from_bits(address.to_bits() | host)))
}

/// As everywhere in the gateway's configuration, `10.0.0.1/8` is refused: it is ambiguous.
fn check_host_bits(is_clean: bool, first: impl std::fmt::Display, prefix: u32) -> Result<(), String> {
    if is_clean {
        Ok(())
    } else {
        Err(format!("has bits behind the prefix; the range is written \"{first}/{prefix}\""))
    }
}

/// Sorted, and overlapping ones joined.
fn merged<A: Ord + Copy>(mut ranges: Vec<(A, A)>) -> Vec<(A, A)> {
    ranges.sort_unstable();
    let mut merged: Vec<(A, A)> = Vec::with_capacity(ranges.len());
    for (first, last) in ranges {
        match merged.last_mut() {
            Some((_, end)) if first <= *end => *end = last.max(*end),
            _ => merged.push((first, last)),
        }
    }
    merged
}

fn within<A: Ord + Copy>(ranges: &[(A, A)], address: A) -> bool {
    let after = ranges.partition_point(|(first, _)| *first <= address);
    after.checked_sub(1).and_then(|at| ranges.get(at)).is_some_and(|(_, last)| address <= *last)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn networks(texts: &[&str]) -> Result<Networks, String> {
        Networks::parse(&texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn what_is_in_a_range() {
        for (ranges, address, inside) in [
            (&["10.0.0.0/8"][..], "10.255.255.255", true),
            (&["10.0.0.0/8"], "11.0.0.0", false),
            (&["10.0.0.0/8"], "9.255.255.255", false),
            (&["10.0.0.7"], "10.0.0.7", true),
            (&["10.0.0.7"], "10.0.0.8", false),
            (&["0.0.0.0/0"], "255.255.255.255", true),
            (&["0.0.0.0/0"], "::1", false),
            (&["::/0"], "2001:db8::1", true),
            (&["::/0"], "203.0.113.9", false),
            (&["::/0"], "::ffff:203.0.113.9", false),
            (&["203.0.113.0/24"], "::ffff:203.0.113.9", true),
            (&["::ffff:203.0.113.0/120"], "203.0.113.9", true),
            (&["::ffff:203.0.113.9"], "203.0.113.9", true),
            (&["2001:db8::/32"], "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", true),
            (&["2001:db8::/32"], "2001:db9::", false),
            (&["::1/128"], "::1", true),
            (&["10.0.0.0/24", "10.0.0.0/8", "10.0.1.0/24"], "10.9.9.9", true),
            (&["10.0.0.0/25", "10.0.0.128/25", "192.168.0.0/16"], "10.0.0.200", true),
            (&["10.0.0.0/25", "192.168.0.0/16"], "10.0.0.200", false),
            (&["10.0.0.0/25", "192.168.0.0/16"], "192.168.255.255", true),
            (&["10.0.0.0/25", "192.168.0.0/16"], "192.169.0.0", false),
        ] {
            assert_eq!(networks(ranges).unwrap().contain(address.parse().unwrap()), inside, "{ranges:?} {address}");
        }
    }

    #[test]
    fn what_is_no_range() {
        for (text, named) in [
            ("", "[0]: \"\""),
            ("10.0.0.0/33", "10.0.0.0/33"),
            ("::/129", "::/129"),
            ("10.0.0.1/8", "\"10.0.0.0/8\""),
            ("2001:db8::1/32", "\"2001:db8::/32\""),
            ("10.0.0/8", "10.0.0/8"),
            ("010.0.0.1", "010.0.0.1"),
            ("10.0.0.0/", "10.0.0.0/"),
            ("10.0.0.0/+8", "+8"),
            ("10.0.0.0/0008", "0008"),
            ("10.0.0.0/8/8", "8/8"),
            ("10.0.0.0-10.0.0.9", "-"),
            ("example.com", "example.com"),
            ("fe80::1%eth0", "eth0"),
            (" 10.0.0.1", " 10"),
        ] {
            let refused = networks(&[text]).unwrap_err();
            assert!(refused.contains(named), "{text}: {refused}");
        }
        assert!(networks(&["10.0.0.1", "x"]).unwrap_err().starts_with("[1]"));
    }
}
