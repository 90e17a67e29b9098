//! Retries: what is sent again, and what never is.

use gatewright_tests::{Answer, Client, TestGateway};
use serde_json::{Value, json};

use super::{Act, Actor, FAILED, OK, UNAVAILABLE, nobody};

fn gateway(endpoints: &[String], retries: Value) -> TestGateway {
    with(json!({ "endpoints": endpoints }), json!({ "retries": retries }))
}

fn with(upstream: Value, route: Value) -> TestGateway {
    let mut one = json!({ "match": {}, "to": "one" });
    one.as_object_mut().unwrap().extend(route.as_object().unwrap().clone());
    TestGateway::start(json!({ "workers": 1, "upstreams": { "one": upstream }, "routes": [one] }))
}

async fn send(gateway: &TestGateway, method: &str, body: &str) -> Answer {
    gatewright_tests::send(gateway.address(), method, "/", &[], body.to_owned()).await
}

const GARBAGE: Act = Act::Last("what?\r\n\r\n");
const LATE: Act = Act::Hang;
const LIMITED: Act = Act::Answer("HTTP/1.1 429 Too Many Requests\r\ncontent-length: 0\r\n\r\n");
const UNAVAILABLE_CALL: Act =
    Act::Answer("HTTP/1.1 200 OK\r\ngrpc-status: 14\r\ngrpc-message: down\r\ncontent-length: 0\r\n\r\n");

#[tokio::test]
async fn each_cause_is_tried_again_where_it_is_listed_and_only_there() {
    let lists = [
        json!({ "on": ["reset"] }),
        json!({ "on": ["timeout"] }),
        json!({ "on": ["bad-response"] }),
        json!({ "on": ["gateway-error"] }),
        json!({ "on": ["5xx"] }),
        json!({ "on": [], "statuses": [429] }),
        json!({ "on": [], "grpc_statuses": ["unavailable"] }),
    ];
    // What happens, what the client gets without another attempt, the lists that have it, and its name in metrics.
    for (act, status, listed, cause) in [
        (Act::Close, 502, vec![0], "reset"),
        (Act::Last("HTTP/1.1 200 OK\r\ncontent"), 502, vec![0], "reset"),
        (LATE, 504, vec![1], "timeout"),
        (GARBAGE, 502, vec![2], "bad-response"),
        (UNAVAILABLE, 503, vec![3, 4], "status"),
        (FAILED, 500, vec![4], "status"),
        (LIMITED, 429, vec![5], "status"),
        (UNAVAILABLE_CALL, 200, vec![6], "grpc-status"),
    ] {
        // Nothing but what never comes is to be late.
        let attempt = if cause == "timeout" { "1s" } else { "20s" };
        for (number, retries) in lists.iter().enumerate() {
            let what = format!("{act:?} with {retries}");
            let server = Actor::playing(&[act, OK]).await;
            let route = json!({ "retries": retries, "timeouts": { "attempt": attempt } });
            let gateway = with(json!([server.text()]), route);
            let answer = send(&gateway, "GET", "").await;
            let again = listed.contains(&number);
            let expected = if again { (200, 2) } else { (status, 1) };
            assert_eq!((answer.status, server.count()), expected, "{what}");
            let record = gateway.wait_for_records(1).await.remove(0);
            assert_eq!(record["attempts"], expected.1, "{what}: {record}");
            let labels = ["\"one\"", &format!("cause=\"{cause}\"")];
            let counted = gateway.metric("gatewright_upstream_retries_total", &labels).await;
            assert_eq!(counted, f64::from(u8::from(again)), "{what}");
            if again {
                assert_eq!(answer.text(), "fine", "{what}");
            }
        }
    }
}

#[tokio::test]
async fn a_request_that_could_not_be_sent_goes_to_another_endpoint_without_any_policy() {
    let server = Actor::playing(&[OK]).await;
    let gateway = with(json!([nobody().await, server.text(), nobody().await]), json!({}));
    for method in ["GET", "POST", "GET", "POST", "PATCH", "POST"] {
        let answer = send(&gateway, method, "some").await;
        assert_eq!((answer.status, answer.text().as_str()), (200, "fine"), "{method}");
    }
    assert_eq!(server.count(), 6);
    let moved = gateway.metric("gatewright_upstream_retries_total", &["cause=\"connect-failure\""]).await;
    assert!(moved >= 4.0, "{moved}");
}

#[tokio::test]
async fn where_no_endpoint_is_there_the_search_ends() {
    let endpoints = [nobody().await, nobody().await, nobody().await, nobody().await];
    let gateway = with(json!(endpoints), json!({}));
    send(&gateway, "GET", "").await.problem(502);
    assert_eq!(gateway.wait_for_records(1).await[0]["attempts"], 3);
    let gateway = with(json!(endpoints), json!({ "retries": { "attempts": 1 } }));
    send(&gateway, "GET", "").await.problem(502);
    assert_eq!(gateway.wait_for_records(1).await[0]["attempts"], 1);
}

#[tokio::test]
async fn a_failed_connect_is_tried_again_at_the_same_endpoint_where_it_is_listed() {
    for (retries, attempts) in [(json!({}), 3), (json!({ "on": ["reset"] }), 1)] {
        let gateway = gateway(&[nobody().await], retries);
        send(&gateway, "POST", "some").await.problem(502);
        assert_eq!(gateway.wait_for_records(1).await[0]["attempts"], attempts);
    }
}

#[tokio::test]
async fn requests_that_are_not_idempotent_are_never_sent_twice() {
    let everything = json!({ "on": ["connect-failure", "reset", "timeout", "bad-response", "5xx"], "attempts": 10 });
    for act in [Act::Close, GARBAGE, FAILED, LATE] {
        for method in ["POST", "PATCH", "ODD"] {
            let servers = [Actor::playing(&[act]).await, Actor::playing(&[act]).await];
            let endpoints: Vec<_> = servers.iter().map(Actor::text).collect();
            let route = json!({ "retries": everything, "timeouts": { "attempt": "1s" } });
            let gateway = with(json!(endpoints), route);
            let answer = send(&gateway, method, "once").await;
            assert!(answer.status >= 500, "{method} {act:?}: {answer:?}");
            let count: usize = servers.iter().map(Actor::count).sum();
            assert_eq!(count, 1, "{method} {act:?}");
        }
    }
    // Unless the operator says that they may be.
    let server = Actor::playing(&[FAILED, OK]).await;
    let gateway = gateway(&[server.text()], json!({ "on": ["5xx"], "methods": ["POST"] }));
    assert_eq!(send(&gateway, "POST", "twice").await.status, 200);
    assert_eq!(server.count(), 2);
}

#[tokio::test]
async fn a_request_body_is_sent_again_whole() {
    let body = "0123456789".repeat(5_000);
    for act in [Act::Close, UNAVAILABLE] {
        let server = Actor::playing(&[act, act, OK]).await;
        let gateway = gateway(&[server.text()], json!({}));
        assert_eq!(send(&gateway, "PUT", &body).await.status, 200);
        let requests = server.requests();
        assert_eq!(requests.len(), 3, "{act:?}");
        for request in &requests {
            assert!(request.ends_with(&format!("\r\n\r\n{body}")), "{act:?}");
            assert_eq!(request, &requests[0], "head and body are the same each time");
        }
    }
}

#[tokio::test]
async fn a_request_body_of_unknown_length_is_sent_again_whole() {
    let server = Actor::playing(&[Act::Close, OK]).await;
    let gateway = gateway(&[server.text()], json!({}));
    let mut wire = gatewright_tests::Wire::connect(gateway.address()).await;
    wire.send("PUT / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n").await;
    wire.send_chunk("first ").await;
    wire.send_chunk("second").await;
    wire.send("0\r\n\r\n").await;
    let answer = wire.read_to("fine").await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let bodies: Vec<String> = server.requests().iter().map(|request| unchunked(request)).collect();
    assert_eq!(bodies, ["first second", "first second"]);
}

fn unchunked(request: &str) -> String {
    let (_, mut rest) = request.split_once("\r\n\r\n").unwrap();
    let mut body = String::new();
    loop {
        let (size, data) = rest.split_once("\r\n").unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        if size == 0 {
            return body;
        }
        body.push_str(&data[..size]);
        rest = &data[size + 2..];
    }
}

#[tokio::test]
async fn a_request_body_beyond_the_bound_is_sent_once() {
    for (length, expected) in [(100, (200, 2)), (101, (503, 1))] {
        let server = Actor::playing(&[UNAVAILABLE, OK]).await;
        let gateway = gateway(&[server.text()], json!({ "max_body": "100B" }));
        let answer = send(&gateway, "PUT", &"x".repeat(length)).await;
        assert_eq!((answer.status, server.count()), expected, "{length} bytes");
        assert!(server.requests()[0].ends_with(&"x".repeat(length)));
    }
    // The same where the length shows only while it is read.
    for (pieces, expected) in [(10, (200, 2)), (11, (503, 1))] {
        let server = Actor::playing(&[UNAVAILABLE, OK]).await;
        let gateway = gateway(&[server.text()], json!({ "max_body": "100B" }));
        let mut wire = gatewright_tests::Wire::connect(gateway.address()).await;
        wire.send("PUT / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n").await;
        for _ in 0..pieces {
            wire.send_chunk("0123456789").await;
        }
        wire.send("0\r\n\r\n").await;
        let answer = wire.read_to("\r\n\r\n").await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {} ", expected.0)), "{pieces}: {answer}");
        assert_eq!(server.count(), expected.1, "{pieces}");
        assert_eq!(unchunked(&server.requests()[0]).len(), pieces * 10);
    }
}

#[tokio::test]
async fn each_attempt_goes_to_an_endpoint_that_has_not_been_tried() {
    let bad = [Actor::playing(&[Act::Close]).await, Actor::playing(&[FAILED]).await];
    let good = Actor::playing(&[OK]).await;
    let gateway = gateway(&[bad[0].text(), bad[1].text(), good.text()], json!({ "on": ["reset", "5xx"] }));
    for _ in 0..9 {
        assert_eq!(send(&gateway, "GET", "").await.status, 200);
    }
    assert_eq!(good.count(), 9);
    let records = gateway.wait_for_records(9).await;
    assert!(records.iter().all(|record| record["attempts"].as_u64().unwrap() <= 3), "{records:#?}");
    assert!(records.iter().all(|record| record["endpoint"] == *good.text()), "{records:#?}");
}

#[tokio::test]
async fn attempts_are_bounded_and_the_last_answer_is_passed_on() {
    let server = Actor::playing(&[FAILED]).await;
    let gateway = gateway(&[server.text()], json!({ "on": ["5xx"], "attempts": 4 }));
    let answer = send(&gateway, "GET", "").await;
    assert_eq!((answer.status, answer.text().as_str()), (500, "oops"), "the server's own words");
    assert_eq!(server.count(), 4);
}

#[tokio::test]
async fn a_budget_stops_a_storm_of_retries() {
    let server = Actor::playing(&[UNAVAILABLE]).await;
    let upstream = |percent: u32| json!({ "endpoints": [server.text()], "retry_budget": { "percent": percent, "min_per_second": 0 } });
    let retries = json!({ "retries": { "attempts": 3, "backoff": { "base": "1ms", "max": "1ms" } } });
    let gateway = with(upstream(20), retries.clone());
    let mut client = Client::http1(gateway.address()).await;
    for _ in 0..200 {
        assert_eq!(client.send("GET", "/", &[], "").await.unwrap().status, 503);
    }
    // A fifth beside the requests themselves, where it would be twice as many without.
    let again = server.count() - 200;
    assert!((10..=40).contains(&again), "{again} requests were sent again");
    let over = gateway.metric("gatewright_upstream_retries_over_budget_total", &["\"one\""]).await;
    assert!(over >= 160.0, "{over}");
}

#[tokio::test]
async fn a_stream_over_http2_is_tried_again_too() {
    let answered = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let number = answered.clone();
    let server = gatewright_tests::Server::start_h2c(move |_| {
        let first = number.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 0;
        let response = http::Response::builder().status(if first { 503 } else { 200 });
        response.body("two".into()).unwrap()
    })
    .await;
    let upstream = json!({ "endpoints": [server.text()], "protocol": "h2c" });
    let gateway = with(upstream, json!({ "retries": {} }));
    let answer = send(&gateway, "PUT", "kept").await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "two"));
    let bodies: Vec<_> = server.received().into_iter().map(|request| request.body).collect();
    assert_eq!(bodies, ["kept", "kept"]);
}
