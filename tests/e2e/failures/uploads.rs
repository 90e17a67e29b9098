//! Uploads that do not come: what the client gets, what is recorded, and that no endpoint is blamed.

use bytes::Bytes;
use gatewright_tests::{Received, Server, TestGateway, Wire};
use http::Response;
use http_body_util::Full;
use serde_json::{Value, json};

fn answer(_: &Received) -> Response<Full<Bytes>> {
    Response::new(Full::new(Bytes::from_static(b"fine")))
}

/// Servers that answer when they have read a whole request, by their protocol.
async fn servers() -> [(&'static str, [Server; 2]); 2] {
    [
        ("http/1.1", [Server::start(answer).await, Server::start(answer).await]),
        ("h2c", [Server::start_h2c(answer).await, Server::start_h2c(answer).await]),
    ]
}

/// A gateway that retries what it may, and ejects an endpoint after one failure. `timeouts` are those of the route.
fn gateway(protocol: &str, servers: &[Server; 2], timeouts: &Value) -> TestGateway {
    let failures = json!(["connect-failure", "reset", "timeout", "gateway-error"]);
    TestGateway::start(json!({
        "workers": 1,
        "timeouts": { "body": "1500ms" },
        "upstreams": { "two": {
            "endpoints": [servers[0].text(), servers[1].text()], "protocol": protocol,
            "ejection": { "on": failures, "consecutive": 1 },
        } },
        "routes": [{ "match": {}, "to": "two", "timeouts": timeouts, "retries": { "on": failures } }],
    }))
}

/// The request was sent once, and no failure of an endpoint was counted.
async fn check_blame(gateway: &TestGateway, what: &str) {
    for (metric, label, expected) in [
        ("gatewright_endpoint_requests_total", "", 1.0),
        ("gatewright_endpoint_failures_total", "", 0.0),
        ("gatewright_endpoint_ejections_total", "", 0.0),
        ("gatewright_endpoint_health", "state=\"healthy\"", 2.0),
        ("gatewright_upstream_retries_total", "", 0.0),
    ] {
        assert_eq!(gateway.metric(metric, &[label]).await, expected, "{what}: {metric}");
    }
}

#[tokio::test]
async fn a_client_that_is_too_slow_is_told_so() {
    for (protocol, servers) in servers().await {
        for timeouts in [json!({ "request": "60s", "attempt": "700ms" }), json!({ "request": "700ms" })] {
            let what = format!("{protocol} {timeouts}");
            let gateway = gateway(protocol, &servers, &timeouts);
            let mut wire = Wire::connect(gateway.address()).await;
            wire.send("PUT / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nabc").await;
            let answer = wire.read_to("The request body did not come in time.").await;
            assert!(answer.starts_with("HTTP/1.1 408 "), "{what}: {answer}");
            let record = gateway.wait_for_records(1).await.remove(0);
            assert_eq!((&record["outcome"], &record["status"]), (&json!("timed-out"), &json!(408)), "{what}: {record}");
            let error = record["error"].as_str().unwrap();
            assert!(error.contains("the client had not sent the whole request"), "{what}: {error}");
            check_blame(&gateway, &what).await;
        }
    }
}

/// What a client does after the first part of its request.
#[derive(Clone, Copy, Debug)]
enum Then {
    Closes,
    Resets,
    Waits,
}

#[tokio::test]
async fn an_upload_that_breaks_off_is_recorded_as_what_it_is() {
    let long = "content-length: 100\r\n\r\nabc";
    let malformed = "transfer-encoding: chunked\r\n\r\nno chunk\r\n";
    for (protocol, servers) in servers().await {
        for (upload, then, status, outcome, detail) in [
            (long, Then::Closes, Value::Null, "client-left", ""),
            (long, Then::Resets, Value::Null, "client-left", ""),
            (long, Then::Waits, json!(408), "timed-out", "The request body did not come in time."),
            (malformed, Then::Waits, json!(400), "refused", "The request body could not be read."),
        ] {
            let what = format!("{protocol} {upload:?} {then:?}");
            let gateway = gateway(protocol, &servers, &json!({}));
            let mut wire = Wire::connect(gateway.address()).await;
            wire.send(format!("PUT / HTTP/1.1\r\nhost: a\r\n{upload}")).await;
            gatewright_tests::eventually("the request is with an endpoint", async || {
                (gateway.metric("gatewright_endpoint_requests_total", &[]).await == 1.0).then_some(())
            })
            .await;
            match then {
                Then::Closes => {
                    wire.finish().await;
                    assert_eq!(wire.read_to_end().await, "", "{what}");
                }
                Then::Resets => wire.reset(),
                Then::Waits => {
                    let answer = wire.read_to(detail).await;
                    assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{what}: {answer}");
                }
            }
            let record = gateway.wait_for_records(1).await.remove(0);
            assert_eq!((&record["outcome"], &record["status"]), (&json!(outcome), &status), "{what}: {record}");
            let counted = format!("http_response_status_code=\"{}\"", status.as_u64().unwrap_or(499));
            let requests = gateway.metric("http_server_request_duration_seconds_count", &[&counted]).await;
            assert_eq!(requests, 1.0, "{what}");
            check_blame(&gateway, &what).await;
        }
    }
}
