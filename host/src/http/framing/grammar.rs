//! The grammar of HTTP/1 lines, strictly: request lines, fields, chunk lines.

use std::ops::Range;

use http::Uri;

use crate::headers::Reject;

/// What a well-formed Transfer-Encoding of a request says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    Chunked,
    /// Other codings, then `chunked`.
    More,
}

/// A well-formed request line: `METHOD SP TARGET SP HTTP/1.x` (RFC 9112 §3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequestLine {
    /// Bytes of the method.
    method: usize,
    /// Bytes of the target.
    target: usize,
    pub is_http_10: bool,
}

impl RequestLine {
    /// The range of the method in its line.
    pub fn method(&self) -> Range<usize> {
        0..self.method
    }

    pub fn target(&self) -> Range<usize> {
        let start = self.method + 1;
        start..start + self.target
    }
}

/// Checks and parses a request line.
pub(super) fn request_line(line: &[u8]) -> Result<RequestLine, Reject> {
    let (rest, is_http_10) = match line.split_last_chunk() {
        Some((rest, b" HTTP/1.1")) => (rest, false),
        Some((rest, b" HTTP/1.0")) => (rest, true),
        Some((_, [b' ', b'H', b'T', b'T', b'P', b'/', b'1'..=b'9', b'.', b'0'..=b'9'])) => return Err(Reject::Version),
        _ => return Err(Reject::RequestLine),
    };
    let (method, rest) = rest.split_at(length_in(&TOKEN, rest));
    if method.is_empty() || method.len() > METHOD_BYTES {
        return Err(Reject::RequestLine);
    }
    let Some(target) = rest.strip_prefix(b" ") else { return Err(Reject::RequestLine) };
    match target {
        [_, ..] if method == b"CONNECT" => return Err(Reject::Tunnel),
        [b'/', path @ ..] if length_in(&IN_TARGET, path) == path.len() => {}
        b"*" if method == b"OPTIONS" => {}
        _ => unusual_target(target)?,
    }
    Ok(RequestLine { method: method.len(), target: target.len(), is_http_10 })
}

/// Checks an absolute form, or an origin form with bytes that few clients send.
fn unusual_target(target: &[u8]) -> Result<(), Reject> {
    if target.is_empty() || target.iter().any(|&byte| byte <= b' ') {
        return Err(Reject::RequestLine);
    }
    let uri = Uri::try_from(target).map_err(|_| Reject::Target)?;
    match (uri.scheme_str(), uri.authority()) {
        (None, None) if target.first() == Some(&b'/') => Ok(()),
        (Some("http" | "https"), Some(authority)) if !authority.as_str().contains('@') => Ok(()),
        _ => Err(Reject::Target),
    }
}

/// Splits a line at its colon. The value still has its white space.
pub(super) fn field(line: &[u8]) -> Result<(&[u8], &[u8]), Reject> {
    match line.split_at(length_in(&TOKEN, line)) {
        ([], _) => Err(Reject::Syntax),
        (name, [b':', value @ ..]) => Ok((name, value)),
        _ => Err(Reject::Syntax),
    }
}

/// A Transfer-Encoding must end in `chunked`, once (RFC 9112 §6.1).
pub(super) fn coding(value: &[u8]) -> Result<Coding, Reject> {
    if value.eq_ignore_ascii_case(b"chunked") {
        return Ok(Coding::Chunked);
    }
    let is_chunked = |coding: &[u8]| coding.eq_ignore_ascii_case(b"chunked");
    let codings = || value.split(|&byte| byte == b',').map(trim);
    let is_list = codings().all(|coding| !coding.is_empty() && length_in(&TOKEN, coding) == coding.len());
    let is_chunked_once = codings().filter(|coding| is_chunked(coding)).count() == 1;
    if is_list && is_chunked_once && codings().next_back().is_some_and(is_chunked) {
        Ok(Coding::More)
    } else {
        Err(Reject::TransferEncoding)
    }
}

/// The size of a chunk, if the line is `chunk-size [ chunk-ext ]` (RFC 9112 §7.1).
pub(super) fn chunk_line(line: &[u8]) -> Option<u64> {
    if line.len() > CHUNK_LINE_BYTES {
        return None;
    }
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    if digits == 0 || digits > CHUNK_SIZE_DIGITS {
        return None;
    }
    let (digits, extensions) = line.split_at_checked(digits)?;
    let size = u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    are_extensions(extensions).then_some(size)
}

/// `*( BWS ";" BWS name [ BWS "=" BWS ( token / quoted-string ) ] )` (RFC 9112 §7.1.1).
fn are_extensions(mut rest: &[u8]) -> bool {
    while !rest.is_empty() {
        let Some(after) = skip_blank(rest).strip_prefix(b";") else { return false };
        let Some(after) = skip_token(skip_blank(after)) else { return false };
        rest = after;
        if let Some(value) = skip_blank(rest).strip_prefix(b"=") {
            let value = skip_blank(value);
            let end = if value.first() == Some(&b'"') { skip_quoted(value) } else { skip_token(value) };
            let Some(after) = end else { return false };
            rest = after;
        }
    }
    true
}

fn skip_blank(text: &[u8]) -> &[u8] {
    let blanks = text.iter().take_while(|&&byte| byte == b' ' || byte == b'\t').count();
    text.get(blanks..).unwrap_or_default()
}

fn skip_token(text: &[u8]) -> Option<&[u8]> {
    let length = length_in(&TOKEN, text);
    if length == 0 { None } else { text.get(length..) }
}

fn skip_quoted(text: &[u8]) -> Option<&[u8]> {
    let mut rest = text.strip_prefix(b"\"")?;
    loop {
        match rest {
            [b'"', after @ ..] => return Some(after),
            [b'\\', _, after @ ..] | [_, after @ ..] => rest = after,
            [] => return None,
        }
    }
}

/// Optional whitespace is space and tab, nothing else.
pub(super) fn trim(value: &[u8]) -> &[u8] {
    let is_text = |byte: &u8| *byte != b' ' && *byte != b'\t';
    let start = value.iter().position(is_text).unwrap_or(value.len());
    let end = value.iter().rposition(is_text).map_or(start, |last| last + 1);
    value.get(start..end).unwrap_or_default()
}

/// Position of the first control character; a tab is not one.
pub(super) fn first_control(bytes: &[u8]) -> Option<usize> {
    let mut from = 0;
    loop {
        let at = from + first_low(bytes.get(from..)?)?;
        if bytes.get(at) != Some(&b'\t') {
            return Some(at);
        }
        from = at + 1;
    }
}

/// Position of the first control character, tabs included. Goes in steps of sixteen bytes, which the compiler
/// vectorises, then of eight.
fn first_low(bytes: &[u8]) -> Option<usize> {
    let is_control = |byte: u8| byte < 0x20 || byte == 0x7f;
    let (blocks, _) = bytes.as_chunks::<16>();
    let has_none = |block: &&[u8; 16]| !block.iter().fold(false, |found, &byte| found | (byte < 0x20) | (byte == 0x7f));
    let clean = blocks.iter().take_while(has_none).count() * 16;
    let (words, tail) = bytes.get(clean..)?.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        let hits = controls(u64::from_le_bytes(*word));
        if hits != 0 {
            return Some(clean + index * 8 + (hits.trailing_zeros() / 8) as usize);
        }
    }
    let found = tail.iter().position(|&byte| is_control(byte));
    found.map(|offset| clean + words.len() * 8 + offset)
}

/// Marks the control characters among eight bytes in their high bits; only the lowest mark is reliable.
///
/// A byte below 0x20 borrows into its high bit when 0x20 is subtracted; one that equals 0x7f does when 1 is subtracted
/// from its difference. A borrow can only corrupt the bytes above it.
fn controls(word: u64) -> u64 {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    let low = word.wrapping_sub(ONES * 0x20) & !word;
    let delete = word ^ (ONES * 0x7f);
    (low | delete.wrapping_sub(ONES) & !delete) & (ONES << 7)
}

/// How many of the first bytes are in a table.
fn length_in(table: &[bool; 256], bytes: &[u8]) -> usize {
    let is_in = |byte: u8| table[usize::from(byte)];
    let mut length = 0;
    let mut rest = bytes;
    while let Some(([a, b, c, d], next)) = rest.split_first_chunk() {
        // No branch between them: nearly always, all four are.
        if !(is_in(*a) & is_in(*b) & is_in(*c) & is_in(*d)) {
            break;
        }
        length += 4;
        rest = next;
    }
    length + rest.iter().take_while(|&&byte| is_in(byte)).count()
}

/// `tchar` (RFC 9110 §5.6.2).
static TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0x21_u8;
    while byte < 0x7f {
        table[byte as usize] = byte.is_ascii_alphanumeric()
            || matches!(
                byte,
                b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
            );
        byte += 1;
    }
    table
};

/// What every URI parser accepts in a path and in a query. Other bytes are left to the parser in use.
static IN_TARGET: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0x21_u8;
    while byte < 0x7f {
        table[byte as usize] = !matches!(byte, b'"' | b'#' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}');
        byte += 1;
    }
    table
};

/// Longer than any registered method.
const METHOD_BYTES: usize = 32;
/// Maximum length of a chunk line with its extensions. Signing clients send some 90 bytes.
pub(super) const CHUNK_LINE_BYTES: usize = 1024;
/// 2^60 and more is refused, so that no sum overflows. Leading zeros count as digits.
const CHUNK_SIZE_DIGITS: usize = 15;
