//! Header changes for a plugin that replaces a message's body.

use crate::{Headers, MutateError};

/// Whether the sender allows the body to be changed: no `no-transform` (RFC 9111 section 5.2.2.6).
#[must_use]
pub fn may_change(headers: Headers<'_>) -> bool {
    !has_member(headers, "cache-control", "no-transform")
}

/// For a body that was changed. An entity tag becomes weak: the same resource, but not the same bytes (RFC 9110 section
/// 8.8.3.3). Headers about the exact bytes are removed: digests, and the offer of ranges.
///
/// # Errors
/// As [`Headers::set`].
pub fn changed(headers: Headers<'_>) -> Result<(), MutateError> {
    if let Some(tag) = headers.get("etag").filter(|tag| !tag.starts_with("W/")) {
        headers.set("etag", format!("W/{tag}"))?;
    }
    OF_THE_BYTES.iter().try_for_each(|name| headers.remove(name))
}

/// For a body that was replaced by another document, without a content coding. The entity tag is removed, as are the
/// headers about the exact bytes.
///
/// # Errors
/// As [`Headers::remove`].
pub fn replaced(headers: Headers<'_>) -> Result<(), MutateError> {
    OF_THE_BYTES.iter().chain(&["content-encoding", "etag"]).try_for_each(|name| headers.remove(name))
}

/// For a request with a new body, without a content coding, that asks for another document than the client did: headers
/// about the client's body are removed, and so are conditions on the client's document.
///
/// # Errors
/// As [`Headers::remove`].
pub fn asked_anew(headers: Headers<'_>) -> Result<(), MutateError> {
    let conditions = ["content-encoding", "if-none-match", "if-modified-since", "range"];
    OF_THE_BYTES.iter().chain(&conditions).try_for_each(|name| headers.remove(name))
}

/// Adds `Accept-Encoding` to the response's `Vary` unless it is there.
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

/// Digests, and the offer of ranges.
const OF_THE_BYTES: [&str; 5] = ["accept-ranges", "content-md5", "content-digest", "repr-digest", "digest"];
