//! gRPC through HTTP/2 upstreams, with a client and a server by tonic.

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::stream;
use gatewright_tests::{Answer, Client, GrpcClient, GrpcServer, Scripted, TestGateway, eventually, read_head};
use serde_json::{Value, json};
use tonic::{Code, Request};

fn config(upstream: &str) -> Value {
    json!({
        "upstreams": { "grpc": { "endpoints": [upstream], "protocol": "h2c" } },
        "routes": [{ "match": { "path": "/test.Echo/*" }, "to": "grpc" }],
    })
}

fn messages(texts: &[&'static str]) -> Request<impl futures_util::Stream<Item = Bytes> + Send + 'static> {
    let texts: Vec<Bytes> = texts.iter().map(|text| Bytes::from_static(text.as_bytes())).collect();
    Request::new(stream::iter(texts))
}

async fn all(mut streaming: tonic::Streaming<Bytes>) -> (Vec<Bytes>, tonic::metadata::MetadataMap) {
    let mut all = Vec::new();
    while let Some(message) = streaming.message().await.unwrap() {
        all.push(message);
    }
    (all, streaming.trailers().await.unwrap().unwrap_or_default())
}

#[tokio::test]
async fn calls_of_all_four_kinds_come_through() {
    let server = GrpcServer::start().await;
    let gateway = TestGateway::start(config(&server.text()));
    let mut client = GrpcClient::connect(gateway.address()).await;

    let response = client.call("Unary", messages(&["hello"])).await.unwrap();
    assert_eq!(response.metadata().get("x-header").unwrap(), "of the server");
    assert_eq!(all(response.into_inner()).await.0, ["hello"]);
    let collected = client.call("Collect", messages(&["a", "b", "c"])).await.unwrap();
    assert_eq!(all(collected.into_inner()).await.0, ["abc"]);
    let split = client.call("Split", messages(&["one two three"])).await.unwrap();
    assert_eq!(all(split.into_inner()).await.0, ["one", "two", "three"]);

    // Each message is answered before the next one is sent.
    let (sender, receiver) = tokio::sync::mpsc::channel::<Bytes>(1);
    let outgoing = stream::unfold(receiver, |mut receiver| async move { Some((receiver.recv().await?, receiver)) });
    let mut incoming = client.call("Bidi", Request::new(outgoing)).await.unwrap().into_inner();
    for text in ["one", "two", "three"] {
        sender.send(text.into()).await.unwrap();
        assert_eq!(incoming.message().await.unwrap().unwrap(), text);
    }
    drop(sender);
    assert!(incoming.message().await.unwrap().is_none());
    assert_eq!((server.calls(), server.cancelled()), (4, 0));
    let large = "x".repeat(3 << 20);
    assert_eq!(client.unary("Unary", &large).await.unwrap().len(), large.len());
}

#[tokio::test]
async fn a_status_comes_with_its_message_and_its_trailers() {
    let server = GrpcServer::start().await;
    let gateway = TestGateway::start(config(&server.text()));
    let mut client = GrpcClient::connect(gateway.address()).await;
    let status = client.unary("Fail", "").await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::FailedPrecondition, "not like this: 100 %, ü"));
    assert_eq!(status.metadata().get("x-trailer").unwrap(), "of the failure");
}

#[tokio::test]
async fn the_gateways_own_errors_are_a_status_in_trailers_alone() {
    let server = GrpcServer::start().await;
    let mut config = config(&server.text());
    config["upstreams"]["nobody"] = json!({ "endpoints": ["127.0.0.1:9"], "protocol": "h2c" });
    config["routes"].as_array_mut().unwrap().extend([
        json!({ "match": { "path": "/test.Echo/Nobody" }, "to": "nobody" }),
        json!({ "match": { "path": "/test.Echo/Small" }, "to": "grpc", "limits": { "request_body": "10B" } }),
        json!({ "match": { "path": "/test.Echo/Nowhere" }, "plugins": ["headers"] }),
    ]);
    let gateway = TestGateway::start(config);
    let mut client = GrpcClient::connect(gateway.address()).await;
    for (method, code, message) in [
        ("Nobody", Code::Unavailable, "The upstream could not be reached or gave no valid answer."),
        ("Small", Code::ResourceExhausted, "The request body is too large."),
        ("Nowhere", Code::Internal, "This route has nowhere to send the request."),
    ] {
        let status = client.unary(method, "more than ten bytes").await.unwrap_err();
        assert_eq!((status.code(), status.message()), (code, message), "{method}");
    }
    // As it is on the wire, and what others get.
    let mut plain = Client::http2(gateway.address()).await;
    let answer: Answer =
        plain.send("POST", "/other.Service/Call", &[("content-type", "application/grpc")], "").await.unwrap();
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/grpc")));
    assert_eq!((answer.header("grpc-status"), answer.body.len()), (Some("12"), 0), "{answer:?}");
    plain.send("POST", "/other.Service/Call", &[("content-type", "application/json")], "").await.unwrap().problem(404);
}

#[tokio::test]
async fn a_deadline_is_passed_on_and_kept() {
    let server = GrpcServer::start().await;
    let gateway = TestGateway::start(config(&server.text()));
    // Sent by hand, because a client of tonic keeps its deadline itself.
    let mut client = Client::http2(gateway.address()).await;
    let call = [("content-type", "application/grpc"), ("te", "trailers"), ("grpc-timeout", "1500m")];
    let message = [&[0, 0, 0, 0, 4][..], b"call"].concat();

    let started = Instant::now();
    let answer = client.send("POST", "/test.Echo/Hang", &call, message.clone()).await.unwrap();
    assert_eq!(answer.header("grpc-status"), Some("4"), "{answer:?}");
    assert!(started.elapsed() >= Duration::from_millis(1500));
    assert_eq!(server.seen.timeout.lock().unwrap().as_deref(), Some("1500m"));
    eventually("the server is told", async || (server.cancelled() == 1).then_some(())).await;

    // A response that has begun ends with the status in its trailers.
    let answer = client.send("POST", "/test.Echo/Drip", &call, message.clone()).await.unwrap();
    assert_eq!(answer.body.len(), 5 + 4, "the one message that came");
    assert_eq!(answer.trailers.unwrap()["grpc-status"], "4");
    eventually("the server is told", async || (server.cancelled() == 2).then_some(())).await;

    let answer = client.send("POST", "/test.Echo/Unary", &call, message).await.unwrap();
    assert_eq!(answer.trailers.unwrap()["grpc-status"], "0", "in time");
    let records = gateway.wait_for_records(3).await;
    let timed_out = records.iter().filter(|record| record["outcome"] == "timed-out").count();
    assert!(timed_out >= 1, "{records:#?}");
    let dripped = records.iter().find(|record| record["path"] == "/test.Echo/Drip").unwrap();
    assert_eq!((&dripped["outcome"], &dripped["status"]), (&json!("timed-out"), &json!(200)), "{dripped}");
    let error = "no complete answer came before the deadline that the client set";
    assert_eq!(dripped["error"], error, "{dripped}");
}

#[tokio::test]
async fn a_client_that_cancels_cancels_the_call_at_the_server() {
    let server = GrpcServer::start().await;
    let gateway = TestGateway::start(config(&server.text()));
    let mut client = GrpcClient::connect(gateway.address()).await;
    // Before the answer, and within it.
    let mut other = client.clone();
    let hanging = tokio::spawn(async move { other.unary("Hang", "").await });
    eventually("the call is there", async || (server.calls() == 1).then_some(())).await;
    hanging.abort();
    eventually("the call is cancelled", async || (server.cancelled() == 1).then_some(())).await;

    let mut dripping = client.call("Drip", messages(&["x"])).await.unwrap().into_inner();
    assert_eq!(dripping.message().await.unwrap().unwrap(), "drop");
    drop(dripping);
    eventually("the call is cancelled", async || (server.cancelled() == 2).then_some(())).await;

    assert_eq!(client.unary("Unary", "after it").await.unwrap(), "after it", "the connection lives");
    let records = gateway.wait_for_records(3).await;
    assert_eq!(records.iter().filter(|record| record["outcome"] == "client-left").count(), 2, "{records:#?}");
}

#[tokio::test]
async fn a_server_that_breaks_off_is_never_a_good_end() {
    // Bytes that are no HTTP/2 at all.
    let broken = Scripted::start(|mut stream| async move {
        read_head(&mut stream).await;
    })
    .await;
    let gateway = TestGateway::start(config(&broken.text()));
    let mut client = GrpcClient::connect(gateway.address()).await;
    assert_eq!(client.unary("Unary", "").await.unwrap_err().code(), Code::Unavailable);
}
