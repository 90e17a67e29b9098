//! Clients that do not shake hands as they should: told, counted, and closed; nobody else notices.

use std::time::{Duration, Instant};

use gatewright_tests::{TestGateway, TlsClient, eventually, raw};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{authority, config, with};

fn gateway(timeouts: Value) -> (gatewright_tests::Authority, TestGateway) {
    let authority = authority();
    let mut config = config(with(&["a"]));
    config["timeouts"] = timeouts;
    let gateway = TestGateway::start_beside(config, |directory| authority.issue(&["a.test"]).write(directory, "a"));
    (authority, gateway)
}

async fn count(gateway: &TestGateway, result: &str, expected: f64) {
    eventually(&format!("{expected} handshakes that are {result}"), async || {
        (gateway.metric("gatewright_tls_handshakes_total", &[result]).await == expected).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_handshake_that_stalls_is_given_up() {
    let (authority, gateway) = gateway(json!({ "handshake": "1s" }));
    let hello = client_hello();
    // Nothing; a first byte; all but the last byte; everything, and then nothing more.
    for sent in [0, 1, hello.len() - 1, hello.len()] {
        let started = Instant::now();
        let mut stream = TcpStream::connect(gateway.address()).await.unwrap();
        stream.write_all(&hello[..sent]).await.unwrap();
        let mut rest = Vec::new();
        let read = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut rest)).await;
        assert!(read.is_ok(), "still open after {:?}", started.elapsed());
        assert!(started.elapsed() >= Duration::from_millis(900), "closed after {:?}", started.elapsed());
        let mut client = TlsClient::connect(gateway.address(), "a.test", &authority.client()).await.unwrap();
        assert_eq!(client.get("/").await.unwrap().status, 200);
    }
    count(&gateway, "timed-out", 4.0).await;
}

#[tokio::test]
async fn garbage_is_answered_with_an_alert() {
    let (authority, gateway) = gateway(json!({}));
    let mut hello = client_hello();
    let mut alerts = 0;
    let garbage: [(&str, Vec<u8>); 6] = [
        ("no record", b"\x00\x01\x02\x03\x04\x05\x06\x07".to_vec()),
        ("a record without a handshake", b"\x16\x03\x01\x00\x04\xff\xff\xff\xff".to_vec()),
        ("a record that is too long", b"\x16\x03\x01\xff\xff".iter().copied().chain([0; 65535]).collect()),
        ("SSL 2", b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10".to_vec()),
        ("application data first", b"\x17\x03\x03\x00\x01\x00".to_vec()),
        ("a hello that is cut in itself", {
            hello.truncate(60);
            hello[3..5].copy_from_slice(&55_u16.to_be_bytes());
            hello[6..9].copy_from_slice(&[0, 0, 51]);
            hello
        }),
    ];
    for (number, (what, bytes)) in garbage.into_iter().enumerate() {
        let mut stream = TcpStream::connect(gateway.address()).await.unwrap();
        stream.write_all(&bytes).await.unwrap();
        let mut answer = Vec::new();
        let read = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut answer)).await;
        read.unwrap_or_else(|_| panic!("{what}: still open")).unwrap_or_else(|error| panic!("{what}: {error}"));
        // Closed, not reset; with an alert (21) that is fatal (2), where rustls has one for it.
        if !answer.is_empty() {
            assert_eq!((answer.first(), answer.get(5)), (Some(&21), Some(&2)), "{what}: {answer:?}");
            alerts += 1;
        }
        count(&gateway, "failed", number as f64 + 1.0).await;
    }
    assert!(alerts >= 3, "only {alerts} were told");
    let mut client = TlsClient::connect(gateway.address(), "a.test", &authority.client()).await.unwrap();
    assert_eq!(client.get("/").await.unwrap().status, 200);
}

#[tokio::test]
async fn plain_http_is_told_what_is_wrong() {
    let (_, gateway) = gateway(json!({}));
    let large = format!("POST / HTTP/1.1\r\nhost: a.test\r\ncontent-length: 20000\r\n\r\n{}", "x".repeat(20_000));
    for request in ["GET / HTTP/1.1\r\nhost: a.test\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &large] {
        let answer = raw(gateway.address(), request).await;
        assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{answer}");
        assert!(answer.contains("application/problem+json") && answer.contains("This port speaks TLS"), "{answer}");
    }
    count(&gateway, "plain-http", 3.0).await;
}

#[tokio::test]
async fn a_port_scan_is_no_failure() {
    let (_, gateway) = gateway(json!({}));
    for _ in 0..3 {
        drop(TcpStream::connect(gateway.address()).await.unwrap());
    }
    eventually("the connections are over", async || {
        let accepted = gateway.metric("gatewright_listener_accepted_connections_total", &["secure"]).await;
        let open = gateway.metric("gatewright_listener_open_connections", &["secure"]).await;
        (accepted == 3.0 && open == 0.0).then_some(())
    })
    .await;
    assert_eq!(gateway.metric("gatewright_tls_handshakes_total", &[]).await, 0.0);
}

#[tokio::test]
async fn many_stalled_handshakes_hold_nobody_up() {
    let (authority, gateway) = gateway(json!({}));
    let hello = client_hello();
    let mut stalled = Vec::new();
    for at in 0..300 {
        let mut stream = TcpStream::connect(gateway.address()).await.unwrap();
        stream.write_all(&hello[..at % hello.len()]).await.unwrap();
        stalled.push(stream);
    }
    let started = Instant::now();
    let mut client = TlsClient::connect(gateway.address(), "a.test", &authority.client()).await.unwrap();
    assert_eq!(client.get("/").await.unwrap().status, 200);
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    // A gateway that stops does not wait for them.
    drop(client);
    let started = Instant::now();
    tokio::task::spawn_blocking(move || gateway.shutdown()).await.unwrap();
    assert!(started.elapsed() < Duration::from_secs(15), "{:?}", started.elapsed());
}

/// What a client of this machine says first.
fn client_hello() -> Vec<u8> {
    let config = gatewright_tests::TlsSettings::trusting_anybody().build();
    let name = rustls::pki_types::ServerName::try_from("a.test").unwrap();
    let mut connection = rustls::ClientConnection::new(config, name).unwrap();
    let mut hello = Vec::new();
    connection.write_tls(&mut hello).unwrap();
    hello
}
