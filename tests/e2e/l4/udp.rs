//! UDP from end to end.

use std::net::SocketAddr;
use std::time::Duration;

use gatewright_tests::{TestGateway, eventually};
use serde_json::{Value, json};
use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// A server that answers each datagram with its name and the datagram. It ends when it is dropped.
pub struct Datagrams {
    address: SocketAddr,
    /// Who has sent it something, each once.
    clients: watch::Receiver<Vec<SocketAddr>>,
    task: JoinHandle<()>,
}

impl Datagrams {
    pub fn text(&self) -> String {
        self.address.to_string()
    }

    fn clients(&self) -> usize {
        self.clients.borrow().len()
    }
}

impl Drop for Datagrams {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub async fn echo_datagrams(name: &'static str) -> Datagrams {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let (seen, clients) = watch::channel(Vec::new());
    let task = tokio::spawn(async move {
        let mut buffer = vec![0; 1 << 16];
        while let Ok((length, client)) = socket.recv_from(&mut buffer).await {
            seen.send_modify(|clients| {
                if !clients.contains(&client) {
                    clients.push(client);
                }
            });
            let answer = [name.as_bytes(), b": ", &buffer[..length]].concat();
            let _ = socket.send_to(&answer, client).await;
        }
    });
    Datagrams { address, clients, task }
}

/// Sends a datagram and waits for the answer, again and again until it comes: datagrams may be lost, and answers to
/// earlier ones late.
pub async fn ask(client: &UdpSocket, text: &str) -> String {
    eventually("a datagram comes back", async || {
        client.send(text.as_bytes()).await.ok()?;
        let mut answer = [0; 2000];
        let wait = Duration::from_millis(200);
        let length = tokio::time::timeout(wait, client.recv(&mut answer)).await.ok()?.ok()?;
        Some(String::from_utf8(answer[..length].to_vec()).unwrap()).filter(|answer| answer.ends_with(text))
    })
    .await
}

async fn client_of(address: SocketAddr) -> UdpSocket {
    let client = UdpSocket::bind((if address.is_ipv4() { "127.0.0.1" } else { "::1" }, 0)).await.unwrap();
    client.connect(address).await.unwrap();
    client
}

fn config(endpoints: &[String], listener: Value) -> Value {
    let mut full = json!({ "address": "127.0.0.1:0", "name": "udp", "protocol": "udp", "to": "server" });
    for (key, value) in listener.as_object().unwrap() {
        full[key] = value.clone();
    }
    json!({ "listeners": [full], "upstreams": { "server": endpoints } })
}

#[tokio::test]
async fn udp_datagrams_go_to_one_endpoint_and_back_to_their_own_client() {
    let (one, two) = (echo_datagrams("one").await, echo_datagrams("two").await);
    let mut config = config(&[one.text(), two.text()], json!({ "idle_timeout": "2s" }));
    config["workers"] = json!(1);
    let gateway = TestGateway::start(config);
    let (first, second) = (client_of(gateway.address()).await, client_of(gateway.address()).await);
    let (one_answer, other_answer) = (ask(&first, "a").await, ask(&second, "b").await);
    let mut servers = vec![one_answer.clone(), other_answer.clone()];
    servers.sort();
    assert!(servers == ["one: a", "two: b"] || servers == ["one: b", "two: a"], "{servers:?}");
    for _ in 0..5 {
        assert_eq!(ask(&first, "a").await, one_answer, "the session stays where it is");
        assert_eq!(ask(&second, "b").await, other_answer);
    }
    assert_eq!((one.clients(), two.clients()), (1, 1));
    let records = gateway.wait_for_records(2).await;
    for record in &records {
        assert_eq!((&record["protocol"], &record["outcome"]), (&json!("udp"), &json!("complete")), "{record}");
        assert!(record["received_bytes"].as_u64() >= Some(6) && record["sent_bytes"].as_u64() >= Some(36), "{record}");
    }
    eventually("no session is open", async || {
        (gateway.metric("gatewright_listener_open_connections", &["udp"]).await == 0.0).then_some(())
    })
    .await;
    // Whoever comes back begins anew.
    ask(&first, "again").await;
    assert_eq!(gateway.metric("gatewright_listener_accepted_connections_total", &["udp"]).await, 3.0);
}

#[tokio::test]
async fn udp_datagrams_of_every_size_keep_their_bounds() {
    let server = echo_datagrams("s").await;
    let gateway = TestGateway::start(config(&[server.text()], json!({})));
    let client = client_of(gateway.address()).await;
    let mut buffer = vec![0; 1 << 16];
    for size in [0, 1, 1472, 9000, 65_000] {
        let datagram = vec![b'x'; size];
        let expected = [b"s: ", &datagram[..]].concat();
        let length = eventually("a datagram of this size", async || {
            client.send(&datagram).await.unwrap();
            let wait = Duration::from_millis(300);
            let length = tokio::time::timeout(wait, client.recv(&mut buffer)).await.ok()?.unwrap();
            (length == expected.len()).then_some(length)
        })
        .await;
        assert_eq!(buffer[..length], expected[..]);
    }
}

#[tokio::test]
async fn udp_answers_from_the_address_that_was_asked() {
    let server = echo_datagrams("s").await;
    let port = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let gateway = TestGateway::start(config(&[server.text()], json!({ "address": format!(":{port}") })));
    for address in ["127.0.0.1", "127.0.0.2", "127.1.2.3"] {
        // A connected socket takes nothing from anybody else.
        let client = client_of(SocketAddr::new(address.parse().unwrap(), port)).await;
        assert_eq!(ask(&client, address).await, format!("s: {address}"));
    }
    // One client that asks at two addresses is told apart.
    let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    for address in ["127.0.0.1", "127.0.0.2"] {
        client.connect((address, port)).await.unwrap();
        assert_eq!(ask(&client, address).await, format!("s: {address}"));
    }
    if let Ok(client) = UdpSocket::bind("[::1]:0").await {
        client.connect(("::1", port)).await.unwrap();
        assert_eq!(ask(&client, "six").await, "s: six");
    }
    drop(gateway);
}

#[tokio::test]
async fn udp_sessions_are_bounded() {
    let server = echo_datagrams("s").await;
    let mut config = config(&[server.text()], json!({ "max_connections": 2, "idle_timeout": "2s" }));
    config["workers"] = json!(1);
    let gateway = TestGateway::start(config);
    let clients = [client_of(gateway.address()).await, client_of(gateway.address()).await];
    let third = client_of(gateway.address()).await;
    for client in &clients {
        ask(client, "x").await;
    }
    third.send(b"one too many").await.unwrap();
    eventually("it is dropped", async || {
        (gateway.metric("gatewright_layer4_dropped_datagrams_total", &["sessions"]).await >= 1.0).then_some(())
    })
    .await;
    assert_eq!(server.clients(), 2);
    // Where the others are quiet, there is a place again.
    assert_eq!(ask(&third, "now").await, "s: now");
}

#[tokio::test]
async fn udp_leaves_an_endpoint_where_nobody_listens() {
    let good = echo_datagrams("good").await;
    // Bound to another address of loopback, so that nobody else takes the port, and refused at this one.
    let holder = std::net::UdpSocket::bind("127.0.0.3:0").unwrap();
    let nobody = format!("127.0.0.1:{}", holder.local_addr().unwrap().port());
    let mut config = config(&[nobody.clone(), good.text()], json!({}));
    config["workers"] = json!(1);
    let gateway = TestGateway::start(config);
    for _ in 0..4 {
        let client = client_of(gateway.address()).await;
        assert_eq!(ask(&client, "x").await, "good: x");
    }
    let refused = eventually("a session ended there", async || {
        gateway.records().into_iter().find(|record| record["endpoint"] == nobody)
    })
    .await;
    assert_eq!(refused["outcome"], "upstream-failed", "{refused}");
}
