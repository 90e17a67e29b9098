//! gateway.json as written: from text to a [`Config`], with every mistake reported at once.
//!
//! ```text
//!     text ─document→ value with positions ─schema→ ─serde→ Config ─check→ Loaded
//! ```
//!
//! The types are the manual: the JSON Schema and the reference page are generated from their doc comments. That schema,
//! derived from the same structs, also checks the value before serde sees it, because serde stops at its first error
//! and knows no position. What a schema cannot express (a route to an upstream that does not exist) is in `check`. A
//! section with a mistake does not keep the others from being checked.
//!
//! Nothing here opens a socket or loads a plugin, and no other room of the crate is imported: code that can check more
//! (a plugin's own schema, for example) reports through [`Loaded::diagnostic`], in the same style.
//!
//! Rejected: serde's `flatten` and `untagged` (they lose positions and say "did not match any variant"); a custom
//! deserializer that carries spans into every field (each type would have to be wrapped, and plugin configurations
//! checked in another way).

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use schemars::{JsonSchema, generate::SchemaSettings};
use serde::Deserialize;
use serde_json::{Map, Value, json};

pub mod address;
pub mod admin;
mod alternatives;
pub mod cache;
mod check;
pub mod consumer;
pub mod cookie;
pub mod delivery;
mod destination;
pub mod diagnostic;
pub mod document;
pub mod expand;
mod explain;
mod file;
mod forms;
pub mod forwarding;
pub mod granted;
pub mod grpc;
pub mod health;
pub mod https;
pub mod layer4;
pub mod limits;
pub mod listener;
pub mod mirror;
pub mod pattern;
pub mod plugin;
pub mod registry;
pub mod resolver;
pub mod rewrite;
pub mod route;
pub mod schema;
mod sections;
mod service;
pub mod store;
pub mod target;
pub mod text;
pub mod tls;
pub mod units;
pub mod upstream;
pub mod versions;

pub use address::{EndpointAddress, ListenAddress};
pub use admin::{AccessLog, Admin, CompileCache, Secret, Shutdown};
pub use cache::{ResponseCache, RouteCache};
pub use consumer::Consumer;
pub use cookie::{CookieName, CookiePath};
pub use delivery::{Backoff, Concurrency, GrpcStatus, Retries, RetryBudget, RetryOn, RouteTimeouts};
pub use diagnostic::{Diagnostic, Report, Span, Text, suggest};
pub use document::{Document, child};
pub use expand::{Environment, Process};
pub use file::read;
pub use forwarding::Forwarding;
pub use granted::Granted;
pub use grpc::{GrpcMatch, GrpcPart};
pub use health::{EjectOn, Ejection, Expect, GrpcHealth, Health, InitialHealth, StatusRange, SuccessRate, TcpHealth};
pub use https::{Hsts, HttpsRedirect};
pub use layer4::{AcceptProxyProtocol, ForwardTarget, Layer, Others, Passthrough, ProxyProtocol};
pub use limits::{Limits, Timeouts};
pub use listener::{AddressLists, Listener, Protocol};
pub use mirror::Mirror;
pub use pattern::{HostPattern, PathPattern, Regex};
pub use plugin::{Breaker, Grants, Isolation, OnError, Plugin, PluginLimits, Source};
pub use registry::{OciDigest, OciReference, Registries, RegistryHost, Verify};
pub use resolver::{DnsServer, Resolver, Unresolved};
pub use rewrite::{HeaderChanges, PathRewrite, PathText, Redirect, Rewrite};
pub use route::{HeaderName, Match, Method, PathMatch, PluginUse, Route, RouteLimits, ValueMatch};
pub use schema::Schema;
pub use service::{Service, ServiceGrants, ServiceLimits};
pub use store::{OnStoreError, RedisAddress, Store};
pub use target::Target;
pub use text::{Cidr, Name};
pub use tls::{Certificate, ClientCertificates, ListenerTls, TlsVersion, UpstreamTls};
pub use units::{Duration, Rate, Size};
pub use upstream::{
    Balance, Endpoint, Hash, HashBy, NoneAvailable, Resolve, SameSite, Sticky, Upstream, UpstreamProtocol,
};
pub use versions::{Version, VersionBy, Versions};

/// The configuration of the gateway. Durations, sizes and rates are strings with units ("5s", "64KiB", "100/min").
/// Comments and trailing commas are allowed. In every string, `${VAR}`, `${VAR:-default}`, `${file:path}` and
/// `${base64:path}` are expanded.
#[derive(Clone, Debug, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("required" = ["listeners"]))]
pub struct Config {
    /// The schema of this file, for editors. The gateway ignores it.
    #[serde(rename = "$schema")]
    pub schema: Option<String>,

    /// Threads that handle requests, each with its own sockets and connection pools. Default: one per CPU core.
    #[schemars(range(min = 1, max = 1024))]
    pub workers: Option<u16>,

    /// The addresses that accept clients. There is no default, because a port should only be opened on request.
    #[schemars(length(min = 1, max = 256))]
    pub listeners: Vec<Listener>,

    /// Groups of servers, by name. Default: none.
    #[schemars(transform = forms::keyed_by_name)]
    pub upstreams: BTreeMap<String, Upstream>,

    /// How hostnames of endpoints are resolved.
    pub resolver: Resolver,

    /// Settings of plugins, by name. Stock plugins work without an entry. Default: none.
    #[schemars(transform = forms::keyed_by_name)]
    pub plugins: BTreeMap<String, Plugin>,

    /// OCI registries that plugins are fetched from.
    pub registries: Registries,

    /// Wasm components that answer requests themselves (`wasi:http`), by name. Default: none.
    #[schemars(transform = forms::keyed_by_name)]
    pub services: BTreeMap<String, Service>,

    /// Servers in which several gateways share counts, by name. A plugin keeps its counts in the store that its
    /// `grants` name. Default: none.
    #[schemars(transform = forms::keyed_by_name)]
    pub stores: BTreeMap<String, Store>,

    /// Known callers, by name: their credentials, groups and limits. Default: none.
    #[schemars(transform = forms::keyed_by_name)]
    pub consumers: BTreeMap<String, Consumer>,

    /// Which requests go where. A request that matches no route is answered with 404. Default: none.
    #[schemars(length(max = 100_000))]
    pub routes: Vec<Route>,

    /// The admin API. Default: off; `{}` turns it on at 127.0.0.1:9901.
    pub admin: Option<Admin>,

    /// The destination of the access log: "stdout", "stderr", "off", or an object with a `file`. Default: "stdout".
    pub access_log: AccessLog,

    /// What one client may use.
    pub limits: Limits,

    /// How long the gateway waits for clients.
    pub timeouts: Timeouts,

    /// The addresses of proxies in front of the gateway. `Forwarded` and `X-Forwarded-*` are trusted on connections
    /// from these and removed from all other requests. Default: none.
    #[schemars(length(max = 10_000))]
    pub trusted_proxies: Vec<Cidr>,

    /// Which header fields tell upstreams about the client. Default: all but `response_via`.
    pub forwarding: Forwarding,

    /// PEM files with certificate authorities that are trusted in addition to the system's, unless others are
    /// configured: by the `tls` of an upstream without `ca`, and for https URLs that name no upstream. Paths are
    /// relative to gateway.json; the files are watched. Default: none.
    #[schemars(length(max = 100), inner(length(min = 1)))]
    pub trusted_authorities: Vec<String>,

    /// Secrets, by name. A plugin may read those that its `grants` name. Default: none.
    #[schemars(transform = forms::keyed_by_name)]
    pub secrets: BTreeMap<String, Secret>,

    /// Settings that all routes with a `cache` share.
    pub response_cache: ResponseCache,

    /// Keeps compiled plugins on disk between starts. Default: off; plugins are compiled at every start.
    pub compile_cache: Option<CompileCache>,

    /// How the gateway shuts down.
    pub shutdown: Shutdown,
}

/// A valid configuration, and the text it came from.
#[derive(Clone, Debug)]
pub struct Loaded {
    pub config: Config,
    pub document: Document,
}

impl Loaded {
    /// Reads the file at `path`. `known_plugins` are the names of the stock plugins. `${..}` is expanded from this
    /// process's environment and from files next to `path`.
    pub fn read(path: &Path, known_plugins: &[&str]) -> Result<Loaded, Report> {
        let file = path.to_string_lossy();
        let mut bytes = Vec::new();
        let limit = document::LARGEST_TEXT as u64 + 1;
        let read = std::fs::File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes));
        if let Err(error) = read {
            let unreadable = Diagnostic::new(format!("cannot read the configuration: {error}"), "", None);
            return Err(Report::new(file, Arc::new("".into()), vec![unreadable]));
        }
        Loaded::from_bytes(&file, &bytes, &Process::beside(path), known_plugins)
    }

    /// The same for bytes from elsewhere, such as the body of a request to the admin API.
    pub fn from_bytes(
        file: &str,
        bytes: &[u8],
        environment: &dyn Environment,
        known_plugins: &[&str],
    ) -> Result<Loaded, Report> {
        match std::str::from_utf8(bytes) {
            Ok(text) => Loaded::parse(file, text, environment, known_plugins),
            Err(error) => {
                let at = error.valid_up_to();
                let wrong = Diagnostic::new("the file is not UTF-8", "", Some(at..at + '\u{fffd}'.len_utf8()));
                let text = Text::new(String::from_utf8_lossy(bytes));
                Err(Report::new(file, Arc::new(text), vec![wrong]))
            }
        }
    }

    /// The same for a text. `file` is its name in messages.
    pub fn parse(
        file: &str,
        text: &str,
        environment: &dyn Environment,
        known_plugins: &[&str],
    ) -> Result<Loaded, Report> {
        let (document, mut found) = Document::parse_with_faults(file, text, environment)?;
        let schema = match own_schema() {
            Ok(schema) => schema,
            Err(error) => return Err(document.report(vec![document.at_key("", error.clone())])),
        };
        // A string that could not be expanded is not what was meant, so only the failed expansion is reported.
        let faulty: Vec<String> = found.iter().map(|fault| fault.pointer.clone()).collect();
        found.extend(
            schema
                .check(document.value(), &document, "")
                .into_iter()
                .filter(|mistake| !faulty.contains(&mistake.pointer)),
        );
        if found.is_empty() {
            match Config::deserialize(document.value()) {
                Ok(config) => {
                    let found = check::check(&sections::Sections::of(&config), &document, known_plugins);
                    if found.is_empty() {
                        return Ok(Loaded { config, document });
                    }
                    return Err(document.report(found));
                }
                Err(_) => found.push(file::misread::<Config>(&document)),
            }
        }
        let salvaged = sections::Salvaged::from(document.value());
        found.extend(check::check(&salvaged.sections(), &document, known_plugins));
        Err(document.report(found))
    }

    /// A mistake found by another room, at the value under `pointer` (see [`child`]). The message must not show a value
    /// for which [`Document::is_expanded`] holds; [`Document::written`] is always safe to show.
    pub fn diagnostic(&self, pointer: &str, message: impl Into<String>, help: Option<&str>) -> Diagnostic {
        let diagnostic = self.document.at_value(pointer, message);
        match help {
            Some(help) => diagnostic.with_help(help),
            None => diagnostic,
        }
    }

    /// All of `diagnostics` as one report on this text.
    pub fn report(&self, diagnostics: Vec<Diagnostic>) -> Report {
        self.document.report(diagnostics)
    }
}

/// The JSON Schema of gateway.json. `plugins` are the configuration schemas of the stock plugins by name, which are
/// embedded in the entries of a chain; `credentials` and `limits` are the schemas of what they take from consumers.
/// With them, editors complete and check all of it. The same input always gives the same text.
pub fn json_schema(
    plugins: &BTreeMap<String, Value>,
    credentials: &BTreeMap<String, Value>,
    limits: &BTreeMap<String, Value>,
) -> Value {
    let mut schema = schema_of::<Config>();
    if let Some(root) = schema.as_object_mut() {
        root.insert("title".to_owned(), json!("gateway.json"));
    }
    for (name, plugin) in plugins {
        let reference = embed(&mut schema, &format!("plugin.{name}"), plugin);
        schema["$defs"][route::PLUGIN_USE]["anyOf"][1]["properties"][name] = reference;
    }
    for (name, credential) in credentials {
        let reference = embed(&mut schema, &format!("credential.{name}"), credential);
        let listed = json!({ "type": "array", "items": reference });
        schema["$defs"]["Consumer"]["properties"]["credentials"]["properties"][name] = listed;
    }
    for (name, limit) in limits {
        let reference = embed(&mut schema, &format!("limit.{name}"), limit);
        schema["$defs"]["Consumer"]["properties"]["limits"]["properties"][name] = reference;
    }
    schema
}

/// The JSON Schema of a type that is read from a file.
fn schema_of<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().with_transform(schemars::transform::RecursiveTransform(without_null));
    settings.into_generator().into_root_schema_for::<T>().to_value()
}

/// Embeds the schema of a plugin among the definitions, and returns the reference to it.
fn embed(schema: &mut Value, definition: &str, part: &Value) -> Value {
    let mut part = part.clone();
    relocate_references(&mut part, &format!("#/$defs/{definition}"));
    if let Some(object) = part.as_object_mut() {
        object.remove("$schema");
        object.remove("$id");
    }
    schema["$defs"][definition] = part;
    json!({ "$ref": format!("#/$defs/{definition}") })
}

/// The schema for checking gateway.json, compiled once. It contains no plugin names, which are resolved later.
fn own_schema() -> &'static Result<Schema, String> {
    static OWN: OnceLock<Result<Schema, String>> = OnceLock::new();
    OWN.get_or_init(|| {
        let schema = json_schema(&BTreeMap::new(), &BTreeMap::new(), &BTreeMap::new());
        Schema::compile(&schema).map_err(|error| format!("the gateway's own schema is wrong: {error}"))
    })
}

/// Optional keys are left out, never null, so that there is one way to write each thing. The names of Rust's integer
/// types mean nothing to readers.
fn without_null(schema: &mut schemars::Schema) {
    let Some(object) = schema.as_object_mut() else { return };
    if object.get("format").and_then(Value::as_str).is_some_and(|format| format.starts_with("uint")) {
        object.remove("format");
    }
    if let Some(types) = object.get_mut("type").and_then(Value::as_array_mut) {
        types.retain(|name| name != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            object.insert("type".to_owned(), only);
        }
    }
    if let Some(alternatives) = object.get_mut("anyOf").and_then(Value::as_array_mut) {
        alternatives.retain(|alternative| alternative != &json!({ "type": "null" }));
        if let [Value::Object(only)] = alternatives.as_slice() {
            let only = only.clone();
            object.remove("anyOf");
            for (keyword, value) in only {
                object.entry(keyword).or_insert(value);
            }
        }
    }
    if object.get("default") == Some(&Value::Null) {
        object.remove("default");
    }
}

/// Adjusts the references inside an embedded schema to its new position.
fn relocate_references(schema: &mut Value, base: &str) {
    match schema {
        Value::Array(items) => items.iter_mut().for_each(|item| relocate_references(item, base)),
        Value::Object(members) => relocate_members(members, base),
        _ => {}
    }
}

fn relocate_members(members: &mut Map<String, Value>, base: &str) {
    for (keyword, value) in members {
        match (keyword.as_str(), value) {
            ("$ref", Value::String(reference)) => {
                if let Some(rest) = reference.strip_prefix('#') {
                    *reference = format!("{base}{rest}");
                }
            }
            // Data, not schema.
            ("const" | "enum" | "default" | "examples", _) => {}
            (_, value) => relocate_references(value, base),
        }
    }
}

#[cfg(test)]
mod laws;
#[cfg(test)]
mod tests;
