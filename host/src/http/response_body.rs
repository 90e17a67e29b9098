//! A response body of HTTP/2 on its way to the client: it tells when the exchange is over, and how the client takes it.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http_body::{Frame, SizeHint};

use super::send_stall::{Piece, SendProgress};
use super::state::Active;
use crate::body::{Body, BodyError};

/// What the client has yet to receive. Dropped once it is passed on completely, or will not be.
pub(super) struct ResponseBody {
    body: Body,
    progress: Arc<SendProgress>,
    _active: Active,
}

impl ResponseBody {
    pub(super) fn new(body: Body, progress: Arc<SendProgress>, active: Active) -> Self {
        ResponseBody { body, progress, _active: active }
    }
}

impl http_body::Body for ResponseBody {
    type Data = Piece;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Piece>, BodyError>>> {
        let this = &mut *self;
        let polled = Pin::new(&mut this.body).poll_frame(cx);
        match polled {
            Poll::Ready(Some(Ok(frame))) => {
                this.progress.has_more();
                Poll::Ready(Some(Ok(frame.map_data(|bytes| Piece::new(bytes, &this.progress)))))
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(error))),
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => {
                this.progress.has_nothing();
                Poll::Pending
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
