//! `jwt`: key sets from the configuration, from files and from addresses, through the stock plugin.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use gatewright_tests::{Server, Signer, TestGateway, eventually, send};
use http::{Response, StatusCode};
use http_body_util::Full;
use serde_json::{Value, json};

#[tokio::test]
async fn tokens_are_checked_with_keys_from_the_configuration_a_file_and_an_address() {
    let (inline, in_file, remote, stranger) =
        (Signer::new("inline"), Signer::new("file"), Signer::new("remote"), Signer::new("remote"));
    let answer = Arc::new(Mutex::new((200, remote.jwks())));
    let provider = provider(answer).await;
    let behind = Server::named("behind").await;
    let folder = tempfile::tempdir().unwrap();
    let jwks_file = folder.path().join("jwks.json");
    std::fs::write(&jwks_file, in_file.jwks().to_string()).unwrap();
    let jwt = |keys: Value| {
        let mut config = json!({
            "issuer": "https://id.example/", "audience": "api", "algorithms": ["EdDSA"],
            "claims_to_headers": { "x-user": "sub" },
        });
        config.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
        json!({ "jwt": config })
    };
    let gateway = start(json!({
        "upstreams": { "behind": [behind.text()], "id": [provider.text()] },
        "routes": [
            { "match": { "path": "/inline" }, "plugins": [jwt(json!({ "keys": [{ "jwk": inline.jwk() }] }))], "to": "behind" },
            { "match": { "path": "/file" }, "plugins": [jwt(json!({ "jwks_file": jwks_file }))], "to": "behind" },
            { "match": { "path": "/remote" }, "plugins": [jwt(json!({ "jwks": "http://id/keys?a=b" }))], "to": "behind" },
        ],
    }))
    .await;
    let claims = json!({ "iss": "https://id.example/", "aud": "api", "sub": "ada" });
    for (path, signer) in [("/inline", &inline), ("/file", &in_file), ("/remote", &remote)] {
        let good = signer.bearer(claims.clone());
        let answer = gateway.get_with(path, &[("authorization", &good), ("x-user", "root")]).await;
        assert_eq!(answer.text(), "behind", "{path}");
        let received = behind.received().pop().unwrap();
        assert_eq!(received.header("x-user"), Some("ada"), "what the claim says, not the client");
        assert_eq!(received.header("authorization"), None, "the token ends here");
        let altered = |name: &str, value: Value| {
            let mut claims = claims.clone();
            claims[name] = value;
            signer.bearer(claims)
        };
        for (what, bad) in [
            ("another key of that name", stranger.bearer(claims.clone())),
            ("expired", altered("exp", json!(1_000_000_000))),
            ("another issuer", altered("iss", json!("https://evil.example/"))),
            ("another audience", altered("aud", json!("other"))),
            ("not yet valid", altered("nbf", json!(99_999_999_999_u64))),
            ("no signature", good.rsplit_once('.').unwrap().0.to_owned() + "."),
            ("cut", good[..good.len() - 2].to_owned()),
            ("no token", "Bearer ".to_owned()),
            ("another scheme", good.replacen("Bearer", "Basic", 1)),
        ] {
            let answer = gateway.get_with(path, &[("authorization", &bad)]).await;
            answer.problem(401);
            assert!(answer.header("www-authenticate").unwrap().starts_with("Bearer realm="), "{path}: {what}");
        }
        gateway.get(path).await.problem(401);
    }
    assert!(gateway.metric("plugin_jwt_denied", &["reason=\"missing\""]).await >= 3.0);
    let page = send(gateway.admin(), "GET", "/metrics", &[], "").await.text();
    let mut seen = BTreeSet::new();
    for sample in page.lines().filter(|line| !line.starts_with('#')) {
        let (series, _) = sample.rsplit_once(' ').unwrap();
        assert!(seen.insert(series.to_owned()), "three plugins of one name, and {series} twice");
    }
    assert_eq!(provider.received().len(), 1, "one fetch, however many tokens");
    assert_eq!(provider.only().target, "/keys?a=b");
}

#[tokio::test]
async fn a_key_set_is_fetched_once_for_all_routes_and_works_on_while_its_provider_is_down() {
    let signer = Signer::new("one");
    let answer = Arc::new(Mutex::new((200, signer.jwks())));
    let provider = provider(answer).await;
    let jwt = json!({ "jwt": { "issuer": "me", "algorithms": ["EdDSA"], "jwks": "http://id/keys" } });
    let lax = json!({ "jwt": { "issuer": "me", "algorithms": ["EdDSA"], "jwks": "http://id/keys", "leeway": "10s" } });
    let echo = json!({ "echo": { "respond": { "body": "in" } } });
    let config = |third: &str| {
        json!({
            "upstreams": { "id": [provider.text()] },
            "routes": [
                { "match": { "path": "/one" }, "plugins": [jwt, echo] },
                { "match": { "path": "/two" }, "plugins": [lax, echo] },
                { "match": { "path": third }, "plugins": [jwt, echo] },
            ],
        })
    };
    let gateway = start(config("/three")).await;
    let bearer = signer.bearer(json!({ "iss": "me", "sub": "ada" }));
    for path in ["/one", "/two", "/three", "/one"] {
        assert_eq!(status(&gateway, path, &bearer).await, 200, "{path}");
    }
    assert_eq!(provider.received().len(), 1);
    let next = config("/four");
    drop(provider);
    for path in ["/one", "/two", "/three"] {
        let another = signer.bearer(json!({ "iss": "me", "sub": path }));
        assert_eq!(status(&gateway, path, &another).await, 200, "{path}");
    }
    // Also over a reload: the key set is the same, so its keys are.
    gateway.write_config(next);
    let gateway = reload(gateway).await;
    for path in ["/one", "/two", "/four"] {
        let another = signer.bearer(json!({ "iss": "me", "sub": "after the reload" }));
        assert_eq!(status(&gateway, path, &another).await, 200, "{path}");
    }
}

#[tokio::test]
async fn keys_come_over_http_from_this_machine() {
    let signer = Signer::new("one");
    let provider = provider(Arc::new(Mutex::new((200, signer.jwks())))).await;
    let jwks = format!("http://{}/keys", provider.address());
    let jwt = json!({ "jwt": { "issuer": "me", "algorithms": ["EdDSA"], "jwks": jwks } });
    let echo = json!({ "echo": { "respond": { "body": "in" } } });
    let gateway = start(json!({ "routes": [{ "match": {}, "plugins": [jwt, echo] }] })).await;
    let bearer = signer.bearer(json!({ "iss": "me", "sub": "ada" }));
    assert_eq!(status(&gateway, "/", &bearer).await, 200);
}

#[tokio::test]
async fn a_provider_that_comes_up_late_is_asked_again() {
    let signer = Signer::new("one");
    let answer = Arc::new(Mutex::new((503, json!("not yet"))));
    let provider = provider(answer.clone()).await;
    let gateway = start(json!({
        "upstreams": { "id": [provider.text()] },
        "routes": [{
            "match": {},
            "plugins": [
                { "jwt": { "issuer": "me", "algorithms": ["EdDSA"], "jwks": "http://id/keys" } },
                { "echo": { "respond": { "body": "in" } } },
            ],
        }],
    }))
    .await;
    let bearer = signer.bearer(json!({ "iss": "me", "sub": "ada" }));
    assert_eq!(
        status(&gateway, "/", &bearer).await,
        503,
        "no keys: nobody is let in, and it is not the client's fault"
    );
    *answer.lock().unwrap() = (200, signer.jwks());
    eventually("the keys are there", async || (status(&gateway, "/", &bearer).await == 200).then_some(())).await;
}

#[tokio::test]
async fn keys_in_a_file_rotate_when_it_is_replaced() {
    let (old, new) = (Signer::new("old"), Signer::new("new"));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jwks.json");
    std::fs::write(&path, old.jwks().to_string()).unwrap();
    let gateway = start(json!({
        "routes": [{
            "match": {},
            "plugins": [
                { "jwt": { "issuer": "me", "algorithms": ["EdDSA"], "jwks_file": path } },
                { "echo": { "respond": { "body": "in" } } },
            ],
        }],
    }))
    .await;
    let claims = json!({ "iss": "me", "sub": "ada" });
    let (by_old, by_new) = (old.bearer(claims.clone()), new.bearer(claims));
    assert_eq!((status(&gateway, "/", &by_old).await, status(&gateway, "/", &by_new).await), (200, 401));
    let beside = folder.path().join("new.json");
    std::fs::write(&beside, new.jwks().to_string()).unwrap();
    std::fs::rename(beside, &path).unwrap();
    eventually("the new key is known", async || (status(&gateway, "/", &by_new).await == 200).then_some(())).await;
    assert_eq!(status(&gateway, "/", &by_old).await, 401, "also a token that was good before");
}

#[tokio::test]
async fn a_key_set_that_cannot_be_used_is_a_mistake_in_the_configuration() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("broken.json"), "{").unwrap();
    let gateway = TestGateway::start(json!({
        "routes": [{ "match": {}, "plugins": [{ "echo": { "respond": { "body": "old" } } }] }],
    }));
    for (jwt, words) in [
        (
            json!({ "algorithms": ["EdDSA"], "issuer": "me", "jwks_file": folder.path().join("missing.json") }),
            "missing.json",
        ),
        (
            json!({ "algorithms": ["EdDSA"], "issuer": "me", "jwks_file": folder.path().join("broken.json") }),
            "broken.json",
        ),
        (json!({ "algorithms": ["EdDSA"], "issuer": "me", "jwks": "no address" }), "jwks"),
        (
            json!({ "algorithms": ["HS256", "EdDSA"], "keys": [{ "secret": "a secret that is long enough for that" }] }),
            "uses a shared secret",
        ),
        (json!({ "algorithms": ["HS256"], "keys": [{ "secret": "short" }] }), "secret"),
        (json!({ "algorithms": ["EdDSA"], "jwks": "http://id/keys" }), "\"issuer\" is missing"),
        (json!({ "algorithms": ["EdDSA"], "issuer": "me", "jwks": "http://id.test/keys" }), "replaced on the way"),
        (
            json!({ "algorithms": ["EdDSA"], "issuer": "https://id.test", "discovery": "nobody" }),
            "there is no upstream \"nobody\"",
        ),
        (json!({ "algorithms": [], "keys": [{ "jwk": Signer::new("a").jwk() }] }), "algorithms"),
    ] {
        gateway.write_config(json!({
            "upstreams": { "id": ["127.0.0.1:9"] },
            "routes": [{ "match": {}, "plugins": [{ "jwt": jwt }, { "echo": {} }] }],
        }));
        let error = gateway.reload().unwrap_err().to_string();
        assert!(error.contains(words) && error.contains("gateway.json:1:"), "{words}: {error}");
        assert!(!error.contains("a secret that is"), "{error}");
        assert_eq!(gateway.get("/").await.text(), "old");
    }
}

/// A provider of key sets whose answer can be changed.
async fn provider(answer: Arc<Mutex<(u16, Value)>>) -> Server {
    Server::start(move |_| {
        let (status, body) = answer.lock().unwrap().clone();
        let mut response = Response::new(Full::new(Bytes::from(body.to_string())));
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        response
    })
    .await
}

/// Starts where the servers of this test can answer meanwhile.
async fn start(config: Value) -> TestGateway {
    tokio::task::spawn_blocking(|| TestGateway::start(config)).await.unwrap()
}

async fn reload(gateway: TestGateway) -> TestGateway {
    tokio::task::spawn_blocking(|| {
        gateway.reload().unwrap();
        gateway
    })
    .await
    .unwrap()
}

/// The status for a token.
async fn status(gateway: &TestGateway, path: &str, bearer: &str) -> u16 {
    gateway.get_with(path, &[("authorization", bearer)]).await.status
}
