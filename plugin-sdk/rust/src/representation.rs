//! What a plugin that gives a message another body has to say in its headers.

use crate::{Headers, MutateError};

/// Whether the sender lets others change the body: no `no-transform` (RFC 9111 section 5.2.2.6).
#[must_use]
pub fn may_change(headers: Headers<'_>) -> bool {
    !has_member(headers, "cache-control", "no-transform")
}

/// The body is another one than the sender's. An entity tag becomes weak: the same resource, but not the same bytes
/// (RFC 9110 section 8.8.3.3). What speaks of the very bytes goes: digests, and that parts may be asked for.
///
/// # Errors
/// As [`Headers::set`].
pub fn changed(headers: Headers<'_>) -> Result<(), MutateError> {
    if let Some(tag) = headers.get("etag").filter(|tag| !tag.starts_with("W/")) {
        headers.set("etag", format!("W/{tag}"))?;
    }
    OF_THE_BYTES.iter().try_for_each(|name| headers.remove(name))
}

/// The body is another document than the sender's, without a content coding. Beside what speaks of the very bytes, the entity
/// tag goes.
///
/// # Errors
/// As [`Headers::remove`].
pub fn replaced(headers: Headers<'_>) -> Result<(), MutateError> {
    OF_THE_BYTES.iter().chain(&["content-encoding", "etag"]).try_for_each(|name| headers.remove(name))
}

/// The request has another body than the client's, without a content coding, and asks for another document than the client does:
/// what is said of the one goes, and conditions on the other.
///
/// # Errors
/// As [`Headers::remove`].
pub fn asked_anew(headers: Headers<'_>) -> Result<(), MutateError> {
    let conditions = ["content-encoding", "if-none-match", "if-modified-since", "range"];
    OF_THE_BYTES.iter().chain(&conditions).try_for_each(|name| headers.remove(name))
}

/// Says that the response depends on `Accept-Encoding`, once.
///
/// # Errors
/// As [`Headers::set`].
pub fn varies_by_coding(headers: Headers<'_>) -> Result<(), MutateError> {
    if has_member(headers, "vary", "accept-encoding") || has_member(headers, "vary", "*") {
        return Ok(());
    }
    headers.append("vary", "accept-encoding")
}

/// Whether a list has this member, in any case.
fn has_member(headers: Headers<'_>, field: &str, member: &str) -> bool {
    let fields = headers.values(field);
    let mut members =
        fields.iter().filter_map(|field| std::str::from_utf8(field).ok()).flat_map(|field| field.split(','));
    members.any(|have| have.trim().eq_ignore_ascii_case(member))
}

/// Digests, and that parts may be asked for.
const OF_THE_BYTES: [&str; 5] = ["accept-ranges", "content-md5", "content-digest", "repr-digest", "digest"];
