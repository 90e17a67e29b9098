//! Host names: which names a pattern means, and the table from a request's host to the paths below it.
//!
//! Names compare without regard to ASCII case, without the port and without one trailing dot. IPv6 literals compare as
//! addresses, so `[::1]` and `[0:0::1]` are one host. Names are what the wire carries: an internationalised name is
//! written in its `xn--` form.

use std::fmt;
use std::net::Ipv6Addr;

use smallvec::SmallVec;

use super::error::PatternError;
use super::table::{Key, Table};
use super::tree::PathTree;

/// The hosts that a rule matches.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostPattern(Kind);

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Kind {
    Any,
    /// What follows `*.`, in lower case: one or more labels may precede it.
    Wildcard(Box<str>),
    /// Lower-case, without a trailing dot.
    Name(Box<str>),
    Address(Ipv6Addr),
}

impl HostPattern {
    /// Every host, and requests without one. Written `*`.
    pub const ANY: HostPattern = HostPattern(Kind::Any);

    /// Parses `api.example.com`, `*.example.com`, `10.0.0.1`, `[::1]` or `*`.
    ///
    /// # Errors
    /// Text that no request could match: a port, an empty or over-long label, a character other than letters, digits,
    /// `-` and `_`, a `*` that is not the whole first label.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        if text == "*" {
            return Ok(HostPattern::ANY);
        }
        if let Some(literal) = text.strip_prefix('[') {
            let address = literal.strip_suffix(']').and_then(|address| address.parse().ok());
            return address.map(|address| HostPattern(Kind::Address(address))).ok_or(PatternError::HostAddress);
        }
        let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        match name.strip_prefix("*.") {
            Some(suffix) => check_name(suffix).map(|()| HostPattern(Kind::Wildcard(suffix.into()))),
            None => check_name(&name).map(|()| HostPattern(Kind::Name(name.into()))),
        }
    }

    /// Whether the pattern matches this authority (`host` or `host:port`).
    #[must_use]
    pub fn matches(&self, authority: &str) -> bool {
        match (&self.0, Host::of(authority)) {
            (Kind::Any, _) => true,
            (Kind::Address(wanted), Host::Address(address)) => *wanted == address,
            (Kind::Name(wanted), Host::Name(name)) => name.eq_ignore_ascii_case(wanted),
            (Kind::Wildcard(suffix), Host::Name(name)) => {
                let labels = name.len().checked_sub(suffix.len()).and_then(|length| name.split_at_checked(length));
                labels.is_some_and(|(labels, end)| {
                    labels.len() > 1 && labels.ends_with('.') && end.eq_ignore_ascii_case(suffix)
                })
            }
            _ => false,
        }
    }

    /// Greater is more specific: a name or an address before any wildcard, a longer wildcard before a shorter one.
    pub(super) fn specificity(&self) -> usize {
        match &self.0 {
            Kind::Any => 0,
            Kind::Wildcard(suffix) => suffix.len(),
            Kind::Name(_) | Kind::Address(_) => usize::MAX,
        }
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Any => f.write_str("*"),
            Kind::Wildcard(suffix) => write!(f, "*.{suffix}"),
            Kind::Name(name) => f.write_str(name),
            Kind::Address(address) => write!(f, "[{address}]"),
        }
    }
}

/// The path patterns of each host.
#[derive(Debug, Default)]
pub(super) struct HostTable {
    names: Table<Key, PathTree>,
    addresses: Table<[u8; 16], PathTree>,
    /// By what follows `*.`.
    wildcards: Table<Key, PathTree>,
    any: PathTree,
    /// Bytes of the longest key in `wildcards`. Longer suffixes are not hashed: for a host of thousands of labels, that
    /// would take time quadratic in its length.
    longest_wildcard: usize,
}

impl HostTable {
    /// The paths of a host, created if missing.
    pub(super) fn paths_of(&mut self, host: &HostPattern) -> &mut PathTree {
        match &host.0 {
            Kind::Any => &mut self.any,
            Kind::Name(name) => self.names.entry(name.as_bytes().into()).or_default(),
            Kind::Address(address) => self.addresses.entry(address.octets()).or_default(),
            Kind::Wildcard(suffix) => {
                self.longest_wildcard = self.longest_wildcard.max(suffix.len());
                self.wildcards.entry(suffix.as_bytes().into()).or_default()
            }
        }
    }

    pub(super) fn trees_mut(&mut self) -> impl Iterator<Item = &mut PathTree> {
        let named = self.names.values_mut().chain(self.addresses.values_mut()).chain(self.wildcards.values_mut());
        named.chain([&mut self.any])
    }

    /// Searches the matching hosts, from the most specific to the least, until one has a result.
    pub(super) fn find<T>(&self, authority: &str, mut search: impl FnMut(&PathTree) -> Option<T>) -> Option<T> {
        let named = match Host::of(authority) {
            _ if self.names.is_empty() && self.wildcards.is_empty() && self.addresses.is_empty() => None,
            Host::Address(address) => self.addresses.get(&address.octets()).and_then(&mut search),
            Host::Name(name) => self.find_name(name.as_bytes(), &mut search),
        };
        named.or_else(|| search(&self.any))
    }

    fn find_name<T>(&self, name: &[u8], search: &mut impl FnMut(&PathTree) -> Option<T>) -> Option<T> {
        if name.len() > MAX_NAME_BYTES {
            return None;
        }
        let mut lower = SmallVec::<[u8; 256]>::new();
        let name = if name.iter().any(u8::is_ascii_uppercase) {
            lower.extend_from_slice(name);
            lower.make_ascii_lowercase();
            &lower
        } else {
            name
        };
        if let Some(found) = self.names.get(name).and_then(&mut *search) {
            return Some(found);
        }
        let mut rest = name;
        while self.longest_wildcard > 0
            && let Some(suffix) = after_dot(rest)
        {
            if suffix.len() <= self.longest_wildcard
                && name.len() > suffix.len() + 1
                && let Some(found) = self.wildcards.get(suffix).and_then(&mut *search)
            {
                return Some(found);
            }
            rest = suffix;
        }
        None
    }
}

/// The host in an authority, in its original case.
enum Host<'a> {
    Name(&'a str),
    Address(Ipv6Addr),
}

impl<'a> Host<'a> {
    /// A malformed authority gives a name that no pattern has.
    fn of(authority: &'a str) -> Self {
        if let Some(literal) = authority.strip_prefix('[') {
            let address = literal.split_once(']').and_then(|(address, _)| address.parse().ok());
            return address.map_or(Host::Name(""), Host::Address);
        }
        let name = authority.split_once(':').map_or(authority, |(name, _)| name);
        Host::Name(name.strip_suffix('.').unwrap_or(name))
    }
}

fn after_dot(name: &[u8]) -> Option<&[u8]> {
    let dot = name.iter().position(|byte| *byte == b'.')?;
    name.get(dot + 1..)
}

fn check_name(name: &str) -> Result<(), PatternError> {
    if name.contains(':') {
        return Err(PatternError::HostPort);
    }
    let label_is_good = |label: &str| {
        !label.is_empty()
            && label.len() <= MAX_LABEL_BYTES
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    match name.len() <= MAX_NAME_BYTES && name.split('.').all(label_is_good) {
        true => Ok(()),
        false => Err(PatternError::HostName),
    }
}

/// RFC 1035 §2.3.4 allows 255 octets on the wire, which is 253 characters as text.
const MAX_NAME_BYTES: usize = 253;
/// RFC 1035 §2.3.4.
const MAX_LABEL_BYTES: usize = 63;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_means_these_hosts() {
        let check = |pattern: &str, authority: &str, expected: bool| {
            let matched = HostPattern::parse(pattern).unwrap().matches(authority);
            assert_eq!(matched, expected, "{pattern} against {authority}");
        };
        for (pattern, authority, expected) in [
            ("api.example.com", "api.example.com", true),
            ("API.example.com.", "api.Example.COM", true),
            ("api.example.com", "api.example.com:8443", true),
            ("api.example.com", "api.example.com.:8443", true),
            ("api.example.com", "api.example.com..", false),
            ("api.example.com", "xapi.example.com", false),
            ("*.example.com", "a.example.com", true),
            ("*.example.com", "a.b.EXAMPLE.com.:80", true),
            ("*.example.com", "example.com", false),
            ("*.example.com", ".example.com", false),
            ("*.example.com", "aexample.com", false),
            ("*.example.com", "a.example.com.evil", false),
            ("127.0.0.1", "127.0.0.1:80", true),
            ("[::1]", "[0:0:0:0:0:0:0:1]:80", true),
            ("[::1]", "[::1]", true),
            ("[::1]", "[::2]", false),
            ("[::1]", "::1", false),
            ("*", "", true),
            ("*", "[::1", true),
        ] {
            check(pattern, authority, expected);
        }
    }

    #[test]
    fn a_pattern_that_matches_nothing_is_refused() {
        let long_label = "a".repeat(64);
        let long_name = "a.".repeat(127);
        for (pattern, expected) in [
            ("", PatternError::HostName),
            (".", PatternError::HostName),
            ("a..b", PatternError::HostName),
            ("*.", PatternError::HostName),
            ("a.*.com", PatternError::HostName),
            ("*a.com", PatternError::HostName),
            ("bücher.example", PatternError::HostName),
            ("a b", PatternError::HostName),
            (&long_label, PatternError::HostName),
            (&format!("{long_name}com"), PatternError::HostName),
            ("example.com:80", PatternError::HostPort),
            ("[::1", PatternError::HostAddress),
            ("[::1]:80", PatternError::HostAddress),
            ("[fe80::1%eth0]", PatternError::HostAddress),
        ] {
            assert_eq!(HostPattern::parse(pattern), Err(expected), "{pattern}");
        }
    }

    #[test]
    fn a_pattern_prints_as_it_is_read() {
        for text in ["api.example.com", "*.example.com", "*", "[::1]"] {
            assert_eq!(HostPattern::parse(text).unwrap().to_string(), text);
        }
    }
}
