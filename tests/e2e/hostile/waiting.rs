//! Misdeeds of plugins that may call out, and clients that do not wait for them.

use gatewright_tests::{Scripted, Server, TestGateway, Wire, eventually, read_head};
use serde_json::json;

use super::file;

#[tokio::test]
async fn clients_that_leave_while_a_hook_waits_leak_nothing() {
    let silent = Scripted::start(|mut stream| async move {
        read_head(&mut stream).await;
        std::future::pending::<()>().await;
    })
    .await;
    let gateway = TestGateway::start(json!({
        "upstreams": { "silent": [silent.text()] },
        "plugins": {
            "before": { "source": file("guest-hostile") },
            // Longer than the test takes on the busiest machine: a hook whose callout has timed out waits no more.
            "callout": {
                "source": file("guest-callout"), "grants": { "upstreams": ["silent"] },
                "limits": { "callout_timeout": "5m" },
            },
        },
        "routes": [{
            "match": {},
            "plugins": [
                { "before": { "do": "behave" } },
                { "callout": { "upstreams": ["silent"], "how": "send", "timeout": "5m" } },
                { "echo": { "respond": { "body": "fine" } } },
            ],
        }],
    }));
    const CLIENTS: usize = 100;
    let mut waiting = Vec::new();
    for _ in 0..CLIENTS {
        let mut wire = Wire::connect(gateway.address()).await;
        wire.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        waiting.push(wire);
    }
    let calls = async |plugin: &str, hook: &str| {
        let labels = [format!("plugin=\"{plugin}\""), format!("hook=\"{hook}\"")];
        gateway.metric("gatewright_plugin_calls_total", &[&labels[0], &labels[1]]).await
    };
    eventually("all hooks wait", async || (calls("callout", "request").await == CLIENTS as f64).then_some(())).await;
    waiting.into_iter().for_each(Wire::reset);
    let records = gateway.wait_for_records(CLIENTS).await;
    assert!(records.iter().all(|record| record["outcome"] == "client-left"), "{records:#?}");
    eventually("who ran before it is told of the end", async || {
        (calls("before", "completion").await == CLIENTS as f64).then_some(())
    })
    .await;
    let instances = gateway.metric("gatewright_plugin_instances{", &["\"callout\""]).await;
    assert_eq!(instances, 0.0, "an instance that was left in the middle of a hook is not used again");
}

#[tokio::test]
async fn callouts_that_no_plugin_must_make_reach_nobody() {
    let behind = Server::named("behind").await;
    let target = Server::named("target").await;
    let silent = Scripted::start(|mut stream| async move {
        read_head(&mut stream).await;
        std::future::pending::<()>().await;
    })
    .await;
    let route = |(what, upstream): (&str, &str)| {
        json!({
            "match": { "path": format!("/{what}") },
            "plugins": [{ "net": { "do": what, "upstream": upstream } }],
            "to": "behind",
        })
    };
    let gateway = TestGateway::start(json!({
        "upstreams": { "behind": [behind.text()], "target": [target.text()], "silent": [silent.text()] },
        "plugins": { "net": {
            "source": file("guest-hostile-net"), "grants": { "upstreams": ["target", "silent"] },
            "limits": { "callout_timeout": "2s", "time": "1s", "host_calls": 20_000 }, "breaker": { "failures": 0 },
        } },
        "routes": [
            route(("sends", "target")), route(("send-all", "target")), route(("dispatches", "target")),
            route(("odd-names", "target")), route(("smuggle", "target")), route(("long-wait", "silent")),
            route(("loop-after", "target")),
        ],
    }));
    for (what, told, calls) in [
        ("sends", "8 ok, LimitExceeded", 8),
        ("send-all", "8 ok, LimitExceeded", 8),
        ("dispatches", "8 ok, LimitExceeded", 8),
        ("odd-names", "0 ok, UnknownUpstream", 0),
        ("smuggle", "0 ok, Other(", 0),
        ("long-wait", "0 ok, TimedOut", 0),
    ] {
        let before = target.received().len();
        assert_eq!(gateway.get(&format!("/{what}")).await.status, 200, "{what}");
        let received = behind.received().pop().unwrap();
        assert!(received.header("x-outcome").unwrap().starts_with(told), "{what}: {received:?}");
        eventually("the callouts have arrived", async || (target.received().len() >= before + calls).then_some(()))
            .await;
        assert_eq!(target.received().len(), before + calls, "{what}");
    }
    gateway.get("/loop-after").await.problem(500);
    assert_eq!(gateway.metric("gatewright_plugin_limit_hits_total", &["\"net\"", "limit=\"time\""]).await, 1.0);
}
