//! Changes to a request on its way: another URL for the client, another path or host for the upstream, other header
//! fields.

use std::collections::BTreeMap;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::address::{check_host_name, check_no_url, split_port};
use super::forms::{keyed_by_field_name, one_or_many, or_one_alone, or_text, two_forms};
use super::pattern::Regex;
use super::text::{Written, is_token, quoted, written_as_text};

/// Redirects the client (RFC 9110, section 15.4). Keys that are left out keep that part of the requested URL; the query
/// is always kept.
#[derive(Clone, Debug, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("minProperties" = 1))]
pub struct Redirect {
    /// "http" or "https".
    pub scheme: Option<Scheme>,

    /// The host, without a port.
    pub host: Option<Host>,

    /// The port. Default: that of `scheme` if given, else the one in the request's own Host.
    #[schemars(range(min = 1))]
    pub port: Option<u16>,

    /// The path, in the same forms as in `rewrite`.
    pub path: Option<PathRewrite>,

    /// Clients may cache 301 and 308, but not 302, 303 and 307. With 303 they use GET for the new URL; with 307 and 308
    /// they keep method and body.
    pub status: RedirectStatus,
}

/// The scheme of a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Scheme {
    Http,
    Https,
}

/// A status that redirects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(try_from = "u16", into = "u16")]
#[schemars(with = "u16", extend("enum" = [301, 302, 303, 307, 308]))]
pub enum RedirectStatus {
    MovedPermanently,
    #[default]
    Found,
    SeeOther,
    TemporaryRedirect,
    PermanentRedirect,
}

impl From<RedirectStatus> for u16 {
    fn from(status: RedirectStatus) -> u16 {
        match status {
            RedirectStatus::MovedPermanently => 301,
            RedirectStatus::Found => 302,
            RedirectStatus::SeeOther => 303,
            RedirectStatus::TemporaryRedirect => 307,
            RedirectStatus::PermanentRedirect => 308,
        }
    }
}

impl TryFrom<u16> for RedirectStatus {
    type Error = &'static str;

    fn try_from(status: u16) -> Result<RedirectStatus, &'static str> {
        Ok(match status {
            301 => RedirectStatus::MovedPermanently,
            302 => RedirectStatus::Found,
            303 => RedirectStatus::SeeOther,
            307 => RedirectStatus::TemporaryRedirect,
            308 => RedirectStatus::PermanentRedirect,
            _ => return Err("a redirect has the status 301, 302, 303, 307 or 308"),
        })
    }
}

/// Changes the path and host of requests to the upstream. Plugins run before it and see the client's own path and host.
#[derive(Clone, Debug, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("minProperties" = 1))]
pub struct Rewrite {
    /// The Host that the upstream gets, with the port if it is not the usual one of its scheme; `X-Forwarded-Host` has
    /// the client's.
    pub host: Option<HostAndPort>,

    /// The path: a whole one ("/new", "/people/$(id)" with parameters of the matched path), or an object with `prefix`
    /// or `regex`. The query stays.
    pub path: Option<PathRewrite>,
}

/// A new path: the whole path, or an object that replaces a part of it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields, remote = "Self")]
#[schemars(rename = "PathRewrite", transform = or_text::<PathText>)]
pub enum PathRewrite {
    #[serde(skip)]
    Full(PathText),
    /// Replaces the part before the `/*` of the matched path: with "/new", `/old/*` turns `/old/a` into `/new/a`. "/"
    /// removes the prefix.
    Prefix(PathText),
    /// Replaces by a regular expression; a path that does not match stays.
    Regex(Substitution),
}
two_forms!(PathRewrite, short: PathText);

impl From<PathText> for PathRewrite {
    fn from(text: PathText) -> PathRewrite {
        PathRewrite::Full(text)
    }
}

/// A regular expression for a path, and its replacement.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Substitution {
    /// Must match the whole path.
    #[serde(rename = "match")]
    pub pattern: Regex,

    /// The new path, with `$(1)` or `$(name)` for the groups of the expression.
    pub with: PathText,
}

/// A path to send: begins with "/"; `$(name)` in it is a parameter.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PathText(String);

impl PathText {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The names in `$(..)`, in order.
    pub(super) fn places(&self) -> impl Iterator<Item = &str> {
        self.0.split("$(").skip(1).filter_map(|rest| rest.split_once(')').map(|(name, _)| name))
    }
}

impl FromStr for PathText {
    type Err = String;

    fn from_str(text: &str) -> Result<PathText, String> {
        if !text.starts_with('/') {
            return Err("a path begins with \"/\"".to_owned());
        }
        if text.len() > LONGEST {
            return Err("it is longer than 4 KiB".to_owned());
        }
        if let Some(wrong) = text.chars().find(|c| !c.is_ascii_graphic() || "?#\\\"<>^`{|}".contains(*c)) {
            return Err(match wrong {
                '?' => "a path ends before the \"?\"; the query stays as it is".to_owned(),
                '{' | '}' => "a parameter is written \"$(name)\" here".to_owned(),
                wrong => format!("{} cannot stand in a path", quoted(wrong.encode_utf8(&mut [0; 4]))),
            });
        }
        if text.split('/').any(|segment| matches!(segment, "." | "..")) {
            return Err("\".\" and \"..\" are no segments of a path to send".to_owned());
        }
        for rest in text.split("$(").skip(1) {
            let name = rest.split_once(')').map(|(name, _)| name);
            let is_name = |name: &str| {
                !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
            };
            if !name.is_some_and(is_name) {
                return Err("\"$(\" is followed by the name of a parameter and \")\"".to_owned());
            }
        }
        // A parameter as written in other software. It would silently be sent as it is.
        if let Some(rest) = text.split('$').skip(1).find(|rest| rest.starts_with(|c: char| c.is_ascii_alphanumeric())) {
            let name = rest.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap_or_default();
            return Err(format!("a parameter is written \"$({name})\" here, and a \"$\" itself \"%24\""));
        }
        for rest in text.split('%').skip(1) {
            let value = rest.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
            match value.map(char::from) {
                None => return Err("a \"%\" is followed by two hexadecimal digits".to_owned()),
                Some(c) if c.is_ascii_alphanumeric() || "-._~/\\\0".contains(c) => {
                    return Err(format!("{} is never percent-encoded in a path", quoted(c.encode_utf8(&mut [0; 4]))));
                }
                Some(_) => {}
            }
        }
        Ok(PathText(text.to_owned()))
    }
}

impl Written for PathText {
    const FORMAT: &'static str = "gateway-path-text";
    const NOUN: &'static str = "a path to send";
    const HINT: &'static str = "\"/new\", or with parameters of the matched path: \"/people/$(id)\"";
    const PATTERN: Option<&'static str> = Some("^/");
    const EXAMPLES: &'static [&'static str] = &["/new", "/people/$(id)"];
}
written_as_text!(PathText);

/// A host name or IPv4 address, without a port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Host(String);

impl Host {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Host {
    type Err = String;

    fn from_str(text: &str) -> Result<Host, String> {
        check_no_url(text)?;
        if text.contains(':') {
            return Err("it is written without a port".to_owned());
        }
        if text.contains('*') {
            return Err("it is one host, not a pattern".to_owned());
        }
        check_host_name(text)?;
        Ok(Host(text.to_ascii_lowercase()))
    }
}

impl Written for Host {
    const FORMAT: &'static str = "gateway-host-name";
    const NOUN: &'static str = "a host name";
    const HINT: &'static str = "a name without a port: \"www.example.com\"";
    const EXAMPLES: &'static [&'static str] = &["www.example.com"];
}
written_as_text!(Host);

/// A host name or IPv4 address, with or without a port: what may stand in the field `Host` (RFC 9110, section 7.2).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostAndPort(String);

impl HostAndPort {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for HostAndPort {
    type Err = String;

    fn from_str(text: &str) -> Result<HostAndPort, String> {
        check_no_url(text)?;
        if !text.contains(':') {
            return Ok(HostAndPort(text.parse::<Host>()?.0));
        }
        let (host, port) = split_port(text)?;
        if port == 0 {
            return Err("port 0 cannot be connected to".to_owned());
        }
        let host: Host = host.parse()?;
        Ok(HostAndPort(format!("{}:{port}", host.as_str())))
    }
}

impl Written for HostAndPort {
    const FORMAT: &'static str = "gateway-host-and-port";
    const NOUN: &'static str = "a host to send";
    const HINT: &'static str = "a name, with or without a port: \"www.example.com\", \"users.internal:8080\"";
    const EXAMPLES: &'static [&'static str] = &["www.example.com", "users.internal:8080"];
}
written_as_text!(HostAndPort);

/// Changes to header fields, in this order: remove, set, append.
#[derive(Clone, Debug, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct HeaderChanges {
    /// Fields to remove, if present.
    #[schemars(length(max = 100))]
    pub remove: Vec<FieldName>,

    /// Fields to set to exactly this value.
    #[schemars(transform = keyed_by_field_name)]
    pub set: BTreeMap<FieldName, FieldValue>,

    /// Values to add to existing ones: one or a list.
    #[schemars(transform = keyed_by_field_name)]
    pub append: BTreeMap<FieldName, FieldValues>,
}

/// One value or a list.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(transform = or_one_alone)]
pub struct FieldValues(#[serde(deserialize_with = "one_or_many")] pub Vec<FieldValue>);

/// The name of a header field that may be changed, in lower case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FieldName(String);

impl FieldName {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for FieldName {
    type Err = String;

    fn from_str(text: &str) -> Result<FieldName, String> {
        if !is_token(text) || text.len() > 256 {
            return Err("it has another character in it, or is longer than 256".to_owned());
        }
        let name = text.to_ascii_lowercase();
        match name.as_str() {
            "host" => Err("the host is changed by \"host\" in \"rewrite\"".to_owned()),
            name if KEPT.contains(&name) => Err("the gateway keeps this one for itself".to_owned()),
            _ => Ok(FieldName(name)),
        }
    }
}

impl Written for FieldName {
    const FORMAT: &'static str = "gateway-field-name";
    const NOUN: &'static str = "the name of a header field to change";
    const HINT: &'static str = "letters, digits and marks such as \"-\", without the colon: \"x-tenant\"";
    const PATTERN: Option<&'static str> = Some("^[!#$%&'*+.^_`|~0-9A-Za-z-]+$");
    const EXAMPLES: &'static [&'static str] = &["x-tenant"];
}
written_as_text!(FieldName);

/// The value of a header field: no control characters, and sent as it is written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FieldValue(String);

impl FieldValue {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for FieldValue {
    type Err = String;

    fn from_str(text: &str) -> Result<FieldValue, String> {
        if text.len() > LONGEST {
            return Err("it is longer than 4 KiB".to_owned());
        }
        if text.bytes().any(|byte| byte < 0x20 && byte != b'\t' || byte == 0x7f) {
            return Err("it has a control character in it".to_owned());
        }
        // Here it would silently be sent as it is.
        if text.contains("$(") {
            return Err("only the plugin \"headers\" fills in a \"$(name)\"".to_owned());
        }
        Ok(FieldValue(text.to_owned()))
    }
}

impl Written for FieldValue {
    const FORMAT: &'static str = "gateway-field-value";
    const NOUN: &'static str = "the value of a header field";
    const HINT: &'static str = "text without control characters";
}
written_as_text!(FieldValue);

/// Fields that the gateway manages itself: the end of a message and its connection (as listed in the plugins'
/// contract).
const KEPT: [&str; 10] = [
    "connection",
    "content-length",
    "expect",
    "http2-settings",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// The limit of a path or a value.
const LONGEST: usize = 4 * 1024;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn paths_to_send() {
        for (text, places) in
            [("/", vec![]), ("/a%20b/$(id)/x", vec!["id"]), ("/$(a)-$(1)", vec!["a", "1"]), ("/$", vec![])]
        {
            assert_eq!(text.parse::<PathText>().unwrap().places().collect::<Vec<_>>(), places, "{text}");
        }
        for text in [
            "", "a", "$(a)", "/a?b", "/a#", "/a b", "/é", "/./a", "/a/..", "/$(", "/$()", "/$(a b)", "/%", "/%2",
            "/\\", "/%2f", "/%41", "/{a}", "/$1", "/a$id/b", "/$$1",
        ] {
            assert!(text.parse::<PathText>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_parameter_written_as_elsewhere_is_told_how_it_is_written_here() {
        for (text, parameter) in [("/b/$1", "$(1)"), ("/s/$id/x", "$(id)"), ("/$(a)/$user_id-x", "$(user_id)")] {
            let error = text.parse::<PathText>().unwrap_err();
            assert!(error.contains(&format!("written \"{parameter}\"")), "{text}: {error}");
        }
        for text in ["/%241", "/$", "/$-/$$(a)"] {
            assert!(text.parse::<PathText>().is_ok(), "{text}");
        }
    }

    #[test]
    fn fields_that_may_be_changed() {
        assert_eq!("X-A".parse::<FieldName>().unwrap().as_str(), "x-a");
        for name in ["", "a b", "Host", "Content-Length", "connection", "TE", "a:"] {
            assert!(name.parse::<FieldName>().is_err(), "{name:?}");
        }
        for (value, good) in [
            ("", true),
            ("a\tb", true),
            ("ü", true),
            ("$5", true),
            ("a\r\nb: c", false),
            ("\0", false),
            ("$(source.address)", false),
        ] {
            assert_eq!(value.parse::<FieldValue>().is_ok(), good, "{value:?}");
        }
    }

    #[test]
    fn hosts_to_send() {
        assert_eq!("WWW.example.com".parse::<Host>().unwrap().as_str(), "www.example.com");
        for host in ["", "a:80", "*.a.com", "a b", "http://a", "a/b"] {
            assert!(host.parse::<Host>().is_err(), "{host:?}");
        }
        for url in ["https://x", "x/y"] {
            assert_eq!(url.parse::<Host>().unwrap_err(), "a scheme and a path do not belong here");
            assert_eq!(url.parse::<HostAndPort>().unwrap_err(), "a scheme and a path do not belong here");
        }
        for (text, expected) in
            [("A.com", "a.com"), ("Users.internal:8080", "users.internal:8080"), ("10.0.0.1:81", "10.0.0.1:81")]
        {
            assert_eq!(text.parse::<HostAndPort>().unwrap().as_str(), expected);
        }
        for host in
            ["", ":80", "a:", "a:b", "a:0", "a:65536", "a:+1", "*.a.com:80", "a b:80", "http://a:80", "a:80/b", "::1"]
        {
            assert!(host.parse::<HostAndPort>().is_err(), "{host:?}");
        }
    }
}
