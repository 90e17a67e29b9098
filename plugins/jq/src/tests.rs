#![allow(clippy::unwrap_used)]

use gatewright_sdk::{
    BodyMode, Direction, manifest,
    serde_json::{self, Value, json},
    testing::{Double, Request},
};
use proptest::prelude::*;

use super::*;

fn gateway(config: &Value) -> (Double, Jq) {
    let gateway = Double::new();
    let plugin = gateway.configure(&config.to_string()).unwrap();
    (gateway, plugin)
}

/// What a program makes of a request's body.
fn made(program: &str, body: &str) -> Result<String, Response> {
    let (gateway, plugin) = gateway(&json!({ "request": program }));
    made_by(&gateway, &plugin, body)
}

fn made_by(gateway: &Double, plugin: &Jq, body: &str) -> Result<String, Response> {
    let request = Request::post("/a/b%20c?x=1&y=%C3%A4+z&x=2&flag").header("content-type", "application/json");
    let request = request.header("x-team", "one").header("x-team", "two");
    gateway.receive(request.identity("ada", r#"{"groups":["staff"],"n":12345678901234567890123}"#));
    assert_eq!(gateway.on_request(plugin), Decision::Proceed);
    assert_eq!(gateway.body_mode(Direction::Request), BodyMode::Whole);
    match gateway.request_body(plugin, &[body.as_bytes()]) {
        Ok(body) => Ok(String::from_utf8(body).unwrap()),
        Err(BodyDecision::Respond(response)) => Err(response),
        Err(other) => panic!("{other:?}"),
    }
}

#[test]
fn programs() {
    for (program, body, expected) in [
        (".", r#"{"b":1,"a":[true,null,"ä\u0000"]}"#, r#"{"b":1,"a":[true,null,"ä\u0000"]}"#),
        (".a", r#"{"a":{"c":2,"b":1}}"#, r#"{"c":2,"b":1}"#),
        (
            ".items | map({id, total: (.price * .count)}) | sort_by(.total)",
            r#"{"items":[{"id":1,"price":2.5,"count":4},{"id":2,"price":1,"count":3}]}"#,
            r#"[{"id":2,"total":3},{"id":1,"total":10.0}]"#,
        ),
        ("del(.secret) | .tags |= unique", r#"{"secret":1,"tags":["b","a","b"]}"#, r#"{"tags":["a","b"]}"#),
        ("group_by(.k) | map({(.[0].k): length}) | add", r#"[{"k":"a"},{"k":"b"},{"k":"a"}]"#, r#"{"a":2,"b":1}"#),
        (r#".name | test("^a.*z$"; "i")"#, r#"{"name":"ABZ"}"#, "true"),
        (r#"gsub("(?<d>[0-9])"; "<\(.d)>")"#, r#""a1b2""#, r#""a<1>b<2>""#),
        ("[@base64, @uri, @json]", r#""a b""#, r#"["YSBi","a%20b","\"a b\""]"#),
        (".at | todate", r#"{"at":1700000000}"#, r#""2023-11-14T22:13:20Z""#),
        ("def f(x): x + 1; reduce .[] as $n (0; . + f($n))", "[1,2,3]", "9"),
        ("if .a > 1 then {big: true} else empty end // {big: false}", r#"{"a":1}"#, r#"{"big":false}"#),
        ("(.a.b.c)? // \"none\"", r#"{"a":1}"#, r#""none""#),
        ("try error(\"x\") catch .", "0", r#""x""#),
        ("[limit(3; repeat(.))]", "1", "[1,1,1]"),
        ("[splits(\", *\")]", r#""a, b,c""#, r#"["a","b","c"]"#),
        ("to_entries | from_entries", r#"{"z":1,"a":2}"#, r#"{"z":1,"a":2}"#),
        // A duplicate name becomes one member.
        (".", r#"{"a":1,"b":2,"a":3}"#, r#"{"a":3,"b":2}"#),
    ] {
        assert_eq!(
            made(program, body).unwrap_or_else(|refused| panic!("{program}: {refused:?}")),
            expected,
            "{program}"
        );
    }
}

#[test]
fn numbers_keep_their_digits_unless_they_are_computed_with() {
    for (program, body, expected) in [
        (".", "12345678901234567890123", "12345678901234567890123"),
        (". + 1", "12345678901234567890123", "12345678901234567890124"),
        (". + 1", "2147483647", "2147483648"),
        (". * 4", "1099511627776", "4398046511104"),
        (".", "1.10", "1.10"),
        (". * 2", "1.10", "2.2"),
        (".", "1E+400", "1E+400"),
        (".", "-0", "-0"),
        ("nan", "0", "null"),
        ("[infinite, -infinite]", "0", "[1.7976931348623157e308,-1.7976931348623157e308]"),
        // Texts that jq reads as numbers, but JSON does not.
        (r#""NaN" | tonumber"#, "0", "null"),
        (r#""[01.5,+2.5]" | fromjson"#, "0", "[1.5,2.5]"),
    ] {
        assert_eq!(made(program, body).as_deref(), Ok(expected), "{program} of {body}");
    }
    let long = "9".repeat(100_000);
    assert_eq!(made(".", &long), Ok(long.clone()));
}

#[test]
fn variables_tell_the_exchange() {
    for (program, expected) in [
        ("[$request.method, $request.path]", r#"["POST","/a/b%20c"]"#),
        ("$request.query", r#"{"x":"1","y":"ä z","flag":""}"#),
        (r#"$request.headers["x-team"]"#, r#""one, two""#),
        ("$identity", r#"{"subject":"ada","claims":{"groups":["staff"],"n":12345678901234567890123}}"#),
        ("$response", "null"),
        (". + {by: $identity.subject}", r#"{"a":1,"by":"ada"}"#),
        // A variable of the program hides it.
        ("1 as $request | $request", "1"),
    ] {
        assert_eq!(made(program, r#"{"a":1}"#).as_deref(), Ok(expected), "{program}");
    }
    let (gateway, plugin) =
        gateway(&json!({ "response": "[$response.status, $response.headers.a, $request.path, $identity]" }));
    gateway.receive(Request::get("/x"));
    let _ = gateway.on_request(&plugin);
    gateway.respond(StatusCode::CREATED, &[("content-type", "application/json"), ("a", "b")]);
    let _ = gateway.on_response(&plugin);
    assert_eq!(gateway.response_body(&plugin, &[b"{}"]).unwrap(), br#"[201,"b","/x",null]"#);
}

#[test]
fn what_makes_no_body_is_refused_and_tells_nothing_of_it() {
    for (program, status, reason) in [
        (".a.b", 400, "error"),
        ("error", 400, "error"),
        ("error(\"a word\")", 400, "error"),
        ("error({status: 200})", 400, "error"),
        ("empty", 400, "nothing"),
        (".,.", 400, "several"),
        ("., error", 400, "error"),
        (".[]", 400, "error"),
        ("[range(1000000)]", 413, "too-large"),
        // One value, 2^40 times.
        ("reduce range(40) as $i (.; [., .])", 413, "too-large"),
        ("reduce range(129) as $i (.; [.])", 400, "too-deep"),
        ("{(.|tojson|tobytes): 1}", 400, "not-json"),
        ("tojson | tobytes", 400, "not-json"),
        ("{(tojson): 1} | with_entries(.key = 1)", 400, "not-json"),
        ("error({status: 422, detail: \"The amount is below zero.\"})", 422, "refused"),
        ("error({status: 503})", 503, "refused"),
    ] {
        let (gateway, plugin) = gateway(&json!({ "request": program }));
        let refused = made_by(&gateway, &plugin, r#""a-secret""#).unwrap_err();
        assert_eq!(refused.status.as_u16(), status, "{program}");
        let told = String::from_utf8_lossy(&refused.body).into_owned();
        assert!(!told.contains("secret") && !told.contains("word"), "{program}: {told}");
        assert_eq!(told.contains("below zero"), status == 422, "{told}");
        let counted = gateway.measures();
        assert!(counted.iter().any(|measure| format!("{measure:?}").contains(reason)), "{program}: {counted:?}");
        assert!(gateway.lines().iter().all(|line| !format!("{line:?}").contains("refused")));
    }
}

#[test]
fn a_response_that_its_program_fails_at_is_502_whatever_else_passes() {
    let (gateway, plugin) = gateway(&json!({ "response": ".items[0].id", "bad_response": "pass" }));
    let answer = |body: &[u8]| {
        gateway.receive(Request::get("/"));
        let _ = gateway.on_request(&plugin);
        gateway.respond(StatusCode::OK, &[("content-type", "application/json")]);
        let _ = gateway.on_response(&plugin);
        gateway.response_body(&plugin, &[body])
    };
    assert_eq!(answer(br#"{"items":[{"id":7}]}"#).unwrap(), b"7");
    assert_eq!(answer(b"<html>").unwrap(), b"<html>");
    let Err(BodyDecision::Respond(response)) = answer(br#"{"items":"none"}"#) else { panic!() };
    assert_eq!(response.status, StatusCode::BAD_GATEWAY);
}

#[test]
fn what_is_no_json_never_reaches_a_program() {
    let deep = ["[".repeat(10_000), "]".repeat(10_000)].concat();
    for body in ["", "{", "{} {}", "# jq takes it\n1", "NaN", "b\"x\"", "+1", "{1:2}", deep.as_str()] {
        let refused = made(".", body).unwrap_err();
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{body:.20}");
    }
}

#[test]
fn a_size_is_the_longest_that_passes() {
    let (gateway, plugin) = gateway(&json!({ "request": ".", "max_size": "1KiB" }));
    let of = |length: usize| format!("\"{}\"", "a".repeat(length - 2));
    assert_eq!(made_by(&gateway, &plugin, &of(1024)), Ok(of(1024)));
    assert_eq!(made_by(&gateway, &plugin, &of(1025)).unwrap_err().status, StatusCode::PAYLOAD_TOO_LARGE);
}

#[test]
fn bad_programs_are_refused_with_their_place() {
    for (config, said) in [
        (json!({}), "one of \"request\" and \"response\" has to be there"),
        (json!({ "request": "" }), "request"),
        (json!({ "request": "." , "respond": "." }), "respond"),
        (json!({ "request": ".a |" }), "request: line 1, column 5: expected term"),
        (json!({ "response": ".a\n| {b: " }), "response: line 2, column 7: expected closing brace"),
        (json!({ "request": "map(.a" }), "request: line 1, column 7: expected closing parenthesis"),
        (json!({ "request": ".a |\n  frobnicate(.b; 1)" }), "line 2, column 3: the filter frobnicate/2 is not defined"),
        (json!({ "request": "$user" }), "line 1, column 1: the variable $user is not defined"),
        (json!({ "request": ". & 1" }), "line 1, column 3: expected token"),
        (json!({ "request": "import \"a\" as a; ." }), "line 1, column 9: there are no modules here"),
        (json!({ "request": "include \"a\"; ." }), "there are no modules here"),
        (json!({ "request": "env" }), "the filter env/0 is not available here"),
        (json!({ "request": "$ENV" }), "the variable $ENV is not defined"),
        (json!({ "request": "halt" }), "the filter halt/0 is not available here"),
        (json!({ "request": "halt_error(1)" }), "the filter halt_error/1 is not available here"),
        (json!({ "request": "debug" }), "the filter debug/0 is not available here"),
        (json!({ "request": "stderr" }), "the filter stderr/0 is not available here"),
        (json!({ "request": "input" }), "the filter input/0 is not defined"),
        (json!({ "request": "[inputs]" }), "the filter inputs/0 is not defined"),
        (json!({ "request": "localtime" }), "the filter localtime/0 is not available here"),
    ] {
        let refused = Double::new().configure::<Jq>(&config.to_string()).unwrap_err();
        assert!(refused.contains(said), "{config}: {refused}");
    }
}

#[test]
fn the_schema_is_self_contained() {
    let manifest: Value = serde_json::from_str(&manifest::<Jq>()).unwrap();
    assert!(!manifest.to_string().contains("$ref"));
}

fn document() -> impl Strategy<Value = json::Value> {
    let number = prop_oneof!["-?(0|[1-9][0-9]{0,30})", "-?[1-9]\\.[0-9]{1,20}", "[1-9]e[+-]?[0-9]{1,3}"];
    let leaf = prop_oneof![
        Just(json::Value::Null),
        any::<bool>().prop_map(json::Value::Bool),
        number.prop_map(json::Value::Number),
        ".*".prop_map(json::Value::String),
    ];
    leaf.prop_recursive(6, 64, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(json::Value::Array),
            prop::collection::btree_map(".*", inner, 0..6)
                .prop_map(|members| json::Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn a_document_that_nothing_is_done_to_stays_as_it_is(document in document()) {
        let written = document.to_bytes();
        prop_assert_eq!(value::write(&value::read(&document), written.len()), Ok(written.clone()));
        prop_assert!(value::write(&value::read(&document), written.len() - 1).is_err());
    }
}
