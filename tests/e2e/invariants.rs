//! The invariants of the architecture that no other file shows: one exchange sees one snapshot, no instance is held
//! while a request waits for its upstream, and a trap ends one hook and one instance.

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
