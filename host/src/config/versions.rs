//! `versions`: one route, several versions of an API.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use schemars::JsonSchema;
use serde::Deserialize;

use super::forms::{keyed_by_name, one_or_many, or_one_alone};
use super::rewrite::Rewrite;
use super::route::HeaderName;
use super::target::Target;
use super::text::{Name, Written, is_token, quoted, written_as_text};

/// The versions of an API behind one route: how a request names a version, and where each goes. A request for an
/// unknown version is refused: with 404 if the path names it, 406 if `Accept` does, else 400.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Versions {
    /// Where a request names its version: one place or a list, of which the first that names one counts.
    #[serde(deserialize_with = "one_or_many")]
    #[schemars(transform = or_one_alone, length(min = 1, max = 8))]
    pub by: Vec<VersionBy>,

    /// The version of a request that names none. Default: none; such a request is refused with 400.
    #[serde(default)]
    pub default: Option<Name>,

    /// The versions, by the exact name that requests use.
    #[schemars(transform = keyed_by_name, extend("minProperties" = 1, "maxProperties" = 100))]
    pub list: BTreeMap<String, Version>,
}

/// A place where a request names its version.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum VersionBy {
    /// A parameter of the matched path: "version" of `/{version}/orders/*`.
    Path(Name),
    /// A header field, which must have exactly one line.
    Header(HeaderName),
    /// A parameter of the media types in `Accept`: "version" of `application/json;version=2`.
    AcceptParameter(Name),
    /// A media type in `Accept` that contains the version: "application/vnd.shop.{version}+json".
    MediaType(VersionedType),
}

/// One version of an API.
#[derive(Clone, Debug, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Version {
    /// Where its requests go. Default: the route's `to`.
    #[serde(deserialize_with = "one_or_many")]
    #[schemars(transform = or_one_alone, length(min = 1, max = 100))]
    pub to: Vec<Target>,

    /// Changes the path and host of its requests. Default: the route's `rewrite`.
    pub rewrite: Option<Rewrite>,

    /// The date from which it is deprecated, which its responses announce in `Deprecation` (RFC 9745). Default: never.
    pub deprecated: Option<Date>,

    /// The date on which it is expected to be removed, which its responses announce in `Sunset` (RFC 8594). The gateway
    /// keeps serving it. Default: never.
    pub sunset: Option<Date>,

    /// Further information about that, in the `Link` of its responses. Default: none.
    pub links: VersionLinks,
}

/// URLs in `Link` (RFC 8288).
#[derive(Clone, Debug, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct VersionLinks {
    /// Documentation of the deprecation.
    pub deprecation: Option<Link>,

    /// Documentation of the removal.
    pub sunset: Option<Link>,

    /// The version that follows this one.
    pub successor_version: Option<Link>,

    /// The newest version.
    pub latest_version: Option<Link>,
}

/// A media type that contains the version.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VersionedType(String);

impl VersionedType {
    /// The text before the version and after it, in lower case.
    pub fn around(&self) -> (&str, &str) {
        self.0.split_once(VERSION).unwrap_or((&self.0, ""))
    }
}

impl FromStr for VersionedType {
    type Err = String;

    fn from_str(text: &str) -> Result<VersionedType, String> {
        let Some((before, after)) = text.split_once(VERSION) else {
            return Err("\"{version}\" is missing in it".to_owned());
        };
        let is_type = |text: &str| text.split_once('/').is_some_and(|(kind, rest)| is_token(kind) && is_token(rest));
        if !is_type(&format!("{before}v{after}")) || !before.contains('/') {
            return Err("it is not a media type with \"{version}\" once in its second half".to_owned());
        }
        if text.len() > LONGEST_TYPE {
            return Err(format!("it is longer than {LONGEST_TYPE} characters"));
        }
        Ok(VersionedType(format!("{}{VERSION}{}", before.to_ascii_lowercase(), after.to_ascii_lowercase())))
    }
}

impl Written for VersionedType {
    const FORMAT: &'static str = "gateway-versioned-type";
    const NOUN: &'static str = "a media type with a version";
    const HINT: &'static str = "with \"{version}\" in its place: \"application/vnd.shop.{version}+json\"";
    const EXAMPLES: &'static [&'static str] = &["application/vnd.shop.{version}+json"];
}
written_as_text!(VersionedType);

/// A point in time: "2026-06-30" (the beginning of that day in UTC) or "2026-06-30T12:00:00Z".
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Date(u64);

impl Date {
    /// Seconds since 1970.
    pub const fn unix_seconds(self) -> u64 {
        self.0
    }
}

impl From<Date> for SystemTime {
    fn from(date: Date) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(date.0)
    }
}

impl FromStr for Date {
    type Err = String;

    fn from_str(text: &str) -> Result<Date, String> {
        let (day, time) = match text.split_once('T') {
            Some((day, time)) => (day, time.strip_suffix('Z').ok_or("a time ends with \"Z\", which is UTC")?),
            None => (text, "00:00:00"),
        };
        let wrong = || "it is no day of the calendar, from 1970 to 9999".to_owned();
        let [year, month, day] = numbers(day, '-', [4, 2, 2]).ok_or_else(wrong)?;
        let [hour, minute, second] = numbers(time, ':', [2, 2, 2]).ok_or("the time is no time of a day")?;
        if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || day == 0 || day > days_in(year, month) {
            return Err(wrong());
        }
        if hour > 23 || minute > 59 || second > 59 {
            return Err("the time is no time of a day".to_owned());
        }
        let months = (1..month).map(|month| days_in(year, month)).sum::<u64>();
        let years = (1970..year).map(|year| if is_leap(year) { 366 } else { 365 }).sum::<u64>();
        Ok(Date((((years + months + day - 1) * 24 + hour) * 60 + minute) * 60 + second))
    }
}

impl Written for Date {
    const FORMAT: &'static str = "gateway-date";
    const NOUN: &'static str = "a date";
    const HINT: &'static str = "a day, or a point in time in UTC: \"2026-06-30\", \"2026-06-30T12:00:00Z\"";
    const EXAMPLES: &'static [&'static str] = &["2026-06-30", "2026-06-30T12:00:00Z"];
}
written_as_text!(Date);

/// Three numbers with these counts of digits.
fn numbers(text: &str, between: char, digits: [usize; 3]) -> Option<[u64; 3]> {
    let parts: Vec<&str> = text.split(between).collect();
    let is_number = |(part, digits): (&&str, usize)| part.len() == digits && part.bytes().all(|it| it.is_ascii_digit());
    let all = parts.len() == 3 && parts.iter().zip(digits).all(is_number);
    let numbers: Vec<u64> = parts.iter().filter_map(|part| part.parse().ok()).collect();
    numbers.try_into().ok().filter(|_| all)
}

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400)
}

fn days_in(year: u64, month: u64) -> u64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// A URL in a `Link`: with a scheme and a host, or a path on this one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Link(String);

impl Link {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Link {
    type Err = String;

    fn from_str(text: &str) -> Result<Link, String> {
        let is_web = ["https://", "http://"].iter().any(|scheme| text.len() > scheme.len() && text.starts_with(scheme));
        if !is_web && !text.starts_with('/') {
            return Err("it begins with \"https://\", \"http://\" or \"/\"".to_owned());
        }
        if text.len() > LONGEST_LINK {
            return Err(format!("it is longer than {LONGEST_LINK} characters"));
        }
        match text.chars().find(|c| !c.is_ascii_graphic() || "<>\"\\^`{|}".contains(*c)) {
            Some(wrong) => Err(format!("{} cannot stand in an address", quoted(wrong.encode_utf8(&mut [0; 4])))),
            None => Ok(Link(text.to_owned())),
        }
    }
}

impl Written for Link {
    const FORMAT: &'static str = "gateway-link";
    const NOUN: &'static str = "an address";
    const HINT: &'static str = "\"https://docs.example.com/v1-goes\", or a path: \"/docs/v1-goes\"";
    const EXAMPLES: &'static [&'static str] = &["https://docs.example.com/v1-goes", "/docs/v1-goes"];
}
written_as_text!(Link);

const VERSION: &str = "{version}";
const LONGEST_TYPE: usize = 256;
const LONGEST_LINK: usize = 2048;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        for (text, seconds) in [
            ("1970-01-01", 0),
            ("1970-01-02T00:00:01Z", 86_401),
            ("2000-02-29", 951_782_400),
            ("2000-03-01", 951_868_800),
            ("2023-06-30T23:59:59Z", 1_688_169_599),
            ("2026-12-31T12:30:00Z", 1_798_720_200),
            ("9999-12-31T23:59:59Z", 253_402_300_799),
        ] {
            assert_eq!(text.parse::<Date>().unwrap().unix_seconds(), seconds, "{text}");
        }
        for text in [
            "",
            "2026",
            "2026-6-30",
            "2026-02-29",
            "2100-02-29",
            "2026-13-01",
            "2026-00-01",
            "2026-01-00",
            "2026-04-31",
            "1969-12-31",
            "2026-06-30T12:00:00",
            "2026-06-30T12:00:00+02:00",
            "2026-06-30T24:00:00Z",
            "2026-06-30T12:00Z",
            "2026-06-30T12:00:60Z",
            "2026-06-30 12:00:00Z",
            "+026-06-30",
        ] {
            assert!(text.parse::<Date>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn media_types_with_a_version() {
        let good: VersionedType = "application/vnd.Shop.{version}+json".parse().unwrap();
        assert_eq!(good.around(), ("application/vnd.shop.", "+json"));
        for text in [
            "",
            "application/json",
            "{version}/json",
            "application/{version}{version}",
            "a b/{version}",
            "application{version}",
        ] {
            assert!(text.parse::<VersionedType>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn addresses_in_links() {
        for (text, is_good) in [
            ("https://docs.example.com/a?b=c#d", true),
            ("/docs/v1", true),
            ("https://", false),
            ("docs/v1", false),
            ("ftp://a/b", false),
            ("https://a/>; rel=x", false),
            ("https://a/\"b", false),
            ("https://a/\r\nx: y", false),
        ] {
            assert_eq!(text.parse::<Link>().is_ok(), is_good, "{text:?}");
        }
    }
}
