#![allow(clippy::unwrap_used)]

use gatewright_sdk::{
    Section, manifest,
    serde_json::{self, Value, json},
    testing::{Double, Request},
};

use super::*;

const APP: &str = r#"{ "origins": ["https://app.example.com", "https://*.example.org"], "methods": ["GET", "PUT"],
    "headers": ["X-One", "x-two"], "expose": ["X-Total"], "credentials": true, "max_age": "1h" }"#;
const ANY: &str = r#"{ "origins": ["*"], "methods": ["*"], "headers": ["*"], "expose": ["*"] }"#;
const EVERY_HTTPS: &str = r#"{ "origins": ["https://*"], "methods": ["*"], "headers": ["*"], "credentials": true }"#;

fn preflight(origin: &str, method: &str) -> Request {
    Request::new(Method::OPTIONS, "/a").header("origin", origin).header(REQUEST_METHOD, method)
}

/// The plugin's response to a preflight, or what it leaves of an upstream's response with CORS headers.
fn answer(config: &str, request: Request) -> (u16, Vec<(String, String)>) {
    let gateway = Double::new();
    let cors: Cors = gateway.configure(config).unwrap();
    gateway.receive(request);
    match gateway.on_request(&cors) {
        Decision::Respond(response) => (response.status.as_u16(), response.headers),
        Decision::Proceed => {
            let theirs = [(ALLOW_ORIGIN, "https://upstream.test"), (ALLOW_CREDENTIALS, "true"), (EXPOSE, "x-theirs")];
            gateway.respond(StatusCode::OK, &[&theirs[..], &[("vary", "Accept")]].concat());
            assert_eq!(gateway.on_response(&cors), Decision::Proceed);
            let names = [ALLOW_ORIGIN, ALLOW_CREDENTIALS, EXPOSE, "vary"];
            let values = |name: &str| gateway.header_values(Section::ResponseHeaders, name);
            let pairs = names.iter().flat_map(|name| values(name).into_iter().map(|value| ((*name).to_owned(), value)));
            (0, pairs.collect())
        }
        Decision::Abort => panic!("it aborted"),
    }
}

fn check(config: &str, request: Request, status: u16, expected: &[(&str, &str)]) {
    let (answered, headers) = answer(config, request);
    let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!((answered, headers.as_slice()), (status, expected), "{config}");
}

#[test]
fn a_preflight_is_answered_with_what_the_operator_allows() {
    let asks = preflight("https://app.example.com", "PUT").header(REQUEST_HEADERS, "x-one");
    let allowed = [
        (ALLOW_ORIGIN, "https://app.example.com"),
        (ALLOW_METHODS, "GET, PUT"),
        (ALLOW_HEADERS, "x-one, x-two"),
        (ALLOW_CREDENTIALS, "true"),
        (MAX_AGE, "3600"),
        (EXPOSE, "x-total"),
        ("vary", PREFLIGHT_VARY),
    ];
    check(APP, asks, 204, &allowed);
    let bare = [
        (ALLOW_ORIGIN, "https://app.example.com"),
        (ALLOW_METHODS, "GET, HEAD, POST"),
        (MAX_AGE, "5"),
        ("vary", PREFLIGHT_VARY),
    ];
    let least = r#"{ "origins": ["https://app.example.com"] }"#;
    check(least, preflight("https://app.example.com", "DELETE").header(REQUEST_HEADERS, "x-one"), 204, &bare);
}

#[test]
fn stars_are_stars_where_they_stand_for_any_name_and_otherwise_what_is_asked_for() {
    let asks = |origin: &str| preflight(origin, "PATCH").header(REQUEST_HEADERS, "x-one, authorization");
    let stars = [
        (ALLOW_ORIGIN, "*"),
        (ALLOW_METHODS, "*"),
        (ALLOW_HEADERS, "x-one, authorization"),
        (MAX_AGE, "5"),
        (EXPOSE, "*"),
        ("vary", PREFLIGHT_VARY),
    ];
    check(ANY, asks("https://anything.test:8443"), 204, &stars);
    check(ANY, asks("null"), 204, &stars);
    let named = [
        (ALLOW_ORIGIN, "https://anything.test"),
        (ALLOW_METHODS, "PATCH"),
        (ALLOW_HEADERS, "x-one, authorization"),
        (ALLOW_CREDENTIALS, "true"),
        (MAX_AGE, "5"),
        ("vary", PREFLIGHT_VARY),
    ];
    check(EVERY_HTTPS, asks("https://anything.test"), 204, &named);
    // Values that are not lists of names are not echoed.
    for (method, headers) in [("PATCH\t", "x-one;y"), ("P@TCH", "x-one,,x-two"), ("", "\"x\"")] {
        let odd = preflight("https://anything.test", method).header(REQUEST_HEADERS, headers);
        let (status, headers) = answer(EVERY_HTTPS, odd);
        assert_eq!(status, 204);
        assert!(headers.iter().all(|(name, _)| name != ALLOW_HEADERS), "{headers:?}");
    }
    let long = format!("x-{}", "a".repeat(LONGEST_LIST_BYTES));
    let (_, headers) = answer(EVERY_HTTPS, preflight("https://a.test", "GET").header(REQUEST_HEADERS, &long));
    assert!(headers.iter().all(|(name, _)| name != ALLOW_HEADERS));
}

#[test]
fn an_origin_that_is_not_meant_gets_no_say() {
    let refused = [("content-type", "application/problem+json"), ("vary", PREFLIGHT_VARY)];
    let plain = [("vary", "Accept"), ("vary", "Origin")];
    for origin in [
        "null",
        "https://evil-example.com",
        "https://app.example.com.evil.com",
        "https://evil-example.org",
        "https://example.org",
        "https://evil.com/.example.org",
        "http://app.example.com",
        "https://app.example.com:444",
        "HTTPS://APP.EXAMPLE.COM",
        "https://app.example.com https://evil.com",
        "",
    ] {
        check(APP, preflight(origin, "GET"), 403, &refused);
        check(APP, Request::get("/a").header("origin", origin), 0, &plain);
    }
    let twice = |request: Request| {
        request.header("origin", "https://app.example.com").header("origin", "https://app.example.com")
    };
    check(APP, twice(Request::new(Method::OPTIONS, "/a").header(REQUEST_METHOD, "GET")), 403, &refused);
    check(APP, twice(Request::get("/a")), 0, &plain);
    check(APP, Request::get("/a"), 0, &plain);
    check(APP, Request::get("/a").header_bytes("origin", b"https://\xff.example.org"), 0, &plain);
}

#[test]
fn a_response_says_who_may_read_it_in_place_of_the_upstream() {
    let vary = [("vary", "Accept"), ("vary", "Origin")];
    let mine = [(ALLOW_ORIGIN, "https://a.b.example.org"), (ALLOW_CREDENTIALS, "true"), (EXPOSE, "x-total")];
    check(APP, Request::get("/a").header("origin", "https://a.b.example.org"), 0, &[&mine[..], &vary].concat());
    let star = [(ALLOW_ORIGIN, "*"), (EXPOSE, "*"), ("vary", "Accept")];
    check(ANY, Request::get("/a").header("origin", "https://a.test"), 0, &star);
    check(ANY, Request::get("/a"), 0, &star);
    let every = [(ALLOW_ORIGIN, "https://a.test:1"), (ALLOW_CREDENTIALS, "true")];
    check(EVERY_HTTPS, Request::get("/a").header("origin", "https://a.test:1"), 0, &[&every[..], &vary].concat());
}

#[test]
fn only_a_preflight_is_answered() {
    let origin = "https://app.example.com";
    for request in [
        Request::new(Method::OPTIONS, "/a").header("origin", origin),
        Request::new(Method::OPTIONS, "/a").header(REQUEST_METHOD, "GET"),
        preflight(origin, "GET"),
        Request::new(Method::GET, "/a").header("origin", origin).header(REQUEST_METHOD, "GET"),
    ]
    .into_iter()
    .zip([0, 0, 204, 0])
    {
        assert_eq!(answer(APP, request.0).0, request.1);
    }
}

#[test]
fn a_private_network_is_reached_only_where_the_operator_says_so() {
    let asks = || preflight("https://a.test", "GET").header(REQUEST_PRIVATE_NETWORK, "true");
    let allows = |config: &str, request: Request| {
        answer(config, request).1.iter().any(|(name, value)| name == ALLOW_PRIVATE_NETWORK && value == "true")
    };
    let private = r#"{ "origins": ["https://a.test"], "private_network": true }"#;
    assert!(allows(private, asks()));
    assert!(!allows(private, preflight("https://a.test", "GET")));
    assert!(!allows(r#"{ "origins": ["https://a.test"] }"#, asks()));
    assert!(!allows(private, preflight("https://b.test", "GET").header(REQUEST_PRIVATE_NETWORK, "true")));
}

#[test]
fn what_would_let_everybody_in_or_says_nothing_is_refused_by_name() {
    for (config, named) in [
        (r#"{ "origins": ["*"], "credentials": true }"#, "\"https://*\""),
        (r#"{ "origins": ["https://a.test", "null"], "credentials": true }"#, "\"null\""),
        (r#"{ "origins": ["a.test"] }"#, "origins[0]: \"a.test\""),
        (r#"{ "origins": ["https://a.test"], "methods": ["get"] }"#, "\"get\""),
        (r#"{ "origins": ["https://a.test"], "methods": ["G T"] }"#, "\"G T\""),
        (r#"{ "origins": ["https://a.test"], "headers": ["x one"] }"#, "headers: \"x one\""),
        (r#"{ "origins": ["https://a.test"], "expose": [""] }"#, "expose: \"\""),
        (r#"{ "origins": ["https://a.test"], "expose": ["*"], "credentials": true }"#, "expose: \"*\""),
        (r#"{ "origins": ["https://a.test"], "max_age": "2d" }"#, "max_age"),
        (r#"{ "origins": ["https://a.test"], "max_age": "1500ms" }"#, "max_age"),
        (r#"{}"#, "origins"),
        (r#"{ "origins": ["https://a.test"], "allow": [] }"#, "allow"),
    ] {
        let refused = Double::new().configure::<Cors>(config).unwrap_err();
        assert!(refused.contains(named), "{config}: {refused}");
    }
}

#[test]
fn the_schema_says_what_is_taken() {
    let manifest: Value = serde_json::from_str(&manifest::<Cors>()).unwrap();
    let schema = &manifest["config-schema"];
    assert_eq!(schema["required"], json!(["origins"]));
    assert_eq!(schema["properties"]["methods"]["default"], json!(["GET", "HEAD", "POST"]));
    assert_eq!(schema["additionalProperties"], json!(false));
}
