//! What plugins are lent, seen from outside: shared memory, limits, callouts, key sets, secrets, time, log and metrics.

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use gatewright_tests::{Client, Scripted, Server, Signer, TestGateway, eventually, guest, read_head, send};
use http::{Response, StatusCode};
use http_body_util::Full;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::task::JoinSet;

fn file(guest_name: &str) -> String {
    format!("file:{}", guest(guest_name))
}

// --------------------------------------------------------------------------------------------- store and limiter

#[tokio::test]
async fn a_counter_in_the_shared_store_counts_over_all_cores() {
    let server = Server::named("behind").await;
    let gateway = TestGateway::start(json!({
        "workers": 2,
        "upstreams": { "behind": [server.text()] },
        "plugins": { "state": { "source": file("guest-state") } },
        "routes": [{ "match": {}, "plugins": ["state"], "to": "behind" }],
    }));
    let address = gateway.address();
    let mut clients = JoinSet::new();
    for _ in 0..16 {
        clients.spawn(async move {
            let mut client = Client::http1(address).await;
            let mut counts = Vec::new();
            for _ in 0..25 {
                let answer = client.send("GET", "/", &[], "").await.unwrap();
                counts.push(answer.header("x-count").unwrap().parse::<u32>().unwrap());
            }
            assert!(counts.is_sorted());
            counts
        });
    }
    let counts: BTreeSet<u32> = clients.join_all().await.into_iter().flatten().collect();
    assert_eq!(counts, (1..=400).collect(), "each number once");
}

#[tokio::test]
async fn a_store_and_a_limit_survive_a_reload() {
    let server = Server::named("behind").await;
    let config = |path: &str| {
        json!({
            "workers": 1,
            "upstreams": { "behind": [server.text()] },
            "plugins": { "state": { "source": file("guest-state") } },
            "routes": [
                { "match": { "path": "/state" }, "plugins": ["state"], "to": "behind" },
                { "match": { "path": "/limited" }, "plugins": [{ "rate-limit": { "limit": "3/d" } }], "to": "behind" },
                { "match": { "path": path }, "to": "behind" },
            ],
        })
    };
    let gateway = TestGateway::start(config("/one"));
    for count in 1..=3 {
        assert_eq!(gateway.get("/state").await.header("x-count"), Some(count.to_string().as_str()));
        assert_eq!(gateway.get("/limited").await.status, 200);
    }
    gateway.write_config(config("/two"));
    gateway.reload().unwrap();
    assert_eq!(gateway.get("/two").await.status, 200);
    assert_eq!(gateway.get("/state").await.header("x-count"), Some("4"));
    assert_eq!(gateway.get("/state").await.header("x-instance-count"), Some("5"), "the same warm instance");
    assert_eq!(gateway.get("/limited").await.status, 429);
}

#[tokio::test]
async fn a_rate_limit_is_exact_over_cores_and_connections() {
    const LIMIT: usize = 500;
    let gateway = TestGateway::start(json!({
        "workers": 2,
        "access_log": "off",
        // A day is long enough that no bucket grows meanwhile.
        "routes": [{ "match": {}, "plugins": [{ "rate-limit": { "limit": format!("{LIMIT}/d") } }, { "echo": { "respond": { "body": "in" } } }] }],
    }));
    let address = gateway.address();
    let left = Arc::new(AtomicU32::new(10_000));
    let mut clients = JoinSet::new();
    for _ in 0..32 {
        let left = left.clone();
        clients.spawn(async move {
            let mut client = Client::http1(address).await;
            let mut passed = 0;
            while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
                let answer = client.send("GET", "/", &[], "").await.unwrap();
                match answer.status {
                    200 => passed += 1,
                    429 => {}
                    other => panic!("{other}: {}", answer.text()),
                }
            }
            passed
        });
    }
    assert_eq!(clients.join_all().await.into_iter().sum::<usize>(), LIMIT);
    assert_eq!(
        gateway.metric("gatewright_plugin_calls_total", &["\"rate-limit\"", "hook=\"request\""]).await,
        10_000.0
    );
}

// ------------------------------------------------------------------------------------------------------ callouts

#[tokio::test]
async fn a_plugin_calls_the_upstreams_it_was_granted_and_no_others() {
    let behind = Server::named("behind").await;
    let (one, two) = (Server::named("one").await, Server::named("two").await);
    let large = Server::start(|_| Response::new(Full::new(Bytes::from(vec![b'x'; 2000])))).await;
    let silent = Scripted::start(|mut stream| async move {
        read_head(&mut stream).await;
        std::future::pending::<()>().await;
    })
    .await;
    let secret = Server::named("secret").await;
    let cases = [
        (json!({ "upstreams": ["one", "two"], "how": "send" }), "200:one|200:two"),
        (json!({ "upstreams": ["one", "two", "one"], "how": "send-all" }), "200:one|200:two|200:one"),
        (json!({ "upstreams": ["one", "two"], "how": "dispatch", "path": "/dispatched" }), "sent|sent"),
        (json!({ "upstreams": ["one"], "how": "send", "body": "posted" }), "200:one"),
        (
            json!({ "upstreams": ["secret", "nobody", "127.0.0.1:80"], "how": "send" }),
            "unknown-upstream|unknown-upstream|unknown-upstream",
        ),
        (json!({ "upstreams": ["secret", "one"], "how": "send-all" }), "unknown-upstream|200:one"),
        (json!({ "upstreams": ["down", "one"], "how": "send-all" }), "connection-failed|200:one"),
        (json!({ "upstreams": ["silent"], "how": "send", "timeout": "50ms" }), "timed-out"),
        (json!({ "upstreams": ["silent"], "how": "send", "timeout": "1d" }), "timed-out"),
        (json!({ "upstreams": ["large"], "how": "send" }), "response-too-large"),
        (json!({ "upstreams": ["one", "one", "one", "one"], "how": "send" }), "200:one|200:one|200:one|limit-exceeded"),
        (
            json!({ "upstreams": ["one", "one", "one", "one"], "how": "send-all" }),
            "200:one|200:one|200:one|limit-exceeded",
        ),
    ];
    let route = |(index, (config, _)): (usize, &(Value, &str))| json!({ "match": { "path": format!("/{index}") }, "plugins": [{ "callout": config }], "to": "behind" });
    let gateway = TestGateway::start(json!({
        "upstreams": {
            "behind": [behind.text()], "one": [one.text()], "two": [two.text()], "large": [large.text()],
            "silent": [silent.text()], "secret": [secret.text()], "down": ["127.0.0.1:9"],
        },
        "plugins": { "callout": {
            "source": file("guest-callout"),
            "grants": { "upstreams": ["one", "two", "large", "silent", "down"] },
            "limits": { "callouts": 3, "body": "1KiB", "callout_time": "500ms" },
        } },
        "routes": cases.iter().enumerate().map(route).collect::<Vec<_>>(),
    }));
    for (index, (config, told)) in cases.iter().enumerate() {
        assert_eq!(gateway.get(&format!("/{index}")).await.status, 200, "{config}");
        assert_eq!(behind.received().pop().unwrap().header("x-callout"), Some(*told), "{config}");
    }
    eventually("what was dispatched has arrived", async || {
        let arrived = |server: &Server| server.received().iter().any(|request| request.target == "/dispatched");
        (arrived(&one) && arrived(&two)).then_some(())
    })
    .await;
    assert!(one.received().iter().any(|request| request.method == "POST" && request.body == "posted"));
    assert!(one.received().iter().all(|request| request.header("x-from") == Some("guest-callout")));
    assert!(secret.received().is_empty());
}

#[tokio::test]
async fn a_core_serves_others_while_a_hook_waits() {
    let (release, gate) = tokio::sync::watch::channel(false);
    let slow = Scripted::start(move |mut stream| {
        let mut gate = gate.clone();
        async move {
            read_head(&mut stream).await;
            gate.wait_for(|open| *open).await.unwrap();
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nslow").await;
        }
    })
    .await;
    let behind = Server::named("behind").await;
    let gateway = TestGateway::start(json!({
        "workers": 1,
        "upstreams": { "slow": [slow.text()], "behind": [behind.text()] },
        "plugins": { "callout": {
            "source": file("guest-callout"), "grants": { "upstreams": ["slow"] }, "limits": { "time": "5ms" },
        } },
        "routes": [
            { "match": { "path": "/waits" }, "plugins": [{ "callout": { "upstreams": ["slow"], "how": "send", "timeout": "60s" } }], "to": "behind" },
            { "match": { "path": "/fast" }, "to": "behind" },
        ],
    }));
    let address = gateway.address();
    let waiting: Vec<_> =
        (0..20).map(|_| tokio::spawn(async move { send(address, "GET", "/waits", &[], "").await })).collect();
    eventually("twenty hooks wait", async || {
        let calls = gateway.metric("gatewright_plugin_calls_total", &["\"callout\"", "hook=\"request\""]).await;
        (calls == 20.0).then_some(())
    })
    .await;
    for _ in 0..20 {
        assert_eq!(gateway.get("/fast").await.text(), "behind");
    }
    release.send(true).unwrap();
    // They waited far longer than limits.time, which is about what a hook computes.
    for answer in waiting {
        assert_eq!(answer.await.unwrap().text(), "behind");
    }
    assert_eq!(gateway.metric("gatewright_plugin_limit_hits_total", &["\"callout\""]).await, 0.0);
}

// ------------------------------------------------------------------------------------------------------ key sets

/// A provider of key sets whose answer can be changed.
async fn provider(answer: Arc<std::sync::Mutex<(u16, Value)>>) -> Server {
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

#[tokio::test]
async fn tokens_are_checked_with_keys_from_the_configuration_a_file_and_an_address() {
    let (inline, in_file, remote, stranger) =
        (Signer::new("inline"), Signer::new("file"), Signer::new("remote"), Signer::new("remote"));
    let answer = Arc::new(std::sync::Mutex::new((200, remote.jwks())));
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
    let answer = Arc::new(std::sync::Mutex::new((200, signer.jwks())));
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
async fn a_provider_that_comes_up_late_is_asked_again() {
    let signer = Signer::new("one");
    let answer = Arc::new(std::sync::Mutex::new((503, json!("not yet"))));
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
        (json!({ "algorithms": ["EdDSA"], "jwks": "http://id/keys" }), "is missing"),
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

// ------------------------------------------------------------------------------------- secrets, time, log, metrics

#[tokio::test]
async fn a_plugin_reads_the_secrets_it_was_granted_from_the_environment_and_from_files() {
    let server = Server::named("behind").await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secret");
    std::fs::write(&path, "first\n").unwrap();
    let config = json!({
        "upstreams": { "behind": [server.text()] },
        "secrets": { "in-env": { "env": "PATH" }, "in-file": { "file": path }, "not-granted": { "file": path } },
        "plugins": { "secret": { "source": file("guest-secret"), "grants": { "secrets": ["in-env", "in-file"] } } },
        "routes": [{
            "match": {},
            "plugins": [{ "secret": { "names": ["in-env", "in-file", "not-granted", "nowhere"] } }],
            "to": "behind",
        }],
    });
    let gateway = TestGateway::start(config.clone());
    let seen = async || {
        assert_eq!(gateway.get("/").await.status, 200);
        server.received().pop().unwrap().header("x-secrets").unwrap().to_owned()
    };
    let environment = std::env::var("PATH").unwrap();
    assert_eq!(seen().await, format!("{environment}|first|none|none"));
    // The configuration is the same, the secret is not.
    std::fs::write(&path, "second").unwrap();
    gateway.reload().unwrap();
    assert_eq!(seen().await, format!("{environment}|second|none|none"));
    // A secret that is not there is found before anybody asks for it.
    std::fs::remove_file(&path).unwrap();
    let error = gateway.reload().unwrap_err().to_string();
    assert!(error.contains("in-file") && error.contains("gateway.json:1:"), "{error}");
    assert_eq!(seen().await, format!("{environment}|second|none|none"));
}

#[tokio::test]
async fn ticks_come_in_the_background_until_the_plugin_wants_no_more() {
    let server = Server::named("behind").await;
    let gateway = TestGateway::start(json!({
        "upstreams": { "behind": [server.text()] },
        "plugins": { "tick": { "source": file("guest-tick") } },
        "routes": [{ "match": {}, "plugins": [{ "tick": { "every": "20ms", "stop_after": 5 } }], "to": "behind" }],
    }));
    let ticks = async || {
        gateway.get("/").await;
        server.received().pop().unwrap().header("x-ticks").unwrap().parse::<u32>().unwrap()
    };
    eventually("five ticks", async || (ticks().await == 5).then_some(())).await;
    // A reload that leaves the plugin as it is does not wake it again: its next tick would have come by the time that a
    // gateway with another one has seen two of its own.
    let witness = TestGateway::start(json!({
        "upstreams": { "behind": [server.text()] },
        "plugins": { "tick": { "source": file("guest-tick") } },
        "routes": [{ "match": {}, "plugins": [{ "tick": { "every": "50ms" } }], "to": "behind" }],
    }));
    gateway.reload().unwrap();
    eventually("time goes on", async || {
        witness.get("/").await;
        (server.received().pop().unwrap().header("x-ticks").unwrap().parse::<u32>().unwrap() >= 3).then_some(())
    })
    .await;
    assert_eq!(ticks().await, 5);
}

#[tokio::test]
async fn the_metrics_of_a_plugin_are_on_the_metrics_page_within_their_bound() {
    let gateway = TestGateway::start(json!({
        "plugins": { "noisy-one": { "source": file("guest-hostile"), "limits": { "time": "10s" } } },
        "routes": [{ "match": {}, "plugins": [{ "noisy-one": { "do": "metric-flood", "count": 5000 } }, { "echo": {} }] }],
    }));
    assert_eq!(gateway.get_with("/", &[("x-misbehave", "1")]).await.status, 200);
    let page = send(gateway.admin(), "GET", "/metrics", &[], "").await.text();
    let series: Vec<&str> = page.lines().filter(|line| line.starts_with("plugin_noisy_one_noise")).collect();
    assert!((500..=1000).contains(&series.len()), "{} series", series.len());
    assert!(series.iter().any(|line| line.contains("id=\"7\"") && line.ends_with(" 1")), "{:?}", series.first());
    assert!(page.contains("Counts what nobody asked for."), "with the words of its manifest");
    let dropped = gateway.metric("gatewright_plugin_metrics_dropped_total", &["\"noisy-one\""]).await;
    assert_eq!(dropped as usize, 5000 - series.len(), "what is left out is counted");
}

/// The log is the process's own, so a process of its own writes what is read here: this test program once more.
#[test]
fn what_a_plugin_logs_cannot_forge_lines_nor_flood() {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "capabilities::the_process_whose_log_is_read", "--nocapture"])
        .env(LOG_IS_READ, "1")
        .output()
        .unwrap();
    let log = String::from_utf8(child.stderr).unwrap();
    assert!(child.status.success(), "{log}");
    let lines: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line:?}\n{log}")))
        .collect();
    let of = |plugin: &str| lines.iter().filter(|line| line["plugin"] == plugin).collect::<Vec<_>>();
    assert!(!log.contains(['\r', '\u{1b}', '\0', '\u{2028}']), "{log:?}");
    assert!(log.lines().all(|line| line.len() < 16 << 10));
    assert!(lines.iter().all(|line| line["message"] != "forged"), "{log}");

    let [injected] = of("injection")[..] else { panic!("{log}") };
    assert_eq!(injected["level"], "error");
    assert_eq!(injected["request_id"].as_str().unwrap().len(), 32, "the line can be found by its request");
    assert_eq!(of("large").len(), 1, "{log}");
    assert_eq!(of("flood").len(), 10, "as many as limits.log_lines allows in one hook");
    let panic = of("panic");
    assert!(panic[0]["message"].as_str().unwrap().contains("on purpose"), "{log}");
    assert!(panic.iter().any(|line| line["message"].as_str().unwrap().contains("skipped")), "{log}");
}

#[tokio::test]
async fn the_process_whose_log_is_read() {
    if std::env::var_os(LOG_IS_READ).is_none() {
        return;
    }
    let deeds = [("injection", "log-injection"), ("large", "log-large"), ("flood", "log-flood"), ("panic", "panic")];
    let plugin = |(name, _): &(&str, &str)| {
        let settings = json!({ "source": file("guest-hostile"), "on_error": "skip", "limits": { "log_lines": 10, "time": "10s" } });
        ((*name).to_owned(), settings)
    };
    let route = |(name, what): &(&str, &str)| json!({ "match": { "path": format!("/{name}") }, "plugins": [{ *name: { "do": what, "count": 500 } }, { "echo": {} }] });
    let gateway = TestGateway::start(json!({
        "plugins": deeds.iter().map(plugin).collect::<serde_json::Map<_, _>>(),
        "routes": deeds.iter().map(route).collect::<Vec<_>>(),
    }));
    for (name, _) in deeds {
        assert_eq!(gateway.get_with(&format!("/{name}"), &[("x-misbehave", "1")]).await.status, 200);
    }
    gateway.shutdown();
    gatewright::telemetry::log::close(std::time::Duration::from_secs(5));
}

const LOG_IS_READ: &str = "GATEWRIGHT_TEST_LOG_IS_READ";
