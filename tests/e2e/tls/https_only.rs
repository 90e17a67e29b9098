//! Listeners whose clients are to come over TLS, and to come back over it.

use gatewright_tests::{Client, Server, TestGateway, TlsClient, Wire, eventually, raw, send};
use serde_json::{Value, json};

use super::{authority, with};

fn config(plain: Value, tls: Value, upstream: &str) -> Value {
    let mut secure = with(&["a"]);
    secure.as_object_mut().unwrap().extend(tls.as_object().unwrap().clone());
    json!({
        "listeners": [
            { "address": "127.0.0.1:0", "name": "plain", "https_redirect": plain },
            { "address": "127.0.0.1:0", "name": "secure", "tls": secure },
        ],
        "upstreams": { "server": [upstream] },
        "routes": [{ "match": { "path": "/*" }, "to": "server" }],
    })
}

#[tokio::test]
async fn plain_requests_are_sent_to_https_and_reach_no_route() {
    let (authority, server) = (authority(), Server::named("served").await);
    for (setting, status, location) in [
        (json!(true), 308, "https://shop.test/a?b=c"),
        (json!({ "status": 301 }), 301, "https://shop.test/a?b=c"),
        (json!({ "port": 8443 }), 308, "https://shop.test:8443/a?b=c"),
        (json!({ "port": 443, "status": 307 }), 307, "https://shop.test/a?b=c"),
    ] {
        let gateway = TestGateway::start_beside(config(setting, json!({}), &server.text()), |directory| {
            authority.issue(&["a.test"]).write(directory, "a");
        });
        let plain = gateway.address_of("plain");
        for host in ["shop.test", "shop.test:80", "SHOP.test:8080"] {
            for (method, body) in [("GET", ""), ("HEAD", ""), ("POST", "a body"), ("DELETE", "")] {
                let answer = send(plain, method, "/a?b=c", &[("host", host)], body).await;
                assert_eq!(answer.status, status, "{method} {host}");
                let at = answer.header("location").unwrap();
                assert!(at.eq_ignore_ascii_case(location), "{method} {host}: {at}");
                assert_eq!(answer.header("strict-transport-security"), None);
                assert!(answer.body.is_empty(), "{method}");
            }
        }
        let mut http2 = Client::http2(plain).await;
        assert_eq!(http2.send("GET", "/", &[], "").await.unwrap().status, status);
        let records = gateway.wait_for_records(13).await;
        assert!(records.iter().all(|record| record["status"] == status && record["route"].is_null()), "{records:#?}");
    }
    assert!(server.received().is_empty());
}

#[tokio::test]
async fn challenges_of_authorities_are_served_and_bad_requests_are_refused_as_ever() {
    let (authority, server) = (authority(), Server::named("served").await);
    let gateway = TestGateway::start_beside(config(json!(true), json!({}), &server.text()), |directory| {
        authority.issue(&["a.test"]).write(directory, "a");
    });
    let plain = gateway.address_of("plain");
    let challenge = send(plain, "GET", "/.well-known/acme-challenge/token", &[("host", "a.test")], "").await;
    assert_eq!((challenge.status, challenge.text().as_str()), (200, "served"));
    // Paths are told apart in their normal form.
    let dots = send(plain, "GET", "/.well-known/acme-challenge/../secret", &[("host", "a.test")], "").await;
    assert_eq!((dots.status, dots.header("location")), (308, Some("https://a.test/.well-known/secret")));
    for (what, request) in [
        ("no host", "GET / HTTP/1.1\r\n\r\n"),
        ("an empty host", "GET / HTTP/1.1\r\nhost:\r\n\r\n"),
        ("two hosts", "GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n"),
        ("a host that is none", "GET / HTTP/1.1\r\nhost: a/b\r\n\r\n"),
    ] {
        let answer = raw(plain, request).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{what}: {answer}");
    }
    assert_eq!(server.received().len(), 1);
}

#[tokio::test]
async fn who_came_to_a_trusted_proxy_over_https_is_not_sent_there_again() {
    let (authority, server) = (authority(), Server::named("served").await);
    let with = |trusted: Value| {
        let mut config = config(json!(true), json!({}), &server.text());
        config["trusted_proxies"] = trusted;
        TestGateway::start_beside(config, |directory| authority.issue(&["a.test"]).write(directory, "a"))
    };
    let (behind, alone) = (with(json!(["127.0.0.1"])), with(json!([])));
    let said = |field: &'static str, value: &'static str| [("host", "shop.test"), (field, value)];
    for headers in [said("x-forwarded-proto", "https"), said("forwarded", "for=203.0.113.5;proto=https")] {
        let answer = send(behind.address_of("plain"), "GET", "/a", &headers, "").await;
        assert_eq!((answer.status, answer.text().as_str()), (200, "served"), "{headers:?}");
        let answer = send(alone.address_of("plain"), "GET", "/a", &headers, "").await;
        assert_eq!((answer.status, answer.header("location")), (308, Some("https://shop.test/a")), "{headers:?}");
    }
    for (headers, location) in [
        (said("x-forwarded-proto", "http"), "https://shop.test/a"),
        (said("x-forwarded-host", "public.test"), "https://public.test/a"),
    ] {
        let answer = send(behind.address_of("plain"), "GET", "/a", &headers, "").await;
        assert_eq!((answer.status, answer.header("location")), (308, Some(location)), "{headers:?}");
    }
    let received = server.received();
    assert!(received.iter().all(|received| received.header("x-forwarded-proto") == Some("https")), "{received:?}");
    assert_eq!(received.len(), 2);
}

#[tokio::test]
async fn hsts_is_said_over_tls_with_whatever_is_answered() {
    let authority = authority();
    let server = Server::start(|received| {
        let mut response = http::Response::new(bytes::Bytes::from_static(b"served").into());
        if received.target == "/own" {
            let value = "max-age=1".parse().unwrap();
            response.headers_mut().insert("strict-transport-security", value);
        }
        response
    })
    .await;
    for (setting, expected) in [
        (json!(true), Some("max-age=31536000")),
        (json!({ "max_age": "1h" }), Some("max-age=3600")),
        (json!({ "max_age": "365d", "include_subdomains": true, "preload": true }), {
            Some("max-age=31536000; includeSubDomains; preload")
        }),
        (json!({ "withdraw": true }), Some("max-age=0")),
        (Value::Null, None),
    ] {
        let tls = if setting.is_null() { json!({}) } else { json!({ "hsts": setting }) };
        let mut config = config(json!(true), tls, &server.text());
        config["listeners"][0].as_object_mut().unwrap().remove("https_redirect");
        config["routes"][0]["match"] = json!([{ "path": "/a" }, { "path": "/own" }]);
        let gateway = TestGateway::start_beside(config, |directory| authority.issue(&["a.test"]).write(directory, "a"));
        for alpn in ["http/1.1", "h2"] {
            let client = authority.client().alpn(&[alpn]);
            let mut client = TlsClient::connect(gateway.address_of("secure"), "a.test", &client).await.unwrap();
            let served = client.get("/a").await.unwrap();
            assert_eq!((served.status, served.header("strict-transport-security")), (200, expected), "{alpn}");
            let nowhere = client.get("/nowhere").await.unwrap();
            assert_eq!((nowhere.status, nowhere.header("strict-transport-security")), (404, expected), "{alpn}");
            // What the gateway says of it replaces what the server does; where it says nothing, the server's stays.
            let own = client.get("/own").await.unwrap();
            assert_eq!(own.header("strict-transport-security"), expected.or(Some("max-age=1")), "{alpn}");
            assert_eq!(own.headers.get_all("strict-transport-security").iter().count(), 1);
        }
        let plain = send(gateway.address_of("plain"), "GET", "/a", &[], "").await;
        assert_eq!((plain.status, plain.header("strict-transport-security")), (200, None), "never in the clear");
    }
}

#[tokio::test]
async fn a_reload_turns_it_on_and_off_for_connections_that_are_there() {
    let (authority, server) = (authority(), Server::named("served").await);
    let on = config(json!(true), json!({ "hsts": true }), &server.text());
    let mut off = on.clone();
    off["listeners"][0].as_object_mut().unwrap().remove("https_redirect");
    off["listeners"][1]["tls"].as_object_mut().unwrap().remove("hsts");
    let gateway =
        TestGateway::start_beside(off.clone(), |directory| authority.issue(&["a.test"]).write(directory, "a"));
    let mut plain = Client::http1(gateway.address_of("plain")).await;
    let secure = gateway.address_of("secure");
    let mut secure = TlsClient::connect(secure, "a.test", &authority.client()).await.unwrap();
    for (config, status, hsts) in [(off.clone(), 200, None), (on, 308, Some("max-age=31536000")), (off, 200, None)] {
        gateway.write_config(config);
        gateway.reload().unwrap();
        assert_eq!(plain.send("GET", "/", &[], "").await.unwrap().status, status);
        assert_eq!(secure.get("/").await.unwrap().header("strict-transport-security"), hsts);
    }
}

/// Clients that were waiting to be accepted, or had not yet asked, when their listener was taken out of the configuration.
#[tokio::test]
async fn who_came_before_the_listener_was_renamed_is_sent_to_https_still() {
    let (authority, server) = (authority(), Server::named("served").await);
    let config = |name: &str, redirects: bool| {
        let mut config = config(json!(redirects), json!({}), &server.text());
        config["listeners"][0]["name"] = json!(name);
        if !redirects {
            config["listeners"][0].as_object_mut().unwrap().remove("https_redirect");
        }
        config["workers"] = json!(1);
        config["limits"] = json!({ "connections": 2 });
        config
    };
    let gateway = TestGateway::start_beside(config("plain", false), |directory| {
        authority.issue(&["a.test"]).write(directory, "a");
    });
    // What it had last is what holds, and not what it was bound with.
    gateway.write_config(config("plain", true));
    gateway.reload().unwrap();
    let plain = gateway.address_of("plain");
    let request = "GET /a HTTP/1.1\r\nhost: shop.test\r\n";
    let mut holder = Wire::connect(plain).await;
    holder.send(format!("{request}\r\n")).await;
    assert!(holder.read_to("\r\n\r\n").await.starts_with("HTTP/1.1 308"));
    let mut silent = Wire::connect(plain).await;
    eventually("both places are taken", async || {
        (gateway.metric("gatewright_listener_open_connections", &["plain"]).await == 2.0).then_some(())
    })
    .await;
    let mut waiting = Wire::connect(plain).await;
    waiting.send(format!("{request}connection: close\r\n\r\n")).await;
    gateway.write_config(config("renamed", false));
    gateway.reload().unwrap();
    // It may have been closed, having said nothing for a second, and is not served in any case.
    silent.send(format!("{request}connection: close\r\n\r\n")).await;
    let answer = silent.read_to_end().await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 308"), "{answer}");
    assert!(waiting.read_to_end().await.starts_with("HTTP/1.1 308"));
    assert_eq!(send(gateway.address_of("renamed"), "GET", "/a", &[], "").await.text(), "served");
    assert_eq!(server.received().len(), 1);
}

#[tokio::test]
async fn listeners_on_free_ports_are_told_apart_without_names() {
    let gateway = TestGateway::start(json!({
        "listeners": ["127.0.0.1:0", "127.0.0.1:0", { "address": "127.0.0.1:0", "tls": { "self_signed": true } }],
        "routes": [{ "match": {}, "plugins": ["echo"] }],
    }));
    let first = gateway.address_of("127.0.0.1:0");
    let second = gateway.address_of("127.0.0.1:0#2");
    assert_ne!(first, second);
    for address in [first, second] {
        assert_eq!(send(address, "GET", "/", &[], "").await.status, 200);
    }
    let settings = gatewright_tests::TlsSettings::trusting_anybody();
    let mut secure = TlsClient::connect(gateway.address_of("127.0.0.1:0#3"), "localhost", &settings).await.unwrap();
    assert_eq!(secure.get("/").await.unwrap().status, 200);
}
