//! What makes the cache forget.

use gatewright_tests::send;
use serde_json::json;

use super::{counting, gateway};

#[tokio::test]
async fn what_changes_something_makes_the_cache_forget() {
    let server = counting(&[("cache-control", "max-age=100")]).await;
    let gateway = gateway(&server.text(), json!({}));
    assert_eq!(gateway.get("/a").await.text(), "answer 1");
    assert_eq!(gateway.get("/b").await.text(), "answer 2");
    assert_eq!(gateway.post("/a", &[], "new").await.status, 200);
    assert_eq!(gateway.get("/a").await.text(), "answer 4");
    assert_eq!(gateway.get("/b").await.text(), "answer 2");
    assert_eq!(send(gateway.address(), "OPTIONS", "/b", &[], "").await.status, 200);
    assert_eq!(gateway.get("/b").await.text(), "answer 2", "a safe method changes nothing");
}

#[tokio::test]
async fn an_operator_purges_by_address_and_by_tag() {
    let server =
        counting(&[("cache-control", "max-age=100"), ("cache-tag", "shop, prices"), ("surrogate-key", "s")]).await;
    let gateway = gateway(&server.text(), json!({}));
    let purge = async |query: &str| {
        let answer = send(gateway.admin(), "DELETE", &format!("/cache{query}"), &[], "").await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()["purged"].as_u64().unwrap()
    };
    let first = gateway.get("/a").await;
    assert_eq!((first.header("cache-tag"), first.header("surrogate-key")), (None, None), "nobody else's business");
    gateway.get("/b").await;
    assert_eq!(purge(&format!("?url=http://{}/a", gateway.address())).await, 1);
    assert_eq!(gateway.get("/a").await.text(), "answer 3");
    assert_eq!(gateway.get("/b").await.text(), "answer 2");
    assert_eq!(purge("?tag=prices").await, 2);
    assert_eq!(purge("?tag=prices").await, 0);
    assert_eq!(gateway.get("/b").await.text(), "answer 4");
    assert_eq!(purge("").await, 1);
    for query in ["?url=nowhere", "?tag=", "?what=else"] {
        send(gateway.admin(), "DELETE", &format!("/cache{query}"), &[], "").await.problem(400);
    }
}
