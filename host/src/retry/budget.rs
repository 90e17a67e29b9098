//! How many of the requests to an upstream may be repeated.
//!
//! An upstream that fails under load collapses when every request is sent three times. So retries are limited to a
//! share of the requests of the last ten seconds, plus a few per second for upstreams with little traffic (after the
//! `RetryBudget` of Finagle). A short failure is covered by the quiet time before it, a long one by no more than the
//! share.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use thread_local::ThreadLocal;

/// How much may be retried.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Share {
    /// This many percent of the requests.
    pub percent: u32,
    /// Plus this many per second, however few requests there are.
    pub min_per_second: u32,
}

impl Default for Share {
    fn default() -> Self {
        Share { percent: 20, min_per_second: 10 }
    }
}

/// The retry budget of one upstream, for all cores.
pub struct Budget {
    share: Share,
    /// Requests that could be retried; each core counts its own.
    requests: ThreadLocal<Requests>,
    account: Mutex<Account>,
}

#[derive(Default)]
#[repr(align(128))]
struct Requests(AtomicU64);

/// Used only when a request is about to be retried.
struct Account {
    balance: f64,
    at: Instant,
    /// Requests that are already included in the balance.
    counted: u64,
}

impl Budget {
    pub fn new(share: Share, now: Instant) -> Self {
        let balance = f64::from(share.min_per_second) * WINDOW.as_secs_f64();
        let account = Mutex::new(Account { balance, at: now, counted: 0 });
        Budget { share, requests: ThreadLocal::new(), account }
    }

    pub fn share(&self) -> Share {
        self.share
    }

    /// Counts a new request.
    pub fn count_request(&self) {
        let count = &self.requests.get_or_default().0;
        count.store(count.load(Relaxed).wrapping_add(1), Relaxed);
    }

    /// Whether one more retry is allowed now; if so, it is counted.
    pub fn withdraw(&self, now: Instant) -> bool {
        let requests = self.requests.iter().fold(0_u64, |sum, core| sum.wrapping_add(core.0.load(Relaxed)));
        let mut account = self.account.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = requests.saturating_sub(account.counted);
        account.settle(&self.share, now, fresh);
        account.counted = requests.max(account.counted);
        let granted = account.balance >= 1.0;
        if granted {
            account.balance -= 1.0;
        }
        granted
    }
}

impl Account {
    /// Updates the balance: what is older than the window fades, and new requests are added. If they came over a time
    /// longer than the window, only the part that fell into it counts, as if they had come evenly.
    fn settle(&mut self, share: &Share, now: Instant, fresh: u64) {
        let window = WINDOW.as_secs_f64();
        let elapsed = now.saturating_duration_since(self.at).as_secs_f64();
        let counts = if elapsed > window { window / elapsed } else { 1.0 };
        // More new requests than a u32 holds count as that many.
        let fresh = f64::from(u32::try_from(fresh).unwrap_or(u32::MAX)) * counts;
        let rate = f64::from(share.min_per_second);
        self.balance *= (1.0 - elapsed / window).max(0.0);
        self.balance += fresh * f64::from(share.percent) / 100.0 + rate * elapsed.min(window);
        self.at = now.max(self.at);
    }
}

const WINDOW: Duration = Duration::from_secs(10);
