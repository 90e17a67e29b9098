//! `compress`: real bodies through each coding, over both protocols; what is left alone; and that nothing is held back.

use gatewright_tests::{Client, Inflating, Scripted, Server, TestGateway, Wire, decompress, send};
use http::Response;
use http_body_util::{BodyExt, Empty, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use tokio::net::TcpStream;

const CODINGS: [&str; 3] = ["gzip", "br", "zstd"];

/// Some text that compresses as pages do.
fn page(bytes: usize) -> String {
    let mut text = String::new();
    let mut line = 0_u64;
    while text.len() < bytes {
        text.push_str(&format!("<li id=\"{line}\">{:x}</li>\n", line.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
        line += 1;
    }
    text.truncate(bytes);
    text
}

/// Answers with a page of as many bytes as the path says.
async fn pages() -> Server {
    Server::start(|received| {
        let bytes = received.target.trim_start_matches('/').parse().unwrap();
        let answer = Response::builder().header("content-type", "text/html; charset=utf-8").header("etag", "\"v1\"");
        answer.body(Full::from(page(bytes))).unwrap()
    })
    .await
}

fn gateway(upstream: &str, plugins: Value) -> TestGateway {
    TestGateway::start(json!({
        "shutdown": { "drain_timeout": "50ms" },
        "upstreams": { "behind": [upstream] },
        "routes": [{ "match": {}, "plugins": plugins, "to": "behind" }],
    }))
}

#[tokio::test]
async fn each_coding_comes_whole_over_both_protocols() {
    let behind = pages().await;
    let gateway = gateway(&behind.text(), json!(["compress"]));
    for mut client in [Client::http1(gateway.address()).await, Client::http2(gateway.address()).await] {
        for coding in CODINGS {
            for bytes in [1024, 100_000, 5_000_000] {
                let headers = [("accept-encoding", coding)];
                let answer = client.send("GET", &format!("/{bytes}"), &headers, "").await.unwrap();
                assert_eq!((answer.status, answer.header("content-encoding")), (200, Some(coding)));
                assert_eq!(answer.header("vary"), Some("accept-encoding"));
                assert_eq!(answer.header("etag"), Some("W/\"v1\""));
                assert_eq!(answer.header("content-length"), None);
                assert!(answer.body.len() < bytes, "{coding}: {} of {bytes} bytes", answer.body.len());
                assert!(decompress(coding, &answer.body) == page(bytes).as_bytes(), "{coding} {bytes}");
            }
        }
    }
    let counted = gateway.metric("plugin_compress_compressed", &["coding=\"zstd\""]).await;
    assert_eq!(counted, 6.0);
}

#[tokio::test]
async fn the_client_chooses_and_who_takes_nothing_gets_it_plain() {
    let behind = pages().await;
    let gateway = gateway(&behind.text(), json!(["compress"]));
    for (accept, coding) in [
        (Some("gzip, deflate, br, zstd"), Some("zstd")),
        (Some("br;q=0.5, gzip"), Some("gzip")),
        (Some("gzip;q=0, *;q=0.1"), Some("zstd")),
        (Some("identity, gzip;q=0.5"), None),
        (Some("gzip;q=0"), None),
        (Some("deflate"), None),
        (None, None),
    ] {
        let headers: Vec<(&str, &str)> = accept.iter().map(|accept| ("accept-encoding", *accept)).collect();
        let answer = gateway.get_with("/20000", &headers).await;
        assert_eq!(answer.header("content-encoding"), coding, "{accept:?}");
        assert_eq!(answer.header("vary"), Some("accept-encoding"), "{accept:?}");
        if coding.is_none() {
            assert_eq!((answer.header("content-length"), answer.text()), (Some("20000"), page(20_000)));
            assert_eq!(answer.header("etag"), Some("\"v1\""));
        }
    }
}

#[tokio::test]
async fn what_is_small_encoded_partial_or_not_to_be_changed_goes_by_untouched() {
    let behind = Server::start(|received| {
        let mut answer = Response::builder().header("content-type", "application/json");
        let kind = received.target.trim_start_matches('/');
        answer = match kind {
            "encoded" => answer.header("content-encoding", "br"),
            "partial" => answer.status(206).header("content-range", "bytes 0-4095/9999"),
            "no-transform" => answer.header("cache-control", "no-transform"),
            "none" => answer.status(204),
            "not-modified" => answer.status(304),
            _ => answer,
        };
        let bytes = match kind {
            "small" => 1023,
            "none" | "not-modified" | "empty" => 0,
            _ => 4096,
        };
        answer.body(Full::from(vec![b'1'; bytes])).unwrap()
    })
    .await;
    let gateway = gateway(&behind.text(), json!(["compress"]));
    for (path, status, length) in [
        ("small", 200, "1023"),
        ("encoded", 200, "4096"),
        ("partial", 206, "4096"),
        ("no-transform", 200, "4096"),
        ("empty", 200, "0"),
    ] {
        let answer = gateway.get_with(&format!("/{path}"), &[("accept-encoding", "gzip")]).await;
        assert_eq!((answer.status, answer.header("content-length")), (status, Some(length)), "{path}");
        assert_eq!(answer.header("content-encoding"), (path == "encoded").then_some("br"), "{path}");
    }
    for (path, status) in [("none", 204), ("not-modified", 304)] {
        let answer = gateway.get_with(&format!("/{path}"), &[("accept-encoding", "gzip")]).await;
        assert_eq!((answer.status, answer.header("content-encoding"), answer.body.len()), (status, None, 0), "{path}");
    }
    let head = send(gateway.address(), "HEAD", "/large", &[("accept-encoding", "gzip")], "").await;
    assert_eq!((head.status, head.header("content-encoding")), (200, None));
    assert_eq!((head.header("vary"), head.body.len()), (Some("accept-encoding"), 0));
    assert_eq!(gateway.metric("plugin_compress_compressed", &[]).await, 0.0);
}

#[tokio::test]
async fn what_stands_for_a_compressed_response_has_its_entity_tag() {
    let behind = Server::start(|received| {
        let is_known = received.header("if-none-match").is_some_and(|tags| tags.contains("\"v1\""));
        let answer = Response::builder().header("content-type", "text/plain").header("etag", "\"v1\"");
        let (status, bytes): (u16, usize) = if is_known { (304, 0) } else { (200, 4096) };
        answer.status(status).body(Full::from(page(bytes))).unwrap()
    })
    .await;
    let gateway = gateway(&behind.text(), json!(["compress"]));
    for (method, headers, status, tag) in [
        ("GET", vec![("accept-encoding", "gzip")], 200, "W/\"v1\""),
        ("HEAD", vec![("accept-encoding", "gzip")], 200, "W/\"v1\""),
        ("GET", vec![("accept-encoding", "gzip"), ("if-none-match", "W/\"v1\"")], 304, "W/\"v1\""),
        ("HEAD", vec![("accept-encoding", "gzip"), ("if-none-match", "W/\"v1\"")], 304, "W/\"v1\""),
        ("GET", vec![("accept-encoding", "gzip"), ("if-none-match", "\"v1\"")], 304, "\"v1\""),
        ("GET", vec![], 200, "\"v1\""),
        ("HEAD", vec![], 200, "\"v1\""),
        ("GET", vec![("if-none-match", "\"v1\"")], 304, "\"v1\""),
    ] {
        let answer = send(gateway.address(), method, "/", &headers, "").await;
        assert_eq!((answer.status, answer.header("etag")), (status, Some(tag)), "{method} {headers:?}");
    }
}

#[tokio::test]
async fn what_plugins_and_the_gateway_answer_is_compressed_too() {
    let large = "x".repeat(4096);
    let echo = json!({ "echo": { "respond": { "body": large } } });
    let gateway = TestGateway::start(json!({
        "routes": [{ "match": {}, "plugins": [{ "compress": { "min_length": "1B", "types": ["*/*"] } }, echo] }],
    }));
    let answer = gateway.get_with("/", &[("accept-encoding", "br")]).await;
    assert_eq!(answer.header("content-encoding"), Some("br"));
    assert_eq!(decompress("br", &answer.body), large.as_bytes());
}

/// A server of events that come when they are told to.
async fn events() -> (Scripted, tokio::sync::mpsc::Sender<String>) {
    let (sender, receiver) = tokio::sync::mpsc::channel::<String>(1);
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
    (server, sender)
}

#[tokio::test]
async fn each_event_is_with_the_client_before_the_next_is_sent() {
    for coding in CODINGS {
        let (server, events) = events().await;
        let gateway = gateway(&server.text(), json!(["compress"]));
        let stream = TcpStream::connect(gateway.address()).await.unwrap();
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let request = http::Request::get("http://gateway.test/").header("accept-encoding", coding);
        let mut response = sender.send_request(request.body(Empty::<bytes::Bytes>::new()).unwrap()).await.unwrap();
        assert_eq!(response.headers()["content-encoding"], coding);
        let mut inflating = Inflating::new(coding);
        for number in 0..20 {
            events.send(format!("event {number}")).await.unwrap();
            let expected = format!("data: event {number}\n\n");
            let mut plain = Vec::new();
            while plain.len() < expected.len() {
                plain.extend(inflating.push(&response.frame().await.unwrap().unwrap().into_data().unwrap()));
            }
            assert_eq!(String::from_utf8_lossy(&plain), expected, "{coding}");
        }
        drop(events);
        while let Some(frame) = response.frame().await {
            assert!(frame.unwrap().into_data().is_ok_and(|rest| inflating.push(&rest).is_empty()));
        }
    }
}

#[tokio::test]
async fn an_upstream_that_breaks_off_is_not_made_whole() {
    let server = Scripted::answering(
        b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
    )
    .await;
    let gateway = gateway(&server.text(), json!(["compress"]));
    let mut wire = Wire::connect(gateway.address()).await;
    wire.send("GET / HTTP/1.1\r\nhost: a\r\naccept-encoding: gzip\r\n\r\n").await;
    assert!(wire.read_to("\r\n\r\n").await.contains("content-encoding: gzip"));
    assert!(!wire.read_to_end().await.contains("\r\n0\r\n\r\n"), "the end is not said");
}
