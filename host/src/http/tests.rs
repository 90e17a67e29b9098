#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::header::EXPECT;
use http::{Method, StatusCode, Version};
use http_body_util::BodyExt;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncWriteExt, DuplexStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::*;
use crate::drain::{self, Drainer};

/// A connection with a client's end in the test's hands, and what its handler has seen.
struct Served {
    client: DuplexStream,
    task: JoinHandle<()>,
    drainer: Drainer,
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    /// `METHOD path body`, in order; a body that failed is its error.
    requests: Mutex<Vec<String>>,
    rejects: Mutex<Vec<Reject>>,
    /// Lets `/wait` answer.
    go: Notify,
    /// Told when `/wait` has come.
    came: Notify,
    dropped: AtomicUsize,
}

impl Seen {
    fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    fn note(&self, method: &Method, path: &str, body: &str) {
        self.requests.lock().unwrap().push(format!("{method} {path} {body}").trim_end().to_owned());
    }
}

struct CountDrop(Arc<Seen>);

impl Drop for CountDrop {
    fn drop(&mut self) {
        self.0.dropped.fetch_add(1, Ordering::SeqCst);
    }
}

/// What the tests' paths do: read the body and answer, unless the path says else.
async fn answer(seen: Arc<Seen>, request: Request<Body>) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    let text = |text: &'static str| Response::new(Body::from(Bytes::from_static(text.as_bytes())));
    match path.as_str() {
        "/early" => {
            seen.note(&parts.method, &path, "");
            drop(body);
            let mut response = text("early");
            *response.status_mut() = StatusCode::FORBIDDEN;
            response
        }
        "/wait" => {
            let _counted = CountDrop(Arc::clone(&seen));
            seen.note(&parts.method, &path, "");
            seen.came.notify_one();
            seen.go.notified().await;
            text("waited")
        }
        "/panic" => panic!("on purpose"),
        "/abort" => {
            let mut response = text("");
            response.extensions_mut().insert(Abort);
            response
        }
        "/large" => Response::new(Body::from(Bytes::from(vec![b'x'; 1 << 20]))),
        _ => {
            let (shown, status) = match body.collect().await {
                Ok(body) => (String::from_utf8_lossy(&body.to_bytes()).into_owned(), StatusCode::OK),
                Err(error) => {
                    (rejected(&error).map_or(error.to_string(), |reject| reject.to_string()), StatusCode::BAD_REQUEST)
                }
            };
            seen.note(&parts.method, &path, &shown);
            let mut response = text("ok");
            *response.status_mut() = status;
            response
        }
    }
}

fn settings(seen: &Arc<Seen>) -> Settings {
    let seen = Arc::clone(seen);
    Settings {
        on_reject: Some(Arc::new(move |_, reject| seen.rejects.lock().unwrap().push(reject))),
        ..Settings::default()
    }
}

fn serve_with(change: impl FnOnce(&mut Settings), buffer_bytes: usize) -> Served {
    let (client, server) = tokio::io::duplex(buffer_bytes);
    let (drainer, drain) = drain::channel();
    let seen = Arc::new(Seen::default());
    let mut settings = settings(&seen);
    change(&mut settings);
    let address = "127.0.0.1:80".parse().unwrap();
    let connection = Arc::new(Connection::new(address, address, "test".into(), &Scheme::HTTP));
    let handler = {
        let seen = Arc::clone(&seen);
        move |_, request| answer(Arc::clone(&seen), request)
    };
    let task = tokio::spawn(serve(server, connection, Arc::new(settings), handler, drain));
    Served { client, task, drainer, seen }
}

fn start() -> Served {
    serve_with(|_| {}, 1 << 16)
}

impl Served {
    async fn write(&mut self, bytes: &str) {
        self.client.write_all(bytes.as_bytes()).await.unwrap();
    }

    /// Everything until the server closes.
    async fn rest(&mut self) -> String {
        let mut rest = Vec::new();
        self.client.read_to_end(&mut rest).await.unwrap();
        String::from_utf8(rest).unwrap()
    }

    /// What comes until `end` has come.
    async fn until(&mut self, end: &str) -> String {
        let mut all = Vec::new();
        while !String::from_utf8_lossy(&all).contains(end) {
            let read = self.client.read_buf(&mut all).await.unwrap();
            assert!(read > 0, "closed after {:?}", String::from_utf8_lossy(&all));
        }
        String::from_utf8(all).unwrap()
    }
}

/// The status codes, and `close` where a head says so.
fn outline(bytes: &str) -> Vec<String> {
    let parts = bytes.split("HTTP/1.1 ").filter(|part| part.starts_with(|first: char| first.is_ascii_digit()));
    let heads = parts.map(|part| part.split("\r\n\r\n").next().unwrap_or(part));
    heads
        .map(|head| {
            let close = if head.contains("connection: close") { " close" } else { "" };
            format!("{}{close}", &head[..3])
        })
        .collect()
}

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
    // The client sends it nevertheless: it is never a request.
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

#[tokio::test]
async fn an_upgrade_is_not_prepared_for() {
    let mut served = start();
    served
        .write(
            "GET /1 HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n",
        )
        .await;
    served.write("Upgrade: x\r\nConnection: close\r\n\r\n").await;
    assert_eq!(outline(&served.rest().await), ["200", "200 close"]);
    assert_eq!(served.seen.requests(), ["GET /1", "GET /2"]);
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
async fn a_drained_connection_finishes_what_runs() {
    let mut served = start();
    served.write("GET /wait HTTP/1.1\r\nHost: a\r\n\r\n").await;
    served.seen.came.notified().await;
    let seen = Arc::clone(&served.seen);
    let drained = tokio::spawn(served.drainer.drain(Duration::from_secs(5)));
    tokio::task::yield_now().await;
    seen.go.notify_one();
    let mut rest = Vec::new();
    served.client.read_to_end(&mut rest).await.unwrap();
    assert_eq!(outline(&String::from_utf8(rest).unwrap()), ["200 close"]);
    assert_eq!(drained.await.unwrap(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_closed_by_a_drain_and_a_new_one_is_served() {
    let mut idle = start();
    idle.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    idle.until("ok").await;
    let started = Instant::now();
    assert_eq!(idle.drainer.drain(Duration::from_secs(5)).await, 0);
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

async fn http2(served: Served) -> (hyper::client::conn::http2::SendRequest<Body>, JoinHandle<()>, Drainer, Arc<Seen>) {
    let (sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(served.client)).await.unwrap();
    tokio::spawn(connection);
    (sender, served.task, served.drainer, served.seen)
}

fn request(method: Method, path: &str, body: &'static str) -> Request<Body> {
    let uri = format!("http://a{path}");
    Request::builder().method(method).uri(uri).version(Version::HTTP_2).body(Bytes::from(body).into()).unwrap()
}

#[tokio::test]
async fn http2_is_known_by_its_first_bytes() {
    let (mut sender, task, drainer, seen) = http2(start()).await;
    let one = sender.send_request(request(Method::POST, "/1", "body"));
    let two = sender.send_request(request(Method::GET, "/early", ""));
    let (one, two) = tokio::join!(one, two);
    assert_eq!((one.unwrap().status(), two.unwrap().status()), (StatusCode::OK, StatusCode::FORBIDDEN));
    let panicked = sender.send_request(request(Method::GET, "/panic", "")).await;
    assert!(panicked.is_err(), "a panic ends its stream");
    let aborted = sender.send_request(request(Method::GET, "/abort", "")).await;
    assert!(aborted.is_err());
    assert_eq!(sender.send_request(request(Method::GET, "/2", "")).await.unwrap().status(), StatusCode::OK);

    let waiting = sender.send_request(request(Method::GET, "/wait", ""));
    let waiting = tokio::spawn(waiting);
    seen.came.notified().await;
    drainer.ask();
    seen.go.notify_one();
    assert_eq!(waiting.await.unwrap().unwrap().status(), StatusCode::OK, "a drain lets it finish");
    task.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_idle_http2_connection_is_closed() {
    let started = Instant::now();
    let served = serve_with(|settings| settings.http2.ping_interval = Duration::from_secs(7), 1 << 16);
    let (mut sender, task, _drainer, _) = http2(served).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    sender.send_request(request(Method::GET, "/1", "")).await.unwrap();
    task.await.unwrap();
    assert_eq!(started.elapsed().as_secs(), 135, "75 seconds after the answer");
}

#[tokio::test]
async fn a_body_where_none_was_announced_never_comes_to_the_handler() {
    let served = start();
    let (sender, connection) = h2::client::handshake(served.client).await.unwrap();
    tokio::spawn(connection);
    let mut sender = sender.ready().await.unwrap();
    let head = || Request::post("http://a/empty").header("content-length", "0").body(()).unwrap();
    let (response, mut body) = sender.send_request(head(), false).unwrap();
    body.send_data(Bytes::from_static(b"GET /smuggled HTTP/1.1\r\n\r\n"), true).unwrap();
    assert!(response.await.is_err());
    let (response, mut body) = sender.send_request(head(), false).unwrap();
    body.send_data(Bytes::new(), true).unwrap();
    assert_eq!(response.await.unwrap().status(), StatusCode::OK);
    assert_eq!(served.seen.requests(), ["POST /empty"]);
}

#[tokio::test]
async fn the_preface_may_come_in_pieces_and_may_be_forbidden() {
    for size in [1, 5, 23] {
        let mut served = start();
        for piece in PREFACE.chunks(size) {
            served.client.write_all(piece).await.unwrap();
            tokio::task::yield_now().await;
        }
        let mut frame = [0; 9];
        served.client.read_exact(&mut frame).await.unwrap();
        assert_eq!(frame[3], 4, "SETTINGS");
    }
    let mut served = serve_with(|settings| settings.http2.prior_knowledge = false, 1 << 16);
    served.client.write_all(PREFACE).await.unwrap();
    assert_eq!(outline(&served.until("}").await), ["505 close"]);
}

#[tokio::test]
async fn expectations_reach_the_rules_about_headers() {
    // hyper answers only 100-continue by itself; whatever else is expected is refused in `headers`.
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
