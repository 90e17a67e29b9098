//! What holds for every text: no panic, no secret in a report, and the types can read whatever the schema accepts.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use serde_json::{Value, json};

use super::expand::tests::Fake;
use super::tests::{GOOD, STOCK, parse};
use super::{Document, Loaded, child, schema};

/// JSON in the shape of a configuration, with right and wrong words.
fn configuration() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        any::<bool>().prop_map(|value| value.to_string()),
        any::<i64>().prop_map(|value| value.to_string()),
        any::<f64>().prop_map(|value| json!(value).to_string()),
        prop::sample::select(vec![
            "5s",
            ":80",
            "h:1",
            "GET",
            "/a/*",
            "*.a.b",
            "echo",
            "${SECRET}",
            "${NO}",
            "stock:jwt",
            "a"
        ])
        .prop_map(|text| json!(text).to_string()),
        any::<String>().prop_map(|text| json!(text).to_string()),
    ];
    let keys = vec![
        "listeners",
        "upstreams",
        "plugins",
        "routes",
        "match",
        "host",
        "path",
        "regex",
        "headers",
        "present",
        "to",
        "upstream",
        "weight",
        "endpoints",
        "address",
        "balance",
        "limits",
        "time",
        "grants",
        "secrets",
        "admin",
        "access_log",
        "file",
        "compile_cache",
        "a",
        "~/",
    ];
    leaf.prop_recursive(6, 64, 6, move |inner| {
        let key = prop::sample::select(keys.clone());
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(|items| format!("[{}]", items.join(","))),
            prop::collection::vec((key, inner), 0..6).prop_map(|members| {
                let members: Vec<String> =
                    members.into_iter().map(|(key, value)| format!("\"{key}\": {value}")).collect();
                format!("{{{}}}", members.join(",\n"))
            }),
        ]
    })
}

/// The good configuration with one value in it replaced.
fn nearly_good() -> impl Strategy<Value = String> {
    fn pointers(value: &Value, pointer: &str, found: &mut Vec<String>) {
        found.push(pointer.to_owned());
        let items = value.as_array().into_iter().flatten().enumerate();
        items.for_each(|(at, item)| pointers(item, &child(pointer, at), found));
        let members = value.as_object().into_iter().flatten();
        members.for_each(|(name, member)| pointers(member, &child(pointer, name), found));
    }
    let good = Document::parse("f", GOOD, &Fake).unwrap().value().clone();
    let mut places = Vec::new();
    pointers(&good, "", &mut places);
    (prop::sample::select(places), configuration()).prop_map(move |(place, text)| {
        let mut changed = good.clone();
        *changed.pointer_mut(&place).unwrap() = serde_json::from_str(&text).unwrap_or_default();
        // Parsing has expanded it.
        changed.to_string().replace("hunter2", "${SECRET}")
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Err(report) = Loaded::from_bytes("f", &bytes, &Fake, &STOCK) {
            report.render(false);
        }
    }

    #[test]
    fn no_text_of_json_characters_panics(text in r#"[\[\]{}:,"\\/*\n\ru0-9a-f$e.+\-é ]{0,80}"#) {
        if let Err(report) = parse(&text) {
            report.render(true);
        }
    }

    #[test]
    fn no_configuration_panics_and_no_secret_is_shown(text in prop_oneof![1 => configuration(), 3 => nearly_good()]) {
        if let Err(report) = parse(&text) {
            let shown = report.render(false);
            prop_assert!(!shown.contains("hunter2") && !report.to_json().to_string().contains("hunter2"));
            // The types can read whatever the schema accepts.
            prop_assert!(!shown.contains("the gateway cannot read"), "{shown}");
        }
    }

    #[test]
    fn no_schema_panics(schema in configuration(), text in configuration()) {
        let Ok(document) = Document::parse("f", &text, &Fake) else { return Ok(()) };
        let Ok(schema) = serde_json::from_str(&schema) else { return Ok(()) };
        document.report(schema::validate(&schema, document.value(), &document, "")).render(false);
    }
}
