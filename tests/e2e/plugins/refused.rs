//! Plugins that cannot run, and configurations that they refuse: a mistake with its place, and nothing has changed.

use std::process::Command;

use gatewright_tests::{TestGateway, guest, send};
use serde_json::{Value, json};

use super::{from_guest, with};

#[tokio::test]
async fn a_configuration_that_the_plugins_own_schema_refuses_is_shown_at_its_place() {
    let gateway = TestGateway::start(serving());
    for (chain, line, words) in [
        ("[\n{ \"a\": { \"nam\": \"x\" } }\n]", 2, "nam"),
        ("[\n{ \"a\": {\n\"name\": 7\n} }\n]", 3, "name"),
        ("[\n\"a\"\n]", 2, "name"),
        ("[\n\"echo\",\n{ \"a\": { \"name\": \"x\", \"respond\": \"yes\" } }\n]", 3, "respond"),
        ("[\n{ \"rate-limit\": {\n\"limit\": \"many\"\n} }\n]", 3, "many"),
        ("[\n{ \"forward-auth\": {\n\"upstream\": \"auth\"\n} }\n]", 3, "there is no upstream"),
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
async fn what_is_no_file_or_too_large_for_a_component_is_refused_unread() {
    let gateway = TestGateway::start(serving());
    let place = |name: &str| gateway.directory().join(name);
    std::fs::create_dir(place("folder.wasm")).unwrap();
    assert!(Command::new("mkfifo").arg(place("pipe.wasm")).status().unwrap().success());
    std::fs::File::create(place("large.wasm")).unwrap().set_len((64 << 20) + 1).unwrap();
    for (name, words) in [
        ("folder", "it is not a file"),
        ("pipe", "it is not a file"),
        ("large", "it has 67108865 bytes; a component has at most 67108864"),
    ] {
        let source = json!({ "source": format!("file:{name}.wasm") });
        for (section, route) in [
            ("plugins", json!({ "match": {}, "plugins": ["bad", "echo"] })),
            ("services", json!({ "match": {}, "to": { "service": "bad" } })),
        ] {
            gateway.write_config(json!({ section: { "bad": source }, "routes": [route] }));
            let found = mistakes(&gateway);
            let [mistake] = found.as_slice() else { panic!("{section} {name}: {found:#?}") };
            assert!(mistake["message"].as_str().unwrap().contains(words), "{section}: {mistake:#}");
            assert_eq!(mistake["pointer"], format!("/{section}/bad/source"));
            assert_eq!(gateway.get("/").await.text(), "old", "{section} {name}");
        }
    }
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
async fn a_secret_that_cannot_be_read_is_one_mistake() {
    let gateway = TestGateway::start(serving());
    gateway.write_config(json!({
        "secrets": { "zz": { "env": "GATEWRIGHT_TEST_NEVER_SET" } },
        "plugins": { "key-auth": { "grants": { "secrets": ["zz"] } } },
        "routes": [{ "match": {}, "plugins": [{ "key-auth": { "keys": [{ "secret": "zz", "subject": "a" }] } }, "echo"] }],
    }));
    let found = mistakes(&gateway);
    let [mistake] = found.as_slice() else { panic!("{found:#?}") };
    assert_eq!(mistake["pointer"], "/secrets/zz");
    assert!(mistake["message"].as_str().unwrap().contains("GATEWRIGHT_TEST_NEVER_SET is not set"), "{mistake:#}");
}

#[tokio::test]
async fn what_a_plugin_quotes_of_a_substituted_value_is_shown_as_it_was_written() {
    let gateway = TestGateway::start_beside(serving(), |directory| {
        std::fs::write(directory.join("id.secret"), "hunter2 \"and\"\nhunter3").unwrap();
    });
    let written = "${file:id.secret}";
    let key = |secret: &str| json!({ "key-auth": { "keys": [{ "secret": secret, "subject": "a" }] } });
    let consumers = json!({ "shop": { "credentials": { "key-auth": [{ "secret": written }] } } });
    for (plugin, consumers, words) in [
        (key(written), json!({}), "the secret \"${file:id.secret}\" is not granted"),
        (key(&format!("id-{written}")), json!({}), "the secret \"id-${file:id.secret}\" is not granted"),
        (json!({ "key-auth": { "consumers": true } }), consumers, "\"${file:id.secret}\" is not granted"),
    ] {
        gateway.write_config(json!({
            "consumers": consumers,
            "routes": [{ "match": {}, "plugins": [plugin, "echo"] }],
        }));
        let shown = gateway.reload().unwrap_err().to_string();
        let text = std::fs::read_to_string(gateway.config_path()).unwrap();
        let put = send(gateway.admin(), "PUT", "/config", &[("if-match", "*")], text).await;
        let problem = put.problem(422);
        let [mistake] = problem["errors"].as_array().unwrap().as_slice() else { panic!("{problem:#}") };
        let message = mistake["message"].as_str().unwrap();
        assert!(message.contains(words) && shown.contains(words), "{message}\n{shown}");
        assert!(mistake["help"].as_str().unwrap().contains("write its name"), "{mistake:#}");
        for said in [shown, put.text()] {
            assert!(!said.contains("hunter"), "{said}");
        }
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
