#![allow(clippy::unwrap_used)]

use base64::{Engine, engine::general_purpose::STANDARD};
use gatewright_sdk::{
    Identity, manifest,
    serde_json::{self, json},
    testing::{Double, Request},
};

use super::*;

const CONFIG: &str = r##"{
    "users": [
        { "name": "ada", "hash": "$argon2id$ada", "claims": { "groups": ["admin"] } },
        { "name": "bob", "secret": "bob-hash", "subject": "robert" }
    ],
    "htpasswd": "# made with htpasswd -B\n\neve:$2y$05$eve\r\n"
}"##;

fn gateway() -> (Double, BasicAuth) {
    let gateway = Double::new();
    gateway.secret("bob-hash", "$2b$bob\n");
    gateway.password("$argon2id$ada", "open: sesame");
    gateway.password("$2b$bob", "b\u{f6}b");
    gateway.password("$2y$05$eve", "");
    let auth = gateway.configure(CONFIG).unwrap();
    (gateway, auth)
}

fn basic(name: &str, password: &str) -> Request {
    Request::get("/").header("authorization", &format!("Basic {}", STANDARD.encode(format!("{name}:{password}"))))
}

fn refusal(decision: Decision) -> (u16, String) {
    let Decision::Respond(response) = decision else { panic!("{decision:?}") };
    let challenge = response.header("www-authenticate").unwrap_or_default().to_owned();
    (response.status.as_u16(), challenge)
}

#[test]
fn who_knows_the_password_is_let_in_without_it() {
    let (gateway, auth) = gateway();
    for (name, password, subject, claims) in [
        ("ada", "open: sesame", "ada", r#"{"groups":["admin"]}"#),
        ("bob", "b\u{f6}b", "robert", "{}"),
        ("eve", "", "eve", "{}"),
    ] {
        gateway.receive(basic(name, password));
        assert_eq!(gateway.on_request(&auth), Decision::Proceed, "{name}");
        let expected = Identity { subject: subject.to_owned(), claims: claims.to_owned() };
        assert_eq!(gateway.identity(), Some(expected), "{name}");
        assert_eq!(gateway.request_header("authorization"), None, "the upstream must not see the password");
    }
}

#[test]
fn everybody_else_is_asked_for_it() {
    let (gateway, auth) = gateway();
    let two = basic("ada", "open: sesame").header("authorization", "Basic YTpi");
    for (request, reason) in [
        (Request::get("/"), "missing"),
        (Request::get("/").header("authorization", "Bearer abc"), "missing"),
        (Request::get("/").header("authorization", "Basic YWJj"), "malformed"),
        (Request::get("/").header_bytes("authorization", b"Basic \xff"), "malformed"),
        (two, "malformed"),
        (basic("ada", "open sesame"), "wrong"),
        (basic("ada", ""), "wrong"),
        (basic("Ada", "open: sesame"), "wrong"),
        (basic("bob", "open: sesame"), "wrong"),
        (basic("robert", "b\u{f6}b"), "wrong"),
        (basic("nobody", "open: sesame"), "wrong"),
        (basic("# made with htpasswd -B", ""), "wrong"),
    ] {
        gateway.receive(request);
        let (status, challenge) = refusal(gateway.on_request(&auth));
        assert_eq!((status, challenge.as_str()), (401, r#"Basic realm="api", charset="UTF-8""#));
        assert_eq!(gateway.identity(), None);
        assert_eq!(gateway.measures().last().unwrap().labels, [reason]);
    }
}

/// The gateway remembers correct pairs, so a decoy must never be checked with a password that could be correct.
#[test]
fn a_name_that_nobody_has_costs_the_same_and_cannot_be_right() {
    let (gateway, auth) = gateway();
    for name in ["nobody", "root", "ad", "adaa", "\u{e4}da"] {
        for password in ["open: sesame", "b\u{f6}b", "x", ""] {
            let before = gateway.passwords_checked().len();
            gateway.receive(basic(name, password));
            assert_eq!(refusal(gateway.on_request(&auth)).0, 401);
            assert_eq!(gateway.passwords_checked().len(), before + 1, "one check, as for a name that somebody has");
        }
    }
    assert_eq!(auth.users.decoy("nobody"), auth.users.decoy("nobody"));
    let hashes: std::collections::BTreeSet<_> =
        (0..64).map(|n| auth.users.decoy(&format!("user-{n}")).to_owned()).collect();
    assert_eq!(hashes.len(), 3, "of every kind that there is");
    for password in ["", "a", "ab", "\u{e4}", "a\u{1F600}"] {
        let other = impossible(password);
        assert!(other.contains('\u{1}') && other.len() == password.len().max(1), "{password:?} {other:?}");
    }
}

#[test]
fn consumers_come_in_by_their_own_name_or_another() {
    let (gateway, _) = gateway();
    gateway.credential("shop", r#"{"consumer":"shop"}"#, r#"{ "hash": "$2y$05$eve" }"#);
    gateway.credential("lab", r#"{"consumer":"lab"}"#, r#"{ "name": "bob", "secret": "bob-hash" }"#);
    let auth: BasicAuth = gateway.configure(r#"{ "consumers": true }"#).unwrap();
    for (name, password, consumer) in [("shop", "", "shop"), ("bob", "b\u{f6}b", "lab")] {
        gateway.receive(basic(name, password));
        assert_eq!(gateway.on_request(&auth), Decision::Proceed, "{name}");
        let expected = Identity { subject: consumer.to_owned(), claims: format!(r#"{{"consumer":"{consumer}"}}"#) };
        assert_eq!(gateway.identity(), Some(expected));
    }
    for (name, password) in [("lab", "b\u{f6}b"), ("eve", ""), ("ada", "open: sesame")] {
        gateway.receive(basic(name, password));
        assert_eq!(refusal(gateway.on_request(&auth)).0, 401, "{name}");
    }
    let twice =
        gateway.configure::<BasicAuth>(r#"{ "consumers": true, "users": [{ "name": "bob", "hash": "$2y$05$eve" }] }"#);
    assert!(twice.err().unwrap().contains("the consumer \"lab\": \"bob\" is there twice"));

    let auth: BasicAuth = gateway.configure(r#"{ "consumers": true, "optional": true }"#).unwrap();
    gateway.receive(Request::get("/"));
    assert_eq!((gateway.on_request(&auth), gateway.identity()), (Decision::Proceed, None));
    gateway.receive(basic("shop", "wrong"));
    assert_eq!(refusal(gateway.on_request(&auth)).0, 401);
}

#[test]
fn who_cannot_be_checked_now_may_come_again() {
    let (gateway, auth) = gateway();
    gateway.passwords_are_busy(true);
    for name in ["ada", "nobody"] {
        gateway.receive(basic(name, "open: sesame"));
        let Decision::Respond(response) = gateway.on_request(&auth) else { panic!("let in") };
        assert_eq!((response.status.as_u16(), response.header("retry-after")), (503, Some("1")), "{name}");
        assert_eq!(gateway.identity(), None);
    }
}

#[test]
fn no_password_and_no_hash_is_ever_written_down() {
    let (gateway, auth) = gateway();
    for name in ["ada", "bob", "nobody"] {
        gateway.receive(basic(name, "open: sesame"));
        let answer = format!("{:?}", gateway.on_request(&auth));
        let lines: String = gateway.lines().iter().map(ToString::to_string).collect();
        let told = format!("{answer} {lines}");
        assert!(!told.contains("sesame") && !told.contains("$argon2id$ada"), "{told}");
    }
}

#[test]
fn the_password_may_be_sent_on() {
    let (gateway, _) = gateway();
    let auth: BasicAuth = gateway
        .configure(&CONFIG.replacen('{', r#"{ "forward_credential": true, "realm": "my \"shop\"","#, 1))
        .unwrap();
    gateway.receive(basic("ada", "open: sesame"));
    assert_eq!(gateway.on_request(&auth), Decision::Proceed);
    assert!(gateway.request_header("authorization").is_some());
    gateway.receive(Request::get("/"));
    assert_eq!(refusal(gateway.on_request(&auth)).1, r#"Basic realm="my \"shop\"", charset="UTF-8""#);
}

#[test]
fn bad_configurations_are_refused_by_name_and_without_the_hash() {
    for (config, named) in [
        (r#"{}"#, "users"),
        (r#"{ "users": [] }"#, "at least one user"),
        (r##"{ "htpasswd": "# nobody\n" }"##, "at least one user"),
        (r#"{ "users": [{ "name": "a" }] }"#, "users[0]: exactly one"),
        (r#"{ "users": [{ "name": "a", "hash": "s3cret" }] }"#, "users[0]: the hash of \"a\""),
        (r#"{ "users": [{ "name": "a:b", "hash": "$2y$s3cret" }] }"#, "\"a:b\" is no name"),
        (r#"{ "users": [{ "name": "", "hash": "$2y$s3cret" }] }"#, "is no name"),
        (
            r#"{ "users": [{ "name": "a", "hash": "$2y$s3cret" }, { "name": "a", "hash": "$2y$s3cret" }] }"#,
            "users[1]: \"a\" is there twice",
        ),
        (r#"{ "users": [{ "name": "a", "secret": "none" }] }"#, "the secret \"none\""),
        (r#"{ "users": [{ "name": "a", "hash": "$2y$s3cret", "password": "s3cret" }] }"#, "password"),
        (r#"{ "htpasswd": "a:$2y$s3cret\nb" }"#, "htpasswd, line 2: there is no colon"),
        (r#"{ "htpasswd": "a:$apr1$s3cret" }"#, "htpasswd, line 1: the hash of \"a\""),
        (r#"{ "htpasswd": "a:{SHA}s3cret" }"#, "htpasswd -nB"),
        (r#"{ "htpasswd": "a:s3cret" }"#, "htpasswd, line 1"),
        (
            r#"{ "users": [{ "name": "a", "hash": "$2y$s3cret" }], "htpasswd": "a:$2y$s3cret" }"#,
            "htpasswd, line 1: \"a\" is there twice",
        ),
        (r#"{ "htpasswd": "a:$2y$s3cret", "realm": "a\nb" }"#, "realm"),
    ] {
        let refused = Double::new().configure::<BasicAuth>(config).err().unwrap();
        assert!(refused.contains(named) && !refused.contains("s3cret"), "{config}: {refused}");
    }
}

#[test]
fn the_schema_has_the_defaults() {
    let manifest: Value = serde_json::from_str(&manifest::<BasicAuth>()).unwrap();
    let properties = &manifest["config-schema"]["properties"];
    assert_eq!(properties["forward_credential"]["default"], json!(false));
    assert_eq!(properties["realm"]["default"], json!("api"));
}
