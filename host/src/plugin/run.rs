//! The path of one exchange through its route's chain: which plugins ran, and what each keeps for the exchange.

use http::header::{HeaderMap, HeaderName, HeaderValue};
use smallvec::SmallVec;

use super::bindings::{BodyMode, Direction};
use super::chain::Stop;
use super::instance::Instance;
use crate::capability::codec::{Bounds, Coding};
use crate::capability::concurrency::Place;
use crate::capability::remote::Lease;

/// One exchange's progress through a chain.
#[derive(Default)]
pub struct Run {
    slots: SmallVec<[Slot; 4]>,
    /// Set if a request body hook ended the exchange before there was a response.
    stop: Option<Stop>,
}

/// What one plugin of the chain keeps for this exchange.
#[derive(Default)]
pub(super) struct Slot {
    /// Its request hook ran without failing (or it has none and was passed), so its response hook will run.
    pub ran: bool,
    pub request_body: Mode,
    pub response_body: Mode,
    pub request_codecs: Codecs,
    pub response_codecs: Codecs,
    /// The changes that the request hook wants made to the response's headers.
    pub later: Vec<Edit>,
    /// Set by `hold-back`, for the chunk of the running hook.
    pub hold_back: Option<HoldBack>,
    /// Set by `set-state`, at most [`STATE_BYTES`].
    pub state: Vec<u8>,
    /// Set by `concurrency.enter`; released with the exchange.
    pub places: Vec<Held>,
    /// The instance that belongs to this exchange only (`isolation: request`).
    pub instance: Option<Box<Instance>>,
}

/// A concurrency slot that the exchange holds until it is over.
pub(super) enum Held {
    Own { _place: Place },
    Shared { _lease: Lease },
}

/// How the host decodes a body before the plugin's hook and encodes it after the hook.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Codecs {
    pub decompress: Option<(Coding, Bounds)>,
    /// The coding and its level, as [`crate::capability::codec::Encoder::new`] takes it.
    pub compress: Option<(Coding, u32)>,
}

/// The end of a chunk that is held back, and how many bytes must be there before the hook is called again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct HoldBack {
    pub tail: usize,
    pub enough: usize,
}

/// A change of a header block.
#[derive(Clone, Debug)]
pub(super) enum Edit {
    Set(HeaderName, HeaderValue),
    Append(HeaderName, HeaderValue),
    Remove(HeaderName),
}

impl Edit {
    pub fn name(&self) -> &HeaderName {
        match self {
            Edit::Set(name, _) | Edit::Append(name, _) | Edit::Remove(name) => name,
        }
    }

    /// The most bytes that the edit can add.
    pub fn bytes(&self) -> usize {
        match self {
            Edit::Set(name, value) | Edit::Append(name, value) => name.as_str().len() + value.len(),
            Edit::Remove(_) => 0,
        }
    }

    pub fn apply(self, headers: &mut HeaderMap) {
        match self {
            Edit::Set(name, value) => drop(headers.insert(name, value)),
            Edit::Append(name, value) => drop(headers.append(name, value)),
            Edit::Remove(name) => drop(headers.remove(name)),
        }
    }
}

/// How much of a body a plugin asked for: the contract's `body-mode`, with a default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mode {
    #[default]
    Skip,
    Chunks,
    Whole,
}

/// The largest state that a plugin may keep for one exchange, in bytes.
pub(super) const STATE_BYTES: usize = 64 << 10;

impl Run {
    /// Makes room for a chain of `plugins`.
    pub(super) fn begin(&mut self, plugins: usize) {
        self.stop = None;
        self.slots.clear();
        self.slots.resize_with(plugins, Slot::default);
    }

    pub(super) fn slot(&mut self, position: usize) -> Option<&mut Slot> {
        self.slots.get_mut(position)
    }

    pub(super) fn ran(&self, position: usize) -> bool {
        self.slots.get(position).is_some_and(|slot| slot.ran)
    }

    /// Takes the changes that the request hook of a plugin that ran wants made to the response.
    pub(super) fn take_later(&mut self, position: usize) -> Vec<Edit> {
        let slot = self.slots.get_mut(position).filter(|slot| slot.ran);
        slot.map(|slot| std::mem::take(&mut slot.later)).unwrap_or_default()
    }

    /// Notes that a request body hook, which runs beside the request path, ended the exchange.
    pub(super) fn stop(&mut self, stop: Stop) {
        self.stop = Some(stop);
    }

    /// Takes what a request body hook decided in the meantime, if anything.
    pub fn take_stop(&mut self) -> Option<Stop> {
        self.stop.take()
    }

    /// Whether any plugin that ran asked for anything to be done with the body of this direction.
    pub fn wants(&self, direction: Direction) -> bool {
        self.slots.iter().any(|slot| slot.ran && slot.wants(direction))
    }

    /// Whether any plugin that ran asked for the whole body.
    pub(super) fn wants_whole(&self, direction: Direction) -> bool {
        self.slots.iter().any(|slot| slot.ran && slot.mode(direction) == Mode::Whole)
    }

    /// Forgets the codecs for the response, because a different response is sent.
    pub(super) fn forget_response_codecs(&mut self) {
        for slot in &mut self.slots {
            slot.response_codecs = Codecs::default();
        }
    }

    /// Drops the instances that belong to the exchange.
    pub(super) fn release(&mut self) {
        for slot in &mut self.slots {
            slot.instance = None;
        }
    }
}

impl Slot {
    pub fn mode(&self, direction: Direction) -> Mode {
        match direction {
            Direction::Request => self.request_body,
            Direction::Response => self.response_body,
        }
    }

    fn wants(&self, direction: Direction) -> bool {
        let codecs = match direction {
            Direction::Request => &self.request_codecs,
            Direction::Response => &self.response_codecs,
        };
        self.mode(direction) != Mode::Skip || codecs.decompress.is_some() || codecs.compress.is_some()
    }

    pub fn codecs_mut(&mut self, direction: Direction) -> &mut Codecs {
        match direction {
            Direction::Request => &mut self.request_codecs,
            Direction::Response => &mut self.response_codecs,
        }
    }

    pub fn mode_mut(&mut self, direction: Direction) -> &mut Mode {
        match direction {
            Direction::Request => &mut self.request_body,
            Direction::Response => &mut self.response_body,
        }
    }
}

impl From<BodyMode> for Mode {
    fn from(mode: BodyMode) -> Mode {
        match mode {
            BodyMode::Skip => Mode::Skip,
            BodyMode::Chunks => Mode::Chunks,
            BodyMode::Whole => Mode::Whole,
        }
    }
}
