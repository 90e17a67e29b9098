//! A text with placeholders for captures and attributes.

use std::{collections::BTreeSet, convert::Infallible};

use gatewright_sdk::{Exchange, rules, template::Text};

use crate::{condition::Captures, query::encoded};

/// Text and places in turn.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Template(Text<String>);

impl Template {
    /// `groups` are the names that the rule's conditions capture.
    ///
    /// # Errors
    /// Why not, as a clause that follows the text.
    pub(crate) fn parse(text: &str, groups: &BTreeSet<String>) -> Result<Self, String> {
        let text = Text::named(text, "a group or an attribute")?;
        for name in text.places().filter(|name| !groups.contains(*name)) {
            rules::check_attribute(name)
                .map_err(|why| format!("has $({name}), which no condition captures, and {why}"))?;
        }
        Ok(Self(text))
    }

    /// A path to send. A `$1` or `$id` in it, as other software writes placeholders, would silently be sent as it is.
    ///
    /// # Errors
    /// As [`Template::parse`].
    pub(crate) fn path(text: &str, groups: &BTreeSet<String>) -> Result<Self, String> {
        if text.split('$').skip(1).any(|rest| rest.starts_with(|c: char| c.is_ascii_alphanumeric())) {
            let why =
                "has a \"$\" before a letter or a digit; a named group is written \"$(name)\", a plain \"$\" \"%24\"";
            return Err(why.to_owned());
        }
        Self::parse(text, groups)
    }

    pub(crate) fn begins_with(&self, first: char) -> bool {
        self.0.head().starts_with(first) || (self.0.head().is_empty() && self.0.plain().is_none())
    }

    /// The text; unknown values are empty.
    pub(crate) fn as_text(&self, exchange: &Exchange, captures: &Captures) -> String {
        self.fill(|name| captures.text(name).or_else(|| exchange.attribute(name)).unwrap_or_default())
    }

    /// The text as a path. Captures from a path are inserted unchanged; no other value can add a `/` or a `?`.
    pub(crate) fn as_path(&self, exchange: &Exchange, captures: &Captures) -> String {
        self.fill(|name| match captures.of_path(name) {
            Some(part) => part.to_owned(),
            None => encoded(&captures.text(name).or_else(|| exchange.attribute(name)).unwrap_or_default()),
        })
    }

    fn fill(&self, value: impl Fn(&str) -> String) -> String {
        let Ok(text) = self.0.fill(|name, text| {
            text.push_str(&value(name));
            Ok::<(), Infallible>(())
        });
        text
    }
}
