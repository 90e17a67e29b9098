//! A component in the real engine, with every capability a plugin can be granted and no network.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::cases::Cases;
use super::fixtures::Fixtures;
use super::{Error, toolchain};
use crate::capability::jwt::{Documents, Fetch, FetchFuture, KeySets, Timing};
use crate::capability::metrics::{self, Metrics};
use crate::capability::rate_limit::RateLimiter;
use crate::capability::secrets::{self, Secrets};
use crate::capability::store::Store;
use crate::config::{self, Document, Schema};
use crate::plugin::{Abilities, Artifact, Callee, Engine, Isolation, Lent, Limits, Plugin, Settings, Substitutions};

/// A loaded component.
pub struct Stage {
    engine: Engine,
    artifact: Artifact,
    schema: Option<Schema>,
    size: usize,
    compile_time: Duration,
}

/// A plugin on stage, with the upstreams that answer its calls.
pub struct Cast {
    pub plugin: Arc<Plugin>,
    pub fixtures: Vec<Arc<Fixtures>>,
    store: Arc<Store>,
    limiter: Arc<RateLimiter>,
}

impl Cast {
    /// Clears the plugin's counts and stores: the next exchange is the first again.
    pub fn forget(&self) {
        self.store.clear();
        self.limiter.clear();
    }
}

/// Why there is no plugin on stage.
pub enum Refused {
    /// The configuration does not fit the plugin's schema: a mistake in the file.
    Report(Box<config::Report>),
    /// The plugin, or the host, refuses it with this text.
    Words(String),
}

impl Stage {
    /// Compiles the component in a file.
    ///
    /// # Errors
    /// It does not exist, or it is not a plugin that runs here.
    pub fn load(component: &Path) -> Result<Stage, Error> {
        Stage::load_with(component, None)
    }

    /// The same with a folder for compiled code, which is loaded from there if possible.
    ///
    /// # Errors
    /// As for [`Stage::load`].
    pub fn load_with(component: &Path, cache: Option<&Path>) -> Result<Stage, Error> {
        let bytes = Artifact::read(component).map_err(|error| toolchain::unusable(component, &error))?;
        Stage::with(&bytes, &component.display().to_string(), cache)
    }

    /// Compiles a component; errors call it `name`.
    ///
    /// # Errors
    /// It is not a plugin that runs here.
    pub fn of(bytes: &[u8], name: &str) -> Result<Stage, Error> {
        Stage::with(bytes, name, None)
    }

    fn with(bytes: &[u8], name: &str, cache: Option<&Path>) -> Result<Stage, Error> {
        let engine = Engine::new(cache).map_err(|error| Error::told(format!("plugin engine: {error:#}")))?;
        let began = Instant::now();
        let artifact = engine.load(bytes).map_err(|error| Error::told(format!("{name}: {error}")))?;
        let compile_time = began.elapsed();
        let schema = artifact.manifest().config_schema.as_ref().map(Schema::compile).transpose();
        let schema =
            schema.map_err(|error| Error::told(format!("the plugin's configuration schema is wrong: {error}")))?;
        Ok(Stage { engine, artifact, schema, size: bytes.len(), compile_time })
    }

    pub fn artifact(&self) -> &Artifact {
        &self.artifact
    }

    /// Bytes of the component.
    pub fn size(&self) -> usize {
        self.size
    }

    /// The time from bytes to a component whose manifest was read: compiled, or from the cache.
    pub fn compile_time(&self) -> Duration {
        self.compile_time
    }

    /// Configures the plugin, with the grants in the file of cases.
    ///
    /// # Errors
    /// The configuration is refused, by the plugin's schema or by the plugin.
    pub fn cast(
        &self,
        cases: &Cases,
        config: &Value,
        at: (&Document, &str),
        isolation: Isolation,
    ) -> Result<Cast, Refused> {
        if let Some(schema) = &self.schema {
            let found = schema.check(config, at.0, at.1);
            if !found.is_empty() {
                return Err(Refused::Report(Box::new(at.0.report(found))));
            }
        }
        let upstreams = cases.file.upstreams.iter();
        let fixtures: BTreeMap<&String, Arc<Fixtures>> =
            upstreams.map(|(name, fixtures)| (name, Arc::new(Fixtures::new(name, fixtures)))).collect();
        let written: Vec<(&String, secrets::Source)> =
            cases.file.secrets.keys().map(|name| (name, secrets::Source::Environment(name.clone()))).collect();
        let value = |name: &str| cases.file.secrets.get(name).map(Into::into);
        let granted = Secrets::read(written.iter().map(|(name, source)| (name.as_str(), source)), value)
            .and_then(|secrets| secrets.grant(cases.file.secrets.keys().map(String::as_str)))
            .map_err(|mistakes| Refused::Words(mistakes.join("; ")))?;
        let metrics = Metrics::new(self.artifact.manifest().declarations(), metrics::DEFAULT_MAX_SERIES)
            .map_err(|error| Refused::Words(format!("the manifest is not valid: {error}")))?;
        let key_sets = KeySets::new(Documents::new(Arc::new(Unreachable), Timing::default()));
        let names = fixtures.keys().map(|name| name.as_str().into()).collect();
        let abilities = Abilities {
            key_sets: Some(Arc::new(key_sets.with_upstreams(Arc::new(names)))),
            metrics: Arc::new(metrics),
            secrets: granted,
            upstreams: fixtures
                .iter()
                .map(|(name, fixtures)| (name.as_str().into(), Callee::Script(fixtures.clone())))
                .collect(),
            written: Abilities::written_in(config),
            substitutions: Arc::new(Substitutions::new(at.0.substituted(""))),
            ..Abilities::default()
        };
        let (store, limiter) = (abilities.store.clone(), abilities.limiter.clone());
        let lent = Lent::new(self.name(), Limits::default(), abilities);
        let settings = Settings { isolation, ..Settings::default() };
        let plugin = Plugin::new(&self.engine, self.artifact.clone(), settings, lent, config.to_string().into())
            .map_err(Refused::Words)?;
        Ok(Cast { plugin: Arc::new(plugin), fixtures: fixtures.into_values().collect(), store, limiter })
    }

    /// The plugin's own name.
    pub fn name(&self) -> Arc<str> {
        match self.artifact.manifest().name.as_str() {
            "" => "plugin".into(),
            name => name.into(),
        }
    }
}

/// There is no network on stage, so key sets only have the keys in a configuration or in a file.
struct Unreachable;

impl Fetch for Unreachable {
    fn fetch<'a>(&'a self, _: &'a str, _: Option<&'a str>) -> FetchFuture<'a> {
        Box::pin(async { Err("a test has no network".to_owned()) })
    }

    fn warn(&self, _: &str) {}
}
