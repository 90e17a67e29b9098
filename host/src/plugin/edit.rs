//! What the running hook reads and changes of its exchange: the contract's `exchange` interface over [`Parts`].

use http::header::{self, HeaderMap, HeaderValue};

use super::bindings::{BodyMode, Direction, MutateError, Section};
use super::journal::Change;
use super::run::{Codecs, Edit, HoldBack, STATE_BYTES};
use super::state::{Call, State};
use super::{bindings, guard};
use crate::exchange::{Caller, Parts, Phase};

type Changed = Result<(), MutateError>;

// ------------------------------------------------------------------------------------------------------- reading

/// The headers of a section; none for trailers that have not arrived yet.
pub(super) fn headers(exchange: &Parts, section: Section) -> Option<&HeaderMap> {
    match section {
        Section::RequestHeaders => Some(&exchange.request.headers),
        Section::ResponseHeaders => Some(&exchange.response.headers),
        Section::RequestTrailers => exchange.trailers.request.as_deref(),
        Section::ResponseTrailers => exchange.trailers.response.as_deref(),
    }
}

/// The same, mutable; creates trailers that do not exist yet.
pub(super) fn headers_mut(exchange: &mut Parts, section: Section) -> &mut HeaderMap {
    match section {
        Section::RequestHeaders => &mut exchange.request.headers,
        Section::ResponseHeaders => &mut exchange.response.headers,
        Section::RequestTrailers => exchange.trailers.request.get_or_insert_default(),
        Section::ResponseTrailers => exchange.trailers.response.get_or_insert_default(),
    }
}

/// The first value of a header.
pub(super) fn header(exchange: &Parts, section: Section, name: &str) -> Option<String> {
    headers(exchange, section)?.get(name).map(text)
}

pub(super) fn header_values(exchange: &Parts, section: Section, name: &str) -> Vec<Vec<u8>> {
    let Some(headers) = headers(exchange, section) else { return Vec::new() };
    headers.get_all(name).iter().map(|value| value.as_bytes().to_vec()).collect()
}

pub(super) fn all_headers(exchange: &Parts, section: Section) -> Vec<(String, Vec<u8>)> {
    let Some(headers) = headers(exchange, section) else { return Vec::new() };
    headers.iter().map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec())).collect()
}

/// All headers as one block: for each field u16le name length, u32le value length, name, value.
pub(super) fn encoded_headers(exchange: &Parts, section: Section) -> Vec<u8> {
    let Some(headers) = headers(exchange, section) else { return Vec::new() };
    let size = headers.iter().map(|(name, value)| 6 + name.as_str().len() + value.len()).sum();
    let mut block = Vec::with_capacity(size);
    for (name, value) in headers {
        let (name, value) = (name.as_str().as_bytes(), value.as_bytes());
        // The http crate limits names to 64 KiB, and header blocks are limited to a megabyte, so neither length is
        // truncated.
        block.extend_from_slice(&(name.len() as u16).to_le_bytes());
        block.extend_from_slice(&(value.len() as u32).to_le_bytes());
        block.extend_from_slice(name);
        block.extend_from_slice(value);
    }
    block
}

/// The total size of names and values in bytes, as `limits.header_bytes` counts it.
pub(super) fn bytes_of(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum()
}

pub(super) fn status(exchange: &Parts) -> u16 {
    exchange.response.status.map_or(0, |status| status.as_u16())
}

pub(super) fn identity(exchange: &Parts) -> Option<bindings::Caller> {
    let Caller { subject, claims } = exchange.identity.as_ref()?;
    Some(bindings::Caller { subject: subject.clone(), claims: claims.clone() })
}

fn text(value: &HeaderValue) -> String {
    match value.to_str() {
        Ok(text) => text.to_owned(),
        Err(_) => String::from_utf8_lossy(value.as_bytes()).into_owned(),
    }
}

// ------------------------------------------------------------------------------------------------------ changing

impl State {
    pub(super) fn set_headers(&mut self, section: Section, fields: guard::Fields) -> Changed {
        self.edit_headers(section, fields.into_iter().map(|(name, value)| Edit::Set(name, value)))
    }

    pub(super) fn append_headers(&mut self, section: Section, fields: guard::Fields) -> Changed {
        self.edit_headers(section, fields.into_iter().map(|(name, value)| Edit::Append(name, value)))
    }

    pub(super) fn edit_header(&mut self, section: Section, edit: Edit) -> Changed {
        self.edit_headers(section, std::iter::once(edit))
    }

    /// Applies all of the edits or none.
    fn edit_headers(&mut self, section: Section, edits: impl Iterator<Item = Edit>) -> Changed {
        match section {
            Section::ResponseHeaders if self.exchange.phase == Phase::Request => return self.edit_later(edits),
            Section::RequestHeaders => self.may_change(Direction::Request)?,
            Section::ResponseHeaders => self.may_change(Direction::Response)?,
            Section::RequestTrailers if self.call == Call::RequestBody => {}
            Section::ResponseTrailers if matches!(self.call, Call::Response | Call::ResponseBody) => {}
            Section::RequestTrailers | Section::ResponseTrailers => return Err(MutateError::WrongPhase),
        }
        let limits = &self.lent.limits;
        let before = self.journal.len();
        let headers = headers_mut(&mut self.exchange, section);
        for edit in edits {
            self.journal.note(Change::of_header(section, edit.name(), headers));
            edit.apply(headers);
            // Checked after each edit, because a map that grows without bound panics.
            if headers.len() > limits.header_count {
                break;
            }
        }
        if headers.len() > limits.header_count || bytes_of(headers) > limits.header_bytes {
            self.journal.undo_to(before, &mut self.exchange, self.position);
            return Err(MutateError::LimitExceeded);
        }
        Ok(())
    }

    /// Keeps changes until there is a response.
    fn edit_later(&mut self, edits: impl Iterator<Item = Edit>) -> Changed {
        let limits = &self.lent.limits;
        let Some(slot) = self.exchange.run.slot(self.position) else { return Err(MutateError::WrongPhase) };
        let before = slot.later.len();
        slot.later.extend(edits);
        let bytes: usize = slot.later.iter().map(Edit::bytes).sum();
        if slot.later.len() > limits.header_count || bytes > limits.header_bytes {
            slot.later.truncate(before);
            return Err(MutateError::LimitExceeded);
        }
        self.journal.note(Change::Later(before));
        Ok(())
    }

    pub(super) fn set_method(&mut self, text: &str) -> Changed {
        self.may_change(Direction::Request)?;
        let method = guard::method(text)?;
        let before = std::mem::replace(&mut self.exchange.request.method, method);
        self.journal.note(Change::Method(before));
        Ok(())
    }

    pub(super) fn set_authority(&mut self, text: &str) -> Changed {
        let authority = guard::authority(text)?;
        self.edit_header(Section::RequestHeaders, Edit::Set(header::HOST, authority))
    }

    pub(super) fn set_path(&mut self, text: &str) -> Changed {
        self.may_change(Direction::Request)?;
        let target = guard::target(text)?;
        let before = std::mem::replace(&mut self.exchange.request.target, target);
        self.journal.note(Change::Target(before));
        Ok(())
    }

    pub(super) fn set_status(&mut self, code: u16) -> Changed {
        self.may_change(Direction::Response)?;
        let status = guard::status(code)?;
        let before = self.exchange.response.status.replace(status);
        self.journal.note(Change::Status(before));
        Ok(())
    }

    pub(super) fn set_upstream(&mut self, name: &str) -> Changed {
        self.may_change(Direction::Request)?;
        let route = self.exchange.route.as_ref();
        if !route.is_some_and(|route| route.upstreams.iter().any(|allowed| **allowed == *name)) {
            return Err(MutateError::NotGranted);
        }
        let before = self.exchange.upstream_choice.replace(name.into());
        self.journal.note(Change::Upstream(before));
        Ok(())
    }

    pub(super) fn set_attribute(&mut self, name: &str, value: &str) -> Changed {
        let key = format!("plugin.{}.{name}", self.lent.name).into_boxed_str();
        if name.is_empty() || name.len() > NAME_BYTES || value.len() > VALUE_BYTES {
            return Err(MutateError::LimitExceeded);
        }
        let attributes = &mut self.exchange.attributes;
        let is_full = attributes.len() >= ATTRIBUTES;
        let before = match attributes.iter_mut().find(|(known, _)| *known == key) {
            Some((_, old)) => Some(std::mem::replace(old, value.into())),
            None if is_full => return Err(MutateError::LimitExceeded),
            None => {
                attributes.push((key.clone(), value.into()));
                None
            }
        };
        self.journal.note(Change::Attribute { name: key, value: before });
        Ok(())
    }

    pub(super) fn set_identity(&mut self, caller: bindings::Caller) -> Changed {
        self.may_change(Direction::Request)?;
        if caller.subject.len() > NAME_BYTES || caller.claims.len() > CLAIMS_BYTES {
            return Err(MutateError::LimitExceeded);
        }
        let caller = Caller { subject: caller.subject, claims: caller.claims };
        let before = self.exchange.identity.replace(caller);
        self.journal.note(Change::Identity(before));
        Ok(())
    }

    pub(super) fn set_body_mode(&mut self, direction: Direction, mode: BodyMode) -> Changed {
        let (has_hook, open) = match direction {
            Direction::Request => (self.hooks.request_body, self.exchange.phase == Phase::Request),
            Direction::Response => (self.hooks.response_body, self.exchange.phase <= Phase::Response),
        };
        if !has_hook {
            return Err(MutateError::Other("the plugin has no hook for that body".into()));
        }
        if !open || self.in_body_hook() {
            return Err(MutateError::WrongPhase);
        }
        let Some(slot) = self.exchange.run.slot(self.position) else { return Err(MutateError::WrongPhase) };
        let before = std::mem::replace(slot.mode_mut(direction), mode.into());
        self.journal.note(Change::BodyMode(direction, before));
        Ok(())
    }

    /// Holds back the end of the chunk that the running body hook sees.
    pub(super) fn hold_back(&mut self, tail: u64, enough: u64) -> Changed {
        if !self.in_body_hook() {
            return Err(MutateError::WrongPhase);
        }
        let limit = self.lent.limits.body_bytes;
        let within = |bytes: u64| usize::try_from(bytes).ok().filter(|bytes| *bytes <= limit);
        let (Some(tail), Some(enough)) = (within(tail), within(enough)) else { return Err(MutateError::LimitExceeded) };
        let Some(slot) = self.exchange.run.slot(self.position) else { return Err(MutateError::WrongPhase) };
        slot.hold_back = Some(HoldBack { tail, enough });
        Ok(())
    }

    /// Changes how the host decodes and encodes a body; only in the header hook of its direction.
    pub(super) fn set_codecs(&mut self, direction: Direction, change: impl FnOnce(&mut Codecs)) -> Changed {
        self.may_change(direction)?;
        if self.in_body_hook() {
            return Err(MutateError::WrongPhase);
        }
        let exchange = &mut *self.exchange;
        let Some(slot) = exchange.run.slot(self.position) else { return Err(MutateError::WrongPhase) };
        let codecs = slot.codecs_mut(direction);
        let before = *codecs;
        change(codecs);
        self.journal.note(Change::Codecs(direction, before));
        // The length is that of the original bytes. Anyone who trusted it later would let a longer body through.
        let (section, headers) = match direction {
            Direction::Request => (Section::RequestHeaders, &mut exchange.request.headers),
            Direction::Response => (Section::ResponseHeaders, &mut exchange.response.headers),
        };
        self.journal.note(Change::of_header(section, &header::CONTENT_LENGTH, headers));
        headers.remove(header::CONTENT_LENGTH);
        Ok(())
    }

    /// The state that the plugin keeps for the exchange.
    pub(super) fn kept_state(&mut self) -> Vec<u8> {
        self.exchange.run.slot(self.position).map(|slot| slot.state.clone()).unwrap_or_default()
    }

    pub(super) fn set_state(&mut self, bytes: Vec<u8>) -> Changed {
        if bytes.len() > STATE_BYTES {
            return Err(MutateError::LimitExceeded);
        }
        let Some(slot) = self.exchange.run.slot(self.position) else { return Err(MutateError::WrongPhase) };
        let before = std::mem::replace(&mut slot.state, bytes);
        self.journal.note(Change::State(before));
        Ok(())
    }

    fn may_change(&self, direction: Direction) -> Changed {
        let phase = match direction {
            Direction::Request => Phase::Request,
            Direction::Response => Phase::Response,
        };
        if self.exchange.phase == phase && !self.is_completing() { Ok(()) } else { Err(MutateError::WrongPhase) }
    }
}

/// The longest name of an attribute, and the longest subject of a caller, in bytes.
const NAME_BYTES: usize = 1024;
/// The longest value of an attribute, in bytes.
const VALUE_BYTES: usize = 4096;
/// The longest claims of a caller, in bytes.
const CLAIMS_BYTES: usize = 64 << 10;
/// How many attributes one exchange holds, over all plugins.
const ATTRIBUTES: usize = 64;
