//! A header's value with placeholders for attributes.

use std::borrow::Cow;

use gatewright_sdk::{Exchange, rules, template::Text};

/// Text and attributes in turn.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Value(Text<String>);

impl Value {
    /// # Errors
    /// Why not, as a clause that follows "the value of ...".
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        rules::check_value(text)?;
        let text = Text::named(text, "an attribute")?;
        for name in text.places() {
            rules::check_attribute(name).map_err(|why| format!("has $({name}), which {why}"))?;
        }
        Ok(Self(text))
    }

    /// The text, if it is the same for every exchange.
    pub(crate) fn fixed(&self) -> Option<&str> {
        self.0.plain()
    }

    /// The text for this exchange; `None` if an attribute is not known.
    pub(crate) fn resolve(&self, exchange: &Exchange) -> Option<Cow<'_, str>> {
        if let Some(text) = self.fixed() {
            return Some(Cow::Borrowed(text));
        }
        let filled = self.0.fill(|name, text| {
            text.push_str(&exchange.attribute(name).ok_or(())?);
            Ok::<(), ()>(())
        });
        filled.ok().map(Cow::Owned)
    }
}
