//! The body of a response: what arrived with its head, and what is still to come.

mod early;

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http::HeaderMap;
use http_body::{Frame, SizeHint};

use self::early::EarlyAnswer;
use super::super::endpoint::{Endpoint, InFlight};
use super::super::error::BadResponse;
use super::super::response::Framing;
use super::super::settings::Transport;
use super::chunks::{Chunks, Next};
use super::upload::{self, Upload};
use super::{Connection, head};
use crate::body::{Body, BodyError};
use crate::intake::Intake;

/// How much of a response body has arrived.
pub(super) enum Answer {
    /// All of it.
    Whole(Bytes),
    Coming(Left),
}

/// What remains of a body.
pub(super) enum Left {
    Length(u64),
    Chunks {
        chunks: Chunks,
        max_fields: usize,
    },
    /// Ends when the connection closes.
    UntilClosed,
}

impl Answer {
    /// Looks at the bytes that arrived with the head.
    pub(super) fn new(framing: Framing, input: &mut Intake, transport: &Transport) -> Result<Answer, BadResponse> {
        Ok(match framing {
            Framing::Nothing => Answer::Whole(Bytes::new()),
            Framing::Length(length) => match usize::try_from(length).ok().filter(|length| *length <= input.bytes.len())
            {
                Some(length) => Answer::Whole(input.take(length)),
                None => Answer::Coming(Left::Length(length)),
            },
            Framing::Chunked => {
                let chunks = Chunks::new(transport.max_header_bytes);
                chunks.check(&input.bytes).map_err(|_| BadResponse::Chunks)?;
                Answer::Coming(Left::Chunks { chunks, max_fields: transport.max_headers })
            }
            Framing::UntilClosed => Answer::Coming(Left::UntilClosed),
        })
    }

    /// The body as it is passed on. The connection returns to the pool at its end, or at once if all of it has arrived.
    ///
    /// Only an incomplete body is wrapped, because that costs an allocation.
    pub(super) fn body(self, connection: Box<Connection>, upload: Upload, in_flight: InFlight<&Arc<Endpoint>>) -> Body {
        match self {
            Answer::Whole(bytes) => {
                if upload.is_sent() {
                    connection.give_back(in_flight.endpoint());
                }
                Body::from(bytes)
            }
            Answer::Coming(left) => {
                let upload = (!upload.is_sent()).then(|| Box::new(upload));
                let is_sent = upload.is_none();
                let held = Some((connection, in_flight.keep()));
                let coming = Coming { held, left, upload, failed: None, is_fresh: true };
                if is_sent { Body::boxed(coming) } else { Body::boxed(EarlyAnswer::new(coming)) }
            }
        }
    }
}

/// A body that is still arriving. It holds its connection, and counts the request as in flight. At its end, the
/// connection returns to the pool; if it is dropped before, the connection closes.
struct Coming {
    left: Left,
    /// The rest of the request. [`EarlyAnswer`] keeps sending it as long as the response is held.
    upload: Option<Box<Upload>>,
    held: Option<(Box<Connection>, InFlight<Arc<Endpoint>>)>,
    /// Why the body broke off; reported only after the client has the bytes before it.
    failed: Option<BodyError>,
    /// Something was passed on, and the reader has not had to wait since.
    is_fresh: bool,
}

impl Coming {
    /// The next frame, or why there is none.
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Frame<Bytes>>, BodyError>> {
        let Some((connection, _)) = &mut self.held else { return Poll::Ready(Ok(None)) };
        loop {
            match self.left.next(&mut connection.input)? {
                Step::Frame(frame) => return Poll::Ready(Ok(Some(frame))),
                Step::End => return Poll::Ready(Ok(None)),
                Step::More => {}
            }
            let polled = connection.input.poll_fill(&mut connection.socket, context);
            let Poll::Ready(read) = polled else {
                connection.progress.body_is_awaited();
                ready!(connection.progress.poll_expired(context));
                return Poll::Ready(Err(BodyError::TimedOut));
            };
            connection.progress.body_has_come();
            match read.map_err(BodyError::Upstream)? {
                1.. => {}
                0 if matches!(self.left, Left::UntilClosed) => {
                    connection.progress.retire();
                    return Poll::Ready(Ok(None));
                }
                0 => return Poll::Ready(Err(BodyError::Upstream(io::ErrorKind::UnexpectedEof.into()))),
            }
        }
    }

    /// Continues sending the request. Ready when there is nothing more to do; if sending fails, the response breaks
    /// off.
    fn poll_upload(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let (Some((connection, _)), Some(upload)) = (&mut self.held, &mut self.upload) else { return Poll::Ready(()) };
        let error = match ready!(upload.poll(&mut connection.socket, &connection.progress, context)) {
            Ok(()) => {
                if upload.is_sent() {
                    self.upload = None;
                }
                return Poll::Ready(());
            }
            Err(upload::Error::Body(error)) => error,
            Err(upload::Error::Short) => BodyError::Upstream(io::Error::other("its request ended too early")),
            Err(upload::Error::Socket(error)) => BodyError::Upstream(error),
        };
        connection.progress.wake();
        (self.held, self.failed) = (None, Some(error));
        Poll::Ready(())
    }

    /// Returns the connection to the pool, unless the request has not been sent completely.
    fn finish(&mut self) {
        if let Some((connection, in_flight)) = self.held.take()
            && self.upload.is_none()
        {
            connection.give_back(in_flight.endpoint());
        }
        self.upload = None;
    }
}

impl http_body::Body for Coming {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        if this.failed.is_none() {
            match this.poll_next(context) {
                Poll::Pending => {
                    this.is_fresh = false;
                    return Poll::Pending;
                }
                Poll::Ready(Err(error)) => (this.held, this.failed) = (None, Some(error)),
                Poll::Ready(Ok(frame)) => {
                    this.is_fresh = true;
                    // The last bytes of a known length are the end: a reader that counts does not poll again.
                    if frame.is_none() || this.left.is_over() {
                        this.finish();
                    }
                    return Poll::Ready(frame.map(Ok));
                }
            }
        }
        if std::mem::take(&mut this.is_fresh) {
            // On an error the reader drops what it has not written yet, so it gets time to write that first.
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(this.failed.take().map(Err))
    }

    fn is_end_stream(&self) -> bool {
        self.held.is_none() && self.failed.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match self.left {
            Left::Length(length) => SizeHint::with_exact(length),
            Left::Chunks { .. } | Left::UntilClosed => SizeHint::default(),
        }
    }
}

/// The next thing to pass on.
enum Step {
    Frame(Frame<Bytes>),
    End,
    /// More bytes have to arrive first.
    More,
}

impl Left {
    fn is_over(&self) -> bool {
        match self {
            Left::Length(left) => *left == 0,
            Left::Chunks { chunks, .. } => chunks.is_over(),
            Left::UntilClosed => false,
        }
    }

    fn next(&mut self, input: &mut Intake) -> Result<Step, BodyError> {
        let data = |input: &mut Intake, count| Ok(Step::Frame(Frame::data(input.take(count))));
        match self {
            Left::Length(0) => Ok(Step::End),
            _ if input.bytes.is_empty() => Ok(Step::More),
            Left::UntilClosed => data(input, input.bytes.len()),
            Left::Length(left) => {
                let here = usize::try_from(*left).unwrap_or(usize::MAX).min(input.bytes.len());
                *left -= here as u64;
                data(input, here)
            }
            Left::Chunks { chunks, max_fields } => loop {
                match chunks.next(&input.bytes).map_err(|_| BodyError::Chunks)? {
                    Next::Framing(count) => input.bytes.advance(count),
                    Next::Data(count) => return data(input, count),
                    Next::More => return Ok(Step::More),
                    Next::End(count) => {
                        let trailers = read_trailers(&input.take(count), *max_fields)?;
                        return Ok(trailers.map_or(Step::End, |trailers| Step::Frame(Frame::trailers(trailers))));
                    }
                }
            },
        }
    }
}

/// Reads the fields after the last chunk, if there are any.
fn read_trailers(section: &Bytes, max_fields: usize) -> Result<Option<HeaderMap>, BodyError> {
    if matches!(&section[..], b"\r\n" | b"\n") {
        return Ok(None);
    }
    let mut fields = vec![httparse::EMPTY_HEADER; max_fields];
    match httparse::parse_headers(section, &mut fields) {
        Ok(httparse::Status::Complete((_, fields))) => {
            head::read_fields(fields, section).map(Some).map_err(|_| BodyError::Chunks)
        }
        _ => Err(BodyError::Chunks),
    }
}
