//! Bodies through a middleware, and messages that have none.

use gatewright_tests::{Scripted, TestGateway, Wire, send};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{config, file, silent};

#[tokio::test]
async fn an_answer_without_a_body_ends_with_its_head_whatever_length_that_says() {
    let to_head = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\n".as_slice();
    let unchanged = b"HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\nconnection: close\r\n\r\n".as_slice();
    for (method, head, status) in [("HEAD", to_head, 200), ("GET", unchanged, 304)] {
        let server = Scripted::answering(head).await;
        let mut lengths = Vec::new();
        // The plugin waits for the whole of what comes.
        for plugins in
            [json!([{ "whole": { "request": false } }]), json!([{ "whole": { "request": false } }, "between"])]
        {
            let mut config = config(&server.text(), json!({}), json!({ "plugins": plugins }));
            config["plugins"] = json!({ "whole": { "source": file("guest-whole") } });
            let gateway = TestGateway::start(config);
            let answer = send(gateway.address(), method, "/", &[], "").await;
            assert_eq!((answer.status, answer.body.len()), (status, 0), "{method} through {plugins}: {answer:?}");
            lengths.push(answer.header("content-length").map(str::to_owned));
        }
        assert_eq!(lengths[0], lengths[1], "{method}");
    }
}

#[tokio::test]
async fn a_clients_body_that_breaks_off_is_the_clients_fault() {
    let server = silent().await;
    let long = format!("7d0\r\n{}\r\n", "x".repeat(2000));
    for (what, chunk, status, outcome) in [
        ("too long", long.as_str(), 413, "refused"),
        ("too late", "1\r\nx\r\n", 408, "timed-out"),
        ("no chunk", "no\r\n", 400, "refused"),
    ] {
        for (plugins, deed) in [(json!([]), ""), (json!(["between"]), ""), (json!(["between"]), "mark")] {
            let route = json!({ "plugins": plugins, "limits": { "request_body": "1KiB" } });
            let mut config = config(&server.text(), json!({}), route);
            config["timeouts"] = json!({ "body": "1s" });
            let gateway = TestGateway::start(config);
            let mut wire = Wire::connect(gateway.address()).await;
            wire.send(format!("POST / HTTP/1.1\r\nhost: a\r\nx-do: {deed}\r\ntransfer-encoding: chunked\r\n\r\n"))
                .await;
            wire.send(chunk).await;
            let answer = wire.read_to("\r\n\r\n").await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{what}, {plugins} {deed:?}: {answer}");
            let record = gateway.wait_for_records(1).await.remove(0);
            assert_eq!(record["outcome"], outcome, "{what}, {plugins} {deed:?}: {record}");
        }
    }
}

#[tokio::test]
async fn sending_a_long_body_is_not_its_own_processor_time() {
    const PIECE: usize = 1 << 20;
    const PIECES: usize = 256;
    let server = Scripted::start(|mut stream| async move {
        gatewright_tests::read_head(&mut stream).await;
        let (mut buffer, mut left) = (vec![0; PIECE], PIECE * PIECES);
        while left > 0 {
            match stream.read(&mut buffer).await {
                Ok(read) if read > 0 => left -= read,
                _ => return,
            }
        }
        let _ = stream.write_all(b"HTTP/1.1 201 Created\r\ncontent-length: 0\r\n\r\n").await;
    })
    .await;
    // Its own polls are to fit into it on a slow machine, too; the sending does not.
    let mut config = config(&server.text(), json!({ "time": "100ms" }), json!({}));
    config["limits"] = json!({ "request_body": "1GiB" });
    let gateway = TestGateway::start(config);
    let (mut answers, mut sends) = TcpStream::connect(gateway.address()).await.unwrap().into_split();
    let sending = tokio::spawn(async move {
        let head = format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n", PIECE * PIECES);
        sends.write_all(head.as_bytes()).await?;
        let piece = vec![b'x'; PIECE];
        for _ in 0..PIECES {
            sends.write_all(&piece).await?;
        }
        std::io::Result::Ok(sends)
    });
    let mut start = [0; 12];
    answers.read_exact(&mut start).await.unwrap();
    assert_eq!(String::from_utf8_lossy(&start), "HTTP/1.1 201");
    sending.await.unwrap().unwrap();
}
