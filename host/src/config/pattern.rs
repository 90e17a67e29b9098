//! Patterns that a route compares hosts, paths and values with.
//!
//! They are parsed here only to find mistakes; the router compiles them for speed.

use std::str::FromStr;

use super::address::{bracketed, check_host_name, check_no_url};
use super::text::{Written, quoted, written_as_text};

/// A host: `"api.example.com"` exactly, or `"*.example.com"` for every name below it (one label or more, never
/// `example.com` itself). Case is ignored; it has no port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostPattern(String);

impl HostPattern {
    /// In lower case; an IPv6 address in brackets and in its shortest form.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for HostPattern {
    type Err = String;

    fn from_str(text: &str) -> Result<HostPattern, String> {
        if text == "*" {
            return Err("every host is meant by leaving the key out".to_owned());
        }
        check_no_url(text)?;
        if let Some(inner) = bracketed(text) {
            let ip: std::net::Ipv6Addr = inner.parse().map_err(|_| "the brackets hold no IPv6 address".to_owned())?;
            return Ok(HostPattern(format!("[{ip}]")));
        }
        if text.contains(':') {
            return Err("a host is compared without its port".to_owned());
        }
        let suffix = text.strip_prefix("*.").unwrap_or(text);
        if suffix.contains('*') {
            return Err("a \"*\" stands only for the whole first label".to_owned());
        }
        check_host_name(suffix)?;
        Ok(HostPattern(text.to_ascii_lowercase()))
    }
}

impl Written for HostPattern {
    const FORMAT: &'static str = "gateway-host";
    const NOUN: &'static str = "a host";
    const HINT: &'static str = "a host name, or \"*.\" and a host name: \"api.example.com\", \"*.example.com\"";
    const EXAMPLES: &'static [&'static str] = &["api.example.com", "*.example.com"];
}
written_as_text!(HostPattern);

/// A path without its query, compared byte for byte after `.` and `..` are resolved.
///
/// * `"/health"`: exactly this path;
/// * `"/orders/*"`: `/orders`, `/orders/` and everything below, by whole segments; `"/*"` is every path;
/// * `"/users/{id}/posts"`: a `{name}` stands for one whole segment that is not empty; a last `/*` may follow;
/// * `"/files/{path...}"`: as `/files/*`, with a name for what follows.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PathPattern(String);

impl PathPattern {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it has an open end: `/*` or `/{name...}`.
    pub(super) fn is_prefix(&self) -> bool {
        self.0.ends_with("/*") || self.0.ends_with("...}")
    }

    /// The names of its parameters.
    pub(super) fn parameters(&self) -> Vec<String> {
        let inner =
            |segment: &str| Some(segment.strip_prefix('{')?.strip_suffix('}')?.trim_end_matches("...").to_owned());
        self.0.split('/').filter_map(inner).collect()
    }

    /// The same without the names of its parameters: equal for patterns that match the same paths.
    pub(super) fn anonymous(&self) -> String {
        let segments = self.0.split('/').map(|segment| match segment {
            _ if segment.ends_with("...}") => "*",
            _ if segment.starts_with('{') => "{}",
            _ => segment,
        });
        segments.collect::<Vec<_>>().join("/")
    }
}

impl FromStr for PathPattern {
    type Err = String;

    fn from_str(text: &str) -> Result<PathPattern, String> {
        let Some(body) = text.strip_prefix('/') else {
            return Err("a path begins with \"/\"".to_owned());
        };
        if text.len() > PATTERN_BYTES {
            return Err("it is longer than 4 KiB".to_owned());
        }
        if let Some(wrong) = text.chars().find(|c| !c.is_ascii_graphic() || matches!(c, '?' | '#')) {
            return Err(match wrong {
                '?' => "a path ends before the \"?\"; the query is matched by \"query\"".to_owned(),
                wrong => format!("{} cannot stand in a path", quoted(wrong.encode_utf8(&mut [0; 4]))),
            });
        }
        let segments: Vec<&str> = body.split('/').collect();
        if segments.len() > MOST_SEGMENTS {
            return Err(format!("it has more than {MOST_SEGMENTS} segments"));
        }
        let mut parameters: Vec<&str> = Vec::new();
        for (at, segment) in segments.iter().enumerate() {
            if let Some(parameter) = check_segment(segment, at + 1 == segments.len())? {
                if parameters.contains(&parameter) {
                    return Err(format!("the parameter {} stands in it twice", quoted(parameter)));
                }
                parameters.push(parameter);
            }
        }
        Ok(PathPattern(text.to_owned()))
    }
}

impl Written for PathPattern {
    const FORMAT: &'static str = "gateway-path";
    const NOUN: &'static str = "a path";
    const HINT: &'static str =
        "\"/health\" (exactly), \"/orders/*\" (that and below), \"/users/{id}/posts\" (template)";
    const PATTERN: Option<&'static str> = Some("^/");
    const EXAMPLES: &'static [&'static str] = &["/health", "/orders/*", "/users/{id}/posts"];
}
written_as_text!(PathPattern);

/// A regular expression in the syntax of the Rust crate `regex`, which takes linear time: no look-around, no
/// back-references. It must match the whole text. At most 4 KiB long, and 256 KiB compiled.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Regex(String);

impl Regex {
    /// As written, not anchored.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its groups: the number of each and, where it has one, the name.
    pub(super) fn groups(&self) -> Vec<String> {
        let Ok(regex) = regex::bytes::Regex::new(&self.0) else { return Vec::new() };
        let groups = regex.capture_names().enumerate().skip(1);
        groups.flat_map(|(number, name)| name.map(str::to_owned).into_iter().chain([number.to_string()])).collect()
    }

    fn check(pattern: &str) -> Result<(), String> {
        match regex::bytes::RegexBuilder::new(pattern).size_limit(COMPILED_BYTES).nest_limit(REGEX_NESTING).build() {
            Ok(_) => Ok(()),
            Err(regex::Error::CompiledTooBig(_)) => Err("it is too large when compiled (more than 256 KiB)".to_owned()),
            // The crate's message is a drawing over several lines; its last line says what is wrong.
            Err(error) => {
                Err(error.to_string().lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned())
            }
        }
    }
}

impl FromStr for Regex {
    type Err = String;

    fn from_str(text: &str) -> Result<Regex, String> {
        if text.len() > PATTERN_BYTES {
            return Err("it is longer than 4 KiB".to_owned());
        }
        // Alone first: "a)|(b" compiles only inside a group, where it means something else. Then anchored, as it is
        // used: an open comment of the `x` flag would swallow the anchor.
        Regex::check(text)?;
        Regex::check(&format!(r"\A(?:{text})\z"))?;
        Ok(Regex(text.to_owned()))
    }
}

impl Written for Regex {
    const FORMAT: &'static str = "gateway-regex";
    const NOUN: &'static str = "a regular expression";
    const HINT: &'static str = "one in the syntax of the Rust crate regex, without look-around and back-references";
    const EXAMPLES: &'static [&'static str] = &["/v[0-9]+/.*"];
}
written_as_text!(Regex);

/// Checks one segment of a path and returns the name of its parameter.
fn check_segment(segment: &str, is_last: bool) -> Result<Option<&str>, String> {
    if matches!(segment, "." | "..") {
        return Err("a segment \".\" or \"..\" never matches, since paths are resolved first".to_owned());
    }
    if segment == "*" && is_last {
        return Ok(None);
    }
    if segment.contains('*') {
        return Err("a \"*\" stands only at the end, behind a \"/\"".to_owned());
    }
    if let Some(rest) = segment.strip_prefix(':') {
        // A parameter as written in other software. Taken literally, it would silently match hardly any path.
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let name = rest.split(|c: char| !is_name(c)).next().unwrap_or_default();
        let name = if name.starts_with(|c: char| !c.is_ascii_digit()) { name } else { "name" };
        return Err(format!("no segment begins with \":\"; for a parameter write \"{{{name}}}\""));
    }
    if let Some(inner) = segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
        let name = match inner.strip_suffix("...") {
            Some(_) if !is_last => return Err("a parameter with \"...\" stands only at the end".to_owned()),
            Some(name) => name,
            None => inner,
        };
        let begins = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        if !begins || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            return Err(format!("{} is not the name of a parameter: letters, digits and \"_\"", quoted(name)));
        }
        return Ok(Some(name));
    }
    if segment.contains(['{', '}']) {
        return Err("a \"{name}\" stands for a whole segment, alone between two slashes".to_owned());
    }
    let mut escapes = segment.split('%').skip(1);
    if !escapes.all(|rest| rest.len() >= 2 && rest.bytes().take(2).all(|byte| byte.is_ascii_hexdigit())) {
        return Err("a \"%\" is followed by two hexadecimal digits".to_owned());
    }
    Ok(None)
}

/// These four are the router's own limits.
const PATTERN_BYTES: usize = 4 * 1024;
const MOST_SEGMENTS: usize = 64;
const COMPILED_BYTES: usize = 256 * 1024;
const REGEX_NESTING: u32 = 64;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn hosts() {
        for (text, expected) in [
            ("API.example.com", "api.example.com"),
            ("*.Example.com", "*.example.com"),
            ("[0::1]", "[::1]"),
            ("10.0.0.1", "10.0.0.1"),
        ] {
            assert_eq!(text.parse::<HostPattern>().unwrap().as_str(), expected);
        }
        for text in ["", "*", "*.", "a.*.b", "*a.com", "*.*.com", "a.com:80", "a..b", "http://a", "münchen.de", "a b"]
        {
            assert!(text.parse::<HostPattern>().is_err(), "{text:?}");
        }
        for text in ["http://a.test/", "https://a.test:80", "a.test/b"] {
            assert_eq!(text.parse::<HostPattern>().unwrap_err(), "a scheme and a path do not belong here", "{text}");
        }
    }

    #[test]
    fn paths() {
        for (text, anonymous) in [
            ("/", "/"),
            ("/*", "/*"),
            ("/a/", "/a/"),
            ("/a//b", "/a//b"),
            ("/a/{b}/c/*", "/a/{}/c/*"),
            ("/{a}/{b...}", "/{}/*"),
            ("/a%2Fb", "/a%2Fb"),
            ("/a:b@c;d=1,2", "/a:b@c;d=1,2"),
            ("/v1/books:batch", "/v1/books:batch"),
        ] {
            assert_eq!(text.parse::<PathPattern>().unwrap().anonymous(), anonymous);
        }
        let long = format!("/{}", "a".repeat(5000));
        let many = "/a".repeat(65);
        for text in [
            "",
            "a",
            "*",
            "/a*",
            "/*/a",
            "/a/**",
            "/a?b",
            "/a#b",
            "/a b",
            "/é",
            "/./a",
            "/a/..",
            "/{}",
            "/{1}",
            "/{a b}",
            "/x{a}",
            "/{a}x",
            "/{a}{b}",
            "/{a}/{a}",
            "/{a}/{a...}",
            "/{a...}/b",
            "/{...}",
            "/{",
            "/users/:id",
            "/:a/b",
            "/:",
            "/a%2",
            "/a%zz",
            &long,
            &many,
        ] {
            assert!(text.parse::<PathPattern>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_parameter_written_as_elsewhere_is_told_how_it_is_written_here() {
        for (text, parameter) in [("/users/:id", "{id}"), ("/:a-b/c", "{a}"), ("/:", "{name}"), ("/:8", "{name}")] {
            let error = text.parse::<PathPattern>().unwrap_err();
            assert!(error.ends_with(&format!("write \"{parameter}\"")), "{text}: {error}");
        }
    }

    #[test]
    fn regexes() {
        assert!("/v[0-9]+".parse::<Regex>().is_ok());
        assert_eq!("(".parse::<Regex>().unwrap_err(), "unclosed group");
        let deep = "(".repeat(300) + &")".repeat(300);
        let long = "a".repeat(5000);
        for text in ["(?=a)b", "(a)\\1", "a)|(b", "(?x)a #", "(a{1000}){1000}", &deep, &long] {
            assert!(text.parse::<Regex>().is_err(), "{text:?}");
        }
    }
}
