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
    /// The timeout of one probe, including the connection.
    pub timeout: Duration,
    pub thresholds: Thresholds,
    /// Whether a new endpoint counts as healthy until its first probe.
    pub starts_healthy: bool,
    /// The port that is probed, if not the endpoint's own.
    pub port: Option<NonZeroU16>,
}

/// Limits the concurrent probes of all upstreams.
#[derive(Clone)]
pub struct Probes(Arc<Semaphore>);

impl Default for Probes {
    fn default() -> Probes {
        Probes(Arc::new(Semaphore::new(AT_ONCE)))
    }
}

impl Upstream {
    /// Probes every endpoint, including those that are added later. Runs until dropped, which ends all probes.
    pub(super) async fn keep_probing(self: &Arc<Self>, probing: &Probing, probes: &Probes) {
        let mut changes = self.changes();
        let mut tasks = JoinSet::new();
        let mut running: HashMap<usize, AbortHandle> = HashMap::new();
        loop {
            let mut before = std::mem::take(&mut running);
            for endpoint in self.endpoints() {
                // The task holds its endpoint, so no other endpoint can have the same identity.
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

    /// An upstream with this address only, for one probe: it uses a connection of its own, made like any other.
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

/// More than a healthy machine ever has in flight; it is reached only if every endpoint hangs.
const AT_ONCE: usize = 512;
