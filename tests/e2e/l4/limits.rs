//! What a client at layer 4 cannot do: stay for ever, or take every place.

use gatewright_tests::eventually;
use serde_json::json;
use tokio::net::TcpStream;

use super::*;

#[tokio::test]
async fn tcp_ends_a_connection_on_which_nothing_moves() {
    let server = echo("one").await;
    let gateway = forwarding(&[server.text()], json!({ "idle_timeout": "1s" }));
    let (mut client, _) = greeted(gateway.address()).await;
    speaks(&mut client, "hello").await;
    assert!(closes(&mut client).await);
    let record = gateway.wait_for_records(1).await.remove(0);
    assert_eq!(record["outcome"], "timed-out", "{record}");
    assert_eq!(record["error"], "nothing moved for 1s", "{record}");
    assert!(record["duration_us"].as_u64().unwrap() >= 1_000_000, "{record}");
}

#[tokio::test]
async fn tcp_connections_of_a_listener_are_bounded() {
    let server = echo("one").await;
    let mut config = config(&[server.text()], json!({ "max_connections": 3 }));
    config["workers"] = json!(1);
    let gateway = TestGateway::start(config);
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(greeted(gateway.address()).await.0);
    }
    let mut fourth = TcpStream::connect(gateway.address()).await.unwrap();
    assert!(closes(&mut fourth).await);
    speaks(&mut held[0], "still there").await;
    assert_eq!(gateway.metric("gatewright_listener_refused_connections_total", &["l4"]).await, 1.0);
    held.pop();
    eventually("a place is free again", async || {
        let mut stream = TcpStream::connect(gateway.address()).await.ok()?;
        (!closes(&mut stream).await).then_some(())
    })
    .await;
}

#[tokio::test]
async fn tcp_listeners_to_which_nobody_comes_take_no_place_from_the_others() {
    let server = echo("one").await;
    let names = ["a", "b", "c"];
    let listener = |name: &str| json!({ "address": "127.0.0.1:0", "name": name, "protocol": "tcp", "to": "server" });
    let mut config = config(&[server.text()], json!({}));
    config["workers"] = json!(1);
    config["limits"] = json!({ "connections": 2 });
    config["listeners"] = names.map(listener).into();
    let gateway = TestGateway::start(config);
    for name in names {
        // Two at once, which is what there may be over all three.
        let (mut one, _) = greeted(gateway.address_of(name)).await;
        let (mut other, _) = greeted(gateway.address_of(name)).await;
        speaks(&mut one, "both").await;
        speaks(&mut other, "are served").await;
    }
}

#[tokio::test]
async fn tcp_a_flood_of_connections_is_bounded_and_the_rest_is_served() {
    let server = echo("one").await;
    let mut config = config(&[server.text()], json!({ "max_connections": 20 }));
    config["listeners"]
        .as_array_mut()
        .unwrap()
        .push(json!({ "address": "127.0.0.1:0", "name": "other", "protocol": "tcp", "to": "server" }));
    let gateway = TestGateway::start(config);
    let (mut early, _) = greeted(gateway.address_of("l4")).await;
    let mut flood = Vec::new();
    for _ in 0..400 {
        flood.push(TcpStream::connect(gateway.address_of("l4")).await.unwrap());
        if flood.len() % 50 == 0 {
            speaks(&mut early, "in the flood").await;
            let (mut beside, _) = greeted(gateway.address_of("other")).await;
            speaks(&mut beside, "beside the flood").await;
        }
    }
    let refused = "gatewright_listener_refused_connections_total";
    eventually("all of the flood is dealt with", async || {
        let accepted = gateway.metric("gatewright_listener_accepted_connections_total", &["\"l4\""]).await;
        (gateway.metric(refused, &["\"l4\""]).await + accepted == 401.0).then_some(())
    })
    .await;
    // Each core may be one over.
    let open = gateway.metric("gatewright_listener_open_connections", &["\"l4\""]).await;
    assert!((20.0..=22.0).contains(&open), "{open}");
    speaks(&mut early, "after the flood").await;
}

#[tokio::test]
async fn tcp_connections_to_an_endpoint_are_bounded_by_the_upstream() {
    let server = echo("one").await;
    let mut config = config(&[server.text()], json!({}));
    config["upstreams"]["server"] = json!({ "endpoints": [server.text()], "max_connections": 2 });
    let gateway = TestGateway::start(config);
    let (first, _) = greeted(gateway.address()).await;
    let (_second, _) = greeted(gateway.address()).await;
    assert!(is_refused(gateway.address()).await);
    let record = gateway.wait_for_records(1).await.remove(0);
    assert_eq!(record["outcome"], "upstream-failed", "{record}");
    assert!(record["error"].as_str().unwrap().contains("no connection free"), "{record}");
    drop(first);
    eventually("the place is free again", async || (!is_refused(gateway.address()).await).then_some(())).await;
}

/// Whether a connection gets no place. It is reset then, which connecting may see already.
async fn is_refused(address: SocketAddr) -> bool {
    match TcpStream::connect(address).await {
        Ok(mut stream) => closes(&mut stream).await,
        Err(_) => true,
    }
}
