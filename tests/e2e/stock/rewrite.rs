//! `rewrite`: what the upstream gets, and what does not go on.

use gatewright_tests::{Client, Server, TestGateway};
use serde_json::{Value, json};

async fn start(rules: Value) -> (TestGateway, Server) {
    let behind = Server::named("behind").await;
    let gateway = TestGateway::start(json!({
        "shutdown": { "drain_timeout": "50ms" },
        "upstreams": { "behind": [behind.text()] },
        "routes": [{ "match": {}, "plugins": [{ "rewrite": { "rules": rules } }], "to": "behind" }],
    }));
    (gateway, behind)
}

#[tokio::test]
async fn requests_are_rewritten_by_what_they_have() {
    let (gateway, behind) = start(json!([
        {
            "when": { "headers": { "x-version": "(?<v>[0-9]+)" }, "path": "/(?<rest>.*)" },
            "path": "/v$(v)/$(rest)", "headers": { "remove": ["x-version"], "set": { "x-was": "$(v) $(source.address)" } },
        },
        { "when": { "methods": ["POST"], "headers": { "x-http-method-override": "PATCH" } }, "method": "PATCH", "last": true },
        { "query": { "remove": ["utm"], "rename": { "q": "query" }, "set": { "lang": "e n" } } },
    ]))
    .await;
    for mut client in [Client::http1(gateway.address()).await, Client::http2(gateway.address()).await] {
        for (method, target, header, expected) in [
            ("GET", "/a%20b?utm=1&q=%C3%A4&x", ("x-version", "2"), ("GET", "/v2/a%20b?query=%C3%A4&x&lang=e%20n")),
            ("GET", "/a", ("x-version", "x"), ("GET", "/a?lang=e%20n")),
            ("POST", "/a?utm=1", ("x-http-method-override", "PATCH"), ("PATCH", "/a?utm=1")),
        ] {
            assert_eq!(client.send(method, target, &[header], "").await.unwrap().status, 200);
            let received = behind.received().pop().unwrap();
            assert_eq!((received.method.as_str(), received.target.as_str()), expected, "{method} {target}");
            let was = (header == ("x-version", "2")).then_some("2 127.0.0.1");
            assert_eq!(received.header("x-was"), was);
            assert_eq!(received.header("x-version").is_none(), header != ("x-version", "x"));
        }
    }
    assert_eq!(gateway.metric("plugin_rewrite_rewritten", &[]).await, 8.0);
}

#[tokio::test]
async fn what_cannot_be_rewritten_does_not_go_on_as_it_came() {
    let (gateway, behind) = start(json!([
        { "when": { "query": { "to": "(?<to>.*)" } }, "path": "/files/$(to)/x" },
        { "when": { "query": { "h": "(?s)(?<h>.*)" } }, "headers": { "set": { "x-h": "$(h)" } } },
    ]))
    .await;
    for target in ["/?to=..", "/?to=.", "/?h=a%0d%0ax-admin:1", "/?h=%00"] {
        gateway.get(target).await.problem(400);
    }
    assert!(behind.received().is_empty());
    assert_eq!(gateway.get("/?to=..%2F..%2Fetc%3Fa").await.status, 200);
    assert_eq!(
        behind.only().target,
        "/files/..%2F..%2Fetc%3Fa/x?to=..%2F..%2Fetc%3Fa",
        "one segment, whatever is in it"
    );
}

/// A pattern of the operator's that would take a backtracking engine for ever, and a client that knows it.
#[tokio::test]
async fn no_text_makes_a_pattern_slow() {
    let (gateway, _behind) = start(json!([{ "when": { "headers": { "x-a": "(a+)+b" } }, "path": "/b" }])).await;
    for length in [100, 4000, 8000, 16_000] {
        let value = "a".repeat(length);
        assert_eq!(gateway.get_with("/", &[("x-a", &value)]).await.status, 200, "{length}");
    }
}
