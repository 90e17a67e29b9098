//! A response that arrives while its request is still being sent.
//!
//! The rest of the request is sent by a separate task, as over HTTP/2: a client may send all of a request before it
//! reads any of the response, and both would wait forever if one progressed only with the other.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::task::AbortHandle;

use super::Coming;
use crate::body::BodyError;

/// See the module. Dropping it ends the request together with the response.
pub(super) struct EarlyAnswer {
    coming: Arc<Mutex<Coming>>,
    task: AbortHandle,
}

impl EarlyAnswer {
    pub(super) fn new(coming: Coming) -> Self {
        let coming = Arc::new(Mutex::new(coming));
        // Weak, so that the connection closes when the response is dropped, not when the task notices.
        let answer = Arc::downgrade(&coming);
        let task = tokio::spawn(poll_fn(move |context| match answer.upgrade() {
            Some(coming) => lock(&coming).poll_upload(context),
            None => Poll::Ready(()),
        }));
        EarlyAnswer { coming, task: task.abort_handle() }
    }
}

impl Drop for EarlyAnswer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl http_body::Body for EarlyAnswer {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let mut coming = lock(&self.coming);
        Pin::new(&mut *coming).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        lock(&self.coming).is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        lock(&self.coming).size_hint()
    }
}

/// Both sides run on one core, and nothing that holds the lock can panic.
fn lock(coming: &Mutex<Coming>) -> MutexGuard<'_, Coming> {
    coming.lock().unwrap_or_else(PoisonError::into_inner)
}
