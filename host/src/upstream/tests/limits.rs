//! Bounds on time and number.

use std::task::Poll;

use proptest::prelude::*;

use super::*;

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// The script of a connection that answers this many requests.
fn answers(count: usize) -> Vec<Step> {
    [HEAD, write(OK)].into_iter().cycle().take(2 * count).collect()
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_does_not_come() {
    for method in ["GET", "POST"] {
        let server = scripted(vec![vec![HEAD, Step::Hang]]).await;
        let upstream = upstream(&server.address, |_| {});
        let started = tokio::time::Instant::now();
        let (shown, facts) = exchange(&upstream, request(method, Body::Empty)).await;
        assert_eq!((shown.as_str(), facts.attempts), ("504 ResponseTimeout", 1));
        let seconds = started.elapsed().as_secs();
        assert!((30..=35).contains(&seconds), "{seconds}");
        until("the connection is gone", || upstream.endpoints()[0].stats().connections == 0).await;
        assert_eq!(upstream.endpoints()[0].in_flight(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_kept_connection_may_wait_as_long_for_its_answer_as_a_new_one() {
    let server = scripted(vec![vec![HEAD, write(OK), HEAD, Step::Hang]]).await;
    let upstream = upstream(&server.address, |_| {});
    assert_eq!(get(&upstream).await, "200 ok");
    tokio::time::sleep(Duration::from_secs(20)).await;
    let started = tokio::time::Instant::now();
    // The request is not sent again: the endpoint may be processing it.
    let (shown, facts) = exchange(&upstream, request("GET", Body::Empty)).await;
    assert_eq!((shown.as_str(), facts.attempts, facts.reused), ("504 ResponseTimeout", 1, true));
    assert!(started.elapsed() >= Duration::from_secs(30));
}

/// A body that yields a byte after each of these pauses.
struct Slow {
    pauses: std::vec::IntoIter<Duration>,
    sleep: Option<std::pin::Pin<Box<tokio::time::Sleep>>>,
}

impl http_body::Body for Slow {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, BodyError>>> {
        if self.sleep.is_none() {
            let Some(pause) = self.pauses.next() else { return Poll::Ready(None) };
            self.sleep = Some(Box::pin(tokio::time::sleep(pause)));
        }
        if let Some(sleep) = &mut self.sleep {
            std::task::ready!(sleep.as_mut().poll(context));
        }
        self.sleep = None;
        Poll::Ready(Some(data("x")))
    }
}

fn slow() -> Body {
    let pauses = vec![Duration::from_secs(50); 3];
    Body::boxed(Slow { pauses: pauses.into_iter(), sleep: None })
}

#[tokio::test(start_paused = true)]
async fn a_slow_client_is_not_held_against_the_endpoint() {
    for (then, expected) in [(write(OK), "200 ok"), (Step::Hang, "504 ResponseTimeout")] {
        let server = scripted(vec![vec![Step::Until("0\r\n\r\n"), then]]).await;
        let upstream = upstream(&server.address, |_| {});
        let started = tokio::time::Instant::now();
        assert_eq!(exchange(&upstream, request("POST", slow())).await.0, expected);
        assert!(started.elapsed() >= Duration::from_secs(150));
    }
}

/// The response head arrives before the body is sent, and nobody reads on until all of it is.
#[tokio::test(start_paused = true)]
async fn a_request_goes_on_while_its_answer_is_not_read() {
    let head = write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n");
    let script = vec![HEAD, head, Step::Until("0\r\n\r\n"), write("0\r\n\r\n"), HEAD, write(OK)];
    let server = scripted(vec![script]).await;
    let upstream = upstream(&server.address, |_| {});
    let response = upstream.send(request("POST", slow()), &Ask::default(), &mut Facts::default()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(200)).await;
    assert!(server.seen.lock().unwrap()[0].ends_with("0\r\n\r\n"));
    assert_eq!(show(response).await, "200 abc");
    assert_eq!(get(&upstream).await, "200 ok");
    assert_eq!(server.connections.load(SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_does_not_read_the_body() {
    // Nobody accepts; the socket buffers fill up.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = upstream(&listener.local_addr().unwrap().to_string(), |_| {});
    let chunk = || Ok(http_body::Frame::data(Bytes::from(vec![b'x'; 1 << 20])));
    let body = frames((0..64).map(|_| chunk()).collect());
    assert_eq!(exchange(&upstream, request("POST", body)).await.0, "504 ResponseTimeout");
}

#[tokio::test(start_paused = true)]
async fn a_body_that_stops_coming() {
    let server = scripted(vec![vec![HEAD, write("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nab")]]).await;
    let upstream = upstream(&server.address, |_| {});
    let send =
        || async { upstream.send(request("GET", Body::Empty), &Ask::default(), &mut Facts::default()).await.unwrap() };
    let started = tokio::time::Instant::now();
    let error = send().await.into_body().collect().await.unwrap_err();
    assert!(matches!(error, BodyError::TimedOut), "{error}");
    let seconds = started.elapsed().as_secs();
    assert!((300..=310).contains(&seconds), "{seconds}");

    // A client that does not read is not counted against the endpoint.
    let mut body = send().await.into_body();
    tokio::time::sleep(Duration::from_secs(1000)).await;
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "ab");
    tokio::time::sleep(Duration::from_secs(1000)).await;
    assert_eq!(upstream.endpoints()[0].stats().connections, 1);
}

/// Reads a byte, is away when the second arrives later than bytes may, and waits for the third. The limit is 50 s.
async fn read_late(upstream: &Upstream, request: Request<Body>) {
    let response = upstream.send(request, &Ask::default(), &mut Facts::default()).await.unwrap();
    let mut body = response.into_body();
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "x");
    let second = std::future::poll_fn(|context| {
        Poll::Ready(http_body::Body::poll_frame(std::pin::Pin::new(&mut body), context).is_pending())
    });
    assert!(second.await, "it does not come yet");
    tokio::time::sleep(Duration::from_secs(150)).await;
    for _ in 0..2 {
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "x");
    }
    assert!(body.frame().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_body_that_came_while_nobody_read() {
    let pause = |seconds| Step::Pause(Duration::from_secs(seconds));
    let head = write("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nx");
    let script = vec![HEAD, head, pause(80), write("x"), pause(100), write("x"), HEAD, write(OK)];
    let server = scripted(vec![script]).await;
    let upstream = upstream(&server.address, |transport| transport.body_timeout = Duration::from_secs(50));
    read_late(&upstream, request("GET", Body::Empty)).await;
    // No trace of it remains on the connection.
    assert_eq!(get(&upstream).await, "200 ok");
    assert_eq!(server.connections.load(SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_not_made() {
    let (listener, _fill) = full_listener();
    let address = listener.local_addr().unwrap().as_socket().unwrap().to_string();
    let upstream = upstream(&address, |_| {});
    let started = tokio::time::Instant::now();
    assert_eq!(get(&upstream).await, "504 ConnectTimeout");
    assert!(started.elapsed() >= Duration::from_secs(2));
    assert_eq!(upstream.endpoints()[0].stats().connections, 0);
}

/// A listener whose backlog is full, so that Linux leaves further connections unanswered.
fn full_listener() -> (socket2::Socket, Vec<socket2::Socket>) {
    let socket = || socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let listener = socket();
    listener.bind(&"127.0.0.1:0".parse::<std::net::SocketAddr>().unwrap().into()).unwrap();
    listener.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let fill = (0..8).map(|_| {
        let client = socket();
        client.set_nonblocking(true).unwrap();
        let _ = client.connect(&address);
        client
    });
    let fill = fill.collect();
    (listener, fill)
}

#[tokio::test(start_paused = true)]
async fn unused_connections_go() {
    let server = scripted(vec![answers(3)]).await;
    let upstream = upstream(&server.address, |_| {});
    let endpoint = &upstream.endpoints()[0];
    assert_eq!(get(&upstream).await, "200 ok");
    tokio::time::sleep(Duration::from_secs(40)).await;
    assert_eq!(get(&upstream).await, "200 ok");
    tokio::time::sleep(Duration::from_secs(45)).await;
    assert_eq!(endpoint.stats().connections, 1, "used again in between");
    tokio::time::sleep(Duration::from_secs(7)).await;
    until("the connection is gone", || endpoint.stats().connections == 0).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(!endpoint.pool().borrow().sweeping, "nothing is left to sweep");
    assert_eq!(get(&upstream).await, "200 ok");
    assert!(endpoint.pool().borrow().sweeping);
}

#[tokio::test(start_paused = true)]
async fn old_connections_go() {
    let server = scripted(vec![answers(100)]).await;
    let upstream = upstream(&server.address, |transport| transport.max_age = Duration::from_secs(100));
    for _ in 0..30 {
        assert_eq!(get(&upstream).await, "200 ok");
        tokio::time::sleep(Duration::from_secs(10)).await;
    }
    assert_eq!(server.connections.load(SeqCst), 3);
}

#[tokio::test]
async fn requests_wait_for_a_connection() {
    let server = scripted(vec![answers(10)]).await;
    let upstream = upstream(&server.address, |transport| transport.max_connections = 1);
    let requests: Vec<_> = (0..10)
        .map(|_| {
            let upstream = Arc::clone(&upstream);
            tokio::spawn(async move { get(&upstream).await })
        })
        .collect();
    for request in requests {
        assert_eq!(request.await.unwrap(), "200 ok");
    }
    assert_eq!(server.connections.load(SeqCst), 1);
    let stats = upstream.endpoints()[0].stats();
    assert_eq!((stats.pending, stats.in_flight, stats.connections), (0, 0, 1));
}

#[tokio::test(start_paused = true)]
async fn requests_do_not_wait_for_ever() {
    for (max_pending, waits) in [(0, 0), (1, 2)] {
        let server = scripted(vec![vec![HEAD, write("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n")]]).await;
        let upstream = upstream(&server.address, |transport| {
            transport.max_connections = 1;
            transport.max_pending = max_pending;
        });
        let held = upstream.send(request("GET", Body::Empty), &Ask::default(), &mut Facts::default()).await.unwrap();
        let started = tokio::time::Instant::now();
        assert_eq!(get(&upstream).await, "503 Overloaded");
        assert!(started.elapsed() >= Duration::from_secs(waits));
        assert_eq!(upstream.endpoints()[0].in_flight(), 1);
        drop(held);
        assert_eq!(upstream.endpoints()[0].in_flight(), 0);
    }
}

#[test]
fn a_core_gives_way_to_another() {
    let core = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let here = core();
    let (server, upstream) = here.block_on(async {
        let server = scripted(vec![answers(2)]).await;
        let upstream = upstream(&server.address, |transport| {
            transport.max_connections = 1;
            transport.idle_timeout = Duration::from_secs(3600);
            transport.response_timeout = Duration::from_millis(1600);
        });
        assert_eq!(get(&upstream).await, "200 ok");
        (server, upstream)
    });
    // The only connection is unused in this core's pool; the other core's request makes the sweep close it.
    let other = std::thread::spawn({
        let upstream = Arc::clone(&upstream);
        move || core().block_on(async move { get(&upstream).await })
    });
    here.block_on(async {
        let other = tokio::task::spawn_blocking(move || other.join().unwrap());
        assert_eq!(other.await.unwrap(), "200 ok");
    });
    assert_eq!(server.connections.load(SeqCst), 2);
    assert_eq!(upstream.endpoints()[0].in_flight(), 0);
}

/// What a client does with a request.
#[derive(Clone, Copy, Debug)]
enum Use {
    Reads,
    DropsBody,
    DropsRequest,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever clients do, the in-flight count returns to zero and no limit is exceeded.
    #[test]
    fn nothing_is_lost_and_no_cap_passed(
        uses in prop::collection::vec((0..4_usize, prop_oneof![Just(Use::Reads), Just(Use::DropsBody), Just(Use::DropsRequest)]), 1..40),
        max_connections in 1..5_usize,
        max_idle in 0..3_usize,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let long = format!("HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n{}", "x".repeat(100_000));
            let closing = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok";
            // Each script ends by closing: a request that arrives then is answered by the next connection.
            let scripts = vec![
                vec![HEAD, write(OK), HEAD, write(&long), HEAD, write(OK), Step::Close],
                vec![HEAD, write(&long), HEAD, Step::Close],
                vec![HEAD, write(closing), Step::Close],
                vec![HEAD, write(OK), HEAD, write(OK), HEAD, Step::Reset],
                vec![HEAD, write(&long), HEAD, write(OK), HEAD, write(&long), HEAD, Step::Close],
                vec![HEAD, write(closing), Step::Close],
            ];
            let server = scripted(scripts).await;
            let upstream = upstream(&server.address, |transport| {
                transport.max_connections = max_connections;
                transport.max_idle = max_idle;
            });
            let endpoint = &upstream.endpoints()[0];
            let mut running = Vec::new();
            for (turns, action) in uses {
                let upstream = Arc::clone(&upstream);
                let task = tokio::spawn(async move {
                    let mut facts = Facts::default();
                    let answer = upstream.send(request("GET", Body::Empty), &Ask::default(), &mut facts).await;
                    if let (Ok(response), Use::Reads) = (answer, action) {
                        show(response).await;
                    }
                });
                for _ in 0..turns {
                    tokio::task::yield_now().await;
                }
                if matches!(action, Use::DropsRequest) {
                    task.abort();
                }
                running.push(task);
                assert!(endpoint.stats().connections <= max_connections);
                assert!(endpoint.pool().borrow().idle() <= max_idle);
            }
            for task in running {
                let _ = task.await;
            }
            let stats = endpoint.stats();
            assert_eq!((stats.in_flight, stats.pending), (0, 0));
            assert!(endpoint.pool().borrow().idle() <= max_idle);
            until("only unused connections are left", || {
                endpoint.stats().connections <= endpoint.pool().borrow().idle()
            })
            .await;
        });
    }
}
