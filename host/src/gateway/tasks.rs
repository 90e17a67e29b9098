//! Background tasks of a snapshot: its plugins' ticks, and the health of its upstreams.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::task::AbortHandle;

use super::control::Spawn;
use crate::plugin::{self, Plugin};
use crate::snapshot::Snapshot;
use crate::upstream::{Probes, Upstream};

/// The tasks of the running plugins and upstreams that have one, by identity.
#[derive(Default)]
pub(super) struct Tasks {
    running: HashMap<usize, Option<AbortHandle>>,
    probes: Probes,
}

impl Tasks {
    /// Starts the tasks that the snapshot needs and that are missing, and ends those of plugins that are no longer in
    /// it.
    pub fn follow(&mut self, snapshot: &Snapshot, control: &impl Spawn) {
        let mut before = std::mem::take(&mut self.running);
        for plugin in snapshot.plugins() {
            let identity = Arc::as_ptr(plugin) as usize;
            let task = before.remove(&identity).unwrap_or_else(|| start(plugin, control));
            self.running.insert(identity, task);
        }
        for upstream in snapshot.upstreams() {
            let identity = Arc::as_ptr(upstream) as usize;
            let task = before.remove(&identity).unwrap_or_else(|| look_after(upstream, &self.probes, control));
            self.running.insert(identity, task);
        }
        before.into_values().flatten().for_each(|task| task.abort());
    }

    /// Ends all tasks.
    pub fn stop(&mut self) {
        self.running.drain().filter_map(|(_, task)| task).for_each(|task| task.abort());
    }
}

fn start(plugin: &Arc<Plugin>, control: &impl Spawn) -> Option<AbortHandle> {
    plugin.artifact().exports().on_tick.map(|_| control.spawn(plugin::tick(plugin.clone())))
}

fn look_after(upstream: &Arc<Upstream>, probes: &Probes, control: &impl Spawn) -> Option<AbortHandle> {
    upstream.settle();
    Some(control.spawn(upstream.clone().look_after(probes.clone())))
}
