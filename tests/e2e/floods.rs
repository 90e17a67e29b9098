//! Floods: one client that sends what costs it little and a server much. Its memory here is bounded by what it sent, and
//! a client beside it, at 500 requests a second, notices nothing. nginx goes through the same, as the yardstick.
//!
//! The gateway is in the process of the test, whose resident memory is measured; the floods send out of buffers of their
//! own size, which are there before.

mod attack;
mod frames;
mod nginx;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use gatewright_tests::{Client, TestGateway};
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{interval, timeout};

use nginx::Nginx;

/// Bytes of ours for each byte that the client has sent.
const PER_BYTE: u64 = 20;

/// What a client may cost that has sent nothing yet, beside its connections.
const ALLOWANCE: u64 = 8 << 20;

/// What each of its connections may hold, whatever came over it; how many there may be is said by `limits.connections`.
const PER_CONNECTION: u64 = 64 << 10;

/// What each answer that it does not read may hold: the buffers to it and from the upstream, which are bounded whatever
/// the answer is, and those of the server behind, which is in this process, too. How many there may be at a time is said
/// by `limits.concurrent_streams`.
const PER_ANSWER: u64 = 384 << 10;

/// Requests of the client beside the flood, in two seconds or as long as it takes.
const REQUESTS: u64 = 1000;

/// What a flood sends to.
#[derive(Clone, Copy)]
struct Target {
    http1: SocketAddr,
    http2: SocketAddr,
}

/// What a flood is measured by, and what ends it.
#[derive(Clone, Default)]
struct Meter {
    sent: Arc<AtomicU64>,
    open: Arc<AtomicU64>,
    most_open: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
}

/// What a server went through.
#[derive(Debug)]
struct Toll {
    sent: u64,
    connections: u64,
    /// Memory at the worst moment, beyond what it was before.
    grown: u64,
    /// What the client beside the flood ran into.
    errors: Vec<String>,
}

/// Has the gateway and nginx go through a flood that leaves so many answers unread.
async fn withstand<F: Future<Output = ()> + Send + 'static>(
    what: &str,
    answers: u64,
    flood: impl Fn(Target, Meter) -> F,
) {
    let server = upstream().await;
    let gateway = TestGateway::start(json!({
        "upstreams": { "server": [server] },
        "routes": [{ "match": {}, "to": "server" }],
        "limits": { "connections": 1024 },
        "access_log": "off",
    }));
    let address = gateway.address();
    let ours = measure(Target { http1: address, http2: address }, std::process::id(), &flood).await;
    let nginx = Nginx::start(&server).await;
    let theirs = measure(nginx.target(), nginx.id(), &flood).await;
    println!("{what}: {ours}\n{}nginx: {theirs}", " ".repeat(what.len().saturating_sub(5)));

    assert!(ours.sent > 0 && ours.connections > 0 && theirs.sent > 0, "there was no flood");
    assert!(ours.errors.is_empty(), "{what}: the client beside it is disturbed: {:#?}", ours.errors);
    let bound = ALLOWANCE + ours.connections * PER_CONNECTION + answers * PER_ANSWER + ours.sent * PER_BYTE;
    assert!(ours.grown <= bound, "{what}: {ours}, which is more than {} MiB", bound >> 20);
    // Whoever held on is let go, and new clients are served.
    let answer = timeout(Duration::from_secs(20), gateway.get("/")).await.expect("an answer after the flood");
    assert_eq!(answer.status, 200);
}

/// A server that keeps nothing of what it gets; `/large` is eight mebibytes, which all answers share.
async fn upstream() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let large = Bytes::from(vec![b'x'; 8 << 20]);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let large = large.clone();
            let service = service_fn(move |request: Request<Incoming>| {
                let body = if request.uri().path() == "/large" { large.clone() } else { Bytes::from_static(b"well") };
                async move {
                    let mut incoming = request.into_body();
                    while let Some(Ok(_)) = incoming.frame().await {}
                    Ok::<_, Infallible>(Response::new(Full::new(body)))
                }
            });
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    address
}

async fn measure<F: Future<Output = ()> + Send + 'static>(
    target: Target,
    process: u32,
    flood: impl Fn(Target, Meter) -> F,
) -> Toll {
    let beside = connected(target.http1).await;
    // Whatever is made once is made before.
    assert_eq!(requests(connected(target.http1).await, 100).await, Vec::<String>::new());
    let before = resident_bytes(process);
    let meter = Meter::default();
    let beside = tokio::spawn(requests(beside, REQUESTS));
    let flooding = tokio::spawn(flood(target, meter.clone()));
    let (mut worst, mut looks) = (before, interval(Duration::from_millis(10)));
    while !beside.is_finished() {
        looks.tick().await;
        worst = worst.max(resident_bytes(process));
    }
    let errors = beside.await.unwrap();
    meter.stop.store(true, Relaxed);
    assert!(timeout(Duration::from_secs(20), flooding).await.is_ok(), "the flood does not end");
    Toll {
        sent: meter.sent.load(Relaxed),
        connections: meter.most_open.load(Relaxed),
        grown: worst.saturating_sub(before),
        errors,
    }
}

/// Four clients that have their connections: who comes in the middle of a flood finds no place.
async fn connected(address: SocketAddr) -> Vec<Client> {
    let mut clients = Vec::new();
    for _ in 0..4 {
        clients.push(Client::http1(address).await);
    }
    clients
}

/// So many requests of these clients, 500 a second together. What is returned is what went wrong.
async fn requests(clients: Vec<Client>, count: u64) -> Vec<String> {
    let (mut connections, each) = (tokio::task::JoinSet::new(), count / clients.len() as u64);
    for mut client in clients {
        connections.spawn(async move {
            let (mut errors, mut ticks) = (Vec::new(), interval(Duration::from_millis(8)));
            for _ in 0..each {
                ticks.tick().await;
                match timeout(Duration::from_secs(10), client.send("GET", "/", &[], "")).await {
                    Ok(Ok(answer)) if answer.status == 200 => {}
                    Ok(Ok(answer)) => errors.push(format!("{} {}", answer.status, answer.text())),
                    Ok(Err(error)) => errors.push(error.to_string()),
                    Err(_) => errors.push("no answer within ten seconds".to_owned()),
                }
            }
            errors
        });
    }
    connections.join_all().await.into_iter().flatten().collect()
}

impl Meter {
    fn goes_on(&self) -> bool {
        !self.stop.load(Relaxed)
    }

    /// A connection, counted while it is open.
    async fn connect(&self, address: SocketAddr) -> Option<Open> {
        let stream = timeout(Duration::from_secs(1), TcpStream::connect(address)).await.ok()?.ok()?;
        let open = self.open.fetch_add(1, Relaxed) + 1;
        self.most_open.fetch_max(open, Relaxed);
        Some(Open { stream, meter: self.clone() })
    }
}

/// One connection of a flood.
struct Open {
    stream: TcpStream,
    meter: Meter,
}

impl Open {
    /// Sends, and throws away what came. False where the server has closed or takes nothing any more.
    async fn send(&mut self, bytes: &[u8]) -> bool {
        let mut waste = [0; 4096];
        while matches!(self.stream.try_read(&mut waste), Ok(1..)) {}
        self.send_unread(bytes).await
    }

    /// Sends, and reads nothing.
    async fn send_unread(&mut self, bytes: &[u8]) -> bool {
        let sent = timeout(Duration::from_millis(500), self.stream.write_all(bytes)).await;
        let is_sent = matches!(sent, Ok(Ok(())));
        if is_sent {
            self.meter.sent.fetch_add(bytes.len() as u64, Relaxed);
        }
        is_sent
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.meter.open.fetch_sub(1, Relaxed);
    }
}

impl std::fmt::Display for Toll {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Toll { sent, connections, grown, errors } = self;
        let kib = |bytes: &u64| bytes >> 10;
        write!(f, "{} KiB sent over {connections} connections at a time, ", kib(sent))?;
        write!(f, "{} KiB grown, {} errors beside", kib(grown), errors.len())
    }
}

/// What a process has in memory.
fn resident_bytes(process: u32) -> u64 {
    let statm = std::fs::read_to_string(format!("/proc/{process}/statm")).unwrap();
    let pages: u64 = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}
