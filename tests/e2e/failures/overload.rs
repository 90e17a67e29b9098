//! Too much to do: who is turned away, how, and that everybody else is served.

use gatewright_tests::{Scripted, TestGateway, Wire, eventually, read_head};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::sync::{mpsc, watch};

/// A server that says when a request is there and answers when it is let.
struct Parked {
    server: Scripted,
    arrivals: mpsc::UnboundedReceiver<()>,
    release: watch::Sender<bool>,
}

impl Parked {
    async fn start() -> Parked {
        let (arrived, arrivals) = mpsc::unbounded_channel();
        let (release, gate) = watch::channel(false);
        let server = Scripted::start(move |mut stream| {
            let (arrived, mut gate) = (arrived.clone(), gate.clone());
            async move {
                while !read_head(&mut stream).await.is_empty() {
                    let _ = arrived.send(());
                    gate.wait_for(|open| *open).await.unwrap();
                    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nparked").await;
                }
            }
        })
        .await;
        Parked { server, arrivals, release }
    }

    /// A request that has come this far.
    async fn park(&mut self, gateway: &TestGateway) -> Wire {
        let wire = ask(gateway, "/").await;
        self.arrivals.recv().await.unwrap();
        wire
    }
}

async fn ask(gateway: &TestGateway, path: &str) -> Wire {
    let mut wire = Wire::connect(gateway.address()).await;
    wire.send(format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")).await;
    wire
}

fn config(parked: &Parked, limits: Value) -> Value {
    json!({
        "upstreams": { "parked": [parked.server.text()] },
        "routes": [
            { "name": "limited", "match": { "path": "/" }, "to": "parked", "limits": limits },
            { "name": "other", "match": { "path": "/other" }, "plugins": [{ "echo": { "respond": { "body": "fine" } } }] },
        ],
    })
}

#[tokio::test]
async fn a_route_turns_away_what_is_over_its_limit() {
    let mut parked = Parked::start().await;
    let limit = json!({ "max_concurrent": { "requests": 2, "retry_after": "7s" } });
    let gateway = TestGateway::start(config(&parked, limit));
    let mut served = [parked.park(&gateway).await, parked.park(&gateway).await];
    let answer = gateway.get("/").await;
    let problem = answer.problem(503);
    assert_eq!(problem["detail"], "There are too many requests at the moment. Try again later.");
    assert_eq!(answer.header("retry-after"), Some("7"));
    assert_eq!(gateway.get("/other").await.text(), "fine", "other routes are not concerned");
    let metric = async |name: &str| gateway.metric(name, &["http_route=\"limited\""]).await;
    assert_eq!(metric("gatewright_route_admitted_requests").await, 2.0);
    assert_eq!(metric("gatewright_route_shed_requests_total").await, 1.0);
    let records = gateway.wait_for_records(2).await;
    let shed = records.iter().find(|record| record["status"] == 503).unwrap();
    assert_eq!((&shed["outcome"], shed.get("upstream")), (&json!("refused"), None), "{shed}");
    parked.release.send(true).unwrap();
    for wire in &mut served {
        wire.read_to("parked").await;
    }
    eventually("the places are free", async || {
        (metric("gatewright_route_admitted_requests").await == 0.0).then_some(())
    })
    .await;
    assert_eq!(gateway.get("/").await.text(), "parked");
}

#[tokio::test]
async fn the_limit_is_exact_over_all_cores() {
    const LIMIT: usize = 5;
    const CLIENTS: usize = 60;
    let mut parked = Parked::start().await;
    let mut with_workers = config(&parked, json!({ "max_concurrent": LIMIT }));
    with_workers["workers"] = json!(4);
    let gateway = TestGateway::start(with_workers);
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        clients.push(ask(&gateway, "/").await);
    }
    for _ in 0..LIMIT {
        parked.arrivals.recv().await.unwrap();
    }
    gateway.wait_for_records(CLIENTS - LIMIT).await;
    assert!(parked.arrivals.try_recv().is_err(), "more than the limit came through");
    parked.release.send(true).unwrap();
    let mut served = 0;
    for wire in &mut clients {
        served += usize::from(wire.read_to_end().await.starts_with("HTTP/1.1 200 "));
    }
    assert_eq!(served, LIMIT);
}

#[tokio::test]
async fn a_short_queue_waits_in_turn_and_not_for_long() {
    let mut parked = Parked::start().await;
    let limit = json!({ "max_concurrent": { "requests": 1, "queue": 1, "queue_timeout": "60s" } });
    let gateway = TestGateway::start(config(&parked, limit));
    let mut first = parked.park(&gateway).await;
    let mut second = ask(&gateway, "/").await;
    let queued = async || gateway.metric("gatewright_route_queued_requests", &[]).await;
    eventually("the second waits", async || (queued().await == 1.0).then_some(())).await;
    gateway.get("/").await.problem(503);
    parked.release.send(true).unwrap();
    first.read_to("parked").await;
    second.read_to("parked").await;
    assert_eq!(queued().await, 0.0);

    let mut parked = Parked::start().await;
    let limit = json!({ "max_concurrent": { "requests": 1, "queue": 1, "queue_timeout": "50ms" } });
    let gateway = TestGateway::start(config(&parked, limit));
    let _first = parked.park(&gateway).await;
    assert_eq!(gateway.get("/").await.header("retry-after"), Some("1"));
}

#[tokio::test]
async fn clients_that_leave_make_room() {
    let mut parked = Parked::start().await;
    let limit = json!({ "max_concurrent": { "requests": 1, "queue": 1, "queue_timeout": "60s" } });
    let gateway = TestGateway::start(config(&parked, limit));
    let first = parked.park(&gateway).await;
    let waiting = ask(&gateway, "/").await;
    let metric = async |name: &str| gateway.metric(name, &["http_route=\"limited\""]).await;
    eventually("one waits", async || (metric("gatewright_route_queued_requests").await == 1.0).then_some(())).await;
    waiting.reset();
    eventually("nobody waits", async || (metric("gatewright_route_queued_requests").await == 0.0).then_some(())).await;
    first.reset();
    eventually("nobody is served", async || (metric("gatewright_route_admitted_requests").await == 0.0).then_some(()))
        .await;
    parked.release.send(true).unwrap();
    assert_eq!(gateway.get("/").await.text(), "parked");
}

#[tokio::test]
async fn a_reload_lets_nobody_in_beyond_the_limit() {
    let mut parked = Parked::start().await;
    let gateway = TestGateway::start(config(&parked, json!({ "max_concurrent": 1 })));
    let _first = parked.park(&gateway).await;
    let mut changed = config(&parked, json!({ "max_concurrent": 1 }));
    changed["routes"][1]["match"]["path"] = json!("/elsewhere");
    gateway.write_config(changed);
    gateway.reload().unwrap();
    assert_eq!(gateway.get("/elsewhere").await.text(), "fine");
    gateway.get("/").await.problem(503);
}

#[tokio::test]
async fn an_upstream_takes_no_more_requests_than_it_may_over_all_endpoints() {
    let mut parked = [Parked::start().await, Parked::start().await];
    let endpoints = [parked[0].server.text(), parked[1].server.text()];
    let gateway = TestGateway::start(json!({
        "workers": 1,
        "upstreams": { "both": { "endpoints": endpoints, "max_requests": 2 } },
        "routes": [{ "match": {}, "to": "both" }],
    }));
    let mut served = [ask(&gateway, "/").await, ask(&gateway, "/").await];
    for server in &mut parked {
        server.arrivals.recv().await.unwrap();
    }
    let answer = gateway.get("/").await;
    answer.problem(503);
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert_eq!(gateway.metric("gatewright_upstream_refused_requests_total", &["\"both\""]).await, 1.0);
    let record = gateway.wait_for_records(1).await.remove(0);
    assert!(record["error"].as_str().unwrap().contains("2 requests are under way"), "{record}");
    for server in &parked {
        server.release.send(true).unwrap();
    }
    for wire in &mut served {
        wire.read_to("parked").await;
    }
    eventually("the places are free", async || {
        (gateway.metric("gatewright_upstream_active_requests", &["\"both\""]).await == 0.0).then_some(())
    })
    .await;
    assert_eq!(gateway.get("/").await.text(), "parked");
}

#[tokio::test]
async fn a_request_for_which_no_connection_is_free_goes_to_another_endpoint_or_is_refused() {
    let mut parked = [Parked::start().await, Parked::start().await];
    let endpoints = [parked[0].server.text(), parked[1].server.text()];
    let gateway = TestGateway::start(json!({
        "workers": 1,
        "upstreams": { "both": { "endpoints": endpoints, "max_connections": 1, "max_pending": 0 } },
        "routes": [{ "match": {}, "to": "both" }],
    }));
    let _served = [ask(&gateway, "/").await, ask(&gateway, "/").await];
    for server in &mut parked {
        server.arrivals.recv().await.unwrap();
    }
    let answer = gateway.get("/").await;
    answer.problem(503);
    assert_eq!(answer.header("retry-after"), Some("1"));
    let record = gateway.wait_for_records(1).await.remove(0);
    assert_eq!(record["attempts"], 2, "both were asked: {record}");
}
