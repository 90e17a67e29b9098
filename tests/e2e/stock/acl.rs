//! `acl`: what callers may do, whoever proved who they are.

use gatewright_tests::{Server, Signer, TestGateway, send};
use serde_json::{Value, json};

fn acl() -> Value {
    json!({ "acl": {
        "allow": [
            { "groups": ["admin"] },
            { "scopes": ["orders:read"], "methods": ["GET", "HEAD"], "paths": ["/orders/*"] },
        ],
        "deny": [{ "claims": { "suspended": true } }, { "paths": ["/orders/internal/*"], "methods": ["DELETE"] }],
    } })
}

#[tokio::test]
async fn the_same_rules_hold_for_keys_and_tokens() {
    let behind = Server::named("behind").await;
    let signer = Signer::new("one");
    let keys = json!({ "key-auth": { "keys": [
        { "key": "root", "subject": "root", "claims": { "groups": ["admin"] } },
        { "key": "reader", "subject": "reader", "claims": { "scope": "orders:read mail" } },
        { "key": "gone", "subject": "gone", "claims": { "groups": ["admin"], "suspended": true } },
        { "key": "plain", "subject": "plain" },
    ] } });
    let jwt = json!({ "jwt": { "algorithms": ["EdDSA"], "keys": [{ "jwk": signer.jwk() }] } });
    let gateway = TestGateway::start(json!({
        "upstreams": { "behind": [behind.text()] },
        "routes": [
            { "match": { "host": "keys.test" }, "plugins": [keys, acl()], "to": "behind" },
            { "match": { "host": "tokens.test" }, "plugins": [jwt, acl()], "to": "behind" },
        ],
    }));
    let token = |claims: Value| ("tokens.test", "authorization", signer.bearer(claims));
    let key = |key: &str| ("keys.test", "x-api-key", key.to_owned());
    let root = [key("root"), token(json!({ "sub": "root", "groups": ["admin"] }))];
    let reader = [key("reader"), token(json!({ "sub": "reader", "scp": ["orders:read"] }))];
    let gone = [key("gone"), token(json!({ "sub": "gone", "groups": ["admin"], "suspended": true }))];
    let plain = [key("plain"), token(json!({ "sub": "plain" }))];
    let mut reached = 0;
    for (callers, method, path, status) in [
        (&root, "GET", "/anything", 200),
        (&root, "DELETE", "/orders/7", 200),
        (&root, "DELETE", "/orders/internal/7", 403),
        (&root, "DELETE", "/orders//internal/7", 403),
        (&root, "DELETE", "/orders/%69nternal/7", 403),
        (&root, "DELETE", "/orders/x/../internal/7", 403),
        (&root, "DELETE", "/orders%2finternal/7", 403),
        (&reader, "GET", "/orders", 200),
        (&reader, "GET", "/orders/7?x=1", 200),
        (&reader, "POST", "/orders/7", 403),
        (&reader, "GET", "/ordersx", 403),
        (&reader, "GET", "/orders/../users", 403),
        (&reader, "GET", "/users?/orders/7", 403),
        (&gone, "GET", "/orders/7", 403),
        (&plain, "GET", "/orders/7", 403),
    ] {
        for (host, header, value) in callers {
            let headers = [("host", *host), (*header, value.as_str()), ("x-groups", "admin")];
            let answer = send(gateway.address(), method, path, &headers, "").await;
            assert_eq!(answer.status, status, "{host} {value} {method} {path}: {}", answer.text());
            reached += usize::from(status == 200);
        }
    }
    assert_eq!(behind.received().len(), reached);
}

#[tokio::test]
async fn without_a_proof_nobody_is_in_a_group() {
    let gateway = TestGateway::start(json!({
        "routes": [
            { "match": { "path": "/open" }, "plugins": [{ "acl": { "allow": [{ "methods": ["GET"] }], "anonymous": true } }, "echo"] },
            { "match": {}, "plugins": [acl(), "echo"] },
        ],
    }));
    let forged =
        [("x-groups", "admin"), ("x-identity", "root"), ("authorization", "Bearer e30.eyJncm91cHMiOlsiYWRtaW4iXX0.")];
    let refused = gateway.get_with("/orders/7", &forged).await;
    refused.problem(403);
    assert_eq!(refused.header("www-authenticate"), None, "who refuses here knows no credentials to ask for");
    assert_eq!(gateway.get("/open").await.status, 200);
    gateway.post("/open", &[], "").await.problem(403);
    assert_eq!(gateway.metric("plugin_acl_denied", &["reason=\"anonymous\""]).await, 1.0);
}

#[tokio::test]
async fn a_rule_that_cannot_be_meant_is_refused_when_the_configuration_is_read() {
    for (acl, named) in [
        (json!({}), "acl"),
        (json!({ "allow": [{}] }), "allow"),
        (json!({ "deny": [{ "methods": ["delete"] }] }), "delete"),
        (json!({ "allow": [{ "group": ["a"] }] }), "groups"),
    ] {
        let config = json!({ "routes": [{ "match": {}, "plugins": [{ "acl": acl }, "echo"] }] });
        let refused = TestGateway::try_start(config).err().unwrap().to_string();
        assert!(refused.contains(named), "{refused}");
    }
}
