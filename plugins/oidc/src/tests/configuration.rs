//! Which configurations are valid.

use gatewright_sdk::manifest;

use super::*;

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
