//! A response body on its way to the client, which is also collected and stored once it is complete.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http_body::{Body as _, Frame, SizeHint};

use super::entry::Head;
use super::flights::Ticket;
use crate::body::{Body, BodyError};

/// A response that is stored once its body is complete.
pub struct Draft {
    ticket: Ticket,
    head: Head,
    /// Maximum bytes of the body.
    max_body: u64,
}

impl Draft {
    /// `None` if the body is already known to be too large: then nobody waits for it.
    pub fn begin(ticket: Ticket, head: Head, max_body: usize, body: &Body) -> Option<Draft> {
        let room = ticket.cache().room(ticket.key(), &head);
        let max_body = room.map(|room| room.min(max_body as u64)).filter(|most| body.size_hint().lower() <= *most);
        match max_body {
            Some(max_body) => Some(Draft { ticket, head, max_body }),
            None => {
                give_up(ticket, &head);
                None
            }
        }
    }

    fn store(self, body: Bytes) {
        let cache = Arc::clone(self.ticket.cache());
        cache.put(self.ticket, self.head.with_body(body));
    }
}

/// The response is too large: neither waiting nor later requests need wait for it.
fn give_up(ticket: Ticket, head: &Head) {
    let cache = Arc::clone(ticket.cache());
    cache.pass(ticket, head.came_s());
}

/// Wraps the body, so that the response is stored when it has passed through. It is not stored if the body breaks off,
/// is too large, or is not read to its end.
pub fn record(draft: Draft, body: Body) -> Body {
    if body.is_read() {
        draft.store(Bytes::new());
        return body;
    }
    match body {
        Body::Full(bytes) => {
            draft.store(bytes.clone());
            Body::Full(bytes)
        }
        body => Body::boxed(Recorder { body, kept: Kept::default(), draft: Some(draft) }),
    }
}

struct Recorder {
    body: Body,
    kept: Kept,
    /// `None` once it is stored, or will not be.
    draft: Option<Draft>,
}

impl Recorder {
    fn note(&mut self, frame: &Option<Result<Frame<Bytes>, BodyError>>) {
        let Some(draft) = self.draft.take() else { return };
        let is_over = match frame {
            None => true,
            Some(Ok(frame)) => {
                let chunk = frame.data_ref().filter(|chunk| !chunk.is_empty());
                if (self.kept.len() + chunk.map_or(0, Bytes::len)) as u64 > draft.max_body {
                    self.kept = Kept::Nothing;
                    return give_up(draft.ticket, &draft.head);
                }
                if let Some(chunk) = chunk {
                    self.kept.add(chunk);
                }
                self.body.is_read()
            }
            Some(Err(_)) => return,
        };
        match is_over {
            true => draft.store(std::mem::take(&mut self.kept).whole()),
            false => self.draft = Some(draft),
        }
    }
}

/// What has arrived so far; a single chunk is kept as it is.
#[derive(Default)]
enum Kept {
    #[default]
    Nothing,
    One(Bytes),
    Many(BytesMut),
}

impl Kept {
    fn len(&self) -> usize {
        match self {
            Kept::Nothing => 0,
            Kept::One(bytes) => bytes.len(),
            Kept::Many(bytes) => bytes.len(),
        }
    }

    fn add(&mut self, chunk: &Bytes) {
        *self = match std::mem::take(self) {
            Kept::Nothing => Kept::One(chunk.clone()),
            Kept::One(first) => {
                let mut many = BytesMut::with_capacity((first.len() + chunk.len()) * 2);
                many.extend_from_slice(&first);
                many.extend_from_slice(chunk);
                Kept::Many(many)
            }
            Kept::Many(mut many) => {
                many.extend_from_slice(chunk);
                Kept::Many(many)
            }
        };
    }

    /// An exact-size copy: a chunk is part of a larger buffer, which would stay in memory with it.
    fn whole(self) -> Bytes {
        match self {
            Kept::Nothing => Bytes::new(),
            Kept::One(bytes) => Bytes::copy_from_slice(&bytes),
            Kept::Many(bytes) => Bytes::copy_from_slice(&bytes),
        }
    }
}

impl http_body::Body for Recorder {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        self.note(&frame);
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
