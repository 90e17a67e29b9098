//! A header's value with places for attributes.

use std::borrow::Cow;

use gatewright_sdk::{Exchange, rules};

/// Text and attributes in turn. `a$(b)c` is a head `a` and one part, `b` with the text `c` behind it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Value {
    head: String,
    parts: Vec<Part>,
}

#[derive(Debug, PartialEq, Eq)]
struct Part {
    attribute: String,
    text: String,
}

impl Value {
    /// # Errors
    /// Why not, as a clause that follows "the value of ...".
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        rules::check_value(text)?;
        let mut value = Self { head: String::new(), parts: Vec::new() };
        let mut rest = text;
        while let Some(at) = rest.find("$(") {
            let (before, place) = rest.split_at(at);
            if let Some(before) = before.strip_suffix('$') {
                value.push(before);
                value.push("$(");
                rest = place.get(2..).unwrap_or_default();
                continue;
            }
            value.push(before);
            let Some((attribute, after)) = place.get(2..).and_then(|place| place.split_once(')')) else {
                return Err("has a \"$(\" without a \")\"; a plain one is written \"$$(\"".to_owned());
            };
            let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
            if attribute.is_empty() || !attribute.bytes().all(is_name) {
                return Err(format!("has $({attribute}), which is not the name of an attribute"));
            }
            value.parts.push(Part { attribute: attribute.to_owned(), text: String::new() });
            rest = after;
        }
        value.push(rest);
        Ok(value)
    }

    /// The text, where it is the same for every exchange.
    pub(crate) fn fixed(&self) -> Option<&str> {
        self.parts.is_empty().then_some(&self.head)
    }

    /// The text for this exchange; `None` where an attribute is not known.
    pub(crate) fn resolve(&self, exchange: &Exchange) -> Option<Cow<'_, str>> {
        if self.parts.is_empty() {
            return Some(Cow::Borrowed(&self.head));
        }
        let mut text = self.head.clone();
        for part in &self.parts {
            text.push_str(&exchange.attribute(&part.attribute)?);
            text.push_str(&part.text);
        }
        Some(Cow::Owned(text))
    }

    fn push(&mut self, text: &str) {
        self.parts.last_mut().map_or(&mut self.head, |part| &mut part.text).push_str(text);
    }
}
