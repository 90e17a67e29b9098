//! `jq`: programs on real bodies both ways, over both protocols, and bodies that want to break them.

use gatewright_tests::{Client, Server, TestGateway, compress, send};
use http::Response;
use http_body_util::Full;
use serde_json::{Value, json};

const JSON: (&str, &str) = ("content-type", "application/json");

fn config(behind: &Server, jq: Value) -> Value {
    json!({
        "shutdown": { "drain_timeout": "50ms" },
        "upstreams": { "behind": [behind.text()] },
        // However often it fails, the next request is for it.
        "plugins": { "jq": { "breaker": { "failures": 0 } } },
        "routes": [{
            "match": {},
            "plugins": [{ "key-auth": { "keys": [{ "key": "k", "subject": "ada" }] } }, { "jq": jq }],
            "to": "behind",
        }],
    })
}

const KEY: (&str, &str) = ("x-api-key", "k");

#[tokio::test]
async fn bodies_are_made_both_ways() {
    let behind = Server::mirror().await;
    let gateway = TestGateway::start(config(
        &behind,
        json!({
            "request": r#"if .amount <= 0 then error({status: 422, detail: "The amount has to be above zero."}) end
                          | .by = $identity.subject | .page = $request.query.page"#,
            "response": "{items: (.items | sort_by(.n)), total: (.items | map(.n) | add), by, status: $response.status}",
        }),
    ));
    let body = r#"{"amount":1.10,"items":[{"n":3},{"n":12345678901234567890123}],"by":"forged"}"#;
    for mut client in [Client::http1(gateway.address()).await, Client::http2(gateway.address()).await] {
        let answer = client.send("POST", "/x?page=2", &[JSON, KEY, ("accept-encoding", "gzip")], body).await.unwrap();
        let sent = body.replace("forged\"", "ada\",\"page\":\"2\"");
        let received = behind.received().pop().unwrap();
        assert_eq!(received.body, sent);
        assert_eq!(received.header("content-length"), Some(sent.len().to_string().as_str()));
        assert_eq!(received.header("accept-encoding"), Some("identity"));
        let made = r#"{"items":[{"n":3},{"n":12345678901234567890123}],"total":12345678901234567890126,"by":"ada","status":200}"#;
        assert_eq!((answer.status, answer.text().as_str()), (200, made));
        assert_eq!(answer.header("content-length"), Some(made.len().to_string().as_str()));
        assert_eq!(answer.header("etag"), Some("W/\"v1\""));
    }
    let reached = behind.received().len();
    let refused = gateway.post("/", &[JSON, KEY], r#"{"amount":0}"#).await.problem(422);
    assert_eq!(refused["detail"], "The amount has to be above zero.");
    gateway.post("/", &[JSON, KEY], "[1]").await.problem(400);
    gateway.post("/", &[JSON, KEY], "{").await.problem(400);
    gateway.post("/", &[JSON, KEY, ("content-encoding", "gzip")], "x").await.problem(415);
    assert_eq!(behind.received().len(), reached);
    // The response program fails: there are no items.
    gateway.post("/", &[JSON, KEY], r#"{"amount":1}"#).await.problem(502);
    let text = gateway.post("/", &[("content-type", "text/plain"), KEY], "plain").await;
    assert_eq!(text.text(), "plain", "what does not say that it is JSON is not read");
    let failures = async |reason: &str| gateway.metric("plugin_jq_failures", &[&format!("reason=\"{reason}\"")]).await;
    assert_eq!((failures("refused").await, failures("error").await), (1.0, 2.0));
}

#[tokio::test]
async fn a_compressed_response_is_opened_first() {
    let behind = Server::start(|_| {
        let answer = Response::builder().header("content-type", "application/json").header("content-encoding", "br");
        answer.body(Full::from(compress("br", br#"{"a":[1,2]}"#))).unwrap()
    })
    .await;
    let gateway = TestGateway::start(config(&behind, json!({ "response": ".a | length" })));
    let answer = gateway.get_with("/", &[KEY]).await;
    assert_eq!((answer.text().as_str(), answer.header("content-encoding")), ("2", None));
    let head = send(gateway.address(), "HEAD", "/", &[KEY], "").await;
    assert_eq!((head.status, head.text().as_str()), (200, ""));
}

#[tokio::test]
async fn what_wants_to_break_a_program_ends_its_own_hook_and_nothing_else() {
    let behind = Server::mirror().await;
    let gateway = TestGateway::start(config(
        &behind,
        json!({ "max_size": "64KiB", "request": r#"
            if .do == "spin" then last(repeat(1))
            elif .do == "collect" then [repeat("collected")]
            elif .do == "square" then reduce range(64) as $i (.n; . * .)
            elif .do == "recurse" then (def f: 1 + f; f)
            elif .do == "parse" then .text | fromjson
            elif .do == "nest" then reduce range(1000) as $i (0; [.])
            elif .do == "double" then reduce range(40) as $i (0; [., .])
            elif .do == "match" then .text | test("(a*)*b")
            else . end"# }),
    ));
    let deep = ["[".repeat(10_000), "]".repeat(10_000)].concat();
    let long = "a".repeat(900_000);
    for (body, status) in [
        (json!({ "do": "spin" }), 500),
        (json!({ "do": "collect" }), 500),
        (json!({ "do": "square", "n": 12_345 }), 500),
        (json!({ "do": "recurse" }), 500),
        (json!({ "do": "parse", "text": deep }), 500),
        (json!({ "do": "nest" }), 400),
        (json!({ "do": "double" }), 413),
        (json!({ "do": "match", "text": long }), 500),
    ] {
        gateway.post("/", &[JSON, KEY], &body.to_string()).await.problem(status);
        let answer = gateway.post("/", &[JSON, KEY], r#"{"do":"nothing"}"#).await;
        assert_eq!((answer.status, answer.text().as_str()), (200, r#"{"do":"nothing"}"#), "after {}", body["do"]);
    }
    assert_eq!(behind.received().len(), 8, "none of the bad ones came through");
    gateway.post("/", &[JSON, KEY], &deep).await.problem(400);
}

#[tokio::test]
async fn a_mistake_in_a_program_is_one_of_the_configuration_and_keeps_the_old_one() {
    let behind = Server::mirror().await;
    let gateway = TestGateway::start(config(&behind, json!({ "request": ".a" })));
    gateway.write_config(config(&behind, json!({ "request": ".a |\n  frobnicate(.b)" })));
    let refused = gateway.reload().unwrap_err().to_string();
    assert!(refused.contains("request: line 2, column 3: the filter frobnicate/1 is not defined"), "{refused}");
    assert!(refused.contains("gateway.json"), "{refused}");
    assert_eq!(gateway.post("/", &[JSON, KEY], r#"{"a":7}"#).await.text(), "7");
}
