//! Connections of HTTP/1 that rest between two requests.

use gatewright_tests::{TestGateway, Wire, eventually};
use serde_json::json;

#[tokio::test]
async fn an_idle_connection_rests_and_is_served_again() {
    let gateway = gateway("75s");
    let mut wires = Vec::new();
    for _ in 0..20 {
        wires.push(Wire::connect(gateway.address()).await);
    }
    for round in 1..=2 {
        for wire in &mut wires {
            wire.send("HEAD /1 HTTP/1.1\r\nhost: a\r\n\r\n").await;
            assert!(wire.read_to("\r\n\r\n").await.starts_with("HTTP/1.1 200 "), "round {round}");
        }
        until(&gateway, "resting", 20.0).await;
        until(&gateway, "open", 20.0).await;
    }
    // Half a head wakes it, and the rest of it is waited for.
    let mut woken = wires.remove(0);
    woken.send("HEAD /2 HTT").await;
    until(&gateway, "resting", 19.0).await;
    woken.send("P/1.1\r\nhost: a\r\n\r\n").await;
    assert!(woken.read_to("\r\n\r\n").await.starts_with("HTTP/1.1 200 "));
    until(&gateway, "resting", 20.0).await;

    drop(wires.split_off(10));
    until(&gateway, "open", 11.0).await;
    for wire in &mut wires {
        wire.finish().await;
        assert_eq!(wire.read_to_end().await, "", "closed");
    }
    until(&gateway, "open", 1.0).await;
    until(&gateway, "resting", 1.0).await;
    // The end of the gateway closes what rests, long before its time.
    tokio::task::spawn_blocking(move || gateway.shutdown()).await.unwrap();
    assert_eq!(woken.read_to_end().await, "");
}

#[tokio::test]
async fn a_connection_that_rests_is_closed_when_it_has_been_idle_for_too_long() {
    let gateway = gateway("2s");
    let mut wire = Wire::connect(gateway.address()).await;
    let began = std::time::Instant::now();
    wire.send("HEAD /1 HTTP/1.1\r\nhost: a\r\n\r\n").await;
    wire.read_to("\r\n\r\n").await;
    assert_eq!(wire.read_to_end().await, "");
    assert!(began.elapsed().as_millis() > 1500, "{:?}", began.elapsed());
    until(&gateway, "open", 0.0).await;
    until(&gateway, "resting", 0.0).await;
}

fn gateway(idle: &str) -> TestGateway {
    TestGateway::start(json!({
        "listeners": ["127.0.0.1:0"],
        "routes": [{ "match": {}, "plugins": ["echo"] }],
        "timeouts": { "idle": idle },
    }))
}

/// Waits until the gateway counts so many connections as open or resting.
async fn until(gateway: &TestGateway, state: &str, count: f64) {
    let name = format!("gatewright_listener_{state}_connections");
    eventually(&format!("{count} {state}"), async || (gateway.metric(&name, &[]).await == count).then_some(())).await;
}
