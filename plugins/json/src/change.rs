//! Changes to a document, step by step.

use std::collections::BTreeMap;

use gatewright_sdk::{
    Exchange, config,
    json::{Path, Value},
    serde::{Deserialize, Deserializer},
    serde_json,
};

/// One change. Paths are JSON Pointers (RFC 6901); a segment `*` matches every item or member, `**` any number of
/// segments.
#[config]
#[derive(Debug)]
pub enum Change {
    /// Sets the value at a path. Missing parent objects are created; `-` appends to an array.
    Set(Set),
    /// Removes the value at a path.
    Remove(String),
    /// Renames a member.
    Rename(Rename),
    /// Moves a value from one path to another.
    Move(FromTo),
    /// Copies a value from one path to another.
    Copy(FromTo),
    /// Replaces the listed values by others.
    Map(Map),
    /// Makes the whole document a member, with this name, of a new object.
    Wrap(String),
    /// Replaces the document by its value at a path. If there is none, the document stays.
    Unwrap(String),
}

/// A value for a path: one of `value` and `attribute`.
#[config]
#[derive(Debug)]
#[schemars(extend("oneOf" = [{ "required": ["value"] }, { "required": ["attribute"] }]))]
pub struct Set {
    path: String,
    /// Any JSON value.
    #[serde(default, deserialize_with = "given")]
    value: Option<serde_json::Value>,
    /// An attribute of the exchange, as text, such as `identity.subject`. If it is unknown, an existing value at the
    /// path is removed, so that no client can supply its own.
    attribute: Option<String>,
    /// Whether an existing value stays.
    #[serde(default)]
    if_missing: bool,
}

/// A new name for a member.
#[config]
#[derive(Debug)]
pub struct Rename {
    path: String,
    /// The new name. An existing member with that name is replaced.
    to: String,
}

/// Two paths, both without `*`.
#[config]
#[derive(Debug)]
pub struct FromTo {
    from: String,
    to: String,
}

/// Replacements, by the text of the values that they replace.
#[config]
#[derive(Debug)]
pub struct Map {
    path: String,
    /// Text, a number, `true`, `false` or `null` as written, and its replacement.
    values: BTreeMap<String, serde_json::Value>,
    /// The replacement of any other text, number, `true`, `false` or `null`. Default: they stay.
    #[serde(default, deserialize_with = "given")]
    default: Option<serde_json::Value>,
}

/// An explicit `null` is a value, not a missing one.
fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<serde_json::Value>, D::Error> {
    serde_json::Value::deserialize(deserializer).map(Some)
}

/// Changes in order.
#[derive(Debug)]
pub(crate) struct Changes(Vec<Step>);

#[derive(Debug)]
enum Step {
    Set { path: Path, value: Source, if_missing: bool },
    Remove(Path),
    Rename(Path, String),
    Move(Path, Path),
    Copy(Path, Path),
    Map { path: Path, values: BTreeMap<String, Value>, default: Option<Value> },
    Wrap(String),
    Unwrap(Path),
}

#[derive(Debug)]
enum Source {
    Value(Value),
    Attribute(String),
}

impl Changes {
    /// # Errors
    /// Which change is wrong and why, beginning with its number.
    pub(crate) fn new(changes: Vec<Change>) -> Result<Self, String> {
        let numbered = changes.into_iter().enumerate();
        let steps = numbered.map(|(index, change)| Step::new(change).map_err(|why| format!("{index}.{why}")));
        steps.collect::<Result<_, _>>().map(Self)
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn make(&self, document: &mut Value, exchange: &Exchange) {
        for step in &self.0 {
            step.make(document, exchange);
        }
    }
}

impl Step {
    fn new(change: Change) -> Result<Self, String> {
        Ok(match change {
            Change::Set(Set { path: text, value, attribute, if_missing }) => {
                let value = match (value, attribute) {
                    (Some(value), None) => Source::Value((&value).into()),
                    (None, Some(attribute)) => Source::Attribute(attribute),
                    _ => return Err("set: one of \"value\" and \"attribute\" is needed".to_owned()),
                };
                let path = path("set", &text)?;
                if if_missing && !path.is_single() {
                    return Err(format!("set: \"if_missing\" goes with one place, and {text:?} may be several"));
                }
                Self::Set { path, value, if_missing }
            }
            Change::Remove(text) => Self::Remove(path("remove", &text)?),
            Change::Rename(Rename { path: text, to }) => {
                let path = path("rename", &text)?;
                if path.last_name().is_none() {
                    return Err(format!("rename: {text:?} does not end with the name of a member"));
                }
                Self::Rename(path, to)
            }
            Change::Move(FromTo { from, to }) => Self::Move(single("move", &from)?, single("move", &to)?),
            Change::Copy(FromTo { from, to }) => Self::Copy(single("copy", &from)?, single("copy", &to)?),
            Change::Map(Map { path: text, values, default }) => Self::Map {
                path: path("map", &text)?,
                values: values.into_iter().map(|(from, to)| (from, (&to).into())).collect(),
                default: default.as_ref().map(Into::into),
            },
            Change::Wrap(name) => Self::Wrap(name),
            Change::Unwrap(text) => Self::Unwrap(single("unwrap", &text)?),
        })
    }

    fn make(&self, document: &mut Value, exchange: &Exchange) {
        match self {
            Self::Set { path, if_missing: true, .. } if path.find(document).is_some() => {}
            Self::Set { path, value: Source::Value(value), .. } => path.set(document, value),
            Self::Set { path, value: Source::Attribute(name), .. } => match exchange.attribute(name) {
                Some(text) => path.set(document, &Value::String(text)),
                None => path.remove(document),
            },
            Self::Remove(path) => path.remove(document),
            Self::Rename(path, to) => path.rename(document, to),
            Self::Move(from, to) => {
                if let Some(value) = from.find(document).cloned() {
                    from.remove(document);
                    to.set(document, &value);
                }
            }
            Self::Copy(from, to) => {
                if let Some(value) = from.find(document).cloned() {
                    to.set(document, &value);
                }
            }
            Self::Map { path, values, default } => path.each(document, &mut |value| {
                let key = match &*value {
                    Value::Array(_) | Value::Object(_) => return,
                    Value::String(text) => text.clone(),
                    other => other.to_string(),
                };
                if let Some(new) = values.get(&key).or(default.as_ref()) {
                    new.clone_into(value);
                }
            }),
            Self::Wrap(name) => {
                let inner = std::mem::replace(document, Value::Null);
                *document = Value::Object(vec![(name.clone(), inner)]);
            }
            Self::Unwrap(path) => {
                if let Some(value) = path.find(document).cloned() {
                    *document = value;
                }
            }
        }
    }
}

fn path(change: &str, text: &str) -> Result<Path, String> {
    Path::parse(text).map_err(|why| format!("{change}: the path {text:?} {why}"))
}

fn single(change: &str, text: &str) -> Result<Path, String> {
    let path = path(change, text)?;
    if path.is_single() { Ok(path) } else { Err(format!("{change}: {text:?} may be several places")) }
}
