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

/// See the module.
pub struct Outgoing {
    body: Body,
    framing: Framing,
    output: Output,
    state: State,
    /// The other side has to take something before there is more to do.
    is_blocked: bool,
}

/// How the body's end is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is no body.
    Nothing,
    /// So many bytes are still to come.
    Length(u64),
    /// The other side may not take trailers; then they are left out.
    Chunked { trailers: bool },
    /// It ends with the connection (RFC 9112, section 6.3).
    UntilClosed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Sends,
    /// The last of it is in the output.
    Ends,
    Sent,
    GivenUp,
}

/// Whose turn it is to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// The body has more to come and has not got it yet.
    Body,
    Connection,
}

/// Why a message was not sent to its end.
#[derive(Debug)]
pub enum Error {
    Body(BodyError),
    /// The body ended before its announced length.
    Short,
    Socket(io::Error),
}

impl Outgoing {
    /// `head` is the message as far as it goes before its body.
    pub fn new(head: Vec<u8>, framing: Framing, body: Body) -> Self {
        let is_whole = matches!(framing, Framing::Nothing | Framing::Length(0));
        let state = if is_whole { State::Ends } else { State::Sends };
        let output = Output { front: head, ..Output::default() };
        Outgoing { body, framing, output, state, is_blocked: false }
    }

    /// Whether the other side has all of it.
    pub fn is_sent(&self) -> bool {
        self.state == State::Sent
    }

    /// Whether the last poll had to stop because the other side takes no more at present.
    pub fn is_blocked(&self) -> bool {
        self.is_blocked
    }

    /// How many bytes the other side has taken.
    pub fn taken(&self) -> u64 {
        self.output.taken
    }

    /// Lets go of what is left: the other side will not take it.
    pub fn give_up(&mut self) {
        self.state = State::GivenUp;
        self.body = Body::Empty;
    }

    /// Writes what there is. Ready when there is nothing left to do. `turn` is told whenever the body is asked.
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
                // The body may have more at once.
                continue;
            }
            // TLS may hold back what was written.
            ready!(Pin::new(&mut *writer).poll_flush(context)).map_err(Error::Socket)?;
            self.is_blocked = false;
            if waits {
                return Poll::Pending;
            }
            self.state = State::Sent;
        }
        Poll::Ready(Ok(()))
    }

    /// Puts what there is of the body into the output, as far as there is room. True where the body has more to come and has
    /// not got it yet.
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
            // A body that is longer than announced ends where it was announced to.
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

/// Writes each field on its line.
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

/// What is to be written: bytes of ours and short pieces of the body, a long piece, and what ends it.
#[derive(Default)]
struct Output {
    front: Vec<u8>,
    data: Bytes,
    back: &'static [u8],
    /// How much of all that is written.
    written: usize,
    /// How much was written of all that ever was here.
    taken: u64,
}

impl Output {
    /// Whether it has to be written before anything else comes into it.
    fn is_full(&self) -> bool {
        !self.data.is_empty() || self.written > 0 || self.front.len() >= FRONT_BYTES
    }

    /// Adds a piece of the body. Short ones are copied together, so that they are one write with the head and the end.
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

/// The pieces that have something: where there is only a head, it is written as it is.
fn without_empty<'a, 'b>(pieces: &'a mut [IoSlice<'b>]) -> &'a [IoSlice<'b>] {
    let last = pieces.iter().rposition(|piece| !piece.is_empty()).map_or(0, |at| at + 1);
    let first = pieces.iter().position(|piece| !piece.is_empty()).unwrap_or(0);
    pieces.get(first..last).unwrap_or_default()
}

/// The longest piece of a body that is copied behind the head, to be one write with it.
pub const COPIED_BYTES: usize = 2 << 10;
/// How much of such is written at once.
const FRONT_BYTES: usize = 16 << 10;

/// What would change how the message is read, who it is for, or whose it is (RFC 9110, section 6.5.1).
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
