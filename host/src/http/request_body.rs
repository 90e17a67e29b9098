//! An HTTP/2 request body on its way to the handler: with an idle timeout, and drained if nobody wants it.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::task::JoinHandle;

use super::patience::Patience;
use crate::body::BodyError;

/// An HTTP/2 request body that the client is still sending.
pub(super) struct RequestBody {
    /// Empty only while being dropped.
    incoming: Option<Incoming>,
    patience: Patience,
    idle_timeout: Duration,
    rest: Rest,
    reader: Reader,
}

/// The task that reads the rest of a dropped body whose length was announced. A response should wait for it: once a
/// stream has ended from our side, curl (7.88) forgets what it was about to send, and waits forever.
#[derive(Clone, Default)]
pub(super) struct Reader(Arc<Mutex<Option<JoinHandle<()>>>>);

impl Reader {
    /// Waits until the rest of a dropped body has been read, or its time is over. Does not wait for a body that still
    /// has a reader.
    pub(super) async fn finished(self) {
        let task = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(task) = task {
            // Cannot fail, and ends early only with the runtime.
            let _ = task.await;
        }
    }
}

/// What happens to the rest of a body that is dropped before its end, because the response came early: it is read for a
/// while. A client whose stream is reset while it sends may take that for the response, even if nothing is wrong (RFC
/// 9113, section 8.1); curl does up to 8.0.
pub(super) struct Rest {
    /// If more than this remains, it is not worth reading; the reset only waits for a moment.
    pub(super) bytes_limit: u64,
    pub(super) time_limit: Duration,
    /// The client waits for `100 Continue`, and has sent nothing yet. The body may never come, since hyper sends no
    /// interim response over HTTP/2.
    pub(super) expects_continue: bool,
}

impl RequestBody {
    /// Returns the body and the handle of the task that reads its rest.
    pub(super) fn new(incoming: Incoming, idle_timeout: Duration, rest: Rest) -> (Self, Reader) {
        let reader = Reader::default();
        let patience = if rest.expects_continue { idle_timeout.min(UNASKED_TIME) } else { idle_timeout };
        let patience = Patience::new(patience);
        (RequestBody { incoming: Some(incoming), patience, idle_timeout, rest, reader: reader.clone() }, reader)
    }
}

impl http_body::Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Some(incoming) = &mut self.incoming else { return Poll::Ready(None) };
        match Pin::new(incoming).poll_frame(cx) {
            Poll::Ready(frame) => {
                if std::mem::take(&mut self.rest.expects_continue) {
                    // The client did not wait for long; from here on this is a body like any other.
                    self.patience = Patience::new(self.idle_timeout);
                }
                self.patience.renew();
                Poll::Ready(frame.map(|frame| frame.map_err(BodyError::Connection)))
            }
            Poll::Pending => {
                ready!(self.patience.poll_over(cx));
                // The wait is over and is not repeated.
                self.incoming = None;
                let is_unasked = self.rest.expects_continue;
                Poll::Ready(Some(Err(if is_unasked { BodyError::Expectation } else { BodyError::TimedOut })))
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
        let announced = incoming.size_hint();
        if expects_continue {
            return;
        }
        if announced.lower() > bytes_limit {
            return let_go_later(incoming);
        }
        let task = read_on(incoming, bytes_limit, time_limit);
        if announced.exact().is_some() {
            *self.reader.0.lock().unwrap_or_else(PoisonError::into_inner) = task;
        }
    }
}

/// Drops a body that is too long to be read once the client has had time to read the response: curl (7.88) does not look
/// at a response that arrives together with the reset behind it. Until then the stream's window limits what it holds.
fn let_go_later(rest: Incoming) {
    if let Ok(runtime) = tokio::runtime::Handle::try_current() {
        runtime.spawn(async move {
            tokio::time::sleep(RESPONSE_READ_TIME).await;
            drop(rest);
        });
    }
}

/// Reads and discards the rest, in a task of its own if it has to wait.
fn read_on(mut rest: Incoming, mut bytes_limit: u64, time: Duration) -> Option<JoinHandle<()>> {
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
    if read(&mut Context::from_waker(Waker::noop())).is_ready() {
        return None;
    }
    let runtime = tokio::runtime::Handle::try_current().ok()?;
    Some(runtime.spawn(async move {
        let _ = tokio::time::timeout(time, poll_fn(read)).await;
    }))
}

/// How long a client is given to read a response before the stream of its unfinished request is reset.
const RESPONSE_READ_TIME: Duration = Duration::from_millis(500);

/// For a client that waits for `100 Continue`: most send the body anyway after a second. One that insists has to do so
/// without (RFC 9110, section 10.1.1); it need not wait for the full idle timeout of a body.
const UNASKED_TIME: Duration = Duration::from_secs(2);
