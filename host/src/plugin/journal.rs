//! What a hook changed, so that the changes of a failed hook can be rolled back.
//!
//! Each change records the previous value; a trap replays the records in reverse. Copying the exchange before each hook
//! would make every successful hook pay for what only a failed one needs.

use http::header::{HeaderName, HeaderValue};
use http::uri::PathAndQuery;
use http::{HeaderMap, Method, StatusCode};
use smallvec::SmallVec;

use super::bindings::{Direction, Section};
use super::edit;
use super::run::{Codecs, Mode};
use crate::exchange::{Caller, Parts};

/// The changes of the running hook, oldest first.
#[derive(Default)]
pub(super) struct Journal(SmallVec<[Change; 4]>);

/// One change, recorded as the previous value.
pub(super) enum Change {
    Header {
        section: Section,
        name: HeaderName,
        values: SmallVec<[HeaderValue; 1]>,
    },
    Method(Method),
    Target(PathAndQuery),
    Status(Option<StatusCode>),
    Upstream(Option<Box<str>>),
    Attribute {
        name: Box<str>,
        value: Option<Box<str>>,
    },
    Identity(Option<Caller>),
    BodyMode(Direction, Mode),
    Codecs(Direction, Codecs),
    State(Vec<u8>),
    /// How many deferred changes to the response there were.
    Later(usize),
}

impl Journal {
    pub fn note(&mut self, change: Change) {
        self.0.push(change);
    }

    /// How many changes there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Undoes the changes after the first `count`, because they exceed a limit.
    pub fn undo_to(&mut self, count: usize, exchange: &mut Parts, position: usize) {
        while self.0.len() > count
            && let Some(change) = self.0.pop()
        {
            change.undo(exchange, position);
        }
    }

    /// The hook succeeded: its changes stay.
    pub fn commit(&mut self) {
        self.0.clear();
    }

    /// The hook failed: restores the state before it. `position` is the plugin's position in the chain.
    pub fn roll_back(&mut self, exchange: &mut Parts, position: usize) {
        self.undo_to(0, exchange, position);
    }
}

impl Change {
    /// Records all values of a header.
    pub fn of_header(section: Section, name: &HeaderName, headers: &HeaderMap) -> Change {
        Change::Header { section, name: name.clone(), values: headers.get_all(name).iter().cloned().collect() }
    }

    fn undo(self, exchange: &mut Parts, position: usize) {
        match self {
            Change::Header { section, name, values } => {
                let headers = edit::headers_mut(exchange, section);
                headers.remove(&name);
                for value in values {
                    headers.append(name.clone(), value);
                }
            }
            Change::Method(method) => exchange.request.method = method,
            Change::Target(target) => exchange.request.target = target,
            Change::Status(status) => exchange.response.status = status,
            Change::Upstream(upstream) => exchange.upstream_choice = upstream,
            Change::Attribute { name, value } => {
                exchange.attributes.retain(|(key, _)| *key != name);
                if let Some(value) = value {
                    exchange.attributes.push((name, value));
                }
            }
            Change::Identity(identity) => exchange.identity = identity,
            Change::BodyMode(direction, mode) => {
                if let Some(slot) = exchange.run.slot(position) {
                    *slot.mode_mut(direction) = mode;
                }
            }
            Change::Codecs(direction, codecs) => {
                if let Some(slot) = exchange.run.slot(position) {
                    *slot.codecs_mut(direction) = codecs;
                }
            }
            Change::Later(count) => {
                if let Some(slot) = exchange.run.slot(position) {
                    slot.later.truncate(count);
                }
            }
            Change::State(state) => {
                if let Some(slot) = exchange.run.slot(position) {
                    slot.state = state;
                }
            }
        }
    }
}
