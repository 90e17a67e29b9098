//! A body that is read by one consumer and copied to others, which have to keep up.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use tokio::sync::{mpsc, oneshot};

use crate::body::{Body, BodyError};

/// The writing end for one reader.
pub(super) struct Feed {
    /// `None` is the end of the body.
    frames: mpsc::UnboundedSender<Option<Frame<Bytes>>>,
    waiting: Arc<AtomicUsize>,
    max_waiting: usize,
    given: oneshot::Sender<Given>,
}

/// How much of the body a reader was given. Nothing is sent if the body broke off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Given {
    All,
    /// More than the limit is waiting to be read.
    TooMuch,
}

/// The reading end: the body for the reader. If the reader was not given all of it, the body never ends; [`Given`]
/// reports this, so that a part is never taken for the whole.
pub(super) struct Fed {
    frames: mpsc::UnboundedReceiver<Option<Frame<Bytes>>>,
    waiting: Arc<AtomicUsize>,
    /// The number of remaining bytes, if known.
    left: Option<u64>,
    is_over: bool,
}

/// Creates both ends. `length` is that of the body, if known.
pub(super) fn new(max_waiting: usize, length: Option<u64>) -> (Feed, Fed, oneshot::Receiver<Given>) {
    let (sender, frames) = mpsc::unbounded_channel();
    let (given, is_given) = oneshot::channel();
    let waiting = Arc::new(AtomicUsize::new(0));
    let fed = Fed { frames, waiting: waiting.clone(), left: length, is_over: false };
    (Feed { frames: sender, waiting, max_waiting, given }, fed, is_given)
}

impl Feed {
    /// Adds a copy of the frame. `None` if that exceeded the limit, or the reader is gone.
    fn give(self, frame: &Frame<Bytes>) -> Option<Feed> {
        let copy = match (frame.data_ref(), frame.trailers_ref()) {
            (Some(data), _) => Frame::data(data.clone()),
            (None, Some(trailers)) => Frame::trailers(trailers.clone()),
            (None, None) => return Some(self),
        };
        let cost = cost(&copy);
        if self.waiting.fetch_add(cost, Relaxed) + cost > self.max_waiting {
            let _ = self.given.send(Given::TooMuch);
            return None;
        }
        self.frames.send(Some(copy)).ok().map(|()| self)
    }

    /// Ends the body.
    fn end(self) {
        if self.frames.send(None).is_ok() {
            let _ = self.given.send(Given::All);
        }
    }
}

/// The cost of a frame against the limit: even an empty one takes memory.
fn cost(frame: &Frame<Bytes>) -> usize {
    frame.data_ref().map_or(0, Bytes::len) + size_of::<Frame<Bytes>>()
}

/// The body that feeds the others while it is read.
pub(super) struct Tee {
    body: Body,
    feeds: Vec<Feed>,
}

impl Tee {
    pub(super) fn new(body: Body, feeds: Vec<Feed>) -> Tee {
        Tee { body, feeds }
    }

    fn end(&mut self) {
        self.feeds.drain(..).for_each(Feed::end);
    }
}

impl http_body::Body for Tee {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        let polled = ready!(Pin::new(&mut this.body).poll_frame(context));
        match &polled {
            Some(Ok(frame)) => {
                let feeds = std::mem::take(&mut this.feeds);
                this.feeds = feeds.into_iter().filter_map(|feed| feed.give(frame)).collect();
                if frame.is_trailers() || this.body.is_end_stream() {
                    this.end();
                }
            }
            // The body broke off, so it does for the copies.
            Some(Err(_)) => this.feeds.clear(),
            None => this.end(),
        }
        Poll::Ready(polled)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Tee {
    /// Readers that know the length of a body do not look for its end after the last byte.
    fn drop(&mut self) {
        if self.body.size_hint().exact() == Some(0) {
            self.end();
        }
    }
}

impl http_body::Body for Fed {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        match ready!(self.frames.poll_recv(context)) {
            Some(Some(frame)) => {
                self.waiting.fetch_sub(cost(&frame), Relaxed);
                let length = frame.data_ref().map_or(0, Bytes::len) as u64;
                self.left = self.left.map(|left| left.saturating_sub(length));
                Poll::Ready(Some(Ok(frame)))
            }
            Some(None) => {
                self.is_over = true;
                Poll::Ready(None)
            }
            None => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.is_over
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::VecDeque;
    use std::task::Waker;

    use http::HeaderMap;
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// A body of these frames; `is_whole` says whether it ends after them or breaks off.
    struct Frames {
        frames: VecDeque<Frame<Bytes>>,
        is_whole: bool,
    }

    impl http_body::Body for Frames {
        type Data = Bytes;
        type Error = BodyError;

        fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
            Poll::Ready(match self.frames.pop_front() {
                Some(frame) => Some(Ok(frame)),
                None if self.is_whole => None,
                None => Some(Err(BodyError::TimedOut)),
            })
        }
    }

    fn data(length: usize) -> Frame<Bytes> {
        Frame::data(Bytes::from(vec![b'x'; length]))
    }

    fn tee(frames: impl IntoIterator<Item = Frame<Bytes>>, is_whole: bool, feeds: Vec<Feed>) -> Tee {
        Tee::new(Body::boxed(Frames { frames: frames.into_iter().collect(), is_whole }), feeds)
    }

    /// Reads one frame: its bytes, `None` at the end.
    fn read(body: &mut (impl http_body::Body<Data = Bytes, Error = BodyError> + Unpin)) -> Poll<Option<usize>> {
        let polled = Pin::new(body).poll_frame(&mut Context::from_waker(Waker::noop()));
        polled.map(|frame| frame.map(|frame| frame.map_or(0, |frame| frame.data_ref().map_or(0, Bytes::len))))
    }

    #[test]
    fn all_of_a_body_is_given_with_its_trailers_and_its_end() {
        let (feed, mut fed, mut given) = new(1000, None);
        let trailers = Frame::trailers(HeaderMap::new());
        let mut tee = tee([data(10), data(0), trailers], true, vec![feed]);
        while read(&mut tee) != Poll::Ready(None) {}
        assert_eq!(given.try_recv(), Ok(Given::All));
        for expected in [Some(10), Some(0), Some(0), None, None] {
            assert_eq!(read(&mut fed), Poll::Ready(expected));
        }
        assert_eq!(fed.waiting.load(Relaxed), 0);
    }

    #[test]
    fn one_that_falls_behind_is_given_up_and_the_others_go_on() {
        let frame = size_of::<Frame<Bytes>>();
        let (slow, mut slow_fed, mut slow_given) = new(100 + 2 * frame, None);
        let (quick, mut quick_fed, mut quick_given) = new(100 + 2 * frame, None);
        let mut tee = tee([data(60), data(40), data(1), data(1)], true, vec![slow, quick]);
        for _ in 0..5 {
            let _ = read(&mut tee);
            let _ = read(&mut quick_fed);
        }
        assert_eq!((slow_given.try_recv(), quick_given.try_recv()), (Ok(Given::TooMuch), Ok(Given::All)));
        // Its frames are there, but the body never ends.
        assert_eq!([0; 3].map(|_| read(&mut slow_fed)), [Poll::Ready(Some(60)), Poll::Ready(Some(40)), Poll::Pending]);
    }

    #[test]
    fn a_body_that_breaks_off_or_is_not_read_never_ends() {
        for frames_read in [1, 2] {
            let (feed, mut fed, mut given) = new(1000, None);
            let mut tee = tee([data(10)], false, vec![feed]);
            for _ in 0..frames_read {
                let _ = Pin::new(&mut tee).poll_frame(&mut Context::from_waker(Waker::noop())).is_ready();
            }
            drop(tee);
            assert!(given.try_recv().is_err());
            assert_eq!([read(&mut fed), read(&mut fed)], [Poll::Ready(Some(10)), Poll::Pending]);
        }
    }

    #[test]
    fn the_last_byte_of_a_known_length_is_the_end() {
        let (feed, mut fed, mut given) = new(1000, Some(3));
        let mut tee = Tee::new(Body::from(Bytes::from_static(b"abc")), vec![feed]);
        assert_eq!(fed.size_hint().exact(), Some(3));
        assert_eq!(read(&mut tee), Poll::Ready(Some(3)));
        drop(tee);
        assert_eq!(given.try_recv(), Ok(Given::All));
        assert_eq!(read(&mut fed), Poll::Ready(Some(3)));
        assert_eq!(fed.size_hint().exact(), Some(0));
    }

    #[test]
    fn a_reader_that_is_gone_is_nobodys_loss() {
        let (feed, fed, given) = new(1000, None);
        drop((fed, given));
        let mut tee = tee([data(10), data(10)], true, vec![feed]);
        assert_eq!([read(&mut tee), read(&mut tee), read(&mut tee)], [Some(10), Some(10), None].map(Poll::Ready));
    }

    proptest! {
        /// In any order of writes and reads, the waiting bytes stay within the limit, and a copy is complete or never
        /// ends.
        #[test]
        fn what_waits_is_bounded(sizes in vec(0..200_usize, 0..30), reads in vec(0..3_u8, 30), max in 0..2000_usize) {
            let (feed, mut fed, mut given) = new(max, None);
            let mut tee = tee(sizes.iter().map(|size| data(*size)), true, vec![feed]);
            let (mut copied, mut has_ended) = (0, false);
            let mut take = |fed: &mut Fed| match read(fed) {
                Poll::Ready(Some(length)) => copied += length,
                Poll::Ready(None) => has_ended = true,
                Poll::Pending => {}
            };
            let mut is_behind = false;
            for turn in reads.iter().chain(std::iter::repeat_n(&1, sizes.len())) {
                let _ = read(&mut tee);
                is_behind |= tee.feeds.is_empty() && given.try_recv() == Ok(Given::TooMuch);
                prop_assert!(is_behind || fed.waiting.load(Relaxed) <= max);
                (0..*turn).for_each(|_| take(&mut fed));
            }
            (0..=sizes.len()).for_each(|_| take(&mut fed));
            prop_assert_eq!(has_ended, !is_behind);
            prop_assert!(is_behind || copied == sizes.iter().sum::<usize>());
        }
    }
}
