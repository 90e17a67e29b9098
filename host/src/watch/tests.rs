use super::*;
use std::fs::File;
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
