//! `ip`: who is let in by address, and what cannot be forged.

use gatewright_tests::{Server, TestGateway, send};
use serde_json::{Value, json};

async fn gateway(behind: &Server, trusted: Value, ip: Value) -> TestGateway {
    TestGateway::start(json!({
        "trusted_proxies": trusted,
        "upstreams": { "behind": [behind.text()] },
        "routes": [{ "match": {}, "plugins": [{ "ip": ip }], "to": "behind" }],
    }))
}

#[tokio::test]
async fn the_address_behind_a_trusted_proxy_decides() {
    let behind = Server::named("behind").await;
    let ip = json!({ "allow": ["10.0.0.0/8", "2001:db8::/32"], "deny": ["10.6.0.0/16"] });
    let gateway = gateway(&behind, json!(["127.0.0.1"]), ip).await;
    for (client, status) in [
        ("10.1.2.3", 200),
        ("::ffff:10.1.2.3", 200),
        ("[2001:db8::7]", 200),
        ("2001:db8::7", 200),
        ("10.6.0.1", 403),
        ("::ffff:10.6.0.1", 403),
        ("203.0.113.9", 403),
        ("2001:db9::7", 403),
    ] {
        let answer = gateway.get_with("/", &[("x-forwarded-for", client)]).await;
        assert_eq!(answer.status, status, "{client}: {}", answer.text());
    }
    assert_eq!(behind.received().len(), 4, "who is kept out reaches nothing");
    gateway.get("/").await.problem(403);
    assert_eq!(gateway.metric("plugin_ip_denied", &[]).await, 5.0);
}

#[tokio::test]
async fn a_client_cannot_say_its_address_itself() {
    let behind = Server::named("behind").await;
    let gateway = gateway(&behind, json!([]), json!({ "allow": ["10.0.0.0/8"] })).await;
    for (name, value) in [
        ("x-forwarded-for", "10.0.0.1"),
        ("x-forwarded-for", "127.0.0.1, 10.0.0.1"),
        ("forwarded", "for=10.0.0.1"),
        ("x-real-ip", "10.0.0.1"),
        ("true-client-ip", "10.0.0.1"),
        ("cf-connecting-ip", "10.0.0.1"),
    ] {
        let refused = gateway.get_with("/", &[(name, value)]).await.problem(403);
        assert!(!refused.to_string().contains("10.0.0"), "{refused}");
    }
    assert!(behind.received().is_empty());
}

#[tokio::test]
async fn ipv6_connections_are_judged_by_ipv6_ranges() {
    // Where the machine has no IPv6 there is nothing to connect from.
    if std::net::UdpSocket::bind("[::1]:0").is_err() {
        return;
    }
    for (allow, status) in [("::1", 200), ("0.0.0.0/0", 403)] {
        let gateway = TestGateway::start(json!({
            "listeners": ["[::1]:0"],
            "routes": [{ "match": {}, "plugins": [{ "ip": { "allow": [allow] } }, "echo"] }],
        }));
        assert_eq!(send(gateway.address(), "GET", "/", &[], "").await.status, status, "{allow}");
    }
}

#[tokio::test]
async fn a_range_that_is_none_is_refused_when_the_configuration_is_read() {
    for (ip, named) in
        [(json!({}), "ip"), (json!({ "allow": ["10.0.0.1/8"] }), "10.0.0.0/8"), (json!({ "deny": [] }), "deny")]
    {
        let config = json!({ "routes": [{ "match": {}, "plugins": [{ "ip": ip }, "echo"] }] });
        let refused = TestGateway::try_start(config).err().unwrap().to_string();
        assert!(refused.contains(named), "{refused}");
    }
}

#[tokio::test]
async fn what_is_denied_on_several_routes_is_counted_together() {
    let routes = [("/a", "10.0.0.0/8"), ("/b", "172.16.0.0/12")]
        .map(|(path, range)| json!({ "match": { "path": path }, "plugins": [{ "ip": { "allow": [range] } }, "echo"] }));
    let gateway = TestGateway::start(json!({ "routes": routes }));
    for path in ["/a", "/b", "/b"] {
        gateway.get(path).await.problem(403);
    }
    assert_eq!(gateway.metric("plugin_ip_denied", &[]).await, 3.0);
}
