//! Path patterns: exact, prefix, template and regex.
//!
//! | written | kind | matches |
//! | --- | --- | --- |
//! | `/orders` | exact | `/orders` |
//! | `/orders/*` | prefix | `/orders`, `/orders/`, `/orders/1/2`; not `/ordersx` |
//! | `/*` | prefix | everything |
//! | `/files/{path...}` | prefix | as `/files/*`, and names what follows |
//! | `/users/{id}` | template | `/users/42`; not `/users/`, not `/users/42/` |
//! | `/users/{id}/*` | prefix | `/users/42`, `/users/42/`, `/users/42/posts` |
//! | a regular expression | regex | the paths that it matches from first to last byte |
//!
//! A parameter is one whole segment that is not empty. A template has no open end: with one it is a prefix. Both rank by
//! their literal segments, so that neither `/{tenant}/*` nor `/{tenant}/{id}` takes `/orders/1` away from `/orders/*`.

use std::cmp::Reverse;
use std::fmt;

use regex::{Regex, RegexBuilder};
use smallvec::SmallVec;

use super::error::PatternError;
use super::{MAX_PATTERN_BYTES, MAX_REGEX_COMPILED_BYTES, MAX_SEGMENTS};

/// The paths that a rule matches. See the module's table.
#[derive(Clone, Debug)]
pub struct PathPattern {
    text: Box<str>,
    shape: Shape,
}

#[derive(Clone, Debug)]
pub(super) enum Shape {
    Exact,
    Template(Box<[Segment]>),
    Prefix { segments: Box<[Segment]>, rest: Option<Box<str>> },
    Regex(Regex),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Segment {
    Literal(Box<str>),
    Parameter(Box<str>),
}

/// Names and values of the parameters that a pattern takes from a path, in the pattern's order. The values are bytes of
/// the original path, still percent-encoded.
pub type Params<'a> = SmallVec<[(&'a str, &'a str); 4]>;

impl PathPattern {
    /// Matches every path, including `*` and the empty one. The pattern of a rule without a path.
    #[must_use]
    pub fn any() -> Self {
        PathPattern { text: "/*".into(), shape: Shape::Prefix { segments: Box::default(), rest: None } }
    }

    /// Parses an exact path, a prefix or a template.
    ///
    /// # Errors
    /// Text that could match no request path (see [`PatternError`]), or that exceeds [`MAX_PATTERN_BYTES`] or
    /// [`MAX_SEGMENTS`].
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        if text.len() > MAX_PATTERN_BYTES {
            return Err(PatternError::TooLong);
        }
        let body = text.strip_prefix('/').ok_or(PatternError::NotAbsolute)?;
        if let Some(bad) =
            text.chars().find(|character| !character.is_ascii_graphic() || matches!(character, '?' | '#'))
        {
            return Err(PatternError::Character(bad));
        }
        let mut segments = Vec::new();
        let mut rest: Option<&str> = None;
        let mut rest_name: Option<Box<str>> = None;
        for text in body.split('/') {
            if let Some(before) = rest {
                return Err(if before == "*" {
                    PatternError::Wildcard
                } else {
                    PatternError::RestNotLast(before.into())
                });
            }
            let name = text.strip_prefix('{').and_then(|text| text.strip_suffix('}'));
            match (text, name.map(|name| name.strip_suffix("...").ok_or(name))) {
                ("*", _) => rest = Some(text),
                ("." | "..", _) => return Err(PatternError::DotSegment),
                (_, Some(Ok(name))) if is_name(name) => {
                    rest = Some(text);
                    rest_name = Some(name.into());
                }
                (_, Some(Err(name))) if is_name(name) => segments.push(Segment::Parameter(name.into())),
                _ if text.contains(['{', '}']) => return Err(PatternError::Parameter(text.into())),
                _ if text.contains('*') => return Err(PatternError::Wildcard),
                _ => segments.push(Segment::Literal(text.into())),
            }
        }
        check_parameters(&segments, rest_name.as_deref())?;
        let literal = segments.iter().all(|segment| matches!(segment, Segment::Literal(_)));
        if segments.len() > MAX_SEGMENTS && !(literal && rest.is_none()) {
            return Err(PatternError::TooLong);
        }
        let segments = segments.into_boxed_slice();
        let shape = match rest {
            Some(_) => Shape::Prefix { segments, rest: rest_name },
            None if literal => Shape::Exact,
            None => Shape::Template(segments),
        };
        Ok(PathPattern { text: text.into(), shape })
    }

    /// A regular expression that must match the whole path. Its named groups are parameters.
    ///
    /// # Errors
    /// [`PatternError::Regex`] if it does not compile within 256 KiB, [`PatternError::TooLong`].
    pub fn regex(pattern: &str) -> Result<Self, PatternError> {
        let whole = whole_match(pattern)?;
        let regex = RegexBuilder::new(&whole).size_limit(MAX_REGEX_COMPILED_BYTES).build();
        let regex = regex.map_err(|error| PatternError::Regex(error.to_string()))?;
        Ok(PathPattern { text: pattern.into(), shape: Shape::Regex(regex) })
    }

    #[must_use]
    pub fn matches(&self, path: &str) -> bool {
        match &self.shape {
            Shape::Exact => *self.text == *path,
            Shape::Regex(regex) => regex.is_match(path),
            Shape::Template(segments) => take(segments, path).is_some_and(|(_, rest)| rest.is_none()),
            Shape::Prefix { segments, .. } => take(segments, path).is_some(),
        }
    }

    /// Whether it has parameters.
    #[must_use]
    pub fn has_params(&self) -> bool {
        let is_parameter = |segment: &Segment| matches!(segment, Segment::Parameter(_));
        match &self.shape {
            Shape::Exact => false,
            Shape::Template(segments) => segments.iter().any(is_parameter),
            Shape::Prefix { segments, rest } => rest.is_some() || segments.iter().any(is_parameter),
            Shape::Regex(regex) => regex.capture_names().flatten().next().is_some(),
        }
    }

    /// The value of one parameter in a path that the pattern matches.
    #[must_use]
    pub fn param<'a>(&'a self, path: &'a str, name: &str) -> Option<&'a str> {
        self.params(path).into_iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    /// The parameters that the pattern takes from a path; none if it does not match. `{rest...}` has no leading slash.
    #[must_use]
    pub fn params<'a>(&'a self, path: &'a str) -> Params<'a> {
        match &self.shape {
            Shape::Exact => Params::new(),
            Shape::Template(segments) => {
                let taken = take(segments, path).filter(|(_, rest)| rest.is_none());
                taken.map(|(params, _)| params).unwrap_or_default()
            }
            Shape::Prefix { segments, rest: name } => {
                let Some((mut params, rest)) = take(segments, path) else { return Params::new() };
                params.extend(name.as_deref().map(|name| (name, rest.unwrap_or_default())));
                params
            }
            Shape::Regex(regex) => {
                let Some(captures) = regex.captures(path) else { return Params::new() };
                let named = regex.capture_names().flatten();
                named.filter_map(|name| Some((name, captures.name(name)?.as_str()))).collect()
            }
        }
    }

    /// Number of bytes of a path before the open end of a prefix pattern: for `/orders/7` the length of `/orders` with
    /// the pattern `/orders/*`, and 0 with `/*`. `None` for other patterns, and for a path that does not match.
    #[must_use]
    pub fn prefix_length(&self, path: &str) -> Option<usize> {
        let Shape::Prefix { segments, .. } = &self.shape else { return None };
        let (_, rest) = take(segments, path)?;
        Some(rest.map_or(path.len(), |rest| path.len().saturating_sub(rest.len() + 1)))
    }

    /// The pattern as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub(super) fn shape(&self) -> &Shape {
        &self.shape
    }

    pub(super) fn precedence(&self) -> PathPrecedence {
        let literal = |segment: &&Segment| matches!(segment, Segment::Literal(_));
        let (kind, segments): (_, &[Segment]) = match &self.shape {
            Shape::Exact => (PathKind::Exact, &[]),
            Shape::Template(segments) => (PathKind::Template, segments),
            Shape::Prefix { segments, .. } if segments.is_empty() => (PathKind::CatchAll, segments),
            Shape::Prefix { segments, .. } => (PathKind::Prefix, segments),
            Shape::Regex(_) => (PathKind::Regex, &[]),
        };
        let places = segments.iter().enumerate().filter(|(_, segment)| literal(segment));
        PathPrecedence {
            kind,
            segments: segments.len(),
            literals: segments.iter().filter(literal).count(),
            places: places.fold(0, |bits, (at, _)| bits | FIRST.checked_shr(at as u32).unwrap_or(0)),
        }
    }

    /// The pattern without its parameter names: two patterns with the same result match the same paths.
    pub(super) fn anonymous(&self) -> String {
        let join = |segments: &[Segment], end: &str| {
            let names = segments.iter().map(|segment| match segment {
                Segment::Literal(literal) => literal,
                Segment::Parameter(_) => "{}",
            });
            names.chain([end]).fold(String::new(), |text, segment| text + "/" + segment)
        };
        match &self.shape {
            Shape::Exact => self.text.to_string(),
            Shape::Template(segments) => join(segments, "{$}"),
            Shape::Prefix { segments, .. } => join(segments, "*"),
            Shape::Regex(_) => format!("~{}", self.text),
        }
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The kinds of path patterns, in order of precedence. Between a template and a prefix, this order applies only if they
/// have equally many literal segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PathKind {
    Exact,
    Template,
    Prefix,
    Regex,
    /// A prefix of no segments, which every path matches: `/*`, `/{rest...}`, and a rule without a path. It comes last,
    /// as a regex that came after it would never be asked.
    CatchAll,
}

/// What decides between two patterns that match one path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PathPrecedence {
    pub(super) kind: PathKind,
    pub(super) literals: usize,
    /// Literals and parameters.
    pub(super) segments: usize,
    /// Positions of the literals: a bit for each segment, the first is the highest.
    pub(super) places: u64,
}

/// The bit of the first segment. There are no more segments than bits.
const FIRST: u64 = 1 << 63;
const _: () = assert!(super::MAX_SEGMENTS <= 64);

impl PathPrecedence {
    /// Less takes precedence: exact first, then more literal segments, then the kind, then more segments, then the
    /// pattern whose literals come earlier.
    pub(super) fn key(self) -> impl Ord {
        let is_exact = self.kind == PathKind::Exact;
        (Reverse(is_exact), Reverse(self.literals), self.kind, Reverse(self.segments), Reverse(self.places))
    }

    /// Whether the pattern consists of segments.
    pub(super) fn counts_segments(self) -> bool {
        matches!(self.kind, PathKind::Template | PathKind::Prefix | PathKind::CatchAll)
    }
}

/// Matches the segments at the start of a path. Returns their parameters and the rest: `None` at the end of the path,
/// otherwise what follows the slash.
fn take<'a>(segments: &'a [Segment], path: &'a str) -> Option<(Params<'a>, Option<&'a str>)> {
    let mut params = Params::new();
    let mut rest = path.strip_prefix('/');
    for segment in segments {
        let here = rest?;
        let (text, after) = here.split_once('/').map_or((here, None), |(text, after)| (text, Some(after)));
        match segment {
            Segment::Literal(literal) if **literal == *text => {}
            Segment::Parameter(name) if !text.is_empty() => params.push((name, text)),
            _ => return None,
        }
        rest = after;
    }
    Some((params, rest))
}

/// Wraps a regular expression so that it must match from the first to the last byte.
pub(super) fn whole_match(pattern: &str) -> Result<String, PatternError> {
    if pattern.len() > MAX_PATTERN_BYTES {
        return Err(PatternError::TooLong);
    }
    // Compiled without the group first: `a)|(b` compiles only inside the group, where it means something else.
    regex::bytes::RegexBuilder::new(pattern)
        .size_limit(MAX_REGEX_COMPILED_BYTES)
        .build()
        .map_err(|error| PatternError::Regex(error.to_string()))?;
    Ok(format!(r"\A(?:{pattern})\z"))
}

fn check_parameters(segments: &[Segment], rest: Option<&str>) -> Result<(), PatternError> {
    let mut seen = std::collections::HashSet::new();
    let names = segments.iter().filter_map(|segment| match segment {
        Segment::Parameter(name) => Some(&**name),
        Segment::Literal(_) => None,
    });
    match names.chain(rest).find(|name| !seen.insert(*name)) {
        Some(twice) => Err(PatternError::DuplicateParameter(twice.into())),
        None => Ok(()),
    }
}

fn is_name(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// `expected` is `None` if the pattern does not match, otherwise its parameters as `name=value`, separated by
    /// spaces.
    fn check(pattern: &PathPattern, path: &str, expected: Option<&str>) {
        let params = pattern.params(path);
        let params: Vec<String> = params.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(pattern.matches(path), expected.is_some(), "{pattern} against {path}");
        assert_eq!(params.join(" "), expected.unwrap_or_default(), "{pattern} against {path}");
    }

    #[test]
    fn a_pattern_means_these_paths() {
        for (pattern, path, expected) in [
            ("/", "/", Some("")),
            ("/", "", None),
            ("/", "//", None),
            ("/orders", "/orders", Some("")),
            ("/orders", "/orders/", None),
            ("/orders", "/Orders", None),
            ("/orders/", "/orders/", Some("")),
            ("/orders/", "/orders", None),
            ("/orders/*", "/orders", Some("")),
            ("/orders/*", "/orders/", Some("")),
            ("/orders/*", "/orders/1/2", Some("")),
            ("/orders/*", "/ordersx", None),
            ("/orders/*", "/order", None),
            ("/*", "/", Some("")),
            ("/*", "*", Some("")),
            ("/*", "", Some("")),
            ("/{rest...}", "/a/b", Some("rest=a/b")),
            ("/files/{path...}", "/files", Some("path=")),
            ("/files/{path...}", "/files/", Some("path=")),
            ("/files/{path...}", "/files/a//b/", Some("path=a//b/")),
            ("/files/{path...}", "/filesx", None),
            ("/users/{id}", "/users/42", Some("id=42")),
            ("/users/{id}", "/users/a%2Fb", Some("id=a%2Fb")),
            ("/users/{id}", "/users/", None),
            ("/users/{id}", "/users/42/", None),
            ("/users/{id}/", "/users/42/", Some("id=42")),
            ("/users/{id}/posts/{post}", "/users/42/posts/7", Some("id=42 post=7")),
            ("/users/{id}/posts/{post}", "/users/42/post/7", None),
            ("/users/{id}/*", "/users/42", Some("id=42")),
            ("/users/{id}/*", "/users/42/x/y", Some("id=42")),
            ("/users/{id}/*", "/users//x", None),
            ("/users/{id}/{rest...}", "/users/42/x/y", Some("id=42 rest=x/y")),
            ("/v1/projects:batch", "/v1/projects:batch", Some("")),
        ] {
            check(&PathPattern::parse(pattern).unwrap(), path, expected);
        }
    }

    #[test]
    fn a_prefix_has_a_length() {
        for (pattern, path, expected) in [
            ("/orders/*", "/orders/7/8", Some("/orders")),
            ("/orders/*", "/orders/", Some("/orders")),
            ("/orders/*", "/orders", Some("/orders")),
            ("/orders/*", "/users", None),
            ("/*", "/a/b", Some("")),
            ("/*", "/", Some("")),
            ("/{a}/b/{rest...}", "/x/b/c/d", Some("/x/b")),
            ("/orders", "/orders", None),
            ("/{a}", "/orders", None),
        ] {
            let length = PathPattern::parse(pattern).unwrap().prefix_length(path);
            assert_eq!(length.map(|length| &path[..length]), expected, "{pattern} of {path}");
        }
        assert_eq!(PathPattern::any().prefix_length("/a"), Some(0));
    }

    #[test]
    fn a_regex_matches_the_whole_path() {
        for (pattern, path, expected) in [
            (r"/v\d+/.*", "/v12/x", Some("")),
            (r"/v\d+", "/v12/x", None),
            (r"/v\d+", "x/v12", None),
            (r"/a|/b", "/a/b", None),
            (r"(?m)/a$", "/a\n/b", None),
            (r"/(?<kind>cat|dog)s/(?<id>\d+)?", "/dogs/", Some("kind=dog")),
            (r"/(?<kind>cat|dog)s/(?<id>\d+)?", "/cats/9", Some("kind=cat id=9")),
        ] {
            check(&PathPattern::regex(pattern).unwrap(), path, expected);
        }
        for pattern in ["(", "a)|(?:b", "a{1000}{1000}", r"(?-u)\xff"] {
            assert!(matches!(PathPattern::regex(pattern), Err(PatternError::Regex(_))), "{pattern}");
        }
        assert_eq!(PathPattern::regex(&"a".repeat(MAX_PATTERN_BYTES + 1)).unwrap_err(), PatternError::TooLong);
    }

    #[test]
    fn a_pattern_that_matches_nothing_is_refused() {
        let long = format!("/{}", "a".repeat(MAX_PATTERN_BYTES));
        let deep = format!("{}/*", "/a".repeat(MAX_SEGMENTS + 1));
        for (pattern, expected) in [
            ("", PatternError::NotAbsolute),
            ("*", PatternError::NotAbsolute),
            ("orders", PatternError::NotAbsolute),
            ("/a?b=c", PatternError::Character('?')),
            ("/a#b", PatternError::Character('#')),
            ("/a b", PatternError::Character(' ')),
            ("/é", PatternError::Character('é')),
            ("/a/../b", PatternError::DotSegment),
            ("/a/.", PatternError::DotSegment),
            ("/a/*/b", PatternError::Wildcard),
            ("/a*", PatternError::Wildcard),
            ("/a/**", PatternError::Wildcard),
            ("/{id}.json", PatternError::Parameter("{id}.json".into())),
            ("/{}", PatternError::Parameter("{}".into())),
            ("/{...}", PatternError::Parameter("{...}".into())),
            ("/{1a}", PatternError::Parameter("{1a}".into())),
            ("/{a", PatternError::Parameter("{a".into())),
            ("/{{a}}", PatternError::Parameter("{{a}}".into())),
            ("/{rest...}/a", PatternError::RestNotLast("{rest...}".into())),
            ("/{a}/{a}", PatternError::DuplicateParameter("a".into())),
            ("/{a}/{a...}", PatternError::DuplicateParameter("a".into())),
            (&long, PatternError::TooLong),
            (&deep, PatternError::TooLong),
        ] {
            assert_eq!(PathPattern::parse(pattern).unwrap_err(), expected, "{pattern}");
        }
    }
}
