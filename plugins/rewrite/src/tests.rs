#![allow(clippy::unwrap_used)]

use gatewright_sdk::{
    manifest,
    testing::{Double, Request},
};

use super::*;

fn gateway(rules: &str) -> (Double, Rewrite) {
    let gateway = Double::new();
    let plugin = gateway.configure(&format!(r#"{{ "rules": [{rules}] }}"#)).unwrap();
    (gateway, plugin)
}

/// The target after these rules; the status if the request is refused.
fn rewritten(rules: &str, request: Request) -> Result<String, u16> {
    let (gateway, plugin) = gateway(rules);
    gateway.receive(request);
    match gateway.on_request(&plugin) {
        Decision::Proceed => Ok(gateway.path()),
        Decision::Respond(response) => Err(response.status.as_u16()),
        Decision::Abort => panic!(),
    }
}

#[test]
fn paths_and_queries() {
    for (rule, from, to) in [
        (r#"{ "path": "/new" }"#, "/old?a=1", "/new?a=1"),
        (r#"{ "when": { "path": "/old/(?<rest>.*)" }, "path": "/new/$(rest)" }"#, "/old/a%20b/c?d", "/new/a%20b/c?d"),
        (r#"{ "when": { "path": "/old" }, "path": "/new" }"#, "/old/a", "/old/a"),
        (r#"{ "when": { "query": { "v": "(?<v>[0-9]+)" } }, "path": "/v$(v)" }"#, "/a?v=2", "/v2?v=2"),
        (r#"{ "when": { "query": { "v": ".*" } }, "path": "/b" }"#, "/a?w=2", "/a?w=2"),
        (r#"{ "when": { "without_query": ["v"] }, "query": { "set": { "v": "1" } } }"#, "/a", "/a?v=1"),
        (r#"{ "when": { "without_query": ["v"] }, "query": { "set": { "v": "1" } } }"#, "/a?v", "/a?v"),
        (r#"{ "query": { "set": { "a": "x y&z" } } }"#, "/?a=1&b=2&a=3", "/?a=x%20y%26z&b=2"),
        (r#"{ "query": { "append": { "a": "2" } } }"#, "/?a=1", "/?a=1&a=2"),
        (r#"{ "query": { "remove": ["a", "ä b"] } }"#, "/?a=1&b=2&%C3%A4+b=3", "/?b=2"),
        (r#"{ "query": { "remove": ["a"] } }"#, "/?a=1", "/"),
        (r#"{ "query": { "rename": { "a": "c" } } }"#, "/?a=%31&a&b=2", "/?c=%31&c&b=2"),
        (r#"{ "query": { "keep": ["b"] } }"#, "/?a=1&b=2&c=3", "/?b=2"),
        (
            r#"{ "when": { "path": "/(?<id>[^/]+)" }, "path": "/", "query": { "set": { "id": "$(id)" } } }"#,
            "/a%2Fb",
            "/?id=a%2Fb",
        ),
        (r#"{ "path": "/x" }, { "when": { "path": "/x" }, "path": "/y" }"#, "/a", "/y"),
        (r#"{ "path": "/x", "last": true }, { "path": "/y" }"#, "/a", "/x"),
        (r#"{ "when": { "path": "/never" }, "path": "/x", "last": true }, { "path": "/y" }"#, "/a", "/y"),
        (r#"{ "path": "/a$$(b)$$" }"#, "/", "/a$(b)$$"),
        (r#"{ "path": "/a%241$-" }"#, "/", "/a%241$-"),
    ] {
        assert_eq!(rewritten(rule, Request::get(from)).as_deref(), Ok(to), "{rule} {from}");
    }
}

#[test]
fn conditions_on_headers_methods_and_hosts() {
    let request = || Request::get("/a").authority("Shop.Example:8080").header("x-v", "1").header("x-v", "2");
    for (when, meets) in [
        (r#""headers": { "X-V": "2" }"#, true),
        (r#""headers": { "x-v": "[12]{2}" }"#, false),
        (r#""headers": { "x-none": ".*" }"#, false),
        (r#""headers": { "x-v": "1", "x-none": "" }"#, false),
        (r#""without_headers": ["x-none"]"#, true),
        (r#""without_headers": ["x-v"]"#, false),
        (r#""methods": ["GET", "HEAD"]"#, true),
        (r#""methods": ["get"]"#, false),
        (r#""host": "shop\\.example(:\\d+)?""#, true),
        (r#""host": "shop""#, false),
    ] {
        let rule = format!(r#"{{ "when": {{ {when} }}, "path": "/met" }}"#);
        assert_eq!(rewritten(&rule, request()).as_deref(), Ok(if meets { "/met" } else { "/a" }), "{when}");
    }
}

#[test]
fn what_a_client_chooses_brings_no_syntax_with_it() {
    for (value, path) in
        [("a/b?c#d", "/t/a%2Fb%3Fc%23d/x"), ("../..", "/t/..%2F../x"), ("", "/t//x"), ("ä", "/t/%C3%A4/x")]
    {
        let rule = r#"{ "when": { "headers": { "x-t": "(?<t>.*)" } }, "path": "/t/$(t)/x" }"#;
        assert_eq!(rewritten(rule, Request::get("/").header("x-t", value)).as_deref(), Ok(path), "{value}");
    }
    // The gateway refuses dot segments, and the plugin then refuses the request.
    for value in [".", ".."] {
        let rule = r#"{ "when": { "query": { "t": "(?<t>.*)" } }, "path": "/t/$(t)/x" }"#;
        assert_eq!(rewritten(rule, Request::get(&format!("/?t={value}"))), Err(400), "{value}");
    }
}

#[test]
fn methods_and_headers() {
    let (gateway, plugin) = gateway(
        r#"{ "when": { "headers": { "x-http-method": "(?<m>PATCH)" } }, "method": "PATCH",
             "headers": { "remove": ["X-HTTP-Method"], "set": { "x-was": "$(m) by $(identity.subject)" }, "append": { "x-b": "2" } } }"#,
    );
    gateway.receive(Request::get("/").header("x-http-method", "PATCH").header("x-b", "1").identity("ada", "{}"));
    assert_eq!(gateway.on_request(&plugin), Decision::Proceed);
    assert_eq!((gateway.method().as_str(), gateway.request_header("x-http-method")), ("PATCH", None));
    assert_eq!(gateway.request_header("x-was").as_deref(), Some("PATCH by ada"));
    assert_eq!(gateway.header_values(gatewright_sdk::Section::RequestHeaders, "x-b"), ["1", "2"]);
}

#[test]
fn a_header_that_cannot_be_is_not_sent_on() {
    let rule = r#"{ "when": { "query": { "t": "(?s)(?<t>.*)" } }, "headers": { "set": { "x-t": "$(t)" } } }"#;
    assert_eq!(rewritten(rule, Request::get("/?t=a%0d%0ax-admin:%20true")), Err(400));
}

#[test]
fn long_texts_are_not_searched() {
    let rule = r#"{ "when": { "headers": { "x-a": "(a*)*b?" } }, "path": "/met" }"#;
    assert_eq!(rewritten(rule, Request::get("/").header("x-a", &"a".repeat(8 << 10))).as_deref(), Ok("/met"));
    assert_eq!(rewritten(rule, Request::get("/").header("x-a", &"a".repeat(9 << 10))).as_deref(), Ok("/"));
}

#[test]
fn bad_configurations_are_refused_by_name() {
    for (rule, named) in [
        (r#"{ "when": { "path": "(" } }"#, "rules.0.when.path"),
        (r#"{ "path": "/" }, { "when": { "headers": { "x": "[" } } }"#, "rules.1.when.headers"),
        (r#"{ "when": { "headers": { "x y": "a" } } }"#, "rules.0.when.headers"),
        (r#"{ "when": { "query": { "x": "*" } } }"#, "rules.0.when.query"),
        (r#"{ "when": { "without_headers": [""] } }"#, "without_headers"),
        (r#"{ "when": { "path": "(a{1000}){1000}" } }"#, "rules.0.when.path"),
        (r#"{ "method": "CONNECT" }"#, "rules.0.method"),
        (r#"{ "method": "A B" }"#, "rules.0.method"),
        (r#"{ "path": "new" }"#, "rules.0.path"),
        (r#"{ "path": "/$(a" }"#, "rules.0.path"),
        (r#"{ "when": { "path": "/(.*)" }, "path": "/f/$1" }"#, "a named group is written \"$(name)\""),
        (r#"{ "path": "/f/$id" }"#, "rules.0.path"),
        (r#"{ "when": { "path": "/(?<id>.*)" }, "path": "/$(idd)" }"#, "rules.0.path: \"/$(idd)\" has $(idd), which"),
        (r#"{ "when": { "path": "/(?<id>.*)" } }, { "path": "/$(id)" }"#, "rules.1.path"),
        (r#"{ "query": { "append": { "a": "$(source.adress)" } } }"#, "source.address"),
        (r#"{ "headers": { "set": { "x": "$(id)" } } }"#, "rules.0.headers.set"),
        (r#"{ "query": { "set": { "a": "$()" } } }"#, "rules.0.query.set"),
        (r#"{ "headers": { "set": { "content-length": "1" } } }"#, "rules.0.headers.set"),
        (r#"{ "headers": { "append": { "x": "\r\n" } } }"#, "rules.0.headers.append"),
        (r#"{ "to": "/" }"#, "to"),
    ] {
        let config = format!(r#"{{ "rules": [{rule}] }}"#);
        let refused = Double::new().configure::<Rewrite>(&config).unwrap_err();
        assert!(refused.contains(named), "{rule}: {refused}");
    }
    assert!(!manifest::<Rewrite>().contains("$ref"));
}
