//! Paths: patterns that name segments, and targets with places for values.

use std::borrow::Cow;

use super::{Fault, Place, Scope, Text, Values};
use crate::form;

/// A pattern such as `/users/{id}/orders`: each `{NAME}` is one non-empty segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathPattern {
    segments: Vec<Segment>,
    names: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    Exact(String),
    Named,
}

impl PathPattern {
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = |why: &str| format!("{text:?} {why}");
        let Some(rest) = text.strip_prefix('/') else { return Err(wrong("does not begin with \"/\"")) };
        let (mut segments, mut names) = (Vec::new(), Vec::new());
        for segment in rest.split('/') {
            let name = segment.strip_prefix('{').and_then(|name| name.strip_suffix('}'));
            match name {
                Some(name)
                    if !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') =>
                {
                    if names.iter().any(|have| have == name) {
                        return Err(wrong(&format!("has {{{name}}} twice")));
                    }
                    names.push(name.to_owned());
                    segments.push(Segment::Named);
                }
                None if segment.bytes().all(|byte| byte.is_ascii_graphic() && !b"{}*?#".contains(&byte)) => {
                    segments.push(Segment::Exact(segment.to_owned()));
                }
                _ => return Err(wrong(&format!("has {segment:?}, which is neither a name in braces nor a segment"))),
            }
        }
        Ok(Self { segments, names })
    }

    /// The names in it, in order.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The values of the named segments, decoded, in order; `None` if the path does not match, or a value is not text.
    /// `path` may have a query.
    #[must_use]
    pub fn matches(&self, path: &str) -> Option<Vec<String>> {
        let path = path.split('?').next()?.strip_prefix('/')?;
        let mut given = path.split('/');
        let mut values = Vec::with_capacity(self.names.len());
        for segment in &self.segments {
            let given = given.next()?;
            match segment {
                Segment::Exact(exact) if exact == given => {}
                Segment::Exact(_) => return None,
                Segment::Named if given.is_empty() => return None,
                // A plus stands for itself outside of queries.
                Segment::Named => values.push(String::from_utf8(form::decode(&given.replace('+', "%2B")).into()).ok()?),
            }
        }
        given.next().is_none().then_some(values)
    }
}

/// A path with its query, with places. Values are percent-encoded, so that each stays within its segment or parameter:
/// none can add a `/`, a `?` or a `&`, and none in the path may be empty or make a segment `.` or `..`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    text: Text,
    /// How many of the places are in the path.
    in_path: usize,
}

impl Target {
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str, scope: &Scope<'_>) -> Result<Self, String> {
        if !text.starts_with('/') {
            return Err(format!("{text:?} does not begin with \"/\""));
        }
        let template = Text::parse(text, scope)?;
        let (mut in_path, mut is_path) = (0, true);
        for (before, _) in template.before() {
            is_path &= !before.contains('?');
            in_path += usize::from(is_path);
        }
        if !template.texts().flat_map(str::bytes).all(|byte| byte.is_ascii_graphic() && byte != b'#') {
            return Err(format!("{text:?} has a character that must be percent-encoded"));
        }
        if has_dots(template.plain().unwrap_or_default()) {
            return Err(format!("{text:?} has a segment \".\" or \"..\""));
        }
        Ok(Self { text: template, in_path })
    }

    /// The places in it.
    pub fn places(&self) -> impl Iterator<Item = &Place> {
        self.text.places()
    }

    /// # Errors
    /// The place that has no value, or whose value is not allowed here.
    pub fn render<'a>(&'a self, values: &impl Values) -> Result<String, Fault<'a>> {
        let in_path: Vec<&Place> = self.text.places().take(self.in_path).collect();
        let target = self.text.render(values, |value| Some(Cow::Owned(form::encode(value))))?;
        for place in &in_path {
            if place.find(values).as_deref().and_then(super::scalar).is_none_or(str::is_empty) {
                return Err(Fault::Unfit(place));
            }
        }
        match in_path.last() {
            Some(place) if has_dots(&target) => Err(Fault::Unfit(place)),
            _ => Ok(target),
        }
    }
}

fn has_dots(target: &str) -> bool {
    let path = target.split('?').next().unwrap_or_default();
    path.split('/').any(|segment| matches!(segment, "." | ".."))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        json::Value,
        template::{RequestValues, Root},
    };

    #[test]
    fn patterns() {
        let pattern = PathPattern::parse("/users/{id}/orders/{order_1}").unwrap();
        assert_eq!(pattern.names(), ["id", "order_1"]);
        for (path, expected) in [
            ("/users/7/orders/a%2Fb+c?x=/", Some(vec!["7", "a/b+c"])),
            ("/users/%C3%A9/orders/%00", Some(vec!["\u{e9}", "\0"])),
            ("/users//orders/1", None),
            ("/users/7/orders/1/", None),
            ("/users/7/orders", None),
            ("/Users/7/orders/1", None),
            ("/users/%ff/orders/1", None),
        ] {
            let expected = expected.map(|values| values.into_iter().map(str::to_owned).collect::<Vec<_>>());
            assert_eq!(pattern.matches(path), expected, "{path}");
        }
        assert_eq!(PathPattern::parse("/").unwrap().matches("/?a"), Some(vec![]));
        for bad in ["", "a", "/{}", "/{a b}", "/{a}/{a}", "/a{b}", "/*", "/a?b", "/{a", "/{a}}"] {
            assert!(PathPattern::parse(bad).is_err(), "{bad}");
        }
    }

    fn values(value: &str) -> RequestValues {
        let mut values = RequestValues::default();
        values.set(Root::Query("v".to_owned()), Value::String(value.to_owned()));
        values
    }

    #[test]
    fn values_stay_where_they_are_put() {
        for (target, value, expected) in [
            ("/a/$(query.v)/b", "x y/../?&#%", Some("/a/x%20y%2F..%2F%3F%26%23%25/b")),
            ("/a/$(query.v)", "\r\nHost: evil", Some("/a/%0D%0AHost%3A%20evil")),
            ("/a/$(query.v)", "", None),
            ("/a/$(query.v)", "..", None),
            ("/a/.$(query.v)?x", ".", None),
            ("/a?b=$(query.v)&c=$(query.v)", "..", Some("/a?b=..&c=..")),
            ("/a?b=$(query.v)", "", Some("/a?b=")),
            ("/a?b=$(query.w:-10)", "", Some("/a?b=10")),
            ("/a?b=$(query.w)", "", None),
            ("/$$(a)", "", Some("/$(a)")),
        ] {
            let template = Target::parse(target, &Scope::default()).unwrap();
            assert_eq!(template.render(&values(value)).ok().as_deref(), expected, "{target} {value:?}");
        }
        for bad in ["", "a", "/a b", "/a#b", "/ä", "/a/../b", "/a/$(query.v", "/\r\n"] {
            assert!(Target::parse(bad, &Scope::default()).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_value_makes_another_path(value in ".*") {
            let template = Target::parse("/a/$(query.v)/b?c=$(query.v)", &Scope::default()).unwrap();
            if let Ok(target) = template.render(&values(&value)) {
                prop_assert!(target.bytes().all(|byte| byte.is_ascii_graphic()));
                let (path, query) = target.split_once('?').unwrap();
                prop_assert_eq!(path.split('/').count(), 4);
                let only = form::only(query, "c");
                prop_assert_eq!(only.as_deref(), Some(value.as_str()));
                prop_assert!(!query.contains('&'));
            }
        }
    }
}
