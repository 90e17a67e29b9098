//! Which connection a request goes over, and what becomes of the connection.

use super::*;

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

fn idle(upstream: &Upstream) -> usize {
    upstream.endpoints()[0].pool().borrow().idle()
}

#[tokio::test]
async fn a_connection_is_used_again() {
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    let server = scripted(vec![vec![HEAD, write(OK), HEAD, write(chunked), HEAD, write(OK)]]).await;
    let upstream = upstream(&server.address, |_| {});
    for (expected, reused) in [("200 ok", false), ("200 abc", true), ("200 ok", true)] {
        let (shown, facts) = exchange(&upstream, request("GET", Body::Empty)).await;
        assert_eq!(shown, expected);
        assert_eq!((facts.reused, facts.connect_time.is_none(), facts.attempts), (reused, reused, 1));
    }
    assert_eq!((idle(&upstream), server.connections.load(SeqCst)), (1, 1));
    let stats = upstream.endpoints()[0].stats();
    assert_eq!((stats.requests, stats.failures, stats.connects, stats.connections), (3, 0, 1, 1));
}

#[tokio::test]
async fn what_keeps_a_connection() {
    let upload = || frames(vec![data("abc"), data("d")]);
    for (method, body, end, answer, expected) in [
        ("HEAD", Body::Empty, HEAD, "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n", "200"),
        ("GET", Body::Empty, HEAD, "HTTP/1.1 204 No Content\r\n\r\n", "204"),
        ("GET", Body::Empty, HEAD, "HTTP/1.1 304 Not Modified\r\ncontent-length: 9\r\n\r\n", "304"),
        ("GET", Body::Empty, HEAD, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", "200"),
        (
            "GET",
            Body::Empty,
            HEAD,
            "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
            "200 ok",
        ),
        ("POST", upload(), Step::Until("0\r\n\r\n"), OK, "200 ok"),
        ("POST", Body::from(Bytes::from_static(b"abcd")), Step::Until("abcd"), OK, "200 ok"),
    ] {
        let server = scripted(vec![vec![end, write(answer), HEAD, write(OK)]]).await;
        let upstream = upstream(&server.address, |_| {});
        assert_eq!(exchange(&upstream, request(method, body)).await.0, expected);
        assert_eq!(idle(&upstream), 1, "{method} {answer}");
        assert_eq!(get(&upstream).await, "200 ok");
        assert_eq!(server.connections.load(SeqCst), 1);
    }
}

#[tokio::test]
async fn what_the_server_sees() {
    let server = scripted(vec![vec![Step::Until("0\r\n\r\n"), write(OK)]]).await;
    let upstream = upstream(&server.address, |_| {});
    let mut request = request("GET", frames(vec![data("abc"), data("d")]));
    *request.uri_mut() = "http://api.example:8080/a?b".parse().unwrap();
    request.headers_mut().insert("content-length", "1, 1".parse().unwrap());
    assert_eq!(exchange(&upstream, request).await.0, "200 ok");
    let expected = "GET /a?b HTTP/1.1\r\nhost: api.example:8080\r\ntransfer-encoding: chunked\r\n\r\n\
                    3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n";
    assert_eq!(server.seen.lock().unwrap()[0], expected);
}

#[tokio::test]
async fn trailers_pass_both_ways() {
    let answer = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nx-sum: 2\r\n\r\n";
    let server = scripted(vec![vec![Step::Until("x-sum: 1\r\n\r\n"), write(answer)]]).await;
    let upstream = upstream(&server.address, |_| {});
    let trailers = [("x-sum".parse().unwrap(), "1".parse().unwrap())].into_iter().collect();
    let mut request = request("POST", frames(vec![data("a"), Ok(http_body::Frame::trailers(trailers))]));
    request.headers_mut().insert("trailer", "x-sum".parse().unwrap());
    assert_eq!(exchange(&upstream, request).await.0, "200 ok + {\"x-sum\": \"2\"}");
}

#[tokio::test]
async fn what_ends_a_connection() {
    for (name, answer) in [
        ("it said so", "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok"),
        ("bytes are left over", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n\r\n"),
        ("HTTP/1.0", "HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\nok"),
    ] {
        let server = scripted(vec![vec![HEAD, write(answer)]]).await;
        let upstream = upstream(&server.address, |_| {});
        for connection in 1..=3 {
            assert_eq!(get(&upstream).await, "200 ok", "{name}");
            assert_eq!(server.connections.load(SeqCst), connection, "{name}");
        }
        assert_eq!(idle(&upstream), 0, "{name}");
        until("all connections are gone", || upstream.endpoints()[0].stats().connections == 0).await;
    }
}

#[tokio::test]
async fn a_body_that_is_dropped_ends_its_connection() {
    let server = scripted(vec![vec![HEAD, write("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nab")]]).await;
    let upstream = upstream(&server.address, |_| {});
    let endpoint = &upstream.endpoints()[0];
    let response = upstream.send(request("GET", Body::Empty), &Ask::default(), &mut Facts::default()).await.unwrap();
    assert_eq!((endpoint.in_flight(), idle(&upstream)), (1, 0));
    drop(response);
    assert_eq!((endpoint.in_flight(), idle(&upstream)), (0, 0));
    until("the connection is gone", || endpoint.stats().connections == 0).await;
}

#[tokio::test]
async fn a_request_that_is_dropped_ends_its_connection() {
    let server = scripted(vec![vec![HEAD, Step::Hang]]).await;
    let upstream = upstream(&server.address, |_| {});
    let sending = tokio::spawn({
        let upstream = Arc::clone(&upstream);
        async move { get(&upstream).await }
    });
    until("the request is there", || server.seen.lock().unwrap().iter().any(|seen| seen.ends_with("\r\n\r\n"))).await;
    assert_eq!(upstream.endpoints()[0].in_flight(), 1);
    sending.abort();
    until("nothing is left", || {
        let stats = upstream.endpoints()[0].stats();
        (stats.in_flight, stats.connections) == (0, 0)
    })
    .await;
}

/// The server closes the kept connection when the second request arrives, and answers on another.
fn stale() -> Vec<Vec<Step>> {
    vec![vec![HEAD, write(OK), HEAD, Step::Close], vec![HEAD, write(OK), HEAD, write(OK)]]
}

#[tokio::test]
async fn an_unused_connection_closes_under_a_request() {
    for (method, expected) in [("GET", "200 ok"), ("DELETE", "200 ok"), ("POST", "502 Closed"), ("PATCH", "502 Closed")]
    {
        let server = scripted(stale()).await;
        let upstream = upstream(&server.address, |_| {});
        assert_eq!(get(&upstream).await, "200 ok");
        let (shown, facts) = exchange(&upstream, request(method, Body::Empty)).await;
        assert_eq!(shown, expected, "{method}");
        let sent = server.seen.lock().unwrap().clone();
        match expected {
            "200 ok" => {
                assert_eq!((facts.attempts, facts.reused), (2, false));
                let head = format!("{method} /a?b HTTP/1.1\r\nhost: api.example\r\n\r\n");
                assert!(sent[0].ends_with(&head) && sent[1] == head, "{sent:?}");
            }
            _ => assert_eq!((facts.attempts, sent.len()), (1, 1)),
        }
        assert_eq!(upstream.endpoints()[0].in_flight(), 0);
    }
}

#[tokio::test]
async fn an_earlier_request_is_not_sent_again() {
    let first = vec![HEAD, write(OK), HEAD, write(OK), HEAD, Step::Close];
    let server = scripted(vec![first, vec![HEAD, write(OK)]]).await;
    let upstream = upstream(&server.address, |_| {});
    assert_eq!((get(&upstream).await, get(&upstream).await), ("200 ok".into(), "200 ok".into()));
    assert_eq!(exchange(&upstream, request("POST", Body::Empty)).await.0, "502 Closed");
    assert_eq!(server.connections.load(SeqCst), 1);
}

#[tokio::test]
async fn a_body_is_never_sent_twice() {
    let server = scripted(stale()).await;
    let upstream = upstream(&server.address, |_| {});
    assert_eq!(get(&upstream).await, "200 ok");
    let put = request("PUT", Bytes::from_static(b"new"));
    assert_eq!(exchange(&upstream, put).await.0, "502 Closed");
    assert_eq!(server.connections.load(SeqCst), 1);
}

#[tokio::test]
async fn what_began_to_be_answered_is_not_sent_again() {
    let half = vec![HEAD, write(OK), HEAD, write("HTTP/1.1 2"), Step::Close];
    let server = scripted(vec![half, vec![HEAD, write(OK)]]).await;
    let upstream = upstream(&server.address, |_| {});
    assert_eq!(get(&upstream).await, "200 ok");
    assert_eq!(get(&upstream).await, "502 BadResponse Truncated");
    assert_eq!(server.connections.load(SeqCst), 1);
}

#[tokio::test]
async fn a_request_goes_out_again_only_once() {
    let server = scripted(vec![vec![HEAD, write(OK), HEAD, Step::Close], vec![HEAD, Step::Close]]).await;
    let upstream = upstream(&server.address, |_| {});
    assert_eq!(get(&upstream).await, "200 ok");
    let (shown, facts) = exchange(&upstream, request("GET", Body::Empty)).await;
    assert_eq!((shown.as_str(), facts.attempts, server.connections.load(SeqCst)), ("502 Closed", 2, 2));
}

#[tokio::test]
async fn a_connection_that_closed_unseen_costs_nothing() {
    let server = scripted(vec![vec![HEAD, write(OK), Step::Close], vec![HEAD, write(OK)]]).await;
    let upstream = upstream(&server.address, |_| {});
    assert_eq!(get(&upstream).await, "200 ok");
    // Nobody watches an unused connection; it is checked when a request would take it.
    until("the connection is gone", || upstream.endpoints()[0].pool().borrow_mut().drop_closed() == 0).await;
    // Also for a method that is not idempotent: nothing was sent.
    let (shown, facts) = exchange(&upstream, request("POST", Bytes::from_static(b"x"))).await;
    assert_eq!((shown.as_str(), facts.attempts, facts.reused), ("200 ok", 1, false));
}

#[tokio::test]
async fn endpoints_carry_over() {
    let script = vec![vec![HEAD, write(OK), HEAD, write(OK), HEAD, write(OK)]];
    let (a, b) = (scripted(script.clone()).await, scripted(script).await);
    let first = Upstream::new(settings(&[&a.address]), None);
    assert_eq!(get(&first).await, "200 ok");

    let second = Upstream::new(settings(&[&b.address, &a.address]), Some(&first));
    assert!(Arc::ptr_eq(&first.endpoints()[0], &second.endpoints()[1]));
    drop(first);
    assert_eq!((get(&second).await, get(&second).await), ("200 ok".into(), "200 ok".into()));
    assert_eq!((a.connections.load(SeqCst), b.connections.load(SeqCst)), (1, 1));

    let mut changed = settings(&[&a.address]);
    changed.transport.max_idle = 1;
    let third = Upstream::new(changed, Some(&second));
    assert!(!Arc::ptr_eq(&second.endpoints()[1], &third.endpoints()[0]));
    let old = Arc::downgrade(&second.endpoints()[1]);
    drop(second);
    assert!(old.upgrade().is_none(), "connections and sweep of an endpoint do not keep it alive");
    assert_eq!(get(&third).await, "200 ok");
    assert_eq!(a.connections.load(SeqCst), 2);
}

#[tokio::test]
async fn a_call_is_collected_within_its_limits() {
    let server = scripted(vec![vec![HEAD, write(OK), HEAD, write(OK)]]).await;
    let upstream = upstream(&server.address, |_| {});
    let call = |limit| {
        let request = Request::get("http://api.example/keys").body(Bytes::new()).unwrap();
        upstream.call(request, Duration::from_secs(5), limit)
    };
    assert_eq!(call(2).await.unwrap().into_body(), "ok");
    assert_eq!(call(1).await.unwrap_err().to_string(), "the answer's body is longer than 1 bytes");
}
