//! Remembered responses, with real clients and a real server: what is answered from memory, what is asked for, and what
//! nobody may make the cache give to others.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use gatewright_tests::{Answer, Client, Received, Scripted, Server, TestGateway, Wire, eventually, read_head, send};
use http::Response;
use http_body_util::Full;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// Answers with these fields, and with how many requests it has answered as the body.
async fn counting(fields: &'static [(&'static str, &'static str)]) -> Server {
    let count = Arc::new(AtomicUsize::new(0));
    Server::start(move |received: &Received| {
        let count = count.fetch_add(1, Ordering::SeqCst) + 1;
        let mut response = Response::builder();
        for (name, value) in fields {
            response = response.header(*name, *value);
        }
        let etag = fields.iter().find(|(name, _)| *name == "etag").map(|(_, value)| *value);
        if etag.is_some() && received.header("if-none-match") == etag {
            return response.status(304).body(Full::default()).unwrap();
        }
        response.body(Full::new(Bytes::from(format!("answer {count}")))).unwrap()
    })
    .await
}

fn gateway(server: &str, cache: Value) -> TestGateway {
    TestGateway::start(json!({
        "upstreams": { "behind": [server] },
        "routes": [{ "match": {}, "cache": cache, "to": "behind" }],
    }))
}

const MAX_AGE: [(&str, &str); 1] = [("cache-control", "max-age=100")];

fn status(answer: &Answer) -> String {
    let told = answer.header("cache-status").unwrap_or_else(|| panic!("{answer:?}"));
    told.strip_prefix("gatewright; ").unwrap_or_else(|| panic!("{told}")).to_owned()
}

#[tokio::test]
async fn a_fresh_response_is_answered_from_memory_on_all_cores_and_over_both_protocols() {
    let server = counting(&[("cache-control", "max-age=100"), ("x-own", "1")]).await;
    let gateway = gateway(&server.text(), json!({}));
    let first = gateway.get("/a?b=c").await;
    assert_eq!((first.status, status(&first).as_str()), (200, "fwd=uri-miss; fwd-status=200; stored"));
    for _ in 0..20 {
        let again = gateway.get("/a?b=c").await;
        assert_eq!((again.status, again.text().as_str(), again.header("x-own")), (200, "answer 1", Some("1")));
        assert!(status(&again).starts_with("hit; ttl="), "{again:?}");
        assert!(again.header("age").unwrap().parse::<u32>().unwrap() < 100);
        assert_eq!(again.header("content-length"), Some("8"));
    }
    let mut http2 = Client::http2(gateway.address()).await;
    let host = gateway.address().to_string();
    let other = http2.send("GET", "/a?b=c", &[], "").await.unwrap();
    assert_eq!(other.text(), "answer 2", "another host is another address: {host}");
    assert_eq!(http2.send("GET", "/a?b=c", &[], "").await.unwrap().text(), "answer 2");
    assert_eq!(server.received().len(), 2);
    assert_eq!(gateway.metric("gatewright_cache_events_total", &["event=\"hit\""]).await, 21.0);
    assert!(gateway.metric("gatewright_cache_bytes", &[]).await > 100.0);
}

#[tokio::test]
async fn head_ranges_and_conditions_are_answered_from_one_entry() {
    let server = counting(&[("cache-control", "max-age=100"), ("etag", "\"a\"")]).await;
    let gateway = gateway(&server.text(), json!({}));
    assert_eq!(gateway.get("/").await.text(), "answer 1");
    let head = send(gateway.address(), "HEAD", "/", &[], "").await;
    assert_eq!((head.status, head.header("content-length"), head.body.len()), (200, Some("8"), 0));
    let part = gateway.get_with("/", &[("range", "bytes=0-5")]).await;
    assert_eq!((part.status, part.text().as_str()), (206, "answer"));
    assert_eq!(part.header("content-range"), Some("bytes 0-5/8"));
    assert_eq!(gateway.get_with("/", &[("range", "bytes=8-")]).await.status, 416);
    let same = gateway.get_with("/", &[("if-none-match", "W/\"a\"")]).await;
    assert_eq!((same.status, same.body.len(), same.header("etag")), (304, 0, Some("\"a\"")));
    assert_eq!(server.received().len(), 1);
}

#[tokio::test]
async fn conditions_of_a_client_do_not_keep_the_whole_from_being_stored() {
    let server = counting(&[("cache-control", "max-age=100"), ("etag", "\"a\"")]).await;
    let gateway = gateway(&server.text(), json!({}));
    assert_eq!(gateway.get_with("/", &[("if-none-match", "\"a\"")]).await.status, 304);
    assert_eq!(server.only().header("if-none-match"), None);
    eventually("the whole is there", async || {
        let answer = gateway.get("/").await;
        (answer.text() == "answer 1" && status(&answer).starts_with("hit")).then_some(())
    })
    .await;
    // A part of what is not there is asked for as a part, and not stored.
    let part = gateway.get_with("/part", &[("range", "bytes=0-1")]).await;
    assert!(!status(&part).contains("stored"));
    assert_eq!(server.received().last().unwrap().header("range"), Some("bytes=0-1"));
}

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
}

#[tokio::test]
async fn variants_are_kept_apart() {
    let server = counting(&[("cache-control", "max-age=100"), ("vary", "accept-language")]).await;
    let gateway = gateway(&server.text(), json!({}));
    for (language, text) in [("de", "answer 1"), ("en", "answer 2"), ("de", "answer 1"), ("en", "answer 2")] {
        assert_eq!(gateway.get_with("/", &[("accept-language", language)]).await.text(), text);
    }
    assert_eq!(gateway.get("/").await.text(), "answer 3");
}

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
async fn response_hooks_run_on_what_is_remembered() {
    let server = counting(&[("cache-control", "max-age=100")]).await;
    let headers = json!({ "headers": { "response": { "set": { "x-added": "yes" } } } });
    let gateway = TestGateway::start(json!({
        "upstreams": { "behind": [server.text()] },
        "routes": [{
            "match": {}, "plugins": [{ "rate-limit": { "limit": "3/h" } }, headers], "cache": {}, "to": "behind",
        }],
    }));
    for left in ["r=2", "r=1", "r=0"] {
        let answer = gateway.get("/").await;
        assert_eq!((answer.text().as_str(), answer.header("x-added")), ("answer 1", Some("yes")));
        assert!(answer.header("ratelimit").unwrap().contains(left), "each counts, and says so itself");
    }
    gateway.get("/").await.problem(429);
    gateway.wait_for_records(4).await;
}

/// A server that answers when it is let.
async fn slow(head: &'static str) -> (Scripted, Arc<AtomicUsize>, Arc<Semaphore>) {
    let (count, gate) = (Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(0)));
    let (counted, waits) = (count.clone(), gate.clone());
    let server = Scripted::start(move |mut stream| {
        let (counted, waits) = (counted.clone(), waits.clone());
        async move {
            read_head(&mut stream).await;
            let number = counted.fetch_add(1, Ordering::SeqCst) + 1;
            waits.acquire().await.unwrap().forget();
            let answer = format!("HTTP/1.1 200 OK\r\nconnection: close\r\n{head}content-length: 1\r\n\r\n{number}");
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    })
    .await;
    (server, count, gate)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_that_ask_at_once_one_fetches() {
    let (server, count, gate) = slow("cache-control: max-age=100\r\n").await;
    let gateway = gateway(&server.text(), json!({}));
    let address = gateway.address();
    let mut clients = JoinSet::new();
    for _ in 0..50 {
        clients.spawn(async move { send(address, "GET", "/", &[], "").await });
    }
    eventually("the others wait", async || {
        (gateway.metric("gatewright_cache_events_total", &["event=\"collapsed\""]).await >= 49.0).then_some(())
    })
    .await;
    gate.add_permits(1);
    for answer in clients.join_all().await {
        assert_eq!((answer.status, answer.text().as_str()), (200, "1"));
    }
    assert_eq!(count.load(Ordering::SeqCst), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_waits_longer_than_the_route_says_nor_for_what_cannot_be_kept() {
    let (server, count, gate) = slow("cache-control: max-age=100\r\n").await;
    let gateway_one = gateway(&server.text(), json!({ "wait": "50ms" }));
    let address = gateway_one.address();
    let mut clients = JoinSet::new();
    for _ in 0..3 {
        clients.spawn(async move { send(address, "GET", "/", &[], "").await });
    }
    eventually("all have gone to the server", async || (count.load(Ordering::SeqCst) == 3).then_some(())).await;
    gate.add_permits(3);
    assert!(clients.join_all().await.iter().all(|answer| answer.status == 200));

    let (server, count, gate) = slow("cache-control: no-store\r\n").await;
    let gateway_two = gateway(&server.text(), json!({}));
    gate.add_permits(1);
    assert_eq!(gateway_two.get("/").await.text(), "1");
    let address = gateway_two.address();
    let mut clients = JoinSet::new();
    for _ in 0..5 {
        clients.spawn(async move { send(address, "GET", "/", &[], "").await });
    }
    eventually("none waits for another", async || (count.load(Ordering::SeqCst) == 6).then_some(())).await;
    gate.add_permits(5);
    clients.join_all().await;
}

#[tokio::test]
async fn a_client_that_leaves_the_fetch_leaves_nothing_behind() {
    let (server, count, gate) = slow("cache-control: max-age=100\r\n").await;
    let gateway = gateway(&server.text(), json!({}));
    let mut first = Wire::connect(gateway.address()).await;
    first.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    eventually("it fetches", async || (count.load(Ordering::SeqCst) == 1).then_some(())).await;
    first.reset();
    gate.add_permits(10);
    let second = gateway.get_with("/", &[("host", "a")]).await;
    // The second fetches for itself, or has what the first had begun to fetch; it does not wait for nothing.
    assert_eq!(second.status, 200);
    assert!(["1", "2"].contains(&second.text().as_str()), "{}", second.text());
}

/// Each fetch is given up by its client: the next of those who wait begins one, and not all of them at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_leave_do_not_let_the_others_loose_on_the_server() {
    let (server, count, gate) = slow("cache-control: max-age=100\r\n").await;
    let gateway = gateway(&server.text(), json!({ "wait": "1m" }));
    let mut first = Wire::connect(gateway.address()).await;
    first.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    eventually("it fetches", async || (count.load(Ordering::SeqCst) == 1).then_some(())).await;
    let address = gateway.address();
    let mut clients = JoinSet::new();
    for _ in 0..20 {
        clients.spawn(async move { send(address, "GET", "/", &[("host", "a")], "").await });
    }
    eventually("the others wait", async || {
        (gateway.metric("gatewright_cache_events_total", &["event=\"collapsed\""]).await >= 20.0).then_some(())
    })
    .await;
    first.reset();
    eventually("one of them fetches", async || (count.load(Ordering::SeqCst) == 2).then_some(())).await;
    gate.add_permits(20);
    for answer in clients.join_all().await {
        assert_eq!((answer.status, answer.text().as_str()), (200, "2"));
    }
    assert_eq!(count.load(Ordering::SeqCst), 2);
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

#[tokio::test]
async fn what_clients_ask_of_the_cache() {
    let server = counting(&[("cache-control", "max-age=100"), ("etag", "\"a\"")]).await;
    let gateway_one = gateway(&server.text(), json!({}));
    let with = async |gateway: &TestGateway, control: &str| gateway.get_with("/", &[("cache-control", control)]).await;
    with(&gateway_one, "only-if-cached").await.problem(504);
    assert!(!status(&with(&gateway_one, "no-store").await).contains("stored"));
    assert_eq!(server.received().len(), 1);
    assert_eq!(gateway_one.get("/").await.text(), "answer 2");
    assert_eq!(with(&gateway_one, "only-if-cached").await.text(), "answer 2");
    assert_eq!(status(&with(&gateway_one, "no-cache").await), "hit; fwd=request; fwd-status=304");
    assert_eq!(server.received().len(), 3);

    let gateway_two = gateway(&server.text(), json!({ "client_directives": false, "cache_status": false }));
    assert_eq!(gateway_two.get("/").await.text(), "answer 4");
    for control in ["no-cache", "no-store", "max-age=0"] {
        let answer = with(&gateway_two, control).await;
        assert_eq!((answer.text().as_str(), answer.header("cache-status")), ("answer 4", None), "{control}");
    }
}

/// The fields by which a request makes some servers speak of something else than the address says.
const SPEAKING: [&str; 14] = [
    "forwarded",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-prefix",
    "x-forwarded-proto",
    "x-forwarded-scheme",
    "x-forwarded-server",
    "x-host",
    "x-http-method-override",
    "x-original-host",
    "x-original-uri",
    "x-original-url",
    "x-rewrite-url",
    "x-method-override",
];

/// A server that repeats what a request says beside its address, as many do in links and redirects.
async fn repeating() -> Server {
    Server::start(|received: &Received| {
        let said: Vec<&str> = SPEAKING.iter().filter_map(|name| received.header(name)).collect();
        let body = Bytes::from(said.join(" "));
        Response::builder().header("cache-control", "max-age=100").body(Full::new(body)).unwrap()
    })
    .await
}

#[tokio::test]
async fn no_field_of_a_request_chooses_what_others_get() {
    let server = repeating().await;
    let gateway = gateway(&server.text(), json!({}));
    for (number, field) in SPEAKING.into_iter().enumerate() {
        let path = format!("/{number}");
        let value = if field == "forwarded" { "host=evil.test" } else { "evil.test" };
        for _ in 0..2 {
            gateway.get_with(&path, &[(field, value)]).await;
        }
        let innocent = gateway.get(&path).await;
        assert_eq!(innocent.status, 200);
        assert!(!innocent.text().contains("evil"), "{field}: {}", innocent.text());
        assert!(status(&gateway.get(&path).await).starts_with("hit"), "{field}");
    }
    // Two hosts, two addresses; capitals and the port that is meant anyway make no third.
    let host = |name: &'static str| [("host", name)];
    for (name, is_hit) in [("a.test", false), ("b.test", false), ("A.TEST", true), ("a.test:80", true)] {
        let answer = gateway.get_with("/host", &host(name)).await;
        assert_eq!(status(&answer).starts_with("hit"), is_hit, "{name}");
    }
}

/// A trusted proxy is believed, and may hand on what its own client said: that is in the key.
#[tokio::test]
async fn what_a_trusted_proxy_hands_on_is_for_those_who_said_it() {
    let server = repeating().await;
    let gateway = TestGateway::start(json!({
        "trusted_proxies": ["127.0.0.1"],
        "upstreams": { "behind": [server.text()] },
        "routes": [{ "match": {}, "cache": {}, "to": "behind" }],
    }));
    for (number, field) in SPEAKING.into_iter().enumerate() {
        let path = format!("/{number}");
        let value = |host: &str| match field {
            "forwarded" => format!("for=192.0.2.1;host={host}"),
            "x-forwarded-port" => host.len().to_string(),
            "x-forwarded-proto" => if host == "one" { "https" } else { "http" }.to_owned(),
            _ => host.to_owned(),
        };
        for (host, is_hit) in [("one", false), ("other", false), ("one", true)] {
            let answer = gateway.get_with(&path, &[(field, &value(host))]).await;
            assert!(answer.text().contains(&value(host)), "{field}: {}", answer.text());
            assert_eq!(status(&answer).starts_with("hit"), is_hit, "{field}: {host}");
        }
        assert!(!gateway.get(&path).await.text().contains("one"), "{field}");
    }
}

#[tokio::test]
async fn versions_of_an_api_have_entries_of_their_own() {
    let (first, second) = (counting(&MAX_AGE).await, counting(&MAX_AGE).await);
    let gateway = TestGateway::start(json!({
        "upstreams": { "first": [first.text()], "second": [second.text()] },
        "routes": [{
            "match": {},
            "cache": {},
            "versions": {
                "by": [{ "header": "x-version" }],
                "list": { "1": { "to": "first" }, "2": { "to": "second" } },
            },
        }],
    }));
    for version in ["1", "2", "1", "2"] {
        assert_eq!(gateway.get_with("/", &[("x-version", version)]).await.status, 200);
    }
    assert_eq!((first.received().len(), second.received().len()), (1, 1));
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
