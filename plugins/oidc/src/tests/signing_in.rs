//! A browser goes to the provider and comes back.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use gatewright_sdk::jwt::VerifyError;

use super::*;

#[test]
fn a_browser_is_sent_to_the_provider_and_comes_back_as_somebody() {
    let gateway = world();
    let oidc = configured(
        &gateway,
        r#", "scopes": ["openid", "offline_access"], "authorization_parameters": { "prompt": "consent" }, "claims_to_headers": { "x-mail": "email" }"#,
    );
    let (location, jar) = begin(&gateway, &oidc, "/orders?x=%201");
    assert!(location.starts_with("https://id.test/auth?tenant=1&response_type=code&client_id=gate&"), "{location}");
    assert_eq!(query_of(&location, "redirect_uri"), "https://shop.test/oidc/callback");
    assert_eq!(query_of(&location, "scope"), "openid offline_access");
    assert_eq!(query_of(&location, "code_challenge_method"), "S256");
    assert_eq!(query_of(&location, "prompt"), "consent");
    assert_eq!(jar.keys().collect::<Vec<_>>(), ["__Host-gateway_session_login"]);

    let claims =
        json!({ "sub": "ada", "iss": "https://id.test", "email": "ada@id.test", "secret": "no", "aud": "gate" });
    let (answer, jar) = sign_in(&gateway, &oidc, "/orders?x=%201", claims, json!({ "refresh_token": "rt" }));
    assert_eq!(
        (answer.status, answer.header("location")),
        (StatusCode::SEE_OTHER, Some("https://shop.test/orders?x=%201"))
    );
    assert_eq!(jar.keys().collect::<Vec<_>>(), ["__Host-gateway_session"], "the login is forgotten");
    let set = answer.header("set-cookie").unwrap();
    assert!(set.ends_with("; Path=/; Max-Age=28800; HttpOnly; SameSite=Lax; Secure"), "{set}");
    let question = gateway.calls().pop().unwrap();
    let body = String::from_utf8(question.body).unwrap();
    assert!(body.starts_with(
        "grant_type=authorization_code&code=c0de&redirect_uri=https%3A%2F%2Fshop.test%2Foidc%2Fcallback&"
    ));
    let challenge = BASE64.encode(Sha256::digest(form::only(&body, "code_verifier").unwrap().as_bytes()));
    let (other, _) = begin(&gateway, &oidc, "/");
    assert_ne!(query_of(&other, "code_challenge"), challenge, "each login has its own");

    let request = with(page("/orders").header("cookie", "theme=dark").header("x-mail", "root@id.test"), &jar);
    gateway.receive(request.header("authorization", "Basic own"));
    assert_eq!(gateway.on_request(&oidc), Decision::Proceed);
    let identity = gateway.identity().unwrap();
    let claims: Value = serde_json::from_str(&identity.claims).unwrap();
    assert_eq!(claims, json!({ "sub": "ada", "iss": "https://id.test", "email": "ada@id.test" }));
    assert_eq!(identity.subject, "ada");
    assert_eq!(gateway.request_header("cookie").as_deref(), Some("theme=dark"), "the upstream sees no session");
    assert_eq!(gateway.request_header("x-mail").as_deref(), Some("ada@id.test"));
    assert_eq!(gateway.request_header("authorization").as_deref(), Some("Basic own"));

    let forwards = configured(&gateway, r#", "forward_access_token": true"#);
    let (_, jar) = sign_in(&gateway, &forwards, "/", json!({ "sub": "ada" }), json!({}));
    gateway.receive(with(page("/"), &jar).header("authorization", "Basic own"));
    assert_eq!(gateway.on_request(&forwards), Decision::Proceed);
    assert_eq!(gateway.header_values(gatewright_sdk::Section::RequestHeaders, "authorization"), ["Bearer at"]);
}

#[test]
fn only_who_opens_a_page_is_sent_away() {
    let gateway = world();
    let oidc = configured(&gateway, "");
    for (request, status) in [
        (page("/"), 303),
        (Request::get("/").header("sec-fetch-mode", "navigate"), 303),
        (page("/").header("sec-fetch-mode", "cors"), 401),
        (page("/").header("sec-fetch-mode", "websocket"), 401),
        (Request::get("/").header("accept", "application/json"), 401),
        (Request::get("/"), 401),
        (Request::post("/").header("accept", "text/html"), 401),
        (Request::get("/").header("cookie", "__Host-gateway_session=forged"), 401),
    ] {
        gateway.receive(request);
        assert_eq!(response(gateway.on_request(&oidc)).status.as_u16(), status);
        assert_eq!(gateway.identity(), None);
    }
    let deny = configured(&gateway, r#", "unauthenticated": "deny""#);
    gateway.receive(page("/"));
    assert_eq!(response(gateway.on_request(&deny)).status.as_u16(), 401);
}

#[test]
fn a_login_ends_in_the_browser_that_began_it_and_once() {
    let gateway = world();
    let oidc = configured(&gateway, "");
    gateway.token("idt", Ok(r#"{"sub":"mallory"}"#));
    provider(&gateway, 200, tokens(json!({})));
    let (location, jar) = begin(&gateway, &oidc, "/");
    let (_, other_jar) = begin(&gateway, &oidc, "/");
    let state = query_of(&location, "state");
    let nobody = BTreeMap::new();
    let session_as_login: BTreeMap<String, String> = {
        let (_, session) = sign_in(&gateway, &oidc, "/", json!({ "sub": "ada" }), json!({}));
        session.into_values().map(|value| ("__Host-gateway_session_login".to_owned(), value)).collect()
    };
    gateway.token("idt", Ok(r#"{"sub":"mallory"}"#));
    let asked = gateway.calls().len();
    for (what, query, jar, status) in [
        ("no cookie", format!("code=c&state={state}"), &nobody, 400),
        ("the cookie of another login", format!("code=c&state={state}"), &other_jar, 400),
        ("a session in its place", format!("code=c&state={state}"), &session_as_login, 400),
        ("another state", "code=c&state=x".to_owned(), &jar, 400),
        ("no state", "code=c".to_owned(), &jar, 400),
        ("two states", format!("code=c&state={state}&state={state}"), &jar, 400),
        ("no code", format!("state={state}"), &jar, 400),
        ("an empty code", format!("code=&state={state}"), &jar, 400),
        ("two codes", format!("code=c&code=d&state={state}"), &jar, 400),
        ("another issuer", format!("code=c&state={state}&iss=https%3A%2F%2Fevil.test"), &jar, 400),
        ("two issuers", format!("code=c&state={state}&iss=https%3A%2F%2Fid.test&iss=x"), &jar, 400),
        ("the provider says no", format!("error=access_denied%0d%0a&state={state}"), &jar, 403),
    ] {
        gateway.receive(with(page(&format!("/oidc/callback?{query}")), jar));
        let answer = response(gateway.on_request(&oidc));
        assert_eq!((answer.status.as_u16(), cookies(&answer).len()), (status, 0), "{what}");
        assert_eq!(gateway.calls().len(), asked, "{what}: no code is redeemed");
    }
    gateway.receive(with(Request::post(&format!("/oidc/callback?code=c&state={state}")), &jar));
    assert_eq!(response(gateway.on_request(&oidc)).status.as_u16(), 405);
    // The token does not belong to this login: an attacker injects another code.
    gateway.receive(with(page(&format!("/oidc/callback?code=c&state={state}&iss=https%3A%2F%2Fid.test")), &jar));
    let answer = response(gateway.on_request(&oidc));
    assert_eq!((answer.status.as_u16(), cookies(&answer).len(), gateway.calls().len()), (403, 0, asked + 1));
    gateway.advance(Duration::from_secs(600));
    gateway.receive(with(page(&format!("/oidc/callback?code=c&state={state}")), &jar));
    assert_eq!(response(gateway.on_request(&oidc)).status.as_u16(), 400, "too late");
}

#[test]
fn an_id_token_is_for_this_client_and_of_somebody() {
    for (claims, good) in [
        (json!({ "sub": "ada" }), true),
        (json!({ "sub": "ada", "aud": ["gate", "x"], "azp": "gate" }), true),
        (json!({ "sub": "ada", "aud": ["gate", "x"], "azp": "x" }), false),
        (json!({ "sub": "ada", "aud": ["gate", "x"] }), false),
        (json!({ "sub": "ada", "azp": "x" }), false),
        (json!({ "sub": "" }), false),
        (json!({ "sub": 1 }), false),
        (json!({}), false),
    ] {
        let gateway = world();
        let oidc = configured(&gateway, "");
        let (answer, jar) = sign_in(&gateway, &oidc, "/", claims.clone(), json!({}));
        assert_eq!((answer.status.as_u16(), jar.len()), if good { (303, 1) } else { (403, 0) }, "{claims}");
    }
    let gateway = world();
    let oidc = configured(&gateway, "");
    for (error, status) in [
        (VerifyError::BadSignature, 403),
        (VerifyError::WrongAudience, 403),
        (VerifyError::Expired, 403),
        (VerifyError::KeysUnavailable, 503),
    ] {
        let (location, jar) = begin(&gateway, &oidc, "/");
        gateway.token("idt", Err(error.clone()));
        provider(&gateway, 200, tokens(json!({})));
        gateway.receive(with(page(&format!("/oidc/callback?code=c&state={}", query_of(&location, "state"))), &jar));
        assert_eq!(response(gateway.on_request(&oidc)).status.as_u16(), status, "{error:?}");
    }
    for (status, answer, expected) in [
        (200, json!({ "access_token": "at", "token_type": "Bearer" }), 503),
        (200, json!({ "id_token": "idt" }), 503),
        (200, tokens(json!({ "token_type": "mac" })), 503),
        (200, tokens(json!({ "access_token": "a\r\nb" })), 503),
        (400, json!({ "error": "invalid_grant" }), 403),
        (400, json!({ "error": "invalid_client" }), 503),
        (401, json!({ "error": "invalid_client" }), 503),
        (500, json!({}), 503),
    ] {
        let (location, jar) = begin(&gateway, &oidc, "/");
        provider(&gateway, status, answer.clone());
        gateway.receive(with(page(&format!("/oidc/callback?code=c&state={}", query_of(&location, "state"))), &jar));
        assert_eq!(response(gateway.on_request(&oidc)).status.as_u16(), expected, "{status} {answer}");
    }
}

#[test]
fn after_a_login_nobody_gets_elsewhere() {
    let gateway = world();
    let oidc = configured(&gateway, "");
    for path in ["/a?b=c", "//evil.test/", "/\\evil.test", "/?next=https://evil.test", "/@evil.test", "/.evil.test"] {
        let (answer, _) = sign_in(&gateway, &oidc, path, json!({ "sub": "ada" }), json!({}));
        assert_eq!(answer.header("location"), Some(format!("https://shop.test{path}").as_str()));
    }
    let long = format!("/{}", "a".repeat(3000));
    let (answer, _) = sign_in(&gateway, &oidc, &long, json!({ "sub": "ada" }), json!({}));
    assert_eq!(answer.header("location"), Some("https://shop.test/"));
}
