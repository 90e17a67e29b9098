//! `decompress`: bodies in each coding, bombs, what is none, and clients that cannot read what the upstream sends.

use gatewright_tests::{Client, Server, TestGateway, Wire, compress};
use http::Response;
use http_body_util::Full;
use serde_json::{Value, json};

const CODINGS: [&str; 3] = ["gzip", "br", "zstd"];

async fn mirror() -> Server {
    Server::start(|received| Response::new(Full::new(received.body.clone()))).await
}

fn gateway(behind: &Server, plugins: Value) -> TestGateway {
    TestGateway::start(json!({
        "shutdown": { "drain_timeout": "50ms" },
        "upstreams": { "behind": [behind.text()] },
        "routes": [{ "match": {}, "plugins": plugins, "to": "behind" }],
    }))
}

#[tokio::test]
async fn the_upstream_sees_plain_bodies() {
    let behind = mirror().await;
    let gateway = gateway(&behind, json!(["decompress"]));
    let large = "some text, ".repeat(500_000);
    // Made before anybody connects: who says nothing for long is closed.
    let mut bodies = Vec::new();
    for coding in CODINGS {
        for text in ["short", large.as_str()] {
            // A body this dense is more than 100 times as long as what comes; so these lines are numbered.
            let text: String = text.split(", ").enumerate().map(|(line, text)| format!("{line} {text}\n")).collect();
            let packed = compress(coding, text.as_bytes());
            bodies.push((coding, text, packed));
        }
    }
    for mut client in [Client::http1(gateway.address()).await, Client::http2(gateway.address()).await] {
        for (coding, text, packed) in &bodies {
            let headers = [("content-encoding", *coding), ("content-type", "text/plain")];
            let answer = client.send("POST", "/", &headers, packed.clone()).await.unwrap();
            assert!(answer.status == 200 && answer.body == *text, "{coding}: {}", answer.status);
            let received = behind.received().pop().unwrap();
            assert_eq!(received.header("content-encoding"), None);
            assert_eq!(received.header("content-type"), Some("text/plain"));
        }
        let answer = client.send("POST", "/", &[("content-encoding", "gzip")], "").await.unwrap();
        assert_eq!((answer.status, answer.body.len()), (200, 0), "no body is no bad body");
    }
}

#[tokio::test]
async fn a_body_that_comes_in_small_chunks_is_decompressed_as_it_comes() {
    let behind = mirror().await;
    let gateway = gateway(&behind, json!(["decompress"]));
    for coding in CODINGS {
        let mut wire = Wire::connect(gateway.address()).await;
        wire.send(format!(
            "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\ncontent-encoding: {coding}\r\n\r\n"
        ))
        .await;
        for byte in compress(coding, b"one byte at a time") {
            wire.send([b"1\r\n".as_slice(), &[byte], b"\r\n"].concat()).await;
        }
        wire.send("0\r\n\r\n").await;
        assert!(wire.read_to("\r\n\r\n").await.starts_with("HTTP/1.1 200"));
        wire.read_to("one byte at a time").await;
    }
}

#[tokio::test]
async fn bombs_are_refused_however_they_are_made() {
    let behind = mirror().await;
    let gateway = gateway(&behind, json!([{ "decompress": { "limit": "2MiB" } }]));
    let zeros = vec![0; 64 << 20];
    let long: String = (0..300_000_u64).map(|n| format!("{:x}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15))).collect();
    for coding in CODINGS {
        // Made before anybody connects: who says nothing for long is closed.
        let bodies = [
            compress(coding, &zeros),
            // Dense, but within the limit.
            compress(coding, &zeros[..(2 << 20) - 1]),
            // Not dense, but over the limit.
            compress(coding, long.as_bytes()),
        ];
        for mut client in [Client::http1(gateway.address()).await, Client::http2(gateway.address()).await] {
            for body in &bodies {
                client.send("POST", "/", &[("content-encoding", coding)], body.clone()).await.unwrap().problem(413);
            }
        }
    }
    assert_eq!(behind.received().len(), 0, "the upstream has no whole request");
    // It was the clients' doing: the plugin is not taken out for it.
    let answer = gateway.post("/", &[], "plain").await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "plain"));
}

#[tokio::test]
async fn what_is_no_such_data_or_cut_off_is_a_bad_request() {
    let behind = mirror().await;
    let gateway = gateway(&behind, json!(["decompress"]));
    let text = "some text that is long enough".repeat(100);
    for coding in CODINGS {
        let good = compress(coding, text.as_bytes());
        for body in
            [b"{\"plain\": true}".to_vec(), good[..good.len() - 1].to_vec(), [good.as_slice(), b"more"].concat()]
        {
            let mut client = Client::http1(gateway.address()).await;
            let problem = client.send("POST", "/", &[("content-encoding", coding)], body).await.unwrap().problem(400);
            assert!(problem["detail"].as_str().unwrap().contains("Content-Encoding"), "{coding}: {problem}");
        }
    }
    assert_eq!(behind.received().len(), 0);
}

#[tokio::test]
async fn codings_that_are_not_taken_off_do_not_come_through() {
    let behind = mirror().await;
    let gateway = gateway(&behind, json!([{ "decompress": { "codings": ["gzip"] } }]));
    for coding in ["br", "deflate", "gzip, gzip", "unknown"] {
        let answer = gateway.post("/", &[("content-encoding", coding)], "x").await;
        answer.problem(415);
        assert_eq!(answer.header("accept-encoding"), Some("gzip"), "{coding}");
    }
    assert_eq!(behind.received().len(), 0);
}

#[tokio::test]
async fn a_client_that_cannot_read_it_gets_it_plain() {
    let behind = Server::start(|received| {
        let coding = received.target.trim_start_matches('/');
        let text = "some text that is long enough, ".repeat(1000);
        let answer = Response::builder().header("content-encoding", coding).header("etag", "\"v1\"");
        answer.body(Full::from(compress(coding, text.as_bytes()))).unwrap()
    })
    .await;
    let gateway = gateway(&behind, json!([{ "decompress": { "ratio": 10000 } }]));
    for coding in CODINGS {
        for mut client in [Client::http1(gateway.address()).await, Client::http2(gateway.address()).await] {
            let plain = client.send("GET", &format!("/{coding}"), &[], "").await.unwrap();
            assert_eq!((plain.header("content-encoding"), plain.header("etag")), (None, Some("W/\"v1\"")));
            assert_eq!(plain.text(), "some text that is long enough, ".repeat(1000));
            assert_eq!(plain.header("vary"), Some("accept-encoding"));
            let headers = [("accept-encoding", coding)];
            let encoded = client.send("GET", &format!("/{coding}"), &headers, "").await.unwrap();
            assert_eq!((encoded.header("content-encoding"), encoded.header("etag")), (Some(coding), Some("\"v1\"")));
        }
    }
}

#[tokio::test]
async fn a_response_that_is_not_what_it_says_is_not_passed_for_one() {
    let behind = Server::start(|_| {
        Response::builder().header("content-encoding", "gzip").body(Full::from("no gzip at all")).unwrap()
    })
    .await;
    let gateway = gateway(&behind, json!(["decompress"]));
    let mut wire = Wire::connect(gateway.address()).await;
    wire.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert!(!wire.read_to_end().await.contains("\r\n0\r\n\r\n"), "the end is not said");
    let records = gateway.wait_for_records(1).await;
    assert!(records[0]["error"].as_str().unwrap().contains("decompress"), "{records:#?}");
}

/// Whatever stands behind it in the chain sees the plain body, so no rule is gone around by compressing.
#[tokio::test]
async fn rules_behind_it_see_the_plain_body() {
    let behind = mirror().await;
    let gateway = gateway(&behind, json!(["decompress", { "request-size": { "limit": "1KiB" } }]));
    let headers = [("content-encoding", "gzip")];
    let mut client = Client::http2(gateway.address()).await;
    let small = client.send("POST", "/", &headers, compress("gzip", &[b'a'; 1000])).await.unwrap();
    assert_eq!(small.status, 200);
    // The length that is declared is not believed: it is not the length of what comes out.
    for mut client in [Client::http1(gateway.address()).await, Client::http2(gateway.address()).await] {
        let large = compress("gzip", &[b'a'; 2000]);
        assert!(large.len() < 1024);
        client.send("POST", "/", &headers, large).await.unwrap().problem(413);
    }
    let mut wire = Wire::connect(gateway.address()).await;
    let large = compress("gzip", &[b'a'; 2000]);
    wire.send("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\ncontent-encoding: gzip\r\n\r\n").await;
    wire.send([format!("{:x}\r\n", large.len()).as_bytes(), &large, b"\r\n0\r\n\r\n"].concat()).await;
    assert!(wire.read_to("\r\n\r\n").await.starts_with("HTTP/1.1 413"));
}

/// Off before the plugins that look at bodies, and on again for the client.
#[tokio::test]
async fn it_goes_with_compress() {
    let behind = Server::start(|_| {
        let answer = Response::builder().header("content-encoding", "gzip").header("content-type", "text/plain");
        answer.body(Full::from(compress("gzip", "plain text ".repeat(1000).as_bytes()))).unwrap()
    })
    .await;
    let all = json!({ "decompress": { "response": "all", "ratio": 10000 } });
    let gateway = gateway(&behind, json!(["compress", all]));
    let answer = gateway.get_with("/", &[("accept-encoding", "br")]).await;
    assert_eq!(answer.header("content-encoding"), Some("br"));
    assert_eq!(gatewright_tests::decompress("br", &answer.body), "plain text ".repeat(1000).as_bytes());
}
