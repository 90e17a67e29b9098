//! `graphql-guard`: what reaches a GraphQL server, and what a hostile client gets.

use gatewright_tests::{Client, Server, TestGateway};
use serde_json::{Value, json};

const JSON: (&str, &str) = ("content-type", "application/json");

async fn start(guard: Value) -> (TestGateway, Server) {
    let behind = Server::named("behind").await;
    let gateway = TestGateway::start(json!({
        "shutdown": { "drain_timeout": "50ms" },
        "upstreams": { "behind": [behind.text()] },
        "routes": [{ "match": {}, "plugins": [{ "graphql-guard": guard }], "to": "behind" }],
    }));
    (gateway, behind)
}

fn asking(query: &str) -> String {
    json!({ "query": query }).to_string()
}

#[tokio::test]
async fn documents_are_bounded_over_both_protocols() {
    let limits =
        json!({ "limits": { "depth": 3, "aliases": 2, "cost": 100, "costs": { "search": 50 }, "directives": 2 } });
    let (gateway, behind) = start(limits).await;
    let mut passed = 0;
    for mut client in [Client::http1(gateway.address()).await, Client::http2(gateway.address()).await] {
        for (query, status) in [
            ("{ a { b { c } } }", 200),
            ("{ a { b { c { d } } } }", 400),
            ("{ x: a y: a }", 200),
            ("{ x: a y: a z: a }", 400),
            ("{ search search search }", 400),
            ("{ list(first: 99) { a } }", 200),
            ("{ list(first: 100) { a } }", 400),
            ("query($n: Int = 1000) { list(first: $n) { a } }", 400),
            ("{ a @x @y @z }", 400),
            ("{ ...F } fragment F on T { a { b { c { d } } } }", 400),
            ("{ __schema { types { name } } }", 403),
            ("mutation { a }", 200),
            ("{", 400),
        ] {
            let answer = client.send("POST", "/", &[JSON], asking(query)).await.unwrap();
            assert_eq!(answer.status, status, "{query}: {}", answer.text());
            if status == 200 {
                passed += 1;
                assert_eq!(behind.received().pop().unwrap().body, asking(query), "it goes on byte for byte");
            }
        }
    }
    assert_eq!(behind.received().len(), passed);
    assert_eq!(gateway.metric("plugin_graphql_guard_refused", &["reason=\"depth\""]).await, 4.0);
}

#[tokio::test]
async fn hostile_documents_are_refused_and_the_plugin_goes_on() {
    let (gateway, behind) = start(json!({})).await;
    let fragments: String =
        (0..60).map(|n| format!("fragment F{n} on T {{ a {{ ...F{m} }} b {{ ...F{m} }} }} ", m = n + 1)).collect();
    for query in [
        ["{ a ".repeat(2000), "}".repeat(2000)].concat(),
        ["{ a ".repeat(50_000), "}".repeat(50_000)].concat(),
        format!("{{ a(b: {}1{}) }}", "[".repeat(50_000), "]".repeat(50_000)),
        format!("{{ {} }}", "a ".repeat(100_000)),
        format!("{{ {} }}", "x: a ".repeat(1000)),
        format!("{{ a {} }}", "@b ".repeat(1000)),
        format!("{{ ...F0 }} {fragments} fragment F60 on T {{ a }}"),
        "{ ...F } fragment F on T { ...G } fragment G on T { ...F }".to_owned(),
        "\u{0}\u{1}".to_owned(),
    ] {
        gateway.post("/", &[JSON], &asking(&query)).await.problem(400);
    }
    let deep = ["[".repeat(10_000), "]".repeat(10_000)].concat();
    gateway.post("/", &[JSON], &deep).await.problem(400);
    gateway.post("/", &[JSON], &format!("[{},{}]", asking("{ a }"), asking("{ b }"))).await.problem(400);
    gateway.post("/", &[JSON], &asking(&" ".repeat(1 << 20))).await.problem(413);
    gateway.post("/", &[("content-type", "multipart/form-data; boundary=x")], "--x").await.problem(415);
    assert!(behind.received().is_empty());
    assert_eq!(gateway.post("/", &[JSON], &asking("{ a }")).await.status, 200);
}

#[tokio::test]
async fn get_asks_and_does_not_change() {
    let (gateway, behind) = start(json!({})).await;
    assert_eq!(gateway.get("/?query=%7B+a+%7D").await.status, 200);
    let refused = gateway.get("/?query=mutation+%7B+a+%7D").await;
    refused.problem(405);
    assert_eq!(refused.header("allow"), Some("POST"));
    gateway.get("/?query=%7B+__schema+%7B+a+%7D+%7D").await.problem(403);
    gateway.get("/?query=%7Ba%7D&query=%7B__schema%7Ba%7D%7D").await.problem(400);
    gateway.get("/").await.problem(400);
    assert_eq!(behind.received().len(), 1);
}

#[tokio::test]
async fn only_documents_that_are_known() {
    let known = json!({ "persisted": { "documents": { "h1": "{ a { b } }" } } });
    let (gateway, behind) = start(known).await;
    let by_hash = json!({ "extensions": { "persistedQuery": { "version": 1, "sha256Hash": "h1" } } });
    for (body, status) in [
        (by_hash, 200),
        (json!({ "id": "h1", "variables": { "n": 1 } }), 200),
        (json!({ "query": "{ a { b } }" }), 200),
        (json!({ "query": "{ a }", "id": "h1" }), 403),
        (json!({ "query": "{ a }" }), 403),
        (json!({ "id": "h2" }), 403),
    ] {
        let answer = gateway.post("/", &[JSON], &body.to_string()).await;
        assert_eq!(answer.status, status, "{body}: {}", answer.text());
    }
    assert_eq!(behind.received().len(), 3);
}

#[tokio::test]
async fn what_servers_read_in_different_ways_reaches_none() {
    let (gateway, behind) = start(json!({ "limits": { "depth": 2, "cost": 100 } })).await;
    let deep = "query=%7Ba%7Bb%7Bc%7Bd%7D%7D%7D%7D";
    gateway.post(&format!("/?{deep}"), &[JSON], &asking("{ a }")).await.problem(400);
    gateway.post(&format!("/?%71{}", &deep[1..]), &[JSON], &asking("{ a }")).await.problem(400);
    gateway.post("/", &[JSON], r#"{"query":"{ a { b { c } } }","query":"{ a }"}"#).await.problem(400);
    gateway.post("/", &[JSON, ("content-type", "text/plain")], &asking("{ a }")).await.problem(400);
    for size in ["1000", "1e3", "1000.0", "\"1000\""] {
        let body = format!(r#"{{"query":"query($n: Int) {{ list(first: $n) {{ a }} }}","variables":{{"n":{size}}}}}"#);
        gateway.post("/", &[JSON], &body).await.problem(400);
    }
    assert!(behind.received().is_empty());
}

#[tokio::test]
async fn a_body_is_judged_as_what_it_came_whatever_a_later_plugin_says_of_it() {
    let behind = Server::named("behind").await;
    let relabel = json!({ "headers": { "request": { "set": { "content-type": "application/json" } } } });
    let gateway = TestGateway::start(json!({
        "shutdown": { "drain_timeout": "50ms" },
        "upstreams": { "behind": [behind.text()] },
        "routes": [{ "match": {}, "plugins": [{ "graphql-guard": {} }, relabel], "to": "behind" }],
    }));
    let graphql = [("content-type", "application/graphql")];
    assert_eq!(gateway.post("/", &graphql, "{ a }").await.status, 200);
    gateway.post("/", &graphql, "{ __schema { a } }").await.problem(403);
    assert_eq!(behind.only().body, "{ a }");
}
