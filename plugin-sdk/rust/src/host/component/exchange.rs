//! The exchange that the running hook is about.

use super::wit::{exchange, types};
use crate::{BodyMode, Direction, Identity, MutateError, Section};

pub(crate) use super::wit::exchange::{attribute, authority, method, path, scheme, state, status};

pub(crate) fn header(section: Section, name: &str) -> Option<String> {
    exchange::header(section.into(), name)
}

pub(crate) fn select_headers(section: Section, names: &[&str]) -> Vec<Option<String>> {
    exchange::select_headers(section.into(), names)
}

pub(crate) fn header_values(section: Section, name: &str) -> Vec<Vec<u8>> {
    exchange::header_values(section.into(), name)
}

pub(crate) fn headers(section: Section) -> Vec<(String, Vec<u8>)> {
    exchange::headers(section.into())
}

pub(crate) fn set_header(section: Section, name: &str, value: &str) -> Result<(), MutateError> {
    exchange::set_header(section.into(), name, value).map_err(Into::into)
}

pub(crate) fn append_header(section: Section, name: &str, value: &str) -> Result<(), MutateError> {
    exchange::append_header(section.into(), name, value).map_err(Into::into)
}

pub(crate) fn remove_header(section: Section, name: &str) -> Result<(), MutateError> {
    exchange::remove_header(section.into(), name).map_err(Into::into)
}

pub(crate) fn set_headers(section: Section, block: &[u8]) -> Result<(), MutateError> {
    exchange::set_headers(section.into(), block).map_err(Into::into)
}

pub(crate) fn append_headers(section: Section, block: &[u8]) -> Result<(), MutateError> {
    exchange::append_headers(section.into(), block).map_err(Into::into)
}

pub(crate) fn set_method(method: &str) -> Result<(), MutateError> {
    exchange::set_method(method).map_err(Into::into)
}

pub(crate) fn set_authority(authority: &str) -> Result<(), MutateError> {
    exchange::set_authority(authority).map_err(Into::into)
}

pub(crate) fn set_path(path: &str) -> Result<(), MutateError> {
    exchange::set_path(path).map_err(Into::into)
}

pub(crate) fn set_status(status: u16) -> Result<(), MutateError> {
    exchange::set_status(status).map_err(Into::into)
}

pub(crate) fn set_upstream(name: &str) -> Result<(), MutateError> {
    exchange::set_upstream(name).map_err(Into::into)
}

pub(crate) fn set_attribute(name: &str, value: &str) -> Result<(), MutateError> {
    exchange::set_attribute(name, value).map_err(Into::into)
}

pub(crate) fn identity() -> Option<Identity> {
    exchange::identity().map(|caller| Identity { subject: caller.subject, claims: caller.claims })
}

pub(crate) fn set_identity(subject: &str, claims: &str) -> Result<(), MutateError> {
    exchange::set_identity(types::CallerParam { subject, claims }).map_err(Into::into)
}

pub(crate) fn set_body_mode(direction: Direction, mode: BodyMode) -> Result<(), MutateError> {
    let mode = match mode {
        BodyMode::Skip => types::BodyMode::Skip,
        BodyMode::Whole => types::BodyMode::Whole,
        BodyMode::Chunks => types::BodyMode::Chunks,
    };
    exchange::set_body_mode(direction.into(), mode).map_err(Into::into)
}

pub(crate) fn hold_back(tail: usize, enough: usize) -> Result<(), MutateError> {
    exchange::hold_back(tail as u64, enough as u64).map_err(Into::into)
}

pub(crate) fn set_state(state: &[u8]) -> Result<(), MutateError> {
    exchange::set_state(state).map_err(Into::into)
}

impl From<Section> for types::Section {
    fn from(section: Section) -> Self {
        match section {
            Section::RequestHeaders => Self::RequestHeaders,
            Section::RequestTrailers => Self::RequestTrailers,
            Section::ResponseHeaders => Self::ResponseHeaders,
            Section::ResponseTrailers => Self::ResponseTrailers,
        }
    }
}

impl From<types::MutateError> for MutateError {
    fn from(error: types::MutateError) -> Self {
        match error {
            types::MutateError::InvalidSyntax => Self::InvalidSyntax,
            types::MutateError::Forbidden => Self::Forbidden,
            types::MutateError::LimitExceeded => Self::LimitExceeded,
            types::MutateError::WrongPhase => Self::WrongPhase,
            types::MutateError::NotGranted => Self::NotGranted,
            types::MutateError::Other(text) => Self::Other(text),
        }
    }
}
