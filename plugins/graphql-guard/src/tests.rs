#![allow(clippy::unwrap_used)]

use gatewright_sdk::{
    manifest,
    serde_json::json,
    testing::{Double, Request},
};

use super::*;

fn gateway(config: &str) -> (Double, GraphqlGuard) {
    let gateway = Double::new();
    let plugin = gateway.configure(config).unwrap();
    (gateway, plugin)
}

/// The status for a body; 200 if it goes on.
fn posted(config: &str, kind: &str, body: &str) -> u16 {
    posted_to(config, "/graphql", kind, body)
}

fn posted_to(config: &str, target: &str, kind: &str, body: &str) -> u16 {
    let (gateway, plugin) = gateway(config);
    gateway.receive(Request::post(target).header("content-type", kind));
    match gateway.on_request(&plugin) {
        Decision::Respond(response) => return response.status.as_u16(),
        decision => assert_eq!(decision, Decision::Proceed),
    }
    match gateway.request_body(&plugin, &[body.as_bytes()]) {
        Ok(sent) => {
            assert_eq!(sent, body.as_bytes(), "it goes on as it came");
            200
        }
        Err(BodyDecision::Respond(response)) => response.status.as_u16(),
        Err(other) => panic!("{other:?}"),
    }
}

fn asked(config: &str, query: &str) -> u16 {
    posted(config, "application/json", &json!({ "query": query }).to_string())
}

fn got(config: &str, target: &str) -> u16 {
    let (gateway, plugin) = gateway(config);
    gateway.receive(Request::get(target));
    match gateway.on_request(&plugin) {
        Decision::Respond(response) => response.status.as_u16(),
        _ => 200,
    }
}

#[test]
fn limits() {
    for (limits, query, status) in [
        (r#"{ "depth": 2 }"#, "{ a { b } }", 200),
        (r#"{ "depth": 2 }"#, "{ a { b { c } } }", 400),
        (r#"{ "aliases": 1 }"#, "{ x: a b }", 200),
        (r#"{ "aliases": 1 }"#, "{ x: a y: a }", 400),
        (r#"{ "directives": 0 }"#, "{ a @b }", 400),
        (r#"{ "cost": 10, "costs": { "a": 10 } }"#, "{ a }", 200),
        (r#"{ "cost": 10, "costs": { "a": 10 } }"#, "{ a b }", 400),
        (r#"{ "cost": 100, "sizes": ["count"] }"#, "{ a(count: 100) { b } }", 400),
        (r#"{ "tokens": 10 }"#, "{ a b c d e f g h i j k }", 400),
        ("{}", "{ a { b { c { d { e } } } } }", 200),
    ] {
        assert_eq!(asked(&format!(r#"{{ "limits": {limits} }}"#), query), status, "{limits} {query}");
    }
}

#[test]
fn introspection_is_off_unless_it_is_on() {
    assert_eq!(asked("{}", "{ __schema { types { name } } }"), 403);
    assert_eq!(asked(r#"{ "introspection": true }"#, "{ __schema { types { name } } }"), 200);
    assert_eq!(asked("{}", "{ a { __typename } }"), 200);
}

#[test]
fn batches() {
    let one = r#"{"query":"{ a }"}"#;
    let json = "application/json";
    assert_eq!(posted("{}", json, &format!("[{one}]")), 200);
    assert_eq!(posted("{}", json, &format!("[{one},{one}]")), 400);
    assert_eq!(posted(r#"{ "limits": { "batch": 2 } }"#, json, &format!("[{one},{one}]")), 200);
    assert_eq!(
        posted(r#"{ "limits": { "batch": 2 } }"#, json, &format!(r#"[{one},{{"query":"{{ __schema {{ a }} }}"}}]"#)),
        403
    );
    for body in [
        "[]",
        "[1]",
        "[[]]",
        "1",
        "null",
        "",
        "{",
        r#"{"query":1}"#,
        r#"{"query":null}"#,
        "{}",
        r#"{"query":"{ a }","variables":[]}"#,
    ] {
        assert_eq!(posted("{}", json, body), 400, "{body}");
    }
    let deep = ["[".repeat(10_000), "]".repeat(10_000)].concat();
    assert_eq!(posted("{}", json, &deep), 400);
}

#[test]
fn media_types_and_methods() {
    assert_eq!(posted("{}", "application/graphql; charset=utf-8", "{ a }"), 200);
    assert_eq!(posted("{}", "application/graphql", "{ __schema { a } }"), 403);
    for kind in ["text/plain", "multipart/form-data; boundary=x", "application/x-www-form-urlencoded", ""] {
        assert_eq!(posted("{}", kind, "{}"), 415, "{kind}");
    }
    let (gateway, plugin) = gateway("{}");
    for (method, status) in [(Method::PUT, Some(405)), (Method::DELETE, Some(405)), (Method::OPTIONS, None)] {
        gateway.receive(Request::new(method.clone(), "/graphql"));
        let answered = match gateway.on_request(&plugin) {
            Decision::Respond(response) => Some(response.status.as_u16()),
            _ => None,
        };
        assert_eq!(answered, status, "{method}");
    }
    gateway.receive(Request::post("/").header("content-type", "application/json").header("content-encoding", "gzip"));
    assert!(
        matches!(gateway.on_request(&plugin), Decision::Respond(response) if response.status == StatusCode::UNSUPPORTED_MEDIA_TYPE)
    );
}

#[test]
fn queries_with_get() {
    for (config, target, status) in [
        ("{}", "/?query=%7B+a+%7D", 200),
        ("{}", "/?query={a}&variables=%7B%7D&operationName=A", 200),
        ("{}", "/?query=mutation{a}", 405),
        ("{}", "/?query={__schema{a}}", 403),
        ("{}", "/?query={a}&query={__schema{a}}", 400),
        ("{}", "/?query={a}&variables=x", 400),
        ("{}", "/", 400),
        (r#"{ "get": false }"#, "/?query={a}", 405),
        (r#"{ "limits": { "cost": 10 } }"#, "/?query=query($n:Int){a(first:$n){b}}&variables=%7B%22n%22%3A10%7D", 400),
    ] {
        assert_eq!(got(config, target), status, "{config} {target}");
    }
}

#[test]
fn persisted_documents() {
    let only = r#"{ "persisted": { "documents": { "h1": "{ a { b } }", "h2": "mutation { c }" } }, "limits": { "depth": 1 } }"#;
    let also = only.replace("{ \"documents\"", "{ \"only\": false, \"documents\"");
    let json = "application/json";
    for (body, with_only, with_also) in [
        (json!({ "id": "h1" }), 200, 200),
        (json!({ "documentId": "h1" }), 200, 200),
        (json!({ "extensions": { "persistedQuery": { "version": 1, "sha256Hash": "h1" } } }), 200, 200),
        (json!({ "query": "{ a { b } }" }), 200, 200),
        (json!({ "query": "{ a { b } }", "id": "h1" }), 200, 200),
        (json!({ "query": "{ c }", "id": "h1" }), 403, 403),
        (json!({ "query": "{ c }" }), 403, 200),
        (json!({ "query": "{ c { d } }" }), 403, 400),
        (json!({ "id": "h3" }), 403, 200),
        (json!({ "id": 3 }), 400, 400),
    ] {
        assert_eq!(posted(only, json, &body.to_string()), with_only, "{body}");
        assert_eq!(posted(&also, json, &body.to_string()), with_also, "{body}");
    }
    assert_eq!(got(only, "/?id=h1"), 200);
    assert_eq!(got(only, "/?id=h2"), 405, "a mutation that is known is still one");
    assert_eq!(got(only, "/?extensions=%7B%22persistedQuery%22%3A%7B%22sha256Hash%22%3A%22h1%22%7D%7D"), 200);
}

#[test]
fn a_request_is_in_the_address_or_in_the_body_and_not_in_both() {
    let body = json!({ "query": "{ a }" }).to_string();
    for (target, status) in [
        ("/graphql?query=%7B+__schema+%7B+a+%7D+%7D", 400),
        ("/graphql?x=1&%71uery={b}", 400),
        ("/graphql?query", 400),
        ("/graphql?variables=%7B%7D", 400),
        ("/graphql?extensions=%7B%7D", 400),
        ("/graphql?id=h2", 400),
        ("/graphql?documentId=h2", 400),
        ("/graphql?operationName=B", 400),
        ("/graphql?key=query&Query=1&+query=1", 200),
        ("/graphql?", 200),
    ] {
        assert_eq!(posted_to("{}", target, "application/json", &body), status, "{target}");
        assert_eq!(posted_to("{}", target, "application/graphql", "{ a }"), status, "{target}");
    }
}

#[test]
fn what_the_upstream_could_read_differently_is_refused() {
    let also = r#"{ "persisted": { "only": false, "documents": { "h1": "{ a }" } } }"#;
    let json = "application/json";
    for (body, status) in [
        (r#"{"id":"h1","documentId":"h1","extensions":{"persistedQuery":{"sha256Hash":"h1"}}}"#, 200),
        (r#"{"id":null,"documentId":"h1"}"#, 200),
        (r#"{"id":"h1","extensions":{"persistedQuery":{"sha256Hash":"h2"}}}"#, 400),
        (r#"{"id":"h1","documentId":"h2"}"#, 400),
        (r#"{"documentId":"h2","extensions":{"persistedQuery":{"sha256Hash":"h1"}}}"#, 400),
        (r#"{"id":"h1","documentId":2}"#, 400),
        (r#"{"query":"{ __schema { a } }","query":"{ a }"}"#, 400),
        (r#"{"query":"{ a }","\u0071uery":"{ a }"}"#, 400),
        (r#"{"query":"{ a }","variables":{"n":1000,"n":1}}"#, 400),
    ] {
        assert_eq!(posted(also, json, body), status, "{body}");
    }
    assert_eq!(got(also, "/?query={a}&variables=%7B%22n%22:1,%22n%22:2%7D"), 400);
    assert_eq!(got(also, "/?id=h1&documentId=h2"), 400);
    let (gateway, plugin) = gateway("{}");
    for other in ["application/graphql", "application/json"] {
        gateway.receive(Request::post("/").header("content-type", json).header("content-type", other));
        assert!(
            matches!(gateway.on_request(&plugin), Decision::Respond(response) if response.status == StatusCode::BAD_REQUEST)
        );
    }
}

#[test]
fn a_body_is_read_as_what_it_was_at_the_plugins_place() {
    let (gateway, plugin) = gateway("{}");
    for (kind, other, body) in [
        ("application/graphql", "application/json", "{ a }"),
        ("application/json", "application/graphql", r#"{"query":"{ a }"}"#),
    ] {
        gateway.receive(Request::post("/").header("content-type", kind));
        assert_eq!(gateway.on_request(&plugin), Decision::Proceed);
        gateway.behind(Direction::Request, |exchange| {
            exchange.request_headers().set("content-type", other).unwrap();
        });
        assert_eq!(gateway.request_body(&plugin, &[body.as_bytes()]), Ok(body.as_bytes().to_vec()), "{kind}");
    }
}

#[test]
fn refusals_say_what_is_wrong() {
    let (gateway, plugin) = gateway(r#"{ "limits": { "depth": 1 } }"#);
    gateway.receive(Request::post("/").header("content-type", "application/json"));
    let _ = gateway.on_request(&plugin);
    let Err(BodyDecision::Respond(response)) = gateway.request_body(&plugin, &[br#"{"query":"{ a { b } }"}"#]) else {
        panic!()
    };
    let problem = String::from_utf8(response.body).unwrap();
    assert!(problem.contains("a depth of 2, and at most 1 is allowed"), "{problem}");
    assert_eq!(gateway.measures()[0].labels, ["depth"]);
}

#[test]
fn bad_configurations_are_refused_by_name() {
    for (config, named) in [
        (r#"{ "limits": { "depths": 1 } }"#, "depths"),
        (r#"{ "limits": { "depth": -1 } }"#, "-1"),
        (r#"{ "persisted": { "documents": { "h1": "{" } } }"#, "h1"),
        (r#"{ "persisted": {} }"#, "documents"),
    ] {
        let refused = Double::new().configure::<GraphqlGuard>(config).unwrap_err();
        assert!(refused.contains(named), "{config}: {refused}");
    }
    assert!(!manifest::<GraphqlGuard>().contains("$ref"));
}
