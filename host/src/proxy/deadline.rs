//! The deadline that a gRPC client sets: once it has passed nobody waits for the answer, so nobody works on it.
//!
//! The server gets `grpc-timeout` unchanged and enforces it itself; this is for servers that do not, or that cannot be
//! reached. Dropping what was sent resets its stream, which tells the server.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::StatusCode;
use http_body::{Body as _, Frame, SizeHint};
use tokio::time::{Instant, Sleep};

use super::error::Error;
use crate::body::{Body, BodyError};
use crate::exchange::{Exchange, Outcome};
use crate::problem::grpc;
use crate::upstream::SendError;

/// The client's deadline; `None` if it gives none, or if the request is not gRPC and plugins did not make it so.
pub(super) fn of(exchange: &Exchange, becomes_grpc: bool) -> Option<Instant> {
    if !exchange.received.is_grpc && !becomes_grpc {
        return None;
    }
    let timeout = grpc::timeout(&exchange.request.headers)?;
    Instant::from_std(exchange.started).checked_add(timeout)
}

/// The result of `work`, or `Error::Deadline` if it takes longer than that.
pub(super) async fn keep<T>(deadline: Instant, work: impl Future<Output = Result<T, SendError>>) -> Result<T, Error> {
    tokio::time::timeout_at(deadline, work).await.map_err(|_| Error::Deadline)?.map_err(Error::Upstream)
}

/// The response body, which ends with DEADLINE_EXCEEDED if it is not complete by the deadline. To the client that is an
/// end like any other, so the outcome is told.
pub(super) fn apply(deadline: Option<Instant>, body: Body, outcome: &mut Outcome) -> Body {
    match deadline {
        Some(deadline) if !body.is_end_stream() => {
            let is_over = Arc::<AtomicBool>::default();
            outcome.overdue = Some(Arc::clone(&is_over));
            Body::boxed(Timed { body, alarm: Box::pin(tokio::time::sleep_until(deadline)), is_over })
        }
        _ => body,
    }
}

struct Timed {
    /// Empty once the deadline has passed.
    body: Body,
    alarm: Pin<Box<Sleep>>,
    is_over: Arc<AtomicBool>,
}

impl http_body::Body for Timed {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if polled.is_ready() || self.alarm.as_mut().poll(cx).is_pending() {
            return polled;
        }
        self.body = Body::Empty;
        self.is_over.store(true, Relaxed);
        let trailers = grpc::status_of(StatusCode::GATEWAY_TIMEOUT, "The deadline is over.");
        Poll::Ready(Some(Ok(Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
