//! What upstreams learn of the client, and what they are spared.

use gatewright_tests::{Server, TestGateway};
use serde_json::{Value, json};

const TOLD: [&str; 7] = [
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-forwarded-host",
    "x-forwarded-port",
    "forwarded",
    "via",
    "x-request-id",
];

/// What a server behind a gateway with this setting gets of [`TOLD`], from a client that makes all of it up.
async fn told(forwarding: Value) -> (Vec<&'static str>, Option<String>) {
    let server = Server::named("behind").await;
    let gateway = TestGateway::start(json!({
        "upstreams": { "behind": [server.text()] },
        "forwarding": forwarding,
        "routes": [{ "match": {}, "to": "behind" }],
    }));
    let made_up: Vec<(&str, &str)> =
        TOLD.iter().filter(|name| **name != "via").map(|name| (*name, "made-up")).collect();
    let answer = gatewright_tests::send(gateway.address(), "GET", "/", &made_up, "").await;
    assert_eq!(answer.text(), "behind");
    let received = server.only();
    for name in TOLD {
        assert_ne!(received.header(name), Some("made-up"), "{name} is believed");
    }
    let via = answer.header("via").map(str::to_owned);
    (TOLD.into_iter().filter(|name| received.header(name).is_some()).collect(), via)
}

#[tokio::test]
async fn upstreams_are_told_what_the_configuration_says_and_never_what_a_client_makes_up() {
    let x_forwarded = TOLD[..4].to_vec();
    let none = json!({ "x_forwarded": false, "forwarded": false, "via": false, "request_id": false });
    for (forwarding, expected, via) in [
        (json!({}), TOLD.to_vec(), None),
        (none, vec![], None),
        (json!({ "forwarded": false, "via": false, "request_id": false }), x_forwarded, None),
        (json!({ "x_forwarded": false, "response_via": true }), TOLD[4..].to_vec(), Some("1.1 gatewright")),
    ] {
        assert_eq!(told(forwarding.clone()).await, (expected, via.map(str::to_owned)), "{forwarding}");
    }
}

/// A proxy that ends TLS in front of the gateway: links that the server makes are for the client's port, not for ours.
#[tokio::test]
async fn the_port_is_that_of_the_proxy_that_ends_tls() {
    let server = Server::named("behind").await;
    let gateway = TestGateway::start(json!({
        "trusted_proxies": ["127.0.0.1"],
        "upstreams": { "behind": [server.text()] },
        "routes": [{ "match": {}, "to": "behind" }],
    }));
    for told in [
        vec![("x-forwarded-proto", "https"), ("x-forwarded-for", "203.0.113.9"), ("host", "www.example.com")],
        vec![("forwarded", "for=203.0.113.9;proto=https;host=www.example.com")],
    ] {
        server.forget();
        assert_eq!(gateway.get_with("/", &told).await.status, 200);
        let received = server.only();
        assert_eq!(received.header("x-forwarded-proto"), Some("https"), "{told:?}");
        assert_eq!(received.header("x-forwarded-port"), Some("443"), "{told:?}");
    }
}

#[tokio::test]
async fn trace_and_options_go_as_far_as_they_may() {
    let server = Server::named("behind").await;
    let gateway = TestGateway::start(json!({
        "upstreams": { "behind": [server.text()] },
        "routes": [
            { "match": { "path": "/plugin" }, "plugins": [{ "echo": { "respond": { "body": "a plugin" } } }] },
            { "match": {}, "to": "behind" },
        ],
    }));
    for (method, given, passed) in [
        ("OPTIONS", "2", Some("1")),
        ("OPTIONS", "0", None),
        ("OPTIONS", "many", Some("many")),
        ("TRACE", "1", Some("0")),
        ("TRACE", "0", None),
        ("GET", "0", Some("0")),
    ] {
        server.forget();
        let answer = gatewright_tests::send(gateway.address(), method, "/", &[("max-forwards", given)], "").await;
        match (method, passed) {
            (_, Some(passed)) => {
                assert_eq!(answer.text(), "behind", "{method} {given}");
                assert_eq!(server.only().header("max-forwards"), Some(passed), "{method} {given}");
                continue;
            }
            ("TRACE", None) => {
                assert_eq!(answer.problem(405)["detail"], "Requests are not reflected here.");
                assert_eq!(answer.header("allow"), Some(""));
            }
            (_, None) => assert_eq!((answer.status, answer.text().as_str()), (204, "")),
        }
        assert!(server.received().is_empty(), "{method} {given}");
    }
    // A plugin that answers was asked itself.
    let limit = [("max-forwards", "0")];
    let answer = gatewright_tests::send(gateway.address(), "OPTIONS", "/plugin", &limit, "").await;
    assert_eq!(answer.text(), "a plugin");
}
