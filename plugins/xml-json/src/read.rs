//! From XML to JSON.
//!
//! Nothing is fetched and nothing is defined: a document type is refused, and so is every entity except the five of XML
//! itself and numeric character references. So a document cannot expand, and its depth, elements and attributes are
//! bounded before anything is built from them.

use std::{collections::BTreeMap, fmt};

use gatewright_sdk::json::Value;
use quick_xml::{
    NsReader, XmlVersion,
    escape::resolve_xml_entity,
    events::{BytesDecl, BytesRef, BytesStart, Event},
};

use crate::{
    config::Kind,
    names::{Names, is_char, trim},
};

/// How to read documents.
#[derive(Debug)]
pub(crate) struct Reading {
    pub(crate) lists: Vec<String>,
    pub(crate) types: BTreeMap<String, Kind>,
    pub(crate) depth: usize,
    pub(crate) elements: usize,
    pub(crate) attributes: usize,
    pub(crate) size: usize,
}

/// Why a document was not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ReadError {
    /// It is not UTF-8, or claims another encoding.
    Encoding,
    /// It has a document type, which may define entities.
    DocumentType,
    /// It has an entity that is not one of XML itself.
    Entity,
    TooDeep,
    TooManyElements,
    TooManyAttributes,
    TooLong,
    /// It is not well-formed from about this byte on.
    Syntax(u64),
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Encoding => "it is not UTF-8",
            Self::DocumentType => "it has a document type",
            Self::Entity => "it has an entity that XML does not define",
            Self::TooDeep => "it is nested too deep",
            Self::TooManyElements => "it has too many elements",
            Self::TooManyAttributes => "an element has too many attributes",
            Self::TooLong => "it is too long",
            Self::Syntax(at) => return write!(f, "it is not well-formed at byte {at}"),
        })
    }
}

impl Reading {
    /// An object with the outermost element as its only member.
    pub(crate) fn read(&self, names: &Names, document: &[u8]) -> Result<Value, ReadError> {
        if document.len() > self.size {
            return Err(ReadError::TooLong);
        }
        let text = std::str::from_utf8(document).map_err(|_| ReadError::Encoding)?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        if let Some(at) = text.find(|char| !is_char(char)) {
            return Err(ReadError::Syntax(at as u64));
        }
        let mut reader = NsReader::from_str(text);
        reader.config_mut().expand_empty_elements = true;
        let mut tree = Tree { reading: self, names, open: Vec::new(), elements: 0, root: None };
        loop {
            let event = reader.read_event();
            let at = reader.buffer_position();
            match event.map_err(|_| ReadError::Syntax(at))? {
                Event::Start(start) => tree.start(&reader, &start)?,
                Event::End(_) => tree.end(),
                Event::Text(text) => tree.text(&text.xml10_content(), at)?,
                Event::CData(data) => tree.inside(&data.xml10_content(), at)?,
                Event::GeneralRef(entity) => tree.inside(&resolve(&entity)?, at)?,
                Event::DocType(_) => return Err(ReadError::DocumentType),
                Event::Decl(declaration) if at_most_a_declaration(text, at) => check(&declaration)?,
                Event::Decl(_) | Event::Empty(_) => return Err(ReadError::Syntax(at)),
                Event::Comment(_) | Event::PI(_) => {}
                Event::Eof if tree.open.is_empty() => break,
                Event::Eof => return Err(ReadError::Syntax(at)),
            }
        }
        let root = tree.root.ok_or(ReadError::Syntax(text.len() as u64))?;
        Ok(Value::Object(vec![root]))
    }
}

/// The elements that are open, outermost first.
struct Tree<'a> {
    reading: &'a Reading,
    names: &'a Names,
    open: Vec<Element>,
    elements: usize,
    root: Option<(String, Value)>,
}

#[derive(Default)]
struct Element {
    name: String,
    members: Vec<(String, Value)>,
    /// The positions of names among the members.
    places: BTreeMap<String, usize>,
    text: String,
    is_nil: bool,
}

impl Tree<'_> {
    fn start(&mut self, reader: &NsReader<&[u8]>, start: &BytesStart<'_>) -> Result<(), ReadError> {
        let syntax = || ReadError::Syntax(reader.buffer_position());
        self.elements += 1;
        if self.elements > self.reading.elements {
            return Err(ReadError::TooManyElements);
        }
        if self.open.len() >= self.reading.depth {
            return Err(ReadError::TooDeep);
        }
        if self.open.is_empty() && self.root.is_some() {
            return Err(syntax());
        }
        let resolver = reader.resolver();
        let (namespace, local) = resolver.resolve_element(start.name());
        let name = self.names.in_json(&namespace, local.as_ref()).ok_or_else(syntax)?;
        let mut element = Element { name, ..Element::default() };
        for (index, attribute) in start.attributes().enumerate() {
            if index >= self.reading.attributes {
                return Err(ReadError::TooManyAttributes);
            }
            let attribute = attribute.map_err(|_| syntax())?;
            let value = attribute.normalized_value(XmlVersion::Implicit1_0).map_err(|error| match error {
                quick_xml::Error::Escape(_) => ReadError::Entity,
                _ => syntax(),
            })?;
            if attribute.value.contains('<') || !value.chars().all(is_char) {
                return Err(syntax());
            }
            if attribute.key.as_namespace_binding().is_some() {
                continue;
            }
            let (namespace, local) = resolver.resolve_attribute(attribute.key);
            let name = self.names.in_json(&namespace, local.as_ref()).ok_or_else(syntax)?;
            match name.as_str() {
                "xsi:nil" => element.is_nil = matches!(trim(&value), "true" | "1"),
                name if name.starts_with("xsi:") => {}
                name => element.add(format!("@{name}"), Value::String(value.into_owned()), false),
            }
        }
        self.open.push(element);
        Ok(())
    }

    fn end(&mut self) {
        let Some(element) = self.open.pop() else { return };
        let (name, value) = element.close(self.reading);
        match self.open.last_mut() {
            Some(parent) => {
                let is_list = self.reading.lists.contains(&name);
                parent.add(name, value, is_list);
            }
            None => self.root = Some((name, value)),
        }
    }

    /// Text; outside of the outermost element only white space is allowed.
    fn text(&mut self, text: &str, at: u64) -> Result<(), ReadError> {
        if self.open.is_empty() && trim(text).is_empty() {
            return Ok(());
        }
        self.inside(text, at)
    }

    fn inside(&mut self, text: &str, at: u64) -> Result<(), ReadError> {
        let element = self.open.last_mut().ok_or(ReadError::Syntax(at))?;
        element.text.push_str(text);
        Ok(())
    }
}

impl Element {
    /// The second value of a name makes the first a list.
    fn add(&mut self, name: String, value: Value, is_list: bool) {
        let place = self.places.get(&name).and_then(|at| self.members.get_mut(*at));
        match place {
            Some((_, Value::Array(items))) => items.push(value),
            Some((_, first)) => *first = Value::Array(vec![std::mem::take(first), value]),
            None => {
                self.places.insert(name.clone(), self.members.len());
                self.members.push((name, if is_list { Value::Array(vec![value]) } else { value }));
            }
        }
    }

    fn close(mut self, reading: &Reading) -> (String, Value) {
        let is_blank = trim(&self.text).is_empty();
        if self.is_nil {
            return (self.name, Value::Null);
        }
        if self.members.is_empty() {
            let value = if is_blank { Value::Null } else { typed(reading.types.get(&self.name), self.text) };
            return (self.name, value);
        }
        if !is_blank {
            let text = typed(reading.types.get(&self.name), trim(&self.text).to_owned());
            self.members.push(("#text".to_owned(), text));
        }
        (self.name, Value::Object(self.members))
    }
}

fn typed(kind: Option<&Kind>, text: String) -> Value {
    match (kind, trim(&text)) {
        (Some(Kind::Boolean), "true" | "1") => Value::Bool(true),
        (Some(Kind::Boolean), "false" | "0") => Value::Bool(false),
        (Some(Kind::Number), digits) => match Value::parse(digits.as_bytes()) {
            Ok(number @ Value::Number(_)) => number,
            _ => Value::String(text),
        },
        _ => Value::String(text),
    }
}

fn resolve(entity: &BytesRef<'_>) -> Result<String, ReadError> {
    if entity.is_char_ref() {
        let char = entity.resolve_char_ref().ok().flatten().filter(|char| is_char(*char));
        return char.map(String::from).ok_or(ReadError::Entity);
    }
    resolve_xml_entity(&entity.xml10_content()).map(str::to_owned).ok_or(ReadError::Entity)
}

/// A declaration must come first in a document.
fn at_most_a_declaration(text: &str, at: u64) -> bool {
    let end = usize::try_from(at).unwrap_or(usize::MAX);
    text.starts_with("<?xml") && text.find("?>").is_some_and(|found| found + 2 == end)
}

fn check(declaration: &BytesDecl<'_>) -> Result<(), ReadError> {
    match declaration.encoding() {
        None => Ok(()),
        Some(Ok(encoding)) if encoding.eq_ignore_ascii_case("utf-8") || encoding.eq_ignore_ascii_case("us-ascii") => {
            Ok(())
        }
        Some(_) => Err(ReadError::Encoding),
    }
}
