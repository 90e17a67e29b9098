//! Types that are written as one string, and the rules for such strings.
//!
//! Such a type is read by `FromStr` alone. [`Written`] adds the words that the schema and the error messages use for
//! it, and [`FORMATS`] lists them all as JSON Schema formats: so a wrong duration in a plugin's configuration is
//! explained like one in gateway.json, and every wrong string is reported in the same run, before any is turned into
//! its type.

use std::str::FromStr;

use super::address::{EndpointAddress, ListenAddress};
use super::cookie::{CookieName, CookiePath};
use super::grpc::GrpcName;
use super::health::StatusRange;
use super::pattern::{HostPattern, PathPattern, Regex};
use super::plugin::Source;
use super::registry::RegistryHost;
use super::resolver::DnsServer;
use super::rewrite::{FieldName, FieldValue, Host, HostAndPort, PathText};
use super::route::{HeaderName, Method, UpgradeProtocol};
use super::store::RedisAddress;
use super::units::{Duration, Rate, Size};
use super::versions::{Date, Link, VersionedType};

/// A type written as one string.
pub trait Written: FromStr<Err = String> {
    /// Its JSON Schema format.
    const FORMAT: &'static str;
    /// "a duration": completes "expected ...".
    const NOUN: &'static str;
    /// How it is written, with examples.
    const HINT: &'static str;
    /// A coarse regular expression for editors, which do not know our formats.
    const PATTERN: Option<&'static str> = None;
    const EXAMPLES: &'static [&'static str] = &[];
}

/// One JSON Schema format: its name and how to check and explain it.
pub struct Format {
    pub name: &'static str,
    pub noun: &'static str,
    pub hint: &'static str,
    /// What is wrong with the string, in words that may quote it.
    pub check: fn(&str) -> Result<(), String>,
}

/// Every format of ours. Plugin schemas may name them too.
pub const FORMATS: &[Format] = &[
    format::<Duration>(),
    format::<Size>(),
    format::<Rate>(),
    format::<ListenAddress>(),
    format::<EndpointAddress>(),
    format::<HostPattern>(),
    format::<PathPattern>(),
    format::<Regex>(),
    format::<HeaderName>(),
    format::<CookieName>(),
    format::<DnsServer>(),
    format::<CookiePath>(),
    format::<Method>(),
    format::<UpgradeProtocol>(),
    format::<Source>(),
    format::<Name>(),
    format::<Cidr>(),
    format::<StatusRange>(),
    format::<PathText>(),
    format::<Host>(),
    format::<HostAndPort>(),
    format::<FieldName>(),
    format::<FieldValue>(),
    format::<RedisAddress>(),
    format::<RegistryHost>(),
    format::<GrpcName>(),
    format::<VersionedType>(),
    format::<Date>(),
    format::<Link>(),
];

const fn format<T: Written>() -> Format {
    Format { name: T::FORMAT, noun: T::NOUN, hint: T::HINT, check: |text| text.parse::<T>().map(drop) }
}

/// The name of an upstream, a plugin, a route, a listener or a secret: 1 to 64 letters, digits, `-`, `_` and `.`,
/// beginning with a letter or a digit. It is used unchanged in logs, metrics and URLs of the admin API.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);

impl Name {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = String;

    fn from_str(text: &str) -> Result<Name, String> {
        if text.is_empty() || text.len() > 64 {
            return Err("it is not 1 to 64 characters long".to_owned());
        }
        if !text.starts_with(|c: char| c.is_ascii_alphanumeric()) {
            return Err("it does not begin with a letter or a digit".to_owned());
        }
        match text.chars().find(|c| !c.is_ascii_alphanumeric() && !matches!(c, '-' | '_' | '.')) {
            Some(wrong) => Err(format!("{} is not allowed in it", quoted(wrong.encode_utf8(&mut [0; 4])))),
            None => Ok(Name(text.to_owned())),
        }
    }
}

impl Written for Name {
    const FORMAT: &'static str = "gateway-name";
    const NOUN: &'static str = "a name";
    const HINT: &'static str = "1 to 64 letters, digits, \"-\", \"_\" and \".\", beginning with a letter or a digit";
    const PATTERN: Option<&'static str> = Some("^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$");
}
written_as_text!(Name);

/// A range of IP addresses: `"10.0.0.0/8"`, `"2001:db8::/32"`, or a single address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cidr(ipnet::IpNet);

impl Cidr {
    pub const fn get(self) -> ipnet::IpNet {
        self.0
    }
}

impl FromStr for Cidr {
    type Err = String;

    fn from_str(text: &str) -> Result<Cidr, String> {
        if let Ok(address) = text.parse::<std::net::IpAddr>() {
            return Ok(Cidr(address.into()));
        }
        let net: ipnet::IpNet = text.parse().map_err(|_| "it is not an IP address and a prefix length".to_owned())?;
        if net.addr() != net.network() {
            return Err(format!("bits behind the prefix are set; the range is written \"{}\"", net.trunc()));
        }
        Ok(Cidr(net))
    }
}

impl Written for Cidr {
    const FORMAT: &'static str = "gateway-cidr";
    const NOUN: &'static str = "a range of IP addresses";
    const HINT: &'static str = "an address, or an address and a prefix length: \"10.0.0.0/8\", \"::1\"";
    const EXAMPLES: &'static [&'static str] = &["10.0.0.0/8", "192.168.1.7", "2001:db8::/32"];
}
written_as_text!(Cidr);

/// Whether `text` is an HTTP token (RFC 9110, section 5.6.2), as methods and field names are.
pub(super) fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

/// `text` in quotes for a message: control characters escaped, at most 60 characters.
pub fn quoted(text: &str) -> String {
    let mut shown: String = text.chars().take(SHOWN_CHARACTERS).flat_map(char::escape_debug).collect();
    if text.chars().nth(SHOWN_CHARACTERS).is_some() {
        shown.push('…');
    }
    format!("\"{shown}\"")
}

const SHOWN_CHARACTERS: usize = 60;

/// Implements `Deserialize` (by `FromStr`) and `JsonSchema` (inline, with the format) for a [`Written`] type.
macro_rules! written_as_text {
    ($type:ty) => {
        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str> as serde::Deserialize>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }

        impl schemars::JsonSchema for $type {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                $crate::config::text::text_schema::<$type>()
            }
        }
    };
}
pub(crate) use written_as_text;

/// The schema of a [`Written`] type.
pub(super) fn text_schema<T: Written>() -> schemars::Schema {
    let mut schema = schemars::json_schema!({ "type": "string", "format": T::FORMAT });
    if let Some(pattern) = T::PATTERN {
        // Editors see the text before `${..}` is expanded.
        schema.insert("pattern".to_owned(), format!("{pattern}|[$][{{]").into());
    }
    if !T::EXAMPLES.is_empty() {
        schema.insert("examples".to_owned(), T::EXAMPLES.into());
    }
    schema
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_example_of_every_format_is_accepted_and_formats_are_named_once() {
        fn check<T: Written>() {
            for example in T::EXAMPLES {
                assert_eq!(example.parse::<T>().map(drop), Ok(()), "{} {example}", T::FORMAT);
                if let Some(pattern) = T::PATTERN {
                    assert!(regex::Regex::new(pattern).is_ok_and(|regex| regex.is_match(example)), "{example}");
                }
            }
        }
        check::<Duration>();
        check::<Size>();
        check::<Rate>();
        check::<ListenAddress>();
        check::<EndpointAddress>();
        check::<HostPattern>();
        check::<PathPattern>();
        check::<Regex>();
        check::<HeaderName>();
        check::<Method>();
        check::<UpgradeProtocol>();
        check::<Source>();
        check::<Name>();
        check::<Cidr>();
        check::<Host>();
        check::<HostAndPort>();
        let names: std::collections::BTreeSet<_> = FORMATS.iter().map(|format| format.name).collect();
        assert_eq!(names.len(), FORMATS.len());
    }

    #[test]
    fn names_and_ranges() {
        for text in ["a", "orders", "geo-db", "v1.2_x", "0"] {
            assert!(text.parse::<Name>().is_ok(), "{text}");
        }
        for text in ["", "-a", ".a", "a b", "a/b", "é", "a\n", &"a".repeat(65)] {
            assert!(text.parse::<Name>().is_err(), "{text:?}");
        }
        for text in ["10.0.0.0/8", "10.0.0.1", "::1", "2001:db8::/32", "0.0.0.0/0"] {
            assert!(text.parse::<Cidr>().is_ok(), "{text}");
        }
        for text in ["", "10.0.0.0/33", "10.0.0.1/8", "10.0.0", "host", "10.0.0.0/8 "] {
            assert!(text.parse::<Cidr>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn quoting_is_bounded_and_escapes_control_characters() {
        assert_eq!(quoted("a\u{1b}[31m\n"), "\"a\\u{1b}[31m\\n\"");
        assert_eq!(quoted(&"x".repeat(100)).chars().count(), SHOWN_CHARACTERS + 3);
    }
}
