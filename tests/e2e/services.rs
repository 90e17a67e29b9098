//! Services: components of `wasi:http` that answer requests themselves, within their limits, and reach what they were granted.

mod middleware;
mod p3;

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::{Duration, Instant};

use gatewright_tests::{
    Answer, Client, Received, Scripted, Server, TestGateway, Wire, eventually, guest, made_of, read_head,
};
use http::Response;
use http_body_util::Full;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::hostile::resident_bytes;

fn file(package: &str) -> String {
    format!("file:{}", guest(package))
}

/// The same service, of WASI 0.2 and of 0.3: the same holds for both.
const GUESTS: [&str; 2] = ["guest-service", "guest-service-p3"];

fn config(guest: &str, upstreams: Value, service: Value) -> Value {
    let mut declared = json!({ "source": file(guest) });
    declared.as_object_mut().unwrap().extend(service.as_object().unwrap().clone());
    json!({
        "shutdown": { "drain_timeout": "50ms" },
        "upstreams": upstreams,
        "services": { "shop": declared },
        "routes": [{ "name": "shop", "match": {}, "to": { "service": "shop" } }],
    })
}

fn gateway(guest: &str, service: Value) -> TestGateway {
    TestGateway::start(config(guest, json!({}), service))
}

/// The answer, once there is a place: a guest gives its own back a moment after what it answers.
async fn placed(gateway: &TestGateway, path: &str, headers: &[(&str, &str)]) -> Answer {
    eventually("there is a place", async || {
        let answer = gateway.get_with(path, headers).await;
        (answer.status != 503).then_some(answer)
    })
    .await
}

#[tokio::test]
async fn a_component_answers() {
    for guest in GUESTS {
        let gateway = gateway(guest, json!({}));
        let (http1, http2) = (Client::http1(gateway.address()).await, Client::http2(gateway.address()).await);
        for (mut client, host) in [(http1, gateway.address().to_string()), (http2, "gateway.test".to_owned())] {
            let hello = client.send("GET", "/hello", &[], "").await.unwrap();
            assert_eq!((hello.status, hello.text().as_str(), hello.header("x-service")), (200, "hello", Some("guest")));
            let head = client.send("PUT", "/head/a%20b?c=d", &[("x-a", "1"), ("x-a", "2")], "").await.unwrap().text();
            let expected = format!("Method::Put /head/a%20b?c=d Some(Scheme::Http) Some({host:?})\n");
            assert!(head.starts_with(&expected), "{head}");
            assert!(head.contains("x-a=1\nx-a=2") && head.contains("x-forwarded-for=127.0.0.1"), "{head}");
            assert_eq!(client.send("GET", "/unknown", &[], "").await.unwrap().status, 404);
            let large = "x".repeat(300_000);
            assert_eq!(client.send("POST", "/echo", &[], large.clone()).await.unwrap().text(), large);
            for status in [204, 205, 304] {
                let answer = client.send("GET", &format!("/status/{status}"), &[], "").await.unwrap();
                assert_eq!((answer.status, answer.body.len()), (status, 0));
            }
            assert_eq!(client.send("HEAD", "/hello", &[], "").await.unwrap().body.len(), 0);
            assert_eq!(client.send("GET", "/forbidden", &[], "").await.unwrap().text(), "[true, true, true]");
        }
        let record = eventually("a record", async || gateway.records().pop()).await;
        assert_eq!((&record["plugin"], &record["route"]), (&json!("shop"), &json!("shop")), "{record}");
    }
}

#[tokio::test]
async fn bodies_stream_both_ways() {
    for guest in GUESTS {
        let gateway = gateway(guest, json!({}));
        let mut wire = Wire::connect(gateway.address()).await;
        wire.send("POST /echo HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n").await;
        wire.send_chunk("first").await;
        // It is back before there is a second one.
        wire.read_to("first").await;
        wire.send_chunk("second").await;
        wire.read_to("second").await;
        wire.send("0\r\n\r\n").await;
        wire.read_to("0\r\n\r\n").await;
    }
}

#[tokio::test]
async fn it_reaches_what_it_was_granted_and_nothing_else() {
    for guest in GUESTS {
        let told = |received: &Received| {
            let body = format!("{} {} {:?}", received.method, received.target, received.body);
            Response::builder().status(203).body(Full::new(body.into())).unwrap()
        };
        let (orders, secret) = (Server::start(told).await, Server::start(told).await);
        let silent = Scripted::start(|mut stream| async move {
            read_head(&mut stream).await;
            std::future::pending::<()>().await;
        })
        .await;
        let upstreams = json!({ "orders": [orders.text()], "secret": [secret.text()], "silent": [silent.text()], "down": ["127.0.0.1:9"] });
        let grants = json!({
            "grants": { "upstreams": ["orders", "silent", "down"] },
            "limits": { "callouts": 3, "callout_timeout": "1s" },
        });
        let gateway = TestGateway::start(config(guest, upstreams, grants));
        let denied = "ErrorCode::HttpRequestDenied";
        for (whom, expected) in [
            ("orders/a%20b?c", "203 POST /a%20b?c b\"asked\"".to_owned()),
            ("secret/", denied.to_owned()),
            (&format!("{}/", secret.text()), denied.to_owned()),
            ("orders:80/", denied.to_owned()),
            ("127.0.0.1:9901/", denied.to_owned()),
            ("silent/", "ErrorCode::HttpResponseTimeout".to_owned()),
            ("down/", "ErrorCode::ConnectionTerminated".to_owned()),
            (
                "secret/,secret/,secret/,orders/",
                format!("{denied}|{denied}|{denied}|ErrorCode::ConnectionLimitReached"),
            ),
        ] {
            assert_eq!(gateway.get(&format!("/call/{whom}")).await.text(), expected, "{whom}");
        }
        assert_eq!(orders.only().header("x-from"), Some("service"));
        assert!(secret.received().is_empty());
        let rights = gateway.get("/rights").await.text();
        assert_eq!(rights, "environment 0, arguments 0, directories 0, file false, name false, socket false");
        assert_eq!(gateway.get("/print").await.status, 200);
    }
}

#[tokio::test]
async fn whatever_it_does_ends_its_own_request() {
    for guest in GUESTS {
        let limits = json!({ "limits": {
            "time": "500ms", "memory": "16MiB", "response_timeout": "2s", "body_timeout": "1s", "requests": 2,
        } });
        let gateway = gateway(guest, limits);
        for (path, status, detail) in [
            ("/loop", 504, "The service did not answer in time."),
            ("/hang", 504, "The service did not answer in time."),
            ("/memory", 502, "The service gave no valid answer."),
            ("/panic", 502, "The service gave no valid answer."),
            ("/nothing", 502, "The service gave no valid answer."),
            ("/status/101", 502, "The service gave no valid answer."),
        ] {
            let began = Instant::now();
            let answer = placed(&gateway, path, &[]).await;
            assert_eq!(answer.problem(status)["detail"], detail, "{path}");
            assert!(!answer.text().contains("panics") && began.elapsed() < Duration::from_secs(10), "{path}");
            assert_eq!(placed(&gateway, "/hello", &[]).await.text(), "hello", "after {path}");
        }
        for (path, why) in [("/half", "unreachable"), ("/stall", "no byte of the body came in time")] {
            let half = eventually("there is a place", async || {
                let mut wire = Wire::connect(gateway.address()).await;
                wire.send(format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n")).await;
                let head = wire.read_to("\r\n\r\n").await;
                if head.starts_with("HTTP/1.1 503 ") {
                    return None;
                }
                Some(head + &wire.read_to_end().await)
            })
            .await;
            assert!(
                half.contains("half") && !half.ends_with("0\r\n\r\n"),
                "a body that breaks off is no whole one: {half}"
            );
            let record =
                async || gateway.records().into_iter().find(|record| record["path"] == path && record["status"] != 503);
            let record = eventually("the record", record).await;
            assert!(record["error"].as_str().is_some_and(|error| error.contains(why)), "{record}");
            assert_eq!(placed(&gateway, "/hello", &[]).await.text(), "hello", "after {path}");
        }
    }
}

#[tokio::test]
async fn long_bodies_take_no_memory() {
    const PIECES: usize = 1600;
    for guest in GUESTS {
        let mut config = config(guest, json!({}), json!({ "limits": { "time": "60s" } }));
        config["limits"] = json!({ "request_body": "1GiB" });
        let gateway = TestGateway::start(config);
        assert_eq!(gateway.post("/echo", &[], "warm").await.text(), "warm");
        let before = resident_bytes();
        let stream = TcpStream::connect(gateway.address()).await.unwrap();
        let (mut output, mut input) = stream.into_split();
        let sending = tokio::spawn(async move {
            let head = format!("POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n", PIECES << 16);
            input.write_all(head.as_bytes()).await.unwrap();
            let piece = vec![b'x'; 1 << 16];
            for _ in 0..PIECES {
                input.write_all(&piece).await.unwrap();
            }
            input
        });
        let (mut buffer, mut came, mut worst) = (vec![0; 1 << 16], 0, 0);
        while came < PIECES << 16 {
            let read = output.read(&mut buffer).await.unwrap();
            assert!(read > 0, "{guest}: the answer ends after {came} bytes");
            came += read;
            worst = worst.max(resident_bytes().saturating_sub(before));
        }
        drop(sending.await.unwrap());
        assert!(worst < 16 << 20, "{guest}: {} MiB more for a body of 100 MiB", worst >> 20);
    }
}

#[tokio::test]
async fn the_routes_timeout_holds() {
    for guest in GUESTS {
        let mut config = config(guest, json!({}), json!({}));
        config["routes"][0]["timeouts"] = json!({ "request": "1s" });
        let gateway = TestGateway::start(config);
        let began = Instant::now();
        assert_eq!(gateway.get("/hang").await.problem(504)["detail"], "The service did not answer in time.");
        assert!(began.elapsed() < Duration::from_secs(20), "the service's own limit is longer");
        assert_eq!(gateway.get("/hello").await.text(), "hello");
    }
}

#[tokio::test]
async fn a_service_that_computes_leaves_its_core_to_others() {
    for guest in GUESTS {
        let mut config = config(guest, json!({}), json!({ "limits": { "time": "5s", "response_timeout": "25s" } }));
        config["workers"] = json!(1);
        let gateway = TestGateway::start(config);
        let address = gateway.address();
        let looping =
            tokio::spawn(async move { gatewright_tests::send(address, "GET", "/loop", &[], "").await.status });
        let mut served = 0;
        while !looping.is_finished() {
            assert_eq!(gateway.get("/hello").await.text(), "hello");
            served += 1;
        }
        assert_eq!(looping.await.unwrap(), 504);
        assert!(served >= 20, "only {served} requests were served meanwhile");
    }
}

#[tokio::test]
async fn places_are_given_back() {
    for guest in GUESTS {
        let gateway = gateway(guest, json!({ "limits": { "requests": 1, "response_timeout": "20s" } }));
        let mut waiting = Wire::connect(gateway.address()).await;
        waiting.send("POST /echo HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n").await;
        waiting.send_chunk("here").await;
        waiting.read_to("here").await;
        let busy = gateway.get("/hello").await;
        assert_eq!(busy.problem(503)["detail"], "The service takes no requests at the moment.");
        assert_eq!(busy.header("retry-after"), Some("1"));
        // A client that leaves ends its guest, wherever that is.
        waiting.reset();
        let is_free = async || (gateway.get("/hello").await.status == 200).then_some(());
        eventually("the place is free", is_free).await;
        // The guest that said so may end a moment after its answer.
        let reading = eventually("the next has the place", async || {
            let mut reading = Wire::connect(gateway.address()).await;
            reading.send("GET /endless HTTP/1.1\r\nhost: a\r\n\r\n").await;
            let head = reading.read_to("\r\n\r\n").await;
            head.starts_with("HTTP/1.1 200 ").then_some(reading)
        });
        let mut reading = reading.await;
        reading.read_to("xxxx").await;
        assert_eq!(gateway.get("/hello").await.status, 503);
        reading.reset();
        eventually("the place is free again", is_free).await;
    }
}

/// A component that says the same and is another file, of 0.2 and 0.3 by turns.
fn another(number: u8) -> Vec<u8> {
    let mut component = std::fs::read(guest(GUESTS[usize::from(number) % GUESTS.len()])).unwrap();
    // A custom section: its kind, its size, its name and one byte.
    component.extend([0, 4, 2, b'n', b'o', number]);
    component
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn swaps_under_load_drop_nothing() {
    const SWAPS: u8 = 4;
    let mut config = config("guest-service", json!({}), json!({}));
    config["services"]["shop"]["source"] = json!("file:shop.wasm");
    // The client of before says nothing until all of them are compiled.
    config["timeouts"] = json!({ "body": "10m" });
    let gateway =
        TestGateway::start_beside(config, |folder| std::fs::write(folder.join("shop.wasm"), another(0)).unwrap());
    let component = gateway.directory().join("shop.wasm");
    let mut old = Wire::connect(gateway.address()).await;
    old.send("POST /echo HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n").await;
    old.send_chunk("before").await;
    old.read_to("before").await;

    let (served, is_over) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let mut load = JoinSet::new();
    for _ in 0..4 {
        let (served, is_over, mut client) = (served.clone(), is_over.clone(), Client::http1(gateway.address()).await);
        load.spawn(async move {
            while !is_over.load(Relaxed) {
                let answer = client.send("GET", "/hello", &[], "").await.unwrap();
                assert_eq!((answer.status, answer.text().as_str()), (200, "hello"));
                served.fetch_add(1, Relaxed);
            }
        });
    }
    let goes_on = async || {
        let before = served.load(Relaxed);
        eventually("requests are served", async || (served.load(Relaxed) >= before + 20).then_some(())).await;
    };
    for number in 1..=SWAPS {
        goes_on().await;
        std::fs::write(&component, another(number)).unwrap();
        tokio::task::block_in_place(|| gateway.reload()).unwrap();
    }
    goes_on().await;
    is_over.store(true, Relaxed);
    while let Some(ended) = load.join_next().await {
        ended.unwrap();
    }
    // It was there before all of them.
    old.send_chunk("after").await;
    old.read_to("after").await;
    old.send("0\r\n\r\n").await;
    old.read_to("0\r\n\r\n").await;
    let failed: Vec<Value> = gateway.records().into_iter().filter(|record| record["status"] != 200).collect();
    assert!(failed.is_empty(), "{failed:#?}");
}

#[tokio::test]
async fn a_component_by_componentize_py_serves() {
    serves("service.py", "hello from Python", 502).await;
}

#[tokio::test]
async fn a_component_of_0_3_by_componentize_py_serves() {
    serves("service_p3.py", "hello from Python", 502).await;
}

#[tokio::test]
async fn a_component_by_componentize_js_serves() {
    // It answers itself for what its handler throws, and memory that it does not get is thrown.
    serves("service.js", "hello from JavaScript", 500).await;
}

/// With the limits that services have by default, but for the time.
async fn serves(source: &str, hello: &str, when_it_fails: u16) {
    let orders = Server::start(|received: &Received| {
        let told = format!("{} {} is here", received.method, received.target);
        Response::new(Full::new(told.into()))
    })
    .await;
    let upstreams = json!({ "orders": [orders.text()], "secret": [orders.text()] });
    let mut config = config(
        "guest-service",
        upstreams,
        json!({ "grants": { "upstreams": ["orders"] }, "limits": { "time": "3s" } }),
    );
    config["services"]["shop"]["source"] = json!(format!("file:{}", made_of(source).display()));
    let gateway = TestGateway::start(config);
    let large = "x".repeat(300_000);
    assert_eq!(gateway.post("/echo", &[], &large).await.text(), large);
    for (path, status, text) in [
        ("/call/orders/1?a=b", 200, Some("GET /1?a=b is here")),
        ("/call/secret/1", 502, Some("refused")),
        ("/unknown", 404, Some("")),
        ("/raise", when_it_fails, None),
        ("/memory", when_it_fails, None),
        ("/loop", 504, None),
    ] {
        let answer = gateway.get(path).await;
        assert_eq!(answer.status, status, "{path}: {}", answer.text());
        assert!(text.is_none_or(|text| text == answer.text()), "{path}: {}", answer.text());
        assert_eq!(gateway.get("/hello").await.text(), hello, "after {path}");
    }
    assert_eq!(orders.received().len(), 1);
}

/// A component of the world that exports this, and that imports what is nowhere.
fn importing(handler: &str) -> Vec<u8> {
    let text = format!(
        "(component (import \"a:b/c@1.0.0\" (instance (export \"d\" (func)))) (instance $i) (export {handler:?} (instance $i)))"
    );
    wat::parse_str(text).unwrap()
}

#[tokio::test]
async fn it_changes_while_traffic_flows_and_mistakes_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let component = folder.path().join("shop.wasm");
    std::fs::copy(guest("guest-service"), &component).unwrap();
    let mut good = config("guest-service", json!({}), json!({}));
    good["services"]["shop"]["source"] = json!(format!("file:{}", component.display()));
    let gateway = TestGateway::start(good.clone());
    assert_eq!(gateway.get("/hello").await.text(), "hello");
    for (broken, said) in [
        (std::fs::read(guest("guest-noop")).unwrap(), "does not export wasi:http/incoming-handler@0.2"),
        (importing("wasi:http/incoming-handler@0.2.0"), "a:b/c@1.0.0"),
        (importing("wasi:http/handler@0.3.0"), "a:b/c@1.0.0"),
        (b"\0asm\x01\0\0\0".to_vec(), "service \"shop\""),
        (b"text".to_vec(), "service \"shop\""),
    ] {
        std::fs::write(&component, broken).unwrap();
        let refused = gateway.reload().unwrap_err().to_string();
        assert!(refused.contains(said) && refused.contains("gateway.json:"), "{refused}");
        assert_eq!(gateway.get("/hello").await.text(), "hello");
    }
    std::fs::remove_file(&component).unwrap();
    assert!(gateway.reload().unwrap_err().to_string().contains("cannot be read"));
    for (change, said) in [
        (json!({ "to": { "service": "shp" } }), "did you mean \"shop\"?"),
        (json!({ "to": { "service": "shop", "upstream": "a" } }), "not both"),
        (json!({ "to": { "service": "shop", "redirect": { "path": "/" } } }), "not both"),
    ] {
        let mut wrong = good.clone();
        wrong["services"]["shop"]["source"] = json!(file("guest-service"));
        wrong["routes"][0].as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let refused = TestGateway::try_start(wrong).err().unwrap().to_string();
        assert!(refused.contains(said), "{refused}");
    }
    let mut wrong = good;
    wrong["services"]["shop"] =
        json!({ "source": "stock:echo", "grants": { "upstreams": ["none"] }, "limits": { "memory": "2GiB" } });
    let refused = TestGateway::try_start(wrong).err().unwrap().to_string();
    for said in ["no service comes with the gateway", "none", "2GiB"] {
        assert!(refused.contains(said), "{said}: {refused}");
    }
}
