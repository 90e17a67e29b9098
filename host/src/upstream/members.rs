//! The endpoints of an upstream at one point in time, and the pick among them.
//!
//! A set of members never changes: discovery creates a new one, which takes over the endpoints that stay. A request
//! holds on to the set it began with, so that a position always means the same endpoint.
//!
//! A pick goes from strict to lenient: an endpoint that is available and was not tried, then one that was tried, then,
//! if the settings allow it, any. Within each, the client's sticky endpoint comes first, then the active priority
//! group, then slow start, and then the balancing itself.

use std::cell::RefCell;
use std::ops::Deref;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use thread_local::ThreadLocal;

use super::affinity::{Ask, Tag, find_tag};
use super::endpoint::Endpoint;
use super::health::SharedHealth;
use super::settings::{NoneAvailable, Server, Settings};
use crate::balance::{self, Balancer, Priorities, Ring};

/// The endpoints of an upstream. See the module.
pub(super) struct Members {
    endpoints: Vec<Arc<Endpoint>>,
    weights: Vec<u32>,
    priorities: Option<Priorities>,
    /// Only with consistent hashing.
    ring: Option<Ring>,
    /// The tag of each endpoint for sticky cookies; empty without them.
    tags: Vec<Tag>,
    balancers: ThreadLocal<RefCell<Balancer>>,
}

/// Positions of endpoints that a request was already sent to. Allocates nothing while empty.
#[derive(Clone, Debug, Default)]
pub(super) struct Tried(Vec<usize>);

impl Tried {
    pub(super) fn add(&mut self, position: usize) {
        self.0.push(position);
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn contains(&self, position: usize) -> bool {
        self.0.contains(&position)
    }
}

impl Members {
    /// The set for these servers. Endpoints of `known` with the same address and transport are reused; if only the
    /// transport changed, the health is.
    pub(super) fn new(servers: &[Server], settings: &Settings, known: &[Arc<Endpoint>]) -> Self {
        let endpoint = |server: &Server| {
            let new = |health| Endpoint::new(server.address.clone(), settings.transport.clone(), health);
            match known.iter().find(|known| *known.address() == server.address) {
                None => {
                    let endpoint = new(SharedHealth::new(settings));
                    // The first endpoints of an upstream have nobody to leave requests to.
                    if !known.is_empty() {
                        endpoint.begin_slow_start();
                    }
                    endpoint
                }
                Some(known) if *known.transport() == settings.transport => Arc::clone(known),
                // A different kind of connection, but the same server.
                Some(known) => new(Arc::clone(known.health())),
            }
        };
        let ring =
            || Ring::new(&servers.iter().map(|server| (server.address.as_str(), server.weight)).collect::<Vec<_>>());
        let tags = settings
            .sticky
            .iter()
            .flat_map(|sticky| servers.iter().map(move |server| sticky.tag(&settings.name, &server.address)));
        let priorities: Vec<(u32, u32)> = servers.iter().map(|server| (server.priority, server.weight)).collect();
        Members {
            endpoints: servers.iter().map(endpoint).collect(),
            weights: servers.iter().map(|server| server.weight).collect(),
            priorities: Priorities::new(&priorities),
            ring: settings.hash.is_some().then(ring),
            tags: tags.collect(),
            balancers: ThreadLocal::new(),
        }
    }

    pub(super) fn endpoints(&self) -> &[Arc<Endpoint>] {
        &self.endpoints
    }

    /// All endpoints with a weight above 0, and `endpoint` whatever its weight, each with its priority group.
    pub(super) fn taking_with<'a>(&'a self, endpoint: &'a Endpoint) -> impl Iterator<Item = (u32, &'a Arc<Endpoint>)> {
        let all = self.endpoints.iter().zip(&self.weights).enumerate();
        all.filter(move |(_, (known, weight))| **weight > 0 || std::ptr::eq(known.as_ref(), endpoint))
            .map(move |(position, (known, _))| (self.group(position), known))
    }

    /// The priority group of an endpoint; 0 if it is not among these any more.
    pub(super) fn group_of(&self, endpoint: &Endpoint) -> u32 {
        let position = self.endpoints.iter().position(|known| std::ptr::eq(known.as_ref(), endpoint));
        position.map_or(0, |position| self.group(position))
    }

    fn group(&self, position: usize) -> u32 {
        self.priorities.as_ref().map_or(0, |priorities| priorities.group_of(position))
    }

    /// The endpoint's tag for a sticky cookie.
    pub(super) fn tag(&self, endpoint: &Arc<Endpoint>) -> Option<&Tag> {
        self.tags.get(self.position(endpoint)?)
    }

    /// Whether [`Members::pick`] would find an endpoint that was not tried.
    pub(super) fn has_others(&self, settings: &Settings, tried: &Tried) -> bool {
        let (mut available, mut others, mut available_others) = (false, false, false);
        for (position, (endpoint, weight)) in self.endpoints.iter().zip(&self.weights).enumerate() {
            let other = *weight > 0 && !tried.contains(position);
            // An endpoint of weight 0 takes no new requests, so its being available does not help.
            available |= *weight > 0 && endpoint.is_available();
            others |= other;
            available_others |= other && endpoint.is_available();
        }
        available_others || (others && !available && settings.none_available == NoneAvailable::UseAll)
    }

    /// Picks the endpoint for a request that was sent to those in `tried` already: a different one if possible.
    pub(super) fn pick(&self, settings: &Settings, ask: &Ask, tried: &Tried) -> Option<(usize, &Arc<Endpoint>)> {
        let available = |position: usize| self.endpoints.get(position).is_some_and(|endpoint| endpoint.is_available());
        let mut position = self.choose(settings, ask, |position| available(position) && !tried.contains(position));
        if position.is_none() && !tried.0.is_empty() {
            position = self.choose(settings, ask, available);
        }
        if position.is_none() && settings.none_available == NoneAvailable::UseAll {
            position = self.choose(settings, ask, |position| !tried.contains(position));
            position = position.or_else(|| self.choose(settings, ask, |_| true));
        }
        let position = position?;
        Some((position, self.endpoints.get(position)?))
    }

    /// A usable endpoint; `None` only if none is usable.
    fn choose(&self, settings: &Settings, ask: &Ask, usable: impl Fn(usize) -> bool) -> Option<usize> {
        if let Some(tag) = &ask.tag
            && let Some(position) = find_tag(&self.tags, tag)
            && usable(position)
        {
            return Some(position);
        }
        match &self.priorities {
            None => self.choose_in_group(settings, ask, usable),
            Some(priorities) => {
                let group = priorities.group(&usable, fastrand::u64(..))?;
                self.choose_in_group(settings, ask, |position| priorities.is_in(position, group) && usable(position))
            }
        }
    }

    fn choose_in_group(&self, settings: &Settings, ask: &Ask, usable: impl Fn(usize) -> bool) -> Option<usize> {
        if let (Some(ring), Some(key)) = (&self.ring, ask.key) {
            return self.choose_by_key(settings, ring, key, usable);
        }
        let Some(slow_start) = settings.slow_start else { return self.balance(settings, usable) };
        let accepts = |endpoint: &Arc<Endpoint>| {
            endpoint.slow_start_age(slow_start).is_none_or(|age| balance::accepts(age, slow_start, fastrand::u64(..)))
        };
        let accepted = |position: usize| usable(position) && self.endpoints.get(position).is_some_and(accepts);
        self.balance(settings, accepted).or_else(|| self.balance(settings, &usable))
    }

    fn choose_by_key(
        &self,
        settings: &Settings,
        ring: &Ring,
        key: u64,
        usable: impl Fn(usize) -> bool,
    ) -> Option<usize> {
        if let Some(bound) = settings.hash.as_ref().and_then(|hash| hash.bounded_load) {
            let all = self.weights.iter().enumerate().filter(|(position, _)| usable(*position));
            let (weights, total) = all.fold((0, 0), |(weights, total), (position, weight)| {
                (weights + u64::from(*weight), total + u64::from(self.load(position)))
            });
            let has_room = |position: usize| {
                let weight = self.weights.get(position).copied().unwrap_or_default();
                u64::from(self.load(position)) < balance::most_in_flight(bound, total, weight, weights)
            };
            let picked = ring.pick(key, |position| usable(position) && has_room(position));
            if picked.is_some() {
                return picked;
            }
        }
        ring.pick(key, usable)
    }

    fn balance(&self, settings: &Settings, usable: impl Fn(usize) -> bool) -> Option<usize> {
        let now = if settings.is_timed() { now() } else { Duration::ZERO };
        let load = |position| self.load(position);
        self.balancer(settings).borrow_mut().pick(load, usable, &mut || fastrand::u64(..), now)
    }

    /// Records the latency of an endpoint, asked at `started`, that began to answer or failed. A failure counts as
    /// slow: otherwise an endpoint that fails fast would look like the best.
    pub(super) fn observe(
        &self,
        settings: &Settings,
        endpoint: &Arc<Endpoint>,
        started: Option<Duration>,
        answered: bool,
    ) {
        let (Some(started), Some(position)) = (started, self.position(endpoint)) else { return };
        let now = now();
        let took = now.saturating_sub(started);
        let latency = if answered { took } else { took.max(FAILURE) };
        self.balancer(settings).borrow_mut().observe(position, latency, now);
    }

    /// Records that waiting for the endpoint, asked at `started`, was given up: its latency is at least this long.
    pub(super) fn given_up(&self, settings: &Settings, endpoint: &Arc<Endpoint>, started: Option<Duration>) {
        let (Some(started), Some(position)) = (started, self.position(endpoint)) else { return };
        let now = now();
        self.balancer(settings).borrow_mut().outlasted(position, now.saturating_sub(started), now);
    }

    fn position(&self, endpoint: &Arc<Endpoint>) -> Option<usize> {
        self.endpoints.iter().position(|known| Arc::ptr_eq(known, endpoint))
    }

    fn balancer(&self, settings: &Settings) -> &RefCell<Balancer> {
        self.balancers.get_or(|| RefCell::new(Balancer::new(settings.balance, &self.weights, fastrand::u64(..))))
    }

    fn load(&self, position: usize) -> u32 {
        let in_flight = self.endpoints.get(position).map_or(usize::MAX, |endpoint| endpoint.in_flight());
        u32::try_from(in_flight).unwrap_or(u32::MAX)
    }
}

/// The time since a fixed point.
pub(super) fn now() -> Duration {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    START.elapsed()
}

/// The minimum latency that a failure counts as.
const FAILURE: Duration = Duration::from_secs(1);

/// A reference to the members of an upstream: a plain borrow if they cannot change, so that requests to an upstream
/// without names touch no reference count.
pub(super) enum Held<'a> {
    Fixed(&'a Members),
    Current(Arc<Members>),
}

impl Deref for Held<'_> {
    type Target = Members;

    fn deref(&self) -> &Members {
        match self {
            Held::Fixed(members) => members,
            Held::Current(members) => members,
        }
    }
}
