//! A compiled component and its description: its hooks, its imports, its manifest.

use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use aws_lc_rs::digest;
use serde_json::Value;
use wasmtime::component::{Component, ComponentExportIndex};

use super::cache::hex;
use super::direct::{self, Apart, Direct, Linked};
use super::engine::{COMPONENT_BYTES, Engine};
use super::link::Counts;
use super::load_error::LoadError;
use crate::capability::metrics;
use crate::regular_file;

/// A loaded component: compiled, with its exports found and its manifest read, but not yet configured.
#[derive(Clone)]
pub struct Artifact {
    inner: Arc<Inner>,
}

struct Inner {
    digest: String,
    component: Component,
    /// The core modules, linked, if they can run directly.
    direct: Option<Direct>,
    imports: Vec<Import>,
    exports: Exports,
    manifest: Manifest,
}

/// What a component imports from the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Import {
    Types,
    Exchange,
    Hooks,
    Log,
    Metrics,
    Clock,
    Random,
    SharedStore,
    RateLimit,
    Concurrency,
    Codec,
    JsonSchema,
    Consumers,
    Jwt,
    Seal,
    Secrets,
    HttpClient,
    Password,
    SingleFlight,
    /// An interface of the minimal WASI, under the exact name that the component uses.
    Wasi(String),
}

/// The functions of the hooks that the component exports.
#[derive(Clone, Copy)]
pub struct Exports {
    pub describe: ComponentExportIndex,
    pub configure: ComponentExportIndex,
    pub on_request: Option<ComponentExportIndex>,
    pub on_request_body: Option<ComponentExportIndex>,
    pub on_response: Option<ComponentExportIndex>,
    pub on_response_body: Option<ComponentExportIndex>,
    pub on_complete: Option<ComponentExportIndex>,
    pub on_tick: Option<ComponentExportIndex>,
}

/// The parsed answer of `lifecycle.describe`.
#[derive(Clone, Debug, Default)]
pub struct Manifest {
    pub name: String,
    pub version: String,
    /// JSON Schema of the configuration; without one, every configuration is accepted.
    pub config_schema: Option<Value>,
    /// JSON Schema of a consumer's credential; without one, the plugin takes no credentials.
    pub credential_schema: Option<Value>,
    /// JSON Schema of a consumer's limit; without one, the plugin enforces none.
    pub limit_schema: Option<Value>,
    pub metrics: Vec<MetricDeclaration>,
}

/// A metric that the plugin may write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetricDeclaration {
    pub name: String,
    /// "counter", "gauge" or "histogram".
    pub kind: String,
    pub help: String,
    pub labels: Vec<String>,
}

impl Artifact {
    pub(super) fn load(engine: &Engine, bytes: &[u8]) -> Result<Artifact, LoadError> {
        let (component, apart) = compile_apart(engine, bytes)?;
        let imports = component
            .component_type()
            .imports(engine.wasmtime())
            .map(|(name, _)| Import::of(name))
            .collect::<Result<Vec<_>, _>>()?;
        let exports = Exports::find(&component)?;
        let digest = Artifact::digest_of(bytes);
        let (text, direct) =
            super::instance::describe(engine, &component, &imports, &exports, apart).map_err(LoadError::Manifest)?;
        let manifest = Manifest::parse(&text).map_err(LoadError::Manifest)?;
        Ok(Artifact { inner: Arc::new(Inner { digest, component, direct, imports, exports, manifest }) })
    }

    /// Reads a component from a file: never from a pipe or a device, which might never end, and no more than an engine
    /// accepts.
    ///
    /// # Errors
    /// It cannot be read, is not a file, or is too large.
    pub fn read(path: &Path) -> io::Result<Vec<u8>> {
        let (file, limit) = (regular_file::open(path)?, COMPONENT_BYTES as u64);
        let length = file.metadata()?.len();
        if length > limit {
            return Err(io::Error::other(format!("it has {length} bytes; a component has at most {limit}")));
        }
        let mut bytes = Vec::new();
        // One byte more, so that a file that has grown in the meantime is refused as well.
        file.take(limit + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// SHA-256 of a component, in hexadecimal.
    pub fn digest_of(bytes: &[u8]) -> String {
        hex(digest::digest(&digest::SHA256, bytes).as_ref())
    }

    /// [`Artifact::digest_of`] this one.
    pub fn digest(&self) -> &str {
        &self.inner.digest
    }

    pub fn manifest(&self) -> &Manifest {
        &self.inner.manifest
    }

    pub fn imports(&self) -> &[Import] {
        &self.inner.imports
    }

    pub fn exports(&self) -> &Exports {
        &self.inner.exports
    }

    pub(super) fn component(&self) -> &Component {
        &self.inner.component
    }

    /// The linked core modules, if the plugin can run directly.
    pub(super) fn direct(&self, counts: Counts) -> Option<&Arc<Linked>> {
        self.inner.direct.as_ref().map(|direct| direct.with(counts))
    }

    /// Whether the plugin's core modules run directly, without the component machinery.
    pub fn is_direct(&self) -> bool {
        self.inner.direct.is_some()
    }

    /// Whether a hook of this plugin may wait, and so needs a fiber, if it runs as a component.
    pub(super) fn waits(&self, counts: Counts) -> bool {
        self.inner.imports.iter().any(|import| import.waits(counts))
    }

    /// The version of the contract that the plugin was built for.
    pub fn contract(&self) -> String {
        let exports = self.exported();
        let version = exports.iter().find_map(|name| name.strip_prefix("gatewright:plugin/lifecycle@"));
        version.unwrap_or(VERSION).to_owned()
    }

    /// All exports, by their full names.
    pub fn exported(&self) -> Vec<String> {
        exports(self.component())
    }

    /// All imports, by their full names.
    pub fn imported(&self) -> Vec<String> {
        let component = self.component();
        component.component_type().imports(component.engine()).map(|(name, _)| name.to_owned()).collect()
    }

    /// The names of the hooks that it exports, as in the contract.
    pub fn hooks(&self) -> Vec<&'static str> {
        let exports = self.exports();
        [
            ("on-request", exports.on_request),
            ("on-request-body", exports.on_request_body),
            ("on-response", exports.on_response),
            ("on-response-body", exports.on_response_body),
            ("on-complete", exports.on_complete),
            ("on-tick", exports.on_tick),
        ]
        .into_iter()
        .filter_map(|(name, index)| index.map(|_| name))
        .collect()
    }
}

impl Import {
    /// Whether one of its functions may wait.
    pub(super) fn waits(&self, counts: Counts) -> bool {
        match self {
            Import::HttpClient | Import::Password | Import::SingleFlight => true,
            Import::RateLimit | Import::Concurrency | Import::SharedStore => counts == Counts::Shared,
            _ => false,
        }
    }

    pub(super) fn of(full: &str) -> Result<Import, LoadError> {
        let (path, version) = full.split_once('@').unwrap_or((full, ""));
        if path.starts_with("wasi:") {
            return Ok(Import::Wasi(full.to_owned()));
        }
        let Some(interface) = path.strip_prefix("gatewright:plugin/") else {
            return Err(LoadError::UnknownImport(full.to_owned()));
        };
        if !is_spoken(version) {
            return Err(LoadError::WrongVersion(full.to_owned()));
        }
        Ok(match interface {
            "types" => Import::Types,
            "exchange" => Import::Exchange,
            "hooks" => Import::Hooks,
            "log" => Import::Log,
            "metrics" => Import::Metrics,
            "clock" => Import::Clock,
            "random" => Import::Random,
            "shared-store" => Import::SharedStore,
            "rate-limit" => Import::RateLimit,
            "concurrency" => Import::Concurrency,
            "codec" => Import::Codec,
            "json-schema" => Import::JsonSchema,
            "consumers" => Import::Consumers,
            "jwt" => Import::Jwt,
            "seal" => Import::Seal,
            "secrets" => Import::Secrets,
            "http-client" => Import::HttpClient,
            "password" => Import::Password,
            "single-flight" => Import::SingleFlight,
            _ => return Err(LoadError::UnknownImport(full.to_owned())),
        })
    }

    /// The name in the contract.
    pub fn name(&self) -> &str {
        match self {
            Import::Types => "types",
            Import::Exchange => "exchange",
            Import::Hooks => "hooks",
            Import::Log => "log",
            Import::Metrics => "metrics",
            Import::Clock => "clock",
            Import::Random => "random",
            Import::SharedStore => "shared-store",
            Import::RateLimit => "rate-limit",
            Import::Concurrency => "concurrency",
            Import::Codec => "codec",
            Import::JsonSchema => "json-schema",
            Import::Consumers => "consumers",
            Import::Jwt => "jwt",
            Import::Seal => "seal",
            Import::Secrets => "secrets",
            Import::HttpClient => "http-client",
            Import::Password => "password",
            Import::SingleFlight => "single-flight",
            Import::Wasi(name) => name,
        }
    }
}

impl Exports {
    fn find(component: &Component) -> Result<Exports, LoadError> {
        let find = |interface: &str, function: &str| {
            let (_, instance) = component.get_export(None, format!("gatewright:plugin/{interface}@{VERSION}"))?;
            component.get_export(Some(&instance), function).map(|(_, index)| index)
        };
        let exports = Exports {
            describe: find("lifecycle", "describe").ok_or_else(|| missing(component, "lifecycle.describe"))?,
            configure: find("lifecycle", "configure").ok_or_else(|| missing(component, "lifecycle.configure"))?,
            on_request: find("request-hook", "on-request"),
            on_request_body: find("request-body-hook", "on-request-body"),
            on_response: find("response-hook", "on-response"),
            on_response_body: find("response-body-hook", "on-response-body"),
            on_complete: find("completion-hook", "on-complete"),
            on_tick: find("background", "on-tick"),
        };
        let any = [exports.on_request, exports.on_request_body, exports.on_response, exports.on_response_body];
        if any.iter().chain([&exports.on_complete, &exports.on_tick]).all(|hook| hook.is_none()) {
            return Err(LoadError::MissingExport("a hook (request-hook, response-hook, ...)"));
        }
        Ok(exports)
    }
}

impl Manifest {
    fn parse(text: &str) -> Result<Manifest, String> {
        let value: Value = serde_json::from_str(text).map_err(|error| format!("describe gave no JSON: {error}"))?;
        let Value::Object(fields) = &value else { return Err("describe gave JSON that is no object".into()) };
        let text = |name: &str| fields.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let schema = |name: &str| fields.get(name).filter(|schema| !schema.is_null()).cloned();
        let metrics = fields.get("metrics").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        Ok(Manifest {
            name: text("name"),
            version: text("version"),
            config_schema: schema("config-schema"),
            credential_schema: schema("credential-schema"),
            limit_schema: schema("limit-schema"),
            metrics: metrics.iter().filter_map(MetricDeclaration::parse).collect(),
        })
    }

    /// The declarations in the form that the host's metrics use.
    pub fn declarations(&self) -> Vec<metrics::Declaration> {
        let declaration = |declared: &MetricDeclaration| metrics::Declaration {
            name: declared.name.clone(),
            kind: match declared.kind.as_str() {
                "gauge" => metrics::Kind::Gauge,
                "histogram" => metrics::Kind::Histogram(Vec::new()),
                _ => metrics::Kind::Counter,
            },
            help: declared.help.clone(),
            labels: declared.labels.clone(),
        };
        self.metrics.iter().map(declaration).collect()
    }
}

impl MetricDeclaration {
    fn parse(value: &Value) -> Option<MetricDeclaration> {
        let text = |name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
        let labels = value.get("labels").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        Some(MetricDeclaration {
            name: text("name")?,
            kind: text("kind").or_else(|| text("type")).unwrap_or_else(|| "counter".into()),
            help: text("help").unwrap_or_default(),
            labels: labels.iter().filter_map(|label| label.as_str().map(str::to_owned)).collect(),
        })
    }
}

/// The version of the contract that this gateway speaks, `gatewright:plugin@0.1.x`.
pub const VERSION: &str = "0.1.0";

fn is_spoken(version: &str) -> bool {
    version.strip_prefix("0.1.").is_some_and(|patch| patch.parse::<u32>().is_ok())
}

/// Compiles a component, and takes it apart if its core modules can run directly.
fn compile_apart(engine: &Engine, bytes: &[u8]) -> Result<(Component, Option<Apart>), LoadError> {
    check_kind(bytes)?;
    if let Some(apart) = Apart::take(bytes) {
        // Errors should be about the component as it was given.
        if let Ok(component) = compile(engine, &apart.component) {
            return Ok((component, Some(apart)));
        }
    }
    Ok((compile(engine, bytes)?, None))
}

/// Compiles a component, or takes it from the cache.
pub(super) fn compile(engine: &Engine, bytes: &[u8]) -> Result<Component, LoadError> {
    check_kind(bytes)?;
    if let Some(component) = engine.cache().and_then(|cache| cache.get(engine.wasmtime(), bytes)) {
        return Ok(component);
    }
    let component =
        Component::from_binary(engine.wasmtime(), bytes).map_err(|error| LoadError::Invalid(format!("{error:#}")))?;
    if let Some(cache) = engine.cache() {
        cache.put(bytes, &component);
    }
    Ok(component)
}

/// Refuses what is not a component, or too large.
pub(super) fn check_kind(bytes: &[u8]) -> Result<(), LoadError> {
    if bytes.len() > COMPONENT_BYTES {
        return Err(LoadError::TooLarge(bytes.len()));
    }
    match bytes.get(..8) {
        Some([b'\0', b'a', b's', b'm', _, _, 1, 0]) => Ok(()),
        Some([b'\0', b'a', b's', b'm', ..]) => Err(LoadError::CoreModule),
        _ => Err(LoadError::NotWasm),
    }
}

/// The error for a missing export. A wrong version of the contract, or another contract, shows up the same way; the
/// error names the real cause.
fn missing(component: &Component, name: &'static str) -> LoadError {
    let exports = exports(component);
    let ours = |name: &&String| name.starts_with("gatewright:plugin/");
    let version = |name: &str| name.split_once('@').map_or(String::new(), |(_, version)| version.to_owned());
    if let Some(other) = exports.iter().filter(ours).find(|name| !is_spoken(&version(name))) {
        return LoadError::WrongVersion(other.clone());
    }
    if exports.iter().any(|name| ours(&name)) || exports.is_empty() {
        return LoadError::MissingExport(name);
    }
    LoadError::OtherWorld(exports.into_iter().take(MOST_NAMED).collect())
}

fn exports(component: &Component) -> Vec<String> {
    let kind = component.component_type();
    let names = kind.exports(component.engine()).map(|(name, _)| name.to_owned());
    names.filter(|name| !direct::is_added(name)).collect()
}

/// How many exports of a component a message lists.
pub(super) const MOST_NAMED: usize = 5;
