//! The versions of an API: who says which, what an unknown one gets, and what old ones say of themselves.

use gatewright_tests::{Answer, Server, TestGateway};
use serde_json::{Value, json};

async fn servers() -> (Server, Server) {
    (Server::named("one").await, Server::named("two").await)
}

fn gateway(one: &Server, two: &Server, condition: Value, versions: Value) -> TestGateway {
    TestGateway::start(json!({
        "upstreams": { "one": [one.text()], "two": [two.text()] },
        "routes": [{ "name": "api", "match": condition, "versions": versions, "to": "two" }],
    }))
}

fn all(answer: &Answer, name: &str) -> Vec<String> {
    answer.headers.get_all(name).iter().map(|value| value.to_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn api_version_by_path_segment() {
    let (one, two) = servers().await;
    let gateway = gateway(
        &one,
        &two,
        json!([{ "path": "/{version}/orders/*" }, { "path": "/orders/*" }]),
        json!({
            "by": { "path": "version" }, "default": "v2",
            "list": { "v1": { "to": "one", "rewrite": { "path": { "prefix": "/old-orders" } } }, "v2": { "rewrite": { "path": { "prefix": "/orders" } } } },
        }),
    );
    for (target, expected) in [("/v1/orders/7?x", "one"), ("/v2/orders/7", "two"), ("/orders/7", "two")] {
        let answer = gateway.get(target).await;
        assert_eq!(answer.text(), expected, "{target}");
        assert!(all(&answer, "vary").is_empty(), "the path is a cache's key anyway");
    }
    assert_eq!(one.only().target, "/old-orders/7?x");
    let received: Vec<String> = two.received().into_iter().map(|request| request.target).collect();
    assert_eq!(received, ["/orders/7", "/orders/7"]);
    for target in ["/v3/orders/7", "/V1/orders/7", "/v1%20/orders/7"] {
        let problem = gateway.get(target).await.problem(404);
        assert_eq!(problem["detail"], "There is no such version as {version} of the path asks for. There are: v1, v2.");
    }
    let records = gateway.wait_for_records(6).await;
    let version = |path: &str| records.iter().find(|record| record["path"] == path).unwrap()["version"].clone();
    assert_eq!((version("/v1/orders/7"), version("/orders/7")), (json!("v1"), json!("v2")));
    assert!(records.iter().any(|record| record["outcome"] == "refused" && record.get("version").is_none()));
}

#[tokio::test]
async fn api_version_by_header() {
    let (one, two) = servers().await;
    let gateway = gateway(
        &one,
        &two,
        json!({ "path": "/orders/*" }),
        json!({ "by": { "header": "X-Api-Version" }, "list": { "2023-01-31": { "to": "one" }, "2024-06-01": {} } }),
    );
    for (version, expected) in [("2023-01-31", "one"), ("2024-06-01", "two")] {
        let answer = gateway.get_with("/orders", &[("x-api-version", version)]).await;
        assert_eq!((answer.text().as_str(), all(&answer, "vary")), (expected, vec!["x-api-version".to_owned()]));
    }
    for version in ["2025-01-01", "", "2023-01-31, 2024-06-01"] {
        gateway.get_with("/orders", &[("x-api-version", version)]).await.problem(400);
    }
    let twice = [("x-api-version", "2023-01-31"), ("x-api-version", "2024-06-01")];
    gateway.get_with("/orders", &twice).await.problem(400);
    let unsaid = gateway.get("/orders").await.problem(400);
    assert_eq!(
        unsaid["detail"],
        "The request does not say which version it is for. There are: 2023-01-31, 2024-06-01."
    );
    assert_eq!((one.received().len(), two.received().len()), (1, 1));
}

#[tokio::test]
async fn api_version_by_media_type() {
    let (one, two) = servers().await;
    let gateway = gateway(
        &one,
        &two,
        json!({ "path": "/orders/*" }),
        json!({
            "by": [{ "media_type": "application/vnd.shop.{version}+json" }, { "accept_parameter": "version" }],
            "default": "v2", "list": { "v1": { "to": "one" }, "v2": {} },
        }),
    );
    for (accept, expected) in [
        ("application/vnd.shop.v1+json", "one"),
        ("application/json;version=v1", "one"),
        ("application/vnd.shop.v1+json;q=0.5, application/vnd.shop.v2+json", "two"),
        ("application/vnd.shop.v9+json, application/vnd.shop.v1+json;q=0.1", "one"),
        ("application/vnd.shop.v9+json, */*", "two"),
        ("*/*", "two"),
    ] {
        let answer = gateway.get_with("/orders", &[("accept", accept)]).await;
        assert_eq!(answer.text(), expected, "{accept}");
        assert!(all(&answer, "vary").contains(&"accept".to_owned()));
    }
    for accept in ["application/vnd.shop.v9+json", "application/json;version=9"] {
        gateway.get_with("/orders", &[("accept", accept)]).await.problem(406);
    }
    assert_eq!(gateway.get("/orders").await.text(), "two");
}

#[tokio::test]
async fn old_versions_say_that_they_are_deprecated_and_when_they_go() {
    let (one, two) = servers().await;
    let gateway = gateway(
        &one,
        &two,
        json!({ "path": "/{version}/*" }),
        json!({
            "by": { "path": "version" },
            "list": {
                "v1": {
                    "to": ["one", { "upstream": "two", "weight": 0 }],
                    "deprecated": "2023-06-30T23:59:59Z", "sunset": "2026-11-11",
                    "links": {
                        "deprecation": "https://docs.example.com/v1", "sunset": "https://docs.example.com/v1#end",
                        "successor_version": "/v2/", "latest_version": "/v2/",
                    },
                },
                "v2": {},
            },
        }),
    );
    let old = gateway.get("/v1/orders").await;
    assert_eq!(old.text(), "one");
    assert_eq!(all(&old, "deprecation"), ["@1688169599"]);
    assert_eq!(all(&old, "sunset"), ["Wed, 11 Nov 2026 00:00:00 GMT"]);
    assert_eq!(
        all(&old, "link"),
        [
            "<https://docs.example.com/v1>; rel=\"deprecation\"",
            "<https://docs.example.com/v1#end>; rel=\"sunset\"",
            "</v2/>; rel=\"successor-version\"",
            "</v2/>; rel=\"latest-version\"",
        ]
    );
    let new = gateway.get("/v2/orders").await;
    for name in ["deprecation", "sunset", "link"] {
        assert_eq!(new.header(name), None, "{name}");
    }
}

#[tokio::test]
async fn plugins_see_the_version() {
    let (one, two) = servers().await;
    let gateway = TestGateway::start(json!({
        "upstreams": { "one": [one.text()], "two": [two.text()] },
        "routes": [{
            "match": { "path": "/{version}/*" },
            "plugins": [{ "headers": { "request": { "set": { "x-version": "$(route.version)" } } } }],
            "versions": { "by": { "path": "version" }, "list": { "v1": { "to": "one" }, "v2": { "to": "two" } } },
        }],
    }));
    for target in ["/v1/a", "/v2/a"] {
        assert_eq!(gateway.get(target).await.status, 200);
    }
    assert_eq!((one.only().header("x-version"), two.only().header("x-version")), (Some("v1"), Some("v2")));
}
