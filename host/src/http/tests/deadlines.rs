//! What has an end, on paused time.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::ReadBuf;

use super::*;

#[tokio::test(start_paused = true)]
async fn an_unread_body_that_is_too_long_or_too_slow_ends_the_connection() {
    let mut served = start();
    served.write("POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n").await;
    assert_eq!(outline(&served.rest().await), ["403 close"]);

    let started = Instant::now();
    let mut served = start();
    served.write("POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nslow").await;
    assert_eq!(outline(&served.rest().await), ["403"]);
    assert_eq!(started.elapsed().as_secs(), 2);

    let mut served = start();
    served.write("POST /early HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    served.until("early").await;
    let chunk = format!("1000\r\n{}\r\n", "x".repeat(0x1000));
    while served.client.write_all(chunk.as_bytes()).await.is_ok() && !served.task.is_finished() {}
    assert_eq!(served.seen.requests(), ["POST /early"]);
}

#[tokio::test(start_paused = true)]
async fn a_silent_client_is_not_waited_for_long() {
    let (started, mut served) = (Instant::now(), start());
    assert_eq!(served.rest().await, "", "it has not said a word");
    assert_eq!(started.elapsed().as_secs(), 10);

    let (started, mut served) = (Instant::now(), start());
    served.write("GET / HTTP/1.1\r\nHos").await;
    assert_eq!(outline(&served.rest().await), ["408 close"]);
    assert_eq!(started.elapsed().as_secs(), 10);
    served.task.await.unwrap();
    assert_eq!(started.elapsed().as_secs(), 12, "it waits 2 seconds for the client to close");

    let (started, mut served) = (Instant::now(), start());
    served.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    served.until("ok").await;
    tokio::time::sleep(Duration::from_secs(50)).await;
    served.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    served.until("ok").await;
    assert_eq!(served.rest().await, "");
    assert_eq!(started.elapsed().as_secs(), 125, "75 seconds after the second answer");

    let mut served = start();
    served.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    served.until("ok").await;
    tokio::time::sleep(Duration::from_secs(70)).await;
    let started = Instant::now();
    served.write("GET / HTTP/1.1\r\n").await;
    tokio::time::sleep(Duration::from_secs(7)).await;
    served.write("Host: a\r\n").await;
    assert_eq!(outline(&served.until("}").await), ["408 close"]);
    assert_eq!(started.elapsed().as_secs(), 10, "bytes in between do not start the clock again");
}

#[tokio::test(start_paused = true)]
async fn a_body_that_stops_coming_ends() {
    let started = Instant::now();
    let mut served = start();
    served.write("POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc").await;
    tokio::time::sleep(Duration::from_secs(20)).await;
    served.write("d").await;
    let all = served.until("ok").await;
    assert_eq!(outline(&all), ["400 close"]);
    assert_eq!(started.elapsed().as_secs(), 50);
    assert_eq!(served.seen.requests(), [format!("POST /1 {}", BodyError::TimedOut)]);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reads_nothing_is_cut_off() {
    let started = Instant::now();
    let mut served = serve_with(|_| {}, 4096);
    served.write("GET /large HTTP/1.1\r\nHost: a\r\n\r\n").await;
    served.task.await.unwrap();
    assert_eq!(started.elapsed().as_secs(), 60);
}

#[tokio::test(start_paused = true)]
async fn a_long_answer_is_not_an_idle_connection() {
    let mut served = start();
    served.write("GET /wait HTTP/1.1\r\nHost: a\r\n\r\n").await;
    served.seen.came.notified().await;
    tokio::time::sleep(Duration::from_secs(1000)).await;
    served.seen.go.notify_one();
    assert_eq!(outline(&served.until("waited").await), ["200"]);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_kept_but_not_read_does_not_hold_the_connection_for_good() {
    let (mut client, server) = tokio::io::duplex(4096);
    let (_drainer, drain) = drain::channel();
    let address = "127.0.0.1:80".parse().unwrap();
    let connection = Arc::new(Connection::new(address, address, "test".into(), &Scheme::HTTP));
    let kept = Arc::new(Mutex::new(None));
    let handler = {
        let kept = Arc::clone(&kept);
        move |_, request: Request<Body>| {
            *kept.lock().unwrap() = Some(request.into_body());
            std::future::ready(Response::new(Body::Empty))
        }
    };
    let started = Instant::now();
    let task = tokio::spawn(serve(server, connection, Arc::new(Settings::default()), handler, drain));
    client.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nabc").await.unwrap();
    task.await.unwrap();
    assert_eq!(started.elapsed().as_secs(), 77, "the idle time, and what is given to a client that has to close");
}

#[tokio::test(start_paused = true)]
async fn a_drained_connection_finishes_what_runs() {
    let mut served = start();
    served.write("GET /wait HTTP/1.1\r\nHost: a\r\n\r\n").await;
    served.seen.came.notified().await;
    let seen = Arc::clone(&served.seen);
    let drainer = served.drainer;
    let drained = tokio::spawn(async move { drainer.drain(Duration::from_secs(5)).await });
    tokio::task::yield_now().await;
    seen.go.notify_one();
    let mut rest = Vec::new();
    served.client.read_to_end(&mut rest).await.unwrap();
    assert_eq!(outline(&String::from_utf8(rest).unwrap()), ["200 close"]);
    assert!(drained.await.unwrap());
}

/// Requests whose connection is waiting for something else each: the handler, the body, the client, the rest of a head.
#[tokio::test(start_paused = true)]
async fn what_does_not_finish_is_cut_when_the_drain_is_over() {
    let head = "HTTP/1.1\r\nHost: a\r\n";
    for (request, answer, seconds) in [
        (format!("GET /wait {head}\r\n"), "", 5),
        (format!("GET /silent {head}\r\n"), "x", 5),
        (format!("GET /endless {head}\r\n"), "x", 5),
        // It gets 408, and time to read it.
        (format!("GET / {head}"), "", 7),
    ] {
        let mut served = serve_with(|_| {}, 4096);
        served.write(&request).await;
        if !answer.is_empty() {
            served.until(answer).await;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        let started = Instant::now();
        assert!(!served.drainer.drain(Duration::from_secs(5)).await, "{request}");
        assert!(!served.task.is_finished(), "{request}");
        drop(served.drainer);
        served.task.await.unwrap();
        assert_eq!(started.elapsed().as_secs(), seconds, "{request}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_closed_by_a_drain_and_a_new_one_is_served() {
    let mut idle = start();
    idle.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    idle.until("ok").await;
    let started = Instant::now();
    assert!(idle.drainer.drain(Duration::from_secs(5)).await);
    assert_eq!(started.elapsed(), Duration::ZERO);

    let mut new = start();
    new.drainer.ask();
    new.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(outline(&new.rest().await), ["200 close"]);

    let mut silent = start();
    silent.drainer.ask();
    assert_eq!(silent.rest().await, "");
    assert_eq!(started.elapsed().as_secs(), 1);
}

/// What a client does whose connection has rested, and what it gets.
#[tokio::test(start_paused = true)]
async fn a_connection_that_has_rested_is_as_any_other() {
    let resting = || async {
        let mut served = start();
        served.write("POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc").await;
        served.until("ok").await;
        tokio::time::sleep(rest::AFTER * 3).await;
        served
    };

    let mut served = resting().await;
    for _ in 0..3 {
        served.write("POST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n01234").await;
        tokio::time::sleep(rest::AFTER * 3).await;
        served.write("56789GET /early HTTP/1.1\r\nHost: a\r\n\r\nGET /4 HT").await;
        assert_eq!(outline(&served.until("early").await), ["200", "403"]);
        tokio::time::sleep(rest::AFTER * 3).await;
        served.write("TP/1.1\r\nHost: a\r\n\r\n").await;
        served.until("ok").await;
        tokio::time::sleep(rest::AFTER * 3).await;
    }
    assert_eq!(served.seen.requests()[..4], ["POST /1 abc", "POST /2 0123456789", "GET /early", "GET /4"]);

    let mut served = resting().await;
    served.write("GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n").await;
    assert_eq!(outline(&served.rest().await), ["400 close"]);
    drop(served.client);
    served.task.await.unwrap();
    assert_eq!(served.seen.rejects.lock().unwrap().len(), 1);

    let mut served = resting().await;
    served.write("GET /switch HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n").await;
    served.until("\r\n\r\n").await;
    served.write("hello").await;
    served.until("hello").await;

    let served = resting().await;
    drop(served.client);
    served.task.await.unwrap();

    let mut served = resting().await;
    let started = Instant::now();
    assert!(served.drainer.drain(Duration::from_secs(5)).await);
    assert_eq!(started.elapsed().as_secs(), 0);
    let mut end = Vec::new();
    assert_eq!(served.client.read_to_end(&mut end).await.unwrap(), 0);
}

/// A client in the middle of something is waited for, and its connection does not rest.
#[tokio::test(start_paused = true)]
async fn a_connection_in_the_middle_of_something_does_not_rest() {
    let mut served = serve_with(|_| {}, 4096);
    served.write("GET /large HTTP/1.1\r\nHost: a\r\n\r\n").await;
    served.until("200 OK").await;
    tokio::time::sleep(rest::AFTER * 3).await;
    let mut rest = vec![0; 1 << 20];
    served.client.read_exact(&mut rest[8192..]).await.unwrap();

    let mut served = start();
    served.write("GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /wait HTTP/1.1\r\nHost: a\r\n\r\n").await;
    served.until("ok").await;
    served.seen.came.notified().await;
    tokio::time::sleep(rest::AFTER * 3).await;
    served.seen.go.notify_one();
    served.until("waited").await;
}

/// Buffers writes until they are flushed, as TLS does.
struct Late {
    io: DuplexStream,
    held: Vec<u8>,
}

impl AsyncRead for Late {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl AsyncWrite for Late {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.held.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let me = self.get_mut();
        while !me.held.is_empty() {
            let sent = ready!(Pin::new(&mut me.io).poll_write(cx, &me.held))?;
            me.held.drain(..sent);
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.as_mut().poll_flush(cx))?;
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_does_not_rest_before_its_last_byte_is_sent() {
    let (mut client, server) = tokio::io::duplex(256);
    let address = "127.0.0.1:80".parse().unwrap();
    let connection = Arc::new(Connection::new(address, address, "test".into(), &Scheme::HTTP));
    let handler =
        |_: Arc<Connection>, _: Request<Body>| async { Response::new(Body::from(Bytes::from(vec![b'x'; 4096]))) };
    let (_drainer, drain) = drain::channel();
    let late = Late { io: server, held: Vec::new() };
    let task = tokio::spawn(serve(late, connection, Arc::new(Settings::default()), handler, drain));
    client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    tokio::time::sleep(rest::AFTER * 3).await;
    let started = Instant::now();
    client.read_exact(&mut [0; 4096]).await.unwrap();
    assert_eq!(started.elapsed().as_secs(), 0, "the rest is not kept until the connection ends");
    drop(client);
    task.await.unwrap();
}

/// What a resting connection holds, besides its socket and what is known about the client.
#[tokio::test]
async fn a_connection_that_rests_holds_little() {
    let (client, server) = tokio::io::duplex(64);
    let address = "127.0.0.1:80".parse().unwrap();
    let connection = Arc::new(Connection::new(address, address, "test".into(), &Scheme::HTTP));
    let handler = |_: Arc<Connection>, _: Request<Body>| async { Response::new(Body::Empty) };
    let (_drainer, drain) = drain::channel();
    let serving = serve(server, connection, Arc::new(Settings::default()), handler, drain);
    assert!(size_of_val(&serving) <= 1024, "{} bytes", size_of_val(&serving));
    drop(client);
}
