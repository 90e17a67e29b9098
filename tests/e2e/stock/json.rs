//! `json`: real bodies both ways, over both protocols, and what is none.

use gatewright_tests::{Client, Server, TestGateway, Wire, compress, send};
use http::Response;
use http_body_util::Full;
use serde_json::{Value, json};

const JSON: (&str, &str) = ("content-type", "application/json");

fn gateway(behind: &Server, plugins: Value) -> TestGateway {
    TestGateway::start(json!({
        "shutdown": { "drain_timeout": "50ms" },
        "upstreams": { "behind": [behind.text()] },
        "routes": [{ "name": "orders", "match": {}, "plugins": plugins, "to": "behind" }],
    }))
}

#[tokio::test]
async fn bodies_are_changed_both_ways() {
    let behind = Server::mirror().await;
    let changes = json!([{ "json": {
        "request": [
            { "rename": { "path": "/customer", "to": "customer_id" } },
            { "set": { "path": "/route", "attribute": "route.name" } },
            { "remove": "/admin" },
        ],
        "response": [{ "map": { "path": "/status", "values": { "A": "active" } } }, { "wrap": "data" }],
    } }]);
    let gateway = gateway(&behind, changes);
    let body = r#"{"customer":12345678901234567890123,"amount":1.10,"status":"A","admin":true,"route":"forged"}"#;
    for mut client in [Client::http1(gateway.address()).await, Client::http2(gateway.address()).await] {
        let answer = client.send("POST", "/", &[JSON, ("accept-encoding", "gzip")], body).await.unwrap();
        let sent = r#"{"customer_id":12345678901234567890123,"amount":1.10,"status":"A","route":"orders"}"#;
        let received = behind.received().pop().unwrap();
        assert_eq!(received.body, sent);
        assert_eq!(received.header("content-length"), Some(sent.len().to_string().as_str()));
        assert_eq!(received.header("accept-encoding"), Some("identity"));
        let expected = format!(r#"{{"data":{}}}"#, sent.replace("\"A\"", "\"active\""));
        assert_eq!((answer.status, answer.text()), (200, expected.clone()));
        assert_eq!(answer.header("content-length"), Some(expected.len().to_string().as_str()));
        assert_eq!(answer.header("etag"), Some("W/\"v1\""));
    }

    // In chunks that end anywhere.
    let mut wire = Wire::connect(gateway.address()).await;
    wire.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n")
        .await;
    for chunk in ["{\"cust", "omer\":", "1}"] {
        wire.send_chunk(chunk).await;
    }
    wire.send("0\r\n\r\n").await;
    wire.read_to(r#"{"data":{"customer_id":1,"route":"orders"}}"#).await;
}

#[tokio::test]
async fn what_is_no_json_is_refused_or_goes_by() {
    let behind = Server::mirror().await;
    let gateway = gateway(&behind, json!([{ "json": { "request": [{ "remove": "/a" }] } }]));
    let deep = ["[".repeat(10_000), "]".repeat(10_000)].concat();
    for body in ["{", "", "nonsense", r#"{"a":1,}"#, deep.as_str()] {
        let mut client = Client::http2(gateway.address()).await;
        let answer = client.send("POST", "/", &[JSON], body.to_owned()).await.unwrap();
        if body.is_empty() {
            assert_eq!(answer.status, 200, "no body is no bad one");
        } else {
            answer.problem(400);
        }
    }
    gateway.post("/", &[JSON, ("content-encoding", "gzip")], "x").await.problem(415);
    let large = format!("[{}1]", "1,".repeat(600_000));
    gateway.post("/", &[JSON], &large).await.problem(413);
    let reached = behind.received().len();
    let text = gateway.post("/", &[("content-type", "text/plain")], r#"{ "a": 1 }"#).await;
    assert_eq!(text.text(), r#"{ "a": 1 }"#, "what does not say that it is JSON is not read");
    assert_eq!((reached, behind.received().len()), (1, 2));
}

#[tokio::test]
async fn a_compressed_body_is_opened_by_decompress_or_here() {
    let behind = Server::start(|_| {
        let answer = Response::builder().header("content-type", "application/json").header("content-encoding", "gzip");
        answer.body(Full::from(compress("gzip", br#"{"a":1,"b":2}"#))).unwrap()
    })
    .await;
    let changes = json!({ "json": { "request": [{ "remove": "/a" }], "response": [{ "remove": "/a" }] } });
    let gateway = gateway(&behind, json!(["decompress", changes]));
    let headers = [JSON, ("content-encoding", "br")];
    let answer = send(gateway.address(), "POST", "/", &headers, compress("br", br#"{"a":1,"c":3}"#)).await;
    assert_eq!((answer.text().as_str(), answer.header("content-encoding")), (r#"{"b":2}"#, None));
    assert_eq!(behind.only().body, r#"{"c":3}"#);
}

#[tokio::test]
async fn a_response_that_is_no_json_passes_or_fails() {
    let behind = Server::start(|received| {
        let (kind, body) = match received.target.as_str() {
            "/bad" => ("application/json", "<html>"),
            "/html" => ("text/html", "<html>"),
            "/error" => ("application/json", r#"{"a":1}"#),
            _ => ("application/json", r#"{"a":1,"b":2}"#),
        };
        let status = if received.target == "/error" { 500 } else { 200 };
        Response::builder().status(status).header("content-type", kind).body(Full::from(body)).unwrap()
    })
    .await;
    for (bad, status) in [("pass", 200), ("fail", 502)] {
        let changes = json!([{ "json": { "response": [{ "remove": "/a" }], "bad_response": bad } }]);
        let gateway = gateway(&behind, changes);
        assert_eq!(gateway.get("/good").await.text(), r#"{"b":2}"#);
        assert_eq!(gateway.get("/html").await.text(), "<html>");
        assert_eq!(gateway.get("/error").await.text(), r#"{"a":1}"#, "only successes unless more is said");
        let answer = gateway.get("/bad").await;
        assert_eq!(answer.status, status);
        if status == 200 {
            assert_eq!(answer.text(), "<html>");
        }
        let head = send(gateway.address(), "HEAD", "/good", &[], "").await;
        assert_eq!((head.status, head.header("content-length")), (200, None), "it would be the unchanged one's");
        assert_eq!(gateway.metric("plugin_json_bad_responses", &[]).await, 1.0);
    }
}

#[tokio::test]
async fn a_range_brings_the_whole_document_changed() {
    let behind = Server::start(|received| {
        let text = r#"{"a":1,"b":2}"#;
        let answer = Response::builder().header("content-type", "application/json");
        let answer = answer.header("cache-control", "max-age=100").header("etag", "\"1\"");
        match received.header("range") {
            None => answer.body(Full::from(text)).unwrap(),
            Some(_) => {
                let answer = answer.status(206).header("content-range", "bytes 0-6/13");
                answer.body(Full::from(&text[..7])).unwrap()
            }
        }
    })
    .await;
    let changes = json!([{ "json": { "response": [{ "remove": "/a" }] } }]);
    let gateway = TestGateway::start(json!({
        "upstreams": { "behind": [behind.text()] },
        "routes": [
            { "match": { "path": "/cached" }, "cache": {}, "plugins": changes, "to": "behind" },
            { "match": {}, "plugins": changes, "to": "behind" },
        ],
    }));
    for path in ["/cached", "/cached", "/other"] {
        let answer = gateway.get_with(path, &[("range", "bytes=0-6"), ("if-range", "\"1\"")]).await;
        assert_eq!((answer.status, answer.text().as_str()), (200, r#"{"b":2}"#), "{path}");
        assert_eq!((answer.header("content-range"), answer.header("accept-ranges")), (None, None), "{path}");
    }
}
