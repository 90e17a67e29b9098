#![allow(clippy::unwrap_used)]

use gatewright_sdk::{
    manifest,
    testing::{Codec, Double, Request},
};

use super::*;

fn gateway(config: &str) -> (Double, Redact) {
    let gateway = Double::new();
    let plugin = gateway.configure(config).unwrap();
    (gateway, plugin)
}

/// The result for a response in these chunks.
fn response(config: &str, kind: &str, chunks: &[&str]) -> Result<String, BodyDecision> {
    let (gateway, plugin) = gateway(config);
    gateway.receive(Request::get("/"));
    let _ = gateway.on_request(&plugin);
    gateway.respond(StatusCode::OK, &[("content-type", kind)]);
    assert_eq!(gateway.on_response(&plugin), Decision::Proceed);
    let chunks: Vec<&[u8]> = chunks.iter().map(|chunk| chunk.as_bytes()).collect();
    gateway.response_body(&plugin, &chunks).map(|body| String::from_utf8(body).unwrap())
}

const JSON: &str = "application/json";

#[test]
fn fields_and_patterns_of_json() {
    for (config, body, expected) in [
        (r#"{ "fields": ["/password"] }"#, r#"{"password":"x","n":1.0}"#, r#"{"password":"[redacted]","n":1.0}"#),
        (
            r#"{ "fields": ["/**/pin"] }"#,
            r#"{"a":[{"pin":[1,2]}],"pin":null}"#,
            r#"{"a":[{"pin":"[redacted]"}],"pin":"[redacted]"}"#,
        ),
        (r#"{ "fields": ["/a"] }"#, r#"{"a":1,"a":2}"#, r#"{"a":"[redacted]","a":"[redacted]"}"#),
        (r#"{ "fields": ["/a"], "mask": "" }"#, r#"{"a":1}"#, r#"{"a":""}"#),
        (r#"{ "patterns": ["email"] }"#, r#"{"to":["ada\u0040example.org"]}"#, r#"{"to":["[redacted]"]}"#),
        (r#"{ "patterns": ["card"] }"#, r#"{"card":4111111111111111}"#, r#"{"card":"[redacted]"}"#),
        (r#"{ "patterns": [{ "regex": "\\bsecret-\\w+" }] }"#, r#""a secret-1 b""#, r#""a [redacted] b""#),
        (
            r#"{ "fields": ["/none"], "patterns": ["email"] }"#,
            r#"{ "kept" : "as it is" }"#,
            r#"{ "kept" : "as it is" }"#,
        ),
    ] {
        assert_eq!(response(config, JSON, &[body]).as_deref(), Ok(expected), "{config}");
    }
}

#[test]
fn text_is_masked_wherever_the_chunks_end() {
    let text = "mail ada@example.org\nor bob@example.org now\nlast line eve@example.org";
    let expected = text.replace("ada@example.org", "#").replace("bob@example.org", "#").replace("eve@example.org", "#");
    let config = r##"{ "patterns": ["email"], "mask": "#" }"##;
    for size in [1, 2, 7, 30, 1000] {
        let chunks: Vec<&str> = text.as_bytes().chunks(size).map(|chunk| std::str::from_utf8(chunk).unwrap()).collect();
        assert_eq!(response(config, "text/plain", &chunks).as_deref(), Ok(expected.as_str()), "{size}");
    }
    let long = format!("{} ada@example.org\nend", "x".repeat(100_000));
    let chunks: Vec<&str> = long.as_bytes().chunks(5000).map(|chunk| std::str::from_utf8(chunk).unwrap()).collect();
    let masked = response(config, "text/plain", &chunks).unwrap();
    assert_eq!(masked, long.replace("ada@example.org", "#"));
}

#[test]
fn each_line_goes_on_as_soon_as_it_is_there() {
    let (gateway, plugin) = gateway(r##"{ "patterns": ["email"], "fields": ["/to"], "mask": "#" }"##);
    gateway.receive(Request::get("/"));
    let _ = gateway.on_request(&plugin);
    gateway.respond(StatusCode::OK, &[("content-type", "text/event-stream")]);
    let _ = gateway.on_response(&plugin);
    assert_eq!(gateway.body_mode(Direction::Response), BodyMode::Chunks);
    let events = ["data: {\"to\":\"x\",\"n\":1.50}\n\n", "data: ada@example.org\n\nda", "ta: b\n\n"];
    let events: Vec<&[u8]> = events.iter().map(|event| event.as_bytes()).collect();
    let sent = String::from_utf8(gateway.response_body(&plugin, &events).unwrap()).unwrap();
    assert_eq!(sent, "data: {\"to\":\"#\",\"n\":1.50}\n\ndata: #\n\ndata: b\n\n");
}

#[test]
fn what_cannot_be_looked_into_goes_nowhere() {
    let config = r#"{ "fields": ["/a"], "request": true }"#;
    for body in ["{", "<html>", &"[".repeat(10_000)] {
        match response(config, JSON, &[body]) {
            Err(BodyDecision::Respond(response)) => assert_eq!(response.status, StatusCode::BAD_GATEWAY),
            other => panic!("{other:?}"),
        }
    }
    let (gateway, plugin) = gateway(config);
    gateway.receive(Request::get("/"));
    gateway.respond(StatusCode::OK, &[("content-type", JSON), ("content-encoding", "lzma")]);
    assert!(
        matches!(gateway.on_response(&plugin), Decision::Respond(response) if response.status == StatusCode::BAD_GATEWAY)
    );
    gateway.receive(Request::post("/").header("content-type", JSON).header("content-encoding", "gzip, gzip"));
    assert!(
        matches!(gateway.on_request(&plugin), Decision::Respond(response) if response.status == StatusCode::BAD_REQUEST)
    );
}

/// A later plugin changes the content type, after this one has decided.
fn relabel(gateway: &Double, direction: Direction, kind: &str) {
    gateway.behind(direction, |exchange| {
        let headers = match direction {
            Direction::Request => exchange.request_headers(),
            Direction::Response => exchange.response_headers(),
        };
        headers.set("content-type", kind).unwrap();
    });
}

#[test]
fn what_others_say_of_a_body_afterwards_does_not_switch_masking_off() {
    let (gateway, plugin) = gateway(r##"{ "request": true, "fields": ["/pin"], "patterns": ["email"], "mask": "#" }"##);
    let pretty = b"{\n  \"pin\": 1\n}";
    for other in ["text/plain", "image/png"] {
        gateway.receive(Request::post("/").header("content-type", JSON));
        assert_eq!(gateway.on_request(&plugin), Decision::Proceed);
        relabel(&gateway, Direction::Request, other);
        assert_eq!(gateway.request_body(&plugin, &[pretty]).unwrap(), br##"{"pin":"#"}"##, "{other}");
        gateway.respond(StatusCode::OK, &[("content-type", JSON)]);
        assert_eq!(gateway.on_response(&plugin), Decision::Proceed);
        relabel(&gateway, Direction::Response, other);
        assert_eq!(gateway.response_body(&plugin, &[pretty]).unwrap(), br##"{"pin":"#"}"##, "{other}");
    }
    gateway.receive(Request::post("/").header("content-type", "text/plain"));
    let _ = gateway.on_request(&plugin);
    relabel(&gateway, Direction::Request, JSON);
    assert_eq!(gateway.request_body(&plugin, &[b"no JSON, ada@example.org"]).unwrap(), b"no JSON, #");
}

#[test]
fn a_body_with_several_types_goes_nowhere() {
    let (gateway, plugin) = gateway(r#"{ "request": true, "fields": ["/pin"] }"#);
    for other in [JSON, "image/png"] {
        gateway.receive(Request::post("/").header("content-type", JSON).header("content-type", other));
        assert!(
            matches!(gateway.on_request(&plugin), Decision::Respond(response) if response.status == StatusCode::BAD_REQUEST)
        );
        gateway.receive(Request::get("/"));
        gateway.respond(StatusCode::OK, &[("content-type", other), ("content-type", JSON)]);
        assert!(
            matches!(gateway.on_response(&plugin), Decision::Respond(response) if response.status == StatusCode::BAD_GATEWAY)
        );
    }
}

#[test]
fn what_is_compressed_is_opened() {
    let (gateway, plugin) = gateway(r#"{ "patterns": ["email"] }"#);
    gateway.receive(Request::get("/").header("accept-encoding", "br"));
    let _ = gateway.on_request(&plugin);
    assert_eq!(gateway.request_header("accept-encoding").as_deref(), Some("identity"));
    gateway.respond(StatusCode::OK, &[("content-type", "text/html"), ("content-encoding", "gzip"), ("etag", "\"a\"")]);
    let _ = gateway.on_response(&plugin);
    assert_eq!(gateway.codecs(), [(Direction::Response, Codec::Decompress { coding: Coding::Gzip, bounds: BOUNDS })]);
    assert_eq!(
        (gateway.response_header("content-encoding"), gateway.response_header("etag").as_deref()),
        (None, Some("W/\"a\""))
    );
}

#[test]
fn all_of_a_body_is_asked_for_and_no_part_passes() {
    for (config, is_whole) in [
        (r#"{ "patterns": ["email"] }"#, true),
        (r#"{ "headers": ["x-secret"] }"#, false),
        (r#"{ "patterns": ["email"], "request": true, "response": false }"#, false),
    ] {
        let (gateway, plugin) = gateway(config);
        gateway.receive(Request::get("/").header("range", "bytes=0-5").header("if-range", "\"a\""));
        assert_eq!(gateway.on_request(&plugin), Decision::Proceed);
        let asked = ["range", "if-range"].map(|name| gateway.request_header(name));
        assert_eq!(asked.iter().all(Option::is_none), is_whole, "{config} {asked:?}");
        for (status, headers) in [
            (StatusCode::PARTIAL_CONTENT, vec![("content-type", "text/plain"), ("content-range", "bytes 0-5/9")]),
            (StatusCode::PARTIAL_CONTENT, vec![("content-type", "multipart/byteranges; boundary=b")]),
        ] {
            gateway.respond(status, &headers);
            match gateway.on_response(&plugin) {
                Decision::Respond(response) => assert_eq!((response.status, is_whole), (StatusCode::BAD_GATEWAY, true)),
                other => assert_eq!((other, is_whole), (Decision::Proceed, false), "{config} {headers:?}"),
            }
        }
        for status in [StatusCode::RANGE_NOT_SATISFIABLE, StatusCode::OK] {
            gateway.respond(status, &[("content-type", "text/plain"), ("content-range", "bytes */9")]);
            assert_eq!(gateway.on_response(&plugin), Decision::Proceed, "{status} has no part");
        }
    }
}

#[test]
fn text_whose_ascii_is_elsewhere_goes_nowhere() {
    for (kind, is_read) in [
        ("text/plain; charset=UTF-8", true),
        ("text/plain; charset=\"us-ascii\"", true),
        ("text/html;charset=ISO-8859-1", true),
        ("text/html;charset=latin1", true),
        ("text/xml; charset=windows-1252; x=y", true),
        ("text/plain; charset=utf-16", false),
        ("text/plain; charset=\"UTF-16LE\"", false),
        ("text/plain; Charset = utf-32", false),
        ("text/plain; charset=utf-8; charset=utf-16", false),
        ("text/html; charset=utf-7", false),
        ("text/plain; charset=", false),
        ("application/json; charset=utf-16", false),
        ("image/svg; charset=utf-16", true),
    ] {
        let (gateway, plugin) = gateway(r#"{ "patterns": ["email"], "request": true }"#);
        gateway.receive(Request::post("/").header("content-type", kind));
        let request = gateway.on_request(&plugin);
        gateway.respond(StatusCode::OK, &[("content-type", kind)]);
        for (decision, status) in
            [(request, StatusCode::BAD_REQUEST), (gateway.on_response(&plugin), StatusCode::BAD_GATEWAY)]
        {
            match decision {
                Decision::Respond(response) => assert_eq!((response.status, is_read), (status, false), "{kind}"),
                other => assert_eq!((other, is_read), (Decision::Proceed, true), "{kind}"),
            }
        }
    }
}

#[test]
fn a_head_describes_what_a_get_would_bring() {
    for (kind, is_changed) in [(JSON, true), ("text/plain", true), ("image/png", false)] {
        let (gateway, plugin) = gateway(r#"{ "patterns": ["email"] }"#);
        gateway.receive(Request::new(Method::HEAD, "/"));
        assert_eq!(gateway.on_request(&plugin), Decision::Proceed);
        gateway.respond(StatusCode::OK, &[("content-type", kind), ("content-length", "9"), ("etag", "\"a\"")]);
        assert_eq!(gateway.on_bodyless_response(&plugin), Decision::Proceed);
        let told = ["content-length", "etag"].map(|name| gateway.response_header(name).unwrap_or_default());
        assert_eq!(told, if is_changed { ["", "W/\"a\""] } else { ["9", "\"a\""] }, "{kind}");
        assert_eq!(gateway.body_mode(Direction::Response), BodyMode::Skip);
    }
}

#[test]
fn requests_and_headers() {
    let (gateway, plugin) =
        gateway(r#"{ "request": true, "response": false, "fields": ["/pin"], "headers": ["X-Secret"] }"#);
    gateway.receive(Request::post("/").header("content-type", JSON).header("x-secret", "1").header("x-secret", "2"));
    let _ = gateway.on_request(&plugin);
    assert_eq!(gateway.header_values(gatewright_sdk::Section::RequestHeaders, "x-secret"), ["[redacted]"]);
    assert_eq!(gateway.request_body(&plugin, &[br#"{"pin":1}"#]).unwrap(), br#"{"pin":"[redacted]"}"#);
    gateway.respond(StatusCode::OK, &[("content-type", JSON), ("x-secret", "1")]);
    let _ = gateway.on_response(&plugin);
    assert_eq!(gateway.response_header("x-secret").as_deref(), Some("1"));
    assert_eq!(gateway.body_mode(Direction::Response), BodyMode::Skip);
}

#[test]
fn other_types_go_by() {
    for kind in ["image/png", "application/octet-stream", ""] {
        let (gateway, plugin) = gateway(r#"{ "patterns": ["email"] }"#);
        gateway.receive(Request::get("/"));
        gateway.respond(StatusCode::OK, &[("content-type", kind)]);
        let _ = gateway.on_response(&plugin);
        assert_eq!(gateway.body_mode(Direction::Response), BodyMode::Skip, "{kind}");
    }
}

#[test]
fn bad_configurations_are_refused_by_name() {
    for (config, named) in [
        (r#"{ "fields": ["/a", "b"] }"#, "fields.1"),
        (r#"{ "patterns": [{ "regex": "(" }] }"#, "patterns.0"),
        (r#"{ "patterns": [{ "regex": "x*" }] }"#, "patterns.0"),
        (r#"{ "headers": ["content-length"] }"#, "headers"),
        (r#"{ "mask": "\n" }"#, "mask"),
        (r#"{}"#, "fields, patterns and headers"),
        (r##"{ "mask": "#", "request": true }"##, "fields, patterns and headers"),
        (r#"{ "fields": ["/a"], "response": false }"#, "response"),
        (r#"{ "masks": "x" }"#, "masks"),
    ] {
        let refused = Double::new().configure::<Redact>(config).unwrap_err();
        assert!(refused.contains(named), "{config}: {refused}");
    }
    assert!(Double::new().configure::<Redact>(r#"{ "patterns": ["phone"] }"#).is_err());
    assert!(!manifest::<Redact>().contains("$ref"));
}
