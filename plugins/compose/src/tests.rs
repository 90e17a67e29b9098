#![allow(clippy::unwrap_used)]

use std::cell::RefCell;
use std::rc::Rc;

use gatewright_sdk::{
    http_client::{self, CallError},
    manifest,
    serde_json::{self, json},
    testing::{Double, Request},
};

use super::*;

type Answer = Result<http_client::Response, CallError>;

fn answer(status: u16, body: &str) -> Answer {
    Ok(http_client::Response { status: StatusCode::from_u16(status).unwrap(), headers: Vec::new(), body: body.into() })
}

/// A gateway with these responses of upstreams, and the plugin.
fn gateway(config: &serde_json::Value, upstreams: &[(&str, Answer)]) -> (Double, Compose) {
    let gateway = Double::new();
    for (name, answer) in upstreams.iter().cloned() {
        gateway.upstream(name, move |_| answer.clone());
    }
    let plugin = gateway.configure(&config.to_string()).unwrap();
    (gateway, plugin)
}

fn respond(gateway: &Double, plugin: &Compose, request: Request) -> (u16, String) {
    gateway.receive(request);
    let Decision::Respond(response) = gateway.on_request(plugin) else { panic!("it asks for the body") };
    (response.status.as_u16(), String::from_utf8(response.body).unwrap())
}

fn detail(body: &str) -> String {
    serde_json::from_str::<serde_json::Value>(body).unwrap()["detail"].as_str().unwrap().to_owned()
}

fn page() -> serde_json::Value {
    json!({
        "path": "/users/{id}/page",
        "parts": {
            "user": { "upstream": "users", "path": "/users/$(path.id)", "pass": [404] },
            "orders": { "upstream": "orders", "path": "/orders?customer=$(parts.user/customer)&limit=$(query.limit:-10)",
                        "optional": true, "default": [] },
            "news": { "upstream": "news", "path": "/news", "optional": true },
        },
        "answer": { "body": { "failed": "$(failed)", "name": "$(parts.user/name)", "news": "$(parts.news/0)",
                              "orders": "$(parts.orders)" } },
    })
}

#[test]
fn a_part_is_asked_with_what_another_one_said() {
    let upstreams = [
        ("users", answer(200, r#"{"name":"Ada","customer":"a&b/c"}"#)),
        ("orders", answer(200, "[1.10]")),
        ("news", answer(200, r#"["new"]"#)),
    ];
    let (gateway, plugin) = gateway(&page(), &upstreams);
    let request = Request::get("/users/4%2F2/page?limit=%20").header("x-request-id", "r1").header("cookie", "secret");
    let (status, body) = respond(&gateway, &plugin, request);
    assert_eq!((status, body.as_str()), (200, r#"{"failed":[],"name":"Ada","news":"new","orders":[1.10]}"#));
    let mut paths: Vec<String> = gateway.calls().iter().map(|call| call.path.clone()).collect();
    paths.sort();
    assert_eq!(paths, ["/news", "/orders?customer=a%26b%2Fc&limit=%20", "/users/4%2F2"]);
    let user = gateway.calls().into_iter().find(|call| call.upstream == "users").unwrap();
    let headers: Vec<(&str, &str)> = user.headers.iter().map(|(name, value)| (&**name, &**value)).collect();
    assert_eq!(headers, [("x-request-id", "r1"), ("x-compose-depth", "1"), ("accept", "application/json")]);
}

#[test]
fn an_optional_part_has_a_default_and_a_required_one_ends_it() {
    let good = answer(200, r#"{"name":"Ada","customer":7}"#);
    for (user, orders, news, status, expected) in [
        (
            &good,
            answer(500, "x"),
            answer(200, "oops"),
            200,
            r#"{"failed":["news","orders"],"name":"Ada","news":null,"orders":[]}"#,
        ),
        (
            &good,
            Err(CallError::TimedOut),
            answer(204, ""),
            200,
            r#"{"failed":["orders"],"name":"Ada","news":null,"orders":[]}"#,
        ),
        (
            &answer(200, "{}"),
            answer(200, "1"),
            answer(200, "[]"),
            200,
            r#"{"failed":["orders"],"name":null,"news":null,"orders":[]}"#,
        ),
        (&answer(404, "secret"), answer(200, "1"), answer(200, "[]"), 404, "The part \"user\" was refused."),
        (&answer(403, "secret"), answer(200, "1"), answer(200, "[]"), 502, "The part \"user\" was refused."),
        (&answer(302, "secret"), answer(200, "1"), answer(200, "[]"), 502, "The part \"user\" was refused."),
        (&answer(200, "{secret"), answer(200, "1"), answer(200, "[]"), 502, "The part \"user\" could not be read."),
        (&Err(CallError::TimedOut), answer(200, "1"), answer(200, "[]"), 504, "The part \"user\" took too long."),
        (
            &Err(CallError::ConnectionFailed("secret".into())),
            answer(200, "1"),
            answer(200, "[]"),
            502,
            "The part \"user\" could not be asked.",
        ),
        (
            &Err(CallError::LimitExceeded),
            answer(200, "1"),
            answer(200, "[]"),
            502,
            "The part \"user\" could not be asked.",
        ),
        (
            &Err(CallError::ResponseTooLarge),
            answer(200, "1"),
            answer(200, "[]"),
            502,
            "The part \"user\" is too large.",
        ),
        (&answer(508, ""), answer(200, "1"), answer(200, "[]"), 508, "The part \"user\" leads back here."),
    ] {
        let (gateway, plugin) = gateway(&page(), &[("users", user.clone()), ("orders", orders), ("news", news)]);
        let (have, body) = respond(&gateway, &plugin, Request::get("/users/7/page"));
        let told = if have == 200 { body.clone() } else { detail(&body) };
        assert_eq!((have, told.as_str()), (status, expected), "{user:?}");
        let asked_after = gateway.calls().iter().any(|call| call.upstream == "orders");
        assert!(have == 200 || !asked_after, "what needs a part that failed is not asked");
    }
}

#[test]
fn what_a_part_says_cannot_lead_elsewhere() {
    for (customer, status) in
        [(r#"".."""#, 502), (r#""..""#, 502), (r#""""#, 502), ("null", 502), ("[1]", 502), (r#""a/../b""#, 200)]
    {
        let config = json!({ "parts": {
            "one": { "upstream": "a", "path": "/one" },
            "two": { "upstream": "b", "path": "/x/$(parts.one/v)/y", "headers": { "x-v": "$(parts.one/h)" } },
        } });
        let said = answer(200, &format!(r#"{{"v":{customer},"h":"x"}}"#));
        let (gateway, plugin) = gateway(&config, &[("a", said), ("b", answer(200, "2"))]);
        let (have, body) = respond(&gateway, &plugin, Request::get("/"));
        assert_eq!(have, status, "{customer}: {body}");
    }
    let config = json!({ "parts": {
        "one": { "upstream": "a", "path": "/one" },
        "two": { "upstream": "b", "path": "/", "headers": { "x-v": "$(parts.one/h)", "x-none": "$(parts.one/none)" } },
    } });
    for (header, status) in [("a\\r\\nx-evil: 1", 502), ("fine", 200)] {
        let said = answer(200, &format!(r#"{{"h":"{header}"}}"#));
        let (gateway, plugin) = gateway(&config, &[("a", said), ("b", answer(200, "2"))]);
        assert_eq!(respond(&gateway, &plugin, Request::get("/")).0, status, "{header}");
        assert!(gateway.calls().iter().all(|call| call.headers.iter().all(|(name, _)| name != "x-none")));
    }
}

#[test]
fn the_body_of_the_request_is_a_value_too() {
    let config = json!({ "parts": { "made": {
        "upstream": "a", "method": "POST", "path": "/v?id=$(body/id)", "body": { "all": "$(body)", "who": "by $(identity.subject)" },
    } }, "answer": { "status": 201, "headers": { "location": "/v/$(parts.made/id)", "x-none": "$(parts.made/none)" } },
      "max_request_size": "64B" });
    let post = |body: &str, kind: &str| {
        let (gateway, plugin) = gateway(&config, &[("a", answer(200, r#"{"id":5}"#))]);
        gateway.receive(Request::post("/").header("content-type", kind).identity("ada", "{}"));
        let response = match gateway.on_request(&plugin) {
            Decision::Proceed => match gateway.request_body(&plugin, &[body.as_bytes()]) {
                Err(BodyDecision::Respond(response)) => response,
                other => panic!("{other:?}"),
            },
            Decision::Respond(response) => response,
            Decision::Abort => panic!("aborted"),
        };
        (response, gateway.calls())
    };
    let (response, calls) = post(r#"{"id":1.0,"x":["y"]}"#, "application/json");
    assert_eq!(
        (response.status.as_u16(), response.header("location"), response.header("x-none")),
        (201, Some("/v/5"), None)
    );
    assert_eq!(String::from_utf8_lossy(&calls[0].body), r#"{"all":{"id":1.0,"x":["y"]},"who":"by ada"}"#);
    assert_eq!(calls[0].path, "/v?id=1.0");
    let large = format!("\"{}\"", "x".repeat(64));
    for (body, kind, status) in [
        ("{", "application/json", 400),
        ("{}", "application/json", 400),
        (&large, "application/json", 413),
        ("{}", "text/plain", 415),
    ] {
        let (response, calls) = post(body, kind);
        assert_eq!((response.status.as_u16(), calls.len()), (status, 0), "{body} {kind}");
    }
}

#[test]
fn sizes_are_bounded() {
    let config = json!({
        "parts": { "a": { "upstream": "a", "path": "/" }, "b": { "upstream": "b", "path": "/", "read": "text" } },
        "answer": { "body": ["$(parts.a)", "$(parts.b)"] }, "max_part_size": "20B", "max_size": "30B",
    });
    let text = |length: usize| format!("\"{}\"", "x".repeat(length));
    for (a, b, status) in [
        (text(10), "x".repeat(10), 200),
        (text(19), "x".repeat(5), 502),
        (text(10), "x".repeat(19), 502),
        // The template's own bytes and the quotes of the text count as well.
        (text(13), "x".repeat(13), 502),
    ] {
        let (gateway, plugin) = gateway(&config, &[("a", answer(200, &a)), ("b", answer(200, &b))]);
        assert_eq!(respond(&gateway, &plugin, Request::get("/")).0, status, "{} {}", a.len(), b.len());
    }
}

#[test]
fn a_composition_within_itself_ends() {
    let (gateway, plugin) =
        gateway(&json!({ "parts": { "a": { "upstream": "a", "path": "/" } } }), &[("a", answer(200, "1"))]);
    for (depths, status, told) in [
        (&["2"][..], 200, Some("3")),
        (&["3"], 508, None),
        (&["1", "7"], 508, None),
        (&["x"], 400, None),
        (&["-1"], 400, None),
    ] {
        let calls = gateway.calls().len();
        let request = depths.iter().fold(Request::get("/"), |request, depth| request.header(DEPTH, depth));
        assert_eq!(respond(&gateway, &plugin, request).0, status, "{depths:?}");
        let call = gateway.calls().get(calls).cloned();
        let depth =
            call.and_then(|call| call.headers.into_iter().find(|(name, _)| name == DEPTH).map(|(_, value)| value));
        assert_eq!(depth.as_deref(), told, "{depths:?}");
    }
}

#[test]
fn time_that_is_gone_is_not_given_to_later_parts() {
    let config = json!({ "parts": {
        "one": { "upstream": "a", "path": "/", "timeout": "1s" },
        "two": { "upstream": "b", "path": "/", "timeout": "1s", "after": ["one"] },
        "three": { "upstream": "c", "path": "/", "after": ["two"] },
    }, "deadline": "1200ms" });
    let (gateway, plugin) = gateway(&config, &[("c", answer(200, "3"))]);
    let gateway = Rc::new(RefCell::new(gateway));
    for (name, milliseconds) in [("a", 900), ("b", 300)] {
        let clock = gateway.clone();
        gateway.borrow().upstream(name, move |_| {
            clock.borrow().advance(Duration::from_millis(milliseconds));
            answer(200, "1")
        });
    }
    let (status, body) = respond(&gateway.borrow(), &plugin, Request::get("/"));
    assert_eq!((status, detail(&body).as_str()), (504, "The part \"three\" took too long."));
    let timeouts: Vec<u128> = gateway.borrow().calls().iter().map(|call| call.timeout.as_millis()).collect();
    assert_eq!(timeouts, [1000, 300]);
}

#[test]
fn paths_that_are_others() {
    let (gateway, plugin) = gateway(&page(), &[]);
    for path in ["/users/7", "/users//page", "/users/7/page/", "/users/%ff/page"] {
        assert_eq!(respond(&gateway, &plugin, Request::get(path)).0, 404, "{path}");
    }
}

#[test]
fn bad_configurations_are_refused_by_name() {
    let part = |more: serde_json::Value| {
        let mut part = json!({ "upstream": "a", "path": "/" });
        part.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({ "path": "/{id}", "parts": { "a": part, "b": { "upstream": "b", "path": "/" } } })
    };
    let top = |key: &str, value: serde_json::Value| {
        let mut config = json!({ "parts": { "a": { "upstream": "a", "path": "/" } } });
        config[key] = value;
        config
    };
    for (config, named) in [
        (json!({}), "parts"),
        (json!({ "parts": {} }), "parts: there are 0"),
        (json!({ "parts": { "a b": { "upstream": "a", "path": "/" } } }), "parts: \"a b\" is not a name"),
        (part(json!({ "path": "a" })), "parts.a.path"),
        (part(json!({ "path": "/$(parts.c)" })), "parts.a.path: $(parts.c): there is no part \"c\"; there is a, b"),
        (part(json!({ "path": "/$(path.name)" })), "no path segment \"name\"; there is id"),
        (part(json!({ "path": "/$(parts.a)" })), "each of these waits for the next one: a, a"),
        (part(json!({ "body": ["$(failed)"] })), "$(failed)"),
        (part(json!({ "body": { "x": ["$(x)"] } })), "parts.a.body: /x/0: $(x)"),
        (part(json!({ "method": "CONNECT" })), "parts.a.method"),
        (part(json!({ "timeout": "0s" })), "parts.a.timeout"),
        (part(json!({ "default": [] })), "parts.a.default"),
        (part(json!({ "pass": [500] })), "parts.a.pass: 500"),
        (part(json!({ "after": ["c"] })), "parts.a.after: there is no part \"c\""),
        (part(json!({ "forward": ["content-length"] })), "parts.a.forward"),
        (part(json!({ "forward": ["X-Compose-Depth"] })), "calls themselves".replace("calls", "call").as_str()),
        (part(json!({ "headers": { "te": "x" } })), "parts.a.headers.te"),
        (part(json!({ "headers": { "x-a": "a\nb" } })), "parts.a.headers.x-a"),
        (part(json!({ "headers": { "x-a": "$(" } })), "parts.a.headers.x-a"),
        (part(json!({ "read": "xml" })), "xml"),
        (part(json!({ "uri": "/" })), "uri"),
        (top("path", json!("/{a}/{a}")), "path: "),
        (top("deadline", json!("0s")), "deadline"),
        (top("answer", json!({ "status": 600 })), "answer.status"),
        (top("answer", json!({ "body": "$(parts.b)" })), "answer.body"),
        (top("answer", json!({ "headers": { "host": "x" } })), "answer.headers.host"),
    ] {
        let refused = Double::new().configure::<Compose>(&config.to_string()).err();
        let refused = refused.unwrap_or_else(|| panic!("{config} is accepted"));
        assert!(refused.contains(named), "{config}: {refused}");
    }
    let circle = json!({ "parts": {
        "a": { "upstream": "a", "path": "/$(parts.c)" }, "b": { "upstream": "a", "path": "/$(parts.a)" },
        "c": { "upstream": "a", "path": "/", "after": ["b"] }, "d": { "upstream": "a", "path": "/", "after": ["c"] },
    } });
    let refused = Double::new().configure::<Compose>(&circle.to_string()).err().unwrap();
    assert_eq!(refused, "parts: each of these waits for the next one: a, c, b, a");
}

#[test]
fn the_schema_has_safe_defaults() {
    let manifest: serde_json::Value = serde_json::from_str(&manifest::<Compose>()).unwrap();
    let schema = &manifest["config-schema"];
    for (key, value) in [
        ("deadline", json!("5s")),
        ("max_part_size", json!("256KiB")),
        ("max_size", json!("512KiB")),
        ("max_depth", json!(3)),
    ] {
        assert_eq!(schema["properties"][key]["default"], value, "{key}");
    }
    assert_eq!(schema["required"], json!(["parts"]));
    let part = &schema["properties"]["parts"]["additionalProperties"]["properties"];
    assert_eq!((&part["optional"]["default"], &part["timeout"]["default"]), (&json!(false), &json!("1s")));
}
