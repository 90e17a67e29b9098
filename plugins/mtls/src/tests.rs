#![allow(clippy::unwrap_used)]

use gatewright_sdk::{
    manifest,
    serde_json::{self, json},
    testing::{Double, Request},
};

use super::*;

const FINGERPRINT: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

fn shown() -> Request {
    let names = "DNS:orders.shop.test,URI:spiffe://shop/ns/orders,email:ops@shop.test,IP:10.0.0.7";
    [
        ("subject", r"CN=orders\, the service,OU=backend,O=Example"),
        ("issuer", "CN=clients"),
        ("serial", "0a0b"),
        ("names", names),
        ("fingerprint", FINGERPRINT),
    ]
    .into_iter()
    .fold(Request::get("/"), |request, (name, value)| {
        request.attribute(&format!("connection.tls.client.{name}"), value)
    })
}

fn decide(config: &str, request: Request) -> (Double, Decision) {
    let gateway = Double::new();
    let mtls: Mtls = gateway.configure(config).unwrap_or_else(|why| panic!("{config}: {why}"));
    gateway.receive(request);
    let decision = gateway.on_request(&mtls);
    (gateway, decision)
}

#[test]
fn a_certificate_meets_a_rule_whose_every_condition_it_meets() {
    for (rule, meets) in [
        (r#""subject": "CN=orders\\, the service,OU=backend,O=Example""#, true),
        (r#""subject": ["CN=other", "CN=orders\\, the service,OU=backend,O=Example"]"#, true),
        (r#""subject": "CN=orders\\, the service,OU=backend""#, false),
        (r#""subject": { "CN": "orders, the service" }"#, true),
        (r#""subject": { "O": "Example", "OU": ["frontend", "backend"] }"#, true),
        (r#""subject": { "O": "Example", "OU": "frontend" }"#, false),
        (r#""subject": { "CN": "orders" }"#, false),
        (r#""subject": { "cn": "orders, the service" }"#, false),
        (r#""issuer": { "CN": "clients" }"#, true),
        (r#""issuer": "CN=Clients""#, false),
        (r#""dns": "orders.shop.test""#, true),
        (r#""dns": "Orders.Shop.Test""#, true),
        (r#""dns": "*.shop.test""#, true),
        (r#""dns": "*.test""#, false),
        (r#""dns": "*.orders.shop.test""#, false),
        (r#""dns": ["a.test", "b.test"]"#, false),
        (r#""uri": "spiffe://shop/ns/orders""#, true),
        (r#""uri": "spiffe://shop/ns/*""#, true),
        (r#""uri": "spiffe://shop/ns/orders/*""#, false),
        (r#""uri": "spiffe://sho/*""#, false),
        (r#""email": "*@shop.test""#, true),
        (r#""email": "*@test""#, false),
        (r#""email": "OPS@shop.test""#, false),
        (r#""ip": "10.0.0.7""#, true),
        (r#""ip": "10.0.0.8""#, false),
        (
            r#""fingerprint": "00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:aa:bb:cc:dd:ee:ff""#,
            true,
        ),
        (r#""serial": "0A:0B", "issuer": "CN=clients""#, true),
        (r#""serial": "0a""#, false),
        (r#""dns": "orders.shop.test", "issuer": "CN=others""#, false),
    ] {
        let (gateway, decision) = decide(&format!(r#"{{ "allow": [{{ {rule} }}] }}"#), shown());
        assert_eq!(decision == Decision::Proceed, meets, "{rule}");
        assert_eq!(gateway.identity().is_some(), meets, "{rule}");
        let (_, denied) =
            decide(&format!(r#"{{ "allow": [{{ "ip": "10.0.0.7" }}], "deny": [{{ {rule} }}] }}"#), shown());
        assert_eq!(denied == Decision::Proceed, !meets, "deny {rule}");
    }
}

#[test]
fn the_caller_is_what_the_operator_says() {
    for (identity, subject) in [
        ("subject", r"CN=orders\, the service,OU=backend,O=Example"),
        ("common-name", "orders, the service"),
        ("dns", "orders.shop.test"),
        ("uri", "spiffe://shop/ns/orders"),
        ("email", "ops@shop.test"),
        ("fingerprint", FINGERPRINT),
    ] {
        let rule = r#"{ "dns": "orders.shop.test", "claims": { "groups": ["backend"], "serial": "mine" } }"#;
        let config = format!(r#"{{ "identity": "{identity}", "allow": [{{ "dns": "a" }}, {rule}] }}"#);
        let (gateway, _) = decide(&config, shown());
        let caller = gateway.identity().unwrap();
        assert_eq!(caller.subject, subject, "{identity}");
        let claims: Value = serde_json::from_str(&caller.claims).unwrap();
        assert_eq!(claims["groups"], json!(["backend"]));
        assert_eq!(claims["serial"], json!("mine"));
        assert_eq!(claims["uri"], json!(["spiffe://shop/ns/orders"]));
    }
    let many = shown().attribute("connection.tls.client.names", "DNS:a.shop.test,DNS:b.shop.test");
    let many = many.attribute("connection.tls.client.subject", "CN=a+CN=b");
    for identity in ["dns", "uri", "common-name"] {
        let config = format!(r#"{{ "identity": "{identity}", "allow": [{{ "dns": "a.shop.test" }}] }}"#);
        let (gateway, decision) = decide(&config, many.clone());
        assert!(matches!(decision, Decision::Respond(_)), "{identity}");
        assert_eq!(gateway.measures().last().unwrap().labels, ["nameless"]);
    }
}

#[test]
fn a_certificate_may_be_a_consumers() {
    let decide = |credentials: &[(&str, &str)], config: &str| {
        let gateway = Double::new();
        for (consumer, rule) in credentials {
            gateway.credential(consumer, &format!(r#"{{"consumer":"{consumer}","groups":["partners"]}}"#), rule);
        }
        let mtls: Mtls = gateway.configure(config).unwrap();
        gateway.receive(shown());
        let _ = gateway.on_request(&mtls);
        let reason = gateway.measures().pop().map(|measure| measure.labels.join(""));
        gateway.identity().map(|identity| (identity.subject, identity.claims)).ok_or(reason)
    };
    let orders = ("shop", r#"{ "dns": "orders.shop.test" }"#);
    let (subject, claims) = decide(&[orders], r#"{ "consumers": true, "allow": [{ "dns": "*.shop.test" }] }"#).unwrap();
    let claims: Value = serde_json::from_str(&claims).unwrap();
    assert_eq!(
        (subject.as_str(), &claims["consumer"], &claims["groups"]),
        ("shop", &json!("shop"), &json!(["partners"]))
    );
    assert_eq!(claims["fingerprint"], json!(FINGERPRINT));
    let both = [orders, ("lab", r#"{ "uri": "spiffe://shop/*" }"#)];
    assert_eq!(decide(&both, r#"{ "consumers": true }"#), Err(Some("ambiguous".to_owned())));
    let other = [("lab", r#"{ "dns": "lab.test" }"#)];
    assert_eq!(decide(&other, r#"{ "consumers": true }"#), Err(Some("not-allowed".to_owned())));
    let denied = r#"{ "consumers": true, "deny": [{ "serial": "0a0b", "issuer": "CN=clients" }] }"#;
    assert_eq!(decide(&[orders], denied), Err(Some("denied".to_owned())));

    let gateway = Double::new();
    assert!(gateway.configure::<Mtls>(r#"{ "consumers": true }"#).err().unwrap().contains("of a consumer"));
    gateway.credential("shop", "{}", "{}");
    let refused = gateway.configure::<Mtls>(r#"{ "consumers": true }"#).err().unwrap();
    assert!(refused.contains("the consumer \"shop\": at least one condition"), "{refused}");
}

#[test]
fn without_a_certificate_nobody_comes_in() {
    let forged =
        Request::get("/").header("connection.tls.client.subject", "CN=orders").header("x-subject", "CN=orders");
    let (gateway, decision) = decide(r#"{ "allow": [{ "uri": "spiffe://shop/*" }] }"#, forged.clone());
    let Decision::Respond(response) = decision else { panic!("let in") };
    assert_eq!(
        (response.status, response.header("content-type")),
        (StatusCode::FORBIDDEN, Some("application/problem+json"))
    );
    assert_eq!(gateway.measures().last().unwrap().labels, ["missing"]);

    let optional = r#"{ "optional": true, "allow": [{ "uri": "spiffe://other/*" }] }"#;
    let (gateway, decision) = decide(optional, forged);
    assert_eq!((decision, gateway.identity()), (Decision::Proceed, None));
    let (gateway, decision) = decide(optional, shown());
    assert!(matches!(decision, Decision::Respond(_)), "a bad certificate is worse than none");
    assert_eq!(gateway.measures().last().unwrap().labels, ["not-allowed"]);
}

#[test]
fn bad_configurations_are_refused_by_name() {
    for (config, named) in [
        ("{}", "allow"),
        (r#"{ "allow": [] }"#, "allow"),
        (r#"{ "allow": [{}] }"#, "allow[0]: at least one condition"),
        (r#"{ "allow": [{ "claims": { "a": 1 } }] }"#, "allow[0]: at least one condition"),
        (r#"{ "allow": [{ "dns": [] }] }"#, "allow[0].dns"),
        (r#"{ "allow": [{ "dns": "a.*.test" }] }"#, "allow[0].dns: \"a.*.test\""),
        (r#"{ "allow": [{ "dns": "*" }] }"#, "allow[0].dns"),
        (r#"{ "allow": [{ "uri": "*" }] }"#, "allow[0].uri"),
        (r#"{ "allow": [{ "uri": "spiffe:/*" }] }"#, "allow[0].uri"),
        (r#"{ "allow": [{ "email": "shop.test" }] }"#, "allow[0].email"),
        (r#"{ "allow": [{ "ip": "10.0.0.0/8" }] }"#, "allow[0].ip"),
        (r#"{ "allow": [{ "fingerprint": "00" }] }"#, "allow[0].fingerprint"),
        (r#"{ "allow": [{ "serial": "x" }] }"#, "allow[0].serial"),
        (r#"{ "allow": [{ "subject": "orders" }] }"#, "allow[0].subject: \"orders\""),
        (r#"{ "allow": [{ "subject": {} }] }"#, "allow[0].subject"),
        (r#"{ "allow": [{ "subject": { "O": [] } }] }"#, "allow[0].subject: \"O\""),
        (r#"{ "allow": [{ "dns": "a" }], "deny": [{ "issuer": "" }] }"#, "deny[0].issuer"),
        (r#"{ "allow": [{ "dns": "a" }], "identity": "san" }"#, "san"),
        (r#"{ "allow": [{ "san": "a" }] }"#, "san"),
    ] {
        let refused = Double::new().configure::<Mtls>(config).err().unwrap_or_else(|| panic!("{config} is accepted"));
        assert!(refused.contains(named), "{config}: {refused}");
    }
}

#[test]
fn the_schema_has_the_defaults() {
    let manifest: Value = serde_json::from_str(&manifest::<Mtls>()).unwrap();
    let properties = &manifest["config-schema"]["properties"];
    assert_eq!(properties["identity"]["default"], json!("subject"));
    assert_eq!(properties["optional"]["default"], json!(false));
    assert!(!properties.to_string().contains("$ref"));
}
