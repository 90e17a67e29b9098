//! Where a client puts a credential, how to take it, and how to keep it from the upstream.
//!
//! A credential that is there twice is as bad as none: the plugin might check one and the upstream use the other. So
//! [`Location::find`] reports it as unclear and never chooses.

use std::{borrow::Cow, fmt};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Exchange, MutateError,
    form::{decode, pairs},
    rules,
};

/// Where requests have the credential, such as `{ "header": "x-api-key" }`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Location {
    /// The header of this name. The credential is its whole value.
    Header(String),
    /// The query parameter of this name.
    Query(String),
    /// The cookie of this name.
    Cookie(String),
}

/// What was found at a [`Location`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// Nothing, or nothing but empty text.
    Nothing,
    /// Exactly one, not empty.
    One(String),
    /// More than one, or bytes that are not text.
    Unclear,
}

impl Location {
    /// Whether the gateway lets a plugin take a credential from this place; for [`crate::Plugin::new`].
    ///
    /// # Errors
    /// What is wrong, for the operator.
    pub fn check(&self) -> Result<(), String> {
        match self {
            Self::Header(name) => rules::check_name(name).map_err(|why| format!("{name:?} {why}")),
            Self::Query(name) | Self::Cookie(name) if name.is_empty() => Err("the name is empty".to_owned()),
            Self::Query(_) => Ok(()),
            // RFC 6265 section 4.1.1: a cookie's name is a token, like a header's.
            Self::Cookie(name) => http::HeaderName::from_bytes(name.as_bytes())
                .map(|_| ())
                .map_err(|_| format!("{name:?} is not a cookie's name")),
        }
    }

    /// Looks for the credential. Costs one host call.
    #[must_use]
    pub fn find(&self, exchange: &Exchange) -> Found {
        match self {
            Self::Header(name) => one(exchange.request_headers().values(name).into_iter().map(Cow::Owned)),
            Self::Query(name) => {
                let path = exchange.path();
                let (_, query) = path.split_once('?').unwrap_or_default();
                one(pairs(query).filter(|pair| decode(pair.name) == name.as_bytes()).map(|pair| decode(pair.value)))
            }
            Self::Cookie(name) => {
                let headers = exchange.request_headers().values("cookie");
                one(headers
                    .iter()
                    .flat_map(|header| cookies(header))
                    .filter(|(have, _)| *have == name.as_bytes())
                    .map(|(_, value)| Cow::Borrowed(value)))
            }
        }
    }

    /// Removes every copy of the credential from the request. The rest of a query or of the cookies is left unchanged.
    ///
    /// # Errors
    /// The gateway's; a plugin that must hide the credential then refuses the request.
    pub fn hide(&self, exchange: &Exchange) -> Result<(), MutateError> {
        match self {
            Self::Header(name) => exchange.request_headers().remove(name),
            Self::Query(name) => exchange.set_path(&without_parameter(&exchange.path(), name)),
            Self::Cookie(name) => {
                let headers = exchange.request_headers();
                let values = headers.values("cookie");
                let rest: Vec<&[u8]> = values
                    .iter()
                    .flat_map(|header| header.split(|&byte| byte == b';'))
                    .map(<[u8]>::trim_ascii)
                    .filter(|cookie| !cookie.is_empty() && cookie_pair(cookie).0 != name.as_bytes())
                    .collect();
                if rest.is_empty() {
                    return headers.remove("cookie");
                }
                headers.set("cookie", String::from_utf8_lossy(&rest.join(b"; ".as_slice())))
            }
        }
    }
}

impl fmt::Display for Location {
    /// The place, in words for a client.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, name) = match self {
            Self::Header(name) => ("header", name),
            Self::Query(name) => ("query parameter", name),
            Self::Cookie(name) => ("cookie", name),
        };
        write!(f, "the {kind} {name}")
    }
}

/// The value of `Authorization: Bearer TOKEN` (RFC 6750 section 2.1); `None` for another scheme or no token.
#[must_use]
pub fn bearer(authorization: &str) -> Option<&str> {
    let (scheme, token) = authorization.split_once(' ')?;
    let token = token.trim_matches(' ');
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

fn one<'a>(mut values: impl Iterator<Item = Cow<'a, [u8]>>) -> Found {
    let Some(value) = values.next() else { return Found::Nothing };
    if values.next().is_some() {
        return Found::Unclear;
    }
    match String::from_utf8(value.into_owned()) {
        Ok(value) if value.is_empty() => Found::Nothing,
        Ok(value) => Found::One(value),
        Err(_) => Found::Unclear,
    }
}

fn without_parameter(path: &str, name: &str) -> String {
    let Some((before, query)) = path.split_once('?') else { return path.to_owned() };
    let rest: Vec<&str> =
        pairs(query).filter(|pair| decode(pair.name) != name.as_bytes()).map(|pair| pair.text).collect();
    if rest.is_empty() { before.to_owned() } else { format!("{before}?{}", rest.join("&")) }
}

fn cookies(header: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    header.split(|&byte| byte == b';').map(cookie_pair)
}

fn cookie_pair(cookie: &[u8]) -> (&[u8], &[u8]) {
    let cookie = cookie.trim_ascii();
    let Some(at) = cookie.iter().position(|&byte| byte == b'=') else { return (b"", cookie) };
    let (name, value) = cookie.split_at(at);
    let value = value.strip_prefix(b"=").unwrap_or(value).trim_ascii();
    let value = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value);
    (name.trim_ascii(), value)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::{
        Decision, NoConfig, Plugin,
        testing::{Double, Request},
    };

    /// Reports through attributes, using a location as a plugin would.
    struct Probe(Location);

    impl Plugin for Probe {
        type Config = NoConfig;
        fn new(_: NoConfig) -> Result<Self, String> {
            Err("made by hand".to_owned())
        }
        fn on_request(&self, exchange: &Exchange) -> Decision {
            let found = self.0.find(exchange);
            exchange.set_attribute("found", &format!("{found:?}")).unwrap();
            self.0.hide(exchange).unwrap();
            Decision::Proceed
        }
    }

    fn probe(location: Location, request: Request) -> (Double, String) {
        let double = Double::new();
        double.receive(request);
        let _ = double.on_request(&Probe(location));
        let found = double.attribute("plugin.under-test.found").unwrap();
        (double, found)
    }

    #[test]
    fn headers() {
        let header = || Location::Header("X-Key".to_owned());
        for (values, expected) in [
            (vec![], "Nothing"),
            (vec![""], "Nothing"),
            (vec!["a"], r#"One("a")"#),
            (vec!["a", "a"], "Unclear"),
            (vec!["a", ""], "Unclear"),
        ] {
            let request = values.iter().fold(Request::get("/"), |request, value| request.header("x-key", value));
            let (double, found) = probe(header(), request);
            assert_eq!(found, expected, "{values:?}");
            assert_eq!(double.request_header("x-key"), None);
        }
        let (_, found) = probe(header(), Request::get("/").header_bytes("x-key", b"\xff"));
        assert_eq!(found, "Unclear");
    }

    #[test]
    fn queries() {
        for (path, expected, rest) in [
            ("/", "Nothing", "/"),
            ("/?", "Nothing", "/?"),
            ("/?key=", "Nothing", "/"),
            ("/?key", "Nothing", "/"),
            ("/?key=a", r#"One("a")"#, "/"),
            ("/a?x=1&key=a%20b%2B&y", r#"One("a b+")"#, "/a?x=1&y"),
            ("/?k%65y=a+b", r#"One("a b")"#, "/"),
            ("/?key=a&key=b", "Unclear", "/"),
            ("/?key=a&%6bey=b&z=%zz", "Unclear", "/?z=%zz"),
            ("/?key=%ff", "Unclear", "/"),
            ("/?key=%", r#"One("%")"#, "/"),
            ("/?key=%4", r#"One("%4")"#, "/"),
            ("/?KEY=a&akey=b", "Nothing", "/?KEY=a&akey=b"),
            ("/?x=key=a", "Nothing", "/?x=key=a"),
            ("/?a=?key=1", "Nothing", "/?a=?key=1"),
        ] {
            let (double, found) = probe(Location::Query("key".to_owned()), Request::get(path));
            assert_eq!((found.as_str(), double.path().as_str()), (expected, rest), "{path}");
        }
    }

    #[test]
    fn cookies_in_one_header_or_many() {
        for (values, expected, rest) in [
            (vec!["key=a"], r#"One("a")"#, None),
            (vec!["x=1; key=\"a\"; y=2"], r#"One("a")"#, Some("x=1; y=2")),
            (vec!["x=1", "key=a=b", "y=2"], r#"One("a=b")"#, Some("x=1; y=2")),
            (vec!["key=a; key=b"], "Unclear", None),
            (vec!["key=a", "key=a"], "Unclear", None),
            (vec!["xkey=a;key"], "Nothing", Some("xkey=a; key")),
            (vec![";;=;"], "Nothing", Some("=")),
        ] {
            let request = values.iter().fold(Request::get("/"), |request, value| request.header("cookie", value));
            let (double, found) = probe(Location::Cookie("key".to_owned()), request);
            assert_eq!((found.as_str(), double.request_header("cookie").as_deref()), (expected, rest), "{values:?}");
        }
    }

    #[test]
    fn bearer_tokens() {
        for (value, token) in [
            ("Bearer a.b", Some("a.b")),
            ("bEARER  a ", Some("a")),
            ("Bearer", None),
            ("Bearer ", None),
            ("Basic a", None),
            ("Bearera b", None),
            ("", None),
        ] {
            assert_eq!(bearer(value), token, "{value:?}");
        }
    }

    #[test]
    fn bad_locations_are_refused() {
        for (json, good) in [
            (r#"{"header":"x-key"}"#, true),
            (r#"{"query":"a b"}"#, true),
            (r#"{"cookie":"sid"}"#, true),
            (r#"{"header":"x key"}"#, false),
            (r#"{"header":"host"}"#, false),
            (r#"{"query":""}"#, false),
            (r#"{"cookie":"a=b"}"#, false),
        ] {
            let location: Location = serde_json::from_str(json).unwrap();
            assert_eq!(location.check().is_ok(), good, "{json}");
        }
    }

    proptest::proptest! {
        /// Whatever the path: nothing is found after hiding, and the rest is left unchanged.
        #[test]
        fn a_hidden_parameter_is_gone_and_nothing_else(path in "/[a-c/]{0,3}(\\?[keyxKE%65b+&=?;]{0,24})?") {
            let hidden = without_parameter(&path, "key");
            let rest = |path: &str| -> Vec<String> {
                let query = path.split_once('?').map_or("", |(_, query)| query);
                let others = pairs(query).filter(|pair| decode(pair.name) != b"key".as_slice());
                others.map(|pair| pair.text.to_owned()).collect()
            };
            let (_, query) = hidden.split_once('?').unwrap_or_default();
            proptest::prop_assert!(pairs(query).all(|pair| decode(pair.name) != b"key".as_slice()));
            let kept: Vec<String> = rest(&path).into_iter().filter(|text| !text.is_empty()).collect();
            let left: Vec<String> = rest(&hidden).into_iter().filter(|text| !text.is_empty()).collect();
            proptest::prop_assert_eq!(kept, left);
            proptest::prop_assert_eq!(hidden.split('?').next(), path.split('?').next());
        }
    }
}
