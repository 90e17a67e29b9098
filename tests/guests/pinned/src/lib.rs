//! A plugin of an author who has never heard of a later contract than 0.1.0. `wit/plugin.wit` is never changed: whatever
//! is added to the contract, this component has to run.

wit_bindgen::generate!({ world: "full-plugin", path: "wit" });

use exports::gatewright::plugin::{
    background, completion_hook, lifecycle, request_body_hook, request_hook, response_body_hook, response_hook,
};
use gatewright::plugin::exchange::{self, MutateError};
use gatewright::plugin::types::{BodyDecision, BodyMode, Caller, Decision, Direction, LocalResponse, Section};
use gatewright::plugin::{
    clock, concurrency, hooks, http_client, jwt, log, metrics, password, random, rate_limit, secrets, shared_store,
};

struct Pinned;
export!(Pinned);

impl lifecycle::Guest for Pinned {
    fn describe() -> String {
        r#"{ "name": "pinned", "version": "1.0.0", "config-schema": { "type": "object" }, "metrics": [
             { "name": "seen", "kind": "counter", "labels": ["how"] }, { "name": "level", "kind": "gauge" },
             { "name": "size", "kind": "histogram" }] }"#
            .to_owned()
    }

    fn configure(config: String) -> Result<(), String> {
        if config.contains("refuse") {
            return Err("it was asked to".to_owned());
        }
        if config.contains("skip") {
            hooks::skip(hooks::Hook::Response);
        }
        jwt::declare(
            "keys",
            r#"{ "algorithms": ["HS256"], "keys": [{ "secret": "a secret of thirty-two bytes long" }] }"#,
        )?;
        match password::check("no hash") {
            Err(_) => Ok(()),
            Ok(()) => Err("a hash that is none was accepted".to_owned()),
        }
    }
}

impl request_hook::Guest for Pinned {
    fn on_request(_end_of_stream: bool) -> Decision {
        match exchange::path().as_str() {
            "/answer" => {
                let headers = vec![("x-pinned".to_owned(), "answered".to_owned())];
                return Decision::Respond(LocalResponse { status: 418, headers, body: b"short and stout".to_vec() });
            }
            "/abort" => return Decision::Abort,
            "/body" => {
                let _ = exchange::set_body_mode(Direction::Request, BodyMode::Whole);
                let _ = exchange::set_body_mode(Direction::Response, BodyMode::Chunks);
            }
            _ => {}
        }
        let failures: Vec<&str> = ASKED.iter().filter(|(_, ask)| !ask()).map(|(name, _)| *name).collect();
        let verdict = if failures.is_empty() { "all".to_owned() } else { failures.join(" ") };
        let _ = exchange::set_header(Section::ResponseHeaders, "x-pinned", &verdict);
        Decision::Proceed
    }
}

/// An interface, and whether its functions do what they did.
type Asked = (&'static str, fn() -> bool);

/// Every function of the contract.
const ASKED: &[Asked] = &[
    ("exchange", || {
        let section = Section::RequestHeaders;
        exchange::method() == "POST"
            && exchange::scheme() == "http"
            && !exchange::authority().is_empty()
            && exchange::status() == 0
            && exchange::header(section, "x-one").as_deref() == Some("1")
            && exchange::select_headers(section, &["x-one".to_owned(), "x-two".to_owned()])
                == [Some("1".to_owned()), None]
            && exchange::header_values(section, "x-one") == [b"1"]
            && exchange::headers(section).iter().any(|(name, _)| name == "x-one")
            && !exchange::encoded_headers(section).is_empty()
            && exchange::attribute("source.address").is_some()
    }),
    ("changes", || {
        let section = Section::RequestHeaders;
        let block = [4, 0, 1, 0, 0, 0, b'x', b'-', b'i', b'n', b'!'];
        exchange::set_header(section, "x-set", "a").is_ok()
            && exchange::append_header(section, "x-set", "b").is_ok()
            && exchange::remove_header(section, "x-one").is_ok()
            && exchange::set_headers(section, &block).is_ok()
            && exchange::append_headers(section, &block).is_ok()
            && matches!(exchange::set_header(section, "connection", "close"), Err(MutateError::Forbidden))
            && matches!(exchange::set_status(204), Err(MutateError::WrongPhase))
            && exchange::set_method("PUT").is_ok()
            && exchange::set_authority("pinned.test").is_ok()
            && exchange::set_path("/changed").is_ok()
            && matches!(exchange::set_upstream("nobody's"), Err(MutateError::NotGranted))
    }),
    ("caller", || {
        exchange::identity().is_none()
            && exchange::set_identity(&Caller { subject: "ann".to_owned(), claims: "{}".to_owned() }).is_ok()
            && exchange::identity().is_some_and(|caller| caller.subject == "ann")
            && exchange::set_attribute("note", "noted").is_ok()
            && exchange::set_state(b"kept").is_ok()
            && exchange::state() == b"kept"
    }),
    ("log", || {
        let _ = log::enabled(log::Level::Trace);
        log::write(log::Level::Info, "pinned", &[("field".to_owned(), "value".to_owned())]);
        true
    }),
    ("metrics", || {
        metrics::count("seen", &["so".to_owned()], 1);
        metrics::gauge("level", &[], 0.5);
        metrics::observe("size", &[], 7.0);
        true
    }),
    ("clock", || clock::now().seconds > 1_700_000_000 && clock::monotonic() <= clock::monotonic()),
    ("random", || random::bytes(8).len() == 8 && random::number() != random::number()),
    ("shared-store", || {
        let _ = shared_store::remove("key");
        let version = shared_store::set("key", b"1", Some(60_000)).unwrap_or_default();
        shared_store::get("key").is_some_and(|entry| entry.value == b"1" && entry.version == version)
            && shared_store::compare_and_set("key", Some(version), b"2", None).is_ok()
            && matches!(
                shared_store::compare_and_set("key", Some(version), b"3", None),
                Err(shared_store::SwapError::Conflict(Some(_)))
            )
            && shared_store::increment("count", 2, None).is_ok_and(|count| count >= 2)
            && shared_store::remove("key")
    }),
    ("rate-limit", || {
        let quota = rate_limit::Quota { requests: 100, per_ms: 1000, burst: 0 };
        let window = rate_limit::Window { requests: 100, length_ms: 1000, anchor_ms: 0 };
        let rules = [
            rate_limit::Rule::TokenBucket(quota),
            rate_limit::Rule::FixedWindow(window),
            rate_limit::Rule::SlidingWindow(window),
        ];
        let taken = rate_limit::take("a", quota, 1);
        taken.allowed
            && taken.remaining < 100
            && taken.retry_after_ms == 0
            && taken.reset_ms <= 1000
            && rate_limit::take_all("a", &rules, 1).is_ok_and(|outcomes| outcomes.iter().all(|one| one.allowed))
            && matches!(rate_limit::take_all("a", &[], 1), Err(rate_limit::LimitError::LimitExceeded))
    }),
    ("concurrency", || {
        let outcome = concurrency::enter("a", 10);
        outcome.allowed && outcome.taken >= 1
    }),
    ("http-client", || {
        let request = |upstream: &str| http_client::Request {
            upstream: upstream.to_owned(),
            method: "GET".to_owned(),
            path: "/callout".to_owned(),
            headers: vec![("x-call".to_owned(), "1".to_owned())],
            body: Vec::new(),
            timeout_ms: 5000,
        };
        http_client::send(&request("lent")).is_ok_and(|answer| answer.status == 200 && !answer.body.is_empty())
            && matches!(http_client::send_all(&[request("other")])[..], [Err(http_client::CallError::UnknownUpstream)])
            && http_client::dispatch(&request("lent")).is_ok()
    }),
    ("jwt", || matches!(jwt::verify("keys", "no token"), Err(jwt::VerifyError::Malformed))),
    ("password", || matches!(password::verify("no hash", "secret"), Err(password::VerifyError::Unsupported(_)))),
    ("secrets", || secrets::get("lent").as_deref() == Some("hush") && secrets::get("other").is_none()),
];

impl request_body_hook::Guest for Pinned {
    fn on_request_body(chunk: Vec<u8>, end_of_stream: bool) -> BodyDecision {
        if end_of_stream { BodyDecision::Replace([b"seen ", &chunk[..]].concat()) } else { BodyDecision::Hold }
    }
}

impl response_hook::Guest for Pinned {
    fn on_response(_end_of_stream: bool) -> Decision {
        let state = String::from_utf8_lossy(&exchange::state()).into_owned();
        let _ = exchange::set_header(Section::ResponseHeaders, "x-state", &state);
        let _ = exchange::set_status(exchange::status());
        Decision::Proceed
    }
}

impl response_body_hook::Guest for Pinned {
    fn on_response_body(_chunk: Vec<u8>, _end_of_stream: bool) -> BodyDecision {
        BodyDecision::Pass
    }
}

impl completion_hook::Guest for Pinned {
    fn on_complete() {
        metrics::count("seen", &["complete".to_owned()], 1);
    }
}

impl background::Guest for Pinned {
    fn on_tick() -> Option<u32> {
        metrics::count("seen", &["tick".to_owned()], 1);
        None
    }
}
