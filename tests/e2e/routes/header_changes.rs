//! Header fields that a target changes.

use gatewright_tests::{Server, TestGateway};
use http::Response;
use serde_json::json;

#[tokio::test]
async fn request_header_modifier_per_target() {
    let (one, two) = (Server::named("one").await, Server::named("two").await);
    let gateway = TestGateway::start(json!({
        "workers": 1,
        "upstreams": { "one": [one.text()], "two": [two.text()] },
        "routes": [{ "match": {}, "to": [
            { "upstream": "one", "request_headers": {
                "remove": ["X-Gone"], "set": { "X-Set": "by-one" }, "append": { "x-more": "two", "x-list": ["a", "b"] } } },
            "two",
        ] }],
    }));
    for _ in 0..2 {
        gateway.get_with("/", &[("x-gone", "1"), ("x-set", "by-client"), ("x-more", "one")]).await;
    }
    let all = |server: &Server, name: &str| -> Vec<String> {
        let request = server.only();
        request.headers.get_all(name).iter().map(|value| value.to_str().unwrap().to_owned()).collect()
    };
    assert_eq!(one.only().header("x-gone"), None);
    assert_eq!(all(&one, "x-set"), ["by-one"]);
    assert_eq!(all(&one, "x-more"), ["one", "two"]);
    assert_eq!(all(&one, "x-list"), ["a", "b"]);
    assert_eq!((two.only().header("x-gone"), two.only().header("x-set")), (Some("1"), Some("by-client")));
}

#[tokio::test]
async fn response_header_modifier_per_target_before_the_plugins() {
    let server = Server::start(|_| {
        Response::builder().header("server", "inside").header("x-a", "1").body(Default::default()).unwrap()
    })
    .await;
    let gateway = TestGateway::start(json!({
        "upstreams": { "a": [server.text()] },
        "routes": [{
            "match": {},
            "plugins": [{ "headers": { "response": { "append": { "x-a": "by-plugin" } } } }],
            "to": { "upstream": "a", "response_headers": {
                "remove": ["server"], "set": { "cache-control": "no-store" }, "append": { "x-a": "by-target" } } },
        }],
    }));
    let answer = gateway.get("/").await;
    assert_eq!((answer.header("server"), answer.header("cache-control")), (None, Some("no-store")));
    let values: Vec<_> = answer.headers.get_all("x-a").iter().collect();
    assert_eq!(values, ["1", "by-target", "by-plugin"]);
}
