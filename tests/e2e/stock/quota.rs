//! `quota`: exact over cores and connections, and told to clients.

use gatewright_tests::{Client, TestGateway};
use serde_json::{Value, json};

fn gateway(quota: Value) -> TestGateway {
    let keys = json!([{ "key": "ada", "subject": "ada" }, { "key": "bob", "subject": "bob" }]);
    TestGateway::start(json!({
        "routes": [
            { "match": { "path": "/anybody" }, "plugins": [{ "quota": quota }, "echo"] },
            { "match": {}, "plugins": [{ "key-auth": { "keys": keys } }, { "quota": quota }, "echo"] },
        ],
    }))
}

/// How many of `count` requests over `connections` connections at once got which status.
pub(super) async fn storm(
    addresses: &[std::net::SocketAddr],
    connections: usize,
    count: usize,
    headers: &'static [(&'static str, &'static str)],
) -> std::collections::BTreeMap<u16, usize> {
    let mut clients = tokio::task::JoinSet::new();
    for number in 0..connections {
        let address = addresses[number % addresses.len()];
        let share = count / connections + usize::from(number < count % connections);
        clients.spawn(async move {
            let mut client = Client::http1(address).await;
            let mut statuses = Vec::with_capacity(share);
            for _ in 0..share {
                statuses.push(client.send("GET", "/", headers, "").await.unwrap().status);
            }
            statuses
        });
    }
    let mut seen = std::collections::BTreeMap::new();
    while let Some(statuses) = clients.join_next().await {
        for status in statuses.unwrap() {
            *seen.entry(status).or_default() += 1;
        }
    }
    seen
}

#[tokio::test]
async fn of_ten_thousand_requests_over_64_connections_exactly_the_quota_passes() {
    let gateway = gateway(json!({ "month": 100, "day": 1_000_000 }));
    let seen = storm(&[gateway.address()], 64, 10_000, &[("x-api-key", "ada")]).await;
    assert_eq!(seen, [(200, 100), (429, 9_900)].into());
    let refused = gateway.get_with("/", &[("x-api-key", "ada")]).await;
    refused.problem(429);
    assert!(refused.header("retry-after").unwrap().parse::<u64>().unwrap() > 0);
    let limit = refused.header("ratelimit").unwrap();
    assert!(limit.contains("\"month\";r=0;t=") && limit.contains("\"day\";r=999900;t="), "{limit}");
    assert_eq!(gateway.get_with("/", &[("x-api-key", "bob")]).await.status, 200, "another caller has his own");
    assert_eq!(gateway.metric("plugin_quota_exhausted", &["period=\"month\""]).await, 9_901.0);
}

#[tokio::test]
async fn without_a_caller_the_address_counts_and_no_header_does() {
    let gateway = gateway(json!({ "day": 2 }));
    for (status, forged) in [(200, "1"), (200, "2"), (429, "3")] {
        let headers = [("x-forwarded-for", forged), ("x-identity", forged), ("authorization", forged)];
        assert_eq!(gateway.get_with("/anybody", &headers).await.status, status);
    }
}

#[tokio::test]
async fn a_reload_gives_nothing_away() {
    let gateway = gateway(json!({ "day": 1 }));
    assert_eq!(gateway.get("/anybody").await.status, 200);
    gateway.reload().unwrap();
    gateway.get("/anybody").await.problem(429);
}

/// What is told is what counted, whatever consumer a later plugin has found the caller to be.
#[tokio::test]
async fn a_caller_is_told_of_the_quota_that_the_request_was_under() {
    let gateway = TestGateway::start(json!({
        "consumers": {
            "shop": { "credentials": { "key-auth": [{ "key": "shop-key" }] }, "limits": { "quota": { "month": 4 } } },
        },
        "routes": [{
            "match": {},
            "plugins": [{ "quota": { "day": 2, "consumers": true } }, { "key-auth": { "consumers": true } }, "echo"],
        }],
    }));
    let answer = gateway.get_with("/", &[("x-api-key", "shop-key")]).await;
    assert_eq!((answer.status, answer.header("ratelimit-policy")), (200, Some("\"day\";q=2")));
    assert!(answer.header("ratelimit").unwrap().starts_with("\"day\";r=1;t="));
}
