//! The health of endpoints under traffic: what a pick reads, how a response or a failure counts, and what follows.
//!
//! All cores and all snapshots that have an endpoint share its [`SharedHealth`]. A pick is one relaxed load; a response
//! is another, and writes only after a failure. Failures count on shared atomics, and only one that completes a run takes
//! the lock, on whatever core it happens: waiting for another thread would send more requests into the fault. The end
//! of an ejection and the results of probes come from the control thread.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime};

use http::StatusCode;
use rustix::io::Errno;
use tokio::sync::Notify;

use super::endpoint::Endpoint;
use super::error::Reason;
use super::probing::Probes;
use super::{Settings, Upstream};
use crate::health::{Change, Failure, Health, Sample, State, Thresholds};
use crate::telemetry::{self, Level};

/// The health of an endpoint, shared by everything that uses it.
pub struct SharedHealth {
    /// A [`State`]; written only with the lock held.
    state: AtomicU8,
    /// Failures since the last success.
    streak: AtomicU32,
    /// Attempts whose failure counts for ejection.
    failures: AtomicU64,
    /// Attempts that say nothing about the endpoint: the client left, or no connection was free.
    excused: AtomicU64,
    record: Mutex<Record>,
}

struct Record {
    health: Health,
    /// When the state last changed, and why.
    since: SystemTime,
    reason: Arc<str>,
    ejections: u64,
    probes: ProbeCounts,
}

/// Counts of the probes of one endpoint.
#[derive(Clone, Debug, Default)]
pub struct ProbeCounts {
    pub passed: u64,
    pub failed: u64,
    /// The error of the last probe, if it failed.
    pub error: Option<Arc<str>>,
}

/// The health of an endpoint as shown to an operator.
#[derive(Clone, Debug)]
pub struct HealthReport {
    pub state: State,
    /// When this state began.
    pub since: SystemTime,
    /// Why it is in this state.
    pub reason: Arc<str>,
    /// Number of ejections so far.
    pub ejections: u64,
    /// When the current ejection ends.
    pub ejected_until: Option<Instant>,
    /// Attempts whose failure counts for ejection.
    pub counted_failures: u64,
    pub probes: ProbeCounts,
}

impl SharedHealth {
    /// The health of an endpoint of which nothing is known yet.
    pub(super) fn new(settings: &Settings) -> Arc<SharedHealth> {
        let healthy = settings.probing.as_ref().is_none_or(|probing| probing.starts_healthy);
        let health = Health::new(healthy);
        Arc::new(SharedHealth {
            state: AtomicU8::new(health.state() as u8),
            streak: AtomicU32::new(0),
            failures: AtomicU64::new(0),
            excused: AtomicU64::new(0),
            record: Mutex::new(Record {
                health,
                since: SystemTime::now(),
                reason: if healthy { "configured" } else { "configured, not probed yet" }.into(),
                ejections: 0,
                probes: ProbeCounts::default(),
            }),
        })
    }

    /// Whether it takes requests.
    #[inline]
    pub fn is_available(&self) -> bool {
        self.state.load(Relaxed) == State::Healthy as u8
    }

    /// Counts an attempt that says nothing about the endpoint.
    pub(super) fn excuse(&self) {
        self.excused.fetch_add(1, Relaxed);
    }

    /// All that is known.
    pub fn report(&self) -> HealthReport {
        let record = self.record();
        HealthReport {
            state: record.health.state(),
            since: record.since,
            reason: Arc::clone(&record.reason),
            ejections: record.ejections,
            ejected_until: record.health.ejected_until(),
            counted_failures: self.failures.load(Relaxed),
            probes: record.probes.clone(),
        }
    }

    /// Whether a probe has ended yet.
    pub(super) fn is_probed(&self) -> bool {
        self.record().health.is_probed()
    }

    fn state(&self) -> State {
        [State::Healthy, State::Unhealthy, State::Ejected]
            .into_iter()
            .find(|state| *state as u8 == self.state.load(Relaxed))
            .unwrap_or_default()
    }

    /// Forces a state, in tests of its consequences.
    #[cfg(test)]
    pub(super) fn force(&self, state: State) {
        self.state.store(state as u8, Relaxed);
    }

    #[inline]
    fn succeeded(&self) {
        if self.streak.load(Relaxed) != 0 {
            self.streak.store(0, Relaxed);
        }
    }

    /// Lets `step` change the health, and publishes the result.
    fn change(&self, reason: &str, step: impl FnOnce(&mut Record) -> Option<Change>) -> Option<Change> {
        let mut record = self.record();
        let change = step(&mut record)?;
        record.since = SystemTime::now();
        record.reason = reason.into();
        self.state.store(change.to as u8, Relaxed);
        Some(change)
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What requests report, on the data cores.
impl Upstream {
    /// The endpoint answered a request.
    #[inline]
    pub(super) fn answered(&self, endpoint: &Endpoint, status: StatusCode) {
        let policy = &self.settings.ejection;
        if policy.on.is_empty() {
            return;
        }
        if status.is_server_error() && policy.counts(Failure::Status(status.as_u16())) {
            return self.count(endpoint, Failure::Status(status.as_u16()));
        }
        endpoint.health().succeeded();
    }

    /// A request got no response, for this reason.
    #[cold]
    pub(super) fn unanswered(&self, endpoint: &Endpoint, reason: &Reason) {
        match failure(reason) {
            Some(failure) if self.settings.ejection.counts(failure) => self.count(endpoint, failure),
            Some(_) => {}
            None => endpoint.health().excuse(),
        }
    }

    #[cold]
    fn count(&self, endpoint: &Endpoint, failure: Failure) {
        let health = endpoint.health();
        health.failures.fetch_add(1, Relaxed);
        let streak = health.streak.fetch_add(1, Relaxed).saturating_add(1);
        // If the endpoint may not be ejected, this is not tried again for each further failure.
        if streak.is_multiple_of(self.settings.ejection.consecutive.max(1)) {
            let reason = match failure {
                Failure::Status(status) => format!("{streak} failures in a row, the last one {status}"),
                _ => format!("{streak} failures in a row, the last one {}", failure.describe()),
            };
            self.eject(endpoint, &reason);
        }
    }

    /// Ejects the endpoint, unless too many are ejected already.
    fn eject(&self, endpoint: &Endpoint, reason: &str) {
        let policy = &self.settings.ejection;
        // Two endpoints that fail at the same moment must not both take the last ejection that is allowed.
        let turn = self.ejections.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let members = self.members.held();
        let states = members.taking_with(endpoint).map(|(group, endpoint)| (group, endpoint.health().state()));
        if !policy.may_eject(members.group_of(endpoint), states) {
            return;
        }
        let change = endpoint.health().change(reason, |record| {
            let before = record.health.ejected_until();
            let change = record.health.eject(now(), policy);
            record.ejections += u64::from(before != record.health.ejected_until());
            change
        });
        drop(turn);
        self.tell(endpoint, change, reason);
        self.ejections.begun.notify_one();
    }
}

/// What runs on the control thread.
impl Upstream {
    /// Maintains the health of the endpoints until dropped. It also runs while there is nothing to do: a request that
    /// began before a reload may still eject an endpoint by the rules of that time.
    pub async fn look_after(self: Arc<Self>, probes: Probes) {
        match &self.settings.probing {
            Some(probing) => drop(tokio::join!(self.keep_ejections(), self.keep_probing(probing, &probes))),
            None => self.keep_ejections().await,
        }
    }

    /// Reconciles the health of endpoints taken over from an older snapshot with these settings: no endpoint stays out
    /// because of probes or an ejection that are no longer configured.
    pub fn settle(&self) {
        let (probed, ejects) = (self.settings.probing.is_some(), !self.settings.ejection.on.is_empty());
        for endpoint in self.endpoints() {
            let reason = "no longer configured";
            let change = endpoint.health().change(reason, |record| record.health.adopt(probed, ejects));
            self.tell(&endpoint, change, reason);
        }
    }

    /// Ends ejections when their time is over, and looks for outliers. Runs until dropped.
    async fn keep_ejections(&self) {
        let window = self.settings.ejection.success_rate.map(|policy| policy.window);
        let mut counts = Counts::default();
        let mut next_look = window.map(|window| now() + window);
        if window.is_some() {
            self.take_samples(&mut counts);
        }
        loop {
            if self.settings.ejection.on.is_empty() {
                self.settle();
            }
            let next = self.return_due(now()).into_iter().chain(next_look).min();
            match next {
                None => self.ejections.begun.notified().await,
                Some(next) => drop(tokio::time::timeout_at(next.into(), self.ejections.begun.notified()).await),
            }
            if let (Some(window), Some(look)) = (window, next_look)
                && look <= now()
            {
                self.eject_outliers(&mut counts);
                next_look = Some(now() + window);
            }
        }
    }

    /// Ends the ejections whose time is over. Returns when the next one ends.
    fn return_due(&self, now: Instant) -> Option<Instant> {
        let mut next = None;
        for endpoint in self.endpoints() {
            let health = endpoint.health();
            let reason = "the ejection is over";
            let change = health.change(reason, |record| record.health.tick(now));
            if change.is_some_and(|change| change.from == State::Ejected) {
                // On probation: the first failure ejects it again, a success clears the streak.
                health.streak.store(self.settings.ejection.consecutive.saturating_sub(1), Relaxed);
            }
            self.tell(&endpoint, change, reason);
            next = next.into_iter().chain(health.record().health.ejected_until()).min();
        }
        next
    }

    fn eject_outliers(&self, counts: &mut Counts) {
        let Some(policy) = &self.settings.ejection.success_rate else { return };
        let (endpoints, samples) = self.take_samples(counts);
        for outlier in policy.outliers(&samples) {
            if let Some(endpoint) = endpoints.get(outlier.endpoint) {
                let (rate, others) = (outlier.rate, outlier.others);
                self.eject(endpoint, &format!("{rate:.0} % of its requests succeeded, {others:.0} % of the others'"));
            }
        }
    }

    /// What each endpoint did since the last samples.
    pub(super) fn take_samples(&self, counts: &mut Counts) -> (Vec<Arc<Endpoint>>, Vec<Sample>) {
        let endpoints = self.endpoints();
        let sample = |endpoint: &Arc<Endpoint>| {
            let (health, stats) = (endpoint.health(), endpoint.stats());
            let now = Counted {
                requests: stats.requests,
                in_flight: stats.in_flight as u64,
                excused: health.excused.load(Relaxed),
                failures: health.failures.load(Relaxed),
            };
            now.since(counts.insert(Arc::as_ptr(endpoint) as usize, now).unwrap_or(now))
        };
        let samples = endpoints.iter().map(sample).collect();
        counts.retain(|known, _| endpoints.iter().any(|endpoint| Arc::as_ptr(endpoint) as usize == *known));
        (endpoints, samples)
    }

    /// A probe of an endpoint has ended; the error is for the operator.
    pub(super) fn probed(&self, endpoint: &Endpoint, result: Result<(), String>, thresholds: Thresholds) {
        let passed = result.is_ok();
        let error: Option<Arc<str>> = result.err().map(Into::into);
        let reason = error.as_deref().unwrap_or("its probes pass");
        let change = endpoint.health().change(reason, |record| {
            *(if passed { &mut record.probes.passed } else { &mut record.probes.failed }) += 1;
            record.probes.error.clone_from(&error);
            record.health.probed(passed, thresholds)
        });
        if change.is_some_and(|change| change.to == State::Healthy) {
            endpoint.health().streak.store(0, Relaxed);
        }
        self.tell(endpoint, change, reason);
    }

    fn tell(&self, endpoint: &Endpoint, change: Option<Change>, reason: &str) {
        let Some(Change { from, to }) = change else { return };
        if to.is_available() {
            endpoint.begin_slow_start();
        }
        let (upstream, address) = (self.name(), endpoint.address());
        let level = if to.is_available() { Level::Info } else { Level::Warn };
        let (from, to) = (from.name(), to.name());
        let fields: telemetry::Fields<'_> =
            &[("upstream", upstream), ("endpoint", address), ("from", &from), ("to", &to), ("reason", &reason)];
        // A log budget for each endpoint: one that flaps must not hide changes of the others.
        telemetry::log_as(&format!("health {upstream} {address}"), level, "an endpoint's health changed", fields);
    }
}

/// The runtime's clock, which tests can pause.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// The ejections of an upstream, shared by all snapshots that have it.
#[derive(Default)]
pub(super) struct Ejections {
    /// Held while an endpoint is being ejected.
    turn: Mutex<()>,
    /// Notified after an ejection.
    begun: Notify,
}

/// The counts of each endpoint, by identity, at the last samples.
pub(super) type Counts = HashMap<usize, Counted>;

/// Counters of an endpoint: its requests since it exists with this transport, while excuses and failures are those of
/// its health and go back further. Only differences between two samples can be combined.
#[derive(Clone, Copy)]
pub(super) struct Counted {
    requests: u64,
    in_flight: u64,
    excused: u64,
    failures: u64,
}

impl Counted {
    fn since(self, before: Counted) -> Sample {
        let over = self.requests.saturating_sub(before.requests).saturating_add(before.in_flight);
        // Requests in flight say nothing yet, and excused ones never will.
        let silent = self.in_flight.saturating_add(self.excused.saturating_sub(before.excused));
        Sample { requests: over.saturating_sub(silent), failures: self.failures.saturating_sub(before.failures) }
    }
}

/// The failure that a reason counts as; `None` if it says nothing about the endpoint.
fn failure(reason: &Reason) -> Option<Failure> {
    match reason {
        Reason::Connect(error) if is_our_own(error) => None,
        Reason::Connect(_) | Reason::Handshake(_) | Reason::ConnectTimeout(_) => Some(Failure::Connect),
        Reason::Closed(_) | Reason::BadResponse(_) => Some(Failure::Reset),
        Reason::ResponseTimeout(_) | Reason::AttemptTimeout(_) | Reason::RequestTimeout(_) => Some(Failure::Timeout),
        // The fault of the client, of the request or of our own limits.
        _ => None,
    }
}

/// Whether this machine, not the endpoint, is at fault: it has run out of ports, file descriptors or memory.
fn is_our_own(error: &io::Error) -> bool {
    const EXHAUSTED: [Errno; 5] = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM, Errno::ADDRNOTAVAIL];
    error.raw_os_error().is_some_and(|code| EXHAUSTED.contains(&Errno::from_raw_os_error(code)))
}
