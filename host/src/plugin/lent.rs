//! What a plugin is lent: the capabilities that the operator granted, and the limits of each hook.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::artifact::{Artifact, Import};
use super::callout::Callee;
use super::link::Counts;
use super::substitutions::Substitutions;
use crate::capability::concurrency::Places;
use crate::capability::consumers::{Credential, Limit};
use crate::capability::json_schema::Schemas;
use crate::capability::jwt::KeySets;
use crate::capability::metrics::Metrics;
use crate::capability::password::Passwords;
use crate::capability::rate_limit::RateLimiter;
use crate::capability::remote::Share;
use crate::capability::secrets::Granted;
use crate::capability::store::Store;
use crate::capability::turns::Turns;
use crate::telemetry::metrics::PluginMetrics;
use crate::telemetry::{self, Level};

/// Everything that is lent to one plugin.
pub struct Lent {
    /// The plugin's name in gateway.json.
    pub name: Arc<str>,
    pub limits: Limits,
    pub abilities: Abilities,
}

/// The host's side of the capabilities.
#[derive(Clone, Default)]
pub struct Abilities {
    /// Shared by all configurations of the plugin's name.
    pub store: Arc<Store>,
    /// Private to this configuration.
    pub limiter: Arc<RateLimiter>,
    /// Private to this configuration.
    pub places: Arc<Places>,
    /// The server that holds this plugin's counts instead of the three fields above, which are then the fallback.
    pub share: Option<Arc<Share>>,
    /// Private to this configuration.
    pub schemas: Arc<Schemas>,
    /// `None` in `describe`, where nothing is lent.
    pub key_sets: Option<Arc<KeySets>>,
    /// Private to this configuration.
    pub turns: Arc<Turns>,
    /// Shared by all plugins.
    pub passwords: Arc<Passwords>,
    /// The metrics that the plugin itself writes.
    pub metrics: Arc<Metrics>,
    /// The gateway's metrics about the plugin.
    pub counters: Arc<PluginMetrics>,
    /// The secrets that were granted.
    pub secrets: Granted,
    /// The consumers' credentials under the plugin's name.
    pub credentials: Arc<[Credential]>,
    /// The consumers' limits under the plugin's name.
    pub consumer_limits: Arc<[Limit]>,
    /// The upstreams that were granted.
    pub upstreams: BTreeMap<Arc<str>, Callee>,
    /// Every string in the plugin's configuration: the addresses and paths that the plugin may use.
    pub written: Arc<BTreeSet<String>>,
    /// What `${..}` brought into the plugin's configuration and its consumers' credentials.
    pub substitutions: Arc<Substitutions>,
}

impl Abilities {
    /// Every string in a configuration, at any depth: the value for `written`.
    pub fn written_in(config: &Value) -> Arc<BTreeSet<String>> {
        let mut found = BTreeSet::new();
        texts(config, &mut found);
        Arc::new(found)
    }

    /// Declares a key set. Its addresses must occur in the configuration, so that the plugin cannot make them up.
    pub(super) fn declare_keys(&self, name: &str, definition: &str) -> Result<(), String> {
        let key_sets = self.key_sets.as_ref().ok_or("there are no key sets here")?;
        key_sets.declare(name, definition, &|text| self.written.contains(text))
    }
}

/// The limits of a hook and of an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Time of one hook, without the time that it waits for callouts. Default 10 ms. An endless loop ends soon after
    /// the limit, at most at one and a half times the limit.
    pub time: Duration,
    /// Time of `describe` and of `configure`. Default 5 s when a plugin is loaded.
    pub configure_time: Duration,
    /// Linear memory of an instance, all its memories together. Default 32 MiB.
    pub memory_bytes: usize,
    /// Host function calls of one hook. Default 10,000.
    pub host_calls: u32,
    /// Lines that one hook may log; further ones are dropped and counted. Default 100.
    pub log_lines: u32,
    /// Callouts of one hook. Default 8.
    pub callouts: u32,
    /// The longest wait for one callout, whatever the plugin asks for. Default 10 s.
    pub callout_timeout: Duration,
    /// The most bytes of a body that a hook may hold or replace at once, and of a callout's response. Default 1 MiB.
    pub body_bytes: usize,
    /// The most data that one host call or answer may carry from the guest. Default 2 MiB.
    pub boundary_bytes: usize,
    /// Header fields of a message after a plugin's changes, and their bytes. Defaults 100 and 64 KiB.
    pub header_count: usize,
    pub header_bytes: usize,
    /// Hook calls after which an instance is replaced. Default 1,000,000.
    pub calls_per_instance: u32,
    /// Warm instances that each core keeps. Default 16.
    pub idle_instances: usize,
}

impl Limits {
    /// The longest wait of a plugin that asks for this many milliseconds; 0 stands for the limit.
    pub(super) fn wait(&self, milliseconds: u32) -> Duration {
        match milliseconds {
            0 => self.callout_timeout,
            milliseconds => Duration::from_millis(milliseconds.into()).min(self.callout_timeout),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            time: Duration::from_millis(10),
            configure_time: Duration::from_secs(5),
            memory_bytes: 32 << 20,
            host_calls: 10_000,
            log_lines: 100,
            callouts: 8,
            callout_timeout: Duration::from_secs(10),
            body_bytes: 1 << 20,
            boundary_bytes: 2 << 20,
            header_count: 100,
            header_bytes: 64 << 10,
            calls_per_instance: 1_000_000,
            idle_instances: 16,
        }
    }
}

impl Lent {
    pub fn new(name: Arc<str>, limits: Limits, abilities: Abilities) -> Lent {
        Lent { name, limits, abilities }
    }

    /// Nothing, for `describe`.
    pub(super) fn nothing() -> Arc<Lent> {
        Arc::new(Lent::new("".into(), Limits::default(), Abilities::default()))
    }

    /// Where the plugin's limits, concurrency slots and stored entries are kept.
    pub(super) fn counts(&self) -> Counts {
        if self.abilities.share.is_some() { Counts::Shared } else { Counts::Own }
    }

    /// Refuses a component that imports what the operator did not grant.
    pub(super) fn check_grants(&self, artifact: &Artifact) -> Result<(), String> {
        for import in artifact.imports() {
            // An empty set of secrets reveals nothing; access to the network is a right even before the first call.
            if *import == Import::HttpClient && self.abilities.upstreams.is_empty() {
                return Err(
                    "it imports http-client, which is not granted; if it should call other servers, name them \
                            in \"grants\": { \"upstreams\": [...] }"
                        .into(),
                );
            }
        }
        Ok(())
    }

    /// Writes a line to the operator's log about this plugin; a guest's stack goes on lines of its own.
    pub(super) fn note(&self, message: &str) {
        telemetry::log_lines(&self.name, Level::Warn, message, &[("plugin", &self.name)]);
    }
}

fn texts(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::String(text) => drop(found.insert(text.clone())),
        Value::Array(items) => items.iter().for_each(|item| texts(item, found)),
        Value::Object(fields) => fields.values().for_each(|field| texts(field, found)),
        _ => {}
    }
}
