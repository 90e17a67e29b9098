//! The query of a request, as arguments.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

use gatewright_sdk::Exchange;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::{QueryChanges, condition::Captures, template::Template};

/// Arguments in order. Unchanged ones keep their original form.
#[derive(Debug, Default)]
pub(crate) struct Query {
    arguments: Vec<Argument>,
}

#[derive(Debug)]
struct Argument {
    /// The decoded name.
    name: String,
    raw: String,
}

/// Changes in order.
#[derive(Debug)]
pub(crate) struct Changes {
    keep: Option<Vec<String>>,
    remove: Vec<String>,
    rename: Vec<(String, String)>,
    set: Vec<(String, Template)>,
    append: Vec<(String, Template)>,
}

impl Query {
    pub(crate) fn parse(query: Option<&str>) -> Self {
        let parts = query.unwrap_or_default().split('&').filter(|part| !part.is_empty());
        let argument = |raw: &str| Argument { name: decoded(split(raw).0), raw: raw.to_owned() };
        Self { arguments: parts.map(argument).collect() }
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.arguments.iter().any(|argument| argument.name == name)
    }

    /// The values of an argument, decoded.
    pub(crate) fn values(&self, name: &str) -> impl Iterator<Item = String> {
        let of = self.arguments.iter().filter(move |argument| argument.name == name);
        of.map(|argument| decoded(split(&argument.raw).1))
    }

    /// The path followed by the query.
    pub(crate) fn behind(&self, path: String) -> String {
        let mut target = path;
        for (index, argument) in self.arguments.iter().enumerate() {
            target.push(if index == 0 { '?' } else { '&' });
            target.push_str(&argument.raw);
        }
        target
    }

    fn set(&mut self, name: &str, value: &str) {
        let mut new = Some(Argument { name: name.to_owned(), raw: pair(name, value) });
        let arguments = std::mem::take(&mut self.arguments).into_iter();
        // It replaces the first; the others are removed.
        self.arguments =
            arguments.filter_map(|argument| if argument.name == name { new.take() } else { Some(argument) }).collect();
        self.arguments.extend(new);
    }
}

impl Changes {
    pub(crate) fn new(changes: QueryChanges, groups: &BTreeSet<String>) -> Result<Self, String> {
        let templates = |list: &str, values: BTreeMap<String, String>| {
            let parsed = values.into_iter().map(|(name, text)| match Template::parse(&text, groups) {
                Ok(value) => Ok((name, value)),
                Err(why) => Err(format!("{list}: the value of {name:?} {why}")),
            });
            parsed.collect::<Result<Vec<_>, _>>()
        };
        Ok(Self {
            keep: changes.keep,
            remove: changes.remove,
            rename: changes.rename.into_iter().collect(),
            set: templates("set", changes.set)?,
            append: templates("append", changes.append)?,
        })
    }

    pub(crate) fn is_empty(&self) -> bool {
        let Self { keep, remove, rename, set, append } = self;
        keep.is_none() && remove.is_empty() && rename.is_empty() && set.is_empty() && append.is_empty()
    }

    pub(crate) fn make(&self, query: &mut Query, exchange: &Exchange, captures: &Captures) {
        if let Some(keep) = &self.keep {
            query.arguments.retain(|argument| keep.contains(&argument.name));
        }
        query.arguments.retain(|argument| !self.remove.contains(&argument.name));
        for argument in &mut query.arguments {
            if let Some((_, to)) = self.rename.iter().find(|(from, _)| *from == argument.name) {
                let value = argument.raw.split_once('=').map(|(_, value)| format!("={value}")).unwrap_or_default();
                *argument = Argument { name: to.clone(), raw: format!("{}{value}", encoded(to)) };
            }
        }
        for (name, value) in &self.set {
            query.set(name, &value.as_text(exchange, captures));
        }
        for (name, value) in &self.append {
            let raw = pair(name, &value.as_text(exchange, captures));
            query.arguments.push(Argument { name: name.clone(), raw });
        }
    }
}

fn split(raw: &str) -> (&str, &str) {
    raw.split_once('=').unwrap_or((raw, ""))
}

fn pair(name: &str, value: &str) -> String {
    format!("{}={}", encoded(name), encoded(value))
}

/// Decoded as a form: `+` is a space, and invalid UTF-8 becomes U+FFFD.
pub(crate) fn decoded(text: &str) -> String {
    let text: Cow<'_, str> = if text.contains('+') { text.replace('+', " ").into() } else { text.into() };
    percent_decode_str(&text).decode_utf8_lossy().into_owned()
}

/// Encodes everything except RFC 3986's unreserved characters.
pub(crate) fn encoded(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
