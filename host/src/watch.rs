//! Watches gateway.json and plugin files, and reports when their content has changed.
//!
//! Editors write a new file and rename it over the old one; Kubernetes mounts a symbolic link through `..data` and
//! swaps that; people delete and write again. So not only the file itself is watched but every place that determines
//! what its path refers to: the directory it is in, and the directory of each symbolic link on the way. If a part of
//! the path is missing, the last directory that exists is watched instead. After any event there, all places are
//! determined and watched anew, because inotify watches what a path referred to once, not what it refers to now.
//!
//! An event is only a hint: only the digest of the content counts. So a touch, a rewrite with the same bytes and a swap
//! to an equal copy are silent, and a deleted file is waited for. Events are debounced for [`QUIET`] first, so that a
//! file is not read half-written and ten files that are copied together are one change.
//!
//! Not noticed: renaming a directory further up that is not a symbolic link, and changes that another machine makes on
//! a network file system. Use SIGHUP and the admin API for those.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ffi::OsString;
use std::fs;
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256};
use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::{Notify, mpsc};
use tokio::task::{AbortHandle, spawn_blocking};
use tokio::time::{Instant, timeout};

use crate::regular_file;

/// Watches until it is dropped.
pub struct Watch {
    shared: Arc<Shared>,
    task: AbortHandle,
}

/// Files whose content has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// As given to [`Watch::start`] or [`Watch::set_files`]; sorted, never empty.
    pub files: Vec<PathBuf>,
}

impl Watch {
    /// Begins to watch, in a task of the current tokio runtime. Changes are relative to the content at this moment:
    /// start to watch first, then read the files. A file may be missing; its appearance is a change.
    ///
    /// Fails if the operating system refuses a watch, for example because the user has too many.
    pub fn start(files: impl IntoIterator<Item = PathBuf>) -> notify::Result<(Watch, mpsc::Receiver<Changed>)> {
        let shared = Arc::new(Shared::default());
        shared.set_files(files);
        let watcher = notify::recommended_watcher({
            let shared = Arc::clone(&shared);
            move |event: notify::Result<Event>| shared.handle(event)
        })?;
        let mut places = Places { watcher, shared: Arc::clone(&shared), watched: BTreeSet::new() };
        places.find()?;
        // One change may wait; until it is taken, later ones are only noted.
        let (sender, receiver) = mpsc::channel(1);
        let task = tokio::spawn(run(places, sender)).abort_handle();
        Ok((Watch { shared, task }, receiver))
    }

    /// Watches these files from now on, and no others: a new configuration may name other plugins. Reads the new ones,
    /// and blocks for as long as that takes.
    pub fn set_files(&self, files: impl IntoIterator<Item = PathBuf>) {
        self.shared.set_files(files);
        self.shared.woken.notify_one();
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The task: waits for events to settle, compares, and reports changes.
async fn run(mut places: Places, changes: mpsc::Sender<Changed>) {
    let shared = Arc::clone(&places.shared);
    loop {
        shared.woken.notified().await;
        let deadline = Instant::now() + LONGEST_SETTLING;
        while timeout(QUIET, shared.woken.notified()).await.is_ok() && Instant::now() < deadline {}

        let looked = spawn_blocking(move || {
            // If a new watch is refused, the existing ones stay; the files are still read at this moment.
            let found = places.find();
            let files = places.shared.compare();
            (places, files, found)
        });
        let Ok((back, files, found)) = looked.await else { return };
        places = back;
        if let Err(error) = found {
            crate::telemetry::log(
                crate::telemetry::Level::Warn,
                "cannot watch files for changes",
                &[("error", &error)],
            );
        }
        if !files.is_empty() && changes.send(Changed { files }).await.is_err() {
            return;
        }
    }
}

/// State shared by the task, the event handler and the owner.
#[derive(Default)]
struct Shared {
    /// The watched files, with the digest of the content they last had.
    files: Mutex<BTreeMap<PathBuf, Option<Digest>>>,
    /// The paths whose events matter.
    places: Mutex<BTreeSet<PathBuf>>,
    /// Something happened at one of them. It holds one permit, so a flood of events costs no memory.
    woken: Notify,
}

type Digest = [u8; 32];

impl Shared {
    fn set_files(&self, files: impl IntoIterator<Item = PathBuf>) {
        let mut known = std::mem::take(&mut *lock(&self.files));
        let files = files.into_iter().map(|file| {
            let before = known.remove(&file).unwrap_or_else(|| digest(&file));
            (file, before)
        });
        let files = files.collect();
        *lock(&self.files) = files;
    }

    /// Called on the thread of `notify`, for every event in a watched directory.
    fn handle(&self, event: notify::Result<Event>) {
        let concerns_us = match event {
            // Reading is not a change, and we read ourselves.
            Ok(Event { kind: EventKind::Access(access), .. }) if access != AccessKind::Close(AccessMode::Write) => {
                false
            }
            Ok(event) => {
                let places = lock(&self.places);
                event.need_rescan() || event.paths.iter().any(|path| places.contains(path))
            }
            Err(_) => true,
        };
        if concerns_us {
            self.woken.notify_one();
        }
    }

    /// The files whose content has changed; the new content is what later ones are compared with. A file that is
    /// missing or cannot be read is waited for.
    fn compare(&self) -> Vec<PathBuf> {
        let files: Vec<_> = lock(&self.files).keys().cloned().collect();
        let mut changed = Vec::new();
        for file in files {
            let Some(now) = digest(&file) else { continue };
            if let Some(before) = lock(&self.files).get_mut(&file).filter(|before| **before != Some(now)) {
                *before = Some(now);
                changed.push(file);
            }
        }
        changed
    }
}

/// The watches.
struct Places {
    watcher: RecommendedWatcher,
    shared: Arc<Shared>,
    watched: BTreeSet<PathBuf>,
}

impl Places {
    /// Finds every place that determines what the files' paths refer to, and watches it. Repeats if a place changed
    /// while the watches were being set, so that nothing that happens after this returns is missed.
    fn find(&mut self) -> notify::Result<()> {
        let mut result = Ok(());
        let mut before = None;
        for _ in 0..ATTEMPTS {
            let files: Vec<_> = lock(&self.shared.files).keys().cloned().collect();
            let mut route = Route::default();
            for file in &files {
                route.follow(file);
            }
            if before.as_ref() == Some(&route) {
                break;
            }
            *lock(&self.shared.places) = &route.entries | &route.watches;
            result = self.watch(&route.watches);
            before = Some(route);
        }
        result
    }

    /// Sets every watch anew: the path may refer to another directory than before.
    fn watch(&mut self, wanted: &BTreeSet<PathBuf>) -> notify::Result<()> {
        for old in std::mem::take(&mut self.watched) {
            // The watch may have gone with its directory.
            let _ = self.watcher.unwatch(&old);
        }
        let mut result = Ok(());
        for path in wanted {
            match self.watcher.watch(path, RecursiveMode::NonRecursive) {
                Ok(()) => {
                    self.watched.insert(path.clone());
                }
                // It existed a moment ago; the next round sees what is there instead.
                Err(error) if is_not_found(&error) => {}
                Err(error) => result = Err(error),
            }
        }
        result
    }
}

/// The way from the root to some files, through all symbolic links.
#[derive(Default, PartialEq, Eq)]
struct Route {
    /// The paths to watch: directories, and the files themselves, because a file that is mounted alone into a container
    /// has no directory that would report it.
    watches: BTreeSet<PathBuf>,
    /// The relevant entries in those directories.
    entries: BTreeSet<PathBuf>,
}

impl Route {
    fn follow(&mut self, file: &Path) {
        let Ok(absolute) = std::path::absolute(file) else { return };
        let mut ahead: VecDeque<OsString> = steps(&absolute);
        let mut at = PathBuf::from("/");
        let mut links = 0;
        while let Some(step) = ahead.pop_front() {
            if step == ".." {
                at.pop();
                continue;
            }
            let entry = at.join(&step);
            let kind = fs::symlink_metadata(&entry).map(|metadata| metadata.file_type());
            match kind {
                Ok(kind) if kind.is_symlink() && links < MOST_LINKS => {
                    links += 1;
                    let Ok(target) = fs::read_link(&entry) else { return self.end(at, entry) };
                    if target.is_absolute() {
                        self.end(std::mem::replace(&mut at, PathBuf::from("/")), entry);
                    } else {
                        self.end(at.clone(), entry);
                    }
                    for step in steps(&target).into_iter().rev() {
                        ahead.push_front(step);
                    }
                }
                Ok(kind) if kind.is_dir() && !ahead.is_empty() => at = entry,
                Ok(kind) if !kind.is_symlink() => {
                    self.watches.insert(entry.clone());
                    return self.end(at, entry);
                }
                // Nothing is there, or the links never end.
                Ok(_) | Err(_) => return self.end(at, entry),
            }
        }
    }

    fn end(&mut self, directory: PathBuf, entry: PathBuf) {
        self.watches.insert(directory);
        self.entries.insert(entry);
    }
}

fn steps(path: &Path) -> VecDeque<OsString> {
    let step = |component: Component<'_>| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    };
    path.components().filter_map(step).collect()
}

/// The digest of a regular file. Anything else (a pipe would block) counts as missing, and so does an unreadable file.
fn digest(file: &Path) -> Option<Digest> {
    let read = || -> io::Result<Option<Digest>> {
        let (mut file, mut context, mut chunk) = (regular_file::open(file)?, Context::new(&SHA256), vec![0; 64 * 1024]);
        loop {
            match file.read(&mut chunk)? {
                0 => return Ok(context.finish().as_ref().try_into().ok()),
                length => context.update(chunk.get(..length).unwrap_or_default()),
            }
        }
    };
    read().ok().flatten()
}

fn is_not_found(error: &notify::Error) -> bool {
    match &error.kind {
        notify::ErrorKind::PathNotFound => true,
        notify::ErrorKind::Io(error) => error.kind() == io::ErrorKind::NotFound,
        _ => false,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How long it must be quiet before the files are read.
pub const QUIET: Duration = Duration::from_millis(100);

/// A file that is written to without a pause is read after this time anyway.
const LONGEST_SETTLING: Duration = Duration::from_secs(1);

/// As in Linux' path_resolution(7).
const MOST_LINKS: u32 = 40;

/// How often places are searched while they keep changing; what is missed then comes with the next event.
const ATTEMPTS: u32 = 8;

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests;
