//! Watches gateway.json and plugin files, and says when their content has changed.
//!
//! Editors write a new file and rename it over the old one; Kubernetes mounts a symbolic link through `..data` and
//! swaps that; people delete and write again. So a file is not watched by itself only but at every place that decides
//! what its path names: the directory it is in, and the directory of each symbolic link on the way. Where a part of the
//! path is missing, the last directory that exists is watched for it. After anything happens there, all places are
//! found and watched anew, because inotify watches what a path named once, not what it names now.
//!
//! An event only makes us look: what counts is the digest of the content. So a touch, a rewrite with the same bytes and
//! a swap to an equal copy are silent, and a deleted file is waited for. Events are settled for [`QUIET`] first, so
//! that a file is not read half-written and ten files that are copied together are one change.
//!
//! Not seen: the renaming of a directory further up that is no symbolic link, and changes that another machine makes
//! on a network file system. SIGHUP and the admin API are there for those.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ffi::OsString;
use std::fs::{self, File};
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

/// Watches until it is dropped.
pub struct Watch {
    shared: Arc<Shared>,
    task: AbortHandle,
}

/// Files whose content is another than before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// As they were given to [`Watch::start`] or [`Watch::set_files`]; sorted, never empty.
    pub files: Vec<PathBuf>,
}

impl Watch {
    /// Begins to watch, in a task of the current tokio runtime. The content at this moment is what changes are told
    /// against: start to watch first, then read the files. A file may be missing; that it appears is a change.
    ///
    /// Fails where the operating system gives no watch, for one because the user has too many.
    pub fn start(files: impl IntoIterator<Item = PathBuf>) -> notify::Result<(Watch, mpsc::Receiver<Changed>)> {
        let shared = Arc::new(Shared::default());
        shared.set_files(files);
        let watcher = notify::recommended_watcher({
            let shared = Arc::clone(&shared);
            move |event: notify::Result<Event>| shared.handle(event)
        })?;
        let mut places = Places { watcher, shared: Arc::clone(&shared), watched: BTreeSet::new() };
        places.find()?;
        // One change may wait; while nobody takes it, later ones are only noticed.
        let (sender, receiver) = mpsc::channel(1);
        let task = tokio::spawn(run(places, sender)).abort_handle();
        Ok((Watch { shared, task }, receiver))
    }

    /// Watches these files from now on, and no others: a new configuration may name other plugins. Reads the new ones,
    /// so it blocks for as long as that takes.
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

/// The task: waits for events to settle, looks, tells.
async fn run(mut places: Places, changes: mpsc::Sender<Changed>) {
    let shared = Arc::clone(&places.shared);
    loop {
        shared.woken.notified().await;
        let deadline = Instant::now() + LONGEST_SETTLING;
        while timeout(QUIET, shared.woken.notified()).await.is_ok() && Instant::now() < deadline {}

        let looked = spawn_blocking(move || {
            // A watch that is refused now leaves those that are there; reading still tells the truth of this moment.
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

/// What the task, the event handler and the owner share.
#[derive(Default)]
struct Shared {
    /// The watched files, with the digest of the content they last had.
    files: Mutex<BTreeMap<PathBuf, Option<Digest>>>,
    /// The paths whose events matter.
    places: Mutex<BTreeSet<PathBuf>>,
    /// Something happened at one of them. It holds one permit, so that a flood of events costs no memory.
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

    /// Called on the thread of `notify`, for everything that happens in a watched directory.
    fn handle(&self, event: notify::Result<Event>) {
        let concerns_us = match event {
            // Reading is no change, and we read.
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

    /// The files that have another content than before, which from now on is the one before. A file that is missing or
    /// cannot be read is waited for.
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
    /// Finds every place that decides what the files' paths name, and watches it. Repeats where a place changed while
    /// the watches were being set, so that nothing that happens after this returns is missed.
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

    /// Every watch is set anew: the path may name another directory than when it was set before.
    fn watch(&mut self, wanted: &BTreeSet<PathBuf>) -> notify::Result<()> {
        for old in std::mem::take(&mut self.watched) {
            // It may be gone with what it watched.
            let _ = self.watcher.unwatch(&old);
        }
        let mut result = Ok(());
        for path in wanted {
            match self.watcher.watch(path, RecursiveMode::NonRecursive) {
                Ok(()) => {
                    self.watched.insert(path.clone());
                }
                // It was there a moment ago; the next round sees what is there instead.
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
    /// What to watch: directories, and the files themselves, because one that is mounted alone into a container has
    /// no directory that would tell.
    watches: BTreeSet<PathBuf>,
    /// The entries in those directories that matter.
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
                // Nothing is there, or links without end.
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

/// The digest of a regular file. Anything else (a pipe would block) and what cannot be read counts as missing.
fn digest(file: &Path) -> Option<Digest> {
    let read = || -> io::Result<Option<Digest>> {
        if !fs::metadata(file)?.is_file() {
            return Ok(None);
        }
        let (mut file, mut context, mut chunk) = (File::open(file)?, Context::new(&SHA256), vec![0; 64 * 1024]);
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

/// How long nothing must happen before the files are read.
pub const QUIET: Duration = Duration::from_millis(100);

/// A file that is written to without a pause is read after this all the same.
const LONGEST_SETTLING: Duration = Duration::from_secs(1);

/// As in Linux' path_resolution(7).
const MOST_LINKS: u32 = 40;

/// How often places are looked for while they keep changing; what is missed then comes with the next event.
const ATTEMPTS: u32 = 8;

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    struct Folder {
        root: tempfile::TempDir,
        watch: Watch,
        changes: mpsc::Receiver<Changed>,
    }

    impl Folder {
        /// Makes a folder with `arrange`, and watches these files in it.
        fn new(arrange: impl FnOnce(&Path), files: &[&str]) -> Self {
            let root = tempfile::tempdir().unwrap();
            arrange(root.path());
            let (watch, changes) = Watch::start(files.iter().map(|file| root.path().join(file))).unwrap();
            Folder { root, watch, changes }
        }

        fn path(&self, name: &str) -> PathBuf {
            self.root.path().join(name)
        }

        /// Writes beside the file, then renames over it.
        fn replace(&self, name: &str, text: &str) {
            let beside = self.path(&format!("{name}.new"));
            fs::write(&beside, text).unwrap();
            fs::rename(beside, self.path(name)).unwrap();
        }

        /// Waits until a change of just this file is told.
        async fn expect(&mut self, file: &str) {
            let changed = timeout(Duration::from_secs(20), self.changes.recv()).await.expect("no change was told");
            assert_eq!(changed.unwrap().files, [self.path(file)]);
        }
    }

    fn one_file(root: &Path) {
        fs::write(root.join("gateway.json"), "{}").unwrap();
        fs::write(root.join("other"), "0").unwrap();
    }

    #[tokio::test]
    async fn a_write_in_place() {
        let mut folder = Folder::new(one_file, &["gateway.json"]);
        let mut file = File::options().append(true).open(folder.path("gateway.json")).unwrap();
        io::Write::write_all(&mut file, b"1").unwrap();
        folder.expect("gateway.json").await;
    }

    #[tokio::test]
    async fn renames_over_the_file_again_and_again() {
        let mut folder = Folder::new(one_file, &["gateway.json"]);
        for number in 0..3 {
            folder.replace("gateway.json", &number.to_string());
            folder.expect("gateway.json").await;
        }
    }

    #[tokio::test]
    async fn an_editor_that_moves_the_old_file_away() {
        let mut folder = Folder::new(one_file, &["gateway.json"]);
        fs::rename(folder.path("gateway.json"), folder.path("gateway.json~")).unwrap();
        folder.replace("gateway.json", "new");
        folder.expect("gateway.json").await;
    }

    #[tokio::test]
    async fn equal_content_is_no_change() {
        let mut folder = Folder::new(one_file, &["gateway.json", "other"]);
        folder.replace("gateway.json", "{}");
        File::open(folder.path("gateway.json")).unwrap().set_modified(std::time::SystemTime::now()).unwrap();
        // A change that is one comes last, alone.
        folder.replace("other", "1");
        folder.expect("other").await;
    }

    /// Both change in one step, by the swap of a link; the order of two writes would be the scheduler's.
    #[tokio::test]
    async fn files_that_change_together_are_one_change() {
        let files = ["current/a.wasm", "current/gateway.json"];
        let mut folder = Folder::new(
            |root| {
                for version in ["v1", "v2"] {
                    fs::create_dir(root.join(version)).unwrap();
                    fs::write(root.join(version).join("gateway.json"), version).unwrap();
                    fs::write(root.join(version).join("a.wasm"), version).unwrap();
                }
                symlink("v1", root.join("current")).unwrap();
            },
            &files,
        );
        symlink("v2", folder.path("next")).unwrap();
        fs::rename(folder.path("next"), folder.path("current")).unwrap();
        let changed = timeout(Duration::from_secs(20), folder.changes.recv()).await.unwrap().unwrap();
        assert_eq!(changed.files, files.map(|file| folder.path(file)));
    }

    #[tokio::test]
    async fn deleted_and_written_again() {
        let mut folder = Folder::new(one_file, &["gateway.json", "other"]);
        fs::remove_file(folder.path("gateway.json")).unwrap();
        folder.replace("other", "1");
        folder.expect("other").await;
        // Back as it was: nothing has changed. Then with something new.
        folder.replace("gateway.json", "{}");
        folder.replace("other", "2");
        folder.expect("other").await;
        folder.replace("gateway.json", "new");
        folder.expect("gateway.json").await;
    }

    #[tokio::test]
    async fn a_file_that_appears_with_its_directories() {
        let mut folder = Folder::new(|_| {}, &["a/b/gateway.json"]);
        fs::create_dir(folder.path("a")).unwrap();
        fs::create_dir(folder.path("a/b")).unwrap();
        folder.replace("a/b/gateway.json", "{}");
        folder.expect("a/b/gateway.json").await;
    }

    #[tokio::test]
    async fn a_directory_that_is_deleted_and_made_again() {
        let mut folder = Folder::new(
            |root| {
                fs::create_dir(root.join("conf")).unwrap();
                fs::write(root.join("conf/gateway.json"), "{}").unwrap();
            },
            &["conf/gateway.json"],
        );
        for number in 0..3 {
            fs::remove_dir_all(folder.path("conf")).unwrap();
            fs::create_dir(folder.path("conf")).unwrap();
            folder.replace("conf/gateway.json", &number.to_string());
            folder.expect("conf/gateway.json").await;
        }
    }

    /// What the kubelet's atomic writer does: files are links through `..data`, which is a link to a directory of its
    /// own per version; an update makes a new directory, renames a new link over `..data`, and removes the old one.
    #[tokio::test]
    async fn a_kubernetes_volume() {
        let version = |root: &Path, name: &str, text: &str| {
            fs::create_dir(root.join(name)).unwrap();
            fs::write(root.join(name).join("gateway.json"), text).unwrap();
            symlink(name, root.join("..data_tmp")).unwrap();
            fs::rename(root.join("..data_tmp"), root.join("..data")).unwrap();
        };
        let mut folder = Folder::new(
            |root| {
                version(root, "..2026_01", "{}");
                symlink("..data/gateway.json", root.join("gateway.json")).unwrap();
            },
            &["gateway.json"],
        );
        for number in 2..5 {
            version(folder.root.path(), &format!("..2026_0{number}"), &number.to_string());
            fs::remove_dir_all(folder.path(&format!("..2026_0{}", number - 1))).unwrap();
            folder.expect("gateway.json").await;
        }
    }

    #[tokio::test]
    async fn a_linked_directory_and_a_chain_of_links() {
        let mut folder = Folder::new(
            |root| {
                for version in ["v1", "v2"] {
                    fs::create_dir_all(root.join("releases").join(version)).unwrap();
                    fs::write(root.join("releases").join(version).join("real.json"), version).unwrap();
                    symlink("real.json", root.join("releases").join(version).join("gateway.json")).unwrap();
                }
                fs::create_dir(root.join("etc")).unwrap();
                symlink(root.join("releases/v1"), root.join("etc/current")).unwrap();
                symlink("etc/../etc/current", root.join("conf")).unwrap();
            },
            &["conf/gateway.json"],
        );
        symlink("../releases/v2", folder.path("etc/next")).unwrap();
        fs::rename(folder.path("etc/next"), folder.path("etc/current")).unwrap();
        folder.expect("conf/gateway.json").await;
        // What is behind the links now is watched, too.
        folder.replace("releases/v2/real.json", "v3");
        folder.expect("conf/gateway.json").await;
    }

    #[tokio::test]
    async fn other_files_from_now_on() {
        let mut folder = Folder::new(one_file, &["gateway.json"]);
        folder.watch.set_files([folder.path("other")]);
        folder.replace("gateway.json", "nobody looks");
        folder.replace("other", "1");
        folder.expect("other").await;
    }

    #[test]
    fn neighbours_and_readers_do_not_wake_us() {
        let folder = tempfile::tempdir().unwrap();
        let ours = folder.path().join("gateway.json");
        let shared = Shared::default();
        lock(&shared.places).insert(ours.clone());
        let woken = |kind: EventKind, path: &Path| {
            shared.handle(Ok(Event::new(kind).add_path(path.to_owned())));
            let mut notified = Box::pin(shared.woken.notified());
            let mut context = std::task::Context::from_waker(std::task::Waker::noop());
            notified.as_mut().poll(&mut context).is_ready()
        };
        let write = EventKind::Access(AccessKind::Close(AccessMode::Write));
        assert!(woken(write, &ours));
        assert!(woken(EventKind::Create(notify::event::CreateKind::File), &ours));
        assert!(!woken(write, &folder.path().join("access.log")));
        assert!(!woken(EventKind::Access(AccessKind::Open(AccessMode::Any)), &ours));
        assert!(!woken(EventKind::Access(AccessKind::Close(AccessMode::Read)), &ours));
    }

    #[test]
    fn a_loop_of_links_and_a_pipe_end() {
        let folder = tempfile::tempdir().unwrap();
        symlink("b", folder.path().join("a")).unwrap();
        symlink("a", folder.path().join("b")).unwrap();
        let mut route = Route::default();
        route.follow(&folder.path().join("a"));
        assert!(route.watches.contains(&folder.path().canonicalize().unwrap()));
        assert_eq!(digest(&folder.path().join("a")), None);
        assert_eq!(digest(Path::new("/dev/zero")), None);
        assert_eq!(digest(folder.path()), None);
    }

    #[tokio::test]
    async fn the_channel_closes_with_the_watch() {
        let Folder { watch, mut changes, .. } = Folder::new(one_file, &["gateway.json"]);
        drop(watch);
        assert_eq!(timeout(Duration::from_secs(20), changes.recv()).await, Ok(None));
    }
}
