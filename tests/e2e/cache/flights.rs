//! One fetch at a time: who waits, for how long, and who comes next.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use gatewright_tests::{Scripted, Wire, eventually, read_head, send};
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::gateway;

/// A server that answers when it is let.
async fn slow(head: &'static str) -> (Scripted, Arc<AtomicUsize>, Arc<Semaphore>) {
    let (count, gate) = (Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(0)));
    let (counted, waits) = (count.clone(), gate.clone());
    let server = Scripted::start(move |mut stream| {
        let (counted, waits) = (counted.clone(), waits.clone());
        async move {
            read_head(&mut stream).await;
            let number = counted.fetch_add(1, Ordering::SeqCst) + 1;
            waits.acquire().await.unwrap().forget();
            let answer = format!("HTTP/1.1 200 OK\r\nconnection: close\r\n{head}content-length: 1\r\n\r\n{number}");
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    })
    .await;
    (server, count, gate)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_that_ask_at_once_one_fetches() {
    let (server, count, gate) = slow("cache-control: max-age=100\r\n").await;
    let gateway = gateway(&server.text(), json!({}));
    let address = gateway.address();
    let mut clients = JoinSet::new();
    for _ in 0..50 {
        clients.spawn(async move { send(address, "GET", "/", &[], "").await });
    }
    eventually("the others wait", async || {
        (gateway.metric("gatewright_cache_events_total", &["event=\"collapsed\""]).await >= 49.0).then_some(())
    })
    .await;
    gate.add_permits(1);
    for answer in clients.join_all().await {
        assert_eq!((answer.status, answer.text().as_str()), (200, "1"));
    }
    assert_eq!(count.load(Ordering::SeqCst), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_waits_longer_than_the_route_says_nor_for_what_cannot_be_kept() {
    let (server, count, gate) = slow("cache-control: max-age=100\r\n").await;
    let gateway_one = gateway(&server.text(), json!({ "wait": "50ms" }));
    let address = gateway_one.address();
    let mut clients = JoinSet::new();
    for _ in 0..3 {
        clients.spawn(async move { send(address, "GET", "/", &[], "").await });
    }
    eventually("all have gone to the server", async || (count.load(Ordering::SeqCst) == 3).then_some(())).await;
    gate.add_permits(3);
    assert!(clients.join_all().await.iter().all(|answer| answer.status == 200));

    let (server, count, gate) = slow("cache-control: no-store\r\n").await;
    let gateway_two = gateway(&server.text(), json!({}));
    gate.add_permits(1);
    assert_eq!(gateway_two.get("/").await.text(), "1");
    let address = gateway_two.address();
    let mut clients = JoinSet::new();
    for _ in 0..5 {
        clients.spawn(async move { send(address, "GET", "/", &[], "").await });
    }
    eventually("none waits for another", async || (count.load(Ordering::SeqCst) == 6).then_some(())).await;
    gate.add_permits(5);
    clients.join_all().await;
}

#[tokio::test]
async fn a_client_that_leaves_the_fetch_leaves_nothing_behind() {
    let (server, count, gate) = slow("cache-control: max-age=100\r\n").await;
    let gateway = gateway(&server.text(), json!({}));
    let mut first = Wire::connect(gateway.address()).await;
    first.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    eventually("it fetches", async || (count.load(Ordering::SeqCst) == 1).then_some(())).await;
    first.reset();
    gate.add_permits(10);
    let second = gateway.get_with("/", &[("host", "a")]).await;
    // The second fetches for itself, or has what the first had begun to fetch; it does not wait for nothing.
    assert_eq!(second.status, 200);
    assert!(["1", "2"].contains(&second.text().as_str()), "{}", second.text());
}

/// Each fetch is given up by its client: the next of those who wait begins one, and not all of them at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_leave_do_not_let_the_others_loose_on_the_server() {
    let (server, count, gate) = slow("cache-control: max-age=100\r\n").await;
    let gateway = gateway(&server.text(), json!({ "wait": "1m" }));
    let mut first = Wire::connect(gateway.address()).await;
    first.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    eventually("it fetches", async || (count.load(Ordering::SeqCst) == 1).then_some(())).await;
    let address = gateway.address();
    let mut clients = JoinSet::new();
    for _ in 0..20 {
        clients.spawn(async move { send(address, "GET", "/", &[("host", "a")], "").await });
    }
    eventually("the others wait", async || {
        (gateway.metric("gatewright_cache_events_total", &["event=\"collapsed\""]).await >= 20.0).then_some(())
    })
    .await;
    first.reset();
    eventually("one of them fetches", async || (count.load(Ordering::SeqCst) == 2).then_some(())).await;
    gate.add_permits(20);
    for answer in clients.join_all().await {
        assert_eq!((answer.status, answer.text().as_str()), (200, "2"));
    }
    assert_eq!(count.load(Ordering::SeqCst), 2);
}
