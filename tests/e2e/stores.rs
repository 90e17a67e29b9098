//! Limits, places and entries in a real Redis server: exact over gateways, and what happens while the server is away.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use gatewright_tests::{Authority, Client, Redis, Server, Slow, TestGateway, eventually, guest, send};
use serde_json::{Value, json};
use tokio::task::JoinSet;

/// A gateway whose limits are in the server. `store` is added to the store's settings. They are for a busy machine: what
/// times out is decided without the server.
fn gateway(redis: &Redis, store: Value) -> TestGateway {
    let mut settings = json!({ "redis": redis.url(), "timeout": "5s", "connect_timeout": "5s" });
    settings.as_object_mut().unwrap().extend(store.as_object().unwrap().clone());
    let granted = json!({ "grants": { "store": "limits" } });
    TestGateway::start(json!({
        "stores": { "limits": settings },
        "plugins": { "rate-limit": granted, "quota": granted },
        "routes": [
            { "match": { "path": "/bucket" }, "plugins": [{ "rate-limit": { "limit": "100/h" } }, "echo"] },
            { "match": { "path": "/quota" }, "plugins": [{ "quota": { "month": 100, "day": 1_000_000 } }, "echo"] },
            { "match": { "path": "/wide" }, "plugins": [{ "rate-limit": { "limit": "1000000/s" } }, "echo"] },
            { "match": { "path": "/by-team" },
              "plugins": [{ "rate-limit": { "limit": "20/h", "by": { "header": "team" } } }, "echo"] },
        ],
    }))
}

async fn questions(gateway: &TestGateway, result: &str) -> f64 {
    gateway.metric("gatewright_store_questions_total", &[&format!("result=\"{result}\"")]).await
}

async fn fallbacks(gateway: &TestGateway) -> f64 {
    gateway.metric("gatewright_store_fallbacks_total", &["store=\"limits\""]).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_ten_thousand_requests_over_64_connections_exactly_100_pass_in_one_gateway_and_in_two() {
    let redis = Redis::start();
    let (one, two) = (gateway(&redis, json!({})), gateway(&redis, json!({})));
    for (path, addresses) in [("/quota", vec![one.address()]), ("/bucket", vec![one.address(), two.address()])] {
        let seen = storm_at(&addresses, path, 10_000).await;
        assert_eq!(seen, (100, 9_900), "{path}");
    }
    // What one counted, the other knows.
    two.get("/quota").await.problem(429);
    assert_eq!(questions(&one, "answered").await + questions(&two, "answered").await, 20_001.0);
    assert_eq!(fallbacks(&one).await + fallbacks(&two).await, 0.0);
    assert!(one.metric("gatewright_store_connections", &[]).await >= 1.0);
}

#[tokio::test]
async fn a_store_is_spoken_to_over_tls_and_only_where_both_prove_who_they_are() {
    let (authority, others) = (Authority::new("Stores"), Authority::new("Others"));
    let redis = Redis::start_with_tls(&authority.issue(&["localhost"]), &authority);
    let start = |tls: Value| {
        let config = json!({
            "stores": {
                "limits": {
                    "redis": redis.tls_url(),
                    "tls": tls,
                    "timeout": "5s",
                    "connect_timeout": "5s",
                    "on_error": "deny",
                },
            },
            "plugins": { "rate-limit": { "grants": { "store": "limits" } } },
            "routes": [{ "match": {}, "plugins": [{ "rate-limit": { "limit": "2/h" } }, "echo"] }],
        });
        TestGateway::start_beside(config, |directory| {
            std::fs::write(directory.join("stores.pem"), authority.pem()).unwrap();
            std::fs::write(directory.join("others.pem"), others.pem()).unwrap();
            authority.issue(&["gateway"]).write(directory, "gateway");
            others.issue(&["gateway"]).write(directory, "stranger");
        })
    };
    let own = json!({ "cert": "gateway.pem", "key": "gateway.key" });
    let good = start(json!({ "ca": "stores.pem", "certificate": own }));
    for status in [200, 200, 429] {
        assert_eq!(good.get("/").await.status, status);
    }
    assert_eq!((questions(&good, "answered").await, fallbacks(&good).await), (3.0, 0.0));
    for tls in [
        json!({ "ca": "others.pem", "certificate": own }),
        json!({ "ca": "stores.pem", "certificate": own, "server_name": "elsewhere" }),
        json!({ "ca": "stores.pem" }),
        json!({ "ca": "stores.pem", "certificate": { "cert": "stranger.pem", "key": "stranger.key" } }),
    ] {
        let bad = start(tls.clone());
        bad.get("/").await.problem(429);
        assert_eq!((questions(&bad, "answered").await, fallbacks(&bad).await), (0.0, 1.0), "{tls}");
    }
    // Other authorities are for connections that are there already, too.
    std::fs::write(good.directory().join("stores.pem"), others.pem()).unwrap();
    good.reload().unwrap();
    eventually("the server is not trusted any more", async || {
        good.get("/").await;
        (fallbacks(&good).await > 0.0).then_some(())
    })
    .await;
}

/// How many of so many requests over 64 connections passed and were refused; there is nothing else.
async fn storm_at(addresses: &[std::net::SocketAddr], path: &'static str, count: usize) -> (usize, usize) {
    let mut clients = JoinSet::new();
    for number in 0..64 {
        let address = addresses[number % addresses.len()];
        let share = count / 64 + usize::from(number < count % 64);
        clients.spawn(async move {
            let mut client = Client::http1(address).await;
            let mut passed = 0;
            for _ in 0..share {
                match client.send("GET", path, &[], "").await.unwrap().status {
                    200 => passed += 1,
                    429 => {}
                    status => panic!("{status}"),
                }
            }
            (passed, share - passed)
        });
    }
    clients.join_all().await.into_iter().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
}

/// How many scripts the server has run.
fn decisions(redis: &Redis) -> usize {
    let told = redis.command("INFO commandstats");
    let calls = told.iter().find_map(|line| line.strip_prefix("cmdstat_evalsha:calls=")?.split(',').next());
    calls.unwrap_or_else(|| panic!("{told:?}")).parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn taken_ahead_never_more_than_the_limit_pass_and_the_server_is_asked_a_fraction() {
    let redis = Redis::start();
    let store = json!({ "take_ahead": 50 });
    let (one, two) = (gateway(&redis, store.clone()), gateway(&redis, store));
    let addresses = [one.address(), two.address()];
    assert_eq!(storm_at(&addresses, "/wide", 4_000).await, (4_000, 0));
    let wide = decisions(&redis);
    assert!(wide <= 400, "{wide} decisions for 4,000 requests");
    for path in ["/bucket", "/quota"] {
        let before = decisions(&redis);
        let (passed, refused) = storm_at(&addresses, path, 4_000).await;
        let asked = decisions(&redis) - before;
        assert!((75..=100).contains(&passed), "{path}: {passed} passed, {refused} did not");
        // A refusal is known for a second.
        assert!(asked <= 400, "{path}: {asked} decisions for 4,000 requests");
        // What a gateway has not used comes back when it is asked again.
        let mut passed = passed;
        eventually("all that the limit allows has passed", async || {
            for gateway in [&one, &two] {
                passed += usize::from(gateway.get(path).await.status == 200);
            }
            (passed >= 100).then_some(())
        })
        .await;
        assert_eq!(passed, 100, "{path}");
        let last = one.get(path).await;
        assert_eq!((last.status, two.get(path).await.status), (429, 429));
        assert_eq!(last.header("ratelimit").map(|told| told.contains("r=0")), Some(true));
    }
    assert_eq!(fallbacks(&one).await + fallbacks(&two).await, 0.0);
}

#[tokio::test]
async fn what_was_taken_ahead_is_used_up_before_a_server_that_is_away_is_missed() {
    let mut redis = Redis::start();
    let gateway = gateway(&redis, json!({ "take_ahead": 20, "on_error": "deny" }));
    // Again where the second that it is good for went by before the server was gone.
    let passed = eventually("some pass after the server is gone", async || {
        eventually("the server decides", async || (gateway.get("/bucket").await.status == 200).then_some(())).await;
        redis.stop();
        let mut passed = 0;
        while gateway.get("/bucket").await.status == 200 {
            passed += 1;
        }
        redis.start_again();
        (passed > 0).then_some(passed)
    })
    .await;
    assert!(passed < 20, "{passed}");
    assert!(fallbacks(&gateway).await >= 1.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_stopped_and_started_fails_no_request_and_is_exact_again_within_a_second() {
    let mut redis = Redis::start();
    let gateway = gateway(&redis, json!({}));
    let (is_over, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let mut load = JoinSet::new();
    for _ in 0..8 {
        let (is_over, sent, address) = (is_over.clone(), sent.clone(), gateway.address());
        load.spawn(async move {
            let mut client = Client::http1(address).await;
            while !is_over.load(Ordering::Relaxed) {
                let answer = client.send("GET", "/wide", &[], "").await.unwrap();
                assert_eq!(answer.status, 200, "{}", answer.text());
                sent.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    eventually("load on the server", async || (questions(&gateway, "answered").await > 200.0).then_some(())).await;
    // Again where a busy machine took longer.
    eventually("every core asks again within a second", async || {
        let enough = fallbacks(&gateway).await + 200.0;
        redis.stop();
        eventually("the gateway decides for itself", async || (fallbacks(&gateway).await > enough).then_some(())).await;
        redis.start_again();
        let back = Instant::now();
        eventually("every core asks again", async || {
            (gateway.metric("gatewright_store_connections", &[]).await >= 2.0).then_some(())
        })
        .await;
        (back.elapsed() < Duration::from_secs(1)).then_some(())
    })
    .await;
    let before = fallbacks(&gateway).await;
    let (passed, refused) = storm_at(&[gateway.address()], "/bucket", 1_000).await;
    assert_eq!((passed, refused), (100, 900));
    assert_eq!(fallbacks(&gateway).await, before, "nobody decided without the server");
    is_over.store(true, Ordering::Relaxed);
    load.join_all().await;
    assert!(sent.load(Ordering::Relaxed) > 400, "as many as were counted above");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_hangs_costs_a_bounded_wait() {
    let redis = Redis::start();
    let gateway = gateway(&redis, json!({ "timeout": "50ms", "connect_timeout": "500ms" }));
    assert_eq!(gateway.get("/wide").await.status, 200);
    redis.hang();
    let mut client = Client::http1(gateway.address()).await;
    let mut slow = 0;
    for _ in 0..200 {
        let began = Instant::now();
        assert_eq!(client.send("GET", "/wide", &[], "").await.unwrap().status, 200);
        // Far above the time-out, since other tests run beside this one.
        assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
        slow += usize::from(began.elapsed() >= Duration::from_millis(50));
    }
    assert!(slow < 50, "{slow} of 200 requests waited: the server should have been given up");
    assert!(questions(&gateway, "timed-out").await >= 1.0);
    assert!(fallbacks(&gateway).await >= 199.0);
    redis.go_on();
    let before = questions(&gateway, "answered").await;
    eventually("the server is asked again", async || {
        assert_eq!(gateway.get("/wide").await.status, 200);
        (questions(&gateway, "answered").await > before + 10.0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_happens_without_the_server_is_the_operators_choice() {
    let mut redis = Redis::start();
    redis.stop();
    for (on_error, statuses) in
        [("local", [vec![200; 20], vec![429; 5]].concat()), ("allow", vec![200; 25]), ("deny", vec![429; 25])]
    {
        let gateway = gateway(&redis, json!({ "on_error": on_error }));
        let mut seen = Vec::new();
        for _ in 0..25 {
            seen.push(gateway.get_with("/by-team", &[("team", "a")]).await.status);
        }
        assert_eq!(seen, statuses, "{on_error}");
        let label = format!("on_error=\"{on_error}\"");
        assert_eq!(gateway.metric("gatewright_store_fallbacks_total", &[&label]).await, 25.0);
        let quota = gateway.get("/quota").await;
        match on_error {
            "deny" => drop(quota.problem(503)),
            _ => assert_eq!(quota.status, 200),
        }
    }
}

#[tokio::test]
async fn every_key_has_an_end_and_none_of_them_tells_what_a_client_sent() {
    let redis = Redis::start();
    let gateway = gateway(&redis, json!({ "prefix": "shop:" }));
    for number in 0..50 {
        let team = format!("team-{number}");
        assert_eq!(gateway.get_with("/by-team", &[("team", &team)]).await.status, 200);
    }
    assert_eq!(gateway.get("/quota").await.status, 200);
    let keys = redis.command("KEYS *");
    assert_eq!(keys.len(), 52, "{keys:?}");
    for key in keys {
        assert!(key.starts_with("shop:") && !key.contains("team"), "{key}");
        let left: i64 = redis.command(&format!("PTTL {key}"))[0].parse().unwrap();
        assert!(left > 0 && left <= 31 * 24 * 3_600_000, "{key}: {left}");
    }
}

#[tokio::test]
async fn a_plugins_entries_are_shared_by_gateways() {
    let redis = Redis::start();
    let server = Server::named("behind").await;
    let start = || {
        TestGateway::start(json!({
            "upstreams": { "behind": [server.text()] },
            "stores": { "shared": { "redis": redis.url(), "timeout": "5s", "connect_timeout": "5s" } },
            "plugins": {
                "state": { "source": format!("file:{}", guest("guest-state")), "grants": { "store": "shared" } },
            },
            "routes": [{ "match": {}, "plugins": ["state"], "to": "behind" }],
        }))
    };
    let (one, two) = (start(), start());
    for count in [1, 3, 5, 7] {
        assert_eq!(one.get("/").await.header("x-count"), Some(count.to_string().as_str()));
        assert_eq!(two.get("/").await.header("x-count"), Some((count + 1).to_string().as_str()));
    }
}

#[tokio::test]
async fn places_are_counted_over_gateways_and_come_back() {
    let redis = Redis::start();
    let slow = Slow::start().await;
    let start = || {
        TestGateway::start(json!({
            "upstreams": { "slow": [slow.text()] },
            "stores": {
                "shared": { "redis": redis.url(), "timeout": "5s", "connect_timeout": "5s", "slot_ttl": "3s" },
            },
            "plugins": { "concurrency": { "grants": { "store": "shared" } } },
            "routes": [{ "match": {}, "plugins": [{ "concurrency": { "limit": 3, "by": "route" } }], "to": "slow" }],
        }))
    };
    let (one, two) = (start(), start());
    let mut clients = JoinSet::new();
    for number in 0..20 {
        let address = if number % 2 == 0 { one.address() } else { two.address() };
        clients.spawn(async move { send(address, "GET", "/", &[], "").await });
    }
    for _ in 0..17 {
        clients.join_next().await.unwrap().unwrap().problem(503);
    }
    // Longer than the lease of a place that nobody renews: what is held stays held.
    let held = Instant::now();
    eventually("more than a lease has gone by", async || {
        one.get("/").await.problem(503);
        (held.elapsed() > Duration::from_millis(4500)).then_some(())
    })
    .await;
    slow.release(3);
    while let Some(answer) = clients.join_next().await {
        assert_eq!(answer.unwrap().status, 200);
    }
    eventually("all places are free", async || redis.command("KEYS *").is_empty().then_some(())).await;
}

#[tokio::test]
async fn a_password_comes_from_a_secret_and_is_shown_nowhere() {
    let redis = Redis::start();
    redis.command("CONFIG SET requirepass open-sesame");
    let gateway = TestGateway::start_beside(
        json!({
            "secrets": { "redis": { "file": "redis.key" } },
            "stores": {
                "limits": { "redis": redis.url(), "password": "redis", "timeout": "5s", "connect_timeout": "5s" },
            },
            "plugins": { "rate-limit": { "grants": { "store": "limits" } } },
            "routes": [{ "match": {}, "plugins": [{ "rate-limit": { "limit": "1/h" } }, "echo"] }],
        }),
        |folder| std::fs::write(folder.join("redis.key"), "open-sesame").unwrap(),
    );
    assert_eq!(gateway.get("/").await.status, 200);
    gateway.get("/").await.problem(429);
    assert_eq!(questions(&gateway, "answered").await, 2.0);
    let config = send(gateway.admin(), "GET", "/config", &[], "").await.text();
    assert!(config.contains("limits") && !config.contains("open-sesame"), "{config}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_keeps_the_counts_and_the_store() {
    let redis = Redis::start();
    let gateway = gateway(&redis, json!({}));
    assert_eq!(storm_at(&[gateway.address()], "/bucket", 64).await, (64, 0));
    gateway.reload().unwrap();
    assert_eq!(storm_at(&[gateway.address()], "/bucket", 64).await, (36, 28));
    assert_eq!(questions(&gateway, "answered").await, 128.0, "it is the same store");
}
