//! What tells requests apart, and that nobody chooses what others get.

use bytes::Bytes;
use gatewright_tests::{Received, Server, TestGateway};
use http::Response;
use http_body_util::Full;
use serde_json::json;

use super::{MAX_AGE, counting, gateway, status};

#[tokio::test]
async fn variants_are_kept_apart() {
    let server = counting(&[("cache-control", "max-age=100"), ("vary", "accept-language")]).await;
    let gateway = gateway(&server.text(), json!({}));
    for (language, text) in [("de", "answer 1"), ("en", "answer 2"), ("de", "answer 1"), ("en", "answer 2")] {
        assert_eq!(gateway.get_with("/", &[("accept-language", language)]).await.text(), text);
    }
    assert_eq!(gateway.get("/").await.text(), "answer 3");
}

/// The fields by which a request makes some servers speak of something else than the address says.
const SPEAKING: [&str; 14] = [
    "forwarded",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-prefix",
    "x-forwarded-proto",
    "x-forwarded-scheme",
    "x-forwarded-server",
    "x-host",
    "x-http-method-override",
    "x-original-host",
    "x-original-uri",
    "x-original-url",
    "x-rewrite-url",
    "x-method-override",
];

/// A server that repeats what a request says beside its address, as many do in links and redirects.
async fn repeating() -> Server {
    Server::start(|received: &Received| {
        let said: Vec<&str> = SPEAKING.iter().filter_map(|name| received.header(name)).collect();
        let body = Bytes::from(said.join(" "));
        Response::builder().header("cache-control", "max-age=100").body(Full::new(body)).unwrap()
    })
    .await
}

#[tokio::test]
async fn no_field_of_a_request_chooses_what_others_get() {
    let server = repeating().await;
    let gateway = gateway(&server.text(), json!({}));
    for (number, field) in SPEAKING.into_iter().enumerate() {
        let path = format!("/{number}");
        let value = if field == "forwarded" { "host=evil.test" } else { "evil.test" };
        for _ in 0..2 {
            gateway.get_with(&path, &[(field, value)]).await;
        }
        let innocent = gateway.get(&path).await;
        assert_eq!(innocent.status, 200);
        assert!(!innocent.text().contains("evil"), "{field}: {}", innocent.text());
        assert!(status(&gateway.get(&path).await).starts_with("hit"), "{field}");
    }
    // Two hosts, two addresses; capitals and the port that is meant anyway make no third.
    let host = |name: &'static str| [("host", name)];
    for (name, is_hit) in [("a.test", false), ("b.test", false), ("A.TEST", true), ("a.test:80", true)] {
        let answer = gateway.get_with("/host", &host(name)).await;
        assert_eq!(status(&answer).starts_with("hit"), is_hit, "{name}");
    }
}

/// A trusted proxy is believed, and may hand on what its own client said: that is in the key.
#[tokio::test]
async fn what_a_trusted_proxy_hands_on_is_for_those_who_said_it() {
    let server = repeating().await;
    let gateway = TestGateway::start(json!({
        "trusted_proxies": ["127.0.0.1"],
        "upstreams": { "behind": [server.text()] },
        "routes": [{ "match": {}, "cache": {}, "to": "behind" }],
    }));
    for (number, field) in SPEAKING.into_iter().enumerate() {
        let path = format!("/{number}");
        let value = |host: &str| match field {
            "forwarded" => format!("for=192.0.2.1;host={host}"),
            "x-forwarded-port" => host.len().to_string(),
            "x-forwarded-proto" => if host == "one" { "https" } else { "http" }.to_owned(),
            _ => host.to_owned(),
        };
        for (host, is_hit) in [("one", false), ("other", false), ("one", true)] {
            let answer = gateway.get_with(&path, &[(field, &value(host))]).await;
            assert!(answer.text().contains(&value(host)), "{field}: {}", answer.text());
            assert_eq!(status(&answer).starts_with("hit"), is_hit, "{field}: {host}");
        }
        assert!(!gateway.get(&path).await.text().contains("one"), "{field}");
    }
}

#[tokio::test]
async fn versions_of_an_api_have_entries_of_their_own() {
    let (first, second) = (counting(&MAX_AGE).await, counting(&MAX_AGE).await);
    let gateway = TestGateway::start(json!({
        "upstreams": { "first": [first.text()], "second": [second.text()] },
        "routes": [{
            "match": {},
            "cache": {},
            "versions": {
                "by": [{ "header": "x-version" }],
                "list": { "1": { "to": "first" }, "2": { "to": "second" } },
            },
        }],
    }));
    for version in ["1", "2", "1", "2"] {
        assert_eq!(gateway.get_with("/", &[("x-version", version)]).await.status, 200);
    }
    assert_eq!((first.received().len(), second.received().len()), (1, 1));
}
