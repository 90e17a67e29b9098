#![allow(clippy::unwrap_used)]

use std::net::{IpAddr, SocketAddr};

use http::uri::Scheme;
use http::{Request, request};

use super::*;

const ID: &str = "0123456789abcdef0123456789abcdef";

fn random() -> u128 {
    u128::from_str_radix(ID, 16).unwrap()
}

fn client() -> Client {
    let peer: SocketAddr = "[::ffff:192.0.2.7]:40000".parse().unwrap();
    Client::new(peer, "10.0.0.1:8080".parse().unwrap(), &Scheme::HTTP)
}

fn nothing() -> Policy {
    Policy {
        x_forwarded_for: false,
        x_forwarded_proto: false,
        x_forwarded_host: false,
        x_forwarded_port: false,
        forwarded: false,
        via: false,
        response_via: false,
        x_request_id: false,
    }
}

/// A head in HTTP/1 notation; the version `HTTP/2` makes it one of HTTP/2.
fn parse(text: &str) -> request::Parts {
    let mut lines = text.lines();
    let mut line = lines.next().unwrap().split(' ');
    let mut request = Request::builder().method(line.next().unwrap()).uri(line.next().unwrap());
    request = request.version(match line.next() {
        Some("HTTP/1.0") => Version::HTTP_10,
        Some("HTTP/2") => Version::HTTP_2,
        _ => Version::HTTP_11,
    });
    for line in lines {
        let (name, value) = line.split_once(':').unwrap();
        request = request.header(name, HeaderValue::from_bytes(value.trim().as_bytes()).unwrap());
    }
    request.body(()).unwrap().into_parts().0
}

fn show(parts: &request::Parts) -> String {
    let mut lines: Vec<String> =
        parts.headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
    lines.sort();
    format!("{} {}\n{}", parts.method, parts.uri, lines.join("\n"))
}

fn run(text: &str, policy: &Policy, trusted: &[&str]) -> Result<(String, Facts), Reject> {
    let trusted: Vec<IpAddr> = trusted.iter().map(|address| address.parse().unwrap()).collect();
    let mut parts = parse(text);
    let facts = from_downstream(&mut parts, &client(), policy, |address| trusted.contains(&address), random())?;
    Ok((show(&parts), facts))
}

#[test]
fn heads_are_put_in_order() {
    for (given, expected) in [
        ("GET /a?b HTTP/1.1\nHost: a", "GET /a?b\nhost: a"),
        ("GET http://A.b/x/../c HTTP/1.1\nHost: a.B:80", "GET /c\nhost: A.b"),
        ("GET https://a:443 HTTP/1.1\nHost: a", "GET /\nhost: a:443"),
        ("GET http://a?b HTTP/1.1\nHost: a", "GET /?b\nhost: a"),
        ("OPTIONS * HTTP/1.1\nHost: a", "OPTIONS *\nhost: a"),
        ("GET / HTTP/1.0", "GET /\nhost: 10.0.0.1:8080"),
        ("GET http://a/b HTTP/1.0", "GET /b\nhost: a"),
        ("GET http://a/b HTTP/2", "GET /b\nhost: a"),
        ("GET http://a/b HTTP/2\nhost: A:80", "GET /b\nhost: a"),
        ("GET /b HTTP/2\nhost: a", "GET /b\nhost: a"),
        (
            "GET /b HTTP/2\nhost: a\ncookie: c=1\nx: y\ncookie: b=2; d=3\ncookie: a=4",
            "GET /b\ncookie: c=1; b=2; d=3; a=4\nhost: a\nx: y",
        ),
        ("GET /b HTTP/2\nhost: a\ncookie: a=1", "GET /b\ncookie: a=1\nhost: a"),
        ("GET /b HTTP/1.1\nHost: a\nCookie: a=1\nCookie: b=2", "GET /b\ncookie: a=1\ncookie: b=2\nhost: a"),
        ("GET //%61/..%2fb\\c HTTP/1.1\nHost: a", "GET /b/c\nhost: a"),
        ("POST / HTTP/1.1\nHost: a\nContent-Length: 5\nExpect: 100-Continue", "POST /\ncontent-length: 5\nhost: a"),
        ("POST / HTTP/1.0\nExpect: anything", "POST /\nhost: 10.0.0.1:8080"),
        ("POST / HTTP/1.1\nHost: a\nTransfer-Encoding: chunked\nTrailer: x", "POST /\nhost: a\ntrailer: x"),
        (
            "GET / HTTP/1.1\nHost: a\nConnection: keep-alive, x-own, Upgrade\nX-Own: 1\nKeep-Alive: 5\nUpgrade: h2c\n\
             Proxy-Connection: keep-alive\nProxy-Authorization: x\nProxy: http://evil\nTE: gzip\nX-Else: 2",
            "GET /\nhost: a\nx-else: 2",
        ),
        ("GET / HTTP/1.1\nHost: a\nTE: gzip, Trailers;q=1\nConnection: te", "GET /\nhost: a\nte: trailers"),
        (
            "GET / HTTP/1.1\nHost: a\nConnection: close, host, Authorization, cookie, x-forwarded-for, content-type\n\
             Authorization: b\nCookie: c\nContent-Type: d",
            "GET /\nauthorization: b\ncontent-type: d\ncookie: c\nhost: a",
        ),
        ("GET / HTTP/1.1\nHost: a\nConnection: (bad), \u{e9}", "GET /\nhost: a"),
        ("GET / HTTP/1.1\nHost: a\nX_Forwarded_For: 1\nX_Own: 2", "GET /\nhost: a\nx_own: 2"),
    ] {
        let (shown, _) = run(given, &nothing(), &[]).unwrap_or_else(|reject| panic!("{given}: {reject}"));
        assert_eq!(shown, expected, "{given}");
    }
}

#[test]
fn what_cannot_be_put_in_order_is_refused() {
    for (given, reject) in [
        ("CONNECT a:443 HTTP/1.1\nHost: a", Reject::Tunnel),
        ("CONNECT a:443 HTTP/2", Reject::Tunnel),
        ("GET * HTTP/1.1\nHost: a", Reject::Target),
        ("GET ftp://a/ HTTP/2", Reject::Target),
        ("GET /%00 HTTP/1.1\nHost: a", Reject::PathEncoding),
        ("GET /%4 HTTP/2\nhost: a", Reject::PathEncoding),
        ("GET / HTTP/1.1", Reject::Host),
        ("GET / HTTP/2", Reject::Host),
        ("GET / HTTP/1.1\nHost:", Reject::Host),
        ("GET / HTTP/1.1\nHost: a\nHost: a", Reject::Host),
        ("GET / HTTP/1.1\nHost: a/b", Reject::Host),
        ("GET / HTTP/1.1\nHost: a b", Reject::Host),
        ("GET / HTTP/1.1\nHost: u@a", Reject::Host),
        ("GET / HTTP/1.0\nHost: \u{e9}", Reject::Host),
        ("GET http://a/ HTTP/1.1", Reject::Host),
        ("GET http://u@a/ HTTP/2", Reject::Host),
        ("GET http://a/ HTTP/1.1\nHost: b", Reject::HostMismatch),
        ("GET http://a/ HTTP/1.1\nHost: a:8080", Reject::HostMismatch),
        ("GET http://a/ HTTP/2\nhost: b", Reject::HostMismatch),
        ("POST / HTTP/1.1\nHost: a\nContent-Length: 1\nContent-Length: 1", Reject::ContentLength),
        ("POST http://a/ HTTP/2\ncontent-length: +1", Reject::ContentLength),
        ("POST / HTTP/1.1\nHost: a\nContent-Length: 1\nTransfer-Encoding: chunked", Reject::Ambiguous),
        ("POST / HTTP/1.0\nTransfer-Encoding: chunked", Reject::TransferEncoding),
        ("POST http://a/ HTTP/2\ntransfer-encoding: chunked", Reject::TransferEncoding),
        ("GET http://a/ HTTP/2\nconnection: close", Reject::ConnectionSpecific),
        ("GET http://a/ HTTP/2\nupgrade: x", Reject::ConnectionSpecific),
        ("POST / HTTP/1.1\nHost: a\nExpect: 200-ok", Reject::Expectation),
        ("POST / HTTP/1.1\nHost: a\nContent_Length: 5", Reject::Lookalike),
        ("POST http://a/ HTTP/2\ntransfer_encoding: chunked", Reject::Lookalike),
    ] {
        assert_eq!(run(given, &nothing(), &[]).map(|(shown, _)| shown), Err(reject), "{given}");
    }
}

#[test]
fn a_stranger_is_believed_nothing() {
    let claims = "GET / HTTP/1.1\nHost: a.example:8080\nX-Forwarded-For: 1.2.3.4\nX-Forwarded-Proto: https\n\
                  X-Forwarded-Host: evil\nX-Forwarded-Port: 1\nForwarded: for=1.2.3.4\nX-Request-Id: mine\n\
                  X-Real-IP: 1.2.3.4\nVia: 1.1 other";
    let (shown, facts) = run(claims, &Policy::default(), &["198.51.100.1"]).unwrap();
    assert_eq!(
        shown,
        format!(
            "GET /\nforwarded: for=192.0.2.7;proto=http;host=\"a.example:8080\"\nhost: a.example:8080\n\
             via: 1.1 gatewright\nvia: 1.1 other\nx-forwarded-for: 192.0.2.7\nx-forwarded-host: a.example:8080\n\
             x-forwarded-port: 8080\nx-forwarded-proto: http\nx-request-id: {ID}"
        )
    );
    assert_eq!(facts.client.to_string(), "192.0.2.7");
    assert_eq!(facts.request_id, ID);
    let (shown, facts) = run(claims, &nothing(), &[]).unwrap();
    assert_eq!(shown, "GET /\nhost: a.example:8080\nvia: 1.1 other");
    assert_eq!(facts.request_id, ID, "an id is there even where it is not sent");
}

#[test]
fn a_trusted_proxy_is_believed() {
    let claims = "GET / HTTP/1.1\nHost: a\nX-Forwarded-For: 9.9.9.9, 203.0.113.5\nX-Forwarded-For: 198.51.100.2\n\
                  X-Forwarded-Proto: https\nX-Forwarded-Host: public.example\nX-Forwarded-Port: 443\n\
                  Forwarded: for=203.0.113.5\nX-Request-Id: trace-1/2";
    let (shown, facts) = run(claims, &Policy::default(), &["192.0.2.7", "198.51.100.2"]).unwrap();
    assert_eq!(
        shown,
        "GET /\nforwarded: for=203.0.113.5, for=192.0.2.7;proto=http;host=a\nhost: a\nvia: 1.1 gatewright\n\
         x-forwarded-for: 9.9.9.9, 203.0.113.5, 198.51.100.2, 192.0.2.7\nx-forwarded-host: public.example\n\
         x-forwarded-port: 443\nx-forwarded-proto: https\nx-request-id: trace-1/2"
    );
    assert_eq!(facts.client.to_string(), "203.0.113.5");
    assert_eq!(facts.request_id, "trace-1/2");
}

#[test]
fn what_a_trusted_proxy_tells_in_one_form_is_said_in_both() {
    for (claims, forwarded, x_forwarded, client) in [
        (
            "X-Forwarded-For: 203.0.113.5, 1.2.3.4\nX-Forwarded-Proto: https",
            "for=203.0.113.5, for=1.2.3.4;proto=https, for=192.0.2.7;proto=http;host=a",
            ["203.0.113.5, 1.2.3.4, 192.0.2.7", "https", "a"],
            "1.2.3.4",
        ),
        (
            "X-Forwarded-Proto: https\nX-Forwarded-Host: shop.test:8443",
            "for=192.0.2.7;proto=https;host=\"shop.test:8443\"",
            ["192.0.2.7", "https", "shop.test:8443"],
            "192.0.2.7",
        ),
        // Anything that is neither address nor name is unknown, and none of it leaks into the list.
        (
            "X-Forwarded-For: [2001:db8::1]:443, 2001:db8::2, 203.0.113.5:80, unknown, _hidden\n\
             X-Forwarded-For: no;proto=x, 10.1.1.1\nX-Forwarded-Proto: https\nX-Forwarded-Host: shop.test",
            "for=\"[2001:db8::1]:443\", for=\"[2001:db8::2]\", for=\"203.0.113.5:80\", for=unknown, for=_hidden, \
             for=unknown;proto=https;host=shop.test, for=10.1.1.1, for=192.0.2.7;proto=http;host=a",
            [
                "[2001:db8::1]:443, 2001:db8::2, 203.0.113.5:80, unknown, _hidden, no;proto=x, 10.1.1.1, 192.0.2.7",
                "https",
                "shop.test",
            ],
            "10.1.1.1",
        ),
        // The first element is a stranger's own claim; the next was written by a trusted proxy.
        (
            "Forwarded: for=9.9.9.9;proto=http;host=evil\n\
             Forwarded: For=\"[2001:db8::1]:4711\"; Proto=HTTPS; Host=\"shop.test:443\", for=10.1.1.1:_x;proto=http",
            "for=9.9.9.9;proto=http;host=evil, \
             For=\"[2001:db8::1]:4711\"; Proto=HTTPS; Host=\"shop.test:443\", for=10.1.1.1:_x;proto=http, \
             for=192.0.2.7;proto=http;host=a",
            ["9.9.9.9, 2001:db8::1, 10.1.1.1, 192.0.2.7", "https", "shop.test:443"],
            "2001:db8::1",
        ),
        (
            "Forwarded: for=unknown, for=_hidden;by=\"a;b,\\\"c\";proto=https;host=\"a b\"",
            "for=unknown, for=_hidden;by=\"a;b,\\\"c\";proto=https;host=\"a b\", for=192.0.2.7;proto=http;host=a",
            ["unknown, _hidden, 192.0.2.7", "https", "a"],
            "192.0.2.7",
        ),
        // A stranger that opens a quoted string cannot absorb what its proxy appended.
        (
            "Forwarded: for=6.6.6.6;proto=https;x=\", for=\"[2001:db8::1]\"",
            "for=6.6.6.6;proto=https;x=\", for=\"[2001:db8::1]\", for=192.0.2.7;proto=http;host=a",
            ["unknown, 192.0.2.7", "http", "a"],
            "192.0.2.7",
        ),
        // With both, each is continued.
        (
            "X-Forwarded-For: 203.0.113.5\nForwarded: for=198.51.100.2;proto=https;host=b",
            "for=198.51.100.2;proto=https;host=b, for=192.0.2.7;proto=http;host=a",
            ["203.0.113.5, 192.0.2.7", "http", "a"],
            "203.0.113.5",
        ),
    ] {
        let head = format!("GET / HTTP/1.1\nHost: a\n{claims}");
        let (shown, facts) = run(&head, &Policy::default(), &["192.0.2.7", "10.1.1.1"]).unwrap();
        let told = |name: &str| {
            let mut lines = shown.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
            lines.next().unwrap_or_default()
        };
        let [addresses, proto, host] = x_forwarded;
        assert_eq!(told("forwarded"), forwarded, "{claims}");
        assert_eq!(told("x-forwarded-for"), addresses, "{claims}");
        assert_eq!((told("x-forwarded-proto"), told("x-forwarded-host")), (proto, host), "{claims}");
        assert_eq!(facts.client.to_string(), client, "{claims}");
        assert_eq!(facts.scheme.is_some_and(|scheme| scheme == Scheme::HTTPS), proto == "https", "{claims}");
        assert_eq!(facts.host, (host != "a").then(|| HeaderValue::from_static(host)), "{claims}");
        // Nothing is believed from anybody else.
        let (_, facts) = run(&head, &Policy::default(), &["10.1.1.1"]).unwrap();
        assert_eq!((facts.client.to_string().as_str(), facts.scheme, facts.host), ("192.0.2.7", None, None));
    }
}

#[test]
fn a_trusted_proxy_that_talks_nonsense_is_corrected() {
    for (claim, expected) in [
        ("X-Forwarded-Proto: gopher", "x-forwarded-proto: http"),
        ("X-Forwarded-Proto: https\nX-Forwarded-Proto: http", "x-forwarded-proto: http"),
        ("X-Forwarded-Host: a b", "x-forwarded-host: a"),
        ("X-Forwarded-Port: 99x", "x-forwarded-port: 8080"),
        ("X-Request-Id: a b", "x-request-id: 0123456789abcdef0123456789abcdef"),
        ("X-Request-Id: \"", "x-request-id: 0123456789abcdef0123456789abcdef"),
        ("X-Request-Id: a\nX-Request-Id: b", "x-request-id: 0123456789abcdef0123456789abcdef"),
    ] {
        let (shown, _) = run(&format!("GET / HTTP/1.1\nHost: a\n{claim}"), &Policy::default(), &["192.0.2.7"]).unwrap();
        assert_eq!(shown.lines().filter(|line| line.starts_with(expected.split(':').next().unwrap())).count(), 1);
        assert!(shown.lines().any(|line| line == expected), "{claim}: {shown}");
    }
    let long = "x".repeat(129);
    let (_, facts) =
        run(&format!("GET / HTTP/1.1\nHost: a\nX-Request-Id: {long}"), &nothing(), &["192.0.2.7"]).unwrap();
    assert_eq!(facts.request_id, ID);
}

#[test]
fn the_port_is_the_one_that_the_client_connected_to() {
    for (claims, expected) in [
        ("X-Forwarded-Proto: https\nX-Forwarded-Port: 8443", "8443"),
        ("X-Forwarded-Proto: https", "443"),
        ("X-Forwarded-Proto: http", "80"),
        ("X-Forwarded-Proto: https\nX-Forwarded-Host: shop.test", "443"),
        ("X-Forwarded-Proto: https\nX-Forwarded-Host: shop.test:8443", "8443"),
        ("X-Forwarded-Proto: https\nX-Forwarded-Host: [2001:db8::1]", "443"),
        ("X-Forwarded-Proto: https\nX-Forwarded-Host: shop.test:", "443"),
        ("X-Forwarded-Proto: https\nX-Forwarded-Port: none", "443"),
        ("X-Forwarded-Host: shop.test", "80"),
        ("Forwarded: for=203.0.113.5;proto=https;host=shop.test", "443"),
        ("Forwarded: for=203.0.113.5;proto=https;host=\"shop.test:8443\"", "8443"),
        // It says nothing of what was asked for, so that is taken to be the same.
        ("X-Forwarded-For: 203.0.113.5", "8080"),
    ] {
        let head = format!("GET / HTTP/1.1\nHost: a\n{claims}");
        let port = |trusted: &[&str]| {
            let (shown, _) = run(&head, &Policy::default(), trusted).unwrap();
            shown.lines().find_map(|line| line.strip_prefix("x-forwarded-port: ").map(str::to_owned))
        };
        assert_eq!(port(&["192.0.2.7"]).as_deref(), Some(expected), "{claims}");
        assert_eq!(port(&[]).as_deref(), Some("8080"), "nobody else is believed: {claims}");
    }
}

#[test]
fn the_client_is_the_first_that_is_not_trusted_from_the_right() {
    for (chain, expected) in [
        ("203.0.113.5", "203.0.113.5"),
        ("1.1.1.1, 203.0.113.5", "203.0.113.5"),
        ("1.1.1.1, 203.0.113.5, 10.1.1.1", "203.0.113.5"),
        ("10.1.1.1, 10.1.1.2", "10.1.1.1"),
        ("unknown, 10.1.1.1", "10.1.1.1"),
        ("1.1.1.1, , 10.1.1.1", "10.1.1.1"),
        ("203.0.113.5:4711", "203.0.113.5"),
        ("[2001:db8::1]:443", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("2001:db8::1", "2001:db8::1"),
        ("::ffff:203.0.113.5", "203.0.113.5"),
        ("nonsense", "192.0.2.7"),
    ] {
        let head = format!("GET / HTTP/1.1\nHost: a\nX-Forwarded-For: {chain}");
        let (_, facts) = run(&head, &nothing(), &["192.0.2.7", "10.1.1.1", "10.1.1.2"]).unwrap();
        assert_eq!(facts.client.to_string(), expected, "{chain}");
    }
}

#[test]
fn responses_lose_what_is_about_the_upstream_connection() {
    let check = |method: Method, status: u16, given: &[(&str, &str)], expected: &[&str]| {
        let mut headers = HeaderMap::new();
        for (name, value) in given {
            headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
        }
        from_upstream(
            &method,
            StatusCode::from_u16(status).unwrap(),
            Version::HTTP_11,
            &mut headers,
            &Policy::default(),
        );
        let names: Vec<String> =
            headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
        assert_eq!(names, expected);
    };
    check(
        Method::GET,
        200,
        &[
            ("content-length", "5"),
            ("connection", "close, x-own"),
            ("x-own", "1"),
            ("keep-alive", "timeout=5"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("proxy-authenticate", "Basic"),
            ("trailer", "x-sum"),
        ],
        &["content-length: 5", "trailer: x-sum"],
    );
    check(Method::GET, 204, &[("content-length", "5")], &[]);
    check(Method::GET, 304, &[("content-length", "5")], &["content-length: 5"]);
    check(Method::HEAD, 200, &[("content-length", "5")], &["content-length: 5"]);
    let mut headers = HeaderMap::new();
    let policy = Policy { response_via: true, ..Policy::default() };
    from_upstream(&Method::GET, StatusCode::OK, Version::HTTP_10, &mut headers, &policy);
    assert_eq!(headers[header::VIA], "1.0 gatewright");
}
