//! Which route takes a request, seen from outside. The laws are the router's own tests; here each condition once.

use gatewright_tests::TestGateway;
use serde_json::{Value, json};

fn route(name: &str, condition: Value) -> Value {
    json!({ "name": name, "match": condition, "plugins": [{ "echo": { "respond": { "body": name } } }] })
}

#[tokio::test]
async fn each_kind_of_condition() {
    let gateway = TestGateway::start(json!({ "routes": [
        route("exact", json!({ "path": "/a/b" })),
        route("prefix", json!({ "path": "/a/*" })),
        route("template", json!({ "path": "/users/{id}/posts" })),
        route("regex", json!({ "path": { "regex": "/r/[0-9]+" } })),
        route("method", json!({ "path": "/a/b", "methods": ["DELETE"] })),
        route("header", json!({ "path": "/h", "headers": { "x-tenant": "one" } })),
        route("header-regex", json!({ "path": "/h", "headers": { "x-tenant": { "regex": "t.*" } } })),
        route("query", json!({ "path": "/q", "query": { "v": "2" } })),
        route("host", json!({ "host": "api.example.com", "path": "/a/b" })),
        route("wildcard", json!({ "host": "*.example.com", "path": "/a/b" })),
    ] }));
    for (method, target, headers, expected) in [
        ("GET", "/a/b", vec![], Some("exact")),
        ("GET", "/a/b?x=1", vec![], Some("exact")),
        ("GET", "/a/c", vec![], Some("prefix")),
        ("GET", "/a", vec![], Some("prefix")),
        ("GET", "/ab", vec![], None),
        ("GET", "/users/7/posts", vec![], Some("template")),
        ("GET", "/users//posts", vec![], None),
        ("GET", "/r/12", vec![], Some("regex")),
        ("GET", "/r/12x", vec![], None),
        ("DELETE", "/a/b", vec![], Some("method")),
        ("GET", "/h", vec![("x-tenant", "one")], Some("header")),
        ("GET", "/h", vec![("x-tenant", "two")], Some("header-regex")),
        ("GET", "/h", vec![], None),
        ("GET", "/q?v=2", vec![], Some("query")),
        ("GET", "/q?v=3", vec![], None),
        ("GET", "/a/b", vec![("host", "API.example.com:8080")], Some("host")),
        ("GET", "/a/b", vec![("host", "x.y.example.com")], Some("wildcard")),
        ("GET", "/a/x/../b", vec![], Some("exact")),
        ("GET", "/a/%2e%2e/a/b", vec![], Some("exact")),
    ] {
        let answer = gatewright_tests::send(gateway.address(), method, target, &headers, "").await;
        match expected {
            Some(name) => assert_eq!(answer.text(), name, "{method} {target} {headers:?}"),
            None => drop(answer.problem(404)),
        }
    }
}

#[tokio::test]
async fn weights_split_requests_over_upstreams() {
    let (one, two) = (gatewright_tests::Server::named("one").await, gatewright_tests::Server::named("two").await);
    let gateway = TestGateway::start(json!({
        "workers": 1,
        "upstreams": { "one": [one.text()], "two": [two.text()] },
        "routes": [{ "match": {}, "to": [{ "upstream": "one", "weight": 3 }, { "upstream": "two", "weight": 1 }] }],
    }));
    for _ in 0..40 {
        assert_eq!(gateway.get("/").await.status, 200);
    }
    assert_eq!((one.received().len(), two.received().len()), (30, 10));
}
