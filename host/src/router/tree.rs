//! The paths below one host: a table of exact paths, a trie of segments for templates and prefixes, a list of regexes.
//!
//! A trie with both literals and parameters can have several patterns for one path, and which takes precedence depends
//! on all of their segments. So the search follows both branches, and skips every branch whose best rule ranks below
//! one already found. It visits few nodes in practice; the worst that a configuration can build costs one visit for
//! each of its own nodes.
//!
//! Nodes are stored in one list, those of one pattern next to each other, and most have one literal below them, which
//! needs no table: with 10,000 patterns the cost of a lookup is the cache lines it touches.

use super::candidates::Candidates;
use super::path::{Segment, Shape};
use super::table::{Key, Table};
use super::{RequestView, Rules};

#[derive(Debug, Default)]
pub(super) struct PathTree {
    exact: Table<Key, Candidates>,
    /// The first is the root.
    nodes: Vec<Node>,
    /// Rules with a regex path, in order of precedence.
    regexes: Vec<u32>,
}

/// What may follow the same first segments.
#[derive(Debug)]
struct Node {
    literals: Literals,
    parameter: Option<u32>,
    /// Templates that end here.
    closed: Candidates,
    /// Prefixes that end here.
    open: Candidates,
    /// The rule with the highest precedence in and below this node.
    best: u32,
}

/// The children of a node by their segment.
#[derive(Debug, Default)]
enum Literals {
    #[default]
    None,
    One(Key, u32),
    Many(Table<Key, u32>),
}

impl PathTree {
    /// Adds a rule that comes after all present ones.
    pub(super) fn push(&mut self, rules: &Rules, rule: u32) {
        let Some(pattern) = rules.path(rule) else { return };
        match pattern.shape() {
            Shape::Exact => self.exact.entry(pattern.as_str().as_bytes().into()).or_default().push(rule),
            Shape::Template(segments) => self.node(segments, rule).closed.push(rule),
            Shape::Prefix { segments, .. } => self.node(segments, rule).open.push(rule),
            Shape::Regex(_) => self.regexes.push(rule),
        }
    }

    /// Called once, when all rules have been added.
    pub(super) fn index(&mut self, rules: &Rules) {
        let of_nodes = self.nodes.iter_mut().flat_map(|node| [&mut node.closed, &mut node.open]);
        self.exact.values_mut().chain(of_nodes).for_each(|candidates| candidates.index(rules));
    }

    pub(super) fn regex_count(&self) -> usize {
        self.regexes.len()
    }

    /// The first rule that the request meets. Exact paths go before all others, and regexes before nothing in the trie
    /// but a catch-all.
    pub(super) fn find(&self, rules: &Rules, request: &RequestView<'_>) -> Option<u32> {
        if let Some(candidates) = self.exact.get(request.path.as_bytes())
            && let Some(rule) = candidates.find(rules, request, u32::MAX)
        {
            return Some(rule);
        }
        let mut search = Search { nodes: &self.nodes, rules, request, found: None };
        search.visit(ROOT, request.path.as_bytes().strip_prefix(b"/"));
        let limit = search.found.unwrap_or(u32::MAX);
        let mut before = self.regexes.iter().copied().take_while(|rule| *rule < limit);
        let regex = before.find(|rule| {
            rules.passes(*rule, request) && rules.path(*rule).is_some_and(|pattern| pattern.matches(request.path))
        });
        regex.or(search.found)
    }

    /// The node at the end of these segments, created if missing, for a rule that comes after all others.
    fn node(&mut self, segments: &[Segment], rule: u32) -> &mut Node {
        if self.nodes.is_empty() {
            self.nodes.push(Node::new(rule));
        }
        let mut place = ROOT as usize;
        for segment in segments {
            let new = u32::try_from(self.nodes.len()).unwrap_or(u32::MAX);
            let below = match segment {
                Segment::Literal(text) => self.nodes[place].literals.get_or_insert(text.as_bytes(), new),
                Segment::Parameter(_) => *self.nodes[place].parameter.get_or_insert(new),
            };
            if below == new {
                self.nodes.push(Node::new(rule));
            }
            place = below as usize;
        }
        &mut self.nodes[place]
    }
}

impl Node {
    /// Rules are added in order of precedence, so the one that a node is created for is its best.
    fn new(best: u32) -> Self {
        Node { literals: Literals::None, parameter: None, closed: Candidates::None, open: Candidates::None, best }
    }
}

impl Literals {
    fn get(&self, segment: &[u8]) -> Option<u32> {
        match self {
            Literals::None => None,
            Literals::One(literal, node) => (literal.as_slice() == segment).then_some(*node),
            Literals::Many(table) => table.get(segment).copied(),
        }
    }

    fn get_or_insert(&mut self, segment: &[u8], new: u32) -> u32 {
        if let Some(node) = self.get(segment) {
            return node;
        }
        *self = match std::mem::take(self) {
            Literals::None => Literals::One(segment.into(), new),
            Literals::One(literal, node) => {
                Literals::Many([(literal, node), (segment.into(), new)].into_iter().collect())
            }
            Literals::Many(mut table) => {
                table.insert(segment.into(), new);
                Literals::Many(table)
            }
        };
        new
    }
}

struct Search<'a> {
    nodes: &'a [Node],
    rules: &'a Rules,
    request: &'a RequestView<'a>,
    /// The first rule so far.
    found: Option<u32>,
}

impl Search<'_> {
    /// `rest` is the part of the path after the segments of the node; `None` at its end. The recursion is at most as
    /// deep as the longest pattern has segments.
    fn visit(&mut self, place: u32, rest: Option<&[u8]>) {
        let Some(node) = self.nodes.get(place as usize) else { return };
        if self.found.is_some_and(|found| found < node.best) {
            return;
        }
        match rest {
            None => self.choose(&node.closed),
            Some(rest) => {
                let (segment, rest) = split_segment(rest);
                if let Some(below) = node.literals.get(segment) {
                    self.visit(below, rest);
                }
                if let Some(below) = node.parameter.filter(|_| !segment.is_empty()) {
                    self.visit(below, rest);
                }
            }
        }
        self.choose(&node.open);
    }

    fn choose(&mut self, candidates: &Candidates) {
        let limit = self.found.unwrap_or(u32::MAX);
        self.found = candidates.find(self.rules, self.request, limit).or(self.found);
    }
}

/// The first segment, and what follows the slash after it. Segments are short: a plain loop over the bytes is faster
/// than the search that `str::split_once` sets up.
fn split_segment(rest: &[u8]) -> (&[u8], Option<&[u8]>) {
    let slash = rest.iter().position(|byte| *byte == b'/');
    match slash.and_then(|slash| rest.split_at_checked(slash)) {
        Some((segment, [_, rest @ ..])) => (segment, Some(rest)),
        _ => (rest, None),
    }
}

const ROOT: u32 = 0;
