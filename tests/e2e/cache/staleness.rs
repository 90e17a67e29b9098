//! What is no longer fresh: asked about, or served all the same.

use gatewright_tests::eventually;
use serde_json::json;

use super::{counting, gateway, status};

#[tokio::test]
async fn what_is_stale_is_asked_about() {
    let server = counting(&[("cache-control", "max-age=0"), ("etag", "\"a\"")]).await;
    let gateway = gateway(&server.text(), json!({}));
    assert_eq!(gateway.get("/").await.text(), "answer 1");
    for _ in 0..3 {
        let answer = gateway.get("/").await;
        assert_eq!((answer.status, answer.text().as_str()), (200, "answer 1"));
        assert_eq!(status(&answer), "hit; fwd=stale; fwd-status=304");
    }
    let received = server.received();
    assert_eq!(received.len(), 4);
    assert!(received[1..].iter().all(|request| request.header("if-none-match") == Some("\"a\"")));
    assert_eq!(gateway.metric("gatewright_cache_events_total", &["event=\"revalidated\""]).await, 3.0);
    let records = gateway.wait_for_records(4).await;
    let met = |word: &str| records.iter().filter(|record| record["cache"] == word).count();
    assert_eq!((met("miss"), met("revalidated")), (1, 3), "{records:?}");
}

#[tokio::test]
async fn stale_responses_serve_while_one_asks_and_while_the_server_is_away() {
    let server = counting(&[("cache-control", "max-age=0, stale-while-revalidate=1000")]).await;
    let gateway_one = gateway(&server.text(), json!({}));
    assert_eq!(gateway_one.get("/").await.text(), "answer 1");
    assert_eq!(gateway_one.get("/").await.text(), "answer 1", "at once, whatever is newer");
    eventually("the newer one is there", async || (gateway_one.get("/").await.text() != "answer 1").then_some(()))
        .await;

    let server = counting(&[("cache-control", "max-age=0, stale-if-error=1000")]).await;
    let gateway_two = gateway(&server.text(), json!({}));
    assert_eq!(gateway_two.get("/").await.text(), "answer 1");
    assert_eq!(gateway_two.get("/").await.text(), "answer 2");
    drop(server);
    eventually("the server is away", async || {
        let answer = gateway_two.get("/").await;
        assert_eq!(answer.status, 200);
        status(&answer).contains("stale-if-error").then_some(())
    })
    .await;
    assert!([502, 503].contains(&gateway_two.get("/never-seen").await.status));
}
