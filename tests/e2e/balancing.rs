//! Which endpoint takes a request, seen from outside. The laws are the tests of the room `balance`; here each policy and
//! each setting once, with real servers.

mod affinity;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use gatewright_tests::{Answer, Client, Scripted, Server, TestGateway, eventually, read_head, send};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::sync::Notify;

/// A gateway with one data core, so that what a core knows is all there is to know, and one upstream.
fn gateway(upstream: Value) -> TestGateway {
    TestGateway::start(config(upstream))
}

fn config(upstream: Value) -> Value {
    json!({
        "workers": 1,
        "upstreams": { "group": upstream },
        "routes": [{ "match": {}, "to": "group" }],
    })
}

/// Servers that answer with their names.
async fn servers<const N: usize>() -> [Server; N] {
    const NAMES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];
    let mut servers = Vec::new();
    for name in &NAMES[..N] {
        servers.push(Server::named(name).await);
    }
    servers.try_into().unwrap_or_else(|_| unreachable!())
}

/// The servers' names, in the order in which they answered this many requests.
async fn answers(gateway: &TestGateway, requests: usize) -> String {
    let mut client = Client::http1(gateway.address()).await;
    let mut names = String::new();
    for _ in 0..requests {
        names += &client.send("GET", "/", &[], "").await.unwrap().text();
    }
    names
}

fn count(names: &str, name: &str) -> usize {
    names.matches(name).count()
}

/// A server that answers `/hold` only when it is told to, and everything else after a pause of its own.
struct Holding {
    server: Scripted,
    /// Requests that wait for their answer.
    held: Arc<AtomicUsize>,
    /// Requests it got.
    got: Arc<AtomicUsize>,
    release: Arc<Notify>,
}

impl Holding {
    async fn start(pause: Duration) -> Holding {
        let (held, got, release) =
            (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default(), Arc::new(Notify::new()));
        let (waiting, seen, released) = (held.clone(), got.clone(), release.clone());
        let server = Scripted::start(move |mut stream| {
            let (waiting, seen, released) = (waiting.clone(), seen.clone(), released.clone());
            async move {
                loop {
                    let head = read_head(&mut stream).await;
                    if head.is_empty() {
                        return;
                    }
                    seen.fetch_add(1, Relaxed);
                    if head.starts_with("GET /hold") {
                        let told = released.notified();
                        waiting.fetch_add(1, Relaxed);
                        told.await;
                    }
                    tokio::time::sleep(pause).await;
                    if stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.is_err() {
                        return;
                    }
                }
            }
        })
        .await;
        Holding { server, held, got, release }
    }
}

/// Sends `/hold` as often, at the same time, and waits until all of them are with the servers.
async fn hold(gateway: &TestGateway, requests: usize, servers: &[&Holding]) -> Vec<tokio::task::JoinHandle<Answer>> {
    let mut tasks = Vec::new();
    for sent in 1..=requests {
        let address = gateway.address();
        tasks.push(tokio::spawn(async move { send(address, "GET", "/hold", &[], "").await }));
        let held = || servers.iter().map(|server| server.held.load(Relaxed)).sum::<usize>();
        eventually("the request is with a server", async || (held() == sent).then_some(())).await;
    }
    tasks
}

#[tokio::test]
async fn weighted_smooth_round_robin() {
    let [a, b, c] = servers().await;
    let endpoints = json!([{ "address": a.text(), "weight": 3 }, b.text(), c.text()]);
    let gateway = gateway(json!({ "endpoints": endpoints, "balance": "round-robin" }));
    let names = answers(&gateway, 50).await;
    assert_eq!((count(&names, "a"), count(&names, "b"), count(&names, "c")), (30, 10, 10), "{names}");
    assert!(!names.contains("aaa"), "in bursts: {names}");
}

#[tokio::test]
async fn least_requests() {
    let (busy, idle) = (Holding::start(Duration::ZERO).await, Holding::start(Duration::ZERO).await);
    let endpoints = [busy.server.text(), idle.server.text()];
    let gateway = gateway(json!({ "endpoints": endpoints, "balance": "least-requests" }));
    let held = hold(&gateway, 3, &[&busy, &idle]).await;
    // Two are with one and one with the other; what comes and goes at once goes where one is.
    let (two, one) = if busy.held.load(Relaxed) == 2 { (&busy, &idle) } else { (&idle, &busy) };
    assert_eq!((two.held.load(Relaxed), one.held.load(Relaxed)), (2, 1));
    answers(&gateway, 20).await;
    assert_eq!((two.got.load(Relaxed), one.got.load(Relaxed)), (2, 21));
    busy.release.notify_waiters();
    idle.release.notify_waiters();
    for task in held {
        assert_eq!(task.await.unwrap().status, 200);
    }
}

#[tokio::test]
async fn peak_ewma_latency() {
    let (slow, fast) = (Holding::start(Duration::from_millis(500)).await, Holding::start(Duration::ZERO).await);
    let endpoints = [slow.server.text(), fast.server.text()];
    let gateway = gateway(json!({ "endpoints": endpoints, "balance": "peak-ewma" }));
    answers(&gateway, 60).await;
    let (slow, fast) = (slow.got.load(Relaxed), fast.got.load(Relaxed));
    assert!(slow <= 3 && fast >= 57, "the slow one got {slow}, the fast one {fast}");
}

#[tokio::test]
async fn random() {
    let [a, b] = servers().await;
    let endpoints = json!([{ "address": a.text(), "weight": 3 }, b.text()]);
    let gateway = gateway(json!({ "endpoints": endpoints, "balance": "random" }));
    let names = answers(&gateway, 400).await;
    // Six standard deviations.
    assert!((248..=352).contains(&count(&names, "a")), "{names}");
}

#[tokio::test]
async fn slow_start() {
    let [a, b] = servers().await;
    let upstream = |endpoints: &[String]| json!({ "endpoints": endpoints, "slow_start": "1h" });
    let gateway = gateway(upstream(&[a.text()]));
    assert_eq!(answers(&gateway, 2).await, "aa");
    gateway.write_config(config(upstream(&[a.text(), b.text()])));
    gateway.reload().unwrap();
    let names = answers(&gateway, 300).await;
    // In turn it would be 150. A tenth of the draws is accepted, and a refused one is drawn again at the next turn.
    let new = count(&names, "b");
    assert!((8..=60).contains(&new), "{new} of 300");
    // A reload that changes nothing about it does not start it again, nor ends it.
    gateway.write_config(config(json!({ "endpoints": [a.text(), b.text()], "slow_start": "1ms" })));
    gateway.reload().unwrap();
    let names = eventually("the new endpoint has its share", async || {
        Some(answers(&gateway, 20).await).filter(|names| count(names, "b") == 10)
    });
    names.await;
}

#[tokio::test]
async fn a_weight_of_zero_drains_an_endpoint() {
    let [a, b] = servers().await;
    let gateway = gateway(json!([{ "address": a.text(), "weight": 0 }, b.text()]));
    assert_eq!(answers(&gateway, 20).await, "b".repeat(20));
}

/// One key and requests that stay: its endpoint takes its part, and the others take theirs.
#[tokio::test]
async fn consistent_hash_with_bounded_load() {
    let servers = [
        Holding::start(Duration::ZERO).await,
        Holding::start(Duration::ZERO).await,
        Holding::start(Duration::ZERO).await,
    ];
    let all: Vec<&Holding> = servers.iter().collect();
    let endpoints: Vec<String> = servers.iter().map(|server| server.server.text()).collect();
    let hash = |bound: Value| json!({ "endpoints": endpoints, "balance": { "hash": bound } });
    let gateway = gateway(hash(json!({ "by": "path", "bounded_load": 1.25 })));
    let held = hold(&gateway, 12, &all).await;
    let mut loads: Vec<usize> = servers.iter().map(|server| server.held.load(Relaxed)).collect();
    loads.sort_unstable();
    // At most 1.25 times its third of twelve, rounded up.
    assert!(loads[0] >= 2 && loads[2] <= 5, "{loads:?}");
    for server in &servers {
        server.release.notify_waiters();
        server.held.store(0, Relaxed);
    }
    for task in held {
        task.await.unwrap();
    }
    gateway.write_config(config(hash(json!({ "by": "path" }))));
    gateway.reload().unwrap();
    let held = hold(&gateway, 6, &all).await;
    let mut loads: Vec<usize> = servers.iter().map(|server| server.held.load(Relaxed)).collect();
    loads.sort_unstable();
    assert_eq!(loads, [0, 0, 6], "without a bound");
    servers.iter().for_each(|server| server.release.notify_waiters());
    for task in held {
        task.await.unwrap();
    }
}
