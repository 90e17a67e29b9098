//! Misdeeds in the middle of a body, where the head is out already.

use gatewright_tests::{Client, Scripted, Server, TestGateway, Wire, read_head};
use serde_json::json;
use tokio::io::AsyncWriteExt;

use super::{file, resident_bytes};

#[tokio::test]
async fn what_one_body_hook_holds_or_adds_is_bounded() {
    let server = Server::start(|_| http::Response::new(bytes::Bytes::from(vec![b'y'; 3 << 20]).into())).await;
    let mut routes = Vec::new();
    let mut plugins = json!({});
    for what in ["hold", "grow-body"] {
        for hook in ["on-request-body", "on-response-body"] {
            let name = format!("{what}-{hook}");
            plugins[&name] = json!({ "source": file("guest-hostile"), "limits": { "body": "1MiB" } });
            routes.push(json!({
                "match": { "path": format!("/{name}") }, "plugins": [{ name: { "do": what, "in": hook } }], "to": "behind",
            }));
        }
    }
    let gateway = TestGateway::start(json!({
        "upstreams": { "behind": [server.text()] }, "plugins": plugins, "routes": routes,
    }));
    let resident = resident_bytes();
    for what in ["hold", "grow-body"] {
        let mut client = Client::http1(gateway.address()).await;
        let target = format!("/{what}-on-request-body");
        let answer = client.send("POST", &target, &[("x-misbehave", "1")], vec![b'x'; 3 << 20]).await;
        answer.unwrap().problem(413);
        let mut client = Client::http1(gateway.address()).await;
        let broken = client.send("GET", &format!("/{what}-on-response-body"), &[("x-misbehave", "1")], "").await;
        assert!(broken.is_err(), "{what}: the client took a cut body for whole");
    }
    let grown = resident_bytes().saturating_sub(resident) >> 20;
    assert!(grown < 100, "{grown} MiB more than before");
}

#[tokio::test]
async fn a_trap_in_the_middle_of_a_request_body_does_not_end_it_cleanly() {
    // The server plays each chunk it gets back through the channel.
    let (seen, mut chunks) = tokio::sync::mpsc::unbounded_channel();
    let server = Scripted::start(move |stream| {
        let seen = seen.clone();
        async move {
            let mut wire = Wire::from(stream);
            wire.read_to("\r\n\r\n").await;
            for text in ["one", "two"] {
                wire.read_to(text).await;
                seen.send(text.to_owned()).unwrap();
            }
            seen.send(wire.read_to_end().await).unwrap();
        }
    })
    .await;
    let gateway = TestGateway::start(json!({
        "upstreams": { "behind": [server.text()] },
        "plugins": { "h": { "source": file("guest-hostile") } },
        "routes": [{ "match": {}, "plugins": [{ "h": { "do": "trap-on-third", "in": "on-request-body" } }], "to": "behind" }],
    }));
    let mut wire = Wire::connect(gateway.address()).await;
    wire.send("POST / HTTP/1.1\r\nhost: a\r\nx-misbehave: 1\r\ntransfer-encoding: chunked\r\n\r\n").await;
    for text in ["one", "two"] {
        wire.send_chunk(text).await;
        assert_eq!(chunks.recv().await.unwrap(), text);
    }
    wire.send_chunk("three").await;
    let answer = wire.read_to("\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 500 "), "{answer}");
    let rest = chunks.recv().await.unwrap();
    assert!(!rest.contains("three") && !rest.contains("0\r\n"), "the server took the request for complete: {rest:?}");
    let record = gateway.wait_for_records(1).await.remove(0);
    assert_eq!((record["status"].as_u64(), record["outcome"].as_str()), (Some(500), Some("plugin-failed")), "{record}");
}

#[tokio::test]
async fn a_trap_in_the_middle_of_a_response_body_does_not_end_it_cleanly() {
    let (go_on, gate) = tokio::sync::watch::channel(0);
    let server = Scripted::start(move |mut stream| {
        let mut gate = gate.clone();
        async move {
            read_head(&mut stream).await;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n").await;
            gate.wait_for(|seen| *seen == 1).await.unwrap();
            let _ = stream.write_all(b"3\r\ntwo\r\n").await;
            gate.wait_for(|seen| *seen == 2).await.unwrap();
            let _ = stream.write_all(b"5\r\nthree\r\n0\r\n\r\n").await;
        }
    })
    .await;
    let gateway = TestGateway::start(json!({
        "upstreams": { "behind": [server.text()] },
        "plugins": { "h": { "source": file("guest-hostile") } },
        "routes": [{ "match": {}, "plugins": [{ "h": { "do": "trap-on-third", "in": "on-response-body" } }], "to": "behind" }],
    }));
    let mut wire = Wire::connect(gateway.address()).await;
    wire.send("GET / HTTP/1.1\r\nhost: a\r\nx-misbehave: 1\r\n\r\n").await;
    wire.read_to("one\r\n").await;
    go_on.send(1).unwrap();
    wire.read_to("two\r\n").await;
    go_on.send(2).unwrap();
    assert_eq!(wire.read_to_end().await, "", "neither the third chunk nor an end");
    let record = gateway.wait_for_records(1).await.remove(0);
    assert_eq!((record["status"].as_u64(), record["outcome"].as_str()), (Some(200), Some("plugin-failed")), "{record}");
    assert!(record["error"].as_str().unwrap().contains("on-response-body"), "{record}");
}
