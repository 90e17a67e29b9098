//! One server of an upstream: its connections on every core, their limits, and its counters.
//!
//! An endpoint outlives the upstream that created it: a reload hands it on to the next one, if its address and
//! transport are the same. It ends with the last snapshot and the last exchange that refer to it, and its connections
//! with it.

use std::borrow::Borrow;
use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use thread_local::ThreadLocal;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep_until};

use super::connect;
use super::connection::{Lease, Streams};
use super::error::Reason;
use super::health::SharedHealth;
use super::http1;
use super::members::now;
use super::pool::{Pool, Sweeps};
use super::progress::Progress;
use super::settings::{Address, Protocol, Transport};

/// One server of an upstream. See the module.
pub struct Endpoint {
    address: Address,
    transport: Transport,
    health: Arc<SharedHealth>,
    sweeps: Sweeps,
    /// When the slow start began, in milliseconds of [`now`], plus one; 0 if none is in progress.
    slow_start: AtomicU64,
    /// One permit for each connection that may still be opened.
    slots: Arc<Semaphore>,
    /// Requests on all cores that wait for a connection.
    waiting: AtomicUsize,
    pools: ThreadLocal<RefCell<Pool>>,
    counters: ThreadLocal<Counters>,
}

/// Counters and gauges of an endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Requests that wait for a connection or a response, or whose response is still arriving.
    pub in_flight: usize,
    /// Connections that are open or being made.
    pub connections: usize,
    /// Requests that wait because all connections are taken.
    pub pending: usize,
    /// Attempts to send a request.
    pub requests: u64,
    /// Attempts that ended without a response, where the client is not to blame.
    pub failures: u64,
    /// Connections made.
    pub connects: u64,
    /// Connections that could not be made.
    pub connect_failures: u64,
}

/// Where a request gets its connection from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// A pooled connection if there is one.
    Any,
    /// A new connection.
    Fresh,
}

impl Endpoint {
    pub(super) fn new(address: Address, transport: Transport, health: Arc<SharedHealth>) -> Arc<Self> {
        let connections = transport.max_connections.clamp(1, Semaphore::MAX_PERMITS);
        Arc::new(Endpoint {
            sweeps: Sweeps::new(&transport),
            slow_start: AtomicU64::new(0),
            slots: Arc::new(Semaphore::new(connections)),
            address,
            transport,
            health,
            waiting: AtomicUsize::new(0),
            pools: ThreadLocal::new(),
            counters: ThreadLocal::new(),
        })
    }

    pub fn address(&self) -> &Address {
        &self.address
    }

    pub fn transport(&self) -> &Transport {
        &self.transport
    }

    /// Whether it takes requests: its probes pass, and it is not ejected.
    #[inline]
    pub fn is_available(&self) -> bool {
        self.health.is_available()
    }

    /// The endpoint's health. It outlives the endpoint when a reload changes only the transport.
    pub fn health(&self) -> &Arc<SharedHealth> {
        &self.health
    }

    /// Starts the slow start.
    pub(super) fn begin_slow_start(&self) {
        let since = u64::try_from(now().as_millis()).unwrap_or(u64::MAX).saturating_add(1);
        self.slow_start.store(since, Relaxed);
    }

    /// How long the slow start has been in progress; `None` once that reaches `slow_start`.
    pub(super) fn slow_start_age(&self, slow_start: Duration) -> Option<Duration> {
        let since = self.slow_start.load(Relaxed).checked_sub(1)?;
        let age = now().saturating_sub(Duration::from_millis(since));
        if age >= slow_start {
            // From now on the clock need not be read.
            self.slow_start.store(0, Relaxed);
            return None;
        }
        Some(age)
    }

    /// Requests on all cores that wait for a connection or a response, or whose response is still arriving.
    pub fn in_flight(&self) -> usize {
        // A request that ends on another thread than it began on leaves one core's count below zero; the sum is right.
        self.counters.iter().fold(0, |sum, core| core.in_flight.load(Relaxed).wrapping_add(sum))
    }

    /// All counters.
    pub fn stats(&self) -> Stats {
        let allowed = self.transport.max_connections.clamp(1, Semaphore::MAX_PERMITS);
        let mut stats = Stats {
            in_flight: self.in_flight(),
            connections: allowed.saturating_sub(self.slots.available_permits()),
            pending: self.waiting.load(Relaxed),
            ..Stats::default()
        };
        for core in &self.counters {
            stats.requests += core.requests.load(Relaxed);
            stats.failures += core.failures.load(Relaxed);
            stats.connects += core.connects.load(Relaxed);
            stats.connect_failures += core.connect_failures.load(Relaxed);
        }
        stats
    }

    /// The address, from this core's own reference count.
    pub(super) fn address_text(&self) -> Arc<str> {
        Arc::clone(&self.pool().borrow().address)
    }

    /// A connection for one request; if a new one was made, also how long that took.
    pub(super) async fn lease(self: &Arc<Self>, source: Source) -> Result<(Lease, Option<Duration>), Reason> {
        if source == Source::Any
            && let Some(lease) = self.take()
        {
            return Ok((lease, None));
        }
        // Boxed because it is rarely needed and would enlarge the future of every request.
        let leased = Box::pin(self.wait_or_open(source)).await;
        let counters = self.counters();
        match &leased {
            Ok((_, Some(_))) => add(&counters.connects, 1),
            Err(Reason::Connect(_) | Reason::Handshake(_) | Reason::ConnectTimeout(_)) => {
                add(&counters.connect_failures, 1)
            }
            _ => {}
        }
        leased
    }

    fn take(&self) -> Option<Lease> {
        self.pool().borrow_mut().take(&self.transport)
    }

    async fn wait_or_open(self: &Arc<Self>, source: Source) -> Result<(Lease, Option<Duration>), Reason> {
        let deadline = Instant::now() + self.transport.connect_timeout;
        let mut queued = None;
        loop {
            if source == Source::Any
                && let Some(lease) = self.take()
            {
                return Ok((lease, None));
            }
            let opening = self.begin_opening();
            if opening.is_some()
                && let Ok(slot) = Arc::clone(&self.slots).try_acquire_owned()
            {
                return self.open(slot, deadline).await;
            }
            if source == Source::Fresh {
                // A pooled connection may hold the slot that the new one needs.
                drop(self.take());
            }
            if queued.is_none() {
                queued = Some(Queued::join(self).ok_or(Reason::Overloaded)?);
            }
            let available = Arc::clone(&self.pool().borrow().available);
            tokio::select! {
                () = available.notified() => {}
                slot = Arc::clone(&self.slots).acquire_owned(), if opening.is_some() => {
                    // The semaphore is never closed.
                    let slot = slot.map_err(|_| Reason::Overloaded)?;
                    drop(queued);
                    return self.open(slot, deadline).await;
                }
                () = sleep_until(deadline) => {
                    return Err(match opening {
                        Some(_) => Reason::Overloaded,
                        None => Reason::ConnectTimeout(self.transport.connect_timeout),
                    });
                }
            }
        }
    }

    /// Starts making a connection. A burst of requests may open many HTTP/1.1 connections, but only one for HTTP/2:
    /// `None` while another request on this core is opening it.
    fn begin_opening(self: &Arc<Self>) -> Option<Opening<'_>> {
        let shared = self.transport.protocol == Protocol::Http2;
        if shared && std::mem::replace(&mut self.pool().borrow_mut().opening, true) {
            return None;
        }
        Some(Opening { endpoint: self, shared })
    }

    async fn open(
        self: &Arc<Self>,
        slot: OwnedSemaphorePermit,
        deadline: Instant,
    ) -> Result<(Lease, Option<Duration>), Reason> {
        let started = Instant::now();
        let socket = connect::open(&self.address, &self.transport, deadline).await?;
        let lease = match self.transport.protocol {
            Protocol::Http1 => {
                let progress = Arc::new(Progress::new());
                self.watch(&progress);
                Lease::Http1(http1::Connection::new(socket, progress, slot))
            }
            Protocol::Http2 => {
                let streams = Arc::new(Streams::new(Arc::clone(&self.pool().borrow().available)));
                let shared = connect::http2(socket, &self.transport, slot, streams).await.map_err(Reason::Connect)?;
                self.sweep_from_now_on();
                Lease::Http2(self.pool().borrow_mut().share(shared))
            }
        };
        Ok((lease, Some(started.elapsed())))
    }

    /// Returns a connection to the pool, unless the pool is full or a request on another core waits for the slot.
    pub(super) fn put(&self, connection: Box<http1::Connection>) {
        let mut pool = self.pool().borrow_mut();
        let wanted_elsewhere = pool.waiting == 0 && self.waiting.load(Relaxed) > 0;
        if !wanted_elsewhere && pool.idle() < self.transport.max_idle {
            pool.put(connection);
        }
    }

    /// Registers a request, or a connection, with the sweep.
    pub(super) fn watch(self: &Arc<Self>, progress: &Arc<Progress>) {
        self.pool().borrow_mut().watch(progress);
        self.sweep_from_now_on();
    }

    /// Starts this core's sweep unless it is running: one task for all connections and responses of the endpoint, which
    /// ends when none are left, or with the endpoint.
    fn sweep_from_now_on(self: &Arc<Self>) {
        if std::mem::replace(&mut self.pool().borrow_mut().sweeping, true) {
            return;
        }
        let period = self.sweeps.period;
        let endpoint = Arc::downgrade(self);
        tokio::spawn(async move {
            let mut ticks = interval_at(Instant::now() + period, period);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                let now = ticks.tick().await;
                let Some(endpoint) = endpoint.upgrade() else { return };
                let mut pool = endpoint.pool().borrow_mut();
                let spare = pool.waiting == 0 && endpoint.waiting.load(Relaxed) > 0;
                pool.sweeping = pool.sweep(now, &endpoint.sweeps, spare);
                if !pool.sweeping {
                    return;
                }
            }
        });
    }

    /// A permit for one more connection, if there is one.
    pub(super) fn try_slot(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.slots).try_acquire_owned().ok()
    }

    pub(super) fn count_connect(&self, is_made: bool) {
        let counters = self.counters();
        add(if is_made { &counters.connects } else { &counters.connect_failures }, 1);
    }

    pub(super) fn count_failure(&self) {
        add(&self.counters().failures, 1);
    }

    pub(super) fn pool(&self) -> &RefCell<Pool> {
        self.pools.get_or(|| RefCell::new(Pool::new(self.address.as_str())))
    }

    fn counters(&self) -> &Counters {
        self.counters.get_or_default()
    }
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Endpoint").field("address", &self.address.as_str()).finish_non_exhaustive()
    }
}

/// The counters of one core. Only that core writes them, so a load and a store suffice; each has its own cache line.
#[derive(Default)]
#[repr(align(128))]
struct Counters {
    in_flight: AtomicUsize,
    requests: AtomicU64,
    failures: AtomicU64,
    connects: AtomicU64,
    connect_failures: AtomicU64,
}

fn add(counter: &AtomicU64, count: u64) {
    counter.store(counter.load(Relaxed).wrapping_add(count), Relaxed);
}

/// Counts a request as in flight until dropped. Borrows the endpoint while the request is being sent, and owns it in a
/// response body that outlives that borrow.
pub(super) struct InFlight<E: Borrow<Arc<Endpoint>>>(E);

impl<E: Borrow<Arc<Endpoint>>> InFlight<E> {
    fn count(endpoint: E) -> Self {
        let in_flight = &endpoint.borrow().counters().in_flight;
        in_flight.store(in_flight.load(Relaxed).wrapping_add(1), Relaxed);
        InFlight(endpoint)
    }

    pub(super) fn endpoint(&self) -> &Arc<Endpoint> {
        self.0.borrow()
    }
}

impl<'a> InFlight<&'a Arc<Endpoint>> {
    /// Counts a new request.
    pub(super) fn begin(endpoint: &'a Arc<Endpoint>) -> Self {
        add(&endpoint.counters().requests, 1);
        Self::count(endpoint)
    }

    /// The same, with ownership of the endpoint.
    pub(super) fn keep(self) -> InFlight<Arc<Endpoint>> {
        InFlight::count(Arc::clone(self.0))
    }
}

impl<E: Borrow<Arc<Endpoint>>> Drop for InFlight<E> {
    fn drop(&mut self) {
        let in_flight = &self.0.borrow().counters().in_flight;
        in_flight.store(in_flight.load(Relaxed).wrapping_sub(1), Relaxed);
    }
}

/// Counts a request as waiting for a connection until dropped.
struct Queued<'a>(&'a Endpoint);

impl<'a> Queued<'a> {
    /// `None` if too many requests are waiting.
    fn join(endpoint: &'a Endpoint) -> Option<Self> {
        let limit = endpoint.transport.max_pending;
        let join = |waiting: usize| (waiting < limit).then_some(waiting.saturating_add(1));
        endpoint.waiting.try_update(Relaxed, Relaxed, join).ok()?;
        endpoint.pool().borrow_mut().waiting += 1;
        Some(Queued(endpoint))
    }
}

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Relaxed);
        let mut pool = self.0.pool().borrow_mut();
        pool.waiting = pool.waiting.saturating_sub(1);
    }
}

/// The exclusive right to make a connection. Requests that wait for it try again when it is dropped.
struct Opening<'a> {
    endpoint: &'a Endpoint,
    shared: bool,
}

impl Drop for Opening<'_> {
    fn drop(&mut self) {
        if self.shared {
            let mut pool = self.endpoint.pool().borrow_mut();
            pool.opening = false;
            pool.available.notify_waiters();
        }
    }
}
