//! A request on its way to the endpoint: its head, and its body in the framing that the head announces.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, Request};
use http_body::{Body as _, Frame};
use tokio::io::AsyncWrite;

use super::super::error::Reason;
use super::super::progress::Progress;
use super::super::request::parse_length;
use super::super::socket::Socket;
use super::head;
use crate::body::{Body, BodyError};
use crate::gather;

/// See the module.
pub(super) struct Upload {
    body: Body,
    framing: Framing,
    output: Output,
    state: State,
}

/// How the body's end is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    /// There is no body.
    Nothing,
    /// So many bytes are still to come.
    Length(u64),
    Chunked,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Sends,
    /// The last of it is in the output.
    Ends,
    Sent,
    /// The endpoint takes no more. Reading tells what there is instead: an answer, or the end.
    Broken,
}

/// Why a request was not sent to its end.
#[derive(Debug)]
pub(super) enum Error {
    Body(BodyError),
    /// The body ended before its announced length.
    Short,
    Socket(io::Error),
}

impl From<Error> for Reason {
    fn from(error: Error) -> Reason {
        match error {
            Error::Body(error) => Reason::RequestBody(error),
            Error::Short => Reason::ShortRequestBody,
            Error::Socket(error) => Reason::Closed(Box::new(error)),
        }
    }
}

impl Upload {
    /// The request's head is written, its body taken.
    pub(super) fn new(request: &mut Request<Body>) -> Self {
        let mut output = Output::default();
        head::write(request, &mut output.front);
        let fields = request.headers();
        let framing = match (fields.contains_key(TRANSFER_ENCODING), fields.get(CONTENT_LENGTH)) {
            (true, _) => Framing::Chunked,
            (false, Some(length)) => parse_length(length).map_or(Framing::Nothing, Framing::Length),
            (false, None) => Framing::Nothing,
        };
        let is_whole = matches!(framing, Framing::Nothing | Framing::Length(0));
        let state = if is_whole { State::Ends } else { State::Sends };
        Upload { body: std::mem::take(request.body_mut()), framing, output, state }
    }

    /// Whether the endpoint has all of it.
    pub(super) fn is_sent(&self) -> bool {
        self.state == State::Sent
    }

    /// Writes what there is. Ready when there is nothing left to do: all was sent, or the endpoint takes no more.
    ///
    /// A server that answers early (413) and closes makes our next write fail while its answer waits to be read, so that
    /// is no error.
    pub(super) fn poll(
        &mut self,
        socket: &mut Socket,
        progress: &Progress,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), Error>> {
        while !matches!(self.state, State::Sent | State::Broken) {
            let waits = self.state == State::Sends && self.take_frames(progress, context)?;
            match ready!(self.output.poll_write(socket, context)) {
                // The body may have more at once.
                Ok(()) if self.state == State::Sends && !waits => continue,
                Ok(()) => {}
                Err(error) => self.fail(error)?,
            }
            // TLS may hold back what was written.
            match ready!(Pin::new(&mut *socket).poll_flush(context)) {
                Ok(()) if waits => return Poll::Pending,
                Ok(()) if self.state == State::Ends => self.state = State::Sent,
                Ok(()) => {}
                Err(error) => self.fail(error)?,
            }
        }
        Poll::Ready(Ok(()))
    }

    fn fail(&mut self, error: io::Error) -> Result<(), Error> {
        if !matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset) {
            return Err(Error::Socket(error));
        }
        self.state = State::Broken;
        self.body = Body::Empty;
        Ok(())
    }

    /// Puts what there is of the body into the output, as far as there is room. True where the body has more to come and has
    /// not got it yet.
    fn take_frames(&mut self, progress: &Progress, context: &mut Context<'_>) -> Result<bool, Error> {
        while self.state == State::Sends && !self.output.is_full() {
            let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) else {
                progress.clients_turn();
                return Ok(true);
            };
            progress.endpoints_turn();
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
            Framing::Chunked => self.output.line(data.len()),
        }
        let line_end: &[u8] = if self.framing == Framing::Chunked { b"\r\n" } else { b"" };
        self.output.put(data, line_end);
    }

    fn put_end(&mut self, trailers: Option<HeaderMap>) -> Result<(), Error> {
        match self.framing {
            Framing::Length(1..) => return Err(Error::Short),
            Framing::Nothing | Framing::Length(0) => {}
            Framing::Chunked => {
                self.output.front.extend_from_slice(b"0\r\n");
                if let Some(mut trailers) = trailers {
                    NOT_IN_TRAILERS.iter().for_each(|name| drop(trailers.remove(*name)));
                    head::write_fields(&trailers, &mut self.output.front);
                }
                self.output.front.extend_from_slice(b"\r\n");
            }
        }
        self.state = State::Ends;
        Ok(())
    }
}

/// What is to be written: bytes of ours and short pieces of the body, a long piece, and what ends it.
#[derive(Default)]
struct Output {
    front: Vec<u8>,
    data: Bytes,
    back: &'static [u8],
    /// How much of all that is written.
    written: usize,
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
    fn poll_write(&mut self, socket: &mut Socket, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let mut pieces = [&self.front[..], &self.data[..], self.back].map(IoSlice::new);
            let mut left = &mut pieces[..];
            IoSlice::advance_slices(&mut left, self.written);
            if left.iter().all(|piece| piece.is_empty()) {
                break;
            }
            match ready!(gather::poll_write(socket, context, without_empty(left)))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => self.written += count,
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

/// The piece of a body that is worth a copy, and how much of such is written at once.
const COPIED_BYTES: usize = 2 << 10;
const FRONT_BYTES: usize = 16 << 10;

/// What would change how the request is read, who it is for, or whose it is (RFC 9110, section 6.5.1).
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
