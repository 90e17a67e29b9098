//! An HTTP/1 message on its way out, to a client or to an endpoint: its head, and its body in the framing that the head
//! announces (RFC 9112, sections 6 and 7).
//!
//! The owner of the connection polls it; there is no background task. A head and a short body are one write.

mod gather;

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as _, Frame};
use tokio::io::AsyncWrite;

use crate::body::{Body, BodyError};

/// A message that is being sent. See the module.
pub struct Outgoing {
    body: Body,
    framing: Framing,
    output: Output,
    state: State,
    /// The other side has to accept something before more can be done.
    is_blocked: bool,
}

/// How the end of the body is marked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is no body.
    Nothing,
    /// This many bytes remain.
    Length(u64),
    /// If the other side may not get trailers, they are left out.
    Chunked { trailers: bool },
    /// The body ends with the connection (RFC 9112, section 6.3).
    UntilClosed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Sends,
    /// The last part is in the output.
    Ends,
    Sent,
    GivenUp,
}

/// Who has to act next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// The body, which has more to come but not yet.
    Body,
    Connection,
}

/// Why a message was not sent completely.
#[derive(Debug)]
pub enum Error {
    Body(BodyError),
    /// The body ended before its announced length.
    Short,
    Socket(io::Error),
}

impl Outgoing {
    /// `head` is everything before the body.
    pub fn new(head: Vec<u8>, framing: Framing, body: Body) -> Self {
        let is_whole = matches!(framing, Framing::Nothing | Framing::Length(0));
        let state = if is_whole { State::Ends } else { State::Sends };
        let output = Output { front: head, ..Output::default() };
        Outgoing { body, framing, output, state, is_blocked: false }
    }

    /// Whether everything has been written.
    pub fn is_sent(&self) -> bool {
        self.state == State::Sent
    }

    /// Whether the last poll stopped because the other side accepts no more at present.
    pub fn is_blocked(&self) -> bool {
        self.is_blocked
    }

    /// Bytes that the other side has accepted.
    pub fn taken(&self) -> u64 {
        self.output.taken
    }

    /// Drops the rest, because the other side will not accept it.
    pub fn give_up(&mut self) {
        self.state = State::GivenUp;
        self.body = Body::Empty;
    }

    /// Writes as much as possible. Ready when there is nothing left to do. `turn` is called whenever the body is
    /// polled.
    pub fn poll<W: AsyncWrite + Unpin>(
        &mut self,
        writer: &mut W,
        turn: impl Fn(Turn),
        context: &mut Context<'_>,
    ) -> Poll<Result<(), Error>> {
        self.is_blocked = false;
        while !matches!(self.state, State::Sent | State::GivenUp) {
            let waits = self.state == State::Sends && self.take_frames(&turn, context)?;
            self.is_blocked = true;
            ready!(self.output.poll_write(writer, context)).map_err(Error::Socket)?;
            if self.state == State::Sends && !waits {
                // The body may have more immediately.
                continue;
            }
            // TLS may buffer what was written.
            ready!(Pin::new(&mut *writer).poll_flush(context)).map_err(Error::Socket)?;
            self.is_blocked = false;
            if waits {
                return Poll::Pending;
            }
            self.state = State::Sent;
        }
        Poll::Ready(Ok(()))
    }

    /// Moves as much of the body as fits into the output. True if the body has more to come, but not yet.
    fn take_frames(&mut self, turn: &impl Fn(Turn), context: &mut Context<'_>) -> Result<bool, Error> {
        while self.state == State::Sends && !self.output.is_full() {
            let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) else {
                turn(Turn::Body);
                return Ok(true);
            };
            turn(Turn::Connection);
            match frame.transpose().map_err(Error::Body)?.map(Frame::into_data) {
                Some(Ok(data)) => self.put_data(data),
                Some(Err(frame)) => self.put_end(frame.into_trailers().ok())?,
                None => self.put_end(None)?,
            }
        }
        Ok(false)
    }

    fn put_data(&mut self, mut data: Bytes) {
        if data.is_empty() {
            return;
        }
        let mut line_end: &[u8] = b"";
        match &mut self.framing {
            Framing::Nothing => return,
            // A body that is longer than announced is cut at the announced length.
            Framing::Length(left) => {
                data.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= data.len() as u64;
                if *left == 0 {
                    self.state = State::Ends;
                }
            }
            Framing::Chunked { .. } => {
                self.output.line(data.len());
                line_end = b"\r\n";
            }
            Framing::UntilClosed => {}
        }
        self.output.put(data, line_end);
    }

    fn put_end(&mut self, trailers: Option<HeaderMap>) -> Result<(), Error> {
        match self.framing {
            Framing::Length(1..) => return Err(Error::Short),
            Framing::Nothing | Framing::Length(0) | Framing::UntilClosed => {}
            Framing::Chunked { trailers: takes_trailers } => {
                self.output.front.extend_from_slice(b"0\r\n");
                if let Some(mut trailers) = trailers.filter(|_| takes_trailers) {
                    NOT_IN_TRAILERS.iter().for_each(|name| drop(trailers.remove(*name)));
                    write_fields(&trailers, &mut self.output.front);
                }
                self.output.front.extend_from_slice(b"\r\n");
            }
        }
        self.state = State::Ends;
        Ok(())
    }
}

/// Writes one line per field.
pub fn write_fields(fields: &HeaderMap, out: &mut Vec<u8>) {
    for (name, value) in fields {
        write_field(name.as_str().as_bytes(), value.as_bytes(), out);
    }
}

/// Writes the line of a field.
pub fn write_field(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// The bytes to write: our own together with short pieces of the body, one long piece, and what follows it.
#[derive(Default)]
struct Output {
    front: Vec<u8>,
    data: Bytes,
    back: &'static [u8],
    /// How much of these is written.
    written: usize,
    /// How much has been written in total.
    taken: u64,
}

impl Output {
    /// Whether it has to be written before anything else is added.
    fn is_full(&self) -> bool {
        !self.data.is_empty() || self.written > 0 || self.front.len() >= FRONT_BYTES
    }

    /// Adds a piece of the body. Short pieces are copied together, so that head, pieces and end are one write.
    fn put(&mut self, data: Bytes, end: &'static [u8]) {
        if data.len() <= COPIED_BYTES {
            self.front.extend_from_slice(&data);
            self.front.extend_from_slice(end);
        } else {
            (self.data, self.back) = (data, end);
        }
    }

    /// The line before a chunk (RFC 9112, section 7.1).
    fn line(&mut self, size: usize) {
        // Writing to memory does not fail.
        let _ = io::Write::write_fmt(&mut self.front, format_args!("{size:x}\r\n"));
    }

    /// Writes all of it.
    fn poll_write<W: AsyncWrite + Unpin>(&mut self, writer: &mut W, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let mut pieces = [&self.front[..], &self.data[..], self.back].map(IoSlice::new);
            let mut left = &mut pieces[..];
            IoSlice::advance_slices(&mut left, self.written);
            if left.iter().all(|piece| piece.is_empty()) {
                break;
            }
            match ready!(gather::poll_write(writer, context, without_empty(left)))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => {
                    self.written += count;
                    self.taken += count as u64;
                }
            }
        }
        self.front.clear();
        (self.data, self.back, self.written) = (Bytes::new(), &[], 0);
        Poll::Ready(Ok(()))
    }
}

/// The pieces that are not empty: a lone head is written without gathering.
fn without_empty<'a, 'b>(pieces: &'a mut [IoSlice<'b>]) -> &'a [IoSlice<'b>] {
    let last = pieces.iter().rposition(|piece| !piece.is_empty()).map_or(0, |at| at + 1);
    let first = pieces.iter().position(|piece| !piece.is_empty()).unwrap_or(0);
    pieces.get(first..last).unwrap_or_default()
}

/// Maximum size of a body piece that is copied after the head, to share one write with it.
pub const COPIED_BYTES: usize = 2 << 10;
/// Maximum of copied bytes per write.
const FRONT_BYTES: usize = 16 << 10;

/// Fields that would change how the message is read, whom it is for, or whom it is from (RFC 9110, section 6.5.1).
const NOT_IN_TRAILERS: [&str; 12] = [
    "transfer-encoding",
    "content-length",
    "host",
    "connection",
    "upgrade",
    "te",
    "trailer",
    "authorization",
    "cookie",
    "content-encoding",
    "content-type",
    "content-range",
];
