//! Plugins from their configuration: found, compiled, checked against their own schema, configured once as a trial.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};

use serde_json::{Value, json};

use super::Workshop;
use super::consumers::{self, Taken};
use super::read_plugin::ReadPlugin;
use super::registries::Sources;
use super::services;
use super::stores::Stores;
use crate::capability::consumers::{Credential, Limit};
use crate::capability::jwt::KeySets;
use crate::capability::metrics::{self, Metrics};
use crate::capability::remote::Share;
use crate::capability::secrets::Secrets;
use crate::capability::store;
use crate::config::{self, Diagnostic, PluginUse, Source, child};
use crate::plugin::{
    Abilities, Artifact, BreakerSettings, Callee, Engine, Import, Isolation, Lent, Limits, OnError, Plugin,
    REFUSED_CONFIGURATION, Settings, Substitutions,
};
use crate::registry::{Store, Wanted};
use crate::stock;
use crate::upstream::Upstream;

/// The plugins of a snapshot.
#[derive(Default)]
pub(super) struct Loaded {
    /// By route and position in its chain.
    chains: Vec<Vec<Arc<Plugin>>>,
    by_key: HashMap<Key, Arc<Plugin>>,
    files: Vec<PathBuf>,
}

/// The identity of a plugin's use. Uses with the same key share instances, limits and key sets.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    name: String,
    digest: String,
    config: String,
    settings: String,
    /// Upstreams by identity: a plugin keeps those that it was granted.
    upstreams: Vec<(String, usize)>,
    /// The store by identity, for the same reason.
    store: Option<usize>,
    /// The names of all upstreams, if the plugin has key sets, which may name any.
    for_key_sets: Option<Arc<BTreeSet<Arc<str>>>>,
    /// The consumers' credentials and limits, if the plugin takes them.
    credentials: Arc<[Credential]>,
    consumer_limits: Arc<[Limit]>,
    /// Digest of the values of the granted secrets.
    secrets: Vec<u8>,
}

/// Loads components and keeps them.
#[derive(Default)]
pub struct Loader {
    /// By digest, so that a reload compiles nothing twice.
    artifacts: HashMap<String, Artifact>,
    /// Components uploaded to the admin API, which replace a plugin's source.
    uploaded: BTreeMap<String, Arc<[u8]>>,
}

impl Loader {
    /// Takes a component in place of the source of plugin `name`, from the next build on. Returns the previous upload.
    pub fn upload(&mut self, name: &str, bytes: Option<Arc<[u8]>>) -> Option<Arc<[u8]>> {
        match bytes {
            Some(bytes) => self.uploaded.insert(name.to_owned(), bytes),
            None => self.uploaded.remove(name),
        }
    }

    fn load(&mut self, engine: &Engine, name: &str, source: &Place<'_>) -> Result<Artifact, ReadPlugin> {
        if let Some(bytes) = self.uploaded.get(name).cloned() {
            return self.compile(engine, &bytes);
        }
        match source {
            Place::Stock(name) => {
                let bytes = stock::component(name).ok_or_else(|| ReadPlugin::UnknownStock(name.clone()))?;
                self.compile(engine, bytes)
            }
            Place::Store(store, wanted) => {
                let bytes = store.component(wanted).map_err(ReadPlugin::Absent)?;
                self.compile(engine, &bytes)
            }
            Place::File(path) => {
                let bytes = Artifact::read(path).map_err(|error| ReadPlugin::File(path.clone(), error))?;
                self.compile(engine, &bytes)
            }
        }
    }

    fn compile(&mut self, engine: &Engine, bytes: &[u8]) -> Result<Artifact, ReadPlugin> {
        let digest = Artifact::digest_of(bytes);
        if let Some(artifact) = self.artifacts.get(&digest) {
            return Ok(artifact.clone());
        }
        let artifact = engine.load(bytes).map_err(ReadPlugin::Load)?;
        self.artifacts.insert(digest, artifact.clone());
        Ok(artifact)
    }
}

impl Loaded {
    /// The chain of a route.
    pub fn of_route(&self, index: usize) -> Vec<Arc<Plugin>> {
        self.chains.get(index).cloned().unwrap_or_default()
    }

    pub fn all(&self) -> impl Iterator<Item = &Arc<Plugin>> {
        self.by_key.values()
    }

    pub fn files(&self) -> Vec<PathBuf> {
        self.files.clone()
    }
}

/// What plugins may be granted.
#[derive(Clone, Copy)]
pub(super) struct Materials<'a> {
    pub upstreams: &'a BTreeMap<Arc<str>, Arc<Upstream>>,
    pub stores: &'a Stores,
    pub secrets: &'a Secrets,
    pub sources: &'a Sources,
}

/// Loads every plugin of every chain, and every declared plugin that no chain uses, so that mistakes are found before
/// the plugin is needed.
pub(super) fn build(
    loaded: &config::Loaded,
    workshop: &Workshop,
    materials: Materials<'_>,
    previous: Option<&Loaded>,
    mistakes: &mut Vec<Diagnostic>,
) -> Loaded {
    let upstreams = Arc::new(materials.upstreams.keys().cloned().collect());
    let mut builder =
        Builder { loaded, workshop, materials, upstreams, previous, mistakes, artifacts: BTreeMap::new() };
    let mut plugins = Loaded::default();
    for name in loaded.config.plugins.keys() {
        builder.artifact(name, &child(&child("/plugins", name), "source"));
    }
    for (name, taken, pointer) in consumers::taken(&loaded.config) {
        builder.taken_of_consumers(name, taken, &pointer);
    }
    for (route, config) in loaded.config.routes.iter().enumerate() {
        let chain = config.plugins.iter().enumerate();
        let chain = chain.filter(|(_, used)| !services::is_middleware(&loaded.config, &used.name));
        let chain = chain.filter_map(|(index, used)| builder.plugin(&mut plugins, used, &used.pointer(route, index)));
        let chain = chain.collect();
        plugins.chains.push(chain);
    }
    plugins.files = builder.files();
    let used: BTreeSet<String> = plugins.all().map(|plugin| plugin.artifact().digest().to_owned()).collect();
    let mut loader = workshop.loader.lock().unwrap_or_else(PoisonError::into_inner);
    if builder.mistakes.is_empty() {
        loader.artifacts.retain(|digest, _| used.contains(digest));
    }
    plugins
}

/// A compiled component with its schema.
type Component = (Artifact, Option<Arc<config::Schema>>);

struct Builder<'a> {
    loaded: &'a config::Loaded,
    workshop: &'a Workshop,
    materials: Materials<'a>,
    /// The names of all upstreams.
    upstreams: Arc<BTreeSet<Arc<str>>>,
    previous: Option<&'a Loaded>,
    mistakes: &'a mut Vec<Diagnostic>,
    /// By plugin name; `None` if loading failed, which was reported.
    artifacts: BTreeMap<String, Option<Component>>,
}

/// Where a component's bytes come from.
enum Place<'a> {
    Stock(String),
    File(PathBuf),
    Store(&'a Store, &'a Wanted),
}

impl<'a> Builder<'a> {
    fn plugin(&mut self, plugins: &mut Loaded, used: &PluginUse, pointer: &str) -> Option<Arc<Plugin>> {
        let (artifact, schema) = self.artifact(&used.name, pointer)?;
        if let Some(schema) = schema {
            let found = schema.check(&used.config, &self.loaded.document, pointer);
            if !found.is_empty() {
                self.mistakes.extend(found);
                return None;
            }
        }
        let declared = self.loaded.config.plugins.get(&used.name).cloned().unwrap_or_default();
        let (key, abilities) = self.lend(&used.name, &declared, &artifact, &used.config, pointer)?;
        if let Some(same) = plugins.by_key.get(&key).or_else(|| self.previous?.by_key.get(&key)) {
            let same = same.clone();
            plugins.by_key.insert(key, same.clone());
            return Some(same);
        }
        let lent = Lent::new(used.name.as_str().into(), limits(&declared, &self.loaded.config.limits), abilities);
        let substitutions = lent.abilities.substitutions.clone();
        match Plugin::new(&self.workshop.engine, artifact, settings(&declared), lent, key.config.as_str().into()) {
            Ok(plugin) => {
                let plugin = Arc::new(plugin);
                plugins.by_key.insert(key, plugin.clone());
                Some(plugin)
            }
            Err(reason) => {
                // Many plugins report a mistake with a path into their configuration: `keys[2].subject: ..`.
                let own = reason.strip_prefix(REFUSED_CONFIGURATION).and_then(|own| own.split_once(": "));
                let place = own.map(|(path, _)| self.loaded.document.follow(pointer, path));
                let message = format!("plugin {:?} cannot run here: {reason}", used.name);
                let help = substitutions.show_in(&reason).then_some(A_SECRET_S_NAME);
                self.mistakes.push(self.loaded.diagnostic(place.as_deref().unwrap_or(pointer), message, help));
                None
            }
        }
    }

    /// Checks that what consumers have for a plugin is what the plugin takes.
    fn taken_of_consumers(&mut self, name: &str, taken: Taken, pointer: &str) {
        let Some((artifact, _)) = self.artifact(name, pointer) else { return };
        let manifest = artifact.manifest();
        let (schema, what) = match taken {
            Taken::Credentials => (&manifest.credential_schema, "takes no credentials"),
            Taken::Limits => (&manifest.limit_schema, "keeps no limits"),
        };
        let Some(schema) = schema else {
            let message = format!("the plugin {name:?} {what} of consumers");
            self.mistakes.push(self.loaded.diagnostic(pointer, message, None));
            return;
        };
        let schema = match taken {
            Taken::Credentials => json!({ "type": "array", "items": schema }),
            Taken::Limits => schema.clone(),
        };
        match config::Schema::compile(&schema) {
            Ok(schema) => {
                let value = self.loaded.document.value().pointer(pointer).cloned().unwrap_or_default();
                self.mistakes.extend(schema.check(&value, &self.loaded.document, pointer));
            }
            Err(error) => {
                let message =
                    format!("plugin {name:?}: its schema of what it takes of consumers is not valid: {error}");
                self.mistakes.push(self.loaded.diagnostic(pointer, message, None));
            }
        }
    }

    /// The component of a plugin with its schema, loaded once for all uses.
    fn artifact(&mut self, name: &str, pointer: &str) -> Option<Component> {
        if let Some(known) = self.artifacts.get(name) {
            return known.clone();
        }
        // A source that cannot be found has already been reported.
        let place = self.place(name)?;
        let mut loader = self.workshop.loader.lock().unwrap_or_else(PoisonError::into_inner);
        let loaded = loader.load(&self.workshop.engine, name, &place);
        drop(loader);
        let granted = self.granted(name);
        let declared = child(&child("/plugins", name), "source");
        let pointer = if self.loaded.config.plugins.contains_key(name) { declared.as_str() } else { pointer };
        let found = loaded.map_err(|error| error.to_string()).and_then(|artifact| {
            let schema = artifact.manifest().config_schema.as_ref();
            let schema = schema.map(|schema| config::Schema::of_plugin(schema, granted)).transpose();
            let schema = schema.map_err(|error| format!("its configuration schema is not valid: {error}"))?;
            Ok((artifact, schema.map(Arc::new)))
        });
        let found = match found {
            Ok(found) => Some(found),
            Err(error) => {
                self.mistakes.push(self.loaded.diagnostic(pointer, format!("plugin {name:?}: {error}"), None));
                None
            }
        };
        self.artifacts.insert(name.to_owned(), found.clone());
        found
    }

    /// The upstreams that the plugin may name in its configuration.
    fn granted(&self, name: &str) -> config::Granted {
        let config = &self.loaded.config;
        let granted = config.plugins.get(name).into_iter().flat_map(|plugin| &plugin.grants.upstreams);
        config::Granted {
            plugin: name.to_owned(),
            upstreams: granted.cloned().collect(),
            known: config.upstreams.keys().cloned().collect(),
        }
    }

    fn place(&self, name: &str) -> Option<Place<'a>> {
        let sources: &'a Sources = self.materials.sources;
        Some(match self.loaded.config.plugins.get(name).and_then(|plugin| plugin.source.as_ref()) {
            Some(Source::File(path)) => Place::File(self.workshop.directory.join(path)),
            Some(Source::Oci(_)) => Place::Store(&sources.store, sources.wanted(name)?),
            Some(Source::Stock(name)) => Place::Stock(name.clone()),
            None => Place::Stock(name.to_owned()),
        })
    }

    fn files(&self) -> Vec<PathBuf> {
        let place = |name| match self.place(name) {
            Some(Place::File(path)) => Some(path),
            _ => None,
        };
        self.artifacts.keys().filter_map(|name| place(name)).collect()
    }

    /// What the plugin is lent, and the key for it.
    fn lend(
        &mut self,
        name: &str,
        declared: &config::Plugin,
        artifact: &Artifact,
        config: &Value,
        pointer: &str,
    ) -> Option<(Key, Abilities)> {
        let granted = declared.grants.secrets.iter().map(String::as_str);
        // Names that are unknown, and secrets that could not be read, have been reported.
        let secrets = self.materials.secrets.grant(granted).ok()?;
        let upstreams: BTreeMap<Arc<str>, Arc<Upstream>> = declared
            .grants
            .upstreams
            .iter()
            .filter_map(|name| self.materials.upstreams.get_key_value(name.as_str()))
            .map(|(name, upstream)| (name.clone(), upstream.clone()))
            .collect();
        let store = declared.grants.store.as_deref().and_then(|name| self.materials.stores.get(name));
        let takes = artifact.imports().contains(&Import::Consumers);
        let key = Key {
            name: name.to_owned(),
            digest: artifact.digest().to_owned(),
            config: config.to_string(),
            settings: format!("{declared:?} {:?}", self.loaded.config.limits),
            credentials: if takes { consumers::credentials_of(&self.loaded.config, name) } else { Arc::default() },
            consumer_limits: if takes { consumers::limits_of(&self.loaded.config, name) } else { Arc::default() },
            upstreams: upstreams.iter().map(|(name, one)| (name.to_string(), Arc::as_ptr(one) as usize)).collect(),
            store: store.map(|store| Arc::as_ptr(store) as usize),
            for_key_sets: artifact.imports().contains(&Import::Jwt).then(|| self.upstreams.clone()),
            secrets: secrets.fingerprint(),
        };
        let metrics = match Metrics::new(artifact.manifest().declarations(), metrics::DEFAULT_MAX_SERIES) {
            Ok(metrics) => metrics,
            Err(error) => {
                let message = format!("plugin {name:?}: its manifest is not valid: {error}");
                self.mistakes.push(self.loaded.diagnostic(pointer, message, None));
                return None;
            }
        };
        let abilities = Abilities {
            store: self.workshop.stores.named(name, store::Limits::default()),
            limiter: Arc::default(),
            places: Arc::default(),
            share: store.map(|store| Arc::new(Share::new(store.clone(), name, &key.config))),
            schemas: Arc::default(),
            key_sets: Some(Arc::new(
                KeySets::new(self.workshop.documents.clone()).with_upstreams(self.upstreams.clone()),
            )),
            turns: Arc::default(),
            passwords: self.workshop.passwords.clone(),
            metrics: Arc::new(metrics),
            counters: self.workshop.metrics.plugin(name),
            secrets,
            credentials: key.credentials.clone(),
            consumer_limits: key.consumer_limits.clone(),
            upstreams: upstreams.into_iter().map(|(name, upstream)| (name, Callee::Upstream(upstream))).collect(),
            written: Abilities::written_in(config),
            substitutions: self.substitutions(name, takes, pointer),
        };
        Some((key, abilities))
    }

    /// What `${..}` brought into the configuration at `pointer` and, if the plugin takes it, into what consumers have
    /// for it.
    fn substitutions(&self, name: &str, takes: bool, pointer: &str) -> Arc<Substitutions> {
        let consumers = self.loaded.config.consumers.keys().filter(|_| takes).map(|one| child("/consumers", one));
        let lent = consumers.flat_map(|one| {
            let of_plugin = ["credentials", "limits"].map(|key| child(&child(&one, key), name));
            of_plugin.into_iter().chain([child(&one, "claims")])
        });
        let places: Vec<String> = lent.chain([pointer.to_owned()]).collect();
        let document = &self.loaded.document;
        Arc::new(Substitutions::new(places.iter().flat_map(|place| document.substituted(place))))
    }
}

fn settings(config: &config::Plugin) -> Settings {
    Settings {
        on_error: match config.on_error {
            config::OnError::Deny => OnError::Deny,
            config::OnError::Skip => OnError::Skip,
        },
        isolation: match config.isolation {
            config::Isolation::Shared => Isolation::Shared,
            config::Isolation::Request => Isolation::Request,
        },
        breaker: BreakerSettings {
            failures: config.breaker.failures,
            open_time: config.breaker.open_time.into(),
            max_open_time: config.breaker.max_open_time.into(),
        },
    }
}

fn limits(config: &config::Plugin, all: &config::Limits) -> Limits {
    Limits {
        time: config.limits.time.into(),
        configure_time: config.limits.configure_time.into(),
        memory_bytes: config.limits.memory.as_usize(),
        host_calls: config.limits.host_calls,
        log_lines: config.limits.log_lines,
        callouts: config.limits.callouts,
        callout_timeout: config.limits.callout_timeout.into(),
        body_bytes: config.limits.body.as_usize(),
        boundary_bytes: config.limits.transfer.as_usize().max(config.limits.body.as_usize()),
        header_count: all.header_count as usize,
        header_bytes: all.header_bytes.as_usize(),
        ..Limits::default()
    }
}

/// A help where a plugin refuses what `${..}` brought in: often a secret, where the name of one is expected.
const A_SECRET_S_NAME: &str = "what \"${..}\" brings in is not shown; if the name of a secret is expected here, define \
                               the secret in \"secrets\" and write its name";
