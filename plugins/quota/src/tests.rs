#![allow(clippy::unwrap_used)]

use gatewright_sdk::{
    manifest,
    serde_json::{self, Value, json},
    testing::{Double, Request},
};

use super::*;

const HOUR: Duration = Duration::from_secs(3600);

/// The double's clock begins at 2026-01-01T00:00:00Z.
fn gateway(config: &str) -> (Double, Quota) {
    let gateway = Double::new();
    let quota = gateway.configure(config).unwrap();
    (gateway, quota)
}

fn ask(gateway: &Double, quota: &Quota, who: &str) -> (u16, String, String) {
    gateway.receive(Request::get("/").identity(who, "{}"));
    match gateway.on_request(quota) {
        Decision::Proceed => {
            gateway.respond(StatusCode::OK, &[]);
            assert_eq!(gateway.on_response(quota), Decision::Proceed);
            (200, gateway.response_header("ratelimit").unwrap_or_default(), String::new())
        }
        Decision::Respond(response) => {
            let header = |name| response.header(name).unwrap_or_default().to_owned();
            (response.status.as_u16(), header("ratelimit"), header("retry-after"))
        }
        Decision::Abort => (0, String::new(), String::new()),
    }
}

fn told(status: u16, limit: &str, retry_after: &str) -> (u16, String, String) {
    (status, limit.to_owned(), retry_after.to_owned())
}

#[test]
fn a_day_ends_at_midnight() {
    let (gateway, quota) = gateway(r#"{ "day": 2 }"#);
    gateway.advance(22 * HOUR);
    assert_eq!(ask(&gateway, &quota, "ada"), told(200, r#""day";r=1;t=7200"#, ""));
    assert_eq!(gateway.response_header("ratelimit-policy").as_deref(), Some(r#""day";q=2"#));
    assert_eq!(ask(&gateway, &quota, "ada"), told(200, r#""day";r=0;t=7200"#, ""));
    gateway.advance(HOUR);
    assert_eq!(ask(&gateway, &quota, "ada"), told(429, r#""day";r=0;t=3600"#, "3600"));
    assert_eq!(ask(&gateway, &quota, "bob").0, 200);
    gateway.advance(HOUR);
    assert_eq!(ask(&gateway, &quota, "ada"), told(200, r#""day";r=1;t=86400"#, ""));
    assert_eq!(gateway.measures().len(), 1);
}

#[test]
fn midnight_is_where_the_operator_says() {
    let (gateway, quota) = gateway(r#"{ "day": 1, "zone": "+02:00" }"#);
    gateway.advance(21 * HOUR);
    assert_eq!(ask(&gateway, &quota, "ada"), told(200, r#""day";r=0;t=3600"#, ""));
    assert_eq!(ask(&gateway, &quota, "ada").0, 429);
    gateway.advance(HOUR);
    assert_eq!(ask(&gateway, &quota, "ada").0, 200);
}

#[test]
fn what_the_day_refuses_the_month_does_not_count() {
    let (gateway, quota) = gateway(r#"{ "day": 1, "month": 2 }"#);
    let month = |hours: u64| (31 * 24 - hours) * 3600;
    assert_eq!(ask(&gateway, &quota, "ada").1, format!(r#""day";r=0;t=86400, "month";r=1;t={}"#, month(0)));
    for _ in 0..10 {
        assert_eq!(ask(&gateway, &quota, "ada").2, "86400");
    }
    gateway.advance(24 * HOUR);
    assert_eq!(ask(&gateway, &quota, "ada").0, 200);
    gateway.advance(24 * HOUR);
    let (status, limit, retry_after) = ask(&gateway, &quota, "ada");
    assert_eq!((status, retry_after), (429, month(48).to_string()), "the month is what to wait for");
    assert!(limit.starts_with(r#""day";r=1"#), "{limit}");
    gateway.advance(29 * 24 * HOUR);
    assert_eq!(ask(&gateway, &quota, "ada").0, 200, "it is February");
}

#[test]
fn a_request_may_cost_more_and_say_nothing() {
    let (gateway, quota) = gateway(r#"{ "month": 5, "cost": 2, "headers": false }"#);
    assert_eq!(ask(&gateway, &quota, "ada"), told(200, "", ""));
    assert_eq!(ask(&gateway, &quota, "ada").0, 200);
    assert_eq!(ask(&gateway, &quota, "ada").0, 429, "one is left, and it costs two");
    assert!(gateway.state().is_empty());
}

#[test]
fn what_cannot_be_counted_is_refused() {
    let (gateway, quota) = gateway(r#"{ "day": 5 }"#);
    gateway.limits_are_unavailable(true);
    assert_eq!(ask(&gateway, &quota, "ada"), told(503, "", "1"));
}

#[test]
fn a_consumer_may_have_a_quota_of_its_own() {
    let gateway = Double::new();
    gateway.consumer_limit("shop", r#"{ "month": 3 }"#);
    let quota: Quota = gateway.configure(r#"{ "day": 1, "consumers": true }"#).unwrap();
    for (subject, claims, most, policy) in [
        ("shop", r#"{"consumer":"shop"}"#, 3, r#""month";q=3"#),
        ("other", r#"{"consumer":"other"}"#, 1, r#""day";q=1"#),
        // A name alone does not make a caller a consumer.
        ("like-shop", r#"{"name":"shop"}"#, 1, r#""day";q=1"#),
    ] {
        for number in 0..5 {
            gateway.receive(Request::get("/").identity(subject, claims));
            let decision = gateway.on_request(&quota);
            assert_eq!(decision == Decision::Proceed, number < most, "{subject}: {number}");
            if number < most {
                gateway.respond(StatusCode::OK, &[]);
                assert_eq!(gateway.on_response(&quota), Decision::Proceed);
                assert_eq!(gateway.response_header("ratelimit-policy").as_deref(), Some(policy), "{subject}");
            }
        }
    }
    for (limit, named) in [("{}", "day"), (r#"{ "day": 0 }"#, "day"), (r#"{ "week": 1 }"#, "week")] {
        gateway.consumer_limit("bad", limit);
        let refused = gateway.configure::<Quota>(r#"{ "day": 2, "consumers": true }"#).unwrap_err();
        assert!(refused.contains("\"bad\"") && refused.contains(named), "{limit}: {refused}");
    }
}

#[test]
fn bad_configurations_are_refused_by_name() {
    for (config, named) in [
        (r#"{}"#, "day"),
        (r#"{ "day": 0 }"#, "day"),
        (r#"{ "month": 0 }"#, "month"),
        (r#"{ "week": 5 }"#, "week"),
        (r#"{ "day": 5, "cost": 0 }"#, "cost"),
        (r#"{ "day": 5, "month": 100, "cost": 6 }"#, "day"),
        (r#"{ "day": 5, "zone": "Europe/Rome" }"#, "Europe/Rome"),
        (r#"{ "day": 5, "by": { "header": "host" } }"#, "host"),
        (r#"{ "day": 5, "by": "ip", "consumers": true }"#, "\"by\": \"identity\""),
    ] {
        let refused = Double::new().configure::<Quota>(config).unwrap_err();
        assert!(refused.contains(named), "{config}: {refused}");
    }
}

#[test]
fn the_schema_has_the_defaults() {
    let manifest: Value = serde_json::from_str(&manifest::<Quota>()).unwrap();
    let properties = &manifest["config-schema"]["properties"];
    assert_eq!(properties["zone"]["default"], json!("Z"));
    assert_eq!(properties["by"]["default"], json!("identity"));
    assert_eq!(properties["cost"]["default"], json!(1));
}
