//! The probes of an upstream's endpoints: one task for each, on the control thread, as long as the endpoint exists.

use std::collections::HashMap;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep, timeout};

use super::endpoint::Endpoint;
use super::probe::Probe;
use super::{Address, Protocol, Server, Settings, Upstream};
use crate::balance;
use crate::health::{Ejection, Schedule, Thresholds};

/// How the endpoints of an upstream are probed.
#[derive(Clone, Debug, PartialEq)]
pub struct Probing {
    pub probe: Probe,
    pub schedule: Schedule,
    /// For one probe, the connection included.
    pub timeout: Duration,
    pub thresholds: Thresholds,
    /// What a new endpoint is until its first probe.
    pub starts_healthy: bool,
    /// The port that probes go to, where it is not the endpoint's.
    pub port: Option<NonZeroU16>,
}

/// Bounds the probes of all upstreams that are under way at the same time.
#[derive(Clone)]
pub struct Probes(Arc<Semaphore>);

impl Default for Probes {
    fn default() -> Probes {
        Probes(Arc::new(Semaphore::new(AT_ONCE)))
    }
}

impl Upstream {
    /// Probes every endpoint that there is, also when others come. Runs until it is dropped, and ends all with itself.
    pub(super) async fn keep_probing(self: &Arc<Self>, probing: &Probing, probes: &Probes) {
        let mut changes = self.changes();
        let mut tasks = JoinSet::new();
        let mut running: HashMap<usize, AbortHandle> = HashMap::new();
        loop {
            let mut before = std::mem::take(&mut running);
            for endpoint in self.endpoints() {
                // The task holds on to its endpoint, so no other one has the same identity.
                let identity = Arc::as_ptr(&endpoint) as usize;
                let task = before
                    .remove(&identity)
                    .unwrap_or_else(|| tasks.spawn(probe(Arc::clone(self), endpoint, probing.clone(), probes.clone())));
                running.insert(identity, task);
            }
            before.into_values().for_each(|gone| gone.abort());
            while tasks.try_join_next().is_some() {}
            if changes.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// An upstream of nothing but this address, for one probe: a connection of its own, made like any other.
    fn alone(&self, address: Address, probe: &Probe) -> Arc<Upstream> {
        let mut settings = Settings {
            endpoints: vec![Server::from(address)],
            balance: balance::Policy::default(),
            ejection: Ejection { on: Vec::new(), ..Ejection::default() },
            probing: None,
            ..self.settings.clone()
        };
        settings.transport.max_idle = 0;
        if matches!(probe, Probe::Grpc(_)) {
            settings.transport.protocol = Protocol::Http2;
        }
        Upstream::new(settings, None)
    }
}

async fn probe(upstream: Arc<Upstream>, endpoint: Arc<Endpoint>, probing: Probing, probes: Probes) {
    let Probing { probe, schedule, timeout: time, thresholds, port, .. } = probing;
    let address = port.map_or_else(|| endpoint.address().clone(), |port| endpoint.address().with_port(port));
    let mut wait = schedule.first(endpoint.health().is_probed(), fastrand::f64());
    loop {
        sleep(wait).await;
        let place = probes.0.acquire().await;
        let started = Instant::now();
        let result = timeout(time, probe.run(&upstream.alone(address.clone(), &probe), &address)).await;
        let result = result.unwrap_or_else(|_| Err(format!("no answer within {time:?}")));
        drop(place);
        upstream.probed(&endpoint, result.map_err(|error| format!("{probe}: {error}")), thresholds);
        wait = schedule.next(started.elapsed(), fastrand::f64());
    }
}

/// More than a machine that is well ever has under way: it is for one whose every endpoint hangs.
const AT_ONCE: usize = 512;
