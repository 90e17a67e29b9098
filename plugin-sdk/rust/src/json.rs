//! JSON documents from elsewhere, to be changed in places and otherwise left as they are: members keep their order, and
//! numbers all their digits.
//!
//! `serde_json` is for data whose type a plugin knows. It turns a number that fits no integer into a float, so an
//! amount or an identifier with twenty digits would change.

mod parse;
mod path;
mod unique;
mod written;

use std::fmt;

pub use parse::{DEPTH, ParseError};
pub use path::Path;

/// A document, or a part of one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Value {
    /// `null`
    #[default]
    Null,
    /// `true` or `false`
    Bool(bool),
    /// As written.
    Number(String),
    /// Without quotes and escapes.
    String(String),
    /// In order.
    Array(Vec<Value>),
    /// In order, including members with the same name.
    Object(Vec<(String, Value)>),
}

impl Value {
    /// Reads a document (RFC 8259).
    ///
    /// # Errors
    /// The text is not JSON, or nested deeper than [`DEPTH`].
    pub fn parse(text: &[u8]) -> Result<Self, ParseError> {
        parse::document(text)
    }

    /// A member; of several with this name the last, which most readers take.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Object(members) => members.iter().rev().find(|(have, _)| have == name).map(|(_, value)| value),
            _ => None,
        }
    }

    /// The text, if this is one.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// Calls `visit` for each text and number in it, however deep, but not for names of members.
    pub fn each_scalar(&mut self, visit: &mut impl FnMut(&mut Self)) {
        match self {
            Self::Null | Self::Bool(_) => {}
            Self::Number(_) | Self::String(_) => visit(self),
            Self::Array(items) => items.iter_mut().for_each(|item| item.each_scalar(visit)),
            Self::Object(members) => members.iter_mut().for_each(|(_, value)| value.each_scalar(visit)),
        }
    }

    /// The document as JSON text, without spaces.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut text = Vec::new();
        self.write(&mut text);
        text
    }

    /// Appends the document to `text`.
    pub(crate) fn write(&self, text: &mut Vec<u8>) {
        match self {
            Self::Null => text.extend_from_slice(b"null"),
            Self::Bool(true) => text.extend_from_slice(b"true"),
            Self::Bool(false) => text.extend_from_slice(b"false"),
            Self::Number(digits) => text.extend_from_slice(digits.as_bytes()),
            Self::String(string) => write_string(string, text),
            Self::Array(items) => {
                text.push(b'[');
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        text.push(b',');
                    }
                    item.write(text);
                }
                text.push(b']');
            }
            Self::Object(members) => {
                text.push(b'{');
                for (index, (name, value)) in members.iter().enumerate() {
                    if index > 0 {
                        text.push(b',');
                    }
                    write_string(name, text);
                    text.push(b':');
                    value.write(text);
                }
                text.push(b'}');
            }
        }
    }
}

/// Appends a string with its quotation marks to `text`.
pub(crate) fn write_string(string: &str, text: &mut Vec<u8>) {
    // Text can always be written, and so can a Vec.
    let _ = serde_json::to_writer(text, string);
}

impl From<&serde_json::Value> for Value {
    fn from(value: &serde_json::Value) -> Self {
        match value {
            serde_json::Value::Null => Self::Null,
            serde_json::Value::Bool(is) => Self::Bool(*is),
            serde_json::Value::Number(number) => Self::Number(number.to_string()),
            serde_json::Value::String(text) => Self::String(text.clone()),
            serde_json::Value::Array(items) => Self::Array(items.iter().map(Into::into).collect()),
            serde_json::Value::Object(members) => {
                Self::Object(members.iter().map(|(name, value)| (name.clone(), value.into())).collect())
            }
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.to_bytes()))
    }
}

/// Reads JSON in which no object has a member twice. Of two members with one name some readers take the first, some the
/// last; so use this for data that decides something here and that an upstream reads again.
///
/// # Errors
/// Why the text is not such JSON, and where.
pub fn unique(text: &[u8]) -> Result<serde_json::Value, String> {
    unique::document(text)
}

/// Whether a `Content-Type` is JSON: `application/json`, `text/json`, or any type with the suffix `+json` (RFC 6839).
#[must_use]
pub fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || essence == "text/json" || essence.ends_with("+json")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn documents_stay_as_they_are() {
        for text in [
            r#"{"b":1,"a":2,"b":3}"#,
            r#"[0.1000,1e400,-0,123456789012345678901234567890,1E+2]"#,
            r#"{"":{"ä":["\u0000","\"\\","𝄞"]}}"#,
            "null",
            r#""text""#,
        ] {
            let written = Value::parse(text.as_bytes()).unwrap().to_string();
            assert_eq!(written, text);
        }
        assert_eq!(Value::parse(b" [ 1 , {\n} ] ").unwrap().to_string(), "[1,{}]");
        assert_eq!(Value::parse(br#""\ud834\udd1e\n\/""#).unwrap(), Value::String("\u{1d11e}\n/".to_owned()));
    }

    #[test]
    fn the_last_of_two_members_is_what_most_read() {
        let document = Value::parse(br#"{"a":1,"a":"x"}"#).unwrap();
        assert_eq!(document.get("a").and_then(Value::as_str), Some("x"));
        assert_eq!(document.get("b"), None);
    }

    #[test]
    fn scalars_are_visited_however_deep() {
        let mut document = Value::parse(br#"{"name":[1,{"x":"a"},true,null]}"#).unwrap();
        document.each_scalar(&mut |value| *value = Value::Null);
        assert_eq!(document.to_string(), r#"{"name":[null,{"x":null},true,null]}"#);
    }

    #[test]
    fn members_that_are_there_twice_are_refused_where_it_matters() {
        let fine = r#"{"a":1,"b":[-1,1.5,true,null,"x",{"a":{"a":2}}]}"#;
        assert_eq!(unique(fine.as_bytes()).unwrap(), serde_json::from_str::<serde_json::Value>(fine).unwrap());
        for odd in [r#"{"a":1,"a":1}"#, r#"{"a":1,"\u0061":2}"#, r#"[{"a":[{"b":1,"b":1}]}]"#] {
            let why = unique(odd.as_bytes()).unwrap_err();
            assert!(why.starts_with("a member is there twice at line 1"), "{odd}: {why}");
        }
        let deep = "[".repeat(10_000);
        for text in ["", "{", r#"{"a":1} {}"#, deep.as_str()] {
            assert!(unique(text.as_bytes()).is_err(), "{text:.9}");
        }
    }

    #[test]
    fn types() {
        for (kind, is) in [
            ("application/json", true),
            ("Application/JSON; charset=utf-8", true),
            ("application/problem+json", true),
            ("text/json", true),
            ("application/x-ndjson", false),
            ("application/jsonp", false),
            ("text/plain", false),
            ("", false),
        ] {
            assert_eq!(is_json(kind), is, "{kind}");
        }
    }
}
