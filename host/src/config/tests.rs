//! The room as a whole: good and bad configurations, and arbitrary bytes.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fmt::Write;
use std::path::PathBuf;

use super::expand::tests::Fake;
use super::*;

pub(super) const STOCK: [&str; 5] = ["echo", "headers", "jwt", "key-auth", "rate-limit"];

pub(super) fn parse(text: &str) -> Result<Loaded, Report> {
    Loaded::parse("gateway.json", text, &Fake, &STOCK)
}

fn messages(text: &str) -> Vec<String> {
    let report = parse(text).err();
    report
        .into_iter()
        .flat_map(|report| report.diagnostics)
        .map(|found| format!("{} {}", found.pointer, found.message))
        .collect()
}

#[test]
fn every_bad_configuration_is_reported_as_its_golden_file_says() {
    let directory = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").unwrap()).join("tests/config");
    let mut cases: Vec<PathBuf> = std::fs::read_dir(&directory)
        .unwrap_or_else(|error| panic!("{}: {error}", directory.display()))
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .collect();
    cases.sort();
    assert!(cases.len() >= 20, "only {} cases", cases.len());
    for case in cases {
        let name = case.file_name().unwrap().to_string_lossy().into_owned();
        let bytes = std::fs::read(&case).unwrap();
        let report = Loaded::from_bytes(&name, &bytes, &Fake, &STOCK).expect_err(&name);
        let mut shown = report.render(false);
        shown.push('\n');
        let golden = case.with_extension("txt");
        if std::env::var_os("GATEWRIGHT_BLESS").is_some() {
            std::fs::write(&golden, &shown).unwrap();
        }
        let expected = std::fs::read_to_string(&golden).unwrap_or_default();
        assert_eq!(shown, expected, "{name} (GATEWRIGHT_BLESS=1 writes the golden files anew)");
        assert!(!shown.contains("hunter2"), "{name} shows a secret");
        for (json, found) in report.to_json().as_array().unwrap().iter().zip(&report.diagnostics) {
            assert_eq!(json["message"], found.message);
            assert!(json["line"].as_u64().is_some_and(|line| line >= 1), "{name}");
        }
    }
}

/// Every key, in every form.
pub(super) const GOOD: &str = r#"{
    "$schema": "./schema.json",
    "workers": 2,
    "listeners": [":8080", { "address": "[::1]:0", "name": "inner", "protocols": ["h2"], "https_redirect": true }, {
        "address": ":8443",
        "tls": {
            "certificates": [{ "cert": "a.pem", "key": "a.key" }, { "cert": "b.pem", "key": "b.key" }],
            "min_version": "1.3", "client": { "ca": "clients.pem", "required": false },
            "hsts": { "max_age": "1h", "include_subdomains": true },
        },
    }, { "address": ":8444", "tls": { "self_signed": true, "hsts": true } },
        { "address": ":8081", "https_redirect": { "port": 8443, "status": 307 } }],
    "upstreams": {
        "users": ["10.0.0.1:80", { "address": "Users.internal:81", "weight": 3 }],
        "carts": {
            "endpoints": [{ "address": "c:1", "priority": 1, "weight": 0 }, "c:2"],
            "balance": { "hash": { "by": { "header": "X-Cart" }, "bounded_load": 1.25 } }, "slow_start": "30s",
            "none_available": "use-all", "sticky": { "cookie": "gw", "key": "token", "ttl": "1h", "path": "/shop",
            "same_site": "none", "secure": true },
        },
        "secure": { "endpoints": ["s:443"], "protocol": "h2", "tls": {
            "ca": "ca.pem", "server_name": "s.internal", "subject_alt_names": ["spiffe://a/s"], "min_version": "1.3",
            "certificate": { "cert": "a.pem", "key": "a.key" },
        } },
        "orders": { "endpoints": ["o:1"], "balance": "least-requests", "protocol": "h2c", "max_idle": 0, "max_age": "5m",
                    "max_requests": 100, "retry_budget": { "percent": 10 } },
    },
    "registries": {
        "store": "plugins", "credentials": "docker.json", "plain_http": ["registry.internal:5000"], "timeout": "5m",
        "verify": [{ "prefix": "ghcr.io/acme", "keys": ["cosign.pub"] }, { "keys": ["a.pub", "b.pub"] }],
    },
    "plugins": {
        "far": { "source": "oci://ghcr.io/acme/far:1" },
        "jwt": { "on_error": "skip" },
        "geo": {
            "source": "file:geo.wasm", "isolation": "request", "limits": { "time": "5ms", "memory": "1MiB" },
            "grants": { "upstreams": ["users"], "secrets": ["token"], "store": "limits" }, "breaker": { "failures": 0 },
        },
    },
    "stores": {
        "limits": { "redis": "redis://[::1]:6380/2", "password": "token", "on_error": "deny", "take_ahead": 5 },
        "others": { "redis": "valkey://limits.internal" },
    },
    "response_cache": { "memory": "1MiB" },
    "services": { "shop": {
        "source": "file:shop.wasm", "grants": { "upstreams": ["users"] }, "limits": { "time": "50ms", "memory": "32MiB" },
    } },
    "routes": [
        { "match": {}, "plugins": ["echo"] },
        {
            "name": "orders",
            "cache": { "max_body": "0B", "default_ttl": "1m", "stale_if_error": "1h", "cookies": true },
            "match": [
                { "host": "a.example", "path": "/o/{id}", "methods": ["GET", "PUT"] },
                { "host": ["b.example", "*.c.example"], "path": { "regex": "/v[0-9]+/.*" },
                  "headers": { "X-Tenant": "a", "x-b": { "regex": "b+" }, "x-c": { "present": false } },
                  "query": { "q": { "present": true } } },
            ],
            "plugins": ["geo", { "key-auth": { "keys": ["${SECRET}"] } }],
            "to": [{ "upstream": "orders", "weight": 90 }, "users", { "service": "shop" }],
            "limits": { "request_body": "0B", "max_concurrent": 7 },
            "timeouts": { "request": "5s", "attempt": "1s" },
            "retries": { "on": ["reset", "5xx"], "statuses": [429], "grpc_statuses": ["unavailable"], "methods": ["POST"] },
        },
    ],
    "admin": {},
    "access_log": { "file": "access.log" },
    "limits": { "header_count": 50 },
    "timeouts": { "idle": "5s" },
    "trusted_proxies": ["10.0.0.0/8", "::1"],
    "trusted_authorities": ["company.pem"],
    "secrets": { "token": { "env": "TOKEN" }, "key": { "file": "key.txt" } },
    "compile_cache": { "directory": "cache" },
    "shutdown": { "drain_timeout": "5s" },
}"#;

#[test]
fn every_form_is_read() {
    let loaded = parse(GOOD).unwrap();
    let config = loaded.config;
    assert_eq!(config.workers, Some(2));
    assert_eq!(config.listeners[0].address.to_string(), ":8080");
    assert_eq!(config.listeners[0].protocols, Protocol::all());
    assert_eq!(config.listeners[1].protocols, [Protocol::Http2]);
    let users = &config.upstreams["users"];
    assert_eq!((users.endpoints[0].weight, users.endpoints[1].weight), (1, 3));
    assert_eq!(users.endpoints[1].address.to_string(), "users.internal:81");
    assert_eq!(users.connect_timeout, Duration::seconds(2));
    let orders = &config.upstreams["orders"];
    assert_eq!(
        (orders.balance.clone(), orders.protocol, orders.max_idle),
        (Balance::LeastRequests, UpstreamProtocol::Http2Clear, 0)
    );
    let carts = &config.upstreams["carts"];
    assert_eq!((carts.endpoints[0].weight, carts.endpoints[0].priority, carts.endpoints[1].priority), (0, 1, 0));
    let by = HashBy::Header("x-cart".parse().unwrap());
    assert_eq!(carts.balance, Balance::Hash(Hash { by, bounded_load: Some(1.25) }));
    assert_eq!(carts.sticky.as_ref().map(|sticky| sticky.path.to_string()), Some("/shop".to_owned()));
    assert_eq!(config.plugins["jwt"].source, None);
    assert_eq!(config.plugins["far"].source.as_ref().unwrap().to_string(), "oci://ghcr.io/acme/far:1");
    assert_eq!((config.registries.verify[1].keys.len(), &*config.registries.verify[1].prefix), (2, ""));
    assert_eq!(config.plugins["geo"].source, Some(Source::File("geo.wasm".into())));
    assert_eq!(config.plugins["geo"].limits.host_calls, 10_000);
    let route = &config.routes[1];
    assert_eq!(route.matches[0].path, Some(PathMatch::Pattern("/o/{id}".parse().unwrap())));
    assert_eq!(route.matches[1].host.len(), 2);
    let tenant: HeaderName = "x-tenant".parse().unwrap();
    assert_eq!(route.matches[1].headers[&tenant], ValueMatch::Exact("a".to_owned()));
    assert_eq!(route.matches[1].query["q"], ValueMatch::Present(true));
    assert_eq!((route.plugins[0].name.as_str(), &route.plugins[0].config), ("geo", &json!({})));
    assert_eq!(route.plugins[1].config, json!({ "keys": ["hunter2"] }));
    assert_eq!(route.plugins[1].pointer(1, 1), "/routes/1/plugins/1/key-auth");
    assert_eq!((route.to[0].weight, route.to[1].weight), (90, 1));
    assert_eq!(route.limits.max_concurrent, Some(7.into()));
    let retries = route.retries.as_ref().unwrap();
    assert_eq!((retries.attempts, retries.on.as_slice()), (3, &[RetryOn::Reset, RetryOn::ServerError][..]));
    assert_eq!(retries.grpc_statuses, [GrpcStatus::Unavailable]);
    assert_eq!((orders.max_requests, orders.retry_budget.percent), (Some(100), 10));
    assert_eq!(config.access_log, AccessLog::File("access.log".into()));
    assert_eq!(config.admin, Some(Admin { address: ListenAddress::loopback(9901), token: None }));
    assert_eq!((config.limits.header_count, config.limits.header_bytes), (50, Size::kibibytes(64)));
    assert_eq!(config.secrets["key"], Secret::File("key.txt".into()));

    let small = parse("{ \"listeners\": [\":1\"] }").unwrap().config;
    assert_eq!(small, Config { listeners: vec![":1".parse::<ListenAddress>().unwrap().into()], ..Config::default() });
    assert_eq!(small.access_log, AccessLog::Stdout);
}

#[test]
fn the_shipped_configuration_loads() {
    let shipped = include_str!("../../../gateway.json");
    let config = parse(shipped).map_err(|report| report.to_string()).unwrap().config;
    assert_eq!(config.listeners[0].address.to_string(), ":8080");
    assert!(config.admin.is_some_and(|admin| admin.address == ListenAddress::loopback(9901)));
    // The commented-out parts must be right too, or the first thing that an operator tries fails.
    let uncommented = shipped.replace("//- ", "");
    assert_ne!(uncommented, shipped);
    let config = parse(&uncommented).map_err(|report| report.to_string()).unwrap().config;
    assert!(!config.upstreams.is_empty());
}

#[test]
fn the_schema_is_the_same_each_time_and_says_everything() {
    let plugin = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema", "$id": "https://example.com/jwt", "type": "object",
        "properties": { "issuer": { "$ref": "#/$defs/issuer" } }, "required": ["issuer"],
        "$defs": { "issuer": { "type": "string", "const": "$ref" } },
    });
    let plugins = BTreeMap::from([("jwt".to_owned(), plugin)]);
    let credentials = BTreeMap::from([("jwt".to_owned(), json!({ "type": "object" }))]);
    let schema = json_schema(&plugins, &credentials, &credentials);
    assert_eq!(schema, json_schema(&plugins, &credentials, &credentials));
    let listed = &schema["$defs"]["Consumer"]["properties"]["credentials"]["properties"]["jwt"];
    assert_eq!(listed["items"]["$ref"], "#/$defs/credential.jwt");
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    assert_eq!(schema["required"], json!(["listeners"]));
    assert_eq!(schema["$defs"]["Timeouts"]["properties"]["idle"]["default"], "1m");
    let text = schema.to_string();
    assert!(!text.contains("null") && !text.contains("uint"), "{text}");

    // Every key and every alternative is described.
    let definitions = schema["$defs"].as_object().unwrap().iter().filter(|(name, _)| {
        !name.starts_with("plugin.") && !name.starts_with("credential.") && !name.starts_with("limit.")
    });
    for (name, definition) in definitions.chain([(&"Config".to_owned(), &schema)]) {
        let forms = definition["anyOf"].as_array().cloned().unwrap_or_else(|| vec![definition.clone()]);
        for form in forms {
            for (key, property) in form["properties"].as_object().into_iter().flatten().filter(|(key, _)| *key != "jwt")
            {
                assert!(
                    property["description"].is_string() || property["$ref"].is_string(),
                    "{name}.{key}: {property}"
                );
            }
        }
    }

    // The plugin's schema is effective where it was embedded, including references.
    let compiled = Schema::compile(&schema).unwrap();
    let check = |text: &str| {
        let document = Document::parse("f", text, &Fake).unwrap();
        compiled.check(document.value(), &document, "")
    };
    assert!(
        check(r#"{"listeners": [":1"], "routes": [{"match": {}, "plugins": [{"jwt": {"issuer": "$ref"}}]}]}"#)
            .is_empty()
    );
    let found = check(r#"{"listeners": [":1"], "routes": [{"match": {}, "plugins": [{"jwt": {"issuer": 1}}]}]}"#);
    assert_eq!(found[0].pointer, "/routes/0/plugins/0/jwt/issuer");
}

#[test]
fn a_later_room_reports_in_the_same_way() {
    let loaded =
        parse(r#"{ "listeners": [":1"], "routes": [{ "match": {}, "plugins": ["echo", { "jwt": { "iss": 1 } }] }] }"#)
            .unwrap();
    let schema = Schema::compile(
        &json!({ "properties": { "issuer": {} }, "required": ["issuer"], "additionalProperties": false }),
    )
    .unwrap();
    let mut found = Vec::new();
    for (index, plugin) in loaded.config.routes[0].plugins.iter().enumerate() {
        found.extend(schema.check(&plugin.config, &loaded.document, &plugin.pointer(0, index)));
    }
    found.push(loaded.diagnostic("/listeners/0", "cannot listen here", Some("another process does")));
    let report = loaded.report(found);
    let places: Vec<_> =
        report.diagnostics.iter().map(|found| (found.pointer.as_str(), found.message.as_str())).collect();
    assert_eq!(
        places,
        [
            ("/listeners/0", "cannot listen here"),
            ("/routes/0/plugins/0", "the key \"issuer\" is missing"),
            ("/routes/0/plugins/1/jwt/iss", "unknown key \"iss\""),
        ]
    );
}

#[test]
fn one_wrong_section_does_not_hide_the_others() {
    let found = messages(
        r#"{
            "listeners": [":1", "x"],
            "upstreams": { "a": ["h"], "b": ["h:1", "h:1"] },
            "routes": [
                { "match": { "path": "no" }, "to": "a" },
                { "match": {}, "to": "a" },
                { "match": {}, "to": "c" },
            ],
        }"#,
    );
    let expected = [
        "/listeners/1 expected an address to listen on, found \"x\"",
        "/upstreams/a/0 expected the address of an endpoint, found \"h\"",
        "/upstreams/b/1 the endpoint \"h:1\" is already used",
        "/routes/0/match/path expected a path, found \"no\"",
        "/routes/2/match another route matches exactly the same requests",
        "/routes/2/to there is no upstream \"c\"",
    ];
    assert_eq!(found, expected);
}

#[test]
fn nasty_documents_are_answered_not_survived() {
    let nested = |open: &str, close: &str, depth: usize| open.repeat(depth) + &close.repeat(depth);
    let mut documents: Vec<Vec<u8>> = [
        "",
        " ",
        "\n",
        "{",
        "}",
        "[",
        "]",
        "\"",
        ",",
        ":",
        "//",
        "/*",
        "/* *",
        "/**/",
        "null",
        "true",
        "0",
        "-",
        "-0",
        "1e",
        "1e9999",
        "-1e-9999",
        "0x1",
        "01",
        "1.",
        ".5",
        "+1",
        "NaN",
        "Infinity",
        "\"\\",
        "\"\\u",
        "\"\\u12",
        "\"\\ud800\"",
        "\"\\udc00\\ud800\"",
        "\"\\u0000\"",
        "\"\u{0}\"",
        "\"a\nb\"",
        "'a'",
        "{a:1}",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "{\"a\":1,,}",
        "{,}",
        "[1,]",
        "[,1]",
        "[1 2]",
        "[1:2]",
        "{\"a\":1 \"b\":2}",
        "{\"a\":1}}",
        "{}{}",
        "\u{feff}{}",
        "\u{feff}\u{feff}{}",
        "{\u{a0}}",
        "{\u{b}}",
        "{\"a\":1,\"a\":2}",
        "{\"\":{\"\":{\"\":1}}}",
        "{\"listeners\":[\":1\"],\"~/\":1}",
        "\"${\"",
        "\"${file:/dev/zero}\"",
        "{\"listeners\": \"\\ud83d\\ude00\"}",
        "{\"routes\": [[[[]]]]}",
        "{\"workers\": 18446744073709551616}",
        "\u{202e}{}",
        "#",
        "{\"plugins\": {\"\\u001b[31m\": {}}}",
        "{\"listeners\":[\":1\"],\"upstreams\":{\"${SECRET}\":[]}}",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec();
    for depth in [127, 128, 129, 255, 512, 513, 100_000] {
        documents.push(nested("[", "]", depth).into_bytes());
        documents.push(nested("{\"routes\":", "}", depth).into_bytes());
        documents.push("[".repeat(depth).into_bytes());
        documents.push("{\"a\":[".repeat(depth).into_bytes());
    }
    documents.push(vec![0xff, 0xfe, b'{', 0, b'}', 0]);
    documents.push(b"{\"a\": \"\xed\xa0\x80\"}".to_vec());
    documents.push(b"{\"a\": \"\xc0\xaf\"}".to_vec());
    documents.push(vec![b' '; document::LARGEST_TEXT + 1]);
    for bytes in documents {
        let report = Loaded::from_bytes("f", &bytes, &Fake, &STOCK).expect_err("no such document is a configuration");
        assert!(!report.diagnostics.is_empty());
        report.render(true);
        report.to_json();
    }
}

#[test]
fn the_shared_suite_of_json_documents_panics_nowhere() {
    // Only if whoever runs the test has that folder; the cases above are ours and cover the same classes.
    let Some(suites) = std::env::var_os("GATEWRIGHT_SUITES") else { return };
    let text = std::fs::read_to_string(PathBuf::from(suites).join("json-parsing/cases.json")).unwrap();
    let suite: Value = serde_json::from_str(&text).unwrap();
    let cases = suite["cases"].as_array().unwrap();
    let mut accepted_wrongly = String::new();
    for case in cases {
        let bytes =
            base64::Engine::decode(&base64::engine::general_purpose::STANDARD, case["b64"].as_str().unwrap()).unwrap();
        let as_config = Loaded::from_bytes("f", &bytes, &Fake, &STOCK);
        if let Err(report) = &as_config {
            report.render(false);
        }
        // The same document as the configuration of a plugin.
        let mut wrapped = br#"{"listeners": [":1"], "routes": [{"match": {}, "plugins": [{"echo": "#.to_vec();
        wrapped.extend_from_slice(&bytes);
        wrapped.extend_from_slice(b"}]}]}");
        if let Ok(loaded) = Loaded::from_bytes("f", &wrapped, &Fake, &STOCK) {
            let plugin = &loaded.config.routes[0].plugins[0];
            let schema = json!({ "type": "object", "additionalProperties": { "type": "string", "maxLength": 3 } });
            let found = schema::validate(&schema, &plugin.config, &loaded.document, &plugin.pointer(0, 0));
            loaded.report(found).render(false);
        }
        let parsed = std::str::from_utf8(&bytes).is_ok_and(|text| Document::parse("f", text, &Fake).is_ok());
        let expected = case["expect"].as_str().unwrap();
        let is_wrong = expected == "reject" && parsed || expected == "accept" && !parsed;
        if is_wrong {
            writeln!(accepted_wrongly, "{} is to be {expected}", case["name"]).unwrap();
        }
    }
    println!("{} documents; against their mark:\n{accepted_wrongly}", cases.len());
}

#[test]
fn ten_thousand_routes_are_read_in_no_time() {
    let mut text = "{ \"listeners\": [\":1\"], \"upstreams\": {".to_owned();
    for at in 0..1_000 {
        write!(text, "\"u{at}\": [\"10.0.0.1:{}\"],", at + 1).unwrap();
    }
    text.push_str("}, \"routes\": [");
    for at in 0..10_000 {
        let upstream = at % 1_000;
        write!(
            text,
            r#"{{ "name": "r{at}", "match": {{ "host": "h{at}.example.com", "path": "/a/{{id}}/{at}/*", "methods": ["GET"] }},
               "plugins": [{{ "rate-limit": {{ "limit": "5/min" }} }}], "to": "u{upstream}" }},"#
        )
        .unwrap();
    }
    text.push_str("] }");
    let start = cpu_time();
    assert_eq!(parse(&text).unwrap().config.routes.len(), 10_000);
    let good = cpu_time() - start;
    // Every route is wrong: still fast enough for a person to wait.
    let wrong = text.replace("\"to\": \"u", "\"to\": \"v");
    let report = parse(&wrong).unwrap_err();
    assert_eq!(report.diagnostics.len() + report.omitted, 10_000);
    report.render(false);
    let bad = cpu_time() - start - good;
    println!("10,000 routes: {good:?} where all is right, {bad:?} where every route is wrong");
    assert!(good.as_secs() < 5 && bad.as_secs() < 10, "{good:?} {bad:?}");
}

/// The CPU time of this thread so far. A busy machine affects the wall clock, but not this.
fn cpu_time() -> std::time::Duration {
    let schedstat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    std::time::Duration::from_nanos(schedstat.split(' ').next().unwrap().parse().unwrap())
}

#[test]
fn what_was_substituted_is_known_by_its_place() {
    let text = r#"{ "a": { "b": ["${SECRET}", "id-${SECRET}:${NONE:-x}"], "c": "$${a}" }, "ab": "${HOST}", "d": 1 }"#;
    let document = Document::parse("f", text, &Fake).unwrap();
    let secret = ("${SECRET}", "hunter2");
    let second = [secret, ("${NONE:-x}", "x"), ("id-${SECRET}:${NONE:-x}", "id-hunter2:x")];
    for (pointer, expected) in [
        ("/a", [&[secret][..], &second].concat()),
        ("/a/b/0", vec![secret]),
        ("/a/b/1", second.to_vec()),
        ("/a/c", vec![]),
        ("/d", vec![]),
        ("/nowhere", vec![]),
        ("/ab", vec![("${HOST}", "h")]),
    ] {
        assert_eq!(document.substituted(pointer), expected, "{pointer}");
    }
}

#[test]
fn a_path_is_followed_as_far_as_there_is_anything() {
    let text = r#"{ "p": { "keys": [{}, { "subject": 1 }], "a/b": { "c": [[0, 1]] } }, "q": "alone" }"#;
    let document = Document::parse("f", text, &Fake).unwrap();
    for (from, path, expected) in [
        ("/p", "keys[1].subject", "/p/keys/1/subject"),
        ("/p", "keys.1.subject", "/p/keys/1/subject"),
        ("/p", "keys[0].subject", "/p/keys/0"),
        ("/p", "keys[2].subject", "/p/keys"),
        ("/p", "a/b.c[0][1]", "/p/a~1b/c/0/1"),
        ("/p", "the consumer \"keys\"", "/p"),
        ("/p", "", "/p"),
        ("/p", "..[[]]", "/p"),
        ("/q", "alone", "/q"),
    ] {
        assert_eq!(document.follow(from, path), expected, "{path}");
    }
}
