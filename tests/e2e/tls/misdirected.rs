//! Requests over a connection that was made for another host (RFC 9110, section 15.5.20).

use std::net::SocketAddr;

use gatewright_tests::{Answer, Client, TlsClient, TlsSettings};

use super::{authority, start, with};

/// Asks for `host` over HTTP/2 on a connection that was made for `name`.
async fn ask(gateway: SocketAddr, name: &str, host: &str) -> Answer {
    let settings = TlsSettings::trusting_anybody().alpn(&["h2"]);
    let stream = TlsClient::stream(gateway, name, settings.build()).await.unwrap();
    Client::over(stream, true, gateway, host).await.unwrap().send("GET", "/", &[], "").await.unwrap()
}

#[tokio::test]
async fn a_host_that_the_certificate_is_not_for_is_asked_for_on_another_connection() {
    let authority = authority();
    let shop = authority.issue(&["shop.test", "*.shop.test"]);
    let bank = authority.issue(&["bank.test"]);
    let gateway = start(with(&["shop", "bank"]), &[("shop", &shop), ("bank", &bank)]);
    for (name, host, status) in [
        ("shop.test", "shop.test", 200),
        ("shop.test", "Shop.test.:8443", 200),
        ("shop.test", "www.shop.test", 200),
        ("www.shop.test", "api.shop.test", 200),
        ("shop.test", "bank.test", 421),
        ("bank.test", "shop.test", 421),
        ("bank.test", "nobody.test", 421),
        ("shop.test", "a.b.shop.test", 421),
        ("shop.test", "127.0.0.1", 421),
        // Nobody has this name, so the first certificate is shown. Its own hosts are right there, others are not.
        ("nobody.test", "nobody.test", 200),
        ("nobody.test", "shop.test", 200),
        ("nobody.test", "bank.test", 421),
        // No name was asked for, so there is none to hold the client to.
        ("127.0.0.1", "bank.test", 200),
    ] {
        let answer = ask(gateway.address(), name, host).await;
        assert_eq!(answer.status, status, "{name} {host}: {}", answer.text());
        if status == 421 {
            answer.problem(421);
        }
    }
    // The connection stays, and its own host goes on being served.
    let settings = TlsSettings::trusting_anybody().alpn(&["h2"]);
    let mut client = TlsClient::connect(gateway.address(), "bank.test", &settings).await.unwrap();
    for _ in 0..2 {
        assert_eq!(client.get("/").await.unwrap().status, 200);
        if let Client::Http2(_, base) = &mut client.client {
            *base = "https://shop.test".to_owned();
        }
        client.get("/").await.unwrap().problem(421);
        if let Client::Http2(_, base) = &mut client.client {
            *base = "https://bank.test".to_owned();
        }
    }
}

#[tokio::test]
async fn one_certificate_alone_and_http1_are_not_held_to_names() {
    let authority = authority();
    let shop = authority.issue(&["shop.test"]);
    let gateway = start(with(&["shop"]), &[("shop", &shop)]);
    assert_eq!(ask(gateway.address(), "shop.test", "bank.test").await.status, 200);
    let bank = authority.issue(&["bank.test"]);
    let gateway = start(with(&["shop", "bank"]), &[("shop", &shop), ("bank", &bank)]);
    let settings = TlsSettings::trusting_anybody().alpn(&["http/1.1"]);
    let mut client = TlsClient::connect(gateway.address(), "shop.test", &settings).await.unwrap();
    let answer = client.client.send("GET", "/", &[("host", "bank.test")], "").await.unwrap();
    assert_eq!(answer.status, 200);
}
