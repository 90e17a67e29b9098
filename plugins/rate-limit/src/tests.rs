#![allow(clippy::unwrap_used)]

use std::time::Duration;

use gatewright_sdk::{
    Section, manifest,
    serde_json::{self, Value, json},
    testing::{Double, Request},
};

use super::*;

fn gateway(config: &str) -> (Double, RateLimit) {
    let gateway = Double::new();
    let limit = gateway.configure(config).unwrap();
    (gateway, limit)
}

fn from(address: &str) -> Request {
    Request::get("/").attribute("source.address", address)
}

fn is_let_in(gateway: &Double, limit: &RateLimit, request: Request) -> bool {
    gateway.receive(request);
    gateway.on_request(limit) == Decision::Proceed
}

#[test]
fn what_is_left_is_told_and_too_much_is_refused() {
    let (gateway, limit) = gateway(r#"{ "limit": "2/min" }"#);
    for (allowed, told) in [(true, r#""default";r=1;t=30"#), (true, r#""default";r=0;t=60"#)] {
        assert_eq!(is_let_in(&gateway, &limit, from("203.0.113.9")), allowed);
        gateway.respond(StatusCode::OK, &[]);
        assert_eq!(gateway.on_response(&limit), Decision::Proceed);
        assert_eq!(gateway.response_header("RateLimit").as_deref(), Some(told));
        assert_eq!(gateway.response_header("RateLimit-Policy").as_deref(), Some(r#""default";q=2;w=60"#));
    }

    gateway.advance(Duration::from_millis(500));
    gateway.receive(from("203.0.113.9"));
    let Decision::Respond(response) = gateway.on_request(&limit) else { panic!("let in") };
    assert_eq!(response.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(response.header("retry-after"), Some("30"), "29.5 s are not enough");
    assert_eq!(response.header("ratelimit"), Some(r#""default";r=0;t=60"#));
    assert_eq!(response.header("ratelimit-policy"), Some(r#""default";q=2;w=60"#));
    let problem: Value = serde_json::from_slice(&response.body).unwrap();
    assert_eq!((&problem["status"], &problem["title"]), (&json!(429), &json!("Too Many Requests")));
    assert_eq!(gateway.measures().len(), 1);

    gateway.respond(response.status, &[]);
    assert_eq!(gateway.on_response(&limit), Decision::Proceed);
    assert_eq!(gateway.response_header("ratelimit"), None, "the refusal has the fields already");

    gateway.advance(Duration::from_millis(29_500));
    assert!(is_let_in(&gateway, &limit, from("203.0.113.9")));
}

#[test]
fn other_limits_of_the_response_stay() {
    let (gateway, limit) = gateway(r#"{ "limit": "10/s", "burst": 20, "cost": 3, "name": "per-second" }"#);
    assert!(is_let_in(&gateway, &limit, from("203.0.113.9")));
    gateway.respond(StatusCode::OK, &[("ratelimit", r#""daily";r=7;t=9"#)]);
    let _ = gateway.on_response(&limit);
    let values = gateway.header_values(Section::ResponseHeaders, "ratelimit");
    assert_eq!(values, [r#""daily";r=7;t=9"#, r#""per-second";r=17;t=1"#]);
    assert_eq!(gateway.response_header("ratelimit-policy").as_deref(), Some(r#""per-second";q=20;w=2"#));
}

#[test]
fn several_limits_are_one_decision() {
    let (gateway, limit) = gateway(
        r#"{ "limits": [
            { "limit": "2/s", "window": "fixed", "name": "second" },
            { "limit": "3/h", "window": "sliding", "name": "hour" }
        ] }"#,
    );
    for (allowed, told) in [(true, "r=1"), (true, "r=0")] {
        assert_eq!(is_let_in(&gateway, &limit, from("203.0.113.9")), allowed);
        gateway.respond(StatusCode::OK, &[]);
        let _ = gateway.on_response(&limit);
        let fields = gateway.response_header("ratelimit").unwrap();
        assert!(fields.starts_with(&format!("\"second\";{told};t=")) && fields.contains(", \"hour\";r="), "{fields}");
    }
    let policy = gateway.response_header("ratelimit-policy");
    assert_eq!(policy.as_deref(), Some(r#""second";q=2;w=1, "hour";q=3;w=3600"#));
    // Requests that the limit per second refuses are not counted in the hour.
    for _ in 0..5 {
        assert!(!is_let_in(&gateway, &limit, from("203.0.113.9")));
    }
    gateway.advance(Duration::from_secs(1));
    assert!(is_let_in(&gateway, &limit, from("203.0.113.9")));
    gateway.receive(from("203.0.113.9"));
    let Decision::Respond(refused) = gateway.on_request(&limit) else { panic!("let in") };
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!(wait > 1, "the hour is what to wait for: {wait}");
}

#[test]
fn a_header_may_say_the_cost() {
    let (gateway, limit) = gateway(r#"{ "limit": "10/h", "cost": 2, "cost_header": "x-cost" }"#);
    let costs = |value: &str| from("203.0.113.9").header("x-cost", value);
    for (request, left) in [(costs("3"), "r=7"), (costs("0"), "r=5"), (costs("much"), "r=3"), (costs("-1"), "r=1")] {
        assert!(is_let_in(&gateway, &limit, request));
        gateway.respond(StatusCode::OK, &[]);
        let _ = gateway.on_response(&limit);
        let told = gateway.response_header("ratelimit").unwrap();
        assert!(told.contains(left), "{told}, not {left}");
    }
    assert!(!is_let_in(&gateway, &limit, from("203.0.113.9")), "the usual cost is 2");
    assert!(!is_let_in(&gateway, &limit, costs("99")));
    assert!(is_let_in(&gateway, &limit, costs("1")));
}

#[test]
fn a_request_that_can_never_pass_is_told_so() {
    let several = r#""limits": [{ "limit": "20/h" }, { "limit": "10/h", "window": "fixed", "name": "hour" }]"#;
    for form in [r#""limit": "20/h", "burst": 10"#, r#""limit": "10/h", "window": "sliding""#, several] {
        let (gateway, limit) = gateway(&format!(r#"{{ {form}, "cost_header": "x-cost" }}"#));
        let refused = |cost: &str| {
            gateway.receive(from("203.0.113.9").header("x-cost", cost));
            let Decision::Respond(response) = gateway.on_request(&limit) else { panic!("{form}: {cost} is let in") };
            let problem: Value = serde_json::from_slice(&response.body).unwrap();
            let may_return = response.header("retry-after").is_some();
            (response.status.as_u16(), may_return, problem["detail"].as_str().unwrap().contains("ever allows"))
        };
        assert_eq!(refused("11"), (429, false, true), "{form}");
        assert!(is_let_in(&gateway, &limit, from("203.0.113.9").header("x-cost", "10")), "{form}");
        assert_eq!(refused("10"), (429, true, false), "{form}");
    }
}

#[test]
fn the_response_may_say_what_it_took() {
    let limits = r#"[{ "limit": "10/h" }, { "limit": "20/h", "window": "fixed", "name": "hour" }]"#;
    for form in [r#""limit": "10/h""#.to_owned(), format!(r#""limits": {limits}"#)] {
        let (gateway, limit) = gateway(&format!(r#"{{ {form}, "response_cost_header": "x-took" }}"#));
        let mut left = 10;
        for (took, more) in
            [(Some("4"), 3), (None, 0), (Some("1"), 0), (Some("0"), 0), (Some("much"), 0), (Some("-9"), 0)]
        {
            assert!(is_let_in(&gateway, &limit, from("203.0.113.9")), "{left}");
            left -= 1;
            gateway.respond(StatusCode::OK, &took.map_or(Vec::new(), |took| vec![("x-took", took)]));
            let _ = gateway.on_response(&limit);
            let told = gateway.response_header("ratelimit").unwrap();
            assert!(told.contains(&format!("r={left}")), "{told}, not {left}: what was left before");
            left -= more;
        }
        assert_eq!(left, 1);
        assert!(is_let_in(&gateway, &limit, from("203.0.113.9")));
        gateway.respond(StatusCode::OK, &[("x-took", "1000")]);
        let _ = gateway.on_response(&limit);
        assert!(!is_let_in(&gateway, &limit, from("203.0.113.9")));
        assert!(is_let_in(&gateway, &limit, from("203.0.113.8")), "one answer may take all that is left of its own");
        gateway.respond(StatusCode::OK, &[("x-took", "1000")]);
        let _ = gateway.on_response(&limit);
        assert!(!is_let_in(&gateway, &limit, from("203.0.113.8")));
    }
}

#[test]
fn fields_can_be_left_out() {
    let (gateway, limit) = gateway(r#"{ "limit": "1/s", "headers": false }"#);
    assert!(is_let_in(&gateway, &limit, from("203.0.113.9")));
    gateway.respond(StatusCode::OK, &[]);
    let _ = gateway.on_response(&limit);
    assert_eq!(gateway.response_header("ratelimit"), None);
    gateway.receive(from("203.0.113.9"));
    let Decision::Respond(response) = gateway.on_request(&limit) else { panic!("let in") };
    assert_eq!((response.header("retry-after"), response.header("ratelimit")), (Some("1"), None));
}

/// Of two requests under a limit of one: whether the second shares the bucket of the first.
#[test]
fn who_shares_a_bucket() {
    let long = "k".repeat(10_000);
    let with = |name: &str, value: &str| from("203.0.113.1").header(name, value);
    let on_route = |name: &str, address: &str| from(address).attribute("route.name", name);
    let by_ip = r#""by": "ip""#;
    let by_identity = r#""by": "identity""#;
    let by_header = r#""by": { "header": "X-Team" }"#;
    for (by, one, other, shared) in [
        (by_ip, from("203.0.113.1"), from("203.0.113.1"), true),
        (by_ip, from("203.0.113.1"), from("203.0.113.2"), false),
        (by_ip, from("203.0.113.1"), from("::ffff:203.0.113.1"), true),
        (by_ip, from("2001:db8:1:2::1"), from("2001:db8:1:2:ffff::1"), true),
        (by_ip, from("2001:db8:1:2::1"), from("2001:db8:1:3::1"), false),
        (r#""ipv6_prefix": 128"#, from("2001:db8::1"), from("2001:db8::2"), false),
        (r#""ipv6_prefix": 48"#, from("2001:db8:1:2::1"), from("2001:db8:1:3::1"), true),
        (by_ip, Request::get("/"), Request::get("/"), true),
        (by_ip, with("x-forwarded-for", "1.1.1.1"), with("x-forwarded-for", "2.2.2.2"), true),
        (by_identity, from("203.0.113.1").identity("ada", "{}"), from("203.0.113.2").identity("ada", "{}"), true),
        (by_identity, from("203.0.113.1").identity("ada", "{}"), from("203.0.113.1").identity("bob", "{}"), false),
        (by_identity, from("203.0.113.1"), from("203.0.113.1"), true),
        (by_identity, from("203.0.113.1"), from("203.0.113.2"), false),
        (by_identity, from("203.0.113.1").identity("", "{}"), from("203.0.113.2").identity("", "{}"), false),
        (by_identity, from("203.0.113.1"), from("203.0.113.2").identity("203.0.113.1", "{}"), false),
        (r#""by": "route""#, on_route("a", "203.0.113.1"), on_route("a", "203.0.113.2"), true),
        (r#""by": "route""#, on_route("a", "203.0.113.1"), on_route("b", "203.0.113.1"), false),
        (by_header, with("x-team", "a"), with("x-team", "a"), true),
        (by_header, with("x-team", "a"), with("x-team", "b"), false),
        (by_header, with("x-team", &long), with("x-team", &long), true),
        (by_header, with("x-team", &long), with("x-team", &format!("{long}!")), false),
        (by_header, from("203.0.113.1"), from("203.0.113.1"), true),
        (by_header, from("203.0.113.1"), with("x-team", "203.0.113.1"), false),
    ] {
        let (gateway, limit) = gateway(&format!(r#"{{ "limit": "1/h", {by} }}"#));
        let shown = format!("{by}: {one:?} and {other:?}");
        assert!(is_let_in(&gateway, &limit, one));
        assert_eq!(is_let_in(&gateway, &limit, other), !shared, "{shown}");
    }
}

#[test]
fn bad_configurations_are_refused_by_name() {
    for (config, named) in [
        (r#"{}"#, "limit"),
        (r#"{ "limit": 5 }"#, "string"),
        (r#"{ "limit": "0/s" }"#, "0/s"),
        (r#"{ "limit": "5/fortnight" }"#, "fortnight"),
        (r#"{ "limit": "5/s", "burst": 0 }"#, "burst"),
        (r#"{ "limit": "5/s", "burst": -1 }"#, "-1"),
        (r#"{ "limit": "5/s", "cost": 0 }"#, "cost"),
        (r#"{ "limit": "5/s", "cost": 6 }"#, "cost"),
        (r#"{ "limit": "5/s", "by": "user" }"#, "user"),
        (r#"{ "limit": "5/s", "by": { "header": "a b" } }"#, "a b"),
        (r#"{ "limit": "5/s", "by": { "header": "host" } }"#, "host"),
        (r#"{ "limit": "5/s", "ipv6_prefix": 8 }"#, "ipv6_prefix"),
        (r#"{ "limit": "5/s", "name": "a\"b" }"#, "name"),
        (r#"{ "limit": "5/s", "name": "" }"#, "name"),
        (r#"{ "limit": "5/s", "bursts": 1 }"#, "bursts"),
        (r#"{ "limit": "5/s", "limits": [{ "limit": "1/s" }] }"#, "limits"),
        (r#"{ "limits": [] }"#, "limit"),
        (r#"{ "limits": [{ "limit": "5/s" }, { "limit": "9/min" }] }"#, "default"),
        (r#"{ "limits": [{ "limit": "5/s" }], "burst": 3 }"#, "burst"),
        (r#"{ "limits": [{ "limit": "5/s" }], "cost": 6 }"#, "cost"),
        (r#"{ "limit": "5/s", "window": "fixed", "burst": 3 }"#, "burst"),
        (r#"{ "limit": "5/s", "window": "rolling" }"#, "rolling"),
        (r#"{ "limit": "5/s", "cost_header": "a b" }"#, "a b"),
        (r#"{ "limit": "5/s", "response_cost_header": "a b" }"#, "response_cost_header"),
        (r#"{ "limit": "5/s", "by": { "path": "" } }"#, "by"),
        (r#"{ "limit": "5/s", "by": [] }"#, "by"),
        (r#"{ "limit": "5/s", "consumers": true }"#, "\"by\": \"identity\""),
        (r#"{ "limit": "5/s", "by": ["ip", "user"] }"#, "user"),
    ] {
        let refused = Double::new().configure::<RateLimit>(config).unwrap_err();
        assert!(refused.contains(named), "{config}: {refused}");
    }
}

#[test]
fn the_schema_has_the_defaults() {
    let manifest: Value = serde_json::from_str(&manifest::<RateLimit>()).unwrap();
    let properties = &manifest["config-schema"]["properties"];
    assert_eq!(manifest["config-schema"]["oneOf"][0]["required"], json!(["limit"]));
    assert_eq!(properties["cost"]["default"], json!(1));
    assert_eq!(properties["headers"]["default"], json!(true));
    assert_eq!(properties["ipv6_prefix"]["default"], json!(64));
    assert!(!properties.to_string().contains("$ref"));
}

#[test]
fn a_consumer_may_have_a_limit_of_its_own() {
    let gateway = Double::new();
    gateway.consumer_limit("shop", "\"3/min\"");
    gateway.consumer_limit("lab", r#"[{ "limit": "5/s" }, { "limit": "1/h", "window": "fixed", "name": "hour" }]"#);
    let limit: RateLimit = gateway.configure(r#"{ "limit": "2/min", "by": "identity", "consumers": true }"#).unwrap();
    let of = |subject: &str, claims: &str| {
        let request = || from("203.0.113.9").identity(subject, claims);
        (0..5).filter(|_| is_let_in(&gateway, &limit, request())).count()
    };
    assert_eq!(of("shop", r#"{"consumer":"shop"}"#), 3);
    assert_eq!(of("lab", r#"{"consumer":"lab"}"#), 1);
    assert_eq!(of("other", r#"{"consumer":"other"}"#), 2);
    let named = r#"{ "limit": "2/min", "window": "fixed", "name": "caller", "by": "identity", "consumers": true }"#;
    let named: RateLimit = gateway.configure(named).unwrap();
    assert!(is_let_in(&gateway, &named, from("203.0.113.9").identity("shop", r#"{"consumer":"shop"}"#)));
    gateway.respond(StatusCode::OK, &[]);
    assert_eq!(gateway.on_response(&named), Decision::Proceed);
    assert_eq!(gateway.response_header("ratelimit-policy").as_deref(), Some(r#""caller";q=3;w=60"#));
    let left = gateway.response_header("ratelimit");
    assert_eq!(left.as_deref(), Some(r#""caller";r=2;t=60"#), "a bucket would be full again in 20 s");
    let named_alike: RateLimit =
        gateway.configure(r#"{ "limit": "2/min", "by": "identity", "consumers": true }"#).unwrap();
    let passed =
        (0..5).filter(|_| is_let_in(&gateway, &named_alike, from("203.0.113.8").identity("shop", "{}"))).count();
    assert!(passed <= 2, "a name is no consumer");
    gateway.consumer_limit("bad", r#"[{ "limit": "1/s", "burst": 0 }]"#);
    let with_bad = r#"{ "limit": "2/min", "by": ["identity", "ip"], "consumers": true }"#;
    let refused = gateway.configure::<RateLimit>(with_bad).err().unwrap();
    assert!(refused.contains("\"bad\"") && refused.contains("burst"), "{refused}");
}
