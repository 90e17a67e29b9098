//! Server-sent events: each is with the client before the next one is sent.

use gatewright_tests::{Scripted, TestGateway, Wire};
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::json;
use tokio::net::TcpStream;
use tokio::sync::mpsc;

/// A server that sends an event for each text it is given, and a gateway in front of it.
async fn start() -> (TestGateway, mpsc::Sender<String>, Scripted) {
    let (sender, receiver) = mpsc::channel::<String>(1);
    let receiver = std::sync::Arc::new(tokio::sync::Mutex::new(receiver));
    let server = Scripted::start(move |stream| {
        let receiver = receiver.clone();
        async move {
            let mut wire = Wire::from(stream);
            wire.read_to("\r\n\r\n").await;
            wire.send("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n").await;
            while let Some(event) = receiver.lock().await.recv().await {
                wire.send_chunk(&format!("data: {event}\n\n")).await;
            }
            wire.send("0\r\n\r\n").await;
        }
    })
    .await;
    let gateway = TestGateway::start(json!({
        "upstreams": { "events": [server.text()] },
        // A plugin on the way, which has no body hook.
        "routes": [{ "match": {}, "plugins": ["headers"], "to": "events" }],
    }));
    (gateway, sender, server)
}

#[tokio::test]
async fn each_event_is_with_an_http1_client_before_the_next_is_sent() {
    let (gateway, events, _server) = start().await;
    let mut wire = Wire::connect(gateway.address()).await;
    wire.send("GET /events HTTP/1.1\r\nhost: a\r\naccept: text/event-stream\r\n\r\n").await;
    assert!(wire.read_to("\r\n\r\n").await.contains("content-type: text/event-stream"), "the head is here already");
    for number in 0..20 {
        events.send(format!("event {number}")).await.unwrap();
        wire.read_to(&format!("data: event {number}\n\n")).await;
    }
    drop(events);
    wire.read_to("0\r\n\r\n").await;
}

#[tokio::test]
async fn each_event_is_with_an_http2_client_before_the_next_is_sent() {
    let (gateway, events, _server) = start().await;
    let stream = TcpStream::connect(gateway.address()).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = http::Request::get("http://gateway.test/events").body(Empty::<bytes::Bytes>::new()).unwrap();
    let mut response = sender.send_request(request).await.unwrap();
    for number in 0..20 {
        events.send(format!("event {number}")).await.unwrap();
        let frame = response.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(frame, format!("data: event {number}\n\n"));
    }
    drop(events);
    assert!(response.frame().await.is_none_or(|frame| frame.unwrap().into_data().unwrap().is_empty()));
}
