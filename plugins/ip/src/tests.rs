#![allow(clippy::unwrap_used)]

use gatewright_sdk::{
    manifest,
    serde_json::{self, Value, json},
    testing::{Double, Request},
};

use super::*;

fn status(config: &str, request: Request) -> u16 {
    let gateway = Double::new();
    let ip: Ip = gateway.configure(config).unwrap();
    gateway.receive(request);
    match gateway.on_request(&ip) {
        Decision::Proceed => 200,
        Decision::Respond(response) => {
            assert_eq!(response.header("content-type"), Some("application/problem+json"));
            assert_eq!(gateway.measures().len(), 1);
            response.status.as_u16()
        }
        Decision::Abort => 0,
    }
}

fn from(address: &str) -> Request {
    Request::get("/").attribute("source.address", address)
}

#[test]
fn who_is_let_in() {
    let allow = r#"{ "allow": ["10.0.0.0/8", "::1"] }"#;
    let deny = r#"{ "deny": ["203.0.113.0/24", "2001:db8::/32"] }"#;
    let both = r#"{ "allow": ["10.0.0.0/8"], "deny": ["10.6.0.0/16"] }"#;
    for (config, address, expected) in [
        (allow, "10.1.2.3", 200),
        (allow, "::ffff:10.1.2.3", 200),
        (allow, "::1", 200),
        (allow, "11.0.0.1", 403),
        (allow, "::2", 403),
        (deny, "10.1.2.3", 200),
        (deny, "203.0.113.9", 403),
        (deny, "::ffff:203.0.113.9", 403),
        (deny, "2001:db8:1::1", 403),
        (deny, "2001:db9::1", 200),
        (both, "10.5.0.1", 200),
        (both, "10.6.0.1", 403),
        (both, "192.168.0.1", 403),
    ] {
        assert_eq!(status(config, from(address)), expected, "{config} {address}");
    }
}

#[test]
fn an_address_that_is_none_is_kept_out() {
    for config in [r#"{ "allow": ["0.0.0.0/0", "::/0"] }"#, r#"{ "deny": ["203.0.113.9"] }"#] {
        for address in ["", "unknown", "10.0.0.1:80", "[::1]", "_hidden", "10.0.0.1, 10.0.0.2"] {
            assert_eq!(status(config, from(address)), 403, "{config} {address:?}");
        }
        assert_eq!(status(config, Request::get("/")), 403);
    }
}

#[test]
fn no_header_counts() {
    let spoofed = ["x-forwarded-for", "x-real-ip", "forwarded", "true-client-ip"]
        .iter()
        .fold(from("203.0.113.9"), |request, name| request.header(name, "10.0.0.1"));
    assert_eq!(status(r#"{ "allow": ["10.0.0.0/8"] }"#, spoofed), 403);
}

#[test]
fn bad_configurations_are_refused_by_name() {
    for (config, named) in [
        (r#"{}"#, "allow"),
        (r#"{ "allow": [] }"#, "allow: at least one"),
        (r#"{ "deny": [] }"#, "deny: at least one"),
        (r#"{ "allow": ["10.0.0.1", "10.0.0.1/8"] }"#, "allow[1]: \"10.0.0.1/8\""),
        (r#"{ "deny": ["localhost"] }"#, "deny[0]: \"localhost\""),
        (r#"{ "allowed": ["::1"] }"#, "allowed"),
    ] {
        let refused = Double::new().configure::<Ip>(config).unwrap_err();
        assert!(refused.contains(named), "{config}: {refused}");
    }
}

#[test]
fn the_schema_asks_for_a_list() {
    let manifest: Value = serde_json::from_str(&manifest::<Ip>()).unwrap();
    let schema = &manifest["config-schema"];
    assert_eq!(schema["anyOf"], json!([{ "required": ["allow"] }, { "required": ["deny"] }]));
    assert_eq!(schema["additionalProperties"], json!(false));
}
