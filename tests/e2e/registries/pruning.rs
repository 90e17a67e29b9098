//! What is in the store and nobody names any more.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use gatewright_tests::{Registry, TestGateway, key_pair};
use serde_json::json;

use super::{beside, component, config, options, push, sign};

/// Every file of a store.
fn files(store: &Path) -> Vec<PathBuf> {
    let folders = ["blobs/sha256", "signatures"].map(|folder| store.join(folder));
    let files = folders.iter().filter_map(|folder| std::fs::read_dir(folder).ok()).flatten();
    files.map(|file| file.unwrap().path()).collect()
}

fn age(file: &Path, hours: u64) {
    let then = SystemTime::now() - Duration::from_secs(hours * 3600);
    std::fs::File::options().write(true).open(file).unwrap().set_modified(then).unwrap();
}

#[tokio::test]
async fn what_no_configuration_and_no_lock_file_names_goes_after_a_day() {
    let registry = Registry::start();
    let folder = tempfile::tempdir().unwrap();
    let (private, public) = key_pair(folder.path(), "release");
    let source = |note: &str| {
        let source = push(&component(note), &format!("{}/acme/far:{note}", registry.host()), &options());
        sign(&source, &private);
        source
    };
    let registries = json!({ "store": folder.path().join("store"), "verify": [{ "keys": [public] }] });
    let store = folder.path().join("store");
    let (old, locked, new) = (source("old"), source("locked"), source("new"));
    let gateway = TestGateway::start(config(&old, registries.clone()));
    let path = gateway.config_path();
    // A tag that is locked, and named by no plugin now: it is the way back.
    let tag = locked.split_once('@').unwrap().0;
    gateway.write_config(config(tag, registries.clone()));
    beside(|| gatewright::gateway::lock(&path, false)).unwrap();
    gateway.reload().unwrap();
    gateway.write_config(config(&new, registries.clone()));
    gateway.reload().unwrap();
    let all = files(&store);
    // Manifest, component, payload and signatures of each.
    assert_eq!(all.len(), 12, "{all:#?}");
    let prune = || beside(|| gatewright::gateway::prune(std::slice::from_ref(&path))).unwrap();
    assert_eq!(prune().files, 0, "what is young may be about to be named");
    for file in &all {
        age(file, 25);
    }
    let others = store.join("blobs/sha256/notes.txt");
    std::fs::write(&others, "not ours").unwrap();
    age(&others, 25);
    let pruned = prune();
    assert_eq!((pruned.files, files(&store).len()), (4, 9));
    assert!(pruned.bytes > component("old").len() as u64 && others.exists());
    assert_eq!(prune().files, 0);

    // All that is left is good: with the registry down, both start.
    drop(registry);
    gateway.reload().unwrap();
    gateway.write_config(config(tag, registries));
    gateway.reload().unwrap();
    assert_eq!(gateway.get("/").await.text(), "far");
}

#[tokio::test]
async fn a_mistake_prunes_nothing() {
    let registry = Registry::start();
    let source = push(&component("one"), &format!("{}/far:1", registry.host()), &options());
    let gateway = TestGateway::start(config(&source, json!({})));
    let store = gateway.directory().join(".gatewright/plugins");
    for file in files(&store) {
        age(&file, 25);
    }
    std::fs::write(gateway.directory().join("gateway.lock"), "{}").unwrap();
    let path = gateway.config_path();
    let refused = beside(|| gatewright::gateway::prune(std::slice::from_ref(&path))).unwrap_err().to_string();
    assert!(refused.contains("gateway.lock"), "{refused}");
    assert_eq!(files(&store).len(), 2);
}

/// A process that ends while it fetches leaves a part of a blob behind.
#[tokio::test]
async fn what_a_broken_fetch_left_behind_goes_with_the_next_fetch() {
    let registry = Registry::start();
    let source = push(&component("one"), &format!("{}/far:1", registry.host()), &options());
    let folder = tempfile::tempdir().unwrap();
    let blobs = folder.path().join("blobs/sha256");
    std::fs::create_dir_all(&blobs).unwrap();
    let (left, busy) = (blobs.join("left.1-0.part"), blobs.join("busy.2-0.part"));
    for (file, hours) in [(&left, 2), (&busy, 0)] {
        std::fs::write(file, "half").unwrap();
        age(file, hours);
    }
    let gateway = TestGateway::start(config(&source, json!({ "store": folder.path() })));
    assert_eq!(gateway.get("/").await.text(), "far");
    assert_eq!((left.exists(), busy.exists()), (false, true), "another process may be at it");
}
