//! The invariants of the architecture that no other file shows: one exchange sees one snapshot, no instance is held
//! while a request waits for its upstream, a trap ends one hook and one instance, and a retry happens only if nothing
//! reached the client and the request may be repeated.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use gatewright_tests::{Scripted, Server, TestGateway, Wire, eventually, guest, read_head};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::sync::{mpsc, watch};

fn file(guest_name: &str) -> String {
    format!("file:{}", guest(guest_name))
}

/// A server that says when a request's head is there and answers when it is let.
async fn parked() -> (Scripted, mpsc::UnboundedReceiver<()>, watch::Sender<bool>) {
    let (arrived, arrivals) = mpsc::unbounded_channel();
    let (release, gate) = watch::channel(false);
    let server = Scripted::start(move |mut stream| {
        let (arrived, mut gate) = (arrived.clone(), gate.clone());
        async move {
            read_head(&mut stream).await;
            arrived.send(()).unwrap();
            gate.wait_for(|open| *open).await.unwrap();
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\nconnection: close\r\n\r\nparked").await;
        }
    })
    .await;
    (server, arrivals, release)
}

#[tokio::test]
async fn one_exchange_sees_one_snapshot() {
    let (server, mut arrivals, release) = parked().await;
    let config = |version: &str, to: Value| {
        json!({
            "upstreams": { "parked": [server.text()] },
            "plugins": { "first": { "source": file("guest-order") }, "second": { "source": file("guest-order") } },
            "routes": [{
                "name": version,
                "match": {},
                "plugins": [
                    { "first": { "name": version } },
                    { "second": { "name": version, "respond": to.is_null() } },
                ],
                "to": to,
            }],
        })
    };
    let without_target = |mut config: Value| {
        config["routes"][0].as_object_mut().unwrap().remove("to");
        config
    };
    let gateway = TestGateway::start(config("old", json!("parked")));
    let mut wire = Wire::connect(gateway.address()).await;
    wire.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    arrivals.recv().await.unwrap();
    gateway.write_config(without_target(config("new", Value::Null)));
    gateway.reload().unwrap();
    // Others see the new configuration at once, this one ends with the old one.
    assert_eq!(gateway.get("/").await.text(), "new,new");
    release.send(true).unwrap();
    let answer = wire.read_to("parked").await;
    assert_eq!(answer.matches("x-order: old\r\n").count(), 2, "{answer}");
    assert!(!answer.contains("new"), "{answer}");
    // The same connection goes on with the new one.
    wire.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    wire.read_to("new,new").await;
    let records = gateway.wait_for_records(3).await;
    let by_old = records.iter().filter(|record| record["route"] == "old").count();
    assert_eq!(by_old, 1, "{records:#?}");
}

#[tokio::test]
async fn no_instance_is_held_while_a_request_waits_for_its_upstream() {
    const WAITING: usize = 50;
    for (isolation, most) in [("shared", 1.0), ("request", WAITING as f64)] {
        let (server, mut arrivals, release) = parked().await;
        let gateway = TestGateway::start(json!({
            "workers": 1,
            "upstreams": { "parked": [server.text()] },
            "plugins": { "both": { "source": file("guest-noop-both"), "isolation": isolation } },
            "routes": [{ "match": {}, "plugins": ["both"], "to": "parked" }],
        }));
        let mut wires = Vec::new();
        for _ in 0..WAITING {
            let mut wire = Wire::connect(gateway.address()).await;
            wire.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
            arrivals.recv().await.unwrap();
            wires.push(wire);
        }
        let instances = async || gateway.metric("gatewright_plugin_instances{", &["\"both\""]).await;
        assert_eq!(instances().await, most, "{isolation}");
        release.send(true).unwrap();
        for wire in &mut wires {
            wire.read_to("parked").await;
        }
        gateway.wait_for_records(WAITING).await;
        let after = if isolation == "shared" { 1.0 } else { 0.0 };
        eventually("what belonged to the exchanges is gone", async || (instances().await == after).then_some(())).await;
        let calls = gateway.metric("gatewright_plugin_calls_total", &["\"both\"", "hook=\"response\""]).await;
        assert_eq!(calls, WAITING as f64, "{isolation}");
    }
}

#[tokio::test]
async fn a_trap_ends_one_hook_and_one_instance() {
    let (server, mut arrivals, release) = parked().await;
    let behind = Server::named("behind").await;
    let gateway = TestGateway::start(json!({
        "workers": 1,
        "upstreams": { "parked": [server.text()], "behind": [behind.text()] },
        "plugins": { "h": { "source": file("guest-hostile"), "breaker": { "failures": 0 } } },
        "routes": [
            { "match": { "path": "/parked" }, "plugins": [{ "h": { "do": "trap" } }], "to": "parked" },
            { "match": { "path": "/behind" }, "plugins": [{ "h": { "do": "trap" } }], "to": "behind" },
        ],
    }));
    // Exchanges that have the request hook of the same plugin behind them and the others before them.
    let mut wires = Vec::new();
    for _ in 0..10 {
        let mut wire = Wire::connect(gateway.address()).await;
        wire.send("GET /parked HTTP/1.1\r\nhost: a\r\n\r\n").await;
        arrivals.recv().await.unwrap();
        wires.push(wire);
    }
    let metric = async |name: &str| gateway.metric(name, &["\"h\""]).await;
    let made = metric("gatewright_plugin_instances_made_total").await;
    for traps in 1..=20 {
        gateway.get_with("/behind", &[("x-misbehave", "1")]).await.problem(500);
        assert_eq!(metric("gatewright_plugin_traps_total").await, f64::from(traps));
        assert_eq!(gateway.get("/behind").await.text(), "behind");
        assert_eq!(metric("gatewright_plugin_instances_made_total").await, made + f64::from(traps));
    }
    release.send(true).unwrap();
    for wire in &mut wires {
        let answer = wire.read_to("parked").await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
    eventually("what waits is one instance for the core", async || {
        (metric("gatewright_plugin_instances{").await <= 2.0).then_some(())
    })
    .await;
}

/// A server that answers each request with these bytes and closes, and counts the requests.
async fn breaking_off(bytes: &'static str) -> (Scripted, Arc<AtomicUsize>) {
    let count = Arc::<AtomicUsize>::default();
    let requests = count.clone();
    let server = Scripted::start(move |mut stream| {
        let requests = requests.clone();
        async move {
            if !read_head(&mut stream).await.is_empty() {
                requests.fetch_add(1, SeqCst);
                let _ = stream.write_all(bytes.as_bytes()).await;
            }
        }
    })
    .await;
    (server, count)
}

#[tokio::test]
async fn a_retry_happens_only_if_nothing_reached_the_client_and_the_request_may_be_repeated() {
    let half = "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf";
    for (what, method, bytes, sent) in [
        ("a response that broke off is not begun anew", "GET", half, 1),
        ("nothing but the head reached the client", "GET", "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n", 1),
        ("nothing reached anybody", "GET", "", 3),
        ("the request must not be repeated", "POST", "", 1),
        ("nor after a status", "POST", "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n", 1),
    ] {
        let (servers, counts): (Vec<_>, Vec<_>) =
            [breaking_off(bytes).await, breaking_off(bytes).await].into_iter().unzip();
        let endpoints: Vec<String> = servers.iter().map(Scripted::text).collect();
        let gateway = TestGateway::start(json!({
            "upstreams": { "two": endpoints },
            "routes": [{
                "match": {}, "to": "two",
                "retries": { "on": ["connect-failure", "reset", "timeout", "bad-response", "5xx"] },
            }],
        }));
        let mut wire = Wire::connect(gateway.address()).await;
        wire.send(format!("{method} / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")).await;
        let answer = wire.read_to_end().await;
        let record = gateway.wait_for_records(1).await.remove(0);
        let count: usize = counts.iter().map(|count| count.load(SeqCst)).sum();
        assert_eq!(count, sent, "{what}: {answer}");
        assert_eq!(record["attempts"], sent, "{what}: {record}");
    }
}
