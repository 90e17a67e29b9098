//! A request body on its way to the handler: an idle bound, and a place for what nobody reads.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep};

use super::state::State;
use crate::body::BodyError;

/// What the client is still sending.
///
/// The timer is made when the body first makes somebody wait, so that a body which came with its head has none.
pub(super) struct RequestBody {
    /// Empty only when it is dropped.
    incoming: Option<Incoming>,
    idle_timeout: Duration,
    idle: Option<Pin<Box<Sleep>>>,
    /// A byte has come since the timer was set.
    is_fresh: bool,
    /// In HTTP/1: who gets what is left of it.
    leave: Option<Leave>,
}

/// What happens to the rest of an HTTP/1 body that is dropped before its end.
pub(super) struct Leave {
    pub(super) to: Arc<State>,
    /// A longer rest is not worth reading.
    pub(super) bytes_limit: u64,
    /// The client waits for `100 Continue` until the first poll; without it, the body may never come.
    pub(super) expects_continue: bool,
}

impl RequestBody {
    pub(super) fn new(incoming: Incoming, idle_timeout: Duration, leave: Option<Leave>) -> Self {
        RequestBody { incoming: Some(incoming), idle_timeout, idle: None, is_fresh: true, leave }
    }

    /// Whether the body has been without a byte for too long.
    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let fresh = std::mem::take(&mut self.is_fresh);
        match &mut self.idle {
            Some(idle) if fresh => idle.as_mut().reset(Instant::now() + self.idle_timeout),
            Some(_) => {}
            None => self.idle = Some(Box::pin(tokio::time::sleep(self.idle_timeout))),
        }
        self.idle.as_mut().map_or(Poll::Pending, |idle| idle.as_mut().poll(cx))
    }
}

impl http_body::Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(leave) = &mut self.leave {
            leave.expects_continue = false;
        }
        let Some(incoming) = &mut self.incoming else { return Poll::Ready(None) };
        match Pin::new(incoming).poll_frame(cx) {
            Poll::Ready(frame) => {
                self.is_fresh = true;
                Poll::Ready(frame.map(|frame| frame.map_err(BodyError::Connection)))
            }
            Poll::Pending => {
                ready!(self.poll_idle(cx));
                // What has not come by now is not waited for again.
                self.incoming = None;
                if let Some(leave) = &self.leave {
                    leave.to.set_abandoned();
                }
                Poll::Ready(Some(Err(BodyError::TimedOut)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.as_ref().is_none_or(Incoming::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.as_ref().map_or_else(SizeHint::default, Incoming::size_hint)
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        let (Some(incoming), Some(leave)) = (self.incoming.take(), &self.leave) else { return };
        if incoming.is_end_stream() {
            return;
        }
        if leave.expects_continue || incoming.size_hint().lower() > leave.bytes_limit {
            // hyper sees that nobody reads, and closes the connection after the response.
            leave.to.set_abandoned();
        } else {
            leave.to.leave_unread(incoming);
        }
    }
}
