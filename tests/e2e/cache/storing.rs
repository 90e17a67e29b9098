//! What is kept, and what is not for others.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bytes::Bytes;
use gatewright_tests::{Client, LateEnd, Received, Scripted, Server, TestGateway, Wire, eventually, read_head};
use http::Response;
use http_body_util::Full;
use serde_json::json;
use tokio::io::AsyncWriteExt;

use super::{MAX_AGE, counting, gateway, status};

#[tokio::test]
async fn what_is_not_for_all_is_not_kept() {
    for fields in [
        &[("cache-control", "no-store")][..],
        &[("cache-control", "private, max-age=100")],
        &[("cache-control", "public, max-age=100"), ("set-cookie", "a=b")],
        &[("cache-control", "max-age=100"), ("vary", "*")],
    ] {
        let server = counting(fields).await;
        let gateway = gateway(&server.text(), json!({}));
        assert_eq!(gateway.get("/").await.text(), "answer 1", "{fields:?}");
        assert_eq!(gateway.get("/").await.text(), "answer 2", "{fields:?}");
    }
    let server = counting(&[("cache-control", "max-age=100")]).await;
    let gateway = gateway(&server.text(), json!({}));
    for (count, credential) in
        [("authorization", "Bearer a"), ("cookie", "session=a")].repeat(2).into_iter().enumerate()
    {
        let answer = gateway.get_with("/", &[credential]).await;
        assert_eq!(answer.text(), format!("answer {}", count + 1), "an answer to somebody is for him");
    }
    // What everybody gets, they get as well.
    assert_eq!(gateway.get("/").await.text(), "answer 5");
    assert_eq!(gateway.get_with("/", &[("cookie", "session=a")]).await.text(), "answer 5");
}

#[tokio::test]
async fn cookies_count_for_nothing_where_the_operator_says_so() {
    let server = counting(&[("cache-control", "max-age=100"), ("set-cookie", "theme=dark")]).await;
    let gateway = gateway(&server.text(), json!({ "cookies": true }));
    for _ in 0..2 {
        assert_eq!(gateway.get_with("/", &[("cookie", "session=a")]).await.text(), "answer 1");
    }
}

/// The cookie that leads to an endpoint is for one client, and says nothing of who that is.
#[tokio::test]
async fn sticky_sessions_keep_nothing_from_being_remembered_and_are_not() {
    for cache in [json!({}), json!({ "cookies": true })] {
        let servers = [counting(&MAX_AGE).await, counting(&MAX_AGE).await];
        let endpoints: Vec<String> = servers.iter().map(|server| server.text()).collect();
        let gateway = TestGateway::start(json!({
            "upstreams": { "behind": { "endpoints": endpoints, "sticky": {} } },
            "routes": [{ "match": {}, "cache": cache, "to": "behind" }],
        }));
        let stored = "fwd=uri-miss; fwd-status=200; stored";
        let first = gateway.get("/a").await;
        assert_eq!(status(&first), stored, "{cache}");
        let pair = first.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
        let hit = gateway.get("/a").await;
        assert!(status(&hit).starts_with("hit;"), "{cache}: {hit:?}");
        assert_eq!(hit.header("set-cookie"), None, "{cache}: it was another's");
        // The answer to a client that has its cookie is for all as well.
        let second = gateway.get_with("/b", &[("cookie", &pair)]).await;
        assert_eq!((status(&second).as_str(), second.header("set-cookie")), (stored, None), "{cache}");
        assert!(status(&gateway.get("/b").await).starts_with("hit;"), "{cache}");
    }
}

#[tokio::test]
async fn an_answer_to_a_proven_caller_is_kept_only_where_its_server_says_so() {
    let keys = json!([{ "key": "ada", "subject": "ada" }, { "key": "bob", "subject": "bob" }]);
    for (control, texts) in [("max-age=100", ["answer 1", "answer 2"]), ("max-age=100, public", ["answer 1"; 2])] {
        let fields: &'static [(&str, &str)] = Box::leak(Box::new([("cache-control", control)]));
        let server = counting(fields).await;
        let gateway = TestGateway::start(json!({
            "upstreams": { "behind": [server.text()] },
            "routes": [{ "match": {}, "plugins": [{ "key-auth": { "keys": keys } }], "cache": {}, "to": "behind" }],
        }));
        for (key, text) in ["ada", "bob"].into_iter().zip(texts) {
            assert_eq!(gateway.get_with("/", &[("x-api-key", key)]).await.text(), text, "{control}");
        }
        // What is remembered is behind the plugins all the same.
        assert_eq!(gateway.get("/").await.status, 401);
    }
}

#[tokio::test]
async fn a_redirect_of_the_gateways_own_is_not_remembered() {
    let server = counting(&MAX_AGE).await;
    let gateway = TestGateway::start(json!({
        "upstreams": { "behind": [server.text()] },
        "routes": [{
            "match": {},
            "cache": { "default_ttl": "1h" },
            "to": [{ "redirect": { "host": "b.test", "status": 301 } }, { "upstream": "behind", "weight": 0 }],
        }],
    }));
    for _ in 0..2 {
        let answer = gateway.get("/").await;
        assert_eq!((answer.status, status(&answer).as_str()), (301, "fwd=uri-miss; fwd-status=301"));
    }
}

#[tokio::test]
async fn bodies_that_break_off_or_are_too_long_are_not_kept() {
    let breaks = Scripted::start(|mut stream| async move {
        read_head(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncache-control: max-age=9\r\ncontent-length: 9\r\n\r\nhalf").await;
    })
    .await;
    let gateway_one = gateway(&breaks.text(), json!({}));
    for _ in 0..2 {
        let mut wire = Wire::connect(gateway_one.address()).await;
        wire.send("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
        let text = wire.read_to_end().await;
        assert!(text.contains("fwd=uri-miss") && text.ends_with("half"), "{text}");
    }
    let long = Server::start(|_: &Received| {
        let body = Full::new(Bytes::from(vec![b'x'; 3000]));
        Response::builder().header("cache-control", "max-age=100").body(body).unwrap()
    })
    .await;
    let gateway_two = gateway(&long.text(), json!({ "max_body": "2KiB" }));
    for count in 1..4 {
        assert_eq!(gateway_two.get("/").await.body.len(), 3000);
        assert_eq!(long.received().len(), count);
    }
}

/// Where the end of a body is a frame of its own, nobody waits for it who has all bytes.
#[tokio::test]
async fn a_body_is_kept_with_its_last_byte() {
    for text in ["hello", ""] {
        let server = LateEnd::answering(text, &MAX_AGE).await;
        let gateway = TestGateway::start(json!({
            "upstreams": { "late": { "endpoints": [server.text()], "protocol": "h2c" } },
            "routes": [{ "match": {}, "cache": {}, "to": "late" }],
        }));
        for _ in 0..2 {
            assert_eq!(gateway.get("/").await.text(), text);
        }
        assert_eq!(server.asked(), 1);
    }
}

#[tokio::test]
async fn memory_stays_within_what_the_operator_gave() {
    let server = Server::start(|_: &Received| {
        let body = Full::new(Bytes::from(vec![b'x'; 10_000]));
        Response::builder().header("cache-control", "max-age=100").body(body).unwrap()
    })
    .await;
    let gateway = TestGateway::start(json!({
        "response_cache": { "memory": "256KiB" },
        "upstreams": { "behind": [server.text()] },
        "routes": [{ "match": {}, "cache": {}, "to": "behind" }],
    }));
    let mut client = Client::http1(gateway.address()).await;
    for number in 0..200 {
        assert_eq!(client.send("GET", &format!("/{number}"), &[], "").await.unwrap().body.len(), 10_000);
    }
    let used = gateway.metric("gatewright_cache_bytes", &[]).await;
    assert!(used > 10_000.0 && used <= 256.0 * 1024.0, "{used}");
}

#[tokio::test]
async fn a_reload_keeps_what_is_remembered() {
    let server = counting(&[("cache-control", "max-age=100")]).await;
    let gateway = gateway(&server.text(), json!({}));
    assert_eq!(gateway.get("/").await.text(), "answer 1");
    gateway.reload().unwrap();
    assert_eq!(gateway.get("/").await.text(), "answer 1");
}

/// There is memory for it by the limit of the route, and not by that of the gateway: nothing says that it was stored.
#[tokio::test]
async fn what_there_is_no_memory_for_is_not_said_to_be_stored() {
    let server = Server::start(|_: &Received| {
        let response = Response::builder().header("cache-control", "max-age=100");
        response.body(Full::new(Bytes::from(vec![b'x'; 100 << 10]))).unwrap()
    })
    .await;
    let gateway = TestGateway::start(json!({
        "response_cache": { "memory": "64KiB" },
        "upstreams": { "behind": [server.text()] },
        "routes": [{ "match": {}, "cache": {}, "to": "behind" }],
    }));
    for count in 1..=2 {
        let answer = gateway.get("/").await;
        assert_eq!((status(&answer).as_str(), answer.body.len()), ("fwd=uri-miss; fwd-status=200", 100 << 10));
        assert_eq!(server.received().len(), count);
    }
    assert_eq!(gateway.metric("gatewright_cache_events_total", &["event=\"stored\""]).await, 0.0);
}

/// A condition costs a client nothing: it must not make the gateway fetch what is too long to be stored.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_condition_does_not_make_the_gateway_fetch_what_it_does_not_store() {
    for length in ["content-length: 1000000000000", "transfer-encoding: chunked"] {
        let (sent, is_over) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let (counted, over) = (sent.clone(), is_over.clone());
        let server = Scripted::start(move |mut stream| {
            let (counted, over) = (counted.clone(), over.clone());
            async move {
                read_head(&mut stream).await;
                let head = format!("HTTP/1.1 200 OK\r\n{length}\r\netag: \"a\"\r\ncache-control: max-age=100\r\n\r\n");
                let mut piece = vec![b'x'; 64 << 10];
                if length.starts_with("transfer") {
                    piece = [b"10000\r\n".as_slice(), &piece, b"\r\n"].concat();
                }
                let mut begun = stream.write_all(head.as_bytes()).await;
                while begun.is_ok() {
                    begun = stream.write_all(&piece).await;
                    counted.fetch_add(piece.len(), Ordering::SeqCst);
                }
                over.store(true, Ordering::SeqCst);
            }
        })
        .await;
        let gateway = gateway(&server.text(), json!({ "max_body": "1MiB" }));
        let answer = gateway.get_with("/", &[("if-none-match", "\"a\"")]).await;
        assert_eq!((answer.status, answer.body.len()), (304, 0), "{length}");
        eventually("nobody reads it any more", async || is_over.load(Ordering::SeqCst).then_some(())).await;
        // What was on its way in the buffers of sockets came on top of it.
        assert!(sent.load(Ordering::SeqCst) < 64 << 20, "{length}: {}", sent.load(Ordering::SeqCst));
    }
}
