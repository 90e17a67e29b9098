//! Answers that begin before their request is read.

use gatewright_tests::{Scripted, TestGateway, Wire, read_head};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;

/// More than all sockets on the way hold.
const LENGTH: usize = 40 << 20;

fn gateway(upstream: &str) -> TestGateway {
    TestGateway::start(json!({
        "limits": { "request_body": "64MiB" },
        "upstreams": { "early": [upstream] },
        "routes": [{ "match": {}, "to": "early" }],
    }))
}

/// As many clients of HTTP/1 do, while the server answers at length and reads on.
#[tokio::test]
async fn a_client_may_send_all_of_its_request_before_it_reads() {
    let server = Scripted::start(|mut stream| async move {
        read_head(&mut stream).await;
        let (mut reads, mut writes) = stream.split();
        let answer = async {
            writes.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2800000\r\n").await.unwrap();
            writes.write_all(&vec![b'a'; LENGTH]).await.unwrap();
        };
        let request = async {
            let (mut piece, mut read) = (vec![0; 64 << 10], 0);
            while read < LENGTH {
                let more = reads.read(&mut piece).await.unwrap();
                assert!(more > 0, "closed after {read} bytes");
                read += more;
            }
        };
        tokio::join!(answer, request);
        writes.write_all(b"\r\n0\r\n\r\n").await.unwrap();
    })
    .await;
    let gateway = gateway(&server.text());
    let mut wire = Wire::connect(gateway.address()).await;
    wire.send(format!("POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: {LENGTH}\r\n\r\n")).await;
    wire.send(vec![b'q'; LENGTH]).await;
    let answer = wire.read_to_end().await;
    assert!(answer.ends_with("\r\n0\r\n\r\n"), "{} bytes and no end", answer.len());
}

#[tokio::test]
async fn a_client_that_leaves_ends_a_request_that_is_being_answered() {
    let (seen, mut events) = mpsc::unbounded_channel();
    let server = Scripted::start(move |stream| {
        let seen = seen.clone();
        async move {
            let mut wire = Wire::from(stream);
            wire.read_to("\r\n\r\n").await;
            wire.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await;
            wire.send_chunk("answer").await;
            wire.read_to("part").await;
            seen.send("part").unwrap();
            wire.read_to_end().await;
            seen.send("closed").unwrap();
        }
    })
    .await;
    let gateway = gateway(&server.text());
    let mut wire = Wire::connect(gateway.address()).await;
    wire.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\n").await;
    wire.read_to("answer").await;
    wire.send("part").await;
    assert_eq!(events.recv().await.unwrap(), "part");
    wire.reset();
    assert_eq!(events.recv().await.unwrap(), "closed");
    gateway.wait_for_records(1).await;
}
