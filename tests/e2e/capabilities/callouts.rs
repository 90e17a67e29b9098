//! `http-client`: calls to the upstreams that were granted.

use bytes::Bytes;
use gatewright_tests::{Scripted, Server, TestGateway, eventually, read_head, send};
use http::Response;
use http_body_util::Full;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

use super::file;

#[tokio::test]
async fn a_plugin_calls_the_upstreams_it_was_granted_and_no_others() {
    let behind = Server::named("behind").await;
    let (one, two) = (Server::named("one").await, Server::named("two").await);
    let large = Server::start(|_| Response::new(Full::new(Bytes::from(vec![b'x'; 2000])))).await;
    let silent = Scripted::start(|mut stream| async move {
        read_head(&mut stream).await;
        std::future::pending::<()>().await;
    })
    .await;
    let secret = Server::named("secret").await;
    let cases = [
        (json!({ "upstreams": ["one", "two"], "how": "send" }), "200:one|200:two"),
        (json!({ "upstreams": ["one", "two", "one"], "how": "send-all" }), "200:one|200:two|200:one"),
        (json!({ "upstreams": ["one", "two"], "how": "dispatch", "path": "/dispatched" }), "sent|sent"),
        (json!({ "upstreams": ["one"], "how": "send", "body": "posted" }), "200:one"),
        (json!({ "upstreams": ["silent", "one"], "how": "race" }), "2:200:one"),
        (json!({ "upstreams": ["silent", "silent"], "how": "race", "timeout": "50ms" }), "1:timed-out"),
        (json!({ "upstreams": ["secret"], "how": "race" }), "unknown-upstream"),
        (
            json!({ "upstreams": ["secret", "nobody", "127.0.0.1:80"], "how": "send" }),
            "unknown-upstream|unknown-upstream|unknown-upstream",
        ),
        (json!({ "upstreams": ["secret", "one"], "how": "send-all" }), "unknown-upstream|200:one"),
        (json!({ "upstreams": ["down", "one"], "how": "send-all" }), "connection-failed|200:one"),
        (json!({ "upstreams": ["silent"], "how": "send", "timeout": "50ms" }), "timed-out"),
        (json!({ "upstreams": ["silent"], "how": "send", "timeout": "1d" }), "timed-out"),
        (json!({ "upstreams": ["large"], "how": "send" }), "response-too-large"),
        (json!({ "upstreams": ["one", "one", "one", "one"], "how": "send" }), "200:one|200:one|200:one|limit-exceeded"),
        (
            json!({ "upstreams": ["one", "one", "one", "one"], "how": "send-all" }),
            "200:one|200:one|200:one|limit-exceeded",
        ),
    ];
    let route = |(index, (config, _)): (usize, &(Value, &str))| json!({ "match": { "path": format!("/{index}") }, "plugins": [{ "callout": config }], "to": "behind" });
    let gateway = TestGateway::start(json!({
        "upstreams": {
            "behind": [behind.text()], "one": [one.text()], "two": [two.text()], "large": [large.text()],
            "silent": [silent.text()], "secret": [secret.text()], "down": ["127.0.0.1:9"],
        },
        "plugins": { "callout": {
            "source": file("guest-callout"),
            "grants": { "upstreams": ["one", "two", "large", "silent", "down"] },
            "limits": { "callouts": 3, "body": "1KiB", "callout_timeout": "2s" },
        } },
        "routes": cases.iter().enumerate().map(route).collect::<Vec<_>>(),
    }));
    for (index, (config, told)) in cases.iter().enumerate() {
        assert_eq!(gateway.get(&format!("/{index}")).await.status, 200, "{config}");
        assert_eq!(behind.received().pop().unwrap().header("x-callout"), Some(*told), "{config}");
    }
    eventually("what was dispatched has arrived", async || {
        let arrived = |server: &Server| server.received().iter().any(|request| request.target == "/dispatched");
        (arrived(&one) && arrived(&two)).then_some(())
    })
    .await;
    assert!(one.received().iter().any(|request| request.method == "POST" && request.body == "posted"));
    assert!(one.received().iter().all(|request| request.header("x-from") == Some("guest-callout")));
    assert!(secret.received().is_empty());
}

#[tokio::test]
async fn a_core_serves_others_while_a_hook_waits() {
    let (release, gate) = tokio::sync::watch::channel(false);
    let slow = Scripted::start(move |mut stream| {
        let mut gate = gate.clone();
        async move {
            read_head(&mut stream).await;
            gate.wait_for(|open| *open).await.unwrap();
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nslow").await;
        }
    })
    .await;
    let behind = Server::named("behind").await;
    let gateway = TestGateway::start(json!({
        "workers": 1,
        "upstreams": { "slow": [slow.text()], "behind": [behind.text()] },
        "plugins": { "callout": {
            "source": file("guest-callout"), "grants": { "upstreams": ["slow"] }, "limits": { "time": "5ms" },
        } },
        "routes": [
            { "match": { "path": "/waits" }, "plugins": [{ "callout": { "upstreams": ["slow"], "how": "send", "timeout": "60s" } }], "to": "behind" },
            { "match": { "path": "/fast" }, "to": "behind" },
        ],
    }));
    let address = gateway.address();
    let waiting: Vec<_> =
        (0..20).map(|_| tokio::spawn(async move { send(address, "GET", "/waits", &[], "").await })).collect();
    eventually("twenty hooks wait", async || {
        let calls = gateway.metric("gatewright_plugin_calls_total", &["\"callout\"", "hook=\"request\""]).await;
        (calls == 20.0).then_some(())
    })
    .await;
    for _ in 0..20 {
        assert_eq!(gateway.get("/fast").await.text(), "behind");
    }
    release.send(true).unwrap();
    // They waited far longer than limits.time, which is about what a hook computes.
    for answer in waiting {
        assert_eq!(answer.await.unwrap().text(), "behind");
    }
    assert_eq!(gateway.metric("gatewright_plugin_limit_hits_total", &["\"callout\""]).await, 0.0);
}
