//! `concurrency`: never more at once than the limit, on however many cores, and every place comes back.

use gatewright_tests::{Scripted, Slow, TestGateway, Wire, eventually, send};
use serde_json::{Value, json};

fn gateway(slow: &Slow, concurrency: Value) -> TestGateway {
    TestGateway::start(json!({
        "upstreams": { "slow": [slow.text()] },
        "shutdown": { "drain_timeout": "50ms" },
        "routes": [
            { "match": { "path": "/free" }, "plugins": ["echo"] },
            { "match": {}, "plugins": [{ "concurrency": concurrency }], "to": "slow" },
        ],
    }))
}

#[tokio::test]
async fn of_many_at_once_exactly_as_many_as_the_limit_get_through() {
    let slow = Slow::start().await;
    let gateway = gateway(&slow, json!({ "limit": 5, "by": "route" }));
    let address = gateway.address();
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..60 {
        clients.spawn(async move { send(address, "GET", "/", &[], "").await });
    }
    // All but five are answered while the five are under way, whichever core they came to.
    for _ in 0..55 {
        let refused = clients.join_next().await.unwrap().unwrap();
        refused.problem(503);
        assert_eq!(refused.header("retry-after"), Some("1"));
    }
    slow.wait_for(5).await;
    slow.release(5);
    while let Some(answer) = clients.join_next().await {
        assert_eq!(answer.unwrap().status, 200);
    }
    assert_eq!(slow.asked(), 5);
    assert_eq!(gateway.metric("plugin_concurrency_limited", &[]).await, 55.0);

    // And again: all places came back.
    slow.release(1);
    eventually("a place", async || (gateway.get("/").await.status == 200).then_some(())).await;
}

#[tokio::test]
async fn clients_that_leave_give_their_places_back() {
    for leave in [Wire::reset, drop::<Wire>] {
        let slow = Slow::start().await;
        let gateway = gateway(&slow, json!({ "limit": 3 }));
        let mut waiting = Vec::new();
        for _ in 0..3 {
            let mut wire = Wire::connect(gateway.address()).await;
            wire.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
            waiting.push(wire);
        }
        slow.wait_for(3).await;
        gateway.get("/").await.problem(429);
        waiting.into_iter().for_each(leave);
        // The gateway sees that they are gone; until then they count.
        eventually("a place is free", async || {
            tokio::select! {
                refused = gateway.get("/") => {
                    refused.problem(429);
                    None
                }
                () = slow.wait_for(4) => Some(()),
            }
        })
        .await;
    }
}

#[tokio::test]
async fn a_place_is_held_until_the_last_byte() {
    let server = Scripted::start(|stream| async {
        let mut wire = Wire::from(stream);
        wire.read_to("\r\n\r\n").await;
        wire.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await;
        wire.send_chunk("first").await;
        // The client asks for the rest through another connection's close.
        wire.read_to_end().await;
    })
    .await;
    let gateway = TestGateway::start(json!({
        "upstreams": { "slow": [server.text()] },
        "shutdown": { "drain_timeout": "50ms" },
        "routes": [{ "match": {}, "plugins": [{ "concurrency": { "limit": 1 } }], "to": "slow" }],
    }));
    let mut streaming = Wire::connect(gateway.address()).await;
    streaming.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    streaming.read_to("first").await;
    gateway.get("/").await.problem(429);
    drop(streaming);
    eventually("the place is free", async || {
        let mut next = Wire::connect(gateway.address()).await;
        next.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        next.read_to("\r\n").await.starts_with("HTTP/1.1 200").then_some(())
    })
    .await;
}

#[tokio::test]
async fn others_are_not_counted() {
    let slow = Slow::start().await;
    let gateway = gateway(&slow, json!({ "limit": 1, "by": { "header": "x-team" } }));
    let mut first = Wire::connect(gateway.address()).await;
    first.send("GET / HTTP/1.1\r\nhost: a\r\nx-team: red\r\n\r\n").await;
    slow.wait_for(1).await;
    gateway.get_with("/", &[("x-team", "red")]).await.problem(429);
    assert_eq!(gateway.get("/free").await.status, 200);
    slow.release(2);
    assert_eq!(gateway.get_with("/", &[("x-team", "blue")]).await.status, 200);
    assert!(first.read_to("ok").await.starts_with("HTTP/1.1 200"));
}
