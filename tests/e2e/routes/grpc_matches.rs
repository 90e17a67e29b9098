//! Matching calls of gRPC, as the GRPCRoute of the Gateway API does. Each upstream is an HTTP/2 server that says its name
//! in a header of a complete answer.

use gatewright_tests::{Client, Server, TestGateway};
use http::Response;
use http_body_util::Full;
use serde_json::{Value, json};

async fn named(name: &'static str) -> Server {
    Server::start_h2c(move |_| {
        let answer = Response::builder().header("content-type", "application/grpc");
        answer.header("grpc-status", "0").header("x-server", name).body(Full::default()).unwrap()
    })
    .await
}

fn gateway(servers: &[&Server], routes: Value) -> TestGateway {
    let upstream = |server: &Server| json!({ "endpoints": [server.text()], "protocol": "h2c" });
    TestGateway::start(json!({
        "upstreams": { "one": upstream(servers[0]), "two": upstream(servers[1]) },
        "routes": routes,
    }))
}

/// Who answers a call: the server's name, or the status of gRPC where the gateway does.
async fn call(gateway: &TestGateway, target: &str, headers: &[(&str, &str)]) -> String {
    let headers = [&[("content-type", "application/grpc+proto"), ("te", "trailers")], headers].concat();
    let answer = Client::http2(gateway.address()).await.send("POST", target, &headers, "\0\0\0\0\0").await.unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.header("x-server").or(answer.header("grpc-status")).unwrap().to_owned()
}

const UNIMPLEMENTED: &str = "12";

#[tokio::test]
async fn grpc_exact_and_regex_method_matching() {
    let (one, two) = (named("one").await, named("two").await);
    let gateway = gateway(
        &[&one, &two],
        json!([
            { "name": "get", "match": { "grpc": { "service": "shop.v1.Orders", "method": "Get" } }, "to": "one" },
            { "name": "orders", "match": { "grpc": { "service": "shop.v1.Orders" } }, "to": "two" },
            { "name": "check", "match": { "grpc": { "method": "Check" } }, "to": "one" },
            { "name": "carts", "match": { "grpc": { "service": { "regex": "shop\\.v[0-9]+\\.Carts" }, "method": "Put" } }, "to": "two" },
            { "name": "lists", "match": { "grpc": { "service": "shop.v1.Lists", "method": { "regex": "Get.*|List" } } }, "to": "one" },
        ]),
    );
    for (target, expected) in [
        ("/shop.v1.Orders/Get", "one"),
        ("/shop.v1.Orders/List", "two"),
        ("/grpc.health.v1.Health/Check", "one"),
        ("/shop.v1.Orders/get", "two"),
        ("/shop.v1.Orders/Get/x", UNIMPLEMENTED),
        ("/shop.v1.Orders", UNIMPLEMENTED),
        ("/shop.v1.Order/Get", UNIMPLEMENTED),
        ("/shop.v2.Carts/Put", "two"),
        ("/shop.v2.Carts/PutAll", UNIMPLEMENTED),
        ("/shopxv2.Carts/Put", UNIMPLEMENTED),
        ("/shop.v1.Lists/GetAll", "one"),
        ("/shop.v1.Lists/List", "one"),
        ("/shop.v1.Lists/Put", UNIMPLEMENTED),
        ("/shopxv1xLists/List", UNIMPLEMENTED),
    ] {
        assert_eq!(call(&gateway, target, &[]).await, expected, "{target}");
    }
}

#[tokio::test]
async fn grpc_header_matching_and_header_modifier() {
    let (one, two) = (named("one").await, named("two").await);
    let gateway = gateway(
        &[&one, &two],
        json!([
            { "match": { "grpc": {}, "headers": { "version": "one" } }, "to": "one",
              "plugins": [{ "headers": { "request": { "set": { "x-set": "mine" }, "append": { "x-add": "b" }, "remove": ["x-gone"] } } }] },
            { "match": { "grpc": {}, "headers": { "version": "two" } }, "to": "two" },
            { "match": { "grpc": {}, "headers": { "version": "two", "color": "orange" } }, "to": "one" },
        ]),
    );
    for (headers, expected) in [
        (vec![("version", "one"), ("x-set", "theirs"), ("x-add", "a"), ("x-gone", "x")], "one"),
        (vec![("version", "two")], "two"),
        (vec![("version", "two"), ("color", "orange")], "one"),
        (vec![("version", "two"), ("color", "blue")], "two"),
        (vec![("color", "orange")], UNIMPLEMENTED),
    ] {
        assert_eq!(call(&gateway, "/any.Service/Method", &headers).await, expected, "{headers:?}");
    }
    let got = &one.received()[0];
    assert_eq!((got.header("x-set"), got.header("x-gone")), (Some("mine"), None));
    let added: Vec<_> = got.headers.get_all("x-add").iter().collect();
    assert_eq!(added, ["a", "b"]);
}

#[tokio::test]
async fn grpc_matches_calls_alone_and_before_the_same_path() {
    let (one, two) = (named("one").await, named("two").await);
    let gateway = gateway(
        &[&one, &two],
        json!([
            { "name": "http", "match": { "path": "/shop.v1.Orders/Get" }, "to": "two" },
            { "name": "grpc", "match": { "grpc": { "service": "shop.v1.Orders", "method": "Get" } }, "to": "one" },
        ]),
    );
    for (method, content_type, expected) in [
        ("POST", "application/grpc", "one"),
        ("POST", "application/grpc+json", "one"),
        ("POST", "Application/gRPC;x=y", "one"),
        ("POST", "application/grpc-web", "two"),
        ("POST", "application/json", "two"),
        ("GET", "application/grpc", "two"),
    ] {
        let mut client = Client::http2(gateway.address()).await;
        let answer = client.send(method, "/shop.v1.Orders/Get", &[("content-type", content_type)], "").await.unwrap();
        assert_eq!(answer.header("x-server"), Some(expected), "{method} {content_type}");
    }
}

#[tokio::test]
async fn a_service_goes_before_a_method_of_any_service_wherever_it_stands() {
    let (one, two) = (named("one").await, named("two").await);
    let service = json!({ "match": { "grpc": { "service": "shop.v1.Orders" } }, "to": "one" });
    let method =
        json!({ "match": { "grpc": { "method": "Get" }, "headers": { "x-any": { "present": true } } }, "to": "two" });
    for routes in [json!([service, method]), json!([method, service])] {
        let gateway = gateway(&[&one, &two], routes);
        for (target, expected) in [("/shop.v1.Orders/Get", "one"), ("/shop.v1.Carts/Get", "two")] {
            assert_eq!(call(&gateway, target, &[("x-any", "")]).await, expected, "{target}");
        }
    }
}
