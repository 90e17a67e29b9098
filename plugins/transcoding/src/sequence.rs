//! JSON values in sequence, as they arrive: on lines of their own (NDJSON), or as an array.
//!
//! It only finds where values begin and end; whether they are JSON is checked by their reader. Its state fits into a
//! few bytes, so that it can be kept until the rest of a value arrives.

use std::ops::Range;

/// The position in a stream of values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sequence {
    form: Form,
    /// How many brackets are open within the value.
    depth: u32,
    text: Text,
    /// How much of the value was scanned.
    seen: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Form {
    /// Nothing was seen yet.
    #[default]
    Unknown,
    Lines,
    Array,
    /// The array was closed.
    Closed,
}

/// Whether the position is inside a JSON string.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Text {
    #[default]
    Outside,
    Inside,
    /// After a backslash.
    Escaped,
}

impl Sequence {
    /// Scans the bytes: returns the values that are complete, and where the rest begins, which must be passed again
    /// with the bytes that follow. At the `end` a value on the last line needs no end of line.
    ///
    /// # Errors
    /// What is wrong between the values, as a sentence.
    pub fn take(&mut self, bytes: &[u8], end: bool) -> Result<(Vec<Range<usize>>, usize), &'static str> {
        let mut values = Vec::new();
        let mut begin = 0;
        let mut at = usize::try_from(self.seen).unwrap_or(usize::MAX);
        while let Some(&byte) = bytes.get(at) {
            let is_within = at > begin;
            if is_within || !self.begins(byte)? {
                if !is_within {
                    at += 1;
                    begin = at;
                    continue;
                }
                if self.ends_before(byte) {
                    values.push(begin..at);
                    begin = at;
                    continue;
                }
            }
            at += 1;
            if self.step(byte) {
                values.push(begin..at);
                begin = at;
            }
        }
        if end && at > begin {
            let is_value = self.depth == 0 && self.text == Text::Outside && self.form == Form::Lines;
            if !is_value {
                return Err("The last value is cut off.");
            }
            values.push(begin..at);
            begin = at;
        }
        if end && self.form == Form::Array {
            return Err("The array is not closed.");
        }
        self.seen = u32::try_from(at - begin).unwrap_or(u32::MAX);
        Ok((values, begin))
    }

    /// Whether a byte between two values begins one.
    fn begins(&mut self, byte: u8) -> Result<bool, &'static str> {
        match (self.form, byte) {
            (_, b' ' | b'\t' | b'\r' | b'\n') => Ok(false),
            (Form::Unknown, b'[') => {
                self.form = Form::Array;
                Ok(false)
            }
            (Form::Array, b']') => {
                self.form = Form::Closed;
                Ok(false)
            }
            (Form::Array, b',') => Ok(false),
            (Form::Closed, _) => Err("Something comes behind the array."),
            (Form::Unknown, _) => {
                self.form = Form::Lines;
                Ok(true)
            }
            (Form::Lines | Form::Array, _) => Ok(true),
        }
    }

    /// Whether a value without brackets and quotes, such as a number, ends before this byte.
    fn ends_before(&self, byte: u8) -> bool {
        let is_end = match self.form {
            Form::Array => matches!(byte, b',' | b']' | b' ' | b'\t' | b'\r' | b'\n'),
            _ => matches!(byte, b' ' | b'\t' | b'\r' | b'\n'),
        };
        self.depth == 0 && self.text == Text::Outside && is_end
    }

    /// Takes a byte of a value. Returns whether it was the last one.
    fn step(&mut self, byte: u8) -> bool {
        match (self.text, byte) {
            (Text::Escaped, _) => self.text = Text::Inside,
            (Text::Inside, b'\\') => self.text = Text::Escaped,
            (Text::Inside, b'"') => {
                self.text = Text::Outside;
                return self.depth == 0;
            }
            (Text::Inside, _) => {}
            (Text::Outside, b'"') => self.text = Text::Inside,
            (Text::Outside, b'{' | b'[') => self.depth = self.depth.saturating_add(1),
            (Text::Outside, b'}' | b']') => {
                self.depth = self.depth.saturating_sub(1);
                return self.depth == 0;
            }
            (Text::Outside, _) => {}
        }
        false
    }

    /// The state as bytes, to be kept.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 10] {
        let [a, b, c, d] = self.depth.to_le_bytes();
        let [e, f, g, h] = self.seen.to_le_bytes();
        [self.form as u8, self.text as u8, a, b, c, d, e, f, g, h]
    }

    /// From kept bytes.
    #[must_use]
    pub fn of_bytes([form, text, a, b, c, d, e, f, g, h]: [u8; 10]) -> Self {
        let form = match form {
            1 => Form::Lines,
            2 => Form::Array,
            3 => Form::Closed,
            _ => Form::Unknown,
        };
        let text = match text {
            1 => Text::Inside,
            2 => Text::Escaped,
            _ => Text::Outside,
        };
        let (depth, seen) = (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]));
        Self { form, depth, text, seen }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// The values in these pieces, with the state kept as bytes in between.
    fn read(pieces: &[&str]) -> Result<Vec<String>, &'static str> {
        let (mut kept, mut held, mut found) = (Sequence::default().to_bytes(), Vec::new(), Vec::new());
        for (at, piece) in pieces.iter().enumerate() {
            held.extend_from_slice(piece.as_bytes());
            let mut sequence = Sequence::of_bytes(kept);
            let (values, rest) = sequence.take(&held, at + 1 == pieces.len())?;
            found.extend(values.into_iter().map(|range| String::from_utf8(held[range].to_vec()).unwrap()));
            held.drain(..rest);
            kept = sequence.to_bytes();
        }
        Ok(found)
    }

    #[test]
    fn values_one_by_one() {
        for (text, expected) in [
            ("", vec![]),
            (" \n", vec![]),
            ("{\"a\":1}\n{\"b\":[2]}\n", vec!["{\"a\":1}", "{\"b\":[2]}"]),
            ("{}{}", vec!["{}", "{}"]),
            ("1\n\"a\\\"b\" true", vec!["1", "\"a\\\"b\"", "true"]),
            ("[]", vec![]),
            (" [ {\"a\":\"]}\"} ,2, [3] ] ", vec!["{\"a\":\"]}\"}", "2", "[3]"]),
        ] {
            assert_eq!(read(&[text]).unwrap(), expected, "{text}");
            let letters: Vec<String> = text.chars().map(|letter| letter.to_string()).collect();
            let letters: Vec<&str> = letters.iter().map(String::as_str).chain([""]).collect();
            assert_eq!(read(&letters).unwrap(), expected, "{text}");
        }
        for (text, why) in [
            ("{\"a\":", "The last value is cut off."),
            ("\"a", "The last value is cut off."),
            ("[1", "The last value is cut off."),
            ("[1,", "The array is not closed."),
            ("[] {}", "Something comes behind the array."),
        ] {
            assert_eq!(read(&[text]), Err(why), "{text}");
        }
    }
}
