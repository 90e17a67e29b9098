//! HTTP/1 exchanges, in order and out of it.

use std::pin::Pin;
use std::task::{Context, Poll};

use http_body::Frame;

use super::*;

#[tokio::test]
async fn requests_are_answered_in_order_on_one_connection() {
    let mut served = start();
    served.write("GET /1 HTTP/1.1\r\nHost: a\r\n\r\nPOST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab").await;
    served
        .write("HEAD /3 HTTP/1.1\r\nHost: a\r\n\r\nPOST /4 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        .await;
    served
        .write("1\r\nc\r\n2;x\r\nde\r\n0\r\n\r\nGET /5 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\nGET /6 ...")
        .await;
    let all = served.rest().await;
    assert_eq!(outline(&all), ["200", "200", "200", "200", "200 close"]);
    assert_eq!(all.matches("\r\n\r\nok").count(), 4, "HEAD has no body: {all}");
    assert_eq!(served.seen.requests(), ["GET /1", "POST /2 ab", "HEAD /3", "POST /4 cde", "GET /5"]);
    served.task.await.unwrap();
}

#[tokio::test]
async fn what_is_refused_is_answered_after_what_came_before() {
    let input = "GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\nHost: a\r\n\r\n";
    for cut in 0..input.len() {
        let mut served = start();
        served.write(&input[..cut]).await;
        tokio::task::yield_now().await;
        served.write(&input[cut..]).await;
        let all = served.until("}").await;
        assert_eq!(outline(&all), ["200", "400 close"], "cut at {cut}");
        assert!(all.contains("content-type: application/problem+json\r\n"), "{all}");
        served.client.shutdown().await.unwrap();
        assert_eq!(served.rest().await, "");
        served.task.await.unwrap();
        assert_eq!(served.seen.requests(), ["GET /1"]);
        assert_eq!(*served.seen.rejects.lock().unwrap(), [Reject::Syntax]);
    }
}

#[tokio::test]
async fn a_refusal_waits_for_the_exchange_before_it() {
    let mut served = start();
    served.write("GET /wait HTTP/1.1\r\nHost: a\r\n\r\nGARBAGE\r\n\r\n").await;
    served.seen.came.notified().await;
    served.seen.go.notify_one();
    let all = served.until("}").await;
    assert_eq!(outline(&all), ["200", "400 close"]);
    assert!(all.contains("waited"));
}

#[tokio::test]
async fn limits_are_answered_with_their_own_status() {
    for (head, status) in [
        (format!("GET /{} HTTP/1.1\r\n", "x".repeat(17 << 10)), "414 close"),
        (format!("GET / HTTP/1.1\r\nA: {}\r\n", "x".repeat(33 << 10)), "431 close"),
        (format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(101)), "431 close"),
        ("GET / HTTP/3.0\r\nHost: a\r\n\r\n".to_owned(), "505 close"),
        ("CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), "501 close"),
    ] {
        let mut served = start();
        served.write(&head).await;
        assert_eq!(outline(&served.until("}").await), [status]);
    }
}

#[tokio::test]
async fn a_broken_chunk_is_an_error_of_the_body() {
    let mut served = start();
    served.write("POST /1 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n").await;
    served.write("zz\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n").await;
    served.client.shutdown().await.unwrap();
    assert_eq!(outline(&served.rest().await), ["400 close"]);
    served.task.await.unwrap();
    assert_eq!(served.seen.requests(), [format!("POST /1 {}", Reject::Chunk)]);
    assert_eq!(*served.seen.rejects.lock().unwrap(), [Reject::Chunk]);
}

#[tokio::test]
async fn a_body_is_asked_for_when_it_is_wanted() {
    let mut served = start();
    served.write("POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n").await;
    assert_eq!(served.until("\r\n\r\n").await, "HTTP/1.1 100 Continue\r\n\r\n");
    served.write("abc").await;
    assert_eq!(outline(&served.until("ok").await), ["200"]);
    assert_eq!(served.seen.requests(), ["POST /1 abc"]);
}

#[tokio::test]
async fn a_body_that_nobody_asked_for_is_not_waited_for() {
    let mut served = start();
    served.write("POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: 30\r\nExpect: 100-continue\r\n\r\n").await;
    let all = served.until("early").await;
    assert_eq!(outline(&all), ["403 close"], "no 100 Continue: {all}");
    // The client sends the body nevertheless: it is never taken for a request.
    let _ = served.client.write_all(b"GET /smuggled HTTP/1.1\r\n\r\n----").await;
    let _ = served.client.shutdown().await;
    assert_eq!(served.rest().await, "");
    served.task.await.unwrap();
    assert_eq!(served.seen.requests(), ["POST /early"]);
}

#[tokio::test]
async fn an_unread_body_is_read_away_and_never_taken_for_a_request() {
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    let sized = format!("Content-Length: {}\r\n\r\n{smuggled}", smuggled.len());
    let chunked =
        format!("Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{smuggled}\r\n1\r\nx\r\n0\r\n\r\n", smuggled.len());
    for body in [sized, chunked] {
        let request = format!("POST /early HTTP/1.1\r\nHost: a\r\n{body}");
        let head_end = request.find("\r\n\r\n").unwrap() + 4;
        for cut in [request.len(), head_end, head_end + 1, head_end + 20] {
            let mut served = start();
            served.write(&request[..cut]).await;
            assert_eq!(outline(&served.until("early").await), ["403"]);
            served.write(&request[cut..]).await;
            served.write("GET /next HTTP/1.1\r\nHost: a\r\n\r\n").await;
            assert_eq!(outline(&served.until("ok").await), ["200"]);
            assert_eq!(served.seen.requests(), ["POST /early", "GET /next"], "cut at {cut}");
        }
    }
}

#[tokio::test]
async fn a_client_that_leaves_drops_the_exchange() {
    let mut served = start();
    served.write("GET /wait HTTP/1.1\r\nHost: a\r\n\r\n").await;
    served.seen.came.notified().await;
    drop(served.client);
    served.task.await.unwrap();
    assert_eq!(served.seen.dropped.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_panic_ends_one_connection_only() {
    let (mut bad, mut good) = (start(), start());
    bad.write("GET /panic HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(bad.rest().await, "");
    assert!(bad.task.await.unwrap_err().is_panic());
    good.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(outline(&good.until("ok").await), ["200"]);
}

#[tokio::test]
async fn an_aborted_exchange_has_no_answer() {
    let mut served = start();
    served.write("GET /abort HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(served.rest().await, "");
}

#[tokio::test(start_paused = true)]
async fn an_upgrade_that_is_not_made_leaves_a_request_like_any_other() {
    let (started, mut served) = (Instant::now(), start());
    served
        .write(
            "GET /1 HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n",
        )
        .await;
    served.write("Upgrade: x\r\nConnection: close\r\n\r\n").await;
    assert_eq!(outline(&served.rest().await), ["200", "200 close"]);
    assert_eq!(served.seen.requests(), ["GET /1", "GET /2"]);

    // A refused request after it still gets its response.
    let mut served = start();
    served
        .write("GET /1 HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\nPRI * HTTP/2.0\r\n\r\n")
        .await;
    assert_eq!(outline(&served.rest().await), ["200", "505 close"]);
    assert_eq!(started.elapsed().as_secs(), 0, "what was held back goes on with the answer");
}

#[tokio::test]
async fn a_switched_connection_is_the_other_protocols() {
    let upgrade = "GET /switch HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n";
    // Bytes that were sent too early are not read before the 101; then they belong to the tunnel.
    let mut served = start();
    served.write(&format!("{upgrade}GET /1 HTTP/1.1\r\n\r\n")).await;
    let mut all = served.until("\r\n\r\n").await;
    served.write("\0\r\n").await;
    served.client.shutdown().await.unwrap();
    all += &served.rest().await;
    let (head, tunnelled) = all.split_once("\r\n\r\n").unwrap();
    let head = format!("{head}\r\n");
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    assert!(head.contains("\r\nupgrade: echo\r\n") && head.contains("\r\nconnection: upgrade\r\n"), "{head}");
    assert_eq!(tunnelled, "GET /1 HTTP/1.1\r\n\r\n\0\r\n");
    served.task.await.unwrap();
    assert_eq!(served.seen.requests(), ["GET /switch"]);

    // Requests before it are answered before it.
    let mut served = start();
    served.write(&format!("GET /1 HTTP/1.1\r\nHost: a\r\n\r\n{upgrade}hello")).await;
    let all = served.until("hello").await;
    assert_eq!(outline(&all), ["200", "101"]);
}

#[tokio::test(start_paused = true)]
async fn what_comes_before_the_switch_is_held_up_to_a_bound() {
    let (started, mut served) = (Instant::now(), start());
    served.write("GET /wait HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n").await;
    served.seen.came.notified().await;
    let mut sent = 0;
    while let Ok(written) = tokio::time::timeout(Duration::from_millis(100), served.client.write(&[b'x'; 1024])).await {
        sent += written.unwrap();
    }
    assert!(sent < (64 << 10) + (64 << 10), "{sent} bytes are held: the pipe's own 64 KiB, and a read");
    served.seen.go.notify_one();
    assert_eq!(outline(&served.rest().await), ["200", "414 close"]);
    assert_eq!(started.elapsed().as_secs(), 0);
}

#[tokio::test]
async fn http1_may_be_forbidden() {
    let mut served = serve_with(|settings| settings.http1 = false, 1 << 16);
    served.write("GET /1 HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(outline(&served.rest().await), ["505 close"]);
    assert_eq!(served.seen.requests(), [""; 0]);
}

#[tokio::test]
async fn old_clients_get_what_they_know() {
    let mut served = start();
    served.write("GET /1 HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET /2 HTTP/1.0\r\n\r\n").await;
    let all = served.rest().await;
    assert_eq!(all.matches("HTTP/1.0 200").count(), 2);
    assert_eq!(served.seen.requests(), ["GET /1", "GET /2"]);
}

#[tokio::test(start_paused = true)]
async fn an_empty_line_before_a_head_means_nothing() {
    let (started, mut served) = (Instant::now(), start());
    served.write("POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\na\r\n").await;
    assert_eq!(outline(&served.until("ok").await), ["200"]);
    served.write("\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(outline(&served.until("}").await), ["400 close"], "two are too many");

    let mut served = start();
    served.write("POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\na\r\n").await;
    served.until("ok").await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    served.write("GET /2 HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(outline(&served.until("ok").await), ["200"], "it is no head that is waited for");
    assert_eq!(started.elapsed().as_secs(), 30);
}

#[tokio::test]
async fn trailers_are_for_clients_that_understand_them() {
    for (te, trailers) in [("TE: trailers\r\n", "0\r\nx-sum: 6\r\n\r\n"), ("", "0\r\n\r\n")] {
        let (mut client, server) = tokio::io::duplex(4096);
        let (_drainer, drain) = drain::channel();
        let address = "127.0.0.1:80".parse().unwrap();
        let connection = Arc::new(Connection::new(address, address, "test".into(), &Scheme::HTTP));
        // The handler echoes the body, trailers included.
        let handler = |_, request: Request<Body>| async move { Response::new(request.into_body()) };
        tokio::spawn(serve(server, connection, Arc::new(Settings::default()), handler, drain));
        let head = format!("POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{te}Transfer-Encoding: chunked\r\n\r\n");
        client.write_all(head.as_bytes()).await.unwrap();
        client.write_all(b"3\r\nabc\r\n3\r\ndef\r\n0\r\nX-Sum: 6\r\n\r\n").await.unwrap();
        let mut all = String::new();
        client.read_to_string(&mut all).await.unwrap();
        let (_, body) = all.split_once("\r\n\r\n").unwrap();
        assert_eq!(body, format!("3\r\nabc\r\n3\r\ndef\r\n{trailers}"), "{te}");
    }
}

#[tokio::test]
async fn old_clients_are_told_the_end_by_the_end() {
    let (mut client, server) = tokio::io::duplex(4096);
    let (_drainer, drain) = drain::channel();
    let address = "127.0.0.1:80".parse().unwrap();
    let connection = Arc::new(Connection::new(address, address, "test".into(), &Scheme::HTTP));
    let handler = |_, _: Request<Body>| async move {
        let (write, read) = tokio::sync::mpsc::channel(1);
        tokio::spawn(async move { write.send(Bytes::from_static(b"abc")).await });
        Response::new(Body::boxed(Streamed(read)))
    };
    tokio::spawn(serve(server, connection, Arc::new(Settings::default()), handler, drain));
    client.write_all(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").await.unwrap();
    let mut all = String::new();
    client.read_to_string(&mut all).await.unwrap();
    assert!(all.contains("connection: close\r\n") && all.ends_with("\r\n\r\nabc"), "{all}");
}

/// A body that is sent through a channel.
struct Streamed(tokio::sync::mpsc::Receiver<Bytes>);

impl http_body::Body for Streamed {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.0.poll_recv(cx).map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
    }
}

#[tokio::test]
async fn expectations_reach_the_rules_about_headers() {
    // Only 100-continue is answered here; other expectations are refused in `headers`.
    let (client, server) = tokio::io::duplex(4096);
    let (_drainer, drain) = drain::channel();
    let address = "127.0.0.1:80".parse().unwrap();
    let connection = Arc::new(Connection::new(address, address, "test".into(), &Scheme::HTTP));
    let handler = |_, request: Request<Body>| async move {
        let mut response = Response::new(Body::Empty);
        *response.status_mut() =
            if request.headers().contains_key(EXPECT) { StatusCode::EXPECTATION_FAILED } else { StatusCode::OK };
        response
    };
    tokio::spawn(serve(server, connection, Arc::new(Settings::default()), handler, drain));
    let mut client = client;
    client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nExpect: x\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut all = String::new();
    client.read_to_string(&mut all).await.unwrap();
    assert_eq!(outline(&all), ["417 close"]);
}
