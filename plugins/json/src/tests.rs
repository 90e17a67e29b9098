#![allow(clippy::unwrap_used)]

use gatewright_sdk::{
    BodyMode, Direction, Method, StatusCode,
    codec::Coding,
    json_body::BOUNDS,
    manifest,
    serde_json::{self, Value},
    testing::{Codec, Double, Request},
};

use super::*;

fn gateway(config: &str) -> (Double, Json) {
    let gateway = Double::new();
    let plugin = gateway.configure(config).unwrap();
    (gateway, plugin)
}

fn json_request() -> Request {
    Request::post("/").header("content-type", "application/json")
}

/// The result of these changes for a request body.
fn changed(changes: &str, body: &str) -> String {
    let (gateway, plugin) = gateway(&format!(r#"{{ "request": {changes} }}"#));
    gateway.receive(json_request().identity("ada", "{}").attribute("route.name", "shop"));
    assert_eq!(gateway.on_request(&plugin), Decision::Proceed);
    String::from_utf8(gateway.request_body(&plugin, &[body.as_bytes()]).unwrap()).unwrap()
}

#[test]
fn each_change() {
    let body = r#"{"b":1.10,"a":{"x":"A","y":[1,2]}}"#;
    for (change, expected) in [
        (
            r#"{ "set": { "path": "/a/z", "value": { "n": [null] } } }"#,
            r#"{"b":1.10,"a":{"x":"A","y":[1,2],"z":{"n":[null]}}}"#,
        ),
        (r#"{ "set": { "path": "/b", "value": null } }"#, r#"{"b":null,"a":{"x":"A","y":[1,2]}}"#),
        (r#"{ "set": { "path": "/b", "value": 2 } }"#, r#"{"b":2,"a":{"x":"A","y":[1,2]}}"#),
        (r#"{ "set": { "path": "/b", "value": 2, "if_missing": true } }"#, body),
        (
            r#"{ "set": { "path": "/c", "value": 2, "if_missing": true } }"#,
            r#"{"b":1.10,"a":{"x":"A","y":[1,2]},"c":2}"#,
        ),
        (r#"{ "set": { "path": "/a/y/-", "value": 3 } }"#, r#"{"b":1.10,"a":{"x":"A","y":[1,2,3]}}"#),
        (r#"{ "set": { "path": "/b", "attribute": "identity.subject" } }"#, r#"{"b":"ada","a":{"x":"A","y":[1,2]}}"#),
        (r#"{ "set": { "path": "/b", "attribute": "unknown" } }"#, r#"{"a":{"x":"A","y":[1,2]}}"#),
        (r#"{ "remove": "/a/y" }"#, r#"{"b":1.10,"a":{"x":"A"}}"#),
        (r#"{ "remove": "/a/y/0" }"#, r#"{"b":1.10,"a":{"x":"A","y":[2]}}"#),
        (r#"{ "remove": "/none" }"#, body),
        (r#"{ "rename": { "path": "/b", "to": "c" } }"#, r#"{"c":1.10,"a":{"x":"A","y":[1,2]}}"#),
        (r#"{ "move": { "from": "/a/x", "to": "/x" } }"#, r#"{"b":1.10,"a":{"y":[1,2]},"x":"A"}"#),
        (r#"{ "move": { "from": "/none", "to": "/x" } }"#, body),
        (r#"{ "copy": { "from": "/b", "to": "/a/x" } }"#, r#"{"b":1.10,"a":{"x":1.10,"y":[1,2]}}"#),
        (r#"{ "map": { "path": "/a/x", "values": { "A": "active" } } }"#, r#"{"b":1.10,"a":{"x":"active","y":[1,2]}}"#),
        (
            r#"{ "map": { "path": "/a/y/*", "values": { "1": true }, "default": 0 } }"#,
            r#"{"b":1.10,"a":{"x":"A","y":[true,0]}}"#,
        ),
        (r#"{ "map": { "path": "/a", "values": {}, "default": 0 } }"#, body),
        (r#"{ "wrap": "data" }"#, r#"{"data":{"b":1.10,"a":{"x":"A","y":[1,2]}}}"#),
        (r#"{ "unwrap": "/a" }"#, r#"{"x":"A","y":[1,2]}"#),
        (r#"{ "unwrap": "/none" }"#, body),
    ] {
        assert_eq!(changed(&format!("[{change}]"), body), expected, "{change}");
    }
}

#[test]
fn changes_are_made_in_order() {
    let changes = r#"[{ "rename": { "path": "/a", "to": "b" } }, { "set": { "path": "/a", "value": 2 } }, { "wrap": "w" }, { "remove": "/w/b" }]"#;
    assert_eq!(changed(changes, r#"{"a":1}"#), r#"{"w":{"a":2}}"#);
}

#[test]
fn what_no_change_is_about_stays_digit_by_digit() {
    let body = r#"{"id":12345678901234567890123,"amount":0.10,"e":1E+400,"text":"ä\u0000"}"#;
    assert_eq!(
        changed(r#"[{ "set": { "path": "/new", "value": true } }]"#, body),
        body.replace('}', r#","new":true}"#)
    );
}

#[test]
fn requests_that_are_not_what_they_say_are_refused() {
    let deep = ["[".repeat(10_000), "]".repeat(10_000)].concat();
    for body in ["", "{", "{} x", "\u{feff}{}", r#"{"a":1,}"#, deep.as_str()] {
        let (gateway, plugin) = gateway(r#"{ "request": [{ "remove": "/a" }] }"#);
        gateway.receive(json_request());
        let _ = gateway.on_request(&plugin);
        match gateway.request_body(&plugin, &[body.as_bytes()]) {
            Err(BodyDecision::Respond(response)) => assert_eq!(response.status, StatusCode::BAD_REQUEST, "{body:.20}"),
            other => panic!("{body:.20}: {other:?}"),
        }
    }
}

#[test]
fn only_json_is_touched() {
    for (kind, mode) in [
        (Some("application/json; charset=utf-8"), BodyMode::Whole),
        (Some("application/merge-patch+json"), BodyMode::Whole),
        (Some("text/plain"), BodyMode::Skip),
        (None, BodyMode::Skip),
    ] {
        let (gateway, plugin) = gateway(r#"{ "request": [{ "remove": "/a" }] }"#);
        gateway.receive(kind.map_or(Request::post("/"), |kind| Request::post("/").header("content-type", kind)));
        assert_eq!(gateway.on_request(&plugin), Decision::Proceed);
        assert_eq!(gateway.body_mode(Direction::Request), mode, "{kind:?}");
    }
    let (gateway, plugin) = gateway(r#"{ "request": [{ "remove": "/a" }] }"#);
    gateway.receive(json_request().header("content-encoding", "gzip"));
    let Decision::Respond(response) = gateway.on_request(&plugin) else { panic!() };
    assert_eq!(response.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
}

#[test]
fn responses_are_changed_by_status_and_type() {
    let config = r#"{ "response": [{ "remove": "/secret" }], "statuses": ["2xx", "4xx"] }"#;
    let json = ("content-type", "application/json");
    for (status, headers, mode) in [
        (StatusCode::OK, vec![json], BodyMode::Whole),
        (StatusCode::NOT_FOUND, vec![json], BodyMode::Whole),
        (StatusCode::OK, vec![json, ("content-range", "0-14/*")], BodyMode::Whole),
        (StatusCode::BAD_GATEWAY, vec![json], BodyMode::Skip),
        (StatusCode::PARTIAL_CONTENT, vec![json], BodyMode::Skip),
        (StatusCode::OK, vec![("content-type", "text/html")], BodyMode::Skip),
        (StatusCode::OK, vec![], BodyMode::Skip),
    ] {
        let (gateway, plugin) = gateway(config);
        gateway.receive(Request::get("/").header("accept-encoding", "gzip"));
        let _ = gateway.on_request(&plugin);
        assert_eq!(gateway.request_header("accept-encoding").as_deref(), Some("identity"));
        gateway.respond(status, &headers);
        let _ = gateway.on_response(&plugin);
        assert_eq!(gateway.body_mode(Direction::Response), mode, "{status} {headers:?}");
        if mode == BodyMode::Whole {
            let sent = gateway.response_body(&plugin, &[br#"{"a":1,"secret":2}"#]).unwrap();
            assert_eq!(sent, br#"{"a":1}"#);
        }
    }
}

#[test]
fn a_response_that_cannot_be_read_passes_or_fails() {
    for (bad, status) in [("pass", None), ("fail", Some(StatusCode::BAD_GATEWAY))] {
        let (gateway, plugin) =
            gateway(&format!(r#"{{ "response": [{{ "remove": "/a" }}], "bad_response": "{bad}" }}"#));
        let answer = |headers: &[(&str, &str)]| {
            gateway.receive(Request::get("/"));
            let _ = gateway.on_request(&plugin);
            gateway.respond(StatusCode::OK, headers);
            gateway.on_response(&plugin)
        };
        let json = ("content-type", "application/json");
        let _ = answer(&[json]);
        match gateway.response_body(&plugin, &[b"<html>"]) {
            Ok(body) => assert_eq!((body.as_slice(), status), (b"<html>".as_slice(), None)),
            Err(BodyDecision::Respond(response)) => assert_eq!(Some(response.status), status),
            other => panic!("{other:?}"),
        }
        let unknown = match answer(&[json, ("content-encoding", "lzma")]) {
            Decision::Respond(response) => Some(response.status),
            _ => None,
        };
        assert_eq!(unknown, status);
    }
}

#[test]
fn all_of_a_document_is_asked_for_and_a_part_passes_or_fails() {
    for (bad, status) in [("pass", None), ("fail", Some(StatusCode::BAD_GATEWAY))] {
        let (gateway, plugin) =
            gateway(&format!(r#"{{ "response": [{{ "remove": "/a" }}], "bad_response": "{bad}" }}"#));
        for (kind, is_ours) in
            [("application/json", true), ("multipart/byteranges; boundary=b", true), ("image/png", false)]
        {
            gateway.receive(Request::get("/").header("range", "bytes=0-5").header("if-range", "\"a\""));
            let _ = gateway.on_request(&plugin);
            assert_eq!(["range", "if-range"].map(|name| gateway.request_header(name)), [None, None]);
            gateway.respond(StatusCode::PARTIAL_CONTENT, &[("content-type", kind), ("content-range", "bytes 0-5/9")]);
            let answered = match gateway.on_response(&plugin) {
                Decision::Respond(response) => Some(response.status),
                _ => None,
            };
            assert_eq!(answered, status.filter(|_| is_ours), "{bad} {kind}");
            assert_eq!(gateway.body_mode(Direction::Response), BodyMode::Skip);
        }
    }
    let (gateway, plugin) = gateway(r#"{ "request": [{ "remove": "/a" }] }"#);
    gateway.receive(Request::get("/").header("range", "bytes=0-5"));
    let _ = gateway.on_request(&plugin);
    assert!(gateway.request_header("range").is_some(), "responses stay as they are");
}

#[test]
fn a_head_describes_what_a_get_would_bring() {
    for (status, kind, is_changed) in [
        (StatusCode::OK, "application/json", true),
        (StatusCode::OK, "text/plain", false),
        (StatusCode::NOT_FOUND, "application/json", false),
    ] {
        let (gateway, plugin) = gateway(r#"{ "response": [{ "remove": "/a" }] }"#);
        gateway.receive(Request::new(Method::HEAD, "/"));
        let _ = gateway.on_request(&plugin);
        gateway.respond(status, &[("content-type", kind), ("content-length", "9"), ("etag", "\"1\"")]);
        assert_eq!(gateway.on_bodyless_response(&plugin), Decision::Proceed);
        let told = ["content-length", "etag"].map(|name| gateway.response_header(name).unwrap_or_default());
        assert_eq!(told, if is_changed { ["", "W/\"1\""] } else { ["9", "\"1\""] }, "{status} {kind}");
        assert_eq!(gateway.body_mode(Direction::Response), BodyMode::Skip);
    }
}

#[test]
fn a_compressed_response_is_decompressed_first() {
    let (gateway, plugin) = gateway(r#"{ "response": [{ "remove": "/a" }] }"#);
    gateway.receive(Request::get("/"));
    let _ = gateway.on_request(&plugin);
    gateway.respond(
        StatusCode::OK,
        &[("content-type", "application/json"), ("content-encoding", "br"), ("etag", "\"1\"")],
    );
    let _ = gateway.on_response(&plugin);
    assert_eq!(gateway.codecs(), [(Direction::Response, Codec::Decompress { coding: Coding::Br, bounds: BOUNDS })]);
    assert_eq!(gateway.response_header("content-encoding"), None);
    assert_eq!(gateway.response_header("etag").as_deref(), Some("W/\"1\""));
}

#[test]
fn bad_configurations_are_refused_by_name() {
    for (config, named) in [
        (r#"{ "request": [{ "remove": "a" }] }"#, "request.0.remove"),
        (r#"{ "request": [{ "remove": "/a" }, { "remove": "/~" }] }"#, "request.1.remove"),
        (r#"{ "response": [{ "set": { "path": "/a" } }] }"#, "response.0.set"),
        (r#"{ "response": [{ "set": { "path": "/a", "value": 1, "attribute": "x" } }] }"#, "response.0.set"),
        (r#"{ "request": [{ "set": { "path": "/*/a", "value": 1, "if_missing": true } }] }"#, "if_missing"),
        (r#"{ "request": [{ "rename": { "path": "/a/*", "to": "b" } }] }"#, "rename"),
        (r#"{ "request": [{ "move": { "from": "/*", "to": "/b" } }] }"#, "move"),
        (r#"{ "request": [{ "unwrap": "/**/a" }] }"#, "unwrap"),
        (r#"{ "request": [{ "delete": "/a" }] }"#, "delete"),
        (r#"{ "statuses": ["200"] }"#, "200"),
        (r#"{ "bad_response": "ignore" }"#, "ignore"),
    ] {
        let refused = Double::new().configure::<Json>(config).unwrap_err();
        assert!(refused.contains(named), "{config}: {refused}");
    }
}

#[test]
fn the_schema_is_self_contained() {
    let manifest: Value = serde_json::from_str(&manifest::<Json>()).unwrap();
    assert!(!manifest.to_string().contains("$ref"));
}
