//! Redirects.

use gatewright_tests::{Client, Server, TestGateway, send};
use serde_json::{Value, json};

fn redirecting(path: &str, redirect: Value) -> Value {
    json!({ "match": { "path": path }, "redirect": redirect })
}

#[tokio::test]
async fn redirect_scheme_host_port_path_and_query() {
    let gateway = TestGateway::start(json!({ "routes": [
        redirecting("/scheme", json!({ "scheme": "https" })),
        redirecting("/scheme-port", json!({ "scheme": "https", "port": 8443 })),
        redirecting("/host", json!({ "host": "example.org" })),
        redirecting("/port", json!({ "port": 81 })),
        redirecting("/well-known-port", json!({ "port": 80 })),
        redirecting("/full/*", json!({ "path": "/new" })),
        redirecting("/prefix/*", json!({ "path": { "prefix": "/new" } })),
        redirecting("/strip/*", json!({ "path": { "prefix": "/" } })),
        redirecting("/users/{id}/posts", json!({ "path": "/people/$(id)" })),
        json!({ "match": { "path": { "regex": "/r/.*" } },
                "redirect": { "path": { "regex": { "match": "/r/([0-9]+)/(?<name>.*)", "with": "/$(name)/$(1)" } } } }),
        redirecting("/all", json!({ "scheme": "https", "host": "b.org", "port": 443, "path": "/x", "status": 301 })),
    ] }));
    for (target, expected) in [
        ("/scheme?a=1", "https://a.test/scheme?a=1"),
        ("/scheme-port", "https://a.test:8443/scheme-port"),
        ("/host", "http://example.org:8080/host"),
        ("/port", "http://a.test:81/port"),
        ("/well-known-port", "http://a.test/well-known-port"),
        ("/full/a/b?c=/d", "http://a.test:8080/new?c=/d"),
        ("/prefix/a/b?c", "http://a.test:8080/new/a/b?c"),
        ("/prefix", "http://a.test:8080/new"),
        ("/strip/a", "http://a.test:8080/a"),
        ("/strip", "http://a.test:8080/"),
        ("/users/7/posts", "http://a.test:8080/people/7"),
        ("/r/12/x/y", "http://a.test:8080/x/y/12"),
        ("/r/else", "http://a.test:8080/r/else"),
        ("/all", "https://b.org/x"),
    ] {
        let answer = gateway.get_with(target, &[("host", "a.test:8080")]).await;
        assert_eq!(answer.header("location"), Some(expected), "{target}: {answer:?}");
        assert_eq!(answer.status, if target == "/all" { 301 } else { 302 }, "{target}");
        assert!(answer.body.is_empty() && answer.header("content-length") == Some("0"), "{answer:?}");
    }
    let records = gateway.wait_for_records(14).await;
    assert!(records.iter().all(|record| record["outcome"] == "complete" && record["error"].is_null()), "{records:#?}");
}

#[tokio::test]
async fn behind_a_trusted_proxy_the_rest_stays_as_the_client_asked_it() {
    let routes = json!([
        redirecting("/old", json!({ "path": "/home" })),
        json!({ "match": { "path": "/target" }, "to": [{ "redirect": { "path": "/home" } }] }),
    ]);
    let behind = TestGateway::start(json!({ "trusted_proxies": ["127.0.0.1"], "routes": routes }));
    let alone = TestGateway::start(json!({ "routes": routes }));
    for (told, expected) in [
        (vec![("x-forwarded-proto", "https")], "https://a.test/home"),
        (vec![("x-forwarded-proto", "https"), ("x-forwarded-host", "shop.test:8443")], "https://shop.test:8443/home"),
        (vec![("forwarded", "for=203.0.113.5;proto=https;host=shop.test")], "https://shop.test/home"),
        (vec![("x-forwarded-host", "a b")], "http://a.test/home"),
        (vec![], "http://a.test/home"),
    ] {
        let headers: Vec<(&str, &str)> = [("host", "a.test")].into_iter().chain(told).collect();
        for target in ["/old", "/target"] {
            let answer = behind.get_with(target, &headers).await;
            assert_eq!(answer.header("location"), Some(expected), "{target} {headers:?}");
            let answer = alone.get_with(target, &headers).await;
            assert_eq!(
                answer.header("location"),
                Some("http://a.test/home"),
                "{target} {headers:?}: a claim is believed"
            );
        }
    }
}

#[tokio::test]
async fn redirect_statuses_301_302_303_307_308() {
    let statuses = [301, 302, 303, 307, 308];
    let route = |status: &u16| redirecting(&format!("/{status}"), json!({ "path": "/x", "status": status }));
    let gateway = TestGateway::start(json!({ "routes": statuses.iter().map(route).collect::<Vec<_>>() }));
    let mut client = Client::http2(gateway.address()).await;
    for status in statuses {
        for method in ["GET", "POST", "HEAD"] {
            let answer = client.send(method, &format!("/{status}"), &[], "").await.unwrap();
            assert_eq!((answer.status, answer.header("location")), (status, Some("http://gateway.test/x")));
        }
    }
}

#[tokio::test]
async fn redirect_of_a_request_with_a_body_keeps_the_connection_usable() {
    let gateway =
        TestGateway::start(json!({ "routes": [redirecting("/*", json!({ "host": "b.org", "status": 308 }))] }));
    let mut client = Client::http1(gateway.address()).await;
    for _ in 0..3 {
        let answer = client.send("POST", "/x", &[("host", "a.test")], "a body that nobody reads").await.unwrap();
        assert_eq!((answer.status, answer.header("location")), (308, Some("http://b.org/x")));
    }
}

#[tokio::test]
async fn redirect_comes_after_the_plugins_and_goes_back_through_them() {
    let gateway = TestGateway::start(json!({ "routes": [{
        "match": {},
        "plugins": [
            { "headers": { "response": { "set": { "strict-transport-security": "max-age=1" } } } },
            { "key-auth": { "keys": [{ "key": "a-secret-key-of-some-length", "subject": "ada" }] } }
        ],
        "redirect": { "scheme": "https" },
    }] }));
    gateway.get("/").await.problem(401);
    let answer = gateway.get_with("/", &[("x-api-key", "a-secret-key-of-some-length"), ("host", "a.test")]).await;
    assert_eq!((answer.status, answer.header("location")), (302, Some("https://a.test/")));
    assert_eq!(answer.header("strict-transport-security"), Some("max-age=1"));
}

#[tokio::test]
async fn backend_request_redirect_a_share_of_the_requests() {
    let server = Server::named("old").await;
    let gateway = TestGateway::start(json!({
        "workers": 1,
        "upstreams": { "old": [server.text()] },
        "routes": [{ "match": { "path": "/a/*" }, "to": [
            { "upstream": "old", "weight": 3 },
            { "redirect": { "host": "new.org", "path": { "prefix": "/b" } }, "weight": 1,
              "response_headers": { "set": { "x-moved": "yes" } } },
        ] }],
    }));
    let mut statuses = Vec::new();
    for _ in 0..8 {
        let answer = gateway.get_with("/a/x", &[("host", "a.test")]).await;
        if answer.status == 302 {
            assert_eq!(answer.header("location"), Some("http://new.org/b/x"));
            assert_eq!(answer.header("x-moved"), Some("yes"));
        }
        statuses.push(answer.status);
    }
    assert_eq!((statuses.iter().filter(|status| **status == 302).count(), server.received().len()), (2, 6));
}

#[tokio::test]
async fn a_redirect_that_a_parameter_would_lead_astray_is_refused() {
    let gateway = TestGateway::start(json!({ "routes": [
        { "match": { "path": { "regex": "/x(?<rest>.*)" } }, "redirect": { "path": "/safe/$(rest)" } },
    ] }));
    send(gateway.address(), "GET", "/x..", &[], "").await.problem(400);
    let answer = gateway.get_with("/x//evil.org", &[("host", "a.test")]).await;
    assert_eq!(answer.header("location"), Some("http://a.test/safe/evil.org"));
}
