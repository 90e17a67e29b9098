//! `oauth2`: tokens of which only their issuer knows what they are worth.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use gatewright_tests::{Received, Scripted, Server, Slow, TestGateway, eventually, read_head};
use http::Response;
use http_body_util::Full;
use serde_json::{Value, json};
use tokio::task::JoinSet;

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
        "plugins": { "oauth2": {
            "grants": { "upstreams": ["id"], "secrets": ["id"] }, "limits": { "callout_timeout": "1m" },
        } },
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
        (json!({ "secrets": ["id"] }), id.clone(), "the upstream \"id\" is not granted"),
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

/// An issuer that answers so when it is let.
async fn slow(answer: &'static str) -> Slow {
    Slow::answering(move |_| answer.to_owned()).await
}

const ACTIVE: &str =
    "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 27\r\n\r\n{\"active\":true,\"sub\":\"ada\"}";
const INACTIVE: &str = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 16\r\n\r\n{\"active\":false}";
const BROKEN: &str = "HTTP/1.1 500 Oops\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// Sends so many requests with one token.
fn crowd(gateway: &TestGateway, count: usize) -> JoinSet<u16> {
    let (address, mut clients) = (gateway.address(), JoinSet::new());
    for _ in 0..count {
        clients.spawn(async move {
            gatewright_tests::send(address, "GET", "/", &[("authorization", "Bearer new")], "").await.status
        });
    }
    clients
}

async fn under_way(gateway: &TestGateway, count: usize) {
    eventually("all are waiting", async || {
        (gateway.metric("http_server_active_requests", &[]).await >= count as f64).then_some(())
    })
    .await;
}

/// Over all cores, and whatever the answer is: also a failure is one for all who have waited for it. It is not kept, so who comes
/// after it asks again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_thousand_requests_with_one_unknown_token_one_asks() {
    for (answer, status, count, most) in [(ACTIVE, 200, 1000, 1), (INACTIVE, 401, 100, 1), (BROKEN, 503, 100, 5)] {
        let behind = Server::named("behind").await;
        let issuer = slow(answer).await;
        let gateway = gateway(&behind, &issuer.text(), json!({ "timeout": "60s" }));
        let clients = crowd(&gateway, count);
        under_way(&gateway, count).await;
        issuer.release(most);
        let statuses = clients.join_all().await;
        assert_eq!(statuses.iter().filter(|got| **got == status).count(), count, "{answer}: {statuses:?}");
        assert!((1..=most).contains(&issuer.asked()), "{answer}: {}", issuer.asked());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_for_all_may_leave_and_another_asks() {
    let behind = Server::named("behind").await;
    let issuer = slow(ACTIVE).await;
    let gateway = gateway(&behind, &issuer.text(), json!({ "timeout": "60s" }));
    let mut first = gatewright_tests::Wire::connect(gateway.address()).await;
    first.send("GET / HTTP/1.1\r\nhost: a\r\nauthorization: Bearer new\r\n\r\n").await;
    eventually("it asks", async || (issuer.asked() == 1).then_some(())).await;
    let clients = crowd(&gateway, 20);
    under_way(&gateway, 21).await;
    first.reset();
    eventually("another asks", async || (issuer.asked() == 2).then_some(())).await;
    issuer.release(2);
    assert_eq!(clients.join_all().await, vec![200; 20]);
    assert_eq!(issuer.asked(), 2);
}

/// Nobody waits longer than he would for an answer of his own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_for_anothers_answer_waits_no_longer_than_the_timeout() {
    let behind = Server::named("behind").await;
    let issuer = slow(ACTIVE).await;
    let gateway = gateway(&behind, &issuer.text(), json!({ "timeout": "300ms" }));
    let statuses = crowd(&gateway, 20).join_all().await;
    assert_eq!(statuses, vec![503; 20]);
    assert!(issuer.asked() < 20);
    assert!(behind.received().is_empty());
}
