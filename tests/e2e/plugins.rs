//! Chains of plugins: which hooks run, in which order, what becomes of a request when one fails, and how a plugin that
//! cannot run is refused.

use gatewright_tests::{Server, TestGateway, Wire, eventually, guest};
use serde_json::{Value, json};

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
    let breaker = |on_error: &str| json!({ "on_error": on_error, "breaker": { "failures": 3, "rest": "1s" } });
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
    for (plugin, failing, resting) in [("deny", 500, 503), ("skip", 200, 200)] {
        let path = format!("/{plugin}");
        for _ in 0..3 {
            assert_eq!(gateway.get_with(&path, &[MISBEHAVE]).await.status, failing);
        }
        assert_eq!(state(plugin, "open").await, 1.0, "{plugin}");
        let called = async || gateway.metric("gatewright_plugin_traps_total", &[&format!("\"{plugin}\"")]).await;
        let before = called().await;
        assert_eq!(gateway.get_with(&path, &[MISBEHAVE]).await.status, resting, "{plugin}");
        assert_eq!(called().await, before, "{plugin} is not called while it rests");
        eventually("the probe closes the breaker", async || {
            gateway.get(&path).await;
            (state(plugin, "closed").await == 1.0).then_some(())
        })
        .await;
        assert_eq!(gateway.get(&path).await.status, 200);
    }
}

#[tokio::test]
async fn a_configuration_that_the_plugins_own_schema_refuses_is_shown_at_its_place() {
    let gateway = TestGateway::start(serving());
    for (chain, line, words) in [
        ("[\n{ \"a\": { \"nam\": \"x\" } }\n]", 2, "nam"),
        ("[\n{ \"a\": {\n\"name\": 7\n} }\n]", 3, "name"),
        ("[\n\"a\"\n]", 2, "name"),
        ("[\n\"echo\",\n{ \"a\": { \"name\": \"x\", \"respond\": \"yes\" } }\n]", 3, "respond"),
        ("[\n{ \"rate-limit\": {\n\"limit\": \"many\"\n} }\n]", 3, "many"),
        ("[\n{ \"jwt\": {\n\"algorithms\": [\"none\"], \"keys\": [] } }\n]", 3, "none"),
    ] {
        let text = format!(
            "{{ \"listeners\": [\"127.0.0.1:0\"], \"plugins\": {{ \"a\": {} }}, \"routes\": [{{ \"match\": {{}}, \"plugins\": {chain} }}] }}",
            from_guest("guest-order")
        );
        std::fs::write(gateway.config_path(), text).unwrap();
        let found = mistakes(&gateway);
        let found = found.iter().find(|mistake| mistake["line"] == line && mistake.to_string().contains(words));
        assert!(found.is_some_and(|mistake| mistake["column"].is_u64()), "{chain}: {:#?}", mistakes(&gateway));
        assert_eq!(gateway.get("/").await.text(), "old");
    }
}

/// A configuration that answers "old" without any plugin but a stock one.
fn serving() -> Value {
    json!({ "routes": [{ "match": {}, "plugins": [{ "echo": { "respond": { "body": "old" } } }] }] })
}

/// Reloads, which must fail for the configuration's sake, and gives the mistakes.
fn mistakes(gateway: &TestGateway) -> Vec<Value> {
    match gateway.reload() {
        Err(gatewright::gateway::Error::Config(report)) => report.to_json().as_array().unwrap().clone(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_is_not_a_plugin_for_this_gateway_is_refused_with_its_place_and_the_old_configuration_serves_on() {
    let good = std::fs::read(guest("guest-order")).unwrap();
    let renamed = |from: &str, to: &str| {
        assert_eq!(from.len(), to.len());
        let mut bytes = good.clone();
        let places: Vec<usize> =
            (0..bytes.len() - from.len()).filter(|&at| bytes[at..].starts_with(from.as_bytes())).collect();
        assert!(!places.is_empty(), "{from}");
        places.iter().for_each(|&at| bytes[at..at + to.len()].copy_from_slice(to.as_bytes()));
        bytes
    };
    let wat = |text: &str| wat::parse_str(text).unwrap();
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("empty", Vec::new(), "this is not WebAssembly"),
        ("text", b"#!/bin/sh\nexit 0\n".to_vec(), "this is not WebAssembly"),
        ("core-module", wat("(module (func (export \"on-request\")))"), "core WebAssembly module"),
        ("empty-component", wat("(component)"), "does not export lifecycle.describe"),
        ("no-lifecycle", renamed("gatewright:plugin/lifecycle@", "gatewright:plugin/lifecycls@"), "lifecycle.describe"),
        ("no-hook", component(""), "does not export a hook"),
        ("wrong-version", renamed("gatewright:plugin/lifecycle@0.1.0", "gatewright:plugin/lifecycle@0.2.0"), "@0.2.0"),
        ("wrong-major", renamed("@0.1.0", "@1.1.0"), "@1.1.0"),
        ("unknown-import", renamed("gatewright:plugin/exchange@", "gatewright:plugin/exchangs@"), "plugin/exchangs@"),
        ("foreign-import", wat("(component (import \"my:own/thing@1.0.0\" (instance)))"), "my:own/thing@1.0.0"),
        ("header-only", good[..8].to_vec(), "does not export lifecycle.describe"),
        ("cut-early", good[..1000].to_vec(), "not valid"),
        ("cut-in-half", good[..good.len() / 2].to_vec(), "not valid"),
        ("cut-at-the-end", good[..good.len() - 1].to_vec(), "not valid"),
        (
            "memory-beyond-the-limit",
            component_with("(memory (export \"memory\") 1)", "(memory (export \"memory\") 65536)"),
            "memory",
        ),
        ("table-beyond-the-limit", component_with("(memory", "(table 10000000 funcref) (memory"), "table"),
        ("start-traps", component_with("(func $start)", "(func $start unreachable)"), "unreachable"),
        ("describe-traps", component_with("(i32.const 0)) ;; describe", "unreachable)"), "describe failed"),
        ("describe-points-outside", component_with("(i32.const 64)) ;; where", "(i32.const -64))"), "describe failed"),
        ("describe-is-too-long", component_with("(i32.const 14)) ;; length", "(i32.const -1))"), "describe failed"),
        (
            "describe-is-no-json",
            component_with("{\\\"name\\\":\\\"wat\\\"}", "{\\\"name\\\":\\\"wat\\\" "),
            "describe failed",
        ),
        (
            "describe-is-no-object",
            component_with("{\\\"name\\\":\\\"wat\\\"}", "[\\\"name\\\",\\\"wat\\\"]"),
            "no object",
        ),
        ("configure-traps", component_with("(local.get 0) ;; configure", "(unreachable)"), "unreachable"),
        (
            "configure-loops",
            component_with("(local.get 0) ;; configure", "(loop $l (br $l)) (local.get 0)"),
            "limits.configure_time",
        ),
        (
            "describe-has-another-type",
            component_with("(func $describe (result string)", "(func $describe (result (list u8))"),
            "describe failed",
        ),
        (
            "hook-has-another-type",
            component(&COMPLETION_HOOK.replace(
                "$complete (canon lift (core func $i \"complete\"))",
                "$complete (result u32) (canon lift (core func $i \"describe\"))",
            )),
            "cannot run here",
        ),
    ];
    let gateway = TestGateway::start(serving());
    for (name, bytes, words) in &cases {
        std::fs::write(gateway.directory().join(format!("{name}.wasm")), bytes).unwrap();
        gateway.write_config(json!({
            "plugins": { "bad": { "source": format!("file:{name}.wasm"), "limits": { "configure_time": "50ms" } } },
            "routes": [{ "match": {}, "plugins": ["bad"] }],
        }));
        let found = mistakes(&gateway);
        let [mistake] = found.as_slice() else { panic!("{name}: {found:#?}") };
        assert!(mistake["message"].as_str().unwrap().contains(words), "{name}: {mistake:#}");
        assert!(mistake["line"].is_u64() && mistake["column"].is_u64(), "{name}: {mistake:#}");
        let pointer = mistake["pointer"].as_str().unwrap();
        assert!(["/plugins/bad/source", "/routes/0/plugins/0"].contains(&pointer), "{name}: {mistake:#}");
        assert_eq!(gateway.get("/").await.text(), "old", "{name}");
    }
    // The control: the same component without a fault runs.
    std::fs::write(gateway.directory().join("good.wasm"), component_with("", "")).unwrap();
    gateway.write_config(json!({
        "plugins": { "good": { "source": "file:good.wasm" } },
        "routes": [{ "match": {}, "plugins": ["good", { "echo": { "respond": { "body": "new" } } }] }],
    }));
    gateway.reload().unwrap();
    assert_eq!(gateway.get("/").await.text(), "new");
}

#[tokio::test]
async fn an_import_that_is_not_granted_is_refused_by_its_name() {
    let config = json!({ "upstreams": ["one"], "how": "send" });
    let with_grants = |grants: Value| {
        json!({
            "upstreams": { "one": ["127.0.0.1:9"] },
            "plugins": { "callout": with(from_guest("guest-callout"), json!({ "grants": grants })) },
            "routes": [{ "match": {}, "plugins": [{ "callout": config }, { "echo": { "respond": { "body": "new" } } }] }],
        })
    };
    let gateway = TestGateway::start(serving());
    gateway.write_config(with_grants(json!({})));
    let found = mistakes(&gateway);
    assert!(found[0]["message"].as_str().unwrap().contains("http-client"), "{found:#?}");
    assert!(found[0]["line"].is_u64(), "{found:#?}");
    assert_eq!(gateway.get("/").await.text(), "old");
    gateway.write_config(with_grants(json!({ "upstreams": ["one"] })));
    gateway.reload().unwrap();
    assert_eq!(gateway.get("/").await.text(), "new");
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

/// A plugin as text with one thing changed, so that each fault stands alone. The empty change makes a good plugin.
fn component_with(part: &str, instead: &str) -> Vec<u8> {
    let good = component_text(COMPLETION_HOOK);
    assert!(part.is_empty() || good.contains(part), "{part}");
    wat::parse_str(if part.is_empty() { good } else { good.replacen(part, instead, 1) }).unwrap()
}

/// A plugin with these hooks.
fn component(hooks: &str) -> Vec<u8> {
    wat::parse_str(component_text(hooks)).unwrap()
}

const COMPLETION_HOOK: &str = r#"
    (func $complete (canon lift (core func $i "complete")))
    (instance $completion (export "on-complete" (func $complete)))
    (export "gatewright:plugin/completion-hook@0.1.0" (instance $completion))"#;

fn component_text(hooks: &str) -> String {
    let core = r#"(component
    (core module $m
        (memory (export "memory") 1)
        (func $start)
        (start $start)
        (global $free (mut i32) (i32.const 4096))
        (func (export "realloc") (param i32 i32 i32 i32) (result i32)
            (global.get $free)
            (global.set $free (i32.add (global.get $free) (i32.add (local.get 3) (i32.const 8)))))
        (data (i32.const 64) "{\"name\":\"wat\"}")
        (func (export "describe") (result i32)
            (i32.store (i32.const 0) (i32.const 64)) ;; where
            (i32.store (i32.const 4) (i32.const 14)) ;; length
            (i32.const 0)) ;; describe
        (func (export "configure") (param i32 i32) (result i32)
            (drop (local.get 0) ;; configure
            )
            (i32.store8 (i32.const 16) (i32.const 0))
            (i32.const 16))
        (func (export "complete")))
    (core instance $i (instantiate $m))
    (func $describe (result string) (canon lift (core func $i "describe") (memory (core memory $i "memory"))))
    (func $configure (param "config" string) (result (result (error string)))
        (canon lift (core func $i "configure") (memory (core memory $i "memory")) (realloc (core func $i "realloc"))))
    (instance $lifecycle (export "describe" (func $describe)) (export "configure" (func $configure)))
    (export "gatewright:plugin/lifecycle@0.1.0" (instance $lifecycle))"#;
    format!("{core}{hooks})")
}
