#![allow(clippy::unwrap_used)]

use gatewright_sdk::{
    Method, manifest,
    serde_json::json,
    testing::{Double, Request},
};

use super::*;

fn gateway(config: &Value) -> (Double, Validate) {
    let gateway = Double::new();
    let plugin = gateway.configure(&config.to_string()).unwrap();
    (gateway, plugin)
}

/// The status of a request's head, or of its body; 200 if it goes on.
fn sent(gateway: &Double, plugin: &Validate, request: Request, body: Option<&str>) -> u16 {
    gateway.receive(request);
    match gateway.on_request(plugin) {
        Decision::Respond(response) => return response.status.as_u16(),
        decision => assert_eq!(decision, Decision::Proceed),
    }
    match body.map(|body| gateway.request_body(plugin, &[body.as_bytes()])) {
        Some(Err(BodyDecision::Respond(response))) => response.status.as_u16(),
        Some(Err(other)) => panic!("{other:?}"),
        _ => 200,
    }
}

fn post(kind: &str) -> Request {
    Request::post("/").header("content-type", kind)
}

#[test]
fn bodies() {
    let (gateway, plugin) = gateway(&json!({ "body": { "type": "object" } }));
    assert_eq!(sent(&gateway, &plugin, post("application/json; charset=utf-8"), Some("{}")), 200);
    assert_eq!(gateway.checked().pop(), Some(("body".to_owned(), String::new(), json!({}))));
    assert_eq!(sent(&gateway, &plugin, post("application/json"), Some("{")), 400);
    assert_eq!(sent(&gateway, &plugin, post("application/json"), Some(&"[".repeat(10_000))), 400);
    assert_eq!(sent(&gateway, &plugin, post("text/plain"), Some("{}")), 415);
    assert_eq!(sent(&gateway, &plugin, Request::post("/"), Some("{}")), 415);
    assert_eq!(sent(&gateway, &plugin, post("application/json").header("content-encoding", "gzip"), Some("{}")), 415);
    assert_eq!(sent(&gateway, &plugin, Request::new(Method::PUT, "/"), None), 400, "there is no body");
    assert_eq!(sent(&gateway, &plugin, Request::get("/"), None), 200);
    gateway.violation("body", "", "/a/0", "it is too long");
    gateway.receive(post("application/json"));
    let _ = gateway.on_request(&plugin);
    let Err(BodyDecision::Respond(response)) = gateway.request_body(&plugin, &[b"{}"]) else { panic!() };
    assert_eq!((response.status.as_u16(), response.header("content-type")), (422, Some("application/problem+json")));
    let problem: Value = serde_json::from_slice(&response.body).unwrap();
    assert_eq!(problem["errors"], json!([{ "in": "body", "pointer": "/a/0", "detail": "it is too long" }]));
}

#[test]
fn query_and_headers() {
    let (gateway, plugin) = gateway(&json!({
        "query": { "properties": { "n": { "type": "integer" } } },
        "headers": { "properties": { "x-n": { "type": "number" } } },
    }));
    assert_eq!(sent(&gateway, &plugin, Request::get("/?n=1&s=2").header("X-N", "1.5"), None), 200);
    let checked = gateway.checked();
    assert_eq!(checked[0], ("query".to_owned(), String::new(), json!({ "n": 1, "s": "2" })));
    assert_eq!(checked[1], ("headers".to_owned(), String::new(), json!({ "x-n": 1.5 })));
    gateway.violation("headers", "", "/x-n", "it is too small");
    assert_eq!(sent(&gateway, &plugin, Request::get("/"), None), 400);
}

fn pets() -> Value {
    json!({
        "openapi": "3.1.0",
        "info": { "title": "Pets", "version": "1" },
        "components": {
            "parameters": { "Limit": { "name": "limit", "in": "query", "schema": { "$ref": "#/components/schemas/Limit" } } },
            "schemas": { "Limit": { "type": "integer" }, "Pet": { "type": "object" } },
        },
        "paths": {
            "/pets": {
                "get": { "parameters": [
                    { "$ref": "#/components/parameters/Limit" },
                    { "name": "tags", "in": "query", "explode": false, "schema": { "type": "array" } },
                    { "name": "X-Trace", "in": "header", "required": true, "schema": { "type": "string" } },
                    { "name": "session", "in": "cookie", "schema": { "type": "integer" } },
                ] },
                "post": { "requestBody": { "required": true, "content": {
                    "application/json": { "schema": { "$ref": "#/components/schemas/Pet" } },
                    "image/*": {},
                } } },
            },
            "/pets/mine": { "get": {} },
            "/pets/{id}": {
                "parameters": [{ "name": "id", "in": "path", "required": true, "schema": { "type": "integer" } }],
                "get": {},
            },
        },
    })
}

#[test]
fn operations_are_found_by_path_and_method() {
    for (config, method, path, status) in [
        (json!({ "openapi": pets() }), Method::GET, "/pets/1", 200),
        (json!({ "openapi": pets().to_string() }), Method::GET, "/pets/1?x=1", 200),
        (json!({ "openapi": pets() }), Method::GET, "/pets/mine", 200),
        (json!({ "openapi": pets() }), Method::DELETE, "/pets/1", 405),
        (json!({ "openapi": pets() }), Method::GET, "/pets/1/2", 404),
        (json!({ "openapi": pets() }), Method::GET, "/pets/", 404),
        (json!({ "openapi": pets() }), Method::GET, "/", 404),
        (json!({ "openapi": pets(), "allow_unknown": true }), Method::DELETE, "/other", 200),
        (json!({ "openapi": pets(), "base_path": "/v1" }), Method::GET, "/v1/pets/1", 200),
        (json!({ "openapi": pets(), "base_path": "/v1" }), Method::GET, "/pets/1", 404),
    ] {
        let (gateway, plugin) = gateway(&config);
        assert_eq!(sent(&gateway, &plugin, Request::new(method.clone(), path), None), status, "{method} {path}");
    }
    let (gateway, plugin) = gateway(&json!({ "openapi": pets() }));
    gateway.receive(Request::new(Method::DELETE, "/pets"));
    let Decision::Respond(response) = gateway.on_request(&plugin) else { panic!() };
    assert_eq!(response.header("allow"), Some("GET, POST"));
}

#[test]
fn parameters_are_checked_where_they_are() {
    let (gateway, plugin) = gateway(&json!({ "openapi": pets() }));
    let request = || Request::get("/pets?limit=5&tags=a,b").header("x-trace", "t").header("cookie", "a=b; session=7");
    assert_eq!(sent(&gateway, &plugin, request(), None), 200);
    let checked: Vec<(String, Value)> = gateway.checked().into_iter().map(|(_, place, value)| (place, value)).collect();
    assert_eq!(
        checked,
        [
            ("/components/parameters/Limit/schema".to_owned(), json!(5)),
            ("/paths/~1pets/get/parameters/1/schema".to_owned(), json!(["a", "b"])),
            ("/paths/~1pets/get/parameters/2/schema".to_owned(), json!("t")),
            ("/paths/~1pets/get/parameters/3/schema".to_owned(), json!(7)),
        ]
    );
    assert_eq!(sent(&gateway, &plugin, Request::get("/pets"), None), 400, "a required header is missing");
    assert_eq!(sent(&gateway, &plugin, Request::get("/pets/a%20b"), None), 200);
    let last = gateway.checked().pop();
    assert_eq!(last, Some(("openapi".to_owned(), "/paths/~1pets~1{id}/parameters/0/schema".to_owned(), json!("a b"))));
    gateway.violation("openapi", "/paths/~1pets~1{id}/parameters/0/schema", "", "it is no integer");
    gateway.receive(Request::get("/pets/x"));
    let Decision::Respond(response) = gateway.on_request(&plugin) else { panic!() };
    let problem: Value = serde_json::from_slice(&response.body).unwrap();
    assert_eq!(problem["errors"], json!([{ "in": "path", "pointer": "/id", "detail": "it is no integer" }]));
}

#[test]
fn bodies_of_operations() {
    let (gateway, plugin) = gateway(&json!({ "openapi": pets() }));
    let post = |kind: &str| Request::post("/pets").header("content-type", kind);
    assert_eq!(sent(&gateway, &plugin, post("application/json"), Some("{}")), 200);
    assert_eq!(gateway.checked().pop().unwrap().1, "/paths/~1pets/post/requestBody/content/application~1json/schema");
    assert_eq!(sent(&gateway, &plugin, post("image/png"), None), 200);
    assert_eq!(gateway.body_mode(Direction::Request), BodyMode::Skip, "there is no schema for it");
    assert_eq!(sent(&gateway, &plugin, post("text/plain"), None), 415);
    assert_eq!(sent(&gateway, &plugin, Request::new(Method::POST, "/pets"), None), 400);
}

#[test]
fn a_body_is_checked_by_what_the_request_was_at_its_place() {
    let place = "/paths/~1pets/post/requestBody/content/application~1json/schema";
    for config in [json!({ "openapi": pets() }), json!({ "openapi": pets(), "allow_unknown": true })] {
        let (gateway, plugin) = gateway(&config);
        let posted = || {
            gateway.receive(Request::post("/pets").header("content-type", "application/json"));
            assert_eq!(gateway.on_request(&plugin), Decision::Proceed);
            // A later plugin changes the request, before the body arrives.
            gateway.behind(Direction::Request, |exchange| {
                exchange.set_path("/elsewhere").unwrap();
                exchange.set_method(&Method::PUT).unwrap();
                exchange.request_headers().set("content-type", "text/plain").unwrap();
            });
            gateway.request_body(&plugin, &[b"{}"])
        };
        assert_eq!(posted(), Ok(b"{}".to_vec()));
        assert_eq!(gateway.checked().pop().unwrap().1, place);
        gateway.violation("openapi", place, "", "it has no name");
        assert!(matches!(posted(), Err(BodyDecision::Respond(response)) if response.status.as_u16() == 422));
    }
}

#[test]
fn what_others_could_read_differently_is_refused() {
    let (gateway, plugin) = gateway(&json!({ "body": {}, "query": {} }));
    assert_eq!(sent(&gateway, &plugin, post("application/json"), Some(r#"{"n":"x","n":1}"#)), 400, "a member twice");
    for other in ["application/json", "text/plain"] {
        let several = post("application/json").header("content-type", other);
        assert_eq!(sent(&gateway, &plugin, several, Some("{}")), 400, "several types");
    }
    let many = format!("/?{}", "x&".repeat(1000));
    assert_eq!(sent(&gateway, &plugin, Request::get(&many), None), 200);
    assert_eq!(sent(&gateway, &plugin, Request::get(&format!("{many}id=evil")), None), 400, "more than are checked");
}

#[test]
fn bad_configurations_are_refused_by_name() {
    let circle = json!({ "$ref": "#/components/parameters/A" });
    for (config, named) in [
        (json!({ "openapi": { "openapi": "3.0.3", "paths": {} } }), "3.0.3"),
        (json!({ "openapi": "{" }), "openapi: it is not JSON"),
        (json!({ "openapi": { "openapi": "3.1.0" } }), "paths"),
        (json!({ "openapi": { "openapi": "3.1.0", "paths": { "pets": {} } } }), "pets"),
        (json!({ "openapi": { "openapi": "3.1.0", "paths": { "/a-{b}": {} } } }), "a-{b}"),
        (json!({ "openapi": { "openapi": "3.1.0", "paths": { "/a": { "$ref": "other.json" } } } }), "other.json"),
        (
            json!({ "openapi": { "openapi": "3.1.0", "paths": { "/a": { "parameters": [circle] } }, "components": { "parameters": { "A": circle } } } }),
            "circle",
        ),
        (json!({ "openapi": pets(), "base_path": "v1" }), "base_path"),
        (json!({ "body": {}, "content_types": [] }), "content_types"),
        (json!({ "body": "{" }), "body"),
        (json!({ "bodies": {} }), "bodies"),
    ] {
        let refused = Double::new().configure::<Validate>(&config.to_string()).unwrap_err();
        assert!(refused.contains(named), "{config}: {refused}");
    }
    assert!(!manifest::<Validate>().contains("\"$ref\""));
}
