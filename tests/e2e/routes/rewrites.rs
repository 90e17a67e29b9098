//! Rewrites of the request on its way to the upstream.

use gatewright_tests::{Client, Server, TestGateway};
use serde_json::{Value, json};

fn rewriting(path: Value, rewrite: Value) -> Value {
    json!({ "match": { "path": path }, "rewrite": rewrite, "to": "a" })
}

#[tokio::test]
async fn rewrite_path_full_prefix_and_regex_with_captures() {
    let server = Server::named("a").await;
    let gateway = TestGateway::start(json!({
        "upstreams": { "a": [server.text()] },
        "routes": [
            rewriting(json!("/full/*"), json!({ "path": "/one" })),
            rewriting(json!("/prefix/*"), json!({ "path": { "prefix": "/p" } })),
            rewriting(json!("/strip/{version}/*"), json!({ "path": { "prefix": "/" } })),
            rewriting(json!("/users/{id}"), json!({ "path": "/people/$(id)/card" })),
            rewriting(json!({ "regex": "/v[0-9]+/.*" }),
                      json!({ "path": { "regex": { "match": "/v([0-9]+)/(?<rest>.*)", "with": "/$(rest)/$(1)" } } })),
            rewriting(json!("/some/*"), json!({ "path": { "regex": { "match": "/some/(a.*)", "with": "/any/$(1)" } } })),
        ],
    }));
    let mut client = Client::http1(gateway.address()).await;
    let cases = [
        ("/full/a/b", "/one"),
        ("/full?x=1&y=%2f", "/one?x=1&y=%2f"),
        ("/prefix", "/p"),
        ("/prefix/", "/p/"),
        ("/prefix/a%20b/c?q", "/p/a%20b/c?q"),
        ("/strip/v2/a/b", "/a/b"),
        ("/strip/v2", "/"),
        ("/users/a%2Cb", "/people/a%2Cb/card"),
        ("/v12/a/b?c", "/a/b/12?c"),
        ("/some/abc", "/any/abc"),
        ("/some/xyz", "/some/xyz"),
        ("/prefix/x/../../prefix/y", "/p/y"),
    ];
    for (target, _) in cases {
        assert_eq!(client.send("GET", target, &[], "").await.unwrap().status, 200, "{target}");
    }
    let received: Vec<String> = server.received().into_iter().map(|request| request.target).collect();
    assert_eq!(received, cases.map(|(_, expected)| expected));
    // The log tells what the client asked for.
    let records = gateway.wait_for_records(cases.len()).await;
    assert_eq!(records[0]["path"], "/full/a/b");
}

#[tokio::test]
async fn rewrite_host() {
    let http1 = Server::named("one").await;
    let h2c = Server::start_h2c(|_| http::Response::default()).await;
    let with_port = Server::named("port").await;
    let gateway = TestGateway::start(json!({
        "upstreams": {
            "one": [http1.text()],
            "two": { "endpoints": [h2c.text()], "protocol": "h2c" },
            "port": [with_port.text()],
        },
        "routes": [
            { "match": { "path": "/one" }, "rewrite": { "host": "internal.example.org" }, "to": "one" },
            { "match": { "path": "/two" }, "rewrite": { "host": "Internal.example.org:8081" }, "to": "two" },
            { "match": { "path": "/port" }, "rewrite": { "host": "internal.example.org:8080" }, "to": "port" },
        ],
    }));
    for path in ["/one", "/two", "/port"] {
        assert_eq!(gateway.get_with(path, &[("host", "a.test:8080")]).await.status, 200);
    }
    let one = http1.only();
    assert_eq!(one.header("host"), Some("internal.example.org"));
    assert_eq!(one.header("x-forwarded-host"), Some("a.test:8080"));
    assert_eq!(h2c.only().header("x-forwarded-host"), Some("a.test:8080"));
    assert_eq!(h2c.only().authority.as_deref(), Some("internal.example.org:8081"));
    assert_eq!(with_port.only().header("host"), Some("internal.example.org:8080"));
}

#[tokio::test]
async fn backend_url_rewrite_takes_the_place_of_the_routes() {
    let (one, two) = (Server::named("one").await, Server::named("two").await);
    let gateway = TestGateway::start(json!({
        "workers": 1,
        "upstreams": { "one": [one.text()], "two": [two.text()] },
        "routes": [{
            "match": { "path": "/a/*" },
            "rewrite": { "path": { "prefix": "/route" } },
            "to": ["one", { "upstream": "two", "rewrite": { "path": { "prefix": "/target" }, "host": "two.org" } }],
        }],
    }));
    for _ in 0..2 {
        gateway.get_with("/a/x?y", &[("host", "a.test")]).await;
    }
    assert_eq!((one.only().target.as_str(), one.only().header("host")), ("/route/x?y", Some("a.test")));
    assert_eq!((two.only().target.as_str(), two.only().header("host")), ("/target/x?y", Some("two.org")));
}

#[tokio::test]
async fn a_rewrite_that_a_parameter_would_lead_astray_is_refused() {
    let server = Server::named("a").await;
    let gateway = TestGateway::start(json!({
        "upstreams": { "a": [server.text()] },
        "routes": [rewriting(json!({ "regex": "/x(?<rest>.*)" }), json!({ "path": "/safe/$(rest)/y" }))],
    }));
    for target in ["/x..", "/x."] {
        gateway.get(target).await.problem(400);
    }
    assert!(server.received().is_empty());
    assert_eq!(gateway.get("/x/..a").await.status, 200);
    assert_eq!(server.only().target, "/safe/..a/y");
    let records = gateway.wait_for_records(3).await;
    assert!(records.iter().any(|record| record["error"].as_str().is_some_and(|it| it.contains("rewritten path"))));
}

#[tokio::test]
async fn rewrite_takes_path_and_query_as_plugins_left_them() {
    let server = Server::named("a").await;
    let key = "a-secret-key-of-some-length";
    let gateway = TestGateway::start(json!({
        "upstreams": { "a": [server.text()] },
        "routes": [{
            "match": { "path": "/a/*" },
            "plugins": [{ "key-auth": { "in": { "query": "key" }, "keys": [{ "key": key, "subject": "ada" }] } }],
            "rewrite": { "path": { "prefix": "/b" } },
            "to": "a",
        }],
    }));
    assert_eq!(gateway.get(&format!("/a/x?y=1&key={key}")).await.status, 200);
    assert_eq!(server.only().target, "/b/x?y=1");
}
