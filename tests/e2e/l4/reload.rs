//! Layer 4 while the configuration changes: what runs goes on, what is new sees the new.

use std::time::{Duration, Instant};

use gatewright_tests::{TestGateway, eventually, send};
use serde_json::json;
use tokio::net::{TcpStream, UdpSocket};

use super::udp::{ask, echo_datagrams};
use super::*;

#[tokio::test]
async fn reload_changes_where_new_connections_go_and_keeps_the_old() {
    let (one, two) = (echo("one").await, echo("two").await);
    let gateway = forwarding(&[one.text()], json!({}));
    let address = gateway.address();
    let (mut before, name) = greeted(address).await;
    assert_eq!(name, "one");
    gateway.write_config(config(&[two.text()], json!({ "idle_timeout": "1m" })));
    gateway.reload().unwrap();
    assert_eq!(gateway.address(), address, "the same socket");
    let (mut after, name) = greeted(address).await;
    assert_eq!(name, "two");
    speaks(&mut before, "old").await;
    speaks(&mut after, "new").await;
}

#[tokio::test]
async fn reload_adds_and_removes_listeners_under_connections() {
    let (server, datagrams) = (echo("one").await, echo_datagrams("udp").await);
    let gateway = forwarding(&[server.text()], json!({}));
    let first = gateway.address();
    let (mut old, _) = greeted(first).await;

    let mut more = config(&[server.text()], json!({}));
    more["upstreams"]["datagrams"] = json!([datagrams.text()]);
    more["listeners"].as_array_mut().unwrap().extend([
        json!({ "address": "127.0.0.1:0", "name": "second", "protocol": "tcp", "to": "server" }),
        json!({ "address": "127.0.0.1:0", "name": "udp", "protocol": "udp", "to": "datagrams" }),
    ]);
    gateway.write_config(more.clone());
    gateway.reload().unwrap();
    let second = gateway.address_of("second");
    let (mut new, _) = greeted(second).await;
    let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let udp = gateway.address_of("udp");
    client.connect(udp).await.unwrap();
    assert_eq!(ask(&client, "x").await, "udp: x");

    // The first goes, and the one for datagrams; their clients are let finish.
    let listeners = more["listeners"].as_array_mut().unwrap();
    listeners.remove(0);
    listeners.pop();
    gateway.write_config(more);
    gateway.reload().unwrap();
    eventually("the first listener is closed", async || TcpStream::connect(first).await.err()).await;
    speaks(&mut old, "still").await;
    speaks(&mut new, "too").await;
    assert_eq!(ask(&client, "y").await, "udp: y");
    // Who is new is too late, and counted, as long as there is somebody for whom the socket is open.
    let late = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    eventually("a datagram of a new client is dropped", async || {
        let _ = client.send(b"y").await;
        let _ = late.send_to(b"late", udp).await;
        let labels = ["listener=\"udp\"", "\"draining\""];
        (gateway.metric("gatewright_layer4_dropped_datagrams_total", &labels).await > 0.0).then_some(())
    })
    .await;
    // Once they are quiet, the socket is closed, and the kernel says so.
    eventually("the socket for datagrams is closed", async || {
        let _ = client.send(b"z").await;
        let heard = tokio::time::timeout(Duration::from_millis(50), client.recv(&mut [0; 100])).await;
        matches!(heard, Ok(Err(_))).then_some(())
    })
    .await;
}

#[tokio::test]
async fn reload_turns_a_listener_from_tcp_to_http_and_back() {
    let server = echo("one").await;
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let tcp = config(&[server.text()], json!({ "address": port.to_string() }));
    let http = json!({
        "listeners": [{ "address": port.to_string(), "name": "l4" }],
        "routes": [{ "match": {}, "plugins": ["echo"] }],
    });
    let gateway = TestGateway::start(tcp.clone());
    let (mut old, _) = greeted(port).await;
    gateway.write_config(http);
    gateway.reload().unwrap();
    eventually("requests are served", async || {
        let mut stream = TcpStream::connect(port).await.ok()?;
        stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.ok()?;
        answer.starts_with("HTTP/1.1 200").then_some(())
    })
    .await;
    assert_eq!(send(port, "GET", "/", &[], "").await.status, 200);
    speaks(&mut old, "as before").await;
    gateway.write_config(tcp);
    gateway.reload().unwrap();
    eventually("connections are forwarded again", async || {
        let mut stream = TcpStream::connect(port).await.ok()?;
        let mut name = [0; 4];
        stream.read_exact(&mut name).await.ok()?;
        (&name == b"one\n").then_some(())
    })
    .await;
}

#[tokio::test]
async fn reload_that_is_wrong_changes_nothing_at_layer_4() {
    let server = echo("one").await;
    let gateway = forwarding(&[server.text()], json!({}));
    for wrong in [
        json!({ "to": "nobody" }),
        json!({ "protocol": "udp", "passthrough": [{ "to": "server" }] }),
        json!({ "idle_timeout": "25h" }),
    ] {
        gateway.write_config(config(&[server.text()], wrong));
        let error = gateway.reload().unwrap_err().to_string();
        assert!(error.contains("gateway.json:"), "no place in: {error}");
        let (mut client, _) = greeted(gateway.address()).await;
        speaks(&mut client, "as before").await;
    }
}

#[tokio::test]
async fn shutdown_waits_for_connections_for_the_drain_time_and_then_cuts_them() {
    let server = echo("one").await;
    let mut short = config(&[server.text()], json!({}));
    short["shutdown"] = json!({ "drain_timeout": "3s" });
    let gateway = TestGateway::start(short);
    let directory = gateway.directory().to_owned();
    let log = std::fs::File::open(directory.join("access.log")).unwrap();
    let (mut finishes, _) = greeted(gateway.address()).await;
    let (mut stays, _) = greeted(gateway.address()).await;
    let address = gateway.address();
    let started = Instant::now();
    let ended = tokio::task::spawn_blocking(move || gateway.shutdown());
    eventually("nothing is accepted any more", async || TcpStream::connect(address).await.err()).await;
    speaks(&mut finishes, "last words").await;
    finishes.shutdown().await.unwrap();
    assert!(closes(&mut finishes).await);
    assert!(stays.read(&mut [0; 1]).await.is_err(), "a reset, and no end that looks like one in order");
    ended.await.unwrap();
    assert!(started.elapsed() >= Duration::from_secs(3), "{:?}", started.elapsed());
    let text = std::io::read_to_string(log).unwrap();
    let cut: Vec<&str> = text.lines().filter(|line| line.contains("\"shut-down\"")).collect();
    assert_eq!(cut.len(), 1, "{text}");
    assert!(cut[0].contains(&stays.local_addr().unwrap().to_string()), "{text}");
}
