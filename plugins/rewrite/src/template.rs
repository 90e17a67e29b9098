//! A text with places for what was captured and for attributes.

use gatewright_sdk::Exchange;

use crate::{condition::Captures, query::encoded};

/// Text and places in turn.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Template {
    head: String,
    /// A name, and the text behind it.
    parts: Vec<(String, String)>,
}

impl Template {
    /// # Errors
    /// Why not, as a clause that follows the text.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut template = Self { head: String::new(), parts: Vec::new() };
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("$(") {
            if let Some(before) = before.strip_suffix('$') {
                template.push(before);
                template.push("$(");
                rest = after;
                continue;
            }
            template.push(before);
            let Some((name, behind)) = after.split_once(')') else {
                return Err("has a \"$(\" without a \")\"; a plain one is written \"$$(\"".to_owned());
            };
            let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
            if name.is_empty() || !name.bytes().all(is_name) {
                return Err(format!("has $({name}), which is not the name of a group or an attribute"));
            }
            template.parts.push((name.to_owned(), String::new()));
            rest = behind;
        }
        template.push(rest);
        Ok(template)
    }

    pub(crate) fn begins_with(&self, first: char) -> bool {
        self.head.starts_with(first) || (self.head.is_empty() && !self.parts.is_empty())
    }

    /// The text; what is not known is empty.
    pub(crate) fn as_text(&self, exchange: &Exchange, captures: &Captures) -> String {
        self.fill(|name| captures.text(name).or_else(|| exchange.attribute(name)).unwrap_or_default())
    }

    /// The text as a path. What was captured of one goes in as it was; anything else cannot bring a `/` or a `?` with it.
    pub(crate) fn as_path(&self, exchange: &Exchange, captures: &Captures) -> String {
        self.fill(|name| match captures.of_path(name) {
            Some(part) => part.to_owned(),
            None => encoded(&captures.text(name).or_else(|| exchange.attribute(name)).unwrap_or_default()),
        })
    }

    fn fill(&self, value: impl Fn(&str) -> String) -> String {
        let mut text = self.head.clone();
        for (name, behind) in &self.parts {
            text.push_str(&value(name));
            text.push_str(behind);
        }
        text
    }

    fn push(&mut self, text: &str) {
        self.parts.last_mut().map_or(&mut self.head, |(_, behind)| behind).push_str(text);
    }
}
