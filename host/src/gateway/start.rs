//! What is created once, before anything runs.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, OnceLock};

use arc_swap::ArcSwap;

use super::control::Spawn;
use super::outbound::Outbound;
use super::worker::Worker;
use super::{Error, Running, Shared, control, load, pull, system, tasks};
use crate::admin::{self, Admin};
use crate::capability::jwt::{Documents, Timing};
use crate::capability::store::Stores;
use crate::config::{self, Loaded};
use crate::plugin::Engine;
use crate::snapshot::{Loader, Snapshot, Workshop, has_ipv6};
use crate::stock;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::{self, AccessLog, Level, access_log};

/// Does everything that a start does except binding, and returns what would run.
///
/// # Errors
/// As [`Gateway::start`].
pub fn build(path: &Path) -> Result<Snapshot, Error> {
    let loaded = load(path)?;
    pull::provide(&loaded, path)?;
    let workshop = workshop(path, &loaded.config, Arc::default())?;
    Snapshot::build(loaded, &workshop, None).map_err(|report| Error::Config(Box::new(report)))
}

/// The JSON Schema of gateway.json, including those of the stock plugins.
///
/// # Errors
/// A stock plugin does not load, which only a broken build can cause.
pub fn schema() -> Result<serde_json::Value, Error> {
    let engine = Engine::new(None).map_err(|error| Error::System(format!("plugin engine: {error:#}")))?;
    let (mut plugins, mut credentials, mut limits) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    for name in stock::names() {
        let artifact = engine.load(stock::component(name).unwrap_or_default());
        let artifact = artifact.map_err(|error| Error::System(format!("stock plugin {name}: {error}")))?;
        let manifest = artifact.manifest();
        plugins.extend(manifest.config_schema.clone().map(|schema| (name.to_owned(), schema)));
        credentials.extend(manifest.credential_schema.clone().map(|schema| (name.to_owned(), schema)));
        limits.extend(manifest.limit_schema.clone().map(|schema| (name.to_owned(), schema)));
    }
    Ok(config::json_schema(&plugins, &credentials, &limits))
}

/// Creates the workshop that builds snapshots for the configuration at `path`.
///
/// # Errors
/// The machine lacks something that the engine needs.
fn workshop(path: &Path, config: &config::Config, outbound: Arc<Outbound>) -> Result<Workshop, Error> {
    let directory = path.parent().unwrap_or(Path::new("")).to_owned();
    let cache = config.compile_cache.as_ref().map(|cache| directory.join(&cache.directory));
    let engine = Engine::new(cache.as_deref()).map_err(|error| Error::System(format!("plugin engine: {error:#}")))?;
    if let (Some(directory), Some(why)) = (&cache, engine.no_cache()) {
        let message = "plugins are compiled anew with each start, because the compile cache cannot be used";
        telemetry::log(Level::Warn, message, &[("directory", &directory.display()), ("error", &why)]);
    }
    Ok(Workshop {
        engine,
        stores: Stores::default(),
        loader: Mutex::new(Loader::default()),
        passwords: Arc::default(),
        documents: Documents::new(outbound, Timing::default()),
        metrics: Arc::new(Metrics::new()),
        path: path.to_owned(),
        directory,
    })
}

/// Builds the first snapshot and everything around it.
pub(super) fn prepare(path: &Path, loaded: Loaded) -> Result<Arc<Shared>, Error> {
    let (settings, fixed) = (access_log_settings(&loaded.config, path), Fixed::of(&loaded.config));
    let access_log = Arc::new(AccessLog::open(settings).map_err(system("access log"))?);
    let outbound = Arc::new(Outbound::default());
    let workshop = workshop(path, &loaded.config, outbound.clone())?;
    let snapshot = Snapshot::build(loaded, &workshop, None).map_err(|report| Error::Config(Box::new(report)))?;
    let shared = Arc::new(Shared {
        snapshot: ArcSwap::from_pointee(snapshot),
        workshop: Arc::new(workshop),
        access_log,
        running: Mutex::new(Running {
            workers: Vec::new(),
            listeners: BTreeMap::new(),
            tasks: tasks::Tasks::default(),
            discovery: super::discovery::Discovery::default(),
        }),
        turn: tokio::sync::Mutex::new(()),
        draining: AtomicBool::new(false),
        is_cut: Arc::default(),
        watch: OnceLock::new(),
        outbound,
        fixed,
        fetches: tokio::sync::Semaphore::new(super::FETCHES),
    });
    shared.outbound.attach(&shared);
    Ok(shared)
}

/// Starts the data cores.
pub(super) fn workers(shared: &Arc<Shared>, config: &config::Config) -> Result<(), Error> {
    let count = cores(config);
    let connections = (config.limits.connections as usize).div_ceil(count);
    let mut running = shared.running();
    for index in 0..count {
        running.workers.push(Worker::start(index, shared.clone(), connections).map_err(system("data core"))?);
    }
    Ok(())
}

/// The settings that are fixed at the start of the gateway and only change with the next start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fixed {
    workers: usize,
    connections: u32,
    access_log: config::AccessLog,
    compile_cache: Option<config::CompileCache>,
    /// `None` if there is no admin API.
    admin: Option<config::ListenAddress>,
}

impl Fixed {
    fn of(config: &config::Config) -> Fixed {
        Fixed {
            workers: cores(config),
            connections: config.limits.connections,
            access_log: config.access_log.clone(),
            compile_cache: config.compile_cache.clone(),
            admin: config.admin.as_ref().map(|admin| admin.address),
        }
    }

    /// The settings of this configuration that only take effect at the next start, because other values are in force.
    /// An admin API that is removed is closed immediately.
    pub fn waiting(&self, config: &config::Config) -> Vec<&'static str> {
        let next = Fixed::of(config);
        let all = [
            ("workers", self.workers != next.workers),
            ("limits.connections", self.connections != next.connections),
            ("access_log", self.access_log != next.access_log),
            ("compile_cache", self.compile_cache != next.compile_cache),
            ("admin.address", next.admin.is_some() && self.admin != next.admin),
        ];
        all.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name).collect()
    }
}

/// The number of data cores.
fn cores(config: &config::Config) -> usize {
    let all = || std::thread::available_parallelism().map_or(1, usize::from);
    config.workers.map_or_else(all, usize::from)
}

/// Binds the admin API and serves it on the control thread.
pub(super) fn admin(
    shared: &Arc<Shared>,
    control: &control::Thread,
    config: &config::Admin,
) -> Result<SocketAddr, Error> {
    // One socket for both IP versions, where a listener has two: nothing in the admin API depends on the client's
    // address.
    let ip = config.address.ip.unwrap_or_else(|| match has_ipv6() {
        true => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        false => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
    });
    let settings = admin::Settings { address: (ip, config.address.port).into(), ..admin::Settings::default() };
    let admin = Admin::bind(settings, &control::access(&shared.current())).map_err(Error::Admin)?;
    let address = admin.local_address().map_err(system("admin API"))?;
    control.spawn(control::serve_admin(admin, shared.clone(), control.handle()));
    Ok(address)
}

fn access_log_settings(config: &config::Config, path: &Path) -> access_log::Settings {
    let directory = path.parent().unwrap_or(Path::new(""));
    let target = match &config.access_log {
        config::AccessLog::Off => access_log::Target::Off,
        config::AccessLog::Stdout => access_log::Target::Stdout,
        config::AccessLog::Stderr => access_log::Target::Stderr,
        config::AccessLog::File(file) => access_log::Target::File(directory.join(file)),
    };
    access_log::Settings { target, threads: cores(config), ..access_log::Settings::default() }
}
