//! A checked configuration, ready to run: every name resolved, every pattern compiled, every plugin loaded and tried.
//!
//! `check`, startup, reloads and the admin API build snapshots the same way; afterwards only binding sockets can still
//! fail. A snapshot never changes. Whatever is unchanged since the previous one is taken over (upstreams with their
//! connections, plugins with their warm instances), so that a reload costs only what it changes.

mod consumers;
mod delivery;
mod discovery;
mod health;
mod https;
mod layer4;
mod listener_policy;
mod listeners;
mod mirrors;
mod plugins;
mod process;
mod read_plugin;
mod registries;
mod routes;
mod services;
mod stores;
mod targets;
mod upstreams;
mod versions;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

pub use https::Https;
pub use layer4::{Layer, Rules};
pub use listener_policy::{Listener, ListenerPolicy, Parting};
pub use listeners::{Listen, has_ipv6};
pub use mirrors::{Mirrored, Mirrors};
pub use plugins::Loader;
pub use read_plugin::ReadPlugin;
pub use registries::{Sources, references, settings as registry_settings};
pub use routes::{BodyLimits, Route};
pub use targets::{Edits, Goal, Target};
pub use versions::Versioned;

use crate::cache::Cache;
use crate::capability::jwt::Documents;
use crate::capability::password::Passwords;
use crate::capability::remote::Remote;
use crate::capability::secrets::{self, Secrets};
use crate::capability::store::Stores;
use crate::config::{self, Diagnostic, Loaded, Report};
use crate::exchange::RequestHead;
use crate::headers::{Policy, Reject};
use crate::http;
use crate::networks::Networks;
use crate::plugin::{Engine, Plugin};
use crate::router::{PathPattern, RequestView, Router};
use crate::telemetry::metrics::{Metrics, RequestLimit};
use crate::tls;
use crate::upstream::Upstream;

/// A configuration that is ready to run.
pub struct Snapshot {
    /// The configuration that the snapshot was built from.
    pub loaded: Loaded,
    /// Which forwarding headers are sent to upstreams.
    pub forwarding: Policy,
    /// The limits of client connections.
    http: Arc<http::Settings>,
    http_without_h2: Arc<http::Settings>,
    http_without_h1: Arc<http::Settings>,
    pub listeners: Vec<Listen>,
    servers: listeners::Servers,
    /// By the listener's name.
    rules: BTreeMap<Arc<str>, Arc<Rules>>,
    https: BTreeMap<Arc<str>, Arc<Https>>,
    pub router: Router,
    routes: Vec<Route>,
    upstreams: BTreeMap<Arc<str>, Arc<Upstream>>,
    plugins: plugins::Loaded,
    services: services::Services,
    stores: stores::Stores,
    /// The stored responses of the routes with a cache.
    pub cache: Arc<Cache>,
    trust: Arc<tls::Trust>,
    /// The path of gateway.json.
    path: PathBuf,
    /// Its directory, to which paths are relative.
    directory: PathBuf,
    trusted: Networks,
    /// Whether any listener restricts client addresses.
    has_gates: bool,
    /// How names of endpoints are resolved.
    pub resolver: crate::discovery::Settings,
    admin_token: Option<Arc<str>>,
}

/// A route that matches a request.
#[derive(Clone, Copy)]
pub struct Found<'a> {
    pub snapshot: &'a Snapshot,
    pub route: &'a Route,
    /// The route's index in the configuration.
    pub index: usize,
    /// Index of the router rule that matched.
    pub rule: usize,
}

impl<'a> Found<'a> {
    /// The rule's path pattern, which rewrites and redirects refer to.
    pub fn pattern(self) -> Option<&'a PathPattern> {
        self.snapshot.pattern(self.rule)
    }
}

/// What snapshots are built with, and what outlives them.
pub struct Workshop {
    pub engine: Engine,
    pub metrics: Arc<Metrics>,
    pub stores: Stores,
    pub loader: Mutex<Loader>,
    /// The key sets from addresses and files.
    pub documents: Arc<Documents>,
    /// Checks passwords for all plugins.
    pub passwords: Arc<Passwords>,
    /// gateway.json.
    pub path: PathBuf,
    /// The directory of gateway.json, to which paths are relative.
    pub directory: PathBuf,
}

impl Snapshot {
    /// Builds everything that a configuration describes. Takes as long as compiling the new plugins; never call it on a
    /// data core.
    ///
    /// # Errors
    /// Every mistake that was found, each with its position.
    pub fn build(loaded: Loaded, workshop: &Workshop, previous: Option<&Snapshot>) -> Result<Snapshot, Report> {
        let mut mistakes = Vec::new();
        let secrets = read_secrets(&loaded, workshop, &mut mistakes);
        let trust = trust(&loaded, &workshop.directory, &mut mistakes);
        let outward = (&*trust, &*workshop.directory);
        let before = previous.map(|previous| &previous.upstreams);
        let upstreams = upstreams::build(&loaded, &secrets, &trust, workshop, before, &mut mistakes);
        let resolver = discovery::settings(&loaded, workshop);
        if mistakes.is_empty() {
            discovery::ask(&loaded, &resolver, &upstreams, &mut mistakes);
        }
        let sources = Sources::of(&loaded, &workshop.path, &mut mistakes);
        let stores =
            stores::build(&loaded, &secrets, outward, previous.map(|previous| &previous.stores), &mut mistakes);
        let materials =
            plugins::Materials { upstreams: &upstreams, stores: &stores, secrets: &secrets, sources: &sources };
        let plugins = plugins::build(&loaded, workshop, materials, previous.map(|p| &p.plugins), &mut mistakes);
        let services =
            services::build(&loaded, workshop, &upstreams, previous.map(|previous| &previous.services), &mut mistakes);
        let goals = targets::Goals { upstreams: &upstreams, services: &services };
        let routes = routes::build(&loaded, workshop, goals, &plugins, previous);
        let router = routes::router(&loaded, &mut mistakes);
        let trusted = layer4::networks(&loaded.config.trusted_proxies);
        let admin_token = process::admin_token(&loaded, &secrets, &mut mistakes);
        process::access_log(&loaded, &workshop.directory, &mut mistakes);
        let servers = listeners::servers(&loaded, &workshop.directory, previous.map(|p| &p.servers), &mut mistakes);
        if !mistakes.is_empty() {
            return Err(loaded.report(mistakes));
        }
        let listeners = listeners::listeners(&loaded.config);
        let rules = layer4::rules(&loaded.config, &workshop.metrics, &upstreams);
        let has_gates = rules.values().any(|rules| rules.gate.is_some());
        let cache = cache(&loaded.config, previous);
        let http = http_settings(&loaded.config, &workshop.metrics);
        Ok(Snapshot {
            forwarding: policy(&loaded.config.forwarding),
            http_without_h2: Arc::new(without_h2(&http)),
            http_without_h1: Arc::new(http::Settings { http1: false, ..http.clone() }),
            http: Arc::new(http),
            admin_token,
            listeners,
            servers,
            rules,
            https: https::https(&loaded.config),
            router,
            routes,
            upstreams,
            plugins,
            services,
            stores,
            cache,
            trusted,
            trust,
            path: workshop.path.clone(),
            directory: workshop.directory.clone(),
            has_gates,
            resolver,
            loaded,
        })
    }

    /// The connection limits of this listener.
    pub fn settings_of(&self, listen: &Listen) -> Arc<http::Settings> {
        match (listen.http1, listen.http2) {
            (true, true) => self.http.clone(),
            (true, false) => self.http_without_h2.clone(),
            (false, _) => self.http_without_h1.clone(),
        }
    }

    /// The listeners that redirect to https or send HSTS, by name.
    pub fn https_listeners(&self) -> impl Iterator<Item = (&Arc<str>, &Https)> {
        self.https.iter().map(|(name, https)| (name, &**https))
    }

    /// The rules of every listener, by its name.
    pub fn rules(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<Rules>)> {
        self.rules.iter()
    }

    /// The route that matches the request.
    pub fn find(&self, request: &RequestHead) -> Option<Found<'_>> {
        let view = RequestView {
            method: &request.method,
            authority: request.authority(),
            path: request.target.path(),
            query: request.target.query(),
            headers: &request.headers,
        };
        let rule = self.router.find(&view)?;
        let index = self.router.route(rule)?;
        Some(Found { snapshot: self, route: self.routes.get(index)?, index, rule })
    }

    /// The path pattern of a router rule.
    pub fn pattern(&self, rule: usize) -> Option<&PathPattern> {
        self.router.pattern(rule)
    }

    /// The same, if the pattern has parameters.
    pub fn template(&self, rule: usize) -> Option<&Arc<PathPattern>> {
        self.router.template(rule)
    }

    pub fn route(&self, index: usize) -> Option<&Route> {
        self.routes.get(index)
    }

    /// All routes, in the order of the configuration.
    pub fn routes(&self) -> &[Route] {
        &self.routes
    }

    pub fn upstream(&self, name: &str) -> Option<&Arc<Upstream>> {
        self.upstreams.get(name)
    }

    /// All upstreams, by name.
    pub fn upstreams(&self) -> impl Iterator<Item = &Arc<Upstream>> {
        self.upstreams.values()
    }

    /// All stores that plugins may be granted, by name.
    pub fn stores(&self) -> impl Iterator<Item = &Arc<Remote>> {
        self.stores.values()
    }

    /// All running plugins, once per configuration of a plugin.
    pub fn plugins(&self) -> impl Iterator<Item = &Arc<Plugin>> {
        self.plugins.all()
    }

    /// The TLS of a listener; `None` if the listener has no TLS or is no longer in the configuration.
    pub fn tls(&self, listener: &str) -> Option<&Arc<tls::Server>> {
        self.servers.get(listener)
    }

    /// The listeners with TLS, by name.
    pub fn tls_listeners(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<tls::Server>)> {
        self.servers.iter()
    }

    /// The time limit of a TLS handshake.
    pub fn handshake_timeout(&self) -> std::time::Duration {
        self.loaded.config.timeouts.handshake.into()
    }

    /// The authorities that servers are verified with by default.
    pub fn trust(&self) -> &Arc<tls::Trust> {
        &self.trust
    }

    /// The files that this snapshot was built from, besides gateway.json: a change to one of them requires a new build.
    pub fn files(&self) -> Vec<PathBuf> {
        let (config, directory) = (&self.loaded.config, &self.directory);
        let registries = registries::files(config, directory, &self.path);
        let services = self.services.files().iter().cloned();
        self.plugins.files().into_iter().chain(services).chain(registries).chain(tls_files(config, directory)).collect()
    }

    /// The token that clients of the admin API must present; `None` if the configuration requires none.
    pub fn admin_token(&self) -> Option<&Arc<str>> {
        self.admin_token.as_ref()
    }

    /// Whether the address belongs to a proxy whose forwarding headers are trusted.
    #[inline]
    pub fn trusts(&self, address: IpAddr) -> bool {
        self.trusted.contain(address)
    }
}

/// The files named in the configuration at `path` that a snapshot of it is built from.
pub fn files_of(config: &config::Config, path: &Path) -> Vec<PathBuf> {
    let directory = path.parent().unwrap_or(Path::new(""));
    let plugins = config.plugins.values().filter_map(|plugin| plugin.source.as_ref());
    let services = config.services.values().map(|service| &service.source);
    let components = plugins.chain(services).filter_map(|source| match source {
        config::Source::File(file) => Some(directory.join(file)),
        config::Source::Oci(_) | config::Source::Stock(_) => None,
    });
    components.chain(registries::files(config, directory, path)).chain(tls_files(config, directory)).collect()
}

/// Certificates, keys and authorities, for both sides.
fn tls_files(config: &config::Config, directory: &Path) -> Vec<PathBuf> {
    let authorities = config.trusted_authorities.iter().map(|file| directory.join(file));
    let both = listeners::files(config, directory).into_iter().chain(upstreams::files(config, directory));
    both.chain(stores::files(config, directory)).chain(authorities).collect()
}

/// The system's authorities and those in `trusted_authorities`.
pub fn trust(loaded: &Loaded, directory: &Path, mistakes: &mut Vec<Diagnostic>) -> Arc<tls::Trust> {
    let files: Vec<PathBuf> = loaded.config.trusted_authorities.iter().map(|file| directory.join(file)).collect();
    let trust = tls::Trust::load(&files).unwrap_or_else(|found| {
        mistakes.extend(found.into_iter().map(|(at, mistake)| {
            let pointer = format!("/trusted_authorities/{at}");
            loaded.diagnostic(&pointer, mistake.message, mistake.help.as_deref())
        }));
        tls::Trust::default()
    });
    Arc::new(trust)
}

fn read_secrets(loaded: &Loaded, workshop: &Workshop, mistakes: &mut Vec<Diagnostic>) -> Secrets {
    let sources: Vec<(&str, secrets::Source)> = loaded
        .config
        .secrets
        .iter()
        .map(|(name, secret)| {
            let source = match secret {
                config::Secret::Env(variable) => secrets::Source::Environment(variable.clone()),
                config::Secret::File(path) => secrets::Source::File(workshop.directory.join(path)),
            };
            (name.as_str(), source)
        })
        .collect();
    let mut read = Secrets::default();
    let all = sources.iter().map(|(name, source)| (*name, source));
    match Secrets::read(all, |variable| std::env::var_os(variable)) {
        Ok(secrets) => read = secrets,
        Err(found) => {
            // Each text begins with the secret's name, from which the position is derived.
            for text in found {
                let name = sources.iter().map(|(name, _)| *name).find(|name| text.contains(&format!("{name:?}")));
                let pointer = name.map_or_else(|| "/secrets".to_owned(), |name| config::child("/secrets", name));
                mistakes.push(loaded.diagnostic(&pointer, text, None));
            }
        }
    }
    read
}

/// The previous snapshot's cache, unless its memory limit has changed.
fn cache(config: &config::Config, previous: Option<&Snapshot>) -> Arc<Cache> {
    let bytes = config.response_cache.memory.as_usize() as u64;
    let same = previous.map(|previous| &previous.cache).filter(|cache| cache.bytes() == bytes);
    same.map_or_else(|| Arc::new(Cache::new(bytes)), Arc::clone)
}

fn policy(forwarding: &config::Forwarding) -> Policy {
    let config::Forwarding { x_forwarded, forwarded, via, response_via, request_id } = *forwarding;
    Policy {
        x_forwarded_for: x_forwarded,
        x_forwarded_proto: x_forwarded,
        x_forwarded_host: x_forwarded,
        x_forwarded_port: x_forwarded,
        forwarded,
        via,
        response_via,
        x_request_id: request_id,
    }
}

fn http_settings(config: &config::Config, metrics: &Arc<Metrics>) -> http::Settings {
    let (limits, timeouts) = (&config.limits, &config.timeouts);
    let metrics = metrics.clone();
    http::Settings {
        head_bytes_limit: limits.header_bytes.as_usize(),
        request_line_bytes_limit: limits.request_line.as_usize(),
        fields_limit: limits.header_count as usize,
        head_timeout: timeouts.header_read.into(),
        idle_timeout: timeouts.idle.into(),
        body_idle_timeout: timeouts.body.into(),
        write_timeout: timeouts.send.into(),
        http2: http::Http2 { streams_limit: limits.concurrent_streams, ..http::Http2::default() },
        on_reject: Some(Arc::new(move |_, reject| metrics.server.limit_hit(limit_of(reject)))),
        ..http::Settings::default()
    }
}

fn limit_of(reject: Reject) -> RequestLimit {
    match reject {
        Reject::TargetTooLong => RequestLimit::RequestLine,
        Reject::HeadTooLarge => RequestLimit::HeadBytes,
        Reject::HeadTimeout => RequestLimit::HeadTime,
        _ => RequestLimit::Framing,
    }
}

fn without_h2(settings: &http::Settings) -> http::Settings {
    let http2 = http::Http2 { prior_knowledge: false, ..settings.http2.clone() };
    http::Settings { http2, ..settings.clone() }
}
