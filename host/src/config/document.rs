//! A JSON text with the position of every key and value in it.
//!
//! JSON with comments and trailing commas (JSONC in editors), and nothing else beyond RFC 8259. A duplicate key in an
//! object is an error, because parsers differ in which of the two they take. Length and depth are limited, so that no
//! text can exhaust memory or the stack.

use std::fmt::Display;
use std::str::FromStr;
use std::sync::Arc;

use jsonc_parser::ast;
use jsonc_parser::common::Ranged;
use jsonc_parser::errors::ParseErrorKind;
use serde_json::{Map, Number, Value};

use super::diagnostic::{Diagnostic, Report, Span, Text};
use super::expand::{Environment, expand};
use super::text::quoted;

/// A parsed text. Values are addressed by JSON pointer (RFC 6901).
#[derive(Clone, Debug)]
pub struct Document {
    file: String,
    text: Arc<Text>,
    value: Value,
    root: Node,
}

impl Document {
    /// Parses `text`, which messages call `file`, and expands `${..}` in its strings.
    pub fn parse(file: &str, text: &str, environment: &dyn Environment) -> Result<Document, Report> {
        match Document::parse_with_faults(file, text, environment)? {
            (document, faults) if faults.is_empty() => Ok(document),
            (document, faults) => Err(document.report(faults)),
        }
    }

    /// The same, but mistakes that leave the document intact are returned beside it, so that the rest can be checked in
    /// the same run.
    pub(super) fn parse_with_faults(
        file: &str,
        text: &str,
        environment: &dyn Environment,
    ) -> Result<(Document, Vec<Diagnostic>), Report> {
        // Windows editors begin files with a byte order mark; RFC 8259, section 8.1, allows parsers to ignore it.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        if text.len() > LARGEST_TEXT {
            let message = format!("the file is larger than {} MiB", LARGEST_TEXT >> 20);
            return Err(Report::new(file, Arc::new("".into()), vec![Diagnostic::new(message, "", None)]));
        }
        let source: Arc<Text> = Arc::new(text.into());
        let refuse = |diagnostic| Report::new(file, source.clone(), vec![diagnostic]);
        let parsed = jsonc_parser::parse_to_ast(text, &Default::default(), &strict_options());
        let tree =
            parsed.map_err(|error| refuse(syntax_error(text, error.kind(), error.range().start..error.range().end)))?;
        let Some(tree) = tree.value else {
            let message = "the file holds no JSON value, only blanks and comments";
            return Err(refuse(
                Diagnostic::new(message, "", Some(text.len()..text.len())).with_help("begin with \"{ }\""),
            ));
        };
        let mut reader = Reader { source: &source, environment, pointer: String::new(), depth: 0, faults: Vec::new() };
        let (value, root) = reader.read(tree);
        let faults = reader.faults;
        Ok((Document { file: file.to_owned(), text: source, value, root }, faults))
    }

    pub fn file(&self) -> &str {
        &self.file
    }

    pub fn value(&self) -> &Value {
        &self.value
    }

    /// The position of the value at `pointer`, or else of the nearest value around it.
    pub fn value_span(&self, pointer: &str) -> Span {
        self.find(pointer).node.span.clone()
    }

    /// The position of the key at `pointer`, or of the value if it is in an array or is the root.
    pub fn key_span(&self, pointer: &str) -> Span {
        let found = self.find(pointer);
        found.key.unwrap_or(&found.node.span).clone()
    }

    /// The line, from 1, of the key or value at `pointer`.
    pub fn line(&self, pointer: &str) -> usize {
        self.text.line(self.key_span(pointer).start)
    }

    /// The value at `pointer` as written, truncated to one line of at most 60 characters; empty if there is none.
    pub fn written(&self, pointer: &str) -> String {
        let found = self.find(pointer);
        if !found.whole {
            return String::new();
        }
        let text = self.text.as_str().get(found.node.span.clone()).unwrap_or_default();
        let line = text.lines().next().unwrap_or_default();
        let short: String = line.chars().take(60).flat_map(printable).collect();
        if short.len() < text.len() { format!("{short}…") } else { short }
    }

    /// Whether the string at `pointer` came in part from outside, by `${..}`: then no message may show it.
    pub fn is_expanded(&self, pointer: &str) -> bool {
        self.find(pointer).node.expanded.is_some()
    }

    /// Everything that `${..}` brought into the strings at and under `pointer`: each `${..}`, and each string with one,
    /// as written and as it is now.
    pub fn substituted(&self, pointer: &str) -> Vec<(&str, &str)> {
        fn collect<'a>(node: &'a Node, pairs: &mut Vec<(&'a str, &'a str)>) {
            pairs.extend(node.expanded.iter().flatten().map(|(written, value)| (written.as_str(), value.as_str())));
            match &node.children {
                Children::None => {}
                Children::Items(items) => items.iter().for_each(|item| collect(item, pairs)),
                Children::Members(members) => members.iter().for_each(|member| collect(&member.node, pairs)),
            }
        }
        let mut pairs = Vec::new();
        let found = self.find(pointer);
        if found.whole {
            collect(found.node, &mut pairs);
        }
        pairs
    }

    /// A mistake about the value at `pointer`. If it spans several lines, the caret is under its key.
    pub fn at_value(&self, pointer: &str, message: impl Into<String>) -> Diagnostic {
        let found = self.find(pointer);
        let span = match (&found.node.children, found.key) {
            (Children::None, _) => found.node.span.clone(),
            (_, Some(key)) => key.clone(),
            // Only the bracket.
            (_, None) => found.node.span.start..found.node.span.end.min(found.node.span.start + 1),
        };
        Diagnostic::new(message, pointer, Some(span))
    }

    /// A mistake about the key at `pointer`.
    pub fn at_key(&self, pointer: &str, message: impl Into<String>) -> Diagnostic {
        Diagnostic::new(message, pointer, Some(self.key_span(pointer)))
    }

    /// The pointer that `path`, such as `keys[2].subject`, leads to from `pointer`, as far as values exist.
    pub fn follow(&self, pointer: &str, path: &str) -> String {
        let mut reached = pointer.to_owned();
        for step in path.split(['.', '[']) {
            let next = child(&reached, step.trim_end_matches(']'));
            if !self.find(&next).whole {
                break;
            }
            reached = next;
        }
        reached
    }

    pub fn report(&self, diagnostics: Vec<Diagnostic>) -> Report {
        Report::new(self.file.clone(), self.text.clone(), diagnostics)
    }

    fn find(&self, pointer: &str) -> Found<'_> {
        let mut found = Found { node: &self.root, key: None, whole: true };
        for token in pointer.split('/').skip(1) {
            let token = token.replace("~1", "/").replace("~0", "~");
            let next = match &found.node.children {
                Children::None => None,
                Children::Items(items) => {
                    token.parse().ok().and_then(|at: usize| items.get(at)).map(|node| (node, None))
                }
                // The last value of a duplicate key counts.
                Children::Members(members) => {
                    members.iter().rfind(|member| member.name == token).map(|member| (&member.node, Some(&member.key)))
                }
            };
            match next {
                Some((node, key)) => found = Found { node, key, whole: true },
                None => return Found { whole: false, ..found },
            }
        }
        found
    }
}

/// `pointer` and one more step, escaped.
pub fn child(pointer: &str, step: impl Display) -> String {
    format!("{pointer}/{}", step.to_string().replace('~', "~0").replace('/', "~1"))
}

/// The positions, in the shape of the value.
#[derive(Clone, Debug)]
struct Node {
    span: Span,
    /// For a string with `${..}`: what came from outside, as written and as it is.
    expanded: Option<Vec<(String, String)>>,
    children: Children,
}

#[derive(Clone, Debug)]
enum Children {
    None,
    Items(Vec<Node>),
    Members(Vec<Member>),
}

#[derive(Clone, Debug)]
struct Member {
    name: String,
    key: Span,
    node: Node,
}

struct Found<'a> {
    node: &'a Node,
    key: Option<&'a Span>,
    /// Whether the pointer was followed to its end.
    whole: bool,
}

/// Turns the syntax tree into a value and its positions.
struct Reader<'a> {
    source: &'a Text,
    environment: &'a dyn Environment,
    pointer: String,
    depth: usize,
    faults: Vec<Diagnostic>,
}

impl Reader<'_> {
    fn read(&mut self, tree: ast::Value<'_>) -> (Value, Node) {
        let span = tree.start()..tree.end();
        if self.depth > DEEPEST {
            self.fault(format!("nested deeper than {DEEPEST} levels"), span.start..span.start + 1);
            return (Value::Null, Node { span, expanded: None, children: Children::None });
        }
        let leaf = |span: Span, expanded| Node { span, expanded, children: Children::None };
        match tree {
            ast::Value::NullKeyword(_) => (Value::Null, leaf(span, None)),
            ast::Value::BooleanLit(literal) => (Value::Bool(literal.value), leaf(span, None)),
            ast::Value::NumberLit(literal) => (self.number(literal.value, &span), leaf(span, None)),
            ast::Value::StringLit(literal) => {
                self.refuse_control_characters(&span);
                let (text, expanded) = self.string(literal.value.into_owned(), &span);
                (Value::String(text), leaf(span, expanded))
            }
            ast::Value::Array(array) => {
                let (values, nodes) =
                    array.elements.into_iter().enumerate().map(|(at, item)| self.at(at, item)).unzip();
                (Value::Array(values), Node { span, expanded: None, children: Children::Items(nodes) })
            }
            ast::Value::Object(object) => {
                let (map, members) = self.members(object.properties);
                (Value::Object(map), Node { span, expanded: None, children: Children::Members(members) })
            }
        }
    }

    fn members(&mut self, properties: Vec<ast::ObjectProp<'_>>) -> (Map<String, Value>, Vec<Member>) {
        let mut map = Map::with_capacity(properties.len());
        let mut members: Vec<Member> = Vec::with_capacity(properties.len());
        for property in properties {
            let key = property.name.start()..property.name.end();
            self.refuse_control_characters(&key);
            let name = property.name.into_string();
            let (value, node) = self.at(&name, property.value);
            if map.insert(name.clone(), value).is_some() {
                let first = members.iter().find(|member| member.name == name).map_or(0, |member| member.key.start);
                let line = self.source.line(first);
                let message = format!("the key {} stands twice in this object", quoted(&name));
                let pointer = child(&self.pointer, &name);
                let duplicate = Diagnostic::new(message, pointer, Some(key.clone()));
                self.faults.push(duplicate.with_label("the second").with_help(format!("the first is in line {line}")));
            }
            members.push(Member { name, key, node });
        }
        (map, members)
    }

    /// Reads `tree` one step down.
    fn at(&mut self, step: impl Display, tree: ast::Value<'_>) -> (Value, Node) {
        let length = self.pointer.len();
        self.pointer = child(&self.pointer, step);
        self.depth += 1;
        let read = self.read(tree);
        self.depth -= 1;
        self.pointer.truncate(length);
        read
    }

    fn number(&mut self, literal: &str, span: &Span) -> Value {
        match Number::from_str(literal) {
            Ok(number) => Value::Number(number),
            Err(_) => {
                self.fault("the number is out of range".to_owned(), span.clone());
                Value::Null
            }
        }
    }

    fn string(&mut self, text: String, span: &Span) -> (String, Option<Vec<(String, String)>>) {
        let faults = match expand(&text, self.environment) {
            Ok(None) => return (text, None),
            Ok(Some(mut expanded)) => {
                if !expanded.values.iter().all(|(written, _)| *written == text) {
                    expanded.values.push((text, expanded.text.clone()));
                }
                return (expanded.text, Some(expanded.values));
            }
            Err(faults) => faults,
        };
        // Without a backslash in between, an offset in the string is an offset in the text.
        let written = self.source.as_str().get(span.start + 1..span.end.saturating_sub(1)).unwrap_or_default();
        for fault in faults {
            let exact = span.start + 1 + fault.range.start..span.start + 1 + fault.range.end;
            let span = if written == text { exact } else { span.clone() };
            self.faults.push(Diagnostic::new(fault.message, self.pointer.clone(), Some(span)).with_help(fault.help));
        }
        (text, Some(Vec::new()))
    }

    /// The parser accepts them; RFC 8259, section 7, does not.
    fn refuse_control_characters(&mut self, span: &Span) {
        let written = self.source.as_str().get(span.clone()).unwrap_or_default();
        if let Some(at) = written.bytes().position(|byte| byte < 0x20) {
            let at = span.start + at;
            self.fault("a control character stands bare in a string".to_owned(), at..at + 1);
            if let Some(last) = self.faults.last_mut() {
                last.help = Some("write a newline as \\n and a tab as \\t; a string ends on its line".to_owned());
            }
        }
    }

    fn fault(&mut self, message: String, span: Span) {
        self.faults.push(Diagnostic::new(message, self.pointer.clone(), Some(span)));
    }
}

fn syntax_error(text: &str, kind: &ParseErrorKind, span: Span) -> Diagnostic {
    const WORDS: &str = "a string stands in double quotes; the only bare words are true, false and null";
    const COMMENTS: &str = "a comment begins with \"//\"";
    let (message, help) = match kind {
        ParseErrorKind::NestingDepthExceeded => {
            let first = span.start..span.start + 1;
            return Diagnostic::new(format!("nested deeper than {DEEPEST} levels"), "", Some(first));
        }
        ParseErrorKind::ExpectedComma => ("a comma is missing here", None),
        ParseErrorKind::ExpectedColonAfterObjectKey => ("a colon is missing after the key", None),
        ParseErrorKind::ExpectedObjectValue => ("the value is missing after the colon", None),
        ParseErrorKind::ExpectedStringObjectProperty => ("a key stands in double quotes", None),
        ParseErrorKind::SingleQuotedStringsNotAllowed => ("a string stands in double quotes", None),
        ParseErrorKind::MultipleRootJsonValues => ("the text goes on behind its end", Some("it is one JSON object")),
        ParseErrorKind::UnterminatedObject => ("this \"{\" is never closed", None),
        ParseErrorKind::UnterminatedArray => ("this \"[\" is never closed", None),
        ParseErrorKind::UnterminatedCommentBlock => ("this comment is never closed", None),
        ParseErrorKind::UnexpectedColon => ("a colon stands where none can be", Some("is a \"]\" missing before it?")),
        ParseErrorKind::UnexpectedWord | ParseErrorKind::UnexpectedToken => {
            let is_comment = text.get(span.clone()).is_some_and(|wrong| wrong.starts_with('#'));
            ("this is no JSON value", Some(if is_comment { COMMENTS } else { WORDS }))
        }
        other => return Diagnostic::new(format!("not JSON: {}", lower_first(&other.to_string())), "", Some(span)),
    };
    let diagnostic = Diagnostic::new(message, "", Some(span));
    match help {
        Some(help) => diagnostic.with_help(help),
        None => diagnostic,
    }
}

fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_lowercase().chain(chars).collect()).unwrap_or_default()
}

fn printable(c: char) -> impl Iterator<Item = char> {
    let escaped = c.is_control().then(|| c.escape_default());
    let plain = escaped.is_none().then_some(c);
    escaped.into_iter().flatten().chain(plain)
}

fn strict_options() -> jsonc_parser::ParseOptions {
    jsonc_parser::ParseOptions {
        allow_comments: true,
        allow_trailing_commas: true,
        allow_loose_object_property_names: false,
        allow_missing_commas: false,
        allow_single_quoted_strings: false,
        allow_hexadecimal_numbers: false,
        allow_unary_plus_numbers: false,
        allow_bare_decimal_point_numbers: false,
        allow_non_finite_numbers: false,
        allow_extended_string_escapes: false,
    }
}

/// 16 MiB: some fifty thousand routes. Several copies of a text are held while it is checked.
pub const LARGEST_TEXT: usize = 16 * 1024 * 1024;
/// Levels of nesting. gateway.json itself needs eight; the rest is for plugins.
pub const DEEPEST: usize = 128;
