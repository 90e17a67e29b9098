//! The composition root: what runs, and how it changes while it runs.
//!
//! Data cores serve requests with the current snapshot. Everything else (reloads, the admin API, file watching, key
//! refresh, plugins' ticks, signals) runs on one control thread, so that it never waits for a core or makes one wait. A
//! change is build, bind, swap: a failure before the swap changes nothing.

mod blocking;
mod certificates;
mod control;
mod delivery;
mod discovery;
mod endpoints;
mod fetch;
mod observer;
mod outbound;
mod plaintext;
mod pull;
mod responses;
mod sockets;
mod start;
mod stores;
mod tasks;
mod worker;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;

use crate::admin;
use crate::config::{self, Loaded, Report};
use crate::drain::{self, Asked};
use crate::listener::{self, BindError};
use crate::snapshot::{self, Listen, Listener, Parting, Snapshot, Workshop};
use crate::stock;
use crate::telemetry::{self, AccessLog, Level};
use crate::watch::Watch;
use control::Spawn;
use pull::Lacking;
use sockets::{Key, Listening, bind, key};
use worker::{Opening, Worker};

/// A running gateway.
pub struct Gateway {
    shared: Arc<Shared>,
    control: control::Thread,
    admin: Option<SocketAddr>,
}

/// The state that the data cores and the control thread share.
pub(crate) struct Shared {
    snapshot: ArcSwap<Snapshot>,
    pub(crate) workshop: Arc<Workshop>,
    access_log: Arc<AccessLog>,
    running: Mutex<Running>,
    /// Held during a whole change, so that the second of two changes sees the first.
    turn: tokio::sync::Mutex<()>,
    draining: AtomicBool,
    /// Set when the drain timeout has passed.
    is_cut: Arc<AtomicBool>,
    watch: OnceLock<Watch>,
    outbound: Arc<outbound::Outbound>,
    /// Settings that a change of the configuration does not affect.
    fixed: start::Fixed,
    /// Limits the changes that wait for registries.
    fetches: tokio::sync::Semaphore,
}

/// What a change of the configuration opens and closes.
struct Running {
    workers: Vec<Worker>,
    listeners: BTreeMap<Key, Listening>,
    tasks: tasks::Tasks,
    discovery: discovery::Discovery,
}

/// Why a gateway does not start, or a change is not applied.
#[derive(Debug)]
pub enum Error {
    /// The configuration is wrong.
    Config(Box<Report>),
    Bind(BindError),
    Admin(admin::StartError),
    /// The machine refuses something, such as threads, address space or a log file.
    System(String),
}

impl Gateway {
    /// Starts from a configuration file: loads, binds, serves.
    ///
    /// # Errors
    /// Nothing is running then.
    pub fn start(path: &Path) -> Result<Gateway, Error> {
        Gateway::start_on(control::Thread::start().map_err(system("control thread"))?, path)
    }

    fn start_on(control: control::Thread, path: &Path) -> Result<Gateway, Error> {
        let watching = control.block_on(control::watch(path.to_owned()))?;
        let loaded = load(path)?;
        let config = loaded.config.clone();
        if let Some((watch, _)) = &watching {
            // Before the files are read, so that no change is missed in between.
            watch.set_files(std::iter::once(path.to_owned()).chain(snapshot::files_of(&config, path)));
        }
        pull::provide(&loaded, path)?;
        let shared = start::prepare(path, loaded)?;
        start::workers(&shared, &config)?;
        control.spawn(shared.workshop.documents.clone().run(std::future::pending()));
        let snapshot = shared.current();
        control.block_on(async move { await_keys(&snapshot).await })?;
        shared.install(None, &control)?;
        let admin = match &config.admin {
            None => None,
            Some(admin) => Some(start::admin(&shared, &control, admin)?),
        };
        control.spawn(certificates::watch(shared.clone()));
        control.spawn(control::follow_files(shared.clone(), control.handle(), watching));
        Ok(Gateway { shared, control, admin })
    }

    /// The addresses of the listeners, by listener name.
    pub fn addresses(&self) -> Vec<(Arc<str>, SocketAddr)> {
        let running = self.shared.running();
        running.listeners.iter().map(|((_, name, ..), listening)| (name.clone(), listening.address)).collect()
    }

    /// The address of the admin API.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin
    }

    /// Reads the configuration file again and applies it.
    ///
    /// # Errors
    /// Nothing has changed then.
    pub fn reload(&self) -> Result<(), Error> {
        let (shared, handle) = (self.shared.clone(), self.control.handle());
        self.control.block_on(async move { shared.reload(&handle).await })?
    }

    /// Starts from a configuration file, calls `started`, and serves until SIGTERM or SIGINT, reloading at SIGHUP; then
    /// drains.
    ///
    /// # Errors
    /// As [`Gateway::start`].
    pub fn run(path: &Path, started: impl FnOnce(&Gateway)) -> Result<(), Error> {
        let control = control::Thread::start().map_err(system("control thread"))?;
        // Before the start, during which SIGHUP would otherwise end the process; a signal that arrives meanwhile is
        // handled afterwards. SIGTERM and SIGINT still end the process immediately, as nothing is served yet.
        let hangup = control.block_on(async { control::hangup() })?.map_err(system("signals"))?;
        let gateway = Gateway::start_on(control, path)?;
        started(&gateway);
        let (shared, handle) = (gateway.shared.clone(), gateway.control.handle());
        // Without a control thread, nothing could ever end the gateway, so its loss ends the gateway, too.
        let _ = gateway.control.block_on(control::signals(hangup, shared, handle));
        gateway.shutdown();
        Ok(())
    }

    /// Stops accepting, lets running work finish within `shutdown.drain_timeout`, and ends.
    pub fn shutdown(self) {
        let deadline: Duration = self.shared.current().loaded.config.shutdown.drain_timeout.into();
        self.shared.draining.store(true, Ordering::Relaxed);
        let (listeners, workers) = {
            let mut running = self.shared.running();
            running.tasks.stop();
            running.discovery.stop();
            (std::mem::take(&mut running.listeners), std::mem::take(&mut running.workers))
        };
        // Without a control thread, nothing can be waited for.
        let _ = self.control.block_on(sockets::drain_all(listeners.into_values().collect(), deadline));
        self.shared.is_cut.store(true, Ordering::Relaxed);
        workers.into_iter().for_each(Worker::stop);
        self.control.stop();
        self.shared.access_log.close(Duration::from_secs(5));
    }
}

impl Shared {
    /// The running configuration.
    pub(crate) fn current(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    fn running(&self) -> MutexGuard<'_, Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn reload(self: &Arc<Self>, handle: &control::Handle) -> Result<(), Error> {
        for _ in 0..ROUNDS {
            let path = self.path().to_owned();
            let turn = self.turn.lock().await;
            let change = self.change_in_turn(handle, move |_| load(&path)).await?;
            drop(turn);
            match change {
                Change::Made => return Ok(()),
                Change::Lacks(lacking) => self.fetch(*lacking).await?,
            }
        }
        Err(unsettled())
    }

    /// Fetches what a change lacks. This happens outside of the turn, so other changes proceed.
    async fn fetch(&self, lacking: Lacking) -> Result<(), Error> {
        // Nobody closes the semaphore.
        let _slot = self.fetches.acquire().await;
        let fetched = blocking::run(move || lacking.fetch()).await;
        let fetched = fetched.unwrap_or_else(|error| Err(Error::System(format!("fetching plugins failed: {error}"))));
        fetched.inspect_err(|_| self.workshop.metrics.reload_refused())
    }

    /// The path of gateway.json.
    fn path(&self) -> &Path {
        &self.workshop.path
    }

    /// Uses a component in place of a plugin's source from the next build on. Returns the previous upload.
    fn upload(&self, name: &str, component: Option<Arc<[u8]>>) -> Option<Arc<[u8]>> {
        self.workshop.loader.lock().unwrap_or_else(PoisonError::into_inner).upload(name, component)
    }

    /// Drops the uploads of plugins whose own file has changed. Takes the turn: an upload that is being tried and fails
    /// restores the one before it.
    async fn forget_uploads(&self, files: &[PathBuf]) {
        let _turn = self.turn.lock().await;
        let snapshot = self.current();
        for (name, plugin) in &snapshot.loaded.config.plugins {
            if let Some(config::Source::File(file)) = &plugin.source
                && files.contains(&self.workshop.directory.join(file))
            {
                self.upload(name, None);
            }
        }
    }

    /// The content of `GET /metrics`.
    fn render_metrics(&self) -> String {
        let snapshot = self.current();
        let mut series = observer::plugin_series(&snapshot);
        series.extend(endpoints::series(&snapshot));
        series.extend(certificates::series(&snapshot));
        delivery::series(&snapshot, &mut series);
        series.extend(stores::series(&snapshot));
        series.extend(responses::series(&snapshot));
        self.workshop.metrics.render(&self.access_log, &series)
    }

    /// Builds what `load` returns and puts it into force, unless something has to be fetched first.
    async fn change_in_turn(
        self: &Arc<Self>,
        handle: &control::Handle,
        load: impl FnOnce(&Snapshot) -> Result<Loaded, Error> + Send + 'static,
    ) -> Result<Change, Error> {
        let (previous, workshop, shared) = (self.current(), self.workshop.clone(), self.clone());
        self.outbound.hold();
        let built = blocking::run(move || {
            let loaded = load(&previous)?;
            shared.watch_also(&loaded.config, &previous);
            if let Some(lacking) = Lacking::of(&loaded, &workshop.path) {
                return Ok(ControlFlow::Break(lacking));
            }
            let built = Snapshot::build(loaded, &workshop, Some(&previous));
            built.map(|built| ControlFlow::Continue(Arc::new(built))).map_err(|report| Error::Config(Box::new(report)))
        });
        let built = built.await.unwrap_or_else(|error| Err(Error::System(format!("the build failed: {error}"))));
        let built = match built {
            Ok(ControlFlow::Continue(snapshot)) => Ok(snapshot),
            Ok(ControlFlow::Break(lacking)) => {
                self.outbound.release(None);
                return Ok(Change::Lacks(Box::new(lacking)));
            }
            Err(error) => Err(error),
        };
        self.outbound.release(built.as_ref().ok().cloned());
        let applied = match built {
            Ok(snapshot) => {
                await_keys(&snapshot).await;
                self.install(Some(snapshot), handle)
            }
            Err(error) => Err(error),
        };
        self.outbound.release(None);
        match &applied {
            Ok(()) => self.workshop.metrics.reload_applied(),
            Err(_) => self.workshop.metrics.reload_refused(),
        }
        applied.map(|()| Change::Made)
    }

    /// Binds new listeners, swaps the snapshot and releases old listeners. `None` at the start, where the snapshot is
    /// already in place.
    fn install(self: &Arc<Self>, snapshot: Option<Arc<Snapshot>>, handle: &impl control::Spawn) -> Result<(), Error> {
        let mut running = self.running();
        let next = snapshot.clone().unwrap_or_else(|| self.current());
        let wanted: Vec<Listen> = next.listeners.clone();
        let new: Vec<&Listen> = wanted.iter().filter(|listen| !running.listeners.contains_key(&key(listen))).collect();
        let openings = bind(&new, &running)?;

        let kept: Vec<Key> = wanted.iter().map(key).collect();
        let gone: Vec<Key> = running.listeners.keys().filter(|key| !kept.contains(key)).cloned().collect();
        let gone: Vec<(Key, Listening)> =
            gone.into_iter().filter_map(|key| running.listeners.remove_entry(&key)).collect();
        for ((_, name, ..), listening) in &gone {
            // Before the swap, so that its connections are never without a policy.
            self.current().listener_policy(name).into_iter().for_each(|policy| listening.parting.with(policy));
        }
        if let Some(snapshot) = snapshot {
            let old = self.snapshot.swap(snapshot);
            handle.spawn(blocking::drop_last(old));
            for setting in self.fixed.waiting(&next.loaded.config) {
                telemetry::log(Level::Warn, "a setting takes effect at the next start", &[("setting", &setting)]);
            }
        }
        for (listen, sockets) in openings {
            let (drainer, drain) = drain::channel();
            let address = sockets.first().map_or(listen.address, listener::Bound::address);
            let (key, parting) = (key(&listen), Parting::default());
            let observer = Arc::new(self.observer(drain.flag()));
            let listener = Listener { listen, parting: parting.clone(), observer };
            let mut open = Vec::with_capacity(running.workers.len());
            for (worker, bound) in running.workers.iter().zip(sockets) {
                let count = Arc::<AtomicUsize>::default();
                open.push(count.clone());
                worker.open(Opening { bound, listener: listener.clone(), drain: drain.clone(), open: count });
            }
            running.listeners.insert(key, Listening { address, drainer, parting, open });
        }
        let deadline = next.loaded.config.shutdown.drain_timeout.into();
        for ((_, name, ..), listening) in gone {
            handle.spawn(listening.drain(name, deadline));
        }
        running.tasks.follow(&next, handle);
        certificates::warn(&next, SystemTime::now());
        running.discovery.follow(&next, &self.workshop.metrics, handle);
        if let Some(watch) = self.watch.get() {
            watch.set_files(self.files(&next));
        }
        Ok(())
    }

    /// The observer of the exchanges of a listener with this drain.
    fn observer(&self, drain: Asked) -> observer::Observer {
        let metrics = self.workshop.metrics.clone();
        let (access_log, is_cut) = (self.access_log.clone(), self.is_cut.clone());
        observer::Observer { access_log, no_route: metrics.route(""), metrics, is_cut, drain }
    }

    /// Watches the files that a new configuration names, before they are read. If the configuration is refused because
    /// of one of them, it is tried again as soon as the file has changed.
    fn watch_also(&self, config: &config::Config, running: &Snapshot) {
        if let Some(watch) = self.watch.get() {
            let new = snapshot::files_of(config, self.path());
            watch.set_files(self.files(running).into_iter().chain(new));
        }
    }

    /// The files whose changes cause a reload.
    fn files(&self, snapshot: &Snapshot) -> Vec<PathBuf> {
        std::iter::once(self.path().to_owned()).chain(snapshot.files()).collect()
    }
}

/// The outcome of a change.
enum Change {
    Made,
    /// Nothing was changed: these have to be fetched first.
    Lacks(Box<Lacking>),
}

pub use pull::{Locked, lock, prune};
pub use start::{build, schema};

/// Reads and checks a configuration file.
fn load(path: &Path) -> Result<Loaded, Error> {
    let names: Vec<&str> = stock::names().collect();
    Loaded::read(path, &names).map_err(|report| Error::Config(Box::new(report)))
}

/// Gives new key sets a moment to be fetched, so that the first tokens do not meet an empty set.
async fn await_keys(snapshot: &Snapshot) {
    const PATIENCE: Duration = Duration::from_secs(2);
    let all = async {
        for key_sets in snapshot.plugins().filter_map(|plugin| plugin.lent().abilities.key_sets.as_ref()) {
            key_sets.attempted().await;
        }
    };
    let _ = tokio::time::timeout(PATIENCE, all).await;
}

fn unsettled() -> Error {
    Error::System(
        "the plugins that were fetched are not in the store; is \"registries.store\" one that keeps files?".into(),
    )
}

fn system<E: std::fmt::Display>(what: &'static str) -> impl FnOnce(E) -> Error {
    move |error| Error::System(format!("{what}: {error}"))
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Error::Config(report) => f.write_str(report.render(false).trim_end()),
            Error::Bind(error) => error.fmt(f),
            Error::Admin(error) => error.fmt(f),
            Error::System(reason) => f.write_str(reason),
        }
    }
}

impl std::error::Error for Error {}

/// Changes that may wait for registries at the same time; further ones queue.
const FETCHES: usize = 4;
/// Rounds after which a configuration that keeps changing while its plugins are fetched is given up.
const ROUNDS: usize = 5;
