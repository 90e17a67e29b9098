//! The body of a service's answer, and the guest that writes it.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::Frame;
use tokio::task::JoinHandle;
use tokio::task::coop::unconstrained;
use tokio::time::Sleep;
use wasmtime_wasi_http::WasiBody;

use super::ServiceError;
use crate::body::BodyError;

/// A running guest; dropping this ends it.
pub(super) struct Task(pub JoinHandle<Result<(), ServiceError>>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The body of an answer, with the guest that writes it. The guest ends with the body.
pub(super) struct Answer {
    pub body: WasiBody,
    pub task: Option<Task>,
    /// The longest wait for the next bytes.
    pub body_timeout: Duration,
    /// Fires when the wait has become too long.
    pub alarm: Option<Pin<Box<Sleep>>>,
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) else {
            let body_timeout = self.body_timeout;
            let alarm = self.alarm.get_or_insert_with(|| Box::pin(tokio::time::sleep(body_timeout)));
            ready!(alarm.as_mut().poll(context));
            return Poll::Ready(Some(Err(BodyError::TimedOut)));
        };
        self.alarm = None;
        let ended = match frame {
            Some(Ok(frame)) => return Poll::Ready(Some(Ok(frame))),
            Some(Err(error)) => Err(error.to_string()),
            None => match self.task.take() {
                Some(task) => task.outcome(context),
                None => Ok(()),
            },
        };
        Poll::Ready(ended.err().map(|why| Err(BodyError::Plugin(format!("service: the body was not finished: {why}")))))
    }
}

impl Task {
    /// How the guest ended. If it failed, the body that it wrote looks complete and is not.
    fn outcome(mut self, context: &mut Context<'_>) -> Result<(), String> {
        // Without tokio's budget: once that is used up, a failed guest would look as if it were still running.
        match Pin::new(&mut unconstrained(&mut self.0)).poll(context) {
            Poll::Pending | Poll::Ready(Ok(Ok(()))) => Ok(()),
            Poll::Ready(Ok(Err(error))) => Err(error.to_string()),
            Poll::Ready(Err(error)) => Err(error.to_string()),
        }
    }
}
