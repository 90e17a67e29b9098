//! Header changes for a plugin that replaces a message's body.

use http::{Method, StatusCode};

use crate::{
    Direction, Exchange, Headers, MutateError,
    codec::{self, Bounds, Coding},
};

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

/// For a response whose body is changed: [`changed`]. The response to a HEAD, which has no body, also loses its length:
/// that is the one of the unchanged body.
///
/// # Errors
/// As [`Headers::set`].
pub fn changed_response(exchange: &Exchange) -> Result<(), MutateError> {
    if exchange.method() == Method::HEAD && exchange.end_of_stream() {
        // No plugin may remove a length itself. The gateway does so where it is to decompress, here nothing at all.
        codec::decompress(Direction::Response, Coding::Gzip, Bounds { bytes: 0, ratio: 1 })?;
    }
    changed(exchange.response_headers())
}

/// For a request whose response is to be changed: asks for all of the body, since a part of it cannot be read. A server
/// may ignore ranges (RFC 9110 section 14.2), so the client gets the whole.
///
/// # Errors
/// As [`Headers::remove`].
pub fn asked_whole(headers: Headers<'_>) -> Result<(), MutateError> {
    OF_A_PART.iter().try_for_each(|name| headers.remove(name))
}

/// Whether the response's body is a part of another one, or several parts of it. `Content-Range` means nothing in
/// other responses than those (RFC 9110 section 14.4): servers that page lists send it with complete ones.
#[must_use]
pub fn is_part(exchange: &Exchange) -> bool {
    exchange.status() == Some(StatusCode::PARTIAL_CONTENT)
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
    let conditions = ["content-encoding", "if-none-match", "if-modified-since"];
    OF_THE_BYTES.iter().chain(&conditions).chain(&OF_A_PART).try_for_each(|name| headers.remove(name))
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

/// What asks for a part of a body.
const OF_A_PART: [&str; 2] = ["range", "if-range"];
