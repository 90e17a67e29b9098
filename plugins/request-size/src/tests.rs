#![allow(clippy::unwrap_used)]

use gatewright_sdk::{
    manifest,
    serde_json::{self, Value, json},
    testing::{Double, Request},
};

use super::*;

fn gateway(config: &str) -> (Double, RequestSize) {
    let gateway = Double::new();
    let size = gateway.configure(config).unwrap();
    (gateway, size)
}

fn status(decision: Decision) -> u16 {
    match decision {
        Decision::Proceed => 200,
        Decision::Respond(response) => response.status.as_u16(),
        Decision::Abort => 0,
    }
}

#[test]
fn a_declared_length_is_judged_before_the_body() {
    let (gateway, size) = gateway(r#"{ "limit": "10B" }"#);
    for (length, expected) in [("0", 200), ("10", 200), ("11", 413), ("18446744073709551615", 413)] {
        gateway.receive(Request::post("/").header("content-length", length));
        assert_eq!(status(gateway.on_request(&size)), expected, "{length}");
        assert_eq!(gateway.body_mode(Direction::Request), BodyMode::Skip, "the body goes by untouched");
    }
}

#[test]
fn what_declares_nothing_is_counted() {
    let (gateway, size) = gateway(r#"{ "limit": "10B" }"#);
    let send = |chunks: &[&[u8]]| {
        gateway.receive(Request::post("/"));
        assert_eq!(gateway.on_request(&size), Decision::Proceed);
        match gateway.request_body(&size, chunks) {
            Ok(body) => (200, body.len()),
            Err(BodyDecision::Respond(response)) => (response.status.as_u16(), 0),
            Err(other) => panic!("{other:?}"),
        }
    };
    assert_eq!(send(&[b"12345", b"67890"]), (200, 10));
    assert_eq!(send(&[b"12345", b"67890", b""]), (200, 10));
    assert_eq!(send(&[b"12345", b"67890", b"1"]), (413, 0));
    assert_eq!(send(&[b"12345678901"]), (413, 0));
    assert_eq!(send(&[b"1234567890"]), (200, 10), "the count begins anew with each exchange");
    assert_eq!(gateway.measures().last().unwrap().labels, ["streamed"]);
}

/// The gateway's framing refuses these before any plugin; should one come through, it is counted and not trusted.
#[test]
fn a_length_that_is_none_is_not_believed() {
    let (gateway, size) = gateway(r#"{ "limit": "10B" }"#);
    for length in ["-1", "1e1", "0x5", " ", "5, 5", "99999999999999999999999"] {
        gateway.receive(Request::post("/").header("content-length", length));
        assert_eq!(gateway.on_request(&size), Decision::Proceed, "{length:?}");
        assert_eq!(gateway.body_mode(Direction::Request), BodyMode::Chunks, "{length:?}");
        assert!(gateway.request_body(&size, &[b"12345678901"]).is_err());
    }
}

#[test]
fn a_length_may_be_required() {
    let (gateway, size) = gateway(r#"{ "limit": "10B", "require_length": true }"#);
    gateway.receive(Request::post("/"));
    assert_eq!(status(gateway.on_request(&size)), 411);
    gateway.receive(Request::post("/").header("content-length", "3"));
    assert_eq!(status(gateway.on_request(&size)), 200);
    gateway.receive(Request::get("/"));
    assert_eq!(status(gateway.on_request(&size)), 200, "what has no body has no length to declare");
}

#[test]
fn bad_configurations_are_refused_by_name() {
    for (config, named) in [
        (r#"{}"#, "limit"),
        (r#"{ "limit": 5 }"#, "string"),
        (r#"{ "limit": "5" }"#, "\"5\""),
        (r#"{ "limit": "-5B" }"#, "-5B"),
        (r#"{ "limit": "5 MiB" }"#, "5 MiB"),
        (r#"{ "limit": "5MiB", "unit": "MiB" }"#, "unit"),
    ] {
        let refused = Double::new().configure::<RequestSize>(config).unwrap_err();
        assert!(refused.contains(named), "{config}: {refused}");
    }
}

#[test]
fn the_schema_needs_a_limit_and_nothing_else() {
    let manifest: Value = serde_json::from_str(&manifest::<RequestSize>()).unwrap();
    assert_eq!(manifest["config-schema"]["required"], json!(["limit"]));
    assert_eq!(manifest["config-schema"]["properties"]["require_length"]["default"], json!(false));
}
