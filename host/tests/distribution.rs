//! `gatewright plugin push`, `pull`, `sign`, `verify` and `lock`, as a person uses them: the real binary, a real registry.

#![allow(clippy::expect_used, clippy::unwrap_used)] // a test fails by panicking

use std::path::Path;
use std::process::Command;

use registry::{Registry, key_pair};
use serde_json::{Value, json};

#[allow(dead_code)] // what it has for other tests
#[path = "../../tests/src/registry.rs"]
mod registry;

/// What the binary said: whether it is content, and its words.
fn gatewright(folder: &Path, arguments: &[&str]) -> (bool, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gatewright"));
    // Nobody's logins but those of the test.
    let output = command.current_dir(folder).env("DOCKER_CONFIG", folder).args(arguments).output().unwrap();
    let said = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap()).concat();
    (output.status.success(), said)
}

fn good(folder: &Path, arguments: &[&str]) -> String {
    let (is_good, said) = gatewright(folder, arguments);
    assert!(is_good, "{arguments:?}: {said}");
    said
}

fn bad(folder: &Path, arguments: &[&str], words: &str) {
    let (is_good, said) = gatewright(folder, arguments);
    assert!(!is_good && said.contains(words) && said.starts_with("error: "), "{arguments:?}: {words}: {said}");
}

#[test]
fn from_a_component_to_a_signed_plugin_that_a_gateway_accepts() {
    let mut registry = Registry::start();
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let component = gatewright::stock::component("echo").unwrap();
    std::fs::write(folder.join("echo.wasm"), component).unwrap();
    let reference = format!("{}/acme/echo:1.0", registry.host());
    key_pair(folder, "release");
    key_pair(folder, "other");

    // Pushed twice it is the same artifact.
    let source = good(folder, &["plugin", "push", "echo.wasm", &reference]).trim().to_owned();
    assert!(source.starts_with(&format!("oci://{reference}@sha256:")), "{source}");
    assert_eq!(good(folder, &["plugin", "push", "echo.wasm", &source[..source.find('@').unwrap()]]).trim(), source);

    bad(folder, &["plugin", "verify", &reference, "--key", "release.pub"], "there is no signature");
    good(folder, &["plugin", "sign", &reference, "--key", "other.key"]);
    bad(folder, &["plugin", "verify", &reference, "--key", "release.pub"], "none of the keys");
    good(folder, &["plugin", "sign", &source, "--key", "release.key"]);
    good(folder, &["plugin", "sign", &source, "--key", "release.key"]);
    for key in ["release.pub", "other.pub"] {
        assert!(good(folder, &["plugin", "verify", &reference, "--key", key]).contains("good"));
    }

    assert!(good(folder, &["plugin", "pull", &source, "--key", "release.pub", "-o", "pulled.wasm"]).contains(&source));
    assert_eq!(std::fs::read(folder.join("pulled.wasm")).unwrap(), component);
    good(folder, &["plugin", "verify", "pulled.wasm", "--of", &reference, "--key", "release.pub"]);
    std::fs::write(folder.join("other.wasm"), gatewright::stock::component("headers").unwrap()).unwrap();
    let other = ["plugin", "verify", "other.wasm", "--of", &reference, "--key", "release.pub"];
    bad(folder, &other, "is not the component of");
    bad(folder, &["plugin", "verify", "other.wasm", "--key", "release.pub"], "--of");

    let config = json!({
        "listeners": ["127.0.0.1:0"],
        "registries": { "verify": [{ "keys": ["release.pub"] }] },
        "plugins": { "far": { "source": format!("oci://{reference}") } },
        "routes": [{ "match": {}, "plugins": ["far"] }],
    });
    std::fs::write(folder.join("gateway.json"), config.to_string()).unwrap();
    let (is_good, said) = gatewright(folder, &["check"]);
    assert!(!is_good && said.contains("gatewright plugin lock gateway.json"), "{said}");
    assert!(good(folder, &["plugin", "lock"]).contains(&format!("{reference} is {} (new)", digest(&source))));
    let lock: Value = serde_json::from_slice(&std::fs::read(folder.join("gateway.lock")).unwrap()).unwrap();
    assert_eq!(lock, json!({ "version": 1, "plugins": { &reference: digest(&source) } }));
    assert!(good(folder, &["check"]).contains("good"));
    registry.stop();
    assert!(good(folder, &["check"]).contains("good"));
    bad(folder, &["plugin", "lock", "--update"], "cannot be reached");
    let after: Value = serde_json::from_slice(&std::fs::read(folder.join("gateway.lock")).unwrap()).unwrap();
    assert_eq!(after, lock);
}

/// The layout that `cosign verify --key` reads, looked at with openssl: it knows nothing of what wrote it.
#[test]
fn a_signature_is_what_cosign_s_specification_says() {
    let registry = Registry::start();
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    std::fs::write(folder.join("echo.wasm"), gatewright::stock::component("echo").unwrap()).unwrap();
    key_pair(folder, "release");
    let source = good(folder, &["plugin", "push", "echo.wasm", &format!("{}/acme/echo:1", registry.host())]);
    let artifact = digest(source.trim()).to_owned();
    good(folder, &["plugin", "sign", source.trim(), "--key", "release.key"]);

    let tag = format!("{}.sig", artifact.replace(':', "-"));
    let get = |what: &str| {
        let address = format!("http://{}/v2/acme/echo/{what}", registry.host());
        let accept = "accept: application/vnd.oci.image.manifest.v1+json";
        let output = Command::new("curl").args(["-sSf", "-H", accept, &address]).output().unwrap();
        assert!(output.status.success(), "{address}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    };
    let manifest: Value = serde_json::from_slice(&get(&format!("manifests/{tag}"))).unwrap();
    let [layer] = manifest["layers"].as_array().unwrap().as_slice() else { panic!("{manifest:#}") };
    assert_eq!(manifest["config"]["mediaType"], "application/vnd.oci.image.config.v1+json");
    assert_eq!(layer["mediaType"], "application/vnd.dev.cosign.simplesigning.v1+json");
    let payload = get(&format!("blobs/{}", layer["digest"].as_str().unwrap()));
    let value: Value = serde_json::from_slice(&payload).unwrap();
    assert_eq!(value["critical"]["type"], "cosign container image signature");
    assert_eq!(value["critical"]["image"]["docker-manifest-digest"], artifact.as_str());
    assert_eq!(value["critical"]["identity"]["docker-reference"], format!("{}/acme/echo", registry.host()));

    std::fs::write(folder.join("payload"), &payload).unwrap();
    let signature = layer["annotations"]["dev.cosignproject.cosign/signature"].as_str().unwrap();
    std::fs::write(folder.join("signature.b64"), signature).unwrap();
    let openssl = |arguments: &[&str]| {
        let output = Command::new("openssl").current_dir(folder).args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    openssl(&["base64", "-d", "-A", "-in", "signature.b64", "-out", "signature"]);
    openssl(&["dgst", "-sha256", "-verify", "release.pub", "-signature", "signature", "payload"]);
    // And the artifact itself is what the layout of the CNCF says.
    let manifest: Value = serde_json::from_slice(&get("manifests/1")).unwrap();
    assert_eq!(manifest["config"]["mediaType"], "application/vnd.wasm.config.v0+json");
    assert_eq!(manifest["layers"][0]["mediaType"], "application/wasm");
    let config: Value =
        serde_json::from_slice(&get(&format!("blobs/{}", manifest["config"]["digest"].as_str().unwrap()))).unwrap();
    assert_eq!((&config["architecture"], &config["os"]), (&json!("wasm"), &json!("wasip2")));
    assert_eq!(config["layerDigests"], json!([manifest["layers"][0]["digest"]]));
    let exports = config["component"]["exports"].as_array().unwrap();
    assert!(exports.contains(&json!("gatewright:plugin/lifecycle@0.1.0")), "{config:#}");
}

#[test]
fn what_cannot_be_done_is_said_and_leaves_nothing() {
    let registry = Registry::start();
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    std::fs::write(folder.join("text.wasm"), "no component").unwrap();
    std::fs::write(folder.join("echo.wasm"), gatewright::stock::component("echo").unwrap()).unwrap();
    std::fs::write(folder.join("key.pem"), "no key").unwrap();
    let reference = format!("{}/acme/echo:1", registry.host());
    let with_digest = format!("{reference}@sha256:{}", "0".repeat(64));
    bad(folder, &["plugin", "push", "text.wasm", &reference], "this is not WebAssembly");
    bad(folder, &["plugin", "push", "gone.wasm", &reference], "gone.wasm");
    bad(folder, &["plugin", "push", ".", &reference], "it is not a file");
    bad(folder, &["plugin", "push", "echo.wasm", &with_digest], "no digest");
    bad(folder, &["plugin", "push", "echo.wasm", "127.0.0.1:1/echo:1"], "cannot be reached");
    bad(folder, &["plugin", "push", "echo.wasm", "acme/echo:1"], "neither a dot nor a port");
    bad(folder, &["plugin", "pull", &reference], "answered 404");
    bad(folder, &["plugin", "sign", &reference, "--key", "key.pem"], "not in PEM");
    bad(folder, &["plugin", "verify", "echo.wasm", "--of", &reference, "--key", "key.pem"], "not in PEM");
    let mut left: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["echo.wasm", "key.pem", "text.wasm"]);
}

fn digest(source: &str) -> &str {
    source.split_once('@').unwrap().1
}
