#![allow(clippy::unwrap_used)]

mod nonces;

use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD};
use gatewright_sdk::{
    NoConfig, manifest,
    serde_json::{Value, json},
    testing::{Double, Request},
};

use super::*;

/// The test request of RFC 9421, appendix B.2.
fn of_the_rfc() -> Request {
    let digest = "sha-512=:WZDPaVn/7XgHaAy8pmojAkGWoRx2UFChF41A2svX+TaPm+AbwAgBWnrIiYllu7BNNyealdVLvRwEmTHWXvJwew==:";
    let request = Request::post("/foo?param=Value&Pet=dog").authority("example.com");
    let request = request.header("date", "Tue, 20 Apr 2021 02:07:55 GMT").header("content-type", "application/json");
    request.header("content-digest", digest).header("content-length", "18")
}

/// Returns the base of a signature.
struct Probe(String);

impl Plugin for Probe {
    type Config = NoConfig;
    fn new(_: NoConfig) -> Result<Self, String> {
        Err("made by hand".to_owned())
    }
    fn on_request(&self, exchange: &Exchange) -> Decision {
        let members = structured::dictionary(&format!("s={}", self.0)).unwrap();
        let [(_, structured::Member::List(covered))] = members.as_slice() else { panic!("no list") };
        let base = base::Request::of(exchange).base(covered).unwrap_or_else(|why| format!("{why:?}"));
        exchange.set_attribute("base", &base).unwrap();
        Decision::Proceed
    }
}

fn base(request: Request, covered: &str) -> String {
    let gateway = Double::new();
    gateway.receive(request);
    let _ = gateway.on_request(&Probe(covered.to_owned()));
    gateway.attribute("plugin.under-test.base").unwrap()
}

#[test]
fn the_bases_of_the_rfc() {
    let digest = "sha-512=:WZDPaVn/7XgHaAy8pmojAkGWoRx2UFChF41A2svX+TaPm+AbwAgBWnrIiYllu7BNNyealdVLvRwEmTHWXvJwew==:";
    let date = "\"date\": Tue, 20 Apr 2021 02:07:55 GMT\n";
    for (covered, lines) in [
        // B.2.1
        (r#"();created=1618884473;keyid="test-key-rsa-pss";nonce="b3k2pp5k7z-50gnwp.yemd""#, String::new()),
        // B.2.2
        (
            r#"("@authority" "content-digest" "@query-param";name="Pet");created=1618884473;keyid="test-key-rsa-pss";tag="header-example""#,
            format!("\"@authority\": example.com\n\"content-digest\": {digest}\n\"@query-param\";name=\"Pet\": dog\n"),
        ),
        // B.2.3
        (
            r#"("date" "@method" "@path" "@query" "@authority" "content-type" "content-digest" "content-length");created=1618884473;keyid="test-key-rsa-pss""#,
            format!(
                "{date}\"@method\": POST\n\"@path\": /foo\n\"@query\": ?param=Value&Pet=dog\n\"@authority\": example.com\n\
                 \"content-type\": application/json\n\"content-digest\": {digest}\n\"content-length\": 18\n"
            ),
        ),
        // B.2.5
        (
            r#"("date" "@authority" "content-type");created=1618884473;keyid="test-shared-secret""#,
            format!("{date}\"@authority\": example.com\n\"content-type\": application/json\n"),
        ),
        // B.2.6
        (
            r#"("date" "@method" "@path" "@authority" "content-type" "content-length");created=1618884473;keyid="test-key-ed25519""#,
            format!(
                "{date}\"@method\": POST\n\"@path\": /foo\n\"@authority\": example.com\n\"content-type\": application/json\n\
                 \"content-length\": 18\n"
            ),
        ),
    ] {
        assert_eq!(base(of_the_rfc(), covered), format!("{lines}\"@signature-params\": {covered}"));
    }
}

#[test]
fn components_have_one_value_or_none() {
    let request = || {
        let request = Request::get("/a%20b?x=1&y=%C3%A9&z=1&z=2").authority("Shop.Test:80").header("x-empty", "");
        let request = request.header("x-many", " one ").header("x-many", "two, three").header("cookie", "a=1; b=2");
        request.header("x-dict", "a=1, b;q=2").header("x-dict", "c=(x y)").header_bytes("x-bytes", b"\xff")
    };
    for (component, value) in [
        (r#""@method""#, "GET"),
        (r#""@scheme""#, "http"),
        (r#""@authority""#, "shop.test"),
        (r#""@path""#, "/a%20b"),
        (r#""@query""#, "?x=1&y=%C3%A9&z=1&z=2"),
        (r#""@request-target""#, "/a%20b?x=1&y=%C3%A9&z=1&z=2"),
        (r#""@target-uri""#, "http://shop.test/a%20b?x=1&y=%C3%A9&z=1&z=2"),
        (r#""@query-param";name="y""#, "%C3%A9"),
        (r#""x-empty""#, ""),
        (r#""x-many""#, "one, two, three"),
        (r#""x-many";bs"#, ":b25l:, :dHdvLCB0aHJlZQ==:"),
        (r#""x-bytes";bs"#, ":/w==:"),
        (r#""x-dict";key="b""#, "?1;q=2"),
        (r#""x-dict";key="c""#, "(x y)"),
        (r#""host""#, "Shop.Test:80"),
    ] {
        assert_eq!(
            base(request(), &format!("({component})")),
            format!("{component}: {value}\n\"@signature-params\": ({component})")
        );
    }
    assert!(base(Request::get("/"), r#"("@query")"#).starts_with("\"@query\": ?\n"));
    for (covered, why) in [
        (r#"("x-none")"#, "Missing"),
        (r#"("@query-param";name="z")"#, "Missing"),
        (r#"("@query-param";name="none")"#, "Missing"),
        (r#"("x-bytes")"#, "Missing"),
        (r#"("x-many";key="a")"#, "Missing"),
        (r#"("x-dict";key="d")"#, "Missing"),
        (r#"("X-Many")"#, "Unknown"),
        (r#"("x-many";sf)"#, "Unknown"),
        (r#"("x-many";tr)"#, "Unknown"),
        (r#"("x-many";req)"#, "Unknown"),
        (r#"("x-many";bs;key="a")"#, "Unknown"),
        (r#"("@method";req)"#, "Unknown"),
        (r#"("@status")"#, "Unknown"),
        (r#"("@query-param")"#, "Unknown"),
        (r#"("@signature-params")"#, "Unknown"),
        (r#"("@method" "@method")"#, "Unknown"),
        (r#"("x-dict";key="a" "x-dict";key="a")"#, "Unknown"),
        (r#"(method)"#, "Unknown"),
        (r#"("")"#, "Unknown"),
    ] {
        assert_eq!(base(request(), covered), why, "{covered}");
    }
}

const KEY: &str = "0123456789abcdef0123456789abcdef";
/// The double's clock.
const NOW: u64 = 1_767_225_600;
const COVERED: &str = r#"("@method" "@authority" "@path" "@query")"#;

fn gateway(more: &str) -> (Double, Hmac) {
    let gateway = Double::new();
    gateway.secret("bob", "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=\n");
    let config = format!(
        r#"{{ "keys": [
            {{ "id": "ada", "alg": "hmac-sha256", "key": "{KEY}", "claims": {{ "groups": ["a"] }} }},
            {{ "id": "bob", "alg": "hmac-sha256", "secret": "bob", "encoding": "base64", "subject": "robert" }},
            {{ "id": "eve", "alg": "ed25519", "jwk": {{ "kty": "OKP", "crv": "Ed25519", "x": "AAAA" }} }}
        ] {more} }}"#
    );
    let hmac = gateway.configure(&config).unwrap();
    (gateway, hmac)
}

/// A request with a signature of these parameters by `ada`, which is valid if it covers `lines`.
fn signed(gateway: &Double, request: Request, input: &str, lines: &str) -> Request {
    let base = format!("{lines}\"@signature-params\": {input}");
    gateway.signature("ada", "HS256", &base, b"right");
    request
        .header("signature-input", &format!("sig1={input}"))
        .header("signature", &format!("sig1=:{}:", STANDARD.encode("right")))
}

const LINES: &str = "\"@method\": GET\n\"@authority\": shop.test\n\"@path\": /a\n\"@query\": ?b=1\n";

fn get() -> Request {
    Request::get("/a?b=1").authority("shop.test")
}

fn why(gateway: &Double, decision: &Decision) -> String {
    let Decision::Respond(response) = decision else { panic!("{decision:?}") };
    assert_eq!(
        (response.status, response.header("www-authenticate")),
        (StatusCode::UNAUTHORIZED, Some("Signature realm=\"api\""))
    );
    assert!(
        response.header("accept-signature").unwrap().starts_with(&format!("sig={}", COVERED.trim_end_matches(')')))
    );
    gateway.measures().last().unwrap().labels.join("")
}

#[test]
fn a_good_signature_is_an_identity_once() {
    let (gateway, hmac) = gateway("");
    let input = format!(r#"{COVERED};created={NOW};keyid="ada";nonce="n1";alg="hmac-sha256";tag="x""#);
    let request = signed(&gateway, get(), &input, LINES);
    gateway.receive(request.clone());
    assert_eq!(gateway.on_request(&hmac), Decision::Proceed);
    let identity = gateway.identity().unwrap();
    assert_eq!((&*identity.subject, &*identity.claims), ("ada", r#"{"groups":["a"]}"#));

    gateway.receive(request.clone());
    let decision = gateway.on_request(&hmac);
    assert_eq!((why(&gateway, &decision).as_str(), gateway.identity()), ("replayed", None));
    // The nonce is kept while the signature is valid; when it is forgotten the signature is too old.
    gateway.advance(Duration::from_secs(329));
    gateway.receive(request.clone());
    let decision = gateway.on_request(&hmac);
    assert_eq!(why(&gateway, &decision), "replayed");
    gateway.advance(Duration::from_secs(60));
    gateway.receive(request);
    let decision = gateway.on_request(&hmac);
    assert_eq!(why(&gateway, &decision), "expired");
}

#[test]
fn what_a_signature_must_say() {
    let name = |more: &str| format!(r#"{COVERED};keyid="ada";nonce="n"{more}"#);
    let at = |time: u64| name(&format!(";created={time}"));
    let optional = r#", "nonce": "optional""#;
    for (config, input, reason) in [
        ("", at(NOW), ""),
        ("", at(NOW + 30), ""),
        ("", at(NOW + 31), "time"),
        ("", at(NOW - 329), ""),
        ("", at(NOW - 330), "expired"),
        (r#", "max_age": "1h", "leeway": "0s""#, at(NOW - 3599), ""),
        (r#", "max_age": "1h", "leeway": "0s""#, at(NOW - 3600), "expired"),
        ("", name(""), "time"),
        ("", name(&format!(";created=\"{NOW}\"")), "time"),
        ("", name(&format!(";created={NOW}.0")), "time"),
        ("", name(&format!(";created={NOW};expires={}", NOW + 1)), ""),
        ("", name(&format!(";created={NOW};expires={}", NOW - 30)), "expired"),
        ("", name(&format!(";created={NOW};expires=\"never\"")), "time"),
        ("", name(&format!(";created={NOW};alg=\"ed25519\"")), "unknown"),
        ("", name(&format!(";created={NOW};alg=hmac-sha256")), "unknown"),
        ("", format!(r#"{COVERED};created={NOW};keyid="zoe";nonce="n""#), "unknown"),
        ("", format!(r#"{COVERED};created={NOW};keyid="eve";nonce="n""#), "wrong"),
        ("", format!(r#"{COVERED};created={NOW};nonce="n""#), "unknown"),
        ("", format!(r#"{COVERED};created={NOW};keyid=ada;nonce="n""#), "unknown"),
        ("", format!(r#"{COVERED};created={NOW};keyid="ada""#), "nonce"),
        ("", format!(r#"{COVERED};created={NOW};keyid="ada";nonce="""#), "nonce"),
        ("", format!(r#"{COVERED};created={NOW};keyid="ada";nonce=1"#), "nonce"),
        ("", format!(r#"{COVERED};created={NOW};keyid="ada";nonce="{}""#, "n".repeat(257)), "nonce"),
        (optional, format!(r#"{COVERED};created={NOW};keyid="ada""#), ""),
        (optional, format!(r#"{COVERED};created={NOW};keyid="ada";nonce=1"#), "nonce"),
        (r#", "tag": "shop""#, at(NOW), "missing"),
        ("", at(NOW).replace("\"@query\"", "\"@scheme\""), "uncovered"),
        ("", at(NOW).replace("\"@query\"", "\"@query\";x"), "uncovered"),
        ("", at(NOW).replace("\"@query\"", "\"@query\" \"x-none\""), "wrong"),
        ("", at(NOW).replace("\"@query\"", "\"@query\" \"@query\""), "wrong"),
    ] {
        let (gateway, hmac) = gateway(config);
        gateway.receive(signed(&gateway, get(), &input, LINES));
        let decision = gateway.on_request(&hmac);
        match decision {
            Decision::Proceed => assert_eq!("", reason, "{input}"),
            refused => {
                if reason != "missing" {
                    assert_eq!(why(&gateway, &refused), reason, "{input}");
                }
                assert_eq!(gateway.identity(), None);
                assert_ne!(reason, "", "{input}");
            }
        }
    }
}

#[test]
fn a_refusal_says_what_the_signature_of_such_a_request_has_to_cover() {
    let digest = r#""components": ["content-digest", "@method"]"#;
    for (more, request, wanted) in [
        ("", get(), format!("sig={COVERED};created;nonce")),
        ("", Request::post("/"), format!(r#"sig={} "content-digest");created;nonce"#, COVERED.trim_end_matches(')'))),
        (r#", "digest": false"#, Request::post("/"), format!("sig={COVERED};created;nonce")),
        (&format!(", {digest}"), Request::post("/"), r#"sig=("content-digest" "@method");created;nonce"#.to_owned()),
    ] {
        let (gateway, hmac) = gateway(more);
        gateway.receive(request);
        let Decision::Respond(response) = gateway.on_request(&hmac) else { panic!("{more} is let in") };
        assert_eq!(response.header("accept-signature"), Some(wanted.as_str()), "{more}");
    }
}

#[test]
fn a_signature_is_of_this_request_alone() {
    let (gateway, hmac) = gateway("");
    let input = format!(r#"{COVERED};created={NOW};keyid="ada";nonce="n""#);
    for other in [
        Request::new(gatewright_sdk::Method::HEAD, "/a?b=1").authority("shop.test"),
        Request::get("/a?b=2").authority("shop.test"),
        Request::get("/a/?b=1").authority("shop.test"),
        Request::get("/a?b=1").authority("shop.test:81"),
        Request::get("/a").authority("shop.test"),
    ] {
        gateway.receive(signed(&gateway, other, &input, LINES));
        let decision = gateway.on_request(&hmac);
        assert_eq!(why(&gateway, &decision), "wrong");
    }
    // A component that includes the required one is enough.
    let (gateway, hmac) = self::gateway("");
    let input = format!(r#"("@target-uri" "@method");created={NOW};keyid="ada";nonce="n""#);
    let lines = "\"@target-uri\": http://shop.test/a?b=1\n\"@method\": GET\n";
    gateway.receive(signed(&gateway, get(), &input, lines));
    assert_eq!(gateway.on_request(&hmac), Decision::Proceed);
}

#[test]
fn headers_that_do_not_fit_each_other() {
    let (gateway, hmac) = gateway("");
    let input = format!(r#"sig1={COVERED};created={NOW};keyid="ada";nonce="n""#);
    let input = input.as_str();
    let long = format!("{input};x=\"{}\"", "x".repeat(9000));
    let many = (0..9).map(|at| format!("s{at}=()")).collect::<Vec<_>>().join(", ");
    let many_signatures = (0..9).map(|at| format!("s{at}=:AAAA:")).collect::<Vec<_>>().join(", ");
    for (input, signature) in [
        (input, ""),
        ("", "sig1=:AAAA:"),
        (input, "sig2=:AAAA:"),
        (input, "sig1=AAAA"),
        (input, "sig1=(:AAAA:)"),
        (input, "sig1=:AAAA:, sig2=:AAAA:"),
        (input, "sig1=:AAAA:, sig1=:AAAA:"),
        ("sig1=1", "sig1=:AAAA:"),
        ("sig1=(", "sig1=:AAAA:"),
        (many.as_str(), many_signatures.as_str()),
        (long.as_str(), "sig1=:AAAA:"),
    ] {
        gateway.receive(get().header("signature-input", input).header("signature", signature));
        let decision = gateway.on_request(&hmac);
        assert_eq!(why(&gateway, &decision), "malformed", "{input} {signature}");
    }
    gateway.receive(get());
    let decision = gateway.on_request(&hmac);
    assert_eq!(why(&gateway, &decision), "missing");
    let (gateway, hmac) = self::gateway(r#", "optional": true"#);
    gateway.receive(get());
    assert_eq!((gateway.on_request(&hmac), gateway.identity()), (Decision::Proceed, None));
    gateway.receive(get().header("signature", "sig1=:AAAA:"));
    assert!(matches!(gateway.on_request(&hmac), Decision::Respond(_)));
}

#[test]
fn a_key_may_be_a_consumers() {
    let gateway = Double::new();
    let key = format!(r#"{{ "id": "ada", "alg": "hmac-sha256", "key": "{KEY}" }}"#);
    gateway.credential("shop", r#"{"consumer":"shop"}"#, &key);
    gateway.credential("lab", r#"{"consumer":"lab"}"#, &key.replace(r#""id": "ada", "#, ""));
    let hmac: Hmac = gateway.configure(r#"{ "consumers": true }"#).unwrap();
    let input = format!(r#"{COVERED};created={NOW};keyid="ada";nonce="n""#);
    gateway.receive(signed(&gateway, get(), &input, LINES));
    assert_eq!(gateway.on_request(&hmac), Decision::Proceed);
    let identity = gateway.identity().unwrap();
    assert_eq!((&*identity.subject, &*identity.claims), ("shop", r#"{"consumer":"shop"}"#));
    let shared: Value = serde_json::from_str(&gateway.declared_keys("shared").unwrap()).unwrap();
    assert_eq!(shared["keys"][1]["kid"], "lab");
    gateway.credential("other", "{}", &key);
    let refused = gateway.configure::<Hmac>(r#"{ "consumers": true }"#).err().unwrap();
    assert!(refused.contains("the consumer \"other\": the id \"ada\" is there twice"), "{refused}");
}

#[test]
fn one_good_signature_of_several_is_enough() {
    let (gateway, hmac) = gateway(r#", "tag": "shop""#);
    let input = format!(r#"{COVERED};created={NOW};keyid="ada";nonce="n";tag="shop""#);
    let request = signed(&gateway, get(), &input, LINES);
    let request = request
        .header("signature-input", "proxy=();keyid=\"px\";tag=\"shop\", other=()")
        .header("signature", "other=:AA==:");
    gateway.receive(request.header("signature", "proxy=:AAAA:"));
    assert_eq!(gateway.on_request(&hmac), Decision::Proceed);
}

#[test]
fn a_body_is_bound_by_its_digest() {
    let body = b"{\"hello\": \"world\"}";
    let digest = "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:";
    let covered = r#"("@method" "@authority" "@path" "@query" "content-digest")"#;
    let input = format!(r#"{covered};created={NOW};keyid="ada";nonce="n""#);
    let lines = |digest: &str| format!("{}\"content-digest\": {digest}\n", LINES.replace("GET", "POST"));
    let post = || Request::post("/a?b=1").authority("shop.test");

    let (gateway, hmac) = gateway("");
    gateway.receive(signed(&gateway, post().header("content-digest", digest), &input, &lines(digest)));
    assert_eq!(gateway.on_request(&hmac), Decision::Proceed);
    assert_eq!(gateway.identity().unwrap().subject, "ada");
    let Err(BodyDecision::Respond(refused)) = gateway.request_body(&hmac, &[b"{\"hello\": ", b"\"World\"}"]) else {
        panic!("let in")
    };
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
    // That did not use up the nonce, so the correct request still passes, once.
    for (again, reason) in [(false, ""), (true, "replayed")] {
        gateway.receive(signed(&gateway, post().header("content-digest", digest), &input, &lines(digest)));
        assert_eq!(gateway.on_request(&hmac), Decision::Proceed);
        let sent = gateway.request_body(&hmac, &[b"{\"hello\": ", b"\"world\"}"]);
        assert_eq!(sent.is_err(), again);
        assert!(!again || gateway.measures().last().unwrap().labels == [reason]);
        assert!(again || sent.unwrap() == body);
    }

    for (request, lines, input, reason) in [
        (post(), LINES.replace("GET", "POST"), input.replace(" \"content-digest\"", ""), "uncovered"),
        (
            post().header("content-digest", digest),
            LINES.replace("GET", "POST"),
            input.replace(" \"content-digest\"", ""),
            "uncovered",
        ),
        (post().header("content-digest", "md5=:AAAA:"), lines("md5=:AAAA:"), input.clone(), "digest"),
        (post(), lines(digest), input.clone(), "digest"),
        (
            get().header("content-digest", digest),
            format!("{LINES}\"content-digest\": {digest}\n"),
            input.clone(),
            "digest",
        ),
    ] {
        let (gateway, hmac) = self::gateway("");
        gateway.receive(signed(&gateway, request, &input, &lines));
        let decision = gateway.on_request(&hmac);
        assert_eq!(why(&gateway, &decision), reason, "{input} {lines}");
    }
    let (gateway, hmac) = self::gateway(r#", "digest": false"#);
    gateway.receive(signed(&gateway, post(), &input.replace(" \"content-digest\"", ""), &LINES.replace("GET", "POST")));
    assert_eq!(gateway.on_request(&hmac), Decision::Proceed);
    assert_eq!(gateway.request_body(&hmac, &[b"anything"]).unwrap(), b"anything");
}

#[test]
fn bad_configurations_are_refused_by_name_and_without_the_key() {
    let one = |key: &str| format!(r#"{{ "keys": [{{ "id": "a", {key} }}] }}"#);
    let with = |more: &str| format!(r#"{{ "keys": [{{ "id": "a", "alg": "hmac-sha256", "key": "{KEY}" }}], {more} }}"#);
    for (config, named) in [
        ("{}".to_owned(), "keys"),
        (r#"{ "keys": [] }"#.to_owned(), "at least one"),
        (one(r#""alg": "hmac-sha256""#), "keys[0]: exactly one"),
        (one(r#""alg": "hmac-sha1", "key": "s3cret""#), "hmac-sha1"),
        (one(r#""alg": "hmac-sha256", "key": "s3cret""#), "keys[0]: the key has 6 bytes"),
        (one(r#""alg": "hmac-sha256", "key": "s3cret!", "encoding": "base64""#), "keys[0]: the key is not base64"),
        (one(r#""alg": "hmac-sha256", "secret": "none""#), "the secret \"none\""),
        (one(r#""alg": "hmac-sha256", "pem": "s3cret""#), "needs a shared key"),
        (one(r#""alg": "ed25519", "key": "s3cret""#), "ed25519 needs a public key"),
        (one(r#""alg": "ed25519", "key": "s3cret", "pem": "s3cret""#), "exactly one"),
        (
            format!(
                r#"{{ "keys": [{{ "id": "a", "alg": "hmac-sha256", "key": "{KEY}" }}, {{ "id": "a", "alg": "ed25519", "pem": "s3cret" }}] }}"#
            ),
            "keys[1]: the id \"a\" is there twice",
        ),
        (with(r#""components": []"#), "components"),
        (with(r#""components": ["X-A"]"#), "X-A"),
        (with(r#""components": ["@query-param;name"]"#), ""),
        (with(r#""components": ["a;b=("]"#), "components"),
        (with(r#""max_age": "2d""#), "max_age"),
        (with(r#""max_age": "0s""#), "max_age"),
        (with(r#""leeway": "6m""#), "leeway"),
        (with(r#""nonces_per_key": 4"#), "nonces_per_key"),
        (with(r#""tag": "\n""#), "tag"),
        (with(r#""realm": "\n""#), "realm"),
        (with(r#""nonce": "never""#), "never"),
        (with(r#""window": "1s""#), "window"),
    ] {
        let Some(refused) = Double::new().configure::<Hmac>(&config).err() else {
            assert!(named.is_empty(), "{config} is accepted");
            continue;
        };
        assert!(
            refused.contains(named) && !refused.contains("s3cret") && !refused.contains(KEY),
            "{config}: {refused}"
        );
    }
}

#[test]
fn the_schema_has_safe_defaults() {
    let manifest: Value = serde_json::from_str(&manifest::<Hmac>()).unwrap();
    let properties = &manifest["config-schema"]["properties"];
    assert_eq!(properties["nonce"]["default"], json!("required"));
    assert_eq!(properties["digest"]["default"], json!(true));
    assert_eq!(properties["components"]["default"], json!(["@method", "@authority", "@path", "@query"]));
    assert!(!properties.to_string().contains("$ref"));
}
