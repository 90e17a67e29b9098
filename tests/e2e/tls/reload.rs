//! New certificates while clients are served.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use gatewright_tests::{TestGateway, TlsClient, eventually};
use rustls::ClientConfig;
use serde_json::json;

use super::{authority, config, start, with};

#[tokio::test]
async fn a_renewed_certificate_is_shown_without_a_reload_by_hand() {
    let authority = authority();
    let gateway = start(with(&["a"]), &[("a", &authority.issue(&["a.test"]))]);
    let client = authority.client().alpn(&["h2"]);
    let mut kept = TlsClient::connect(gateway.address(), "a.test", &client).await.unwrap();
    assert_eq!(kept.get("/").await.unwrap().status, 200);
    for _ in 0..2 {
        let renewed = authority.issue(&["a.test"]);
        // Certificate and key come one after the other; what does not fit together in between changes nothing.
        renewed.write(gateway.directory(), "a");
        eventually("the new certificate is shown", async || {
            let shown = TlsClient::connect(gateway.address(), "a.test", &client).await.unwrap();
            shown.was_shown(&renewed).then_some(())
        })
        .await;
        assert_eq!(kept.get("/").await.unwrap().status, 200, "the connection from before is as it was");
    }
}

#[tokio::test]
async fn authorities_of_clients_are_watched_too() {
    let (authority, old, new) =
        (authority(), gatewright_tests::Authority::new("old"), gatewright_tests::Authority::new("new"));
    let mut tls = with(&["a"]);
    tls["client"] = json!({ "ca": "clients.pem" });
    let gateway = TestGateway::start_beside(config(tls), |directory| {
        authority.issue(&["a.test"]).write(directory, "a");
        std::fs::write(directory.join("clients.pem"), old.pem()).unwrap();
    });
    let connects = async |settings: gatewright_tests::TlsSettings| match TlsClient::connect(
        gateway.address(),
        "a.test",
        &settings,
    )
    .await
    {
        Ok(mut client) => client.get("/").await.is_ok(),
        Err(_) => false,
    };
    let by_old = authority.client().showing(&old.issue(&[]));
    let by_new = authority.client().showing(&new.issue(&[]));
    assert!(connects(by_old.clone()).await && !connects(by_new.clone()).await);
    std::fs::write(gateway.directory().join("clients.pem"), new.pem()).unwrap();
    eventually("clients of the new authority are let in", async || connects(by_new.clone()).await.then_some(())).await;
    assert!(!connects(by_old).await);
}

/// Requests on new and on kept connections, over HTTP/1.1 and HTTP/2, while certificates, names and settings change:
/// none fails.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_under_load_drops_nothing() {
    let authority = authority();
    let gateway = start(with(&["a"]), &[("a", &authority.issue(&["a.test"]))]);
    let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let address = gateway.address();
    let mut load = tokio::task::JoinSet::new();
    for (alpn, requests_per_connection) in [("http/1.1", 1), ("h2", 1), ("http/1.1", u32::MAX), ("h2", u32::MAX)] {
        let config: Arc<ClientConfig> = authority.client().alpn(&[alpn]).build();
        let (stop, answered) = (stop.clone(), answered.clone());
        load.spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                let mut client = TlsClient::with(address, "a.test", config.clone()).await.unwrap();
                for _ in 0..requests_per_connection {
                    let answer = client.get("/").await.unwrap();
                    assert_eq!(answer.status, 200, "{alpn}");
                    answered.fetch_add(1, Ordering::Relaxed);
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                }
            }
        });
    }
    let more = async |than: u64| {
        eventually("requests are answered", async || (answered.load(Ordering::Relaxed) > than).then_some(())).await;
    };
    for round in 0..12 {
        more(answered.load(Ordering::Relaxed) + 20).await;
        authority.issue(&["a.test", "also.test"]).write(gateway.directory(), "a");
        authority.issue(&["b.test"]).write(gateway.directory(), "b");
        let mut tls = if round % 2 == 0 { with(&["a", "b"]) } else { with(&["b", "a"]) };
        if round % 3 == 0 {
            tls["min_version"] = json!("1.3");
        }
        gateway.write_config(config(tls));
        let gateway = &gateway;
        tokio::task::block_in_place(|| gateway.reload()).unwrap();
    }
    more(answered.load(Ordering::Relaxed) + 20).await;
    stop.store(true, Ordering::Relaxed);
    while let Some(ended) = load.join_next().await {
        ended.unwrap();
    }
}

#[tokio::test]
async fn a_listener_turns_to_tls_and_back() {
    let authority = authority();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let address: std::net::SocketAddr = ([127, 0, 0, 1], port).into();
    let mut secure = config(with(&["a"]));
    secure["listeners"][0]["address"] = json!(address.to_string());
    let mut clear = secure.clone();
    clear["listeners"][0].as_object_mut().unwrap().remove("tls");
    let gateway =
        TestGateway::start_beside(clear.clone(), |directory| authority.issue(&["a.test"]).write(directory, "a"));
    assert_eq!(gatewright_tests::send(address, "GET", "/", &[], "").await.status, 200);
    for _ in 0..2 {
        gateway.write_config(secure.clone());
        gateway.reload().unwrap();
        eventually("TLS is spoken", async || {
            let mut client = TlsClient::connect(address, "a.test", &authority.client()).await.ok()?;
            client.get("/").await.ok().map(|answer| assert_eq!(answer.status, 200))
        })
        .await;
        gateway.write_config(clear.clone());
        gateway.reload().unwrap();
        eventually("it is spoken in the clear again", async || {
            let answer = gatewright_tests::raw(address, "GET / HTTP/1.0\r\nhost: a\r\n\r\n").await;
            answer.contains(" 200 OK").then_some(())
        })
        .await;
    }
}
