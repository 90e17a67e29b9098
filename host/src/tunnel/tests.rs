use std::sync::mpsc;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::task::JoinHandle;

use super::*;
use crate::drain::{self, Drainer};

/// A running tunnel whose two outer ends the test controls. Each direction holds `BUFFER` bytes outside of it.
struct Joined {
    client: DuplexStream,
    upstream: DuplexStream,
    drainer: Drainer,
    task: JoinHandle<()>,
    ended: mpsc::Receiver<Ended>,
}

const BUFFER: usize = 1000;
const IDLE: Duration = Duration::from_secs(60);

fn join() -> Joined {
    let (client, inner_client) = tokio::io::duplex(BUFFER);
    let (upstream, inner_upstream) = tokio::io::duplex(BUFFER);
    let (drainer, drain) = drain::channel();
    let (report, ended) = mpsc::channel();
    let end: End = Box::pin(async { Ok(Opened { stream: Box::new(inner_upstream), held: Box::new(()) }) });
    let tunnel =
        Tunnel::new(HeaderValue::from_static("websocket"), end, IDLE, move |ended| report.send(ended).unwrap());
    let task = tokio::spawn(tunnel.run(inner_client, drain));
    Joined { client, upstream, drainer, task, ended }
}

#[tokio::test(start_paused = true)]
async fn bytes_go_both_ways_and_each_way_is_closed_by_itself() {
    let Joined { mut client, mut upstream, drainer: _drainer, task, ended } = join();
    client.write_all(b"ping").await.unwrap();
    upstream.write_all(b"po").await.unwrap();
    let mut four = [0; 4];
    upstream.read_exact(&mut four).await.unwrap();
    assert_eq!(&four, b"ping");
    client.shutdown().await.unwrap();
    assert_eq!(upstream.read(&mut four).await.unwrap(), 0, "the upstream hears that the client has closed");
    upstream.write_all(b"ng, later").await.unwrap();
    upstream.shutdown().await.unwrap();
    let mut all = String::new();
    client.read_to_string(&mut all).await.unwrap();
    assert_eq!(all, "pong, later");
    task.await.unwrap();
    let ended = ended.recv().unwrap();
    assert_eq!((ended.from_client, ended.to_client), (4, 11));
    assert!(matches!(ended.how, How::Complete), "{ended:?}");
}

#[tokio::test(start_paused = true)]
async fn a_side_that_reads_nothing_stops_the_other() {
    let Joined { mut client, upstream, drainer: _drainer, task, ended } = join();
    let started = Instant::now();
    let mut sent = 0;
    while let Ok(written) = tokio::time::timeout(IDLE / 2, client.write(&[7; 100])).await {
        sent += written.unwrap();
    }
    assert!(sent <= 2 * BUFFER + READ_BYTES, "{sent} bytes are somewhere");
    task.await.unwrap();
    assert_eq!(started.elapsed(), IDLE, "no byte has moved since");
    assert!(matches!(ended.recv().unwrap().how, How::Idle(IDLE)));
    drop(upstream);
}

#[tokio::test(start_paused = true)]
async fn bytes_in_one_direction_keep_it_open() {
    let Joined { client: _client, mut upstream, drainer: _drainer, task, ended } = join();
    for _ in 0..3 {
        tokio::time::sleep(IDLE * 9 / 10).await;
        assert!(!task.is_finished());
        upstream.write_all(b"tick").await.unwrap();
    }
    let last = Instant::now();
    task.await.unwrap();
    assert_eq!(last.elapsed(), IDLE);
    assert_eq!(ended.recv().unwrap().to_client, 12);
}

#[tokio::test(start_paused = true)]
async fn a_drain_leaves_it_its_time_and_then_cuts_it() {
    let Joined { mut client, mut upstream, drainer, task, ended } = join();
    let started = Instant::now();
    let drained = tokio::spawn(async move { drainer.drain(Duration::from_secs(5)).await });
    tokio::time::sleep(Duration::from_secs(4)).await;
    client.write_all(b"still").await.unwrap();
    upstream.read_exact(&mut [0; 5]).await.unwrap();
    task.await.unwrap();
    assert_eq!(started.elapsed().as_secs(), 5);
    assert!(matches!(ended.recv().unwrap().how, How::ShutDown));
    assert!(!drained.await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn it_reports_whatever_becomes_of_it() {
    let reported = |end: io::Result<Opened>| {
        let (report, ended) = mpsc::channel();
        let end: End = Box::pin(std::future::ready(end));
        let tunnel = Tunnel::new(HeaderValue::from_static("x"), end, IDLE, move |ended| report.send(ended).unwrap());
        (tunnel, ended)
    };
    let (tunnel, ended) = reported(Err(io::ErrorKind::ConnectionReset.into()));
    drop(tunnel);
    assert!(matches!(ended.recv().unwrap().how, How::ClientLeft), "it never began");
    let (tunnel, ended) = reported(Err(io::ErrorKind::ConnectionReset.into()));
    tunnel.run(tokio::io::empty(), drain::channel().1).await;
    assert!(matches!(ended.recv().unwrap().how, How::UpstreamFailed(_)));

    let Joined { client, upstream, drainer, task, ended } = join();
    tokio::task::yield_now().await;
    drainer.ask();
    task.abort();
    assert!(task.await.unwrap_err().is_cancelled());
    assert!(matches!(ended.recv().unwrap().how, How::ShutDown), "its core has ended");
    drop((client, upstream));
}
