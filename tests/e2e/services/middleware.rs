//! Middleware: components of `wasi:http/middleware@0.3` between the plugins of a route and what it ends in.

mod bodies;
mod onward;
mod waiting;

use std::time::{Duration, Instant};

use bytes::Bytes;
use gatewright_tests::{Client, Received, Scripted, Server, TestGateway, Wire, eventually};
use http::Response;
use http_body_util::Full;
use serde_json::{Value, json};

use super::{file, placed};

/// Tells what it got.
async fn told() -> Server {
    Server::start(|received: &Received| {
        let text = format!("{} {} {}", received.method, received.target, String::from_utf8_lossy(&received.body));
        Response::builder().status(201).header("x-server", "told").body(Full::new(Bytes::from(text))).unwrap()
    })
    .await
}

fn config(upstream: &str, limits: Value, route: Value) -> Value {
    let mut whole = json!({ "match": {}, "plugins": ["between"], "to": "behind" });
    whole.as_object_mut().unwrap().extend(route.as_object().unwrap().clone());
    json!({
        "shutdown": { "drain_timeout": "50ms" },
        "upstreams": { "behind": [upstream] },
        "services": {
            "between": { "source": file("guest-middleware"), "limits": limits },
            "shop": { "source": file("guest-service") },
            "later": { "source": file("guest-service-p3") },
        },
        "routes": [whole],
    })
}

fn gateway(upstream: &str, limits: Value) -> TestGateway {
    TestGateway::start(config(upstream, limits, json!({})))
}

#[tokio::test]
async fn a_request_goes_through_it_and_the_answer_comes_back() {
    let server = told().await;
    let route = json!({
        "plugins": [{ "headers": { "request": { "set": { "x-plugin": "yes" } }, "response": { "set": { "x-seen": "by the plugin" } } } }, "between"],
        "to": [{ "upstream": "behind", "rewrite": { "path": { "prefix": "/new" } }, "response_headers": { "set": { "x-edit": "yes" } } }],
        "match": { "path": "/old/*" },
    });
    let gateway = TestGateway::start(config(&server.text(), json!({}), route));
    let (http1, http2) = (Client::http1(gateway.address()).await, Client::http2(gateway.address()).await);
    for mut client in [http1, http2] {
        server.forget();
        let plain = client.send("POST", "/old/a%20b?c=d", &[("x-a", "1"), ("x-a", "2")], "asked").await.unwrap();
        assert_eq!((plain.status, plain.text().as_str()), (201, "POST /new/a%20b?c=d asked"));
        assert_eq!((plain.header("x-server"), plain.header("x-edit")), (Some("told"), Some("yes")));
        assert_eq!((plain.header("x-seen"), plain.header("x-response")), (Some("by the plugin"), None));
        let received = server.only();
        assert_eq!((received.header("x-plugin"), received.header("x-request")), (Some("yes"), None));
        assert!(received.headers.get_all("x-a").iter().eq(["1", "2"]));
        assert_eq!(
            (received.header("x-forwarded-for"), received.headers.contains_key("host")),
            (Some("127.0.0.1"), true)
        );

        server.forget();
        let marked = client.send("PUT", "/old/1", &[("x-do", "mark")], "x".repeat(300_000)).await.unwrap();
        assert_eq!((marked.status, marked.header("x-response")), (201, Some("marked")));
        assert_eq!((marked.header("x-seen"), marked.header("x-edit")), (Some("by the plugin"), Some("yes")));
        let received = server.only();
        assert_eq!((received.header("x-request"), received.body.len()), (Some("marked"), 300_000));
        let loud = client.send("GET", "/old/quiet", &[("x-do", "shout")], "").await.unwrap();
        assert_eq!(loud.text(), "GET /NEW/QUIET ");
        assert_eq!(client.send("HEAD", "/old/1", &[], "").await.unwrap().body.len(), 0);
    }
    let records = gateway.wait_for_records(8).await;
    for record in records {
        assert_eq!((&record["upstream"], &record["plugin"]), (&json!("behind"), &Value::Null), "{record}");
        assert_eq!((&record["attempts"], &record["endpoint"]), (&json!(1), &json!(server.text())), "{record}");
    }
}

#[tokio::test]
async fn it_answers_itself_or_asks_more_than_once() {
    let server = told().await;
    let gateway = gateway(&server.text(), json!({ "callouts": 3 }));
    for (number, (deed, status, text, asked)) in [
        ("answer", 203, "its own", 0),
        ("instead", 203, "instead", 1),
        ("twice", 200, "GET /first  and GET /second ", 2),
        ("many", 200, "3: ErrorCode::ConnectionLimitReached", 3),
    ]
    .into_iter()
    .enumerate()
    {
        server.forget();
        let answer = gateway.get_with("/", &[("x-do", deed)]).await;
        assert_eq!((answer.status, answer.text().as_str()), (status, text), "{deed}");
        assert_eq!(server.received().len(), asked, "{deed}");
        let record = gateway.wait_for_records(number + 1).await.pop().unwrap();
        let by = (record["plugin"].as_str(), record["attempts"].as_u64().unwrap_or(0));
        assert_eq!(by, ((asked == 0).then_some("between"), asked as u64), "{record}");
    }
}

#[tokio::test]
async fn what_it_hands_on_is_held_to_what_a_plugin_may_write() {
    let server = told().await;
    let gateway = gateway(&server.text(), json!({}));
    let told = gateway.get_with("/", &[("x-do", "wrong")]).await.text();
    let (method, uri) = ("ErrorCode::HttpRequestMethodInvalid", "ErrorCode::HttpRequestUriInvalid");
    assert_eq!(told, format!("{method} {uri} {uri} {uri}"));
    assert!(server.received().is_empty());
}

#[tokio::test]
async fn bodies_stream_both_ways_through_it_to_services_of_both_versions() {
    let server = told().await;
    for (to, deed) in [("shop", "mark"), ("later", "mark"), ("shop", "shout"), ("later", "none")] {
        let gateway = TestGateway::start(config(&server.text(), json!({}), json!({ "to": { "service": to } })));
        let mut wire = Wire::connect(gateway.address()).await;
        let deed_field = if deed == "none" { String::new() } else { format!("x-do: {deed}\r\n") };
        wire.send(format!("POST /echo HTTP/1.1\r\nhost: a\r\n{deed_field}transfer-encoding: chunked\r\n\r\n")).await;
        for text in ["first", "second"] {
            wire.send_chunk(text).await;
            // It is back before there is more.
            wire.read_to(&if deed == "shout" { text.to_uppercase() } else { text.to_owned() }).await;
        }
        wire.send("0\r\n\r\n").await;
        wire.read_to("0\r\n\r\n").await;
        let record = gateway.wait_for_records(1).await.remove(0);
        assert_eq!((&record["plugin"], &record["upstream"]), (&json!(to), &Value::Null), "{record}");
    }
    let redirect = json!({ "to": [{ "redirect": { "host": "b.test", "status": 307 } }] });
    let gateway = TestGateway::start(config(&server.text(), json!({}), redirect));
    let sent = gateway.get_with("/a", &[("x-do", "mark")]).await;
    assert_eq!((sent.status, sent.header("x-response")), (307, Some("marked")));
    assert!(sent.header("location").is_some_and(|to| to.starts_with("http://b.test")), "{:?}", sent.header("location"));
    assert!(server.received().is_empty());
}

#[tokio::test]
async fn whatever_it_does_ends_its_own_request() {
    let server = told().await;
    let gateway = gateway(&server.text(), json!({ "time": "500ms", "response_timeout": "2s", "requests": 2 }));
    for (deed, status, detail) in [
        ("loop", 504, "The service did not answer in time."),
        ("hang", 504, "The service did not answer in time."),
        ("panic", 502, "The service gave no valid answer."),
        ("panic-behind", 502, "The service gave no valid answer."),
        ("own-error", 502, "The service gave no valid answer."),
        ("long-error", 502, "The service gave no valid answer."),
    ] {
        let began = Instant::now();
        let path = format!("/{deed}");
        let answer = placed(&gateway, &path, &[("x-do", deed)]).await;
        assert_eq!(answer.problem(status)["detail"], detail, "{deed}");
        assert!(!answer.text().contains("panics") && began.elapsed() < Duration::from_secs(10), "{deed}");
        assert_eq!(placed(&gateway, "/", &[]).await.status, 201, "after {deed}");
        let record =
            async || gateway.records().into_iter().find(|record| record["path"] == path && record["status"] != 503);
        let record = eventually("the record", record).await;
        assert_eq!((&record["status"], &record["plugin"]), (&json!(status), &json!("between")), "{record}");
        let error = record["error"].as_str().unwrap();
        // However much it says.
        assert!(error.starts_with("the service failed: ") && error.len() < 1100, "{deed}: {} bytes", error.len());
    }
}

#[tokio::test]
async fn a_failure_behind_it_that_it_passes_on_is_what_it_is_without_it() {
    for (upstream, status, detail) in [
        ("127.0.0.1:9".to_owned(), 502, "The upstream could not be reached or gave no valid answer."),
        (silent().await.text(), 504, "The upstream did not answer in time."),
    ] {
        for plugins in [json!([]), json!(["between"])] {
            let mut config = config(&upstream, json!({}), json!({ "plugins": plugins }));
            config["upstreams"]["behind"] = json!({ "endpoints": [upstream], "response_timeout": "300ms" });
            let gateway = TestGateway::start(config);
            assert_eq!(gateway.get("/").await.problem(status)["detail"], detail, "{upstream}");
        }
    }
}

/// Never answers, and tells nobody.
async fn silent() -> Scripted {
    Scripted::start(|stream| async move {
        let mut wire = Wire::from(stream);
        wire.read_to("\r\n\r\n").await;
        std::future::pending::<()>().await;
    })
    .await
}

#[tokio::test]
async fn each_has_its_place() {
    let mut stock = config("127.0.0.1:9", json!({}), json!({ "plugins": ["echo"], "to": { "service": "echo" } }));
    stock["services"]["echo"] = json!({ "source": file("guest-service") });
    let gateway = TestGateway::start(stock);
    assert_eq!(
        gateway.get("/hello").await.header("x-service"),
        None,
        "a stock plugin goes before a service of its name"
    );
    for (route, said) in [
        (json!({ "plugins": ["between", "echo"] }), "the service \"between\" is not the last of its chain"),
        (
            json!({ "plugins": [{ "between": { "a": 1 } }] }),
            "the service \"between\" takes no configuration from a route",
        ),
        (json!({ "plugins": ["shop"] }), "the service \"shop\" is no middleware"),
        (json!({ "plugins": ["later"] }), "the service \"later\" is no middleware"),
        (json!({ "to": { "service": "between" } }), "the service \"between\" is a middleware"),
        (json!({ "to": ["behind", { "service": "between" }] }), "the service \"between\" is a middleware"),
    ] {
        let refused = TestGateway::try_start(config("127.0.0.1:9", json!({}), route)).err().unwrap().to_string();
        assert!(refused.contains(said) && refused.contains("gateway.json:"), "{said}: {refused}");
    }
}
