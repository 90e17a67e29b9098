//! Plugins that do what no plugin must, in every hook: each ends at most its own hook and its own instance. While they
//! misbehave, a healthy route is asked all the time, and the next request through the same plugin is served.

use std::collections::HashMap;
use std::pin::pin;
use std::time::{Duration, Instant};

use gatewright_tests::{Answer, Server, TestGateway, eventually, guest, send};
use serde_json::{Value, json};

mod bodies;
mod waiting;
mod zoo;

use zoo::{Healthy, Zoo, name};

/// What comes of a deed, where the plugin's failure denies.
#[derive(Clone, Copy, Debug)]
enum Fate {
    /// The hook fails; the request gets this status.
    Fails(u16),
    /// The gateway refuses, and the hook goes on. This is in what it was told.
    Refused(&'static str),
    /// It does no harm, and the hook goes on.
    Harmless(&'static str),
}

use Fate::{Fails, Harmless, Refused};

const HOOKS: [&str; 5] = ["on-request", "on-request-body", "on-response", "on-response-body", "on-complete"];

/// Each deed, how often or how much (0: without end), and its fate.
const DEEDS: [(&str, u64, Fate); 31] = [
    ("behave", 0, Harmless("")),
    ("loop", 0, Fails(500)),
    ("loop-host-calls", 0, Fails(500)),
    ("host-calls", 0, Fails(500)),
    ("memory", 0, Refused(" MiB")),
    ("trap", 0, Fails(500)),
    ("panic", 0, Fails(500)),
    ("bad-index", 0, Fails(500)),
    ("recursion", 0, Fails(500)),
    ("exit", 0, Fails(500)),
    ("random", 0, Fails(500)),
    ("header-split", 0, Refused("Err(InvalidSyntax)")),
    ("header-forbidden", 0, Refused("Err(Forbidden)")),
    ("headers-many", 0, Refused("LimitExceeded")),
    ("header-large", 0, Refused("LimitExceeded")),
    ("bad-target", 0, Refused("Err(InvalidSyntax)")),
    // More than may cross the boundary at once, so the call does not even begin.
    ("state-large", 0, Fails(500)),
    // There is no room left to note it in.
    ("attributes-many", 0, Refused("")),
    ("log-flood", 0, Fails(500)),
    ("log-flood", 2000, Harmless("done")),
    ("log-large", 0, Harmless("done")),
    ("log-injection", 0, Harmless("done")),
    ("print-flood", 0, Fails(500)),
    ("store-flood", 0, Fails(500)),
    ("store-flood", 2000, Harmless("no error")),
    ("store-large", 0, Fails(500)),
    ("limiter-flood", 0, Fails(500)),
    ("limiter-flood", 2000, Harmless("refused")),
    ("metric-flood", 0, Fails(500)),
    ("metric-flood", 2000, Harmless("done")),
    ("return-large", 0, Fails(500)),
];

/// What a plugin may answer wrongly: in a body hook these come instead of a chunk, and after the last byte they mean
/// nothing.
const ANSWERS: [(&str, u64); 5] = [
    // Fits into its memory and not through the boundary.
    ("return-large", 5 << 20),
    ("respond-split", 0),
    ("respond-framing", 0),
    ("respond-headers", 0),
    ("respond-status", 0),
];

fn file(guest_name: &str) -> String {
    format!("file:{}", guest(guest_name))
}

/// Bytes of memory that the process has now, the gateway's and the tests' together.
pub(crate) fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

#[tokio::test]
async fn every_deed_in_every_hook_ends_its_own_exchange_where_failures_deny() {
    try_all_deeds("deny").await;
}

#[tokio::test]
async fn every_deed_in_every_hook_does_nothing_where_failures_are_skipped() {
    try_all_deeds("skip").await;
}

async fn try_all_deeds(on_error: &str) {
    let deeds: Vec<(&str, u64)> = DEEDS.iter().map(|(what, count, _)| (*what, *count)).collect();
    let zoo = Zoo::open(&deeds, &[on_error]).await;
    let healthy = Healthy::start(&zoo.gateway);
    let resident = resident_bytes();
    let (mut failed, mut told) = (Vec::new(), HashMap::new());
    for (what, count, fate) in DEEDS {
        for hook in HOOKS {
            let name = name(what, count, hook, on_error);
            check(&name, zoo.provoke(&name).await.as_ref(), fate, hook, on_error);
            zoo.assert_serves_on(&name).await;
            match fate {
                Fails(_) => failed.push(name),
                Refused(words) | Harmless(words) if !words.is_empty() && can_be_tried(what, hook) => {
                    told.insert(name, words);
                }
                _ => {}
            }
        }
    }
    healthy.stop().await;
    // Each plugin has warm instances and a store of its own by now.
    let plugins = DEEDS.len() * HOOKS.len();
    let grown = resident_bytes().saturating_sub(resident) >> 20;
    assert!(grown < 2 * plugins, "{grown} MiB more than before, for {plugins} plugins");

    // Each failure is counted for its plugin, and the request after it went through the same plugin.
    eventually("every failure is counted", async || {
        let page = send(zoo.gateway.admin(), "GET", "/metrics", &[], "").await.text();
        let (failures, calls) = (
            sums(&page, &["gatewright_plugin_traps_total", "gatewright_plugin_limit_hits_total"]),
            sums(&page, &["gatewright_plugin_calls_total"]),
        );
        assert!(failed.iter().all(|name| calls[name] >= 2), "{calls:#?}");
        failed.iter().all(|name| failures[name] > 0).then_some(())
    })
    .await;
    // What the others were told is in their records.
    eventually("every plugin has noted what it was told", async || {
        let records = zoo.gateway.records();
        let noted = records.iter().filter_map(|record| record["attributes"].as_object()?.iter().next());
        let noted: HashMap<&str, &str> = noted
            .filter_map(|(name, value)| {
                Some((name.strip_prefix("plugin.")?.strip_suffix(".outcome")?, value.as_str()?))
            })
            .collect();
        let most = records.iter().filter_map(|record| record["attributes"].as_object()).map(|all| all.len()).max();
        assert!(most.is_some_and(|most| most <= 64), "{most:?} attributes");
        for (name, words) in &told {
            let outcome = noted.get(name.as_str())?;
            assert!(outcome.contains(words), "{name}: {outcome}");
        }
        Some(())
    })
    .await;
}

/// What the client got, against what it should have.
fn check(name: &str, answer: Option<&Answer>, fate: Fate, hook: &str, on_error: &str) {
    match (fate, hook, on_error) {
        // The head is with the client, so a broken body is all that can be.
        (Fails(_), "on-response-body", "deny") => assert!(answer.is_none(), "{name}: {answer:?}"),
        (Fails(status), "on-request" | "on-request-body" | "on-response", "deny") => {
            answer.unwrap_or_else(|| panic!("{name}: no answer")).problem(status);
        }
        // It is skipped, or nobody waits for it any more, or it did no harm.
        _ => {
            let answer = answer.unwrap_or_else(|| panic!("{name}: no answer"));
            assert_eq!((answer.status, answer.text().as_str()), (200, "behind"), "{name}");
            assert!(answer.header("x-injected").is_none(), "{name}");
        }
    }
}

/// Body and completion hooks have no headers to change, and say nothing of it.
fn can_be_tried(what: &str, hook: &str) -> bool {
    let about_heads = ["header-split", "header-forbidden", "headers-many", "header-large"];
    !about_heads.contains(&what) || ["on-request", "on-response"].contains(&hook)
}

/// The samples of these metrics, added up by plugin.
fn sums(page: &str, metrics: &[&str]) -> HashMap<String, u64> {
    let mut sums = HashMap::new();
    for line in page.lines().filter(|line| metrics.iter().any(|metric| line.starts_with(metric))) {
        let Some(plugin) = line.split("plugin=\"").nth(1).and_then(|rest| rest.split('"').next()) else { continue };
        let value: f64 = line.rsplit(' ').next().unwrap().parse().unwrap();
        *sums.entry(plugin.to_owned()).or_default() += value as u64;
    }
    sums
}

#[tokio::test]
async fn an_answer_that_is_none_does_not_reach_the_client() {
    let zoo = Zoo::open(&ANSWERS, &["deny", "skip"]).await;
    let healthy = Healthy::start(&zoo.gateway);
    for (what, count) in ANSWERS {
        for hook in HOOKS {
            for on_error in ["deny", "skip"] {
                let name = name(what, count, hook, on_error);
                let answer = zoo.provoke(&name).await;
                match (hook, on_error) {
                    ("on-complete", _) | (_, "skip") => {
                        let answer = answer.unwrap_or_else(|| panic!("{name}"));
                        assert_eq!((answer.status, answer.text().as_str()), (200, "behind"), "{name}");
                    }
                    ("on-response-body", _) => assert!(answer.is_none(), "{name}: {answer:?}"),
                    _ => {
                        let answer = answer.unwrap_or_else(|| panic!("{name}"));
                        answer.problem(500);
                        assert!(answer.header("x-injected").is_none() && answer.header("x-a").is_none(), "{name}");
                    }
                }
                zoo.assert_serves_on(&name).await;
            }
        }
    }
    healthy.stop().await;
    assert!(zoo.server.received().iter().all(|request| request.body == "a body" || request.target == "/healthy"));
}

#[tokio::test]
async fn misdeeds_again_and_again_take_no_more_memory() {
    let deeds =
        ["memory", "return-large", "recursion", "panic", "headers-many", "log-flood", "store-flood", "respond-headers"];
    let zoo = Zoo::open(&deeds.map(|what| (what, 0)), &["deny"]).await;
    let round = async || {
        for what in deeds {
            for hook in ["on-request", "on-request-body", "on-response", "on-response-body"] {
                zoo.provoke(&name(what, 0, hook, "deny")).await;
            }
        }
    };
    for _ in 0..2 {
        round().await;
    }
    let resident = resident_bytes();
    for _ in 0..5 {
        round().await;
    }
    let grown = resident_bytes().saturating_sub(resident) >> 20;
    assert!(grown < 64, "{grown} MiB more after five times the same");
}

#[tokio::test]
async fn a_loop_ends_between_one_and_two_time_limits() {
    let server = Server::named("behind").await;
    let gateway = TestGateway::start(json!({
        "workers": 1,
        "upstreams": { "behind": [server.text()] },
        "plugins": { "loop": { "source": file("guest-hostile"), "limits": { "time": "200ms" }, "breaker": { "failures": 0 } } },
        "routes": [{ "match": {}, "plugins": [{ "loop": { "do": "loop" } }], "to": "behind" }],
    }));
    assert_eq!(gateway.get("/").await.status, 200);
    for _ in 0..3 {
        let started = Instant::now();
        gateway.get_with("/", &[("x-misbehave", "1")]).await.problem(500);
        let took = started.elapsed().as_millis();
        // The upper bound has room for a machine that does other things too.
        assert!((200..2000).contains(&took), "{took} ms");
    }
    assert_eq!(gateway.metric("gatewright_plugin_limit_hits_total", &["\"loop\"", "limit=\"time\""]).await, 3.0);
}

#[tokio::test]
async fn a_plugin_that_has_not_done_well_yet_loops_beside_the_core() {
    let server = Server::named("behind").await;
    let limit = Duration::from_secs(2);
    let gateway = TestGateway::start(json!({
        "workers": 1,
        "upstreams": { "behind": [server.text()] },
        "plugins": { "loop": { "source": file("guest-hostile"), "limits": { "time": "2s" }, "breaker": { "failures": 0 } } },
        "routes": [
            { "match": { "path": "/loop" }, "plugins": [{ "loop": { "do": "loop" } }], "to": "behind" },
            { "match": {}, "to": "behind" },
        ],
    }));
    // The first one is a new plugin's, the second one comes after a time-out.
    for _ in 0..2 {
        let mut looping = pin!(gateway.get_with("/loop", &[("x-misbehave", "1")]));
        let mut slowest = Duration::ZERO;
        let answer = loop {
            let began = Instant::now();
            tokio::select! {
                answer = &mut looping => break answer,
                innocent = gateway.get("/") => assert_eq!(innocent.status, 200),
            }
            slowest = slowest.max(began.elapsed());
        };
        answer.problem(500);
        assert!(slowest < limit / 2, "an innocent request on the same core took {slowest:?}");
    }
    assert_eq!(gateway.get("/loop").await.status, 200);
}

#[tokio::test]
async fn a_deed_in_configure_is_a_mistake_in_the_configuration_and_the_old_one_serves_on() {
    let gateway = TestGateway::start(json!({
        "routes": [{ "match": {}, "plugins": [{ "echo": { "respond": { "body": "old" } } }] }],
    }));
    let with = |what: &str, time: &str| {
        json!({
            "plugins": { "h": { "source": file("guest-hostile"), "limits": { "configure_time": time } } },
            "routes": [{ "match": {}, "plugins": [{ "h": { "do": what, "in": "configure" } }, { "echo": { "respond": { "body": "new" } } }] }],
        })
    };
    let fails = [
        "loop",
        "loop-host-calls",
        "host-calls",
        "trap",
        "panic",
        "bad-index",
        "recursion",
        "exit",
        "random",
        "refuse",
        "log-flood",
        "print-flood",
        "store-flood",
        "store-large",
        "limiter-flood",
        "metric-flood",
    ];
    for what in fails {
        gateway.write_config(with(what, "250ms"));
        let error = gateway.reload().unwrap_err().to_string();
        assert!(error.contains("gateway.json:1:"), "{what}: {error}");
        assert!(error.contains("plugin \"h\" cannot run here: configure "), "{what}: {error}");
        assert!(!error.contains('\u{1b}') && !error.contains('\r'), "{what}: {error:?}");
        assert_eq!(gateway.get("/").await.text(), "old", "{what}");
    }
    for what in ["behave", "memory", "log-large", "log-injection"] {
        gateway.write_config(with(what, "20s"));
        gateway.reload().unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(gateway.get("/").await.text(), "new", "{what}");
    }
}

#[tokio::test]
async fn a_deed_in_the_background_disturbs_no_request_and_no_admin() {
    let deeds = ["loop", "trap", "host-calls", "memory", "recursion", "exit", "random", "log-flood"];
    let plugin =
        |what: &&str| ((*what).to_owned(), json!({ "source": file("guest-hostile"), "limits": { "time": "50ms" } }));
    let plugins: serde_json::Map<String, Value> = deeds.iter().map(plugin).collect();
    let route = |what: &&str| {
        json!({
            "match": { "path": format!("/{what}") },
            "plugins": [{ *what: { "do": what, "in": "on-tick" } }, { "echo": { "respond": { "body": "fine" } } }],
        })
    };
    let gateway = TestGateway::start(json!({
        "plugins": plugins, "routes": deeds.iter().map(route).collect::<Vec<_>>(),
    }));
    for what in deeds.into_iter().filter(|what| *what != "memory") {
        let label = format!("\"{what}\"");
        eventually(&format!("{what} has failed in the background"), async || {
            let traps = gateway.metric("gatewright_plugin_traps_total", &[&label]).await;
            let limits = gateway.metric("gatewright_plugin_limit_hits_total", &[&label]).await;
            (traps + limits > 0.0).then_some(())
        })
        .await;
    }
    for what in deeds {
        assert_eq!(gateway.get(&format!("/{what}")).await.text(), "fine", "{what}");
    }
}
