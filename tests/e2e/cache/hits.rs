//! What is answered from memory, and in which form.

use gatewright_tests::{Client, TestGateway, eventually, send};
use serde_json::json;

use super::{counting, gateway, status};

#[tokio::test]
async fn a_fresh_response_is_answered_from_memory_on_all_cores_and_over_both_protocols() {
    let server = counting(&[("cache-control", "max-age=100"), ("x-own", "1")]).await;
    let gateway = gateway(&server.text(), json!({}));
    let first = gateway.get("/a?b=c").await;
    assert_eq!((first.status, status(&first).as_str()), (200, "fwd=uri-miss; fwd-status=200; stored"));
    for _ in 0..20 {
        let again = gateway.get("/a?b=c").await;
        assert_eq!((again.status, again.text().as_str(), again.header("x-own")), (200, "answer 1", Some("1")));
        assert!(status(&again).starts_with("hit; ttl="), "{again:?}");
        assert!(again.header("age").unwrap().parse::<u32>().unwrap() < 100);
        assert_eq!(again.header("content-length"), Some("8"));
    }
    let mut http2 = Client::http2(gateway.address()).await;
    let host = gateway.address().to_string();
    let other = http2.send("GET", "/a?b=c", &[], "").await.unwrap();
    assert_eq!(other.text(), "answer 2", "another host is another address: {host}");
    assert_eq!(http2.send("GET", "/a?b=c", &[], "").await.unwrap().text(), "answer 2");
    assert_eq!(server.received().len(), 2);
    assert_eq!(gateway.metric("gatewright_cache_events_total", &["event=\"hit\""]).await, 21.0);
    assert!(gateway.metric("gatewright_cache_bytes", &[]).await > 100.0);
}

#[tokio::test]
async fn records_tell_what_the_request_met_in_the_cache() {
    let server = counting(&[("cache-control", "max-age=100")]).await;
    let gateway = TestGateway::start(json!({
        "upstreams": { "behind": [server.text()], "nobody": ["127.0.0.1:9"] },
        "routes": [
            { "match": { "path": "/remembered" }, "cache": {}, "to": "behind" },
            { "match": { "path": "/down" }, "cache": {}, "to": "nobody" },
            { "match": {}, "to": "behind" },
        ],
    }));
    let asked = [
        ("GET", "/remembered", "", Some("miss"), Some("behind")),
        ("GET", "/remembered", "", Some("hit"), None),
        ("POST", "/remembered", "x", Some("bypass"), Some("behind")),
        ("GET", "/down", "", Some("miss"), Some("nobody")),
        ("GET", "/other", "", None, Some("behind")),
    ];
    // Each has its record before the next is sent: several cores write them, so their order says nothing.
    let mut seen: Vec<serde_json::Value> = Vec::new();
    for (count, (method, path, body, met, upstream)) in asked.into_iter().enumerate() {
        send(gateway.address(), method, path, &[], body).await;
        let records = gateway.wait_for_records(count + 1).await;
        let record = records.iter().find(|record| !seen.contains(record)).unwrap();
        assert_eq!((record["cache"].as_str(), record["upstream"].as_str()), (met, upstream), "{method} {record}");
        seen = records;
    }
}

#[tokio::test]
async fn head_ranges_and_conditions_are_answered_from_one_entry() {
    let server = counting(&[("cache-control", "max-age=100"), ("etag", "\"a\"")]).await;
    let gateway = gateway(&server.text(), json!({}));
    assert_eq!(gateway.get("/").await.text(), "answer 1");
    let head = send(gateway.address(), "HEAD", "/", &[], "").await;
    assert_eq!((head.status, head.header("content-length"), head.body.len()), (200, Some("8"), 0));
    let part = gateway.get_with("/", &[("range", "bytes=0-5")]).await;
    assert_eq!((part.status, part.text().as_str()), (206, "answer"));
    assert_eq!(part.header("content-range"), Some("bytes 0-5/8"));
    assert_eq!(gateway.get_with("/", &[("range", "bytes=8-")]).await.status, 416);
    let same = gateway.get_with("/", &[("if-none-match", "W/\"a\"")]).await;
    assert_eq!((same.status, same.body.len(), same.header("etag")), (304, 0, Some("\"a\"")));
    assert_eq!(server.received().len(), 1);
}

#[tokio::test]
async fn conditions_of_a_client_do_not_keep_the_whole_from_being_stored() {
    let server = counting(&[("cache-control", "max-age=100"), ("etag", "\"a\"")]).await;
    let gateway = gateway(&server.text(), json!({}));
    assert_eq!(gateway.get_with("/", &[("if-none-match", "\"a\"")]).await.status, 304);
    assert_eq!(server.only().header("if-none-match"), None);
    eventually("the whole is there", async || {
        let answer = gateway.get("/").await;
        (answer.text() == "answer 1" && status(&answer).starts_with("hit")).then_some(())
    })
    .await;
    // A part of what is not there is asked for as a part, and not stored.
    let part = gateway.get_with("/part", &[("range", "bytes=0-1")]).await;
    assert!(!status(&part).contains("stored"));
    assert_eq!(server.received().last().unwrap().header("range"), Some("bytes=0-1"));
}

#[tokio::test]
async fn what_clients_ask_of_the_cache() {
    let server = counting(&[("cache-control", "max-age=100"), ("etag", "\"a\"")]).await;
    let gateway_one = gateway(&server.text(), json!({}));
    let with = async |gateway: &TestGateway, control: &str| gateway.get_with("/", &[("cache-control", control)]).await;
    with(&gateway_one, "only-if-cached").await.problem(504);
    assert!(!status(&with(&gateway_one, "no-store").await).contains("stored"));
    assert_eq!(server.received().len(), 1);
    assert_eq!(gateway_one.get("/").await.text(), "answer 2");
    assert_eq!(with(&gateway_one, "only-if-cached").await.text(), "answer 2");
    assert_eq!(status(&with(&gateway_one, "no-cache").await), "hit; fwd=request; fwd-status=304");
    assert_eq!(server.received().len(), 3);

    let gateway_two = gateway(&server.text(), json!({ "client_directives": false, "cache_status": false }));
    assert_eq!(gateway_two.get("/").await.text(), "answer 4");
    for control in ["no-cache", "no-store", "max-age=0"] {
        let answer = with(&gateway_two, control).await;
        assert_eq!((answer.text().as_str(), answer.header("cache-status")), ("answer 4", None), "{control}");
    }
}

#[tokio::test]
async fn response_hooks_run_on_what_is_remembered() {
    let server = counting(&[("cache-control", "max-age=100")]).await;
    let headers = json!({ "headers": { "response": { "set": { "x-added": "yes" } } } });
    let gateway = TestGateway::start(json!({
        "upstreams": { "behind": [server.text()] },
        "routes": [{
            "match": {}, "plugins": [{ "rate-limit": { "limit": "3/h" } }, headers], "cache": {}, "to": "behind",
        }],
    }));
    for left in ["r=2", "r=1", "r=0"] {
        let answer = gateway.get("/").await;
        assert_eq!((answer.text().as_str(), answer.header("x-added")), ("answer 1", Some("yes")));
        assert!(answer.header("ratelimit").unwrap().contains(left), "each counts, and says so itself");
    }
    gateway.get("/").await.problem(429);
    gateway.wait_for_records(4).await;
}
