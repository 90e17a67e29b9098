//! `grpc-json`, `grpc-web` and `json-grpc` with peers of other makers: grpcio, `@connectrpc/connect` and `grpc-web` from npm.

use std::path::PathBuf;

use base64::Engine as _;
use gatewright_tests::{
    Client, GrpcClient, GrpcPeer, GrpcServer, Note, Server, TestGateway, Wire, call_by_npm, eventually, send,
};
use http::Response;
use http_body_util::Full;
use prost::Message as _;
use serde_json::{Value, json};
use tonic::Code;

/// The descriptor set of notes.proto in a file, as protoc would write it.
fn descriptor_set() -> (tempfile::TempDir, PathBuf) {
    let protos = [("notes.proto".to_owned(), GrpcServer::proto())].into();
    let sources = gatewright_transcoding::Sources { descriptor_set: None, protos: &protos, services: &[] };
    let set = gatewright_transcoding::Schema::new(sources).unwrap().pool().encode_to_vec();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notes.pb");
    std::fs::write(&path, set).unwrap();
    (folder, path)
}

fn config(upstream: &str, protocol: &str, plugins: Value) -> Value {
    json!({
        "shutdown": { "drain_timeout": "50ms" },
        "upstreams": { "notes": { "endpoints": [upstream], "protocol": protocol } },
        "routes": [{ "match": {}, "plugins": plugins, "to": "notes" }],
    })
}

fn web(upstream: &str) -> Value {
    config(upstream, "h2c", json!([{ "grpc-web": { "protos": { "notes.proto": GrpcServer::proto() } } }]))
}

#[tokio::test]
async fn rest_to_grpcio() {
    let (_folder, set) = descriptor_set();
    let server = GrpcPeer::serve(&set);
    let plugins = json!([{ "grpc-json": { "descriptor_set": "${base64:notes.pb}" } }]);
    let gateway = TestGateway::start_beside(config(&server.text(), "h2c", plugins), |folder| {
        std::fs::copy(&set, folder.join("notes.pb")).unwrap();
    });
    let answer = gateway.post("/v1/notes", &[("x-mine", "m")], r#"{"text":"ü","count":"7"}"#).await;
    assert_eq!((answer.status, answer.json()), (200, json!({ "text": "ü", "count": "7" })), "{}", answer.text());
    assert_eq!((answer.header("x-header"), answer.header("x-trailer")), (Some("of python"), Some("of python")));
    assert_eq!(answer.header("x-mine"), Some("m"));
    let answer = gateway.get("/v1/fail").await;
    assert_eq!((answer.status, answer.json()), (404, json!({ "code": 5, "message": "no ü: 100 %" })));
    let answer = gateway.get("/v1/ticks/2").await;
    assert_eq!(answer.json(), json!([{ "count": "2" }, { "count": "2" }]));
    let answer = gateway.post("/v1/notes:collect", &[], "{\"tags\":[\"a\"]}\n{\"tags\":[\"b\"]}").await;
    assert_eq!(answer.json(), json!({ "tags": ["a", "b"] }));
    let answer = gateway.post("/v1/notes:bidi", &[], "[{\"text\":\"a\"},{\"text\":\"b\"}]").await;
    assert_eq!(answer.json(), json!([{ "text": "a" }, { "text": "b" }]));
}

/// What a client says of the same calls, in order.
async fn said(gateway: &TestGateway, server: &GrpcServer, client: &str) -> Vec<Value> {
    let (_folder, set) = descriptor_set();
    let mut said = Vec::new();
    if client == "connect-grpc-web" {
        server.seen.ticks.allow(1);
    }
    call_by_npm(&set, &format!("http://{}", gateway.address()), client, |line| {
        // The second message of the stream is not sent before the first one was heard of.
        if line.get("message").is_some_and(Value::is_object) && said.iter().all(|it: &Value| !it["message"].is_object())
        {
            server.seen.ticks.allow(1);
        }
        said.push(line);
    })
    .await;
    said
}

#[tokio::test]
async fn connect_from_npm() {
    let server = GrpcServer::start().await;
    let gateway = TestGateway::start(web(&server.text()));
    let answer =
        json!({ "answer": { "text": "ü", "count": "5", "tags": ["a"] }, "header": "of the server", "trailer": null });
    let failed = json!({ "code": "FailedPrecondition", "message": "not like this: 100 %, ü" });
    let late = json!({ "code": "DeadlineExceeded" });
    let tick = json!({ "message": { "count": "2" } });
    for (client, streams) in [("connect", false), ("connect-json", false), ("connect-grpc-web", true)] {
        let mut expected = vec![answer.clone(), failed.clone(), late.clone()];
        expected.extend(std::iter::repeat_n(tick.clone(), if streams { 2 } else { 0 }));
        expected.push(json!("end"));
        assert_eq!(said(&gateway, &server, client).await, expected, "{client}");
        assert_eq!(server.seen.headers.lock().unwrap().get("te").unwrap(), "trailers");
    }
    eventually("calls past their deadline are cancelled", async || (server.cancelled() == 3).then_some(())).await;
}

#[tokio::test]
async fn grpc_web_from_npm() {
    let server = GrpcServer::start().await;
    let gateway = TestGateway::start(web(&server.text()));
    let answer = json!({ "answer": { "text": "ü", "count": "5", "tags": ["a"] } });
    let failed = json!({ "code": 9, "message": "not like this: 100 %, ü" });
    for client in ["grpc-web", "grpc-web-text"] {
        assert_eq!(said(&gateway, &server, client).await, [answer.clone(), failed.clone(), json!("end")], "{client}");
    }
}

#[tokio::test]
async fn browsers_may_come_from_elsewhere() {
    let server = GrpcServer::start().await;
    let cors = json!({ "cors": { "origins": ["https://shop.test"], "methods": ["POST"], "headers": ["content-type", "x-grpc-web"],
        "expose": ["grpc-status", "grpc-message"] } });
    let gateway = TestGateway::start(config(&server.text(), "h2c", json!([cors, "grpc-web"])));
    let origin = ("origin", "https://shop.test");
    let preflight = [
        origin,
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "content-type,x-grpc-web"),
    ];
    let answer = send(gateway.address(), "OPTIONS", "/test.Echo/Unary", &preflight, "").await;
    assert_eq!(answer.header("access-control-allow-origin"), Some("https://shop.test"), "{answer:?}");
    let headers = [origin, ("content-type", "application/grpc-web+proto"), ("x-grpc-web", "1")];
    let answer = gateway.post("/test.Echo/Unary", &headers, "\0\0\0\0\x03\x0a\x01a").await;
    assert_eq!(answer.header("access-control-expose-headers"), Some("grpc-status, grpc-message"), "{answer:?}");
    let frames: &[u8] = b"\0\0\0\0\x03\x0a\x01a\x80\0\0\0\x10grpc-status: 0\r\n";
    assert_eq!(answer.body, frames);
}

#[tokio::test]
async fn a_web_stream_is_with_the_client_message_by_message() {
    let server = GrpcServer::start().await;
    let gateway = TestGateway::start(web(&server.text()));
    let note = Note { count: 2, ..Note::default() }.encode_to_vec();
    let frame = [&[0, 0, 0, 0, note.len() as u8][..], &note].concat();
    let text = base64::engine::general_purpose::STANDARD.encode(&frame);
    let mut wire = Wire::connect(gateway.address()).await;
    wire.send(format!(
        "POST /test.Echo/Ticks HTTP/1.1\r\nhost: a\r\ncontent-type: application/grpc-web-text\r\ncontent-length: {}\r\n\r\n{text}",
        text.len()
    ))
    .await;
    server.seen.ticks.allow(1);
    wire.read_to(&text).await;
    server.seen.ticks.allow(1);
    wire.read_to(&text).await;
    let trailers = base64::engine::general_purpose::STANDARD.encode(b"\x80\0\0\0\x10grpc-status: 0\r\n");
    wire.read_to(&trailers).await;
    wire.read_to("\r\n0\r\n").await;
    // What is no base64 never reaches the server.
    let calls = server.calls();
    let answer = gateway.post("/test.Echo/Ticks", &[("content-type", "application/grpc-web-text")], "***").await;
    let refused = b"\x80\0\0\0\x37grpc-status: 3\r\ngrpc-message: The body is not base64.\r\n";
    assert_eq!(answer.text(), base64::engine::general_purpose::STANDARD.encode(refused));
    assert_eq!(server.calls(), calls);
}

/// A server in REST that has what the tests ask for.
async fn rest() -> Server {
    Server::start(|received| {
        let json = |status: u16, body: &str| {
            let response = Response::builder().status(status).header("content-type", "application/json");
            response.header("x-header", "of rest").body(Full::from(body.to_owned())).unwrap()
        };
        match (received.method.as_str(), received.target.split('?').next().unwrap()) {
            ("POST", "/api/v1/notes") => json(201, std::str::from_utf8(&received.body).unwrap()),
            ("GET", "/api/v1/fail") => json(404, r#"{"code":5,"message":"no such note"}"#),
            ("POST", "/api/test.Echo/Hang") => json(200, "<html>"),
            _ => json(500, "{}"),
        }
    })
    .await
}

#[tokio::test]
async fn grpc_clients_to_rest() {
    let server = rest().await;
    let plugins = json!([{ "json-grpc": { "protos": { "notes.proto": GrpcServer::proto() }, "base_path": "/api" } }]);
    let mut config = config(&server.text(), "http/1.1", plugins);
    config["routes"][0]["match"] = json!({ "path": "/test.Echo/*" });
    let gateway = TestGateway::start(config);

    let mut client = GrpcClient::connect(gateway.address()).await;
    let note = Note { text: "ü".to_owned(), count: 5, tags: vec!["a".to_owned()], ..Note::default() };
    let sent = String::from_utf8(note.encode_to_vec()).unwrap();
    assert_eq!(client.unary("Unary", &sent).await.unwrap(), note.encode_to_vec());
    let received = server.only();
    assert_eq!(received.body, r#"{"text":"ü","count":"5","tags":["a"]}"#);
    let status = client.unary("Fail", "").await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::NotFound, "no such note"));
    assert_eq!(client.unary("Bidi", "").await.unwrap_err().code(), Code::Unimplemented);
    assert_eq!(client.unary("None", "").await.unwrap_err().code(), Code::Unimplemented);
    assert_eq!(client.unary("Unary", "\u{7f}").await.unwrap_err().code(), Code::InvalidArgument);

    let (_folder, set) = descriptor_set();
    let address = gateway.address().to_string();
    let said = GrpcPeer::call(&set, &address, "Unary", &json!({ "text": "ü", "count": 5 })).await;
    assert_eq!(said["answer"], json!({ "text": "ü", "count": "5" }), "{said}");
    assert_eq!(said["metadata"]["x-header"], "of rest");
    let said = GrpcPeer::call(&set, &address, "Fail", &json!({})).await;
    assert_eq!(said, json!({ "code": "NOT_FOUND", "message": "no such note" }));
    assert_eq!(server.received().last().unwrap().header("x-mine"), Some("m"));
    let mut plain = Client::http1(gateway.address()).await;
    assert_eq!(plain.send("GET", "/test.Echo/Unary", &[], "").await.unwrap().status, 500, "it goes on as it is");
}
