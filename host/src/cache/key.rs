//! What an entry is found by, and the parts of it by which an operator can purge it.

use http::{HeaderMap, HeaderValue};
use smallvec::SmallVec;

use super::Purge;

/// The parts of a key. None of them contains a line break.
#[derive(Clone, Copy, Debug)]
pub struct Key<'a> {
    pub route: &'a str,
    /// The upstream that a plugin chose.
    pub choice: &'a str,
    /// The API version of the request.
    pub version: &'a str,
    /// The request's fields. Those count that may make a server use a different address or method.
    pub fields: &'a HeaderMap,
    pub scheme: &'a str,
    pub authority: &'a str,
    /// Path and query.
    pub target: &'a str,
}

impl Key<'_> {
    pub fn text(&self) -> String {
        let mut key = String::with_capacity(TYPICAL_LENGTH);
        for part in [self.route, self.choice, self.version] {
            key.push_str(part);
            key.push('\n');
        }
        let mut speaking: SmallVec<[(&str, &HeaderValue); 8]> =
            self.fields.iter().map(|(name, value)| (name.as_str(), value)).filter(|(name, _)| speaks(name)).collect();
        // In whatever order they came.
        speaking.sort_by_key(|(name, _)| *name);
        for (name, value) in speaking {
            // A field that repeats the request, as in most requests, distinguishes nothing.
            let says_host = |host: &[u8]| host.eq_ignore_ascii_case(self.authority.as_bytes());
            let says_scheme = |scheme: &[u8]| scheme.eq_ignore_ascii_case(self.scheme.as_bytes());
            match (name, value.as_bytes()) {
                ("x-forwarded-host", host) if says_host(host) => continue,
                ("x-forwarded-proto", scheme) if says_scheme(scheme) => continue,
                ("forwarded", list) => {
                    for (name, value) in of_servers(list) {
                        if !(name == "host" && says_host(value) || name == "proto" && says_scheme(value)) {
                            key.push_str(name);
                            key.push('=');
                            key.extend(text(value));
                            key.push('\n');
                        }
                    }
                }
                (name, value) => {
                    key.push_str(name);
                    key.push(':');
                    key.extend(text(value));
                    key.push('\n');
                }
            }
        }
        push_url(&mut key, self.scheme, self.authority, self.target);
        key
    }
}

/// The key for another address on the same host that a response names, for instance in `Location`; `None` for other
/// hosts.
pub fn sibling(key: &str, reference: &str) -> Option<String> {
    let url = url_of(key);
    let host_begins = url.find("://")? + 3;
    let host_ends = url[host_begins..].find('/').map_or(url.len(), |at| host_begins + at);
    let origin = &url[..host_ends];
    let target = match reference.strip_prefix('/') {
        Some(rest) if !rest.starts_with('/') => reference.split('#').next()?.to_owned(),
        _ => match Purge::url(reference)? {
            Purge::Url(other) => other.strip_prefix(origin).filter(|target| target.starts_with('/'))?.to_owned(),
            Purge::All | Purge::Tag(_) => return None,
        },
    };
    Some(format!("{}{origin}{target}", &key[..key.len() - url.len()]))
}

impl Purge {
    /// For an address as written; `None` if it is not an `http` or `https` address.
    pub fn url(url: &str) -> Option<Purge> {
        let url: http::Uri = url.parse().ok()?;
        let scheme = url.scheme_str().filter(|scheme| matches!(*scheme, "http" | "https"))?;
        let target = url.path_and_query().map_or("/", |target| target.as_str());
        let mut text = String::new();
        push_url(&mut text, scheme, url.authority()?.as_str(), target);
        Some(Purge::Url(text))
    }
}

pub(super) fn url_of(key: &str) -> &str {
    key.rsplit('\n').next().unwrap_or(key)
}

fn push_url(text: &mut String, scheme: &str, authority: &str, target: &str) {
    // Hosts are case-insensitive, and the default port makes no difference.
    let default_port = if scheme == "https" { ":443" } else { ":80" };
    let authority = authority.strip_suffix(default_port).unwrap_or(authority);
    text.push_str(scheme);
    text.push_str("://");
    text.extend(authority.chars().map(|c| c.to_ascii_lowercase()));
    text.push_str(target);
}

/// Whether some servers and frameworks let this field override the address or method of the request line. A client that
/// sends one gets an entry of its own, and does not determine what others get.
fn speaks(name: &str) -> bool {
    match name.strip_prefix("x-") {
        Some(rest) => SPEAKING.binary_search(&rest).is_ok(),
        None => name == "forwarded",
    }
}

/// What `Forwarded` (RFC 7239) says about hosts and schemes. Clients are left out, as each would get an entry.
fn of_servers(list: &[u8]) -> impl Iterator<Item = (&'static str, &[u8])> {
    let pairs = list.split(|byte| matches!(byte, b',' | b';')).filter_map(|pair| {
        let equals = pair.iter().position(|byte| *byte == b'=')?;
        let (name, value) = (pair[..equals].trim_ascii(), pair[equals + 1..].trim_ascii());
        let known = ["host", "proto"].into_iter().find(|known| name.eq_ignore_ascii_case(known.as_bytes()))?;
        Some((known, value))
    });
    // A host with a port is quoted.
    pairs.map(|(name, value)| {
        (name, value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value))
    })
}

/// Maps each byte to the character with that number, so that different bytes stay different.
fn text(bytes: &[u8]) -> impl Iterator<Item = char> {
    bytes.iter().map(|byte| char::from(*byte))
}

/// Without `x-`, sorted.
static SPEAKING: [&str; 17] = [
    "forwarded-host",
    "forwarded-port",
    "forwarded-prefix",
    "forwarded-proto",
    "forwarded-scheme",
    "forwarded-server",
    "forwarded-ssl",
    "host",
    "http-host-override",
    "http-method",
    "http-method-override",
    "method-override",
    "original-host",
    "original-method",
    "original-uri",
    "original-url",
    "rewrite-url",
];
/// Enough for most keys, so that they are written without reallocation.
const TYPICAL_LENGTH: usize = 256;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn key(fields: &[(&'static str, &[u8])], authority: &str) -> String {
        let value = |value: &[u8]| HeaderValue::from_bytes(value).unwrap();
        let mut map = HeaderMap::new();
        for (name, field) in fields {
            map.append(*name, value(field));
        }
        Key { route: "r", choice: "", version: "", fields: &map, scheme: "http", authority, target: "/x?y" }.text()
    }

    #[test]
    fn what_tells_requests_apart() {
        assert!(SPEAKING.is_sorted());
        let plain = key(&[], "a.test");
        let said = [
            ("forwarded", &b"for=192.0.2.1;proto=http;host=\"a.test\""[..]),
            ("x-forwarded-proto", b"http"),
            ("x-forwarded-host", b"A.test"),
        ];
        for (fields, authority, is_same) in [
            (vec![("x-other", &b"1"[..]), ("cookie", b"a=b")], "a.test", true),
            (said.to_vec(), "a.test", true),
            (said.to_vec(), "b.test", false),
            (vec![("forwarded", b"host=a.test, host=b.test")], "a.test", false),
            (vec![("forwarded", b"proto=https")], "a.test", false),
            (vec![], "A.TEST:80", true),
            (vec![], "a.test:443", false),
            (vec![("x-forwarded-host", b"evil")], "a.test", false),
            (vec![("x-original-url", b"/admin")], "a.test", false),
            (vec![("x-http-method-override", b"DELETE")], "a.test", false),
        ] {
            assert_eq!(key(&fields, authority) == plain, is_same, "{fields:?} {authority}");
        }
        for (one, other, is_same) in [
            (("forwarded", &b"for=192.0.2.1;host=a"[..]), ("forwarded", &b"for=192.0.2.2;host=a"[..]), true),
            (("forwarded", b"for=192.0.2.1;Host=a"), ("forwarded", b"for=192.0.2.1;host=b"), false),
            (("forwarded", b"proto=http"), ("forwarded", b"for=x, proto=https"), false),
            (("x-host", b"\xe4"), ("x-host", b"\xe5"), false),
        ] {
            assert_eq!(key(&[one], "a") == key(&[other], "a"), is_same, "{one:?} {other:?}");
        }
        let (host, scheme) = (("x-forwarded-host", &b"a"[..]), ("x-forwarded-proto", &b"https"[..]));
        assert_eq!(key(&[host, scheme], "a"), key(&[scheme, host], "a"), "in whatever order");
    }

    #[test]
    fn other_addresses_that_a_response_names() {
        let key = key(&[("x-forwarded-host", b"b")], "a.test:8080");
        for (reference, expected) in [
            ("/z#part", Some("http://a.test:8080/z")),
            ("http://A.test:8080/z?q", Some("http://a.test:8080/z?q")),
            ("http://a.test:80801/z", None),
            ("http://b.test/z", None),
            ("https://a.test:8080/z", None),
            ("//b.test/z", None),
            ("z", None),
            ("", None),
        ] {
            let other = sibling(&key, reference);
            assert_eq!(other.as_deref().map(url_of), expected, "{reference}");
            assert!(other.is_none_or(|other| other.starts_with("r\n\n\nx-forwarded-host:b\n")));
        }
    }
}
