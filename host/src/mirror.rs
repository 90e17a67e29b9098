//! Copies of requests for another upstream, whose responses are discarded.
//!
//! ```text
//!                       ┌▶ the request's own upstream
//! request body ── Tee ──┤
//!                       └▶ Feed ═ bounded ═▶ Fed ── the copy's own task ──▶ the mirror's upstream
//! ```
//!
//! A copy can neither delay nor fail the request that it is a copy of: it runs in a separate task, and its input goes
//! into a queue that never blocks. A copy that falls behind by more than its bound is abandoned. So is one that takes
//! too long, and none is started while the maximum number is in flight. Each of these is counted.
//!
//! Rejected: sending the copy before or together with the request (its connection would be waited for), and buffering
//! whole bodies for it (memory without a bound, or a bound that cuts off every large upload).

mod feed;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, request};
use http_body::Body as _;
use http_body_util::BodyExt;
use tokio::sync::oneshot;

use self::feed::{Given, Tee};
use crate::body::Body;
use crate::upstream::{Ask, Facts, Upstream};

/// One mirror of a route.
pub struct Mirror {
    upstream: Arc<Upstream>,
    settings: Settings,
    counts: Arc<Counts>,
}

/// The settings of a mirror.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// This many requests of [`EVERY`] are copied.
    pub share: u32,
    /// Copies in flight at a time, over all cores.
    pub max_concurrent: usize,
    /// Bytes of a request body that were read for the request but not yet for its copy.
    pub max_buffer: usize,
    /// From the end of the request's body to the end of the response.
    pub timeout: Duration,
}

/// The denominator of `share`.
pub const EVERY: u32 = 1_000_000;

/// The counters of a mirror; they survive a reload.
#[derive(Default)]
pub struct Counts {
    under_way: AtomicUsize,
    ends: [AtomicU64; End::ALL.len()],
}

/// How a copy ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The mirror's upstream responded, with any status.
    Answered,
    /// No connection, or no readable response.
    Failed,
    /// The response was not complete in time.
    TimedOut,
    /// Not started: the maximum number was in flight.
    OverLimit,
    /// It read the body more slowly than the request did, and was abandoned.
    Behind,
    /// The request's body broke off, or was not read to its end.
    Incomplete,
}

impl Mirror {
    /// `counts` are those of the same mirror before a reload.
    pub fn new(upstream: Arc<Upstream>, settings: Settings, counts: Option<Arc<Counts>>) -> Mirror {
        Mirror { upstream, settings, counts: counts.unwrap_or_default() }
    }

    pub fn upstream(&self) -> &Arc<Upstream> {
        &self.upstream
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    pub fn counts(&self) -> &Arc<Counts> {
        &self.counts
    }

    /// A place for a copy of the next request, if it is to be copied. `draw` is random, below [`EVERY`].
    pub fn place(&self, draw: u32) -> Option<Place> {
        if draw >= self.settings.share {
            return None;
        }
        let enter = |under_way: usize| (under_way < self.settings.max_concurrent).then_some(under_way + 1);
        if self.counts.under_way.try_update(Relaxed, Relaxed, enter).is_err() {
            self.counts.count(End::OverLimit);
            return None;
        }
        Some(Place { counts: Arc::clone(&self.counts), end: End::Failed })
    }

    /// A copy, to be sent with [`send`]. Hop-by-hop fields must already be removed from the head.
    pub fn copy(&self, place: Place, head: request::Parts, ask: Ask) -> Copy {
        Copy { upstream: Arc::clone(&self.upstream), settings: self.settings, head, ask, place }
    }
}

/// The permission to be in flight. When dropped, it counts how the copy ended: as failed, if nothing else is known.
pub struct Place {
    counts: Arc<Counts>,
    end: End,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.counts.under_way.fetch_sub(1, Relaxed);
        self.counts.count(self.end);
    }
}

/// A request to another upstream, before the request's body is known.
pub struct Copy {
    upstream: Arc<Upstream>,
    settings: Settings,
    head: request::Parts,
    ask: Ask,
    place: Place,
}

/// Starts the copies. Returns the request's body, which feeds them as it is read.
pub fn send(copies: Vec<Copy>, body: Body) -> Body {
    match body {
        body if body.is_end_stream() => send_whole(copies, &Bytes::new()),
        Body::Full(bytes) => send_whole(copies, &bytes),
        body => {
            let length = body.size_hint().exact();
            let feed = |copy: Copy| {
                let (feed, fed, given) = feed::new(copy.settings.max_buffer, length);
                copy.spawn(Body::boxed(fed), Some(given));
                feed
            };
            let feeds = copies.into_iter().map(feed).collect();
            Body::boxed(Tee::new(body, feeds))
        }
    }
}

fn send_whole(copies: Vec<Copy>, body: &Bytes) -> Body {
    for copy in copies {
        copy.spawn(Body::from(body.clone()), None);
    }
    Body::from(body.clone())
}

impl Copy {
    /// Runs the copy on this core. It ends with its response, with the request's body, or with its time limit.
    fn spawn(self, body: Body, given: Option<oneshot::Receiver<Given>>) {
        tokio::spawn(self.run(body, given));
    }

    async fn run(mut self, body: Body, given: Option<oneshot::Receiver<Given>>) {
        let request = Request::from_parts(self.head, body);
        self.place.end = tokio::select! {
            end = exchange(&self.upstream, request, &self.ask) => end,
            end = given_up(given, self.settings.timeout) => end,
        };
    }
}

/// Sends the request, and reads and discards the response.
async fn exchange(upstream: &Upstream, request: Request<Body>, ask: &Ask) -> End {
    let Ok(response) = upstream.send(request, ask, &mut Facts::default()).await else { return End::Failed };
    let mut body = response.into_body();
    let mut read = 0;
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return End::Failed };
        read += frame.data_ref().map_or(0, Bytes::len);
        // The connection is not kept then, since the rest of the response is of no use.
        if read > LONGEST_ANSWER {
            break;
        }
    }
    End::Answered
}

/// Waits until there is no use in waiting for the copy any longer.
async fn given_up(given: Option<oneshot::Receiver<Given>>, timeout: Duration) -> End {
    if let Some(given) = given {
        match given.await {
            Ok(Given::All) => {}
            Ok(Given::TooMuch) => return End::Behind,
            Err(_) => return End::Incomplete,
        }
    }
    tokio::time::sleep(timeout).await;
    End::TimedOut
}

impl Counts {
    /// Copies in flight.
    pub fn under_way(&self) -> usize {
        self.under_way.load(Relaxed)
    }

    /// How many copies ended this way.
    pub fn of(&self, end: End) -> u64 {
        self.ends.get(end as usize).map_or(0, |count| count.load(Relaxed))
    }

    fn count(&self, end: End) {
        if let Some(count) = self.ends.get(end as usize) {
            count.fetch_add(1, Relaxed);
        }
    }
}

impl End {
    pub const ALL: [End; 6] = [End::Answered, End::Failed, End::TimedOut, End::OverLimit, End::Behind, End::Incomplete];

    /// The name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            End::Answered => "answered",
            End::Failed => "failed",
            End::TimedOut => "timed-out",
            End::OverLimit => "over-limit",
            End::Behind => "behind",
            End::Incomplete => "incomplete",
        }
    }
}

/// How many bytes of a response are read, so that its connection can be reused. Longer responses are cut off.
const LONGEST_ANSWER: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::Settings as UpstreamSettings;

    fn mirror(share: u32, max_concurrent: usize) -> Mirror {
        let upstream = Upstream::new(UpstreamSettings::new("shadow", Vec::new()), None);
        let settings = Settings { share, max_concurrent, max_buffer: 10, timeout: Duration::from_secs(1) };
        Mirror::new(upstream, settings, None)
    }

    #[test]
    fn a_share_of_the_draws_is_copied_exactly() {
        for (share, draw, copied) in [
            (0, 0, false),
            (1, 0, true),
            (1, 1, false),
            (250_000, 249_999, true),
            (250_000, 250_000, false),
            (EVERY, EVERY - 1, true),
        ] {
            assert_eq!(mirror(share, 1).place(draw).is_some(), copied, "{draw} of {share}");
        }
        let half = mirror(EVERY / 2, usize::MAX);
        assert_eq!((0..EVERY).filter(|draw| half.place(*draw).is_some()).count(), EVERY as usize / 2);
    }

    #[test]
    fn a_place_is_taken_until_it_is_dropped_and_its_end_is_counted() {
        let mirror = mirror(EVERY, 2);
        let (first, second) = (mirror.place(0), mirror.place(0));
        assert!(first.is_some() && second.is_some());
        assert!(mirror.place(0).is_none());
        assert_eq!((mirror.counts.under_way(), mirror.counts.of(End::OverLimit)), (2, 1));
        if let Some(mut first) = first {
            first.end = End::Behind;
        }
        assert_eq!((mirror.counts.under_way(), mirror.counts.of(End::Behind)), (1, 1));
        assert!(mirror.place(0).is_some());
        drop(second);
        assert_eq!((mirror.counts.under_way(), mirror.counts.of(End::Failed)), (0, 2));
    }
}
