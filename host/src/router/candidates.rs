//! The rules that share one host and one path: which of them a request's method, headers and query select.
//!
//! A few rules are tried one after another. Many rules on one path (one per tenant, told apart by a header) are found
//! through the distinguishing value, so that their number costs nothing. Only rules without a condition on an exact
//! value are still tried in turn; they differ by method, or by regex and presence, and are few by nature.

use std::collections::{HashMap, HashSet};

use super::condition::{Condition, Source};
use super::table::{Key, Table};
use super::{RequestView, Rules, ValueTest};

/// Rules by their number, which is their precedence.
#[derive(Debug, Default)]
pub(super) enum Candidates {
    #[default]
    None,
    One(u32),
    Many(Box<Set>),
}

/// All lists here are in ascending order.
#[derive(Debug, Default)]
pub(super) struct Set {
    tried: Vec<u32>,
    indexed: Vec<Index>,
}

/// Rules by the exact value that they require.
#[derive(Debug)]
struct Index {
    source: Source,
    by_value: Table<Key, Vec<u32>>,
}

impl Candidates {
    /// Adds a rule that comes after all present ones.
    pub(super) fn push(&mut self, rule: u32) {
        match self {
            Candidates::None => *self = Candidates::One(rule),
            Candidates::One(first) => {
                *self = Candidates::Many(Box::new(Set { tried: vec![*first, rule], indexed: Vec::new() }));
            }
            Candidates::Many(set) => set.tried.push(rule),
        }
    }

    /// Sorts many rules into tables. Called once, when all rules have been added.
    pub(super) fn index(&mut self, rules: &Rules) {
        if let Candidates::Many(set) = self
            && set.tried.len() > TRIED_AT_MOST
        {
            set.index(rules);
        }
    }

    /// The first rule before `limit` whose conditions the request meets.
    pub(super) fn find(&self, rules: &Rules, request: &RequestView<'_>, limit: u32) -> Option<u32> {
        match self {
            Candidates::None => None,
            Candidates::One(rule) => (*rule < limit && rules.passes(*rule, request)).then_some(*rule),
            Candidates::Many(set) => set.find(rules, request, limit),
        }
    }
}

impl Set {
    fn find(&self, rules: &Rules, request: &RequestView<'_>, mut limit: u32) -> Option<u32> {
        let mut found = None;
        let mut try_each = |list: &[u32]| {
            let mut before = list.iter().copied().take_while(|rule| *rule < limit);
            if let Some(rule) = before.find(|rule| rules.passes(*rule, request)) {
                found = Some(rule);
                limit = rule;
            }
        };
        try_each(&self.tried);
        for index in &self.indexed {
            index.source.any_value(request, |value| {
                if let Some(list) = index.by_value.get(value) {
                    try_each(list);
                }
                false // Another line of the header may lead to a better rule.
            });
        }
        found
    }

    /// A rule is indexed by that of its exact conditions whose values vary most over the whole list: a version header
    /// that is the same for all rules would put them into one bucket.
    fn index(&mut self, rules: &Rules) {
        let mut values: HashMap<&Source, HashSet<&str>> = HashMap::new();
        for (source, value) in self.tried.iter().flat_map(|rule| exact_conditions(rules.conditions(*rule))) {
            values.entry(source).or_default().insert(value);
        }
        for rule in std::mem::take(&mut self.tried) {
            let exact = exact_conditions(rules.conditions(rule));
            match exact.max_by_key(|(source, _)| values.get(source).map_or(0, HashSet::len)) {
                Some((source, value)) => self.index_under(source, value, rule),
                None => self.tried.push(rule),
            }
        }
    }

    fn index_under(&mut self, source: &Source, value: &str, rule: u32) {
        let known = self.indexed.iter_mut().position(|index| index.source == *source);
        let place = known.unwrap_or_else(|| {
            self.indexed.push(Index { source: source.clone(), by_value: Table::default() });
            self.indexed.len() - 1
        });
        self.indexed[place].by_value.entry(value.as_bytes().into()).or_default().push(rule);
    }
}

fn exact_conditions(conditions: &[Condition]) -> impl Iterator<Item = (&Source, &str)> {
    conditions.iter().filter_map(|condition| match &condition.test {
        ValueTest::Exact(value) => Some((&condition.source, value.as_str())),
        ValueTest::Regex(_) | ValueTest::Present | ValueTest::Absent => None,
    })
}

/// Up to this many rules, trying each is as fast as a table.
const TRIED_AT_MOST: usize = 8;
