//! The connections of one endpoint that one core may use: pure bookkeeping, no socket and no clock.
//!
//! HTTP/1.1 connections are taken out for a request and put back after it; the last one put back is taken first, so that
//! the others can grow old and go. HTTP/2 connections stay and are shared. A dead connection is noticed when it would be
//! taken, or by the sweep. Each core has its own pool, so that taking and putting back need no lock and wake nobody.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::connection::{Http2, Lease, Shared};
use super::http1;
use super::progress::Progress;
use super::settings::{Protocol, Transport};

/// One core's connections to an endpoint. See the module.
pub(super) struct Pool {
    /// The endpoint's address; this core's own copy, so that its reference count is not shared between cores.
    pub(super) address: Arc<str>,
    idle: Vec<Idle>,
    shared: Vec<Shared>,
    /// Requests and connections that the sweep checks.
    watched: Vec<Weak<Progress>>,
    /// Notified when a connection, or a slot on one, may be free.
    pub(super) available: Arc<Notify>,
    /// Requests on this core that wait for a connection.
    pub(super) waiting: usize,
    /// An HTTP/2 connection is being opened, and other requests on this core wait for it.
    pub(super) opening: bool,
    /// The sweep of this core is running.
    pub(super) sweeping: bool,
}

/// An unused HTTP/1.1 connection, and for how many sweeps it has been unused.
struct Idle {
    connection: Box<http1::Connection>,
    sweeps: u32,
}

impl Pool {
    pub(super) fn new(address: &str) -> Self {
        Pool {
            address: address.into(),
            idle: Vec::new(),
            shared: Vec::new(),
            watched: Vec::new(),
            available: Arc::default(),
            waiting: 0,
            opening: false,
            sweeping: false,
        }
    }

    /// A connection that can take a request now, if there is one.
    pub(super) fn take(&mut self, transport: &Transport) -> Option<Lease> {
        match transport.protocol {
            Protocol::Http1 => {
                while let Some(mut idle) = self.idle.pop() {
                    if idle.connection.is_open() {
                        return Some(Lease::Http1(idle.connection));
                    }
                }
                None
            }
            Protocol::Http2 => {
                self.shared.retain(|shared| !shared.is_closed());
                let place = self.shared.iter_mut().find_map(|shared| shared.place(transport.max_streams));
                place.map(Lease::Http2)
            }
        }
    }

    /// Keeps an HTTP/1.1 connection for the next request.
    pub(super) fn put(&mut self, connection: Box<http1::Connection>) {
        self.idle.push(Idle { connection, sweeps: 0 });
        if self.waiting > 0 {
            self.available.notify_one();
        }
    }

    /// Adds a new HTTP/2 connection and takes the first slot on it.
    pub(super) fn share(&mut self, shared: Shared) -> Http2 {
        let place = shared.first_place();
        self.shared.push(shared);
        place
    }

    /// Registers this one with the sweep until it is dropped.
    pub(super) fn watch(&mut self, progress: &Arc<Progress>) {
        if self.watched.len() == self.watched.capacity() {
            self.watched.retain(|progress| progress.strong_count() > 0);
        }
        self.watched.push(Arc::downgrade(progress));
    }

    /// One sweep: gives up overdue responses and closes connections that were unused or open for too long. With
    /// `spare`, unused connections are closed at once, because another core waits for their permits. Returns whether
    /// another sweep is needed.
    pub(super) fn sweep(&mut self, now: Instant, sweeps: &Sweeps, spare: bool) -> bool {
        let old = |opened: Instant| now.saturating_duration_since(opened) > sweeps.max_age;
        self.watched.retain(|progress| {
            let Some(progress) = progress.upgrade() else {
                return false;
            };
            if old(progress.opened) {
                progress.retire();
            }
            progress.sweep(sweeps.response, sweeps.body);
            true
        });
        self.idle.retain_mut(|idle| {
            idle.sweeps = idle.sweeps.saturating_add(1);
            !spare
                && idle.sweeps <= sweeps.idle
                && !idle.connection.progress().is_retired()
                && idle.connection.is_open()
        });
        self.shared.retain_mut(|shared| {
            if old(shared.opened()) {
                shared.retire();
            }
            !shared.is_closed() && shared.sweep(sweeps.idle, spare)
        });
        !(self.watched.is_empty() && self.idle.is_empty() && self.shared.is_empty())
    }

    /// Number of unused HTTP/1.1 connections.
    pub(super) fn idle(&self) -> usize {
        self.idle.len()
    }

    /// Drops unused connections that were closed; returns how many are left.
    #[cfg(test)]
    pub(super) fn drop_closed(&mut self) -> usize {
        self.idle.retain_mut(|idle| idle.connection.is_open());
        self.idle.len()
    }

    #[cfg(test)]
    pub(super) fn shared(&self) -> usize {
        self.shared.len()
    }
}

/// Timeouts as numbers of sweeps, so that requests need not read the clock.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Sweeps {
    pub(super) period: Duration,
    response: u32,
    body: u32,
    idle: u32,
    max_age: Duration,
}

impl Sweeps {
    pub(super) fn new(transport: &Transport) -> Self {
        let shortest = transport.response_timeout.min(transport.body_timeout).min(transport.idle_timeout);
        let period = (shortest / 16).clamp(Duration::from_millis(10), Duration::from_secs(1));
        let count = |time: Duration| u32::try_from(time.as_nanos().div_ceil(period.as_nanos())).unwrap_or(u32::MAX);
        Sweeps {
            period,
            response: count(transport.response_timeout),
            body: count(transport.body_timeout),
            idle: count(transport.idle_timeout),
            max_age: transport.max_age,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rounded_up_to_sweeps() {
        let sweeps = |response, idle| {
            let transport = Transport {
                response_timeout: Duration::from_millis(response),
                idle_timeout: Duration::from_millis(idle),
                ..Transport::default()
            };
            let sweeps = Sweeps::new(&transport);
            (sweeps.period.as_millis(), sweeps.response, sweeps.idle)
        };
        assert_eq!(sweeps(30_000, 50_000), (1000, 30, 50));
        assert_eq!(sweeps(1600, 50_000), (100, 16, 500));
        assert_eq!(sweeps(45, 50_000), (10, 5, 5000));
    }
}
