//! The body of an answer: what has come with its head, and what is still coming.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http::HeaderMap;
use http_body::{Frame, SizeHint};

use super::super::endpoint::{Endpoint, InFlight};
use super::super::error::BadResponse;
use super::super::response::Framing;
use super::super::settings::Transport;
use super::chunks::{Chunks, Next};
use super::upload::{self, Upload};
use super::{Connection, head};
use crate::body::{Body, BodyError};
use crate::intake::Intake;

/// A body of which so much is known.
pub(super) enum Answer {
    /// All of it is here.
    Whole(Bytes),
    Coming(Left),
}

/// What is to come of a body.
pub(super) enum Left {
    Length(u64),
    Chunks {
        chunks: Chunks,
        max_fields: usize,
    },
    /// It ends with the connection.
    UntilClosed,
}

impl Answer {
    /// Looks at what came with the head.
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

    /// The body as it is passed on. The connection goes back at its end, at once where all is here.
    ///
    /// Only a body that is not complete is wrapped: it costs an allocation.
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
                Body::boxed(Coming {
                    held: Some((connection, in_flight.keep())),
                    left,
                    upload,
                    failed: None,
                    is_fresh: true,
                })
            }
        }
    }
}

/// A body that is still coming. It keeps its connection, and the request counted as in flight; at its end, the
/// connection goes back into the pool; dropped before, it closes.
struct Coming {
    left: Left,
    /// What is left of the request, which is sent as long as somebody reads the answer.
    upload: Option<Box<Upload>>,
    held: Option<(Box<Connection>, InFlight<Arc<Endpoint>>)>,
    /// Why it breaks off, which is told when what came before is with the client.
    failed: Option<BodyError>,
    /// Something was passed on, and whoever reads has not been made to wait since.
    is_fresh: bool,
}

impl Coming {
    /// The next frame, or why there is none.
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Frame<Bytes>>, BodyError>> {
        let Some((connection, _)) = &mut self.held else { return Poll::Ready(Ok(None)) };
        if let Some(upload) = &mut self.upload {
            match upload.poll(&mut connection.socket, &connection.progress, context) {
                Poll::Ready(Ok(())) if upload.is_sent() => self.upload = None,
                Poll::Ready(Ok(())) | Poll::Pending => {}
                Poll::Ready(Err(upload::Error::Body(error))) => return Poll::Ready(Err(error)),
                Poll::Ready(Err(upload::Error::Short)) => {
                    return Poll::Ready(Err(BodyError::Upstream(io::Error::other("its request ended too early"))));
                }
                Poll::Ready(Err(upload::Error::Socket(error))) => return Poll::Ready(Err(BodyError::Upstream(error))),
            }
        }
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

    /// The connection goes back, unless the request is not through.
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
        if let Some(error) = this.failed.take() {
            return Poll::Ready(Some(Err(error)));
        }
        let Poll::Ready(next) = this.poll_next(context) else {
            this.is_fresh = false;
            return Poll::Pending;
        };
        match next {
            Err(error) => {
                this.held = None;
                if !std::mem::take(&mut this.is_fresh) {
                    return Poll::Ready(Some(Err(error)));
                }
                // The reader drops what it has not written yet when it sees an error, so it gets the time to write it.
                this.failed = Some(error);
                context.waker().wake_by_ref();
                Poll::Pending
            }
            Ok(frame) => {
                this.is_fresh = true;
                // The last bytes of a known length are the end: a reader that counts does not ask again.
                if frame.is_none() || this.left.is_over() {
                    this.finish();
                }
                Poll::Ready(frame.map(Ok))
            }
        }
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

/// What there is to be passed on.
enum Step {
    Frame(Frame<Bytes>),
    End,
    /// More has to come first.
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

/// The fields behind the last chunk, if there are any.
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
