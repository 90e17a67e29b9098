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
async fn a_regex_goes_before_a_route_for_every_path() {
    let gateway = TestGateway::start(json!({ "routes": [
        route("all", json!({ "host": "a.test" })),
        route("regex", json!({ "host": "a.test", "path": { "regex": "/r/[0-9]+" } })),
        route("prefix", json!({ "host": "a.test", "path": "/r/7/*" })),
    ] }));
    for (target, expected) in [("/r/1", "regex"), ("/r/7", "prefix"), ("/r/x", "all"), ("/x/r/1", "all")] {
        assert_eq!(gateway.get_with(target, &[("host", "a.test")]).await.text(), expected, "{target}");
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

/// Who answers: the name of the route, or nothing for 404.
async fn answers(gateway: &TestGateway, method: &str, target: &str, headers: &[(&str, &str)]) -> String {
    let answer = gatewright_tests::send(gateway.address(), method, target, headers, "").await;
    if answer.status == 404 { String::new() } else { answer.text() }
}

#[tokio::test]
async fn query_param_matching() {
    let gateway = TestGateway::start(json!({ "routes": [
        route("whale", json!({ "query": { "animal": "whale" } })),
        route("dolphin", json!({ "query": { "animal": "dolphin" } })),
        route("blue-dolphin", json!({ "query": { "animal": "dolphin", "color": "blue" } })),
        route("some-cat", json!({ "query": { "animal": { "regex": ".*cat" } } })),
        route("colored", json!({ "query": { "color": { "present": true } } })),
        route("plain", json!({ "path": "/plain", "query": { "color": { "present": false } } })),
    ] }));
    for (target, expected) in [
        ("/?animal=whale", "whale"),
        ("/?animal=dolphin", "dolphin"),
        ("/?color=blue&animal=dolphin", "blue-dolphin"),
        ("/?animal=dolphin&color=red", "dolphin"),
        ("/?animal=%77hale", "whale"),
        ("/?animal=whale&animal=dolphin", "whale"),
        ("/?animal=bobcat", "some-cat"),
        ("/?animal=cats", ""),
        ("/?animal=Whale", ""),
        ("/?Animal=whale", ""),
        ("/?animal", ""),
        ("/?color", "colored"),
        ("/plain", "plain"),
        ("/plain?color=", "colored"),
        ("/", ""),
    ] {
        assert_eq!(answers(&gateway, "GET", target, &[]).await, expected, "{target}");
    }
}

#[tokio::test]
async fn method_matching() {
    let gateway = TestGateway::start(json!({ "routes": [
        route("post", json!({ "path": "/a", "methods": ["POST"] })),
        route("read", json!({ "path": "/a", "methods": ["GET", "HEAD"] })),
        route("header", json!({ "path": "/a", "headers": { "version": "four" } })),
        route("get-header", json!({ "path": "/a", "methods": ["GET"], "headers": { "version": "five" } })),
        route("own", json!({ "path": "/a", "methods": ["M-SEARCH"] })),
    ] }));
    for (method, headers, expected) in [
        ("POST", vec![], "post"),
        ("GET", vec![], "read"),
        ("GET", vec![("version", "five")], "get-header"),
        ("PUT", vec![("version", "four")], "header"),
        ("GET", vec![("version", "four")], "read"),
        ("M-SEARCH", vec![], "own"),
        ("PUT", vec![], ""),
        ("get", vec![], ""),
    ] {
        assert_eq!(answers(&gateway, method, "/a", &headers).await, expected, "{method} {headers:?}");
    }
}

#[tokio::test]
async fn header_matching() {
    let gateway = TestGateway::start(json!({ "routes": [
        route("one", json!({ "headers": { "Version": "one" } })),
        route("two", json!({ "headers": { "version": "two" } })),
        route("two-orange", json!({ "headers": { "version": "two", "color": "orange" } })),
        route("blue-or-green", json!([{ "headers": { "color": "blue" } }, { "headers": { "color": "green" } }])),
        route("regex", json!({ "headers": { "version": { "regex": "v[0-9]+" } } })),
        route("beta", json!({ "headers": { "x-beta": { "present": true } } })),
        route("none", json!({ "path": "/none", "headers": { "version": { "present": false } } })),
    ] }));
    for (target, headers, expected) in [
        ("/", vec![("version", "one")], "one"),
        ("/", vec![("VERSION", "two")], "two"),
        ("/", vec![("version", "two"), ("color", "orange")], "two-orange"),
        ("/", vec![("version", "two"), ("color", "blue")], "two"),
        ("/", vec![("color", "green")], "blue-or-green"),
        ("/", vec![("version", "three"), ("version", "one")], "one"),
        ("/", vec![("version", "v12")], "regex"),
        ("/", vec![("version", "v12x")], ""),
        ("/", vec![("x-beta", "")], "beta"),
        ("/", vec![("version", "One")], ""),
        ("/none", vec![], "none"),
        ("/none", vec![("version", "x")], ""),
    ] {
        assert_eq!(answers(&gateway, "GET", target, &headers).await, expected, "{target} {headers:?}");
    }
}

#[tokio::test]
async fn named_rules() {
    let gateway = TestGateway::start(json!({ "routes": [
        route("orders", json!({ "path": "/orders" })),
        { "match": { "path": "/unnamed" }, "plugins": ["echo"] },
    ] }));
    for path in ["/orders", "/unnamed"] {
        assert_eq!(gateway.get(path).await.status, 200);
    }
    let records = gateway.wait_for_records(2).await;
    let route = |path: &str| records.iter().find(|record| record["path"] == path).unwrap()["route"].clone();
    assert_eq!((route("/orders"), route("/unnamed")), (json!("orders"), json!("route-1")));
    for name in ["orders", "route-1"] {
        let label = format!("http_route=\"{name}\"");
        let count = gateway.metric("http_server_request_duration_seconds_count", &[&label]).await;
        assert_eq!(count, 1.0, "{name}");
    }
}

#[tokio::test]
async fn backend_protocol_h2c() {
    let server = gatewright_tests::Server::start_h2c(|_| http::Response::new("h2c".into())).await;
    let gateway = TestGateway::start(json!({
        "upstreams": { "h2c": { "endpoints": [server.text()], "protocol": "h2c" } },
        "routes": [{ "match": {}, "to": "h2c" }],
    }));
    assert_eq!(gateway.get_with("/a?b", &[("host", "a.test")]).await.text(), "h2c");
    let mut http2 = gatewright_tests::Client::http2(gateway.address()).await;
    assert_eq!(http2.send("GET", "/a?b", &[], "").await.unwrap().text(), "h2c");
    let received = server.received();
    assert_eq!(received[0].authority.as_deref(), Some("a.test"));
    assert!(received.iter().all(|request| request.target == "/a?b"), "{received:?}");
}
