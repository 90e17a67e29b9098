#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use gatewright_sdk::{
    http_client::{self, CallError},
    jwt::VerifyError,
    manifest,
    serde_json::{self, json},
    testing::{Double, Request},
};

use super::*;

const BASE: &str = r#""upstream": "id", "issuer": "https://id.test", "authorization_endpoint": "https://id.test/auth?tenant=1",
    "token_endpoint": "/token", "jwks": "http://id/jwks", "client_id": "gate", "client_secret": "client",
    "redirect_uri": "https://shop.test/oidc/callback", "keys": ["new", "old"]"#;

fn world() -> Double {
    let gateway = Double::new();
    gateway.secret("client", "s3cret");
    gateway.secret("new", "the new key of at least 32 bytes..");
    gateway.secret("old", "the old key of at least 32 bytes..");
    gateway
}

fn configured(gateway: &Double, more: &str) -> Oidc {
    gateway.configure(&format!("{{ {BASE} {more} }}")).unwrap_or_else(|why| panic!("{more}: {why}"))
}

/// The provider answers every question with these tokens.
fn provider(gateway: &Double, status: u16, tokens: Value) {
    let status = StatusCode::from_u16(status).unwrap();
    gateway.upstream("id", move |_| {
        Ok(http_client::Response { status, headers: Vec::new(), body: tokens.to_string().into_bytes() })
    });
}

fn tokens(more: Value) -> Value {
    let mut tokens = json!({ "access_token": "at", "token_type": "Bearer", "expires_in": 300, "id_token": "idt" });
    tokens.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    tokens
}

fn page(path: &str) -> Request {
    Request::get(path).header("accept", "text/html,*/*").authority("shop.test")
}

fn response(decision: Decision) -> Response {
    let Decision::Respond(response) = decision else { panic!("{decision:?}") };
    response
}

/// What a browser keeps of an answer: cookies that are not empty.
fn cookies(response: &Response) -> BTreeMap<String, String> {
    let set = response.headers.iter().filter(|(name, _)| name == "set-cookie");
    let pairs = set.map(|(_, value)| value.split(';').next().unwrap().split_once('=').unwrap());
    pairs.filter(|(_, value)| !value.is_empty()).map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn with(request: Request, cookies: &BTreeMap<String, String>) -> Request {
    cookies.iter().fold(request, |request, (name, value)| request.header("cookie", &format!("{name}={value}")))
}

fn query_of(location: &str, name: &str) -> String {
    form::only(location.split_once('?').unwrap().1, name).unwrap().into_owned()
}

/// Begins a login: the address of the provider, and the browser's cookies.
fn begin(gateway: &Double, oidc: &Oidc, path: &str) -> (String, BTreeMap<String, String>) {
    gateway.receive(page(path));
    let answer = response(gateway.on_request(oidc));
    assert_eq!(answer.status, StatusCode::SEE_OTHER);
    (answer.header("location").unwrap().to_owned(), cookies(&answer))
}

/// A whole login; claims are of the ID token.
fn sign_in(
    gateway: &Double,
    oidc: &Oidc,
    path: &str,
    mut claims: Value,
    more: Value,
) -> (Response, BTreeMap<String, String>) {
    let (location, jar) = begin(gateway, oidc, path);
    claims["nonce"] = json!(query_of(&location, "nonce"));
    gateway.token("idt", Ok(&claims.to_string()));
    provider(gateway, 200, tokens(more));
    gateway.receive(with(page(&format!("/oidc/callback?code=c0de&state={}", query_of(&location, "state"))), &jar));
    let answer = response(gateway.on_request(oidc));
    let jar = cookies(&answer);
    (answer, jar)
}

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
    // The token is not of this login: somebody plays another's code.
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
    // One that was under way with the old cookie.
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

#[test]
fn bad_configurations_are_refused_by_name() {
    let changed = |from: &str, to: &str| format!("{{ {BASE} }}").replacen(from, to, 1);
    let with = |more: &str| format!("{{ {BASE}, {more} }}");
    for (config, named) in [
        ("{}".to_owned(), "upstream"),
        (changed("https://id.test/auth?tenant=1", "javascript:alert(1)"), "authorization_endpoint"),
        (changed("https://id.test/auth?tenant=1", "https:///auth"), "authorization_endpoint"),
        (changed("/token", "token"), "token_endpoint"),
        (changed("https://shop.test/oidc/callback", "https://shop.test"), "redirect_uri"),
        (changed("https://shop.test/oidc/callback", "https://shop.test/a?b"), "redirect_uri"),
        (changed("https://shop.test/oidc/callback", "http://shop.test/callback"), "\"secure\": false"),
        (changed(r#"["new", "old"]"#, r#"["none"]"#), "keys[0]: \"none\""),
        (changed(r#"["new", "old"]"#, r#"["new", "client"]"#), "keys[1]: \"client\""),
        (changed(r#""client_secret": "client","#, ""), "client_secret"),
        (changed(r#""client_secret": "client""#, r#""client_secret": "none""#), "the secret \"none\""),
        (with(r#""client_auth": "none""#), "client_secret"),
        (with(r#""scopes": ["email"]"#), "openid"),
        (with(r#""scopes": ["openid email"]"#), "scopes"),
        (with(r#""authorization_parameters": { "state": "x" }"#), "authorization_parameters"),
        (with(r#""cookie": "a b""#), "cookie"),
        (with(r#""session_ttl": "31d""#), "session_ttl"),
        (with(r#""login_ttl": "2h""#), "login_ttl"),
        (with(r#""logout_path": "/oidc/callback""#), "logout_path"),
        (with(r#""after_logout": "//evil.test""#), "after_logout"),
        (with(r#""after_logout": "https://evil.test""#), "after_logout"),
        (with(r#""claims_to_headers": { "host": "a" }"#), "host"),
        (with(r#""consumers": true"#), "consumers"),
        (with(r#""provider": "x""#), "provider"),
    ] {
        let refused = world().configure::<Oidc>(&config).err().unwrap_or_else(|| panic!("{config} is accepted"));
        assert!(refused.contains(named) && !refused.contains("s3cret"), "{config}: {refused}");
    }
}

#[test]
fn the_schema_has_safe_defaults() {
    let manifest: Value = serde_json::from_str(&manifest::<Oidc>()).unwrap();
    let properties = &manifest["config-schema"]["properties"];
    assert_eq!(properties["secure"]["default"], json!(true));
    assert_eq!(properties["unauthenticated"]["default"], json!("login"));
    assert_eq!(properties["forward_access_token"]["default"], json!(false));
}

const DISCOVERED: &str = r#""upstream": "id", "issuer": "https://id.test/a", "client_id": "gate", "client_secret": "client",
    "redirect_uri": "https://shop.test/oidc/callback", "keys": ["new"]"#;

#[test]
fn the_provider_may_say_where_it_is() {
    let gateway = world();
    let oidc: Oidc = gateway.configure(&format!("{{ {DISCOVERED} }}")).unwrap();
    let definition: Value = serde_json::from_str(&gateway.declared_keys("provider").unwrap()).unwrap();
    assert_eq!((&definition["discovery"], &definition["jwks"]), (&json!("id"), &Value::Null));
    // As long as it has not, nobody can sign in.
    gateway.receive(page("/"));
    assert_eq!(response(gateway.on_request(&oidc)).status, StatusCode::SERVICE_UNAVAILABLE);

    let document = json!({
        "issuer": "https://id.test/a", "authorization_endpoint": "https://login.test/auth?a=b",
        "token_endpoint": "https://id.test/a/token", "end_session_endpoint": "https://login.test/out",
    });
    gateway.discovered("provider", &document.to_string());
    let (location, _) = begin(&gateway, &oidc, "/");
    assert!(location.starts_with("https://login.test/auth?a=b&response_type=code&client_id=gate&"), "{location}");
    let (answer, jar) = sign_in(&gateway, &oidc, "/x", json!({ "sub": "ada", "aud": "gate" }), json!({}));
    assert_eq!(answer.status, StatusCode::SEE_OTHER);
    let question = gateway.calls().pop().unwrap();
    assert_eq!((question.upstream.as_str(), question.path.as_str()), ("id", "/a/token"));
    assert!(question.headers.iter().any(|(name, value)| name == "host" && value == "id.test"), "{question:?}");
    gateway.receive(with(page("/oidc/logout"), &jar));
    let location = response(gateway.on_request(&oidc)).header("location").unwrap().to_owned();
    assert!(location.starts_with("https://login.test/out?client_id=gate&"), "{location}");

    for (key, value, words) in [
        ("token_endpoint", "https://elsewhere.test/token", "not at the host of the issuer"),
        ("token_endpoint", "http://id.test/token", "not at the host of the issuer"),
        ("token_endpoint", "https://id.test@elsewhere.test/token", "not at the host of the issuer"),
        ("token_endpoint", "/token", "not at the host of the issuer"),
        ("authorization_endpoint", "http://login.test/auth", "no address for them"),
        ("authorization_endpoint", "https://login.test/a b", "no address for them"),
        ("authorization_endpoint", "javascript:alert(1)", "no address for them"),
        ("end_session_endpoint", "ftp://login.test/", "no address for them"),
    ] {
        let mut bad = document.clone();
        bad[key] = json!(value);
        gateway.discovered("provider", &bad.to_string());
        gateway.receive(page("/"));
        assert_eq!(response(gateway.on_request(&oidc)).status, StatusCode::SERVICE_UNAVAILABLE, "{key} {value}");
        let lines = gateway.lines();
        let line = lines.last().unwrap();
        assert!(line.fields.iter().any(|(_, text)| text.contains(words)), "{key} {value}: {line:?}");
        gateway.receive(with(page("/oidc/logout"), &jar));
        let location = response(gateway.on_request(&oidc)).header("location").unwrap().to_owned();
        assert_eq!(location, "https://shop.test/", "the session is ended here all the same");
    }
    for half in [r#""jwks": "http://id/k""#, r#""token_endpoint": "/t", "authorization_endpoint": "https://id.test/a""#]
    {
        let refused = gateway.configure::<Oidc>(&format!("{{ {DISCOVERED}, {half} }}")).err().unwrap();
        assert!(refused.contains("all of them are written, or none"), "{refused}");
    }
}
