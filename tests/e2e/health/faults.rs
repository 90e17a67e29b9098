//! One of four endpoints fails under load, in each way there is: how long it takes until it is left out, what clients
//! see of it, and that it comes back.

use std::time::{Duration, Instant};

use super::*;
use gatewright_tests::{Client, read_head};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// In which way it fails.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    /// As if its process were killed: connections break, nobody listens.
    Killed,
    /// It takes connections and requests, and never answers.
    Hung,
    /// As if it were shut down: connections are closed, nobody listens.
    Refusing,
    /// It answers 500.
    ServerError,
    /// It reads the request, closes its side, and goes on reading.
    HalfClosing,
    /// It answers after ten times the time that it may take.
    Slow,
}

/// A server that can be made to fail and to recover.
struct Faulty {
    address: String,
    fault: watch::Sender<Option<Fault>>,
}

impl Faulty {
    async fn start() -> Faulty {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (fault, faults) = watch::channel(None);
        tokio::spawn(serve(listener, faults));
        Faulty { address, fault }
    }

    fn set(&self, fault: Option<Fault>) {
        self.fault.send(fault).unwrap();
    }
}

async fn serve(listener: TcpListener, mut faults: watch::Receiver<Option<Fault>>) {
    let address = listener.local_addr().unwrap();
    let mut listener = Some(listener);
    let mut connections = JoinSet::new();
    loop {
        let accepted = async {
            match &listener {
                Some(listener) => listener.accept().await.unwrap().0,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            stream = accepted => drop(connections.spawn(answer(stream, faults.clone()))),
            changed = faults.changed() => {
                if changed.is_err() {
                    return;
                }
                let fault = *faults.borrow_and_update();
                if matches!(fault, Some(Fault::Killed | Fault::Refusing)) {
                    listener = None;
                    // Dropped in the middle of a request, or asked to end after it.
                    if fault == Some(Fault::Killed) {
                        connections.shutdown().await;
                    }
                } else if listener.is_none() {
                    listener = Some(TcpListener::bind(address).await.unwrap());
                }
            }
        }
    }
}

async fn answer(mut stream: TcpStream, mut faults: watch::Receiver<Option<Fault>>) {
    loop {
        let head = tokio::select! {
            head = read_head(&mut stream) => head,
            _ = faults.wait_for(|fault| *fault == Some(Fault::Refusing)) => return,
        };
        if head.is_empty() {
            return;
        }
        let fault = *faults.borrow();
        let status = match fault {
            Some(Fault::ServerError) => "500 Internal Server Error",
            Some(Fault::Hung) => {
                let _ = faults.wait_for(Option::is_none).await;
                return;
            }
            Some(Fault::HalfClosing) => {
                let _ = stream.shutdown().await;
                let _ = stream.read_to_end(&mut Vec::new()).await;
                return;
            }
            Some(Fault::Slow) => {
                tokio::time::sleep(RESPONSE_TIMEOUT * 10).await;
                "200 OK"
            }
            _ => "200 OK",
        };
        let text = format!("HTTP/1.1 {status}\r\ncontent-length: 2\r\n\r\nok");
        if stream.write_all(text.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// What clients have seen, from one moment on.
#[derive(Default)]
struct Seen {
    requests: usize,
    failed: usize,
}

/// Clients that each send a GET every now and then, until they are told to stop.
fn load(gateway: &TestGateway, stop: &watch::Receiver<bool>) -> JoinSet<Seen> {
    let address = gateway.address();
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        let stop = stop.clone();
        clients.spawn(async move {
            let mut client = Client::http1(address).await;
            let mut seen = Seen::default();
            let mut pace = tokio::time::interval(Duration::from_millis(40));
            while !*stop.borrow() {
                pace.tick().await;
                let answer = client.send("GET", "/", &[], "").await.unwrap();
                seen.requests += 1;
                seen.failed += usize::from(answer.status != 200);
            }
            seen
        });
    }
    clients
}

async fn run(fault: Fault) {
    let mut servers = Vec::new();
    for _ in 0..4 {
        servers.push(Faulty::start().await);
    }
    let addresses: Vec<&str> = servers.iter().map(|server| server.address.as_str()).collect();
    let gateway = gateway(json!({
        "endpoints": addresses,
        "response_timeout": format!("{}ms", RESPONSE_TIMEOUT.as_millis()),
        "health": { "interval": "500ms", "timeout": "300ms" },
        "ejection": { "on": ["connect-failure", "reset", "timeout", "5xx"], "time": "500ms" },
    }));
    let (stop, stopped) = watch::channel(false);
    let mut clients = load(&gateway, &stopped);
    eventually("all endpoints have answered", async || {
        for server in &servers {
            if endpoint(&gateway, &server.address).await["requests"].as_u64() < Some(10) {
                return None;
            }
        }
        Some(())
    })
    .await;

    let faulty = &servers[0];
    faulty.set(Some(fault));
    let began = Instant::now();
    let found = eventually("it is left out", async || {
        let found = endpoint(&gateway, &faulty.address).await;
        (found["state"] != "healthy").then_some(found)
    })
    .await;
    let took = began.elapsed();
    // For as long as it fails, it stays out: probes or probation see to it.
    until(&gateway, &faulty.address, "unhealthy").await;
    for _ in 0..50 {
        assert_eq!(gateway.get("/").await.status, 200, "{fault:?}: a request after it was left out");
    }
    faulty.set(None);
    until(&gateway, &faulty.address, "healthy").await;
    let requests = async || endpoint(&gateway, &faulty.address).await["requests"].as_u64();
    let before = requests().await;
    eventually("it gets requests again", async || (requests().await > before).then_some(())).await;
    stop.send(true).unwrap();
    let mut all = Seen::default();
    while let Some(seen) = clients.join_next().await {
        let seen = seen.unwrap();
        all.requests += seen.requests;
        all.failed += seen.failed;
    }
    println!(
        "{fault:?}: left out after {} ms ({}); {} of {} requests failed",
        took.as_millis(),
        found["reason"].as_str().unwrap(),
        all.failed,
        all.requests
    );
    assert!(took < Duration::from_secs(5), "{fault:?}: left out after {took:?}");
    // Three failures eject it, one more ends each probation; what was under way to it besides fails, too.
    assert!(all.failed <= 3 + CLIENTS + PROBATIONS, "{fault:?}: {} of {} failed", all.failed, all.requests);
}

#[tokio::test]
async fn one_of_four_is_killed() {
    run(Fault::Killed).await;
}

#[tokio::test]
async fn one_of_four_hangs() {
    run(Fault::Hung).await;
}

#[tokio::test]
async fn one_of_four_refuses_connections() {
    run(Fault::Refusing).await;
}

#[tokio::test]
async fn one_of_four_answers_500() {
    run(Fault::ServerError).await;
}

#[tokio::test]
async fn one_of_four_half_closes() {
    run(Fault::HalfClosing).await;
}

#[tokio::test]
async fn one_of_four_is_slow() {
    run(Fault::Slow).await;
}

const CLIENTS: usize = 8;
const RESPONSE_TIMEOUT: Duration = Duration::from_millis(300);
/// Ejections of 500 ms, 1 s, ... until three probes, which come every 500 ms, have failed.
const PROBATIONS: usize = 2 * CLIENTS;
