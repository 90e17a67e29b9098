//! A plugin that was built against the contract as 0.1.0 was runs on this gateway, with every hook and every function.

use gatewright_tests::{Server, TestGateway, eventually, raw};
use serde_json::json;

use super::from_guest;
use super::with;

#[tokio::test]
async fn a_plugin_built_against_the_first_contract_runs_whole() {
    let (behind, lent) = (Server::named("behind").await, Server::named("lent").await);
    let grants = json!({ "grants": { "upstreams": ["lent"], "secrets": ["lent"] } });
    let gateway = TestGateway::start_beside(
        json!({
            "upstreams": { "behind": [behind.text()], "lent": [lent.text()], "other": ["127.0.0.1:9"] },
            "secrets": { "lent": { "file": "secret" } },
            "plugins": { "pinned": with(from_guest("guest-pinned"), grants) },
            "routes": [{ "match": {}, "plugins": ["pinned"], "to": "behind" }],
        }),
        |folder| std::fs::write(folder.join("secret"), "hush").unwrap(),
    );
    let answer = gateway.post("/", &[("x-one", "1")], "hello").await;
    assert_eq!((answer.status, answer.header("x-pinned")), (200, Some("all")), "what does not do what it did");
    assert_eq!(answer.header("x-state"), Some("kept"));
    let seen = behind.only();
    assert_eq!((seen.method.as_str(), seen.target.as_str()), ("PUT", "/changed"));
    assert_eq!(seen.header("host"), Some("pinned.test"));
    let fields: Vec<&str> = seen.headers.get_all("x-set").iter().map(|value| value.to_str().unwrap()).collect();
    assert_eq!(fields, ["a", "b"]);
    assert_eq!(lent.received().first().map(|call| call.target.clone()).as_deref(), Some("/callout"));

    gateway.post("/body", &[("x-one", "1")], "hello").await;
    assert_eq!(behind.received().pop().unwrap().body, "seen hello");

    let answer = gateway.get("/answer").await;
    assert_eq!((answer.status, answer.text().as_str()), (418, "short and stout"));
    let reset = raw(gateway.address(), "GET /abort HTTP/1.1\r\nhost: a.test\r\n\r\n").await;
    assert!(!reset.contains("HTTP/1.1 "), "{reset}");

    eventually("all that it counts is shown", async || {
        let page = gatewright_tests::send(gateway.admin(), "GET", "/metrics", &[], "").await.text();
        let shown = |part: &str| page.lines().any(|line| line.contains("pinned") && line.contains(part));
        ["how=\"so\"", "how=\"complete\"", "how=\"tick\"", "level", "size"].iter().all(|part| shown(part)).then_some(())
    })
    .await;
}
