//! Requests that belong together stay together: consistent hashing, and sticky sessions.

use std::collections::BTreeSet;

use gatewright_tests::{Answer, Server, TestGateway, send};
use serde_json::{Value, json};

use super::{answers, config, gateway, servers};

/// The server that answers a request.
async fn server_of(gateway: &TestGateway, target: &str, headers: &[(&str, &str)]) -> String {
    let answer = send(gateway.address(), "GET", target, headers, "").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.text()
}

fn hashed(by: Value, servers: &[Server]) -> Value {
    let endpoints: Vec<String> = servers.iter().map(Server::text).collect();
    let mut config = config(json!({ "endpoints": endpoints, "balance": { "hash": { "by": by } } }));
    config["trusted_proxies"] = json!(["127.0.0.1"]);
    config
}

#[tokio::test]
async fn consistent_hash_by_header_cookie_query_source_path_and_identity() {
    let servers: [Server; 4] = servers().await;
    let keys: Vec<Value> = (0..30)
        .map(|key| json!({ "key": format!("key-{key}-0123456789"), "subject": format!("user {key}") }))
        .collect();
    for by in [
        json!({ "header": "x-user" }),
        json!({ "cookie": "user" }),
        json!({ "query": "user" }),
        json!("source"),
        json!("path"),
        json!("identity"),
    ] {
        let mut config = hashed(by.clone(), &servers);
        if by == "identity" {
            config["routes"][0]["plugins"] = json!([{ "key-auth": { "keys": keys } }]);
        }
        let gateway = TestGateway::start(config);
        let mut used = BTreeSet::new();
        for key in 0..30 {
            let request = |noise: usize| match by.as_str() {
                Some("source") => ("/".to_owned(), vec![("x-forwarded-for", format!("10.0.0.{key}"))]),
                Some("path") => (format!("/{key}?{noise}"), vec![]),
                Some("identity") => (format!("/{noise}"), vec![("x-api-key", format!("key-{key}-0123456789"))]),
                _ if by.get("header").is_some() => (format!("/{noise}"), vec![("x-user", key.to_string())]),
                _ if by.get("cookie").is_some() => {
                    (format!("/{noise}"), vec![("cookie", format!("a={noise}; user={key}"))])
                }
                _ => (format!("/{noise}?a={noise}&user={key}"), vec![]),
            };
            let mut at = BTreeSet::new();
            for noise in 0..3 {
                let (target, headers) = request(noise);
                let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
                at.insert(server_of(&gateway, &target, &headers).await);
            }
            assert_eq!(at.len(), 1, "key {key} by {by} was at {at:?}");
            used.extend(at);
        }
        assert!(used.len() >= 3, "by {by}, only {used:?} were used");
        // Without a key, anywhere.
        if by.get("header").is_some() {
            let anywhere: BTreeSet<char> = answers(&gateway, 60).await.chars().collect();
            assert_eq!(anywhere.len(), 4);
        }
    }
}

#[tokio::test]
async fn when_an_endpoint_leaves_only_its_keys_move() {
    let servers: [Server; 4] = servers().await;
    let by = json!("path");
    let gateway = TestGateway::start(hashed(by.clone(), &servers));
    let mut before = Vec::new();
    for key in 0..100 {
        before.push(server_of(&gateway, &format!("/{key}"), &[]).await);
    }
    gateway.write_config(hashed(by, &servers[1..]));
    gateway.reload().unwrap();
    let mut moved = 0;
    for (key, before) in before.iter().enumerate() {
        let after = server_of(&gateway, &format!("/{key}"), &[]).await;
        assert!(after == *before || before == "a", "/{key} moved from {before} to {after}");
        moved += usize::from(after != *before);
    }
    assert_eq!(moved, before.iter().filter(|server| *server == "a").count());
    assert!((5..=45).contains(&moved), "{moved} of 100 keys were at one of four");
}

/// The cookie that an answer sets: its name and value, and all of the line.
fn cookie(answer: &Answer) -> Option<(String, String)> {
    let line = answer.header("set-cookie")?;
    Some((line.split(';').next()?.to_owned(), line.to_owned()))
}

fn sticky(servers: &[&Server], sticky: Value) -> Value {
    let endpoints: Vec<String> = servers.iter().map(|server| server.text()).collect();
    config(json!({ "endpoints": endpoints, "sticky": sticky }))
}

#[tokio::test]
async fn a_sticky_session_stays_and_survives_a_reload() {
    let [a, b, c] = servers().await;
    let gateway = TestGateway::start(sticky(&[&a, &b], json!({})));
    let first = gateway.get("/").await;
    let (pair, line) = cookie(&first).unwrap();
    assert!(pair.starts_with("gatewright-group="), "{line}");
    assert!(line.ends_with("; Path=/; HttpOnly; SameSite=Lax"), "{line}");
    for _ in 0..10 {
        let next = gateway.get_with("/", &[("cookie", &format!("other=1; {pair}"))]).await;
        assert_eq!(next.text(), first.text());
        assert_eq!(cookie(&next), None, "a client that is where it belongs gets no new cookie");
    }
    // Clients without the cookie go in turn.
    assert_eq!(answers(&gateway, 4).await.replace('a', "").len(), 2);
    gateway.write_config(sticky(&[&c, &b, &a], json!({ "ttl": "1h" })));
    gateway.reload().unwrap();
    for _ in 0..10 {
        assert_eq!(gateway.get_with("/", &[("cookie", &pair)]).await.text(), first.text());
    }
}

#[tokio::test]
async fn a_sticky_session_falls_over_when_its_endpoint_is_gone() {
    let [a, b] = servers().await;
    let gateway = TestGateway::start(sticky(&[&a, &b], json!({})));
    let first = gateway.get("/").await;
    let (pair, _) = cookie(&first).unwrap();
    let left = if first.text() == "a" { &b } else { &a };
    gateway.write_config(sticky(&[left], json!({})));
    gateway.reload().unwrap();
    let next = gateway.get_with("/", &[("cookie", &pair)]).await;
    assert_eq!(next.status, 200);
    assert_ne!(next.text(), first.text());
    let (new_pair, _) = cookie(&next).expect("it belongs elsewhere now");
    assert_ne!(new_pair, pair);
    assert_eq!(cookie(&gateway.get_with("/", &[("cookie", &new_pair)]).await), None);
}

#[tokio::test]
async fn a_drained_endpoint_keeps_its_sticky_clients() {
    let [a, b] = servers().await;
    let upstream = |weight: u32| {
        let endpoints = json!([{ "address": a.text(), "weight": weight }, b.text()]);
        config(json!({ "endpoints": endpoints, "sticky": {} }))
    };
    let gateway = TestGateway::start(upstream(1000));
    let first = gateway.get("/").await;
    assert_eq!(first.text(), "a");
    gateway.write_config(upstream(0));
    gateway.reload().unwrap();
    assert_eq!(answers(&gateway, 10).await, "b".repeat(10));
    assert_eq!(gateway.get_with("/", &[("cookie", &cookie(&first).unwrap().0)]).await.text(), "a");
}

#[tokio::test]
async fn a_sticky_cookie_is_signed_and_tells_nothing() {
    let servers: [Server; 2] = servers().await;
    let folder = tempfile::tempdir().unwrap();
    let start = |key: &str| {
        let file = folder.path().join(key);
        std::fs::write(&file, format!("{key}-0123456789abcdef\n")).unwrap();
        let settings =
            json!({ "cookie": "gw", "key": "sticky", "ttl": "90s", "path": "/", "secure": true, "same_site": "none" });
        let mut config = sticky(&[&servers[0], &servers[1]], settings);
        config["secrets"] = json!({ "sticky": { "file": file } });
        TestGateway::start(config)
    };
    let (one, same, other) = (start("one"), start("one"), start("other"));
    let first = one.get("/").await;
    let (pair, line) = cookie(&first).unwrap();
    assert!(line.ends_with("; Path=/; HttpOnly; Max-Age=90; SameSite=None; Secure"), "{line}");
    let port = servers[usize::from(first.text() == "b")].address().port().to_string();
    assert!(!line.contains(&port) && !line.contains("127.0.0.1"), "{line}");
    // Another gateway with the key knows it, one with another key does not.
    assert_eq!(cookie(&same.get_with("/", &[("cookie", &pair)]).await), None);
    assert!(cookie(&other.get_with("/", &[("cookie", &pair)]).await).is_some());
    // Whatever is not the very cookie is no cookie.
    let mut tampered = pair.clone().into_bytes();
    let last = tampered.len() - 1;
    tampered[last] = if tampered[last] == b'A' { b'B' } else { b'A' };
    let tampered = String::from_utf8(tampered).unwrap();
    for wrong in [tampered.as_str(), "gw=", "gw=!", &format!("gw={}", "A".repeat(4000)), &pair.replace("gw=", "gv=")] {
        let answer = one.get_with("/", &[("cookie", wrong)]).await;
        assert_eq!(answer.status, 200);
        assert!(cookie(&answer).is_some(), "believed: {wrong:.80}");
    }
}

#[tokio::test]
async fn a_sticky_key_that_is_too_short_is_refused_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key");
    std::fs::write(&file, "short").unwrap();
    let mut config = config(json!({ "endpoints": ["127.0.0.1:9"], "sticky": { "key": "sticky" } }));
    config["secrets"] = json!({ "sticky": { "file": file } });
    let error = TestGateway::try_start(config).err().unwrap().to_string();
    assert!(error.contains("it has 5 bytes, and a key has at least 16"), "{error}");
    assert!(error.contains("gateway.json:1:") && !error.contains("short\""), "{error}");
    drop(gateway(json!(["127.0.0.1:9"])));
}
