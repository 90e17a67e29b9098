//! TLS with upstreams: who is trusted, who is not, and what goes over it.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use gatewright_tests::{
    Authority, GrpcClient, GrpcServer, Issued, Scripted, Server, ServerTls, Socket, TestGateway, TlsFront, WebSockets,
    eventually, send,
};
use rustls::{HandshakeKind, ProtocolVersion};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A gateway whose every request goes to this upstream. Beside it are the authority's certificate, `ca.pem`, and the
/// certificates of `files`.
fn gateway(authority: &Authority, upstream: Value, files: &[(&str, &Issued)]) -> TestGateway {
    let config = json!({
        "workers": 1,
        "upstreams": { "server": upstream },
        "routes": [{ "match": {}, "to": "server" }],
    });
    TestGateway::start_beside(config, |directory| {
        std::fs::write(directory.join("ca.pem"), authority.pem()).unwrap();
        files.iter().for_each(|(stem, issued)| issued.write(directory, stem));
    })
}

/// Asserts that a request fails, that the operator is told why, and the client nothing of it.
async fn refused(gateway: &TestGateway, status: u16, why: &str, what: &str) {
    let problem = gateway.get("/").await.problem(status).to_string();
    let record = gateway.wait_for_records(1).await.remove(0);
    let error = record["error"].as_str().unwrap_or_default();
    assert!(error.contains(why), "{what}: {record}");
    assert!(error.contains("127.0.0.1:") || error.contains("localhost:"), "{what}: {record}");
    for told in ["certificate", "TLS", "127.0.0.1", "localhost", "server", "ertificate"] {
        assert!(!problem.contains(told), "{what}: the client is told {told:?} in {problem}");
    }
}

#[tokio::test]
async fn servers_that_are_who_they_say_are_trusted() {
    let (authority, behind) = (Authority::new("servers"), Server::named("behind").await);
    let orders = authority.issue(&["orders.internal", "*.shop.internal"]);
    let by_address = authority.issue(&["127.0.0.1"]);
    let local = authority.issue(&["localhost"]);
    let workload = authority.issue_with(&[], |params| {
        let uri = rcgen::SanType::URI("spiffe://example/orders".try_into().unwrap());
        params.subject_alt_names = vec![uri];
    });
    let stranger = Authority::new("its own").issue(&["127.0.0.1"]);
    let own = authority.issue(&["gateway.internal"]);
    let ca = |more: Value| {
        let mut tls = json!({ "ca": "ca.pem" });
        tls.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        tls
    };
    let cases = [
        ("by its address", ServerTls::showing(&by_address), "127.0.0.1", ca(json!({})), None),
        ("by its name", ServerTls::showing(&local), "localhost", ca(json!({})), Some("localhost")),
        (
            "by a name of its own",
            ServerTls::showing(&orders),
            "127.0.0.1",
            ca(json!({ "server_name": "orders.internal" })),
            Some("orders.internal"),
        ),
        (
            "by a wildcard",
            ServerTls::showing(&orders),
            "127.0.0.1",
            ca(json!({ "server_name": "eu.shop.internal" })),
            Some("eu.shop.internal"),
        ),
        (
            "by one of several names, whatever is asked for",
            ServerTls::showing(&orders),
            "localhost",
            ca(json!({ "subject_alt_names": ["users.internal", "orders.internal"] })),
            Some("localhost"),
        ),
        (
            "by what it is",
            ServerTls::showing(&workload),
            "127.0.0.1",
            ca(json!({ "subject_alt_names": ["spiffe://example/orders"] })),
            None,
        ),
        ("in TLS 1.2", ServerTls::showing(&by_address).tls12(), "127.0.0.1", ca(json!({})), None),
        ("in TLS 1.3 alone", ServerTls::showing(&by_address), "127.0.0.1", ca(json!({ "min_version": "1.3" })), None),
        (
            "which has to know who asks",
            ServerTls::showing(&by_address).for_clients_of(&authority),
            "127.0.0.1",
            ca(json!({ "certificate": { "cert": "own.pem", "key": "own.key" } })),
            None,
        ),
        (
            "whose own certificate is pinned",
            ServerTls::showing(&stranger),
            "127.0.0.1",
            json!({ "ca": "stranger.pem" }),
            None,
        ),
        (
            "whose own certificate is pinned, for one of several names",
            ServerTls::showing(&stranger),
            "localhost",
            json!({ "ca": "stranger.pem", "subject_alt_names": ["orders.internal", "127.0.0.1"] }),
            Some("localhost"),
        ),
        (
            "whose own certificate is pinned, that of an authority",
            ServerTls::showing(&stranger),
            "127.0.0.1",
            json!({ "ca": "stranger.pem" }),
            None,
        ),
        (
            "which speaks HTTP/1.1 by ALPN",
            ServerTls::showing(&by_address).alpn(&["h2", "http/1.1"]),
            "127.0.0.1",
            ca(json!({})),
            None,
        ),
    ];
    for (what, tls, host, settings, asked) in cases {
        let self_signed = self_signed(|params| {
            if what.contains("of an authority") {
                params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
            }
        });
        let tls = if what.contains("pinned") { ServerTls::showing(&self_signed) } else { tls };
        let server = TlsFront::start(&tls, &behind.text()).await;
        let upstream = json!({ "endpoints": [format!("{host}:{}", server.port())], "tls": settings });
        let gateway = gateway(&authority, upstream, &[("own", &own), ("stranger", &self_signed)]);
        for _ in 0..2 {
            let answer = gateway.get("/").await;
            assert_eq!((answer.status, answer.text().as_str()), (200, "behind"), "{what}: {:?}", gateway.records());
        }
        let handshakes = server.handshakes();
        assert_eq!(handshakes.len(), 1, "{what}: the second request goes over the same connection");
        assert_eq!(handshakes[0].server_name.as_deref(), asked, "{what}");
        assert_eq!(handshakes[0].client.is_some(), what.contains("who asks"), "{what}");
        if what.contains("1.2") {
            assert_eq!(handshakes[0].version, ProtocolVersion::TLSv1_2);
        }
        if what.contains("ALPN") {
            assert_eq!(handshakes[0].alpn.as_deref(), Some("http/1.1"));
        }
    }
}

/// A certificate for 127.0.0.1 that nobody has signed but its owner.
fn self_signed(change: impl FnOnce(&mut rcgen::CertificateParams)) -> Issued {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    change(&mut params);
    Issued { cert: params.self_signed(&key).unwrap().pem(), key: key.serialize_pem() }
}

#[tokio::test]
async fn a_pinned_certificate_is_verified_except_for_who_signed_it() {
    let (authority, behind) = (Authority::new("servers"), Server::named("behind").await);
    let hour = Duration::from_secs(60 * 60);
    let as_authority = |params: &mut rcgen::CertificateParams| {
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    };
    let good = self_signed(as_authority);
    let expired = self_signed(|params| {
        as_authority(params);
        params.not_after = (SystemTime::now() - hour).into();
    });
    let future = self_signed(|params| {
        as_authority(params);
        params.not_before = (SystemTime::now() + hour).into();
    });
    let client_only = self_signed(|params| {
        as_authority(params);
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    });
    let by_name = |name: &str| json!({ "ca": "pinned.pem", "server_name": name });
    let as_it_is = || json!({ "ca": "pinned.pem" });
    let another = self_signed(as_authority);
    for (what, shown, pinned, settings, why) in [
        ("another name", &good, &good, by_name("orders.internal"), "not valid for name \"orders.internal\""),
        ("an end", &expired, &expired, as_it_is(), "expired"),
        ("a beginning", &future, &future, as_it_is(), "not valid yet"),
        ("another purpose", &client_only, &client_only, as_it_is(), "the server's certificate is refused"),
        ("a name that it shares with the pinned one", &another, &good, as_it_is(), "the server's certificate"),
    ] {
        let server = TlsFront::start(&ServerTls::showing(shown), &behind.text()).await;
        let upstream = json!({ "endpoints": [server.text()], "tls": settings });
        let gateway = gateway(&authority, upstream, &[("pinned", pinned)]);
        refused(&gateway, 502, why, what).await;
    }
}

#[tokio::test]
async fn servers_that_are_not_are_refused_and_nobody_but_the_operator_is_told_why() {
    let (authority, behind) = (Authority::new("servers"), Server::named("behind").await);
    let good = authority.issue(&["127.0.0.1", "orders.internal"]);
    let other = Authority::new("others").issue(&["127.0.0.1"]);
    let wrong_name = authority.issue(&["users.internal"]);
    let expired = authority.issue_with(&["127.0.0.1"], |params| {
        params.not_after = (SystemTime::now() - Duration::from_secs(60 * 60)).into();
    });
    let client_only = authority.issue_with(&["127.0.0.1"], |params| {
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    });
    let trusted = || json!({ "ca": "ca.pem" });
    let cases = [
        ("another authority", ServerTls::showing(&other), trusted(), "no trusted authority has signed"),
        ("an authority that the system does not know", ServerTls::showing(&good), json!({}), "no trusted authority"),
        ("another name", ServerTls::showing(&wrong_name), trusted(), "not valid for name \"127.0.0.1\""),
        (
            "another name than was asked for",
            ServerTls::showing(&good),
            json!({ "ca": "ca.pem", "server_name": "users.internal" }),
            "not valid for name \"users.internal\"",
        ),
        (
            "none of several names",
            ServerTls::showing(&good),
            json!({ "ca": "ca.pem", "subject_alt_names": ["users.internal", "spiffe://example/orders"] }),
            "for none of the names",
        ),
        (
            "an authority that did not sign one of several names",
            ServerTls::showing(&other),
            json!({ "ca": "ca.pem", "subject_alt_names": ["127.0.0.1"] }),
            "no trusted authority",
        ),
        ("an end", ServerTls::showing(&expired), trusted(), "expired"),
        ("another purpose", ServerTls::showing(&client_only), trusted(), "the server's certificate is refused"),
        (
            "an old version",
            ServerTls::showing(&good).tls12(),
            json!({ "ca": "ca.pem", "min_version": "1.3" }),
            "the server refused the handshake: ProtocolVersion",
        ),
        (
            "a question that is not answered, in TLS 1.2",
            ServerTls::showing(&good).tls12().for_clients_of(&authority),
            trusted(),
            "ertificate",
        ),
        (
            "a question that is not answered, in TLS 1.3",
            ServerTls::showing(&good).for_clients_of(&authority),
            trusted(),
            "CertificateRequired",
        ),
    ];
    for (what, tls, settings, why) in cases {
        let server = TlsFront::start(&tls, &behind.text()).await;
        let gateway = gateway(&authority, json!({ "endpoints": [server.text()], "tls": settings }), &[]);
        refused(&gateway, 502, why, what).await;
    }
    assert!(behind.received().is_empty(), "{:?}", behind.received());
}

#[tokio::test]
async fn servers_that_speak_something_else_are_told_apart() {
    let authority = Authority::new("servers");
    let plain = Server::named("plain").await;
    let closing = Scripted::start(|stream| async move { drop(stream) }).await;
    let silent = Scripted::start(|stream| async move {
        std::future::pending::<()>().await;
        drop(stream);
    })
    .await;
    let http1 = ServerTls::showing(&authority.issue(&["127.0.0.1"])).alpn(&["http/1.1"]);
    let http1 = TlsFront::start(&http1, &plain.text()).await;
    let no_alpn = ServerTls::showing(&authority.issue(&["127.0.0.1"]));
    let no_alpn = TlsFront::start(&no_alpn, &plain.text()).await;
    for (what, address, protocol, status, why) in [
        ("in the clear", plain.text(), "http/1.1", 502, "the server does not speak TLS"),
        ("closes", closing.text(), "http/1.1", 502, "closed the connection within the handshake"),
        ("says nothing", silent.text(), "http/1.1", 504, "within 2s"),
        ("HTTP/1.1 where HTTP/2 is wanted", http1.text(), "h2", 502, "NoApplicationProtocol"),
        ("no ALPN where HTTP/2 is wanted", no_alpn.text(), "h2", 502, "does not offer HTTP/2 (ALPN h2)"),
    ] {
        let upstream = json!({
            "endpoints": [address], "protocol": protocol, "tls": { "ca": "ca.pem" }, "connect_timeout": "2s",
        });
        refused(&gateway(&authority, upstream, &[]), status, why, what).await;
    }
    assert!(plain.received().is_empty());
}

#[tokio::test]
async fn an_endpoint_that_cannot_be_trusted_leaves_its_requests_to_the_others() {
    let (authority, behind) = (Authority::new("servers"), Server::named("behind").await);
    let good = TlsFront::start(&ServerTls::showing(&authority.issue(&["127.0.0.1"])), &behind.text()).await;
    let stranger = Authority::new("others").issue(&["127.0.0.1"]);
    let bad = TlsFront::start(&ServerTls::showing(&stranger), &behind.text()).await;
    let upstream = json!({ "endpoints": [bad.text(), good.text()], "tls": { "ca": "ca.pem" } });
    let gateway = gateway(&authority, upstream, &[]);
    for _ in 0..10 {
        assert_eq!(gateway.get("/").await.status, 200);
    }
    let upstreams = send(gateway.admin(), "GET", "/upstreams", &[], "").await.json();
    assert_eq!(upstreams[0]["endpoints"][0]["state"], "ejected", "{upstreams:#}");
    assert_eq!(upstreams[0]["endpoints"][1]["state"], "healthy", "{upstreams:#}");
    assert!(bad.handshakes().is_empty());
}

#[tokio::test]
async fn http2_is_agreed_on_by_alpn_and_shared() {
    let (authority, behind) = (
        Authority::new("servers"),
        Server::start_h2c(|received| {
            http::Response::new(Bytes::from(received.scheme.clone().unwrap_or_default()).into())
        })
        .await,
    );
    let tls = ServerTls::showing(&authority.issue(&["127.0.0.1"])).alpn(&["h2", "http/1.1"]);
    let server = TlsFront::start(&tls, &behind.text()).await;
    let upstream = json!({ "endpoints": [server.text()], "protocol": "h2", "tls": { "ca": "ca.pem" } });
    let mut config = json!({
        "workers": 1,
        "upstreams": { "server": upstream },
        "routes": [{ "match": {}, "to": "server" }],
    });
    config["upstreams"]["server"]["max_connections"] = json!(1);
    let gateway = TestGateway::start_beside(config, |directory| {
        std::fs::write(directory.join("ca.pem"), authority.pem()).unwrap();
    });
    let answers = futures_util::future::join_all((0..20).map(|_| gateway.get("/"))).await;
    for answer in answers {
        assert_eq!((answer.status, answer.text().as_str()), (200, "https"));
    }
    let handshakes = server.handshakes();
    assert_eq!(handshakes.len(), 1, "{handshakes:?}");
    assert_eq!(handshakes[0].alpn.as_deref(), Some("h2"));
}

#[tokio::test]
async fn sessions_are_resumed() {
    let (authority, behind) = (Authority::new("servers"), Server::named("behind").await);
    for tls in [ServerTls::showing(&authority.issue(&["127.0.0.1"])), {
        ServerTls::showing(&authority.issue(&["127.0.0.1"])).tls12()
    }] {
        let server = TlsFront::start(&tls, &behind.text()).await;
        let upstream = json!({ "endpoints": [server.text()], "tls": { "ca": "ca.pem" }, "max_idle": 0 });
        let gateway = gateway(&authority, upstream, &[]);
        for _ in 0..3 {
            assert_eq!(gateway.get("/").await.status, 200);
        }
        let kinds: Vec<HandshakeKind> = server.handshakes().iter().map(|handshake| handshake.kind).collect();
        assert_eq!(kinds.len(), 3, "a connection for each request");
        assert!(matches!(kinds[0], HandshakeKind::Full | HandshakeKind::FullWithHelloRetryRequest), "{kinds:?}");
        assert_eq!(kinds[1..], [HandshakeKind::Resumed; 2], "{kinds:?}");
    }
}

#[tokio::test]
async fn websockets_and_grpc_go_over_it() {
    let authority = Authority::new("servers");
    let own = authority.issue(&["127.0.0.1"]);
    let sockets = WebSockets::start().await;
    let front = TlsFront::start(&ServerTls::showing(&own), &sockets.text()).await;
    let gateway_ = gateway(&authority, json!({ "endpoints": [front.text()], "tls": { "ca": "ca.pem" } }), &[]);
    let (mut socket, response) = Socket::open(gateway_.address(), "/").await;
    assert_eq!(response.status(), 101);
    socket.echo("hello").await;
    let large = vec![7; 1 << 20];
    socket.send_binary(large.clone()).await;
    assert_eq!(socket.next().await, Some(large));
    socket.close().await;

    let calls = GrpcServer::start().await;
    let front = TlsFront::start(&ServerTls::showing(&own).alpn(&["h2"]), &calls.text()).await;
    let upstream = json!({ "endpoints": [front.text()], "protocol": "h2", "tls": { "ca": "ca.pem" } });
    let gateway = gateway(&authority, upstream, &[]);
    let mut client = GrpcClient::connect(gateway.address()).await;
    assert_eq!(client.unary("Unary", "hello").await.unwrap(), "hello");
    assert!(client.unary("Fail", "x").await.is_err());
    assert_eq!(client.unary("Unary", "again").await.unwrap(), "again");
    assert_eq!(front.handshakes().len(), 1);
}

#[tokio::test]
async fn a_body_that_is_cut_off_is_no_whole_one() {
    let authority = Authority::new("servers");
    // Without a length, the end of TLS is the end of the body; the end of TCP alone may be anybody's doing.
    let server = Scripted::start({
        let config = ServerTls::showing(&authority.issue(&["127.0.0.1"])).build();
        move |stream| {
            let acceptor = tokio_rustls::TlsAcceptor::from(config.clone());
            async move {
                let mut stream = acceptor.accept(stream).await.unwrap();
                let mut head = [0; 4096];
                let count = stream.read(&mut head).await.unwrap();
                let in_order = String::from_utf8_lossy(&head[..count]).contains("/in-order");
                stream.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nhello").await.unwrap();
                stream.flush().await.unwrap();
                if in_order {
                    stream.shutdown().await.unwrap();
                } else {
                    stream.get_mut().0.shutdown().await.unwrap();
                }
            }
        }
    })
    .await;
    let gateway = gateway(&authority, json!({ "endpoints": [server.text()], "tls": { "ca": "ca.pem" } }), &[]);
    assert_eq!(gateway.get("/in-order").await.text(), "hello");
    let mut client = gatewright_tests::Client::http1(gateway.address()).await;
    let cut = client.send("GET", "/cut", &[], "").await;
    assert!(cut.is_err(), "{cut:?}");
}

#[tokio::test]
async fn tcp_is_forwarded_over_it() {
    let authority = Authority::new("servers");
    let echo = Scripted::start(|mut stream| async move {
        let (mut reader, mut writer) = stream.split();
        let _ = tokio::io::copy(&mut reader, &mut writer).await;
        let _ = stream.shutdown().await;
    })
    .await;
    let front = TlsFront::start(&ServerTls::showing(&authority.issue(&["127.0.0.1"])), &echo.text()).await;
    let stranger = Authority::new("others").issue(&["127.0.0.1"]);
    let bad = TlsFront::start(&ServerTls::showing(&stranger), &echo.text()).await;
    let config = |address: String| {
        json!({
            "listeners": [{ "address": "127.0.0.1:0", "protocol": "tcp", "to": "server" }],
            "upstreams": { "server": { "endpoints": [address], "tls": { "ca": "ca.pem" } } },
        })
    };
    let start = |address| {
        TestGateway::start_beside(config(address), |directory| {
            std::fs::write(directory.join("ca.pem"), authority.pem()).unwrap();
        })
    };
    let gateway = start(front.text());
    let mut client = TcpStream::connect(gateway.address()).await.unwrap();
    let sent = vec![7; 3 << 20];
    let (mut reader, mut writer) = client.split();
    let mut got = Vec::new();
    let (written, read) = tokio::join!(
        async {
            writer.write_all(&sent).await?;
            writer.shutdown().await
        },
        reader.read_to_end(&mut got),
    );
    written.unwrap();
    read.unwrap();
    assert!(got == sent, "{} bytes came back", got.len());
    let handshake = front.handshakes().remove(0);
    assert_eq!((handshake.alpn, handshake.server_name), (None, None), "nobody knows what is spoken");
    let record = gateway.wait_for_records(1).await.remove(0);
    assert_eq!(record["outcome"], "complete", "{record}");

    let gateway = start(bad.text());
    let mut client = TcpStream::connect(gateway.address()).await.unwrap();
    assert!(matches!(client.read(&mut [0; 1]).await, Ok(0) | Err(_)));
    let record = gateway.wait_for_records(1).await.remove(0);
    assert!(record["error"].as_str().unwrap().contains("no trusted authority"), "{record}");
}

#[tokio::test]
async fn probes_speak_it_too() {
    let authority = Authority::new("servers");
    let behind = Server::named("well").await;
    let good = TlsFront::start(&ServerTls::showing(&authority.issue(&["127.0.0.1"])), &behind.text()).await;
    let stranger = Authority::new("others").issue(&["127.0.0.1"]);
    let bad = TlsFront::start(&ServerTls::showing(&stranger), &behind.text()).await;
    let upstream = json!({
        "endpoints": [good.text(), bad.text()], "tls": { "ca": "ca.pem" },
        "health": { "path": "/healthz", "interval": "500ms", "initial": "unhealthy" },
    });
    let gateway = gateway(&authority, upstream, &[]);
    eventually("both have been probed", async || {
        let upstreams = send(gateway.admin(), "GET", "/upstreams", &[], "").await.json();
        let (good, bad) = (&upstreams[0]["endpoints"][0], &upstreams[0]["endpoints"][1]);
        assert_ne!(bad["state"], "healthy", "{upstreams:#}");
        let why = bad["last_probe_error"].as_str().unwrap_or_default();
        (good["state"] == "healthy" && why.contains("no trusted authority")).then_some(())
    })
    .await;
    assert!(behind.received().iter().all(|received| received.target == "/healthz"));
    // Probes resume sessions like everybody else.
    eventually("a probe resumes", async || {
        good.handshakes().iter().any(|handshake| handshake.kind == HandshakeKind::Resumed).then_some(())
    })
    .await;
}

#[tokio::test]
async fn authorities_of_the_gateway_are_for_every_upstream_that_names_none() {
    let (authority, behind) = (Authority::new("company"), Server::named("behind").await);
    let front = TlsFront::start(&ServerTls::showing(&authority.issue(&["127.0.0.1"])), &behind.text()).await;
    let other = Authority::new("others");
    let config = json!({
        "trusted_authorities": ["company.pem"],
        "upstreams": {
            "trusting": { "endpoints": [front.text()], "tls": {} },
            "strict": { "endpoints": [front.text()], "tls": { "ca": "other.pem" } },
        },
        "routes": [
            { "match": { "path": "/trusting" }, "to": "trusting" },
            { "match": { "path": "/strict" }, "to": "strict" },
        ],
    });
    let gateway = TestGateway::start_beside(config, |directory| {
        std::fs::write(directory.join("company.pem"), authority.pem()).unwrap();
        std::fs::write(directory.join("other.pem"), other.pem()).unwrap();
    });
    assert_eq!(gateway.get("/trusting").await.text(), "behind");
    gateway.get("/strict").await.problem(502);
}
