//! HTTP/2.

use std::future::poll_fn;

use super::*;

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

#[tokio::test(start_paused = true)]
async fn http2_requests_are_cut_when_the_drain_is_over() {
    let (mut sender, task, drainer, seen) = http2(start()).await;
    let waiting = tokio::spawn(sender.send_request(request(Method::GET, "/wait", "")));
    let silent = sender.send_request(request(Method::GET, "/silent", "")).await.unwrap();
    seen.came.notified().await;
    let started = Instant::now();
    assert!(!drainer.drain(Duration::from_secs(30)).await);
    assert!(!task.is_finished());
    drop(drainer);
    task.await.unwrap();
    assert_eq!(started.elapsed().as_secs(), 30);
    assert!(waiting.await.unwrap().is_err());
    assert!(silent.into_body().collect().await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_hear_of_the_end_is_cut_once_it_is_idle() {
    let mut served = start();
    // A preface, empty SETTINGS, and no answer to anything after that, such as the ping after GOAWAY.
    served.client.write_all(&[PREFACE, &[0, 0, 0, 4, 0, 0, 0, 0, 0]].concat()).await.unwrap();
    let mut frame = [0; 9];
    served.client.read_exact(&mut frame).await.unwrap();
    let started = Instant::now();
    served.drainer.ask();
    served.task.await.unwrap();
    assert_eq!(started.elapsed().as_secs(), 5);
}

/// The client answers pings but does not open the window of its stream. A slow client, and one whose response has
/// nothing more at present, are not mistaken for it.
#[tokio::test(start_paused = true)]
async fn a_client_that_takes_nothing_of_a_response_loses_the_stream() {
    const WINDOW: usize = 1000;
    let served = start();
    let mut builder = h2::client::Builder::new();
    builder.initial_window_size(1000);
    let (sender, connection) = builder.handshake::<_, Bytes>(served.client).await.unwrap();
    tokio::spawn(connection);
    let mut sender = sender.ready().await.unwrap();
    let mut get = |path: &str| {
        let request = Request::get(format!("http://a{path}")).body(()).unwrap();
        sender.send_request(request, true).unwrap().0
    };

    let mut silent = get("/silent").await.unwrap().into_body();
    assert_eq!(take(&mut silent, WINDOW).await, WINDOW);
    silent.flow_control().release_capacity(WINDOW).unwrap();
    assert_eq!(take(&mut silent, 1024 - WINDOW).await, 1024 - WINDOW);

    let started = Instant::now();
    let mut stuck = get("/endless").await.unwrap().into_body();
    assert_eq!(take(&mut stuck, WINDOW).await, WINDOW);
    let reset = stuck.data().await.unwrap().unwrap_err();
    assert_eq!(reset.reason(), Some(h2::Reason::CANCEL));
    assert!((60..=90).contains(&started.elapsed().as_secs()), "{:?}", started.elapsed());

    let mut slow = get("/endless").await.unwrap().into_body();
    for _ in 0..8 {
        assert_eq!(take(&mut slow, WINDOW).await, WINDOW);
        tokio::time::sleep(Duration::from_secs(50)).await;
        slow.flow_control().release_capacity(WINDOW).unwrap();
    }
    let more = tokio::time::timeout(Duration::from_secs(1), silent.data()).await;
    assert!(more.is_err(), "the stream whose response is silent is reset");
}

/// Reads pieces until there are this many bytes; returns how many were read.
async fn take(body: &mut h2::RecvStream, bytes: usize) -> usize {
    let mut taken = 0;
    while taken < bytes {
        taken += body.data().await.unwrap().unwrap().len();
    }
    taken
}

#[tokio::test]
async fn an_extended_connect_becomes_a_tunnel() {
    let served = start();
    let (sender, mut connection) = h2::client::handshake(served.client).await.unwrap();
    let mut settings = connection.ping_pong().unwrap();
    tokio::spawn(connection);
    settings.ping(h2::Ping::opaque()).await.unwrap();
    let mut sender = sender.ready().await.unwrap();
    assert!(sender.is_extended_connect_protocol_enabled());
    let connect = |path: &str| {
        let mut request = Request::builder().method(Method::CONNECT).uri(format!("http://a{path}")).body(()).unwrap();
        request.extensions_mut().insert(h2::ext::Protocol::from_static("echo"));
        request
    };
    let (response, mut body) = sender.send_request(connect("/switch"), false).unwrap();
    let response = response.await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert!(response.headers().get("upgrade").is_none());
    body.send_data(Bytes::from_static(b"through"), true).unwrap();
    let mut back = response.into_body();
    let mut all = Vec::new();
    while let Some(data) = back.data().await {
        all.extend(data.unwrap());
    }
    assert_eq!(all, b"through", "and the end comes through as well");
    // Another stream of the connection is an ordinary request.
    let (response, _) = sender.send_request(Request::get("http://a/early").body(()).unwrap(), true).unwrap();
    assert_eq!(response.await.unwrap().status(), StatusCode::FORBIDDEN);
    assert_eq!(served.seen.requests(), ["GET /switch", "GET /early"]);
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

/// Some clients take a reset for the response, whatever its reason.
#[tokio::test(start_paused = true)]
async fn a_client_that_is_answered_early_may_send_the_rest_of_a_short_body() {
    let served = start();
    let (sender, connection) = h2::client::handshake(served.client).await.unwrap();
    tokio::spawn(connection);
    let mut sender = sender.ready().await.unwrap();
    let post = || Request::post("http://a/early");
    let short = post().body(()).unwrap();
    let long = post().header("content-length", (64 << 10) + 1).body(()).unwrap();
    let unasked = post().header("expect", "100-continue").body(()).unwrap();
    for (head, milliseconds) in [(short, 2000), (long, 500), (unasked, 0)] {
        let started = Instant::now();
        let (response, mut body) = sender.send_request(head, false).unwrap();
        assert_eq!(response.await.unwrap().status(), StatusCode::FORBIDDEN);
        let reason = poll_fn(|cx| body.poll_reset(cx)).await.unwrap();
        // Timers are exact to a millisecond.
        let late = started.elapsed().as_millis() - milliseconds;
        assert!(reason == h2::Reason::NO_ERROR && late <= 2, "one that does not go on: {late} ms after {milliseconds}");
    }
    let (response, mut body) = sender.send_request(post().body(()).unwrap(), false).unwrap();
    assert_eq!(response.await.unwrap().status(), StatusCode::FORBIDDEN);
    body.send_data(Bytes::from_static(b"the rest"), true).unwrap();
    let reset = tokio::time::timeout(Duration::from_secs(10), poll_fn(|cx| body.poll_reset(cx))).await;
    assert!(reset.is_err(), "the stream has come to its end");
    let started = Instant::now();
    let (response, mut body) = sender.send_request(post().body(()).unwrap(), false).unwrap();
    assert_eq!(response.await.unwrap().status(), StatusCode::FORBIDDEN);
    body.send_data(vec![0; (64 << 10) + 1].into(), false).unwrap();
    assert_eq!(poll_fn(|cx| body.poll_reset(cx)).await.unwrap(), h2::Reason::NO_ERROR, "one that goes on for long");
    assert_eq!(started.elapsed().as_secs(), 0);
}

/// Some clients forget what they were about to send once a stream has ended from our side, and wait forever.
#[tokio::test(start_paused = true)]
async fn an_early_answer_waits_for_a_short_body_that_is_announced() {
    let served = start();
    let (sender, connection) = h2::client::handshake(served.client).await.unwrap();
    tokio::spawn(connection);
    let mut sender = sender.ready().await.unwrap();
    let mut post = || {
        let head = Request::post("http://a/early").header("content-length", "8").body(()).unwrap();
        sender.send_request(head, false).unwrap()
    };
    let started = Instant::now();
    let (response, mut body) = post();
    let mut response = tokio::spawn(response);
    let early = tokio::time::timeout(Duration::from_secs(1), &mut response).await;
    assert!(early.is_err(), "it waits");
    body.send_data(Bytes::from_static(b"the rest"), true).unwrap();
    assert_eq!(response.await.unwrap().unwrap().status(), StatusCode::FORBIDDEN);
    assert_eq!(started.elapsed().as_secs(), 1);
    let (response, _body) = post();
    assert_eq!(response.await.unwrap().status(), StatusCode::FORBIDDEN);
    assert_eq!(started.elapsed().as_secs(), 3, "for a while");
}

/// No client is told to continue: hyper sends no interim response over HTTP/2.
#[tokio::test(start_paused = true)]
async fn a_client_that_waits_to_be_asked_for_its_body_is_not_waited_for_long() {
    let served = start();
    let (sender, connection) = h2::client::handshake(served.client).await.unwrap();
    tokio::spawn(connection);
    let mut sender = sender.ready().await.unwrap();
    let mut post = |path: &str| {
        let head = Request::post(format!("http://a{path}")).header("expect", "100-continue").body(()).unwrap();
        sender.send_request(head, false).unwrap()
    };
    let started = Instant::now();
    let (response, mut body) = post("/insists");
    assert_eq!(response.await.unwrap().status(), StatusCode::BAD_REQUEST);
    let reason = poll_fn(|cx| body.poll_reset(cx)).await.unwrap();
    assert_eq!((reason, started.elapsed().as_secs()), (h2::Reason::NO_ERROR, 2));
    let (response, mut body) = post("/loses-patience");
    let response = tokio::spawn(response);
    tokio::time::sleep(Duration::from_secs(1)).await;
    body.send_data(Bytes::from_static(b"a"), false).unwrap();
    tokio::time::sleep(Duration::from_secs(20)).await;
    body.send_data(Bytes::from_static(b"b"), true).unwrap();
    assert_eq!(response.await.unwrap().unwrap().status(), StatusCode::OK, "it may stop as long as any other");
    let unasked = format!("POST /insists {}", BodyError::Expectation);
    assert_eq!(served.seen.requests(), [unasked.as_str(), "POST /loses-patience ab"]);
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
