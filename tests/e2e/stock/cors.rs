//! `cors`: what browsers get to hear, and what reaches the upstream.

use gatewright_tests::{Answer, Client, Server, TestGateway, send};
use http::Response;
use http_body_util::Full;
use serde_json::{Value, json};

const KEY: &str = "a-key-that-is-long-enough";

/// A gateway with the plugin before one that asks for a key; the upstream has a say of its own.
async fn gateway(cors: Value) -> (TestGateway, Server) {
    let server = Server::start(|_| {
        let answer = Response::builder().header("access-control-allow-origin", "*").header("vary", "Accept");
        answer.header("access-control-allow-credentials", "true").body(Full::from("data")).unwrap()
    })
    .await;
    let gateway = TestGateway::start(json!({
        "upstreams": { "api": [server.text()] },
        "routes": [{
            "match": { "path": "/api/*" },
            "plugins": [{ "cors": cors }, { "key-auth": { "keys": [{ "key": KEY, "subject": "app" }] } }],
            "to": "api",
        }],
    }));
    (gateway, server)
}

async fn preflight(gateway: &TestGateway, headers: &[(&str, &str)]) -> Answer {
    let headers = [&[("access-control-request-method", "PUT")], headers].concat();
    send(gateway.address(), "OPTIONS", "/api/1", &headers, "").await
}

fn all(answer: &Answer, name: &str) -> Vec<String> {
    answer.headers.get_all(name).iter().map(|value| value.to_str().unwrap().to_owned()).collect()
}

fn has_cors(answer: &Answer) -> bool {
    answer.headers.keys().any(|name| name.as_str().starts_with("access-control-"))
}

#[tokio::test]
async fn cors_allow_origins_methods_headers_credentials_and_max_age() {
    let (gateway, server) = gateway(json!({
        "origins": ["https://app.example.com", "https://*.example.org"], "methods": ["GET", "PUT"],
        "headers": ["x-api-key"], "expose": ["x-total"], "credentials": true, "max_age": "10m",
    }))
    .await;
    // A preflight has no key, and is answered before one is asked for.
    let answer =
        preflight(&gateway, &[("origin", "https://a.b.example.org"), ("access-control-request-headers", "x-api-key")])
            .await;
    assert_eq!((answer.status, answer.text().as_str()), (204, ""));
    for (name, value) in [
        ("access-control-allow-origin", "https://a.b.example.org"),
        ("access-control-allow-methods", "GET, PUT"),
        ("access-control-allow-headers", "x-api-key"),
        ("access-control-allow-credentials", "true"),
        ("access-control-max-age", "600"),
        ("vary", "Origin, Access-Control-Request-Method, Access-Control-Request-Headers"),
    ] {
        assert_eq!(all(&answer, name), [value], "{name}");
    }
    assert!(server.received().is_empty());

    let answer = gateway.get_with("/api/1", &[("origin", "https://app.example.com"), ("x-api-key", KEY)]).await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "data"));
    assert_eq!(all(&answer, "access-control-allow-origin"), ["https://app.example.com"]);
    assert_eq!(all(&answer, "access-control-allow-credentials"), ["true"]);
    assert_eq!(all(&answer, "access-control-expose-headers"), ["x-total"]);
    assert_eq!(all(&answer, "vary"), ["Accept", "Origin"]);
    // A page can read why it was refused, too.
    let refused = gateway.get_with("/api/1", &[("origin", "https://app.example.com")]).await;
    refused.problem(401);
    assert_eq!(all(&refused, "access-control-allow-origin"), ["https://app.example.com"]);
    assert_eq!(gateway.metric("plugin_cors_preflights", &["allowed"]).await, 1.0);
}

#[tokio::test]
async fn cors_gives_another_origin_no_say_and_removes_the_upstreams() {
    let (gateway, server) = gateway(json!({
        "origins": ["https://app.example.com", "https://*.example.org"], "credentials": true,
    }))
    .await;
    let origins = [
        "null",
        "https://evil-example.org",
        "https://example.org",
        "https://app.example.com.evil.com",
        "https://evil.com/.example.org",
        "https://app.example.com:8443",
        "http://app.example.com",
        "https://APP.example.com",
        "https://app.example.com,https://evil.com",
    ];
    for origin in origins {
        let answer = preflight(&gateway, &[("origin", origin)]).await;
        answer.problem(403);
        assert!(!has_cors(&answer), "{origin}: {answer:?}");
        let answer = gateway.get_with("/api/1", &[("origin", origin), ("x-api-key", KEY)]).await;
        assert_eq!(answer.status, 200, "{origin}");
        assert!(!has_cors(&answer), "{origin}: {answer:?}");
        assert!(all(&answer, "vary").contains(&"Origin".to_owned()), "{origin}");
    }
    let twice = [("origin", "https://app.example.com"), ("origin", "https://evil.com"), ("x-api-key", KEY)];
    preflight(&gateway, &twice).await.problem(403);
    let mut http2 = Client::http2(gateway.address()).await;
    let answer = http2.send("GET", "/api/1", &twice, "").await.unwrap();
    assert!(answer.status == 200 && !has_cors(&answer), "{answer:?}");
    let without = gateway.get_with("/api/1", &[("x-api-key", KEY)]).await;
    assert!(!has_cors(&without) && all(&without, "vary").contains(&"Origin".to_owned()), "{without:?}");
    assert_eq!(server.received().len(), origins.len() + 2, "no preflight reaches the upstream");
    // OPTIONS that is no preflight is a request like any other.
    let options = send(gateway.address(), "OPTIONS", "/api/1", &[("x-api-key", KEY)], "").await;
    assert_eq!(options.text(), "data");
}

#[tokio::test]
async fn cors_for_everybody_is_the_same_for_everybody() {
    let (gateway, _server) = gateway(json!({ "origins": ["*"], "methods": ["*"], "headers": ["*"] })).await;
    for origin in ["https://anything.test:8443", "null"] {
        let asked =
            [("access-control-request-private-network", "true"), ("access-control-request-headers", "authorization")];
        let answer = preflight(&gateway, &[&[("origin", origin)][..], &asked].concat()).await;
        assert_eq!(answer.status, 204);
        assert_eq!(all(&answer, "access-control-allow-origin"), ["*"]);
        assert_eq!(all(&answer, "access-control-allow-methods"), ["*"]);
        assert_eq!(all(&answer, "access-control-allow-headers"), ["authorization"], "a star does not cover it");
        assert_eq!(answer.header("access-control-allow-credentials"), None);
        assert_eq!(answer.header("access-control-allow-private-network"), None, "off unless it is asked for");
    }
    let answer = gateway.get_with("/api/1", &[("origin", "https://a.test"), ("x-api-key", KEY)]).await;
    assert_eq!(all(&answer, "access-control-allow-origin"), ["*"]);
    assert_eq!(all(&answer, "vary"), ["Accept"]);
    assert_eq!(answer.header("access-control-allow-credentials"), None);
}

#[tokio::test]
async fn cors_refuses_everybody_with_credentials_when_the_configuration_is_read() {
    for (cors, named) in [
        (json!({ "origins": ["*"], "credentials": true }), "https://*"),
        (json!({ "origins": ["null"], "credentials": true }), "null"),
        (json!({ "origins": ["https://a.test/"] }), "origins[0]"),
        (json!({ "origins": [] }), "origins"),
        (json!({}), "origins"),
    ] {
        let config = json!({ "routes": [{ "match": {}, "plugins": [{ "cors": cors }, "echo"] }] });
        let refused = TestGateway::try_start(config).err().unwrap().to_string();
        assert!(refused.contains(named), "{refused}");
    }
}
