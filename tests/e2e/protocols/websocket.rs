//! WebSockets through the gateway, with a real client and a real server.

use gatewright_tests::{Server, Socket, TestGateway, WebSockets, eventually, guest};
use http::{Method, Request};
use http_body_util::Empty;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use tokio::net::TcpStream;

fn config(upstream: &str) -> Value {
    json!({
        "upstreams": { "sockets": [upstream] },
        "routes": [{ "name": "sockets", "match": {}, "to": "sockets" }],
    })
}

#[tokio::test]
async fn messages_go_both_ways_and_the_end_has_one_record_with_the_bytes() {
    let server = WebSockets::start().await;
    let gateway = TestGateway::start(config(&server.text()));
    let (mut socket, response) = Socket::open(gateway.address(), "/chat?room=1").await;
    assert_eq!(response.status(), 101);
    socket.echo("hello").await;
    let large = vec![7; 1 << 20];
    socket.send_binary(large.clone()).await;
    assert_eq!(socket.next().await, Some(large));
    assert_eq!(gateway.metric("http_server_active_requests", &[]).await, 1.0, "it counts as long as it is open");
    assert_eq!(gateway.metric("gatewright_listener_open_connections", &[]).await, 1.0);
    assert!(gateway.records().is_empty());
    socket.close().await;

    let record = gateway.wait_for_records(1).await.pop().unwrap();
    assert_eq!((&record["status"], &record["outcome"]), (&json!(101), &json!("complete")), "{record}");
    assert_eq!((&record["path"], &record["upstream"]), (&json!("/chat"), &json!("sockets")), "{record}");
    // Payloads, frame heads (with a mask from the client), and the closing handshake.
    let bytes = |name: &str| record[name].as_u64().unwrap();
    assert!(bytes("request_bytes") > (1 << 20) + 5 && bytes("request_bytes") < (1 << 20) + 100, "{record}");
    assert!(bytes("response_bytes") > (1 << 20) + 5 && bytes("response_bytes") < (1 << 20) + 100, "{record}");
    eventually("the connection is counted out", async || {
        (gateway.metric("gatewright_listener_open_connections", &[]).await == 0.0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn request_hooks_run_before_it_and_response_hooks_see_the_101() {
    let server = WebSockets::start().await;
    let mut config = config(&server.text());
    config["routes"][0]["plugins"] = json!([
        { "key-auth": { "keys": [{ "key": "k", "subject": "s" }], "in": { "query": "key" } } },
        { "headers": { "response": { "set": { "x-seen": "$(upstream.name)" } } } },
    ]);
    let gateway = TestGateway::start(config);
    let denied = gateway
        .get_with("/", &[("connection", "upgrade"), ("upgrade", "websocket"), ("sec-websocket-version", "13")])
        .await;
    assert_eq!(denied.status, 401, "a plugin's answer is a response like any other");
    let (mut socket, response) = Socket::open(gateway.address(), "/?key=k").await;
    assert_eq!(response.headers()["x-seen"], "sockets");
    socket.echo("let in").await;
}

#[tokio::test]
async fn a_client_that_is_gone_ends_it_at_both_ends() {
    let server = WebSockets::start().await;
    let gateway = TestGateway::start(config(&server.text()));
    let (mut socket, _) = Socket::open(gateway.address(), "/").await;
    socket.echo("hello").await;
    drop(socket);
    gateway.wait_for_records(1).await;
    eventually("the upstream's connection is closed", async || {
        (gateway.metric("http_server_active_requests", &[]).await == 0.0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_idle_tunnel_is_closed() {
    let server = WebSockets::start().await;
    let mut config = config(&server.text());
    config["timeouts"] = json!({ "tunnel": "1s" });
    let gateway = TestGateway::start(config);
    let (mut socket, _) = Socket::open(gateway.address(), "/").await;
    socket.echo("hello").await;
    assert_eq!(socket.next().await, None);
    let record = gateway.wait_for_records(1).await.pop().unwrap();
    assert_eq!(record["outcome"], "timed-out", "{record}");
}

#[tokio::test]
async fn a_tunnel_of_a_listener_that_is_taken_away_lives_until_the_drain_time_is_over() {
    let server = WebSockets::start().await;
    let mut config = config(&server.text());
    config["listeners"] = json!([{ "address": "127.0.0.1:0", "name": "old" }]);
    config["shutdown"] = json!({ "drain_timeout": "3s" });
    let gateway = TestGateway::start(config.clone());
    let (mut socket, _) = Socket::open(gateway.address(), "/").await;
    config["listeners"] = json!([{ "address": "127.0.0.1:0", "name": "new" }]);
    gateway.write_config(config);
    gateway.reload().unwrap();
    socket.echo("still there").await;
    assert_eq!(socket.next().await, None, "it is cut");
    let record = gateway.wait_for_records(1).await.pop().unwrap();
    assert_eq!(record["outcome"], "shut-down", "{record}");
    let (mut socket, _) = Socket::open(gateway.address_of("new"), "/").await;
    socket.echo("the new one").await;
}

#[tokio::test]
async fn a_shutdown_waits_for_tunnels_and_then_cuts_them() {
    let server = WebSockets::start().await;
    let mut config = config(&server.text());
    config["shutdown"] = json!({ "drain_timeout": "3s" });
    let gateway = TestGateway::start(config);
    let log = gateway.directory().join("access.log");
    // The directory goes with the gateway; this name of the file stays.
    let kept = tempfile::tempdir().unwrap();
    std::fs::hard_link(&log, kept.path().join("access.log")).unwrap();
    let (mut socket, _) = Socket::open(gateway.address(), "/").await;
    let address = gateway.address();
    let ended = tokio::task::spawn_blocking(move || gateway.shutdown());
    eventually("nothing is accepted any more", async || TcpStream::connect(address).await.err()).await;
    socket.echo("still there").await;
    assert_eq!(socket.next().await, None, "it is cut");
    ended.await.unwrap();
    let record = std::fs::read_to_string(kept.path().join("access.log")).unwrap();
    assert!(record.contains("\"outcome\":\"shut-down\""), "{record}");
}

#[tokio::test]
async fn the_upstreams_connections_are_counted_while_they_are_tunnels() {
    let server = WebSockets::start().await;
    let mut config = config(&server.text());
    config["upstreams"] = json!({ "sockets": {
        "endpoints": [server.text()], "max_connections": 1, "max_pending": 0, "connect_timeout": "2s",
    } });
    let gateway = TestGateway::start(config);
    let (mut socket, _) = Socket::open(gateway.address(), "/").await;
    socket.echo("the only place").await;
    gateway.get("/").await.problem(503);
    socket.close().await;
    eventually("the place is free again", async || (gateway.get("/").await.status != 503).then_some(())).await;
}

/// A WebSocket over a stream of an HTTP/2 connection, or the status that came in place of it.
async fn connect(
    sender: &mut hyper::client::conn::http2::SendRequest<Empty<bytes::Bytes>>,
    protocol: &'static str,
    path: &str,
) -> Result<Socket<TokioIo<hyper::upgrade::Upgraded>>, u16> {
    let mut request = Request::new(Empty::new());
    *request.method_mut() = Method::CONNECT;
    *request.uri_mut() = format!("http://gateway.test{path}").parse().unwrap();
    request.extensions_mut().insert(hyper::ext::Protocol::from_static(protocol));
    request.headers_mut().insert("sec-websocket-version", "13".parse().unwrap());
    let mut response = sender.send_request(request).await.unwrap();
    if response.status() != 200 {
        return Err(response.status().as_u16());
    }
    let io = hyper::upgrade::on(&mut response).await.unwrap();
    Ok(Socket::over(TokioIo::new(io)).await)
}

async fn http2(gateway: &TestGateway) -> hyper::client::conn::http2::SendRequest<Empty<bytes::Bytes>> {
    let stream = TcpStream::connect(gateway.address()).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    // SETTINGS_ENABLE_CONNECT_PROTOCOL has to be here first, and comes before any answer.
    let request = Request::get("http://gateway.test/none").body(Empty::new()).unwrap();
    sender.send_request(request).await.unwrap();
    sender
}

#[tokio::test]
async fn an_extended_connect_of_http2_becomes_an_upgrade_of_http1() {
    let server = WebSockets::start().await;
    let gateway = TestGateway::start(json!({
        "upstreams": { "sockets": [server.text()] },
        "routes": [{ "match": { "path": "/chat" }, "to": "sockets" }],
    }));
    let mut sender = http2(&gateway).await;
    let mut one = connect(&mut sender, "websocket", "/chat").await.unwrap();
    let mut other = connect(&mut sender, "websocket", "/chat").await.unwrap();
    one.echo("one").await;
    other.echo("other").await;
    let large = vec![7; 1 << 20];
    one.send_binary(large.clone()).await;
    assert_eq!(one.next().await, Some(large));
    other.close().await;
    one.echo("still open").await;
    assert_eq!(connect(&mut sender, "websocket", "/none").await.err(), Some(404));
    assert_eq!(connect(&mut sender, "connect-udp", "/chat").await.err(), Some(501), "not on the route's list");
    one.close().await;
    let records = gateway.wait_for_records(5).await;
    let ended: Vec<_> = records.iter().filter(|record| record["status"] == 101).collect();
    assert_eq!(ended.len(), 2, "{records:#?}");
    for record in ended {
        assert_eq!((&record["outcome"], &record["protocol"]), (&json!("complete"), &json!("h2")), "{record}");
        assert!(record["request_bytes"].as_u64() > Some(5), "{record}");
    }
}

#[tokio::test]
async fn an_extended_connect_is_never_answered_with_a_success_that_is_no_tunnel() {
    let plain = Server::named("an answer of 200").await;
    let gateway = TestGateway::start(json!({
        "upstreams": { "plain": [plain.text()] },
        "services": { "between": { "source": format!("file:{}", guest("guest-middleware")) } },
        "routes": [
            { "match": { "path": "/plain" }, "to": "plain" },
            { "match": { "path": "/plugin" }, "plugins": ["echo"], "to": "plain" },
            { "match": { "path": "/off" }, "to": "plain", "upgrades": [] },
            { "match": { "path": "/middleware" }, "plugins": ["between"], "to": "plain" },
        ],
    }));
    let mut sender = http2(&gateway).await;
    for (path, status) in [("/plain", 502), ("/plugin", 502), ("/off", 501), ("/middleware", 501)] {
        assert_eq!(connect(&mut sender, "websocket", path).await.err(), Some(status), "{path}");
    }
    assert_eq!(plain.only().header("upgrade"), Some("websocket"));
}
