//! TLS 1.2 and 1.3, HTTP/1.1 and HTTP/2, and what the rest of the gateway knows of it.

use gatewright_tests::{Server, TlsClient, TlsSettings, raw};
use rustls::ProtocolVersion;
use serde_json::json;

use super::{authority, config, start, told, with};

#[tokio::test]
async fn both_versions_and_both_protocols() {
    let authority = authority();
    let gateway = start(with(&["a"]), &[("a", &authority.issue(&["a.test"]))]);
    let client = authority.client();
    for (settings, version, cipher) in [
        (client.clone().tls12(), ProtocolVersion::TLSv1_2, "TLS_ECDHE_ECDSA_WITH_"),
        (client.clone().tls13(), ProtocolVersion::TLSv1_3, "TLS_AES_"),
    ] {
        for (offered, agreed, protocol) in [
            (&["h2", "http/1.1"][..], Some("h2"), "h2"),
            (&["http/1.1", "h2"], Some("h2"), "h2"),
            (&["http/1.1"], Some("http/1.1"), "http/1.1"),
            (&[], None, "http/1.1"),
        ] {
            let settings = settings.clone().alpn(offered);
            let mut client = TlsClient::connect(gateway.address(), "a.test", &settings).await.unwrap();
            assert_eq!((client.version, client.alpn.as_deref()), (version, agreed));
            let answer = client.get("/path?query").await.unwrap();
            assert_eq!(answer.status, 200);
            assert_eq!(told(&answer, "x-server-name").as_deref(), Some("a.test"));
            assert!(told(&answer, "x-cipher").unwrap().starts_with(cipher), "{}", answer.text());
            assert_eq!(told(&answer, "x-resumed").as_deref(), Some("false"));
            assert_eq!(told(&answer, "x-subject"), None, "there was no client certificate");
            assert_eq!(answer.version == http::Version::HTTP_2, protocol == "h2");
        }
    }
    for record in gateway.wait_for_records(8).await {
        assert_eq!(record["scheme"], "https", "{record}");
        assert_eq!(record["tls_server_name"], "a.test");
        assert!(record["tls_version"].as_str().unwrap().starts_with("TLSv1."), "{record}");
        assert!(record["tls_cipher"].as_str().unwrap().starts_with("TLS_"), "{record}");
    }
    assert_eq!(gateway.metric("gatewright_tls_handshakes_total", &["secure", "full"]).await, 8.0);
}

#[tokio::test]
async fn upstreams_learn_that_the_client_spoke_https() {
    let (authority, server) = (authority(), Server::named("behind").await);
    let mut config = config(with(&["a"]));
    config["upstreams"] = json!({ "behind": [server.text()] });
    config["routes"] = json!([{ "match": {}, "to": "behind" }]);
    let gateway = gatewright_tests::TestGateway::start_beside(config, |directory| {
        authority.issue(&["a.test"]).write(directory, "a");
    });
    let mut client = TlsClient::connect(gateway.address(), "a.test", &authority.client().alpn(&["h2"])).await.unwrap();
    assert_eq!(client.get("/").await.unwrap().text(), "behind");
    let received = server.only();
    assert_eq!(received.header("x-forwarded-proto"), Some("https"));
    assert_eq!(received.header("x-forwarded-port"), Some(&*gateway.address().port().to_string()));
    assert!(received.header("forwarded").unwrap().contains("proto=https"), "{received:?}");
}

#[tokio::test]
async fn a_large_body_goes_through_both_ways() {
    let authority = authority();
    let server = Server::start(|received| http::Response::new(received.body.clone().into())).await;
    let mut config = config(with(&["a"]));
    config["upstreams"] = json!({ "echoing": [server.text()] });
    config["routes"] = json!([{ "match": {}, "to": "echoing" }]);
    let gateway = gatewright_tests::TestGateway::start_beside(config, |directory| {
        authority.issue(&["a.test"]).write(directory, "a");
    });
    let body: Vec<u8> = (0..3_000_000_u32).map(|at| at.to_le_bytes()[at as usize % 3]).collect();
    for alpn in ["http/1.1", "h2"] {
        let settings = authority.client().alpn(&[alpn]);
        let mut client = TlsClient::connect(gateway.address(), "a.test", &settings).await.unwrap();
        let answer = client.client.send("POST", "/", &[], body.clone()).await.unwrap();
        assert!(answer.body == body, "{alpn}: {} of {} bytes", answer.body.len(), body.len());
    }
}

#[tokio::test]
async fn only_the_protocols_of_the_listener() {
    let authority = authority();
    for (protocols, offered, agreed) in [
        (json!(["http/1.1"]), &["h2", "http/1.1"][..], Some("http/1.1")),
        (json!(["h2"]), &["http/1.1", "h2"], Some("h2")),
        (json!(["http/1.1"]), &["h2"], None),
        (json!(["h2"]), &["http/1.1"], None),
    ] {
        let mut config = config(with(&["a"]));
        config["listeners"][0]["protocols"] = protocols.clone();
        let gateway = gatewright_tests::TestGateway::start_beside(config, |directory| {
            authority.issue(&["a.test"]).write(directory, "a");
        });
        let connected = TlsClient::connect(gateway.address(), "a.test", &authority.client().alpn(offered)).await;
        match agreed {
            Some(agreed) => {
                let mut client = connected.unwrap();
                assert_eq!(client.alpn.as_deref(), Some(agreed));
                assert_eq!(client.get("/").await.unwrap().status, 200);
            }
            // RFC 7301, section 3.2.
            None => {
                let error = connected.err().unwrap().to_string();
                assert!(error.contains("NoApplicationProtocol"), "{protocols}: {error}");
            }
        }
    }
}

#[tokio::test]
async fn tls_1_3_alone_where_it_is_the_oldest() {
    let authority = authority();
    let mut tls = with(&["a"]);
    tls["min_version"] = json!("1.3");
    let gateway = start(tls, &[("a", &authority.issue(&["a.test"]))]);
    let error = TlsClient::connect(gateway.address(), "a.test", &authority.client().tls12()).await.err().unwrap();
    assert!(error.to_string().contains("ProtocolVersion"), "{error}");
    let mut client = TlsClient::connect(gateway.address(), "a.test", &authority.client()).await.unwrap();
    assert_eq!(client.get("/").await.unwrap().status, 200);
}

#[tokio::test]
async fn a_development_certificate_by_one_setting() {
    let gateway = start(json!({ "self_signed": true }), &[]);
    let mut first = TlsClient::connect(gateway.address(), "localhost", &TlsSettings::trusting_anybody()).await.unwrap();
    assert_eq!(first.get("/").await.unwrap().status, 200);
    // Whoever trusts it once goes on to do so: a reload makes no new one, and it holds for this machine's own names.
    gateway.reload().unwrap();
    let pinned = TlsSettings::trusting(&first.certificate);
    for name in ["localhost", "127.0.0.1"] {
        let mut client = TlsClient::connect(gateway.address(), name, &pinned).await.unwrap();
        assert_eq!(client.get("/").await.unwrap().status, 200, "{name}");
    }
    let files: Vec<_> =
        std::fs::read_dir(gateway.directory()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(files.iter().all(|name| name == "gateway.json" || name == "access.log"), "{files:?}");
}

#[tokio::test]
async fn curl_and_openssl_are_served() {
    let authority = authority();
    let gateway = start(with(&["a"]), &[("a", &authority.issue(&["a.test"]))]);
    std::fs::write(gateway.directory().join("ca.pem"), authority.pem()).unwrap();
    let port = gateway.address().port();
    let ca = gateway.directory().join("ca.pem").display().to_string();
    let resolve = format!("a.test:{port}:127.0.0.1");
    for (flag, version) in [("--http1.1", "1.1 200"), ("--http2", "2 200")] {
        let url = format!("https://a.test:{port}/x");
        let shown = super::run(
            "curl",
            &[
                "-sS",
                "--cacert",
                &ca,
                "--resolve",
                &resolve,
                flag,
                "-o",
                "/dev/null",
                "-w",
                "%{http_version} %{http_code}",
                &url,
            ],
        )
        .await;
        assert_eq!(shown.0, version, "{}", shown.1);
    }
    let connect = format!("127.0.0.1:{port}");
    let arguments = [
        "s_client",
        "-connect",
        &connect,
        "-servername",
        "a.test",
        "-CAfile",
        &ca,
        "-alpn",
        "h2",
        "-verify_return_error",
    ];
    let shown = super::run("openssl", &arguments).await;
    assert!(shown.0.contains("Verify return code: 0 (ok)") && shown.0.contains("ALPN protocol: h2"), "{shown:?}");
    // What is too old is refused, however much the client would like it.
    for old in ["-tls1", "-tls1_1"] {
        let shown = super::run("openssl", &["s_client", "-connect", &connect, old, "-cipher", "ALL:@SECLEVEL=0"]).await;
        assert!(shown.1.contains("alert protocol version") || shown.1.contains("alert handshake failure"), "{shown:?}");
    }
}

#[tokio::test]
async fn there_is_no_http_2_without_agreement() {
    let authority = authority();
    let gateway = start(with(&["a"]), &[("a", &authority.issue(&["a.test"]))]);
    let config = authority.client().alpn(&["http/1.1"]).build();
    let mut stream = TlsClient::stream(gateway.address(), "a.test", config).await.unwrap();
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    let answer = super::exchange(&mut stream, preface).await;
    assert!(answer.starts_with("HTTP/1.1 400") || answer.starts_with("HTTP/1.1 505"), "{answer}");
    // And the other way round.
    let config = authority.client().alpn(&["h2"]).build();
    let mut stream = TlsClient::stream(gateway.address(), "a.test", config).await.unwrap();
    let answer = super::exchange(&mut stream, b"GET / HTTP/1.1\r\nhost: a.test\r\n\r\n").await;
    assert!(!answer.contains("HTTP/1.1"), "{answer}");
    let plain = raw(gateway.address(), "GET / HTTP/1.1\r\nhost: a.test\r\n\r\n").await;
    assert!(plain.starts_with("HTTP/1.1 400") && plain.contains("This port speaks TLS"), "{plain}");
}
