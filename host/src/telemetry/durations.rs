//! Histograms of how long things took.
//!
//! [`RequestDurations`] keeps one histogram per method and status that occurred, and per core. A core's histograms hang
//! in a list, in the order in which their labels first came up: nearly all requests of a route are found at its head,
//! and what never occurs costs nothing. The list is bounded, so that a client which varies its method, or an upstream
//! that varies its status, cannot make it grow: beyond [`MAX_SERIES`] the rest is counted by class of status.
//!
//! Rejected: an array over all methods and statuses (tens of kilobytes per route and core), and a hash map (a hash per
//! request, and a lock for the reader).

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::Method;
use thread_local::ThreadLocal;

use super::counters::add;

/// The durations of requests, by method and status, with the bytes they moved.
#[derive(Default)]
pub struct RequestDurations {
    cores: ThreadLocal<Box<Series>>,
}

impl RequestDurations {
    /// Adds one request. `status` 0 means that there was no response. `received` and `sent` are body bytes.
    pub fn record(&self, method: &Method, status: u16, duration: Duration, received: u64, sent: u64) {
        let key = Key::new(method, status);
        let series = self.cores.get_or(|| Box::new(Series::new(key))).find(key);
        series.histogram.record(&REQUEST_BOUNDS, duration);
        add(&series.received, received);
        add(&series.sent, sent);
    }

    /// The sums over all cores, by method and status.
    pub fn totals(&self) -> BTreeMap<Key, Totals> {
        let mut totals = BTreeMap::<Key, Totals>::new();
        for first in self.cores.iter() {
            for series in std::iter::successors(Some(first), |series| series.next.get()) {
                let total = totals.entry(series.key).or_default();
                series.histogram.add_to(&mut total.buckets, &mut total.sum);
                total.received = total.received.wrapping_add(series.received.load(Ordering::Relaxed));
                total.sent = total.sent.wrapping_add(series.sent.load(Ordering::Relaxed));
            }
        }
        totals
    }
}

/// The sums for one method and status.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Requests by [`REQUEST_BOUNDS`], not cumulative; the last bucket is for those above all bounds.
    pub buckets: [u64; REQUEST_BOUNDS.len() + 1],
    pub sum: Duration,
    pub received: u64,
    pub sent: u64,
}

impl Totals {
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }
}

/// A method and a status: the labels of one histogram.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    method: u8,
    /// 0: no response. 1 to 9: a class, "2xx" for 2. Otherwise the status itself.
    status: u16,
}

impl Key {
    fn new(method: &Method, status: u16) -> Self {
        let method = match *method {
            Method::GET => 1,
            Method::HEAD => 2,
            Method::POST => 3,
            Method::PUT => 4,
            Method::DELETE => 5,
            Method::CONNECT => 6,
            Method::OPTIONS => 7,
            Method::TRACE => 8,
            Method::PATCH => 9,
            _ => OTHER_METHOD,
        };
        // Numbers below 100 are not statuses: see the field.
        Key { method, status: if status < 100 { 0 } else { status } }
    }

    /// The key to use instead if a list is full.
    fn class(self) -> Self {
        let status = if self.status < 100 { self.status } else { (self.status / 100).min(9) };
        Key { method: OTHER_METHOD, status }
    }

    /// A standard method by its name, any other as `_OTHER`, as OpenTelemetry's `http.request.method` asks for.
    pub fn method(self) -> &'static str {
        const NAMES: [&str; 10] =
            ["_OTHER", "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];
        NAMES.get(usize::from(self.method)).unwrap_or(&NAMES[0])
    }

    /// The status in digits, its class ("5xx") if the list is full, and empty if there was no response.
    pub fn status(self) -> String {
        match self.status {
            0 => String::new(),
            class @ 1..=9 => format!("{class}xx"),
            status => status.to_string(),
        }
    }
}

/// One core's histogram for one key, and the next one in the list.
struct Series {
    key: Key,
    next: OnceLock<Box<Series>>,
    histogram: Histogram<{ REQUEST_BOUNDS.len() + 1 }>,
    received: AtomicU64,
    sent: AtomicU64,
}

impl Series {
    fn new(key: Key) -> Self {
        let zero = || AtomicU64::new(0);
        Series { key, next: OnceLock::new(), histogram: Histogram::default(), received: zero(), sent: zero() }
    }

    /// The histogram of `key` in this list; created if it is missing.
    fn find(&self, key: Key) -> &Series {
        if self.key == key {
            return self;
        }
        let mut last = self;
        let mut length = 1;
        while let Some(next) = last.next.get() {
            if next.key == key {
                return next;
            }
            last = next;
            length += 1;
        }
        if length >= MAX_SERIES && key != key.class() {
            return self.find(key.class());
        }
        last.next.get_or_init(|| Box::new(Series::new(key)))
    }
}

/// Counts by bucket, and the sum. `N` is one more than there are bounds.
pub(super) struct Histogram<const N: usize> {
    buckets: [AtomicU64; N],
    sum_nanos: AtomicU64,
}

impl<const N: usize> Histogram<N> {
    /// Adds one duration. `bounds` are nanoseconds, inclusive and ascending. Only one thread may do this.
    pub(super) fn record(&self, bounds: &[u64], duration: Duration) {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let bucket = bounds.partition_point(|bound| *bound < nanos);
        if let Some(bucket) = self.buckets.get(bucket) {
            add(bucket, 1);
        }
        add(&self.sum_nanos, nanos);
    }

    pub(super) fn add_to(&self, buckets: &mut [u64; N], sum: &mut Duration) {
        for (total, bucket) in buckets.iter_mut().zip(&self.buckets) {
            *total = total.wrapping_add(bucket.load(Ordering::Relaxed));
        }
        *sum = sum.saturating_add(Duration::from_nanos(self.sum_nanos.load(Ordering::Relaxed)));
    }
}

impl<const N: usize> Default for Histogram<N> {
    fn default() -> Self {
        Histogram { buckets: [const { AtomicU64::new(0) }; N], sum_nanos: AtomicU64::new(0) }
    }
}

/// The buckets of request durations, in nanoseconds: those that OpenTelemetry recommends for
/// `http.server.request.duration` (5 ms to 10 s), and three below, because a gateway near its upstreams responds faster
/// than the first of them.
pub const REQUEST_BOUNDS: [u64; 17] = [
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    75_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    750_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    7_500_000_000,
    10_000_000_000,
];

/// How many methods and statuses of one route are distinguished per core. More than a normal route has.
const MAX_SERIES: usize = 32;

const OTHER_METHOD: u8 = 0;

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    #[test]
    fn durations_land_in_their_buckets() {
        let durations = RequestDurations::default();
        let cases = [
            (0, 0),
            (500_000, 0),
            (500_001, 1),
            (1_000_000, 1),
            (3_000_000, 3),
            (10_000_000_000, 16),
            (10_000_000_001, 17),
            (u64::MAX / 16, 17),
        ];
        let mut expected = [0; 18];
        for (nanos, bucket) in cases {
            durations.record(&Method::GET, 200, Duration::from_nanos(nanos), 1, 2);
            expected[bucket] += 1;
        }
        let totals = durations.totals();
        let (key, total) = totals.first_key_value().unwrap();
        assert_eq!((key.method(), key.status().as_str()), ("GET", "200"));
        assert_eq!((total.buckets, total.count(), total.received, total.sent), (expected, 8, 8, 16));
        assert_eq!(total.sum, Duration::from_nanos(cases.iter().map(|(nanos, _)| nanos).sum()));
    }

    #[test]
    fn bounds_rise() {
        assert!(REQUEST_BOUNDS.is_sorted());
    }

    #[test]
    fn cores_add_up() {
        let durations = RequestDurations::default();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for number in 0..3_000 {
                        let status = [200, 404, 503][number % 3];
                        durations.record(&Method::POST, status, Duration::from_millis(1), 10, 0);
                    }
                });
            }
        });
        let totals: Vec<_> = durations.totals().into_iter().map(|(key, total)| (key.status(), total)).collect();
        assert_eq!(totals.iter().map(|(status, _)| status.as_str()).collect::<Vec<_>>(), ["200", "404", "503"]);
        for (_, total) in totals {
            assert_eq!((total.count(), total.received, total.sum), (4_000, 40_000, Duration::from_secs(4)));
        }
    }

    #[test]
    fn the_number_of_series_is_bounded_and_no_request_is_lost() {
        let durations = RequestDurations::default();
        let odd = Method::from_bytes(b"BREW").unwrap();
        let methods = [Method::GET, Method::PUT, Method::PATCH, odd];
        for status in 0..1000 {
            for method in &methods {
                durations.record(method, status, Duration::ZERO, 0, 0);
            }
        }
        let totals = durations.totals();
        assert!(totals.len() <= MAX_SERIES + 10, "{}", totals.len());
        assert_eq!(totals.values().map(Totals::count).sum::<u64>(), 4000);
        let folded = totals.iter().find(|(key, _)| key.status() == "5xx").unwrap();
        assert_eq!((folded.0.method(), folded.1.count()), ("_OTHER", 400));
    }
}
