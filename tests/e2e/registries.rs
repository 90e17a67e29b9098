//! Plugins from OCI registries: a real registry, and ones that do what no registry should.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use gatewright::author::distribution::{self, Options};
use gatewright_tests::{Registry, TestGateway, key_pair, send};
use serde_json::{Value, json};

mod access;
mod faults;
mod pruning;

/// The stock plugin `echo`, with a note that makes it another component.
fn component(note: &str) -> Vec<u8> {
    let mut bytes = gatewright::stock::component("echo").unwrap().to_vec();
    let section = [&[4], b"note".as_slice(), note.as_bytes()].concat();
    bytes.extend([&[0, u8::try_from(section.len()).unwrap()], section.as_slice()].concat());
    bytes
}

fn options() -> Options {
    Options { plain_http: false, timeout: Duration::from_secs(20), credentials: None, authorities: Vec::new() }
}

/// What a person does at a command line, beside the runtime of a test.
fn beside<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| scope.spawn(work).join().unwrap())
}

/// Pushes a component; the answer is the source with tag and digest.
fn push(bytes: &[u8], reference: &str, options: &Options) -> String {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("plugin.wasm");
    std::fs::write(&file, bytes).unwrap();
    let reference = reference.parse().unwrap();
    let digest = beside(|| distribution::push(&file, &reference, options)).unwrap_or_else(|error| panic!("{error}"));
    format!("oci://{reference}@{digest}")
}

fn sign(source: &str, key: &Path) {
    let reference = source.strip_prefix("oci://").unwrap().parse().unwrap();
    beside(|| distribution::sign(&reference, key, &options())).unwrap_or_else(|error| panic!("{error}"));
}

/// A gateway that answers with the plugin from this source.
fn config(source: &str, registries: Value) -> Value {
    json!({
        "registries": registries,
        "plugins": { "far": { "source": source } },
        "routes": [{ "match": {}, "plugins": [{ "far": { "respond": { "body": "far" } } }] }],
    })
}

/// One that asks nothing of a registry.
fn near() -> Value {
    json!({ "routes": [{ "match": {}, "plugins": [{ "echo": { "respond": { "body": "near" } } }] }] })
}

/// The digest of the component that runs as `far`.
async fn running(gateway: &TestGateway) -> String {
    let plugins = send(gateway.admin(), "GET", "/plugins", &[], "").await.json();
    let far = plugins.as_array().unwrap().iter().find(|plugin| plugin["name"] == "far");
    far.unwrap_or_else(|| panic!("{plugins:#}"))["digest"].as_str().unwrap().to_owned()
}

fn digest_of(bytes: &[u8]) -> String {
    gatewright::registry::digest_of(bytes).to_string()
}

/// The only mistake for which a gateway does not start, or a reload is not made.
fn mistake(result: Result<(), gatewright::gateway::Error>) -> Value {
    match result {
        Err(gatewright::gateway::Error::Config(report)) => {
            let report = report.to_json();
            let [mistake] = report.as_array().unwrap().as_slice() else { panic!("{report:#}") };
            mistake.clone()
        }
        other => panic!("{other:?}"),
    }
}

fn expect(mistake: &Value, pointer: &str, words: &str) {
    assert_eq!(mistake["pointer"], pointer, "{mistake:#}");
    assert!(mistake["message"].as_str().unwrap().contains(words), "{words}: {mistake:#}");
    assert!(mistake["line"].is_u64() && mistake["column"].is_u64(), "{mistake:#}");
}

const SOURCE: &str = "/plugins/far/source";

#[tokio::test]
async fn a_digest_is_fetched_once_and_a_start_with_the_registry_down_works_from_the_store() {
    let mut registry = Registry::start();
    let source = push(&component("one"), &format!("{}/acme/far:1", registry.host()), &options());
    let store = tempfile::tempdir().unwrap();
    let config = config(&source, json!({ "store": store.path(), "timeout": "5s" }));
    let gateway = TestGateway::start(config.clone());
    assert_eq!(gateway.get("/").await.text(), "far");
    assert_eq!(running(&gateway).await, digest_of(&component("one")));
    gateway.shutdown();

    registry.stop();
    let gateway = TestGateway::start(config.clone());
    assert_eq!(gateway.get("/").await.text(), "far");
    gateway.reload().unwrap();
    gateway.shutdown();

    // What is damaged is as good as not there, and never runs.
    let component_file = store.path().join("blobs/sha256").join(&digest_of(&component("one"))[7..]);
    let mut bytes = std::fs::read(&component_file).unwrap();
    bytes[100] ^= 1;
    std::fs::write(&component_file, &bytes).unwrap();
    let refused = mistake(TestGateway::try_start(config.clone()).map(drop));
    expect(&refused, SOURCE, "cannot be reached");
    registry.start_again();
    let gateway = TestGateway::start(config);
    assert_eq!(running(&gateway).await, digest_of(&component("one")));
}

#[tokio::test]
async fn a_tag_runs_as_the_lock_file_says_and_moves_when_the_operator_says_so() {
    let registry = Registry::start();
    let tag = format!("{}/acme/far:stable", registry.host());
    push(&component("one"), &tag, &options());
    let source = format!("oci://{tag}");
    let gateway = TestGateway::start(near());
    gateway.write_config(config(&source, json!({})));
    let refused = mistake(gateway.reload());
    expect(&refused, SOURCE, "gateway.lock does not say which digest this tag stands for");
    assert!(refused["help"].as_str().unwrap().contains("gatewright plugin lock"), "{refused:#}");
    assert_eq!(gateway.get("/").await.text(), "near");

    // The lock file is watched: nobody has to reload.
    let path = gateway.config_path();
    beside(|| gatewright::gateway::lock(&path, false)).unwrap();
    let runs = async |note: &str| {
        let wanted = digest_of(&component(note));
        gatewright_tests::eventually(note, async || {
            let plugins = send(gateway.admin(), "GET", "/plugins", &[], "").await.text();
            plugins.contains(&wanted).then_some(())
        })
        .await;
        assert_eq!(gateway.get("/").await.text(), "far");
    };
    runs("one").await;

    // Somebody pushes under the same tag. Nothing changes, whatever happens here, until the lock is renewed.
    push(&component("two"), &tag, &options());
    gateway.reload().unwrap();
    assert_eq!(running(&gateway).await, digest_of(&component("one")));
    let kept = beside(|| gatewright::gateway::lock(&path, false)).unwrap().0;
    assert_eq!(kept[0].before.as_ref(), Some(&kept[0].digest));
    beside(|| gatewright::gateway::lock(&path, true)).unwrap();
    runs("two").await;

    // A lock file that cannot be read is a mistake, and no reason to ask what the tag is now.
    std::fs::write(gateway.directory().join("gateway.lock"), "{}").unwrap();
    expect(&mistake(gateway.reload()), SOURCE, "gateway.lock");
    assert_eq!(running(&gateway).await, digest_of(&component("two")));
}

#[tokio::test]
async fn where_a_signature_is_demanded_nothing_runs_without_one_by_a_key_of_the_operator() {
    let mut registry = Registry::start();
    let folder = tempfile::tempdir().unwrap();
    let ((release, release_pub), (other, other_pub)) =
        (key_pair(folder.path(), "release"), key_pair(folder.path(), "other"));
    let source = push(&component("one"), &format!("{}/acme/far:1", registry.host()), &options());
    let store = folder.path().join("store");
    let with_keys = |prefix: &str, keys: &[&PathBuf]| {
        let rule = json!({ "prefix": prefix, "keys": keys });
        config(&source, json!({ "store": store, "timeout": "5s", "verify": [rule] }))
    };
    let gateway = TestGateway::start(near());
    let refuses = async |config: Value, words: &str| {
        gateway.write_config(config);
        expect(&mistake(gateway.reload()), SOURCE, words);
        assert_eq!(gateway.get("/").await.text(), "near");
    };
    refuses(with_keys("", &[&release_pub]), "there is no signature").await;
    sign(&source, &other);
    refuses(with_keys("", &[&release_pub]), "none of the keys").await;
    // Of what is not signed, not even the component was fetched.
    let blob = store.join("blobs/sha256").join(&digest_of(&component("one"))[7..]);
    assert!(!blob.exists());

    sign(&source, &release);
    let accepted = with_keys(&format!("{}/acme", registry.host()), &[&other_pub, &release_pub]);
    gateway.write_config(accepted.clone());
    gateway.reload().unwrap();
    assert_eq!(gateway.get("/").await.text(), "far");

    // From here on everything is in the store, and the signature is checked all the same.
    registry.stop();
    let third = key_pair(folder.path(), "third").1;
    gateway.write_config(with_keys("", &[&third]));
    expect(&mistake(gateway.reload()), SOURCE, "cannot be reached");
    assert_eq!(gateway.get("/").await.text(), "far");
    gateway.shutdown();
    let gateway = TestGateway::start(accepted);
    assert_eq!(gateway.get("/").await.text(), "far");
    gateway.shutdown();
    let refused = mistake(TestGateway::try_start(with_keys("", &[&third])).map(drop));
    expect(&refused, SOURCE, "cannot be reached");

    // The store has the signature that was good enough when it was fetched. The most specific rule decides, and a rule
    // for others is none for this plugin.
    let rules = json!([{ "keys": [third] }, { "prefix": format!("{}/acme", registry.host()), "keys": [other_pub] }]);
    let gateway = TestGateway::start(config(&source, json!({ "store": store, "verify": rules })));
    assert_eq!(gateway.get("/").await.text(), "far");
    let gateway = TestGateway::start(with_keys("ghcr.io", &[&third]));
    assert_eq!(gateway.get("/").await.text(), "far");
}

#[tokio::test]
async fn keys_that_cannot_be_used_are_shown_at_their_place() {
    let folder = tempfile::tempdir().unwrap();
    let (private, public) = key_pair(folder.path(), "release");
    std::fs::write(folder.path().join("text.pub"), "no key").unwrap();
    assert!(Command::new("mkfifo").arg(folder.path().join("pipe.pub")).status().unwrap().success());
    let source = format!("oci://127.0.0.1:9/far@{}", digest_of(b""));
    for (file, words) in [
        (private, "it is a private key"),
        (folder.path().join("text.pub"), "not in PEM"),
        (folder.path().join("pipe.pub"), "it is not a file"),
        (folder.path().to_owned(), "it is not a file"),
        (folder.path().join("gone.pub"), "cannot be read"),
    ] {
        let gateway = TestGateway::start(near());
        let rules = json!([{ "keys": [public, file] }]);
        gateway.write_config(config(&source, json!({ "verify": rules })));
        // Nothing is fetched for a plugin of which it is not known who has to have signed it.
        expect(&mistake(gateway.reload()), "/registries/verify/0/keys/1", words);
        assert_eq!(gateway.get("/").await.text(), "near");
    }
}

#[tokio::test]
async fn a_plugin_from_a_registry_is_pushed_by_the_admin_api_like_any_other() {
    let registry = Registry::start();
    let source = push(&component("one"), &format!("{}/far:1", registry.host()), &options());
    let gateway = TestGateway::start(near());
    let text = {
        gateway.write_config(config(&source, json!({})));
        std::fs::read_to_string(gateway.config_path()).unwrap()
    };
    let answer = send(gateway.admin(), "PUT", "/config", &[("if-match", "*")], text).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(running(&gateway).await, digest_of(&component("one")));
    let other = source.replace(":1@", ":2@").replace("/far", "/gone");
    let text = config(&other, json!({})).to_string();
    let text = text.replacen('{', "{\"listeners\":[\"127.0.0.1:0\"],\"admin\":{\"address\":\"127.0.0.1:0\"},", 1);
    let text = text.replacen("\"registries\":{}", "\"registries\":{\"store\":\"empty\"}", 1);
    let answer = send(gateway.admin(), "PUT", "/config", &[("if-match", "*")], text).await;
    assert_eq!(answer.status, 422, "{}", answer.text());
    assert!(answer.text().contains("answered 404"), "{}", answer.text());
    assert_eq!(running(&gateway).await, digest_of(&component("one")));
}

#[tokio::test]
async fn an_upload_fetches_again_what_the_store_has_lost() {
    let mut registry = Registry::start();
    let source = push(&component("one"), &format!("{}/far:1", registry.host()), &options());
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store");
    let mut config = config(&source, json!({ "store": store, "timeout": "5s" }));
    config["plugins"]["near"] = json!({ "source": "stock:echo" });
    config["routes"]
        .as_array_mut()
        .unwrap()
        .insert(0, json!({ "match": { "path": "/near" }, "plugins": [{ "near": { "respond": { "body": "near" } } }] }));
    let gateway = TestGateway::start(config);
    let put = async |note: &str| send(gateway.admin(), "PUT", "/plugins/near", &[], component(note)).await;
    std::fs::remove_dir_all(&store).unwrap();
    registry.stop();
    let refused = put("two").await.problem(422);
    assert!(refused.to_string().contains("cannot be reached"), "{refused:#}");
    // The upload that was refused is no part of what is built next.
    registry.start_again();
    gateway.reload().unwrap();
    let plugins = send(gateway.admin(), "GET", "/plugins", &[], "").await.text();
    assert!(!plugins.contains(&digest_of(&component("two"))), "{plugins}");

    std::fs::remove_dir_all(&store).unwrap();
    let answer = put("three").await;
    assert_eq!((answer.status, answer.json()["component"].as_str()), (200, Some(&*digest_of(&component("three")))));
    assert_eq!((gateway.get("/near").await.text(), gateway.get("/").await.text()), ("near".into(), "far".into()));
    assert_eq!(running(&gateway).await, digest_of(&component("one")));
    assert!(store.join("blobs/sha256").join(&digest_of(&component("one"))[7..]).exists());
}
