//! Registries that answer what they should not, or do not answer: a clear message, and nothing has changed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use gatewright_tests::{Received, Scripted, Server, TestGateway, eventually, read_head};
use http::{Response, StatusCode};
use http_body_util::Full;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

use super::{SOURCE, component, config, digest_of, expect, mistake, near};

/// An artifact as a registry has it.
pub struct Artifact {
    pub manifest: Vec<u8>,
    pub digest: String,
    pub component: Vec<u8>,
}

impl Artifact {
    pub fn of(component: Vec<u8>) -> Artifact {
        let layer = json!({
            "mediaType": "application/wasm", "digest": digest_of(&component), "size": component.len(),
        });
        Artifact::with(vec![layer], component)
    }

    fn with(layers: Vec<Value>, component: Vec<u8>) -> Artifact {
        let config =
            json!({ "mediaType": "application/vnd.wasm.config.v0+json", "digest": digest_of(b"{}"), "size": 2 });
        let manifest = json!({ "schemaVersion": 2, "config": config, "layers": layers }).to_string().into_bytes();
        Artifact { digest: digest_of(&manifest), manifest, component }
    }
}

/// What a registry with this artifact answers.
pub fn answer(artifact: &Artifact, request: &Received) -> Response<Full<Bytes>> {
    let path = request.target.split('?').next().unwrap();
    let (bytes, kind) = if path.ends_with(&format!("/manifests/{}", artifact.digest)) {
        (artifact.manifest.clone(), "application/vnd.oci.image.manifest.v1+json")
    } else if path.ends_with(&format!("/blobs/{}", digest_of(&artifact.component))) {
        (artifact.component.clone(), "application/octet-stream")
    } else {
        let body = json!({ "errors": [{ "code": "NAME_UNKNOWN", "message": "no such thing" }] }).to_string();
        let mut response = Response::new(Full::new(Bytes::from(body)));
        *response.status_mut() = StatusCode::NOT_FOUND;
        return response;
    };
    let mut response = Response::new(Full::new(Bytes::from(bytes)));
    response.headers_mut().insert("content-type", kind.parse().unwrap());
    response
}

/// Gives a gateway that serves a plugin from a registry, which it refuses. Nothing has changed then.
async fn refused(host: &str, digest: &str, words: &str) {
    let gateway = TestGateway::start(near());
    gateway.write_config(config(&format!("oci://{host}/acme/far@{digest}"), json!({ "timeout": "2s" })));
    let refused = mistake(gateway.reload());
    expect(&refused, SOURCE, words);
    assert!(!refused.to_string().contains("<html>"), "{refused:#}");
    assert_eq!(gateway.get("/").await.text(), "near");
    let blobs = gateway.directory().join(".gatewright/plugins/blobs/sha256");
    let left: Vec<String> = std::fs::read_dir(blobs)
        .map(|blobs| blobs.map(|blob| blob.unwrap().file_name().into_string().unwrap()).collect())
        .unwrap_or_default();
    assert!(left.iter().all(|name| name.len() == 64), "{left:?}");
}

const HTML: &str = "<html><body>Sign in to the network</body></html>";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_what_its_digest_says_or_no_plugin_is_refused_with_its_reason() {
    let core = wat::parse_str("(module)").unwrap();
    let other_world = wat::parse_str("(component (core module $m) (export \"my:own/thing@1.0.0\" (core module $m)))");
    let layer = |kind: &str, size: u64| json!({ "mediaType": kind, "digest": digest_of(b"x"), "size": size });
    let image = "application/vnd.oci.image.layer.v1.tar+gzip";
    let tar = Artifact::with(vec![layer(image, 1)], b"x".to_vec());
    let none = Artifact::with(vec![], Vec::new());
    let large = Artifact::with(vec![layer("application/wasm", 65 << 20)], b"x".to_vec());
    let longer = Artifact::with(
        vec![json!({ "mediaType": "application/wasm", "digest": digest_of(b"xy"), "size": 1 })],
        b"xy".to_vec(),
    );
    for (artifact, words) in [
        (Artifact::of(core), "core WebAssembly module"),
        (Artifact::of(b"text".to_vec()), "not WebAssembly"),
        (Artifact::of(other_world.unwrap()), "another world"),
        (tar, image),
        (none, "no layers"),
        (large, "larger than 67108864 bytes"),
        (longer, "more bytes than the 1"),
    ] {
        let (artifact, digest) = (Arc::new(artifact), String::new());
        let digest = digest + &artifact.digest;
        let registry = Server::start(move |request| answer(&artifact, request)).await;
        refused(&registry.text(), &digest, words).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_bytes_than_were_asked_for_are_refused() {
    let artifact = Arc::new(Artifact::of(component("one")));
    type Change = fn(&Received, &mut Response<Full<Bytes>>);
    let changes: [(&str, Change, &str); 6] = [
        (
            "manifest",
            |request, response| {
                if request.target.contains("/manifests/") {
                    *response.body_mut() = Full::new(Bytes::from(Artifact::of(component("two")).manifest));
                }
            },
            "its manifest is not what its digest says",
        ),
        (
            "component",
            |request, response| {
                if request.target.contains("/blobs/") {
                    let mut bytes = component("one");
                    bytes[1000] ^= 1;
                    *response.body_mut() = Full::new(Bytes::from(bytes));
                }
            },
            "the component is not what its digest says",
        ),
        (
            "short",
            |request, response| {
                if request.target.contains("/blobs/") {
                    *response.body_mut() = Full::new(Bytes::from(component("one").split_off(10)));
                }
            },
            "the component is not what its digest says",
        ),
        (
            "a page",
            |_, response| {
                *response.body_mut() = Full::new(Bytes::from(HTML));
                response.headers_mut().insert("content-type", "text/html; charset=utf-8".parse().unwrap());
            },
            "a page of HTML, which no registry does",
        ),
        (
            "a page that is said to be none",
            |_, response| *response.body_mut() = Full::new(Bytes::from(HTML)),
            "something that is no manifest, which no registry does",
        ),
        (
            "a page with a status",
            |_, response| {
                *response.body_mut() = Full::new(Bytes::from(HTML));
                *response.status_mut() = StatusCode::FORBIDDEN;
            },
            "answered 403",
        ),
    ];
    for (_, change, words) in changes {
        let there = artifact.clone();
        let registry = Server::start(move |request| {
            let mut response = answer(&there, request);
            change(request, &mut response);
            response
        })
        .await;
        refused(&registry.text(), &artifact.digest, words).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_registry_that_is_gone_hangs_or_breaks_off_is_given_up_in_time() {
    let digest = digest_of(b"");
    let silent = Scripted::start(|stream| async move {
        let _open = stream;
        std::future::pending::<()>().await;
    })
    .await;
    let endless = Scripted::start(|mut stream| async move {
        read_head(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{").await;
        std::future::pending::<()>().await;
    })
    .await;
    let cut = Scripted::answering(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{").await;
    let large = Scripted::answering(b"HTTP/1.1 200 OK\r\ncontent-length: 100000000\r\n\r\n{").await;
    let noise = Scripted::answering(b"220 mail.example ESMTP\r\n").await;
    let looping = Scripted::answering(b"HTTP/1.1 302 Found\r\nlocation: /again\r\ncontent-length: 0\r\n\r\n").await;
    let broken = Scripted::answering(b"HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n").await;
    for (host, words) in [
        (silent.text(), "did not answer in full within 2s"),
        (endless.text(), "did not answer in full within 2s"),
        (cut.text(), "broke off"),
        (large.text(), "its manifest is larger than 1048576 bytes"),
        (noise.text(), "cannot be reached"),
        (looping.text(), "answered 302"),
        (broken.text(), "answered 500"),
        ("127.0.0.1:1".to_owned(), "cannot be reached"),
    ] {
        refused(&host, &digest, words).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_fails_for_a_moment_is_asked_for_again() {
    let artifact = Arc::new(Artifact::of(component("one")));
    let asked = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let there = artifact.clone();
    let registry = Server::start(move |request| {
        let mut response = answer(&there, request);
        if asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed) < 2 {
            *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        }
        response
    })
    .await;
    let source = format!("oci://{}/acme/far@{}", registry.text(), artifact.digest);
    let gateway = TestGateway::start(config(&source, json!({})));
    assert_eq!(gateway.get("/").await.text(), "far");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_registry_that_hangs_holds_up_neither_traffic_nor_other_changes_nor_the_end() {
    let (asked, mut was_asked) = tokio::sync::mpsc::unbounded_channel();
    let silent = Scripted::start(move |stream| {
        let asked = asked.clone();
        async move {
            let _open = stream;
            asked.send(()).unwrap();
            std::future::pending::<()>().await;
        }
    })
    .await;
    let gateway = TestGateway::start(near());
    let source = format!("oci://{}/acme/far@{}", silent.text(), digest_of(b""));
    gateway.write_config(config(&source, json!({ "timeout": "10m" })));
    was_asked.recv().await.unwrap();
    assert_eq!(gateway.get("/").await.text(), "near");
    let began = Instant::now();
    let text = json!({ "routes": [{ "match": {}, "plugins": [{ "echo": { "respond": { "body": "next" } } }] }] });
    gateway.write_config(text);
    eventually("the next change", async || (gateway.get("/").await.text() == "next").then_some(())).await;
    gateway.reload().unwrap();
    gateway.shutdown();
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
}
