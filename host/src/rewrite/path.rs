//! Derives one path from another.

use std::fmt;

use http::uri::PathAndQuery;
use regex::Regex;

use crate::headers::path::normalise;

/// How to make a new path.
#[derive(Clone, Debug)]
pub enum PathRewrite {
    /// This path, whatever the old one was.
    Full(Text),
    /// Replaces the matched prefix. If the route's pattern no longer matches, because a plugin changed the path, the
    /// path stays as it is.
    Prefix(Text),
    /// By a regular expression; if it does not match, the path stays as it is.
    Regex(Substitution),
}

/// A regular expression for the whole path, and the replacement.
#[derive(Clone, Debug)]
pub struct Substitution {
    /// Anchored at both ends by the caller.
    pub pattern: Regex,
    pub with: Text,
}

/// A text with `$(name)` in it.
#[derive(Clone, Debug)]
pub struct Text {
    written: Box<str>,
    /// The text before the first placeholder.
    head: Box<str>,
    /// Each placeholder with the text after it.
    places: Box<[(Box<str>, Box<str>)]>,
}

/// What a route's pattern matched in a path.
#[derive(Clone, Debug, Default)]
pub struct Matched<'a> {
    /// Length of the part before the pattern's open end, in bytes; `None` if the pattern has none, or does not match.
    pub prefix: Option<usize>,
    /// Its parameters.
    pub params: Vec<(&'a str, &'a str)>,
}

/// The new path may not be sent: a parameter made a `.` or `..` segment, or it is too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unfit;

impl PathRewrite {
    /// The new path with the old query; `None` if it stays as it is.
    ///
    /// # Errors
    /// See [`Unfit`].
    pub fn target(&self, target: &PathAndQuery, matched: &Matched<'_>) -> Result<Option<PathAndQuery>, Unfit> {
        let path = target.path();
        if path == "*" {
            return Ok(None);
        }
        let param = |name: &str| matched.params.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
        let made = match self {
            PathRewrite::Full(text) => text.fill(param),
            PathRewrite::Prefix(text) => {
                let Some(rest) = matched.prefix.and_then(|length| path.get(length..)) else { return Ok(None) };
                let mut made = text.fill(param);
                made.truncate(made.trim_end_matches('/').len());
                made.push_str(rest);
                if made.is_empty() {
                    made.push('/');
                }
                made
            }
            PathRewrite::Regex(Substitution { pattern, with }) => {
                let Some(groups) = pattern.captures(path) else { return Ok(None) };
                let group = |name: &str| match name.parse::<usize>() {
                    Ok(number) => groups.get(number),
                    Err(_) => groups.name(name),
                };
                with.fill(|name| group(name).map(|group| group.as_str()))
            }
        };
        finish(made, target.query()).map(Some)
    }
}

/// The new path with the query. Runs of `/` become one, since a parameter may be empty; anything else that is not in
/// normal form was combined from parts that were, and would mean another path to whoever resolves it.
fn finish(path: String, query: Option<&str>) -> Result<PathAndQuery, Unfit> {
    let mut target = path;
    while let Some(double) = target.find("//") {
        target.remove(double);
    }
    if normalise(&target) != Ok(None) {
        return Err(Unfit);
    }
    if let Some(query) = query {
        target.reserve(query.len() + 1);
        target.push('?');
        target.push_str(query);
    }
    PathAndQuery::try_from(target).map_err(|_| Unfit)
}

impl Text {
    /// The configuration has checked the text: anything that is not a placeholder is literal text.
    #[must_use]
    pub fn new(written: &str) -> Text {
        let mut parts = written.split("$(");
        let head = parts.next().unwrap_or_default();
        let place = |part: &str| part.split_once(')').map(|(name, text)| (name.into(), text.into()));
        Text { written: written.into(), head: head.into(), places: parts.filter_map(place).collect() }
    }

    /// The text with a value for each placeholder; empty if it has none.
    fn fill<'v>(&self, value: impl Fn(&str) -> Option<&'v str>) -> String {
        let mut filled = self.head.to_string();
        for (name, text) in &self.places {
            filled.push_str(value(name).unwrap_or_default());
            filled.push_str(text);
        }
        filled
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

impl fmt::Display for PathRewrite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PathRewrite::Full(text) => write!(f, "{text}"),
            PathRewrite::Prefix(text) => write!(f, "{text} in place of the matched prefix"),
            PathRewrite::Regex(substitution) => {
                write!(f, "{} where /{}/ matches", substitution.with, substitution.pattern)
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn made(rewrite: &PathRewrite, target: &str, prefix: Option<usize>, params: &[(&str, &str)]) -> Option<String> {
        let matched = Matched { prefix, params: params.to_vec() };
        let target: PathAndQuery = target.parse().unwrap();
        match rewrite.target(&target, &matched) {
            Ok(made) => Some(made.unwrap_or(target).to_string()),
            Err(Unfit) => None,
        }
    }

    fn prefix(text: &str) -> PathRewrite {
        PathRewrite::Prefix(Text::new(text))
    }

    fn regex(pattern: &str, with: &str) -> PathRewrite {
        let pattern = Regex::new(&format!(r"\A(?:{pattern})\z")).unwrap();
        PathRewrite::Regex(Substitution { pattern, with: Text::new(with) })
    }

    /// The Gateway API's table for `ReplacePrefixMatch`, and more.
    #[test]
    fn a_prefix_is_replaced_by_whole_segments() {
        for (path, matched, with, expected) in [
            ("/foo/bar", 4, "/xyz", "/xyz/bar"),
            ("/foo/bar", 4, "/xyz/", "/xyz/bar"),
            ("/foo", 4, "/xyz", "/xyz"),
            ("/foo/", 4, "/xyz", "/xyz/"),
            ("/foo/bar", 4, "/", "/bar"),
            ("/foo/", 4, "/", "/"),
            ("/foo", 4, "/", "/"),
            ("/foo?a=/b", 4, "/", "/?a=/b"),
            ("/foo/b?q", 0, "/xyz", "/xyz/foo/b?q"),
            ("/", 0, "/xyz", "/xyz/"),
        ] {
            assert_eq!(made(&prefix(with), path, Some(matched), &[]).unwrap(), expected, "{path} {with}");
        }
        assert_eq!(made(&prefix("/xyz"), "/elsewhere", None, &[]).unwrap(), "/elsewhere");
        assert_eq!(made(&prefix("/t/$(t)"), "/a/b/c", Some(2), &[("t", "a")]).unwrap(), "/t/a/b/c");
    }

    #[test]
    fn a_whole_path_takes_parameters_and_keeps_the_query() {
        let full = |text: &str| PathRewrite::Full(Text::new(text));
        assert_eq!(made(&full("/new"), "/old?x=1", None, &[]).unwrap(), "/new?x=1");
        assert_eq!(made(&full("/p/$(id)-$(id)/$(z)x"), "/u/7", None, &[("id", "7")]).unwrap(), "/p/7-7/x");
        assert_eq!(made(&full("/p/$(id)"), "/u/a%2Fb", None, &[("id", "a%20b")]).unwrap(), "/p/a%20b");
        // A parameter of several segments, such as `{rest...}`, may be empty.
        assert_eq!(made(&full("/p/$(rest)/x"), "/u/", None, &[("rest", "")]).unwrap(), "/p/x");
    }

    #[test]
    fn a_regular_expression_substitutes_the_whole_path() {
        let rule = regex("/v([0-9]+)/(?<rest>.*)", "/$(rest)/at/$(1)");
        assert_eq!(made(&rule, "/v2/a/b?c", None, &[]).unwrap(), "/a/b/at/2?c");
        assert_eq!(made(&rule, "/w2/a/b?c", None, &[]).unwrap(), "/w2/a/b?c");
        assert_eq!(made(&regex("/a(x)?(.*)", "/b$(1)$(2)"), "/ac", None, &[]).unwrap(), "/bc");
    }

    #[test]
    fn nobody_climbs_out_of_what_was_written() {
        assert_eq!(made(&regex("/x(.*)", "/safe/$(1)/y"), "/x..", None, &[]), None);
        assert_eq!(made(&regex("/x(.*)", "/safe/$(1)"), "/x.", None, &[]), None);
        assert_eq!(made(&regex("/x(.*)", "/safe/.$(1)"), "/x.", None, &[]), None);
        // Halves of an encoding that would be complete together.
        assert_eq!(made(&regex("/(.)20", "/safe/$(1)2e$(1)2e/y"), "/%20", None, &[]), None);
    }

    proptest! {
        #[test]
        fn what_is_sent_is_in_normal_form(path in "/([ab./]|%2[05]){0,12}", with in "/([ab2e]|\\$\\(1\\)|/){0,6}") {
            let path = normalise(&path).unwrap().unwrap_or(path);
            if let Some(made) = made(&regex("/(.*)", &with), &path, None, &[]) {
                prop_assert_eq!(normalise(&made), Ok(None), "{}", made);
                prop_assert!(made.starts_with('/'));
            }
        }
    }
}
