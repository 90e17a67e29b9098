//! Counts what a document asks for.
//!
//! A fragment is counted once and its counts are used wherever it is spread; so the time is linear in the length of the
//! document, while the counts may be far larger than anything that could be written out.

use std::collections::{BTreeMap, BTreeSet};

use apollo_parser::{
    Parser,
    cst::{self, CstNode},
};

use gatewright_sdk::serde_json::Value;

use crate::Variables;

/// The rules for counting.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules<'a> {
    pub costs: &'a BTreeMap<String, u64>,
    pub sizes: &'a [String],
    /// The most tokens that the parser accepts.
    pub tokens: usize,
    pub nesting: usize,
}

/// The highest counts of any operation in a document.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub depth: u64,
    pub aliases: u64,
    pub directives: u64,
    pub cost: u64,
    pub introspects: bool,
    /// Some operation is not just a read.
    pub changes: bool,
}

/// # Errors
/// Why the document cannot be executed, as a clause.
pub(crate) fn count(document: &str, variables: &Variables, rules: &Rules<'_>) -> Result<Counts, String> {
    let tree = Parser::new(document).recursion_limit(rules.nesting).token_limit(rules.tokens).parse();
    if let Some(error) = tree.errors().next() {
        return Err(format!("at byte {}: {}", error.index(), error.message().trim_end_matches('.')));
    }
    let mut operations = Vec::new();
    let mut fragments = BTreeMap::new();
    for definition in tree.document().definitions() {
        match definition {
            cst::Definition::OperationDefinition(operation) => operations.push(operation),
            cst::Definition::FragmentDefinition(fragment) => {
                let name = fragment.fragment_name().and_then(|name| name.name());
                let name = name.ok_or("a fragment has no name")?.text().to_string();
                if fragments.insert(name.clone(), fragment).is_some() {
                    return Err(format!("the fragment {name} is there twice"));
                }
            }
            _ => return Err("it defines types".to_owned()),
        }
    }
    if operations.is_empty() {
        return Err("there is no operation".to_owned());
    }
    let mut most = Counts::default();
    for operation in operations {
        // The cost of a fragment depends on the operation's variables, so each operation is counted anew.
        let mut counter = Counter {
            rules,
            fragments: &fragments,
            counted: BTreeMap::new(),
            open: BTreeSet::new(),
            nesting: 0,
            sizes: sizes(&operation, variables),
        };
        let mut counts = counter.selection(operation.selection_set())?;
        counts.directives = counts.directives.saturating_add(directives(operation.directives()));
        let kind = operation.operation_type();
        counts.changes = kind.is_some_and(|kind| kind.query_token().is_none());
        most = most.or(counts);
    }
    Ok(most)
}

struct Counter<'a> {
    rules: &'a Rules<'a>,
    fragments: &'a BTreeMap<String, cst::FragmentDefinition>,
    counted: BTreeMap<String, Counts>,
    /// The fragments that are being counted.
    open: BTreeSet<String>,
    nesting: usize,
    /// Variables that are integers.
    sizes: BTreeMap<String, u64>,
}

impl Counter<'_> {
    fn selection(&mut self, set: Option<cst::SelectionSet>) -> Result<Counts, String> {
        let mut counts = Counts::default();
        self.nesting += 1;
        if self.nesting > MOST_NESTING {
            return Err("it is nested too deep".to_owned());
        }
        for selection in set.into_iter().flat_map(|set| set.selections()) {
            counts = counts.and(match selection {
                cst::Selection::Field(field) => self.field(&field)?,
                cst::Selection::FragmentSpread(spread) => {
                    let name = spread.fragment_name().and_then(|name| name.name()).ok_or("a spread has no name")?;
                    self.fragment(name.text().as_ref())?.with_directives(spread.directives())
                }
                cst::Selection::InlineFragment(inline) => {
                    self.selection(inline.selection_set())?.with_directives(inline.directives())
                }
            });
        }
        self.nesting -= 1;
        Ok(counts)
    }

    fn field(&mut self, field: &cst::Field) -> Result<Counts, String> {
        let name = field.name().ok_or("a field has no name")?.text().to_string();
        let mut counts = self.selection(field.selection_set())?;
        let own = self.rules.costs.get(&name).copied().unwrap_or(1);
        counts.cost = counts.cost.saturating_mul(self.size(field)).saturating_add(own);
        counts.depth = counts.depth.saturating_add(1);
        counts.aliases = counts.aliases.saturating_add(field.alias().is_some().into());
        counts.introspects |= matches!(name.as_str(), "__schema" | "__type");
        Ok(counts.with_directives(field.directives()))
    }

    /// How many items a field asks for: the largest of its sizes.
    fn size(&self, field: &cst::Field) -> u64 {
        let arguments = field.arguments().into_iter().flat_map(|arguments| arguments.arguments());
        let sizes = arguments.filter_map(|argument| {
            let name = argument.name()?.text().to_string();
            if !self.rules.sizes.contains(&name) {
                return None;
            }
            match argument.value()? {
                cst::Value::Variable(variable) => self.sizes.get(&variable.name()?.text().to_string()).copied(),
                value => whole(&value),
            }
        });
        sizes.max().unwrap_or(1).max(1)
    }

    fn fragment(&mut self, name: &str) -> Result<Counts, String> {
        if let Some(counts) = self.counted.get(name) {
            return Ok(*counts);
        }
        let fragments = self.fragments;
        let fragment = fragments.get(name).ok_or_else(|| format!("there is no fragment {name}"))?;
        if !self.open.insert(name.to_owned()) {
            return Err(format!("the fragment {name} has itself in it"));
        }
        let counts = self.selection(fragment.selection_set())?.with_directives(fragment.directives());
        self.open.remove(name);
        self.counted.insert(name.to_owned(), counts);
        Ok(counts)
    }
}

impl Counts {
    /// The sum.
    fn and(self, other: Self) -> Self {
        Self {
            depth: self.depth.max(other.depth),
            aliases: self.aliases.saturating_add(other.aliases),
            directives: self.directives.saturating_add(other.directives),
            cost: self.cost.saturating_add(other.cost),
            introspects: self.introspects || other.introspects,
            changes: self.changes || other.changes,
        }
    }

    /// The maximum of each count.
    fn or(self, other: Self) -> Self {
        Self {
            depth: self.depth.max(other.depth),
            aliases: self.aliases.max(other.aliases),
            directives: self.directives.max(other.directives),
            cost: self.cost.max(other.cost),
            introspects: self.introspects || other.introspects,
            changes: self.changes || other.changes,
        }
    }

    fn with_directives(mut self, found: Option<cst::Directives>) -> Self {
        self.directives = self.directives.saturating_add(directives(found));
        self
    }
}

fn directives(found: Option<cst::Directives>) -> u64 {
    found.map_or(0, |found| found.directives().count() as u64)
}

/// The operation's variables: the values sent with it, otherwise their defaults.
fn sizes(operation: &cst::OperationDefinition, variables: &Variables) -> BTreeMap<String, u64> {
    let definitions =
        operation.variable_definitions().into_iter().flat_map(|definitions| definitions.variable_definitions());
    let sizes = definitions.filter_map(|definition| {
        let name = definition.variable()?.name()?.text().to_string();
        let size = match variables.get(&name) {
            Some(value) => given(value),
            None => definition.default_value().and_then(|default| default.value()).and_then(|value| whole(&value)),
        };
        Some((name, size?))
    });
    sizes.collect()
}

/// A size given by a client. Servers accept `1e3` and `1000.0` as integers, and some a text with an integer.
fn given(value: &Value) -> Option<u64> {
    match value {
        Value::Number(number) => number.as_u64().or_else(|| number.as_f64().and_then(rounded)),
        Value::String(text) => text.trim().parse().ok().or_else(|| text.trim().parse().ok().and_then(rounded)),
        _ => None,
    }
}

/// Rounded up; a number that does not fit counts as the maximum.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn rounded(number: f64) -> Option<u64> {
    (number >= 0.0).then(|| number.ceil() as u64)
}

/// An integer literal; one that does not fit counts as the maximum.
fn whole(value: &cst::Value) -> Option<u64> {
    let cst::Value::IntValue(number) = value else { return None };
    let digits = number.source_string();
    let digits = digits.trim();
    if digits.starts_with('-') { None } else { Some(digits.parse().unwrap_or(u64::MAX)) }
}

/// How deeply selections may be nested, including those of fragments.
const MOST_NESTING: usize = 256;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use gatewright_sdk::serde_json::{self, json};

    use super::*;

    fn counted(document: &str, variables: serde_json::Value) -> Result<Counts, String> {
        let costs = BTreeMap::from([("search".to_owned(), 10)]);
        let sizes = ["first", "last"].map(str::to_owned);
        let rules = Rules { costs: &costs, sizes: &sizes, tokens: 5000, nesting: 64 };
        let variables = serde_json::from_value(variables).unwrap();
        count(document, &variables, &rules)
    }

    fn numbers(document: &str) -> (u64, u64, u64, u64) {
        let counts = counted(document, json!({ "n": 7 })).unwrap();
        (counts.depth, counts.aliases, counts.directives, counts.cost)
    }

    #[test]
    fn depth_aliases_directives_and_cost() {
        for (document, expected) in [
            ("{ a }", (1, 0, 0, 1)),
            ("query Q { a { b { c } } d }", (3, 0, 0, 4)),
            ("{ x: a y: a { z: b } }", (2, 3, 0, 3)),
            ("query @a { b @c(d: 1) @e { ... @f { g } } }", (2, 0, 4, 2)),
            ("{ search { a } }", (2, 0, 0, 11)),
            ("{ list(first: 10) { a b } }", (2, 0, 0, 21)),
            ("{ list(first: 10) { list(last: 10) { a } } }", (3, 0, 0, 111)),
            ("query($n: Int) { list(first: $n) { a } }", (2, 0, 0, 8)),
            ("query($m: Int = 100) { list(first: $m) { a } }", (2, 0, 0, 101)),
            ("{ list(first: 99999999999999999999) { a } }", (2, 0, 0, u64::MAX)),
            ("{ list(first: 0) { a } }", (2, 0, 0, 2)),
            ("{ ...F ...F } fragment F on T { a { x: b } }", (2, 2, 0, 4)),
            ("{ a { ...F } } fragment F on T { ...G } fragment G on T { b { c } }", (3, 0, 0, 3)),
            ("{ a } query B { a { b } }", (2, 0, 0, 2)),
            ("{ a(text: \"{ b { c } }\") # { d { e } }\n }", (1, 0, 0, 1)),
        ] {
            assert_eq!(numbers(document), expected, "{document}");
        }
    }

    #[test]
    fn sizes_in_variables_are_counted_however_they_are_written() {
        for (size, cost) in [
            ("1000", 1001),
            ("1e3", 1001),
            ("1000.0", 1001),
            ("999.5", 1001),
            ("\"1000\"", 1001),
            ("\" 1e3 \"", 1001),
            ("1e300", u64::MAX),
            ("99999999999999999999", u64::MAX),
            ("-1", 2),
            ("-1e3", 2),
            ("\"many\"", 2),
            ("null", 2),
            ("[1000]", 2),
        ] {
            let variables = serde_json::from_str(&format!("{{\"n\":{size}}}")).unwrap();
            let counts = counted("query($n: Int) { list(first: $n) { a } }", variables).unwrap();
            assert_eq!(counts.cost, cost, "{size}");
        }
    }

    #[test]
    fn what_is_spread_again_and_again_is_counted_and_not_written_out() {
        let doubling: String = (0..60)
            .map(|n| format!("fragment F{n} on T {{ x: a {{ ...F{m} }} y: a {{ ...F{m} }} }} ", m = n + 1))
            .collect();
        let document = format!("{{ ...F0 }} {doubling} fragment F60 on T {{ a }}");
        let counts = counted(&document, json!({})).unwrap();
        assert_eq!(counts.depth, 61);
        assert!(counts.cost > 1 << 60 && counts.aliases > 1 << 60);
    }

    #[test]
    fn introspection_and_changes() {
        let of =
            |document: &str| counted(document, json!({})).map(|counts| (counts.introspects, counts.changes)).unwrap();
        assert_eq!(of("{ __typename }"), (false, false));
        assert_eq!(of("{ s: __schema { types { name } } }"), (true, false));
        assert_eq!(of("{ ...F } fragment F on Query { __type(name: \"A\") { name } }"), (true, false));
        assert_eq!(of("mutation { a }"), (false, true));
        assert_eq!(of("subscription S { a }"), (false, true));
        assert_eq!(of("query A { a } mutation B { a }"), (false, true));
    }

    #[test]
    fn what_is_no_document_is_told() {
        let deep = ["{ a ".repeat(5000), "}".repeat(5000)].concat();
        let lists = format!("{{ a(b: {}1{}) }}", "[".repeat(5000), "]".repeat(5000));
        let long = format!("{{ {} }}", "a ".repeat(6000));
        for document in [
            "",
            "{",
            "{ }",
            "}",
            "{ a",
            "nonsense",
            "{ a(b: ) }",
            "{ \"a\" }",
            "type A { b: Int }",
            "fragment F on T { a }",
            "{ ...F }",
            "{ ...F } fragment F on T { ...G } fragment G on T { ...F }",
            "{ ...F } fragment F on T { a } fragment F on T { b }",
            &deep,
            &lists,
            &long,
        ] {
            assert!(counted(document, json!({})).is_err(), "{document:.60}");
        }
    }
}
