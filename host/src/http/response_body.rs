//! A response body on its way to the client: it tells when the exchange is over.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use super::state::Active;
use crate::body::{Body, BodyError};

/// What the client is still to get. It is dropped when it is wholly written, or will not be.
pub(super) struct ResponseBody {
    body: Body,
    _active: Active,
}

impl ResponseBody {
    pub(super) fn new(body: Body, active: Active) -> Self {
        ResponseBody { body, _active: active }
    }
}

impl http_body::Body for ResponseBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
