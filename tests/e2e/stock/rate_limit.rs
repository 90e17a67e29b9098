//! `rate-limit`: who shares a limit, and what a request takes of it.

use bytes::Bytes;
use gatewright_tests::{Received, Server, TestGateway};
use http::Response;
use http_body_util::Full;
use serde_json::json;

#[tokio::test]
async fn requests_for_the_same_thing_share_a_limit() {
    let by_order = json!({ "rate-limit": { "limit": "1/d", "by": { "path": "id" } } });
    let gateway = TestGateway::start(json!({
        "routes": [
            { "match": { "path": "/orders/{id}/*" }, "plugins": [by_order.clone(), "echo"] },
            // What earlier plugins make of the path changes nothing.
            {
                "match": { "path": { "regex": "/items/(?<id>[0-9]+)" } },
                "plugins": [{ "rewrite": { "rules": [{ "path": "/one" }] } }, by_order.clone(), "echo"],
            },
            // Without the parameter it is the address, which all of these share.
            { "match": { "path": "/other/*" }, "plugins": [by_order, "echo"] },
        ],
    }));
    for (path, status) in [
        ("/orders/1/a", 200),
        ("/orders/1/b?c", 429),
        ("/orders/2/a", 200),
        ("/orders/%32/a", 429),
        ("/items/3", 200),
        ("/items/3?again", 429),
        ("/items/4", 200),
        ("/other/5", 200),
        ("/other/6", 429),
    ] {
        assert_eq!(gateway.get(path).await.status, status, "{path}");
    }
}

#[tokio::test]
async fn the_upstream_may_say_what_a_request_took() {
    let server = Server::start(|received: &Received| {
        let took = received.header("x-rows").unwrap_or("1").to_owned();
        Response::builder().header("x-took", took).body(Full::<Bytes>::default()).unwrap()
    })
    .await;
    let limit = json!({ "rate-limit": { "limit": "10/d", "response_cost_header": "x-took" } });
    let gateway = TestGateway::start(json!({
        "upstreams": { "behind": [server.text()] },
        "routes": [{ "match": {}, "plugins": [limit], "to": "behind" }],
    }));
    for (rows, status) in [("4", 200), ("no number", 200), ("99", 200), ("1", 429)] {
        assert_eq!(gateway.get_with("/", &[("x-rows", rows)]).await.status, status, "{rows}");
    }
    assert_eq!(server.received().len(), 3);
}

/// The rest is taken of whom the request was counted for, whatever later plugins have made of what that was worked out from.
#[tokio::test]
async fn what_a_response_took_is_the_caller_s_whose_request_it_was() {
    let server = Server::start(|received: &Received| {
        assert_eq!((received.header("x-team"), received.header("x-cost")), (None, None));
        Response::builder().header("x-took", "9").body(Full::<Bytes>::default()).unwrap()
    })
    .await;
    let limit = json!({ "rate-limit": {
        "limit": "10/d", "by": { "header": "x-team" }, "cost_header": "x-cost", "response_cost_header": "x-took",
    } });
    let gateway = TestGateway::start(json!({
        "upstreams": { "behind": [server.text()] },
        "routes": [{
            "match": {},
            "plugins": [limit, { "headers": { "request": { "remove": ["x-team", "x-cost"] } } }],
            "to": "behind",
        }],
    }));
    // Nine each: of three that were taken before, six more.
    for (team, cost, status) in [("a", "3", 200), ("a", "2", 429), ("a", "1", 200), ("a", "1", 429), ("b", "10", 200)] {
        let answer = gateway.get_with("/", &[("x-team", team), ("x-cost", cost)]).await;
        assert_eq!(answer.status, status, "{team} {cost}");
    }
    // Nobody has taken of the address.
    assert_eq!(gateway.get_with("/", &[("x-cost", "10")]).await.status, 200);
}

/// So it is taken of the same limit, whatever consumer a later plugin has found the caller to be.
#[tokio::test]
async fn what_a_response_took_is_of_the_limit_that_the_request_was_under() {
    let server =
        Server::start(|_: &Received| Response::builder().header("x-took", "9").body(Full::<Bytes>::default()).unwrap())
            .await;
    let limit = json!({ "rate-limit": {
        "limit": "10/d", "by": "identity", "consumers": true, "response_cost_header": "x-took",
    } });
    let gateway = TestGateway::start(json!({
        "consumers": {
            "shop": { "credentials": { "key-auth": [{ "key": "shop-key" }] }, "limits": { "rate-limit": "100/d" } },
        },
        "upstreams": { "behind": [server.text()] },
        "routes": [{ "match": {}, "plugins": [limit, { "key-auth": { "consumers": true } }], "to": "behind" }],
    }));
    for (number, status) in [200, 200, 429].into_iter().enumerate() {
        let answer = gateway.get_with("/", &[("x-api-key", "shop-key")]).await;
        assert_eq!(answer.status, status, "{number}");
    }
}

#[tokio::test]
async fn a_request_that_can_never_pass_is_not_told_to_come_back() {
    for window in ["bucket", "fixed", "sliding"] {
        let limit = json!({ "rate-limit": { "limit": "10/d", "window": window, "cost_header": "x-cost" } });
        let gateway = TestGateway::start(json!({ "routes": [{ "match": {}, "plugins": [limit, "echo"] }] }));
        for (cost, status, may_return) in [("11", 429, false), ("10", 200, false), ("1", 429, true)] {
            let answer = gateway.get_with("/", &[("x-cost", cost)]).await;
            let told = (answer.status, answer.header("retry-after").is_some());
            assert_eq!(told, (status, may_return), "{window} {cost}");
        }
    }
}
