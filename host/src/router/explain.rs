//! Why a rule takes a request or does not, for `gatewright explain`.
//!
//! It asks each rule in turn and knows nothing of tables, so it also stands as a second opinion on what they find.

use std::cmp::Reverse;
use std::fmt;

use http::Method;

use super::path::PathKind;
use super::rules::{Compiled, Rules};
use super::{HostPattern, RequestView};

/// The result for one rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Position of the rule in the list that the router was built from.
    pub rule: usize,
    /// The route of the rule.
    pub route: usize,
    pub outcome: Outcome,
}

/// Why a rule takes the request or not: the first deciding reason. Ordered by how close the rule came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Chosen,
    /// It matches, but the rule at `by` takes precedence.
    Outranked {
        by: usize,
        advantage: Advantage,
    },
    /// A condition on the query does not hold, as text.
    Query(String),
    /// A condition on a header does not hold, as text.
    Header(String),
    /// The methods it takes.
    Method(Vec<Method>),
    /// Its path pattern.
    Path(String),
    /// Its hosts.
    Host(Vec<HostPattern>),
}

/// Why the chosen rule takes precedence over another one that matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Advantage {
    Host { chosen: HostPattern, other: HostPattern },
    PathKind { chosen: PathKind, other: PathKind },
    LiteralSegments { chosen: usize, other: usize },
    Segments { chosen: usize, other: usize },
    EarlierLiteral,
    Methods,
    Headers { chosen: usize, other: usize },
    Query { chosen: usize, other: usize },
    ListedFirst,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.outcome.fmt(f)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Outcome::Chosen => f.write_str("chosen"),
            Outcome::Outranked { advantage, .. } => write!(f, "matches too, but {advantage}"),
            Outcome::Query(condition) | Outcome::Header(condition) => write!(f, "wants: {condition}"),
            Outcome::Method(methods) => write!(f, "wants: method {}", Alternatives(methods)),
            Outcome::Path(pattern) => write!(f, "wants: path {pattern}"),
            Outcome::Host(hosts) => write!(f, "wants: host {}", Alternatives(hosts)),
        }
    }
}

impl fmt::Display for Advantage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Advantage::Host { chosen, other } => write!(f, "host {chosen} goes before {other}"),
            Advantage::PathKind { chosen, other } => write!(f, "{chosen} path goes before {other} path"),
            Advantage::LiteralSegments { chosen, other } => {
                write!(f, "more literal segments go first ({chosen} before {other})")
            }
            Advantage::Segments { chosen, other } => write!(f, "more segments go first ({chosen} before {other})"),
            Advantage::EarlierLiteral => f.write_str("literal segments nearer to the start go first"),
            Advantage::Methods => f.write_str("a rule with methods goes first"),
            Advantage::Headers { chosen, other } => {
                write!(f, "more header conditions go first ({chosen} before {other})")
            }
            Advantage::Query { chosen, other } => write!(f, "more query conditions go first ({chosen} before {other})"),
            Advantage::ListedFirst => f.write_str("of equals, the first in the list goes first"),
        }
    }
}

impl fmt::Display for PathKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PathKind::Exact => "an exact",
            PathKind::Template => "a template",
            PathKind::Prefix => "a prefix",
            PathKind::Regex => "a regex",
            PathKind::CatchAll => "a catch-all",
        })
    }
}

/// See [`super::Router::explain`].
pub(super) fn verdicts(rules: &Rules, request: &RequestView<'_>) -> Vec<Verdict> {
    let mut matching = Vec::new();
    let mut failing = Vec::new();
    for (number, rule) in rules.iter() {
        match failure(rule, request) {
            None => matching.push((number, rule)),
            Some(outcome) => failing.push((distance(&outcome), number, verdict(rule, outcome))),
        }
    }
    matching.sort_by_key(|(number, rule)| (Reverse(host_of(rule, request).map(HostPattern::specificity)), *number));
    failing.sort_by_key(|(distance, number, _)| (*distance, *number));
    let Some(((_, chosen), others)) = matching.split_first() else {
        return failing.into_iter().map(|(_, _, verdict)| verdict).collect();
    };
    let outranked = others.iter().map(|(_, other)| {
        let advantage = advantage(chosen, other, request);
        verdict(other, Outcome::Outranked { by: chosen.position, advantage })
    });
    let matching = [verdict(chosen, Outcome::Chosen)].into_iter().chain(outranked);
    matching.chain(failing.into_iter().map(|(_, _, verdict)| verdict)).collect()
}

fn verdict(rule: &Compiled, outcome: Outcome) -> Verdict {
    Verdict { rule: rule.position, route: rule.route, outcome }
}

/// The first part of a rule that the request does not meet.
fn failure(rule: &Compiled, request: &RequestView<'_>) -> Option<Outcome> {
    if host_of(rule, request).is_none() {
        return Some(Outcome::Host(rule.hosts.to_vec()));
    }
    if !rule.path.matches(request.path) {
        return Some(Outcome::Path(rule.path.to_string()));
    }
    if !rule.allows(request.method) {
        return Some(Outcome::Method(rule.methods.to_vec()));
    }
    let failed = rule.conditions.iter().position(|condition| !condition.holds(request))?;
    let condition = rule.conditions.get(failed)?.to_string();
    Some(if failed < rule.header_conditions { Outcome::Header(condition) } else { Outcome::Query(condition) })
}

/// Distance from a match: the later the failed test, the nearer.
fn distance(outcome: &Outcome) -> u8 {
    match outcome {
        Outcome::Chosen | Outcome::Outranked { .. } => 0,
        Outcome::Query(_) => 1,
        Outcome::Header(_) => 2,
        Outcome::Method(_) => 3,
        Outcome::Path(_) => 4,
        Outcome::Host(_) => 5,
    }
}

/// The most specific host of a rule that matches the request.
fn host_of<'a>(rule: &'a Compiled, request: &RequestView<'_>) -> Option<&'a HostPattern> {
    let matching = rule.hosts.iter().filter(|host| host.matches(request.authority));
    matching.max_by_key(|host| host.specificity())
}

/// The first criterion of precedence that distinguishes the two.
fn advantage(chosen: &Compiled, other: &Compiled, request: &RequestView<'_>) -> Advantage {
    if let (Some(chosen), Some(other)) = (host_of(chosen, request), host_of(other, request))
        && chosen != other
    {
        return Advantage::Host { chosen: chosen.clone(), other: other.clone() };
    }
    let differs = |count: fn(&Compiled) -> usize| {
        let (chosen, other) = (count(chosen), count(other));
        (chosen != other).then_some((chosen, other))
    };
    let (chosen_path, other_path) = (chosen.path.precedence(), other.path.precedence());
    if chosen_path.counts_segments()
        && other_path.counts_segments()
        && let Some((chosen, other)) = differs(|rule| rule.path.precedence().literals)
    {
        return Advantage::LiteralSegments { chosen, other };
    }
    if chosen_path.kind != other_path.kind {
        return Advantage::PathKind { chosen: chosen_path.kind, other: other_path.kind };
    }
    if let Some((chosen, other)) = differs(|rule| rule.path.precedence().segments) {
        return Advantage::Segments { chosen, other };
    }
    if chosen_path.places != other_path.places {
        return Advantage::EarlierLiteral;
    }
    if chosen.methods.is_empty() != other.methods.is_empty() {
        return Advantage::Methods;
    }
    if let Some((chosen, other)) = differs(|rule| rule.header_conditions) {
        return Advantage::Headers { chosen, other };
    }
    if let Some((chosen, other)) = differs(Compiled::query_conditions) {
        return Advantage::Query { chosen, other };
    }
    Advantage::ListedFirst
}

/// `A`, `A or B`, `A, B or C`.
struct Alternatives<'a, T>(&'a [T]);

impl<T: fmt::Display> fmt::Display for Alternatives<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, item) in self.0.iter().enumerate() {
            let separator = match self.0.len() - position {
                _ if position == 0 => "",
                1 => " or ",
                _ => ", ",
            };
            write!(f, "{separator}{item}")?;
        }
        Ok(())
    }
}
