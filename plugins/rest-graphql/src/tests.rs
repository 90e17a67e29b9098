#![allow(clippy::unwrap_used)]

use gatewright_sdk::{
    manifest,
    serde_json::{self, json},
    testing::{Double, Request},
};

use super::*;

fn config(more: serde_json::Value) -> serde_json::Value {
    let mut config = json!({
        "path": "/users/{id}",
        "query": "query User($id: ID!, $first: Int, $tags: [String!]) { user(id: $id) { orders(first: $first, tags: $tags) { id } } }",
        "variables": { "id": "$(path.id)", "first": "$(query.first)", "tags": "$(query.tags)" },
        "result": "/user",
    });
    config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    config
}

fn plugin(more: serde_json::Value) -> (Double, RestGraphql) {
    let gateway = Double::new();
    let plugin = gateway.configure(&config(more).to_string()).unwrap();
    (gateway, plugin)
}

/// The body for the upstream, or the response to the client.
fn ask(
    gateway: &Double,
    plugin: &RestGraphql,
    request: Request,
    body: &str,
) -> Result<serde_json::Value, (u16, String)> {
    gateway.receive(request);
    let decided = match gateway.on_request(plugin) {
        Decision::Proceed => gateway.request_body(plugin, &[body.as_bytes()]),
        Decision::Respond(response) => Err(BodyDecision::Respond(response)),
        Decision::Abort => panic!("aborted"),
    };
    match decided {
        Ok(sent) => Ok(serde_json::from_slice(&sent).unwrap()),
        Err(BodyDecision::Respond(response)) => Err(shown(&response)),
        Err(other) => panic!("{other:?}"),
    }
}

fn shown(response: &Response) -> (u16, String) {
    let body: serde_json::Value = serde_json::from_slice(&response.body).unwrap();
    (response.status.as_u16(), body["detail"].as_str().unwrap_or_default().to_owned())
}

#[test]
fn a_request_becomes_the_stored_query() {
    let (gateway, plugin) = plugin(json!({ "operation": "User", "endpoint": "/api/graphql" }));
    let request =
        Request::get("/users/4%2F2?first=10&tags=a,b").header("if-none-match", "\"x\"").header("cookie", "s=1");
    let sent = ask(&gateway, &plugin, request, "").unwrap();
    assert_eq!(sent["variables"], json!({ "id": "4/2", "first": 10, "tags": ["a", "b"] }));
    assert_eq!((&sent["operationName"], sent["query"].as_str().unwrap().len()), (&json!("User"), 115));
    assert_eq!((gateway.method().as_str(), gateway.path().as_str()), ("POST", "/api/graphql"));
    let header = |name| gateway.request_header(name);
    assert_eq!(header("content-type").as_deref(), Some("application/json"));
    assert!(header("accept").unwrap().starts_with("application/graphql-response+json"));
    assert_eq!((header("if-none-match"), header("cookie").as_deref()), (None, Some("s=1")));

    let sent = ask(&gateway, &plugin, Request::get("/users/7"), "").unwrap();
    assert_eq!(sent["variables"], json!({ "id": "7" }), "what is not there is left out");
}

#[test]
fn values_have_the_declared_types() {
    let (gateway, plugin) = plugin(json!({}));
    for (path, expected) in [
        ("/users/7?first=x", (400, "The value of \"first\" has to be a whole number of 32 bits.")),
        ("/users/7?first=99999999999", (400, "The value of \"first\" has to be a whole number of 32 bits.")),
        ("/users/7?first=", (400, "The value of \"first\" has to be a whole number of 32 bits.")),
        ("/users/", (404, "There is nothing at this path.")),
        ("/users", (404, "There is nothing at this path.")),
    ] {
        let refused = ask(&gateway, &plugin, Request::get(path), "").unwrap_err();
        assert_eq!((refused.0, refused.1.as_str()), expected, "{path}");
    }
    let body = json!({ "path": null, "variables": { "id": "$(body/id)" } });
    let (gateway, plugin) = self::plugin(body);
    let post = || Request::post("/x").header("content-type", "application/json");
    assert_eq!(ask(&gateway, &plugin, post(), r#"{"id":7}"#).unwrap()["variables"], json!({ "id": "7" }));
    for (request, body, status) in [
        (post(), "{", 400),
        (post(), "{}", 400),
        (post(), r#"{"id":null}"#, 400),
        (post(), r#"{"id":[1]}"#, 400),
        (post(), "", 400),
        (Request::post("/x").header("content-type", "text/plain"), "{}", 415),
        (post().header("content-encoding", "gzip"), "{}", 415),
    ] {
        assert_eq!(ask(&gateway, &plugin, request, body).unwrap_err().0, status, "{body}");
    }
}

/// The client's view of an upstream's response.
fn answer(more: serde_json::Value, status: u16, kind: &str, body: &str) -> (u16, String) {
    let (gateway, plugin) = plugin(more);
    ask(&gateway, &plugin, Request::get("/users/7"), "").unwrap();
    gateway.respond(StatusCode::from_u16(status).unwrap(), &[("content-type", kind), ("etag", "\"x\"")]);
    match gateway.on_response(&plugin) {
        Decision::Proceed => {}
        Decision::Respond(response) => return shown(&response),
        Decision::Abort => panic!("aborted"),
    }
    match gateway.response_body(&plugin, &[body.as_bytes()]) {
        Ok(body) => {
            assert_eq!(gateway.response_header("content-type").as_deref(), Some("application/json"));
            assert_eq!(gateway.response_header("etag"), None);
            (gateway.status(), String::from_utf8(body).unwrap())
        }
        Err(BodyDecision::Respond(response)) => shown(&response),
        Err(other) => panic!("{other:?}"),
    }
}

#[test]
fn what_a_response_means() {
    let error =
        |code: &str| format!(r#"{{"errors":[{{"message":"secret","extensions":{{"code":"{code}"}}}}],"data":null}}"#);
    let partly = r#"{"data":{"user":{"n":1.10}},"errors":[{"message":"secret","path":["user","x"]}]}"#;
    let spec = "application/graphql-response+json; charset=utf-8";
    let failed = (502, "The query failed.");
    let unreadable = (502, "The upstream's answer could not be read.");
    for (more, status, kind, body, expected) in [
        (json!({}), 200, spec, r#"{"data":{"user":{"n":1.10}}}"#, (200, r#"{"n":1.10}"#)),
        (
            json!({ "status": 201, "result": "" }),
            200,
            "application/json",
            r#"{"data":{"user":1}}"#,
            (201, r#"{"user":1}"#),
        ),
        (json!({}), 200, spec, r#"{"data":{"user":null}}"#, (404, "There is nothing here.")),
        (json!({}), 200, spec, r#"{"data":null}"#, (404, "There is nothing here.")),
        (json!({ "missing": 200 }), 200, spec, r#"{"data":{"user":null}}"#, (200, "null")),
        (json!({}), 200, spec, partly, failed),
        (json!({ "partial": "pass" }), 200, spec, partly, (200, r#"{"n":1.10}"#)),
        (json!({ "partial": "pass" }), 200, spec, &partly.replace("{\"n\":1.10}", "null"), failed),
        (json!({}), 200, spec, &error("UNAUTHENTICATED"), (401, "The query was refused.")),
        (json!({}), 400, spec, &error("BAD_USER_INPUT"), (400, "The query was refused.")),
        (json!({ "messages": true }), 200, spec, &error("FORBIDDEN"), (403, "secret")),
        (json!({ "messages": true }), 200, spec, &error("OTHER"), failed),
        (
            json!({ "errors": { "OTHER": 409, "FORBIDDEN": 404 } }),
            200,
            spec,
            &error("OTHER"),
            (409, "The query was refused."),
        ),
        (json!({ "errors": { "FORBIDDEN": 404 } }), 200, spec, &error("FORBIDDEN"), (404, "The query was refused.")),
        (json!({}), 500, spec, r#"{"errors":[{"message":"secret"}]}"#, failed),
        (json!({}), 200, spec, "{", unreadable),
        (json!({}), 200, spec, "[]", unreadable),
        (json!({}), 200, spec, "{}", unreadable),
        (json!({}), 200, spec, r#"{"data":{},"errors":"x"}"#, unreadable),
        (json!({}), 200, "text/html", "<html>", unreadable),
        (json!({}), 503, "text/plain", "secret", unreadable),
    ] {
        let have = answer(more.clone(), status, kind, body);
        assert_eq!((have.0, have.1.as_str()), expected, "{more} {body}");
    }
}

#[test]
fn what_is_a_problem_already_stays_one() {
    let (gateway, plugin) = plugin(json!({}));
    ask(&gateway, &plugin, Request::get("/users/7"), "").unwrap();
    gateway.respond(StatusCode::SERVICE_UNAVAILABLE, &[("content-type", "application/problem+json")]);
    assert_eq!(gateway.on_response(&plugin), Decision::Proceed);
    assert_eq!(gateway.response_body(&plugin, &[b"{}"]).unwrap(), b"{}");
}

#[test]
fn bad_configurations_are_refused_by_name() {
    for (more, named) in [
        (json!({ "query": "{ a" }), "query: at byte"),
        (json!({ "query": "subscription { a }" }), "subscription"),
        (json!({ "operation": "Other" }), "no operation \"Other\""),
        (json!({ "variables": {} }), "variables: the operation needs $id"),
        (
            json!({ "variables": { "id": "1", "x": 1 } }),
            "variables.x: the operation does not declare it; it declares id, first, tags",
        ),
        (json!({ "query": "{ a }" }), "variables.first: the operation declares none"),
        (json!({ "variables": { "id": "$(path.name)" } }), "variables.id: $(path.name)"),
        (json!({ "variables": { "id": { "a": ["$(parts.x)"] } } }), "variables.id: /a/0: $(parts.x)"),
        (json!({ "path": "users" }), "path: "),
        (json!({ "endpoint": "graphql" }), "endpoint: "),
        (json!({ "endpoint": "/$(query.x)" }), "endpoint: "),
        (json!({ "result": "user" }), "result: "),
        (json!({ "result": "/*" }), "more than one place"),
        (json!({ "status": 404 }), "status: 404 is not from 200 to 299"),
        (json!({ "missing": 500 }), "missing: 500 is not from 200 to 499"),
        (json!({ "errors": { "X": 200 } }), "errors.X: 200 is not from 400 to 599"),
        (json!({ "partial": "maybe" }), "maybe"),
        (json!({ "uri": "/" }), "uri"),
    ] {
        let refused = Double::new().configure::<RestGraphql>(&config(more.clone()).to_string()).err();
        let refused = refused.unwrap_or_else(|| panic!("{more} is accepted"));
        assert!(refused.contains(named), "{more}: {refused}");
    }
}

#[test]
fn the_schema_has_safe_defaults() {
    let manifest: serde_json::Value = serde_json::from_str(&manifest::<RestGraphql>()).unwrap();
    let properties = &manifest["config-schema"]["properties"];
    for (key, value) in [
        ("endpoint", json!("/graphql")),
        ("messages", json!(false)),
        ("missing", json!(404)),
        ("partial", json!("fail")),
    ] {
        assert_eq!(properties[key]["default"], value, "{key}");
    }
    assert_eq!(manifest["config-schema"]["required"], json!(["query"]));
}
