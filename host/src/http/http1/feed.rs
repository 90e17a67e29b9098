//! A request body on its way from the connection to its reader: in the handler, or in a separate task.
//!
//! At most one frame is buffered, and the connection reads nothing that nobody has asked for.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;
use std::{io, mem};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use super::super::patience::Patience;
use crate::body::BodyError;

/// The connection's side of a request body.
pub(super) struct Feed(Arc<Mutex<Slot>>);

/// The reader's side.
pub(super) struct RequestBody {
    slot: Arc<Mutex<Slot>>,
    /// Remaining bytes according to Content-Length.
    left: Option<u64>,
    patience: Patience,
    /// If more than this remains, it is not worth reading.
    unread_bytes_limit: u64,
}

struct Slot {
    frame: Option<Frame<Bytes>>,
    /// What follows the frame.
    end: Option<Result<(), BodyError>>,
    reader: Reader,
    connection: Option<Waker>,
    /// The client sends nothing until it gets `100 Continue`.
    expects_continue: bool,
}

enum Reader {
    /// Has not polled since it got the last frame.
    Busy,
    Waits(Waker),
    Gone {
        is_rest_read: bool,
    },
}

/// What the connection has to do about a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// Nothing for now.
    Nothing,
    /// Send `100 Continue`, and read.
    Continue,
    Read,
    /// Read and discard: nobody wants the rest, but it is short.
    Skip,
    /// Nobody wants the rest, and it is too long to read.
    Abandon,
}

/// Creates both sides of a body.
pub(super) fn channel(
    length: Option<u64>,
    expects_continue: bool,
    idle_timeout: Duration,
    unread_bytes_limit: u64,
) -> (Feed, RequestBody) {
    let slot = Slot { frame: None, end: None, reader: Reader::Busy, connection: None, expects_continue };
    let slot = Arc::new(Mutex::new(slot));
    let patience = Patience::new(idle_timeout);
    (Feed(Arc::clone(&slot)), RequestBody { slot, left: length, patience, unread_bytes_limit })
}

impl Feed {
    /// What has to be done now. The task is woken when that changes.
    pub(super) fn wish(&self, cx: &mut Context<'_>) -> Wish {
        let mut slot = lock(&self.0);
        if !slot.connection.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            slot.connection = Some(cx.waker().clone());
        }
        match slot.reader {
            Reader::Waits(_) => match mem::take(&mut slot.expects_continue) {
                true => Wish::Continue,
                false => Wish::Read,
            },
            Reader::Busy => Wish::Nothing,
            Reader::Gone { is_rest_read: true } => Wish::Skip,
            Reader::Gone { is_rest_read: false } => Wish::Abandon,
        }
    }

    /// Whether a reader still exists.
    pub(super) fn has_reader(&self) -> bool {
        !matches!(lock(&self.0).reader, Reader::Gone { .. })
    }

    /// Whether the rest will not be read.
    pub(super) fn is_abandoned(&self) -> bool {
        matches!(lock(&self.0).reader, Reader::Gone { is_rest_read: false })
    }

    pub(super) fn give(&self, frame: Frame<Bytes>, is_last: bool, cx: &mut Context<'_>) {
        let mut slot = lock(&self.0);
        slot.frame = Some(frame);
        slot.end = is_last.then_some(Ok(()));
        slot.wake_reader(cx);
    }

    pub(super) fn end(&self, end: Result<(), BodyError>, cx: &mut Context<'_>) {
        let mut slot = lock(&self.0);
        slot.end = Some(end);
        slot.wake_reader(cx);
    }
}

impl Drop for Feed {
    /// Ends the body with an error if the connection ends first.
    fn drop(&mut self) {
        let mut slot = lock(&self.0);
        if slot.end.is_none() {
            slot.end = Some(Err(BodyError::Client(io::ErrorKind::ConnectionAborted.into())));
            slot.wake_reader(&mut Context::from_waker(Waker::noop()));
        }
    }
}

impl Slot {
    /// Wakes the reader, unless it is in the task of this context, which polls both.
    fn wake_reader(&mut self, cx: &mut Context<'_>) {
        if let Reader::Waits(waker) = mem::replace(&mut self.reader, Reader::Busy)
            && !waker.will_wake(cx.waker())
        {
            waker.wake();
        }
    }

    /// Wakes the connection, unless it is in the task of this waker.
    fn wake_connection(&self, own: &Waker) {
        if let Some(connection) = self.connection.as_ref().filter(|connection| !connection.will_wake(own)) {
            connection.wake_by_ref();
        }
    }
}

impl http_body::Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let me = &mut *self;
        let mut slot = lock(&me.slot);
        if let Some(frame) = slot.frame.take() {
            let length = frame.data_ref().map_or(0, |data| data.len() as u64);
            me.left = me.left.map(|left| left.saturating_sub(length));
            me.patience.renew();
            return Poll::Ready(Some(Ok(frame)));
        }
        match slot.end.replace(Ok(())) {
            Some(end) => return Poll::Ready(end.err().map(Err)),
            None => slot.end = None,
        }
        if !matches!(&slot.reader, Reader::Waits(waker) if waker.will_wake(cx.waker())) {
            slot.reader = Reader::Waits(cx.waker().clone());
        }
        slot.wake_connection(cx.waker());
        drop(slot);
        ready!(me.patience.poll_over(cx));
        // The wait is over and is not repeated.
        let mut slot = lock(&me.slot);
        slot.end = Some(Ok(()));
        slot.reader = Reader::Gone { is_rest_read: false };
        slot.wake_connection(cx.waker());
        Poll::Ready(Some(Err(BodyError::TimedOut)))
    }

    fn is_end_stream(&self) -> bool {
        let slot = lock(&self.slot);
        slot.frame.is_none() && matches!(slot.end, Some(Ok(())))
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        let mut slot = lock(&self.slot);
        if slot.end.is_none() {
            let is_rest_read = !slot.expects_continue && self.left.unwrap_or(0) <= self.unread_bytes_limit;
            slot.reader = Reader::Gone { is_rest_read };
            slot.wake_connection(Waker::noop());
        }
    }
}

/// Nothing that holds the lock can panic.
fn lock(slot: &Mutex<Slot>) -> MutexGuard<'_, Slot> {
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}
