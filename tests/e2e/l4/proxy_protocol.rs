//! The PROXY protocol: believed where it comes from a trusted source, and nowhere else; passed on where it is asked for.

use std::net::SocketAddr;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use gatewright_tests::{Scripted, Server, TestGateway, eventually};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const REQUEST: &str = "GET / HTTP/1.1\r\nhost: a\r\nx-forwarded-for: 6.6.6.6\r\nconnection: close\r\n\r\n";

/// A header of version 2 (doc/proxy-protocol.txt, section 2.2), written out here by hand.
fn v2(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
    let length = u16::try_from(block.len()).unwrap().to_be_bytes();
    [b"\r\n\r\n\0\r\nQUIT\n", &[command, family][..], &length, block].concat()
}

/// 203.0.113.9:50000 to 198.51.100.7:443.
const BLOCK: [u8; 12] = [203, 0, 113, 9, 198, 51, 100, 7, 0xc3, 0x50, 1, 0xbb];

/// A gateway for HTTP whose listener has this key.
fn http(server: &Server, proxy_protocol: Value) -> TestGateway {
    TestGateway::start(json!({
        "timeouts": { "header_read": "500ms" },
        "listeners": [{ "address": "127.0.0.1:0", "proxy_protocol": proxy_protocol }],
        "upstreams": { "server": [server.text()] },
        "routes": [{ "match": {}, "to": "server" }],
    }))
}

/// Sends the pieces one after the other, and reads whatever comes until the end.
async fn play(address: SocketAddr, pieces: &[&[u8]]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    for piece in pieces {
        // A gateway that has closed already is noticed when reading.
        let _ = stream.write_all(piece).await;
        tokio::task::yield_now().await;
    }
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn proxy_protocol_of_a_trusted_source_names_the_client() {
    let server = Server::named("ok").await;
    let gateway = http(&server, json!({ "trusted": ["127.0.0.0/8", "::1"] }));
    let v6 = [[0x20, 1, 0xd, 0xb8].as_slice(), &[0; 11], &[9], &[0; 15], &[1], &[0, 1, 0, 2]].concat();
    let with_fields = [&BLOCK[..], &[4, 0, 1, 0, 1, 0, 2, b'h', b'2']].concat();
    let headers = [
        (b"PROXY TCP4 203.0.113.9 198.51.100.7 50000 443\r\n".to_vec(), "203.0.113.9"),
        (b"PROXY TCP6 2001:db8::9 ::1 50000 443\r\n".to_vec(), "2001:db8::9"),
        (v2(0x21, 0x11, &BLOCK), "203.0.113.9"),
        (v2(0x21, 0x11, &with_fields), "203.0.113.9"),
        (v2(0x21, 0x21, &v6), "2001:db8::9"),
        // A health check of the load balancer, and one who cannot say: they are who they are.
        (v2(0x20, 0, &[]), "127.0.0.1"),
        (b"PROXY UNKNOWN\r\n".to_vec(), "127.0.0.1"),
    ];
    for (header, client) in &headers {
        let whole = [header, REQUEST.as_bytes()].concat();
        let bytes: Vec<&[u8]> = header.chunks(1).chain([REQUEST.as_bytes()]).collect();
        for pieces in [&[&whole[..]][..], &[header, REQUEST.as_bytes()], &bytes] {
            let answer = play(gateway.address(), pieces).await;
            assert!(answer.starts_with("HTTP/1.1 200"), "{header:?}: {answer}");
            // What a client says of itself is not believed: it is no trusted proxy of HTTP.
            assert_eq!(server.received().last().unwrap().header("x-forwarded-for"), Some(*client), "{header:?}");
        }
    }
    let records = gateway.wait_for_records(headers.len() * 3).await;
    assert_eq!(records[0]["client"], "203.0.113.9", "{}", records[0]);
}

#[tokio::test]
async fn proxy_protocol_of_anybody_else_is_refused() {
    let server = Server::named("ok").await;
    let gateway = http(&server, json!({ "trusted": ["10.0.0.0/8"] }));
    let forged = [b"PROXY TCP4 10.0.0.1 10.0.0.2 1 80\r\n", REQUEST.as_bytes()].concat();
    assert_eq!(play(gateway.address(), &[&forged]).await, "");
    assert_eq!(play(gateway.address(), &[REQUEST.as_bytes()]).await, "");
    eventually("both are counted", async || {
        (gateway.metric("gatewright_limit_hits_total", &["proxy-protocol"]).await == 2.0).then_some(())
    })
    .await;

    // Where others are served as well, what they forge is data, and not HTTP.
    let gateway = http(&server, json!({ "trusted": ["10.0.0.0/8"], "others": "plain" }));
    for forged in [forged, [v2(0x21, 0x11, &BLOCK), REQUEST.into()].concat()] {
        let answer = play(gateway.address(), &[&forged]).await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    }
    assert!(server.received().is_empty(), "{:?}", server.received());
    let answer = play(gateway.address(), &[REQUEST.as_bytes()]).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_eq!(server.only().header("x-forwarded-for"), Some("127.0.0.1"));
}

#[tokio::test]
async fn proxy_protocol_that_is_missing_wrong_or_slow_closes_the_connection() {
    let server = Server::named("ok").await;
    let gateway = http(&server, json!({ "trusted": ["127.0.0.1"] }));
    for bad in [
        REQUEST.as_bytes().to_vec(),
        b"PROXY TCP4 203.0.113.9 198.51.100.7 50000\r\n".to_vec(),
        b"PROXY TCP4 203.0.113.9 198.51.100.7 50000 443\n".to_vec(),
        [b"PROXY UNKNOWN ".to_vec(), vec![b'x'; 200]].concat(),
        v2(0x31, 0x11, &BLOCK),
        v2(0x21, 0x11, &BLOCK[..11]),
        v2(0x21, 0x11, &[&BLOCK[..], &[3, 0, 4, 1, 2, 3, 4]].concat()),
        // Announced, and never sent.
        v2(0x21, 0x11, &[0; 100])[..50].to_vec(),
        b"PROX".to_vec(),
    ] {
        let answer = play(gateway.address(), &[&bad, REQUEST.as_bytes()]).await;
        assert_eq!(answer, "", "{bad:?}");
    }
    assert!(server.received().is_empty(), "{:?}", server.received());
}

/// Gives back what it gets, until the client ends.
async fn mirror() -> Scripted {
    Scripted::start(|mut stream| async move {
        let mut got = Vec::new();
        let _ = stream.read_to_end(&mut got).await;
        let _ = stream.write_all(&got).await;
    })
    .await
}

async fn mirrored(address: SocketAddr, bytes: &[u8]) -> (Vec<u8>, SocketAddr) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut got = Vec::new();
    stream.read_to_end(&mut got).await.unwrap();
    (got, stream.local_addr().unwrap())
}

#[tokio::test]
async fn proxy_protocol_is_sent_to_upstreams_that_want_it() {
    let server = mirror().await;
    for version in ["v1", "v2"] {
        let gateway = TestGateway::start(json!({
            "listeners": [{ "address": "127.0.0.1:0", "protocol": "tcp", "to": "server" }],
            "upstreams": { "server": { "endpoints": [server.text()], "proxy_protocol": version } },
        }));
        let (got, client) = mirrored(gateway.address(), b"hello").await;
        let (from, to) = (client.port(), gateway.address().port());
        let header = match version {
            "v1" => format!("PROXY TCP4 127.0.0.1 127.0.0.1 {from} {to}\r\n").into_bytes(),
            _ => {
                let ports = [from.to_be_bytes(), to.to_be_bytes()].concat();
                v2(0x21, 0x11, &[&[127, 0, 0, 1, 127, 0, 0, 1][..], &ports].concat())
            }
        };
        assert_eq!(got, [&header, &b"hello"[..]].concat(), "{version}");
        let record = gateway.wait_for_records(1).await.remove(0);
        // The header is the gateway's, and no byte of the client's.
        assert_eq!(record["received_bytes"], 5, "{record}");
    }
}

#[tokio::test]
async fn proxy_protocol_is_passed_on_from_hop_to_hop() {
    let server = mirror().await;
    let gateway = TestGateway::start(json!({
        "listeners": [{
            "address": "127.0.0.1:0", "protocol": "tcp", "to": "server", "proxy_protocol": { "trusted": ["127.0.0.1"] },
        }],
        "upstreams": { "server": { "endpoints": [server.text()], "proxy_protocol": "v1" } },
    }));
    let (got, peer) = mirrored(gateway.address(), &[v2(0x21, 0x11, &BLOCK), b"hello".to_vec()].concat()).await;
    let expected = "PROXY TCP4 203.0.113.9 198.51.100.7 50000 443\r\nhello";
    assert_eq!(String::from_utf8_lossy(&got), expected);
    let record = gateway.wait_for_records(1).await.remove(0);
    assert_eq!((&record["client"], &record["peer"]), (&json!("203.0.113.9"), &json!(peer.to_string())), "{record}");
    assert_eq!((&record["received_bytes"], &record["outcome"]), (&json!(5), &json!("complete")), "{record}");
}

/// Every row of the public suite, where `GATEWRIGHT_SUITES` names its folder: an accepted header leads to an answer of
/// HTTP, a refused one to none.
#[tokio::test]
async fn suite_proxy_protocol() {
    let Some(suites) = std::env::var_os("GATEWRIGHT_SUITES") else { return };
    let path = std::path::PathBuf::from(suites).join("proxy-protocol/cases.json");
    let rows: Vec<Value> = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let server = Server::named("ok").await;
    let trusting = http(&server, json!({ "trusted": ["127.0.0.1"] }));
    let plain = http(&server, json!({ "trusted": ["10.0.0.0/8"], "others": "plain" }));
    let mut wrong = Vec::new();
    for row in &rows {
        let id = row["id"].as_str().unwrap();
        let mut bytes = BASE64.decode(row["raw_b64"].as_str().unwrap()).unwrap();
        // Rows without a header are about servers that take connections with and without one.
        let has_header = bytes.starts_with(b"PROXY") || bytes.starts_with(b"\r\n\r\n\0");
        if !bytes.ends_with(b"\r\n\r\n") && row.get("body_vtc").is_some() {
            bytes.extend(REQUEST.as_bytes());
        }
        let gateway = if has_header { &trusting } else { &plain };
        let mut stream = TcpStream::connect(gateway.address()).await.unwrap();
        stream.write_all(&bytes).await.unwrap();
        // The client leaves its side open: one that closes it has left, and gets no answer.
        let mut answer = vec![0; 4096];
        let read = tokio::time::timeout(Duration::from_secs(5), stream.read(&mut answer)).await;
        answer.truncate(read.map_or(0, |read| read.unwrap_or(0)));
        let accepted = answer.starts_with(b"HTTP/1.");
        let expected = row["expect"] == "accept";
        if accepted != expected {
            wrong.push(format!("{id}: {}", String::from_utf8_lossy(&answer)));
        }
    }
    println!("proxy-protocol: {} of {} rows as marked", rows.len() - wrong.len(), rows.len());
    assert!(wrong.is_empty() && !rows.is_empty(), "{wrong:#?}");
}
