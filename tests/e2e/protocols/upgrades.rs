//! Upgrades in HTTP/1.1 that are refused, ignored, or abused.

use gatewright_tests::{Scripted, Server, TestGateway, Wire, raw, read_head};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

/// A WebSocket handshake whose answer is known (RFC 6455, section 1.3).
const HANDSHAKE: &str = "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
                         sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

fn config(upstream: &str) -> Value {
    json!({
        "workers": 1,
        "upstreams": { "one": [upstream] },
        "routes": [
            { "match": { "path": "/*" }, "to": "one" },
            { "match": { "path": "/none" }, "to": "one", "upgrades": [] },
            { "match": { "path": "/other" }, "to": "one", "upgrades": ["Echo/1", "websocket"] },
        ],
    })
}

#[tokio::test]
async fn a_refused_upgrade_is_a_response_and_the_connection_goes_on() {
    let server = Server::start(|request| {
        let status = if request.header("upgrade").is_some() { 426 } else { 200 };
        http::Response::builder().status(status).body("answered".into()).unwrap()
    })
    .await;
    let gateway = TestGateway::start(config(&server.text()));
    let mut wire = Wire::connect(gateway.address()).await;
    for _ in 0..2 {
        wire.send(format!("GET /a HTTP/1.1\r\nhost: a\r\n{HANDSHAKE}")).await;
        assert!(wire.read_to("answered").await.starts_with("HTTP/1.1 426 "));
    }
    wire.send("GET /b HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert!(wire.read_to("answered").await.starts_with("HTTP/1.1 200 "));
    assert_eq!(server.received().len(), 3);
    let records = gateway.wait_for_records(3).await;
    assert!(records.iter().all(|record| record["outcome"] == "complete"), "{records:#?}");
}

#[tokio::test]
async fn what_is_behind_a_refused_upgrade_goes_through_routes_and_plugins() {
    // The server refuses (a version that it does not know); a proxy that believed the client would have a tunnel now.
    let server = Server::start(|_| http::Response::builder().status(426).body("no".into()).unwrap()).await;
    let mut config = config(&server.text());
    config["routes"].as_array_mut().unwrap().push(json!({
        "match": { "path": "/admin" },
        "plugins": [{ "key-auth": { "keys": [{ "key": "k", "subject": "s" }] } }],
        "to": "one",
    }));
    let gateway = TestGateway::start(config);
    let attack = format!(
        "GET /a HTTP/1.1\r\nhost: a\r\n{}GET /admin HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
        HANDSHAKE.replace("13", "1337"),
    );
    let answers = raw(gateway.address(), attack).await;
    assert!(answers.contains("HTTP/1.1 426 ") && answers.contains("HTTP/1.1 401 "), "{answers}");
    assert_eq!(server.only().target, "/a");
}

#[tokio::test]
async fn upgrades_that_are_not_let_through_are_plain_requests() {
    let server = Server::named("plain").await;
    let gateway = TestGateway::start(config(&server.text()));
    let socket = HANDSHAKE.replace("\r\n\r\n", "\r\nconnection: close\r\n\r\n");
    for (name, head) in [
        ("the route has none", format!("GET /none HTTP/1.1\r\nhost: a\r\n{HANDSHAKE}")),
        (
            "HTTP/2 in clear text, which would go past everything",
            "GET /a HTTP/1.1\r\nhost: a\r\nconnection: upgrade, http2-settings\r\nupgrade: h2c\r\n\
             http2-settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n\r\n"
                .into(),
        ),
        (
            "h2c behind websocket",
            "GET /a HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket, h2c\r\n\r\n".into(),
        ),
        (
            "it is not on the list",
            "GET /a HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: echo/1\r\n\r\n".into(),
        ),
        ("without the key", HANDSHAKE_WITHOUT_KEY.into()),
        ("with a key that is none", format!("GET /a HTTP/1.1\r\nhost: a\r\n{}", HANDSHAKE.replace("==", "="))),
        ("with a body", format!("POST /a HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n{HANDSHAKE}body")),
        (
            "with a chunked body",
            format!("POST /a HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n{HANDSHAKE}4\r\nbody\r\n0\r\n\r\n"),
        ),
        (
            "Connection does not name it",
            format!("GET /a HTTP/1.1\r\nhost: a\r\n{}", HANDSHAKE.replace("connection: upgrade", "x: y")),
        ),
        ("twice", format!("GET /a HTTP/1.1\r\nhost: a\r\nupgrade: h2c\r\n{HANDSHAKE}")),
        ("in HTTP/1.0", format!("GET /a HTTP/1.0\r\nhost: a\r\n{HANDSHAKE}")),
        ("with close", format!("GET /a HTTP/1.1\r\nhost: a\r\n{socket}")),
    ] {
        let before = server.received().len();
        let mut wire = Wire::connect(gateway.address()).await;
        wire.send(head).await;
        let answer = wire.read_to("plain").await;
        assert!(answer.starts_with("HTTP/1.") && answer[8..].starts_with(" 200 "), "{name}: {answer}");
        let received = server.received();
        assert_eq!(received.len(), before + 1, "{name}");
        let request = received.last().unwrap();
        for field in ["upgrade", "http2-settings", "connection"] {
            assert_eq!(request.header(field), None, "{name}");
        }
    }
}

const HANDSHAKE_WITHOUT_KEY: &str =
    "GET /a HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\r\n";

#[tokio::test]
async fn nothing_is_switched_without_the_upstreams_own_and_proper_101() {
    for (name, request, answer) in [
        (
            "nobody asked",
            "GET /a HTTP/1.1\r\nhost: a\r\n\r\n".into(),
            format!("connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: {ACCEPT}\r\n\r\n"),
        ),
        ("no proof", handshake("/a"), "connection: upgrade\r\nupgrade: websocket\r\n\r\n".into()),
        (
            "another request's proof",
            handshake("/a"),
            format!(
                "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: {}\r\n\r\n",
                ACCEPT.replace('s', "t")
            ),
        ),
        (
            "another protocol",
            handshake("/a"),
            format!("connection: upgrade\r\nupgrade: h2c\r\nsec-websocket-accept: {ACCEPT}\r\n\r\n"),
        ),
        ("no protocol", handshake("/a"), format!("sec-websocket-accept: {ACCEPT}\r\n\r\n")),
        (
            "a route without",
            handshake("/none"),
            format!("connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: {ACCEPT}\r\n\r\n"),
        ),
    ] {
        let answer = format!("HTTP/1.1 101 Switching Protocols\r\n{answer}tunnelled");
        let server = Scripted::start(move |mut stream| {
            let answer = answer.clone();
            async move {
                read_head(&mut stream).await;
                let _ = stream.write_all(answer.as_bytes()).await;
                let _ = stream.shutdown().await;
            }
        })
        .await;
        let gateway = TestGateway::start(config(&server.text()));
        let mut wire = Wire::connect(gateway.address()).await;
        wire.send(request).await;
        let answer = wire.read_to("}").await;
        assert!(answer.starts_with("HTTP/1.1 502 "), "{name}: {answer}");
        // The connection is HTTP still.
        wire.send("GET /nowhere HTTP/9.9\r\n\r\n").await;
        let rest = wire.read_to_end().await;
        assert!(rest.starts_with("HTTP/1.1 505 ") && !rest.contains("tunnelled"), "{name}: {rest}");
        let record = gateway.wait_for_records(1).await.pop().unwrap();
        assert_eq!(record["outcome"], "upstream-failed", "{name}: {record}");
    }
}

fn handshake(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: a\r\n{HANDSHAKE}")
}

#[tokio::test]
async fn another_protocol_that_the_route_lists_is_switched_to_and_each_side_closes_its_own_half() {
    let server = Scripted::start(|stream| async move {
        let mut wire = Wire::from(stream);
        let head = wire.read_to("\r\n\r\n").await;
        assert!(head.contains("\r\nupgrade: echo/1\r\n"), "{head}");
        assert!(head.contains("\r\nconnection: upgrade\r\n"), "{head}");
        wire.send("HTTP/1.1 101 Switching Protocols\r\nupgrade: Echo/1\r\nconnection: upgrade\r\n\r\nfirst ").await;
        assert_eq!(wire.read_to_end().await, "all of it", "the client's half is closed");
        wire.send("and last").await;
    })
    .await;
    let gateway = TestGateway::start(config(&server.text()));
    let mut wire = Wire::connect(gateway.address()).await;
    // Its first bytes come before the 101: they wait for it.
    wire.send("GET /other HTTP/1.1\r\nhost: a\r\nconnection: keep-alive, upgrade\r\nupgrade: echo/1\r\n\r\nall ").await;
    let head = wire.read_to("\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 101 ") && head.contains("\r\nupgrade: echo/1\r\n"), "{head}");
    wire.send("of it").await;
    wire.finish().await;
    assert_eq!(wire.read_to_end().await, "first and last");
    let record = gateway.wait_for_records(1).await.pop().unwrap();
    let bytes = (&record["request_bytes"], &record["response_bytes"]);
    assert_eq!((&record["outcome"], bytes), (&json!("complete"), (&json!(9), &json!(14))), "{record}");
}

#[tokio::test]
async fn http_inside_a_tunnel_is_a_mistake_in_the_configuration() {
    for protocol in ["h2c", "H2C", "HTTP/2.0", "TLS/1.2", "a b", ""] {
        let mut config = config("127.0.0.1:9");
        config["routes"][0]["upgrades"] = json!([protocol]);
        let error = TestGateway::try_start(config).err().unwrap_or_else(|| panic!("{protocol:?} is taken"));
        assert!(error.to_string().contains("protocol to switch to"), "{error}");
    }
}
