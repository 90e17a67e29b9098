//! The gateway's rules about headers, for a plugin that wants to refuse a bad configuration early. The gateway enforces
//! them again in each call.

use http::{HeaderName, HeaderValue};

/// The names no plugin may set, append or remove: they frame the message or belong to one connection (RFC 9110
/// section 7.6.1), and `host` is changed with [`crate::Exchange::set_authority`].
pub const FORBIDDEN_HEADERS: [&str; 11] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Whether a plugin may change the header of this name.
///
/// # Errors
/// Why not, as a clause that follows the name.
pub fn check_name(name: &str) -> Result<(), &'static str> {
    if HeaderName::from_bytes(name.as_bytes()).is_err() {
        return Err("is not a header name");
    }
    if FORBIDDEN_HEADERS.iter().any(|forbidden| forbidden.eq_ignore_ascii_case(name)) {
        return Err("is a header the gateway keeps for itself");
    }
    Ok(())
}

/// Whether this can be a header's value: no control characters except the tab. Spaces at the ends are cut off.
///
/// # Errors
/// Why not, as a clause that follows the value.
pub fn check_value(value: &str) -> Result<(), &'static str> {
    HeaderValue::from_bytes(value.as_bytes()).map(|_| ()).map_err(|_| "has a control character")
}

/// The names of all attributes of an exchange, except the families `route.path.NAME` and `plugin.PLUGIN.NAME`. See
/// [`crate::Exchange::attribute`].
pub const ATTRIBUTES: [&str; 20] = [
    "source.address",
    "source.peer",
    "listener.name",
    "connection.protocol",
    "connection.tls.version",
    "connection.tls.cipher",
    "connection.tls.server-name",
    "connection.tls.resumed",
    "connection.tls.client.subject",
    "connection.tls.client.issuer",
    "connection.tls.client.serial",
    "connection.tls.client.names",
    "connection.tls.client.fingerprint",
    "request.id",
    "request.duration-us",
    "identity.subject",
    "route.name",
    "route.version",
    "upstream.name",
    "upstream.endpoint",
];

/// Whether an exchange can have an attribute with this name.
///
/// # Errors
/// Why not, as a clause that follows the name.
pub fn check_attribute(name: &str) -> Result<(), String> {
    let is_open = name.starts_with("route.path.") || name.starts_with("plugin.");
    if is_open || ATTRIBUTES.contains(&name) {
        return Ok(());
    }
    let root = |name: &str| name.split('.').next().unwrap_or_default().to_owned();
    let alike: Vec<&str> = ATTRIBUTES.into_iter().filter(|known| root(known) == root(name)).collect();
    let known = if alike.is_empty() { ATTRIBUTES.join(", ") } else { alike.join(", ") };
    Err(format!("is no attribute; there is {known}"))
}

/// Whether a text may be used as a request target, or as an address in a `Location`: visible ASCII, without a fragment.
#[must_use]
pub fn is_sendable(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#')
}

/// Whether it is a path on the same host, possibly with a query: to a browser `//elsewhere.example` is another host,
/// and so is `/\elsewhere.example`.
#[must_use]
pub fn is_path(text: &str) -> bool {
    text.starts_with('/') && !text.starts_with("//") && !text.starts_with("/\\") && is_sendable(text)
}

/// Text as a quoted string (RFC 9110 section 5.6.4), for the parameters of headers such as `WWW-Authenticate`.
#[must_use]
pub fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for char in text.chars() {
        if matches!(char, '"' | '\\') {
            quoted.push('\\');
        }
        quoted.push(char);
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for (name, allowed) in [
            ("x-a", true),
            ("X-A", true),
            ("authorization", true),
            ("", false),
            ("x a", false),
            ("x:a", false),
            (":path", false),
            ("x\r\na", false),
            ("x\0", false),
            ("ä", false),
            ("Content-Length", false),
            ("TRANSFER-ENCODING", false),
            ("connection", false),
            ("host", false),
        ] {
            assert_eq!(check_name(name).is_ok(), allowed, "{name:?}");
        }
    }

    #[test]
    fn attributes() {
        for name in ["source.address", "connection.tls.client.names", "route.path.id", "plugin.any.thing"] {
            assert_eq!(check_attribute(name), Ok(()), "{name}");
        }
        for (name, why) in [
            ("source.adress", "is no attribute; there is source.address, source.peer"),
            ("identity.subjcet", "is no attribute; there is identity.subject"),
        ] {
            assert_eq!(check_attribute(name), Err(why.to_owned()), "{name}");
        }
        let unknown = check_attribute("unknown").unwrap_err();
        assert!(unknown.contains("source.address") && unknown.contains("upstream.endpoint"), "{unknown}");
    }

    #[test]
    fn values() {
        for (value, allowed) in [
            ("", true),
            ("a\tb c", true),
            ("grüße", true),
            ("a\r\nb: c", false),
            ("a\n", false),
            ("\0", false),
            ("\u{7f}", false),
            (" a ", true),
        ] {
            assert_eq!(check_value(value).is_ok(), allowed, "{value:?}");
        }
    }

    #[test]
    fn paths() {
        for (text, expected) in [
            ("/", true),
            ("/a?b=c", true),
            ("", false),
            ("a", false),
            ("//elsewhere.example", false),
            ("/\\elsewhere.example", false),
            ("/a b", false),
            ("/a#b", false),
            ("/ä", false),
            ("/a\r\nlocation: b", false),
            ("https://elsewhere.example/", false),
        ] {
            assert_eq!(is_path(text), expected, "{text:?}");
        }
    }

    #[test]
    fn quoting() {
        assert_eq!(quoted(r#"a "b" \c"#), r#""a \"b\" \\c""#);
    }
}
