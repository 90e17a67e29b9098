#![allow(clippy::unwrap_used, clippy::panic)]

use gatewright_sdk::{
    BodyDecision, BodyMode, Decision, Direction, StatusCode,
    testing::{Double, Request},
};
use serde_json::{Value, json};

use crate::GrpcWeb;

const PROTO: &str =
    "syntax = \"proto3\"; package a; service S { rpc M(T) returns (T); } message T { int64 n = 1; string s = 2; }";
const NOTE: &[u8] = b"\0\0\0\0\x02\x08\x05";
const OK: &[(&str, &str)] = &[("grpc-status", "0"), ("x-cost", "3")];

fn plugin(config: Value) -> (Double, GrpcWeb) {
    let gateway = Double::new();
    let plugin = gateway.configure(&config.to_string()).unwrap();
    (gateway, plugin)
}

fn with_types() -> (Double, GrpcWeb) {
    plugin(json!({ "protos": { "a.proto": PROTO } }))
}

fn call(kind: &str) -> Request {
    Request::post("/a.S/M").header("content-type", kind)
}

#[test]
fn web_in_both_forms() {
    let (gateway, plugin) = plugin(json!({}));
    let trailers = b"\x80\0\0\0\x1bgrpc-status: 0\r\nx-cost: 3\r\n";
    let answer = [NOTE, trailers].concat();
    for (kind, sent, came) in [
        ("application/grpc-web+proto", NOTE.to_vec(), answer.clone()),
        (
            "application/grpc-web-text",
            b"AAAAAAIIBQ==".to_vec(),
            b"AAAAAAIIBQ==gAAAABtncnBjLXN0YXR1czogMA0KeC1jb3N0OiAzDQo=".to_vec(),
        ),
        (
            "application/grpc-web-text+proto",
            b"AAAAAAI=CAU=".to_vec(),
            b"AAAAAAIIBQ==gAAAABtncnBjLXN0YXR1czogMA0KeC1jb3N0OiAzDQo=".to_vec(),
        ),
    ] {
        gateway.receive(call(kind));
        assert_eq!(gateway.on_request(&plugin), Decision::Proceed);
        assert_eq!(gateway.request_body(&plugin, &[&sent]).unwrap(), NOTE);
        assert_eq!(gateway.request_header("content-type").as_deref(), Some("application/grpc+proto"));
        gateway.respond(StatusCode::OK, &[("content-type", "application/grpc")]);
        assert_eq!(gateway.on_response(&plugin), Decision::Proceed);
        gateway.trailers(OK);
        assert_eq!(gateway.response_body(&plugin, &[NOTE, b""]).unwrap(), came, "{kind}");
        assert!(gateway.response_header("content-type").unwrap().starts_with(kind));
        assert_eq!(gateway.header_values(gatewright_sdk::Section::ResponseTrailers, "grpc-status"), [""; 0]);
    }
    gateway.receive(call("application/grpc-web-text"));
    assert_eq!(gateway.on_request(&plugin), Decision::Proceed);
    for bad in ["AAAAAAI=C", "*", "A"] {
        let Err(BodyDecision::Respond(response)) = gateway.request_body(&plugin, &[bad.as_bytes()]) else { panic!() };
        assert_eq!(response.header("content-type"), Some("application/grpc-web-text+proto"));
        assert_eq!(response.status, 200, "{bad}");
        // "grpc-status: 3"
        assert!(String::from_utf8(response.body).unwrap().contains("ncnBjLXN0YXR1czogMw0K"), "{bad}");
    }
}

#[test]
fn connect_in_both_forms() {
    let (gateway, plugin) = with_types();
    for (kind, sent, came) in [
        ("application/proto", &b"\x08\x05"[..], &b"\x08\x05"[..]),
        ("application/json", b"{\"n\":5,\"other\":1}", b"{\"n\":\"5\"}"),
    ] {
        gateway.receive(call(kind).header("connect-protocol-version", "1").header("connect-timeout-ms", "250"));
        assert_eq!(gateway.on_request(&plugin), Decision::Proceed);
        assert_eq!(gateway.request_header("grpc-timeout").as_deref(), Some("250000u"));
        assert_eq!(gateway.request_header("connect-timeout-ms"), None);
        assert_eq!(gateway.request_body(&plugin, &[sent]).unwrap(), NOTE);
        gateway.respond(StatusCode::OK, &[("content-type", "application/grpc")]);
        assert_eq!(gateway.on_response(&plugin), Decision::Proceed);
        gateway.trailers(OK);
        assert_eq!(gateway.response_body(&plugin, &[NOTE]).unwrap(), came);
        assert_eq!(gateway.response_header("content-type").as_deref(), Some(kind));
        assert_eq!(gateway.response_header("trailer-x-cost").as_deref(), Some("3"));
    }
}

#[test]
fn errors_of_connect() {
    let (gateway, plugin) = with_types();
    let failed = |body: &[u8], trailers: &[(&str, &str)]| {
        gateway.receive(call("application/json"));
        assert_eq!(gateway.on_request(&plugin), Decision::Proceed);
        gateway.respond(StatusCode::OK, &[("content-type", "application/grpc"), ("x-a", "b")]);
        assert_eq!(gateway.on_response(&plugin), Decision::Proceed);
        gateway.trailers(trailers);
        let Err(BodyDecision::Respond(response)) = gateway.response_body(&plugin, &[body]) else { panic!() };
        assert_eq!((response.header("content-type"), response.header("x-a")), (Some("application/json"), Some("b")));
        (response.status.as_u16(), serde_json::from_slice::<Value>(&response.body).unwrap())
    };
    // google.rpc.Status { details: [Any { type_url: "t/a.B", value: "x" }] }
    let details = [("grpc-status", "5"), ("grpc-message", "no%20way"), ("grpc-status-details-bin", "GgoKBXQvYS5CEgF4")];
    let expected = json!({ "code": "not_found", "message": "no way", "details": [{ "type": "a.B", "value": "eA" }] });
    assert_eq!(failed(b"", &details), (404, expected));
    assert_eq!(failed(b"", &[("grpc-status", "1")]), (499, json!({ "code": "canceled" })));
    assert_eq!(failed(NOTE, &[]).0, 500);
    assert_eq!(failed(b"\x01\0\0\0\0", OK).1["code"], "internal");

    gateway.receive(call("application/json"));
    assert_eq!(gateway.on_request(&plugin), Decision::Proceed);
    let Err(BodyDecision::Respond(response)) = gateway.request_body(&plugin, &[b"{"]) else { panic!() };
    assert_eq!(response.status, 400);
    assert_eq!(serde_json::from_slice::<Value>(&response.body).unwrap()["code"], "invalid_argument");
}

#[test]
fn errors_of_the_gateway() {
    let (gateway, plugin) = with_types();
    for (status, kind, came_as, body) in [
        (
            503,
            "application/grpc-web",
            200,
            "\u{80}\0\0\0\u{34}grpc-status: 14\r\ngrpc-message: Service Unavailable\r\n",
        ),
        (504, "application/proto", 504, r#"{"code":"deadline_exceeded","message":"Gateway Timeout"}"#),
        (401, "application/json", 401, r#"{"code":"unauthenticated","message":"Unauthorized"}"#),
    ] {
        gateway.receive(call(kind));
        assert_eq!(gateway.on_request(&plugin), Decision::Proceed);
        let problem = [("content-type", "application/problem+json"), ("retry-after", "1")];
        gateway.respond(StatusCode::from_u16(status).unwrap(), &problem);
        let Decision::Respond(response) = gateway.on_response(&plugin) else { panic!() };
        assert_eq!((response.status.as_u16(), response.header("retry-after")), (came_as, Some("1")));
        let expected: Vec<u8> = body.chars().map(|char| u8::try_from(u32::from(char)).unwrap()).collect();
        assert_eq!(response.body, expected, "{}", String::from_utf8_lossy(&response.body));
    }
    gateway.receive(call("application/grpc-web"));
    assert_eq!(gateway.on_request(&plugin), Decision::Proceed);
    gateway.respond(StatusCode::OK, &[("content-type", "text/html")]);
    assert_eq!(gateway.on_response(&plugin), Decision::Proceed);
    assert_eq!(gateway.body_mode(Direction::Response), BodyMode::Skip);
}

#[test]
fn what_is_neither_goes_on() {
    let (gateway, plugin) = with_types();
    for (request, proceeds) in [
        (Request::get("/a.S/M"), true),
        (call("application/grpc"), true),
        (call("text/plain"), true),
        (Request::post("/other").header("content-type", "application/json"), true),
        (
            Request::post("/other").header("content-type", "application/json").header("connect-protocol-version", "1"),
            false,
        ),
        (call("application/proto").header("content-encoding", "gzip"), false),
        (call("application/proto").header("connect-timeout-ms", "soon"), false),
    ] {
        let shown = format!("{request:?}");
        gateway.receive(request);
        assert_eq!(gateway.on_request(&plugin) == Decision::Proceed, proceeds, "{shown}");
        assert_eq!(gateway.body_mode(Direction::Response), BodyMode::Skip, "{shown}");
    }
    let (gateway, plugin) = self::plugin(json!({ "connect": false }));
    gateway.receive(call("application/proto"));
    assert_eq!(gateway.on_request(&plugin), Decision::Proceed);
    assert_eq!(gateway.body_mode(Direction::Request), BodyMode::Skip);
}
