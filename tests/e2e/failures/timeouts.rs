//! Timeouts of a route: what they span, what they end, and that what they end is really over.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use gatewright_tests::{Scripted, TestGateway, Wire, eventually, guest, read_head, send};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpSocket;
use tokio::sync::watch;

use super::{Act, Actor, OK};

fn route(path: &str, to: &str, more: Value) -> Value {
    let mut route = json!({ "name": path.trim_start_matches('/'), "match": { "path": path }, "to": to });
    route.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    route
}

#[tokio::test]
async fn an_attempt_that_takes_too_long_moves_on_to_the_next_endpoint() {
    let (hung, good) = (Actor::playing(&[Act::Hang]).await, Actor::playing(&[OK]).await);
    let gateway = TestGateway::start(json!({
        "workers": 1,
        "upstreams": { "two": [hung.text(), good.text()] },
        "routes": [{ "match": {}, "to": "two", "timeouts": { "attempt": "1s" }, "retries": {} }],
    }));
    for _ in 0..4 {
        assert_eq!(gateway.get("/").await.text(), "fine");
    }
    assert_eq!(good.count(), 4);
    assert!(hung.count() >= 2, "{}", hung.count());
    eventually("the attempts that hung are cancelled", async || (hung.cancelled() == hung.count()).then_some(())).await;
}

#[tokio::test]
async fn the_timeout_of_the_request_wins_over_its_attempts() {
    let hung = Actor::playing(&[Act::Hang]).await;
    let gateway = TestGateway::start(json!({
        "upstreams": { "hung": [hung.text()] },
        "routes": [{
            "match": {}, "to": "hung", "retries": { "attempts": 10, "backoff": { "base": "1ms", "max": "1ms" } },
            "timeouts": { "request": "700ms", "attempt": "200ms" },
        }],
    }));
    let started = Instant::now();
    let problem = gateway.get("/").await.problem(504);
    assert_eq!(problem["detail"], "The upstream did not answer in time.");
    assert!(started.elapsed() >= Duration::from_millis(700), "{:?}", started.elapsed());
    assert!((1..=4).contains(&hung.count()), "{}", hung.count());
    let record = gateway.wait_for_records(1).await.remove(0);
    assert_eq!((&record["outcome"], &record["status"]), (&json!("timed-out"), &json!(504)), "{record}");
    let error = record["error"].as_str().unwrap();
    assert!(error.contains("\"hung\"") && error.contains("within"), "{error}");
    eventually("all of it is cancelled", async || (hung.cancelled() == hung.count()).then_some(())).await;
}

#[tokio::test]
async fn a_request_that_times_out_is_cancelled_at_the_server() {
    // Also without retries, and while the client is still sending its body.
    let hung = Actor::playing(&[Act::Hang]).await;
    let gateway = TestGateway::start(json!({
        "upstreams": { "hung": [hung.text()] },
        "routes": [{ "match": {}, "to": "hung", "timeouts": { "request": "1s" } }],
    }));
    gateway.post("/", &[], "body").await.problem(504);
    eventually("the server is told", async || (hung.cancelled() == 1).then_some(())).await;
    let mut wire = Wire::connect(gateway.address()).await;
    wire.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\nonly a part").await;
    wire.read_to("HTTP/1.1 408 ").await;
    let records = gateway.wait_for_records(2).await;
    assert!(records.iter().all(|record| record["outcome"] == "timed-out"), "{records:#?}");
}

#[tokio::test]
async fn a_client_that_leaves_cancels_the_attempt_and_those_after_it() {
    let hung = Actor::playing(&[Act::Hang]).await;
    let gateway = TestGateway::start(json!({
        "upstreams": { "hung": [hung.text()] },
        "routes": [{ "match": {}, "to": "hung", "timeouts": { "attempt": "20s" }, "retries": { "on": ["reset", "timeout"] } }],
    }));
    let mut wire = Wire::connect(gateway.address()).await;
    wire.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    eventually("the request is at the server", async || (hung.count() == 1).then_some(())).await;
    wire.reset();
    eventually("the server is told", async || (hung.cancelled() == 1).then_some(())).await;
    let record = gateway.wait_for_records(1).await.remove(0);
    assert_eq!(record["outcome"], "client-left", "{record}");
    assert_eq!(hung.count(), 1, "nobody waits for another attempt");
}

/// A server that writes `first` at once and `rest` when it is let.
async fn gated(first: &'static str, rest: &'static str) -> (Scripted, watch::Sender<bool>) {
    let (open, gate) = watch::channel(false);
    let server = Scripted::start(move |mut stream| {
        let mut gate = gate.clone();
        async move {
            while !read_head(&mut stream).await.is_empty() {
                let _ = stream.write_all(first.as_bytes()).await;
                gate.wait_for(|open| *open).await.unwrap();
                let _ = stream.write_all(rest.as_bytes()).await;
            }
        }
    })
    .await;
    (server, open)
}

#[tokio::test]
async fn an_attempt_may_take_longer_than_the_response_timeout_of_its_upstream() {
    let (server, open) = gated("", "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nslow").await;
    let gateway = TestGateway::start(json!({
        "workers": 1,
        "upstreams": { "slow": { "endpoints": [server.text()], "response_timeout": "200ms" } },
        "routes": [
            route("/patient", "slow", json!({ "timeouts": { "attempt": "60s" } })),
            route("/usual", "slow", json!({})),
        ],
    }));
    let mut patient = Wire::connect(gateway.address()).await;
    patient.send("GET /patient HTTP/1.1\r\nhost: a\r\n\r\n").await;
    // Both of these begin after it and time out, so it has waited longer than they may.
    for _ in 0..2 {
        gateway.get("/usual").await.problem(504);
    }
    open.send(true).unwrap();
    let answer = patient.read_to("slow").await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    // The connection that was patient once is as impatient as any for the next request.
    open.send(false).unwrap();
    gateway.get("/usual").await.problem(504);
}

#[tokio::test]
async fn a_response_whose_head_has_come_is_not_cut() {
    let (server, open) = gated("HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nhead", "tail").await;
    let hung = Actor::playing(&[Act::Hang]).await;
    let gateway = TestGateway::start(json!({
        "upstreams": { "long": [server.text()], "hung": [hung.text()] },
        "routes": [
            route("/long", "long", json!({ "timeouts": { "request": "1s", "attempt": "1s" } })),
            route("/hung", "hung", json!({ "timeouts": { "request": "2s" } })),
        ],
    }));
    let mut wire = Wire::connect(gateway.address()).await;
    wire.send("GET /long HTTP/1.1\r\nhost: a\r\n\r\n").await;
    wire.read_to("head").await;
    send(gateway.address(), "GET", "/hung", &[], "").await.problem(504);
    open.send(true).unwrap();
    wire.read_to("tail").await;
}

#[tokio::test]
async fn a_response_that_stops_coming_is_recorded_as_timed_out() {
    let (server, _closed) = gated("HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nhead", "tail").await;
    let chunks = json!([{ "chunks": { "do": "pass" } }]);
    let gateway = TestGateway::start(json!({
        "upstreams": { "stuck": { "endpoints": [server.text()], "body_timeout": "500ms" } },
        "plugins": { "chunks": { "source": format!("file:{}", guest("guest-chunks")) } },
        "routes": [
            route("/plain", "stuck", json!({})),
            route("/hooks", "stuck", json!({ "plugins": chunks })),
        ],
    }));
    for (number, path) in ["/plain", "/hooks"].into_iter().enumerate() {
        let mut wire = Wire::connect(gateway.address()).await;
        wire.send(format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n")).await;
        let answer = wire.read_to_end().await;
        assert!(answer.contains("head") && !answer.ends_with("0\r\n\r\n"), "{path}: {answer}");
        let records = gateway.wait_for_records(number + 1).await;
        let record = records.iter().find(|record| record["path"] == path).unwrap();
        assert_eq!((&record["outcome"], &record["status"]), (&json!("timed-out"), &json!(200)), "{record}");
    }
}

/// A server whose answer stops in its middle at `/stuck`; elsewhere it sends short pieces until it is told to end, and counts
/// them.
async fn streaming() -> (Scripted, Arc<AtomicUsize>, watch::Sender<bool>) {
    let (over, ends) = watch::channel(false);
    let written = Arc::<AtomicUsize>::default();
    let counted = written.clone();
    let server = Scripted::start(move |mut stream| {
        let (counted, ends) = (counted.clone(), ends.clone());
        async move {
            let is_stuck = read_head(&mut stream).await.starts_with("GET /stuck ");
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await;
            if is_stuck {
                std::future::pending::<()>().await;
            }
            let pieces = format!("578\r\n{}\r\n", "x".repeat(0x578)).repeat(7);
            while !*ends.borrow() && stream.write_all(pieces.as_bytes()).await.is_ok() {
                counted.fetch_add(1, Ordering::SeqCst);
                // As events come: the gateway has passed on what there was, and waits for more.
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            let _ = stream.write_all(b"0\r\n\r\n").await;
        }
    })
    .await;
    (server, written, over)
}

#[tokio::test]
async fn a_client_that_pauses_is_not_held_against_the_endpoint() {
    let (server, written, over) = streaming().await;
    let gateway = TestGateway::start(json!({
        "workers": 1,
        "upstreams": { "streaming": { "endpoints": [server.text()], "body_timeout": "1s" } },
        "routes": [{ "match": {}, "to": "streaming" }],
    }));
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(16 << 10).unwrap();
    let mut paused = Wire::from(socket.connect(gateway.address()).await.unwrap());
    paused.send("GET /events HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
    paused.read_to("\r\n\r\n").await;
    // Until the server gets rid of nothing more, for as long as it takes another answer to be given up.
    loop {
        let before = written.load(Ordering::SeqCst);
        let mut stuck = Wire::connect(gateway.address()).await;
        stuck.send("GET /stuck HTTP/1.1\r\nhost: a\r\n\r\n").await;
        assert!(!stuck.read_to_end().await.ends_with("0\r\n\r\n"));
        if before > 0 && written.load(Ordering::SeqCst) == before {
            break;
        }
    }
    over.send(true).unwrap();
    let rest = paused.read_to_end().await;
    assert!(rest.ends_with("0\r\n\r\n"), "{} bytes and no end", rest.len());
}
