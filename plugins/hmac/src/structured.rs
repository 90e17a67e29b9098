//! Structured fields (RFC 9651): dictionaries such as `Signature-Input`, `Signature` and `Content-Digest`.
//!
//! Stricter than the RFC in one point: a duplicate key is an error, since here each key names a signature or something
//! that it covers. Parsed values are serialized again in the RFC's canonical form, which is what was signed.

use std::fmt;

use base64::{Engine, engine::general_purpose::STANDARD};

/// Members by key, in order.
pub(crate) type Dictionary = Vec<(String, Member)>;

/// Parameters by key, in order. A key without a value is true.
pub(crate) type Parameters = Vec<(String, Value)>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Member {
    Item(Item),
    List(InnerList),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Item {
    pub(crate) value: Value,
    pub(crate) parameters: Parameters,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct InnerList {
    pub(crate) items: Vec<Item>,
    pub(crate) parameters: Parameters,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    Integer(i64),
    /// Its digits, in the RFC's canonical form.
    Decimal(String),
    Text(String),
    Token(String),
    Bytes(Vec<u8>),
    Boolean(bool),
}

/// The value of a parameter.
pub(crate) fn parameter<'a>(parameters: &'a Parameters, key: &str) -> Option<&'a Value> {
    parameters.iter().find(|(have, _)| have == key).map(|(_, value)| value)
}

/// Parses a dictionary (section 4.2.2); `None` if it is not one. Structured fields are ASCII only.
pub(crate) fn dictionary(text: &str) -> Option<Dictionary> {
    let mut reader = Reader(text.trim_matches(' '));
    let mut members = Dictionary::new();
    while !reader.0.is_empty() {
        let key = reader.key()?;
        let member = match reader.take('=') {
            true => reader.member()?,
            false => Member::Item(Item { value: Value::Boolean(true), parameters: reader.parameters()? }),
        };
        if members.iter().any(|(have, _)| *have == key) {
            return None;
        }
        members.push((key, member));
        reader.blanks();
        if reader.0.is_empty() {
            break;
        }
        if !reader.take(',') {
            return None;
        }
        reader.blanks();
        if reader.0.is_empty() {
            return None;
        }
    }
    Some(members)
}

/// The rest of the text.
struct Reader<'a>(&'a str);

impl Reader<'_> {
    fn take(&mut self, wanted: char) -> bool {
        self.0.strip_prefix(wanted).map(|rest| self.0 = rest).is_some()
    }

    fn spaces(&mut self) {
        self.0 = self.0.trim_start_matches(' ');
    }

    fn blanks(&mut self) {
        self.0 = self.0.trim_start_matches([' ', '\t']);
    }

    /// The bytes for which `fits` holds.
    fn run(&mut self, fits: impl Fn(u8) -> bool) -> String {
        let end = self.0.bytes().position(|byte| !fits(byte)).unwrap_or(self.0.len());
        let (taken, rest) = self.0.split_at_checked(end).unwrap_or((self.0, ""));
        self.0 = rest;
        taken.to_owned()
    }

    fn key(&mut self) -> Option<String> {
        if !self.0.starts_with(|char: char| char.is_ascii_lowercase() || char == '*') {
            return None;
        }
        Some(self.run(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-.*".contains(&byte)))
    }

    fn member(&mut self) -> Option<Member> {
        if !self.take('(') {
            return self.item().map(Member::Item);
        }
        let mut items = Vec::new();
        loop {
            self.spaces();
            if self.take(')') {
                return Some(Member::List(InnerList { items, parameters: self.parameters()? }));
            }
            items.push(self.item()?);
            if !self.0.starts_with([' ', ')']) {
                return None;
            }
        }
    }

    fn item(&mut self) -> Option<Item> {
        Some(Item { value: self.value()?, parameters: self.parameters()? })
    }

    fn parameters(&mut self) -> Option<Parameters> {
        let mut parameters = Parameters::new();
        while self.take(';') {
            self.spaces();
            let key = self.key()?;
            let value = if self.take('=') { self.value()? } else { Value::Boolean(true) };
            if parameter(&parameters, &key).is_some() {
                return None;
            }
            parameters.push((key, value));
        }
        Some(parameters)
    }

    fn value(&mut self) -> Option<Value> {
        match self.0.bytes().next()? {
            b'"' => self.text().map(Value::Text),
            b':' => self.bytes().map(Value::Bytes),
            b'?' => {
                self.take('?');
                match (self.take('1'), self.take('0')) {
                    (true, _) => Some(Value::Boolean(true)),
                    (_, true) => Some(Value::Boolean(false)),
                    _ => None,
                }
            }
            b'-' | b'0'..=b'9' => self.number(),
            byte if byte.is_ascii_alphabetic() || byte == b'*' => Some(Value::Token(
                self.run(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~:/".contains(&byte)),
            )),
            _ => None,
        }
    }

    fn text(&mut self) -> Option<String> {
        self.take('"');
        let mut text = String::new();
        let mut chars = self.0.char_indices();
        while let Some((at, char)) = chars.next() {
            match char {
                '"' => {
                    self.0 = self.0.get(at + 1..)?;
                    return Some(text);
                }
                '\\' => match chars.next()? {
                    (_, escaped @ ('"' | '\\')) => text.push(escaped),
                    _ => return None,
                },
                ' '..='~' => text.push(char),
                _ => return None,
            }
        }
        None
    }

    fn bytes(&mut self) -> Option<Vec<u8>> {
        self.take(':');
        let (encoded, rest) = self.0.split_once(':')?;
        self.0 = rest;
        STANDARD.decode(encoded).ok()
    }

    fn number(&mut self) -> Option<Value> {
        let negative = self.take('-');
        let whole = self.run(|byte| byte.is_ascii_digit());
        if whole.is_empty() || whole.len() > 15 {
            return None;
        }
        let integer: i64 = whole.parse().ok()?;
        let integer = if negative { integer.checked_neg()? } else { integer };
        if !self.take('.') {
            return Some(Value::Integer(integer));
        }
        let fraction = self.run(|byte| byte.is_ascii_digit());
        if whole.len() > 12 || fraction.is_empty() || fraction.len() > 3 {
            return None;
        }
        let kept = fraction.trim_end_matches('0');
        let sign = if negative { "-" } else { "" };
        let kept = if kept.is_empty() { "0" } else { kept };
        Some(Value::Decimal(format!("{sign}{}.{kept}", integer.unsigned_abs())))
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer(number) => write!(f, "{number}"),
            Self::Decimal(text) | Self::Token(text) => f.write_str(text),
            Self::Text(text) => write!(f, "\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")),
            Self::Bytes(bytes) => write!(f, ":{}:", STANDARD.encode(bytes)),
            Self::Boolean(is) => f.write_str(if *is { "?1" } else { "?0" }),
        }
    }
}

fn write_parameters(f: &mut fmt::Formatter<'_>, parameters: &Parameters) -> fmt::Result {
    parameters.iter().try_for_each(|(key, value)| match value {
        Value::Boolean(true) => write!(f, ";{key}"),
        value => write!(f, ";{key}={value}"),
    })
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.value)?;
        write_parameters(f, &self.parameters)
    }
}

impl fmt::Display for InnerList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(")?;
        for (at, item) in self.items.iter().enumerate() {
            write!(f, "{}{item}", if at == 0 { "" } else { " " })?;
        }
        f.write_str(")")?;
        write_parameters(f, &self.parameters)
    }
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Item(item) => item.fmt(f),
            Self::List(list) => list.fmt(f),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn written(text: &str) -> Option<String> {
        let members = dictionary(text)?;
        Some(members.iter().map(|(key, member)| format!("{key}={member}")).collect::<Vec<_>>().join(", "))
    }

    #[test]
    fn what_is_read_is_written_in_its_one_form() {
        for (text, expected) in [
            ("", ""),
            ("a=1", "a=1"),
            (" a=1 ,\t b=2  ", "a=1, b=2"),
            ("a", "a=?1"),
            ("a;x;y=?0", "a=?1;x;y=?0"),
            (r#"a="x \"y\" \\z""#, r#"a="x \"y\" \\z""#),
            ("a=tok/en:*", "a=tok/en:*"),
            ("a=:AAEC:", "a=:AAEC:"),
            ("a=-15, b=0, c=-0", "a=-15, b=0, c=0"),
            ("a=1.50, b=-0.5, c=2.0", "a=1.5, b=-0.5, c=2.0"),
            (r#"s=( "@method"   "x";sf );created=1;keyid="k""#, r#"s=("@method" "x";sf);created=1;keyid="k""#),
            ("s=();created=1", "s=();created=1"),
            ("a=1; b=2", "a=1;b=2"),
        ] {
            assert_eq!(written(text).as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_dictionary() {
        for text in [
            "A=1",
            "a=",
            "a=1,",
            "a=1,,b=2",
            ",",
            "a=1 b=2",
            "a=1,a=2",
            "a=(1",
            "a=(1))",
            "a=(1\"x\")",
            "a=(1,2)",
            "a=((1))",
            "a=\"x",
            "a=\"\\x\"",
            "a=\"ä\"",
            "a=:A:",
            "a=:AA",
            "a=:AA==",
            "a=:A A=:",
            "a=?2",
            "a=?",
            "a=1;A=2",
            "a=1;x=1;x=2",
            "a=1;",
            "a=1.",
            "a=1.2345",
            "a=1234567890123456",
            "a=--1",
            "a=ä",
            "ä=1",
            "a = 1",
            "a=(\"x\";a;a)",
            "a=1\n",
        ] {
            assert_eq!(written(text), None, "{text}");
        }
    }
}
