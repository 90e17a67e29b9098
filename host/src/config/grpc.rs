//! `grpc` in a match: gRPC calls by service and method.

use std::str::FromStr;

use schemars::JsonSchema;
use serde::Deserialize;

use super::forms::{or_text, two_forms};
use super::pattern::Regex;
use super::text::{Written, written_as_text};

/// gRPC calls: `POST` with a gRPC content type to `/service/method`. `{}` matches every call.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct GrpcMatch {
    /// The service with its package, or an object with a `regex`. Default: any.
    pub service: Option<GrpcPart>,

    /// The method, or an object with a `regex`. Default: any.
    pub method: Option<GrpcPart>,
}

/// A service or a method to match: its name, or an object with a regular expression.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields, remote = "Self")]
#[schemars(rename = "GrpcPart", transform = or_text::<GrpcName>)]
pub enum GrpcPart {
    #[serde(skip)]
    Name(GrpcName),
    /// A regular expression for the whole name.
    Regex(Regex),
}
two_forms!(GrpcPart, short: GrpcName);

impl From<GrpcName> for GrpcPart {
    fn from(name: GrpcName) -> GrpcPart {
        GrpcPart::Name(name)
    }
}

/// The name of a service or a method: identifiers separated by dots.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GrpcName(String);

impl GrpcName {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for GrpcName {
    type Err = String;

    fn from_str(text: &str) -> Result<GrpcName, String> {
        let is_identifier = |part: &str| {
            part.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
                && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        };
        if text.len() > LONGEST {
            return Err(format!("it is longer than {LONGEST} characters"));
        }
        if text.contains('/') {
            return Err("service and method are two keys, without the \"/\" between them".to_owned());
        }
        if !text.split('.').all(is_identifier) {
            return Err("it is not identifiers with dots between them".to_owned());
        }
        Ok(GrpcName(text.to_owned()))
    }
}

impl Written for GrpcName {
    const FORMAT: &'static str = "gateway-grpc-name";
    const NOUN: &'static str = "the name of a service or a method of gRPC";
    const HINT: &'static str = "as in the .proto file: the service \"shop.v1.Orders\", the method \"Get\"";
    const EXAMPLES: &'static [&'static str] = &["shop.v1.Orders", "Get"];
}
written_as_text!(GrpcName);

const LONGEST: usize = 1024;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn names_are_identifiers() {
        for (text, is_name) in [
            ("Get", true),
            ("shop.v1.Orders", true),
            ("_x1", true),
            ("", false),
            ("1x", false),
            ("a..b", false),
            ("a.", false),
            ("a-b", false),
            ("/a/b", false),
            ("a*", false),
            ("\u{e4}", false),
        ] {
            assert_eq!(text.parse::<GrpcName>().is_ok(), is_name, "{text:?}");
        }
    }
}
