//! The endpoints of an upstream as they are at one time, and the pick among them.
//!
//! A set of members never changes: discovery makes another one, with the endpoints that stay taken over as they are.
//! Whoever sends a request holds on to the set it began with, so that a position always means the same endpoint.

use std::cell::RefCell;
use std::sync::Arc;

use thread_local::ThreadLocal;

use super::endpoint::Endpoint;
use super::health::Standing;
use super::settings::{Server, Settings};
use crate::balance::Balancer;

/// See the module.
pub(super) struct Members {
    endpoints: Vec<Arc<Endpoint>>,
    weights: Vec<u32>,
    balancers: ThreadLocal<RefCell<Balancer>>,
}

/// What the pick of an endpoint may depend on, beside the endpoints themselves.
#[derive(Clone, Debug, Default)]
pub struct Ask {
    /// The hash of what the upstream's balancing goes by: requests of one hash go to one endpoint.
    pub key: Option<u64>,
}

/// Endpoints that a request was sent to already, by position. Empty, it takes no memory.
#[derive(Clone, Debug, Default)]
pub(super) struct Tried(Vec<usize>);

impl Tried {
    fn contains(&self, position: usize) -> bool {
        self.0.contains(&position)
    }
}

impl Members {
    /// The set for these servers. What is `known` with the same address and transport is taken over,
    /// and of another transport the health.
    pub(super) fn new(servers: &[Server], settings: &Settings, known: &[Arc<Endpoint>]) -> Self {
        let endpoint = |server: &Server| {
            let new = |standing| Endpoint::new(server.address.clone(), settings.transport.clone(), standing);
            match known.iter().find(|known| *known.address() == server.address) {
                None => new(Standing::new(settings)),
                Some(known) if *known.transport() == settings.transport => Arc::clone(known),
                // Connections of another kind, but the same server.
                Some(known) => new(Arc::clone(known.standing())),
            }
        };
        Members {
            endpoints: servers.iter().map(endpoint).collect(),
            weights: servers.iter().map(|server| server.weight).collect(),
            balancers: ThreadLocal::new(),
        }
    }

    pub(super) fn endpoints(&self) -> &[Arc<Endpoint>] {
        &self.endpoints
    }

    /// The endpoint for a request that was at those `tried` already: another one where there is one.
    pub(super) fn pick(&self, settings: &Settings, _ask: &Ask, tried: &Tried) -> Option<(usize, &Arc<Endpoint>)> {
        let balancer =
            self.balancers.get_or(|| RefCell::new(Balancer::new(settings.balance, &self.weights, fastrand::u64(..))));
        let mut balancer = balancer.borrow_mut();
        let load = |position: usize| {
            let in_flight = self.endpoints.get(position).map_or(usize::MAX, |endpoint| endpoint.in_flight());
            u32::try_from(in_flight).unwrap_or(u32::MAX)
        };
        let random = &mut || fastrand::u64(..);
        let available = |position: usize| self.endpoints.get(position).is_some_and(|endpoint| endpoint.is_available());
        let position = match balancer.pick(load, |position| available(position) && !tried.contains(position), random) {
            None if !tried.0.is_empty() => balancer.pick(load, available, random),
            picked => picked,
        }?;
        Some((position, self.endpoints.get(position)?))
    }
}
