//! HTTP/2 with endpoints: what the requests that share a connection do to each other.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use bytes::Bytes;
use futures_util::stream;
use gatewright_tests::{Scripted, TestGateway, eventually};
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::client;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What a server has seen.
#[derive(Default)]
struct Seen {
    connections: AtomicUsize,
    /// Bytes of all endless bodies that could be sent.
    sent: AtomicUsize,
    /// Endless bodies that nobody wants any more.
    dropped: AtomicUsize,
}

/// An endless body, which counts that it was dropped.
struct Endless(Arc<Seen>);

impl Drop for Endless {
    fn drop(&mut self) {
        self.0.dropped.fetch_add(1, Relaxed);
    }
}

/// A server in HTTP/2 that answers `/endless` with a body that never ends, `/never` not at all, and everything else with
/// `small`.
async fn server() -> (String, Arc<Seen>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, seen) = (listener.local_addr().unwrap().to_string(), Arc::<Seen>::default());
    let counted = Arc::clone(&seen);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            counted.connections.fetch_add(1, Relaxed);
            let seen = Arc::clone(&counted);
            let service = service_fn(move |request: Request<Incoming>| {
                let response = (request.uri().path() != "/never").then(|| answer(request.uri().path(), &seen));
                async move {
                    match response {
                        Some(response) => Ok::<_, Infallible>(response),
                        None => std::future::pending().await,
                    }
                }
            });
            tokio::spawn(http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service));
        }
    });
    (address, seen)
}

fn answer(path: &str, seen: &Arc<Seen>) -> Response<UnsyncBoxBody<Bytes, Infallible>> {
    if path != "/endless" {
        return Response::new(Full::new(Bytes::from_static(b"small")).boxed_unsync());
    }
    let (endless, piece) = (Endless(Arc::clone(seen)), Bytes::from(vec![b'x'; PIECE]));
    let pieces = stream::repeat_with(move || {
        endless.0.sent.fetch_add(PIECE, Relaxed);
        Ok::<_, Infallible>(Frame::data(piece.clone()))
    });
    Response::new(StreamBody::new(pieces).boxed_unsync())
}

fn config(endpoint: &str) -> Value {
    json!({
        "workers": 1,
        "upstreams": { "h2c": { "endpoints": [endpoint], "protocol": "h2c" } },
        "routes": [{ "match": {}, "to": "h2c" }],
    })
}

/// A client that gets the heads of its answers and takes nothing of their bodies: its streams have no window.
async fn closed(address: SocketAddr) -> client::conn::http2::SendRequest<Empty<Bytes>> {
    let stream = TcpStream::connect(address).await.unwrap();
    let mut builder = client::conn::http2::Builder::new(TokioExecutor::new());
    builder.initial_stream_window_size(0);
    let (sender, connection) = builder.handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

fn get(path: &str) -> Request<Empty<Bytes>> {
    Request::get(format!("http://gateway.test{path}")).body(Empty::new()).unwrap()
}

#[tokio::test]
async fn answers_that_nobody_reads_take_no_room_from_others() {
    let (endpoint, seen) = server().await;
    let gateway = TestGateway::start(config(&endpoint));
    let mut client = closed(gateway.address()).await;
    let mut unread = Vec::new();
    for _ in 0..UNREAD {
        unread.push(client.send_request(get("/endless")).await.unwrap());
    }
    let full = async || (seen.sent.load(Relaxed) >= UNREAD * WINDOW).then_some(());
    eventually("each of them has sent all that it may", full).await;
    assert_eq!(gateway.get("/small").await.text(), "small");
    assert_eq!(seen.connections.load(Relaxed), 1);
}

#[tokio::test]
async fn a_client_that_takes_nothing_does_not_hold_an_endpoint() {
    let (endpoint, seen) = server().await;
    let mut config = config(&endpoint);
    config["timeouts"] = json!({ "send": "500ms" });
    let gateway = TestGateway::start(config);
    let mut client = closed(gateway.address()).await;
    let mut stuck = client.send_request(get("/endless")).await.unwrap().into_body();
    assert!(stuck.frame().await.unwrap().is_err(), "the stream is reset");
    eventually("the endpoint is let go of", async || (seen.dropped.load(Relaxed) == 1).then_some(())).await;
    gateway.wait_for_records(1).await;
    assert_eq!(client.send_request(get("/small")).await.unwrap().status(), 200, "the connection lives");
}

/// As if the network had lost it: what went out over it has no answer, and it is not closed.
#[tokio::test]
async fn a_connection_that_is_dead_is_left_by_the_first_request_that_is_given_up() {
    let (endpoint, seen) = server().await;
    let mut config = config(&endpoint);
    config["routes"][0]["timeouts"] = json!({ "request": "1s" });
    let gateway = TestGateway::start(config);
    assert_eq!(gateway.get("/small").await.text(), "small");
    gateway.get("/never").await.problem(504);
    assert_eq!(gateway.get("/small").await.text(), "small");
    assert_eq!(seen.connections.load(Relaxed), 2);
}

/// RFC 9113, section 8.7: a stream that is refused was not worked on, so it does not matter that a POST may not come twice.
#[tokio::test]
async fn a_post_that_is_refused_is_sent_again() {
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&connections);
    let server = Scripted::start(move |stream| {
        let answer = if counted.fetch_add(1, Relaxed) == 0 { REFUSED } else { ANSWER };
        answer_first(stream, answer)
    })
    .await;
    let gateway = TestGateway::start(config(&server.text()));
    assert_eq!(gateway.post("/", &[], "").await.status, 200);
    assert_eq!(connections.load(Relaxed), 2);
}

#[tokio::test]
async fn a_stream_that_is_reset_is_told_from_a_connection_that_is_closed() {
    let server = Scripted::start(|stream| answer_first(stream, FAILED)).await;
    let gateway = TestGateway::start(config(&server.text()));
    gateway.get("/").await.problem(502);
    let record = gateway.wait_for_records(1).await.remove(0);
    let error = record["error"].as_str().unwrap();
    assert!(error.contains(" reset the stream before it answered: "), "{error}");
}

/// Reads the head of the first request and sends these frames.
async fn answer_first(mut stream: TcpStream, frames: &'static [u8]) {
    let mut read: Vec<u8> = Vec::new();
    while !read.windows(HEAD.len()).any(|bytes| bytes == HEAD) {
        if stream.read_buf(&mut read).await.unwrap() == 0 {
            return;
        }
    }
    stream.write_all(&[SETTINGS, frames].concat()).await.unwrap();
    while matches!(stream.read_buf(&mut read).await, Ok(1..)) {}
}

/// Of the frame of a head without a body on the first stream: type, flags and stream.
const HEAD: &[u8] = &[1, 5, 0, 0, 0, 1];

/// Empty settings.
const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];

/// The first stream is reset: REFUSED_STREAM.
const REFUSED: &[u8] = &[0, 0, 4, 3, 0, 0, 0, 0, 1, 0, 0, 0, 7];

/// The first stream is reset: INTERNAL_ERROR.
const FAILED: &[u8] = &[0, 0, 4, 3, 0, 0, 0, 0, 1, 0, 0, 0, 2];

/// The first stream is answered with `:status 200`, and no body.
const ANSWER: &[u8] = &[0, 0, 1, 1, 5, 0, 0, 0, 1, 0x88];

/// Answers that are not read.
const UNREAD: usize = 16;

/// What an endpoint may send of each.
const WINDOW: usize = 256 << 10;

/// A piece of an endless body: a frame.
const PIECE: usize = 16 << 10;
