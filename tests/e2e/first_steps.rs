//! What the README promises on its first screen.

use gatewright_tests::{Server, TestGateway, repository};
use serde_json::json;

#[tokio::test]
async fn the_shipped_configuration_answers() {
    let text = std::fs::read_to_string(repository().join("gateway.json")).unwrap();
    let mut config = jsonc(&text);
    config["listeners"] = json!(["127.0.0.1:0"]);
    config["admin"] = json!({ "address": "127.0.0.1:0" });
    let gateway = TestGateway::start(config);

    let echo = gateway.get("/").await;
    assert_eq!(echo.status, 200, "{}", echo.text());
    assert_eq!(echo.json()["path"], "/");

    gateway.get("/limited/a").await.problem(401);
    let key = [("x-api-key", "demo-key")];
    for taken in 1..=5 {
        let answer = gateway.get_with("/limited/a", &key).await;
        assert_eq!(answer.status, 200, "request {taken}: {}", answer.text());
        assert_eq!(answer.header("ratelimit-policy"), Some("\"default\";q=5;w=60"));
        assert!(answer.header("ratelimit").unwrap().starts_with(&format!("\"default\";r={}", 5 - taken)));
        assert_eq!(answer.header("x-served-by"), Some("gatewright"));
    }
    let limited = gateway.get_with("/limited/a", &key).await;
    limited.problem(429);
    assert!(limited.header("retry-after").unwrap().parse::<u32>().unwrap() > 0);
    assert!(limited.header("ratelimit").is_some(), "response hooks run after an early answer, too");
    assert_eq!(limited.header("x-served-by"), None, "but only those of the plugins that were reached");
}

#[tokio::test]
async fn a_bare_port_listens_on_ipv4_and_ipv6() {
    // A port that is free now; nothing else on this machine asks for it in between.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let _gateway = TestGateway::start(json!({
        "listeners": [format!(":{port}")],
        "routes": [{ "match": {}, "plugins": ["echo"] }],
    }));
    let mut addresses = vec![format!("127.0.0.1:{port}")];
    // Where the machine has no IPv6 the gateway listens on IPv4 alone.
    if std::net::UdpSocket::bind("[::1]:0").is_ok() {
        addresses.push(format!("[::1]:{port}"));
    }
    for address in addresses {
        let answer = gatewright_tests::send(address.parse().unwrap(), "GET", "/", &[], "").await;
        assert_eq!(answer.status, 200, "{address}");
        let client = answer.json()["client"].as_str().unwrap().to_owned();
        assert!(address.contains(&client), "{client} came to {address}");
    }
}

#[tokio::test]
async fn a_route_balances_over_real_servers() {
    let (one, two) = (Server::named("one").await, Server::named("two").await);
    let gateway = TestGateway::start(json!({
        "workers": 1,
        "upstreams": { "pair": [one.text(), two.text()] },
        "routes": [{ "match": { "path": "/*" }, "to": "pair" }],
    }));
    let mut names = Vec::new();
    for _ in 0..10 {
        let answer = gateway.get("/anything?a=b").await;
        assert_eq!(answer.status, 200);
        names.push(answer.text());
    }
    assert_eq!(names.iter().filter(|name| *name == "one").count(), 5, "{names:?}");
    assert_eq!(one.received()[0].target, "/anything?a=b");
    assert_eq!(one.received()[0].header("host"), Some(gateway.address().to_string().as_str()));
    assert!(one.received()[0].header("x-request-id").is_some());
}

/// The shipped file has comments; what parses them here is the gateway's own reader.
fn jsonc(text: &str) -> serde_json::Value {
    let names: Vec<&str> = gatewright::stock::names().collect();
    let environment = gatewright::config::Process::beside(std::path::Path::new("gateway.json"));
    let loaded = gatewright::config::Loaded::parse("gateway.json", text, &environment, &names);
    loaded.unwrap_or_else(|report| panic!("{}", report.render(false))).document.value().clone()
}
