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
