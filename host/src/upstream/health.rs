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

/// The health of an endpoint, for all who have it.
pub struct SharedHealth {
    /// A [`State`]; written only with the lock held.
    state: AtomicU8,
    /// Failures since the last success.
    streak: AtomicU32,
    /// Attempts that failed in a way that counts.
    failures: AtomicU64,
    /// Attempts that say nothing of the endpoint: the client left, or no connection was free.
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

/// Probes of one endpoint so far.
#[derive(Clone, Debug, Default)]
pub struct ProbeCounts {
    pub passed: u64,
    pub failed: u64,
    /// What was wrong with the last one, if it failed.
    pub error: Option<Arc<str>>,
}

/// What an operator is shown of an endpoint.
#[derive(Clone, Debug)]
pub struct HealthReport {
    pub state: State,
    /// When it came to be in this state.
    pub since: SystemTime,
    /// Why.
    pub reason: Arc<str>,
    /// Ejections so far.
    pub ejections: u64,
    /// When the ejection that runs ends.
    pub ejected_until: Option<Instant>,
    /// Attempts that failed in a way that counts for ejection.
    pub counted_failures: u64,
    pub probes: ProbeCounts,
}

impl SharedHealth {
    /// Of an endpoint that nothing is known of.
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

    /// Whether requests go there.
    #[inline]
    pub fn is_available(&self) -> bool {
        self.state.load(Relaxed) == State::Healthy as u8
    }

    /// An attempt said nothing of the endpoint.
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

    /// Whether a probe has said anything yet.
    pub(super) fn is_probed(&self) -> bool {
        self.record().health.is_probed()
    }

    fn state(&self) -> State {
        [State::Healthy, State::Unhealthy, State::Ejected]
            .into_iter()
            .find(|state| *state as u8 == self.state.load(Relaxed))
            .unwrap_or_default()
    }

    /// In or out, for tests of what follows from it.
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

    /// Lets `step` change the health, and keeps what follows from it.
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

/// What requests tell. On the data cores.
impl Upstream {
    /// An endpoint answered a request.
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

    /// A request got no answer, for this reason.
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
        // Where it may not be ejected, it is not asked again for each single failure.
        if streak.is_multiple_of(self.settings.ejection.consecutive.max(1)) {
            let reason = match failure {
                Failure::Status(status) => format!("{streak} failures in a row, the last one {status}"),
                _ => format!("{streak} failures in a row, the last one {}", failure.describe()),
            };
            self.eject(endpoint, &reason);
        }
    }

    /// Ejects the endpoint, unless too many are.
    fn eject(&self, endpoint: &Endpoint, reason: &str) {
        let policy = &self.settings.ejection;
        // Two that fail at the same moment must not both be the last but one.
        let turn = self.ejections.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let members = self.members.held();
        if !policy.may_eject(members.taking_with(endpoint).map(|endpoint| endpoint.health().state())) {
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

/// What the control thread does.
impl Upstream {
    /// Looks after the health of its endpoints, until it is dropped. Also where there is nothing to do yet: a request
    /// that began before a reload may still eject an endpoint by the rules of that time.
    pub async fn look_after(self: Arc<Self>, probes: Probes) {
        match &self.settings.probing {
            Some(probing) => drop(tokio::join!(self.keep_ejections(), self.keep_probing(probing, &probes))),
            None => self.keep_ejections().await,
        }
    }

    /// Puts the health of endpoints that came from an older snapshot in accord with these settings: nothing stays out
    /// because of probes or an ejection that are not configured any more.
    pub fn settle(&self) {
        let (probed, ejects) = (self.settings.probing.is_some(), !self.settings.ejection.on.is_empty());
        for endpoint in self.endpoints() {
            let reason = "no longer configured";
            let change = endpoint.health().change(reason, |record| record.health.adopt(probed, ejects));
            self.tell(&endpoint, change, reason);
        }
    }

    /// Ends the ejections whose time is over, whenever it is, and looks for outliers. Runs until it is dropped.
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

    /// Takes back those whose time is over. The answer is when the next one's is.
    fn return_due(&self, now: Instant) -> Option<Instant> {
        let mut next = None;
        for endpoint in self.endpoints() {
            let health = endpoint.health();
            let reason = "the ejection is over";
            let change = health.change(reason, |record| record.health.tick(now));
            if change.is_some_and(|change| change.from == State::Ejected) {
                // On probation: the first failure ejects it again, a success makes it like the others.
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

    /// What each endpoint did since the last time.
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

    /// A probe of an endpoint is over; the error is what an operator reads.
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
        // A budget for each endpoint: one that flaps must not hide what becomes of the others.
        telemetry::log_as(&format!("health {upstream} {address}"), level, "an endpoint's health changed", fields);
    }
}

/// The runtime's clock, which tests can hold.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// The ejections of an upstream; one for all snapshots that have it.
#[derive(Default)]
pub(super) struct Ejections {
    /// Held while an endpoint is being ejected.
    turn: Mutex<()>,
    /// Told when one was.
    begun: Notify,
}

/// What endpoints, by identity, had counted when they were last looked at.
pub(super) type Counts = HashMap<usize, Counted>;

/// What was counted of an endpoint: its requests since it is there with this transport, and what its health has from
/// before as well. So only what came since the last look can be put together.
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
        // What is under way says nothing yet, and what is excused never will.
        let silent = self.in_flight.saturating_add(self.excused.saturating_sub(before.excused));
        Sample { requests: over.saturating_sub(silent), failures: self.failures.saturating_sub(before.failures) }
    }
}

/// What a reason says of the endpoint, if it says anything.
fn failure(reason: &Reason) -> Option<Failure> {
    match reason {
        Reason::Connect(error) if is_our_own(error) => None,
        Reason::Connect(_) | Reason::Handshake(_) | Reason::ConnectTimeout(_) => Some(Failure::Connect),
        Reason::Closed(_) | Reason::BadResponse(_) => Some(Failure::Reset),
        Reason::ResponseTimeout(_) | Reason::AttemptTimeout(_) | Reason::RequestTimeout(_) => Some(Failure::Timeout),
        // Of the client, of the request, of our limits.
        _ => None,
    }
}

/// Whether this machine, not the endpoint, is in the way: ports, file descriptors or memory have run out.
fn is_our_own(error: &io::Error) -> bool {
    const EXHAUSTED: [Errno; 5] = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM, Errno::ADDRNOTAVAIL];
    error.raw_os_error().is_some_and(|code| EXHAUSTED.contains(&Errno::from_raw_os_error(code)))
}
