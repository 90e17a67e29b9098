//! What plugins are lent, seen from outside: shared memory, limits, callouts, key sets, secrets, time, log and metrics.

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use gatewright_tests::{Client, Server, TestGateway, eventually, guest, send};
use serde_json::{Value, json};
use tokio::task::JoinSet;

mod callouts;
mod https_key_sets;
mod key_sets;

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

// ------------------------------------------------------------------------------------------------------ key sets

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
    let announced = of("announced");
    assert!(!announced.is_empty() && !log.contains("hunter2"), "{log}");
    assert!(announced.iter().all(|line| line["message"] == "configured name=${file:name.secret}"), "{log}");
    let panic = of("panic");
    // In whatever order: a plugin that is new runs on another thread than who tells what became of it.
    for part in ["on purpose", "skipped"] {
        assert!(panic.iter().any(|line| line["message"].as_str().unwrap().contains(part)), "{log}");
    }
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
    let mut config = json!({
        "plugins": deeds.iter().map(plugin).collect::<serde_json::Map<_, _>>(),
        "routes": deeds.iter().map(route).collect::<Vec<_>>(),
    });
    config["plugins"]["announced"] = json!({ "source": file("guest-order") });
    let announced = json!({ "announced": { "name": "${file:name.secret}", "announce": true } });
    let routes = config["routes"].as_array_mut().unwrap();
    routes.push(json!({ "match": { "path": "/announced" }, "plugins": [announced, { "echo": {} }] }));
    let gateway = TestGateway::start_beside(config, |directory| {
        std::fs::write(directory.join("name.secret"), "hunter2").unwrap();
    });
    for (name, _) in deeds {
        assert_eq!(gateway.get_with(&format!("/{name}"), &[("x-misbehave", "1")]).await.status, 200);
    }
    gateway.shutdown();
    gatewright::telemetry::log::close(std::time::Duration::from_secs(5));
}

const LOG_IS_READ: &str = "GATEWRIGHT_TEST_LOG_IS_READ";
