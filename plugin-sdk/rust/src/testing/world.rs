//! The state of the double, one per thread.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet, VecDeque},
    fmt,
    time::Duration,
};

use super::{meters::Meters, store::Store};
use crate::{
    BodyMode, Direction, HeaderChange, Hook, Identity, MutateError, Section,
    codec::{Bounds, Coding},
    http_client::{self, CallError},
    json_schema::Violation,
    jwt::VerifyError,
    log::Level,
    single_flight::Turn,
};

/// Runs `look` on this thread's world.
///
/// The world is borrowed meanwhile, so nothing of a test or a plugin may run in it.
pub(crate) fn with<T>(look: impl FnOnce(&mut World) -> T) -> T {
    thread_local! { static WORLD: RefCell<World> = RefCell::default(); }
    WORLD.with_borrow_mut(look)
}

#[derive(Default)]
pub(crate) struct World {
    pub(crate) phase: Phase,
    /// The hooks that the last configured plugin skips.
    pub(crate) skipped: Vec<Hook>,
    /// The changes it declared for every exchange.
    pub(crate) always: Vec<(Section, HeaderChange)>,
    pub(crate) exchange: Exchange,
    /// Time since the double was made, which is when the time of the limiter and the store begins.
    pub(crate) elapsed: Duration,
    pub(crate) meters: Meters,
    pub(crate) limits_unavailable: bool,
    /// How many places are taken, by key.
    pub(crate) places: BTreeMap<String, u32>,
    pub(crate) store: Store,
    pub(crate) random: u64,
    pub(crate) lines: Vec<Line>,
    pub(crate) metrics_declared: Vec<&'static str>,
    pub(crate) measures: Vec<Measure>,
    /// Consumer, claims, definition.
    pub(crate) credentials: Vec<(String, String, String)>,
    /// Consumer, definition.
    pub(crate) consumer_limits: Vec<(String, String)>,
    /// What was sealed: the secret and purpose, and the message.
    pub(crate) sealed: BTreeMap<Vec<u8>, ([String; 2], Vec<u8>)>,
    pub(crate) secrets: BTreeMap<String, String>,
    pub(crate) keys: BTreeMap<String, String>,
    pub(crate) keys_refused: Option<String>,
    pub(crate) tokens: BTreeMap<String, Result<String, VerifyError>>,
    /// Keys whose turn the running hook has.
    pub(crate) turns: BTreeSet<String>,
    /// The result of others' turns, whatever the key.
    pub(crate) others_turn: Option<Turn>,
    /// By key set.
    pub(crate) discovered: BTreeMap<String, String>,
    /// The schemas that were declared, by name and place.
    pub(crate) schemas: BTreeSet<(String, String)>,
    pub(crate) violations: BTreeMap<(String, String), Vec<Violation>>,
    pub(crate) checked: Vec<(String, String, serde_json::Value)>,
    /// By key, algorithm and message.
    pub(crate) signatures: BTreeMap<String, Vec<u8>>,
    pub(crate) passwords: BTreeMap<String, String>,
    pub(crate) passwords_checked: Vec<String>,
    pub(crate) passwords_busy: bool,
    pub(crate) upstreams: BTreeMap<String, Answer>,
    pub(crate) route_upstreams: Vec<String>,
    pub(crate) calls: Vec<http_client::Request>,
    /// Calls that the running hook began, with their answers.
    pub(crate) running: VecDeque<(u32, Result<http_client::Response, CallError>)>,
}

impl World {
    /// Makes the changes declared for every exchange.
    pub(crate) fn make_always(&mut self, section: Section) {
        let headers = self.exchange.sections.entry(section).or_default();
        let of_it = self.always.iter().filter(|(of, _)| *of == section);
        of_it.for_each(|(_, change)| change.clone().apply(headers));
    }

    /// Gives back the places of the exchange.
    pub(crate) fn end(&mut self, exchange: &Exchange) {
        for key in &exchange.places {
            if let Some(taken) = self.places.get_mut(key) {
                *taken -= 1;
            }
        }
    }
}

pub(crate) type Answer = Box<dyn FnMut(&http_client::Request) -> Result<http_client::Response, CallError>>;

/// A line in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    pub level: Level,
    pub message: String,
    pub fields: Vec<(String, String)>,
}

impl fmt::Display for Line {
    /// As `message key=value`, so that a test can search all of it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        self.fields.iter().try_for_each(|(key, value)| write!(f, " {key}={value}"))
    }
}

/// One number that was counted, set or observed.
#[derive(Clone, Debug, PartialEq)]
pub struct Measure {
    pub name: String,
    pub labels: Vec<String>,
    pub value: f64,
}

/// An operation on a body that a plugin asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    Compress { coding: Coding, level: u32 },
    Decompress { coding: Coding, bounds: Bounds },
}

/// Which hook runs, and so what may be changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Phase {
    #[default]
    Outside,
    Configure,
    Request,
    RequestBody {
        headers_wait: bool,
    },
    Response,
    ResponseBody {
        headers_wait: bool,
    },
    Complete,
}

impl Phase {
    /// Whether the request's head can still be changed.
    pub(crate) fn request_open(self) -> Result<(), MutateError> {
        match self {
            Self::Request | Self::RequestBody { headers_wait: true } => Ok(()),
            _ => Err(MutateError::WrongPhase),
        }
    }

    /// Whether the response's head can still be changed.
    pub(crate) fn response_open(self) -> Result<(), MutateError> {
        match self {
            Self::Response | Self::ResponseBody { headers_wait: true } => Ok(()),
            _ => Err(MutateError::WrongPhase),
        }
    }

    pub(crate) fn section_open(self, section: Section) -> Result<(), MutateError> {
        match section {
            Section::RequestHeaders => self.request_open(),
            Section::ResponseHeaders => self.response_open(),
            Section::RequestTrailers if matches!(self, Self::RequestBody { .. }) => Ok(()),
            Section::ResponseTrailers if matches!(self, Self::Response | Self::ResponseBody { .. }) => Ok(()),
            Section::RequestTrailers | Section::ResponseTrailers => Err(MutateError::WrongPhase),
        }
    }
}

/// One exchange. The default is a request that nothing would refuse.
#[derive(Clone, Debug)]
pub(crate) struct Exchange {
    pub(crate) method: String,
    pub(crate) scheme: String,
    pub(crate) authority: String,
    pub(crate) path: String,
    pub(crate) status: u16,
    pub(crate) request_has_body: bool,
    pub(crate) sections: BTreeMap<Section, Vec<(String, Vec<u8>)>>,
    /// The changes to the response's headers that the request hook left.
    pub(crate) later: Vec<HeaderChange>,
    pub(crate) attributes: BTreeMap<String, String>,
    pub(crate) identity: Option<Identity>,
    pub(crate) state: Vec<u8>,
    pub(crate) upstream: Option<String>,
    /// The keys under which it has places.
    pub(crate) places: Vec<String>,
    pub(crate) codecs: Vec<(Direction, Codec)>,
    pub(crate) request_body: BodyMode,
    pub(crate) response_body: BodyMode,
    /// The tail that the running body hook keeps, and how much must be there for the next call.
    pub(crate) held_back: Option<(usize, usize)>,
}

impl Default for Exchange {
    fn default() -> Self {
        Self {
            method: "GET".to_owned(),
            scheme: "http".to_owned(),
            authority: "localhost".to_owned(),
            path: "/".to_owned(),
            status: 0,
            request_has_body: false,
            sections: BTreeMap::new(),
            later: Vec::new(),
            attributes: BTreeMap::new(),
            identity: None,
            state: Vec::new(),
            upstream: None,
            places: Vec::new(),
            codecs: Vec::new(),
            request_body: BodyMode::Skip,
            response_body: BodyMode::Skip,
            held_back: None,
        }
    }
}

impl HeaderChange {
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Set(name, _) | Self::Append(name, _) | Self::Remove(name) => name,
        }
    }

    pub(crate) fn value(&self) -> &str {
        match self {
            Self::Set(_, value) | Self::Append(_, value) => value,
            Self::Remove(_) => "",
        }
    }

    pub(crate) fn apply(self, headers: &mut Vec<(String, Vec<u8>)>) {
        if !matches!(self, Self::Append(..)) {
            headers.retain(|(have, _)| !have.eq_ignore_ascii_case(self.name()));
        }
        if let Self::Set(name, value) | Self::Append(name, value) = self {
            headers.push((name, value.into_bytes()));
        }
    }
}

impl Exchange {
    pub(crate) fn values(&self, section: Section, name: &str) -> Vec<Vec<u8>> {
        let headers = self.sections.get(&section).map(Vec::as_slice).unwrap_or_default();
        headers.iter().filter(|(have, _)| have.eq_ignore_ascii_case(name)).map(|(_, value)| value.clone()).collect()
    }

    pub(crate) const fn body_mode(&self, direction: Direction) -> BodyMode {
        match direction {
            Direction::Request => self.request_body,
            Direction::Response => self.response_body,
        }
    }
}
