//! The relay over real sockets, with peers that do what peers do.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::*;

const LONG: Duration = Duration::from_secs(600);

/// A connection on loopback.
async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let connect = TcpStream::connect(listener.local_addr().unwrap());
    let (ours, theirs) = tokio::join!(listener.accept(), connect);
    (ours.unwrap().0, theirs.unwrap())
}

/// A relay with its client and its server, and the bytes that it counts.
async fn relaying(first: &[u8], idle: Duration) -> (TcpStream, TcpStream, JoinHandle<(End, u64, u64)>) {
    let (client_side, client) = pair().await;
    let (server_side, server) = pair().await;
    let relay = Relay::new(client_side, server_side, first.to_vec());
    let task = tokio::spawn(async move {
        let (up, down) = (AtomicU64::new(0), AtomicU64::new(0));
        let end = relay.run(idle, |received, sent| {
            up.fetch_add(received, Relaxed);
            down.fetch_add(sent, Relaxed);
        });
        (end.await, up.into_inner(), down.into_inner())
    });
    (client, server, task)
}

#[tokio::test]
async fn each_way_ends_by_itself() {
    let (mut client, mut server, task) = relaying(b"first ", LONG).await;
    client.write_all(b"question").await.unwrap();
    client.shutdown().await.unwrap();
    let mut got = String::new();
    server.read_to_string(&mut got).await.unwrap();
    assert_eq!(got, "first question");
    // The client has ended its stream, and still receives.
    server.write_all(b"a long answer").await.unwrap();
    drop(server);
    let mut got = String::new();
    client.read_to_string(&mut got).await.unwrap();
    assert_eq!(got, "a long answer");
    let (end, up, down) = task.await.unwrap();
    assert!(matches!(end, End::Closed(Side::Client)), "{end:?}");
    assert_eq!((up, down), (8, 13));
}

#[tokio::test]
async fn a_reset_is_passed_on_as_one() {
    for reset_by_client in [true, false] {
        let (client, server, task) = relaying(b"", LONG).await;
        let (gone, mut left) = if reset_by_client { (client, server) } else { (server, client) };
        gone.set_zero_linger().unwrap();
        drop(gone);
        let error = left.read(&mut [0; 8]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        let (end, ..) = task.await.unwrap();
        let side = if reset_by_client { Side::Client } else { Side::Server };
        assert!(matches!(&end, End::Broken(broken, _) if *broken == side), "{end:?}");
    }
}

#[tokio::test]
async fn a_relay_that_is_dropped_breaks_both_off() {
    let (mut client, mut server, task) = relaying(b"", LONG).await;
    server.write_all(b"x").await.unwrap();
    assert_eq!(client.read_u8().await.unwrap(), b'x');
    task.abort();
    for stream in [&mut client, &mut server] {
        assert_eq!(stream.read(&mut [0; 8]).await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    }
}

#[tokio::test]
async fn a_server_that_stops_listening_is_still_heard() {
    let (mut client, server, task) = relaying(b"", LONG).await;
    let talk = tokio::spawn(async move {
        // Sends its last bytes and reads nothing of what the client still sends.
        let mut server = server;
        server.read_u8().await.unwrap();
        server.write_all(b"too much").await.unwrap();
        server.shutdown().await.unwrap();
        server
    });
    client.write_all(&[0; 1000]).await.unwrap();
    let mut got = Vec::new();
    client.read_to_end(&mut got).await.unwrap();
    assert_eq!(got, b"too much");
    drop(talk.await.unwrap());
    // Now the server's socket is closed, and what is sent to it is refused.
    while client.write_all(&[0; 1000]).await.is_ok() {
        tokio::task::yield_now().await;
    }
    let (end, ..) = task.await.unwrap();
    assert!(matches!(end, End::Broken(Side::Server, _)), "{end:?}");
}

#[tokio::test(start_paused = true)]
async fn idle_means_that_nothing_moves_either_way() {
    let (mut client, mut server, task) = relaying(b"", Duration::from_secs(10)).await;
    for _ in 0..4 {
        tokio::time::sleep(Duration::from_secs(9)).await;
        server.write_all(b"x").await.unwrap();
        assert_eq!(client.read_u8().await.unwrap(), b'x');
    }
    let since = Instant::now();
    let (end, up, down) = task.await.unwrap();
    assert!(matches!(end, End::Idle), "{end:?}");
    assert_eq!((since.elapsed().as_secs(), up, down), (10, 0, 4));
}

#[tokio::test]
async fn a_reader_that_does_not_read_holds_the_writer_back() {
    let (mut client, server, task) = relaying(b"", LONG).await;
    // Until nothing more is accepted: the sockets in between are full, and the relay holds only its chunk.
    let chunk = vec![7; 1 << 20];
    let mut sent = 0;
    while let Ok(written) = tokio::time::timeout(Duration::from_millis(300), client.write(&chunk)).await {
        sent += written.unwrap() as u64;
        assert!(sent < 64 << 20, "nothing holds the writer back");
    }
    drop(client);
    let mut server = server;
    let (mut read, mut buffer) = (0, vec![0; 1 << 20]);
    loop {
        match server.read(&mut buffer).await.unwrap() {
            0 => break,
            got => read += got as u64,
        }
    }
    assert_eq!(read, sent);
    drop(server);
    let (_, up, _) = task.await.unwrap();
    assert_eq!(up, sent);
}
