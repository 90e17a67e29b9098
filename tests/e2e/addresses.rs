//! Who may come to a listener, by address. Clients come from several addresses of loopback.

use std::net::SocketAddr;

use gatewright_tests::{Client, Server, TestGateway, Wire, eventually, raw};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream, UdpSocket};

const REQUEST: &str = "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";

fn http(listener: Value) -> TestGateway {
    TestGateway::start(config(listener))
}

fn config(listener: Value) -> Value {
    let mut full = json!({ "address": "127.0.0.1:0" });
    full.as_object_mut().unwrap().extend(listener.as_object().unwrap().clone());
    json!({
        "listeners": [full],
        "routes": [{ "match": {}, "plugins": [{ "echo": { "respond": { "body": "in" } } }] }],
    })
}

async fn connect_from(source: &str, address: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(format!("{source}:0").parse().unwrap()).unwrap();
    socket.connect(address).await.unwrap()
}

/// What comes back to a request from this address; nothing where the connection is closed.
async fn ask_from(source: &str, address: SocketAddr, request: &str) -> String {
    let mut stream = connect_from(source, address).await;
    // A gateway that has closed already is noticed when reading.
    let _ = stream.write_all(request.as_bytes()).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

async fn refused(gateway: &TestGateway, count: f64) {
    eventually(&format!("{count} connections are refused"), async || {
        (gateway.metric("gatewright_limit_hits_total", &["\"address\""]).await == count).then_some(())
    })
    .await;
}

#[tokio::test]
async fn listener_ip_lists_close_a_connection_before_a_byte_is_read() {
    let gateway = http(json!({ "ip": { "allow": ["127.0.0.0/29"], "deny": ["127.0.0.3", "127.0.0.6/31"] } }));
    for (source, is_in) in [
        ("127.0.0.1", true),
        ("127.0.0.2", true),
        ("127.0.0.3", false),
        ("127.0.0.5", true),
        ("127.0.0.6", false),
        ("127.0.0.8", false),
    ] {
        let answer = ask_from(source, gateway.address(), REQUEST).await;
        assert_eq!(answer.starts_with("HTTP/1.1 200"), is_in, "{source}: {answer}");
        assert!(is_in || answer.is_empty(), "{source}: {answer}");
    }
    refused(&gateway, 3.0).await;
    // Nothing that a client says makes it another.
    let forged = REQUEST.replace("\r\n\r\n", "\r\nx-forwarded-for: 127.0.0.1\r\nforwarded: for=127.0.0.1\r\n\r\n");
    assert_eq!(ask_from("127.0.0.3", gateway.address(), &forged).await, "");
    // One that is kept out gets no handshake either.
    let tls = http(json!({ "tls": { "self_signed": true }, "ip": { "deny": ["127.0.0.1"] } }));
    assert_eq!(raw(tls.address(), b"\x16\x03\x01").await, "");
    refused(&tls, 1.0).await;
}

#[tokio::test]
async fn listener_ip_lists_judge_the_client_behind_a_trusted_proxy() {
    let mut behind_proxy =
        config(json!({ "ip": { "allow": ["203.0.113.0/24", "2001:db8::/32"], "deny": ["203.0.113.9"] } }));
    behind_proxy["trusted_proxies"] = json!(["127.0.0.1", "10.0.0.0/8"]);
    let gateway = TestGateway::start(behind_proxy);
    let mut proxy = Client::http1(gateway.address()).await;
    for (forwarded, status) in [
        ("203.0.113.7", 200),
        ("203.0.113.9", 403),
        ("2001:db8::1", 200),
        ("198.51.100.1", 403),
        // The last one that is no trusted proxy counts.
        ("203.0.113.7, 198.51.100.1", 403),
        ("198.51.100.1, 203.0.113.7", 200),
        ("203.0.113.7, 10.0.0.3", 200),
        ("unknown", 403),
    ] {
        let answer = proxy.send("GET", "/", &[("x-forwarded-for", forwarded)], "").await.unwrap();
        assert_eq!(answer.status, status, "{forwarded}: {}", answer.text());
        if status == 403 {
            assert!(!answer.problem(403).to_string().contains("113"), "{}", answer.text());
        }
    }
    let alone = proxy.send("GET", "/", &[], "").await.unwrap();
    assert_eq!(alone.status, 403, "a proxy that speaks for itself is a client like any other");
    // From elsewhere the header is a claim, and the connection's address counts.
    let claimed = REQUEST.replace("\r\n\r\n", "\r\nx-forwarded-for: 203.0.113.7\r\n\r\n");
    assert_eq!(ask_from("127.0.0.2", gateway.address(), &claimed).await, "");
    let records = gateway.wait_for_records(9).await;
    let kept_out = records.iter().find(|record| record["client"] == "203.0.113.9").unwrap();
    assert_eq!((&kept_out["status"], &kept_out["outcome"]), (&json!(403), &json!("refused")), "{kept_out}");
}

#[tokio::test]
async fn listener_ip_lists_judge_the_client_that_the_proxy_protocol_names() {
    let gateway = http(json!({
        "proxy_protocol": { "trusted": ["127.0.0.1"], "others": "plain" },
        "ip": { "allow": ["203.0.113.0/24", "127.0.0.2"] },
    }));
    let proxied = |client: &str| format!("PROXY TCP4 {client} 198.51.100.7 50000 443\r\n{REQUEST}");
    assert!(ask_from("127.0.0.1", gateway.address(), &proxied("203.0.113.9")).await.starts_with("HTTP/1.1 200"));
    assert_eq!(ask_from("127.0.0.1", gateway.address(), &proxied("198.51.100.9")).await, "");
    assert!(ask_from("127.0.0.2", gateway.address(), REQUEST).await.starts_with("HTTP/1.1 200"));
    assert_eq!(ask_from("127.0.0.3", gateway.address(), REQUEST).await, "");
    refused(&gateway, 2.0).await;
}

#[tokio::test]
async fn listener_ip_lists_of_a_reload_hold_for_the_next_request_of_an_open_connection() {
    let gateway = http(json!({}));
    let mut one = Client::http1(gateway.address()).await;
    let mut two = Client::http2(gateway.address()).await;
    for client in [&mut one, &mut two] {
        assert_eq!(client.send("GET", "/", &[], "").await.unwrap().status, 200);
    }
    gateway.write_config(config(json!({ "ip": { "deny": ["127.0.0.1"] } })));
    gateway.reload().unwrap();
    for client in [&mut one, &mut two] {
        client.send("GET", "/", &[], "").await.unwrap().problem(403);
    }
    assert_eq!(raw(gateway.address(), REQUEST).await, "");
    gateway.write_config(config(json!({})));
    gateway.reload().unwrap();
    assert!(raw(gateway.address(), REQUEST).await.starts_with("HTTP/1.1 200"));
}

/// Clients that were waiting to be accepted, or had not yet asked, when their listener was taken out of the configuration.
#[tokio::test]
async fn listener_ip_lists_hold_for_who_came_before_the_listener_was_renamed() {
    let strict = json!({
        "name": "strict",
        "proxy_protocol": { "trusted": ["127.0.0.1"], "others": "plain" },
        "ip": { "allow": ["203.0.113.0/24", "127.0.0.3", "127.0.0.4"] },
    });
    let [before, after] = [strict, json!({ "name": "renamed" })].map(|listener| {
        let mut config = config(listener);
        config["workers"] = json!(1);
        config["limits"] = json!({ "connections": 2 });
        config["trusted_proxies"] = json!(["127.0.0.4"]);
        config
    });
    let gateway = TestGateway::start(before);
    let address = gateway.address();
    let mut holder = Wire::from(connect_from("127.0.0.3", address).await);
    holder.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    holder.read_to("\r\n\r\nin").await;
    let mut proxy = Wire::from(connect_from("127.0.0.4", address).await);
    eventually("both places are taken", async || {
        (gateway.metric("gatewright_listener_open_connections", &["strict"]).await == 2.0).then_some(())
    })
    .await;
    let proxied = |client: &str| format!("PROXY TCP4 {client} 198.51.100.7 50000 443\r\n{REQUEST}");
    let waiting = [
        ("127.0.0.2", REQUEST.to_owned(), ""),
        ("127.0.0.1", proxied("198.51.100.9"), ""),
        ("127.0.0.1", proxied("203.0.113.9"), "HTTP/1.1 200"),
        ("127.0.0.3", REQUEST.to_owned(), "HTTP/1.1 200"),
    ];
    let mut clients = Vec::new();
    for (source, request, expected) in waiting {
        let mut client = Wire::from(connect_from(source, address).await);
        client.send(&request).await;
        clients.push((client, request, expected));
    }
    gateway.write_config(after);
    gateway.reload().unwrap();
    // It may have been closed, having said nothing for a second, and is not served in any case.
    proxy.send(REQUEST.replace("\r\n\r\n", "\r\nx-forwarded-for: 198.51.100.9\r\n\r\n")).await;
    let answer = proxy.read_to_end().await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 403"), "{answer}");
    for (mut client, request, expected) in clients {
        let answer = client.read_to_end().await;
        assert!(answer.starts_with(expected) && answer.is_empty() == expected.is_empty(), "{request}: {answer}");
    }
    assert!(raw(gateway.address(), REQUEST).await.starts_with("HTTP/1.1 200"), "the new one lets everybody in");
}

#[tokio::test]
async fn listener_ip_lists_hold_at_layer_4() {
    let server = Server::named("behind").await;
    let datagrams = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let lists = json!({ "allow": ["127.0.0.0/30"], "deny": ["127.0.0.2"] });
    let gateway = TestGateway::start(json!({
        "listeners": [
            { "address": "127.0.0.1:0", "name": "tcp", "protocol": "tcp", "to": "tcp", "ip": lists },
            { "address": "127.0.0.1:0", "name": "udp", "protocol": "udp", "to": "udp", "ip": lists },
        ],
        "upstreams": { "tcp": [server.text()], "udp": [datagrams.local_addr().unwrap().to_string()] },
        // At layer 4 nobody says who else a connection is for.
        "trusted_proxies": ["127.0.0.2"],
    }));
    let tcp = gateway.address_of("tcp");
    assert!(ask_from("127.0.0.1", tcp, REQUEST).await.starts_with("HTTP/1.1 200"));
    for source in ["127.0.0.2", "127.0.0.9"] {
        assert_eq!(ask_from(source, tcp, REQUEST).await, "", "{source}");
    }
    refused(&gateway, 2.0).await;
    assert_eq!(server.received().len(), 1);

    let udp = gateway.address_of("udp");
    let (inside, outside) =
        (UdpSocket::bind("127.0.0.1:0").await.unwrap(), UdpSocket::bind("127.0.0.2:0").await.unwrap());
    outside.send_to(b"outside", udp).await.unwrap();
    eventually("the datagram is dropped", async || {
        let labels = ["listener=\"udp\"", "\"address\""];
        (gateway.metric("gatewright_layer4_dropped_datagrams_total", &labels).await == 1.0).then_some(())
    })
    .await;
    inside.send_to(b"inside", udp).await.unwrap();
    let mut buffer = [0; 100];
    let (length, _) = datagrams.recv_from(&mut buffer).await.unwrap();
    assert_eq!(&buffer[..length], b"inside");
}
