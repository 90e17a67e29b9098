//! A provider with a discovery document.

use super::*;

const DISCOVERED: &str = r#""upstream": "id", "issuer": "https://id.test/a", "client_id": "gate", "client_secret": "client",
    "redirect_uri": "https://shop.test/oidc/callback", "keys": ["new"]"#;

#[test]
fn the_provider_may_say_where_it_is() {
    let gateway = world();
    let oidc: Oidc = gateway.configure(&format!("{{ {DISCOVERED} }}")).unwrap();
    let definition: Value = serde_json::from_str(&gateway.declared_keys("provider").unwrap()).unwrap();
    assert_eq!((&definition["discovery"], &definition["jwks"]), (&json!("id"), &Value::Null));
    // Without the document nobody can sign in.
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
