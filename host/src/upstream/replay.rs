//! A request that is kept while it is sent, so that it can be resent: a copy of its head, and of its body up to a
//! bound.
//!
//! The client's body is read once. What an attempt reads of it is copied, and the next attempt starts with the copy and
//! reads on where the last one stopped. So an attempt that fails in the middle of an upload costs no time, and the
//! bound holds however the body is split into chunks. A body that grows beyond the bound is only passed through from
//! then on: its attempt is the last one.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{HeaderMap, Request, request};
use http_body::{Body as _, Frame, SizeHint};

use crate::body::{Body, BodyError};

/// A request that can be sent in several attempts.
pub(super) struct Kept {
    head: request::Parts,
    body: KeptBody,
}

enum KeptBody {
    /// No body, or all of it in memory.
    Ready(Bytes),
    Read(Arc<Mutex<Source>>),
}

/// The client's body, and a copy of what was read of it.
struct Source {
    body: Body,
    copy: Vec<u8>,
    trailers: Option<HeaderMap>,
    ended: bool,
    /// The copy does not contain all that was read.
    incomplete: bool,
    max_bytes: usize,
    /// The length of the body, if known from the start.
    length: Option<u64>,
    /// The attempt that reads. Earlier attempts have ended, but their connections may not have noticed yet.
    attempt: u32,
}

impl Kept {
    /// Keeps the request for several attempts.
    ///
    /// # Errors
    /// The unchanged request, if its body is known to be longer than `max_bytes`.
    pub(super) fn new(request: Request<Body>, max_bytes: usize) -> Result<Kept, Box<Request<Body>>> {
        let length = request.body().size_hint();
        if length.lower() > max_bytes as u64 {
            return Err(Box::new(request));
        }
        let (head, body) = request.into_parts();
        let body = match body {
            Body::Empty => KeptBody::Ready(Bytes::new()),
            Body::Full(bytes) => KeptBody::Ready(bytes),
            body => KeptBody::Read(Arc::new(Mutex::new(Source {
                ended: body.is_end_stream(),
                length: length.exact(),
                body,
                copy: Vec::new(),
                trailers: None,
                incomplete: false,
                max_bytes,
                attempt: 0,
            }))),
        };
        Ok(Kept { head, body })
    }

    /// The request for the next attempt. `None` if part of it is gone.
    pub(super) fn request(&self) -> Option<Request<Body>> {
        let body = match &self.body {
            KeptBody::Ready(bytes) => Body::from(bytes.clone()),
            KeptBody::Read(source) => {
                let mut shared = lock(source);
                if shared.incomplete {
                    return None;
                }
                shared.attempt = shared.attempt.saturating_add(1);
                let (attempt, source) = (shared.attempt, Arc::clone(source));
                Body::boxed(Replay { source, attempt, position: 0, trailers_sent: false })
            }
        };
        Some(Request::from_parts(self.head.clone(), body))
    }

    /// Whether another attempt is possible.
    pub(super) fn is_whole(&self) -> bool {
        match &self.body {
            KeptBody::Ready(_) => true,
            KeptBody::Read(source) => !lock(source).incomplete,
        }
    }
}

/// The body of one attempt.
struct Replay {
    source: Arc<Mutex<Source>>,
    attempt: u32,
    /// Bytes that this attempt has passed on.
    position: u64,
    trailers_sent: bool,
}

impl http_body::Body for Replay {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        let mut source = lock(&this.source);
        if source.attempt != this.attempt {
            return Poll::Ready(Some(Err(BodyError::Superseded)));
        }
        let unsent = usize::try_from(this.position).ok().and_then(|position| source.copy.get(position..));
        if let Some(unsent) = unsent.filter(|unsent| !unsent.is_empty()) {
            let bytes = Bytes::copy_from_slice(unsent);
            this.position += bytes.len() as u64;
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
        if source.ended {
            let trailers = source.trailers.clone().filter(|_| !std::mem::replace(&mut this.trailers_sent, true));
            return Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))));
        }
        let frame = ready!(source.read(context));
        if let Some(Ok(frame)) = &frame {
            this.position += frame.data_ref().map_or(0, Bytes::len) as u64;
            this.trailers_sent |= frame.is_trailers();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        let source = lock(&self.source);
        let all_sent = source.incomplete || self.position >= source.copy.len() as u64;
        source.ended && all_sent && (self.trailers_sent || source.trailers.is_none())
    }

    fn size_hint(&self) -> SizeHint {
        match lock(&self.source).length {
            Some(length) => SizeHint::with_exact(length.saturating_sub(self.position)),
            None => SizeHint::default(),
        }
    }
}

impl Source {
    /// Continues reading, and copies what arrives.
    fn read(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        match &frame {
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    self.keep(data);
                } else if let Some(trailers) = frame.trailers_ref() {
                    self.trailers = Some(trailers.clone());
                }
                self.ended = frame.is_trailers() || self.body.is_end_stream();
            }
            // What the client failed to send will not come a second time.
            Some(Err(_)) => self.incomplete = true,
            None => self.ended = true,
        }
        Poll::Ready(frame)
    }

    fn keep(&mut self, data: &Bytes) {
        if self.incomplete || self.copy.len().saturating_add(data.len()) > self.max_bytes {
            self.incomplete = true;
            self.copy = Vec::new();
        } else {
            self.copy.extend_from_slice(data);
        }
    }
}

/// Nothing that holds the lock can panic.
fn lock(source: &Mutex<Source>) -> MutexGuard<'_, Source> {
    source.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::task::Waker;

    use http_body_util::BodyExt;
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// A body in these pieces, each after a wait if it is marked, then trailers.
    struct Pieces {
        pieces: std::collections::VecDeque<(Vec<u8>, bool)>,
        trailers: Option<HeaderMap>,
    }

    impl http_body::Body for Pieces {
        type Data = Bytes;
        type Error = BodyError;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
            if let Some((_, waits)) = self.pieces.front_mut()
                && std::mem::take(waits)
            {
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            let piece = self.pieces.pop_front().map(|(piece, _)| Frame::data(Bytes::from(piece)));
            let frame = piece.or_else(|| self.trailers.take().map(Frame::trailers));
            Poll::Ready(frame.map(Ok))
        }
    }

    fn kept(pieces: &[(Vec<u8>, bool)], trailers: Option<HeaderMap>, max_bytes: usize) -> Kept {
        let body = Body::boxed(Pieces { pieces: pieces.iter().cloned().collect(), trailers });
        Kept::new(Request::new(body), max_bytes).unwrap()
    }

    /// Reads this many frames, or all.
    fn read(body: &mut Body, frames: usize) -> (Vec<u8>, Option<HeaderMap>, bool) {
        let mut context = Context::from_waker(Waker::noop());
        let (mut data, mut trailers) = (Vec::new(), None);
        for _ in 0..frames {
            let frame = loop {
                if let Poll::Ready(frame) = Pin::new(&mut *body).poll_frame(&mut context) {
                    break frame;
                }
            };
            match frame.map(Result::unwrap).map(Frame::into_data) {
                None => return (data, trailers, true),
                Some(Ok(bytes)) => data.extend_from_slice(&bytes),
                Some(Err(other)) => trailers = other.into_trailers().ok(),
            }
        }
        (data, trailers, false)
    }

    proptest! {
        /// However many attempts stop anywhere, the next one gets the whole body; and a body above the limit is still
        /// passed on whole by the attempt that read it.
        #[test]
        fn every_attempt_gets_the_whole_body(
            pieces in vec((vec(any::<u8>(), 0..20), any::<bool>()), 0..12),
            stops in vec(0..14usize, 0..4),
            with_trailers: bool,
            max_bytes in 0..200usize,
        ) {
            let trailers = with_trailers.then(|| HeaderMap::from_iter([(http::header::ETAG, "x".parse().unwrap())]));
            let whole: Vec<u8> = pieces.iter().flat_map(|(piece, _)| piece.clone()).collect();
            let kept = kept(&pieces, trailers.clone(), max_bytes);
            let mut last = None;
            for stop in stops {
                let Some(request) = kept.request() else { break };
                let mut body = request.into_body();
                let so_far = read(&mut body, stop);
                last = Some((body, so_far));
            }
            let (mut body, (mut data, mut got, _)) = match kept.request() {
                Some(request) => (request.into_body(), Default::default()),
                // The attempt that exceeded the limit is the last, and continues.
                None => last.unwrap(),
            };
            let (rest, late, ended) = read(&mut body, usize::MAX);
            data.extend(rest);
            got = late.or(got);
            prop_assert!(ended);
            prop_assert_eq!(&data, &whole);
            prop_assert_eq!(got, trailers);
            prop_assert_eq!(kept.is_whole(), whole.len() <= max_bytes);
        }
    }

    #[test]
    fn an_attempt_that_is_over_reads_no_further() {
        let kept = kept(&[(b"one".to_vec(), false), (b"two".to_vec(), false)], None, 100);
        let mut first = kept.request().unwrap().into_body();
        assert_eq!(read(&mut first, 1).0, b"one");
        let mut second = kept.request().unwrap().into_body();
        let mut context = Context::from_waker(Waker::noop());
        let frame = Pin::new(&mut first).poll_frame(&mut context);
        assert!(matches!(frame, Poll::Ready(Some(Err(BodyError::Superseded)))));
        assert_eq!(read(&mut second, 9).0, b"onetwo");
        assert!(second.is_end_stream());
    }

    #[tokio::test]
    async fn what_is_known_to_be_too_long_is_not_kept() {
        let request = |length: usize| Request::new(Body::from(Bytes::from(vec![b'x'; length])));
        assert!(Kept::new(request(10), 10).is_ok());
        let refused = Kept::new(request(11), 10).err().unwrap();
        assert_eq!(refused.into_body().collect().await.unwrap().to_bytes().len(), 11);
    }
}
