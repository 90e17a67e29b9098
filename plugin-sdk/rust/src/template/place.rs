//! Places that values come from.

use std::{borrow::Cow, fmt};

use super::Values;
use crate::{
    json::{self, Path},
    rules,
};

/// A place that a value comes from, as written in a `$(...)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    root: Root,
    pointer: Path,
    default: Option<json::Value>,
    /// The text without the default, for messages.
    written: String,
}

/// The first part of a place.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Root {
    /// `path.NAME`: a segment of the path, by its name in the pattern.
    Path(String),
    /// `query.NAME`: the first value of a parameter.
    Query(String),
    /// `header.NAME`: the first value of a request header.
    Header(String),
    /// `identity.claims`: the claims of the caller, as JSON.
    Claims,
    /// `body`: the request's body, as JSON.
    Body,
    /// `parts.NAME`: the response to a part.
    Part(String),
    /// `failed`: the names of the parts without a response.
    Failed,
    /// An attribute of the exchange, `identity.subject` among them.
    Attribute(String),
}

/// Which roots places may have, besides attributes, `identity`, `query` and `header`, which are always allowed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Scope<'a> {
    /// The named segments of the path.
    pub path: &'a [String],
    /// Whether there is a `body`.
    pub body: bool,
    /// The available parts; if there are any, `failed` is available too.
    pub parts: &'a [String],
}

impl Place {
    /// Parses the text between the parentheses.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn parse(text: &str, scope: &Scope<'_>) -> Result<Self, String> {
        let (written, default) = match text.split_once(":-") {
            Some((written, default)) => (written, Some(default)),
            None => (text, None),
        };
        let (root, pointer) = written.split_at(written.find('/').unwrap_or(written.len()));
        let wrong = |why: &str| format!("$({written}): {why}");
        let root = Root::parse(root, scope).map_err(|why| wrong(&why))?;
        let pointer = Path::parse(pointer).map_err(|why| wrong(&format!("{pointer:?} {why}")))?;
        if !pointer.is_single() {
            return Err(wrong("it is more than one place"));
        }
        if !pointer.is_root() && !root.has_parts() {
            return Err(wrong("it is a text, so nothing is behind a \"/\""));
        }
        // A default that parses as JSON is JSON: `$(query.page:-1)` is a number, and `$(query.sort:-name)` a text.
        let read =
            |text: &str| json::Value::parse(text.as_bytes()).unwrap_or_else(|_| json::Value::String(text.into()));
        Ok(Self { root, pointer, default: default.map(read), written: written.to_owned() })
    }

    /// The first part of the place.
    #[must_use]
    pub const fn root(&self) -> &Root {
        &self.root
    }

    /// The value at the place, otherwise the default. `null` is a value.
    #[must_use]
    pub fn find<'a>(&'a self, values: &'a impl Values) -> Option<Cow<'a, json::Value>> {
        let found = values.root(&self.root).and_then(|value| match value {
            value if self.pointer.is_root() => Some(value),
            Cow::Borrowed(value) => self.pointer.find(value).map(Cow::Borrowed),
            Cow::Owned(value) => self.pointer.find(&value).cloned().map(Cow::Owned),
        });
        found.or_else(|| self.default.as_ref().map(Cow::Borrowed))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

impl Root {
    fn parse(text: &str, scope: &Scope<'_>) -> Result<Self, String> {
        let (kind, name) = text.split_once('.').unwrap_or((text, ""));
        let known = |names: &[String], what: &str, root: fn(String) -> Self| {
            if names.iter().any(|have| have == name) {
                return Ok(root(name.to_owned()));
            }
            Err(match names {
                [] => format!("there is no {what} here"),
                names => format!("there is no {what} {name:?}; there is {}", names.join(", ")),
            })
        };
        match (kind, name) {
            ("path", _) => known(scope.path, "path segment", Self::Path),
            ("parts", _) => known(scope.parts, "part", Self::Part),
            ("failed", "") if !scope.parts.is_empty() => Ok(Self::Failed),
            ("body", "") if scope.body => Ok(Self::Body),
            ("query", name) if !name.is_empty() => Ok(Self::Query(name.to_owned())),
            ("header", name) => match rules::check_name(name) {
                Ok(()) => Ok(Self::Header(name.to_ascii_lowercase())),
                Err(_) if name.eq_ignore_ascii_case("host") => Ok(Self::Header("host".to_owned())),
                Err(why) => Err(format!("{name:?} {why}")),
            },
            ("identity", "claims") => Ok(Self::Claims),
            ("identity", "subject") => Ok(Self::Attribute(text.to_owned())),
            (kind, name) if ATTRIBUTES.contains(&kind) && is_name(name) => Ok(Self::Attribute(text.to_owned())),
            _ => Err("it is none of path.NAME, query.NAME, header.NAME, identity.subject, identity.claims, body, parts.NAME, \
                      or an attribute such as source.address"
                .to_owned()),
        }
    }

    /// Whether a pointer can lead into its value.
    const fn has_parts(&self) -> bool {
        matches!(self, Self::Claims | Self::Body | Self::Part(_) | Self::Failed)
    }
}

pub(super) fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

/// The first words of attributes; see [`crate::Exchange::attribute`].
const ATTRIBUTES: [&str; 6] = ["source", "request", "route", "listener", "connection", "plugin"];
