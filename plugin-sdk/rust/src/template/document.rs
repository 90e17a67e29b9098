//! JSON with values in it.

use std::borrow::Cow;

use super::{Place, Scope, Text, Values};
use crate::json::{Value, write_string};

/// A JSON document whose texts are templates. A text that is exactly one place becomes the value there, of any type; in
/// other texts values are inserted as text. A place without a value becomes `null`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Document {
    /// Stays as it is.
    Plain(Value),
    /// Becomes the value at the place.
    Place(Place),
    /// Becomes a text.
    Text(Text),
    /// A list.
    Array(Vec<Document>),
    /// Names are not templates.
    Object(Vec<(String, Document)>),
}

impl Document {
    /// # Errors
    /// What is wrong with it, preceded by a JSON Pointer unless it is at the top.
    pub fn parse(document: &Value, scope: &Scope<'_>) -> Result<Self, String> {
        let within = |step: &str, document: &Value| {
            let step = step.replace('~', "~0").replace('/', "~1");
            Self::parse(document, scope).map_err(|why| match why.strip_prefix('/') {
                Some(deeper) => format!("/{step}/{deeper}"),
                None => format!("/{step}: {why}"),
            })
        };
        Ok(match document {
            Value::String(text) => {
                let text = Text::parse(text, scope)?;
                match (text.only(), text.plain()) {
                    (Some(place), _) => Self::Place(place.clone()),
                    (None, Some(plain)) => Self::Plain(Value::String(plain.to_owned())),
                    (None, None) => Self::Text(text),
                }
            }
            Value::Array(items) => {
                let items = items.iter().enumerate().map(|(index, item)| within(&index.to_string(), item));
                Self::Array(items.collect::<Result<_, _>>()?)
            }
            Value::Object(members) => {
                let members = members.iter().map(|(name, value)| Ok((name.clone(), within(name, value)?)));
                Self::Object(members.collect::<Result<_, String>>()?)
            }
            plain => Self::Plain(plain.clone()),
        })
    }

    /// Calls `visit` with each place in it.
    pub fn each_place<'a>(&'a self, visit: &mut dyn FnMut(&'a Place)) {
        match self {
            Self::Plain(_) => {}
            Self::Place(place) => visit(place),
            Self::Text(text) => text.places().for_each(visit),
            Self::Array(items) => items.iter().for_each(|item| item.each_place(visit)),
            Self::Object(members) => members.iter().for_each(|(_, value)| value.each_place(visit)),
        }
    }

    /// The document with its values; `None` if it is a single place or text that has no value.
    #[must_use]
    pub fn value(&self, values: &impl Values) -> Option<Value> {
        Some(match self {
            Self::Plain(value) => value.clone(),
            Self::Place(place) => place.find(values)?.into_owned(),
            Self::Text(text) => Value::String(text.render(values, |value| Some(Cow::Borrowed(value))).ok()?),
            Self::Array(items) => {
                Value::Array(items.iter().map(|item| item.value(values).unwrap_or_default()).collect())
            }
            Self::Object(members) => {
                let members =
                    members.iter().map(|(name, value)| (name.clone(), value.value(values).unwrap_or_default()));
                Value::Object(members.collect())
            }
        })
    }

    /// Appends the document with its values to `json`, and stops once that is longer than `limit` bytes.
    ///
    /// # Errors
    /// It is longer.
    pub fn write(&self, values: &impl Values, limit: usize, json: &mut Vec<u8>) -> Result<(), TooLong> {
        match self {
            Self::Plain(value) => value.write(json),
            Self::Place(place) => match place.find(values) {
                Some(value) => value.write(json),
                None => Value::Null.write(json),
            },
            Self::Text(text) => match text.render(values, |value| Some(Cow::Borrowed(value))) {
                Ok(text) => write_string(&text, json),
                Err(_) => Value::Null.write(json),
            },
            Self::Array(items) => {
                json.push(b'[');
                for (index, item) in items.iter().enumerate() {
                    separate(index, json);
                    item.write(values, limit, json)?;
                }
                json.push(b']');
            }
            Self::Object(members) => {
                json.push(b'{');
                for (index, (name, value)) in members.iter().enumerate() {
                    separate(index, json);
                    write_string(name, json);
                    json.push(b':');
                    value.write(values, limit, json)?;
                }
                json.push(b'}');
            }
        }
        if json.len() > limit { Err(TooLong) } else { Ok(()) }
    }
}

/// A document became longer than allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong;

fn separate(index: usize, json: &mut Vec<u8>) {
    if index > 0 {
        json.push(b',');
    }
}
