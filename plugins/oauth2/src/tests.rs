#![allow(clippy::unwrap_used)]

use gatewright_sdk::{
    StatusCode,
    http_client::CallError,
    manifest,
    serde_json::{self, Value, json},
    testing::{Double, Request},
};

use super::*;

const BASE: &str = r#""upstream": "id", "client_id": "gate way", "client_secret": "id-secret""#;

type Answer = Result<http_client::Response, CallError>;

fn answer(status: u16, body: &str) -> Answer {
    let status = StatusCode::from_u16(status).unwrap();
    Ok(http_client::Response { status, headers: Vec::new(), body: body.as_bytes().to_vec() })
}

/// A gateway whose issuer returns `claims` for `good`, and "not active" for all other tokens.
fn gateway(more: &str, claims: &str) -> (Double, OAuth2) {
    let gateway = Double::new();
    gateway.secret("id-secret", "s3:cret");
    let active = format!(r#"{{"active":true{claims}}}"#);
    gateway.upstream("id", move |question| {
        let body = str::from_utf8(&question.body).unwrap();
        if body.starts_with("token=good&") { answer(200, &active) } else { answer(200, r#"{"active":false}"#) }
    });
    let plugin = gateway.configure(&format!("{{ {BASE} {more} }}")).unwrap();
    (gateway, plugin)
}

fn with_token(token: &str) -> Request {
    Request::get("/").header("authorization", &format!("Bearer {token}"))
}

fn refusal(decision: Decision) -> (u16, String) {
    let Decision::Respond(response) = decision else { panic!("{decision:?}") };
    (response.status.as_u16(), response.header("www-authenticate").unwrap_or_default().to_owned())
}

#[test]
fn an_active_token_is_an_identity() {
    let more = r#", "claims_to_headers": { "x-user": "username" }, "scopes": ["read"], "path": "/oauth/introspect""#;
    let (gateway, plugin) = gateway(more, r#","sub":"ada","username":"Ada","scope":"read write","exp":1767225700"#);
    gateway.receive(with_token("good").header("x-user", "root"));
    assert_eq!(gateway.on_request(&plugin), Decision::Proceed);
    let identity = gateway.identity().unwrap();
    assert_eq!(identity.subject, "ada");
    assert!(!identity.claims.contains("active"), "{}", identity.claims);
    assert_eq!(gateway.request_header("x-user").as_deref(), Some("Ada"));
    assert_eq!(gateway.request_header("authorization"), None);
    let question = gateway.calls().pop().unwrap();
    assert_eq!((question.method.as_str(), question.path.as_str()), ("POST", "/oauth/introspect"));
    assert_eq!(String::from_utf8(question.body).unwrap(), "token=good&token_type_hint=access_token");
    let authorization = question.headers.iter().find(|(name, _)| name == "authorization").unwrap();
    assert_eq!(authorization.1, format!("Basic {}", STANDARD.encode("gate%20way:s3%3Acret")));

    let (gateway, plugin) = self::gateway(r#", "client_auth": "post""#, "");
    gateway.receive(with_token("good"));
    let _ = gateway.on_request(&plugin);
    let question = gateway.calls().pop().unwrap();
    let body = "token=good&token_type_hint=access_token&client_id=gate%20way&client_secret=s3%3Acret";
    assert_eq!(String::from_utf8(question.body).unwrap(), body);
    assert!(question.headers.iter().all(|(name, _)| name != "authorization"));
}

#[test]
fn answers_are_kept_no_longer_than_they_hold() {
    let second = Duration::from_secs(1);
    for (more, claims, token, kept) in [
        ("", "", "good", 60),
        ("", r#","exp":1767225605"#, "good", 5),
        ("", r#","exp":1767229200"#, "good", 60),
        (r#", "max_ttl": "10m""#, r#","exp":1767225900"#, "good", 300),
        (r#", "max_ttl": "0s""#, "", "good", 0),
        ("", "", "bad", 10),
        (r#", "negative_ttl": "0s""#, "", "bad", 0),
    ] {
        let (gateway, plugin) = gateway(more, claims);
        let ask = || {
            gateway.receive(with_token(token));
            let decision = gateway.on_request(&plugin);
            assert_eq!(decision == Decision::Proceed, token == "good");
            gateway.calls().len()
        };
        assert_eq!(ask(), 1, "{more} {claims}");
        assert_eq!(ask(), if kept == 0 { 2 } else { 1 });
        if kept > 0 {
            gateway.advance(second * (kept - 1));
            assert_eq!(ask(), 1, "{more} {claims}");
            gateway.advance(second);
            gateway.receive(with_token(token));
            let _ = gateway.on_request(&plugin);
            assert_eq!(gateway.calls().len(), 2, "{more} {claims}");
        }
    }
}

#[test]
fn what_was_said_elsewhere_does_not_count_here() {
    let (gateway, one) = gateway("", r#","aud":"a""#);
    gateway.receive(with_token("good"));
    assert_eq!(gateway.on_request(&one), Decision::Proceed);
    for more in [
        r#", "path": "/other""#,
        r#", "audience": "b""#,
        r#", "issuer": "me""#,
        r#", "max_ttl": "0s""#,
        r#", "negative_ttl": "1s""#,
    ] {
        let other: OAuth2 = gateway.configure(&format!("{{ {BASE} {more} }}")).unwrap();
        let before = gateway.calls().len();
        gateway.receive(with_token("good"));
        let _ = gateway.on_request(&other);
        assert_eq!(gateway.calls().len(), before + 1, "{more}");
    }
}

#[test]
fn a_token_that_is_not_active_is_refused() {
    let (gateway, plugin) = gateway("", "");
    gateway.receive(with_token("bad"));
    let challenge = r#"Bearer realm="api", error="invalid_token", error_description="the token is not active""#;
    assert_eq!(refusal(gateway.on_request(&plugin)), (401, challenge.to_owned()));
    assert_eq!(
        (gateway.identity(), gateway.measures().last().unwrap().labels.as_slice()),
        (None, &["inactive".to_owned()][..])
    );
    let asked = gateway.calls().len();
    for token in ["a\u{e9}b", &"a".repeat(20_000)] {
        gateway.receive(with_token(token));
        assert_eq!(refusal(gateway.on_request(&plugin)).0, 401);
    }
    gateway.receive(Request::get("/"));
    assert_eq!(refusal(gateway.on_request(&plugin)), (401, r#"Bearer realm="api""#.to_owned()));
    assert_eq!(gateway.calls().len(), asked, "nobody is asked about what is no token");
}

#[test]
fn without_an_answer_nobody_is_let_in_and_nothing_is_kept() {
    for bad in [
        answer(401, "{}"),
        answer(500, r#"{"active":true}"#),
        answer(201, r#"{"active":true}"#),
        answer(302, ""),
        answer(200, "<html>"),
        answer(200, r#"{"active":"true"}"#),
        answer(200, r#"{"sub":"ada"}"#),
        Err(CallError::TimedOut),
        Err(CallError::ConnectionFailed("gone".to_owned())),
    ] {
        let gateway = Double::new();
        gateway.secret("id-secret", "secret");
        let first = bad.clone();
        gateway.upstream("id", move |_| first.clone());
        let plugin: OAuth2 = gateway.configure(&format!("{{ {BASE} }}")).unwrap();
        gateway.receive(with_token("good"));
        assert_eq!(refusal(gateway.on_request(&plugin)).0, 503, "{bad:?}");
        assert_eq!(gateway.identity(), None);
        gateway.upstream("id", |_| answer(200, r#"{"active":true,"sub":"ada"}"#));
        gateway.receive(with_token("good"));
        assert_eq!(gateway.on_request(&plugin), Decision::Proceed, "{bad:?}");
        let lines: String = gateway.lines().iter().map(ToString::to_string).collect();
        assert!(!lines.contains("good") && !lines.contains("secret"), "{lines}");
    }
}

#[test]
fn bad_configurations_are_refused_by_name() {
    let with = |more: &str| format!("{{ {BASE}, {more} }}");
    for (config, named) in [
        ("{}".to_owned(), "upstream"),
        (r#"{ "upstream": "id", "client_id": "a" }"#.to_owned(), "client_secret"),
        (r#"{ "upstream": "id", "client_id": "a", "client_secret": "none" }"#.to_owned(), "the secret \"none\""),
        (r#"{ "upstream": "id", "client_id": "", "client_secret": "id-secret" }"#.to_owned(), "client_id"),
        (with(r#""path": "introspect""#), "path"),
        (with(r#""max_ttl": "2h""#), "max_ttl"),
        (with(r#""negative_ttl": "2m""#), "negative_ttl"),
        (with(r#""timeout": "0s""#), "timeout"),
        (with(r#""audience": []"#), "audience"),
        (with(r#""client_auth": "none""#), "none"),
        (with(r#""scopes": ["a b"]"#), "a b"),
        (with(r#""claims_to_headers": { "host": "a" }"#), "host"),
        (with(r#""consumers": true"#), "consumers"),
        (with(r#""introspect": "/""#), "introspect"),
    ] {
        let gateway = Double::new();
        gateway.secret("id-secret", "s3cret");
        let refused = gateway.configure::<OAuth2>(&config).err().unwrap_or_else(|| panic!("{config} is accepted"));
        assert!(refused.contains(named) && !refused.contains("s3cret"), "{config}: {refused}");
    }
}

#[test]
fn the_schema_has_safe_defaults() {
    let manifest: Value = serde_json::from_str(&manifest::<OAuth2>()).unwrap();
    let schema = &manifest["config-schema"];
    assert_eq!(schema["required"], json!(["upstream", "client_id", "client_secret"]));
    assert_eq!(schema["properties"]["max_ttl"]["default"], json!("60s"));
    assert_eq!(schema["properties"]["negative_ttl"]["default"], json!("10s"));
}

#[test]
fn what_comes_of_anothers_question_is_good_enough() {
    for (turn, expected) in [
        (Turn::Done(b"+{\"sub\":\"ada\"}".to_vec()), None),
        (Turn::Done(b"-".to_vec()), Some(401)),
        (Turn::Done(Vec::new()), Some(503)),
        (Turn::Done(b"?".to_vec()), Some(503)),
        (Turn::TimedOut, Some(503)),
    ] {
        let gateway = Double::new();
        gateway.secret("id", "s");
        gateway.allow_upstream("id");
        let plugin: OAuth2 =
            gateway.configure(r#"{ "upstream": "id", "client_id": "gate", "client_secret": "id" }"#).unwrap();
        gateway.others_turn(turn.clone());
        gateway.receive(Request::get("/").header("authorization", "Bearer t"));
        let status = match gateway.on_request(&plugin) {
            Decision::Respond(response) => Some(response.status.as_u16()),
            Decision::Proceed => None,
            Decision::Abort => panic!("{turn:?}"),
        };
        assert_eq!(status, expected, "{turn:?}");
        assert!(gateway.calls().is_empty(), "{turn:?}");
        assert_eq!(gateway.identity().is_some(), expected.is_none(), "{turn:?}");
    }
}
