//! What only services of WASI 0.3 can do.

use gatewright_tests::{TestGateway, Wire, eventually};
use serde_json::json;

use super::{config, gateway};

const GUEST: &str = "guest-service-p3";

#[tokio::test]
async fn a_stream_goes_through_as_it_is_with_its_trailers() {
    let gateway = gateway(GUEST, json!({}));
    let mut wire = Wire::connect(gateway.address()).await;
    wire.send("POST /through HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\nte: trailers\r\n\r\n").await;
    for text in ["first", "second"] {
        wire.send_chunk(text).await;
        wire.read_to(text).await;
    }
    wire.send("0\r\nx-checked: yes\r\n\r\n").await;
    wire.read_to("0\r\nx-checked: yes\r\n\r\n").await;
    let large = "x".repeat(300_000);
    assert_eq!(gateway.post("/through", &[], &large).await.text(), large);
    assert_eq!(gateway.post("/rest", &[], &large).await.text(), large);
}

#[tokio::test]
async fn a_body_that_it_says_is_lost_breaks_off() {
    let gateway = gateway(GUEST, json!({}));
    let mut wire = Wire::connect(gateway.address()).await;
    wire.send("GET /lost HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let half = wire.read_to_end().await;
    assert!(half.contains("half") && !half.ends_with("0\r\n\r\n"), "a body that breaks off is no whole one: {half}");
    let record = eventually("the record", async || gateway.records().pop()).await;
    assert!(record["error"].as_str().is_some_and(|error| error.contains("not finished")), "{record}");
}

#[tokio::test]
async fn what_it_has_at_once_is_bounded() {
    let gateway = TestGateway::start(config(GUEST, json!({}), json!({ "limits": { "time": "20s" } })));
    for path in ["/streams", "/tasks"] {
        assert_eq!(gateway.get(path).await.problem(502)["detail"], "The service gave no valid answer.", "{path}");
        assert_eq!(gateway.get("/hello").await.text(), "hello", "after {path}");
    }
}
