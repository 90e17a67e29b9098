//! Endpoints that speak HTTP/2 in clear text.

use std::convert::Infallible;

use http_body::Frame;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::sync::Notify;

use super::*;

/// A server whose behavior depends on the request's path.
struct Server {
    address: String,
    connections: Arc<AtomicUsize>,
    /// Makes every connection send GOAWAY.
    shutdown: Arc<Notify>,
}

async fn server(max_streams: u32) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = Server {
        address: listener.local_addr().unwrap().to_string(),
        connections: Arc::default(),
        shutdown: Arc::default(),
    };
    let (connections, shutdown) = (Arc::clone(&server.connections), Arc::clone(&server.shutdown));
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            connections.fetch_add(1, SeqCst);
            let shutdown = Arc::clone(&shutdown);
            tokio::spawn(async move {
                let mut builder = http2::Builder::new(TokioExecutor::new());
                builder.max_concurrent_streams(max_streams);
                let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(socket), service_fn(answer)));
                tokio::select! {
                    _ = connection.as_mut() => return,
                    () = shutdown.notified() => connection.as_mut().graceful_shutdown(),
                }
                let _ = connection.await;
            });
        }
    });
    server
}

async fn answer(request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    let broken = || Err(BodyError::TimedOut);
    let body = match request.uri().path() {
        "/never" => std::future::pending().await,
        "/open" => Body::boxed(Open),
        "/broken" => frames(vec![data("ab"), broken()]),
        "/bad-length" => {
            let response = Response::builder().header("content-length", "5");
            return Ok(response.body(frames(vec![data("ab")])).unwrap());
        }
        _ => {
            let seen = format!("{} {} {:?}", request.method(), request.uri(), request.headers());
            let body = request.into_body().collect().await.unwrap();
            let trailers = body.trailers().cloned();
            let mut answer = vec![Ok(Frame::data(Bytes::from(seen))), Ok(Frame::data(body.to_bytes()))];
            answer.extend(trailers.map(|fields| Ok(Frame::trailers(fields))));
            frames(answer)
        }
    };
    Ok(Response::new(body))
}

/// A body that never ends.
struct Open;

impl http_body::Body for Open {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        std::task::Poll::Pending
    }
}

fn upstream(address: &str) -> Arc<Upstream> {
    super::upstream(address, |transport| transport.protocol = Protocol::Http2)
}

fn to(path: &str) -> Request<Body> {
    Request::get(format!("http://api.example{path}")).body(Body::Empty).unwrap()
}

#[tokio::test]
async fn requests_share_a_connection() {
    let server = server(100).await;
    let upstream = upstream(&server.address);
    let requests: Vec<_> = (0..20)
        .map(|_| {
            let upstream = Arc::clone(&upstream);
            tokio::spawn(async move { exchange(&upstream, to("/a?b")).await })
        })
        .collect();
    for request in requests {
        let (shown, facts) = request.await.unwrap();
        assert_eq!(shown, "200 GET http://api.example/a?b {}");
        assert_eq!(facts.attempts, 1);
    }
    assert_eq!(server.connections.load(SeqCst), 1);
    let stats = upstream.endpoints()[0].stats();
    assert_eq!((stats.in_flight, stats.connections, stats.connects, stats.pending), (0, 1, 1, 0));
}

#[tokio::test]
async fn bodies_and_trailers_pass_both_ways() {
    let server = server(100).await;
    let upstream = upstream(&server.address);
    let trailers = [("x-sum".parse().unwrap(), "1".parse().unwrap())].into_iter().collect();
    let body = frames(vec![data("a"), data("b"), Ok(Frame::trailers(trailers))]);
    let mut request = request("POST", body);
    request.headers_mut().insert("te", "trailers".parse().unwrap());
    let (shown, _) = exchange(&upstream, request).await;
    assert_eq!(shown, "200 POST http://api.example/a?b {\"te\": \"trailers\"}ab + {\"x-sum\": \"1\"}");
}

#[tokio::test]
async fn streams_stay_below_what_the_server_allows() {
    let server = server(2).await;
    let upstream = upstream(&server.address);
    let mut open = Vec::new();
    for (count, connections) in [(1, 1), (2, 1), (3, 2), (4, 2), (5, 3)] {
        open.push(upstream.send(to("/open"), &Ask::default(), &mut Facts::default()).await.unwrap());
        assert_eq!(server.connections.load(SeqCst), connections, "{count}");
        assert_eq!(upstream.endpoints()[0].in_flight(), count);
    }
    drop(open);
    assert_eq!(upstream.endpoints()[0].in_flight(), 0);
    assert_eq!(exchange(&upstream, to("/a")).await.0, "200 GET http://api.example/a {}");
    assert_eq!(server.connections.load(SeqCst), 3);
}

#[tokio::test]
async fn a_server_that_goes_away() {
    let server = server(100).await;
    let upstream = upstream(&server.address);
    let endpoint = &upstream.endpoints()[0];
    let open = upstream.send(to("/open"), &Ask::default(), &mut Facts::default()).await.unwrap();
    server.shutdown.notify_waiters();
    // Until GOAWAY arrives the connection is used; after that it is not, though it is still open.
    for _ in 0..100 {
        let (shown, facts) = exchange(&upstream, to("/a")).await;
        assert_eq!(shown, "200 GET http://api.example/a {}");
        assert!(facts.attempts <= 2);
    }
    assert_eq!((server.connections.load(SeqCst), endpoint.stats().connects, endpoint.in_flight()), (2, 2, 1));
    drop(open);
    until("the old connection is gone", || endpoint.stats().connections == 1).await;
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_does_not_come() {
    let server = server(100).await;
    let upstream = upstream(&server.address);
    let started = tokio::time::Instant::now();
    assert_eq!(exchange(&upstream, to("/never")).await.0, "504 ResponseTimeout");
    assert!(started.elapsed() >= Duration::from_secs(30));
    assert_eq!(upstream.endpoints()[0].in_flight(), 0);
    // The connection may be dead, so the next request uses another.
    assert_eq!(exchange(&upstream, to("/a")).await.0, "200 GET http://api.example/a {}");
    assert_eq!(server.connections.load(SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_not_waited_for() {
    let server = server(100).await;
    let upstream = upstream(&server.address);
    // A client that leaves early leaves the connection to others; one that found it silent for a while does not.
    for (patience, connections) in [(100, 1), (100, 1), (1000, 2)] {
        assert_eq!(exchange(&upstream, to("/a")).await.0, "200 GET http://api.example/a {}");
        let never = exchange(&upstream, to("/never"));
        assert!(tokio::time::timeout(Duration::from_millis(patience), never).await.is_err());
        assert_eq!(exchange(&upstream, to("/a")).await.0, "200 GET http://api.example/a {}");
        assert_eq!(server.connections.load(SeqCst), connections);
    }
    assert_eq!(upstream.endpoints()[0].in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_stops_coming() {
    let server = server(100).await;
    let upstream = upstream(&server.address);
    let started = tokio::time::Instant::now();
    assert_eq!(exchange(&upstream, to("/open")).await.0, "200 and a body that breaks off");
    assert!(started.elapsed() >= Duration::from_secs(300));
    assert_eq!(upstream.endpoints()[0].in_flight(), 0);
    assert_eq!(exchange(&upstream, to("/a")).await.0, "200 GET http://api.example/a {}");
    assert_eq!(server.connections.load(SeqCst), 2);
}

/// A stream that may be silent for an hour, on a dead connection that was not closed.
#[tokio::test(start_paused = true)]
async fn a_ping_that_is_not_answered() {
    // The end of the head of a request without a body, on the first stream; then SETTINGS, and HEADERS with `:status
    // 200`.
    let asked = Step::Until("\u{1}\u{5}\0\0\0\u{1}");
    let answer = Step::Write(b"\0\0\0\x04\0\0\0\0\0\0\0\x01\x01\x04\0\0\0\x01\x88".to_vec());
    let server = scripted(vec![vec![asked, answer, Step::Hang]]).await;
    let upstream = super::upstream(&server.address, |transport| {
        transport.protocol = Protocol::Http2;
        transport.body_timeout = Duration::from_secs(60 * 60);
    });
    let started = tokio::time::Instant::now();
    assert_eq!(exchange(&upstream, to("/a")).await.0, "200 and a body that breaks off");
    assert_eq!(started.elapsed().as_secs() / 10, 32, "{:?}", started.elapsed());
    until("the connection is gone", || upstream.endpoints()[0].stats().connections == 0).await;
}

/// Frames of the first stream, after SETTINGS.
fn first_frames(frames: &[u8]) -> Step {
    Step::Write([&b"\0\0\0\x04\0\0\0\0\0"[..], frames].concat())
}

/// An endpoint may say that it has not processed a request: then the request is sent again whatever its method, if its
/// body is in memory.
#[tokio::test]
async fn a_request_that_is_refused() {
    const HEAD: &str = "\u{1}\u{5}\0\0\0\u{1}";
    const REFUSED: &[u8] = b"\0\0\x04\x03\0\0\0\0\x01\0\0\0\x07";
    const CANCEL: &[u8] = b"\0\0\x04\x03\0\0\0\0\x01\0\0\0\x08";
    const GOAWAY: &[u8] = b"\0\0\x08\x07\0\0\0\0\0\0\0\0\0\0\0\0\0";
    const ANSWER: &[u8] = b"\0\0\x01\x01\x05\0\0\0\x01\x88";
    let full = || Body::from(Bytes::from_static(b"abcd"));
    let streaming = || frames(vec![data("abcd")]);
    for (number, (body, end, refusal, shown)) in [
        (Body::Empty, HEAD, REFUSED, "200"),
        (Body::Empty, HEAD, GOAWAY, "200"),
        (full(), "abcd", REFUSED, "200"),
        (full(), "abcd", GOAWAY, "200"),
        (streaming(), "abcd", REFUSED, "502 Closed"),
        (Body::Empty, HEAD, CANCEL, "502 Closed"),
    ]
    .into_iter()
    .enumerate()
    {
        let script = |answer| vec![Step::Until(end), first_frames(answer)];
        let server = scripted(vec![script(refusal), script(ANSWER)]).await;
        let (answer, facts) = exchange(&upstream(&server.address), request("POST", body)).await;
        assert_eq!(answer, shown, "{number}");
        let attempts = if shown == "200" { 2 } else { 1 };
        assert_eq!((facts.attempts as usize, server.connections.load(SeqCst)), (attempts, attempts), "{number}");
    }
}

#[tokio::test]
async fn bodies_that_fail() {
    let server = server(100).await;
    let upstream = upstream(&server.address);
    for path in ["/broken", "/bad-length"] {
        // The reset may overtake the head.
        let (shown, _) = exchange(&upstream, to(path)).await;
        assert!(["502 Closed", "200 and a body that breaks off"].contains(&&*shown), "{path} {shown}");
    }
    let (shown, _) = exchange(&upstream, request("POST", frames(vec![data("a"), Err(BodyError::TooLarge(1))]))).await;
    assert_eq!(shown, "413 RequestBody");
    assert_eq!(upstream.endpoints()[0].in_flight(), 0);
    assert_eq!(server.connections.load(SeqCst), 1);
}

#[tokio::test]
async fn a_server_that_speaks_something_else() {
    let server = scripted(vec![vec![Step::Until("SM\r\n\r\n"), write("HTTP/1.1 400 Bad Request\r\n\r\n")]]).await;
    let upstream = upstream(&server.address);
    let (shown, facts) = exchange(&upstream, to("/a")).await;
    assert!(shown.starts_with("502"), "{shown}");
    assert_eq!(facts.attempts, 1);
    until("the connection is gone", || upstream.endpoints()[0].stats().connections == 0).await;
}

#[tokio::test]
async fn nobody_listens() {
    let unused = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string();
    let upstream = upstream(&unused);
    let requests: Vec<_> = (0..5)
        .map(|_| {
            let upstream = Arc::clone(&upstream);
            tokio::spawn(async move { exchange(&upstream, to("/a")).await.0 })
        })
        .collect();
    for request in requests {
        assert_eq!(request.await.unwrap(), "502 Connect");
    }
}

#[tokio::test(start_paused = true)]
async fn unused_connections_go() {
    let server = server(100).await;
    let upstream = upstream(&server.address);
    let endpoint = &upstream.endpoints()[0];
    assert_eq!(exchange(&upstream, to("/a")).await.0, "200 GET http://api.example/a {}");
    assert_eq!(endpoint.pool().borrow().shared(), 1);
    tokio::time::sleep(Duration::from_secs(55)).await;
    until("the connection is gone", || endpoint.stats().connections == 0).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(!endpoint.pool().borrow().sweeping);
}
