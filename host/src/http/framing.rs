//! Where HTTP/1 messages begin and end, strictly.
//!
//! [`Framing`] looks at the raw bytes of a connection before the HTTP library does, and lets only those pass whose
//! reading is beyond doubt: every head whole and well-formed, every chunk line as the grammar has it. Two parsers that
//! disagree about a boundary are how requests are smuggled; what this one lets through, every parser reads alike. It
//! is deliberately stricter than RFC 9112 must be: bare LF, folded lines, lists in Content-Length, empty list elements
//! in Transfer-Encoding and superfluous zeros are refused, not repaired.
//!
//! A state machine without input or output: it is shown the bytes that have not passed yet, and says how many may.
//! It looks at each byte once, wherever the network cuts them, so a client that sends one byte at a time costs no more
//! than another; [`first_control`] takes eight bytes at a step. Rejected: parsing heads here and building requests
//! without hyper (twice the code for the same bytes), and letting hyper parse first (it accepts bare LF, and has begun
//! to act on a message when its end turns out to be malformed).

use http::Uri;

use crate::headers::{IGNORED_UPGRADE, Reject, is_decimal};

/// The state of one connection.
#[derive(Debug)]
pub struct Framing {
    limits: Limits,
    state: State,
    lines: Lines,
    head: Head,
    /// Heads that have passed.
    messages: u64,
}

/// What a message's head and its trailers may be at most.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of a head, request line and empty line included; also of a trailer section.
    pub head_bytes: usize,
    /// Bytes of the request line.
    pub request_line_bytes: usize,
    /// Fields of a head; also of a trailer section.
    pub fields: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Before or in a head.
    Head,
    /// So many bytes of a body are still to come.
    Body(u64),
    ChunkSize,
    ChunkData(u64),
    ChunkEnd,
    Trailers,
    /// After a message that is the last of its connection.
    Ended,
}

/// How far the lines of a part that must be whole have been looked at, from the first byte that has not passed.
#[derive(Clone, Copy, Debug, Default)]
struct Lines {
    /// Where the current line starts.
    start: usize,
    /// No line ends before this.
    searched: usize,
    /// Lines so far.
    count: usize,
}

/// What the fields of the current head have said.
#[derive(Clone, Copy, Debug, Default)]
struct Head {
    has_request_line: bool,
    leading_empty_line: bool,
    is_http_10: bool,
    length: Option<u64>,
    transfer_encoding: Option<Coding>,
    close: bool,
    keep_alive: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coding {
    Chunked,
    /// Others, and then `chunked`.
    More,
}

impl Framing {
    pub fn new(limits: Limits) -> Self {
        Framing { limits, state: State::Head, lines: Lines::default(), head: Head::default(), messages: 0 }
    }

    /// Looks at the bytes that have not passed yet, old ones first, and says how many of them may pass now. The rest
    /// is to be shown again with what follows it.
    ///
    /// On `Err`, the number says how many may pass still; after them the connection says nothing intelligible.
    /// The name of an `Upgrade` field is overwritten (see [`IGNORED_UPGRADE`]); nothing else changes.
    pub fn advance(&mut self, bytes: &mut [u8]) -> Result<usize, (usize, Reject)> {
        let mut passed = 0;
        loop {
            let rest = bytes.get_mut(passed..).unwrap_or_default();
            if rest.is_empty() {
                return Ok(passed);
            }
            match self.step(rest) {
                Ok(0) => return Ok(passed),
                Ok(more) => passed += more,
                Err(reject) => return Err((passed, reject)),
            }
        }
    }

    /// Whether the next byte would be the first of a message.
    pub fn is_between_messages(&self) -> bool {
        self.state == State::Head && self.lines.searched == 0
    }

    /// Whether what comes next belongs to a body.
    pub fn is_in_body(&self) -> bool {
        !matches!(self.state, State::Head | State::Ended)
    }

    /// Whether the last message of the connection has passed: nothing after it counts.
    pub fn is_ended(&self) -> bool {
        self.state == State::Ended
    }

    /// Heads that have passed.
    pub fn messages(&self) -> u64 {
        self.messages
    }

    /// One part of a message; 0 where it is not whole.
    fn step(&mut self, bytes: &mut [u8]) -> Result<usize, Reject> {
        match self.state {
            State::Head => self.head(bytes),
            State::Body(left) => {
                let (taken, left) = take(bytes, left);
                self.state = if left == 0 { self.after_message() } else { State::Body(left) };
                Ok(taken)
            }
            State::ChunkSize => self.chunk_size(bytes),
            State::ChunkData(left) => {
                let (taken, left) = take(bytes, left);
                self.state = if left == 0 { State::ChunkEnd } else { State::ChunkData(left) };
                Ok(taken)
            }
            State::ChunkEnd => match bytes {
                [b'\r', b'\n', ..] => {
                    self.state = State::ChunkSize;
                    Ok(2)
                }
                [b'\r'] => Ok(0),
                _ => Err(Reject::Chunk),
            },
            State::Trailers => self.trailers(bytes),
            State::Ended => Ok(0),
        }
    }

    fn head(&mut self, bytes: &mut [u8]) -> Result<usize, Reject> {
        loop {
            let Some(line) = self.lines.next(bytes)? else {
                let line_is_long = self.lines.unfinished() > self.limits.request_line_bytes;
                return match self.head.has_request_line {
                    false if line_is_long => Err(Reject::TargetTooLong),
                    _ if bytes.len() > self.limits.head_bytes => Err(Reject::HeadTooLarge),
                    _ => Ok(0),
                };
            };
            let length = self.lines.start;
            if length > self.limits.head_bytes {
                return Err(Reject::HeadTooLarge);
            }
            let line = bytes.get_mut(line).unwrap_or_default();
            if !self.head.has_request_line {
                if line.is_empty() && !self.head.leading_empty_line {
                    // A robust server ignores one (RFC 9112 §2.2).
                    self.head.leading_empty_line = true;
                } else if line.len() > self.limits.request_line_bytes {
                    return Err(Reject::TargetTooLong);
                } else {
                    self.head.is_http_10 = request_line(line)?;
                    self.head.has_request_line = true;
                    self.lines.count = 0;
                }
            } else if !line.is_empty() {
                if self.lines.count > self.limits.fields {
                    return Err(Reject::HeadTooLarge);
                }
                self.head.field(line)?;
            } else {
                self.state = self.after_head()?;
                self.lines = Lines::default();
                self.messages += 1;
                return Ok(length);
            }
        }
    }

    fn after_head(&mut self) -> Result<State, Reject> {
        match (self.head.transfer_encoding, self.head.length) {
            (Some(_), _) if self.head.is_http_10 => Err(Reject::TransferEncoding),
            (Some(_), Some(_)) => Err(Reject::Ambiguous),
            (Some(Coding::More), None) => Err(Reject::TransferCoding),
            (Some(Coding::Chunked), None) => Ok(State::ChunkSize),
            (None, Some(length)) if length > 0 => Ok(State::Body(length)),
            (None, _) => Ok(self.after_message()),
        }
    }

    fn after_message(&mut self) -> State {
        let head = std::mem::take(&mut self.head);
        let ends = head.close || (head.is_http_10 && !head.keep_alive);
        if ends { State::Ended } else { State::Head }
    }

    fn chunk_size(&mut self, bytes: &[u8]) -> Result<usize, Reject> {
        let line = self.lines.next(bytes).map_err(|_| Reject::Chunk)?;
        let is_hex = bytes.first().is_some_and(u8::is_ascii_hexdigit);
        let Some(line) = line else {
            return if is_hex && self.lines.unfinished() <= CHUNK_LINE_BYTES { Ok(0) } else { Err(Reject::Chunk) };
        };
        let length = self.lines.start;
        self.lines = Lines::default();
        let size = chunk_line(bytes.get(line).unwrap_or_default()).ok_or(Reject::Chunk)?;
        self.state = if size == 0 { State::Trailers } else { State::ChunkData(size) };
        Ok(length)
    }

    fn trailers(&mut self, bytes: &[u8]) -> Result<usize, Reject> {
        loop {
            let Some(line) = self.lines.next(bytes)? else {
                return if bytes.len() > self.limits.head_bytes { Err(Reject::Trailer) } else { Ok(0) };
            };
            let length = self.lines.start;
            let line = bytes.get(line).unwrap_or_default();
            if length > self.limits.head_bytes {
                return Err(Reject::Trailer);
            }
            if line.is_empty() {
                self.lines = Lines::default();
                self.state = self.after_message();
                return Ok(length);
            }
            if self.lines.count > self.limits.fields {
                return Err(Reject::Trailer);
            }
            let (name, _) = field(line)?;
            if NOT_IN_TRAILERS.iter().any(|forbidden| name.eq_ignore_ascii_case(forbidden)) {
                return Err(Reject::Trailer);
            }
        }
    }
}

impl Lines {
    /// How long the line is that has not ended yet, as far as it is known.
    fn unfinished(&self) -> usize {
        self.searched.saturating_sub(self.start)
    }

    /// The next whole line, without its CRLF; `start` is then behind it.
    fn next(&mut self, bytes: &[u8]) -> Result<Option<std::ops::Range<usize>>, Reject> {
        let unsearched = bytes.get(self.searched..).unwrap_or_default();
        let Some(offset) = first_control(unsearched) else {
            self.searched = bytes.len();
            return Ok(None);
        };
        let end = self.searched + offset;
        match unsearched.get(offset..) {
            Some([b'\r', b'\n', ..]) => {
                let line = self.start..end;
                *self = Lines { start: end + 2, searched: end + 2, count: self.count + 1 };
                Ok(Some(line))
            }
            Some([b'\r']) => {
                self.searched = end;
                Ok(None)
            }
            _ => Err(Reject::Syntax),
        }
    }
}

impl Head {
    /// Notes what a field says about the message's boundaries.
    fn field(&mut self, line: &mut [u8]) -> Result<(), Reject> {
        let (name, value) = field(line)?;
        match name.len() {
            7 if name.eq_ignore_ascii_case(b"upgrade") => {
                if let Some(name) = line.get_mut(..IGNORED_UPGRADE.len()) {
                    name.copy_from_slice(IGNORED_UPGRADE.as_bytes());
                }
            }
            10 if name.eq_ignore_ascii_case(b"connection") => {
                for token in value.split(|&byte| byte == b',').map(trim) {
                    self.close |= token.eq_ignore_ascii_case(b"close");
                    self.keep_alive |= token.eq_ignore_ascii_case(b"keep-alive");
                }
            }
            14 if name.eq_ignore_ascii_case(b"content-length") => {
                let value = trim(value);
                if self.length.is_some() || !is_decimal(value) {
                    return Err(Reject::ContentLength);
                }
                self.length = value.iter().try_fold(0_u64, |length, &digit| {
                    length.checked_mul(10)?.checked_add(u64::from(digit.wrapping_sub(b'0')))
                });
            }
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                self.transfer_encoding = Some(match self.transfer_encoding {
                    None => coding(trim(value))?,
                    // `chunked` must be the last, so nothing may follow it on another line.
                    Some(_) => return Err(Reject::TransferEncoding),
                });
            }
            _ => {}
        }
        Ok(())
    }
}

/// Checks a request line; answers whether it is HTTP/1.0.
fn request_line(line: &[u8]) -> Result<bool, Reject> {
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
        [_, ..] if method == b"CONNECT" => Err(Reject::Tunnel),
        [b'/', path @ ..] if length_in(&IN_TARGET, path) == path.len() => Ok(is_http_10),
        b"*" if method == b"OPTIONS" => Ok(is_http_10),
        _ => unusual_target(target).and(Ok(is_http_10)),
    }
}

/// An absolute form, or an origin form with bytes that few clients send.
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

/// Splits a line at its colon. The value has its whitespace still.
fn field(line: &[u8]) -> Result<(&[u8], &[u8]), Reject> {
    match line.split_at(length_in(&TOKEN, line)) {
        ([], _) => Err(Reject::Syntax),
        (name, [b':', value @ ..]) => Ok((name, value)),
        _ => Err(Reject::Syntax),
    }
}

/// A Transfer-Encoding must end in `chunked`, once (RFC 9112 §6.1).
fn coding(value: &[u8]) -> Result<Coding, Reject> {
    if value.eq_ignore_ascii_case(b"chunked") {
        return Ok(Coding::Chunked);
    }
    let is_chunked = |coding: &[u8]| coding.eq_ignore_ascii_case(b"chunked");
    let codings = || value.split(|&byte| byte == b',').map(trim);
    let is_list = codings().all(|coding| !coding.is_empty() && length_in(&TOKEN, coding) == coding.len());
    let is_chunked_once = codings().filter(|coding| is_chunked(coding)).count() == 1;
    if is_list && is_chunked_once && codings().last().is_some_and(is_chunked) {
        Ok(Coding::More)
    } else {
        Err(Reject::TransferEncoding)
    }
}

/// The size of a chunk, if the line is `chunk-size [ chunk-ext ]` (RFC 9112 §7.1).
fn chunk_line(line: &[u8]) -> Option<u64> {
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

/// As much of a body as is there, and what is left of it then.
fn take(bytes: &[u8], left: u64) -> (usize, u64) {
    let there = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    if there < left { (bytes.len(), left - there) } else { (usize::try_from(left).unwrap_or(bytes.len()), 0) }
}

/// Optional whitespace is space and tab, nothing else.
fn trim(value: &[u8]) -> &[u8] {
    let is_text = |byte: &u8| *byte != b' ' && *byte != b'\t';
    let start = value.iter().position(is_text).unwrap_or(value.len());
    let end = value.iter().rposition(is_text).map_or(start, |last| last + 1);
    value.get(start..end).unwrap_or_default()
}

/// Where the first control character is; a tab is none.
fn first_control(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let rest = bytes.get(at..).unwrap_or_default();
        let Some((word, next)) = rest.split_first_chunk() else {
            let found = rest.iter().position(|&byte| (byte < 0x20 && byte != b'\t') || byte == 0x7f);
            return found.map(|offset| at + offset);
        };
        let mut hits = controls(u64::from_le_bytes(*word));
        if hits == 0 {
            at += 8;
            let Some(word) = next.first_chunk() else { continue };
            hits = controls(u64::from_le_bytes(*word));
            if hits == 0 {
                at += 8;
                continue;
            }
        }
        at += (hits.trailing_zeros() / 8) as usize;
        if bytes.get(at) != Some(&b'\t') {
            return Some(at);
        }
        at += 1;
    }
}

/// Marks the control characters among eight bytes in their high bits; marks above the lowest may be wrong.
///
/// A byte below 0x20 borrows into its high bit when 0x20 is taken from it, one that equals 0x7f does when 1 is taken
/// from its difference. A borrow can only spoil the bytes above it.
fn controls(word: u64) -> u64 {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    let low = word.wrapping_sub(ONES * 0x20) & !word;
    let delete = word ^ (ONES * 0x7f);
    (low | delete.wrapping_sub(ONES) & !delete) & (ONES << 7)
}

/// How many bytes at the start are in a table.
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

/// What every URI parser takes in a path and in a query. Other bytes are left to the one that is used.
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
/// A chunk's size and extensions. Signing clients send some 90 bytes.
const CHUNK_LINE_BYTES: usize = 1024;
/// 2^60 and more is refused, so that no sum overflows. Zeros in front count.
const CHUNK_SIZE_DIGITS: usize = 15;

/// Fields that say how to read the message, who it is for or who may send it: too late behind the body
/// (RFC 9110 §6.5.1).
const NOT_IN_TRAILERS: [&[u8]; 17] = [
    b"transfer-encoding",
    b"content-length",
    b"host",
    b"connection",
    b"keep-alive",
    b"upgrade",
    b"te",
    b"trailer",
    b"expect",
    b"authorization",
    b"proxy-authorization",
    b"cookie",
    b"cache-control",
    b"content-encoding",
    b"content-type",
    b"content-range",
    b"max-forwards",
];

#[cfg(test)]
mod tests;
