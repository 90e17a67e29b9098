#![allow(clippy::unwrap_used)]

use gatewright_sdk::{
    Section, StatusCode, manifest,
    serde_json::{self, json},
    testing::{Double, Request},
};

use super::*;

fn gateway(config: &str) -> (Double, HeaderRules) {
    let gateway = Double::new();
    let rules = gateway.configure(config).unwrap();
    (gateway, rules)
}

/// The request's headers `x-*` after the plugin, as `name: value` lines.
fn requested(config: &str, request: Request) -> Vec<String> {
    let (gateway, rules) = gateway(config);
    gateway.receive(request);
    assert_eq!(gateway.on_request(&rules), Decision::Proceed);
    let names = ["x-a", "x-b", "x-c"];
    let lines = names.iter().flat_map(|name| {
        gateway.header_values(Section::RequestHeaders, name).into_iter().map(move |value| format!("{name}: {value}"))
    });
    lines.collect()
}

#[test]
fn removed_then_set_then_appended() {
    for (changes, expected) in [
        (r#"{}"#, vec!["x-a: 1", "x-a: 2", "x-b: 3"]),
        (r#"{ "remove": ["X-A", "x-unknown"] }"#, vec!["x-b: 3"]),
        (r#"{ "set": { "X-A": "new" } }"#, vec!["x-a: new", "x-b: 3"]),
        (r#"{ "set": { "x-c": "" } }"#, vec!["x-a: 1", "x-a: 2", "x-b: 3", "x-c: "]),
        (
            r#"{ "append": { "x-a": "4", "x-b": ["5", "6"] } }"#,
            vec!["x-a: 1", "x-a: 2", "x-a: 4", "x-b: 3", "x-b: 5", "x-b: 6"],
        ),
        (
            r#"{ "append": { "x-a": "9" }, "set": { "x-a": "8" }, "remove": ["x-a"] }"#,
            vec!["x-a: 8", "x-a: 9", "x-b: 3"],
        ),
        (r#"{ "append": { "x-a": "9" }, "remove": ["x-a"] }"#, vec!["x-a: 9", "x-b: 3"]),
    ] {
        let request = Request::get("/").header("x-a", "1").header("x-a", "2").header("x-b", "3");
        assert_eq!(requested(&format!(r#"{{ "request": {changes} }}"#), request), expected, "{changes}");
    }
}

#[test]
fn values_with_attributes() {
    for (value, expected) in [
        ("$(source.address)", Some("203.0.113.9")),
        ("for=$(source.address);by=$(route.name)!", Some("for=203.0.113.9;by=users!")),
        ("$(route.name)$(route.name)", Some("usersusers")),
        ("$(identity.subject)", Some("ada")),
        ("$(plugin.other.unknown)", None),
        ("a $(route.path.unknown) b", None),
        ("$$(source.address) $$ $ ${x} (y) {z}", Some("$(source.address) $$ $ ${x} (y) {z}")),
        ("$$$(route.name)", Some("$$(route.name)")),
    ] {
        let request = Request::get("/")
            .header("x-a", "forged")
            .attribute("source.address", "203.0.113.9")
            .attribute("route.name", "users")
            .identity("ada", "{}");
        let expected: Vec<String> = expected.iter().map(|expected| format!("x-a: {expected}")).collect();
        assert_eq!(
            requested(&format!(r#"{{ "request": {{ "set": {{ "x-a": "{value}" }} }} }}"#), request),
            expected,
            "{value}"
        );
    }
    let request = Request::get("/").header("x-a", "1");
    assert_eq!(
        requested(r#"{ "request": { "append": { "x-a": ["$(route.version)", "2"] } } }"#, request),
        ["x-a: 1", "x-a: 2"]
    );
}

#[test]
fn an_attribute_that_cannot_be_a_value_leaves_no_header_and_is_logged() {
    let (gateway, rules) = gateway(r#"{ "request": { "set": { "x-a": "$(route.name)", "x-b": "2" } } }"#);
    gateway.receive(Request::get("/").header("x-a", "forged").attribute("route.name", "a\r\nx-admin: true"));
    assert_eq!(gateway.on_request(&rules), Decision::Proceed);
    assert_eq!((gateway.request_header("x-a"), gateway.request_header("x-admin")), (None, None));
    assert_eq!(gateway.request_header("x-b").as_deref(), Some("2"));
    assert!(gateway.lines().iter().any(|line| line.to_string().contains("header=x-a")));
}

#[test]
fn the_response_has_its_own_changes() {
    let (gateway, rules) = gateway(
        r#"{ "request": { "set": { "x-a": "request" } },
             "response": { "set": { "strict-transport-security": "max-age=1" }, "remove": ["server"], "append": { "set-cookie": ["a=1", "b=2"] } } }"#,
    );
    gateway.receive(Request::get("/"));
    let _ = gateway.on_request(&rules);
    gateway.respond(StatusCode::OK, &[("Server", "inside/1.0"), ("set-cookie", "c=3")]);
    assert_eq!(gateway.on_response(&rules), Decision::Proceed);
    assert_eq!(gateway.response_header("server"), None);
    assert_eq!(gateway.response_header("x-a"), None);
    assert_eq!(gateway.response_header("strict-transport-security").as_deref(), Some("max-age=1"));
    assert_eq!(gateway.header_values(Section::ResponseHeaders, "set-cookie"), ["c=3", "a=1", "b=2"]);
}

#[test]
fn bad_configurations_are_refused_by_name() {
    for (changes, named) in [
        (r#"{ "set": { "x a": "1" } }"#, r#"request.set: "x a""#),
        (r#"{ "set": { "": "1" } }"#, "request.set"),
        (r#"{ "set": { "Content-Length": "1" } }"#, "Content-Length"),
        (r#"{ "append": { "transfer-encoding": "chunked" } }"#, "request.append"),
        (r#"{ "remove": ["connection"] }"#, "request.remove"),
        (r#"{ "remove": ["host"] }"#, "host"),
        (r#"{ "set": { "x-a": "1\r\nx-b: 2" } }"#, "x-a"),
        (r#"{ "append": { "x-a": ["ok", "\u0000"] } }"#, "x-a"),
        (r#"{ "set": { "x-a": "$(route.name" } }"#, "without"),
        (r#"{ "set": { "x-a": "$()" } }"#, "$()"),
        (r#"{ "set": { "x-a": "$(a b)" } }"#, "$(a b)"),
        (r#"{ "set": { "x-a": "$(source.adress)" } }"#, "there is source.address, source.peer"),
        (r#"{ "append": { "x-a": ["1", "$(identity.subjcet)"] } }"#, "$(identity.subjcet), which is no attribute"),
        (r#"{ "set": { "x-a": "$(soruce.address)" } }"#, "there is source.address"),
        (r#"{ "set": { "x-a": "1", "X-A": "2" } }"#, "twice"),
        (r#"{ "set": { "x-a": 1 } }"#, "string"),
        (r#"{ "replace": {} }"#, "replace"),
    ] {
        let refused = Double::new().configure::<HeaderRules>(&format!(r#"{{ "request": {changes} }}"#)).unwrap_err();
        assert!(refused.contains(named), "{changes}: {refused}");
    }
    let refused = Double::new().configure::<HeaderRules>(r#"{ "response": { "remove": ["te"] } }"#).unwrap_err();
    assert!(refused.contains("response.remove"), "{refused}");
}

#[test]
fn the_schema_takes_one_or_many() {
    let manifest: serde_json::Value = serde_json::from_str(&manifest::<HeaderRules>()).unwrap();
    let append = &manifest["config-schema"]["properties"]["response"]["properties"]["append"];
    assert_eq!(append["additionalProperties"]["anyOf"][0], json!({ "type": "string" }));
    assert!(!manifest.to_string().contains("$ref"));
}
