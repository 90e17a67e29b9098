//! `basic-auth`: who is let in, what it costs, and what cannot be learnt from it.

use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use gatewright_tests::{Client, Server, TestGateway, raw};
use serde_json::{Value, json};

/// Made by other tools: the argon2 reference implementation (password "password") and bcrypt's own vectors ("U*U").
const ARGON2: &str = "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";
const BCRYPT: &str = "$2y$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW";

fn basic(name: &str, password: &str) -> String {
    format!("Basic {}", BASE64.encode(format!("{name}:{password}")))
}

fn gateway(behind: &Server, auth: Value) -> TestGateway {
    let who = json!({ "headers": { "request": { "set": { "x-user": "$(identity.subject)" } } } });
    TestGateway::start(json!({
        "workers": 1,
        "upstreams": { "behind": [behind.text()] },
        "routes": [
            { "match": { "path": "/open" }, "to": "behind" },
            { "match": {}, "plugins": [{ "basic-auth": auth }, who], "to": "behind" },
        ],
    }))
}

async fn status(gateway: &TestGateway, name: &str, password: &str) -> u16 {
    gateway.get_with("/", &[("authorization", &basic(name, password))]).await.status
}

#[tokio::test]
async fn who_is_in_the_configuration_or_in_a_file_is_let_in() {
    let behind = Server::named("behind").await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("users.htpasswd");
    std::fs::write(&file, format!("# by htpasswd\neve:{BCRYPT}\n\nzoe:{ARGON2}\n")).unwrap();
    let htpasswd = format!("${{file:{}}}", file.display());
    let users = json!([{ "name": "ada", "hash": ARGON2 }, { "name": "bob", "hash": BCRYPT, "subject": "robert" }]);
    let gateway = gateway(&behind, json!({ "users": users, "htpasswd": htpasswd }));
    // The second round is from memory.
    for _ in 0..2 {
        for (name, password, subject) in
            [("ada", "password", "ada"), ("bob", "U*U", "robert"), ("eve", "U*U", "eve"), ("zoe", "password", "zoe")]
        {
            assert_eq!(status(&gateway, name, password).await, 200, "{name}");
            let received = behind.received().pop().unwrap();
            assert_eq!(received.header("x-user"), Some(subject));
            assert_eq!(received.header("authorization"), None, "the upstream must not see the password");
        }
        for (name, password) in
            [("ada", "U*U"), ("bob", "password"), ("nobody", "password"), ("ada", ""), ("eve", "u*u")]
        {
            assert_eq!(status(&gateway, name, password).await, 401, "{name} {password}");
        }
    }
    let refused = gateway.get("/").await;
    refused.problem(401);
    assert_eq!(refused.header("www-authenticate"), Some("Basic realm=\"api\", charset=\"UTF-8\""));
    assert_eq!(behind.received().len(), 8);
}

#[tokio::test]
async fn what_is_not_exactly_one_name_and_one_password_is_refused() {
    let behind = Server::named("behind").await;
    let gateway = gateway(&behind, json!({ "users": [{ "name": "ada", "hash": ARGON2 }] }));
    let right = basic("ada", "password");
    let sent = |bytes: &[u8]| format!("Basic {}", BASE64.encode(bytes));
    for value in [
        "Basic".to_owned(),
        "Basic ".to_owned(),
        sent(b"ada"),
        sent(b":password"),
        sent(b"ada:password\0"),
        sent(b"ada\0:password"),
        sent(b"ada:password\n"),
        sent(b"\xff:password"),
        sent(b"ada:password:"),
        // Base64 of "ad:password": with its padding it is a name and a password, only nobody's.
        "Basic YWQ6cGFzc3dvcmQ".to_owned(),
        format!("{right}="),
        format!("{right},{right}"),
        format!("{right} {right}"),
        format!("Digest {right}"),
        format!("Bearer {}", BASE64.encode("ada:password")),
        sent(&vec![b'a'; 6000]),
        sent(format!("ada:{}", "p".repeat(2000)).as_bytes()),
    ] {
        gateway.get_with("/", &[("authorization", &value)]).await.problem(401);
    }
    let mut client = Client::http1(gateway.address()).await;
    let twice = [("authorization", right.as_str()), ("authorization", right.as_str())];
    client.send("GET", "/", &twice, "").await.unwrap().problem(401);
    let bytes = raw(
        gateway.address(),
        b"GET / HTTP/1.1\r\nhost: a\r\nauthorization: Basic \xff\xfe\r\nconnection: close\r\n\r\n",
    )
    .await;
    assert!(bytes.starts_with("HTTP/1.1 401"), "{bytes}");
    assert!(behind.received().is_empty());
    let records = serde_json::to_string(&gateway.records()).unwrap();
    assert!(!records.contains("password\"") && !records.contains(&right), "{records}");
}

/// A hash that takes long enough to be seen beside everything else.
fn slow(cost: u32) -> Value {
    json!({ "users": [{ "name": "ada", "hash": bcrypt::hash("sesame", cost).unwrap() }] })
}

#[tokio::test]
async fn a_right_password_is_paid_for_once_and_a_wrong_one_each_time() {
    let behind = Server::named("behind").await;
    let gateway = gateway(&behind, slow(13));
    let took = async |password: &str, expected: u16| {
        let started = Instant::now();
        assert_eq!(status(&gateway, "ada", password).await, expected);
        started.elapsed()
    };
    let first = took("sesame", 200).await;
    let mut again = Duration::ZERO;
    for _ in 0..10 {
        again += took("sesame", 200).await;
    }
    assert!(again < first, "ten from memory took {again:?}, the first {first:?}");
    let mut wrong = Duration::ZERO;
    for _ in 0..3 {
        wrong += took("simsim", 401).await;
    }
    assert!(wrong > first, "three wrong ones took {wrong:?}, one right {first:?}");
}

#[tokio::test]
async fn a_check_does_not_keep_its_core_from_others() {
    let behind = Server::named("behind").await;
    let gateway = gateway(&behind, slow(14));
    let check = status(&gateway, "ada", "simsim");
    let others = async {
        for _ in 0..20 {
            assert_eq!(gateway.get("/open").await.status, 200);
        }
        behind.received().len()
    };
    // Both are on the gateway's only data core; the check takes some hundred milliseconds of another.
    tokio::pin!(check, others);
    let answered = tokio::select! {
        biased;
        _ = &mut check => 0,
        answered = &mut others => answered,
    };
    assert_eq!(answered, 20, "the check was over before");
    assert_eq!(check.await, 401);
}

#[tokio::test]
async fn a_name_that_nobody_has_takes_as_long_as_one_that_somebody_has() {
    let behind = Server::named("behind").await;
    let gateway = gateway(&behind, slow(9));
    // The right password in memory must not tell that a name is not there.
    assert_eq!(status(&gateway, "ada", "sesame").await, 200);
    // The least of several: what a machine does besides makes some of them longer.
    let mut took = [Duration::MAX; 3];
    for _ in 0..8 {
        for (least, (name, password)) in
            took.iter_mut().zip([("ada", "simsim"), ("nobody", "simsim"), ("nobody", "sesame")])
        {
            let started = Instant::now();
            assert_eq!(status(&gateway, name, password).await, 401);
            *least = (*least).min(started.elapsed());
        }
    }
    let [known, unknown, remembered] = took.map(|least| least.as_secs_f64());
    for other in [unknown, remembered] {
        assert!((0.4..2.5).contains(&(other / known)), "known {known}, unknown {unknown}, remembered {remembered}");
    }
}

#[tokio::test]
async fn hashes_that_cannot_be_checked_are_refused_when_the_configuration_is_read() {
    for hash in [
        "$apr1$zdYDGqHh$XkZ1oxCE7X/8Kq4ZO5yhM1",
        "{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=",
        "plain",
        "$2y$31$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
    ] {
        let auth = json!({ "basic-auth": { "htpasswd": format!("ada:{hash}") } });
        let config = json!({ "routes": [{ "match": {}, "plugins": [auth, "echo"] }] });
        let refused = TestGateway::try_start(config).err().unwrap().to_string();
        assert!(refused.contains("htpasswd, line 1") && refused.contains("htpasswd -nB"), "{refused}");
    }
}
