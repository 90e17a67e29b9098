//! `headers` sets, appends and removes headers of the request, of the response, or both.
//!
//! Names are checked and values taken apart when the plugin is configured. A request then costs one call for all
//! headers that are set to a fixed value, one for each other change, and one more for each `$(...)` in a value. Changes
//! of the response that are all fixed are said in the request hook; there is no response hook then.

use std::collections::{BTreeMap, BTreeSet};

use gatewright_sdk::{
    Decision, Exchange, HeaderBlock, Headers, Hook, MutateError, Plugin, config, log, plugin, rules, schemars, serde,
};

mod value;

use value::Value;

/// Sets, appends and removes headers. For each direction headers are first removed, then set, then appended. In values,
/// `$(NAME)` is an attribute of the exchange, such as `$(source.address)`, or `$(identity.subject)`; `$$(` is a plain
/// `$(`.
#[config]
#[derive(Debug)]
pub struct Config {
    /// Changes of the request, before it is sent on.
    #[serde(default)]
    request: Changes,
    /// Changes of the response, before it is sent to the client.
    #[serde(default)]
    response: Changes,
}

/// What becomes of one header block.
#[config]
#[derive(Debug, Default)]
pub struct Changes {
    /// Headers to have with exactly this value. One whose value has a `$(NAME)` that is not known is removed.
    #[serde(default)]
    set: BTreeMap<String, String>,
    /// Values to add to those that are there: one text or a list. One that has a `$(NAME)` that is not known is left
    /// out.
    #[serde(default)]
    append: BTreeMap<String, OneOrMany>,
    /// Headers to take away.
    #[serde(default)]
    remove: Vec<String>,
}

/// One text or a list.
#[derive(Debug, serde::Deserialize, schemars::JsonSchema)]
#[serde(crate = "gatewright_sdk::serde", untagged)]
#[schemars(crate = "gatewright_sdk::schemars")]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

/// The plugin.
#[derive(Debug)]
pub struct HeaderRules {
    request: Edits,
    response: Edits,
}

/// What is done to one header block.
#[derive(Debug)]
struct Edits {
    /// Headers that get a fixed value, as one block and one by one.
    block: HeaderBlock,
    fixed: Vec<Change>,
    /// All others, in order.
    others: Vec<Change>,
}

#[derive(Debug)]
struct Change {
    name: String,
    action: Action,
}

#[derive(Debug)]
enum Action {
    Remove,
    Set(Value),
    Append(Value),
}

#[plugin]
impl Plugin for HeaderRules {
    type Config = Config;

    fn new(config: Config) -> Result<Self, String> {
        Ok(Self {
            request: Edits::new(config.request.in_order().map_err(|why| format!("request.{why}"))?),
            response: Edits::new(config.response.in_order().map_err(|why| format!("response.{why}"))?),
        })
    }

    fn skips(&self) -> &[Hook] {
        if self.response.are_fixed() { &[Hook::Response] } else { &[] }
    }

    fn on_request(&self, exchange: &Exchange) -> Decision {
        self.request.make(exchange, exchange.request_headers());
        if self.response.are_fixed() {
            self.response.make(exchange, exchange.response_headers());
        }
        Decision::Proceed
    }

    fn on_response(&self, exchange: &Exchange) -> Decision {
        self.response.make(exchange, exchange.response_headers());
        Decision::Proceed
    }
}

impl Edits {
    fn new(changes: Vec<Change>) -> Self {
        let mut block = HeaderBlock::new();
        let (fixed, mut others): (Vec<Change>, Vec<Change>) =
            changes.into_iter().partition(|change| change.fixed().is_some());
        for change in &fixed {
            block.push(&change.name, change.fixed().unwrap_or_default());
        }
        // They come first, and what is set needs no removing.
        others.retain(|change| {
            !matches!(change.action, Action::Remove) || fixed.iter().all(|fixed| fixed.name != change.name)
        });
        Self { block, fixed, others }
    }

    /// Whether what is done is the same for every exchange.
    fn are_fixed(&self) -> bool {
        self.others.iter().all(|change| match &change.action {
            Action::Remove => true,
            Action::Set(value) | Action::Append(value) => value.fixed().is_some(),
        })
    }

    fn make(&self, exchange: &Exchange, headers: Headers<'_>) {
        if !self.block.is_empty() && headers.set_all(&self.block).is_err() {
            apply(&self.fixed, exchange, headers);
        }
        apply(&self.others, exchange, headers);
    }
}

/// A change that the gateway refuses is logged and the others are made: with fixed values that is only for lack of
/// room, and with an attribute's it is better than to refuse requests because of a header.
fn apply(changes: &[Change], exchange: &Exchange, headers: Headers<'_>) {
    for change in changes {
        if let Err(error) = change.apply(exchange, headers) {
            log::warn("a header was not changed", &[("header", &change.name), ("why", &error.to_string())]);
        }
    }
}

impl Change {
    /// The value, where the header gets one that is always the same.
    fn fixed(&self) -> Option<&str> {
        match &self.action {
            Action::Set(value) => value.fixed(),
            Action::Remove | Action::Append(_) => None,
        }
    }

    fn apply(&self, exchange: &Exchange, headers: Headers<'_>) -> Result<(), MutateError> {
        match &self.action {
            Action::Remove => headers.remove(&self.name),
            Action::Set(value) => match value.resolve(exchange) {
                // What the client sent under this name must not pass for what the operator wanted there.
                Some(value) => {
                    headers.set(&self.name, value).or_else(|refused| headers.remove(&self.name).and(Err(refused)))
                }
                None => headers.remove(&self.name),
            },
            Action::Append(value) => match value.resolve(exchange) {
                Some(value) => headers.append(&self.name, value),
                None => Ok(()),
            },
        }
    }
}

impl Changes {
    fn in_order(self) -> Result<Vec<Change>, String> {
        let mut changes = Vec::new();
        for name in self.remove {
            changes.push(change("remove", name, Action::Remove)?);
        }
        for (name, value) in self.set {
            let value = Value::parse(&value).map_err(|why| format!("set: the value of {name:?} {why}"))?;
            changes.push(change("set", name, Action::Set(value))?);
        }
        for (name, values) in self.append {
            let values = match values {
                OneOrMany::One(value) => vec![value],
                OneOrMany::Many(values) => values,
            };
            for value in values {
                let value = Value::parse(&value).map_err(|why| format!("append: the value of {name:?} {why}"))?;
                changes.push(change("append", name.clone(), Action::Append(value))?);
            }
        }
        let mut set = BTreeSet::new();
        let twice = changes
            .iter()
            .filter(|change| matches!(change.action, Action::Set(_)))
            .find(|change| !set.insert(&change.name));
        match twice {
            Some(change) => Err(format!("set: {:?} is there twice", change.name)),
            None => Ok(changes),
        }
    }
}

fn change(list: &str, name: String, action: Action) -> Result<Change, String> {
    rules::check_name(&name).map_err(|why| format!("{list}: {name:?} {why}"))?;
    Ok(Change { name: name.to_ascii_lowercase(), action })
}

#[cfg(test)]
mod tests;
