//! The limit on an upstream's requests in flight, over all its endpoints and all cores.
//!
//! Without a limit nothing is counted here: one counter for all cores would be a contended cache line.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::Response;
use http_body::{Body as _, Frame, SizeHint};

use super::error::Reason;
use crate::body::{Body, BodyError};

/// The limit on concurrent requests of an upstream. See the module.
pub(super) struct RequestCap(Option<Limit>);

struct Limit {
    most: usize,
    count: Arc<Count>,
}

#[derive(Default)]
struct Count {
    now: AtomicUsize,
    refused: AtomicU64,
}

/// Counts a request until it is dropped.
pub(super) struct Place(Arc<Count>);

impl RequestCap {
    /// Keeps the counts of the previous cap.
    pub(super) fn new(most: Option<usize>, previous: Option<&RequestCap>) -> Self {
        let count = || previous.and_then(|previous| previous.0.as_ref()).map(|limit| Arc::clone(&limit.count));
        RequestCap(most.map(|most| Limit { most, count: count().unwrap_or_default() }))
    }

    /// Admits a request. Without a limit there is nothing to hold.
    pub(super) fn enter(&self) -> Result<Option<Place>, Reason> {
        let Some(limit) = &self.0 else { return Ok(None) };
        let enter = |now: usize| (now < limit.most).then_some(now.saturating_add(1));
        match limit.count.now.try_update(Relaxed, Relaxed, enter) {
            Ok(_) => Ok(Some(Place(Arc::clone(&limit.count)))),
            Err(_) => {
                limit.count.refused.fetch_add(1, Relaxed);
                Err(Reason::TooManyRequests(limit.most))
            }
        }
    }

    /// Requests in flight, and requests refused so far.
    pub(super) fn counts(&self) -> Option<(usize, u64)> {
        let count = &self.0.as_ref()?.count;
        Some((count.now.load(Relaxed), count.refused.load(Relaxed)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.now.fetch_sub(1, Relaxed);
    }
}

/// The response, whose body holds the permit until its end.
pub(super) fn hold(response: Response<Body>, place: Option<Place>) -> Response<Body> {
    match place {
        Some(place) if !response.body().is_end_stream() => {
            response.map(|body| Body::boxed(Holding { body, _place: place }))
        }
        _ => response,
    }
}

struct Holding {
    body: Body,
    _place: Place,
}

impl http_body::Body for Holding {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
