//! `compose`: real servers asked at once and in turn, and every way in which one of them fails.

use std::sync::Arc;

use bytes::Bytes;
use gatewright_tests::{Client, Received, Scripted, Server, TestGateway, Wire, read_head, send};
use http::Response;
use http_body_util::Full;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Barrier, watch};

fn gateway(upstreams: &[(&str, String)], config: Value) -> TestGateway {
    let names: Vec<&str> = upstreams.iter().map(|(name, _)| *name).collect();
    let all = upstreams.iter().map(|(name, address)| ((*name).to_owned(), json!([address])));
    TestGateway::start(json!({
        "shutdown": { "drain_timeout": "50ms" },
        "upstreams": all.collect::<serde_json::Map<_, _>>(),
        "plugins": { "compose": { "grants": { "upstreams": names }, "limits": { "body": "512KiB" } } },
        "routes": [{ "match": {}, "plugins": [{ "compose": config }] }],
    }))
}

/// Answers with what it was asked for.
async fn mirror() -> Server {
    Server::start(|received: &Received| {
        let told = json!({
            "method": received.method, "target": received.target, "body": String::from_utf8_lossy(&received.body),
            "list": [{ "id": "a/b c" }], "evil": "x\r\nx-evil: 1", "up": "..",
        });
        Response::new(Full::new(Bytes::from(told.to_string())))
    })
    .await
}

/// Answers any request with this, as a server that closes.
fn fixed(status: u16, body: &'static str) -> impl Fn(&Received) -> Response<Full<Bytes>> + Clone {
    move |_| Response::builder().status(status).body(Full::new(Bytes::from(body))).unwrap()
}

async fn reply(stream: &mut TcpStream, body: &str) {
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    stream.write_all(head.as_bytes()).await.unwrap();
}

#[tokio::test]
async fn one_answer_of_several_upstreams() {
    let (one, two) = (mirror().await, mirror().await);
    let config = json!({
        "path": "/users/{id}/page",
        "parts": {
            "user": { "upstream": "one", "path": "/users/$(path.id)?lang=$(query.lang:-en)", "forward": ["authorization"] },
            "orders": { "upstream": "two", "method": "POST", "path": "/orders/$(parts.user/list/0/id)",
                        "headers": { "x-page": "$(path.id)" }, "body": { "of": "$(parts.user/target)", "n": 10 } },
        },
        "answer": {
            "status": 203, "headers": { "cache-control": "no-store", "x-id": "$(path.id)" },
            "body": { "user": "$(parts.user/target)", "orders": ["$(parts.orders/target)", "$(parts.orders/body)"] },
        },
    });
    let gateway = gateway(&[("one", one.text()), ("two", two.text())], config);
    for mut client in [Client::http1(gateway.address()).await, Client::http2(gateway.address()).await] {
        let headers = [("authorization", "Bearer t"), ("cookie", "secret=1")];
        let answer = client.send("GET", "/users/4%202/page?lang=de%26x=1", &headers, "").await.unwrap();
        let expected = json!({
            "user": "/users/4%202?lang=de%26x%3D1",
            "orders": ["/orders/a%2Fb%20c", r#"{"of":"/users/4%202?lang=de%26x%3D1","n":10}"#],
        });
        assert_eq!((answer.status, answer.json()), (203, expected), "{}", answer.text());
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert_eq!((answer.header("cache-control"), answer.header("x-id")), (Some("no-store"), Some("4 2")));
        let (user, orders) = (one.received().pop().unwrap(), two.received().pop().unwrap());
        assert_eq!((user.header("authorization"), user.header("cookie")), (Some("Bearer t"), None));
        assert_eq!((orders.header("authorization"), orders.header("x-page")), (None, Some("4 2")));
        assert_eq!((orders.method.as_str(), orders.header("content-type")), ("POST", Some("application/json")));
        assert!(orders.header("x-request-id").is_some());
    }
    let head = send(gateway.address(), "HEAD", "/users/1/page", &[], "").await;
    assert_eq!((head.status, head.body.len()), (203, 0));
    gateway.get("/users/1").await.problem(404);
}

#[tokio::test]
async fn parts_are_asked_at_once_and_each_as_soon_as_it_can_be() {
    // Nobody answers before both were asked, and `slow` not before `third` was, which waits for `fast` alone.
    let both = Arc::new(Barrier::new(2));
    let (third_was_asked, asked) = watch::channel(false);
    let meet = both.clone();
    let fast = Scripted::start(move |mut stream| {
        let both = meet.clone();
        async move {
            read_head(&mut stream).await;
            both.wait().await;
            reply(&mut stream, "1").await;
        }
    })
    .await;
    let slow = Scripted::start(move |mut stream| {
        let (both, mut asked) = (both.clone(), asked.clone());
        async move {
            read_head(&mut stream).await;
            both.wait().await;
            asked.wait_for(|asked| *asked).await.unwrap();
            reply(&mut stream, "2").await;
        }
    })
    .await;
    let third = Scripted::start(move |mut stream| {
        third_was_asked.send_replace(true);
        async move {
            read_head(&mut stream).await;
            reply(&mut stream, "3").await;
        }
    })
    .await;
    let upstreams = [("fast", fast.text()), ("slow", slow.text()), ("third", third.text())];
    let parts = json!({
        "a": { "upstream": "slow", "path": "/", "timeout": "10s" },
        "b": { "upstream": "fast", "path": "/", "timeout": "10s" },
        "c": { "upstream": "third", "path": "/$(parts.b)", "timeout": "10s" },
    });
    let gateway = gateway(&upstreams, json!({ "parts": parts, "deadline": "20s" }));
    let answer = gateway.get("/").await;
    assert_eq!((answer.status, answer.text().as_str()), (200, r#"{"a":2,"b":1,"c":3}"#));
}

/// Never answers; counts the connections that were closed on it.
async fn hanging() -> (Scripted, watch::Receiver<usize>) {
    let (left, count) = watch::channel(0);
    let left = Arc::new(left);
    let server = Scripted::start(move |mut stream| {
        let left = left.clone();
        async move {
            read_head(&mut stream).await;
            let _ = stream.read(&mut [0; 1]).await;
            left.send_modify(|count| *count += 1);
        }
    })
    .await;
    (server, count)
}

#[tokio::test]
async fn one_part_that_hangs_ends_with_its_timeout() {
    let (hanging, _) = hanging().await;
    let good = Server::start(fixed(200, "[1]")).await;
    let upstreams = [("hanging", hanging.text()), ("good", good.text())];
    let part = |more: Value| {
        let mut part = json!({ "upstream": "hanging", "path": "/", "timeout": "100ms" });
        part.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        part
    };
    let config = |part, deadline: &str| json!({ "deadline": deadline, "parts": { "news": part, "good": { "upstream": "good", "path": "/" } } });
    let required = gateway(&upstreams, config(part(json!({})), "5s"));
    assert_eq!(required.get("/").await.problem(504)["detail"], "The part \"news\" took too long.");
    assert_eq!(required.metric("plugin_compose_failed", &["part=\"news\"", "reason=\"timeout\""]).await, 1.0);
    let optional = gateway(&upstreams, config(part(json!({ "optional": true, "default": { "none": true } })), "5s"));
    assert_eq!(optional.get("/").await.json(), json!({ "good": [1], "news": { "none": true } }));
    let all_in_all = gateway(&upstreams, config(part(json!({ "timeout": "60s" })), "100ms"));
    all_in_all.get("/").await.problem(504);
}

#[tokio::test]
async fn what_is_no_longer_needed_is_cancelled() {
    let (hanging, mut left) = hanging().await;
    let (arrived, mut asked) = watch::channel(false);
    let bad = Scripted::start(move |mut stream| {
        arrived.send_replace(true);
        async move {
            read_head(&mut stream).await;
            let _ = stream.write_all(b"HTTP/1.1 500 Oops\r\ncontent-length: 6\r\n\r\nsecret").await;
        }
    })
    .await;
    let parts = json!({
        "hanging": { "upstream": "hanging", "path": "/", "timeout": "10s" },
        "bad": { "upstream": "bad", "path": "/" },
        "after": { "upstream": "bad", "path": "/after", "after": ["hanging"] },
    });
    let failing =
        gateway(&[("hanging", hanging.text()), ("bad", bad.text())], json!({ "parts": parts, "deadline": "20s" }));
    let answer = failing.get("/").await;
    assert_eq!(answer.problem(502)["detail"], "The part \"bad\" was refused.");
    assert!(!answer.text().contains("secret"));
    left.wait_for(|left| *left == 1).await.unwrap();

    // A client that leaves takes its calls along.
    asked.mark_unchanged();
    let parts = json!({ "hanging": { "upstream": "hanging", "path": "/", "timeout": "10s" }, "also": { "upstream": "bad", "path": "/" , "optional": true } });
    let waiting =
        gateway(&[("hanging", hanging.text()), ("bad", bad.text())], json!({ "parts": parts, "deadline": "20s" }));
    let mut client = Wire::connect(waiting.address()).await;
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    asked.changed().await.unwrap();
    client.reset();
    left.wait_for(|left| *left == 2).await.unwrap();
}

#[tokio::test]
async fn a_composition_that_calls_itself_ends() {
    let good = Server::start(fixed(200, "1")).await;
    let config = |itself: &str, optional: bool| {
        json!({
            "upstreams": { "itself": [itself], "good": [good.text()] },
            "plugins": { "compose": { "grants": { "upstreams": ["itself", "good"] } } },
            "routes": [{ "match": {}, "plugins": [{ "compose": { "parts": {
                "again": { "upstream": "itself", "path": "/", "optional": optional, "default": "end" },
                "good": { "upstream": "good", "path": "/" },
            } } }] }],
        })
    };
    let mut begin = config("127.0.0.1:9", true);
    let gateway = TestGateway::start(begin.take());
    let itself = gateway.address().to_string();
    let mut circle = config(&itself, false);
    circle["routes"][0]["plugins"][0]["compose"]["parts"]["again"].as_object_mut().unwrap().remove("default");
    gateway.write_config(circle);
    gateway.reload().unwrap();
    let answer = gateway.get("/").await;
    assert_eq!(answer.problem(508)["detail"], "The part \"again\" leads back here.");
    assert!(good.received().len() <= 3);

    gateway.write_config(config(&itself, true));
    gateway.reload().unwrap();
    let answer = gateway.get("/").await;
    let within = |inner: Value| json!({ "again": inner, "good": 1 });
    assert_eq!((answer.status, answer.json()), (200, within(within(within(json!("end"))))));
    gateway.get_with("/", &[("x-compose-depth", "3")]).await.problem(508);
    gateway.get_with("/", &[("x-compose-depth", "deep")]).await.problem(400);
}

#[tokio::test]
async fn bad_answers_have_a_status_and_show_nothing() {
    let deep: &str = Box::leak(format!("{}1{}", "[".repeat(200), "]".repeat(200)).into_boxed_str());
    let long: &str = Box::leak(format!("\"{}\"", "x".repeat(300 << 10)).into_boxed_str());
    let endless = Scripted::start(|mut stream| async move {
        read_head(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 99999999\r\n\r\n").await;
        while stream.write_all(&[b'1'; 65536]).await.is_ok() {}
    })
    .await;
    let cut = Scripted::answering(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n[1").await;
    let answers =
        [fixed(200, "{\"secret\":"), fixed(200, deep), fixed(200, long), fixed(301, "secret"), fixed(500, "secret")];
    let mut servers = Vec::new();
    for answer in answers {
        servers.push(Server::start(answer).await);
    }
    let addresses = servers.iter().map(Server::text).chain([endless.text(), cut.text(), "127.0.0.1:9".to_owned()]);
    for (case, address) in addresses.enumerate() {
        let gateway = gateway(&[("a", address)], json!({ "parts": { "orders": { "upstream": "a", "path": "/" } } }));
        let answer = gateway.get("/").await;
        let detail = answer.problem(502)["detail"].as_str().unwrap().to_owned();
        assert!(detail.starts_with("The part \"orders\" ") && !answer.text().contains("secret"), "{case}: {detail}");
    }
}

#[tokio::test]
async fn values_from_outside_stay_values() {
    let (one, two) = (mirror().await, mirror().await);
    let upstreams = [("one", one.text()), ("two", two.text())];
    let config = json!({
        "parts": {
            "one": { "upstream": "one", "path": "/one?q=$(query.q:-)", "method": "POST", "body": { "said": "$(body)" } },
            "two": { "upstream": "two", "path": "/x/$(parts.one/up:-a)", "optional": true },
            "three": { "upstream": "two", "path": "/x", "headers": { "x-v": "$(parts.one/evil)" }, "optional": true },
        },
        "answer": { "body": { "one": "$(parts.one/target)", "body": "$(parts.one/body)", "failed": "$(failed)" } },
    });
    let gateway = gateway(&upstreams, config);
    let body = r#"{"a":"\"},{\"b\":1","n":123456789012345678901.10}"#;
    let answer = gateway.post("/?q=%0d%0ax%26y%2F..%2F", &[("content-type", "application/json")], body).await;
    let expected = json!({ "one": "/one?q=%0D%0Ax%26y%2F..%2F", "body": format!("{{\"said\":{body}}}"), "failed": ["three", "two"] });
    assert_eq!((answer.status, answer.json()), (200, expected), "{}", answer.text());
    assert!(two.received().is_empty());
    let deep = format!("{}1{}", "[".repeat(200), "]".repeat(200));
    for (kind, body, status) in [
        ("application/json", "{\"a\":", 400),
        ("application/json", deep.as_str(), 400),
        ("application/json", &format!("\"{}\"", "x".repeat(300 << 10)), 413),
        ("application/xml", "<a/>", 415),
    ] {
        one.forget();
        gateway.post("/", &[("content-type", kind)], body).await.problem(status);
        assert!(one.received().is_empty(), "{kind} {status}");
    }
}

#[tokio::test]
async fn what_is_not_granted_is_not_asked() {
    let (good, secret) = (Server::start(fixed(200, "1")).await, Server::start(fixed(200, "2")).await);
    let parts = json!({ "good": { "upstream": "good", "path": "/" }, "other": { "upstream": "secret", "path": "/" } });
    let config = |grants: Value, limits: Value| {
        json!({
            "upstreams": { "good": [good.text()], "secret": [secret.text()] },
            "plugins": { "compose": { "grants": grants, "limits": limits } },
            "routes": [{ "match": {}, "plugins": [{ "compose": { "parts": parts } }] }],
        })
    };
    let few = TestGateway::start(config(json!({ "upstreams": ["good", "secret"] }), json!({ "callouts": 1 })));
    few.get("/").await.problem(502);
    assert!(secret.received().is_empty());
    for grants in [json!({}), json!({ "upstreams": ["good"] })] {
        let refused = TestGateway::try_start(config(grants, json!({}))).err().unwrap().to_string();
        assert!(refused.contains("the upstream \"secret\" is not granted to the plugin \"compose\""), "{refused}");
    }

    let circle = json!({ "a": { "upstream": "good", "path": "/$(parts.b)" }, "b": { "upstream": "good", "path": "/$(parts.a)" } });
    let mut wrong = config(json!({ "upstreams": ["good"] }), json!({}));
    wrong["routes"][0]["plugins"][0]["compose"]["parts"] = circle;
    let refused = TestGateway::try_start(wrong).err().unwrap().to_string();
    assert!(
        refused.contains("each of these waits for the next one: a, b, a") && refused.contains("gateway.json:"),
        "{refused}"
    );
}
