//! Conditions on headers and on the query.

use std::borrow::Cow;
use std::fmt;

use http::header::{HeaderName, InvalidHeaderName};
use percent_encoding::percent_decode;
use regex::bytes::{Regex, RegexBuilder};

use super::error::PatternError;
use super::path::whole_match;
use super::{MAX_REGEX_COMPILED_BYTES, RequestView};

/// A named value of a request and the test for it, as configured.
#[derive(Clone, Debug)]
pub struct ValueMatch {
    /// A header name, in any case; or the decoded name of a query parameter, exactly.
    pub name: String,
    pub test: ValueTest,
}

/// The test for a value. A header with several lines passes if any line does (lists are not split at commas); a query
/// parameter is tested by its first value, percent-decoded, with `+` left as it is.
#[derive(Clone, Debug)]
pub enum ValueTest {
    /// Equal, byte for byte.
    Exact(String),
    Regex(ValueRegex),
    Present,
    Absent,
}

impl ValueTest {
    /// A regular expression that must match the whole value. Bytes that are not UTF-8 are matched only by classes with
    /// Unicode turned off, such as `(?-u:.)`.
    ///
    /// # Errors
    /// [`PatternError::Regex`] if it does not compile within 256 KiB, [`PatternError::TooLong`].
    pub fn regex(pattern: &str) -> Result<Self, PatternError> {
        let whole = RegexBuilder::new(&whole_match(pattern)?).size_limit(MAX_REGEX_COMPILED_BYTES).build();
        let whole = whole.map_err(|error| PatternError::Regex(error.to_string()))?;
        Ok(ValueTest::Regex(ValueRegex { text: pattern.into(), whole }))
    }
}

/// A regular expression for a whole value; made by [`ValueTest::regex`].
#[derive(Clone, Debug)]
pub struct ValueRegex {
    text: Box<str>,
    whole: Regex,
}

/// One condition, ready to test.
#[derive(Clone, Debug)]
pub(super) struct Condition {
    pub(super) source: Source,
    pub(super) test: ValueTest,
}

/// Which value of a request a condition tests.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Source {
    Header(HeaderName),
    Query(Box<str>),
}

impl Condition {
    pub(super) fn header(wanted: ValueMatch) -> Result<Self, InvalidHeaderName> {
        Ok(Condition { source: Source::Header(HeaderName::from_bytes(wanted.name.as_bytes())?), test: wanted.test })
    }

    pub(super) fn query(wanted: ValueMatch) -> Self {
        Condition { source: Source::Query(wanted.name.into()), test: wanted.test }
    }

    pub(super) fn holds(&self, request: &RequestView<'_>) -> bool {
        match &self.test {
            ValueTest::Exact(wanted) => self.source.any_value(request, |value| value == wanted.as_bytes()),
            ValueTest::Regex(regex) => self.source.any_value(request, |value| regex.whole.is_match(value)),
            ValueTest::Present => self.source.any_value(request, |_| true),
            ValueTest::Absent => !self.source.any_value(request, |_| true),
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            Source::Header(name) => write!(f, "header `{name}`")?,
            Source::Query(name) => write!(f, "query parameter `{name}`")?,
        }
        match &self.test {
            ValueTest::Exact(value) => write!(f, " is {value:?}"),
            ValueTest::Regex(regex) => write!(f, " matches /{}/", regex.text),
            ValueTest::Present => f.write_str(" is present"),
            ValueTest::Absent => f.write_str(" is absent"),
        }
    }
}

impl Source {
    /// Whether a relevant value passes the test: any line of a header, the first value of a query parameter.
    pub(super) fn any_value(&self, request: &RequestView<'_>, mut test: impl FnMut(&[u8]) -> bool) -> bool {
        match self {
            Source::Header(name) => request.headers.get_all(name).iter().any(|value| test(value.as_bytes())),
            Source::Query(name) => {
                first_query_value(request.query.unwrap_or_default(), name).is_some_and(|value| test(&value))
            }
        }
    }
}

/// The first value of a query parameter, decoded; empty for a parameter without `=`. Allocates only if the value is
/// percent-encoded.
fn first_query_value<'a>(query: &'a str, name: &str) -> Option<Cow<'a, [u8]>> {
    for pair in query.split('&') {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        if !pair.is_empty() && percent_decode(key.as_bytes()).eq(name.bytes()) {
            return Some(percent_decode(value.as_bytes()).into());
        }
    }
    None
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use http::{HeaderMap, HeaderValue, Method};

    use super::*;

    fn exact(value: &str) -> ValueTest {
        ValueTest::Exact(value.into())
    }

    fn regex(pattern: &str) -> ValueTest {
        ValueTest::regex(pattern).unwrap()
    }

    #[test]
    fn a_query_condition_tests_the_first_decoded_value() {
        let headers = HeaderMap::new();
        for (query, name, test, expected) in [
            (Some("a=1&b=2"), "b", exact("2"), true),
            (Some("a=1&a=2"), "a", exact("2"), false),
            (Some("%61=%31"), "a", exact("1"), true),
            (Some("a=1+1"), "a", exact("1 1"), false),
            (Some("a=1%2B1"), "a", exact("1+1"), true),
            (Some("a=x=y"), "a", exact("x=y"), true),
            (Some("a"), "a", exact(""), true),
            (Some("a=%zz"), "a", exact("%zz"), true),
            (Some("A=1"), "a", ValueTest::Present, false),
            (Some("aa=1"), "a", ValueTest::Present, false),
            (Some("a=%ff"), "a", regex("."), false),
            (Some("a=%ff"), "a", regex("(?-u:.)"), true),
            (Some("a=12"), "a", regex(r"\d+"), true),
            (Some("a=12x"), "a", regex(r"\d+"), false),
            (Some("b"), "a", ValueTest::Absent, true),
            (None, "a", ValueTest::Absent, true),
            (None, "", ValueTest::Present, false),
            (Some("&&"), "", ValueTest::Present, false),
            (Some("=1"), "", ValueTest::Present, true),
        ] {
            let condition = Condition::query(ValueMatch { name: name.into(), test });
            let request = RequestView { query, ..RequestView::new(&Method::GET, "", "/", &headers) };
            assert_eq!(condition.holds(&request), expected, "{condition} in {query:?}");
        }
    }

    #[test]
    fn a_header_condition_tests_every_line() {
        let mut headers = HeaderMap::new();
        headers.append("x-tenant", HeaderValue::from_static("a"));
        headers.append("x-tenant", HeaderValue::from_static("b, c"));
        headers.append("x-bytes", HeaderValue::from_bytes(b"\xff").unwrap());
        for (name, test, expected) in [
            ("X-Tenant", exact("a"), true),
            ("x-tenant", exact("b, c"), true),
            ("x-tenant", exact("c"), false),
            ("x-tenant", exact("A"), false),
            ("x-tenant", regex("[bc, ]+"), true),
            ("x-tenant", regex("b"), false),
            ("x-tenant", ValueTest::Present, true),
            ("x-tenant", ValueTest::Absent, false),
            ("x-bytes", regex("(?-u:[\\x80-\\xff])"), true),
            ("x-bytes", ValueTest::Present, true),
            ("x-none", ValueTest::Absent, true),
            ("x-none", exact(""), false),
        ] {
            let condition = Condition::header(ValueMatch { name: name.into(), test }).unwrap();
            let request = RequestView::new(&Method::GET, "", "/", &headers);
            assert_eq!(condition.holds(&request), expected, "{condition}");
        }
    }
}
