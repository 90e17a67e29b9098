//! Chains of plugins: which hooks run, in which order, and what becomes of a request when one fails.

use gatewright_tests::{Server, TestGateway, Wire, eventually, guest};
use serde_json::{Value, json};

mod pinned;
mod refused;

/// A plugin whose component is a guest of these tests.
fn from_guest(name: &str) -> Value {
    json!({ "source": format!("file:{}", guest(name)) })
}

/// The same with more settings.
fn with(mut plugin: Value, settings: Value) -> Value {
    plugin.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
    plugin
}

/// The plugins that most tests here use: `a`, `b` and `c` sign both directions; `deny` and `skip` misbehave when told to.
fn declared() -> Value {
    json!({
        "a": from_guest("guest-order"),
        "b": from_guest("guest-order"),
        "c": from_guest("guest-order"),
        "deny": with(from_guest("guest-hostile"), json!({ "on_error": "deny", "breaker": { "failures": 0 } })),
        "skip": with(from_guest("guest-hostile"), json!({ "on_error": "skip", "breaker": { "failures": 0 } })),
    })
}

fn signed(name: &str) -> Value {
    json!({ name: { "name": name } })
}

/// A stock plugin without a hook that signs both directions.
fn always(name: &str) -> Value {
    let append = json!({ "append": { "x-order": name } });
    json!({ "headers": { "request": append, "response": append } })
}

const MISBEHAVE: (&str, &str) = ("x-misbehave", "1");

#[tokio::test]
async fn request_hooks_run_in_order_and_response_hooks_in_reverse_for_exactly_those_that_ran() {
    let server = Server::named("behind").await;
    let deed = |plugin: &str, what: &str, hook: &str| json!({ plugin: { "do": what, "in": hook } });
    let cases = [
        // chain, where it goes, status, x-order at the upstream (none: it is not reached), x-order at the client
        ("all", json!([signed("a"), signed("b"), signed("c")]), "behind", 200, Some("a,b,c"), "c,b,a"),
        (
            "an-early-answer",
            json!([signed("a"), { "b": { "name": "b", "respond": true } }, signed("c")]),
            "behind",
            200,
            None,
            "b,a",
        ),
        ("no-upstream", json!([signed("a"), signed("b")]), "nobody", 502, None, "b,a"),
        (
            "a-skipped-failure",
            json!([signed("a"), deed("skip", "trap", "on-request"), signed("b")]),
            "behind",
            200,
            Some("a,b"),
            "b,a",
        ),
        (
            "a-denied-failure",
            json!([signed("a"), deed("deny", "trap", "on-request"), signed("b")]),
            "behind",
            500,
            None,
            "a",
        ),
        (
            "a-skipped-failure-on-the-way-back",
            json!([signed("a"), deed("skip", "trap", "on-response"), signed("b")]),
            "behind",
            200,
            Some("a,b"),
            "b,a",
        ),
        // What fails on the way back takes the place of the response; the plugins before it see that one.
        (
            "a-denied-failure-on-the-way-back",
            json!([signed("a"), deed("deny", "trap", "on-response"), signed("b")]),
            "behind",
            500,
            Some("a,b"),
            "a",
        ),
        // What is always changed: behind the request hook and before the response hook, and where there is none, in its
        // place.
        (
            "always",
            json!([signed("a"), { "b": { "name": "b", "always": "B" } }]),
            "behind",
            200,
            Some("a,b,B"),
            "B,b,a",
        ),
        ("without-hooks", json!([signed("a"), always("H"), signed("b")]), "behind", 200, Some("a,H,b"), "b,H,a"),
        ("always-and-an-error", json!([always("H"), signed("a")]), "nobody", 502, None, "a,H"),
        (
            "always-and-an-answer",
            json!([always("H"), { "b": { "name": "b", "respond": true, "always": "B" } }, always("I")]),
            "behind",
            200,
            None,
            "B,b,H",
        ),
    ];
    let route = |(name, chain, to, ..): &(&str, Value, &str, u16, Option<&str>, &str)| json!({ "name": name, "match": { "path": format!("/{name}") }, "plugins": chain, "to": to });
    let gateway = TestGateway::start(json!({
        "upstreams": { "behind": [server.text()], "nobody": ["127.0.0.1:9"] },
        "plugins": declared(),
        "routes": cases.iter().map(route).collect::<Vec<_>>(),
    }));
    for (name, _, _, status, at_upstream, at_client) in cases {
        let answer = gateway.get_with(&format!("/{name}"), &[MISBEHAVE]).await;
        assert_eq!(answer.status, status, "{name}: {}", answer.text());
        let order = |headers: &http::HeaderMap| {
            let values = headers.get_all("x-order").iter();
            values.map(|value| value.to_str().unwrap()).collect::<Vec<_>>().join(",")
        };
        assert_eq!(order(&answer.headers), at_client, "{name}");
        let received = server.received().into_iter().find(|request| request.target == format!("/{name}"));
        assert_eq!(received.map(|request| order(&request.headers)).as_deref(), at_upstream, "{name}");
    }
    assert_eq!(gateway.metric("gatewright_plugin_failures_total", &["\"skip\"", "on_error=\"skip\""]).await, 2.0);
    assert_eq!(gateway.metric("gatewright_plugin_failures_total", &["\"deny\"", "on_error=\"deny\""]).await, 2.0);
}

#[tokio::test]
async fn a_plugin_that_answered_early_is_named_in_the_record() {
    let gateway = TestGateway::start(json!({
        "plugins": declared(),
        "routes": [{ "match": {}, "plugins": [signed("a"), { "b": { "name": "b", "respond": true } }] }],
    }));
    assert_eq!(gateway.get("/").await.text(), "a,b");
    let record = gateway.wait_for_records(1).await.remove(0);
    assert_eq!((record["plugin"].as_str(), record["outcome"].as_str()), (Some("b"), Some("complete")), "{record}");
}

#[tokio::test]
async fn a_plugin_that_aborts_closes_the_connection_without_an_answer() {
    let server = Server::named("behind").await;
    let route = |hook: &str| {
        json!({
            "match": { "path": format!("/{hook}") },
            "plugins": [{ "deny": { "do": "refuse", "in": hook } }],
            "to": "behind",
        })
    };
    let gateway = TestGateway::start(json!({
        "upstreams": { "behind": [server.text()] },
        "plugins": declared(),
        "routes": [route("on-request"), route("on-response")],
    }));
    for (seen, hook) in ["on-request", "on-response"].into_iter().enumerate() {
        let mut wire = Wire::connect(gateway.address()).await;
        wire.send(format!("GET /{hook} HTTP/1.1\r\nhost: a\r\nx-misbehave: 1\r\n\r\n")).await;
        assert_eq!(wire.read_to_end().await, "", "{hook}");
        let record = gateway.wait_for_records(seen + 1).await.pop().unwrap();
        assert_eq!(record["outcome"], "plugin-failed", "{record}");
        assert_eq!(record["plugin"], "deny", "{record}");
    }
    assert_eq!(gateway.metric("gatewright_plugin_aborts_total", &["\"deny\""]).await, 2.0);
}

#[tokio::test]
async fn a_hook_that_fails_has_changed_nothing() {
    let server = Server::named("behind").await;
    // The host calls run out in the middle of the changes.
    let few_calls = json!({ "on_error": "skip", "limits": { "host_calls": 50 }, "breaker": { "failures": 0 } });
    let route = |what: &str, hook: &str| {
        json!({
            "match": { "path": format!("/{what}/{hook}") },
            "plugins": [{ "h": { "do": what, "in": hook } }],
            "to": "behind",
        })
    };
    let gateway = TestGateway::start(json!({
        "upstreams": { "behind": [server.text()] },
        "plugins": { "h": with(from_guest("guest-hostile"), few_calls) },
        "routes": [
            route("headers-many", "on-request"),
            route("headers-many", "on-response"),
            route("attributes-many", "on-request"),
        ],
    }));
    let plain: Vec<String> =
        gateway.get("/headers-many/on-request").await.headers.keys().map(ToString::to_string).collect();
    let sent: Vec<String> = server.received()[0].headers.keys().map(ToString::to_string).collect();
    for (index, path) in
        ["/headers-many/on-request", "/headers-many/on-response", "/attributes-many/on-request"].into_iter().enumerate()
    {
        let answer = gateway.get_with(path, &[MISBEHAVE]).await;
        assert_eq!(answer.status, 200, "{path}");
        assert_eq!(answer.headers.keys().map(ToString::to_string).collect::<Vec<_>>(), plain, "{path}");
        let mut received: Vec<String> = server.received()[index + 1].headers.keys().map(ToString::to_string).collect();
        received.retain(|name| name != "x-misbehave");
        assert_eq!(received, sent, "{path}");
        assert_eq!(gateway.metric("gatewright_plugin_limit_hits_total", &["host-calls"]).await, (index + 1) as f64);
    }
    let records = gateway.wait_for_records(4).await;
    assert!(records.iter().all(|record| !record.to_string().contains("many-")), "{records:#?}");
}

#[tokio::test]
async fn what_belongs_to_the_gateway_cannot_be_written() {
    let server = Server::named("behind").await;
    let route = |what: &str, hook: &str| {
        json!({
            "match": { "path": format!("/{what}/{hook}") },
            "plugins": [{ "deny": { "do": what, "in": hook } }],
            "to": "behind",
        })
    };
    let deeds = ["header-forbidden", "header-split", "bad-target"];
    let routes = deeds.iter().flat_map(|what| [route(what, "on-request"), route(what, "on-response")]);
    let gateway = TestGateway::start(json!({
        "upstreams": { "behind": [server.text()] },
        "plugins": declared(),
        "routes": routes.collect::<Vec<_>>(),
    }));
    for what in deeds {
        for hook in ["on-request", "on-response"] {
            let path = format!("/{what}/{hook}");
            let answer = gateway.post(&path, &[MISBEHAVE], "four").await;
            assert_eq!((answer.status, answer.text().as_str()), (200, "behind"), "{path}");
            let received = server.received().pop().unwrap();
            let told = match hook {
                "on-request" => received.header("x-outcome").unwrap().to_owned(),
                _ => answer.header("x-outcome").unwrap().to_owned(),
            };
            assert!(!told.contains("Ok("), "{path}: {told}");
            match what {
                "header-forbidden" => assert_eq!(told.matches("Err(Forbidden)").count(), 22, "{told}"),
                "header-split" => assert_eq!(told.matches("Err(InvalidSyntax)").count(), 12, "{told}"),
                _ => assert!(told.contains("Err(NotGranted)") || hook == "on-response", "{told}"),
            }
            assert_eq!(received.target, path);
            assert_eq!(received.body, "four", "{path}");
            assert_eq!(received.header("host").map(str::to_owned), Some(gateway.address().to_string()));
            for headers in [&received.headers, &answer.headers] {
                for name in ["x-injected", "x-a", "upgrade", "keep-alive", "http2-settings", "trailer", "te"] {
                    assert!(!headers.contains_key(name), "{path}: {name}");
                }
            }
        }
    }
}

#[tokio::test]
async fn both_isolations_give_the_same_answers_and_state_goes_from_hook_to_hook() {
    let server = Server::named("behind").await;
    for isolation in ["shared", "request"] {
        let gateway = TestGateway::start(json!({
            "workers": 1,
            "upstreams": { "behind": [server.text()] },
            "plugins": { "state": with(from_guest("guest-state"), json!({ "isolation": isolation })) },
            "routes": [{ "match": {}, "plugins": ["state"], "to": "behind" }],
        }));
        for request in 1..=20 {
            let path = format!("/{isolation}/{request}?a=b");
            let answer = gateway.get(&path).await;
            assert_eq!(answer.text(), "behind");
            assert_eq!(answer.header("x-path"), Some(path.as_str()));
            assert_eq!(answer.header("x-count"), Some(request.to_string().as_str()), "{isolation}");
            let of_instance = if isolation == "shared" { request } else { 1 };
            assert_eq!(answer.header("x-instance-count"), Some(of_instance.to_string().as_str()), "{isolation}");
        }
    }
}

#[tokio::test]
async fn the_breaker_takes_a_failing_plugin_out_and_probes_it() {
    let server = Server::named("behind").await;
    let breaker = |on_error: &str| json!({ "on_error": on_error, "breaker": { "failures": 3, "open_time": "3s" } });
    let gateway = TestGateway::start(json!({
        "workers": 1,
        "upstreams": { "behind": [server.text()] },
        "plugins": {
            "deny": with(from_guest("guest-hostile"), breaker("deny")),
            "skip": with(from_guest("guest-hostile"), breaker("skip")),
        },
        "routes": [
            { "match": { "path": "/deny" }, "plugins": [{ "deny": { "do": "trap", "in": "on-request" } }], "to": "behind" },
            { "match": { "path": "/skip" }, "plugins": [{ "skip": { "do": "trap", "in": "on-request" } }], "to": "behind" },
        ],
    }));
    let state = async |plugin: &str, state: &str| {
        let labels = [format!("plugin=\"{plugin}\""), format!("state=\"{state}\"")];
        gateway.metric("gatewright_plugin_breaker_state", &[&labels[0], &labels[1]]).await
    };
    // Failures with a good hook between them do not count.
    for _ in 0..3 {
        gateway.get_with("/deny", &[MISBEHAVE]).await.problem(500);
        gateway.get_with("/deny", &[MISBEHAVE]).await.problem(500);
        assert_eq!(gateway.get("/deny").await.status, 200);
    }
    assert_eq!(state("deny", "closed").await, 1.0);
    for (plugin, failing, open) in [("deny", 500, 503), ("skip", 200, 200)] {
        let path = format!("/{plugin}");
        for _ in 0..3 {
            assert_eq!(gateway.get_with(&path, &[MISBEHAVE]).await.status, failing);
        }
        assert_eq!(state(plugin, "open").await, 1.0, "{plugin}");
        let called = async || gateway.metric("gatewright_plugin_traps_total", &[&format!("\"{plugin}\"")]).await;
        let before = called().await;
        assert_eq!(gateway.get_with(&path, &[MISBEHAVE]).await.status, open, "{plugin}");
        assert_eq!(called().await, before, "{plugin} is not called while its breaker is open");
        eventually("the probe closes the breaker", async || {
            gateway.get(&path).await;
            (state(plugin, "closed").await == 1.0).then_some(())
        })
        .await;
        assert_eq!(gateway.get(&path).await.status, 200);
    }
}

#[tokio::test]
async fn a_body_hook_that_never_does_well_is_taken_out_though_the_request_hook_before_it_does() {
    let server = Server::named("behind").await;
    let gateway = TestGateway::start(json!({
        "workers": 1,
        "upstreams": { "behind": [server.text()] },
        "plugins": {
            "h": with(from_guest("guest-hostile"), json!({ "breaker": { "failures": 3, "open_time": "30s" } })),
        },
        "routes": [{ "match": {}, "plugins": [{ "h": { "do": "trap", "in": "on-request-body" } }], "to": "behind" }],
    }));
    for _ in 0..3 {
        gateway.post("/", &[MISBEHAVE], "body").await.problem(500);
    }
    let opened = async || gateway.metric("gatewright_plugin_breaker_opened_total", &["\"h\""]).await;
    assert_eq!(opened().await, 1.0);
    gateway.post("/", &[MISBEHAVE], "body").await.problem(503);
    assert_eq!(
        gateway.metric("gatewright_plugin_traps_total", &["\"h\""]).await,
        3.0,
        "it is not called while its breaker is open"
    );
    assert_eq!(gateway.get("/").await.status, 200, "a request without a body does not need that hook");
}

#[tokio::test]
async fn plugins_are_swapped_under_traffic_and_broken_ones_never_run() {
    let gateway = TestGateway::start(json!({
        "plugins": { "order": from_guest("guest-order") },
        "routes": [{ "match": {}, "plugins": [{ "order": { "name": "v0", "respond": true } }] }],
    }));
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let traffic: Vec<_> = (0..4)
        .map(|_| {
            let (address, stopped) = (gateway.address(), stopped.clone());
            tokio::spawn(async move {
                let mut client = gatewright_tests::Client::http1(address).await;
                let mut seen = Vec::new();
                while !*stopped.borrow() {
                    let answer = client.send("GET", "/", &[], "").await.unwrap();
                    assert_eq!(answer.status, 200, "{}", answer.text());
                    seen.push(answer.text());
                }
                seen
            })
        })
        .collect();
    for version in 1..=25 {
        let broken = version % 5 == 0;
        let name = if broken { json!(version) } else { json!(format!("v{version}")) };
        gateway.write_config(json!({
            "plugins": { "order": from_guest("guest-order") },
            "routes": [{ "match": {}, "plugins": [{ "order": { "name": name, "respond": true } }] }],
        }));
        // The file watch may have been faster; then there is nothing left to do or to refuse but the same again.
        assert_eq!(gateway.reload().is_err(), broken, "version {version}");
        let running = if broken { version - 1 } else { version };
        assert_eq!(gateway.get("/").await.text(), format!("v{running}"));
    }
    stop.send(true).unwrap();
    for task in traffic {
        let seen = task.await.unwrap();
        let versions: Vec<u32> = seen.iter().map(|text| text.strip_prefix('v').unwrap().parse().unwrap()).collect();
        assert!(versions.is_sorted(), "one connection never goes back: {versions:?}");
        assert!(versions.iter().all(|version| *version == 0 || version % 5 != 0));
    }
    eventually("the instances of old versions are gone", async || {
        (gateway.metric("gatewright_plugin_instances{", &["\"order\""]).await <= 8.0).then_some(())
    })
    .await;
}
