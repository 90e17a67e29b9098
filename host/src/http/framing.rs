//! Where HTTP/1 messages begin and end, strictly.
//!
//! [`Framing`] reads the bytes that a client sends, and takes only those whose reading is beyond doubt: every head whole and
//! well-formed, every chunk line as the grammar has it. Two parsers that disagree about a boundary are how requests are
//! smuggled; what this one takes, every parser reads alike. It is deliberately stricter than RFC 9112 must be: bare LF,
//! folded lines, lists in Content-Length, empty list elements in Transfer-Encoding and superfluous zeros are refused, not
//! repaired.
//!
//! A state machine without input or output: it is shown the bytes that have not been used yet, and says what the first of
//! them are. It looks at each byte once, wherever the network cuts them, so a client that sends one byte at a time costs no
//! more than another; `grammar::first_control` takes sixteen bytes at a step.

mod grammar;

use crate::headers::{Reject, is_decimal};
use grammar::{CHUNK_LINE_BYTES, Coding, RequestLine, chunk_line, coding, field, first_control, request_line, trim};

/// The framing state of one connection.
#[derive(Debug)]
pub struct Framing {
    limits: Limits,
    state: State,
    lines: Lines,
    head: Head,
    /// The fields of the head or trailer section that is being read, or was read last.
    fields: Vec<Field>,
    /// The message is the last one of its connection.
    is_last: bool,
}

/// Limits of a message's head and trailers.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of a head, request line and empty line included; also of a trailer section.
    pub head_bytes: usize,
    /// Bytes of the request line.
    pub request_line_bytes: usize,
    /// Fields of a head; also of a trailer section.
    pub fields: usize,
}

/// What the next bytes are, and how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// An empty line before a head, which is ignored (RFC 9112, section 2.2).
    Blank(usize),
    Head(Head),
    /// Framing of a body.
    Chunking(usize),
    Data(usize),
    /// The trailer section, its empty line included.
    Trailers(usize),
}

/// What the head of a request says about the message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// Length in bytes, including request line and empty line.
    pub length: usize,
    pub line: RequestLine,
    /// Bytes of the body according to Content-Length.
    pub content_length: Option<u64>,
    /// The client waits for `100 Continue`.
    pub expects_continue: bool,
    /// The client understands trailers.
    pub takes_trailers: bool,
    /// The client asks for another protocol, correctly.
    pub asks_for_upgrade: bool,
    has_line: bool,
    is_behind_blank: bool,
    transfer_encoding: Option<Coding>,
    close: bool,
    keep_alive: bool,
    /// Connection has the token `upgrade`.
    connection_upgrade: bool,
    /// Upgrade occurs more than once, so it is ambiguous.
    upgrade_is_repeated: bool,
}

/// The position of a field, from the first byte of its head or trailer section.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    start: u32,
    colon: u32,
    end: u32,
}

impl Field {
    /// The name, and the value without the white space around it.
    pub fn parts<'a>(&self, bytes: &'a [u8]) -> (&'a [u8], &'a [u8]) {
        let part = |from: u32, to: u32| bytes.get(from as usize..to as usize).unwrap_or_default();
        (part(self.start, self.colon), trim(part(self.colon + 1, self.end)))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Before or in a head.
    Head,
    /// This many bytes of a body remain.
    Body(u64),
    ChunkSize,
    ChunkData(u64),
    ChunkEnd,
    Trailers,
    /// After the last message of the connection.
    Ended,
}

/// Scan position in a part that must be complete (a head, for instance), from the first unused byte.
#[derive(Clone, Copy, Debug, Default)]
struct Lines {
    /// Where the current line starts.
    start: usize,
    /// No line ends before this position.
    searched: usize,
    /// Lines so far.
    count: usize,
}

impl Framing {
    pub fn new(limits: Limits) -> Self {
        let (lines, head) = (Lines::default(), Head::default());
        Framing { limits, state: State::Head, lines, head, fields: Vec::new(), is_last: false }
    }

    /// Says what the first unused bytes are, which the caller then has to use. `bytes` are all bytes not used yet,
    /// oldest first. `None` if more bytes are needed: all of them are to be passed again together with what follows.
    ///
    /// # Errors
    /// The bytes are ambiguous or malformed. Nothing after them means anything.
    pub fn next(&mut self, bytes: &[u8]) -> Result<Option<Part>, Reject> {
        match self.state {
            _ if bytes.is_empty() => Ok(None),
            State::Head => self.head(bytes),
            State::Body(left) => {
                let (taken, left) = take(bytes, left);
                self.state = if left == 0 { self.after_message() } else { State::Body(left) };
                Ok(Some(Part::Data(taken)))
            }
            State::ChunkSize => self.chunk_size(bytes),
            State::ChunkData(left) => {
                let (taken, left) = take(bytes, left);
                self.state = if left == 0 { State::ChunkEnd } else { State::ChunkData(left) };
                Ok(Some(Part::Data(taken)))
            }
            State::ChunkEnd => match bytes {
                [b'\r', b'\n', ..] => {
                    self.state = State::ChunkSize;
                    Ok(Some(Part::Chunking(2)))
                }
                [b'\r'] => Ok(None),
                _ => Err(Reject::Chunk),
            },
            State::Trailers => self.trailers(bytes),
            State::Ended => Ok(None),
        }
    }

    /// The fields of the head or trailer section that was read last.
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// Whether the next bytes belong to a body.
    pub fn is_in_body(&self) -> bool {
        !matches!(self.state, State::Head | State::Ended)
    }

    /// Whether the last message of the connection is over: anything after it is ignored.
    pub fn is_ended(&self) -> bool {
        self.state == State::Ended
    }

    /// Whether the current message, or the one read last, is the last of the connection.
    pub fn is_last(&self) -> bool {
        self.is_last
    }

    fn head(&mut self, bytes: &[u8]) -> Result<Option<Part>, Reject> {
        loop {
            let Some(line) = self.lines.next(bytes)? else {
                let line_is_long = self.lines.unfinished() > self.limits.request_line_bytes;
                return match self.head.has_line {
                    false if line_is_long => Err(Reject::TargetTooLong),
                    _ if bytes.len() > self.limits.head_bytes => Err(Reject::HeadTooLarge),
                    _ => Ok(None),
                };
            };
            let length = self.lines.start;
            if length > self.limits.head_bytes {
                return Err(Reject::HeadTooLarge);
            }
            let at = line.start;
            let line = bytes.get(line).unwrap_or_default();
            if !self.head.has_line {
                if line.is_empty() && !self.head.is_behind_blank {
                    // A robust server ignores one empty line (RFC 9112 §2.2).
                    self.head.is_behind_blank = true;
                    self.lines = Lines::default();
                    return Ok(Some(Part::Blank(length)));
                }
                if line.len() > self.limits.request_line_bytes {
                    return Err(Reject::TargetTooLong);
                }
                self.head.line = request_line(line)?;
                self.head.has_line = true;
                self.lines.count = 0;
                self.fields.clear();
            } else if !line.is_empty() {
                if self.lines.count > self.limits.fields {
                    return Err(Reject::HeadTooLarge);
                }
                let (name, value) = field(line)?;
                self.head.note(name, value)?;
                self.fields.push(spot(at, name, line));
            } else {
                return self.end_of_head(length).map(|head| Some(Part::Head(head)));
            }
        }
    }

    fn end_of_head(&mut self, length: usize) -> Result<Head, Reject> {
        let mut head = Head { length, ..std::mem::take(&mut self.head) };
        self.lines = Lines::default();
        let is_http_10 = head.line.is_http_10;
        self.is_last = head.close || (is_http_10 && !head.keep_alive);
        self.state = match (head.transfer_encoding, head.content_length) {
            (Some(_), _) if is_http_10 => return Err(Reject::TransferEncoding),
            (Some(_), Some(_)) => return Err(Reject::Ambiguous),
            (Some(Coding::More), None) => return Err(Reject::TransferCoding),
            (Some(Coding::Chunked), None) => State::ChunkSize,
            (None, Some(length)) if length > 0 => State::Body(length),
            (None, _) => self.after_message(),
        };
        // Another protocol can be requested only in HTTP/1.1, with the field named in Connection (RFC 9110 §7.8), and,
        // here, only without a body: then no byte belongs to both. Otherwise the field is ignored.
        let is_proper = head.connection_upgrade && !head.upgrade_is_repeated && !is_http_10;
        head.asks_for_upgrade &= is_proper && self.state == State::Head;
        Ok(head)
    }

    fn after_message(&self) -> State {
        if self.is_last { State::Ended } else { State::Head }
    }

    fn chunk_size(&mut self, bytes: &[u8]) -> Result<Option<Part>, Reject> {
        let line = self.lines.next(bytes).map_err(|_| Reject::Chunk)?;
        let is_hex = bytes.first().is_some_and(u8::is_ascii_hexdigit);
        let Some(line) = line else {
            return if is_hex && self.lines.unfinished() <= CHUNK_LINE_BYTES { Ok(None) } else { Err(Reject::Chunk) };
        };
        let length = self.lines.start;
        self.lines = Lines::default();
        let size = chunk_line(bytes.get(line).unwrap_or_default()).ok_or(Reject::Chunk)?;
        self.state = if size == 0 { State::Trailers } else { State::ChunkData(size) };
        self.fields.clear();
        Ok(Some(Part::Chunking(length)))
    }

    fn trailers(&mut self, bytes: &[u8]) -> Result<Option<Part>, Reject> {
        loop {
            let Some(line) = self.lines.next(bytes)? else {
                return if bytes.len() > self.limits.head_bytes { Err(Reject::Trailer) } else { Ok(None) };
            };
            let length = self.lines.start;
            let at = line.start;
            let line = bytes.get(line).unwrap_or_default();
            if length > self.limits.head_bytes {
                return Err(Reject::Trailer);
            }
            if line.is_empty() {
                self.lines = Lines::default();
                self.state = self.after_message();
                return Ok(Some(Part::Trailers(length)));
            }
            if self.lines.count > self.limits.fields {
                return Err(Reject::Trailer);
            }
            let (name, _) = field(line)?;
            if NOT_IN_TRAILERS.iter().any(|forbidden| name.eq_ignore_ascii_case(forbidden)) {
                return Err(Reject::Trailer);
            }
            self.fields.push(spot(at, name, line));
        }
    }
}

/// The position of a field whose line begins at `at`. Parts that must be complete have a limit far below 4 GiB.
fn spot(at: usize, name: &[u8], line: &[u8]) -> Field {
    let place = |at: usize| u32::try_from(at).unwrap_or(u32::MAX - 1);
    Field { start: place(at), colon: place(at + name.len()), end: place(at + line.len()) }
}

impl Lines {
    /// Length of the unfinished line, as far as scanned.
    fn unfinished(&self) -> usize {
        self.searched.saturating_sub(self.start)
    }

    /// The next complete line, without its CRLF; `start` then points after it.
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
    /// Records what a field says about the message.
    fn note(&mut self, name: &[u8], value: &[u8]) -> Result<(), Reject> {
        match name.len() {
            2 if name.eq_ignore_ascii_case(b"te") => {
                let mut codings =
                    value.split(|&byte| byte == b',').filter_map(|it| it.split(|&byte| byte == b';').next());
                self.takes_trailers |= codings.any(|coding| trim(coding).eq_ignore_ascii_case(b"trailers"));
            }
            6 if name.eq_ignore_ascii_case(b"expect") => {
                self.expects_continue = trim(value).eq_ignore_ascii_case(b"100-continue") && !self.line.is_http_10;
            }
            7 if name.eq_ignore_ascii_case(b"upgrade") => {
                self.upgrade_is_repeated |= self.asks_for_upgrade;
                self.asks_for_upgrade = true;
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
                if self.content_length.is_some() || !is_decimal(value) {
                    return Err(Reject::ContentLength);
                }
                self.content_length = value.iter().try_fold(0_u64, |length, &digit| {
                    length.checked_mul(10)?.checked_add(u64::from(digit.wrapping_sub(b'0')))
                });
            }
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                self.transfer_encoding = Some(match self.transfer_encoding {
                    None => coding(trim(value))?,
                    // `chunked` must be the last coding, so no other line may follow it.
                    Some(_) => return Err(Reject::TransferEncoding),
                });
            }
            _ => {}
        }
        Ok(())
    }
}

/// How much of a body is available, and how much remains after that.
fn take(bytes: &[u8], left: u64) -> (usize, u64) {
    let there = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    if there < left { (bytes.len(), left - there) } else { (usize::try_from(left).unwrap_or(bytes.len()), 0) }
}

/// Fields that say how to read the message, whom it is for or who may send it: after the body that is too late (RFC
/// 9110 §6.5.1).
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
