//! Text with values in it.

use std::borrow::Cow;

use super::{Fault, Place, Scope, Values, place::is_name, scalar};

/// Text and places in turn. `a$(b)c` is a head `a` and one place, `b`, followed by the text `c`.
///
/// A plugin whose values come from elsewhere has places of its own: [`Text::named`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text<P = Place> {
    head: String,
    rest: Vec<(P, String)>,
}

impl Text {
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str, scope: &Scope<'_>) -> Result<Self, String> {
        Self::read(text, |place| Place::parse(place, scope))
    }

    /// The text with its values, each as `encode` returns it; `None` from `encode` refuses a value.
    ///
    /// # Errors
    /// The first place whose value is missing, refused, or not a text, a number or a boolean.
    pub fn render<'a>(
        &'a self,
        values: &impl Values,
        encode: impl Fn(&str) -> Option<Cow<'_, str>>,
    ) -> Result<String, Fault<'a>> {
        self.fill(|place, text| {
            let value = place.find(values);
            let value = value.as_deref().and_then(scalar).ok_or(Fault::Missing(place))?;
            text.push_str(&encode(value).ok_or(Fault::Unfit(place))?);
            Ok(())
        })
    }
}

impl Text<String> {
    /// A text whose places are names of letters, digits, `.`, `-` and `_`. `what` is what they name, such as "an
    /// attribute".
    ///
    /// # Errors
    /// What is wrong with it, as a clause that follows the text.
    pub fn named(text: &str, what: &str) -> Result<Self, String> {
        Self::read(text, |name| {
            if is_name(name) {
                Ok(name.to_owned())
            } else {
                Err(format!("has $({name}), which is not the name of {what}"))
            }
        })
    }
}

impl<P> Text<P> {
    fn read(text: &str, place: impl Fn(&str) -> Result<P, String>) -> Result<Self, String> {
        let mut template = Self { head: String::new(), rest: Vec::new() };
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("$(") {
            if let Some(before) = before.strip_suffix('$') {
                template.push(before);
                template.push("$(");
                rest = after;
                continue;
            }
            template.push(before);
            let Some((within, after)) = after.split_once(')') else {
                return Err("has a \"$(\" without a \")\"; a plain one is written \"$$(\"".to_owned());
            };
            template.rest.push((place(within)?, String::new()));
            rest = after;
        }
        template.push(rest);
        Ok(template)
    }

    fn push(&mut self, text: &str) {
        match self.rest.last_mut() {
            Some((_, last)) => last.push_str(text),
            None => self.head.push_str(text),
        }
    }

    /// The place, if the text is exactly one place.
    #[must_use]
    pub fn only(&self) -> Option<&P> {
        match self.rest.as_slice() {
            [(place, behind)] if self.head.is_empty() && behind.is_empty() => Some(place),
            _ => None,
        }
    }

    /// The text, if it has no places.
    #[must_use]
    pub fn plain(&self) -> Option<&str> {
        self.rest.is_empty().then_some(self.head.as_str())
    }

    /// The text before the first place.
    #[must_use]
    pub fn head(&self) -> &str {
        &self.head
    }

    /// The places in it, in order.
    pub fn places(&self) -> impl Iterator<Item = &P> {
        self.rest.iter().map(|(place, _)| place)
    }

    /// The texts around the places.
    pub(super) fn texts(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.head.as_str()).chain(self.rest.iter().map(|(_, text)| text.as_str()))
    }

    /// Each place with the text before it.
    pub(super) fn before(&self) -> impl Iterator<Item = (&str, &P)> {
        self.texts().zip(self.places())
    }

    /// The text with what `put` writes for each place.
    ///
    /// # Errors
    /// The first one from `put`.
    pub fn fill<'a, E>(&'a self, mut put: impl FnMut(&'a P, &mut String) -> Result<(), E>) -> Result<String, E> {
        let mut text = self.head.clone();
        for (place, behind) in &self.rest {
            put(place, &mut text)?;
            text.push_str(behind);
        }
        Ok(text)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::{
        json::Value,
        template::{Document, RequestValues, Root},
    };

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn values() -> RequestValues {
        let mut values = RequestValues::default();
        let json = |text: &str| Value::parse(text.as_bytes()).unwrap();
        values.set(Root::Body, json(r#"{"a/b":[1.50,true,null,"x"],"n":12345678901234567890123}"#));
        values.set(Root::Part("user".to_owned()), json(r#"{"id":7,"name":"A \"da\"\r\n"}"#));
        values.set(Root::Path("id".to_owned()), Value::String("7".to_owned()));
        values
    }

    fn render(text: &str) -> Result<String, String> {
        let (path, parts) = (names(&["id"]), names(&["user", "orders"]));
        let text = Text::parse(text, &Scope { path: &path, body: true, parts: &parts })?;
        text.render(&values(), |value| (!value.contains('\r')).then_some(Cow::Borrowed(value)))
            .map_err(|fault| format!("{fault:?}"))
    }

    #[test]
    fn places() {
        for (text, expected) in [
            ("plain", "plain"),
            ("$(path.id)", "7"),
            ("<$(path.id)$(body/n)>", "<712345678901234567890123>"),
            ("$(body/a~1b/0) $(body/a~1b/1)", "1.50 true"),
            ("$(parts.user/id:-9)$(parts.user/none:-9)", "79"),
            ("$(query.none:-)", ""),
            ("$(header.X-None:-a:-b)", "a:-b"),
            ("$(source.address:-none)", "none"),
            ("$$(path.id) $$ $ ${x}", "$(path.id) $$ $ ${x}"),
        ] {
            assert_eq!(render(text).as_deref(), Ok(expected), "{text}");
        }
        for (text, why) in [
            ("$(query.none)", "Missing"),
            ("$(body/a~1b)", "Missing"),
            ("$(body/a~1b/2)", "Missing"),
            ("$(body/a~1b/4)", "Missing"),
            ("$(parts.user/name)", "Unfit"),
            ("$(path.id", "without a \")\""),
            ("$()", "none of"),
            ("$(unknown)", "none of"),
            ("$(env.HOME)", "none of"),
            ("$(query.)", "none of"),
            ("$(path.no)", "there is no path segment \"no\"; there is id"),
            ("$(parts.usr/id)", "there is no part \"usr\"; there is user, orders"),
            ("$(path.id/x)", "it is a text"),
            ("$(body/*/x)", "more than one"),
            ("$(body/~2)", "neither"),
            ("$(header.a b)", "not a header name"),
            ("$(header.te)", "keeps for itself"),
        ] {
            let refused = render(text).unwrap_err();
            assert!(refused.contains(why), "{text}: {refused}");
        }
        let outside = |text| Text::parse(text, &Scope::default()).unwrap_err();
        assert!(outside("$(body)").contains("none of"));
        assert!(outside("$(failed)").contains("none of"));
        assert!(outside("$(parts.a)").contains("there is no part here"));
    }

    #[test]
    fn documents() {
        let write = |document: &str, limit| {
            let (path, parts) = (names(&["id"]), names(&["user", "orders"]));
            let document = Document::parse(
                &Value::parse(document.as_bytes()).unwrap(),
                &Scope { path: &path, body: true, parts: &parts },
            )?;
            let mut json = Vec::new();
            document.write(&values(), limit, &mut json).map_err(|_| "too long".to_owned())?;
            Ok::<_, String>(String::from_utf8(json).unwrap())
        };
        for (document, expected) in [
            (r#"{"z":"$(body/a~1b)","a":"$(body/n)"}"#, r#"{"z":[1.50,true,null,"x"],"a":12345678901234567890123}"#),
            (r#"["$(path.id)","n $(path.id)","$(query.none)","n $(query.none)"]"#, r#"["7","n 7",null,null]"#),
            (r#"["$(query.a:-[1])","$(query.a:-x)",1,false,"$$(x)"]"#, r#"[[1],"x",1,false,"$(x)"]"#),
            (r#""$(parts.user/name)""#, r#""A \"da\"\r\n""#),
        ] {
            assert_eq!(write(document, 1000).as_deref(), Ok(expected), "{document}");
            assert_eq!(write(document, expected.len() - 1), Err("too long".to_owned()));
        }
        let refused = write(r#"{"a/b":[{"c":"$(parts.usr)"}]}"#, 9).unwrap_err();
        assert!(refused.starts_with("/a~1b/0/c: $(parts.usr): there is no part"), "{refused}");
    }

    #[test]
    fn a_document_as_a_value_leaves_out_what_is_not_there() {
        for (document, expected) in [
            (r#"{"a":["$(query.none)","$(path.id)"]}"#, Some(r#"{"a":[null,"7"]}"#)),
            (r#""$(query.none)""#, None),
            (r#""$(body/a~1b/2)""#, Some("null")),
            (r#""n $(query.none)""#, None),
        ] {
            let path = names(&["id"]);
            let document = Value::parse(document.as_bytes()).unwrap();
            let template = Document::parse(&document, &Scope { path: &path, body: true, parts: &[] }).unwrap();
            assert_eq!(template.value(&values()).map(|value| value.to_string()).as_deref(), expected, "{document}");
        }
    }
}
