//! Exchanges that break off: a response does not look complete, a request is not continued.

use std::io::ErrorKind;

use gatewright_tests::{Scripted, TestGateway, Wire, read_head};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// In HTTP/1.0 nothing but the end of the connection says where a body of unknown length ends.
#[tokio::test]
async fn a_body_that_ends_with_its_connection_is_reset_where_it_breaks_off() {
    for (answer, end) in [
        (&b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"[..], None),
        (&b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n"[..], Some(ErrorKind::ConnectionReset)),
    ] {
        let server = Scripted::answering(answer).await;
        let gateway = TestGateway::start(json!({
            "upstreams": { "breaks": [server.text()] },
            "routes": [{ "match": {}, "to": "breaks" }],
        }));
        let mut client = TcpStream::connect(gateway.address()).await.unwrap();
        client.write_all(b"GET / HTTP/1.0\r\nhost: a\r\n\r\n").await.unwrap();
        let mut text = Vec::new();
        let read = client.read_to_end(&mut text).await;
        let text = String::from_utf8_lossy(&text);
        assert_eq!(read.err().map(|error| error.kind()), end, "{text}");
        let outcome = if end.is_some() { "upstream-failed" } else { "complete" };
        let record = gateway.wait_for_records(1).await.pop().unwrap();
        assert_eq!(record["outcome"], outcome, "{record}");
    }
}

#[tokio::test]
async fn an_http1_client_that_closes_its_half_has_left() {
    let never = Scripted::start(|mut stream| async move {
        read_head(&mut stream).await;
        std::future::pending::<()>().await;
    })
    .await;
    let gateway = TestGateway::start(json!({
        "upstreams": { "never": [never.text()] },
        "routes": [{ "match": {}, "to": "never" }],
    }));
    let mut client = Wire::connect(gateway.address()).await;
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    client.finish().await;
    assert_eq!(client.read_to_end().await, "");
    let record = gateway.wait_for_records(1).await.pop().unwrap();
    assert_eq!(record["outcome"], "client-left", "{record}");
}
