//! Files of upstreams that change: the next connection is made with the new ones, and none that is there is dropped.

use std::sync::Arc;

use gatewright_tests::{Authority, Issued, Server, ServerTls, TestGateway, TlsFront, eventually};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Notify;

fn start(upstream: Value, files: &[(&str, String)]) -> TestGateway {
    let config = json!({ "upstreams": { "server": upstream }, "routes": [{ "match": {}, "to": "server" }] });
    TestGateway::start_beside(config, |directory| {
        files.iter().for_each(|(name, text)| std::fs::write(directory.join(name), text).unwrap());
    })
}

/// Writes a file in one step.
fn replace(gateway: &TestGateway, name: &str, text: &str) {
    let beside = gateway.directory().join(format!(".{name}.new"));
    std::fs::write(&beside, text).unwrap();
    std::fs::rename(beside, gateway.directory().join(name)).unwrap();
}

#[tokio::test]
async fn another_authority_is_trusted_as_soon_as_its_file_is_there() {
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let behind = Server::named("behind").await;
    let of_old = TlsFront::start(&ServerTls::showing(&old.issue(&["127.0.0.1"])), &behind.text()).await;
    let of_new = TlsFront::start(&ServerTls::showing(&new.issue(&["127.0.0.1"])), &behind.text()).await;
    let upstreams = json!({
        "old": { "endpoints": [of_old.text()], "tls": { "ca": "ca.pem" }, "ejection": { "on": [] } },
        "new": { "endpoints": [of_new.text()], "tls": { "ca": "ca.pem" }, "ejection": { "on": [] } },
    });
    let config = json!({
        "upstreams": upstreams,
        "routes": [{ "match": { "path": "/old" }, "to": "old" }, { "match": { "path": "/new" }, "to": "new" }],
    });
    let gateway = TestGateway::start_beside(config, |directory| {
        std::fs::write(directory.join("ca.pem"), old.pem()).unwrap();
    });
    assert_eq!(gateway.get("/old").await.status, 200);
    gateway.get("/new").await.problem(502);
    replace(&gateway, "ca.pem", &new.pem());
    eventually("the new authority is trusted", async || (gateway.get("/new").await.status == 200).then_some(())).await;
    // Also the connection that was made and trusted before carries nothing any more.
    gateway.get("/old").await.problem(502);
    // A file that is wrong changes nothing.
    replace(&gateway, "ca.pem", "no PEM");
    eventually("the change is refused", async || {
        (gateway.metric("gatewright_reloads_total", &["refused"]).await >= 1.0).then_some(())
    })
    .await;
    assert_eq!(gateway.get("/new").await.status, 200);
}

#[tokio::test]
async fn a_renewed_certificate_is_shown_and_answers_under_way_arrive_whole() {
    let authority = Authority::new("both");
    let (first, second) = (authority.issue(&["gateway.internal"]), authority.issue(&["gateway.internal"]));
    let go_on = Arc::new(Notify::new());
    // Answers in two halves, the second one when it is told to.
    let behind = gatewright_tests::Scripted::start({
        let go_on = go_on.clone();
        move |mut stream| {
            let go_on = go_on.clone();
            async move {
                loop {
                    let head = gatewright_tests::read_head(&mut stream).await;
                    if head.is_empty()
                        || stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nfirst").await.is_err()
                    {
                        return;
                    }
                    if head.contains("/slow") {
                        go_on.notified().await;
                    }
                    let _ = stream.write_all(b"-half").await;
                }
            }
        }
    })
    .await;
    let tls = ServerTls::showing(&authority.issue(&["127.0.0.1"])).for_clients_of(&authority);
    let front = TlsFront::start(&tls, &behind.text()).await;
    let upstream = json!({
        "endpoints": [front.text()],
        "tls": { "ca": "ca.pem", "certificate": { "cert": "own.pem", "key": "own.key" } },
    });
    let files = [("ca.pem", authority.pem()), ("own.pem", first.cert.clone()), ("own.key", first.key.clone())];
    let gateway = start(upstream, &files);
    let mut slow = tokio::net::TcpStream::connect(gateway.address()).await.unwrap();
    slow.write_all(b"GET /slow HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answer = vec![0; 4096];
    let mut got = 0;
    while !answer[..got].ends_with(b"first") {
        got += slow.read(&mut answer[got..]).await.unwrap();
    }
    let shown = |front: &TlsFront| front.handshakes().last().unwrap().client.clone();
    assert_eq!(shown(&front), Some(first.der()));

    second.write(gateway.directory(), "own");
    eventually("the new certificate is shown", async || {
        assert_eq!(gateway.get("/").await.text(), "first-half");
        (shown(&front) == Some(second.der())).then_some(())
    })
    .await;
    go_on.notify_one();
    let mut rest = String::new();
    slow.read_to_string(&mut rest).await.unwrap();
    assert_eq!(rest, "-half");
    let ends = gateway.metric("gatewright_tls_certificate_expiry_timestamp_seconds", &["upstream=\"server\""]).await;
    assert!(ends > 0.0, "the end of what is shown is a metric");
}

/// Sessions belong to the certificate and the authorities that they were made with.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_is_not_taken_over_to_another_certificate() {
    let authority = Authority::new("both");
    let behind = Server::named("behind").await;
    let tls = ServerTls::showing(&authority.issue(&["127.0.0.1"])).for_clients_of(&authority);
    let front = TlsFront::start(&tls, &behind.text()).await;
    let upstream = json!({
        "endpoints": [front.text()], "max_idle": 0,
        "tls": { "ca": "ca.pem", "certificate": { "cert": "own.pem", "key": "own.key" } },
    });
    let own: Vec<Issued> = (0..3).map(|_| authority.issue(&["gateway.internal"])).collect();
    let files = [("ca.pem", authority.pem()), ("own.pem", own[0].cert.clone()), ("own.key", own[0].key.clone())];
    let gateway = start(upstream, &files);
    for issued in &own {
        issued.write(gateway.directory(), "own");
        let gateway = &gateway;
        tokio::task::block_in_place(|| gateway.reload()).unwrap();
        for _ in 0..2 {
            assert_eq!(gateway.get("/").await.status, 200);
            assert_eq!(front.handshakes().last().unwrap().client, Some(issued.der()));
        }
    }
}
