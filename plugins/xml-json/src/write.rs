//! From JSON to XML.

use std::fmt;

use gatewright_sdk::{json::Value, template::scalar};
use quick_xml::escape::escape;

use crate::names::{Names, is_char};

/// Why a value cannot be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum WriteError {
    /// There must be one outermost element.
    Root,
    /// Not a name of XML, or one with an unknown prefix.
    Name(String),
    /// An attribute, or `#text`, is not a text, number, boolean or null; or a list is within a list.
    Shape(String),
    /// A character that XML does not allow.
    Character,
    TooLong,
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => f.write_str("it is no object with one member"),
            Self::Name(name) => write!(f, "{name:?} is no name of an element or attribute here"),
            Self::Shape(name) => write!(f, "the value of {name:?} cannot be XML"),
            Self::Character => f.write_str("it has a character that XML does not allow"),
            Self::TooLong => f.write_str("it is too long"),
        }
    }
}

/// The outermost element and its content: the only member of an object.
pub(crate) fn root(document: &Value) -> Result<(&str, &Value), WriteError> {
    match members(document) {
        [(name, value)] => one(name, value),
        _ => Err(WriteError::Root),
    }
}

/// An element and its content, which is single and not a list.
pub(crate) fn one<'a>(name: &'a str, content: &'a Value) -> Result<(&'a str, &'a Value), WriteError> {
    match content {
        Value::Array(_) => Err(WriteError::Root),
        content => Ok((name, content)),
    }
}

/// A document being written.
pub(crate) struct Writer<'a> {
    names: &'a Names,
    limit: usize,
    text: String,
}

impl<'a> Writer<'a> {
    /// Begins with the declaration. `limit` is the most bytes.
    pub(crate) fn new(names: &'a Names, limit: usize) -> Self {
        Self { names, limit, text: "<?xml version=\"1.0\" encoding=\"UTF-8\"?>".to_owned() }
    }

    /// Opens an element that is not part of the document, such as an envelope.
    pub(crate) fn open(&mut self, tag: &str) {
        self.text.push_str(tag);
    }

    /// Writes an element, with the declarations of all namespaces if it is the outermost one of the document.
    pub(crate) fn element(&mut self, name: &str, value: &Value, is_outermost: bool) -> Result<(), WriteError> {
        if self.text.len() > self.limit {
            return Err(WriteError::TooLong);
        }
        if let Value::Array(items) = value {
            return items.iter().try_for_each(|item| match item {
                Value::Array(_) => Err(WriteError::Shape(name.to_owned())),
                item => self.element(name, item, is_outermost),
            });
        }
        if !self.names.is_in_xml(name) {
            return Err(WriteError::Name(name.to_owned()));
        }
        self.text.push('<');
        self.text.push_str(name);
        if is_outermost {
            for (name, address) in self.names.declarations() {
                self.attribute(&name, address)?;
            }
        }
        let mut seen: Vec<&str> = Vec::new();
        for (key, value) in members(value) {
            let Some(attribute) = key.strip_prefix('@') else { continue };
            if !self.names.is_in_xml(attribute) || attribute.starts_with("xmlns") || seen.contains(&attribute) {
                return Err(WriteError::Name(key.clone()));
            }
            seen.push(attribute);
            match (value, scalar(value)) {
                (_, Some(text)) => self.attribute(attribute, text)?,
                (Value::Null, None) => {}
                _ => return Err(WriteError::Shape(key.clone())),
            }
        }
        let before = self.text.len();
        self.text.push('>');
        self.content(name, value)?;
        // Nothing was written after the bracket.
        if self.text.len() == before + 1 {
            self.text.truncate(before);
            self.text.push_str("/>");
        } else {
            self.text.push_str("</");
            self.text.push_str(name);
            self.text.push('>');
        }
        Ok(())
    }

    fn content(&mut self, name: &str, value: &Value) -> Result<(), WriteError> {
        if let Some(text) = scalar(value) {
            return self.escaped(text);
        }
        for (key, value) in members(value) {
            match (key.as_str(), scalar(value)) {
                (key, _) if key.starts_with('@') => {}
                ("#text", Some(text)) => self.escaped(text)?,
                ("#text", None) if *value == Value::Null => {}
                ("#text", None) => return Err(WriteError::Shape(name.to_owned())),
                (key, _) => self.element(key, value, false)?,
            }
        }
        Ok(())
    }

    fn attribute(&mut self, name: &str, value: &str) -> Result<(), WriteError> {
        self.text.push(' ');
        self.text.push_str(name);
        self.text.push_str("=\"");
        // A reader turns these into spaces in attributes, unless they are written by number.
        let before = self.text.len();
        self.escaped(value)?;
        if value.contains(['\t', '\n']) {
            let value = self.text.split_off(before);
            self.text.push_str(&value.replace('\t', "&#9;").replace('\n', "&#10;"));
        }
        self.text.push('"');
        Ok(())
    }

    fn escaped(&mut self, text: &str) -> Result<(), WriteError> {
        if !text.chars().all(is_char) {
            return Err(WriteError::Character);
        }
        self.text.push_str(&escape(text));
        Ok(())
    }

    /// Returns the document.
    pub(crate) fn finish(self) -> Result<Vec<u8>, WriteError> {
        if self.text.len() > self.limit {
            return Err(WriteError::TooLong);
        }
        Ok(self.text.into_bytes())
    }
}

fn members(value: &Value) -> &[(String, Value)] {
    match value {
        Value::Object(members) => members,
        _ => &[],
    }
}
