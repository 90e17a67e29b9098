#![allow(clippy::unwrap_used)]

use gatewright_sdk::{
    manifest,
    serde_json::{self, Value, json},
    testing::{Double, Request},
};

use super::*;

const BASE: &str =
    r#""algorithms": ["RS256"], "issuer": "https://id.example/", "jwks": "https://id.example/jwks.json""#;

/// A gateway that accepts the token "good" with these claims, and the plugin with `more` configuration.
fn gateway(more: &str, claims: &Value) -> (Double, Jwt) {
    let gateway = Double::new();
    gateway.token("good", Ok(&claims.to_string()));
    let jwt = gateway.configure(&format!("{{ {BASE} {more} }}")).unwrap();
    (gateway, jwt)
}

fn with_token(token: &str) -> Request {
    Request::get("/").header("authorization", &format!("Bearer {token}"))
}

/// The status and the challenge.
fn refusal(decision: Decision) -> (u16, String) {
    let Decision::Respond(response) = decision else { panic!("{decision:?}") };
    assert_eq!(response.header("content-type"), Some("application/problem+json"));
    (response.status.as_u16(), response.header("www-authenticate").unwrap_or_default().to_owned())
}

#[test]
fn a_good_token_is_an_identity_and_goes_no_further() {
    let claims = json!({ "sub": "ada", "exp": 1 });
    let (gateway, jwt) = gateway("", &claims);
    gateway.receive(with_token("good"));
    assert_eq!(gateway.on_request(&jwt), Decision::Proceed);
    let identity = gateway.identity().unwrap();
    assert_eq!((identity.subject.as_str(), identity.claims), ("ada", claims.to_string()));
    assert_eq!(gateway.request_header("authorization"), None);
}

#[test]
fn the_token_may_be_forwarded_and_be_elsewhere() {
    let claims = json!({ "sub": "ada" });
    let (gateway, jwt) = gateway(r#", "forward_credential": true"#, &claims);
    gateway.receive(Request::get("/").header("authorization", "bearer good"));
    assert_eq!(gateway.on_request(&jwt), Decision::Proceed);
    assert_eq!(gateway.request_header("authorization").as_deref(), Some("bearer good"));

    for (from, request) in [
        (r#"{ "header": "x-token" }"#, Request::get("/").header("x-token", "good")),
        (r#"{ "query": "access_token" }"#, Request::get("/?access_token=good")),
        (r#"{ "cookie": "session" }"#, Request::get("/").header("cookie", "session=good")),
    ] {
        let (gateway, jwt) = self::gateway(&format!(r#", "from": {from}"#), &claims);
        gateway.receive(request);
        assert_eq!(gateway.on_request(&jwt), Decision::Proceed, "{from}");
        assert_eq!(gateway.identity().unwrap().subject, "ada");
        let left = [gateway.request_header("x-token"), gateway.request_header("cookie")];
        assert_eq!((left, gateway.path().as_str()), ([None, None], "/"), "{from}");
    }
}

#[test]
fn refusals_follow_rfc_6750() {
    let (gateway, jwt) = gateway("", &json!({}));
    let invalid = |why: &str| format!(r#"Bearer realm="api", error="invalid_token", error_description="{why}""#);
    for (error, status, challenge) in [
        (VerifyError::Malformed, 401, invalid("the token is malformed")),
        (VerifyError::UnknownKey, 401, invalid("the token is signed with an unknown key")),
        (VerifyError::BadSignature, 401, invalid("the signature does not match")),
        (VerifyError::Expired, 401, invalid("the token has expired")),
        (VerifyError::NotYetValid, 401, invalid("the token is not valid yet")),
        (VerifyError::WrongIssuer, 401, invalid("the token is from another issuer")),
        (VerifyError::WrongAudience, 401, invalid("the token is for another audience")),
        (VerifyError::AlgorithmNotAllowed, 401, invalid("the algorithm is not allowed")),
        (VerifyError::Other("the token has no exp".to_owned()), 401, invalid("the token has no exp")),
        (VerifyError::Other("inner\r\nmatters".to_owned()), 401, invalid("the token is not valid")),
        (VerifyError::KeysUnavailable, 503, String::new()),
    ] {
        gateway.token("bad", Err(error.clone()));
        gateway.receive(with_token("bad"));
        assert_eq!(refusal(gateway.on_request(&jwt)), (status, challenge), "{error:?}");
        assert_eq!(gateway.identity(), None);
    }
    let reasons: Vec<_> = gateway.measures().into_iter().map(|measure| measure.labels.join("")).collect();
    assert_eq!(reasons.iter().filter(|reason| *reason == "expired").count(), 1);
    assert_eq!(reasons.last().map(String::as_str), Some("keys-unavailable"));
}

#[test]
fn without_exactly_one_token_nothing_passes() {
    let (gateway, jwt) = gateway("", &json!({ "sub": "ada" }));
    let missing = r#"Bearer realm="api""#;
    let unclear = r#"Bearer realm="api", error="invalid_request""#;
    for (values, challenge) in [
        (vec![], missing),
        (vec![""], missing),
        (vec!["Bearer "], missing),
        (vec!["good"], missing),
        (vec!["Basic good"], missing),
        (vec!["Bearer good", "Bearer good"], unclear),
        (vec!["Basic x", "Bearer good"], unclear),
    ] {
        let request = values.iter().fold(Request::get("/"), |request, value| request.header("authorization", value));
        gateway.receive(request);
        assert_eq!(refusal(gateway.on_request(&jwt)), (401, challenge.to_owned()), "{values:?}");
    }
}

#[test]
fn optional_lets_pass_who_has_no_token_but_not_who_has_a_bad_one() {
    let more = r#", "optional": true, "claims_to_headers": { "x-user": "sub" }"#;
    let (gateway, jwt) = gateway(more, &json!({ "sub": "ada" }));
    gateway.receive(Request::get("/").header("x-user", "root"));
    assert_eq!(gateway.on_request(&jwt), Decision::Proceed);
    assert_eq!((gateway.identity(), gateway.request_header("x-user")), (None, None));

    gateway.receive(with_token("forged"));
    assert_eq!(refusal(gateway.on_request(&jwt)).0, 401);
    gateway.receive(with_token("good").header("authorization", "Bearer good"));
    assert_eq!(refusal(gateway.on_request(&jwt)).0, 401);
}

#[test]
fn claims_become_headers_and_clients_cannot_say_them() {
    let more = r#", "claims_to_headers": {
        "X-User": "sub", "x-age": "age", "x-admin": "admin", "x-roles": "roles", "x-org": "/org/name",
        "x-url": "https://claims.example/x", "x-none": "none", "x-null": "null", "x-bad": "bad" }"#;
    let claims = json!({
        "sub": "ada", "age": 36, "admin": false, "roles": ["user,admin", "b"], "org": { "name": "Ågren" },
        "https://claims.example/x": "y", "null": null, "bad": "a\r\nx-admin: true"
    });
    let (gateway, jwt) = gateway(more, &claims);
    let names = ["x-user", "x-age", "x-admin", "x-roles", "x-org", "x-url", "x-none", "x-null", "x-bad"];
    gateway.receive(
        names.iter().fold(with_token("good"), |request, name| request.header(name, "forged").header(name, "twice")),
    );
    assert_eq!(gateway.on_request(&jwt), Decision::Proceed);
    let written = names.map(|name| gateway.header_values(gatewright_sdk::Section::RequestHeaders, name).join("|"));
    assert_eq!(written, ["ada", "36", "false", r#"["user,admin","b"]"#, "Ågren", "y", "", "", ""]);
    assert!(gateway.lines().iter().any(|line| line.to_string().contains("claim=bad")));
}

#[test]
fn demands_on_claims() {
    for (more, claims, let_in) in [
        (r#""scopes": ["read"]"#, json!({ "scope": "write read" }), true),
        (r#""scopes": ["read"]"#, json!({ "scp": ["read"] }), true),
        (r#""scopes": ["read", "write"]"#, json!({ "scope": "read" }), false),
        (r#""scopes": ["read"]"#, json!({ "scope": "read:all reader" }), false),
        (r#""scopes": ["read"]"#, json!({ "scope": { "read": true } }), false),
        (r#""scopes": ["read"]"#, json!({}), false),
        (r#""required_claims": { "tenant": "a" }"#, json!({ "tenant": "a" }), true),
        (r#""required_claims": { "tenant": ["a", "b"] }"#, json!({ "tenant": "b" }), true),
        (r#""required_claims": { "groups": "a" }"#, json!({ "groups": ["x", "a"] }), true),
        (r#""required_claims": { "/org/id": 7 }"#, json!({ "org": { "id": 7 } }), true),
        (r#""required_claims": { "mfa": true }"#, json!({ "mfa": "true" }), false),
        (r#""required_claims": { "tenant": "a" }"#, json!({ "tenant": null }), false),
        (r#""required_claims": { "tenant": "a" }"#, json!({}), false),
    ] {
        let (gateway, jwt) = gateway(&format!(", {more}"), &claims);
        gateway.receive(with_token("good"));
        let decision = gateway.on_request(&jwt);
        assert_eq!(decision == Decision::Proceed, let_in, "{more} {claims}");
        if !let_in {
            let (status, challenge) = refusal(decision);
            assert_eq!(status, 403);
            assert!(challenge.contains(r#"error="insufficient_scope""#), "{challenge}");
            assert_eq!(gateway.identity(), None);
        }
    }
}

#[test]
fn a_token_may_have_to_be_a_consumers() {
    let claims =
        json!({ "sub": "client-7", "iss": "https://id.example/", "groups": ["admin"], "roles": ["shop", "x"] });
    for (credentials, caller) in [
        (vec![("shop", r#"{ "value": "client-7" }"#)], Some("shop")),
        (
            vec![("lab", r#"{ "value": "client-8" }"#), ("shop", r#"{ "claim": "roles", "value": "shop" }"#)],
            Some("shop"),
        ),
        (vec![("shop", r#"{ "value": "client-7", "issuer": "https://id.example/" }"#)], Some("shop")),
        (vec![("shop", r#"{ "value": "client-7", "issuer": "https://other/" }"#)], None),
        (vec![("shop", r#"{ "value": "client-7" }"#), ("shop", r#"{ "claim": "roles", "value": "x" }"#)], Some("shop")),
        (vec![("shop", r#"{ "value": "client-7" }"#), ("lab", r#"{ "claim": "roles", "value": "x" }"#)], None),
        (vec![("shop", r#"{ "value": "client" }"#)], None),
    ] {
        let gateway = Double::new();
        gateway.token("good", Ok(&claims.to_string()));
        for (consumer, credential) in &credentials {
            gateway.credential(consumer, &format!(r#"{{"consumer":"{consumer}","groups":["partners"]}}"#), credential);
        }
        let jwt: Jwt = gateway.configure(&format!(r#"{{ {BASE}, "consumers": true }}"#)).unwrap();
        gateway.receive(with_token("good"));
        let decision = gateway.on_request(&jwt);
        let Some(caller) = caller else {
            assert_eq!((refusal(decision).0, gateway.identity()), (403, None), "{credentials:?}");
            continue;
        };
        assert_eq!(decision, Decision::Proceed, "{credentials:?}");
        let identity = gateway.identity().unwrap();
        let known: Value = serde_json::from_str(&identity.claims).unwrap();
        assert_eq!(
            (identity.subject.as_str(), &known["consumer"], &known["sub"]),
            (caller, &json!(caller), &json!("client-7"))
        );
        assert_eq!(known["groups"], json!(["partners"]), "groups are the consumer's, not the token's");
    }
    let gateway = Double::new();
    let with_consumers = format!(r#"{{ {BASE}, "consumers": true }}"#);
    assert!(gateway.configure::<Jwt>(&with_consumers).err().unwrap().contains("consumers"));
    gateway.credential("one", "{}", r#"{ "value": "a" }"#);
    gateway.credential("two", "{}", r#"{ "value": "a", "issuer": "i" }"#);
    assert!(gateway.configure::<Jwt>(&with_consumers).err().unwrap().contains("\"one\" and \"two\""));
}

#[test]
fn other_subjects_and_none() {
    for (more, claims, subject) in [
        (r#", "subject": "client_id""#, json!({ "client_id": "shop" }), "shop"),
        (r#", "subject": "/user/id""#, json!({ "user": { "id": 42 } }), "42"),
        ("", json!({ "client_id": "shop" }), ""),
    ] {
        let (gateway, jwt) = gateway(more, &claims);
        gateway.receive(with_token("good"));
        assert_eq!(gateway.on_request(&jwt), Decision::Proceed);
        assert_eq!(gateway.identity().unwrap().subject, subject, "{claims}");
    }
}

#[test]
fn the_gateway_gets_the_key_set_as_it_was_written() {
    let (gateway, _) = gateway(r#", "audience": ["a", "b"], "leeway": "30s""#, &json!({}));
    let definition: Value = serde_json::from_str(&gateway.declared_keys(KEYS).unwrap()).unwrap();
    assert_eq!(
        definition,
        json!({
            "algorithms": ["RS256"], "issuer": "https://id.example/", "jwks": "https://id.example/jwks.json",
            "audience": ["a", "b"], "leeway": 30
        })
    );
    gateway
        .configure::<Jwt>(r#"{ "algorithms": ["HS256"], "keys": [{ "secret": "0123", "kid": "k" }], "audience": "a" }"#)
        .map_err(drop)
        .unwrap();
    let definition: Value = serde_json::from_str(&gateway.declared_keys(KEYS).unwrap()).unwrap();
    let keys = json!([{ "secret": "0123", "kid": "k" }]);
    assert_eq!(definition, json!({ "algorithms": ["HS256"], "keys": keys, "audience": "a", "leeway": 0 }));
}

#[test]
fn bad_configurations_are_refused_by_name() {
    let keys = r#""keys": [{ "pem": "x" }]"#;
    for (config, named) in [
        ("{}".to_owned(), "algorithms"),
        (format!("{{ {keys} }}"), "algorithms"),
        (format!(r#"{{ "algorithms": [], {keys} }}"#), "algorithms"),
        (format!(r#"{{ "algorithms": ["none"], {keys} }}"#), "none"),
        (format!(r#"{{ "algorithms": ["rs256"], {keys} }}"#), "rs256"),
        (r#"{ "algorithms": ["RS256"] }"#.to_owned(), "one of keys, jwks, jwks_file and discovery"),
        (r#"{ "algorithms": ["RS256"], "jwks": "https://a/b" }"#.to_owned(), "issuer"),
        (r#"{ "algorithms": ["RS256"], "jwks_file": "a.json" }"#.to_owned(), "issuer"),
        (r#"{ "algorithms": ["RS256"], "discovery": "id" }"#.to_owned(), "issuer"),
        (
            r#"{ "algorithms": ["RS256"], "issuer": "https://a", "discovery": "id", "jwks": "https://a/k" }"#
                .to_owned(),
            "not beside jwks",
        ),
        (r#"{ "algorithms": ["RS256"], "keys": [{}] }"#.to_owned(), "keys[0]"),
        (r#"{ "algorithms": ["RS256"], "keys": [{ "pem": "a", "secret": "b" }] }"#.to_owned(), "keys[0]"),
        (format!(r#"{{ {BASE}, "leeway": "6m" }}"#), "leeway"),
        (format!(r#"{{ {BASE}, "leeway": 30 }}"#), "string"),
        (format!(r#"{{ {BASE}, "from": {{ "header": "te" }} }}"#), "from"),
        (format!(r#"{{ {BASE}, "scopes": ["a b"] }}"#), "a b"),
        (format!(r#"{{ {BASE}, "scopes": ["a\""] }}"#), "scope"),
        (format!(r#"{{ {BASE}, "required_claims": {{ "a": {{}} }} }}"#), "\"a\""),
        (format!(r#"{{ {BASE}, "required_claims": {{ "a": [] }} }}"#), "\"a\""),
        (format!(r#"{{ {BASE}, "claims_to_headers": {{ "host": "a" }} }}"#), "host"),
        (format!(r#"{{ {BASE}, "claims_to_headers": {{ "Authorization": "a" }} }}"#), "where the token is"),
        (format!(r#"{{ {BASE}, "realm": "\u0000" }}"#), "realm"),
        (format!(r#"{{ {BASE}, "isuer": "a" }}"#), "isuer"),
    ] {
        let refused = Double::new().configure::<Jwt>(&config).err().unwrap();
        assert!(refused.contains(named), "{config}: {refused}");
    }
    let gateway = Double::new();
    gateway.refuse_keys("the address is not the operator's");
    assert_eq!(gateway.configure::<Jwt>(&format!("{{ {BASE} }}")).err().unwrap(), "the address is not the operator's");
}

#[test]
fn the_schema_names_the_algorithms_and_has_no_reference() {
    let manifest: Value = serde_json::from_str(&manifest::<Jwt>()).unwrap();
    let schema = &manifest["config-schema"];
    assert_eq!(schema["properties"]["algorithms"]["items"]["enum"][12], json!("EdDSA"));
    assert_eq!(schema["required"], json!(["algorithms"]));
    assert!(!schema.to_string().contains("$ref"));
}
