//! The conditions of a rule, and what they capture.

use std::collections::BTreeSet;

use gatewright_sdk::{Exchange, rules};
use regex_lite::{Regex, RegexBuilder};

use crate::{
    When,
    query::{Query, decoded},
};

/// All of these must hold.
#[derive(Debug)]
pub(crate) struct Condition {
    methods: Vec<String>,
    path: Option<Regex>,
    host: Option<Regex>,
    headers: Vec<(String, Regex)>,
    query: Vec<(String, Regex)>,
    without_headers: Vec<String>,
    without_query: Vec<String>,
}

/// The matches of named groups.
#[derive(Debug, Default)]
pub(crate) struct Captures(Vec<Capture>);

#[derive(Debug)]
struct Capture {
    name: String,
    text: String,
    /// It was matched in a path, and is percent-encoded like it.
    is_encoded: bool,
}

impl Condition {
    pub(crate) fn new(when: When) -> Result<Self, String> {
        let one = |name: &str, text: Option<String>| {
            text.map(|text| pattern(&text).map_err(|why| format!("{name}: {why}"))).transpose()
        };
        let mut headers = Vec::new();
        for (name, text) in when.headers {
            check_header(&name).map_err(|why| format!("headers: {why}"))?;
            let pattern = pattern(&text).map_err(|why| format!("headers: the pattern of {name:?}: {why}"))?;
            headers.push((name.to_ascii_lowercase(), pattern));
        }
        for name in &when.without_headers {
            check_header(name).map_err(|why| format!("without_headers: {why}"))?;
        }
        let mut query = Vec::new();
        for (name, text) in when.query {
            let pattern = pattern(&text).map_err(|why| format!("query: the pattern of {name:?}: {why}"))?;
            query.push((name, pattern));
        }
        Ok(Self {
            methods: when.methods,
            path: one("path", when.path)?,
            host: one("host", when.host)?,
            headers,
            query,
            without_headers: when.without_headers,
            without_query: when.without_query,
        })
    }

    /// The names of the groups that it captures.
    pub(crate) fn groups(&self) -> BTreeSet<String> {
        let of_lists = self.headers.iter().chain(&self.query).map(|(_, pattern)| pattern);
        let patterns = self.path.iter().chain(&self.host).chain(of_lists);
        patterns.flat_map(|pattern| pattern.capture_names().flatten().map(str::to_owned)).collect()
    }

    /// The captures; `None` if the request does not meet the condition.
    pub(crate) fn captures(&self, exchange: &Exchange) -> Option<Captures> {
        let mut captures = Captures::default();
        if !self.methods.is_empty() {
            let method = exchange.method();
            self.methods.iter().any(|allowed| allowed == method.as_str()).then_some(())?;
        }
        if let Some(host) = &self.host {
            captures.of(host, &exchange.authority().to_ascii_lowercase(), false)?;
        }
        if self.path.is_some() || !self.query.is_empty() || !self.without_query.is_empty() {
            let target = exchange.path();
            let (path, query) =
                target.split_once('?').map_or((target.as_str(), None), |(path, query)| (path, Some(query)));
            if let Some(pattern) = &self.path {
                captures.of(pattern, path, true)?;
            }
            let query = Query::parse(query);
            if self.without_query.iter().any(|name| query.has(name)) {
                return None;
            }
            for (name, pattern) in &self.query {
                captures.of_any(pattern, query.values(name))?;
            }
        }
        let headers = exchange.request_headers();
        for (name, pattern) in &self.headers {
            let values = headers.values(name);
            captures.of_any(pattern, values.iter().map(|value| String::from_utf8_lossy(value).into_owned()))?;
        }
        let has = |name: &String| headers.get(name).is_some();
        (!self.without_headers.iter().any(has)).then_some(captures)
    }
}

impl Captures {
    /// The text of a capture, decoded.
    pub(crate) fn text(&self, name: &str) -> Option<String> {
        let capture = self.find(name)?;
        Some(if capture.is_encoded { decoded(&capture.text) } else { capture.text.clone() })
    }

    /// The same in its encoded form, if it is from a path.
    pub(crate) fn of_path(&self, name: &str) -> Option<&str> {
        self.find(name).filter(|capture| capture.is_encoded).map(|capture| capture.text.as_str())
    }

    fn find(&self, name: &str) -> Option<&Capture> {
        self.0.iter().rev().find(|capture| capture.name == name)
    }

    fn of_any(&mut self, pattern: &Regex, mut texts: impl Iterator<Item = String>) -> Option<()> {
        texts.find_map(|text| self.of(pattern, &text, false))
    }

    fn of(&mut self, pattern: &Regex, text: &str, is_encoded: bool) -> Option<()> {
        if text.len() > MOST_BYTES {
            return None;
        }
        let found = pattern.captures(text)?;
        for name in pattern.capture_names().flatten() {
            let text = found.name(name).map_or("", |found| found.as_str()).to_owned();
            self.0.push(Capture { name: name.to_owned(), text, is_encoded });
        }
        Some(())
    }
}

/// A pattern must match the whole text, like a route's: a match somewhere in the middle is seldom meant.
fn pattern(text: &str) -> Result<Regex, String> {
    let whole = format!("^(?:{text})$");
    RegexBuilder::new(&whole).size_limit(SIZE_LIMIT).build().map_err(|error| format!("{text:?} is no pattern: {error}"))
}

/// A condition may be about any header, even one that no plugin may change.
fn check_header(name: &str) -> Result<(), String> {
    match rules::check_name(name) {
        Err(why) if !rules::FORBIDDEN_HEADERS.iter().any(|known| known.eq_ignore_ascii_case(name)) => {
            Err(format!("{name:?} {why}"))
        }
        _ => Ok(()),
    }
}

/// The longest text that a pattern is matched with; the time grows with the length.
const MOST_BYTES: usize = 8 << 10;
/// The largest size of a compiled pattern.
const SIZE_LIMIT: usize = 256 << 10;
