#![allow(clippy::unwrap_used)]

use gatewright_sdk::{
    Section, manifest,
    serde_json::{self, Value, json},
    testing::{Codec, Double, Request},
};

use super::*;

fn gateway(config: &str) -> (Double, Compress) {
    let gateway = Double::new();
    let plugin = gateway.configure(config).unwrap();
    (gateway, plugin)
}

/// The coding and `Vary` of a response to a client that accepts `accept`.
fn compressed(
    config: &str,
    request: Request,
    status: StatusCode,
    headers: &[(&str, &str)],
) -> (Option<Coding>, Vec<String>) {
    let (gateway, plugin) = gateway(config);
    gateway.receive(request);
    assert_eq!(gateway.on_request(&plugin), Decision::Proceed);
    gateway.respond(status, headers);
    assert_eq!(gateway.on_response(&plugin), Decision::Proceed);
    let coding = gateway.codecs().first().map(|(direction, codec)| match (direction, codec) {
        (Direction::Response, Codec::Compress { coding, .. }) => *coding,
        other => panic!("{other:?}"),
    });
    if let Some(coding) = coding {
        assert_eq!(gateway.response_header("content-encoding").as_deref(), Some(coding.token()));
    }
    (coding, gateway.header_values(Section::ResponseHeaders, "vary"))
}

fn accepting(accept: &str) -> Request {
    Request::get("/").header("accept-encoding", accept)
}

const JSON: (&str, &str) = ("content-type", "application/json");
const OK: StatusCode = StatusCode::OK;

#[test]
fn the_coding_is_the_one_that_both_want_most() {
    for (config, accept, expected) in [
        ("{}", "gzip, deflate, br, zstd", Some(Coding::Zstd)),
        ("{}", "gzip, br", Some(Coding::Br)),
        ("{}", "gzip;q=0.9, br;q=0.8", Some(Coding::Gzip)),
        ("{}", "deflate", None),
        ("{}", "identity", None),
        (r#"{ "codings": ["gzip"] }"#, "gzip;q=0.1, br", Some(Coding::Gzip)),
        (r#"{ "codings": ["gzip", "br"] }"#, "br, gzip", Some(Coding::Gzip)),
        (r#"{ "codings": ["gzip"] }"#, "gzip;q=0, *", None),
    ] {
        let (coding, vary) = compressed(config, accepting(accept), OK, &[JSON]);
        assert_eq!((coding, vary), (expected, vec!["accept-encoding".to_owned()]), "{config} {accept}");
    }
    assert_eq!(compressed("{}", Request::get("/"), OK, &[JSON]), (None, vec!["accept-encoding".to_owned()]));
}

#[test]
fn what_is_not_worth_it_is_left_alone() {
    let accept = || accepting("gzip");
    for (status, headers) in [
        (OK, vec![]),
        (OK, vec![("content-type", "image/png")]),
        (OK, vec![JSON, ("content-length", "1023")]),
        (OK, vec![JSON, ("content-encoding", "br")]),
        (OK, vec![JSON, ("content-encoding", "unknown")]),
        (OK, vec![JSON, ("cache-control", "public, No-Transform")]),
        (OK, vec![JSON, ("content-range", "bytes 0-1/2")]),
        (StatusCode::PARTIAL_CONTENT, vec![JSON]),
        (StatusCode::NO_CONTENT, vec![JSON]),
    ] {
        assert_eq!(compressed("{}", accept(), status, &headers), (None, vec![]), "{status} {headers:?}");
    }
    for headers in [
        vec![JSON, ("content-length", "1024")],
        vec![JSON, ("content-encoding", "identity")],
        vec![JSON, ("cache-control", "max-age=1, x-no-transform")],
    ] {
        assert_eq!(compressed("{}", accept(), OK, &headers).0, Some(Coding::Gzip), "{headers:?}");
    }
}

#[test]
fn a_response_without_a_body_still_says_what_it_depends_on() {
    let vary = vec!["accept-encoding".to_owned()];
    let head = Request::new(Method::HEAD, "/").header("accept-encoding", "gzip");
    assert_eq!(compressed("{}", head, OK, &[JSON]), (None, vary.clone()));
    assert_eq!(compressed("{}", accepting("gzip"), StatusCode::NOT_MODIFIED, &[]), (None, vary));
}

#[test]
fn a_response_without_a_body_has_the_entity_tag_of_the_one_it_stands_for() {
    let (strong, weak) = ("\"a\"", "W/\"a\"");
    let held = |accept: &str, tags: &str| accepting(accept).header("if-none-match", tags);
    let head = |accept: &str| Request::new(Method::HEAD, "/").header("accept-encoding", accept);
    for (request, status, tag, expected) in [
        (head("gzip"), OK, strong, weak),
        (head("identity"), OK, strong, strong),
        (held("gzip", weak), StatusCode::NOT_MODIFIED, strong, weak),
        (held("gzip", "\"b\", W/\"a\""), StatusCode::NOT_MODIFIED, strong, weak),
        (held("gzip", weak), StatusCode::NOT_MODIFIED, weak, weak),
        (held("gzip", strong), StatusCode::NOT_MODIFIED, strong, strong),
        (held("gzip", "W/\"aa\", *"), StatusCode::NOT_MODIFIED, strong, strong),
        (held("identity", weak), StatusCode::NOT_MODIFIED, strong, strong),
    ] {
        let (gateway, plugin) = gateway("{}");
        let shown = format!("{request:?} {status}");
        gateway.receive(request);
        let _ = gateway.on_request(&plugin);
        let length = if status == OK { "5000" } else { "0" };
        gateway.respond(status, &[JSON, ("content-length", length), ("etag", tag)]);
        assert_eq!(gateway.on_response(&plugin), Decision::Proceed);
        assert_eq!(gateway.response_header("etag").as_deref(), Some(expected), "{shown}");
        assert_eq!(gateway.response_header("content-encoding"), None, "{shown}");
        assert!(gateway.codecs().is_empty(), "{shown}");
    }
}

#[test]
fn headers_tell_the_truth_about_the_new_bytes() {
    let (gateway, plugin) = gateway(r#"{ "levels": { "gzip": 9 } }"#);
    for (etag, weak) in [("\"a\"", "W/\"a\""), ("W/\"a\"", "W/\"a\"")] {
        gateway.receive(accepting("gzip"));
        let _ = gateway.on_request(&plugin);
        let headers =
            [JSON, ("etag", etag), ("accept-ranges", "bytes"), ("content-digest", "sha-256=:x:"), ("vary", "origin")];
        gateway.respond(OK, &headers);
        let _ = gateway.on_response(&plugin);
        assert_eq!(gateway.codecs(), [(Direction::Response, Codec::Compress { coding: Coding::Gzip, level: 9 })]);
        assert_eq!(gateway.response_header("etag").as_deref(), Some(weak));
        assert_eq!(gateway.response_header("accept-ranges"), None);
        assert_eq!(gateway.response_header("content-digest"), None);
        assert_eq!(gateway.header_values(Section::ResponseHeaders, "vary"), ["origin", "accept-encoding"]);
        assert_eq!(gateway.measures().last().unwrap().labels, ["gzip"]);
    }
    for vary in ["Accept-Encoding", "origin, ACCEPT-ENCODING", "*"] {
        let (_, fields) = compressed("{}", accepting("gzip"), OK, &[JSON, ("vary", vary)]);
        assert_eq!(fields, [vary], "it is said once");
    }
}

#[test]
fn what_later_plugins_make_of_the_request_changes_nothing() {
    let (gateway, plugin) = gateway("{}");
    gateway.receive(accepting("br"));
    let _ = gateway.on_request(&plugin);
    assert_eq!(gateway.state(), b"br");
}

#[test]
fn bad_configurations_are_refused_by_name() {
    for (config, named) in [
        (r#"{ "codings": [] }"#, "codings"),
        (r#"{ "codings": ["deflate"] }"#, "deflate"),
        (r#"{ "levels": { "gzip": 0 } }"#, "levels.gzip"),
        (r#"{ "levels": { "br": 10 } }"#, "levels.br"),
        (r#"{ "levels": { "deflate": 1 } }"#, "deflate"),
        (r#"{ "min_length": 5 }"#, "string"),
        (r#"{ "types": ["json"] }"#, "\"json\""),
        (r#"{ "type": [] }"#, "type"),
    ] {
        let refused = Double::new().configure::<Compress>(config).unwrap_err();
        assert!(refused.contains(named), "{config}: {refused}");
    }
}

#[test]
fn the_schema_knows_the_codings() {
    let manifest: Value = serde_json::from_str(&manifest::<Compress>()).unwrap();
    let codings = &manifest["config-schema"]["properties"]["codings"];
    assert_eq!(codings["default"], json!(["zstd", "br", "gzip"]));
    assert!(!manifest.to_string().contains("$ref"));
}
