//! TCP connections from end to end.

use std::time::Duration;

use gatewright_tests::{Scripted, TestGateway, eventually};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::*;

#[tokio::test]
async fn tcp_is_forwarded_both_ways_and_recorded() {
    let server = echo("one").await;
    let gateway = forwarding(&[server.text()], json!({}));
    let (mut client, name) = greeted(gateway.address()).await;
    assert_eq!(name, "one");
    speaks(&mut client, "hello").await;
    client.shutdown().await.unwrap();
    assert!(closes(&mut client).await);

    let record = gateway.wait_for_records(1).await.remove(0);
    let local = client.local_addr().unwrap();
    for (field, expected) in [
        ("client", json!(local.ip().to_string())),
        ("peer", json!(local.to_string())),
        ("listener", json!("l4")),
        ("protocol", json!("tcp")),
        ("outcome", json!("complete")),
        ("closed_by", json!("client")),
        ("received_bytes", json!(6)),
        ("sent_bytes", json!(10)),
        ("upstream", json!("server")),
        ("endpoint", json!(server.text())),
        ("attempts", json!(1)),
    ] {
        assert_eq!(record[field], expected, "{field} in {record}");
    }
    for (metric, labels, expected) in [
        ("gatewright_listener_accepted_connections_total", &["listener=\"l4\""][..], 1.0),
        ("gatewright_listener_open_connections", &["listener=\"l4\""], 0.0),
        ("gatewright_layer4_bytes_total", &["direction=\"received\""], 6.0),
        ("gatewright_layer4_bytes_total", &["direction=\"sent\""], 10.0),
        ("gatewright_layer4_ended_total", &["outcome=\"complete\""], 1.0),
    ] {
        eventually(metric, async || (gateway.metric(metric, labels).await == expected).then_some(())).await;
    }
}

#[tokio::test]
async fn tcp_keeps_half_close_both_ways() {
    // Answers only once the client has ended, with how much it got.
    let counting = Scripted::start(|mut stream| async move {
        let mut got = Vec::new();
        stream.read_to_end(&mut got).await.unwrap();
        stream.write_all(format!("{} bytes", got.len()).as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
    })
    .await;
    let gateway = forwarding(&[counting.text()], json!({}));
    let mut client = TcpStream::connect(gateway.address()).await.unwrap();
    client.write_all(&[1; 5000]).await.unwrap();
    client.shutdown().await.unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert_eq!(answer, "5000 bytes");

    // Ends first, and listens on.
    let (told, mut heard) = watch::channel(Vec::new());
    let ending = Scripted::start(move |mut stream| {
        let told = told.clone();
        async move {
            stream.write_all(b"bye").await.unwrap();
            stream.shutdown().await.unwrap();
            let mut got = Vec::new();
            stream.read_to_end(&mut got).await.unwrap();
            told.send(got).unwrap();
        }
    })
    .await;
    let gateway = forwarding(&[ending.text()], json!({}));
    let mut client = TcpStream::connect(gateway.address()).await.unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert_eq!(answer, "bye");
    client.write_all(b"still here").await.unwrap();
    drop(client);
    heard.wait_for(|got| got == b"still here").await.unwrap();
    let record = gateway.wait_for_records(1).await.remove(0);
    assert_eq!((&record["outcome"], &record["closed_by"]), (&json!("complete"), &json!("upstream")), "{record}");
}

#[tokio::test]
async fn tcp_large_transfers_arrive_whole_and_a_slow_reader_holds_the_writer_back() {
    const BYTES: usize = 96 << 20;
    let (release, gate) = watch::channel(false);
    let (told, mut sum) = watch::channel((0, 0));
    let slow = Scripted::start(move |mut stream| {
        let (mut gate, told) = (gate.clone(), told.clone());
        async move {
            gate.wait_for(|open| *open).await.unwrap();
            let (mut bytes, mut check, mut buffer) = (0, 0u64, vec![0; 1 << 16]);
            while let Ok(1..) = stream.read(&mut buffer).await.inspect(|read| {
                bytes += read;
                check = buffer_sum(check, &buffer[..*read]);
            }) {}
            told.send((bytes, check)).unwrap();
        }
    })
    .await;
    let gateway = forwarding(&[slow.text()], json!({}));
    let mut client = TcpStream::connect(gateway.address()).await.unwrap();
    let chunk: Vec<u8> = (0..1 << 16).map(|index: u32| (index * 7 % 251) as u8).collect();
    let (mut sent, mut check) = (0, 0);
    let mut released = false;
    while sent < BYTES {
        let part = &chunk[..chunk.len().min(BYTES - sent)];
        // Once somebody reads, it goes on, however slowly.
        let patience = if released { Duration::from_secs(60) } else { Duration::from_millis(500) };
        match tokio::time::timeout(patience, client.write(part)).await {
            Ok(written) => {
                let written = written.unwrap();
                check = buffer_sum(check, &part[..written]);
                sent += written;
            }
            Err(_) => {
                // What fits into sockets has gone; the rest is held back until somebody reads.
                assert!(!released, "it does not go on after {sent} bytes");
                assert!(sent < 48 << 20, "{sent} bytes were taken with nobody reading");
                released = true;
                release.send(true).unwrap();
            }
        }
    }
    assert!(released, "all was taken with nobody reading");
    client.shutdown().await.unwrap();
    sum.wait_for(|sum| *sum == (BYTES, check)).await.unwrap();
    let record = gateway.wait_for_records(1).await.remove(0);
    assert_eq!(record["received_bytes"], BYTES, "{record}");
}

/// A sum that depends on the order.
fn buffer_sum(sum: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(sum, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(*byte)))
}

#[tokio::test]
async fn tcp_goes_to_the_next_endpoint_where_one_is_down() {
    let (good, (one, _one), (two, _two)) = (echo("good").await, nobody(), nobody());
    let gateway = forwarding(&[one, good.text(), two], json!({}));
    for _ in 0..12 {
        let (mut client, name) = greeted(gateway.address()).await;
        assert_eq!(name, "good");
        speaks(&mut client, "x").await;
    }
    let records = gateway.wait_for_records(12).await;
    assert!(records.iter().all(|record| record["endpoint"] == good.text()), "{records:#?}");
    assert!(records.iter().any(|record| record["attempts"].as_u64() > Some(1)), "{records:#?}");
}

#[tokio::test]
async fn tcp_resets_the_client_where_no_endpoint_is_there() {
    let ((one, _one), (two, _two)) = (nobody(), nobody());
    let gateway = forwarding(&[one, two], json!({}));
    // Connecting may see the reset already.
    let error = match TcpStream::connect(gateway.address()).await {
        Ok(mut client) => client.read(&mut [0; 1]).await.unwrap_err(),
        Err(error) => error,
    };
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    let record = gateway.wait_for_records(1).await.remove(0);
    assert_eq!(record["outcome"], "upstream-failed", "{record}");
    assert!(record["error"].as_str().unwrap().contains("refused the connection"), "{record}");
}

#[tokio::test]
async fn tcp_passes_a_reset_on_and_says_whose_it_was() {
    let resetting = Scripted::start(|mut stream| async move {
        stream.write_all(b"half of it").await.unwrap();
        stream.read_u8().await.unwrap();
        stream.set_zero_linger().unwrap();
    })
    .await;
    let gateway = forwarding(&[resetting.text()], json!({}));
    let mut client = TcpStream::connect(gateway.address()).await.unwrap();
    client.read_exact(&mut [0; 10]).await.unwrap();
    client.write_all(b"x").await.unwrap();
    let error = client.read(&mut [0; 1]).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    let record = gateway.wait_for_records(1).await.remove(0);
    assert_eq!((&record["outcome"], &record["closed_by"]), (&json!("upstream-failed"), &json!("upstream")), "{record}");

    let (told, mut broken) = watch::channel(false);
    let server = Scripted::start(move |mut stream| {
        let told = told.clone();
        async move {
            let broke = stream.read_to_end(&mut Vec::new()).await.is_err();
            told.send(broke).unwrap();
        }
    })
    .await;
    let gateway = forwarding(&[server.text()], json!({}));
    let mut client = TcpStream::connect(gateway.address()).await.unwrap();
    client.write_all(b"half of it").await.unwrap();
    eventually("the bytes are counted", async || {
        (gateway.metric("gatewright_layer4_bytes_total", &["received"]).await == 10.0).then_some(())
    })
    .await;
    client.set_zero_linger().unwrap();
    drop(client);
    broken.wait_for(|broken| *broken).await.unwrap();
    let record = gateway.wait_for_records(1).await.remove(0);
    assert_eq!((&record["outcome"], &record["closed_by"]), (&json!("client-left"), &json!("client")), "{record}");
}

#[tokio::test]
async fn tcp_targets_share_by_weight() {
    let (one, two) = (echo("one").await, echo("two").await);
    let gateway = TestGateway::start(json!({
        "workers": 1,
        "upstreams": { "one": [one.text()], "two": [two.text()] },
        "listeners": [{
            "address": "127.0.0.1:0", "protocol": "tcp",
            "to": [{ "upstream": "one", "weight": 3 }, { "upstream": "two", "weight": 1 }],
        }],
    }));
    let mut ones = 0;
    for _ in 0..20 {
        ones += usize::from(greeted(gateway.address()).await.1 == "one");
    }
    assert_eq!(ones, 15);
}
