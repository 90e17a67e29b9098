//! What a server can do wrong, and what the client then gets.

use super::*;

async fn check(name: &str, method: &str, scripts: Vec<Vec<Step>>, expected: &str) {
    let server = scripted(scripts).await;
    let upstream = upstream(&server.address, |_| {});
    let (shown, _) = exchange(&upstream, request(method, Body::Empty)).await;
    assert_eq!(shown, expected, "{name}");
    assert_eq!(upstream.endpoints()[0].in_flight(), 0, "{name}");
}

#[tokio::test]
async fn connection_faults() {
    let ok = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    for (name, script, expected) in [
        ("closes after accepting", vec![Step::Close], "502 Closed"),
        ("closes after the request", vec![HEAD, Step::Close], "502 Closed"),
        ("resets after the request", vec![HEAD, Step::Reset], "502 Closed"),
        (
            "closes within the head",
            vec![HEAD, write("HTTP/1.1 200 OK\r\nconte"), Step::Close],
            "502 BadResponse Truncated",
        ),
        (
            "closes within the body",
            vec![HEAD, write("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nabc"), Step::Close],
            "200 and a body that breaks off",
        ),
        (
            "closes within a chunk",
            vec![HEAD, write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nabc"), Step::Close],
            "200 and a body that breaks off",
        ),
        (
            "closes before the last chunk",
            vec![HEAD, write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n"), Step::Close],
            "200 and a body that breaks off",
        ),
        (
            "resets within a body without length",
            vec![HEAD, write("HTTP/1.1 200 OK\r\n\r\nab"), Step::Reset],
            "200 and a body that breaks off",
        ),
        ("ends a body without length", vec![HEAD, write("HTTP/1.1 200 OK\r\n\r\nab"), Step::Close], "200 ab"),
        ("answers", vec![HEAD, write(ok)], "200 ok"),
    ] {
        check(name, "POST", vec![script], expected).await;
    }
}

#[tokio::test]
async fn malformed_responses() {
    for (response, expected) in [
        ("GARBAGE\r\n\r\n", "502 BadResponse Malformed"),
        ("HTTP/2.0 200 OK\r\n\r\n", "502 BadResponse Malformed"),
        ("HTTP/1.1 2000 OK\r\n\r\n", "502 BadResponse Malformed"),
        ("HTTP/1.1 200 OK\r\na b: c\r\n\r\n", "502 BadResponse Malformed"),
        ("HTTP/1.1 200 OK\r\na : c\r\n\r\n", "502 BadResponse Malformed"),
        ("HTTP/1.1 200 OK\r\na: b\r\n c\r\n\r\n", "502 BadResponse Malformed"),
        ("HTTP/1.1 200 OK\r\na: b\x00c\r\n\r\n", "502 BadResponse Malformed"),
        ("HTTP/1.1 200 OK\r\na: b\rc: d\r\n\r\n", "502 BadResponse Malformed"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab", "502 BadResponse ContentLength"),
        ("HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\nab", "502 BadResponse ContentLength"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 2\r\n\r\nab", "502 BadResponse ContentLength"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 2, 2\r\n\r\nab", "502 BadResponse ContentLength"),
        ("HTTP/1.1 304 Not Modified\r\ncontent-length: x\r\n\r\n", "502 BadResponse ContentLength"),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n",
            "502 BadResponse TwoLengths",
        ),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n",
            "502 BadResponse TransferEncoding",
        ),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: identity\r\n\r\nab", "502 BadResponse TransferEncoding"),
        (
            "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n",
            "502 BadResponse TransferEncoding",
        ),
        ("HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n", "502 BadResponse SwitchingProtocols"),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nab\r\n0\r\n\r\n", "502 BadResponse Chunks"),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nabc\r\n0\r\n\r\n", "502 BadResponse Chunks"),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nfffffffffffffffff\r\n", "502 BadResponse Chunks"),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2 \r\nab\r\n0\r\n\r\n", "502 BadResponse Chunks"),
        ("HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\na", "200 a"),
        ("HTTP/1.1 204 No Content\r\n\r\n", "204"),
        ("HTTP/1.1 200 \r\ncontent-length: 0\r\n\r\n", "200"),
    ] {
        check(response, "GET", vec![vec![HEAD, write(response)]], expected).await;
    }
}

#[tokio::test]
async fn responses_over_a_limit() {
    let field = |length: usize| format!("HTTP/1.1 200 OK\r\na: {}\r\ncontent-length: 0\r\n\r\n", "x".repeat(length));
    let fields = |count: usize| format!("HTTP/1.1 200 OK\r\n{}content-length: 0\r\n\r\n", "a: b\r\n".repeat(count - 1));
    for (response, expected) in [
        (field(65_000), "200"),
        (field(66_000), "502 BadResponse Malformed"),
        (field(1_000_000), "502 BadResponse Malformed"),
        (fields(100), "200"),
        (fields(101), "502 BadResponse TooManyHeaders"),
    ] {
        check("a limit", "GET", vec![vec![HEAD, write(&response)]], expected).await;
    }
    let flood = vec![HEAD, Step::Flood("HTTP/1.1 100 Continue\r\n\r\n")];
    check("informational responses without end", "GET", vec![flood], "502 BadResponse Informational").await;
    let endless = vec![HEAD, Step::Flood("HTTP/1.1 200 OK")];
    check("a head without end", "GET", vec![endless], "502 BadResponse Malformed").await;
}

#[tokio::test]
async fn a_limit_on_fields_of_its_own() {
    let server =
        scripted(vec![vec![HEAD, write("HTTP/1.1 200 OK\r\na: 1\r\nb: 2\r\ncontent-length: 0\r\n\r\n")]]).await;
    assert_eq!(get(&upstream(&server.address, |transport| transport.max_headers = 3)).await, "200");
    assert_eq!(
        get(&upstream(&server.address, |transport| transport.max_headers = 2)).await,
        "502 BadResponse TooManyHeaders"
    );
}

#[tokio::test]
async fn an_answer_without_a_body_says_so() {
    let head = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n";
    check("HEAD", "HEAD", vec![vec![HEAD, write(head)]], "200").await;
    let server = scripted(vec![vec![HEAD, write("HTTP/1.1 204 No Content\r\ncontent-length: 5\r\n\r\n")]]).await;
    let upstream = upstream(&server.address, |_| {});
    let response = upstream.send(request("GET", Body::Empty), &Ask::default(), &mut Facts::default()).await.unwrap();
    assert_eq!(response.headers().get("content-length"), None);
}

#[tokio::test]
async fn nobody_listens() {
    let unused = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string();
    let upstream = upstream(&unused, |_| {});
    let mut facts = Facts::default();
    let error = upstream.send(request("GET", Body::Empty), &Ask::default(), &mut facts).await.unwrap_err();
    assert_eq!(error.status(), 502);
    assert_eq!(error.to_string(), format!("upstream \"orders\": {unused} refused the connection"));
    assert_eq!(facts.endpoint.as_deref(), Some(&*unused));
    let stats = upstream.endpoints()[0].stats();
    assert_eq!((stats.connect_failures, stats.failures, stats.connections, stats.in_flight), (1, 1, 0, 0));
}

#[tokio::test]
async fn there_is_no_endpoint() {
    let upstream = Upstream::new(settings(&[]), None);
    let error = upstream.send(request("GET", Body::Empty), &Ask::default(), &mut Facts::default()).await.unwrap_err();
    assert_eq!(error.status(), 503);
    assert_eq!(error.to_string(), "upstream \"orders\": no endpoint takes requests");
}

#[tokio::test]
async fn a_name_is_resolved() {
    let server = scripted(vec![vec![HEAD, write("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")]]).await;
    let port = server.address.rsplit(':').next().unwrap().to_owned();
    assert_eq!(get(&upstream(&format!("localhost:{port}"), |_| {})).await, "200");
    assert_eq!(get(&upstream(&format!("no-such-name.invalid:{port}"), |_| {})).await, "502 Connect");
}

#[tokio::test]
async fn the_clients_body_fails() {
    for (error, expected) in [
        (BodyError::TooLarge(10), "413 RequestBody"),
        (BodyError::TimedOut, "408 RequestBody"),
        (BodyError::Expectation, "417 RequestBody"),
        (BodyError::Plugin("guard".into()), "500 RequestBody"),
    ] {
        let server = scripted(vec![vec![HEAD, Step::Hang]]).await;
        let upstream = upstream(&server.address, |_| {});
        let body = frames(vec![data("some"), Err(error)]);
        assert_eq!(exchange(&upstream, request("POST", body)).await.0, expected);
        let stats = upstream.endpoints()[0].stats();
        assert_eq!((stats.in_flight, stats.failures), (0, 0), "{expected}");
    }
}

#[tokio::test]
async fn a_body_shorter_than_announced_ends_the_connection() {
    let server = scripted(vec![vec![HEAD, Step::Hang]]).await;
    let upstream = upstream(&server.address, |_| {});
    let mut short = request("POST", frames(vec![data("some")]));
    short.headers_mut().insert("content-length", "10".parse().unwrap());
    assert_eq!(exchange(&upstream, short).await.0, "400 ShortRequestBody");
}

#[tokio::test]
async fn an_answer_before_the_body_is_read() {
    let early = "HTTP/1.1 413 Content Too Large\r\ncontent-length: 2\r\nconnection: close\r\n\r\nno";
    // More than the socket buffers hold, so that writing is still in progress when the server closes.
    let chunk = || Ok(http_body::Frame::data(Bytes::from(vec![b'x'; 1 << 20])));
    let megabytes = || frames((0..64).map(|_| chunk()).collect());
    for last in [Step::Hang, Step::Close] {
        let server = scripted(vec![vec![HEAD, write(early), last]]).await;
        let upstream = upstream(&server.address, |_| {});
        assert_eq!(exchange(&upstream, request("POST", megabytes())).await.0, "413 no");
        until("the connection is gone", || upstream.endpoints()[0].stats().connections == 0).await;
    }
}
