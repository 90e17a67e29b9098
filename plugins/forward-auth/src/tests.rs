#![allow(clippy::unwrap_used)]

use gatewright_sdk::{
    Method,
    http_client::CallError,
    manifest,
    serde_json::{self, json},
    testing::{Double, Request},
};

use super::*;

type Answer = Result<http_client::Response, CallError>;

fn answer(status: u16, headers: &[(&str, &str)], body: &str) -> Answer {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect();
    Ok(http_client::Response { status: StatusCode::from_u16(status).unwrap(), headers, body: body.into() })
}

/// A gateway whose upstream `auth` responds with `answer`, and the plugin with `more` configuration.
fn gateway(more: &str, answer: Answer) -> (Double, ForwardAuth) {
    let gateway = Double::new();
    gateway.upstream("auth", move |_| answer.clone());
    let plugin = gateway.configure(&format!(r#"{{ "upstream": "auth" {more} }}"#)).unwrap();
    (gateway, plugin)
}

fn response(decision: Decision) -> Response {
    let Decision::Respond(response) = decision else { panic!("{decision:?}") };
    response
}

#[test]
fn the_question_tells_of_the_request_and_has_no_body() {
    let more =
        r#", "path": "/verify?a=b", "method": "HEAD", "request_headers": ["Cookie", "x-tenant"], "timeout": "250ms""#;
    let (gateway, auth) = gateway(more, answer(204, &[], ""));
    let request = Request::post("/orders?x=1").authority("shop.test").attribute("source.address", "192.0.2.7");
    let request = request.header("cookie", "a=1").header("cookie", "b=2").header("authorization", "Bearer t");
    gateway.receive(CLAIMS.into_iter().fold(request, |request, name| request.header(name, "forged")));
    assert_eq!(gateway.on_request(&auth), Decision::Proceed);
    assert!(CLAIMS.iter().all(|name| gateway.request_header(name).is_none()), "the upstream gets no forged ones");
    let question = gateway.calls().pop().unwrap();
    assert_eq!((question.method, question.path.as_str()), (Method::HEAD, "/verify?a=b"));
    assert_eq!((question.body.len(), question.timeout.as_millis()), (0, 250));
    let headers: Vec<(&str, &str)> = question.headers.iter().map(|(name, value)| (&**name, &**value)).collect();
    assert_eq!(
        headers,
        [
            ("x-forwarded-for", "192.0.2.7"),
            ("x-forwarded-host", "shop.test"),
            ("x-forwarded-method", "POST"),
            ("x-forwarded-proto", "http"),
            ("x-forwarded-uri", "/orders?x=1"),
            ("x-original-method", "POST"),
            ("x-original-uri", "/orders?x=1"),
            ("x-original-url", "http://shop.test/orders?x=1"),
            ("Cookie", "a=1"),
            ("Cookie", "b=2"),
        ]
    );
}

#[test]
fn a_good_answer_is_written_onto_the_request_and_the_response() {
    let more = r#", "copy_headers": ["X-User", "x-roles", "x-none"], "response_headers": ["set-cookie"],
        "identity": { "subject": "x-user", "groups": "x-roles", "claims": { "mail": "x-mail", "none": "x-none" } }"#;
    let headers =
        [("x-user", "ada"), ("x-roles", "a, b"), ("x-roles", "c"), ("x-mail", "ada@example"), ("x-other", "o")];
    let cookies = [("set-cookie", "s=1"), ("set-cookie", "t=2")];
    let (gateway, auth) = gateway(more, answer(200, &[&headers[..], &cookies].concat(), "ignored"));
    let forged = ["x-user", "x-roles", "x-none"].into_iter();
    gateway.receive(forged.fold(Request::get("/"), |request, name| request.header(name, "root").header(name, "admin")));
    assert_eq!(gateway.on_request(&auth), Decision::Proceed);
    let values = |section, name| gateway.header_values(section, name).join("|");
    assert_eq!(values(Section::RequestHeaders, "x-user"), "ada");
    assert_eq!(values(Section::RequestHeaders, "x-roles"), "a, b|c");
    assert_eq!(values(Section::RequestHeaders, "x-none"), "");
    assert_eq!(values(Section::RequestHeaders, "x-other"), "");
    let identity = gateway.identity().unwrap();
    let claims: serde_json::Value = serde_json::from_str(&identity.claims).unwrap();
    assert_eq!(identity.subject, "ada");
    assert_eq!(claims, json!({ "groups": ["a", "b", "c"], "mail": "ada@example" }));
    gateway.respond(StatusCode::OK, &[("set-cookie", "u=3")]);
    let _ = gateway.on_response(&auth);
    assert_eq!(values(Section::ResponseHeaders, "set-cookie"), "u=3|s=1|t=2");
}

#[test]
fn refusals_and_redirects_are_the_clients() {
    let headers = [
        ("www-authenticate", "Basic realm=\"x\""),
        ("location", "https://login.test/?rd=1"),
        ("set-cookie", "a=1"),
        ("x-internal", "10.0.0.7"),
        ("content-type", "text/html"),
    ];
    let shown = |response: &Response| {
        let names = ["www-authenticate", "location", "set-cookie", "x-internal", "content-type"];
        names.map(|name| response.header(name).unwrap_or("-").to_owned()).join(" ")
    };
    for (more, status, body, expected) in [
        ("", 401, "who?", "Basic realm=\"x\" https://login.test/?rd=1 a=1 - text/html"),
        ("", 403, "", "Basic realm=\"x\" https://login.test/?rd=1 a=1 - application/problem+json"),
        ("", 302, "", "Basic realm=\"x\" https://login.test/?rd=1 a=1 - -"),
        (r#", "refusal_headers": ["location"]"#, 307, "", "- https://login.test/?rd=1 - - -"),
        (r#", "refusal_headers": [], "refusals": [404]"#, 404, "no", "- - - - text/html"),
    ] {
        let (gateway, auth) = gateway(more, answer(status, &headers, body));
        let response = response(gateway.on_request(&auth));
        assert_eq!((response.status.as_u16(), shown(&response).as_str()), (status, expected), "{more}");
        assert_eq!(gateway.measures().last().unwrap().labels, ["refused"]);
        assert!(body.is_empty() || response.body == body.as_bytes());
    }
}

#[test]
fn what_is_no_decision_denies() {
    let bad = |name: &str| {
        let headers = vec![("x-user".to_owned(), b"ada".to_vec()), (name.to_owned(), b"\xff".to_vec())];
        Ok(http_client::Response { status: StatusCode::OK, headers, body: Vec::new() })
    };
    let copy = r#", "copy_headers": ["x-user", "x-role"]"#;
    let identity = r#", "copy_headers": ["x-role"], "identity": { "subject": "x-user" }"#;
    let only = r#", "refusals": [403], "redirects": false"#;
    for (more, answer, status, reason) in [
        ("", answer(500, &[], "oops"), 502, "unclear"),
        ("", answer(404, &[], ""), 502, "unclear"),
        ("", answer(304, &[], ""), 502, "unclear"),
        ("", answer(100, &[], ""), 502, "unclear"),
        (only, answer(302, &[("location", "/")], ""), 502, "unclear"),
        (only, answer(401, &[], ""), 502, "unclear"),
        ("", Err(CallError::TimedOut), 504, "timeout"),
        ("", Err(CallError::ConnectionFailed("gone".to_owned())), 503, "unreachable"),
        ("", Err(CallError::UnknownUpstream), 502, "unclear"),
        ("", Err(CallError::ResponseTooLarge), 502, "unclear"),
        (copy, bad("x-role"), 502, "unclear"),
        (identity, bad("x-user"), 502, "unclear"),
        (identity, answer(200, &[], ""), 502, "unclear"),
        (identity, answer(200, &[("x-user", "")], ""), 502, "unclear"),
        (identity, answer(200, &[("x-user", "ada"), ("x-user", "root")], ""), 502, "unclear"),
    ] {
        let (gateway, auth) = gateway(more, answer.clone());
        gateway.receive(Request::get("/").header("x-role", "admin"));
        let response = response(gateway.on_request(&auth));
        assert_eq!((response.status.as_u16(), gateway.identity()), (status, None), "{more} {answer:?}");
        assert_eq!(gateway.measures().last().unwrap().labels, [reason], "{answer:?}");

        let (gateway, auth) = self::gateway(&format!(r#"{more}, "on_error": "allow""#), answer);
        gateway.receive(Request::get("/").header("x-role", "admin").header("x-user", "root"));
        assert_eq!(gateway.on_request(&auth), Decision::Proceed);
        let role = gateway.request_header("x-role").filter(|_| more.contains("x-role"));
        assert_eq!((gateway.identity(), role), (None, None), "{more}");
    }
}

#[test]
fn a_request_that_cannot_be_shown_is_not_asked_about() {
    let (gateway, auth) = gateway("", answer(200, &[], ""));
    gateway.receive(Request::get("/").header_bytes("authorization", b"Bearer \xff"));
    assert_eq!(response(gateway.on_request(&auth)).status, StatusCode::BAD_REQUEST);
    assert!(gateway.calls().is_empty());
}

#[test]
fn bad_configurations_are_refused_by_name() {
    for (more, named) in [
        (r#""path": "verify""#, "path"),
        (r#""path": "/a b""#, "path"),
        (r#""method": "CONNECT""#, "method"),
        (r#""method": "G ET""#, "method"),
        (r#""refusals": [401, 500]"#, "500"),
        (r#""timeout": "0s""#, "timeout"),
        (r#""copy_headers": ["host"]"#, "copy_headers: \"host\""),
        (r#""copy_headers": ["a b"]"#, "a b"),
        (r#""request_headers": ["content-length"]"#, "request_headers"),
        (r#""request_headers": ["X-Forwarded-Uri"]"#, "X-Forwarded-Uri"),
        (r#""response_headers": ["transfer-encoding"]"#, "response_headers"),
        (r#""refusal_headers": ["connection"]"#, "refusal_headers"),
        (r#""identity": {}"#, "subject"),
        (r#""identity": { "subject": "x y" }"#, "identity.subject"),
        (r#""identity": { "subject": "x", "claims": { "a": "te" } }"#, "identity.claims"),
        (r#""on_error": "skip""#, "skip"),
        (r#""uri": "/""#, "uri"),
    ] {
        let refused = Double::new().configure::<ForwardAuth>(&format!(r#"{{ "upstream": "auth", {more} }}"#)).err();
        let refused = refused.unwrap_or_else(|| panic!("{more} is accepted"));
        assert!(refused.contains(named), "{more}: {refused}");
    }
    assert!(Double::new().configure::<ForwardAuth>("{}").err().unwrap().contains("upstream"));
}

#[test]
fn the_schema_has_safe_defaults() {
    let manifest: Value = serde_json::from_str(&manifest::<ForwardAuth>()).unwrap();
    let properties = &manifest["config-schema"]["properties"];
    assert_eq!(properties["on_error"]["default"], json!("deny"));
    assert_eq!(properties["refusals"]["default"], json!([401, 403]));
    assert_eq!(properties["timeout"]["default"], json!("1s"));
    assert_eq!(manifest["config-schema"]["required"], json!(["upstream"]));
}
