//! The name and the path of a cookie that the gateway sets or reads.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

use super::text::{Written, is_token, written_as_text};

/// The name of a cookie: a token of at most 64 characters (RFC 6265, section 4.1.1).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct CookieName(String);

impl CookieName {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for CookieName {
    type Err = String;

    fn from_str(text: &str) -> Result<CookieName, String> {
        match is_token(text) && text.len() <= 64 {
            true => Ok(CookieName(text.to_owned())),
            false => Err("it has another character in it, or is not 1 to 64 characters long".to_owned()),
        }
    }
}

impl Written for CookieName {
    const FORMAT: &'static str = "gateway-cookie-name";
    const NOUN: &'static str = "the name of a cookie";
    const HINT: &'static str = "letters, digits and marks such as \"-\" and \"_\": \"session\"";
    const PATTERN: Option<&'static str> = Some("^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}$");
    const EXAMPLES: &'static [&'static str] = &["session"];
}
written_as_text!(CookieName);

/// The path of a cookie: begins with "/" and has no character that would end it (RFC 6265, section 4.1.1).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CookiePath(String);

impl CookiePath {
    pub fn root() -> CookiePath {
        CookiePath("/".to_owned())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for CookiePath {
    type Err = String;

    fn from_str(text: &str) -> Result<CookiePath, String> {
        if !text.starts_with('/') {
            return Err("it does not begin with \"/\"".to_owned());
        }
        match text.len() <= 256 && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b';') {
            true => Ok(CookiePath(text.to_owned())),
            false => Err("it has a space, a \";\" or no ASCII in it, or is longer than 256".to_owned()),
        }
    }
}

impl fmt::Display for CookiePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for CookiePath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Written for CookiePath {
    const FORMAT: &'static str = "gateway-cookie-path";
    const NOUN: &'static str = "the path of a cookie";
    const HINT: &'static str = "a path from \"/\": \"/\", \"/shop\"";
    const PATTERN: Option<&'static str> = Some("^/[!-:<-~]*$");
    const EXAMPLES: &'static [&'static str] = &["/", "/shop"];
}
written_as_text!(CookiePath);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_paths() {
        assert!("a-b_c".parse::<CookieName>().is_ok());
        for text in ["", "a b", "a=b", "a;b", "é", &"a".repeat(65)] {
            assert!(text.parse::<CookieName>().is_err(), "{text:?}");
        }
        assert!("/a/b".parse::<CookiePath>().is_ok());
        for text in ["", "a", "/a;Domain=x", "/a b", "/é", "/a\r\n"] {
            assert!(text.parse::<CookiePath>().is_err(), "{text:?}");
        }
    }
}
