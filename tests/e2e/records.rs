//! The access log: one record for each accepted request, whatever becomes of it.

use std::process::Command;

use gatewright_tests::{Client, LateEnd, Scripted, Server, TestGateway, Wire, eventually, raw, read_head, send};
use serde_json::json;
use tokio::io::AsyncWriteExt;

#[tokio::test]
async fn every_way_to_end_gives_one_record() {
    let server = Server::named("fine").await;
    let truncated = Scripted::answering(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nshort").await;
    let gateway = TestGateway::start(json!({
        "upstreams": { "fine": [server.text()], "truncated": [truncated.text()], "nobody": ["127.0.0.1:9"] },
        "routes": [
            { "name": "fine", "match": { "path": "/fine" }, "to": "fine" },
            { "name": "truncated", "match": { "path": "/truncated" }, "to": "truncated" },
            { "name": "nobody", "match": { "path": "/nobody" }, "to": "nobody" },
            { "name": "denied", "match": { "path": "/denied" }, "plugins": [{ "key-auth": { "keys": [{ "key": "k", "subject": "s" }] } }], "to": "fine" },
        ],
    }));
    let mut seen = 0;
    for (path, status, outcome, route) in [
        ("/fine", 200, "complete", Some("fine")),
        ("/nobody", 502, "upstream-failed", Some("nobody")),
        ("/denied", 401, "complete", Some("denied")),
        ("/no-route", 404, "refused", None),
    ] {
        let answer = gateway.get(path).await;
        assert_eq!(answer.status, status, "{path}");
        seen += 1;
        let record = gateway.wait_for_records(seen).await.pop().unwrap();
        assert_eq!(record["status"], status, "{record}");
        assert_eq!(record["outcome"], outcome, "{record}");
        assert_eq!(record["route"].as_str(), route, "{record}");
        assert_eq!(record["path"], path);
        assert_eq!(record["request_id"].as_str().unwrap().len(), 32);
    }
    // A response that ends too early: the client must not take it for complete.
    let broken = Client::http1(gateway.address()).await.send("GET", "/truncated", &[], "").await;
    assert!(broken.is_err(), "{broken:?}");
    let record = gateway.wait_for_records(seen + 1).await.pop().unwrap();
    assert_eq!(record["outcome"], "upstream-failed", "{record}");
}

#[tokio::test]
async fn body_bytes_are_counted_both_ways() {
    let server = Server::named("seven b").await;
    let gateway = TestGateway::start(json!({
        "upstreams": { "one": [server.text()] },
        "routes": [{ "match": {}, "to": "one" }],
    }));
    assert_eq!(gateway.post("/", &[], "twelve bytes").await.status, 200);
    let record = gateway.wait_for_records(1).await.pop().unwrap();
    assert_eq!((&record["request_bytes"], &record["response_bytes"]), (&json!(12), &json!(7)), "{record}");
}

/// Go's servers say the end of a body of known length in a frame of its own. The client has all of it before that.
#[tokio::test]
async fn a_response_is_complete_with_its_last_byte_and_not_cancelled_where_its_end_comes_later() {
    for text in ["hello", ""] {
        let server = LateEnd::answering(text, &[]).await;
        let gateway = TestGateway::start(json!({
            "workers": 1,
            "upstreams": { "late": { "endpoints": [server.text()], "protocol": "h2c" } },
            "routes": [{ "match": {}, "to": "late" }],
        }));
        for count in 1..=2 {
            assert_eq!(gateway.get("/").await.text(), text);
            let record = gateway.wait_for_records(count).await.pop().unwrap();
            assert_eq!(record["outcome"], "complete", "{record}");
        }
        // The second request came behind whatever was said of the first one's stream.
        server.release(2);
        eventually("both bodies end", async || (server.ended() + server.cancelled() == 2).then_some(())).await;
        assert_eq!(server.ended(), 2);
    }
}

#[tokio::test]
async fn a_client_that_leaves_has_its_record() {
    let never = Scripted::start(|mut stream| async move {
        read_head(&mut stream).await;
        std::future::pending::<()>().await;
    })
    .await;
    let gateway = TestGateway::start(json!({
        "upstreams": { "never": [never.text()] },
        "routes": [{ "match": {}, "to": "never" }],
    }));
    let mut client = tokio::net::TcpStream::connect(gateway.address()).await.unwrap();
    client.write_all(b"GET /leaves HTTP/1.1\r\nhost: a.test\r\n\r\n").await.unwrap();
    gatewright_tests::eventually("the request is with the upstream", async || {
        (gateway.metric("http_server_active_requests", &[]).await == 1.0).then_some(())
    })
    .await;
    drop(client);
    let record = gateway.wait_for_records(1).await.pop().unwrap();
    assert_eq!(record["outcome"], "client-left", "{record}");
    assert_eq!(record["status"], serde_json::Value::Null);
    assert_eq!((&record["endpoint"], &record["attempts"]), (&json!(never.text()), &json!(1)), "{record}");
    assert!(record["upstream_us"].is_u64(), "{record}");
    assert_eq!(gateway.metric("http_client_request_duration_seconds_count", &["\"never\""]).await, 1.0);
}

/// The same while the exchange is with the hooks that the request body streams through, and with retries.
#[tokio::test]
async fn a_client_that_leaves_while_its_body_is_read_has_its_record() {
    let never = Scripted::start(|mut stream| async move {
        read_head(&mut stream).await;
        std::future::pending::<()>().await;
    })
    .await;
    let gateway = TestGateway::start(json!({
        "plugins": { "chunks": { "source": format!("file:{}", gatewright_tests::guest("guest-chunks")) } },
        "upstreams": { "never": [never.text()] },
        "routes": [{ "match": {}, "plugins": [{ "chunks": { "do": "pass" } }], "retries": {}, "to": "never" }],
    }));
    let mut client = Wire::connect(gateway.address()).await;
    client.send("POST /leaves HTTP/1.1\r\nhost: a.test\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n").await;
    eventually("the request is with the upstream", async || {
        (gateway.metric("gatewright_endpoint_active_requests", &["\"never\""]).await == 1.0).then_some(())
    })
    .await;
    client.reset();
    let record = gateway.wait_for_records(1).await.pop().unwrap();
    assert_eq!((&record["endpoint"], &record["attempts"]), (&json!(never.text()), &json!(1)), "{record}");
    assert_eq!(gateway.metric("http_client_request_duration_seconds_count", &["\"never\""]).await, 1.0);
}

#[tokio::test]
async fn a_request_that_the_drain_timeout_cuts_was_not_left_by_its_client() {
    let never = Scripted::start(|mut stream| async move {
        read_head(&mut stream).await;
        std::future::pending::<()>().await;
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("access.log");
    let gateway = TestGateway::start(json!({
        "shutdown": { "drain_timeout": "100ms" },
        "access_log": { "file": log },
        "upstreams": { "never": [never.text()] },
        "routes": [{ "match": {}, "to": "never" }],
    }));
    let mut client = Wire::connect(gateway.address()).await;
    client.send("GET /cut HTTP/1.1\r\nhost: a.test\r\n\r\n").await;
    eventually("the request is with the upstream", async || {
        (gateway.metric("http_server_active_requests", &[]).await == 1.0).then_some(())
    })
    .await;
    tokio::task::spawn_blocking(move || gateway.shutdown()).await.unwrap();
    let record: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(log).unwrap()).unwrap();
    assert_eq!((&record["outcome"], &record["path"]), (&json!("shut-down"), &json!("/cut")), "{record}");
    assert_eq!((&record["endpoint"], &record["attempts"]), (&json!(never.text()), &json!(1)), "{record}");
    client.read_to_end().await;
}

/// A plugin that has not done well yet runs on a thread of its own, where its hook goes on when the client has left.
#[tokio::test]
async fn a_client_that_leaves_a_plugin_that_is_new_has_its_record() {
    let gateway = TestGateway::start(json!({
        "plugins": { "loop": { "source": format!("file:{}", gatewright_tests::guest("guest-hostile")), "limits": { "time": "3s" } } },
        "routes": [{ "match": {}, "plugins": [{ "loop": { "do": "loop" } }, { "echo": {} }] }],
    }));
    let mut client = tokio::net::TcpStream::connect(gateway.address()).await.unwrap();
    client.write_all(b"GET /leaves HTTP/1.1\r\nhost: a.test\r\nx-misbehave: 1\r\n\r\n").await.unwrap();
    gatewright_tests::eventually("the request is with the plugin", async || {
        (gateway.metric("http_server_active_requests", &[]).await == 1.0).then_some(())
    })
    .await;
    drop(client);
    let record = gateway.wait_for_records(1).await.pop().unwrap();
    assert_eq!((&record["path"], &record["outcome"]), (&json!("/leaves"), &json!("client-left")), "{record}");
    assert_eq!(gateway.get("/next").await.status, 200, "its place is free again");
    assert_eq!(gateway.wait_for_records(2).await.len(), 2);
}

#[tokio::test]
async fn a_request_that_is_refused_by_its_head_has_a_record_and_bytes_that_are_no_request_have_none() {
    let gateway = TestGateway::start(json!({ "routes": [{ "match": {}, "plugins": ["echo"] }] }));
    let address = gateway.address();
    // Framing: refused before there is a request.
    assert!(
        raw(address, "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n")
            .await
            .starts_with("HTTP/1.1 400")
    );
    // An expectation that nobody can meet: a request, and refused.
    let answer = raw(address, "GET / HTTP/1.1\r\nHost: a\r\nExpect: miracles\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 417"), "{answer}");
    assert_eq!(send(address, "GET", "/", &[], "").await.status, 200);
    let records = gateway.wait_for_records(2).await;
    // Two cores wrote them, so their order says nothing.
    let outcome_of = |status: u16| records.iter().find(|record| record["status"] == status).map(|it| &it["outcome"]);
    assert_eq!(outcome_of(417), Some(&json!("refused")), "{records:?}");
    assert_eq!(outcome_of(200), Some(&json!("complete")), "{records:?}");
}

#[tokio::test]
async fn secrets_stay_out_of_the_log() {
    let gateway = TestGateway::start(json!({
        "routes": [{ "match": {}, "plugins": [{ "key-auth": { "keys": [{ "key": "topsecretkey", "subject": "s" }] } }, "echo"] }],
    }));
    gateway
        .get_with(
            "/?token=topsecretquery",
            &[("x-api-key", "topsecretkey"), ("authorization", "Bearer topsecretbearer")],
        )
        .await;
    gateway.get_with("/", &[("x-api-key", "topsecretwrong")]).await;
    gateway.wait_for_records(2).await;
    let log = std::fs::read_to_string(gateway.directory().join("access.log")).unwrap();
    assert!(!log.contains("topsecret"), "{log}");
}

#[test]
fn a_log_that_cannot_be_written_is_found_before_anything_runs() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gateway.json");
    assert!(Command::new("mkfifo").arg(folder.path().join("pipe")).status().unwrap().success());
    for (file, is_fine) in [
        ("access.log", true),
        ("pipe", true),
        ("missing/access.log", false),
        ("gateway.json/access.log", false),
        ("access.log/", false),
        ("", false),
    ] {
        let config = json!({ "listeners": ["127.0.0.1:0"], "access_log": { "file": file }, "routes": [{ "match": {}, "plugins": ["echo"] }] });
        std::fs::write(&path, config.to_string()).unwrap();
        let told = gatewright::gateway::build(&path).err().map(|error| error.to_string()).unwrap_or_default();
        assert_eq!(!told.contains("the access log cannot be written"), is_fine, "{file}: {told}");
        assert!(!folder.path().join("access.log").exists(), "nothing is made by a check");
    }
}
