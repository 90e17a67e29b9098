//! Path templates of `google.api.http`.
//!
//! ```text
//! Template  = "/" [ Segments ] [ ":" LITERAL ]
//! Segments  = Segment { "/" Segment }
//! Segment   = "*" | "**" | LITERAL | "{" FieldPath [ "=" Segments ] "}"
//! FieldPath = IDENT { "." IDENT }
//! ```
//!
//! A variable contains no variables. `**` may occur once, and also before the end, as in other gateways.

use std::{cmp::Ordering, fmt, ops::Range};

use percent_encoding::percent_decode_str;

/// A template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    text: String,
    segments: Vec<Segment>,
    verb: Option<String>,
    variables: Vec<Variable>,
}

/// One part of a template.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Segment {
    /// As in the path; escapes in upper case.
    Literal(String),
    /// One non-empty segment.
    One,
    /// Any number of segments, including none.
    Many,
}

/// A field that takes the text of its segments.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Variable {
    field: String,
    segments: Range<usize>,
}

/// How a last segment such as `a:b` is treated if no template has the verb `b`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verbs {
    /// Like any other segment.
    #[default]
    Lenient,
    /// It matches no template without a verb.
    Strict,
}

impl Template {
    /// # Errors
    /// What is wrong, with its column.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut parser = Parser { text, at: 0, segments: Vec::new(), variables: Vec::new() };
        parser.expect(b'/')?;
        if !matches!(parser.peek(), None | Some(b':')) {
            parser.segments(false)?;
        } else if parser.peek() == Some(b':') {
            return Err(parser.unexpected());
        }
        let verb = match parser.peek() {
            Some(b':') => {
                parser.at += 1;
                Some(parser.literal()?)
            }
            _ => None,
        };
        if parser.peek().is_some() {
            return Err(parser.unexpected());
        }
        let Parser { segments, variables, .. } = parser;
        if segments.iter().filter(|segment| **segment == Segment::Many).count() > 1 {
            return Err("\"**\" stands twice".to_owned());
        }
        for (at, variable) in variables.iter().enumerate() {
            if variables.iter().take(at).any(|before| before.field == variable.field) {
                return Err(format!("the variable {:?} stands twice", variable.field));
            }
        }
        Ok(Self { text: text.to_owned(), segments, verb, variables })
    }

    /// The names of the fields that it binds, in order.
    pub fn fields(&self) -> impl Iterator<Item = &str> {
        self.variables.iter().map(|variable| variable.field.as_str())
    }

    /// Its parts, without variables and verb.
    #[must_use]
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// The text after the colon.
    #[must_use]
    pub fn verb(&self) -> Option<&str> {
        self.verb.as_deref()
    }

    /// The values of its fields, in the order of [`Template::fields`], if a path matches. `path` is in its original
    /// form, without the query.
    #[must_use]
    pub fn matches(&self, path: &str, verbs: Verbs) -> Option<Vec<String>> {
        let mut rest = path.strip_prefix('/')?;
        if let Some(verb) = &self.verb {
            let (before, last) = rest.rsplit_once(':').filter(|(_, last)| !last.contains('/'))?;
            same(verb, last).then_some(())?;
            rest = before;
        } else if verbs == Verbs::Strict && rest.rsplit('/').next().is_some_and(|last| last.contains(':')) {
            return None;
        }
        let parts: Vec<&str> = if rest.is_empty() { Vec::new() } else { rest.split('/').collect() };
        let many = self.segments.iter().position(|segment| *segment == Segment::Many);
        let spare = parts.len().checked_sub(self.segments.len() - usize::from(many.is_some()))?;
        if many.is_none() && spare > 0 {
            return None;
        }
        // Where a segment of the template begins in the path.
        let place = |at: usize| if many.is_some_and(|many| at > many) { at + spare - 1 } else { at };
        for (at, segment) in self.segments.iter().enumerate() {
            let fits = match segment {
                Segment::Many => true,
                Segment::One => parts.get(place(at)).is_some_and(|part| !part.is_empty()),
                Segment::Literal(word) => parts.get(place(at)).is_some_and(|part| same(word, part)),
            };
            fits.then_some(())?;
        }
        let value = |variable: &Variable| {
            let range = place(variable.segments.start)..place(variable.segments.end);
            let is_one =
                matches!(self.segments.get(variable.segments.clone()), Some([segment]) if *segment != Segment::Many);
            decode(&parts.get(range).unwrap_or_default().join("/"), is_one)
        };
        self.variables.iter().map(value).collect()
    }

    /// A path of this template with these values for its fields; `None` if a value does not fit. The reverse of
    /// [`Template::matches`].
    #[must_use]
    pub fn expand(&self, mut value: impl FnMut(&str) -> Option<String>) -> Option<String> {
        let mut path = String::new();
        let mut at = 0;
        while at < self.segments.len() {
            path.push('/');
            if let Some(variable) = self.variables.iter().find(|variable| variable.segments.start == at) {
                let own = self.segments.get(variable.segments.clone()).unwrap_or_default();
                let is_one = matches!(own, [segment] if *segment != Segment::Many);
                let text = encode(&value(&variable.field)?, is_one);
                let shape = Self { text: String::new(), segments: own.to_vec(), verb: None, variables: Vec::new() };
                let is_clean = text.split('/').all(|part| !part.is_empty() && part != "." && part != "..");
                (is_clean && shape.matches(&format!("/{text}"), Verbs::Lenient).is_some()).then_some(())?;
                path.push_str(&text);
                at = variable.segments.end;
            } else {
                let Some(Segment::Literal(word)) = self.segments.get(at) else { return None };
                path.push_str(word);
                at += 1;
            }
        }
        if path.is_empty() {
            path.push('/');
        }
        if let Some(verb) = &self.verb {
            path.push(':');
            path.push_str(verb);
        }
        Some(path)
    }

    /// Which of two templates is tried first: the one with a verb, then the one that is more specific in the first
    /// segment in which they differ.
    #[must_use]
    pub fn precedence(&self, other: &Self) -> Ordering {
        let by_verb = other.verb.is_some().cmp(&self.verb.is_some());
        by_verb
            .then_with(|| self.ranks().cmp(other.ranks()))
            .then_with(|| other.segments.len().cmp(&self.segments.len()))
    }

    /// Whether both match exactly the same paths.
    #[must_use]
    pub fn is_same_as(&self, other: &Self) -> bool {
        self.verb == other.verb && self.segments == other.segments
    }

    fn ranks(&self) -> impl Iterator<Item = u8> {
        self.segments.iter().map(|segment| match segment {
            Segment::Literal(_) => 0,
            Segment::One => 1,
            Segment::Many => 2,
        })
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    segments: Vec<Segment>,
    variables: Vec<Variable>,
}

impl Parser<'_> {
    fn segments(&mut self, within: bool) -> Result<(), String> {
        loop {
            self.segment(within)?;
            if self.peek() != Some(b'/') {
                return Ok(());
            }
            self.at += 1;
        }
    }

    fn segment(&mut self, within: bool) -> Result<(), String> {
        match self.peek() {
            Some(b'*') => {
                self.at += 1;
                let many = self.peek() == Some(b'*');
                self.at += usize::from(many);
                self.segments.push(if many { Segment::Many } else { Segment::One });
            }
            Some(b'{') if within => return Err(format!("column {}: a variable within a variable", self.at + 1)),
            Some(b'{') => self.variable()?,
            _ => {
                let word = self.literal()?;
                self.segments.push(Segment::Literal(word));
            }
        }
        Ok(())
    }

    fn variable(&mut self) -> Result<(), String> {
        self.expect(b'{')?;
        let begin = self.at;
        loop {
            self.identifier()?;
            if self.peek() != Some(b'.') {
                break;
            }
            self.at += 1;
        }
        let field = self.text.get(begin..self.at).unwrap_or_default().to_owned();
        let first = self.segments.len();
        if self.peek() == Some(b'=') {
            self.at += 1;
            self.segments(true)?;
        } else {
            self.segments.push(Segment::One);
        }
        self.variables.push(Variable { field, segments: first..self.segments.len() });
        self.expect(b'}')
    }

    fn identifier(&mut self) -> Result<(), String> {
        match self.peek() {
            Some(byte) if byte.is_ascii_alphabetic() || byte == b'_' => {}
            _ => return Err(self.unexpected()),
        }
        while self.peek().is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            self.at += 1;
        }
        Ok(())
    }

    /// Letters, digits, other characters of a path (RFC 3986, without the colon), and escapes, which are written in
    /// upper case.
    fn literal(&mut self) -> Result<String, String> {
        let mut word = String::new();
        while let Some(byte) = self.peek() {
            if byte == b'%' {
                let digits =
                    self.text.get(self.at + 1..self.at + 3).filter(|it| it.bytes().all(|it| it.is_ascii_hexdigit()));
                let digits = digits.ok_or_else(|| self.unexpected())?;
                word.push('%');
                word.push_str(&digits.to_ascii_uppercase());
                self.at += 3;
            } else if byte.is_ascii_alphanumeric() || b"-._~!$&'()+,;@".contains(&byte) {
                word.push(char::from(byte));
                self.at += 1;
            } else {
                break;
            }
        }
        if word.is_empty() { Err(self.unexpected()) } else { Ok(word) }
    }

    fn expect(&mut self, byte: u8) -> Result<(), String> {
        if self.peek() != Some(byte) {
            return Err(format!("{}, where {:?} is meant", self.unexpected(), char::from(byte)));
        }
        self.at += 1;
        Ok(())
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn unexpected(&self) -> String {
        match self.text.get(self.at..).and_then(|rest| rest.chars().next()) {
            Some(char) => format!("column {}: {char:?} does not belong here", self.at + 1),
            None => format!("column {}: it ends too early", self.at + 1),
        }
    }
}

/// Whether a part of a path equals a template's word, however its characters are escaped.
fn same(word: &str, part: &str) -> bool {
    word == part || (word.contains('%') || part.contains('%')) && bytes(word) == bytes(part)
}

fn bytes(text: &str) -> Vec<u8> {
    percent_decode_str(text).collect()
}

/// The value of a variable. If it spans several segments, escaped slashes stay escaped, to differ from the others.
fn decode(text: &str, is_one: bool) -> Option<String> {
    if is_one {
        return percent_decode_str(text).decode_utf8().ok().map(Into::into);
    }
    let mut value = String::with_capacity(text.len());
    let mut rest = text;
    let slash = |text: &str| text.as_bytes().windows(3).position(|it| it.eq_ignore_ascii_case(b"%2f"));
    while let Some(at) = slash(rest) {
        value.push_str(&percent_decode_str(rest.get(..at)?).decode_utf8().ok()?);
        value.push_str(rest.get(at..at + 3)?);
        rest = rest.get(at + 3..)?;
    }
    value.push_str(&percent_decode_str(rest).decode_utf8().ok()?);
    Some(value)
}

fn encode(value: &str, is_one: bool) -> String {
    let mut text = String::with_capacity(value.len());
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || byte == b'/' && !is_one {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}

#[cfg(test)]
#[path = "template/tests.rs"]
mod tests;
