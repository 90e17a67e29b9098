//! `rewrite` changes path, query, method and headers of requests by conditions.
//!
//! A route's own `rewrite` changes every request of the route in the same way, and costs next to nothing. This plugin
//! is for changes that depend on the request: on a header, on an argument of the query, on a part of the path.

use std::collections::{BTreeMap, BTreeSet};

use gatewright_sdk::{
    Decision, Exchange, Method, Metric, MutateError, Plugin, Response, StatusCode, config, log, plugin, rules,
};

mod condition;
mod query;
mod template;

use condition::{Captures, Condition};
use query::Query;
use template::Template;

/// Rewrites requests, by conditions.
#[config]
#[derive(Debug)]
pub struct Config {
    /// The rules, in order. Each sees the request as changed by the rules before it.
    #[schemars(length(min = 1))]
    rules: Vec<Rule>,
}

/// Changes to a request that meets the conditions. In values, `$(name)` is a capture of the conditions or an attribute
/// of the exchange; a literal `$(` is written `$$(`.
#[config]
#[derive(Debug)]
pub struct Rule {
    /// The conditions, which the request must all meet. Default: the rule always applies.
    #[serde(default)]
    when: When,
    /// The new method.
    method: Option<String>,
    /// The new path, without the query. It begins with `/`.
    path: Option<String>,
    /// Changes of the query.
    #[serde(default)]
    query: QueryChanges,
    /// Changes of the request's headers.
    #[serde(default)]
    headers: HeaderChanges,
    /// Whether to stop after this rule if it applies.
    #[serde(default)]
    last: bool,
}

/// Conditions. Patterns are regular expressions for the whole of a text; a group with a name, `(?<name>...)`, captures.
#[config]
#[derive(Debug, Default)]
pub struct When {
    /// The method is one of these.
    #[serde(default)]
    methods: Vec<String>,
    /// A pattern for the path, as sent and without the query.
    path: Option<String>,
    /// A pattern for the host, with its port if it has one.
    host: Option<String>,
    /// Patterns for headers, by name. One of the header's values must match.
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// Patterns for query arguments, by name, percent-decoded. One of the argument's values must match.
    #[serde(default)]
    query: BTreeMap<String, String>,
    /// Headers that must be absent.
    #[serde(default)]
    without_headers: Vec<String>,
    /// Query arguments that must be absent.
    #[serde(default)]
    without_query: Vec<String>,
}

/// Changes of the query, made in this order: `keep`, `remove`, `rename`, `set`, `append`. Names and values are written plainly
/// and percent-encoded by the gateway.
#[config]
#[derive(Debug, Default)]
pub struct QueryChanges {
    /// Only these arguments are kept.
    keep: Option<Vec<String>>,
    /// Arguments to remove.
    #[serde(default)]
    remove: Vec<String>,
    /// New names of arguments.
    #[serde(default)]
    rename: BTreeMap<String, String>,
    /// Arguments to set to exactly this value.
    #[serde(default)]
    set: BTreeMap<String, String>,
    /// Arguments to add.
    #[serde(default)]
    append: BTreeMap<String, String>,
}

/// Changes of headers, made in this order: `remove`, `set`, `append`.
#[config]
#[derive(Debug, Default)]
pub struct HeaderChanges {
    /// Headers to remove.
    #[serde(default)]
    remove: Vec<String>,
    /// Headers to set to exactly this value.
    #[serde(default)]
    set: BTreeMap<String, String>,
    /// Values to add to headers.
    #[serde(default)]
    append: BTreeMap<String, String>,
}

static REWRITTEN: Metric = Metric::counter("rewritten", "Rules that applied.", &[]);
static REFUSED: Metric = Metric::counter("refused", "Requests whose new path or method is none.", &[]);

/// The plugin.
#[derive(Debug)]
pub struct Rewrite {
    rules: Vec<Compiled>,
    refusal: Response,
}

#[derive(Debug)]
struct Compiled {
    when: Condition,
    method: Option<Method>,
    path: Option<Template>,
    query: query::Changes,
    headers: Vec<(String, Edit)>,
    last: bool,
}

#[derive(Debug)]
enum Edit {
    Remove,
    Set(Template),
    Append(Template),
}

#[plugin]
impl Plugin for Rewrite {
    type Config = Config;

    const METRICS: &'static [&'static Metric] = &[&REWRITTEN, &REFUSED];

    fn new(config: Config) -> Result<Self, String> {
        let numbered = config.rules.into_iter().enumerate();
        let rules = numbered.map(|(index, rule)| Compiled::new(rule).map_err(|why| format!("rules.{index}.{why}")));
        Ok(Self {
            rules: rules.collect::<Result<_, _>>()?,
            refusal: Response::problem(StatusCode::BAD_REQUEST, "Bad Request", "The request cannot be rewritten."),
        })
    }

    fn on_request(&self, exchange: &Exchange) -> Decision {
        for rule in &self.rules {
            let Some(captures) = rule.when.captures(exchange) else { continue };
            REWRITTEN.add(1, &[]);
            if let Err(error) = rule.apply(exchange, &captures) {
                // It must not go on unchanged: the rule may protect the upstream.
                REFUSED.add(1, &[]);
                log::warn("the request cannot be rewritten", &[("why", &error.to_string())]);
                return Decision::Respond(self.refusal.clone());
            }
            if rule.last {
                break;
            }
        }
        Decision::Proceed
    }
}

impl Compiled {
    fn new(rule: Rule) -> Result<Self, String> {
        let method = match rule.method {
            None => None,
            Some(text) => match Method::from_bytes(text.as_bytes()) {
                Ok(method) if method != Method::CONNECT => Some(method),
                _ => return Err(format!("method: {text:?} is no method that a request may have")),
            },
        };
        let when = Condition::new(rule.when).map_err(|why| format!("when.{why}"))?;
        let groups = when.groups();
        let path = rule.path.map(|text| Template::path(&text, &groups).map_err(|why| format!("path: {text:?} {why}")));
        let path = path.transpose()?;
        if path.as_ref().is_some_and(|path| !path.begins_with('/')) {
            return Err("path: it does not begin with \"/\"".to_owned());
        }
        Ok(Self {
            when,
            method,
            path,
            query: query::Changes::new(rule.query, &groups).map_err(|why| format!("query.{why}"))?,
            headers: edits(rule.headers, &groups).map_err(|why| format!("headers.{why}"))?,
            last: rule.last,
        })
    }

    fn apply(&self, exchange: &Exchange, captures: &Captures) -> Result<(), MutateError> {
        if let Some(method) = &self.method {
            exchange.set_method(method)?;
        }
        if self.path.is_some() || !self.query.is_empty() {
            let target = exchange.path();
            let (path, query) =
                target.split_once('?').map_or((target.as_str(), None), |(path, query)| (path, Some(query)));
            let path = self.path.as_ref().map_or_else(|| path.to_owned(), |new| new.as_path(exchange, captures));
            let mut query = Query::parse(query);
            self.query.make(&mut query, exchange, captures);
            exchange.set_path(&query.behind(path))?;
        }
        let headers = exchange.request_headers();
        for (name, edit) in &self.headers {
            match edit {
                Edit::Remove => headers.remove(name)?,
                Edit::Set(value) => headers.set(name, value.as_text(exchange, captures))?,
                Edit::Append(value) => headers.append(name, value.as_text(exchange, captures))?,
            }
        }
        Ok(())
    }
}

fn edits(changes: HeaderChanges, groups: &BTreeSet<String>) -> Result<Vec<(String, Edit)>, String> {
    let HeaderChanges { remove, set, append } = changes;
    let removed = remove.into_iter().map(|name| ("remove", name, None));
    let set = set.into_iter().map(|(name, value)| ("set", name, Some(value)));
    let append = append.into_iter().map(|(name, value)| ("append", name, Some(value)));
    let mut edits = Vec::new();
    for (list, name, value) in removed.chain(set).chain(append) {
        rules::check_name(&name).map_err(|why| format!("{list}: {name:?} {why}"))?;
        let edit = match value {
            None => Edit::Remove,
            Some(text) => {
                rules::check_value(&text).map_err(|why| format!("{list}: the value of {name:?} {why}"))?;
                let value =
                    Template::parse(&text, groups).map_err(|why| format!("{list}: the value of {name:?} {why}"))?;
                if list == "set" { Edit::Set(value) } else { Edit::Append(value) }
            }
        };
        edits.push((name.to_ascii_lowercase(), edit));
    }
    Ok(edits)
}

#[cfg(test)]
mod tests;
