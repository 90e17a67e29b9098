//! Endpoints that are names: a DNS server that changes its answers, fails, is silent and truncates.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use gatewright_tests::{Client, Dns, Mood, Record, Scripted, Server, TestGateway, eventually, read_head};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

/// Two servers with one port, at 127.0.0.1 and 127.0.0.2, as the hosts of one name have.
async fn twins() -> (Server, Server) {
    loop {
        let one = Server::named("one").await;
        let address = format!("127.0.0.2:{}", one.address().port());
        if tokio::net::TcpListener::bind(&address).await.is_ok() {
            return (one, Server::named_at("two", &address).await);
        }
    }
}

fn config(dns: &Dns, upstream: Value) -> Value {
    json!({
        "workers": 1,
        "resolver": {
            "servers": [dns.text()], "timeout": "1s", "min_ttl": "20ms", "max_ttl": "50ms", "hold": "2s",
        },
        "upstreams": { "group": upstream },
        "routes": [{ "match": {}, "to": "group" }],
    })
}

fn named(server: &Server) -> String {
    format!("users.test:{}", server.address().port())
}

async fn answers(gateway: &TestGateway, requests: usize) -> Vec<String> {
    let mut client = Client::http1(gateway.address()).await;
    let mut names = Vec::new();
    for _ in 0..requests {
        let answer = client.send("GET", "/", &[], "").await.unwrap();
        names.push(if answer.status == 200 { answer.text() } else { answer.status.to_string() });
    }
    names.sort();
    names.dedup();
    names
}

async fn until(gateway: &TestGateway, expected: &[&str]) {
    eventually(&format!("{expected:?} answer"), async || (answers(gateway, 6).await == expected).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_address_of_a_name_is_an_endpoint_and_changes_are_followed() {
    let (dns, (one, two)) = (Dns::start().await, twins().await);
    dns.set_addresses("users.test", &["127.0.0.1"]);
    let gateway = TestGateway::start(config(&dns, json!([named(&one)])));
    assert_eq!(answers(&gateway, 4).await, ["one"]);
    dns.set_addresses("users.test", &["127.0.0.1", "127.0.0.2"]);
    until(&gateway, &["one", "two"]).await;
    dns.set_addresses("users.test", &["127.0.0.2"]);
    until(&gateway, &["two"]).await;
    assert!(two.received().len() > 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_stays_keeps_its_connections() {
    let dns = Dns::start().await;
    let connections = Arc::<AtomicUsize>::default();
    let opened = connections.clone();
    let one = Scripted::start(move |mut stream| {
        opened.fetch_add(1, Relaxed);
        async move {
            while !read_head(&mut stream).await.is_empty() {
                let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\none";
                if stream.write_all(answer).await.is_err() {
                    return;
                }
            }
        }
    })
    .await;
    let port = one.text().rsplit_once(':').unwrap().1.to_owned();
    let two = Server::named_at("two", &format!("127.0.0.2:{port}")).await;
    dns.set_addresses("users.test", &["127.0.0.1"]);
    let gateway = TestGateway::start(config(&dns, json!([named(&two)])));
    assert_eq!(answers(&gateway, 5).await, ["one"]);
    dns.set_addresses("users.test", &["127.0.0.1", "127.0.0.2"]);
    until(&gateway, &["one", "two"]).await;
    assert_eq!(connections.load(Relaxed), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_dns_fails_the_last_good_set_serves() {
    let (dns, (one, _two)) = (Dns::start().await, twins().await);
    dns.set_addresses("users.test", &["127.0.0.1"]);
    let gateway = TestGateway::start(config(&dns, json!([named(&one)])));
    for mood in [Mood::Failing, Mood::Silent] {
        dns.set_mood(mood);
        let failed = gateway.metric("gatewright_upstream_events_total", &["group", "name-failed"]).await;
        eventually("more questions failed", async || {
            let now = gateway.metric("gatewright_upstream_events_total", &["group", "name-failed"]).await;
            (now >= failed + 2.0).then_some(())
        })
        .await;
        assert_eq!(answers(&gateway, 4).await, ["one"], "{mood:?}");
    }
    dns.set_mood(Mood::Well);
    dns.set_addresses("users.test", &["127.0.0.2"]);
    until(&gateway, &["two"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_has_no_address_any_more_loses_its_endpoints_after_a_while() {
    let (dns, (one, _two)) = (Dns::start().await, twins().await);
    dns.set_addresses("users.test", &["127.0.0.1"]);
    let gateway = TestGateway::start(config(&dns, json!([named(&one)])));
    let events =
        async |event: &'static str| gateway.metric("gatewright_upstream_events_total", &["group", event]).await;
    let failed = events("name-failed").await;
    dns.set_addresses("users.test", &[]);
    assert_eq!(answers(&gateway, 4).await, ["one"], "it is held");
    eventually("it counts as failed", async || (events("name-failed").await >= failed + 2.0).then_some(())).await;
    let resolved = events("name-resolved").await;
    until(&gateway, &["503"]).await;
    assert_eq!(events("name-resolved").await, resolved);
    dns.set_addresses("users.test", &["127.0.0.1"]);
    until(&gateway, &["one"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_truncated_answer_is_asked_for_over_tcp() {
    let (dns, (one, _two)) = (Dns::start().await, twins().await);
    dns.set_mood(Mood::Truncating);
    dns.set_addresses("users.test", &["127.0.0.1", "127.0.0.2"]);
    let gateway = TestGateway::start(config(&dns, json!([named(&one)])));
    assert_eq!(answers(&gateway, 4).await, ["one", "two"]);
    assert!(dns.asked().contains(&"tcp users.test".to_owned()), "{:?}", dns.asked());
}

#[tokio::test(flavor = "multi_thread")]
async fn services_give_ports_and_priorities() {
    let dns = Dns::start().await;
    let (a, b) = (Server::named("a").await, Server::named("b").await);
    let service = |priority, server: &Server| Record::Service {
        priority,
        weight: 0,
        port: server.address().port(),
        target: "host.test".to_owned(),
    };
    dns.set_addresses("host.test", &["127.0.0.1"]);
    dns.set("_http._tcp.users.test", vec![service(10, &a), service(10, &b)]);
    let gateway = TestGateway::start(config(&dns, json!(["_http._tcp.users.test"])));
    assert_eq!(answers(&gateway, 4).await, ["a", "b"]);
    dns.set("_http._tcp.users.test", vec![service(10, &a), service(20, &b)]);
    until(&gateway, &["a"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ipv6_addresses_are_endpoints_where_there_is_no_ipv4() {
    let dns = Dns::start().await;
    let server = Server::named_at("six", "[::1]:0").await;
    dns.set_addresses("users.test", &["::1"]);
    let gateway = TestGateway::start(config(&dns, json!([named(&server)])));
    assert_eq!(answers(&gateway, 2).await, ["six"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_hosts_file_comes_first() {
    let (dns, (one, _two)) = (Dns::start().await, twins().await);
    dns.set_addresses("users.test", &["127.0.0.1"]);
    let folder = tempfile::tempdir().unwrap();
    let hosts = folder.path().join("hosts");
    std::fs::write(&hosts, "127.0.0.2 users.test\n").unwrap();
    let mut config = config(&dns, json!([named(&one)]));
    config["resolver"]["hosts"] = json!(hosts);
    let gateway = TestGateway::start(config);
    assert_eq!(answers(&gateway, 4).await, ["two"]);
    assert_eq!(dns.asked(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_does_not_resolve_is_refused_with_its_place_and_changes_nothing() {
    let (dns, (one, _two)) = (Dns::start().await, twins().await);
    dns.set_addresses("users.test", &["127.0.0.1"]);
    let gateway = TestGateway::start(config(&dns, json!([named(&one)])));
    gateway.write_config(config(&dns, json!([named(&one), "nobody.test:80"])));
    let error = gateway.reload().unwrap_err().to_string();
    assert!(error.contains("the name nobody.test has no address") && error.contains("gateway.json:1:"), "{error}");
    assert_eq!(answers(&gateway, 4).await, ["one"]);
    // If asked to, the gateway starts without it, and goes on asking.
    let mut patient = config(&dns, json!(["nobody.test:80"]));
    patient["resolver"]["unresolved"] = json!("warn");
    patient["upstreams"]["group"] = json!([format!("nobody.test:{}", one.address().port())]);
    gateway.write_config(patient);
    gateway.reload().unwrap();
    assert_eq!(answers(&gateway, 2).await, ["503"]);
    dns.set_addresses("nobody.test", &["127.0.0.1"]);
    until(&gateway, &["one"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_can_be_one_endpoint() {
    let dns = Dns::start().await;
    let server = Server::named("here").await;
    let port = server.address().port();
    let endpoints = json!([{ "address": format!("localhost:{port}"), "resolve": "connection" }]);
    let gateway = TestGateway::start(config(&dns, endpoints));
    assert_eq!(answers(&gateway, 2).await, ["here"]);
    assert_eq!(dns.asked(), [""; 0], "that is the system's resolver's");
}
