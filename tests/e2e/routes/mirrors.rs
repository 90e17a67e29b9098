//! Copies of requests for other upstreams. Whatever becomes of a copy, the request does not notice.

use bytes::Bytes;
use gatewright_tests::{Client, Scripted, Server, TestGateway, Wire, eventually, read_head, send};
use http::Response;
use http_body_util::Full;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;

/// A gateway with one route to `main` and these mirrors.
fn mirroring(main: String, shadows: &[(&str, String)], mirror: Value) -> TestGateway {
    TestGateway::start(config(main, shadows, mirror))
}

fn config(main: String, shadows: &[(&str, String)], mirror: Value) -> Value {
    let mut upstreams = json!({ "main": [main] });
    for (name, address) in shadows {
        upstreams[*name] = json!([address]);
    }
    json!({
        "upstreams": upstreams,
        "limits": { "request_body": "64MiB" },
        "routes": [{ "name": "r", "match": { "path": "/a/*" }, "to": "main", "mirror": mirror }],
    })
}

async fn copies(gateway: &TestGateway, result: &str) -> f64 {
    gateway.metric("gatewright_mirrored_requests_total", &["http_route=\"r\"", &format!("result=\"{result}\"")]).await
}

async fn until_copies(gateway: &TestGateway, result: &str, count: f64) {
    eventually(&format!("{count} copies are {result}"), async || {
        (copies(gateway, result).await == count).then_some(())
    })
    .await;
}

/// Waits until no copy is under way, and says how many there were.
async fn all_copies(gateway: &TestGateway) -> f64 {
    eventually("no copy is under way", async || {
        (gateway.metric("gatewright_mirror_active_requests", &[]).await == 0.0).then_some(())
    })
    .await;
    gateway.metric("gatewright_mirrored_requests_total", &[]).await
}

/// A server that takes a connection, tells of the request's head, and never answers or reads on.
async fn hanging() -> (Scripted, mpsc::UnboundedReceiver<()>) {
    let (arrived, arrivals) = mpsc::unbounded_channel();
    let server = Scripted::start(move |mut stream| {
        let arrived = arrived.clone();
        async move {
            read_head(&mut stream).await;
            let _ = arrived.send(());
            std::future::pending::<()>().await;
        }
    })
    .await;
    (server, arrivals)
}

#[tokio::test]
async fn request_mirror() {
    let main = Server::named("main").await;
    let shadow = Server::start(|_| Response::builder().status(500).body(Full::from("shadow")).unwrap()).await;
    let gateway = mirroring(main.text(), &[("shadow", shadow.text())], json!("shadow"));
    let answer = gateway.post("/a/b?c=d", &[("x-tenant", "one"), ("host", "a.test")], "a body").await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "main"));
    until_copies(&gateway, "answered", 1.0).await;
    let (sent, copy) = (main.only(), shadow.only());
    assert_eq!((&copy.method, &copy.target, &copy.body), (&sent.method, &sent.target, &sent.body));
    assert_eq!(copy.headers, sent.headers);
    assert_eq!((copy.header("host"), copy.header("content-length")), (Some("a.test"), Some("6")));

    assert_eq!(gateway.get("/a/b").await.text(), "main", "a request without a body");
    until_copies(&gateway, "answered", 2.0).await;
    let streamed = "POST /a/c HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n";
    let mut wire = Wire::connect(gateway.address()).await;
    wire.send(streamed).await;
    for chunk in ["one", "two"] {
        wire.send_chunk(chunk).await;
    }
    wire.send("0\r\n\r\n").await;
    assert!(wire.read_to_end().await.starts_with("HTTP/1.1 200 OK"));
    until_copies(&gateway, "answered", 3.0).await;
    assert_eq!((&main.received()[2].body[..], &shadow.received()[2].body[..]), (&b"onetwo"[..], &b"onetwo"[..]));
    // The log knows the request and not its copies.
    let records = gateway.wait_for_records(3).await;
    assert!(records.iter().all(|record| record["upstream"] == "main"), "{records:?}");
}

#[tokio::test]
async fn request_multiple_mirrors() {
    let (main, two, three) = (Server::named("one").await, Server::named("two").await, Server::named("three").await);
    let mirrors = json!(["two", {
        "upstream": "three",
        "rewrite": { "path": { "prefix": "/shadow" }, "host": "shadow.test" },
        "request_headers": { "set": { "x-mirrored": "yes" }, "remove": ["authorization"] },
    }]);
    let gateway = mirroring(main.text(), &[("two", two.text()), ("three", three.text())], mirrors);
    let headers = [("host", "a.test"), ("authorization", "Bearer x")];
    assert_eq!(gateway.post("/a/b?c", &headers, "body").await.text(), "one");
    assert_eq!(all_copies(&gateway).await, 2.0);
    let (main, two, three) = (main.only(), two.only(), three.only());
    assert_eq!((main.target.as_str(), two.target.as_str(), three.target.as_str()), ("/a/b?c", "/a/b?c", "/shadow/b?c"));
    assert_eq!((two.header("host"), two.header("authorization")), (Some("a.test"), Some("Bearer x")));
    assert_eq!((three.header("host"), three.header("authorization")), (Some("shadow.test"), None));
    assert_eq!((three.header("x-mirrored"), main.header("x-mirrored")), (Some("yes"), None));
    assert_eq!((&two.body[..], &three.body[..]), (&b"body"[..], &b"body"[..]));
}

#[tokio::test]
async fn request_percentage_mirror() {
    const REQUESTS: f64 = 1000.0;
    let (main, shadow) = (Server::named("main").await, Server::named("shadow").await);
    // Six standard deviations of a half to either side: one run in five hundred million is beyond.
    for (percent, least, most) in [(0.0, 0.0, 0.0), (50.0, 405.0, 595.0), (100.0, REQUESTS, REQUESTS)] {
        let mirror = json!({ "upstream": "shadow", "percent": percent });
        let gateway = mirroring(main.text(), &[("shadow", shadow.text())], mirror);
        let mut client = Client::http1(gateway.address()).await;
        for _ in 0..REQUESTS as u32 {
            assert_eq!(client.send("GET", "/a", &[], "").await.unwrap().status, 200);
        }
        let copied = all_copies(&gateway).await;
        assert!((least..=most).contains(&copied), "{copied} of {REQUESTS} at {percent} %");
    }
}

#[tokio::test]
async fn a_mirror_that_hangs_holds_up_nobody_and_gets_no_more_than_its_bound() {
    let main = Server::named("main").await;
    let (shadow, mut arrivals) = hanging().await;
    let mirror = json!({ "upstream": "shadow", "max_concurrent": 2, "timeout": "5m" });
    let gateway = mirroring(main.text(), &[("shadow", shadow.text())], mirror);
    for round in 0..5 {
        assert_eq!(gateway.post("/a", &[], "body").await.text(), "main");
        if round < 2 {
            arrivals.recv().await.unwrap();
        }
    }
    assert_eq!(copies(&gateway, "over-limit").await, 3.0);
    assert_eq!(gateway.metric("gatewright_mirror_active_requests", &["upstream=\"shadow\""]).await, 2.0);
    assert!(arrivals.try_recv().is_err(), "no third copy was sent");
}

#[tokio::test]
async fn a_copy_that_takes_too_long_is_given_up() {
    let main = Server::named("main").await;
    let (shadow, _arrivals) = hanging().await;
    let mirror = json!({ "upstream": "shadow", "timeout": "20ms" });
    let gateway = mirroring(main.text(), &[("shadow", shadow.text())], mirror);
    assert_eq!(gateway.post("/a", &[], "body").await.text(), "main");
    until_copies(&gateway, "timed-out", 1.0).await;
    assert_eq!(all_copies(&gateway).await, 1.0);
}

#[tokio::test]
async fn a_mirror_that_is_dead_or_answers_nonsense_fails_nothing() {
    let main = Server::named("main").await;
    let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let odd = Scripted::answering(b"220 smtp.example.com\r\n\r\n").await;
    let gateway = mirroring(main.text(), &[("dead", dead), ("odd", odd.text())], json!(["dead", "odd"]));
    for body in ["", "body"] {
        assert_eq!(gateway.post("/a", &[], body).await.text(), "main");
    }
    until_copies(&gateway, "failed", 4.0).await;
}

#[tokio::test]
async fn a_mirror_that_is_slow_on_a_streaming_body_loses_its_copy() {
    // More than the sockets on the way can hold.
    const LENGTH: usize = 48 << 20;
    let main = Server::start(|request| Response::new(Full::from(request.body.len().to_string()))).await;
    let (shadow, _arrivals) = hanging().await;
    let quick = Server::named("quick").await;
    let mirrors = json!(["slow", { "upstream": "quick", "max_buffer": "16MiB" }]);
    let gateway = mirroring(main.text(), &[("slow", shadow.text()), ("quick", quick.text())], mirrors);
    let answer = send(gateway.address(), "POST", "/a", &[], Bytes::from(vec![b'x'; LENGTH])).await;
    assert_eq!(answer.text(), LENGTH.to_string());
    assert_eq!(all_copies(&gateway).await, 2.0);
    let slow = ["upstream=\"slow\"", "result=\"behind\""];
    assert_eq!(gateway.metric("gatewright_mirrored_requests_total", &slow).await, 1.0);
    assert!(quick.received().iter().all(|copy| copy.body.len() == LENGTH), "a copy is whole or none");
}

#[tokio::test]
async fn a_request_that_breaks_off_is_never_a_whole_copy() {
    let (main, shadow) = (Server::named("main").await, Server::named("shadow").await);
    let gateway = mirroring(main.text(), &[("shadow", shadow.text())], json!("shadow"));
    for framing in ["content-length: 10", "transfer-encoding: chunked"] {
        let mut wire = Wire::connect(gateway.address()).await;
        wire.send(format!("POST /a HTTP/1.1\r\nhost: a\r\n{framing}\r\n\r\n")).await;
        wire.send_chunk("ab").await;
        eventually("the copy is under way", async || {
            (gateway.metric("gatewright_mirror_active_requests", &[]).await == 1.0).then_some(())
        })
        .await;
        wire.reset();
        all_copies(&gateway).await;
    }
    assert_eq!(copies(&gateway, "incomplete").await, 2.0);
    assert!(shadow.received().is_empty());
}

#[tokio::test]
async fn an_upstream_that_answers_early_ends_the_copy() {
    let main = Scripted::answering(b"HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await;
    let shadow = Server::named("shadow").await;
    let gateway = mirroring(main.text(), &[("shadow", shadow.text())], json!("shadow"));
    let mut wire = Wire::connect(gateway.address()).await;
    wire.send("POST /a HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nabc").await;
    wire.read_to("HTTP/1.1 413 ").await;
    wire.reset();
    until_copies(&gateway, "incomplete", 1.0).await;
    assert!(shadow.received().is_empty());
}

#[tokio::test]
async fn an_endless_answer_is_cut() {
    let main = Server::named("main").await;
    let (closed, mut closings) = mpsc::unbounded_channel();
    let shadow = Scripted::start(move |mut stream| {
        let closed = closed.clone();
        async move {
            read_head(&mut stream).await;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100000000000\r\n\r\n").await;
            while stream.write_all(&[b'x'; 4096]).await.is_ok() {}
            let _ = closed.send(());
        }
    })
    .await;
    let gateway = mirroring(main.text(), &[("shadow", shadow.text())], json!("shadow"));
    assert_eq!(gateway.get("/a").await.text(), "main");
    closings.recv().await.unwrap();
    until_copies(&gateway, "answered", 1.0).await;
}

#[tokio::test]
async fn what_is_not_sent_on_is_not_mirrored() {
    let (main, shadow) = (Server::named("main").await, Server::named("shadow").await);
    let mut config = config(main.text(), &[("shadow", shadow.text())], json!("shadow"));
    config["routes"][0]["plugins"] =
        json!([{ "key-auth": { "keys": [{ "key": "a-key-that-is-long", "subject": "a" }] } }]);
    let gateway = TestGateway::start(config);
    gateway.get("/a").await.problem(401);
    let key = ("x-api-key", "a-key-that-is-long");
    let upgrade = [("connection", "upgrade"), ("upgrade", "websocket"), ("sec-websocket-version", "13")];
    let handshake = [&upgrade[..], &[("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="), key]].concat();
    assert_eq!(gateway.get_with("/a", &handshake).await.text(), "main", "a tunnel would have no copy");
    assert_eq!(gateway.metric("gatewright_mirrored_requests_total", &[]).await, 0.0);
    assert_eq!(gateway.get_with("/a", &[key]).await.text(), "main");
    assert_eq!(all_copies(&gateway).await, 1.0);
    assert_eq!(shadow.only().header("x-api-key"), None, "a copy is what the plugins left");
}

#[tokio::test]
async fn a_request_that_is_tried_again_is_copied_once() {
    let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let (main, shadow) = (Server::named("main").await, Server::named("shadow").await);
    let mut config = config(dead, &[("shadow", shadow.text())], json!("shadow"));
    config["workers"] = json!(1);
    config["upstreams"]["main"].as_array_mut().unwrap().push(json!(main.text()));
    config["routes"][0]["retries"] = json!({ "methods": ["POST"] });
    let gateway = TestGateway::start(config);
    for _ in 0..4 {
        assert_eq!(gateway.post("/a", &[], "body").await.text(), "main");
    }
    assert_eq!(all_copies(&gateway).await, 4.0);
    assert!(gateway.metric("gatewright_upstream_retries_total", &["\"main\""]).await >= 1.0);
    assert!(shadow.received().iter().all(|copy| &copy.body[..] == b"body"));
}

#[tokio::test]
async fn mirrors_speak_the_protocol_of_their_upstream_and_count_on_after_a_reload() {
    let main = Server::named("main").await;
    let shadow = Server::start_h2c(|_| Response::default()).await;
    let mut config = config(main.text(), &[], json!("shadow"));
    config["upstreams"]["shadow"] = json!({ "endpoints": [shadow.text()], "protocol": "h2c" });
    let gateway = TestGateway::start(config.clone());
    assert_eq!(gateway.post("/a", &[("host", "a.test")], "body").await.text(), "main");
    until_copies(&gateway, "answered", 1.0).await;
    assert_eq!(shadow.only().authority.as_deref(), Some("a.test"));
    config["limits"] = json!({ "request_body": "1MiB" });
    gateway.write_config(config);
    gateway.reload().unwrap();
    assert_eq!(gateway.post("/a", &[], "body").await.text(), "main");
    until_copies(&gateway, "answered", 2.0).await;
}
