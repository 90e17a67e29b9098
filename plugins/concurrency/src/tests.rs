#![allow(clippy::unwrap_used)]

use gatewright_sdk::{
    manifest,
    serde_json::{self, Value, json},
    testing::{Double, Request},
};

use super::*;

fn status(gateway: &Double, plugin: &Concurrency, request: Request) -> u16 {
    gateway.receive(request);
    match gateway.on_request(plugin) {
        Decision::Proceed => 200,
        Decision::Respond(response) => {
            assert_eq!(response.header("retry-after"), Some("1"));
            response.status.as_u16()
        }
        Decision::Abort => 0,
    }
}

fn from(address: &str) -> Request {
    Request::get("/").attribute("source.address", address)
}

#[test]
fn a_place_is_free_again_when_its_exchange_is_over() {
    let gateway = Double::new();
    let plugin: Concurrency = gateway.configure(r#"{ "limit": 2 }"#).unwrap();
    assert_eq!(status(&gateway, &plugin, from("203.0.113.1")), 200);
    let first = gateway.set_aside();
    assert_eq!(status(&gateway, &plugin, from("203.0.113.1")), 200);
    let second = gateway.set_aside();
    assert_eq!(status(&gateway, &plugin, from("203.0.113.1")), 429);
    assert_eq!(status(&gateway, &plugin, from("203.0.113.1")), 429, "who is refused takes no place");
    assert_eq!(status(&gateway, &plugin, from("203.0.113.2")), 200);
    gateway.end(first);
    assert_eq!(status(&gateway, &plugin, from("203.0.113.1")), 200);
    gateway.end(second);
    assert_eq!(gateway.measures().len(), 2);
}

#[test]
fn all_of_a_route_may_share_the_places() {
    let gateway = Double::new();
    let plugin: Concurrency = gateway.configure(r#"{ "limit": 1, "by": "route" }"#).unwrap();
    let on = |route: &str, address: &str| from(address).attribute("route.name", route);
    assert_eq!(status(&gateway, &plugin, on("a", "203.0.113.1")), 200);
    let first = gateway.set_aside();
    assert_eq!(status(&gateway, &plugin, on("a", "203.0.113.2")), 503);
    assert_eq!(status(&gateway, &plugin, on("b", "203.0.113.1")), 200);
    gateway.end(first);
}

#[test]
fn a_consumer_may_have_a_limit_of_its_own() {
    let gateway = Double::new();
    gateway.consumer_limit("shop", "3");
    let plugin: Concurrency = gateway.configure(r#"{ "limit": 1, "by": "identity", "consumers": true }"#).unwrap();
    let deaf: Concurrency = gateway.configure(r#"{ "limit": 1, "by": "identity" }"#).unwrap();
    for (plugin, subject, claims, places) in [
        (&plugin, "shop", r#"{"consumer":"shop"}"#, 3),
        (&plugin, "other", r#"{"consumer":"other"}"#, 1),
        // A name alone does not make a caller a consumer.
        (&plugin, "like-shop", "{}", 1),
        (&deaf, "unheard", r#"{"consumer":"shop"}"#, 1),
    ] {
        let mut under_way = Vec::new();
        while status(&gateway, plugin, from("203.0.113.1").identity(subject, claims)) == 200 {
            under_way.push(gateway.set_aside());
        }
        assert_eq!(under_way.len(), places, "{subject}");
        under_way.into_iter().for_each(|exchange| gateway.end(exchange));
    }
    gateway.consumer_limit("bad", "0");
    let with_bad = r#"{ "limit": 1, "by": "identity", "consumers": true }"#;
    let refused = gateway.configure::<Concurrency>(with_bad).unwrap_err();
    assert!(refused.contains("\"bad\""), "{refused}");
}

#[test]
fn bad_configurations_are_refused_by_name() {
    for (config, named) in [
        (r#"{}"#, "limit"),
        (r#"{ "limit": 0 }"#, "limit"),
        (r#"{ "limit": -1 }"#, "-1"),
        (r#"{ "limit": 1, "by": "user" }"#, "user"),
        (r#"{ "limit": 1, "by": { "header": "a b" } }"#, "a b"),
        (r#"{ "limit": 1, "ipv6_prefix": 8 }"#, "ipv6_prefix"),
        (r#"{ "limits": 1 }"#, "limits"),
        (r#"{ "limit": 1, "consumers": true }"#, "\"by\": \"identity\""),
    ] {
        let refused = Double::new().configure::<Concurrency>(config).unwrap_err();
        assert!(refused.contains(named), "{config}: {refused}");
    }
}

#[test]
fn the_schema_has_the_defaults() {
    let manifest: Value = serde_json::from_str(&manifest::<Concurrency>()).unwrap();
    assert_eq!(manifest["config-schema"]["required"], json!(["limit"]));
    assert_eq!(manifest["config-schema"]["properties"]["ipv6_prefix"]["default"], json!(64));
}
