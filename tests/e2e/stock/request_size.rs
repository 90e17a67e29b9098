//! `request-size`: declared and streamed lengths, over HTTP/1.1 and HTTP/2.

use gatewright_tests::{Client, Server, TestGateway, Wire};
use http_body_util::Full;
use serde_json::{Value, json};

async fn mirror() -> Server {
    Server::start(|received| http::Response::new(Full::new(received.body.clone()))).await
}

fn gateway(behind: &Server, size: Value) -> TestGateway {
    TestGateway::start(json!({
        "shutdown": { "drain_timeout": "50ms" },
        "upstreams": { "behind": [behind.text()] },
        "routes": [{ "match": {}, "plugins": [{ "request-size": size }], "to": "behind" }],
    }))
}

#[tokio::test]
async fn what_declares_too_much_is_refused_before_its_body() {
    let behind = mirror().await;
    let gateway = gateway(&behind, json!({ "limit": "1KiB" }));
    let (small, large) = ("a".repeat(1024), "a".repeat(1025));
    for mut client in [Client::http1(gateway.address()).await, Client::http2(gateway.address()).await] {
        let answer = client.send("POST", "/", &[], small.clone()).await.unwrap();
        assert_eq!((answer.status, answer.body.len()), (200, 1024));
        client.send("POST", "/", &[], large.clone()).await.unwrap().problem(413);
    }
    assert_eq!(behind.received().len(), 2, "what is refused reaches nothing");

    // Not one byte of the body was sent.
    let mut wire = Wire::connect(gateway.address()).await;
    wire.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1025\r\n\r\n").await;
    assert!(wire.read_to("\r\n\r\n").await.starts_with("HTTP/1.1 413"));
    assert_eq!(gateway.metric("plugin_request_size_refused", &["reason=\"declared\""]).await, 3.0);
}

#[tokio::test]
async fn what_declares_nothing_is_counted_on_its_way() {
    let behind = mirror().await;
    let gateway = gateway(&behind, json!({ "limit": "1KiB" }));
    let mut wire = Wire::connect(gateway.address()).await;
    wire.send("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n").await;
    wire.send_chunk(&"a".repeat(1000)).await;
    wire.send_chunk(&"b".repeat(24)).await;
    wire.send("0\r\n\r\n").await;
    assert!(wire.read_to("\r\n\r\n").await.starts_with("HTTP/1.1 200"));
    assert_eq!(behind.only().body.len(), 1024);

    // A client that never ends its body is answered when it is over the limit.
    let mut wire = Wire::connect(gateway.address()).await;
    wire.send("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n").await;
    wire.send_chunk(&"a".repeat(1000)).await;
    wire.send_chunk(&"b".repeat(25)).await;
    assert!(wire.read_to("\r\n\r\n").await.starts_with("HTTP/1.1 413"));
    assert_eq!(behind.received().len(), 1, "the upstream has no whole request");
    assert_eq!(gateway.metric("plugin_request_size_refused", &["reason=\"streamed\""]).await, 1.0);
}

#[tokio::test]
async fn a_length_may_be_required() {
    let behind = mirror().await;
    let gateway = gateway(&behind, json!({ "limit": "0B", "require_length": true }));
    let mut wire = Wire::connect(gateway.address()).await;
    wire.send("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n").await;
    assert!(wire.read_to("\r\n\r\n").await.starts_with("HTTP/1.1 411"));
    assert_eq!(gateway.get("/").await.status, 200);
    assert_eq!(gateway.post("/", &[], "").await.status, 200);
    gateway.post("/", &[], "a").await.problem(413);
}
