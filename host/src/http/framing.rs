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
//! than another; `grammar::first_control` takes sixteen bytes at a step. Rejected: parsing heads here and building requests
//! without hyper (twice the code for the same bytes), and letting hyper parse first (it accepts bare LF, and has begun
//! to act on a message when its end turns out to be malformed).

mod grammar;

use crate::headers::{IGNORED_UPGRADE, Reject, is_decimal};
use grammar::{CHUNK_LINE_BYTES, Coding, chunk_line, coding, field, first_control, request_line, trim};

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
    /// After a request that asks for another protocol: what follows is held until it is clear whose bytes they are.
    Upgrading,
    /// The protocol was switched: no byte is looked at any more.
    Switched,
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
    /// Connection has the token `upgrade`.
    connection_upgrade: bool,
    /// Where the first Upgrade field begins.
    upgrade_field: Option<usize>,
    /// There is another one: nobody can say which counts.
    upgrade_is_repeated: bool,
}

impl Framing {
    pub fn new(limits: Limits) -> Self {
        Framing { limits, state: State::Head, lines: Lines::default(), head: Head::default(), messages: 0 }
    }

    /// Looks at the bytes that have not passed yet, old ones first, and says how many of them may pass now. The rest
    /// is to be shown again with what follows it.
    ///
    /// On `Err`, the number says how many may pass still; after them the connection says nothing intelligible.
    /// The name of an `Upgrade` field that is no proper request for another protocol is overwritten (see
    /// [`IGNORED_UPGRADE`]); nothing else changes.
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
        !matches!(self.state, State::Head | State::Upgrading | State::Switched | State::Ended)
    }

    /// Whether the last message of the connection has passed: nothing after it counts.
    pub fn is_ended(&self) -> bool {
        self.state == State::Ended
    }

    /// Whether what follows waits for [`Framing::settle`].
    pub fn is_upgrading(&self) -> bool {
        self.state == State::Upgrading
    }

    /// Says what follows the request for another protocol: that protocol, or the next request.
    pub fn settle(&mut self, is_switched: bool) {
        if self.state == State::Upgrading {
            self.state = if is_switched { State::Switched } else { State::Head };
        }
    }

    /// Whether the protocol was switched.
    pub fn is_switched(&self) -> bool {
        self.state == State::Switched
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
            State::Switched => Ok(bytes.len()),
            State::Upgrading | State::Ended => Ok(0),
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
            let line_start = line.start;
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
                self.head.field(line, line_start)?;
            } else {
                let head = self.head;
                self.state = self.after_head()?;
                if let Some(at) = head.upgrade_field {
                    self.after_upgrade(head, bytes.get_mut(at..).unwrap_or_default());
                }
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

    /// Another protocol can be asked for by HTTP/1.1 alone, with the field named in Connection (RFC 9110 §7.8), and, here,
    /// only without a body: then no byte belongs to both. Every other field goes, as if it had not been sent.
    fn after_upgrade(&mut self, head: Head, field: &mut [u8]) {
        let is_proper = head.connection_upgrade && !head.upgrade_is_repeated && !head.is_http_10;
        if is_proper && self.state == State::Head {
            self.state = State::Upgrading;
        } else {
            ignore_upgrade(field);
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
    fn field(&mut self, line: &mut [u8], at: usize) -> Result<(), Reject> {
        let (name, value) = field(line)?;
        match name.len() {
            7 if name.eq_ignore_ascii_case(b"upgrade") => {
                if self.upgrade_field.is_none() {
                    self.upgrade_field = Some(at);
                } else {
                    self.upgrade_is_repeated = true;
                    ignore_upgrade(line);
                }
            }
            10 if name.eq_ignore_ascii_case(b"connection") => {
                for token in value.split(|&byte| byte == b',').map(trim) {
                    self.close |= token.eq_ignore_ascii_case(b"close");
                    self.connection_upgrade |= token.eq_ignore_ascii_case(b"upgrade");
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

/// Overwrites the name of an Upgrade field, so that nothing behind prepares for another protocol.
fn ignore_upgrade(field: &mut [u8]) {
    if let Some(name) = field.get_mut(..IGNORED_UPGRADE.len()) {
        name.copy_from_slice(IGNORED_UPGRADE.as_bytes());
    }
}

/// As much of a body as is there, and what is left of it then.
fn take(bytes: &[u8], left: u64) -> (usize, u64) {
    let there = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    if there < left { (bytes.len(), left - there) } else { (usize::try_from(left).unwrap_or(bytes.len()), 0) }
}

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
