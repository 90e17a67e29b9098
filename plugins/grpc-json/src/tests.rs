#![allow(clippy::unwrap_used, clippy::panic)]

use gatewright_sdk::{
    BodyDecision, BodyMode, Decision, Direction, Response, StatusCode,
    testing::{Double, Request},
};
use gatewright_transcoding::{
    DynamicMessage, Message as _, Schema, Sources,
    frame::{self, Next},
    prost_reflect::MessageDescriptor,
};
use serde_json::{Value, json};

use crate::GrpcJson;

const SHOP: &str = r#"
syntax = "proto3";
package shop.v1;
import "google/api/annotations.proto";
import "google/api/httpbody.proto";
import "google/protobuf/any.proto";
import "google/protobuf/timestamp.proto";
service Orders {
  rpc Get(GetRequest) returns (Order) {
    option (google.api.http) = { get: "/v1/{name=orders/*}" additional_bindings { get: "/v1/o/{name}" } };
  }
  rpc Create(CreateRequest) returns (Order) {
    option (google.api.http) = { post: "/v1/{parent=shops/*}/orders" body: "order" };
  }
  rpc Update(Order) returns (Order) {
    option (google.api.http) = { patch: "/v1/orders/{id}" body: "*" };
  }
  rpc Lines(GetRequest) returns (Order) {
    option (google.api.http) = { get: "/v1/{name=orders/*}/lines" response_body: "lines" };
  }
  rpc Watch(GetRequest) returns (stream Order) { option (google.api.http) = { get: "/v1/{name=orders/*}:watch" }; }
  rpc Import(stream Order) returns (Order) { option (google.api.http) = { post: "/v1/orders:import" body: "*" }; }
  rpc Picture(GetRequest) returns (google.api.HttpBody) {
    option (google.api.http) = { get: "/v1/{name=orders/*}/picture" };
  }
  rpc Plain(Order) returns (Order);
}
message GetRequest { string name = 1; View view = 2; Filter filter = 3; repeated int32 pages = 4; }
message Filter { string text = 1; google.protobuf.Timestamp since = 2; }
message CreateRequest { string parent = 1; Order order = 2; bool dry_run = 3; }
enum View { BASIC = 0; FULL = 1; }
message Line { string sku = 1; int32 count = 2; }
message Order {
  int64 id = 1; string title = 2; repeated Line lines = 3; map<string, int32> stock = 4; bytes token = 5;
  google.protobuf.Any extra = 6; View view = 7; oneof pay { string card = 8; string iban = 9; }
}
"#;

fn shop(more: Value) -> (Double, GrpcJson) {
    let mut config = json!({ "protos": { "shop.proto": SHOP } });
    config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let gateway = Double::new();
    let plugin = gateway.configure(&config.to_string()).unwrap();
    (gateway, plugin)
}

fn of(name: &str) -> MessageDescriptor {
    let protos = [("shop.proto".to_owned(), SHOP.to_owned())].into();
    let schema = Schema::new(Sources { descriptor_set: None, protos: &protos, services: &[] }).unwrap();
    schema.pool().get_message_by_name(&format!("shop.v1.{name}")).unwrap()
}

/// The frame of a message that is written as JSON here.
fn framed(name: &str, value: Value) -> Vec<u8> {
    frame::of(&DynamicMessage::deserialize(of(name), value).unwrap().encode_to_vec())
}

/// The messages of frames, as JSON.
fn messages(name: &str, mut frames: &[u8]) -> Vec<Value> {
    let mut found = Vec::new();
    while let Next::Frame { flags: 0, message, rest } = frame::next(frames) {
        found.push(serde_json::to_value(DynamicMessage::decode(of(name), message).unwrap()).unwrap());
        frames = rest;
    }
    assert!(frames.is_empty(), "{frames:?}");
    found
}

/// The result for a request: the path and the messages, or the status and its text.
fn sent(
    gateway: &Double,
    plugin: &GrpcJson,
    request: Request,
    body: &str,
    name: &str,
) -> Result<(String, Vec<Value>), Value> {
    gateway.receive(request);
    match gateway.on_request(plugin) {
        Decision::Proceed => {}
        Decision::Respond(response) => return Err(problem(&response)),
        Decision::Abort => panic!(),
    }
    match gateway.request_body(plugin, &[body.as_bytes()]) {
        Ok(frames) => {
            assert_eq!(gateway.method(), "POST");
            assert_eq!(gateway.request_header("content-type").as_deref(), Some("application/grpc"));
            Ok((gateway.path(), messages(name, &frames)))
        }
        Err(BodyDecision::Respond(response)) => Err(problem(&response)),
        Err(other) => panic!("{other:?}"),
    }
}

fn problem(response: &Response) -> Value {
    let body: Value = serde_json::from_slice(&response.body).unwrap();
    assert_eq!(body["status"], response.status.as_u16());
    body
}

#[test]
fn requests_become_calls() {
    let (gateway, plugin) = shop(json!({}));
    for (request, body, path, name, message) in [
        (Request::get("/v1/orders/7"), "", "Get", "GetRequest", json!({ "name": "orders/7" })),
        (Request::get("/v1/o/a%2Fb"), "", "Get", "GetRequest", json!({ "name": "a/b" })),
        (
            Request::get("/v1/orders/7?view=FULL&filter.text=a%20b&filter.since=2026-01-01T00:00:00Z&pages=1&pages=2"),
            "",
            "Get",
            "GetRequest",
            json!({ "name": "orders/7", "view": "FULL", "pages": [1, 2],
                "filter": { "text": "a b", "since": "2026-01-01T00:00:00Z" } }),
        ),
        (
            Request::post("/v1/shops/1/orders?dryRun=true&order.id=5"),
            "",
            "Create",
            "CreateRequest",
            json!({ "parent": "shops/1", "dryRun": true, "order": { "id": "5" } }),
        ),
        (
            Request::post("/v1/shops/1/orders"),
            r#"{"title":"t","lines":[{"sku":"a","count":2}],"stock":{"x":1},"token":"aGk=","iban":"DE"}"#,
            "Create",
            "CreateRequest",
            json!({ "parent": "shops/1", "order": { "title": "t", "lines": [{ "sku": "a", "count": 2 }],
                "stock": { "x": 1 }, "token": "aGk=", "iban": "DE" } }),
        ),
        // The path takes precedence, even with a default value.
        (
            Request::new(gatewright_sdk::Method::PATCH, "/v1/orders/0"),
            r#"{"id":9,"title":"t"}"#,
            "Update",
            "Order",
            json!({ "title": "t" }),
        ),
        (
            Request::post("/shop.v1.Orders/Plain"),
            r#"{"id":"9223372036854775807","extra":{"@type":"type.googleapis.com/shop.v1.Line","sku":"s"}}"#,
            "Plain",
            "Order",
            json!({ "id": "9223372036854775807", "extra": { "@type": "type.googleapis.com/shop.v1.Line", "sku": "s" } }),
        ),
    ] {
        let shown = format!("{request:?}");
        let expected = (format!("/shop.v1.Orders/{path}"), vec![message]);
        assert_eq!(sent(&gateway, &plugin, request, body, name), Ok(expected), "{shown}");
    }
}

#[test]
fn what_is_no_call_is_refused() {
    let (gateway, plugin) = shop(json!({ "base_path": "/api" }));
    let create = || Request::post("/api/v1/shops/1/orders");
    let patch = |path: &str| Request::new(gatewright_sdk::Method::PATCH, path);
    for (request, body, status, says) in [
        (Request::get("/v1/orders/7"), "", 404, "no such method"),
        (Request::get("/api/v1/nothing"), "", 404, "no such method"),
        (Request::post("/api/v1/orders/7"), "", 405, "other methods"),
        (create(), r#"{"title": "#, 400, "EOF"),
        (create(), r#"{"title": 1}"#, 400, "string"),
        (create(), r#"{"titel": "t"}"#, 400, "titel"),
        (create(), r#"{"id": 9223372036854775808}"#, 400, "out of range"),
        (create(), r#"{"lines": [{"count": 2147483648}]}"#, 400, "out of range"),
        (create(), r#"{"token": "&"}"#, 400, "Invalid symbol"),
        (create(), r#"{"card": "c", "iban": "i"}"#, 400, "pay"),
        (create(), r#"{} {}"#, 400, "trailing"),
        (create(), r#"{"extra": {"@type": "type.googleapis.com/no.Such"}}"#, 400, "no.Such"),
        (Request::get("/api/v1/orders/7"), "{}", 400, "no body"),
        (Request::get("/api/v1/orders/7?colour=red"), "", 400, "\"colour\" of the query is not a field"),
        (Request::get("/api/v1/orders/7?pages=x"), "", 400, "\"pages\" of the query is not an integer"),
        (Request::get("/api/v1/orders/7?filter=x"), "", 400, "is a message"),
        (Request::get("/api/v1/orders/7?name.x=x"), "", 400, "no fields"),
        (patch("/api/v1/orders/x"), "{}", 400, "\"id\" in the path is not an integer"),
        (create().header("content-encoding", "gzip"), "{}", 415, "content coding"),
        (create().header("grpc-timeout", "soon"), "{}", 400, "no time"),
    ] {
        let shown = format!("{request:?} {body}");
        let refused = sent(&gateway, &plugin, request, body, "Order").unwrap_err();
        assert_eq!(refused["status"], status, "{shown}: {refused}");
        assert!(refused["detail"].as_str().unwrap().contains(says), "{shown}: {refused}");
        assert_eq!(refused["message"], refused["detail"]);
    }
    gateway.receive(Request::post("/api/v1/orders/7"));
    let Decision::Respond(response) = gateway.on_request(&plugin) else { panic!() };
    assert_eq!(response.header("allow"), Some("GET, PATCH"));
}

#[test]
fn what_is_not_known_can_be_left_out() {
    let (gateway, plugin) = shop(json!({ "unknown_fields": "ignore", "unknown_arguments": "ignore" }));
    let request = Request::post("/v1/shops/1/orders?utm=1");
    let (_, messages) = sent(&gateway, &plugin, request, r#"{"titel":"t","id":1}"#, "CreateRequest").unwrap();
    assert_eq!(messages, [json!({ "parent": "shops/1", "order": { "id": "1" } })]);
    let (gateway, plugin) = shop(json!({ "pass_unknown": true, "ignored_arguments": ["key"] }));
    gateway.receive(Request::get("/elsewhere"));
    assert_eq!(gateway.on_request(&plugin), Decision::Proceed);
    assert_eq!((gateway.path().as_str(), gateway.body_mode(Direction::Request)), ("/elsewhere", BodyMode::Skip));
    assert!(sent(&gateway, &plugin, Request::get("/v1/orders/1?key=k"), "", "GetRequest").is_ok());
    gateway.receive(Request::post("/shop.v1.Orders/Get").header("content-type", "application/grpc+proto"));
    assert_eq!(gateway.on_request(&plugin), Decision::Proceed);
    assert_eq!(gateway.body_mode(Direction::Request), BodyMode::Skip, "it is a call already");
}

#[test]
fn heads_become_metadata() {
    let (gateway, plugin) = shop(json!({ "timeout_header": "x-timeout", "timeout": "2s" }));
    for (asked, left) in [(Some("0.5"), "500000u"), (Some("10S"), "2000000u"), (None, "2000000u")] {
        let request = Request::get("/v1/orders/7").header("authorization", "Bearer t").header("accept", "text/html");
        gateway.receive(asked.into_iter().fold(request, |request, asked| request.header("x-timeout", asked)));
        assert_eq!(gateway.on_request(&plugin), Decision::Proceed);
        assert_eq!(gateway.request_header("grpc-timeout").as_deref(), Some(left));
        assert_eq!(gateway.request_header("authorization").as_deref(), Some("Bearer t"));
        assert_eq!(gateway.request_header("accept"), None);
    }
}

/// The response to `path`: its status, its media type, and its body.
fn answered(
    plugin: &GrpcJson,
    gateway: &Double,
    request: Request,
    chunks: &[&[u8]],
    trailers: &[(&str, &str)],
) -> (u16, String, String) {
    gateway.receive(request);
    assert_eq!(gateway.on_request(plugin), Decision::Proceed);
    gateway.respond(
        StatusCode::OK,
        &[("content-type", "application/grpc"), ("x-server", "s"), ("grpc-encoding", "identity")],
    );
    assert_eq!(gateway.on_response(plugin), Decision::Proceed);
    gateway.trailers(trailers);
    match gateway.response_body(plugin, chunks) {
        Ok(body) => {
            assert_eq!(gateway.response_header("grpc-encoding"), None);
            let kind = gateway.response_header("content-type").unwrap_or_default();
            (gateway.status(), kind, String::from_utf8(body).unwrap())
        }
        Err(BodyDecision::Respond(response)) => {
            assert!(response.status == StatusCode::BAD_GATEWAY || response.header("x-server") == Some("s"));
            let kind = response.header("content-type").unwrap_or_default().to_owned();
            (response.status.as_u16(), kind, String::from_utf8(response.body).unwrap())
        }
        Err(BodyDecision::Abort) => (0, String::new(), String::new()),
        Err(other) => panic!("{other:?}"),
    }
}

const OK: &[(&str, &str)] = &[("grpc-status", "0")];

#[test]
fn answers_become_json() {
    let (gateway, plugin) = shop(json!({}));
    let get = || Request::get("/v1/orders/7");
    let order = framed("Order", json!({ "id": "7", "lines": [{ "sku": "a" }], "view": "FULL" }));
    let json = "application/json".to_owned();
    let body = r#"{"id":"7","lines":[{"sku":"a"}],"view":"FULL"}"#.to_owned();
    let trailers = [OK, &[("x-cost", "3")]].concat();
    assert_eq!(answered(&plugin, &gateway, get(), &[&order], &trailers), (200, json.clone(), body));
    assert_eq!(gateway.response_header("x-cost").as_deref(), Some("3"));
    let lines = Request::get("/v1/orders/7/lines");
    assert_eq!(answered(&plugin, &gateway, lines, &[&order], OK), (200, json.clone(), r#"[{"sku":"a"}]"#.to_owned()));
    let picture = frame::of(b"\x0a\x09image/png\x12\x03abc");
    let (status, kind, body) = answered(&plugin, &gateway, Request::get("/v1/orders/7/picture"), &[&picture], OK);
    assert_eq!((status, kind.as_str(), body.as_str()), (200, "image/png", "abc"));

    let details = DynamicMessage::deserialize(
        plugin.schema.pool().get_message_by_name("google.rpc.Status").unwrap(),
        json!({ "code": 9, "details": [{ "@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "R" }] }),
    );
    let details = gatewright_transcoding::Status { details: Some(details.unwrap().encode_to_vec()), ..no() }.fields();
    let trailers: Vec<(&str, &str)> = details.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let (status, kind, body) = answered(&plugin, &gateway, get(), &[], &trailers);
    assert_eq!((status, kind), (400, json));
    let expected = json!({ "code": 9, "message": "no: ü",
        "details": [{ "@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "R" }] });
    assert_eq!(serde_json::from_str::<Value>(&body).unwrap(), expected);
}

fn no() -> gatewright_transcoding::Status {
    gatewright_transcoding::Status::new(gatewright_transcoding::Code::FailedPrecondition, "no: ü")
}

#[test]
fn answers_that_are_none() {
    let (gateway, plugin) = shop(json!({}));
    let order = framed("Order", json!({ "id": "7" }));
    let mut compressed = order.clone();
    compressed[0] = 1;
    let cut = &order[..order.len() - 1];
    for (body, trailers, status, says) in [
        (&*order, &[][..], 502, "without a status"),
        (cut, OK, 502, "not one message"),
        (&[], OK, 502, "not one message"),
        (&compressed, OK, 502, "compressed"),
        (&[order.clone(), order.clone()].concat(), OK, 502, "not one message"),
        (&frame::of(b"\xff"), OK, 502, "no message of its type"),
        (&order, &[("grpc-status", "16")], 401, "16"),
    ] {
        let (found, _, body) = answered(&plugin, &gateway, Request::get("/v1/orders/7"), &[body], trailers);
        assert_eq!(found, status, "{body}");
        assert!(body.contains(says), "{body}");
    }
}

#[test]
fn streams_come_message_by_message() {
    let (gateway, plugin) = shop(json!({}));
    let watch = |accept: &str| Request::get("/v1/orders/7:watch").header("accept", accept);
    let frames = [framed("Order", json!({ "id": "1" })), framed("Order", json!({ "title": "b" }))].concat();
    let broken = &[("grpc-status", "14"), ("grpc-message", "gone")];
    for (accept, trailers, expected) in [
        ("*/*", OK, r#"[{"id":"1"},{"title":"b"}]"#),
        ("application/x-ndjson", OK, "{\"id\":\"1\"}\n{\"title\":\"b\"}\n"),
        ("text/event-stream", OK, "data: {\"id\":\"1\"}\n\ndata: {\"title\":\"b\"}\n\n"),
        ("*/*", broken, r#"[{"id":"1"},{"title":"b"},{"error":{"code":14,"message":"gone"}}]"#),
        (
            "text/event-stream",
            broken,
            "data: {\"id\":\"1\"}\n\ndata: {\"title\":\"b\"}\n\nevent: error\ndata: {\"error\":{\"code\":14,\"message\":\"gone\"}}\n\n",
        ),
    ] {
        let whole: [&[u8]; 1] = [&frames];
        let bytes: Vec<&[u8]> = frames.chunks(1).chain([&b""[..]]).collect();
        for chunks in [&whole[..], &bytes] {
            let (status, _, body) = answered(&plugin, &gateway, watch(accept), chunks, trailers);
            assert_eq!((status, body.as_str()), (200, expected), "{accept}");
        }
    }
    assert_eq!(answered(&plugin, &gateway, watch("*/*"), &[b""], OK).2, "[]");
    // A truncated response is broken off.
    assert_eq!(answered(&plugin, &gateway, watch("*/*"), &[&frames[..3]], OK).0, 0);
    assert_eq!(answered(&plugin, &gateway, watch("*/*"), &[b"\0\xff\xff\xff\xff", b""], OK).0, 0);
}

#[test]
fn lines_become_messages() {
    let (gateway, plugin) = shop(json!({}));
    for body in ["{\"id\":1}\n{\"title\":\"b\"}\n", "[{\"id\":1},{\"title\":\"b\"}]"] {
        let letters: Vec<&[u8]> = body.as_bytes().chunks(1).chain([&b""[..]]).collect();
        gateway.receive(Request::post("/v1/orders:import"));
        assert_eq!(gateway.on_request(&plugin), Decision::Proceed);
        let frames = gateway.request_body(&plugin, &letters).unwrap();
        assert_eq!(messages("Order", &frames), [json!({ "id": "1" }), json!({ "title": "b" })]);
    }
    gateway.receive(Request::post("/v1/orders:import"));
    assert_eq!(gateway.on_request(&plugin), Decision::Proceed);
    let Err(BodyDecision::Respond(response)) = gateway.request_body(&plugin, &[b"{\"id\":1}\n{\"id\":"]) else {
        panic!()
    };
    assert_eq!(response.status, 400);
}

#[test]
fn bad_configurations_are_refused_by_name() {
    let rule = |rule: &str| {
        json!({ "protos": { "a.proto": format!("syntax = \"proto3\"; import \"google/api/annotations.proto\";
            message M {{ string a = 1; repeated int32 r = 2; M m = 3; }}
            service S {{ rpc A(M) returns (M) {{ option (google.api.http) = {{ {rule} }}; }}
              rpc B(M) returns (M) {{ option (google.api.http) = {{ get: \"/b/{{a}}\" }}; }} }}") } })
    };
    for (config, named) in [
        (json!({}), "one of"),
        (json!({ "descriptor_set": "", "protos": { "a.proto": "" } }), "exclude"),
        (json!({ "descriptor_set": "&" }), "descriptor_set: it is not base64"),
        (json!({ "descriptor_set": "/////w==" }), "descriptor_set"),
        (json!({ "protos": { "a.proto": "syntax = \"proto3\";\nmessage {}" } }), "a.proto:2:9"),
        (json!({ "protos": { "a.proto": "syntax = \"proto3\";\nimport \"b.proto\";" } }), "b.proto"),
        (json!({ "protos": { "a.proto": "syntax = \"proto3\";" } }), "no service"),
        (json!({ "protos": { "shop.proto": SHOP }, "services": ["shop.v1.Order"] }), "but shop.v1.Orders"),
        (json!({ "protos": { "shop.proto": SHOP }, "timeout_header": "te" }), "timeout_header"),
        (rule("get: \"/a/{b}\""), "/S/A: \"/a/{b}\": the variable \"b\" is not a field"),
        (rule("get: \"/a/{r}\""), "the variable \"r\" repeats"),
        (rule("get: \"/a/{m}\""), "the variable \"m\" is a message"),
        (rule("get: \"a\""), "column 1"),
        (rule("get: \"/b/{a=*}\""), "is there twice"),
        (rule("post: \"/a\" body: \"x\""), "the body \"x\" is no field of M"),
        (rule("get: \"/a\" response_body: \"x\""), "the response body \"x\""),
        (rule("body: \"*\""), "no method of HTTP"),
    ] {
        let refused = Double::new().configure::<GrpcJson>(&config.to_string()).unwrap_err();
        assert!(refused.contains(named), "{config}: {refused}");
    }
}
