//! Changes while the gateway runs: what is good takes effect, what is not changes nothing.

use std::time::{Duration, Instant};

use gatewright_tests::{Client, Scripted, Server, TestGateway, Wire, eventually, read_head, send};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

fn answering(text: &str) -> Value {
    json!({ "routes": [{ "match": { "path": "/" }, "plugins": [{ "echo": { "respond": { "body": text } } }] }] })
}

#[tokio::test]
async fn a_saved_file_takes_effect() {
    let gateway = TestGateway::start(answering("one"));
    assert_eq!(gateway.get("/").await.text(), "one");
    gateway.write_config(answering("two"));
    eventually("the new configuration answers", async || (gateway.get("/").await.text() == "two").then_some(())).await;
}

#[tokio::test]
async fn a_kept_connection_sees_the_new_configuration() {
    let gateway = TestGateway::start(answering("one"));
    let mut client = Client::http1(gateway.address()).await;
    assert_eq!(client.send("GET", "/", &[], "").await.unwrap().text(), "one");
    gateway.write_config(answering("two"));
    gateway.reload().unwrap();
    assert_eq!(client.send("GET", "/", &[], "").await.unwrap().text(), "two");
}

#[tokio::test]
async fn a_wrong_file_changes_nothing_and_says_why() {
    let gateway = TestGateway::start(answering("one"));
    for (wrong, complaint) in [
        (json!({ "routs": [] }), "routs"),
        (json!({ "routes": [{ "match": {}, "to": "nobody" }] }), "nobody"),
        (json!({ "routes": [{ "match": {}, "plugins": ["no-such"] }] }), "no-such"),
        (json!({ "routes": [{ "match": {}, "plugins": [{ "echo": { "respond": { "status": 99 } } }] }] }), "status"),
        (json!({ "plugins": { "gone": { "source": "file:gone.wasm" } } }), "gone.wasm"),
    ] {
        gateway.write_config(wrong);
        let error = gateway.reload().unwrap_err().to_string();
        assert!(error.contains(complaint), "{error}");
        assert!(error.contains("gateway.json:"), "no place in: {error}");
        assert_eq!(gateway.get("/").await.text(), "one");
    }
    std::fs::write(gateway.config_path(), "{ not json").unwrap();
    gateway.reload().unwrap_err();
    assert_eq!(gateway.get("/").await.text(), "one");
    gateway.write_config(answering("two"));
    gateway.reload().unwrap();
    assert_eq!(gateway.get("/").await.text(), "two");
}

#[tokio::test]
async fn a_listener_that_cannot_be_bound_changes_nothing() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let gateway = TestGateway::start(answering("one"));
    let mut config = answering("two");
    config["listeners"] = json!(["127.0.0.1:0", taken.local_addr().unwrap().to_string()]);
    gateway.write_config(config);
    let error = gateway.reload().unwrap_err().to_string();
    assert!(error.contains(&taken.local_addr().unwrap().to_string()), "{error}");
    assert_eq!(gateway.get("/").await.text(), "one");
}

#[tokio::test]
async fn listeners_come_and_go() {
    let gateway = TestGateway::start(answering("one"));
    let first = gateway.address();
    let mut config = answering("one");
    config["listeners"] = json!([{ "address": "127.0.0.1:0", "name": "second" }]);
    gateway.write_config(config);
    gateway.reload().unwrap();
    let second = gateway.address_of("second");
    assert_eq!(send(second, "GET", "/", &[], "").await.text(), "one");
    eventually("the old listener is closed", async || tokio::net::TcpStream::connect(first).await.err()).await;
}

#[tokio::test]
async fn what_runs_on_a_removed_listener_has_the_drain_time_and_is_then_cut() {
    let (release, gate) = tokio::sync::watch::channel(false);
    let server = Scripted::start(move |mut stream| {
        let mut gate = gate.clone();
        async move {
            let head = read_head(&mut stream).await;
            let begin: &[u8] = match head.contains(" /events") {
                true => b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nbegin\r\n",
                false => b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nbegin",
            };
            stream.write_all(begin).await.unwrap();
            if head.contains(" /ends ") {
                gate.wait_for(|open| *open).await.unwrap();
                stream.write_all(b"ended").await.unwrap();
            }
            std::future::pending::<()>().await;
        }
    })
    .await;
    let config = |names: &[&str]| {
        let listener = |name: &&str| json!({ "name": name, "address": "127.0.0.1:0" });
        json!({
            "listeners": names.iter().map(listener).collect::<Vec<Value>>(),
            "shutdown": { "drain_timeout": "3s" },
            "upstreams": { "slow": [server.text()] },
            "routes": [{ "match": {}, "to": "slow" }],
        })
    };
    let gateway = TestGateway::start(config(&["stays", "leaves"]));
    let leaves = gateway.address_of("leaves");
    let mut wires = Vec::new();
    for path in ["/ends", "/download", "/events/1"] {
        let mut wire = Wire::connect(leaves).await;
        wire.send(format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n")).await;
        wire.read_to("begin").await;
        wires.push(wire);
    }
    let mut old = TcpStream::connect(leaves).await.unwrap();
    old.write_all(b"GET /events/old HTTP/1.0\r\nhost: a\r\n\r\n").await.unwrap();
    let streamed = tokio::spawn(async move { Client::http2(leaves).await.send("GET", "/events/2", &[], "").await });
    eventually("all requests are under way", async || {
        (gateway.metric("http_server_active_requests", &[]).await == 5.0).then_some(())
    })
    .await;

    let started = Instant::now();
    gateway.write_config(config(&["stays"]));
    gateway.reload().unwrap();
    release.send(true).unwrap();
    wires[0].read_to("ended").await;
    for wire in &mut wires {
        wire.read_to_end().await;
    }
    let mut text = Vec::new();
    let error = old.read_to_end(&mut text).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "no end that looks like one in order");
    assert!(streamed.await.unwrap().is_err());
    assert!(started.elapsed() >= Duration::from_secs(3), "{:?}", started.elapsed());
    for record in gateway.wait_for_records(5).await {
        let expected = if record["path"] == "/ends" { "complete" } else { "shut-down" };
        assert_eq!(record["outcome"], expected, "{record}");
    }
}

#[tokio::test]
async fn a_listener_goes_from_every_address_to_one_and_back() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let config = |address: &str| {
        let mut config = answering(address);
        config["listeners"] = json!([format!("{address}:{port}")]);
        config
    };
    let gateway = TestGateway::start(config(""));
    let here = std::net::SocketAddr::from(([127, 0, 0, 1], port));
    assert_eq!(send(here, "GET", "/", &[], "").await.status, 200);
    for address in ["127.0.0.1", ""] {
        gateway.write_config(config(address));
        gateway.reload().unwrap();
        let elsewhere = std::net::SocketAddr::from(([127, 0, 0, 2], port));
        eventually("every address is open, or one", async || {
            (tokio::net::TcpStream::connect(elsewhere).await.is_ok() == address.is_empty()).then_some(())
        })
        .await;
        let six = std::net::SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, port));
        eventually("those of IPv6, too", async || {
            (address.is_empty() || tokio::net::TcpStream::connect(six).await.is_err()).then_some(())
        })
        .await;
        let open = if address.is_empty() { elsewhere } else { here };
        assert_eq!(send(open, "GET", "/", &[], "").await.text(), address);
    }
}

#[tokio::test]
async fn unchanged_upstreams_keep_their_connections() {
    let server = Server::named("one").await;
    let config = |path: &str| {
        json!({
            "workers": 1,
            "upstreams": { "one": [server.text()] },
            "routes": [{ "match": { "path": path }, "to": "one" }],
        })
    };
    let gateway = TestGateway::start(config("/a"));
    assert_eq!(gateway.get("/a").await.status, 200);
    gateway.write_config(config("/b"));
    gateway.reload().unwrap();
    assert_eq!(gateway.get("/b").await.status, 200);
    gateway.get("/a").await.problem(404);
    // The server tells its clients apart by their ports; one connection means one port.
    assert_eq!(server.received().len(), 2);
}

#[tokio::test]
async fn shutdown_lets_a_request_finish() {
    let (release, gate) = tokio::sync::watch::channel(false);
    let server = Scripted::start(move |mut stream| {
        let mut gate = gate.clone();
        async move {
            read_head(&mut stream).await;
            gate.wait_for(|open| *open).await.unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ndone").await.unwrap();
        }
    })
    .await;
    let gateway = TestGateway::start(json!({
        "upstreams": { "slow": [server.text()] },
        "routes": [{ "match": {}, "to": "slow" }],
    }));
    let address = gateway.address();
    let request = tokio::spawn(async move { send(address, "GET", "/", &[], "").await });
    let admin = gateway.admin();
    eventually("the request is under way", async || {
        let page = send(admin, "GET", "/metrics", &[], "").await.text();
        page.lines().any(|line| line.starts_with("http_server_active_requests") && line.ends_with(" 1")).then_some(())
    })
    .await;
    let ended = tokio::task::spawn_blocking(move || gateway.shutdown());
    eventually("nothing is accepted any more", async || tokio::net::TcpStream::connect(address).await.err()).await;
    release.send(true).unwrap();
    assert_eq!(request.await.unwrap().text(), "done");
    ended.await.unwrap();
}
