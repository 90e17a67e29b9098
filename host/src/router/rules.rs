//! The rules of a router in order of precedence, and the conditions that do not depend on host and path.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

use http::Method;

use super::condition::Condition;
use super::error::{BuildError, Problem};
use super::path::PathPattern;
use super::{HostPattern, RequestView, Rule};

/// All rules by number. The number is the precedence on a given host: less comes first.
#[derive(Debug, Default)]
pub(super) struct Rules {
    by_precedence: Vec<Compiled>,
    /// What a lookup needs of most rules, by number. For a rule without conditions nothing else is read, and 10,000 of
    /// them stay in the CPU cache.
    outlines: Vec<Outline>,
    /// Maps positions in the caller's list to numbers.
    numbers: Vec<u32>,
}

#[derive(Debug)]
struct Outline {
    /// Position in the caller's list.
    position: u32,
    /// Whether host and path are its only conditions.
    unconditional: bool,
}

/// A rule with its conditions ready to test.
#[derive(Debug)]
pub(super) struct Compiled {
    /// Position in the caller's list.
    pub(super) position: usize,
    pub(super) route: usize,
    /// Empty: every method.
    pub(super) methods: Box<[Method]>,
    /// Header conditions, then query conditions.
    pub(super) conditions: Box<[Condition]>,
    pub(super) header_conditions: usize,
    /// Never empty.
    pub(super) hosts: Box<[HostPattern]>,
    pub(super) path: Arc<PathPattern>,
    /// Whether the path has parameters.
    pub(super) has_params: bool,
}

impl Rules {
    pub(super) fn compile(rules: Vec<Rule>) -> Result<Self, Vec<BuildError>> {
        let mut by_precedence = Vec::with_capacity(rules.len());
        let mut errors = Vec::new();
        for (position, rule) in rules.into_iter().enumerate() {
            match Compiled::new(position, rule) {
                Ok(rule) => by_precedence.push(rule),
                Err(problem) => errors.push(BuildError { rule: position, problem }),
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        by_precedence.sort_by(|one, other| one.precedence().cmp(&other.precedence()));
        let mut numbers = vec![0; by_precedence.len()];
        for (number, rule) in (0..).zip(&by_precedence) {
            if let Some(slot) = numbers.get_mut(rule.position) {
                *slot = number;
            }
        }
        let outline = |rule: &Compiled| Outline {
            position: u32::try_from(rule.position).unwrap_or(u32::MAX),
            unconditional: rule.methods.is_empty() && rule.conditions.is_empty(),
        };
        let outlines = by_precedence.iter().map(outline).collect();
        Ok(Rules { by_precedence, outlines, numbers })
    }

    /// Rules that, on one of their hosts, match nothing that earlier rules do not already take.
    pub(super) fn duplicates(&self) -> Vec<BuildError> {
        let mut claimed: HashMap<Claim, usize> = HashMap::new();
        let mut errors = Vec::new();
        for (rule, host) in self.by_precedence.iter().flat_map(|rule| rule.hosts.iter().map(move |host| (rule, host))) {
            let claims = rule.claims(host);
            let earlier: Option<Vec<usize>> = claims.iter().map(|claim| claimed.get(claim).copied()).collect();
            if let Some(earlier) = earlier.and_then(|earlier| earlier.into_iter().min()) {
                let problem = Problem::Duplicate { host: host.to_string(), earlier };
                errors.push(BuildError { rule: rule.position, problem });
            }
            for claim in claims {
                claimed.entry(claim).or_insert(rule.position);
            }
        }
        errors
    }

    /// In order of precedence.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &Compiled)> {
        (0..).zip(&self.by_precedence)
    }

    pub(super) fn by_number(&self, number: u32) -> Option<&Compiled> {
        self.by_precedence.get(number as usize)
    }

    pub(super) fn by_position(&self, position: usize) -> Option<&Compiled> {
        self.numbers.get(position).and_then(|number| self.by_number(*number))
    }

    /// Whether the request meets the rule's conditions on method, headers and query.
    pub(super) fn passes(&self, number: u32, request: &RequestView<'_>) -> bool {
        if self.outlines.get(number as usize).is_some_and(|rule| rule.unconditional) {
            return true;
        }
        self.by_number(number).is_some_and(|rule| {
            rule.allows(request.method) && rule.conditions.iter().all(|condition| condition.holds(request))
        })
    }

    /// The rule's position in the caller's list.
    pub(super) fn position(&self, number: u32) -> Option<usize> {
        self.outlines.get(number as usize).map(|rule| rule.position as usize)
    }

    pub(super) fn path(&self, number: u32) -> Option<&PathPattern> {
        self.by_number(number).map(|rule| &*rule.path)
    }

    pub(super) fn conditions(&self, number: u32) -> &[Condition] {
        self.by_number(number).map_or(&[], |rule| &rule.conditions)
    }
}

impl Compiled {
    fn new(position: usize, rule: Rule) -> Result<Self, Problem> {
        let mut hosts = rule.hosts;
        hosts.sort();
        hosts.dedup();
        if hosts.is_empty() {
            hosts.push(HostPattern::ANY);
        }
        let mut methods = rule.methods;
        methods.sort_by(|one, other| one.as_str().cmp(other.as_str()));
        methods.dedup();
        let header_conditions = rule.headers.len();
        let mut conditions = Vec::with_capacity(header_conditions + rule.query.len());
        for header in rule.headers {
            let name = header.name.clone();
            conditions.push(Condition::header(header).map_err(|_| Problem::HeaderName(name))?);
        }
        conditions.extend(rule.query.into_iter().map(Condition::query));
        Ok(Compiled {
            position,
            route: rule.route,
            hosts: hosts.into(),
            has_params: rule.path.has_params(),
            path: Arc::new(rule.path),
            methods: methods.into(),
            conditions: conditions.into(),
            header_conditions,
        })
    }

    pub(super) fn allows(&self, method: &Method) -> bool {
        self.methods.is_empty() || self.methods.contains(method)
    }

    pub(super) fn query_conditions(&self) -> usize {
        self.conditions.len() - self.header_conditions
    }

    /// The order of two rules on one host, as defined in the room's documentation.
    fn precedence(&self) -> impl Ord {
        (
            self.path.precedence().key(),
            Reverse(!self.methods.is_empty()),
            Reverse(self.header_conditions),
            Reverse(self.query_conditions()),
            self.position,
        )
    }

    /// What the rule asks for on one host, once per method: rules with a claim in common ask for the same. Parameter
    /// names, the order of conditions and the case of header names make no difference.
    fn claims(&self, host: &HostPattern) -> Vec<Claim> {
        let mut conditions: Vec<String> = self.conditions.iter().map(Condition::to_string).collect();
        conditions.sort();
        conditions.dedup();
        let claim = |method: Option<&Method>| Claim {
            host: host.clone(),
            path: self.path.anonymous(),
            method: method.cloned(),
            conditions: conditions.clone(),
        };
        match &*self.methods {
            [] => vec![claim(None)],
            methods => methods.iter().map(|method| claim(Some(method))).collect(),
        }
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Claim {
    host: HostPattern,
    path: String,
    method: Option<Method>,
    conditions: Vec<String>,
}
