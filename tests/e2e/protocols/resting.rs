//! Connections of HTTP/1 that rest between two requests.

use gatewright_tests::{TestGateway, Wire, eventually};
use serde_json::json;

#[tokio::test]
async fn an_idle_connection_rests_and_is_served_again_until_its_time_or_the_gateway_is_over() {
    let gateway = TestGateway::start(json!({
        "listeners": ["127.0.0.1:0"],
        "routes": [{ "match": {}, "plugins": ["echo"] }],
        "timeouts": { "idle": "6s" },
    }));
    let gauge = async |name: &str| gateway.metric(&format!("gatewright_listener_{name}_connections"), &[]).await;
    let mut wires = Vec::new();
    for _ in 0..20 {
        wires.push(Wire::connect(gateway.address()).await);
    }
    for round in 1..=2 {
        for wire in &mut wires {
            wire.send("HEAD /1 HTTP/1.1\r\nhost: a\r\n\r\n").await;
            assert!(wire.read_to("\r\n\r\n").await.starts_with("HTTP/1.1 200 "), "round {round}");
        }
        eventually("all rest", async || (gauge("resting").await == 20.0).then_some(())).await;
        assert_eq!(gauge("open").await, 20.0);
    }
    // Half a head wakes it, and the rest of it is waited for.
    let mut woken = wires.remove(0);
    woken.send("HEAD /2 HTT").await;
    eventually("one is awake", async || (gauge("resting").await == 19.0).then_some(())).await;
    woken.send("P/1.1\r\nhost: a\r\n\r\n").await;
    assert!(woken.read_to("\r\n\r\n").await.starts_with("HTTP/1.1 200 "));

    drop(wires.split_off(10));
    eventually("those that left are counted out", async || (gauge("open").await == 11.0).then_some(())).await;
    for wire in &mut wires {
        wire.finish().await;
        assert_eq!(wire.read_to_end().await, "", "closed");
    }
    woken.read_to_end().await;
    eventually("nobody is left", async || (gauge("open").await == 0.0 && gauge("resting").await == 0.0).then_some(()))
        .await;

    let mut last = Wire::connect(gateway.address()).await;
    last.send("HEAD /3 HTTP/1.1\r\nhost: a\r\n\r\n").await;
    last.read_to("\r\n\r\n").await;
    eventually("it rests", async || (gauge("resting").await == 1.0).then_some(())).await;
    let began = std::time::Instant::now();
    tokio::task::spawn_blocking(move || gateway.shutdown()).await.unwrap();
    last.read_to_end().await;
    assert!(began.elapsed().as_secs() < 3, "the end of the gateway is not waited for by those that rest");
}
