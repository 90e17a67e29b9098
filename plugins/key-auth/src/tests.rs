#![allow(clippy::unwrap_used)]

use gatewright_sdk::{
    Identity, manifest,
    serde_json::{self, json},
    testing::{Double, Request},
};

use super::*;

const CONFIG: &str = r#"{ "keys": [
    { "key": "alpha-key", "subject": "alpha", "claims": { "tier": "gold" } },
    { "sha256": "51E05B5AD37F2C53E9CF1A40A1C3CA2B05EB66ADB4B5B6A5E0AD1E9C35A2B2A0", "subject": "nobody" },
    { "sha256": "SHA256_OF_BETA", "subject": "beta" },
    { "secret": "gamma", "subject": "gamma" }
] }"#;

fn config() -> String {
    let digest = sha2::Digest::finalize(sha2::Digest::chain_update(<sha2::Sha256 as sha2::Digest>::new(), "beta-key"));
    CONFIG.replace("SHA256_OF_BETA", &digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
}

fn gateway() -> Double {
    let gateway = Double::new();
    gateway.secret("gamma", "gamma-key");
    gateway
}

fn refusal(decision: Decision) -> (u16, String, String) {
    let Decision::Respond(response) = decision else { panic!("{decision:?}") };
    let challenge = response.header("www-authenticate").unwrap_or_default().to_owned();
    let problem: serde_json::Value = serde_json::from_slice(&response.body).unwrap();
    (response.status.as_u16(), challenge, problem["detail"].as_str().unwrap().to_owned())
}

#[test]
fn who_has_a_key_is_let_in_without_it() {
    for (key, subject, claims) in
        [("alpha-key", "alpha", r#"{"tier":"gold"}"#), ("beta-key", "beta", "{}"), ("gamma-key", "gamma", "{}")]
    {
        let gateway = gateway();
        let auth: KeyAuth = gateway.configure(&config()).unwrap();
        gateway.receive(Request::get("/").header("X-API-Key", key));
        assert_eq!(gateway.on_request(&auth), Decision::Proceed, "{key}");
        assert_eq!(
            gateway.identity(),
            Some(Identity { subject: subject.to_owned(), claims: claims.to_owned() }),
            "{key}"
        );
        assert_eq!(gateway.request_header("x-api-key"), None, "the upstream must not see {key}");
    }
}

#[test]
fn who_has_none_gets_a_401_that_says_what_is_needed() {
    let gateway = gateway();
    let auth: KeyAuth = gateway.configure(&config()).unwrap();
    let long = "a".repeat(1 << 20);
    for (keys, reason, detail) in [
        (vec![], "missing", "An API key is needed in the header x-api-key."),
        (vec![""], "missing", "An API key is needed in the header x-api-key."),
        (vec!["ALPHA-KEY"], "unknown", "The API key is not known."),
        (vec!["alpha-key "], "unknown", "The API key is not known."),
        (vec!["alpha-ke"], "unknown", "The API key is not known."),
        (vec![long.as_str()], "unknown", "The API key is not known."),
        (vec!["alpha-key", "alpha-key"], "unclear", "There must be exactly one API key in the header x-api-key."),
        (vec!["wrong", "alpha-key"], "unclear", "There must be exactly one API key in the header x-api-key."),
    ] {
        gateway.receive(keys.iter().fold(Request::get("/"), |request, key| request.header("x-api-key", key)));
        let (status, challenge, said) = refusal(gateway.on_request(&auth));
        assert_eq!((status, said.as_str()), (401, detail));
        assert_eq!(challenge, r#"ApiKey realm="api""#);
        assert_eq!(gateway.identity(), None);
        assert_eq!(gateway.measures().last().unwrap().labels, [reason]);
    }
}

#[test]
fn no_key_is_ever_written_down() {
    let gateway = gateway();
    let auth: KeyAuth = gateway.configure(&config()).unwrap();
    for key in ["alpha-key", "wrong-key"] {
        gateway.receive(Request::get("/").header("x-api-key", key));
        let answer = format!("{:?}", gateway.on_request(&auth));
        let lines: String = gateway.lines().iter().map(ToString::to_string).collect();
        assert!(!answer.contains(key) && !lines.contains(key), "{answer} {lines}");
    }
    for config in [
        r#"{ "keys": [{ "key": "s3cret", "sha256": "s3cret", "subject": "a" }] }"#,
        r#"{ "keys": [{ "sha256": "s3cret", "subject": "a" }] }"#,
        r#"{ "keys": [{ "key": "s3cret", "subject": "a" }, { "key": "s3cret", "subject": "b" }] }"#,
        r#"{ "keys": [{ "key": "s3cret", "subject": "" }] }"#,
    ] {
        let refused = gateway.configure::<KeyAuth>(config).err().unwrap();
        assert!(!refused.contains("s3cret"), "{refused}");
    }
}

#[test]
fn the_key_may_be_elsewhere_and_may_stay() {
    let with = |more: &str| config().replacen("{ \"keys\"", &format!("{{ {more}, \"keys\""), 1);
    let gateway = gateway();

    let auth: KeyAuth = gateway.configure(&with(r#""in": { "query": "key" }"#)).unwrap();
    gateway.receive(Request::get("/a?x=1&key=alpha%2Dkey"));
    assert_eq!(gateway.on_request(&auth), Decision::Proceed);
    assert_eq!(gateway.path(), "/a?x=1");

    let auth: KeyAuth = gateway.configure(&with(r#""in": { "cookie": "key" }, "realm": "my \"shop\"""#)).unwrap();
    gateway.receive(Request::get("/").header("cookie", "theme=dark; key=alpha-key"));
    assert_eq!(gateway.on_request(&auth), Decision::Proceed);
    assert_eq!(gateway.request_header("cookie").as_deref(), Some("theme=dark"));
    gateway.receive(Request::get("/"));
    let (_, challenge, detail) = refusal(gateway.on_request(&auth));
    assert_eq!(challenge, r#"ApiKey realm="my \"shop\"""#);
    assert_eq!(detail, "An API key is needed in the cookie key.");

    let auth: KeyAuth = gateway.configure(&with(r#""forward_credential": true"#)).unwrap();
    gateway.receive(Request::get("/").header("x-api-key", "alpha-key"));
    assert_eq!(gateway.on_request(&auth), Decision::Proceed);
    assert_eq!(gateway.request_header("x-api-key").as_deref(), Some("alpha-key"));
}

#[test]
fn keys_of_consumers_are_let_in_where_the_operator_says_so() {
    let gateway = gateway();
    gateway.credential("shop", r#"{"consumer":"shop","groups":["partners"]}"#, r#"{ "key": "shop-key" }"#);
    gateway.credential("shop", r#"{"consumer":"shop","groups":["partners"]}"#, r#"{ "secret": "gamma" }"#);
    let subject = |auth: &KeyAuth, key: &str| {
        gateway.receive(Request::get("/").header("x-api-key", key));
        let _ = gateway.on_request(auth);
        gateway.identity()
    };
    let auth: KeyAuth =
        gateway.configure(r#"{ "consumers": true, "keys": [{ "key": "own", "subject": "own" }] }"#).unwrap();
    let shop =
        Identity { subject: "shop".to_owned(), claims: r#"{"consumer":"shop","groups":["partners"]}"#.to_owned() };
    assert_eq!(subject(&auth, "shop-key"), Some(shop.clone()));
    assert_eq!(subject(&auth, "gamma-key"), Some(shop));
    assert_eq!(subject(&auth, "own").unwrap().subject, "own");
    assert_eq!(subject(&auth, "other"), None);
    let auth: KeyAuth = gateway.configure(r#"{ "keys": [{ "key": "own", "subject": "own" }] }"#).unwrap();
    assert_eq!(subject(&auth, "shop-key"), None);

    let twice =
        gateway.configure::<KeyAuth>(r#"{ "consumers": true, "keys": [{ "key": "shop-key", "subject": "own" }] }"#);
    let refused = twice.err().unwrap();
    assert!(refused.contains("\"shop\"") && !refused.contains("shop-key"), "{refused}");
    gateway.credential("bad", "{}", r#"{ "sha256": "s3cret" }"#);
    let refused = gateway.configure::<KeyAuth>(r#"{ "consumers": true }"#).err().unwrap();
    assert!(refused.contains("the consumer \"bad\": sha256") && !refused.contains("s3cret"), "{refused}");
}

#[test]
fn optional_lets_pass_who_has_no_key_but_not_who_has_a_bad_one() {
    let gateway = gateway();
    let auth: KeyAuth = gateway.configure(&config().replacen('{', r#"{ "optional": true,"#, 1)).unwrap();
    gateway.receive(Request::get("/"));
    assert_eq!((gateway.on_request(&auth), gateway.identity()), (Decision::Proceed, None));
    gateway.receive(Request::get("/").header("x-api-key", "wrong"));
    assert_eq!(refusal(gateway.on_request(&auth)).0, 401);
}

#[test]
fn a_key_that_cannot_be_hidden_is_not_used() {
    let gateway = gateway();
    let auth: KeyAuth = gateway.configure(&config().replacen('{', r#"{ "in": { "query": "key" },"#, 1)).unwrap();
    gateway.receive(Request::get("/a b?key=alpha-key"));
    let Decision::Respond(response) = gateway.on_request(&auth) else { panic!("let in") };
    assert_eq!(response.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(gateway.identity(), None);
}

#[test]
fn bad_configurations_are_refused_by_name() {
    for (config, named) in [
        (r#"{}"#, "keys: at least one"),
        (r#"{ "consumers": true }"#, "of a consumer"),
        (r#"{ "keys": [] }"#, "at least one"),
        (r#"{ "keys": [{ "key": "a" }] }"#, "subject"),
        (r#"{ "keys": [{ "subject": "a" }] }"#, "keys[0]: exactly one"),
        (r#"{ "keys": [{ "key": "", "subject": "a" }] }"#, "keys[0]: key is empty"),
        (r#"{ "keys": [{ "key": "a", "secret": "b", "subject": "a" }] }"#, "keys[0]: exactly one"),
        (r#"{ "keys": [{ "sha256": "00", "subject": "a" }] }"#, "keys[0]: sha256"),
        (
            r#"{ "keys": [{ "key": "a", "subject": "a" }, { "secret": "none", "subject": "b" }] }"#,
            "keys[1]: the secret \"none\"",
        ),
        (r#"{ "keys": [{ "key": "a", "subject": "a" }], "in": { "header": "host" } }"#, "in: \"host\""),
        (r#"{ "keys": [{ "key": "a", "subject": "a" }], "in": { "body": "x" } }"#, "body"),
        (r#"{ "keys": [{ "key": "a", "subject": "a" }], "realm": "a\nb" }"#, "realm"),
        (r#"{ "keys": [{ "key": "a", "subject": "a" }], "hidden": true }"#, "hidden"),
    ] {
        let refused = Double::new().configure::<KeyAuth>(config).err().unwrap();
        assert!(refused.contains(named), "{config}: {refused}");
    }
}

#[test]
fn the_schema_says_what_is_needed() {
    let manifest: serde_json::Value = serde_json::from_str(&manifest::<KeyAuth>()).unwrap();
    assert_eq!(manifest["name"], json!("key-auth"));
    let schema = &manifest["config-schema"];
    assert_eq!(schema["anyOf"], json!([{ "required": ["keys"] }, { "required": ["consumers"] }]));
    assert_eq!(manifest["credential-schema"]["oneOf"][1], json!({ "required": ["sha256"] }));
    assert_eq!(manifest["credential-schema"]["additionalProperties"], json!(false));
    assert_eq!(schema["additionalProperties"], json!(false));
    assert_eq!(schema["properties"]["in"]["default"], json!({ "header": "x-api-key" }));
    assert_eq!(schema["properties"]["keys"]["items"]["oneOf"][1], json!({ "required": ["sha256"] }));
    assert!(!schema.to_string().contains("$ref"), "a reference would break inside the gateway's schema");
}
