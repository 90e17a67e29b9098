//! `grpc-json`: REST clients, and gRPC servers that are well and that are not.

use std::convert::Infallible;

use bytes::Bytes;
use futures_util::stream;
use gatewright_tests::{Client, GrpcServer, Server, TestGateway, Wire, eventually, send};
use http::{HeaderMap, HeaderValue, Response};
use http_body_util::{Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};

fn plugin(more: Value) -> Value {
    let mut config = json!({ "protos": { "notes.proto": GrpcServer::proto() } });
    config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({ "grpc-json": config })
}

fn config(upstream: &str, more: Value) -> Value {
    json!({
        "shutdown": { "drain_timeout": "50ms" },
        "upstreams": { "notes": { "endpoints": [upstream], "protocol": "h2c" } },
        "plugins": { "grpc-json": { "limits": { "body": "4MiB", "transfer": "16MiB", "memory": "64MiB", "time": "2s" } } },
        "routes": [{ "match": {}, "plugins": [plugin(more)], "to": "notes" }],
    })
}

#[tokio::test]
async fn one_message_each_way() {
    let server = GrpcServer::start().await;
    let gateway = TestGateway::start(config(&server.text(), json!({})));
    let note = json!({ "text": "ü", "count": "9007199254740993", "data": "aGk=", "inner": { "tags": ["a", "b"] } });
    for mut client in [Client::http1(gateway.address()).await, Client::http2(gateway.address()).await] {
        let authorized = [("authorization", "Bearer t"), ("grpc-timeout", "5S")];
        let answer = client.send("POST", "/v1/notes", &authorized, note.to_string()).await.unwrap();
        assert_eq!((answer.status, answer.json()), (200, note.clone()), "{answer:?}");
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert_eq!(answer.header("content-length"), Some(answer.body.len().to_string().as_str()));
        assert_eq!(answer.header("x-header"), Some("of the server"));
        assert_eq!((answer.header("grpc-status"), &answer.trailers), (None, &None));
        let seen = server.seen.headers.lock().unwrap().clone();
        let header = |name: &str| seen.get(name).map(|value| value.to_str().unwrap().to_owned());
        assert_eq!(header("authorization").as_deref(), Some("Bearer t"));
        assert_eq!(header("content-type").as_deref(), Some("application/grpc"));
        assert_eq!(header("te").as_deref(), Some("trailers"));
        assert_eq!(header("grpc-timeout").as_deref(), Some("5000000u"));

        // Without a body, from path and query; and a part of the message as the body.
        let answer = client.send("GET", "/v1/notes/a%20b?tags=x&tags=y&inner.count=-3", &[], "").await.unwrap();
        let expected = json!({ "text": "a b", "tags": ["x", "y"], "inner": { "count": "-3" } });
        assert_eq!((answer.status, answer.json()), (200, expected));
        let answer = client.send("PUT", "/v1/notes/a/inner", &[], r#"{"text":"b"}"#).await.unwrap();
        assert_eq!((answer.status, answer.json()), (200, json!({ "text": "b" })));
    }
    let answer = gateway.get("/v1/fail").await;
    assert_eq!((answer.status, answer.header("x-trailer")), (400, Some("of the failure")));
    assert_eq!(answer.json(), json!({ "code": 9, "message": "not like this: 100 %, ü" }));
}

#[tokio::test]
async fn what_is_no_call_never_reaches_the_server() {
    let server = GrpcServer::start().await;
    let gateway = TestGateway::start(config(&server.text(), json!({})));
    let large = format!(r#"{{"text":"{}"}}"#, "x".repeat(5 << 20));
    let deep = format!("/v1/notes/a?{}count=1", "inner.".repeat(200));
    for (method, path, body, status) in [
        ("GET", "/v2", "", 404),
        ("DELETE", "/v1/notes", "", 405),
        ("POST", "/v1/notes", "{", 400),
        ("POST", "/v1/notes", "{\"text\":1}", 400),
        ("POST", "/v1/notes", "{\"words\":1}", 400),
        ("POST", "/v1/notes", "{\"count\":\"9223372036854775808\"}", 400),
        ("POST", "/v1/notes", "{\"data\":\"*\"}", 400),
        ("POST", "/v1/notes", &large, 413),
        ("GET", "/v1/notes/a?count=x", "", 400),
        ("GET", "/v1/notes/a?words=x", "", 400),
        ("GET", &deep, "", 400),
        ("POST", "/v1/notes:collect", "{\"text\":\"a\"}\n{", 400),
    ] {
        let answer = send(gateway.address(), method, path, &[], body.to_owned()).await;
        answer.problem(status);
    }
    // The one that streams had begun.
    assert!(server.calls() <= 1, "{}", server.calls());
    eventually("the call is cancelled", async || (server.cancelled() == server.calls()).then_some(())).await;
}

#[tokio::test]
async fn a_call_ends_at_its_deadline_and_with_its_client() {
    let server = GrpcServer::start().await;
    let gateway = TestGateway::start(config(&server.text(), json!({ "timeout_header": "x-timeout" })));
    let answer = gateway.get_with("/v1/hang", &[("x-timeout", "1")]).await;
    assert_eq!(answer.status, 504, "{}", answer.text());
    eventually("it is cancelled", async || (server.cancelled() == 1).then_some(())).await;
    let mut wire = Wire::connect(gateway.address()).await;
    wire.send("GET /v1/hang HTTP/1.1\r\nhost: a\r\n\r\n").await;
    eventually("it is there", async || (server.calls() == 2).then_some(())).await;
    wire.reset();
    eventually("it is cancelled", async || (server.cancelled() == 2).then_some(())).await;
}

#[tokio::test]
async fn a_stream_is_with_the_client_message_by_message() {
    let server = GrpcServer::start().await;
    let gateway = TestGateway::start(config(&server.text(), json!({})));
    for (accept, first, second, end) in [
        ("application/json", "[{\"count\":\"2\"}", ",{\"count\":\"2\"}", "]"),
        ("application/x-ndjson", "{\"count\":\"2\"}\n", "{\"count\":\"2\"}\n", ""),
        ("text/event-stream", "data: {\"count\":\"2\"}\n\n", "data: {\"count\":\"2\"}\n\n", ""),
    ] {
        let mut wire = Wire::connect(gateway.address()).await;
        wire.send(format!("GET /v1/ticks/2 HTTP/1.1\r\nhost: a\r\naccept: {accept}\r\n\r\n")).await;
        // One permit: the server cannot have sent its second message.
        server.seen.ticks.allow(1);
        let head = wire.read_to(first).await;
        assert!(head.contains(&format!("content-type: {accept}\r\n")), "{head}");
        server.seen.ticks.allow(1);
        wire.read_to(second).await;
        wire.read_to(&format!("{end}\r\n0\r\n")).await;
    }
    // A client that leaves ends the call.
    let mut wire = Wire::connect(gateway.address()).await;
    wire.send("GET /v1/ticks/2 HTTP/1.1\r\nhost: a\r\n\r\n").await;
    server.seen.ticks.allow(1);
    wire.read_to("[{").await;
    assert_eq!(server.cancelled(), 0);
    wire.reset();
    eventually("it is cancelled", async || (server.cancelled() == 1).then_some(())).await;
}

#[tokio::test]
async fn lines_and_arrays_become_streams() {
    let server = GrpcServer::start().await;
    let gateway = TestGateway::start(config(&server.text(), json!({})));
    for body in ["{\"tags\":[\"a\"]}\n{\"tags\":[\"b\"]}\n", "[{\"tags\":[\"a\"]}, {\"tags\":[\"b\"]}]"] {
        let answer = gateway.post("/v1/notes:collect", &[], body).await;
        assert_eq!((answer.status, answer.json()), (200, json!({ "tags": ["a", "b"] })));
    }
    assert_eq!(gateway.post("/v1/notes:collect", &[], "").await.json(), json!({}));

    // Each line is answered before the next one is sent.
    let mut wire = Wire::connect(gateway.address()).await;
    wire.send(
        "POST /v1/notes:bidi HTTP/1.1\r\nhost: a\r\naccept: application/x-ndjson\r\ntransfer-encoding: chunked\r\n\r\n",
    )
    .await;
    for text in ["one", "two", "three"] {
        wire.send_chunk(&format!("{{\"text\":\"{text}\"}}")).await;
        wire.read_to(&format!("{{\"text\":\"{text}\"}}\n")).await;
    }
    wire.send("0\r\n\r\n").await;
    wire.read_to("\r\n0\r\n").await;
}

/// Resident memory of this process, in MiB.
fn resident_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() >> 10
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_messages_of_a_mebibyte_need_no_memory() {
    let server = GrpcServer::start().await;
    let gateway = TestGateway::start(config(&server.text(), json!({})));
    let read = |count: u32| {
        let address = gateway.address();
        async move {
            let mut client = Client::http2(address).await;
            let mut bytes = 0_usize;
            let mut peak = 0;
            client
                .read("GET", &format!("/v1/flood/{count}"), &[("accept", "application/x-ndjson")], |piece| {
                    bytes += piece.len();
                    peak = peak.max(resident_mib());
                })
                .await;
            (bytes, peak)
        }
    };
    let line = "{\"data\":\"\"}\n".len() + (1_usize << 20).div_ceil(3) * 4;
    let (bytes, before) = read(20).await;
    assert_eq!(bytes, 20 * line);
    let (bytes, after) = read(1000).await;
    assert_eq!(bytes, 1000 * line);
    assert!(after < before + 64, "{before} MiB became {after} MiB");
}

/// A server in HTTP/2 that answers with these frames, and then as it is told.
async fn broken(frames: &'static [&'static [u8]], end: End) -> (String, tokio::task::JoinHandle<()>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let task = tokio::spawn(async move {
        let mut connections = tokio::task::JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            let service = hyper::service::service_fn(move |_: http::Request<Incoming>| async move {
                let data = frames.iter().map(|frame| Ok(Frame::data(Bytes::from_static(frame))));
                let last = match end {
                    End::Nothing => None,
                    End::Reset => Some(Err(std::io::Error::other("reset"))),
                    End::Ok => {
                        let status = (http::HeaderName::from_static("grpc-status"), HeaderValue::from_static("0"));
                        Some(Ok(Frame::trailers(HeaderMap::from_iter([status]))))
                    }
                };
                let body = StreamBody::new(stream::iter(data.chain(last).collect::<Vec<_>>()));
                Ok::<_, Infallible>(Response::builder().header("content-type", "application/grpc").body(body).unwrap())
            });
            connections.spawn(async move {
                let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                let _ = builder.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    (address, task)
}

#[derive(Clone, Copy, Debug)]
enum End {
    Nothing,
    Reset,
    Ok,
}

const NOTE: &[u8] = b"\0\0\0\0\x03\x0a\x01a";

#[tokio::test]
async fn servers_that_are_not_well() {
    for (frames, end, unary, stream) in [
        (&[NOTE][..], End::Nothing, 502, Some("[{\"text\":\"a\"},{\"error\":{")),
        (&[NOTE], End::Reset, 502, None),
        (&[b"\0\0\0\0\x03\x0a"], End::Ok, 502, None),
        (&[b"\0\xff\xff\xff\xff"], End::Ok, 502, None),
        (&[b"\x01\0\0\0\0"], End::Ok, 502, None),
        (&[b"\0\0\0\0\x01\xff"], End::Ok, 502, None),
        (&[NOTE, NOTE], End::Ok, 502, Some("[{\"text\":\"a\"},{\"text\":\"a\"}]")),
        (&[b"\0\0\0", b"\0\x03\x0a\x01a"], End::Ok, 200, Some("[{\"text\":\"a\"}]")),
    ] {
        let (address, task) = broken(frames, end).await;
        let gateway = TestGateway::start(config(&address, json!({})));
        let answer = gateway.get("/v1/notes/a").await;
        assert_eq!(answer.status, unary, "{frames:?} {end:?}: {}", answer.text());
        let mut wire = Wire::connect(gateway.address()).await;
        wire.send("GET /v1/ticks/2 HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
        let streamed = wire.read_to_end().await;
        let is_whole = streamed.ends_with("0\r\n\r\n");
        let data: String =
            streamed.split("\r\n").skip(1).filter(|part| part.starts_with(['[', ',', '{', ']'])).collect();
        match stream {
            Some(expected) => assert!(is_whole && data.starts_with(expected), "{frames:?} {end:?}: {streamed}"),
            None => assert!(!is_whole, "{frames:?} {end:?}: {streamed}"),
        }
        task.abort();
    }
}

#[tokio::test]
async fn an_upstream_that_speaks_no_grpc_is_told_of() {
    let page = |_: &gatewright_tests::Received| Response::new(Full::from("<html>"));
    let (plain, modern) = (Server::start(page).await, Server::start_h2c(page).await);
    let mut first = config(&plain.text(), json!({}));
    first["upstreams"]["notes"].as_object_mut().unwrap().remove("protocol");
    for config in [first, config(&modern.text(), json!({}))] {
        let gateway = TestGateway::start(config);
        let problem = gateway.get("/v1/notes/a").await.problem(502);
        assert_eq!(problem["code"], 13);
    }
    // The gateway's own errors are problems as everywhere.
    let gateway = TestGateway::start(config("127.0.0.1:9", json!({})));
    gateway.get("/v1/notes/a").await.problem(502);
}

#[tokio::test]
async fn a_bad_proto_is_refused_with_its_place() {
    let config = json!({
        "routes": [{ "match": {}, "plugins": [{ "grpc-json": { "protos": { "a.proto": "${file:a.proto}" } } }] }],
    });
    let started = TestGateway::try_start_beside(config, |folder| {
        std::fs::write(folder.join("a.proto"), "syntax = \"proto3\";\nmessage A {\n  string a = ;\n}\n").unwrap();
    });
    let error = started.err().unwrap().to_string();
    assert!(error.contains("a.proto:3:14") && error.contains("gateway.json:1:"), "{error}");
}
