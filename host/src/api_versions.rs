//! Which version of an API a request is for.
//!
//! Pure. A request names it in its path, in a header field or in the media types that it accepts; several places are
//! checked in order, and the first that names a version counts, even if that version does not exist: nobody is given
//! another version than the one that was asked for.

use std::fmt;

use http::header::{ACCEPT, HeaderMap, HeaderName};

/// The versions of one API.
#[derive(Clone, Debug)]
pub struct Versions {
    pub by: Vec<By>,
    /// As requests name them.
    pub names: Vec<Box<str>>,
    /// For requests that say nothing: a place in `names`.
    pub default: Option<usize>,
}

/// Where a request says which version it wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum By {
    /// A parameter of the path.
    Path(Box<str>),
    Header(HeaderName),
    /// A parameter of a media type.
    AcceptParameter(Box<str>),
    /// A part of a media type: between these two, which are in lower case.
    MediaType {
        before: Box<str>,
        after: Box<str>,
    },
}

/// The version of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chosen<'a> {
    /// A place in the list of names.
    pub index: usize,
    pub name: &'a str,
    /// Where the request said so; none where it said nothing.
    pub by: Option<&'a By>,
}

/// Why a request has no version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It asks here for one that is not there.
    Unknown(By),
    /// It asks for none, and there is no default.
    Unsaid,
}

/// What one place says.
enum Said {
    Version(usize),
    Unknown,
    Nothing,
}

impl Versions {
    /// The version of a request with these headers. `parameter` gives a parameter of its path.
    ///
    /// # Errors
    /// It asks for none that is there.
    pub fn choose<'p>(
        &self,
        headers: &HeaderMap,
        parameter: impl Fn(&str) -> Option<&'p str>,
    ) -> Result<Chosen<'_>, Refusal> {
        for by in &self.by {
            let said = match by {
                By::Path(name) => parameter(name).map_or(Said::Nothing, |name| self.said(name)),
                By::Header(name) => self.in_header(headers, name),
                By::AcceptParameter(wanted) => self.accepted(headers, |_, parameters| {
                    let mut pairs = parameters.iter().filter_map(|parameter| parameter.split_once('='));
                    let (_, value) = pairs.find(|(name, _)| name.trim().eq_ignore_ascii_case(wanted))?;
                    Some(value.trim().trim_matches('"'))
                }),
                By::MediaType { before, after } => self.accepted(headers, |kind, _| {
                    // Both are ASCII, so that lengths in bytes hold whatever the case is.
                    let version = kind.get(before.len()..kind.len().checked_sub(after.len())?)?;
                    let is_it = kind.get(..before.len())?.eq_ignore_ascii_case(before)
                        && kind.get(kind.len() - after.len()..)?.eq_ignore_ascii_case(after);
                    (is_it && !version.is_empty()).then_some(version)
                }),
            };
            match said {
                Said::Version(index) => return Ok(self.chosen(index, Some(by))),
                Said::Unknown => return Err(Refusal::Unknown(by.clone())),
                Said::Nothing => {}
            }
        }
        self.default.map(|index| self.chosen(index, None)).ok_or(Refusal::Unsaid)
    }

    fn chosen<'a>(&'a self, index: usize, by: Option<&'a By>) -> Chosen<'a> {
        Chosen { index, name: self.names.get(index).map_or("", |name| name), by }
    }

    fn said(&self, name: &str) -> Said {
        self.names.iter().position(|known| **known == *name).map_or(Said::Unknown, Said::Version)
    }

    /// Two lines say two things, or one thing twice, which nobody has a reason to.
    fn in_header(&self, headers: &HeaderMap, name: &HeaderName) -> Said {
        let mut lines = headers.get_all(name).iter();
        match (lines.next(), lines.next()) {
            (None, _) => Said::Nothing,
            (Some(line), None) => line.to_str().map_or(Said::Unknown, |line| self.said(line.trim())),
            (Some(_), Some(_)) => Said::Unknown,
        }
    }

    /// The version in the media type that is liked best of those that name a known one. Where the client takes a type
    /// without a version as well, an unknown one says nothing.
    fn accepted<'h>(&self, headers: &'h HeaderMap, version: impl Fn(&'h str, &[&'h str]) -> Option<&'h str>) -> Said {
        let (mut best, mut names_one, mut takes_any) = (None::<(u16, usize)>, false, false);
        for line in headers.get_all(ACCEPT) {
            let Ok(line) = line.to_str() else { return Said::Unknown };
            for range in split(line, ',') {
                let mut parts = split(range, ';').map(str::trim);
                let kind = parts.next().unwrap_or_default();
                let parameters: smallvec::SmallVec<[&str; 4]> = parts.collect();
                let quality = quality(&parameters);
                if kind.is_empty() || quality == 0 {
                    continue;
                }
                match version(kind, &parameters) {
                    None => takes_any = true,
                    Some(name) => {
                        names_one = true;
                        if let Said::Version(index) = self.said(name)
                            && best.is_none_or(|(most, _)| quality > most)
                        {
                            best = Some((quality, index));
                        }
                    }
                }
            }
        }
        match best {
            Some((_, index)) => Said::Version(index),
            None if names_one && !takes_any => Said::Unknown,
            None => Said::Nothing,
        }
    }
}

/// `text` at each `separator` that is not in quotes.
fn split(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped) = (false, false);
    text.split(move |c: char| {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ => return c == separator && !quoted,
        }
        false
    })
}

/// The weight of a media type in thousandths (RFC 9110, section 12.4.2). One that is none counts as 1.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // the value is clamped first
fn quality(parameters: &[&str]) -> u16 {
    let mut pairs = parameters.iter().filter_map(|parameter| parameter.split_once('='));
    let weight = pairs.find(|(name, _)| name.trim().eq_ignore_ascii_case("q"));
    let weight = weight.and_then(|(_, value)| value.trim().parse::<f32>().ok()).unwrap_or(1.0);
    (weight * 1000.0).clamp(0.0, 1000.0) as u16
}

impl fmt::Display for By {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            By::Path(name) => write!(f, "{{{name}}} of the path"),
            By::Header(name) => write!(f, "the header {name}"),
            By::AcceptParameter(name) => write!(f, "the parameter {name} in Accept"),
            By::MediaType { before, after } => write!(f, "the media type {before}{{version}}{after} in Accept"),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn versions(by: &[By], default: Option<usize>) -> Versions {
        Versions { by: by.to_vec(), names: ["v1", "v2", "2024-06-01"].map(Into::into).into(), default }
    }

    fn headers(lines: &[(&str, &str)]) -> HeaderMap {
        let pair =
            |(name, value): &(&str, &str)| (name.parse::<HeaderName>().unwrap(), value.parse::<HeaderValue>().unwrap());
        let mut headers = HeaderMap::new();
        for (name, value) in lines.iter().map(pair) {
            headers.append(name, value);
        }
        headers
    }

    /// The version's name, or "unknown", or "unsaid".
    fn choose(by: &[By], default: Option<usize>, lines: &[(&str, &str)], path: Option<&str>) -> String {
        let versions = versions(by, default);
        match versions.choose(&headers(lines), |name| path.filter(|_| name == "version")) {
            Ok(chosen) => chosen.name.to_owned(),
            Err(Refusal::Unknown(_)) => "unknown".to_owned(),
            Err(Refusal::Unsaid) => "unsaid".to_owned(),
        }
    }

    #[test]
    fn a_path_or_a_header_says_it_exactly() {
        let path = [By::Path("version".into())];
        for (said, expected) in [(Some("v1"), "v1"), (Some("V1"), "unknown"), (Some("v9"), "unknown"), (None, "v2")] {
            assert_eq!(choose(&path, Some(1), &[], said), expected, "{said:?}");
        }
        let header = [By::Header(HeaderName::from_static("api-version"))];
        for (lines, expected) in [
            (&[("api-version", "2024-06-01")][..], "2024-06-01"),
            (&[("api-version", " v1 ")], "v1"),
            (&[("api-version", "v1, v2")], "unknown"),
            (&[("api-version", "")], "unknown"),
            (&[("api-version", "v1"), ("api-version", "v1")], "unknown"),
            (&[("api-version", "v1"), ("api-version", "v2")], "unknown"),
            (&[("other", "v1")], "unsaid"),
        ] {
            assert_eq!(choose(&header, None, lines, None), expected, "{lines:?}");
        }
    }

    #[test]
    fn accept_says_it_by_a_parameter() {
        let by = [By::AcceptParameter("version".into())];
        for (accept, expected) in [
            ("application/json;version=v1", "v1"),
            ("application/json; Version=\"v1\"", "v1"),
            ("application/json;version=v9", "unknown"),
            ("application/json;version=v9, */*;q=0.1", "v2"),
            ("application/json;version=v9, application/json;version=v1;q=0.5", "v1"),
            ("application/json;version=v1;q=0.5, application/json;version=2024-06-01;q=0.9", "2024-06-01"),
            ("application/json;version=v1;q=0, text/plain", "v2"),
            ("application/json", "v2"),
            ("", "v2"),
            ("application/json;x=\"a,b;version=v1\"", "v2"),
            ("application/json;x=\"\\\";version=v1", "v2"),
            ("application/json;version", "v2"),
            ("application/json;version=", "unknown"),
        ] {
            assert_eq!(choose(&by, Some(1), &[("accept", accept)], None), expected, "{accept}");
        }
        assert_eq!(choose(&by, None, &[], None), "unsaid");
    }

    #[test]
    fn accept_says_it_by_a_media_type() {
        let by = [By::MediaType { before: "application/vnd.shop.".into(), after: "+json".into() }];
        for (accept, expected) in [
            ("application/vnd.shop.v1+json", "v1"),
            ("Application/VND.shop.v1+JSON", "v1"),
            ("application/vnd.shop.v9+json", "unknown"),
            ("application/vnd.shop.+json", "v2"),
            ("application/vnd.shop+json", "v2"),
            ("application/vnd.shop.v1", "v2"),
            ("text/html, application/vnd.shop.v1+json;q=0.2", "v1"),
            ("application/vnd.shop.v9+json, text/html", "v2"),
        ] {
            assert_eq!(choose(&by, Some(1), &[("accept", accept)], None), expected, "{accept}");
        }
        let two_lines = [("accept", "application/vnd.shop.v1+json;q=0.1"), ("accept", "application/vnd.shop.v2+json")];
        assert_eq!(choose(&by, None, &two_lines, None), "v2");
    }

    #[test]
    fn the_first_place_that_says_something_counts() {
        let by = [By::Path("version".into()), By::Header(HeaderName::from_static("api-version"))];
        let header = [("api-version", "v2")];
        assert_eq!(choose(&by, None, &header, Some("v1")), "v1");
        assert_eq!(choose(&by, None, &header, None), "v2");
        assert_eq!(choose(&by, Some(0), &header, Some("v9")), "unknown");
        assert_eq!(choose(&by, Some(0), &[], None), "v1");
    }

    #[test]
    fn qualities() {
        for (text, expected) in
            [("1", 1000), ("0.5", 500), ("0", 0), ("0.001", 1), ("7", 1000), ("-1", 0), ("x", 1000), ("NaN", 0)]
        {
            assert_eq!(quality(&[&format!("q={text}")]), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn nothing_in_accept_is_too_odd(accept in "[ -~]{0,60}") {
            for by in [By::AcceptParameter("version".into()), By::MediaType { before: "a/".into(), after: "+b".into() }] {
                choose(&[by], None, &[("accept", &accept)], None);
            }
        }
    }
}
