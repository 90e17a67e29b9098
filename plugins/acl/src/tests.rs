#![allow(clippy::unwrap_used)]

use gatewright_sdk::{
    Method, manifest,
    serde_json::{self, json},
    testing::{Double, Request as Sent},
};

use super::*;

/// The status, and the reason of a refusal.
fn judge(config: &str, request: Sent) -> (u16, String) {
    let gateway = Double::new();
    let acl: Acl = gateway.configure(config).unwrap();
    gateway.receive(request);
    match gateway.on_request(&acl) {
        Decision::Proceed => (200, String::new()),
        Decision::Respond(response) => (response.status.as_u16(), gateway.measures()[0].labels[0].clone()),
        Decision::Abort => (0, String::new()),
    }
}

fn who(claims: &str) -> Sent {
    Sent::get("/orders/7?as=admin").identity("ada", claims)
}

fn let_in() -> (u16, String) {
    (200, String::new())
}

fn refused(reason: &str) -> (u16, String) {
    (403, reason.to_owned())
}

#[test]
fn each_condition_counts() {
    let staff = r#"{ "groups": ["staff"], "scope": "read write", "tier": "gold", "level": 3 }"#;
    for (rule, met) in [
        (r#"{ "groups": ["staff"] }"#, true),
        (r#"{ "groups": ["admin", "staff"] }"#, true),
        (r#"{ "groups": ["sta"] }"#, false),
        (r#"{ "scopes": ["read"] }"#, true),
        (r#"{ "scopes": ["read", "write"] }"#, true),
        (r#"{ "scopes": ["read", "delete"] }"#, false),
        (r#"{ "claims": { "tier": "gold" } }"#, true),
        (r#"{ "claims": { "tier": ["silver", "gold"], "level": 3 } }"#, true),
        (r#"{ "claims": { "tier": "gold", "level": 4 } }"#, false),
        (r#"{ "claims": { "nobody": "gold" } }"#, false),
        (r#"{ "subjects": ["ada"] }"#, true),
        (r#"{ "subjects": ["bob"] }"#, false),
        (r#"{ "methods": ["GET", "POST"] }"#, true),
        (r#"{ "methods": ["POST"] }"#, false),
        (r#"{ "paths": ["/orders/*"] }"#, true),
        (r#"{ "paths": ["/orders/{id}"] }"#, true),
        (r#"{ "paths": ["/admin/*"] }"#, false),
        (r#"{ "groups": ["staff"], "methods": ["GET"], "paths": ["/orders/*"] }"#, true),
        (r#"{ "groups": ["staff"], "methods": ["DELETE"], "paths": ["/orders/*"] }"#, false),
        (r#"{ "groups": ["admin"], "methods": ["GET"], "paths": ["/orders/*"] }"#, false),
    ] {
        let allowed = judge(&format!(r#"{{ "allow": [{rule}] }}"#), who(staff));
        assert_eq!(allowed, if met { let_in() } else { refused("not-allowed") }, "allow {rule}");
        let denied = judge(&format!(r#"{{ "deny": [{rule}] }}"#), who(staff));
        assert_eq!(denied, if met { refused("denied") } else { let_in() }, "deny {rule}");
    }
}

#[test]
fn deny_wins_and_one_rule_is_enough() {
    let config = r#"{ "allow": [{ "groups": ["admin"] }, { "methods": ["GET"], "scopes": ["read"] }],
        "deny": [{ "claims": { "suspended": true } }] }"#;
    assert_eq!(judge(config, who(r#"{ "groups": "admin" }"#)), let_in());
    assert_eq!(judge(config, who(r#"{ "scope": "read" }"#)), let_in());
    assert_eq!(judge(config, who(r#"{ "groups": "admin", "suspended": true }"#)), refused("denied"));
    let delete = Sent::new(Method::DELETE, "/orders/7").identity("ada", r#"{ "scope": "read" }"#);
    assert_eq!(judge(config, delete), refused("not-allowed"));
}

#[test]
fn who_is_nobody_is_refused_unless_that_is_said() {
    let deny = r#""deny": [{ "groups": ["banned"] }]"#;
    assert_eq!(judge(&format!("{{ {deny} }}"), Sent::get("/")), refused("anonymous"));
    assert_eq!(judge(&format!(r#"{{ {deny}, "anonymous": true }}"#), Sent::get("/")), let_in());
    let public = r#"{ "allow": [{ "methods": ["GET"] }, { "groups": ["staff"] }], "anonymous": true }"#;
    assert_eq!(judge(public, Sent::get("/")), let_in());
    assert_eq!(judge(public, Sent::new(Method::POST, "/")), refused("not-allowed"));
    assert_eq!(
        judge(r#"{ "allow": [{ "subjects": [""] }], "anonymous": true }"#, Sent::get("/")),
        refused("not-allowed"),
        "nobody has no name, not an empty one"
    );
    assert_eq!(
        judge(r#"{ "allow": [{ "subjects": [""] }] }"#, Sent::get("/").identity("", "{}")),
        refused("not-allowed")
    );
}

#[test]
fn a_client_cannot_name_its_own_groups() {
    let config = r#"{ "allow": [{ "groups": ["admin"] }] }"#;
    let headers = ["x-groups", "x-consumer-groups", "x-identity", "groups"]
        .iter()
        .fold(who("{}"), |request, name| request.header(name, "admin"));
    assert_eq!(judge(config, headers), refused("not-allowed"));
    for claims in
        [r#"{ "groups": { "admin": true } }"#, r#"{ "groups": "staff admin" }"#, r#"{ "groups": [["admin"]] }"#]
    {
        assert_eq!(judge(config, who(claims)), refused("not-allowed"), "{claims}");
    }
}

#[test]
fn groups_may_be_elsewhere() {
    let config = r#"{ "allow": [{ "groups": ["ops"] }], "groups_claim": "/realm_access/roles" }"#;
    assert_eq!(judge(config, who(r#"{ "realm_access": { "roles": ["ops"] } }"#)), let_in());
    assert_eq!(judge(config, who(r#"{ "groups": ["ops"] }"#)), refused("not-allowed"));
}

#[test]
fn claims_that_nobody_can_read_are_refused() {
    assert_eq!(judge(r#"{ "deny": [{ "groups": ["a"] }] }"#, who("[1]")), refused("claims"));
    let deep = format!(r#"{{ "groups": {}1{} }}"#, "[".repeat(10_000), "]".repeat(10_000));
    assert_eq!(judge(r#"{ "deny": [{ "groups": ["a"] }] }"#, who(&deep)), refused("claims"));
}

#[test]
fn bad_configurations_are_refused_by_name() {
    for (config, named) in [
        (r#"{}"#, "allow"),
        (r#"{ "allow": [] }"#, "allow: at least one"),
        (r#"{ "deny": [{}] }"#, "deny[0]: at least one condition"),
        (r#"{ "allow": [{ "groups": [] }] }"#, "allow[0].groups"),
        (r#"{ "allow": [{ "methods": ["GET"] }, { "methods": ["get"] }] }"#, "allow[1].methods: \"get\""),
        (r#"{ "allow": [{ "paths": ["orders"] }] }"#, "allow[0].paths: \"orders\""),
        (r#"{ "allow": [{ "claims": { "a": {} } }] }"#, "allow[0].claims: \"a\""),
        (r#"{ "allow": [{ "group": ["a"] }] }"#, "group"),
        (r#"{ "allow": [{ "groups": ["a"] }], "groups_claim": "" }"#, "groups_claim"),
    ] {
        let refused = Double::new().configure::<Acl>(config).unwrap_err();
        assert!(refused.contains(named), "{config}: {refused}");
    }
}

#[test]
fn the_schema_has_the_defaults() {
    let manifest: Value = serde_json::from_str(&manifest::<Acl>()).unwrap();
    let properties = &manifest["config-schema"]["properties"];
    assert_eq!(properties["groups_claim"]["default"], json!("groups"));
    assert_eq!(properties["anonymous"]["default"], json!(false));
}
