//! What a plugin is lent: the capabilities that the operator granted, and the limits of each hook.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::artifact::{Artifact, Import};
use super::callout::Callee;
use super::link::Counts;
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

/// Everything one plugin may use.
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
    /// What it keeps in a server instead of in the three above, which are then what it falls back to.
    pub share: Option<Arc<Share>>,
    /// Private to this configuration.
    pub schemas: Arc<Schemas>,
    /// None in `describe`, where nothing is lent.
    pub key_sets: Option<Arc<KeySets>>,
    /// Private to this configuration.
    pub turns: Arc<Turns>,
    /// Shared by all plugins.
    pub passwords: Arc<Passwords>,
    /// What the plugin itself measures.
    pub metrics: Arc<Metrics>,
    /// What is measured of the plugin.
    pub counters: Arc<PluginMetrics>,
    /// The secrets that were granted.
    pub secrets: Granted,
    /// The credentials of consumers that stand under the plugin's name.
    pub credentials: Arc<[Credential]>,
    /// The limits that stand there.
    pub consumer_limits: Arc<[Limit]>,
    /// The upstreams that were granted.
    pub upstreams: BTreeMap<Arc<str>, Callee>,
    /// Every text in the plugin's configuration: what it may name as an address or a path.
    pub written: Arc<BTreeSet<String>>,
}

impl Abilities {
    /// Every text in a configuration, however deep: what `written` is for it.
    pub fn written_in(config: &Value) -> Arc<BTreeSet<String>> {
        let mut found = BTreeSet::new();
        texts(config, &mut found);
        Arc::new(found)
    }

    /// Declares a key set, none of whose addresses the plugin may have made up.
    pub(super) fn declare_keys(&self, name: &str, definition: &str) -> Result<(), String> {
        let key_sets = self.key_sets.as_ref().ok_or("there are no key sets here")?;
        key_sets.declare(name, definition, &|text| self.written.contains(text))
    }
}

/// The bounds of a hook and of an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Time of one hook; waiting for callouts does not count. Default 10 ms. A loop ends soon after it, at most at one and a half of it.
    pub time: Duration,
    /// Time of `describe` and of `configure`. Default 5 s when a plugin is loaded.
    pub configure_time: Duration,
    /// Linear memory of an instance, all its memories together. Default 32 MiB.
    pub memory_bytes: usize,
    /// Host functions that one hook may call. Default 10,000.
    pub host_calls: u32,
    /// Lines that one hook may log; more are dropped and counted. Default 100.
    pub log_lines: u32,
    /// Callouts of one hook. Default 8.
    pub callouts: u32,
    /// The longest wait for one callout, whatever the plugin asks for. Default 10 s.
    pub callout_timeout: Duration,
    /// What a body hook may hold or replace at once, and the most of a callout's response. Default 1 MiB.
    pub body_bytes: usize,
    /// What one host call or answer may carry from the guest. Default 2 MiB.
    pub boundary_bytes: usize,
    /// Headers of a message after the plugin changed it, and their bytes. Defaults 100 and 64 KiB.
    pub header_count: usize,
    pub header_bytes: usize,
    /// Hooks that an instance runs before a new one takes its place. Default 1,000,000.
    pub calls_per_instance: u32,
    /// Warm instances that each core keeps. Default 16.
    pub idle_instances: usize,
}

impl Limits {
    /// How long a plugin waits that asks for so many milliseconds; 0 is as long as it may.
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

    /// Nothing at all, for `describe`.
    pub(super) fn nothing() -> Arc<Lent> {
        Arc::new(Lent::new("".into(), Limits::default(), Abilities::default()))
    }

    /// Where its limits, places and entries are.
    pub(super) fn counts(&self) -> Counts {
        if self.abilities.share.is_some() { Counts::Shared } else { Counts::Own }
    }

    /// Refuses a component that imports what the operator did not grant.
    pub(super) fn check_grants(&self, artifact: &Artifact) -> Result<(), String> {
        for import in artifact.imports() {
            // An empty set of secrets is no right; a way to the network is one even before its first call.
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

    /// A line of the operator's log about this plugin; a guest's stack comes on lines of its own.
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
