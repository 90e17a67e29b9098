//! Plugins from registries: fetched before a build, so that a build only reads. While a fetch waits for a registry, the
//! gateway serves, and other changes proceed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::{Error, load, system};
use crate::config::{Diagnostic, Loaded, OciDigest, OciReference, child};
use crate::registry::{self, Client, Lock, Pruned, Settings, Store, Wanted};
use crate::snapshot::{self, Sources};
use crate::telemetry::{self, Level};

/// What a configuration needs and the store does not have.
pub(super) struct Lacking {
    loaded: Loaded,
    directory: PathBuf,
    store: Store,
    /// By plugin name.
    absent: BTreeMap<String, Wanted>,
}

impl Lacking {
    /// `None` if a snapshot can be built from what the store has.
    pub fn of(loaded: &Loaded, path: &Path) -> Option<Lacking> {
        // Mistakes are reported by the build.
        let sources = Sources::of(loaded, path, &mut Vec::new());
        let absent = sources.absent();
        let directory = path.parent().unwrap_or(Path::new("")).to_owned();
        (!absent.is_empty()).then(|| Lacking { loaded: loaded.clone(), directory, store: sources.store, absent })
    }

    /// Fetches everything. Call it on a thread that nobody waits for: it takes as long as the registries do, within
    /// `registries.timeout` for each plugin.
    ///
    /// # Errors
    /// What failed, at the source of each plugin. The other plugins that were fetched are kept.
    pub fn fetch(self) -> Result<(), Error> {
        let mut mistakes = Vec::new();
        let trust = snapshot::trust(&self.loaded, &self.directory, &mut mistakes);
        match snapshot::registry_settings(&self.loaded, &self.directory, trust) {
            Ok(settings) if mistakes.is_empty() => {
                // Removes the remains of fetches by a process that has ended. If the disk does not allow that, the
                // fetch will report it.
                let _ = self.store.sweep(SystemTime::now());
                let runtime = runtime()?;
                let fetched = runtime.block_on(fetch_all(Arc::new(settings), &self.store, &self.absent));
                // Name lookups that are still running are not waited for.
                runtime.shutdown_background();
                mistakes.extend(fetched.iter().map(|(name, error)| self.mistake(name, error)));
            }
            Ok(_) => {}
            Err(mistake) => mistakes.push(mistake),
        }
        if mistakes.is_empty() { Ok(()) } else { Err(Error::Config(Box::new(self.loaded.report(mistakes)))) }
    }

    fn mistake(&self, name: &str, error: &registry::Error) -> Diagnostic {
        let pointer = child(&child("/plugins", name), "source");
        self.loaded.diagnostic(&pointer, format!("plugin {name:?}: {error}"), None)
    }
}

/// Fills the store for a configuration, on a thread of its own.
pub(super) fn provide(loaded: &Loaded, path: &Path) -> Result<(), Error> {
    let Some(lacking) = Lacking::of(loaded, path) else { return Ok(()) };
    let fetched = std::thread::scope(|scope| scope.spawn(|| lacking.fetch()).join());
    fetched.unwrap_or_else(|_| Err(Error::System("fetching plugins failed".into())))
}

/// Fetches what the store lacks, and returns the failures.
async fn fetch_all(
    settings: Arc<Settings>,
    store: &Store,
    absent: &BTreeMap<String, Wanted>,
) -> BTreeMap<String, registry::Error> {
    let slots = Arc::new(Semaphore::new(AT_ONCE));
    let mut fetches = JoinSet::new();
    for (name, wanted) in absent.clone() {
        let (settings, store, slots) = (settings.clone(), store.clone(), slots.clone());
        fetches.spawn(async move {
            // Nobody closes the semaphore.
            let _slot = slots.acquire().await;
            let began = Instant::now();
            let fetched = match Client::new(settings, wanted.reference.clone()) {
                Ok(client) => client.fetch(&wanted, &store).await,
                Err(error) => Err(error),
            };
            if fetched.is_ok() {
                let seconds = format!("{:.3}", began.elapsed().as_secs_f64());
                let (source, digest) = (&wanted.reference, &wanted.digest);
                let fields: telemetry::Fields<'_> =
                    &[("plugin", &name), ("source", source), ("digest", digest), ("seconds", &seconds)];
                telemetry::log(Level::Info, "plugin fetched", fields);
            }
            (name, fetched)
        });
    }
    let fetched = fetches.join_all().await;
    fetched.into_iter().filter_map(|(name, fetched)| Some((name, fetched.err()?))).collect()
}

/// What a tag refers to from now on.
pub struct Locked {
    pub reference: OciReference,
    pub digest: OciDigest,
    /// What the tag referred to before.
    pub before: Option<OciDigest>,
}

/// Writes the lock file of a configuration and returns its path, too. Locked tags keep their digest unless `update` is
/// set, and tags that no plugin names any more are removed.
///
/// # Errors
/// The file is unchanged then.
pub fn lock(path: &Path, update: bool) -> Result<(Vec<Locked>, PathBuf), Error> {
    let loaded = load(path)?;
    let directory = path.parent().unwrap_or(Path::new(""));
    let file = Lock::path_of(path);
    let known = Lock::read(&file).map_err(Error::System)?;
    let mut mistakes = Vec::new();
    let trust = snapshot::trust(&loaded, directory, &mut mistakes);
    let settings = snapshot::registry_settings(&loaded, directory, trust).map(Arc::new);
    let settings = settings.map_err(|mistake| mistakes.push(mistake)).ok().filter(|_| mistakes.is_empty());
    let Some(settings) = settings else { return Err(Error::Config(Box::new(loaded.report(mistakes)))) };
    let runtime = runtime()?;
    let (mut lock, mut all) = (Lock::default(), Vec::<Locked>::new());
    for (name, reference) in snapshot::references(&loaded.config) {
        if reference.digest.is_some() || all.iter().any(|locked| locked.reference == *reference) {
            continue;
        }
        let before = known.digest(reference).cloned();
        let kept = before.clone().filter(|_| !update).map(Ok);
        let resolve = || {
            let client = Client::new(settings.clone(), reference.clone())?;
            runtime.block_on(client.resolve())
        };
        match kept.unwrap_or_else(resolve) {
            Ok(digest) => {
                lock.insert(reference, digest.clone());
                all.push(Locked { reference: reference.clone(), digest, before });
            }
            Err(error) => {
                let pointer = child(&child("/plugins", name), "source");
                mistakes.push(loaded.diagnostic(&pointer, format!("plugin {name:?}: {error}"), None));
            }
        }
    }
    runtime.shutdown_background();
    if !mistakes.is_empty() {
        return Err(Error::Config(Box::new(loaded.report(mistakes))));
    }
    lock.write(&file).map_err(|error| Error::System(format!("{} cannot be written: {error}", file.display())))?;
    Ok((all, file))
}

/// Removes from the stores of these configurations what neither they nor their lock files name and nobody has written
/// for a day. Stores that several gateways share must be pruned with the configurations of all of them.
///
/// # Errors
/// A configuration or a lock file is wrong, and nothing was removed; or a file cannot be removed.
pub fn prune(paths: &[PathBuf]) -> Result<Pruned, Error> {
    let (mut stores, mut named) = (BTreeSet::new(), BTreeSet::new());
    for path in paths {
        let loaded = load(path)?;
        let lock = Lock::read(&Lock::path_of(path)).map_err(Error::System)?;
        named.extend(lock.digests().cloned());
        named.extend(snapshot::references(&loaded.config).filter_map(|(_, reference)| reference.digest.clone()));
        stores.insert(path.parent().unwrap_or(Path::new("")).join(&loaded.config.registries.store));
    }
    let mut all = Pruned::default();
    for store in stores {
        let pruned = Store::new(store).prune(&named, SystemTime::now());
        let pruned = pruned.map_err(|error| Error::System(error.to_string()))?;
        all.files += pruned.files;
        all.bytes += pruned.bytes;
    }
    Ok(all)
}

fn runtime() -> Result<tokio::runtime::Runtime, Error> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(system("runtime"))
}

/// Plugins that are fetched concurrently.
const AT_ONCE: usize = 4;
