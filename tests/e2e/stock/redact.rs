//! `redact`: what the client must not see, however it is sent.

use gatewright_tests::{Client, Scripted, Server, TestGateway, Wire, compress, send};
use http::Response;
use http_body_util::Full;
use serde_json::{Value, json};

fn rules() -> Value {
    json!({ "redact": {
        "fields": ["/**/password"], "patterns": ["card", "email", { "regex": "sk_[a-z0-9]{8,}" }], "headers": ["x-secret"], "mask": "#",
    } })
}

fn gateway(upstream: &str, plugins: Value) -> TestGateway {
    TestGateway::start(json!({
        "shutdown": { "drain_timeout": "50ms" },
        "upstreams": { "behind": [upstream] },
        "routes": [{ "match": {}, "plugins": plugins, "to": "behind" }],
    }))
}

/// Answers with what a path names.
async fn answers() -> Server {
    Server::start(|received| {
        let (kind, body) = match received.target.trim_start_matches('/') {
            "json" => (
                "application/json",
                br#"{"user":{"password":"hunter2","mail":"ada\u0040example.org"},"card":4111111111111111,"n":1.50}"#
                    .to_vec(),
            ),
            "text" => ("text/plain", b"card 4111 1111 1111 1111, key sk_live0123456789\nplain\n".to_vec()),
            "gzip" => ("application/json", compress("gzip", br#"{"password":"hunter2"}"#)),
            "lzma" | "bad" => ("application/json", br#"{"password":"hunter2""#.to_vec()),
            "large" => ("application/json", format!("[{}1]", "1,".repeat(600_000)).into_bytes()),
            _ => ("image/png", b"ada@example.org".to_vec()),
        };
        let mut answer = Response::builder().header("content-type", kind).header("x-secret", "hunter2");
        if let coding @ ("gzip" | "lzma") = received.target.trim_start_matches('/') {
            answer = answer.header("content-encoding", coding);
        }
        answer.body(Full::from(body)).unwrap()
    })
    .await
}

#[tokio::test]
async fn bodies_and_headers_are_masked_over_both_protocols() {
    let behind = answers().await;
    let gateway = gateway(&behind.text(), json!([rules()]));
    for mut client in [Client::http1(gateway.address()).await, Client::http2(gateway.address()).await] {
        for (path, expected) in [
            ("/json", r##"{"user":{"password":"#","mail":"#"},"card":"#","n":1.50}"##),
            ("/text", "card #, key #\nplain\n"),
            ("/gzip", r##"{"password":"#"}"##),
            ("/image", "ada@example.org"),
        ] {
            let answer = client.send("GET", path, &[("accept-encoding", "gzip")], "").await.unwrap();
            assert_eq!((answer.status, answer.text().as_str()), (200, expected), "{path}");
            assert_eq!((answer.header("x-secret"), answer.header("content-encoding")), (Some("#"), None), "{path}");
        }
    }
}

#[tokio::test]
async fn what_a_plugin_says_of_a_body_afterwards_does_not_switch_masking_off() {
    let behind = Server::start(|_| {
        let body = Full::from("{\n  \"password\": 1234\n}");
        Response::builder().header("content-type", "application/json").body(body).unwrap()
    })
    .await;
    for kind in ["text/plain", "image/png"] {
        let relabel = json!({ "headers": { "response": { "set": { "content-type": kind } } } });
        let gateway = gateway(&behind.text(), json!([relabel, rules()]));
        let answer = gateway.get("/").await;
        assert_eq!((answer.header("content-type"), answer.text().as_str()), (Some(kind), r##"{"password":"#"}"##));
    }
}

#[tokio::test]
async fn a_long_line_in_small_chunks_is_masked_as_any_other() {
    let behind = Server::start(|received| Response::new(Full::new(received.body.clone()))).await;
    let rules = json!([{ "redact": { "request": true, "response": false, "patterns": ["email"], "mask": "#" } }]);
    let gateway = gateway(&behind.text(), rules);
    let text = format!("{} ada@example.org\nand bob@example.org", "x".repeat(20_000));
    let chunks: String = text.chars().map(|byte| format!("1\r\n{byte}\r\n")).collect();
    let mut wire = Wire::connect(gateway.address()).await;
    wire.send("POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-type: text/plain\r\ntransfer-encoding: chunked\r\n\r\n").await;
    wire.send(format!("{chunks}0\r\n\r\n")).await;
    wire.read_to_end().await;
    assert_eq!(behind.only().body, text.replace("ada@example.org", "#").replace("bob@example.org", "#"));
}

#[tokio::test]
async fn what_cannot_be_looked_into_goes_nowhere() {
    let behind = answers().await;
    let gateway = gateway(&behind.text(), json!([rules()]));
    for path in ["/bad", "/lzma", "/large"] {
        let answer = gateway.get(path).await;
        answer.problem(502);
        assert!(!answer.text().contains("hunter2"));
    }
}

#[tokio::test]
async fn a_stream_stays_one_and_no_chunk_hides_a_match() {
    let (sender, receiver) = tokio::sync::mpsc::channel::<String>(1);
    let receiver = std::sync::Arc::new(tokio::sync::Mutex::new(receiver));
    let server = Scripted::start(move |stream| {
        let receiver = receiver.clone();
        async move {
            let mut wire = Wire::from(stream);
            wire.read_to("\r\n\r\n").await;
            wire.send("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n").await;
            while let Some(chunk) = receiver.lock().await.recv().await {
                wire.send_chunk(&chunk).await;
            }
            wire.send("0\r\n\r\n").await;
        }
    })
    .await;
    let gateway = gateway(&server.text(), json!([rules()]));
    let mut wire = Wire::connect(gateway.address()).await;
    wire.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    wire.read_to("\r\n\r\n").await;
    for number in 0..10 {
        sender.send(format!("data: {{\"n\":{number},\"password\":\"hun")).await.unwrap();
        sender.send("ter2\"}\n\ndata: ada@exam".to_owned()).await.unwrap();
        wire.read_to(&format!("data: {{\"n\":{number},\"password\":\"#\"}}\n\n")).await;
        sender.send("ple.org\n\n".to_owned()).await.unwrap();
        wire.read_to("data: #\n\n").await;
    }
    drop(sender);
    let rest = wire.read_to("0\r\n\r\n").await;
    assert!(!rest.contains("example") && !rest.contains("hunter"), "{rest}");
}

#[tokio::test]
async fn requests_are_masked_where_it_is_asked_for() {
    let behind = Server::start(|received| Response::new(Full::new(received.body.clone()))).await;
    let rules = json!([{ "redact": { "request": true, "response": false, "fields": ["/pin"], "mask": "" } }]);
    let gateway = gateway(&behind.text(), rules);
    let json = ("content-type", "application/json");
    assert_eq!(gateway.post("/", &[json], r#"{"pin":1234,"a":1}"#).await.text(), r#"{"pin":"","a":1}"#);
    gateway.post("/", &[json], r#"{"pin":1234"#).await.problem(400);
    gateway.post("/", &[json, ("content-encoding", "lzma")], "x").await.problem(400);
    assert_eq!(behind.received().len(), 1);
}

/// Neither the upstream nor the cache may answer with a part, in which the beginning of a name or a number is missing.
#[tokio::test]
async fn a_range_brings_the_whole_body_masked() {
    let behind = Server::start(|received| {
        let text = "card 4111 1111 1111 1111";
        let answer = Response::builder().header("content-type", "text/plain").header("cache-control", "max-age=100");
        if received.header("range").is_none() && received.target != "/stubborn" {
            return answer.body(Full::from(text)).unwrap();
        }
        let answer = answer.status(206).header("content-range", "bytes 9-23/24");
        answer.body(Full::from(&text[9..])).unwrap()
    })
    .await;
    let route = |path: &str| json!({ "match": { "path": path }, "plugins": [rules()], "to": "behind" });
    let mut cached = route("/cached");
    cached["cache"] = json!({});
    let gateway = TestGateway::start(json!({
        "upstreams": { "behind": [behind.text()] },
        "routes": [cached, route("/*")],
    }));
    for path in ["/cached", "/cached", "/other"] {
        for range in ["bytes=9-23", "bytes=0-1,9-23"] {
            let answer = gateway.get_with(path, &[("range", range), ("if-range", "\"a\"")]).await;
            assert_eq!((answer.status, answer.text().as_str()), (200, "card #"), "{path} {range}");
            assert_eq!((answer.header("content-range"), answer.header("accept-ranges")), (None, None), "{path}");
        }
    }
    assert_eq!(behind.received().len(), 3, "the cache answers all but the first for it");
    gateway.get_with("/stubborn", &[("range", "bytes=9-23")]).await.problem(502);
}

#[tokio::test]
async fn a_head_tells_nothing_of_the_unmasked_body() {
    let behind = answers().await;
    let gateway = gateway(&behind.text(), json!([rules()]));
    for (path, length) in [("/json", None), ("/text", None), ("/image", Some("15"))] {
        let head = send(gateway.address(), "HEAD", path, &[], "").await;
        assert_eq!((head.status, head.header("content-length")), (200, length), "{path}");
    }
}

#[tokio::test]
async fn text_in_another_charset_goes_nowhere() {
    let behind = Server::start(|_| {
        let text: Vec<u8> = "ada@example.org".encode_utf16().flat_map(u16::to_le_bytes).collect();
        Response::builder().header("content-type", "text/plain; charset=utf-16le").body(Full::from(text)).unwrap()
    })
    .await;
    let gateway = gateway(&behind.text(), json!([rules()]));
    gateway.get("/").await.problem(502);
}
