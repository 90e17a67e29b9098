#![allow(clippy::unwrap_used, clippy::panic)]

use gatewright_sdk::{
    BodyDecision, Decision, Response, Section, StatusCode,
    testing::{Double, Request},
};
use gatewright_transcoding::{DynamicMessage, Message as _, frame};
use serde_json::{Value, json};

use crate::JsonGrpc;

const SHOP: &str = r#"
syntax = "proto3";
package shop;
import "google/api/annotations.proto";
service Orders {
  rpc Get(Order) returns (Order) {
    option (google.api.http) = { get: "/v1/{name=orders/*}" additional_bindings { get: "/v1/all" response_body: "lines" } };
  }
  rpc Put(Order) returns (Order) { option (google.api.http) = { put: "/v1/{name=orders/*}/inner" body: "inner" }; }
  rpc Plain(Order) returns (Order);
  rpc Watch(Order) returns (stream Order);
}
message Order { string name = 1; int64 count = 2; repeated string lines = 3; Order inner = 4; map<string, string> map = 5; }
"#;

fn shop() -> (Double, JsonGrpc) {
    let gateway = Double::new();
    let config = json!({ "protos": { "shop.proto": SHOP }, "base_path": "/api" });
    let plugin = gateway.configure(&config.to_string()).unwrap();
    (gateway, plugin)
}

fn framed(plugin: &JsonGrpc, value: Value) -> Vec<u8> {
    let order = plugin.schema.pool().get_message_by_name("shop.Order").unwrap();
    frame::of(&DynamicMessage::deserialize(order, value).unwrap().encode_to_vec())
}

fn call(method: &str) -> Request {
    Request::post(&format!("/shop.Orders/{method}")).header("content-type", "application/grpc+proto")
}

/// Code and message of a response with trailers only.
fn status(response: &Response) -> (i32, String) {
    assert_eq!((response.status, response.header("content-type")), (StatusCode::OK, Some("application/grpc")));
    let message = response.header("grpc-message").unwrap_or_default();
    (response.header("grpc-status").unwrap().parse().unwrap(), message.to_owned())
}

#[test]
fn calls_become_requests() {
    let (gateway, plugin) = shop();
    for (method, message, line, body) in [
        (
            "Get",
            json!({ "name": "orders/a b", "count": "3", "lines": ["x", "y"], "inner": { "count": "-1" } }),
            "GET /api/v1/orders/a%20b?count=3&lines=x&lines=y&inner.count=%2D1",
            json!(null),
        ),
        ("Get", json!({ "count": "3" }), "GET /api/v1/all?count=3", json!(null)),
        (
            "Put",
            json!({ "name": "orders/1", "inner": { "name": "i" } }),
            "PUT /api/v1/orders/1/inner",
            json!({ "name": "i" }),
        ),
        ("Plain", json!({ "map": { "a": "b" } }), "POST /api/shop.Orders/Plain", json!({ "map": { "a": "b" } })),
    ] {
        gateway.receive(call(method).header("range", "bytes=0-5"));
        assert_eq!(gateway.on_request(&plugin), Decision::Proceed);
        let sent = gateway.request_body(&plugin, &[&framed(&plugin, message)]).unwrap();
        assert_eq!(format!("{} {}", gateway.method(), gateway.path()), line);
        let sent = if sent.is_empty() { json!(null) } else { serde_json::from_slice(&sent).unwrap() };
        assert_eq!(sent, body);
        let kind = gateway.request_header("content-type");
        assert_eq!(kind.as_deref(), Some("application/json").filter(|_| !body.is_null()));
        assert_eq!(gateway.request_header("range"), None, "a part of an answer is no message");
    }
}

#[test]
fn what_has_no_form_in_rest() {
    let (gateway, plugin) = shop();
    for (method, code) in [("None", 12), ("Watch", 12)] {
        gateway.receive(call(method));
        let Decision::Respond(response) = gateway.on_request(&plugin) else { panic!() };
        assert_eq!(status(&response).0, code);
    }
    let with_map = framed(&plugin, json!({ "name": "orders/1", "map": { "a": "b" } }));
    for (method, body, code) in [
        ("Get", with_map.as_slice(), 12),
        ("Put", &framed(&plugin, json!({ "name": "else" })), 3),
        ("Put", b"", 3),
        ("Put", b"\0\0\0\0\x02\x08", 3),
        ("Put", b"\x01\0\0\0\0", 12),
        ("Put", b"\0\0\0\0\x01\xff", 3),
    ] {
        gateway.receive(call(method));
        assert_eq!(gateway.on_request(&plugin), Decision::Proceed);
        let Err(BodyDecision::Respond(response)) = gateway.request_body(&plugin, &[body]) else { panic!("{method}") };
        assert_eq!(status(&response).0, code, "{method} {body:?}");
    }
    gateway.receive(Request::get("/page"));
    assert_eq!(gateway.on_request(&plugin), Decision::Proceed);
}

#[test]
fn answers_become_messages() {
    let (gateway, plugin) = shop();
    for (name, code, kind, body, expected) in [
        ("orders/1", 200, "application/json", r#"{"name":"n","more":1}"#, Ok(json!({ "name": "n" }))),
        ("", 201, "application/json", r#"["a"]"#, Ok(json!({ "lines": ["a"] }))),
        ("orders/1", 200, "text/html", "<html>", Err((13, "The answer is not"))),
        ("orders/1", 404, "text/html", "<html>", Err((5, "Not Found"))),
        ("orders/1", 404, "application/json", r#"{"code":7,"message":"m"}"#, Err((7, "m"))),
        ("orders/1", 409, "application/json", r#"{"error":{"message":"m"}}"#, Err((10, "m"))),
        ("orders/1", 429, "application/problem+json", r#"{"title":"t","detail":"d"}"#, Err((8, "d"))),
        ("orders/1", 302, "text/html", "-", Err((2, "Found"))),
    ] {
        gateway.receive(call("Get"));
        assert_eq!(gateway.on_request(&plugin), Decision::Proceed);
        let _ = gateway.request_body(&plugin, &[&framed(&plugin, json!({ "name": name }))]).unwrap();
        gateway.respond(StatusCode::from_u16(code).unwrap(), &[("content-type", kind)]);
        assert_eq!(gateway.on_response(&plugin), Decision::Proceed);
        match (gateway.response_body(&plugin, &[body.as_bytes()]), expected) {
            (Ok(bytes), Ok(value)) => {
                assert_eq!(bytes, framed(&plugin, value));
                assert_eq!(
                    (gateway.status(), gateway.response_header("content-type").as_deref()),
                    (200, Some("application/grpc"))
                );
                assert_eq!(gateway.header_values(Section::ResponseTrailers, "grpc-status"), ["0"]);
            }
            (Err(BodyDecision::Respond(response)), Err((code, says))) => {
                let (found, message) = status(&response);
                assert!(found == code && message.starts_with(says), "{body}: {found} {message}");
            }
            (found, expected) => panic!("{body}: {found:?}, {expected:?}"),
        }
    }
}
