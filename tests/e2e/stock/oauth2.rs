//! `oauth2`: tokens of which only their issuer knows what they are worth.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use gatewright_tests::{Received, Scripted, Server, TestGateway, read_head};
use http::Response;
use http_body_util::Full;
use serde_json::{Value, json};

const SECRET: &str = "the gateway's secret";

fn reply(status: u16, body: &str) -> Response<Full<Bytes>> {
    Response::builder().status(status).body(Full::new(Bytes::from(body.to_owned()))).unwrap()
}

/// An issuer as RFC 7662 has it, which knows the gateway and two tokens.
fn introspection(request: &Received) -> Response<Full<Bytes>> {
    let expected = format!("Basic {}", BASE64.encode("gateway:the%20gateway%27s%20secret"));
    if request.header("authorization") != Some(&expected) {
        return reply(401, r#"{"error":"invalid_client"}"#);
    }
    assert_eq!((request.method.as_str(), request.target.as_str()), ("POST", "/introspect"));
    assert_eq!(request.header("content-type"), Some("application/x-www-form-urlencoded"));
    match std::str::from_utf8(&request.body).unwrap().split('&').next().unwrap() {
        "token=reader" => reply(200, r#"{"active":true,"sub":"ada","scope":"read","exp":99999999999}"#),
        "token=writer" => reply(200, r#"{"active":true,"sub":"bob","scope":"read write"}"#),
        _ => reply(200, r#"{"active":false}"#),
    }
}

fn gateway(behind: &Server, issuer: &str, more: Value) -> TestGateway {
    let mut config = json!({ "upstream": "id", "client_id": "gateway", "client_secret": "id", "claims_to_headers": { "x-user": "sub" } });
    config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let config = json!({
        "upstreams": { "behind": [behind.text()], "id": [issuer] },
        "secrets": { "id": { "file": "id.secret" } },
        "plugins": { "oauth2": { "grants": { "upstreams": ["id"], "secrets": ["id"] } } },
        "consumers": { "shop": { "credentials": { "oauth2": [{ "value": "ada" }] } } },
        "routes": [{ "match": {}, "plugins": [{ "oauth2": config }], "to": "behind" }],
    });
    TestGateway::start_beside(config, |directory| std::fs::write(directory.join("id.secret"), SECRET).unwrap())
}

async fn ask(gateway: &TestGateway, token: &str) -> gatewright_tests::Answer {
    gateway.get_with("/", &[("authorization", &format!("Bearer {token}")), ("x-user", "root")]).await
}

#[tokio::test]
async fn an_active_token_lets_in_and_the_issuer_is_asked_once() {
    let (behind, issuer) = (Server::named("behind").await, Server::start(introspection).await);
    let gateway = gateway(&behind, &issuer.text(), json!({ "scopes": ["read"] }));
    for _ in 0..5 {
        assert_eq!(ask(&gateway, "reader").await.status, 200);
        let received = behind.received().pop().unwrap();
        assert_eq!((received.header("x-user"), received.header("authorization")), (Some("ada"), None));
    }
    assert_eq!(issuer.received().len(), 1, "on two cores, and one answer for both");
    for token in ["forged", "forged", "reader%20", "READER"] {
        let refused = ask(&gateway, token).await;
        refused.problem(401);
        let challenge = refused.header("www-authenticate").unwrap();
        assert!(challenge.starts_with("Bearer realm=\"api\", error=\"invalid_token\""), "{challenge}");
    }
    assert_eq!(issuer.received().len(), 4, "also that a token is not active is kept");
    assert_eq!(behind.received().len(), 5);
    gateway.get("/").await.problem(401);
    let body = std::str::from_utf8(&issuer.received()[2].body).unwrap().to_owned();
    assert_eq!(body, "token=reader%2520&token_type_hint=access_token", "the token is what the client sent");
    let records = serde_json::to_string(&gateway.records()).unwrap();
    assert!(!records.contains("reader") && !records.contains(SECRET), "{records}");
}

#[tokio::test]
async fn a_token_is_judged_by_what_the_issuer_says_of_it() {
    let (behind, issuer) = (Server::named("behind").await, Server::start(introspection).await);
    for (more, reader, writer) in [
        (json!({ "scopes": ["write"] }), 403, 200),
        (json!({ "required_claims": { "sub": "ada" } }), 200, 403),
        (json!({ "consumers": true }), 200, 403),
        (json!({ "issuer": "me" }), 401, 401),
        (json!({ "audience": "api" }), 401, 401),
    ] {
        let gateway = gateway(&behind, &issuer.text(), more.clone());
        let statuses = (ask(&gateway, "reader").await.status, ask(&gateway, "writer").await.status);
        assert_eq!(statuses, (reader, writer), "{more}");
    }
}

#[tokio::test]
async fn without_an_issuer_nobody_new_is_let_in() {
    let behind = Server::named("behind").await;
    let silent = Scripted::start(|mut stream| async move {
        read_head(&mut stream).await;
        std::future::pending::<()>().await;
    })
    .await;
    let nonsense = Scripted::answering(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ntrue").await;
    let half = Scripted::answering(b"HTTP/1.1 200 OK\r\ncontent-length: 40\r\n\r\n{\"active\":true}").await;
    let wrong = Server::start(|_| reply(401, "{}")).await;
    for issuer in ["127.0.0.1:9".to_owned(), silent.text(), nonsense.text(), half.text(), wrong.text()] {
        let gateway = gateway(&behind, &issuer, json!({ "timeout": "300ms" }));
        ask(&gateway, "reader").await.problem(503);
        assert!(behind.received().is_empty(), "{issuer}");
    }
    let up = Arc::new(AtomicBool::new(true));
    let state = up.clone();
    let issuer = Server::start(move |request| match state.load(Ordering::SeqCst) {
        true => introspection(request),
        false => reply(503, ""),
    })
    .await;
    let gateway = gateway(&behind, &issuer.text(), json!({}));
    assert_eq!(ask(&gateway, "reader").await.status, 200);
    up.store(false, Ordering::SeqCst);
    assert_eq!(ask(&gateway, "reader").await.status, 200, "what is known works on");
    assert_eq!(ask(&gateway, "writer").await.status, 503);
    up.store(true, Ordering::SeqCst);
    assert_eq!(ask(&gateway, "writer").await.status, 200, "a failure is not kept");
}

#[test]
fn what_cannot_work_is_a_mistake_in_the_configuration() {
    let id = json!({ "upstream": "id", "client_id": "a", "client_secret": "id" });
    for (grants, oauth2, words) in [
        (json!({ "upstreams": ["id"] }), id.clone(), "the secret \"id\" is not granted"),
        (json!({ "secrets": ["id"] }), id.clone(), "http-client, which is not granted"),
        (json!({ "upstreams": ["id"], "secrets": ["id"] }), json!({ "upstream": "id" }), "\"client_id\" is missing"),
    ] {
        let config = json!({
            "upstreams": { "id": ["127.0.0.1:9"] },
            "secrets": { "id": { "file": "id.secret" } },
            "plugins": { "oauth2": { "grants": grants } },
            "routes": [{ "match": {}, "plugins": [{ "oauth2": oauth2 }, "echo"] }],
        });
        let started = TestGateway::try_start_beside(config, |directory| {
            std::fs::write(directory.join("id.secret"), SECRET).unwrap();
        });
        let refused = started.err().unwrap().to_string();
        assert!(refused.contains(words) && !refused.contains(SECRET), "{refused}");
    }
}
