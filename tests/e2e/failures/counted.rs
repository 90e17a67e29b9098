//! What the metrics page says of upstreams and their endpoints.

use gatewright_tests::{TestGateway, Wire, eventually};
use serde_json::{Value, json};

use super::*;

#[tokio::test]
async fn requests_are_counted_by_what_became_of_them() {
    let good = Actor::playing(&[OK]).await;
    let closing = Actor::playing(&[Act::Close]).await;
    let babbling = Actor::playing(&[Act::Last("nonsense\r\n\r\n")]).await;
    let hanging = Actor::playing(&[Act::Hang]).await;
    let plain = Scripted::start(|mut stream| async move {
        let _ = stream.write_all(b"no TLS is spoken here").await;
        let _ = stream.read_u8().await;
    })
    .await;
    let of = |address: String| json!({ "endpoints": [address], "response_timeout": "300ms" });
    let upstreams = json!({
        "good": { "endpoints": [good.text()] },
        // Nothing listens there.
        "refusing": of("127.0.0.1:1".to_owned()),
        "closing": of(closing.text()),
        "babbling": of(babbling.text()),
        "hanging": of(hanging.text()),
        "plain": { "endpoints": [plain.text()], "tls": {} },
    });
    let names: Vec<String> = upstreams.as_object().unwrap().keys().cloned().collect();
    let routes: Vec<Value> =
        names.iter().map(|name| json!({ "match": { "path": format!("/{name}") }, "to": name })).collect();
    let gateway = TestGateway::start(json!({ "upstreams": upstreams, "routes": routes }));

    for (name, status, reason) in [
        ("good", 200, None),
        ("refusing", 502, Some("connect")),
        ("closing", 502, Some("closed")),
        ("babbling", 502, Some("bad-response")),
        ("hanging", 504, Some("response-timeout")),
        ("plain", 502, Some("tls")),
    ] {
        assert_eq!(gateway.get(&format!("/{name}")).await.status, status, "{name}");
        let upstream = format!("upstream=\"{name}\"");
        let metric = async |name: &str, label: &str| gateway.metric(name, &[&upstream, label]).await;
        let failures = "gatewright_upstream_failures_total";
        let failed = f64::from(u8::from(reason.is_some()));
        assert_eq!(metric(failures, "").await, failed, "{name}");
        if let Some(reason) = reason {
            assert_eq!(metric(failures, &format!("reason=\"{reason}\"")).await, 1.0, "{name}");
        }
        assert_eq!(metric("http_client_request_duration_seconds_count", "method=\"GET\"").await, 1.0, "{name}");
        let answered = metric("http_client_request_duration_seconds_count", "status_code=\"200\"").await;
        assert_eq!(answered, 1.0 - failed, "{name}");
        assert_eq!(metric("gatewright_endpoint_requests_total", "").await, 1.0, "{name}");
        assert_eq!(metric("gatewright_endpoint_failures_total", "").await, failed, "{name}");
        eventually("nothing is under way", async || {
            (metric("gatewright_endpoint_active_requests", "").await == 0.0).then_some(())
        })
        .await;
        let is_made = !matches!(reason, Some("connect" | "tls"));
        assert_eq!(metric("gatewright_endpoint_connects_total", "").await, f64::from(u8::from(is_made)), "{name}");
        let not_made = metric("gatewright_endpoint_connect_failures_total", "").await;
        assert_eq!(not_made, f64::from(u8::from(!is_made)), "{name}");
    }
    let open = async |name: &str| gateway.metric("gatewright_endpoint_open_connections", &[name]).await;
    assert_eq!(open("\"good\"").await, 1.0);
    eventually("what broke is closed", async || (open("\"hanging\"").await == 0.0).then_some(())).await;

    // They go on after a reload.
    gateway.reload().unwrap();
    assert_eq!(gateway.get("/good").await.status, 200);
    assert_eq!(gateway.metric("http_client_request_duration_seconds_count", &["\"good\""]).await, 2.0);
    assert_eq!(gateway.metric("gatewright_endpoint_requests_total", &["\"good\""]).await, 2.0);
}

#[tokio::test]
async fn a_head_that_is_refused_is_counted_by_its_limit() {
    let gateway = TestGateway::start(json!({
        "limits": { "request_line": "1KiB", "header_bytes": "8KiB" },
        "timeouts": { "header_read": "300ms" },
    }));
    let long = "x".repeat(10_000);
    for (bytes, limit) in [
        (format!("GET /{long} HTTP/1.1\r\nhost: a\r\n\r\n"), "request-line"),
        (format!("GET / HTTP/1.1\r\nhost: a\r\na: {long}\r\n\r\n"), "head-bytes"),
        ("GET / HTTP/1.1\r\nhost: a\r\n".to_owned(), "head-time"),
        ("GET / HTTP/1.1\r\nhost : a\r\n\r\n".to_owned(), "framing"),
    ] {
        let mut wire = Wire::connect(gateway.address()).await;
        wire.send(bytes).await;
        wire.read_to_end().await;
        let label = format!("limit=\"{limit}\"");
        eventually(limit, async || {
            (gateway.metric("gatewright_limit_hits_total", &[&label]).await == 1.0).then_some(())
        })
        .await;
    }
    assert_eq!(gateway.metric("gatewright_limit_hits_total", &[]).await, 4.0);
}
