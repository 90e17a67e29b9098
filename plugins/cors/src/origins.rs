//! The allowed origins, and whether an origin is one of them.
//!
//! An origin is compared in the form in which browsers write it (RFC 6454, section 6.2): scheme, host and port, in
//! lower case, without a default port. Anything else is not an origin. Partial matches would let attackers in:
//! `https://app.example.com.evil.com`, `https://evil-example.com`, `https://app.example.com@evil.com`.

use std::collections::BTreeSet;

/// The origins of a list.
#[derive(Debug, Default)]
pub(crate) struct Origins {
    /// Matches any text, even one that is not an origin.
    any: bool,
    exact: BTreeSet<String>,
    wildcards: Vec<Wildcard>,
}

/// `https://*.example.com:8443`, or `https://*` for every host.
#[derive(Debug)]
struct Wildcard {
    /// Includes `://`.
    scheme: String,
    /// From the dot on, with the port; empty for every host and port.
    end: String,
}

impl Origins {
    /// # Errors
    /// Names the text by its place, and what is wrong with it.
    pub(crate) fn parse(texts: &[String]) -> Result<Self, String> {
        let mut origins = Self::default();
        for (index, text) in texts.iter().enumerate() {
            origins.add(text).map_err(|why| format!("[{index}]: {text:?} {why}"))?;
        }
        Ok(origins)
    }

    fn add(&mut self, text: &str) -> Result<(), String> {
        match text {
            "*" => self.any = true,
            "null" => drop(self.exact.insert(text.to_owned())),
            _ => {
                let text = text.to_ascii_lowercase();
                let (scheme, rest) = split(&text)
                    .ok_or("is not \"*\", \"null\", or a scheme with a host: \"https://app.example.com\"")?;
                match rest.strip_prefix('*') {
                    Some("") => self.wildcards.push(Wildcard { scheme: scheme.to_owned(), end: String::new() }),
                    Some(end) => {
                        let named = end.strip_prefix('.').ok_or("has a \"*\" that is not the whole first label")?;
                        check(scheme, named)?;
                        self.wildcards.push(Wildcard { scheme: scheme.to_owned(), end: end.to_owned() });
                    }
                    None => {
                        check(scheme, rest)?;
                        self.exact.insert(text);
                    }
                }
            }
        }
        Ok(())
    }

    /// Whether every origin is allowed, so that the response does not depend on it.
    pub(crate) const fn is_any(&self) -> bool {
        self.any
    }

    /// Whether `null` is allowed: pages from files and in sandboxes, which can be anybody's.
    pub(crate) fn has_null(&self) -> bool {
        self.exact.contains("null")
    }

    pub(crate) fn contain(&self, origin: &str) -> bool {
        self.any || self.exact.contains(origin) || self.wildcards.iter().any(|wildcard| wildcard.contains(origin))
    }
}

impl Wildcard {
    fn contains(&self, origin: &str) -> bool {
        let Some((scheme, rest)) = split(origin) else { return false };
        if scheme != self.scheme || is_upper_case(origin) || check(scheme, rest).is_err() {
            return false;
        }
        // The host is valid as a whole, so the part before the end is whole labels.
        self.end.is_empty() || rest.strip_suffix(&*self.end).is_some_and(|labels| !labels.is_empty())
    }
}

fn is_upper_case(text: &str) -> bool {
    text.bytes().any(|byte| byte.is_ascii_uppercase())
}

/// The scheme with its `://`, and the rest.
fn split(text: &str) -> Option<(&str, &str)> {
    let (scheme, _) = text.split_once("://")?;
    let is_scheme = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    is_scheme.then(|| text.split_at(scheme.len() + "://".len()))
}

/// Whether this is a host, possibly with a port other than the scheme's default.
fn check(scheme: &str, authority: &str) -> Result<(), &'static str> {
    let end = if authority.starts_with('[') {
        authority.find(']').map_or(0, |end| end + 1)
    } else {
        authority.find(':').unwrap_or(authority.len())
    };
    let (host, port) = authority.split_at_checked(end).ok_or("has no host")?;
    if !is_host(host) {
        return Err("has no host after \"://\", or more than a host and a port");
    }
    match port.strip_prefix(':') {
        None if port.is_empty() => Ok(()),
        Some("443") if scheme == "https://" => Err("names a port that browsers leave out"),
        Some("80") if scheme == "http://" => Err("names a port that browsers leave out"),
        Some(digits) if is_port(digits) => Ok(()),
        _ => Err("has no port after \":\""),
    }
}

fn is_port(digits: &str) -> bool {
    !digits.starts_with('0') && digits.bytes().all(|byte| byte.is_ascii_digit()) && digits.parse::<u16>().is_ok()
}

/// A name of whole labels, an IPv4 address, or an IPv6 address in brackets.
fn is_host(host: &str) -> bool {
    if let Some(address) = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        return address.parse::<std::net::Ipv6Addr>().is_ok();
    }
    let is_label = |label: &str| {
        !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    host.len() <= LONGEST_HOST && host.split('.').all(is_label)
}

/// The limit for a name in the DNS.
const LONGEST_HOST: usize = 253;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn origins(texts: &[&str]) -> Result<Origins, String> {
        Origins::parse(&texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn an_origin_is_meant_as_a_whole_or_not_at_all() {
        let exact = &["https://app.example.com", "http://localhost:3000", "https://[::1]:8443", "app://one"][..];
        let below = &["https://*.example.com"][..];
        let port = &["https://*.example.com:8443"][..];
        let every = &["https://*"][..];
        for (list, origin, expected) in [
            (exact, "https://app.example.com", true),
            (exact, "http://localhost:3000", true),
            (exact, "https://[::1]:8443", true),
            (exact, "app://one", true),
            (exact, "http://app.example.com", false),
            (exact, "https://app.example.com:443", false),
            (exact, "https://app.example.com:8443", false),
            (exact, "https://app.example.com.", false),
            (exact, "https://app.example.com/", false),
            (exact, "https://app.example.com.evil.com", false),
            (exact, "https://evil.com/https://app.example.com", false),
            (exact, "HTTPS://APP.EXAMPLE.COM", false),
            (exact, " https://app.example.com", false),
            (exact, "https://app.example.com, https://evil.com", false),
            (exact, "https://app.example.com https://evil.com", false),
            (exact, "null", false),
            (exact, "", false),
            (below, "https://a.example.com", true),
            (below, "https://a.b-c.example.com", true),
            (below, "https://example.com", false),
            (below, "https://.example.com", false),
            (below, "https://a..example.com", false),
            (below, "https://evil-example.com", false),
            (below, "https://evilexample.com", false),
            (below, "https://a.example.com.evil.com", false),
            (below, "https://evil.com/.example.com", false),
            (below, "https://evil.com?.example.com", false),
            (below, "https://evil.com#.example.com", false),
            (below, "https://evil.com\\.example.com", false),
            (below, "https://evil.com:443.example.com", false),
            (below, "https://evil.com@a.example.com", false),
            (below, "https://evil.com%2f.example.com", false),
            (below, "https://a.example.com:8443", false),
            (below, "https://a.Example.com", false),
            (below, "https://ä.example.com", false),
            (below, "http://a.example.com", false),
            (below, "https://https://a.example.com", false),
            (below, "https://a b.example.com", false),
            (below, "https://a\u{0}.example.com", false),
            (port, "https://a.example.com:8443", true),
            (port, "https://a.example.com", false),
            (port, "https://a.example.com:84430", false),
            (every, "https://anything.test:8443", true),
            (every, "https://[::1]", true),
            (every, "https://[::1", false),
            (every, "https://", false),
            (every, "https://a/b", false),
            (every, "https://a:", false),
            (every, "https://a:65536", false),
            (every, "http://anything.test", false),
            (every, "null", false),
            (&["null"], "null", true),
            (&["null"], "NULL", false),
            (&["*"], "https://anything.test", true),
            (&["*"], "null", true),
            (&["HTTPS://App.Example.com"], "https://app.example.com", true),
        ] {
            assert_eq!(origins(list).unwrap().contain(origin), expected, "{list:?} {origin:?}");
        }
    }

    #[test]
    fn what_is_no_origin() {
        for (text, named) in [
            ("app.example.com", "\"https://app.example.com\""),
            ("", "scheme"),
            ("//app.example.com", "scheme"),
            ("https://", "no host"),
            ("https://app.example.com/", "more than a host"),
            ("https://app.example.com/path", "more than a host"),
            ("https://user@app.example.com", "more than a host"),
            ("https://app.example.com:443", "browsers leave out"),
            ("http://app.example.com:80", "browsers leave out"),
            ("https://app.example.com:", "no port"),
            ("https://app.example.com:0", "no port"),
            ("https://app.example.com:99999", "no port"),
            ("https://app*.example.com", "more than a host"),
            ("https://*example.com", "whole first label"),
            ("https://a.*.example.com", "more than a host"),
            ("https://*.", "no host"),
            ("https://*:8443", "whole first label"),
            ("*.example.com", "scheme"),
            ("https://[::g]", "no host"),
        ] {
            let refused = origins(&["https://good.test", text]).unwrap_err();
            assert!(refused.starts_with("[1]") && refused.contains(named), "{text}: {refused}");
        }
    }
}
