//! From text to a document.

use std::{error, fmt};

use super::Value;

/// How deep a document may be nested. Deeper ones exist only to exhaust the reader's stack.
pub const DEPTH: usize = 128;

/// Why a text is not a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParseError {
    /// Not JSON from this byte on.
    Syntax(usize),
    /// Nested deeper than [`DEPTH`].
    TooDeep,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Syntax(at) => write!(f, "it is not JSON at byte {at}"),
            Self::TooDeep => write!(f, "it is nested deeper than {DEPTH}"),
        }
    }
}

impl error::Error for ParseError {}

pub(super) fn document(text: &[u8]) -> Result<Value, ParseError> {
    let text = std::str::from_utf8(text).map_err(|error| ParseError::Syntax(error.valid_up_to()))?;
    let mut reader = Reader { text, at: 0 };
    let value = reader.value(0)?;
    match reader.peek() {
        None => Ok(value),
        Some(_) => Err(reader.wrong()),
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl Reader<'_> {
    fn value(&mut self, depth: usize) -> Result<Value, ParseError> {
        if depth > DEPTH {
            return Err(ParseError::TooDeep);
        }
        match self.peek() {
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b'"') => self.string().map(Value::String),
            Some(b't') => self.word("true", Value::Bool(true)),
            Some(b'f') => self.word("false", Value::Bool(false)),
            Some(b'n') => self.word("null", Value::Null),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => Err(self.wrong()),
        }
    }

    fn object(&mut self, depth: usize) -> Result<Value, ParseError> {
        self.at += 1;
        let mut members = Vec::new();
        if self.takes(b'}') {
            return Ok(Value::Object(members));
        }
        loop {
            if self.peek() != Some(b'"') {
                return Err(self.wrong());
            }
            let name = self.string()?;
            if !self.takes(b':') {
                return Err(self.wrong());
            }
            members.push((name, self.value(depth + 1)?));
            if self.takes(b'}') {
                return Ok(Value::Object(members));
            }
            if !self.takes(b',') {
                return Err(self.wrong());
            }
        }
    }

    fn array(&mut self, depth: usize) -> Result<Value, ParseError> {
        self.at += 1;
        let mut items = Vec::new();
        if self.takes(b']') {
            return Ok(Value::Array(items));
        }
        loop {
            items.push(self.value(depth + 1)?);
            if self.takes(b']') {
                return Ok(Value::Array(items));
            }
            if !self.takes(b',') {
                return Err(self.wrong());
            }
        }
    }

    fn string(&mut self) -> Result<String, ParseError> {
        let rest = self.rest().as_bytes();
        let mut end = 1;
        let mut is_plain = true;
        loop {
            match rest.get(end) {
                Some(b'"') => break,
                Some(b'\\') => {
                    is_plain = false;
                    end += 2;
                }
                Some(0..=0x1f) | None => return Err(ParseError::Syntax(self.at + end.min(rest.len()))),
                Some(_) => end += 1,
            }
        }
        let quoted = self.rest().get(..=end).ok_or(ParseError::Syntax(self.at))?;
        let string = match quoted.get(1..end) {
            Some(plain) if is_plain => plain.to_owned(),
            _ => serde_json::from_str(quoted).map_err(|_| self.wrong())?,
        };
        self.at += end + 1;
        Ok(string)
    }

    fn number(&mut self) -> Result<Value, ParseError> {
        let rest = self.rest();
        let length = number_length(rest.as_bytes()).ok_or_else(|| self.wrong())?;
        let digits = rest.get(..length).unwrap_or_default().to_owned();
        self.at += length;
        Ok(Value::Number(digits))
    }

    fn word(&mut self, word: &str, value: Value) -> Result<Value, ParseError> {
        if !self.rest().starts_with(word) {
            return Err(self.wrong());
        }
        self.at += word.len();
        Ok(value)
    }

    fn takes(&mut self, byte: u8) -> bool {
        let takes = self.peek() == Some(byte);
        self.at += usize::from(takes);
        takes
    }

    /// The next byte that is not a space.
    fn peek(&mut self) -> Option<u8> {
        let bytes = self.text.as_bytes();
        while let Some(b' ' | b'\t' | b'\r' | b'\n') = bytes.get(self.at) {
            self.at += 1;
        }
        bytes.get(self.at).copied()
    }

    fn rest(&self) -> &str {
        self.text.get(self.at..).unwrap_or_default()
    }

    const fn wrong(&self) -> ParseError {
        ParseError::Syntax(self.at)
    }
}

/// How many bytes at the beginning form a number (RFC 8259 section 6).
fn number_length(text: &[u8]) -> Option<usize> {
    let digits = |from: usize| text.iter().skip(from).take_while(|byte| byte.is_ascii_digit()).count();
    let mut at = usize::from(text.first() == Some(&b'-'));
    match (text.get(at)?, digits(at)) {
        (b'0', _) => at += 1,
        (_, 0) => return None,
        (_, count) => at += count,
    }
    if text.get(at) == Some(&b'.') {
        let count = digits(at + 1);
        if count == 0 {
            return None;
        }
        at += 1 + count;
    }
    if let Some(b'e' | b'E') = text.get(at) {
        let sign = usize::from(matches!(text.get(at + 1), Some(b'+' | b'-')));
        let count = digits(at + 1 + sign);
        if count == 0 {
            return None;
        }
        at += 1 + sign + count;
    }
    Some(at)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_no_document_is_told_where() {
        for (text, at) in [
            ("", 0),
            ("{", 1),
            ("[1,]", 3),
            ("[1 2]", 3),
            (r#"{"a"}"#, 4),
            (r#"{"a":1,}"#, 7),
            ("{a:1}", 1),
            ("01", 1),
            ("1.", 0),
            ("-", 0),
            ("+1", 0),
            (".5", 0),
            ("1e", 0),
            ("nul", 0),
            ("truex", 4),
            ("\"a", 2),
            ("\"a\nb\"", 2),
            ("\"\\", 2),
            ("\"\\x\"", 0),
            (r#""\ud800""#, 0),
            ("1 2", 2),
            ("\u{feff}1", 0),
            ("'a'", 0),
        ] {
            assert_eq!(document(text.as_bytes()), Err(ParseError::Syntax(at)), "{text:?}");
        }
        assert_eq!(document(b"\"\xff\""), Err(ParseError::Syntax(1)));
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |depth: usize| ["[".repeat(depth), "]".repeat(depth)].concat();
        assert!(document(nested(DEPTH + 1).as_bytes()).is_ok());
        assert_eq!(document(nested(DEPTH + 2).as_bytes()), Err(ParseError::TooDeep));
        assert_eq!(document("[".repeat(1_000_000).as_bytes()), Err(ParseError::TooDeep));
        let objects = [r#"{"a":"#.repeat(10_000), "1".to_owned(), "}".repeat(10_000)].concat();
        assert_eq!(document(objects.as_bytes()), Err(ParseError::TooDeep));
    }

    /// Texts that are JSON, nearly JSON, or nothing.
    fn texts() -> impl Strategy<Value = String> {
        let pieces = prop::sample::select(vec![
            "{",
            "}",
            "[",
            "]",
            ",",
            ":",
            "\"a\"",
            "\"\\u00e4\"",
            "\"\\ud834\\udd1e\"",
            "1",
            "-0",
            "0.5",
            "1e3",
            "true",
            "false",
            "null",
            " ",
            "\n",
            "\"",
            "\\",
            "x",
            "\u{1f}",
        ]);
        prop::collection::vec(pieces, 0..12).prop_map(|pieces| pieces.concat())
    }

    fn documents() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            any::<String>().prop_map(Into::into),
        ];
        leaf.prop_recursive(6, 64, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(serde_json::Value::from),
                prop::collection::btree_map(any::<String>(), inner, 0..6)
                    .prop_map(|members| serde_json::Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        /// Accepts and refuses the same texts as `serde_json`.
        #[test]
        fn it_agrees_with_serde_json(text in texts()) {
            let theirs = serde_json::from_str::<serde_json::Value>(&text);
            prop_assert_eq!(document(text.as_bytes()).is_ok(), theirs.is_ok(), "{:?}", text);
        }

        #[test]
        fn what_is_written_is_what_was_read(value in documents()) {
            let own = document(value.to_string().as_bytes()).unwrap();
            prop_assert_eq!(&own, &Value::from(&value));
            prop_assert_eq!(serde_json::from_slice::<serde_json::Value>(&own.to_bytes()).unwrap(), value);
        }
    }
}
