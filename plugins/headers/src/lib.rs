//! `headers` sets, appends and removes headers of the request, of the response, or both.
//!
//! Names are checked and values parsed when the plugin is configured. The gateway itself makes changes that are the
//! same for every exchange, and if there are no others, no hook is called. A header with `$(...)` in a value costs one
//! call for each change and one for each `$(...)`.

use std::collections::{BTreeMap, BTreeSet};

use gatewright_sdk::{
    Decision, Exchange, HeaderChange, Headers, Hook, MutateError, Plugin, Section, config, log, plugin, rules,
    schemars, serde,
};

mod value;

use value::Value;

/// Sets, appends and removes headers. In each direction, headers are first removed, then set, then appended. In values,
/// `$(NAME)` is an attribute of the exchange, such as `$(source.address)`, or `$(identity.subject)`; `$$(` is a literal
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
    /// Headers to set to exactly this value. One whose value has an unknown `$(NAME)` is removed.
    #[serde(default)]
    set: BTreeMap<String, String>,
    /// Values to add to existing ones: one text or a list. One with an unknown `$(NAME)` is left out.
    #[serde(default)]
    append: BTreeMap<String, OneOrMany>,
    /// Headers to remove.
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

/// The changes, parsed.
#[derive(Debug)]
pub struct HeaderRules {
    /// The same for every exchange.
    always: Vec<(Section, HeaderChange)>,
    /// Changes of headers with a value that depends on the exchange, in order.
    request: Vec<Change>,
    response: Vec<Change>,
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
        let (mut request, mut response) = (
            config.request.in_order().map_err(|why| format!("request.{why}"))?,
            config.response.in_order().map_err(|why| format!("response.{why}"))?,
        );
        let mut always = Vec::new();
        for (section, changes) in [(Section::RequestHeaders, &mut request), (Section::ResponseHeaders, &mut response)] {
            always.extend(take_fixed(changes).into_iter().map(|change| (section, change.into_fixed())));
        }
        Ok(Self { always, request, response })
    }

    fn skips(&self) -> &[Hook] {
        match (self.request.is_empty(), self.response.is_empty()) {
            (true, true) => &[Hook::Request, Hook::Response],
            (true, false) => &[Hook::Request],
            (false, true) => &[Hook::Response],
            (false, false) => &[],
        }
    }

    fn always(&self) -> Vec<(Section, HeaderChange)> {
        self.always.clone()
    }

    fn on_request(&self, exchange: &Exchange) -> Decision {
        make(&self.request, exchange, exchange.request_headers());
        Decision::Proceed
    }

    fn on_response(&self, exchange: &Exchange) -> Decision {
        make(&self.response, exchange, exchange.response_headers());
        Decision::Proceed
    }
}

/// Takes out the changes of headers for which no change depends on the exchange. The order matters within one name
/// only.
fn take_fixed(changes: &mut Vec<Change>) -> Vec<Change> {
    let depending = changes.iter().filter(|change| change.depends());
    let names: BTreeSet<String> = depending.map(|change| change.name.clone()).collect();
    changes.extract_if(.., |change| !names.contains(&change.name)).collect()
}

/// A change that the gateway refuses is logged and the others are made: better than refusing requests because of a
/// header.
fn make(changes: &[Change], exchange: &Exchange, headers: Headers<'_>) {
    for change in changes {
        if let Err(error) = change.make(exchange, headers) {
            log::warn("a header was not changed", &[("header", &change.name), ("why", &error.to_string())]);
        }
    }
}

impl Change {
    /// Whether the value depends on the exchange.
    fn depends(&self) -> bool {
        match &self.action {
            Action::Remove => false,
            Action::Set(value) | Action::Append(value) => value.fixed().is_none(),
        }
    }

    fn into_fixed(self) -> HeaderChange {
        let text = |value: &Value| value.fixed().unwrap_or_default().to_owned();
        match self.action {
            Action::Remove => HeaderChange::Remove(self.name),
            Action::Set(value) => HeaderChange::Set(self.name, text(&value)),
            Action::Append(value) => HeaderChange::Append(self.name, text(&value)),
        }
    }

    fn make(&self, exchange: &Exchange, headers: Headers<'_>) -> Result<(), MutateError> {
        match &self.action {
            Action::Remove => headers.remove(&self.name),
            Action::Set(value) => match value.resolve(exchange) {
                // The client's value must not be taken for the operator's.
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
