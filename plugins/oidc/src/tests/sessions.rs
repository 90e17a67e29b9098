//! Session cookies: how long they last, whose they are, and how they end.

use gatewright_sdk::http_client::CallError;

use super::*;

#[test]
fn a_session_ends_with_its_tokens_or_its_time() {
    let gateway = world();
    let oidc = configured(&gateway, r#", "session_ttl": "10m""#);
    let lives = |jar: &BTreeMap<String, String>| {
        gateway.receive(with(Request::get("/"), jar));
        gateway.on_request(&oidc) == Decision::Proceed
    };
    let (_, jar) = sign_in(&gateway, &oidc, "/", json!({ "sub": "ada" }), json!({}));
    gateway.advance(Duration::from_secs(299));
    assert!(lives(&jar));
    gateway.advance(Duration::from_secs(1));
    assert!(!lives(&jar), "expires_in is over");
    let (_, jar) = sign_in(&gateway, &oidc, "/", json!({ "sub": "ada" }), json!({ "expires_in": 9999 }));
    gateway.advance(Duration::from_secs(599));
    assert!(lives(&jar));
    gateway.advance(Duration::from_secs(1));
    assert!(!lives(&jar), "session_ttl is over");
}

#[test]
fn new_tokens_are_fetched_by_one_request_and_are_there_for_all() {
    let gateway = world();
    let oidc = configured(&gateway, "");
    let (_, jar) = sign_in(&gateway, &oidc, "/", json!({ "sub": "ada" }), json!({ "refresh_token": "rt" }));
    let before = gateway.calls().len();
    let ask = || {
        gateway.receive(with(Request::get("/"), &jar));
        let decision = gateway.on_request(&oidc);
        gateway.respond(StatusCode::OK, &[]);
        let _ = gateway.on_response(&oidc);
        (decision == Decision::Proceed, gateway.calls().len() - before, gateway.response_header("set-cookie"))
    };
    assert_eq!(ask(), (true, 0, None));
    gateway.advance(Duration::from_secs(241));
    provider(
        &gateway,
        200,
        json!({ "access_token": "at2", "token_type": "bearer", "expires_in": 300, "refresh_token": "rt2" }),
    );
    let (passed, asked, next) = ask();
    assert_eq!((passed, asked), (true, 1));
    let body = String::from_utf8(gateway.calls().pop().unwrap().body).unwrap();
    assert_eq!(body, "grant_type=refresh_token&refresh_token=rt");
    let next = next.unwrap();
    // A request that was already in progress with the old cookie.
    assert_eq!(ask(), (true, 1, Some(next.clone())), "nobody uses a refresh token twice");
    let renewed = BTreeMap::from([{
        let (name, value) = next.split(';').next().unwrap().split_once('=').unwrap();
        (name.to_owned(), value.to_owned())
    }]);
    gateway.advance(Duration::from_secs(200));
    gateway.receive(with(Request::get("/"), &renewed));
    assert_eq!(gateway.on_request(&oidc), Decision::Proceed);
    assert_eq!(gateway.identity().unwrap().subject, "ada", "no new ID token, the same claims");
}

#[test]
fn what_becomes_of_a_session_that_cannot_be_renewed() {
    for (seconds, answer, status) in [
        (241, Ok((400, json!({ "error": "invalid_grant" }))), 401),
        (241, Ok((500, json!({}))), 200),
        (241, Err(CallError::TimedOut), 200),
        (301, Err(CallError::TimedOut), 503),
        (301, Ok((503, json!({}))), 503),
        (241, Ok((200, tokens(json!({ "id_token": "other" })))), 401),
    ] {
        let gateway = world();
        let oidc = configured(&gateway, "");
        let (_, jar) = sign_in(&gateway, &oidc, "/", json!({ "sub": "ada" }), json!({ "refresh_token": "rt" }));
        gateway.token("other", Ok(r#"{"sub":"eve"}"#));
        gateway.advance(Duration::from_secs(seconds));
        let said = answer.clone();
        gateway.upstream("id", move |_| {
            let (status, body) = said.clone()?;
            let status = StatusCode::from_u16(status).unwrap();
            Ok(http_client::Response { status, headers: Vec::new(), body: body.to_string().into_bytes() })
        });
        gateway.receive(with(Request::get("/"), &jar));
        let got = match gateway.on_request(&oidc) {
            Decision::Proceed => 200,
            Decision::Respond(response) => response.status.as_u16(),
            Decision::Abort => 0,
        };
        assert_eq!(got, status, "{seconds} {answer:?}");
        let asked = gateway.calls().len();
        gateway.receive(with(Request::get("/"), &jar));
        let _ = gateway.on_request(&oidc);
        assert_eq!(gateway.calls().len(), asked, "nobody asks again at once: {answer:?}");
    }
}

/// Sends a request with these cookies: the status, 200 if it passes, and how often the provider was asked so far.
fn ask(gateway: &Double, oidc: &Oidc, jar: &BTreeMap<String, String>) -> (u16, usize) {
    gateway.receive(with(Request::get("/"), jar));
    let status = match gateway.on_request(oidc) {
        Decision::Proceed => 200,
        Decision::Respond(response) => response.status.as_u16(),
        Decision::Abort => 0,
    };
    (status, gateway.calls().len())
}

/// A session whose tokens end in 300 seconds, and how often the provider was asked for it.
fn signed_in() -> (Double, Oidc, BTreeMap<String, String>, usize) {
    let gateway = world();
    let oidc = configured(&gateway, "");
    let (_, jar) = sign_in(&gateway, &oidc, "/", json!({ "sub": "ada" }), json!({ "refresh_token": "rt" }));
    let asked = gateway.calls().len();
    (gateway, oidc, jar, asked)
}

#[test]
fn who_waits_for_another_goes_on_with_what_he_has_got() {
    for (other, while_good, afterwards) in
        [(Turn::Done(b"over".to_vec()), 401, 401), (Turn::Done(Vec::new()), 200, 503), (Turn::TimedOut, 200, 503)]
    {
        for (seconds, status) in [(241, while_good), (301, afterwards)] {
            let (gateway, oidc, jar, asked) = signed_in();
            gateway.others_turn(other.clone());
            gateway.advance(Duration::from_secs(seconds));
            assert_eq!(ask(&gateway, &oidc, &jar), (status, asked), "{other:?} {seconds}");
        }
    }
    let (gateway, oidc, jar, _) = signed_in();
    let (_, renewed) = sign_in(&gateway, &oidc, "/", json!({ "sub": "ada" }), json!({ "expires_in": 3000 }));
    let (name, text) = renewed.into_iter().next().unwrap();
    gateway.others_turn(Turn::Done(text.clone().into_bytes()));
    gateway.advance(Duration::from_secs(301));
    assert_eq!(ask(&gateway, &oidc, &jar), (200, 2), "the two logins, and nothing else");
    gateway.respond(StatusCode::OK, &[]);
    let _ = gateway.on_response(&oidc);
    assert!(gateway.response_header("set-cookie").unwrap().starts_with(&format!("{name}={text};")));
}

/// By a route with another configuration, or in a gateway with the same store.
#[test]
fn who_asks_elsewhere_and_leaves_stops_nobody_for_long() {
    let next = json!({ "access_token": "at2", "token_type": "Bearer", "expires_in": 300 });
    for (seconds, meanwhile) in [(241, 200), (301, 503)] {
        let (gateway, oidc, jar, asked) = signed_in();
        let body = next.to_string().into_bytes();
        gateway.upstream("id", move |_| {
            assert_eq!(shared_store::get(&turn("rt")).unwrap().value, b"", "others see that it is asked");
            Ok(http_client::Response { status: StatusCode::OK, headers: Vec::new(), body: body.clone() })
        });
        gateway.advance(Duration::from_secs(seconds));
        shared_store::set(&turn("rt"), b"", Some(Duration::from_secs(6))).unwrap();
        gateway.advance(Duration::from_secs(5));
        assert_eq!(ask(&gateway, &oidc, &jar), (meanwhile, asked), "{seconds}");
        gateway.advance(Duration::from_secs(1));
        assert_eq!(ask(&gateway, &oidc, &jar), (200, asked + 1), "{seconds}");
        assert_eq!(ask(&gateway, &oidc, &jar), (200, asked + 1), "what was got is there for others");
    }
}

#[test]
fn who_signs_out_is_out_with_every_copy() {
    let gateway = world();
    for (more, location) in [
        ("", "https://shop.test/"),
        (
            r#", "end_session_endpoint": "https://id.test/end", "after_logout": "/bye""#,
            "https://id.test/end?client_id=gate&post_logout_redirect_uri=https%3A%2F%2Fshop.test%2Fbye",
        ),
    ] {
        let oidc = configured(&gateway, more);
        let (_, jar) = sign_in(&gateway, &oidc, "/", json!({ "sub": "ada" }), json!({}));
        gateway.receive(with(page("/oidc/logout").header("sec-fetch-site", "cross-site"), &jar));
        assert_eq!(response(gateway.on_request(&oidc)).status.as_u16(), 403, "another site's page");
        gateway.receive(with(page("/"), &jar));
        assert_eq!(gateway.on_request(&oidc), Decision::Proceed);
        gateway.receive(with(page("/oidc/logout").header("sec-fetch-site", "same-origin"), &jar));
        let answer = response(gateway.on_request(&oidc));
        assert_eq!((answer.status.as_u16(), answer.header("location")), (303, Some(location)));
        assert!(answer.header("set-cookie").unwrap().contains("gateway_session=; Path=/; Max-Age=0"));
        gateway.receive(with(Request::get("/"), &jar));
        assert_eq!(response(gateway.on_request(&oidc)).status.as_u16(), 401, "also a copy of the cookie");
    }
}

#[test]
fn cookies_of_others_and_of_old_keys() {
    let gateway = world();
    let before: Oidc = gateway.configure(&format!("{{ {BASE} }}").replace(r#"["new", "old"]"#, r#"["old"]"#)).unwrap();
    let (_, jar) = sign_in(&gateway, &before, "/", json!({ "sub": "ada" }), json!({}));
    let rotated = configured(&gateway, "");
    gateway.receive(with(Request::get("/"), &jar));
    assert_eq!(gateway.on_request(&rotated), Decision::Proceed, "the old key still opens");
    let (_, jar) = sign_in(&gateway, &rotated, "/", json!({ "sub": "ada" }), json!({}));
    gateway.receive(with(Request::get("/"), &jar));
    assert!(gateway.on_request(&before) != Decision::Proceed, "what the new key made");
    for (from, to) in [("\"gate\"", "\"other\""), ("\"https://id.test\"", "\"https://other.test\"")] {
        let other: Oidc = gateway.configure(&format!("{{ {BASE} }}").replace(from, to)).unwrap();
        gateway.receive(with(Request::get("/"), &jar));
        assert!(gateway.on_request(&other) != Decision::Proceed, "a session with {to}");
    }
    let (name, value) = jar.iter().next().unwrap();
    for bad in [value[1..].to_owned(), format!("{value}A"), value.to_uppercase(), String::new()] {
        gateway.receive(Request::get("/").header("cookie", &format!("{name}={bad}")));
        assert!(gateway.on_request(&rotated) != Decision::Proceed);
    }
    gateway.receive(Request::get("/").header("cookie", &format!("{name}={value}; {name}={value}")));
    assert!(gateway.on_request(&rotated) != Decision::Proceed, "two are none");
}
