//! A request body on its way to the handler: an idle bound, and a place for what nobody reads.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
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
    leave: Leave,
}

/// What happens to the rest of a body that is dropped before its end, because the answer came early.
pub(super) struct Leave {
    pub(super) to: Reader,
    /// A longer rest is not worth reading.
    pub(super) bytes_limit: u64,
    /// The client waits for `100 Continue` until the first poll; without it, the body may never come.
    pub(super) expects_continue: bool,
}

/// Who reads a rest.
pub(super) enum Reader {
    /// HTTP/1: the connection, on which no other request can begin before its end.
    Connection(Arc<State>),
    /// HTTP/2: nobody has to, but a client whose stream is reset while it sends may take that for the answer, also where
    /// nothing is wrong (RFC 9113, section 8.1); curl does up to 8.0. So it is read for so long.
    Stream(Duration),
}

impl RequestBody {
    pub(super) fn new(incoming: Incoming, idle_timeout: Duration, leave: Leave) -> Self {
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
        self.leave.expects_continue = false;
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
                if let Reader::Connection(state) = &self.leave.to {
                    state.set_abandoned();
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
        let Some(incoming) = self.incoming.take().filter(|incoming| !incoming.is_end_stream()) else { return };
        let Leave { to, bytes_limit, expects_continue } = &self.leave;
        let is_read = !expects_continue && incoming.size_hint().lower() <= *bytes_limit;
        match to {
            Reader::Connection(state) if is_read => state.leave_unread(incoming),
            // hyper sees that nobody reads, and closes the connection after the response.
            Reader::Connection(state) => state.set_abandoned(),
            Reader::Stream(time) if is_read => read_on(incoming, *bytes_limit, *time),
            Reader::Stream(_) => {}
        }
    }
}

/// Reads what nobody wants, in a task of its own where it has to be waited for.
fn read_on(mut rest: Incoming, mut bytes_limit: u64, time: Duration) {
    let mut read = move |cx: &mut Context<'_>| {
        loop {
            let Some(Ok(frame)) = ready!(Pin::new(&mut rest).poll_frame(cx)) else { return Poll::Ready(()) };
            let length = frame.data_ref().map_or(0, |data| data.len() as u64);
            match bytes_limit.checked_sub(length) {
                Some(left) => bytes_limit = left,
                None => return Poll::Ready(()),
            }
        }
    };
    if read(&mut Context::from_waker(Waker::noop())).is_pending()
        && let Ok(runtime) = tokio::runtime::Handle::try_current()
    {
        runtime.spawn(tokio::time::timeout(time, poll_fn(read)));
    }
}
