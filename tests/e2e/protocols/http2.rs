//! HTTP/2 with clients.

use std::convert::Infallible;

use bytes::Bytes;
use gatewright_tests::{Client, Server, TestGateway, eventually, raw};
use http_body_util::StreamBody;
use hyper::body::Frame;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

#[tokio::test]
async fn a_listener_speaks_only_what_its_protocols_say() {
    let gateway = TestGateway::start(json!({
        "listeners": [
            { "address": "127.0.0.1:0", "name": "both" },
            { "address": "127.0.0.1:0", "name": "one", "protocols": ["http/1.1"] },
            { "address": "127.0.0.1:0", "name": "two", "protocols": ["h2"] },
        ],
        "routes": [{ "match": {}, "plugins": ["echo"] }],
    }));
    let request = "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    for (listener, status) in [("both", "200"), ("one", "200"), ("two", "505")] {
        let answer = raw(gateway.address_of(listener), request).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{listener}: {answer}");
    }
    for (listener, is_spoken) in [("both", true), ("one", false), ("two", true)] {
        let answer = Client::http2(gateway.address_of(listener)).await.send("GET", "/", &[], "").await;
        assert_eq!(answer.is_ok_and(|answer| answer.status == 200), is_spoken, "{listener}");
    }
}

/// RFC 9110 section 9.3.2, for what a plugin and the gateway itself answer. A client ends a stream that has content there.
#[tokio::test]
async fn head_is_answered_without_content() {
    let gateway = TestGateway::start(json!({ "routes": [{ "match": { "path": "/echo" }, "plugins": ["echo"] }] }));
    for mut client in [Client::http1(gateway.address()).await, Client::http2(gateway.address()).await] {
        for (target, status) in [("/echo", 200), ("/nowhere", 404)] {
            let get = client.send("GET", target, &[], "").await.unwrap();
            let head = client.send("HEAD", target, &[], "").await.unwrap();
            assert_eq!((head.status, head.body.len()), (status, 0), "{target}");
            assert!(!get.body.is_empty());
            assert_eq!(head.header("content-type"), get.header("content-type"), "{target}");
            assert!(head.header("content-length").is_some(), "{target}: {head:?}");
        }
    }
}

/// RFC 9113 section 8.2.3. An endpoint of HTTP/1.1 may know only the first of several fields.
#[tokio::test]
async fn cookies_in_several_fields_are_one_for_the_endpoint() {
    let server = Server::named("behind").await;
    let gateway = TestGateway::start(json!({
        "upstreams": { "behind": [server.text()] },
        "routes": [{ "match": {}, "to": "behind" }],
    }));
    let mut client = Client::http2(gateway.address()).await;
    let cookies = [("cookie", "session=a"), ("x", "y"), ("cookie", "theme=dark")];
    assert_eq!(client.send("GET", "/", &cookies, "").await.unwrap().status, 200);
    let received = server.only();
    assert_eq!(received.headers.get_all("cookie").iter().collect::<Vec<_>>(), ["session=a; theme=dark"]);
}

/// RFC 9110 section 10.1.1: a client that is answered with 417 sends the request again without the expectation.
#[tokio::test]
async fn a_client_that_insists_on_100_continue_is_told_to_do_without() {
    let server = Server::mirror().await;
    let gateway = TestGateway::start(json!({
        "upstreams": { "behind": [server.text()] },
        "routes": [{ "match": { "path": "/behind" }, "to": "behind" }],
    }));
    let stream = TcpStream::connect(gateway.address()).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    for (path, status) in [("/behind", 417), ("/nowhere", 404)] {
        let never = StreamBody::new(futures_util::stream::pending::<Result<Frame<Bytes>, Infallible>>());
        let request = http::Request::post(format!("http://gateway.test{path}")).header("expect", "100-continue");
        let answer = sender.send_request(request.body(never).unwrap()).await.unwrap();
        assert_eq!(answer.status(), status, "{path}");
    }
    assert!(server.received().is_empty(), "{:?}", server.received());
    let mut client = Client::http2(gateway.address()).await;
    let answer = client.send("POST", "/behind", &[("expect", "100-continue")], "at once").await.unwrap();
    assert_eq!((answer.status, answer.text().as_str()), (200, "at once"));
}

#[tokio::test]
async fn idle_connections_do_not_hold_up_a_shutdown() {
    let gateway = TestGateway::start(json!({
        "routes": [{ "match": {}, "plugins": ["echo"] }],
        "shutdown": { "drain_timeout": "3m" },
    }));
    // One that answers pings, and one that does not read.
    let mut client = Client::http2(gateway.address()).await;
    assert_eq!(client.send("GET", "/", &[], "").await.unwrap().status, 200);
    let mut silent = TcpStream::connect(gateway.address()).await.unwrap();
    silent.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    silent.read_u8().await.unwrap();
    let started = std::time::Instant::now();
    tokio::task::spawn_blocking(move || gateway.shutdown()).await.unwrap();
    assert!(started.elapsed().as_secs() < 60, "{:?}", started.elapsed());
    eventually("the client has heard of it", async || client.send("GET", "/", &[], "").await.err()).await;
}
