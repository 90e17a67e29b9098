//! One fetch at a time: who waits, for how long, and who comes next.

use gatewright_tests::{Slow, Wire, eventually, send};
use serde_json::json;
use tokio::task::JoinSet;

use super::gateway;

/// Answers with the number of the request.
async fn slow(head: &'static str) -> Slow {
    let answer =
        move |number: usize| format!("HTTP/1.1 200 OK\r\nconnection: close\r\n{head}content-length: 1\r\n\r\n{number}");
    Slow::answering(answer).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_that_ask_at_once_one_fetches() {
    let server = slow("cache-control: max-age=100\r\n").await;
    let gateway = gateway(&server.text(), json!({ "wait": "1m" }));
    let address = gateway.address();
    let mut clients = JoinSet::new();
    for _ in 0..50 {
        clients.spawn(async move { send(address, "GET", "/", &[], "").await });
    }
    eventually("the others wait", async || {
        (gateway.metric("gatewright_cache_events_total", &["event=\"collapsed\""]).await >= 49.0).then_some(())
    })
    .await;
    server.release(1);
    for answer in clients.join_all().await {
        assert_eq!((answer.status, answer.text().as_str()), (200, "1"));
    }
    assert_eq!(server.asked(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_waits_longer_than_the_route_says_nor_for_what_cannot_be_kept() {
    let server = slow("cache-control: max-age=100\r\n").await;
    let gateway_one = gateway(&server.text(), json!({ "wait": "50ms" }));
    let address = gateway_one.address();
    let mut clients = JoinSet::new();
    for _ in 0..3 {
        clients.spawn(async move { send(address, "GET", "/", &[], "").await });
    }
    eventually("all have gone to the server", async || (server.asked() == 3).then_some(())).await;
    server.release(3);
    assert!(clients.join_all().await.iter().all(|answer| answer.status == 200));

    let server = slow("cache-control: no-store\r\n").await;
    let gateway_two = gateway(&server.text(), json!({}));
    server.release(1);
    assert_eq!(gateway_two.get("/").await.text(), "1");
    let address = gateway_two.address();
    let mut clients = JoinSet::new();
    for _ in 0..5 {
        clients.spawn(async move { send(address, "GET", "/", &[], "").await });
    }
    eventually("none waits for another", async || (server.asked() == 6).then_some(())).await;
    server.release(5);
    clients.join_all().await;
}

#[tokio::test]
async fn a_client_that_leaves_the_fetch_leaves_nothing_behind() {
    let server = slow("cache-control: max-age=100\r\n").await;
    let gateway = gateway(&server.text(), json!({}));
    let mut first = Wire::connect(gateway.address()).await;
    first.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    eventually("it fetches", async || (server.asked() == 1).then_some(())).await;
    first.reset();
    server.release(10);
    let second = gateway.get_with("/", &[("host", "a")]).await;
    // The second fetches for itself, or has what the first had begun to fetch; it does not wait for nothing.
    assert_eq!(second.status, 200);
    assert!(["1", "2"].contains(&second.text().as_str()), "{}", second.text());
}

/// Each fetch is given up by its client: the next of those who wait begins one, and not all of them at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_leave_do_not_let_the_others_loose_on_the_server() {
    let server = slow("cache-control: max-age=100\r\n").await;
    let gateway = gateway(&server.text(), json!({ "wait": "1m" }));
    let mut first = Wire::connect(gateway.address()).await;
    first.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    eventually("it fetches", async || (server.asked() == 1).then_some(())).await;
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
    eventually("one of them fetches", async || (server.asked() == 2).then_some(())).await;
    server.release(20);
    for answer in clients.join_all().await {
        assert_eq!((answer.status, answer.text().as_str()), (200, "2"));
    }
    assert_eq!(server.asked(), 2);
}
