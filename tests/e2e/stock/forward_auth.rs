//! `forward-auth`: who is asked, with what, and what becomes of the answer.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use gatewright_tests::{Received, Scripted, Server, TestGateway, raw, read_head, send};
use http::Response;
use http_body_util::Full;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

fn gateway(behind: &Server, auth: &str, mut config: Value) -> TestGateway {
    config["upstream"] = json!("auth");
    let who = json!({ "headers": { "request": { "set": { "x-identity": "$(identity.subject)" } } } });
    TestGateway::start(json!({
        "upstreams": { "behind": [behind.text()], "auth": [auth] },
        "plugins": { "forward-auth": { "grants": { "upstreams": ["auth"] } } },
        "routes": [{ "match": {}, "plugins": [{ "forward-auth": config }, who], "to": "behind" }],
    }))
}

/// Lets in who has the cookie `session=ada`, sends browsers to a login, and tells others no.
fn authority(request: &Received) -> Response<Full<Bytes>> {
    let answer = |status: u16| Response::builder().status(status);
    let body = |text: &'static str| Full::new(Bytes::from(text));
    let answer = match request.header("cookie") {
        Some("session=ada") => answer(200)
            .header("x-user", "ada")
            .header("x-groups", "staff,admin")
            .header("set-cookie", "seen=1")
            .body(body("ignored")),
        Some("session=eve") => {
            answer(403).header("x-internal", "secret").header("content-type", "text/plain").body(body("no"))
        }
        Some("session=old") => answer(302).header("location", "https://login.test/?back=%2F").body(body("")),
        Some("session=odd") => answer(418).body(body("teapot")),
        _ => answer(401).header("www-authenticate", "Basic realm=\"auth\"").body(body("")),
    };
    answer.unwrap()
}

fn config() -> Value {
    json!({
        "path": "/verify", "copy_headers": ["x-user", "x-groups"], "response_headers": ["set-cookie"],
        "identity": { "subject": "x-user", "groups": "x-groups" },
    })
}

#[tokio::test]
async fn an_upstream_decides_who_may_pass() {
    let (behind, auth) = (Server::named("behind").await, Server::start(authority).await);
    let gateway = gateway(&behind, &auth.text(), config());
    let forged = [
        ("cookie", "session=ada"),
        ("x-user", "root"),
        ("x-user", "admin"),
        ("x-groups", "root"),
        ("x-forwarded-uri", "/public"),
        ("x-original-url", "http://public.test/"),
    ];
    let answer = send(gateway.address(), "POST", "/orders?x=%201", &forged, "a body").await;
    assert_eq!((answer.status, answer.text().as_str(), answer.header("set-cookie")), (200, "behind", Some("seen=1")));
    let asked = auth.only();
    assert_eq!((asked.method.as_str(), asked.target.as_str(), asked.body.len()), ("GET", "/verify", 0));
    let host = gateway.address().to_string();
    for (name, value) in [
        ("x-forwarded-method", "POST"),
        ("x-forwarded-uri", "/orders?x=%201"),
        ("x-forwarded-host", host.as_str()),
        ("x-forwarded-proto", "http"),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-original-url", &format!("http://{host}/orders?x=%201")),
    ] {
        assert_eq!(asked.header(name), Some(value), "{name}");
        assert_eq!(asked.headers.get_all(name).iter().count(), 1, "{name}");
    }
    let received = behind.only();
    assert_eq!((&received.body, received.headers.get_all("x-user").iter().count()), (&Bytes::from("a body"), 1));
    assert_eq!(received.headers["x-user"], "ada");
    assert_eq!(received.headers["x-groups"], "staff,admin");
    assert_eq!(received.headers["x-identity"], "ada");
    assert_eq!((received.header("x-forwarded-uri"), received.header("x-original-url")), (None, None));
    assert_eq!(received.header("x-forwarded-host"), Some(host.as_str()), "the gateway's own stay");
}

#[tokio::test]
async fn what_it_refuses_is_the_clients_and_everything_else_is_a_failure() {
    let (behind, auth) = (Server::named("behind").await, Server::start(authority).await);
    let gateway = gateway(&behind, &auth.text(), config());
    let asked = async |session: &str| gateway.get_with("/", &[("cookie", session), ("x-user", "root")]).await;

    let stranger = gateway.get("/").await;
    stranger.problem(401);
    assert_eq!(stranger.header("www-authenticate"), Some("Basic realm=\"auth\""));
    let refused = asked("session=eve").await;
    assert_eq!((refused.status, refused.text().as_str(), refused.header("x-internal")), (403, "no", None));
    let sent_away = asked("session=old").await;
    assert_eq!((sent_away.status, sent_away.header("location")), (302, Some("https://login.test/?back=%2F")));
    asked("session=odd").await.problem(502);
    let bytes =
        raw(gateway.address(), b"GET / HTTP/1.1\r\nhost: a\r\ncookie: session=\xff\r\nconnection: close\r\n\r\n").await;
    assert!(bytes.starts_with("HTTP/1.1 400"), "{bytes}");
    assert!(behind.received().is_empty());
    assert_eq!(gateway.metric("plugin_forward_auth_denied", &["reason=\"refused\""]).await, 3.0);
}

#[tokio::test]
async fn without_an_answer_nobody_passes_unless_the_operator_says_so() {
    let behind = Server::named("behind").await;
    let silent = Scripted::start(|mut stream| async move {
        read_head(&mut stream).await;
        std::future::pending::<()>().await;
    })
    .await;
    let cut = Scripted::answering(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\nx-user: ada\r\n\r\nhalf").await;
    let nonsense = Scripted::answering(b"HTTP/1.1 2000 OK\r\n\r\n").await;
    let endless = Scripted::start(|mut stream| async move {
        read_head(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nx-user: ada\r\ncontent-length: 99999999\r\n\r\n").await;
        while stream.write_all(&[b'x'; 65536]).await.is_ok() {}
    })
    .await;
    for (auth, status) in [
        (silent.text(), 504),
        ("127.0.0.1:9".to_owned(), 503),
        (cut.text(), 503),
        (nonsense.text(), 503),
        (endless.text(), 502),
    ] {
        let mut config = config();
        config["timeout"] = json!("2s");
        let strict = gateway(&behind, &auth, config.clone());
        strict.get_with("/", &[("x-user", "root")]).await.problem(status);
        assert!(behind.received().is_empty(), "{auth}");

        config["on_error"] = json!("allow");
        let lax = gateway(&behind, &auth, config);
        assert_eq!(lax.get_with("/lax", &[("x-user", "root"), ("x-groups", "admin")]).await.status, 200);
        let passed = behind.received().pop().unwrap();
        assert_eq!(
            (passed.header("x-user"), passed.header("x-groups"), passed.header("x-identity")),
            (None, None, None)
        );
        behind.forget();
    }
}

#[tokio::test]
async fn a_server_that_comes_back_is_asked_again() {
    let healthy = Arc::new(Mutex::new(false));
    let (behind, state) = (Server::named("behind").await, healthy.clone());
    let auth = Server::start(move |request| match *state.lock().unwrap() {
        true => authority(request),
        false => Response::builder().status(500).body(Full::default()).unwrap(),
    })
    .await;
    let gateway = gateway(&behind, &auth.text(), config());
    let ask = async || gateway.get_with("/", &[("cookie", "session=ada")]).await.status;
    assert_eq!((ask().await, behind.received().len()), (502, 0));
    *healthy.lock().unwrap() = true;
    assert_eq!((ask().await, behind.received().len()), (200, 1), "no decision is kept");
}

#[test]
fn an_upstream_that_is_not_granted_is_not_asked() {
    for (grants, upstream, words) in [
        (json!({}), "auth", "\"grants\": { \"upstreams\": [\"auth\"] }"),
        (json!({ "upstreams": ["other"] }), "auth", "\"grants\": { \"upstreams\": [\"other\", \"auth\"] }"),
        (json!({ "upstreams": ["auth"] }), "auht", "there is no upstream \"auht\""),
        (json!({ "upstreams": ["auth"] }), "auht", "did you mean \"auth\"?"),
    ] {
        let plugin = json!({ "forward-auth": { "upstream": upstream, "on_error": "allow" } });
        let refused = TestGateway::try_start(json!({
            "upstreams": { "auth": ["127.0.0.1:9"], "other": ["127.0.0.1:9"] },
            "plugins": { "forward-auth": { "grants": grants } },
            "routes": [{ "match": {}, "plugins": [plugin, "echo"] }],
        }));
        let refused = refused.err().unwrap().to_string();
        assert!(refused.contains(words) && refused.contains("gateway.json:1:"), "{refused}");
    }
}
