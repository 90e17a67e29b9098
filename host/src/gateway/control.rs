//! The control thread: everything that is not a request.

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::runtime::Handle as Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;

use super::{Change, Error, ROUNDS, Shared, endpoints, unsettled};
use crate::admin::{self, Access, Admin, Answer, Applied, ConfigText, Control, IfMatch, Refused};
use crate::cache::Purge;
use crate::config::{self, Loaded, Report};
use crate::plugin::Artifact;
use crate::snapshot::Snapshot;
use crate::stock;
use crate::telemetry::{self, Level};
use crate::watch::{Changed, Watch};

/// The thread and its runtime.
pub(super) struct Thread {
    runtime: Runtime,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

/// A way to start tasks on the control thread.
#[derive(Clone)]
pub(super) struct Handle(Runtime);

/// Anything that can start a task there.
pub(super) trait Spawn {
    fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) -> AbortHandle;
}

impl Thread {
    pub fn start() -> std::io::Result<Thread> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new().name("control".into()).stack_size(4 << 20).spawn(move || {
            // Dropping a gateway stops the thread, just as a shutdown does.
            let _ = runtime.block_on(stopped);
            runtime.shutdown_background();
        })?;
        Ok(Thread { runtime: handle, stop, thread })
    }

    pub fn handle(&self) -> Handle {
        Handle(self.runtime.clone())
    }

    /// Runs a future on the thread and waits for it; must not be called on the thread itself.
    ///
    /// # Errors
    /// The thread has ended.
    pub fn block_on<T: Send + 'static>(&self, future: impl Future<Output = T> + Send + 'static) -> Result<T, Error> {
        let (sender, receiver) = std::sync::mpsc::sync_channel(1);
        self.runtime.spawn(async move {
            let _ = sender.send(future.await);
        });
        receiver.recv().map_err(|_| Error::System("the control thread has ended".into()))
    }

    pub fn stop(self) {
        let _ = self.stop.send(());
        let _ = self.thread.join();
    }
}

impl Spawn for Thread {
    fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) -> AbortHandle {
        self.runtime.spawn(future).abort_handle()
    }
}

impl Spawn for Handle {
    fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) -> AbortHandle {
        self.0.spawn(future).abort_handle()
    }
}

/// Handles SIGHUP from now on. To be called on the thread's runtime.
pub(super) fn hangup() -> std::io::Result<Signal> {
    signal(SignalKind::hangup())
}

/// Waits for SIGTERM or SIGINT, and then for `shutdown.delay`. At SIGHUP, reloads and reopens the access log.
pub(super) async fn signals(mut hangup: Signal, shared: Arc<Shared>, handle: Handle) {
    let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return telemetry::log(Level::Error, "signals cannot be received", &[]);
    };
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hangup.recv() => {
                shared.access_log.reopen();
                reload(&shared, &handle, Vec::new(), "SIGHUP".to_owned());
            }
        }
    }
    let delay: Duration = shared.current().loaded.config.shutdown.delay.into();
    if !delay.is_zero() {
        shared.draining.store(true, Ordering::Relaxed);
        telemetry::log(Level::Info, "not ready; connections are accepted until shutdown.delay is over", &[]);
        tokio::select! {
            () = tokio::time::sleep(delay) => {}
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    }
    telemetry::log(Level::Info, "draining", &[]);
}

/// A watch and its reports.
pub(super) type Watching = (Watch, mpsc::Receiver<Changed>);

/// Starts watching gateway.json before it is read, so that no change is missed in between.
pub(super) async fn watch(path: PathBuf) -> Option<Watching> {
    match Watch::start([path]) {
        Ok(watching) => Some(watching),
        Err(error) => {
            telemetry::log(Level::Warn, "files are not watched; reload with SIGHUP", &[("error", &error)]);
            None
        }
    }
}

/// Reloads whenever gateway.json or a plugin's file has changed.
pub(super) async fn follow_files(shared: Arc<Shared>, handle: Handle, watching: Option<Watching>) {
    let Some((watch, mut changes)) = watching else { return };
    watch.set_files(shared.files(&shared.current()));
    let _ = shared.watch.set(watch);
    while let Some(changed) = changes.recv().await {
        let names: Vec<String> = changed.files.iter().map(|file| file.display().to_string()).collect();
        reload(&shared, &handle, changed.files, names.join(", "));
    }
}

/// Reloads in a task of its own, so that waiting for a registry delays neither signals nor the next change.
fn reload(shared: &Arc<Shared>, handle: &Handle, changed: Vec<PathBuf>, cause: String) {
    let (shared, own) = (shared.clone(), handle.clone());
    handle.spawn(async move {
        // The operator's latest word is the changed file, so it replaces uploads.
        shared.forget_uploads(&changed).await;
        tell(&shared.reload(&own).await, &cause);
    });
}

/// Serves the admin API until the control thread ends.
pub(super) async fn serve_admin(admin: Admin, shared: Arc<Shared>, handle: Handle) {
    let api = Arc::new(Api { shared, handle });
    if let Err(error) = admin.serve(api, std::future::pending()).await {
        telemetry::log(Level::Error, "the admin API has ended", &[("error", &error)]);
    }
}

fn tell(result: &Result<(), Error>, cause: &str) {
    match result {
        Ok(()) => telemetry::log(Level::Info, "configuration applied", &[("cause", &cause)]),
        Err(Error::Config(report)) => {
            let message = "the new configuration is wrong; the old one serves on";
            telemetry::log_report(Level::Error, message, &report.render(false));
        }
        Err(error) => {
            let fields: telemetry::Fields<'_> = &[("cause", &cause), ("error", error)];
            telemetry::log(Level::Error, "the change was not made; the old configuration serves on", fields);
        }
    }
}

/// The gateway as the admin API sees it.
struct Api {
    shared: Arc<Shared>,
    handle: Handle,
}

/// Who may use the admin API under this configuration.
pub(super) fn access(snapshot: &Snapshot) -> Access {
    match (&snapshot.loaded.config.admin, snapshot.admin_token()) {
        (None, _) => Access::Closed,
        (Some(_), None) => Access::Open,
        (Some(_), Some(token)) => Access::Token(token.clone()),
    }
}

impl Control for Api {
    fn access(&self) -> Access {
        access(&self.shared.current())
    }

    fn ready(&self) -> bool {
        !self.shared.draining.load(Ordering::Relaxed)
    }

    fn metrics(&self) -> String {
        self.shared.render_metrics()
    }

    fn config(&self) -> ConfigText {
        config_text(&self.shared.current().loaded)
    }

    fn apply_config(&self, text: String, if_match: IfMatch) -> Answer<'_, Result<Applied, Refused>> {
        Box::pin(async move {
            for _ in 0..ROUNDS {
                let turn = self.shared.turn.lock().await;
                let current = self.config();
                if !if_match.matches(&current.digest) {
                    return Err(Refused::Stale { current: current.digest });
                }
                let (path, text) = (self.shared.path().to_owned(), text.clone());
                let load = move |_: &_| {
                    let names: Vec<&str> = stock::names().collect();
                    let environment = config::Process::beside(&path);
                    Loaded::parse(&path.to_string_lossy(), &text, &environment, &names)
                        .map_err(|report| Error::Config(Box::new(report)))
                };
                let changed = match self.shared.change_in_turn(&self.handle, load).await {
                    Ok(Change::Made) => Ok(()),
                    Ok(Change::Lacks(lacking)) => {
                        drop(turn);
                        match self.shared.fetch(*lacking).await {
                            Ok(()) => continue,
                            Err(error) => Err(error),
                        }
                    }
                    Err(error) => Err(error),
                };
                return self.answer(changed, "PUT /config");
            }
            self.answer(Err(unsettled()), "PUT /config")
        })
    }

    fn plugins(&self) -> Value {
        let snapshot = self.shared.current();
        let plugin = |plugin: &Arc<crate::plugin::Plugin>| {
            let manifest = plugin.artifact().manifest();
            json!({
                "name": &**plugin.name(),
                "version": manifest.version,
                "digest": format!("sha256:{}", plugin.artifact().digest()),
                "hooks": plugin.artifact().hooks(),
                "imports": plugin.artifact().imports().iter().map(|import| import.name()).collect::<Vec<_>>(),
                "breaker": if plugin.is_breaker_open() { "open" } else { "closed" },
            })
        };
        Value::Array(snapshot.plugins().map(plugin).collect())
    }

    fn upstreams(&self) -> Value {
        endpoints::list(&self.shared.current())
    }

    fn purge(&self, what: admin::Purge) -> u64 {
        let cache = &self.shared.current().cache;
        match what {
            admin::Purge::All => cache.purge(&Purge::All),
            admin::Purge::Tag(tag) => cache.purge(&Purge::Tag(tag)),
            admin::Purge::Url(url) => Purge::url(&url).map_or(0, |url| cache.purge(&url)),
        }
    }

    fn put_plugin<'a>(&'a self, name: &'a str, component: Bytes) -> Answer<'a, Result<Applied, Refused>> {
        Box::pin(async move {
            let digest = Artifact::digest_of(&component);
            let component: Arc<[u8]> = Arc::from(&component[..]);
            let mut changed = Err(unsettled());
            for _ in 0..ROUNDS {
                let turn = self.shared.turn.lock().await;
                let is_used = self.shared.current().plugins().any(|plugin| **plugin.name() == *name);
                if !is_used && !self.shared.current().loaded.config.plugins.contains_key(name) {
                    let detail = format!("No plugin is named {name:?}: the configuration has to name it first.");
                    return Err(Refused::Unknown(detail));
                }
                let before = self.shared.upload(name, Some(component.clone()));
                let made = self.shared.change_in_turn(&self.handle, |previous| Ok(previous.loaded.clone())).await;
                if !matches!(made, Ok(Change::Made)) {
                    // Before the turn ends, so that no other change is built with it.
                    self.shared.upload(name, before);
                }
                drop(turn);
                changed = match made {
                    Ok(Change::Made) => Ok(()),
                    // The running plugins were fetched once, so the store has lost something since.
                    Ok(Change::Lacks(lacking)) => match self.shared.fetch(*lacking).await {
                        Ok(()) => continue,
                        Err(error) => Err(error),
                    },
                    Err(error) => Err(error),
                };
                break;
            }
            self.shared.workshop.metrics.plugin(name).swapped(changed.is_ok());
            let mut applied = self.answer(changed, &format!("PUT /plugins/{name}"))?;
            applied.details.insert("component".into(), format!("sha256:{digest}").into());
            Ok(applied)
        })
    }
}

impl Api {
    fn answer(&self, changed: Result<(), Error>, cause: &str) -> Result<Applied, Refused> {
        tell(&changed, cause);
        match changed {
            Ok(()) => {
                let mut applied = Applied { digest: self.config().digest, ..Applied::default() };
                let waiting = self.shared.fixed.waiting(&self.shared.current().loaded.config);
                if !waiting.is_empty() {
                    applied.details.insert("at_next_start".into(), json!(waiting));
                }
                Ok(applied)
            }
            Err(Error::Config(report)) => Err(refused(&report)),
            Err(error) => Err(Refused::Unavailable(error.to_string())),
        }
    }
}

fn refused(report: &Report) -> Refused {
    let diagnostic = |found: &config::Diagnostic| {
        let position = found.span.as_ref().map_or((0, 0), |span| report.text.position(span.start));
        admin::Diagnostic {
            file: report.file.clone(),
            line: u32::try_from(position.0).unwrap_or(u32::MAX),
            column: u32::try_from(position.1).unwrap_or(u32::MAX),
            message: found.message.clone(),
            help: found.help.clone(),
            pointer: found.pointer.clone(),
        }
    };
    Refused::Invalid {
        detail: "The configuration is wrong; nothing has changed.".into(),
        errors: report.diagnostics.iter().map(diagnostic).collect(),
        text: report.render(false),
    }
}

fn config_text(loaded: &Loaded) -> ConfigText {
    let text = loaded.report(Vec::new()).text;
    ConfigText { digest: Artifact::digest_of(text.as_str().as_bytes()), text: text.as_str().into() }
}
