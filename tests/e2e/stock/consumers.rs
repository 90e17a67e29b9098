//! Consumers: one caller, however it proves who it is.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use gatewright_tests::{Authority, Client, Server, Signer, Slow, TestGateway, TlsClient, send};
use rcgen::{DnType, SanType};
use serde_json::{Value, json};
use tokio::task::JoinSet;

/// bcrypt's own vector ("U*U").
const BCRYPT: &str = "$2y$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW";

fn who() -> Value {
    json!({ "headers": { "request": { "set": { "x-user": "$(identity.subject)" } } } })
}

fn config(behind: &Server, signer: &Signer, shop: Value) -> Value {
    let acl = json!({ "acl": { "allow": [{ "groups": ["partners"] }] } });
    let jwt = json!({ "jwt": { "algorithms": ["EdDSA"], "keys": [{ "jwk": signer.jwk() }], "consumers": true } });
    let key = json!({ "key-auth": { "consumers": true } });
    let route = |host: &str, plugin: Value| json!({ "match": { "host": host }, "plugins": [plugin, acl, who()], "to": "behind" });
    json!({
        "upstreams": { "behind": [behind.text()] },
        "consumers": {
            "shop": shop,
            "lab": { "credentials": { "key-auth": [{ "key": "lab-key" }], "jwt": [{ "value": "client-8" }] } },
        },
        "routes": [
            route("key.test", key.clone()),
            route("basic.test", json!({ "basic-auth": { "consumers": true } })),
            route("jwt.test", jwt.clone()),
            {
                "match": { "host": "any.test" },
                "plugins": [
                    { "key-auth": { "consumers": true, "optional": true } },
                    { "basic-auth": { "consumers": true, "optional": true } },
                    acl, who(),
                ],
                "to": "behind",
            },
        ],
    })
}

fn shop() -> Value {
    json!({
        "groups": ["partners"],
        "claims": { "tier": "gold" },
        "credentials": {
            "key-auth": [{ "key": "shop-key" }, { "sha256": "fb3aeb25c2f6f2b4d7b0a3dbf9e2b3ab1f1c1b04ab4ba8f0a9d8d7ecadeb4d3c" }],
            "basic-auth": [{ "hash": BCRYPT }],
            "jwt": [{ "value": "client-7" }],
        },
    })
}

#[tokio::test]
async fn a_consumer_is_the_same_caller_whatever_it_shows() {
    let behind = Server::named("behind").await;
    let signer = Signer::new("one");
    let gateway = TestGateway::start(config(&behind, &signer, shop()));
    let basic = format!("Basic {}", BASE64.encode("shop:U*U"));
    let basic = basic.as_str();
    let token = signer.bearer(json!({ "sub": "client-7" }));
    let lab = signer.bearer(json!({ "sub": "client-8", "groups": ["partners"] }));
    let stranger = signer.bearer(json!({ "sub": "client-9", "groups": ["partners"], "consumer": "shop" }));
    for (host, header, value, status) in [
        ("key.test", "x-api-key", "shop-key", 200),
        ("basic.test", "authorization", basic, 200),
        ("jwt.test", "authorization", token.as_str(), 200),
        ("any.test", "x-api-key", "shop-key", 200),
        ("any.test", "authorization", basic, 200),
        ("key.test", "x-api-key", "lab-key", 403),
        ("jwt.test", "authorization", lab.as_str(), 403),
        ("jwt.test", "authorization", stranger.as_str(), 403),
        ("key.test", "x-api-key", "other-key", 401),
        ("basic.test", "authorization", "Basic c2hvcDp4", 401),
        ("any.test", "x-consumer", "shop", 403),
        ("any.test", "x-api-key", "other-key", 401),
    ] {
        behind.forget();
        let answer =
            send(gateway.address(), "GET", "/", &[("host", host), (header, value), ("x-user", "root")], "").await;
        assert_eq!(answer.status, status, "{host} {value}: {}", answer.text());
        let received = behind.received();
        assert_eq!(received.len(), usize::from(status == 200), "{host} {value}");
        assert!(received.iter().all(|request| request.header("x-user") == Some("shop")), "{received:?}");
    }
}

#[tokio::test]
async fn a_consumer_may_sign_or_show_a_certificate() {
    let (servers, clients) = (Authority::new("servers"), Authority::new("clients"));
    let tls = json!({
        "certificates": [{ "cert": "a.pem", "key": "a.key" }], "client": { "ca": "clients.pem", "required": false },
    });
    let config = json!({
        "listeners": [{ "address": "127.0.0.1:0", "tls": tls }],
        "consumers": { "shop": {
            "groups": ["partners"],
            "credentials": {
                "mtls": [{ "uri": "spiffe://shop/ns/orders", "issuer": "CN=clients" }],
                "hmac": [{ "alg": "hmac-sha256", "key": "a shared key of more than 32 bytes" }],
            },
        } },
        "routes": [
            { "match": { "path": "/signed" }, "plugins": [{ "hmac": { "consumers": true } }, "echo"] },
            { "match": {}, "plugins": [
                { "mtls": { "consumers": true } }, { "acl": { "allow": [{ "groups": ["partners"] }] } }, who(), "echo",
            ] },
        ],
    });
    let gateway = TestGateway::start_beside(config, |directory| {
        servers.issue(&["a.test"]).write(directory, "a");
        std::fs::write(directory.join("clients.pem"), clients.pem()).unwrap();
    });
    let certificate = |uri: &str| {
        clients.issue_with(&[], |params| {
            params.distinguished_name.push(DnType::CommonName, "orders");
            params.subject_alt_names = vec![SanType::URI(uri.try_into().unwrap())];
        })
    };
    for (uri, who) in [("spiffe://shop/ns/orders", Some("shop")), ("spiffe://shop/ns/billing", None)] {
        let settings = servers.client().showing(&certificate(uri));
        let mut client = TlsClient::connect(gateway.address(), "a.test", &settings).await.unwrap();
        let answer = client.get("/").await.unwrap();
        assert_eq!(answer.status, if who.is_some() { 200 } else { 403 }, "{uri}: {}", answer.text());
        assert!(who.is_none_or(|who| answer.json()["headers"]["x-user"] == who));
        assert_eq!(client.get("/signed").await.unwrap().status, 401);
    }
}

#[tokio::test]
async fn a_change_of_consumers_takes_effect_and_reaches_nobody_else() {
    let behind = Server::named("behind").await;
    let signer = Signer::new("one");
    let gateway = TestGateway::start(config(&behind, &signer, shop()));
    let mut client = Client::http1(gateway.address()).await;
    let mut ask = async |key: &str| {
        client.send("GET", "/", &[("host", "key.test"), ("x-api-key", key)], "").await.unwrap().status
    };
    assert_eq!((ask("shop-key").await, ask("next-key").await), (200, 401));
    let mut next = shop();
    next["credentials"]["key-auth"] = json!([{ "key": "next-key" }]);
    gateway.write_config(config(&behind, &signer, next.clone()));
    gateway.reload().unwrap();
    assert_eq!((ask("shop-key").await, ask("next-key").await), (401, 200));
    next["groups"] = json!([]);
    gateway.write_config(config(&behind, &signer, next));
    gateway.reload().unwrap();
    assert_eq!(ask("next-key").await, 403, "it is no partner any more");
}

/// Mistakes are found where they are written, and no message and no page shows a credential.
#[tokio::test]
async fn mistakes_in_consumers_are_shown_in_their_place_and_credentials_nowhere() {
    let behind = Server::named("behind").await;
    let signer = Signer::new("one");
    let gateway = TestGateway::start(config(&behind, &signer, shop()));
    for (credentials, said) in [
        (json!({ "key-auth": [{ "sha256": "short" }] }), "expected"),
        (json!({ "key-auth": [{ "key": "s3cret", "sha256": "s3cret" }] }), "s"),
        (json!({ "key-auth": [{ "kee": "s3cret" }] }), "unknown key \"kee\""),
        (json!({ "key-auth": [{ "key": "lab-key" }] }), "have the same key"),
        (json!({ "jwt": [{ "value": "client-8" }] }), "\"lab\" and \"shop\""),
        (json!({ "basic-auth": [{ "hash": "s3cret" }] }), "the consumer \"shop\""),
        (json!({ "basic-auth": [{ "secret": "none" }] }), "is not granted"),
        (json!({ "echo": [{ "key": "s3cret" }] }), "takes no credentials"),
        (json!({ "kee-auth": [] }), "there is no plugin \"kee-auth\""),
    ] {
        let mut shop = shop();
        shop["credentials"].as_object_mut().unwrap().extend(credentials.as_object().unwrap().clone());
        gateway.write_config(config(&behind, &signer, shop));
        let refused = gateway.reload().unwrap_err().to_string();
        assert!(refused.contains(said) && refused.contains("gateway.json:1:"), "{credentials}: {refused}");
    }
    let configured = json!({ "consumers": { "shop": {
        "credentials": { "key-auth": [{ "key": "${GATEWRIGHT_TEST_KEY:-s3cret-from-outside}" }] },
    } }, "routes": [{ "match": {}, "plugins": [{ "key-auth": { "consumers": true } }, "echo"] }] });
    gateway.write_config(configured);
    gateway.reload().unwrap();
    let admitted = gateway.get_with("/", &[("x-api-key", "${GATEWRIGHT_TEST_KEY:-s3cret-from-outside}")]).await;
    assert_eq!(admitted.status, 401, "the variable is not its name");
    assert_eq!(gateway.get_with("/", &[("x-api-key", "s3cret-from-outside")]).await.status, 200);
    for page in ["/plugins", "/metrics", "/upstreams"] {
        let shown = send(gateway.admin(), "GET", page, &[], "").await.text();
        assert!(!shown.contains("s3cret-from-outside"), "{page} shows a key");
    }
    let records = serde_json::to_string(&gateway.records()).unwrap();
    assert!(!records.contains("s3cret-from-outside"), "{records}");
}

#[tokio::test]
async fn a_consumer_has_a_quota_of_its_own() {
    let gateway = TestGateway::start(json!({
        "consumers": {
            "shop": {
                "credentials": { "key-auth": [{ "key": "shop-key" }] },
                "limits": { "quota": { "day": 4 } },
            },
            "lab": { "credentials": { "key-auth": [{ "key": "lab-key" }] } },
        },
        "routes": [{
            "match": {},
            "plugins": [
                { "key-auth": { "consumers": true } },
                { "quota": { "day": 2, "consumers": true } },
                "echo",
            ],
        }],
    }));
    for (key, allowed) in [("shop-key", 4), ("lab-key", 2)] {
        let mut passed = 0;
        for _ in 0..6 {
            let answer = gateway.get_with("/", &[("x-api-key", key)]).await;
            assert_eq!(answer.header("ratelimit-policy"), Some(format!("\"day\";q={allowed}").as_str()));
            passed += usize::from(answer.status == 200);
        }
        assert_eq!(passed, allowed, "{key}");
    }
}

/// With a real server that holds what it is asked.
#[tokio::test]
async fn a_consumer_has_places_of_its_own() {
    let slow = Slow::start().await;
    let gateway = TestGateway::start(json!({
        "consumers": {
            "shop": { "credentials": { "key-auth": [{ "key": "shop-key" }] }, "limits": { "concurrency": 3 } },
            "lab": { "credentials": { "key-auth": [{ "key": "lab-key" }] } },
        },
        "upstreams": { "slow": [slow.text()] },
        "routes": [{
            "match": {},
            "plugins": [
                { "key-auth": { "consumers": true } },
                { "concurrency": { "limit": 1, "by": "identity", "consumers": true } },
            ],
            "to": "slow",
        }],
    }));
    let mut under_way = JoinSet::new();
    for (key, places) in [("shop-key", 3), ("lab-key", 1)] {
        let before = slow.asked();
        for _ in 0..places {
            let address = gateway.address();
            under_way.spawn(async move { send(address, "GET", "/", &[("x-api-key", key)], "").await });
        }
        slow.wait_for(before + places).await;
        gateway.get_with("/", &[("x-api-key", key)]).await.problem(429);
    }
    slow.release(4);
    assert!(under_way.join_all().await.iter().all(|answer| answer.status == 200));
}

#[tokio::test]
async fn a_consumer_has_a_limit_of_its_own() {
    let limit = json!({ "rate-limit": { "limit": "2/h", "name": "caller", "by": "identity", "consumers": true } });
    let config = |limits: Value| {
        json!({
            "consumers": {
                "shop": { "credentials": { "key-auth": [{ "key": "shop-key" }] }, "limits": limits },
                "lab": { "credentials": { "key-auth": [{ "key": "lab-key" }] } },
            },
            "routes": [{ "match": {}, "plugins": [{ "key-auth": { "consumers": true } }, limit, "echo"] }],
        })
    };
    let gateway = TestGateway::start(config(json!({ "rate-limit": "4/h" })));
    for (key, allowed) in [("shop-key", 4), ("lab-key", 2)] {
        let mut passed = 0;
        for _ in 0..6 {
            let answer = gateway.get_with("/", &[("x-api-key", key)]).await;
            let policy = format!("\"caller\";q={allowed};w=3600");
            assert_eq!(answer.header("ratelimit-policy"), Some(policy.as_str()));
            passed += usize::from(answer.status == 200);
        }
        assert_eq!(passed, allowed, "{key}");
    }
    for (limits, said) in [
        (json!({ "rate-limit": "4 an hour" }), "4 an hour"),
        (json!({ "key-auth": "4/h" }), "keeps no limits"),
        (json!({ "rate-limt": "4/h" }), "there is no plugin \"rate-limt\""),
    ] {
        gateway.write_config(config(limits));
        let refused = gateway.reload().unwrap_err().to_string();
        assert!(refused.contains(said) && refused.contains("gateway.json:1:"), "{refused}");
    }
}
