//! Compares the expected and the actual outcome of an exchange.

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;
use http::HeaderMap;
use serde_json::Value;

use super::cases::{Expect, Values};
use super::diff;
use super::outcome::Outcome;

/// One difference from the expectation.
#[derive(Debug, PartialEq, Eq)]
pub struct Difference {
    /// A path such as `response.headers.x-user`.
    pub what: String,
    pub expected: String,
    pub found: String,
}

/// All differences, in the order of the way through the gateway.
pub fn compare(expect: &Expect, outcome: &Outcome) -> Vec<Difference> {
    let mut found = Differences(Vec::new());
    found.failure(expect, outcome);
    for call in &outcome.unanswered {
        found.add("a call of the plugin", "a fixture that answers it", call);
    }
    if let Some(answered) = expect.answered {
        let is_answered = outcome.forwarded.is_none() && !outcome.aborted;
        found.equal("answered", answered, is_answered);
    }
    found.request(expect, outcome);
    if let Some(upstream) = &expect.upstream {
        found.text("upstream", upstream, outcome.upstream.as_deref());
    }
    found.response(expect, outcome);
    found.caller(expect, outcome);
    for (name, value) in &expect.attributes {
        let held = outcome.attributes.iter().find(|(known, _)| known == name);
        found.text(&format!("attributes.{name}"), value, held.map(|(_, value)| value.as_str()));
    }
    for (name, value) in &expect.metrics {
        let held = outcome.metrics.iter().find(|(known, _)| known == name).map_or(0.0, |(_, value)| *value);
        found.equal(&format!("metrics.{name}"), *value, held);
    }
    found.0
}

struct Differences(Vec<Difference>);

impl Differences {
    fn add(&mut self, what: impl Into<String>, expected: impl Into<String>, found: impl Into<String>) {
        self.0.push(Difference { what: what.into(), expected: expected.into(), found: found.into() });
    }

    fn equal<T: PartialEq + fmt::Display>(&mut self, what: &str, expected: T, found: T) {
        if expected != found {
            self.add(what, expected.to_string(), found.to_string());
        }
    }

    fn text(&mut self, what: &str, expected: &str, found: Option<&str>) {
        if found != Some(expected) {
            self.add(what, expected, found.unwrap_or(NONE));
        }
    }

    fn failure(&mut self, expect: &Expect, outcome: &Outcome) {
        match (&expect.failed, &outcome.failed) {
            (None, None) => {}
            (None, Some(failure)) => self.add("the hooks", "all end well", failure),
            (Some(words), None) => self.add("the hooks", format!("one fails: {words}"), "all ended well"),
            (Some(words), Some(failure)) => {
                if !failure.contains(words.as_str()) {
                    self.add("failed", words, failure);
                }
            }
        }
        self.equal("aborted", expect.aborted, outcome.aborted);
    }

    fn request(&mut self, expect: &Expect, outcome: &Outcome) {
        let Some(expected) = &expect.request else { return };
        let Some(sent) = &outcome.forwarded else {
            let answer = outcome.response.as_ref().map_or(NONE.to_owned(), |it| format!("answered with {}", it.status));
            return self.add("request", "it goes to the upstream", answer);
        };
        for (what, wanted, held) in [
            ("request.method", &expected.method, &sent.method),
            ("request.path", &expected.path, &sent.path),
            ("request.host", &expected.host, &sent.host),
        ] {
            if let Some(wanted) = wanted {
                self.text(what, wanted, Some(held));
            }
        }
        self.headers("request", &expected.headers, &expected.absent, &sent.headers);
        self.body("request", expected.body.as_deref(), expected.json.as_ref(), &sent.body);
    }

    fn response(&mut self, expect: &Expect, outcome: &Outcome) {
        let Some(expected) = &expect.response else { return };
        let Some(received) = &outcome.response else {
            return self.add("response", "there is one", "the stream was reset");
        };
        if let Some(status) = expected.status {
            self.equal("response.status", status, received.status);
        }
        self.headers("response", &expected.headers, &expected.absent, &received.headers);
        self.body("response", expected.body.as_deref(), expected.json.as_ref(), &received.body);
    }

    fn caller(&mut self, expect: &Expect, outcome: &Outcome) {
        if let Some(anonymous) = expect.anonymous {
            let subject = outcome.identity.as_ref().map_or("nobody", |caller| caller.subject.as_str());
            if anonymous != outcome.identity.is_none() {
                self.add("identity", if anonymous { "nobody" } else { "somebody" }, subject);
            }
        }
        let Some(expected) = &expect.identity else { return };
        let subject = outcome.identity.as_ref().map(|caller| caller.subject.as_str());
        self.text("identity.subject", &expected.subject, subject);
        if let Some(caller) = &outcome.identity {
            self.json("identity.claims", &expected.claims, caller.claims.as_bytes());
        }
    }

    fn headers(&mut self, of: &str, expected: &BTreeMap<String, Values>, absent: &[String], held: &HeaderMap) {
        let values = |name: &str| {
            let all = held.get_all(name).iter();
            all.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).collect::<Vec<_>>()
        };
        let shown = |values: &[String]| if values.is_empty() { NONE.to_owned() } else { values.join("\n") };
        for (name, wanted) in expected {
            let found = values(name);
            if found != wanted.0 {
                self.add(format!("{of}.headers.{name}"), shown(&wanted.0), shown(&found));
            }
        }
        for name in absent {
            let found = values(name);
            if !found.is_empty() {
                self.add(format!("{of}.headers.{name}"), NONE, shown(&found));
            }
        }
    }

    fn body(&mut self, of: &str, text: Option<&str>, json: Option<&Value>, held: &Bytes) {
        if let Some(text) = text
            && text.as_bytes() != &held[..]
        {
            self.add(format!("{of}.body"), text, String::from_utf8_lossy(held));
        }
        if let Some(json) = json {
            self.json(&format!("{of}.json"), json, held);
        }
    }

    fn json(&mut self, what: &str, expected: &Value, held: &[u8]) {
        let pretty = |value: &Value| serde_json::to_string_pretty(value).unwrap_or_default();
        match serde_json::from_slice::<Value>(held) {
            Ok(found) if found == *expected => {}
            Ok(found) => self.add(what, pretty(expected), pretty(&found)),
            Err(_) => self.add(what, pretty(expected), format!("no JSON: {}", String::from_utf8_lossy(held))),
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.what)?;
        for line in diff::lines(&self.expected, &self.found) {
            write!(f, "\n  {line}")?;
        }
        Ok(())
    }
}

const NONE: &str = "(none)";
