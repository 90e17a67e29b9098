//! A request body of HTTP/2 on its way to the handler: an idle bound, and somebody who reads what nobody wants.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;

use super::patience::Patience;
use crate::body::BodyError;

/// What the client is still sending.
pub(super) struct RequestBody {
    /// Empty only when it is dropped.
    incoming: Option<Incoming>,
    patience: Patience,
    rest: Rest,
}

/// What happens to the rest of a body that is dropped before its end, because the answer came early: it is read for a while.
/// A client whose stream is reset while it sends may take that for the answer, also where nothing is wrong (RFC 9113, section
/// 8.1); curl does up to 8.0.
pub(super) struct Rest {
    /// A longer rest is not worth reading.
    pub(super) bytes_limit: u64,
    pub(super) time_limit: Duration,
    /// The client waits for `100 Continue` until the first poll; without it, the body may never come.
    pub(super) expects_continue: bool,
}

impl RequestBody {
    pub(super) fn new(incoming: Incoming, idle_timeout: Duration, rest: Rest) -> Self {
        RequestBody { incoming: Some(incoming), patience: Patience::new(idle_timeout), rest }
    }
}

impl http_body::Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.rest.expects_continue = false;
        let Some(incoming) = &mut self.incoming else { return Poll::Ready(None) };
        match Pin::new(incoming).poll_frame(cx) {
            Poll::Ready(frame) => {
                self.patience.renew();
                Poll::Ready(frame.map(|frame| frame.map_err(BodyError::Connection)))
            }
            Poll::Pending => {
                ready!(self.patience.poll_over(cx));
                // What has not come by now is not waited for again.
                self.incoming = None;
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
        let Rest { bytes_limit, time_limit, expects_continue } = self.rest;
        if !expects_continue && incoming.size_hint().lower() <= bytes_limit {
            read_on(incoming, bytes_limit, time_limit);
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
