//! The exchange.

use http::Method;

use crate::{
    BodyMode, Direction, HeaderChange, Identity, MutateError, Section, rules,
    testing::world::{self, Phase, World, with},
};

pub(crate) fn method() -> String {
    look(|exchange| exchange.method.clone())
}

pub(crate) fn scheme() -> String {
    look(|exchange| exchange.scheme.clone())
}

pub(crate) fn authority() -> String {
    look(|exchange| exchange.authority.clone())
}

pub(crate) fn path() -> String {
    look(|exchange| exchange.path.clone())
}

pub(crate) fn status() -> u16 {
    look(|exchange| exchange.status)
}

pub(crate) fn header(section: Section, name: &str) -> Option<String> {
    let value = look(|exchange| exchange.values(section, name)).into_iter().next()?;
    Some(String::from_utf8_lossy(&value).into_owned())
}

pub(crate) fn select_headers(section: Section, names: &[&str]) -> Vec<Option<String>> {
    names.iter().map(|name| header(section, name)).collect()
}

pub(crate) fn header_values(section: Section, name: &str) -> Vec<Vec<u8>> {
    look(|exchange| exchange.values(section, name))
}

pub(crate) fn headers(section: Section) -> Vec<(String, Vec<u8>)> {
    look(|exchange| exchange.sections.get(&section).cloned().unwrap_or_default())
}

pub(crate) fn set_header(section: Section, name: &str, value: &str) -> Result<(), MutateError> {
    edit(section, HeaderChange::Set(name.to_owned(), value.to_owned()))
}

pub(crate) fn append_header(section: Section, name: &str, value: &str) -> Result<(), MutateError> {
    edit(section, HeaderChange::Append(name.to_owned(), value.to_owned()))
}

pub(crate) fn remove_header(section: Section, name: &str) -> Result<(), MutateError> {
    edit(section, HeaderChange::Remove(name.to_owned()))
}

pub(crate) fn set_headers(section: Section, block: &[u8]) -> Result<(), MutateError> {
    edit_all(section, block, set_header)
}

pub(crate) fn append_headers(section: Section, block: &[u8]) -> Result<(), MutateError> {
    edit_all(section, block, append_header)
}

fn edit_all(
    section: Section,
    block: &[u8],
    edit: fn(Section, &str, &str) -> Result<(), MutateError>,
) -> Result<(), MutateError> {
    let before = look(world::Exchange::clone);
    let changed = fields(block)?.into_iter().try_for_each(|(name, value)| edit(section, &name, &value));
    if changed.is_err() {
        change(|world| world.exchange = before);
    }
    changed
}

fn fields(mut block: &[u8]) -> Result<Vec<(String, String)>, MutateError> {
    let mut fields = Vec::new();
    while let Some((lengths, rest)) = block.split_first_chunk::<6>() {
        let [n0, n1, v0, v1, v2, v3] = *lengths;
        let name = usize::from(u16::from_le_bytes([n0, n1]));
        let value = u32::from_le_bytes([v0, v1, v2, v3]) as usize;
        let (name, rest) = rest.split_at_checked(name).ok_or(MutateError::InvalidSyntax)?;
        let (value, rest) = rest.split_at_checked(value).ok_or(MutateError::InvalidSyntax)?;
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).map_err(|_| MutateError::InvalidSyntax);
        fields.push((text(name)?, text(value)?));
        block = rest;
    }
    if block.is_empty() { Ok(fields) } else { Err(MutateError::InvalidSyntax) }
}

pub(crate) fn set_method(method: &str) -> Result<(), MutateError> {
    change(|world| {
        world.phase.request_open()?;
        let parsed = Method::from_bytes(method.as_bytes()).map_err(|_| MutateError::InvalidSyntax)?;
        if parsed == Method::CONNECT {
            return Err(MutateError::Forbidden);
        }
        method.clone_into(&mut world.exchange.method);
        Ok(())
    })
}

pub(crate) fn set_authority(authority: &str) -> Result<(), MutateError> {
    change(|world| {
        world.phase.request_open()?;
        let valid = authority.parse::<http::uri::Authority>().is_ok_and(|parsed| !parsed.as_str().contains('@'));
        if !valid {
            return Err(MutateError::InvalidSyntax);
        }
        authority.clone_into(&mut world.exchange.authority);
        Ok(())
    })
}

pub(crate) fn set_path(path: &str) -> Result<(), MutateError> {
    change(|world| {
        world.phase.request_open()?;
        let (before, _) = path.split_once('?').unwrap_or((path, ""));
        let is_dots = |segment: &str| matches!(segment.to_ascii_lowercase().replace("%2e", ".").as_str(), "." | "..");
        let clean = path.starts_with('/')
            && path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#')
            && !before.split('/').any(is_dots);
        if !clean {
            return Err(MutateError::InvalidSyntax);
        }
        path.clone_into(&mut world.exchange.path);
        Ok(())
    })
}

pub(crate) fn set_status(status: u16) -> Result<(), MutateError> {
    change(|world| {
        world.phase.response_open()?;
        if !(200..=599).contains(&status) {
            return Err(MutateError::InvalidSyntax);
        }
        world.exchange.status = status;
        Ok(())
    })
}

pub(crate) fn set_upstream(name: &str) -> Result<(), MutateError> {
    change(|world| {
        world.phase.request_open()?;
        if !world.route_upstreams.iter().any(|allowed| allowed == name) {
            return Err(MutateError::NotGranted);
        }
        world.exchange.upstream = Some(name.to_owned());
        Ok(())
    })
}

pub(crate) fn attribute(name: &str) -> Option<String> {
    look(|exchange| match name {
        "identity.subject" => exchange.identity.as_ref().map(|identity| identity.subject.clone()),
        name => exchange.attributes.get(name).cloned(),
    })
}

pub(crate) fn set_attribute(name: &str, value: &str) -> Result<(), MutateError> {
    change(|world| {
        if name.is_empty() || name.len() > NAME_LIMIT_BYTES || value.len() > VALUE_LIMIT_BYTES {
            return Err(MutateError::LimitExceeded);
        }
        world.exchange.attributes.insert(format!("plugin.under-test.{name}"), value.to_owned());
        Ok(())
    })
}

pub(crate) fn identity() -> Option<Identity> {
    look(|exchange| exchange.identity.clone())
}

pub(crate) fn set_identity(subject: &str, claims: &str) -> Result<(), MutateError> {
    change(|world| {
        world.phase.request_open()?;
        if serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(claims).is_err() {
            return Err(MutateError::InvalidSyntax);
        }
        if subject.len() > NAME_LIMIT_BYTES || claims.len() > CLAIMS_LIMIT_BYTES {
            return Err(MutateError::LimitExceeded);
        }
        world.exchange.identity = Some(Identity { subject: subject.to_owned(), claims: claims.to_owned() });
        Ok(())
    })
}

pub(crate) fn set_body_mode(direction: Direction, mode: BodyMode) -> Result<(), MutateError> {
    change(|world| match (direction, world.phase) {
        (Direction::Request, Phase::Request) => {
            world.exchange.request_body = mode;
            Ok(())
        }
        (Direction::Response, Phase::Request | Phase::RequestBody { .. } | Phase::Response) => {
            world.exchange.response_body = mode;
            Ok(())
        }
        _ => Err(MutateError::WrongPhase),
    })
}

pub(crate) fn hold_back(tail: usize, enough: usize) -> Result<(), MutateError> {
    change(|world| {
        if !matches!(world.phase, Phase::RequestBody { .. } | Phase::ResponseBody { .. }) {
            return Err(MutateError::WrongPhase);
        }
        if tail.max(enough) > BODY_LIMIT_BYTES {
            return Err(MutateError::LimitExceeded);
        }
        world.exchange.held_back = Some((tail, enough));
        Ok(())
    })
}

pub(crate) fn state() -> Vec<u8> {
    look(|exchange| exchange.state.clone())
}

pub(crate) fn set_state(state: &[u8]) -> Result<(), MutateError> {
    change(|world| {
        if state.len() > STATE_LIMIT_BYTES {
            return Err(MutateError::LimitExceeded);
        }
        world.exchange.state = state.to_vec();
        Ok(())
    })
}

fn look<T>(read: impl FnOnce(&world::Exchange) -> T) -> T {
    change(|world| read(&world.exchange))
}

fn change<T>(run: impl FnOnce(&mut World) -> T) -> T {
    with(|world| {
        let in_a_hook = !matches!(world.phase, Phase::Outside | Phase::Configure);
        assert!(in_a_hook, "the exchange was used outside of a hook, which traps in the gateway");
        run(world)
    })
}

/// The change in the form in which it is applied, if the gateway accepts it.
pub(crate) fn checked(change: HeaderChange) -> Result<HeaderChange, MutateError> {
    if http::HeaderName::from_bytes(change.name().as_bytes()).is_err() {
        return Err(MutateError::InvalidSyntax);
    }
    if rules::check_name(change.name()).is_err() {
        return Err(MutateError::Forbidden);
    }
    if rules::check_value(change.value()).is_err() {
        return Err(MutateError::InvalidSyntax);
    }
    let (name, value) = (change.name().to_ascii_lowercase(), trimmed(change.value()));
    Ok(match change {
        HeaderChange::Set(..) => HeaderChange::Set(name, value),
        HeaderChange::Append(..) => HeaderChange::Append(name, value),
        HeaderChange::Remove(_) => HeaderChange::Remove(name),
    })
}

fn edit(section: Section, edit: HeaderChange) -> Result<(), MutateError> {
    change(|world| {
        let is_later = section == Section::ResponseHeaders && world.phase.request_open().is_ok();
        if !is_later {
            world.phase.section_open(section)?;
        }
        let edit = checked(edit)?;
        if is_later {
            world.exchange.later.push(edit);
            return Ok(());
        }
        let headers = world.exchange.sections.entry(section).or_default();
        let bytes: usize = headers.iter().map(|(name, value)| name.len() + value.len()).sum();
        let added = edit.name().len() + edit.value().len();
        let is_full = headers.len() >= HEADER_LIMIT || bytes + added > HEADER_LIMIT_BYTES;
        if is_full && !matches!(edit, HeaderChange::Remove(_)) {
            return Err(MutateError::LimitExceeded);
        }
        edit.apply(headers);
        Ok(())
    })
}

fn trimmed(value: &str) -> String {
    value.trim_matches([' ', '\t']).to_owned()
}

/// The gateway's limits are set by the operator; these are close to its defaults.
const HEADER_LIMIT: usize = 100;
const HEADER_LIMIT_BYTES: usize = 64 * 1024;
const BODY_LIMIT_BYTES: usize = 1024 * 1024;
const STATE_LIMIT_BYTES: usize = 64 * 1024;
const CLAIMS_LIMIT_BYTES: usize = 64 * 1024;
const NAME_LIMIT_BYTES: usize = 1024;
const VALUE_LIMIT_BYTES: usize = 4096;
