#![allow(clippy::unwrap_used)]

use gatewright_sdk::{
    Method, manifest,
    serde_json::{self, Value, json},
    testing::{Codec, Double, Request},
};

use super::*;

const BOUNDS: Bounds = Bounds { bytes: 10 << 20, ratio: 100 };

fn gateway(config: &str) -> (Double, Decompress) {
    let gateway = Double::new();
    let plugin = gateway.configure(config).unwrap();
    (gateway, plugin)
}

/// The status (200 if the request goes on) and the decompressions asked for.
fn sent(config: &str, request: Request) -> (u16, Vec<(Direction, Codec)>) {
    let (gateway, plugin) = gateway(config);
    gateway.receive(request);
    let status = match gateway.on_request(&plugin) {
        Decision::Respond(response) => response.status.as_u16(),
        _ => 200,
    };
    (status, gateway.codecs())
}

fn encoded(coding: &str) -> Request {
    Request::post("/").header("content-encoding", coding)
}

fn taken_off(direction: Direction, coding: Coding) -> Vec<(Direction, Codec)> {
    vec![(direction, Codec::Decompress { coding, bounds: BOUNDS })]
}

#[test]
fn requests_are_decompressed_or_refused() {
    for (coding, expected) in [
        ("gzip", Some(Coding::Gzip)),
        ("X-GZIP", Some(Coding::Gzip)),
        (" br ", Some(Coding::Br)),
        ("zstd, identity", Some(Coding::Zstd)),
    ] {
        let expected = expected.map(|coding| taken_off(Direction::Request, coding)).unwrap_or_default();
        assert_eq!(sent("{}", encoded(coding)), (200, expected), "{coding}");
    }
    for coding in ["identity", "", ","] {
        assert_eq!(sent("{}", encoded(coding)), (200, vec![]), "{coding}");
    }
    for coding in ["deflate", "gzip, gzip", "gzip, br", "unknown", "gzip;q=1"] {
        assert_eq!(sent("{}", encoded(coding)), (415, vec![]), "{coding}");
    }
    let twice = encoded("gzip").header("content-encoding", "gzip");
    assert_eq!(sent("{}", twice), (415, vec![]));
    assert_eq!(sent("{}", Request::post("/").header_bytes("content-encoding", b"\xff")), (415, vec![]));
    assert_eq!(sent(r#"{ "codings": ["gzip"] }"#, encoded("br")), (415, vec![]));
    assert_eq!(sent(r#"{ "request": false }"#, encoded("deflate")), (200, vec![]));
    let without_body = Request::new(Method::GET, "/").header("content-encoding", "gzip");
    assert_eq!(sent("{}", without_body), (200, vec![]));
}

#[test]
fn the_refusal_says_what_is_taken() {
    let (gateway, plugin) = gateway(r#"{ "codings": ["gzip", "br"] }"#);
    gateway.receive(encoded("zstd"));
    let Decision::Respond(response) = gateway.on_request(&plugin) else { panic!() };
    assert_eq!(response.header("accept-encoding"), Some("gzip, br"));
    assert_eq!(gateway.measures()[0].name, "refused");
}

#[test]
fn bounds_are_the_operator_s_and_the_headers_are_put_right() {
    let (gateway, plugin) = gateway(r#"{ "limit": "1MiB", "ratio": 20 }"#);
    gateway.receive(encoded("gzip").header("content-digest", "sha-256=:x:").header("content-type", "text/plain"));
    assert_eq!(gateway.on_request(&plugin), Decision::Proceed);
    let bounds = Bounds { bytes: 1 << 20, ratio: 20 };
    assert_eq!(gateway.codecs(), [(Direction::Request, Codec::Decompress { coding: Coding::Gzip, bounds })]);
    assert_eq!(gateway.request_header("content-encoding"), None);
    assert_eq!(gateway.request_header("content-digest"), None);
    assert_eq!(gateway.measures()[0].labels, ["request", "gzip"]);
}

#[test]
fn responses_are_decompressed_for_those_who_cannot() {
    let answer = |config: &str, accept: Option<&str>, status: StatusCode, headers: &[(&str, &str)]| {
        let (gateway, plugin) = gateway(config);
        gateway.receive(accept.map_or(Request::get("/"), |accept| Request::get("/").header("accept-encoding", accept)));
        let _ = gateway.on_request(&plugin);
        gateway.respond(status, headers);
        assert_eq!(gateway.on_response(&plugin), Decision::Proceed);
        (gateway.codecs(), gateway.response_header("vary"))
    };
    let vary = Some("accept-encoding".to_owned());
    let gzip = ("content-encoding", "gzip");
    let off = || taken_off(Direction::Response, Coding::Gzip);
    let ok = StatusCode::OK;
    assert_eq!(answer("{}", None, ok, &[gzip]), (off(), vary.clone()));
    assert_eq!(answer("{}", Some("br"), ok, &[gzip]), (off(), vary.clone()));
    assert_eq!(answer("{}", Some("gzip;q=0"), ok, &[gzip]), (off(), vary.clone()));
    assert_eq!(answer("{}", Some("gzip"), ok, &[gzip]), (vec![], vary.clone()));
    assert_eq!(answer("{}", Some("*"), ok, &[gzip]), (vec![], vary.clone()));
    assert_eq!(answer(r#"{ "response": "all" }"#, Some("gzip"), ok, &[gzip]), (off(), None));
    assert_eq!(answer(r#"{ "response": "none" }"#, None, ok, &[gzip]), (vec![], None));
    assert_eq!(answer("{}", None, ok, &[]), (vec![], None));
    assert_eq!(answer("{}", None, ok, &[("content-encoding", "deflate")]), (vec![], None), "it is none of ours");
    assert_eq!(answer("{}", None, StatusCode::PARTIAL_CONTENT, &[gzip]), (vec![], vary.clone()));
    assert_eq!(answer("{}", None, ok, &[gzip, ("cache-control", "no-transform")]), (vec![], vary));
}

#[test]
fn bad_configurations_are_refused_by_name() {
    for (config, named) in [
        (r#"{ "codings": [] }"#, "codings"),
        (r#"{ "codings": ["lzma"] }"#, "lzma"),
        (r#"{ "ratio": 0 }"#, "ratio"),
        (r#"{ "limit": "5" }"#, "\"5\""),
        (r#"{ "response": "some" }"#, "some"),
        (r#"{ "limits": "5B" }"#, "limits"),
    ] {
        let refused = Double::new().configure::<Decompress>(config).unwrap_err();
        assert!(refused.contains(named), "{config}: {refused}");
    }
}

#[test]
fn the_schema_has_the_defaults() {
    let manifest: Value = serde_json::from_str(&manifest::<Decompress>()).unwrap();
    let properties = &manifest["config-schema"]["properties"];
    assert_eq!(properties["limit"]["default"], json!("10MiB"));
    assert_eq!(properties["response"]["default"], json!("not-accepted"));
}
