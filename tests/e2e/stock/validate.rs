//! `validate`: schemas and an OpenAPI document against real requests.

use gatewright_tests::{Client, Server, TestGateway, compress, send};
use serde_json::{Value, json};

const JSON: (&str, &str) = ("content-type", "application/json");

async fn start(plugins: Value) -> (TestGateway, Server) {
    let behind = Server::named("behind").await;
    let gateway = TestGateway::start(json!({
        "shutdown": { "drain_timeout": "50ms" },
        "upstreams": { "behind": [behind.text()] },
        "routes": [{ "match": {}, "plugins": plugins, "to": "behind" }],
    }));
    (gateway, behind)
}

fn schema() -> Value {
    json!({
        "type": "object", "required": ["sku", "count"], "additionalProperties": false,
        "properties": { "sku": { "pattern": "^(a+)+$" }, "count": { "type": "integer", "minimum": 1 }, "mail": { "format": "email" } },
    })
}

#[tokio::test]
async fn bodies_are_checked_and_told_where_they_are_wrong() {
    let (gateway, behind) = start(json!([{ "validate": { "body": schema() } }])).await;
    for mut client in [Client::http1(gateway.address()).await, Client::http2(gateway.address()).await] {
        let good = r#"{ "sku": "aa",  "count": 2 }"#;
        assert_eq!(client.send("POST", "/", &[JSON], good).await.unwrap().status, 200);
        assert_eq!(behind.received().pop().unwrap().body, good, "it goes on byte for byte");
        for (body, places) in [
            (r#"{"sku":"aa"}"#, vec![""]),
            (r#"{"sku":"b","count":0,"mail":"hunter2"}"#, vec!["/count", "/mail", "/sku"]),
            (r#"{"sku":"aa","count":1,"more":1}"#, vec![""]),
            ("[]", vec![""]),
            (&format!(r#"{{"sku":"{}!","count":1}}"#, "a".repeat(50_000)), vec!["/sku"]),
        ] {
            let answer = client.send("POST", "/", &[JSON], body.to_owned()).await.unwrap();
            let problem = answer.problem(422);
            let errors = problem["errors"].as_array().unwrap();
            let mut found: Vec<&str> = errors.iter().map(|error| error["pointer"].as_str().unwrap()).collect();
            found.sort_unstable();
            assert_eq!(found, places, "{problem}");
            assert!(!answer.text().contains("hunter2"));
        }
    }
    let deep = ["[".repeat(10_000), "]".repeat(10_000)].concat();
    for body in ["{", "nonsense", deep.as_str()] {
        gateway.post("/", &[JSON], body).await.problem(400);
    }
    gateway.post("/", &[JSON], "").await.problem(400);
    gateway.post("/", &[("content-type", "text/plain")], "{}").await.problem(415);
    gateway.post("/", &[JSON, ("content-encoding", "gzip")], "x").await.problem(415);
    gateway.post("/", &[JSON], &format!("[{}1]", "1,".repeat(600_000))).await.problem(413);
    assert_eq!(gateway.get("/").await.status, 200);
    assert_eq!(behind.received().len(), 3);
}

#[tokio::test]
async fn compressed_bodies_are_checked_behind_decompress() {
    let (gateway, behind) = start(json!(["decompress", { "validate": { "body": schema() } }])).await;
    let headers = [JSON, ("content-encoding", "zstd")];
    let good = send(gateway.address(), "POST", "/", &headers, compress("zstd", br#"{"sku":"a","count":1}"#)).await;
    assert_eq!(good.status, 200);
    send(gateway.address(), "POST", "/", &headers, compress("zstd", br#"{"sku":"a","count":0}"#)).await.problem(422);
    assert_eq!(behind.only().body, r#"{"sku":"a","count":1}"#);
}

#[tokio::test]
async fn query_and_headers_are_read_as_their_schema_says() {
    let query = json!({ "properties": { "n": { "type": "integer", "maximum": 9 }, "on": { "type": "boolean" } }, "additionalProperties": false });
    let headers = json!({ "required": ["x-tenant"], "properties": { "x-tenant": { "pattern": "^[a-z]+$" } } });
    let (gateway, _behind) = start(json!([{ "validate": { "query": query, "headers": headers } }])).await;
    for (target, tenant, status) in [
        ("/?n=9&on=true", "shop", 200),
        ("/", "shop", 200),
        ("/?n=10", "shop", 400),
        ("/?n=x", "shop", 400),
        ("/?n=1&n=2", "shop", 400),
        ("/?on=1", "shop", 400),
        ("/?more", "shop", 400),
        ("/", "Shop", 400),
    ] {
        assert_eq!(gateway.get_with(target, &[("x-tenant", tenant)]).await.status, status, "{target} {tenant}");
    }
    let problem = gateway.get("/?n=10").await.problem(400);
    assert_eq!(problem["errors"][0]["in"], "query");
    assert_eq!(problem["errors"][1]["in"], "header");
}

fn pets() -> Value {
    json!({
        "openapi": "3.1.0",
        "info": { "title": "Pets", "version": "1" },
        "components": { "schemas": {
            "Id": { "type": "integer", "minimum": 1 },
            "Pet": { "type": "object", "required": ["name"], "properties": { "name": { "type": "string" }, "parent": { "$ref": "#/components/schemas/Pet" } } },
        } },
        "paths": {
            "/pets": {
                "get": { "parameters": [
                    { "name": "limit", "in": "query", "schema": { "type": "integer", "maximum": 100 } },
                    { "name": "tag", "in": "query", "schema": { "type": "array", "items": { "enum": ["a", "b"] } } },
                ] },
                "post": { "requestBody": { "required": true, "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Pet" } } } } },
            },
            "/pets/{id}": {
                "parameters": [{ "name": "id", "in": "path", "required": true, "schema": { "$ref": "#/components/schemas/Id" } }],
                "get": {},
            },
        },
    })
}

#[tokio::test]
async fn requests_are_what_the_document_has() {
    // As text, like a file that is put in.
    for openapi in [pets(), json!(pets().to_string())] {
        let (gateway, behind) = start(json!([{ "validate": { "openapi": openapi, "base_path": "/v1" } }])).await;
        let mut passed = 0;
        for (method, target, body, status) in [
            ("GET", "/v1/pets?limit=5&tag=a&tag=b", "", 200),
            ("GET", "/v1/pets?limit=101", "", 400),
            ("GET", "/v1/pets?limit=x", "", 400),
            ("GET", "/v1/pets?tag=c", "", 400),
            ("GET", "/v1/pets/7", "", 200),
            ("GET", "/v1/pets/0", "", 400),
            ("GET", "/v1/pets/x", "", 400),
            ("GET", "/v1/pets/7/x", "", 404),
            ("GET", "/pets", "", 404),
            ("DELETE", "/v1/pets/7", "", 405),
            ("POST", "/v1/pets", r#"{"name":"Rex","parent":{"name":"Max"}}"#, 200),
            ("POST", "/v1/pets", r#"{"name":"Rex","parent":{"name":1}}"#, 422),
            ("POST", "/v1/pets", "{}", 422),
            ("POST", "/v1/pets", "", 400),
        ] {
            let answer = send(gateway.address(), method, target, &[JSON], body).await;
            assert_eq!(answer.status, status, "{method} {target} {body}: {}", answer.text());
            passed += usize::from(status == 200);
        }
        let nested = gateway.post("/v1/pets", &[JSON], r#"{"name":"Rex","parent":{"name":1}}"#).await.problem(422);
        assert_eq!(nested["errors"][0]["pointer"], "/parent/name");
        assert_eq!(behind.received().len(), passed);
    }
}

#[tokio::test]
async fn bad_schemas_are_told_where_the_configuration_is_loaded() {
    for (config, named) in [
        (json!({ "body": { "pattern": "(?=a)" } }), "pattern"),
        (json!({ "body": { "type": "text" } }), "text"),
        (json!({ "body": { "$ref": "https://example.org/s.json" } }), "example.org"),
        (json!({ "openapi": { "openapi": "3.0.3", "paths": {} } }), "3.0.3"),
        (json!({}), "validate"),
    ] {
        let tried =
            TestGateway::try_start(json!({ "routes": [{ "match": {}, "plugins": [{ "validate": config }, "echo"] }] }));
        let error = tried.err().unwrap_or_else(|| panic!("{config} is taken")).to_string();
        assert!(error.contains(named), "{config}: {error}");
    }
}

#[tokio::test]
async fn a_body_is_checked_whatever_a_later_plugin_makes_of_the_request() {
    let rewrite = json!({ "rewrite": { "rules": [{ "path": "/elsewhere", "headers": { "set": { "content-type": "text/plain" } } }] } });
    for unknown in [false, true] {
        let validate = json!({ "validate": { "openapi": pets(), "allow_unknown": unknown } });
        let (gateway, behind) = start(json!([validate, rewrite])).await;
        assert_eq!(gateway.post("/pets", &[JSON], r#"{"name":"Rex"}"#).await.status, 200);
        gateway.post("/pets", &[JSON], r#"{"name":1}"#).await.problem(422);
        assert_eq!(behind.only().target, "/elsewhere");
    }
}

#[tokio::test]
async fn what_could_be_read_in_two_ways_reaches_nobody() {
    let query = json!({ "properties": { "id": { "enum": ["1"] } } });
    let (gateway, behind) = start(json!([{ "validate": { "body": schema(), "query": query } }])).await;
    let twice = gateway.post("/", &[JSON], r#"{"sku":"a","count":"x","count":1}"#).await;
    assert!(twice.problem(400)["detail"].as_str().unwrap().contains("twice"));
    gateway.post("/", &[JSON, ("content-type", "text/plain")], r#"{"sku":"a","count":1}"#).await.problem(400);
    gateway.get(&format!("/?{}id=evil", "x&".repeat(1000))).await.problem(400);
    assert!(behind.received().is_empty());
    assert_eq!(gateway.get(&format!("/?id=1&{}", "x&".repeat(999))).await.status, 200);
}
