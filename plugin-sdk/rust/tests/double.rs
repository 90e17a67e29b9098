//! A plugin under the double, as in an author's tests: every ability once, and the gateway's rules.

#![allow(clippy::unwrap_used, missing_docs)]

use std::{panic, time::Duration};

use gatewright_sdk::{
    BodyDecision, BodyMode, Decision, Direction, Exchange, Exported, HeaderBlock, Method, Metric, MutateError,
    NoConfig, Plugin, Response, Section, State, StatusCode, clock, config,
    http_client::{self, CallError},
    log, manifest, plugin, random, secrets,
    serde_json::{self, Value, json},
    shared_store,
    testing::{Double, Request},
    units::Span,
};

/// A plugin whose hooks are given by the test.
struct Script {
    request: fn(&Exchange) -> Decision,
    response: fn(&Exchange) -> Decision,
    body: fn(&Exchange, Vec<u8>) -> BodyDecision,
}

static SEEN: Metric = Metric::counter("seen", "Requests seen.", &["method"]);
static LEVEL: Metric = Metric::gauge("level", "A level.", &[]);
static TOOK: Metric = Metric::histogram("took_seconds", "A duration.", &[]);

#[plugin(name = "script")]
impl Plugin for Script {
    type Config = NoConfig;

    const METRICS: &'static [&'static Metric] = &[&SEEN, &LEVEL, &TOOK];
    const WANTS: &'static [&'static str] = &["http-client"];
    const STATE: State = State::Instance;

    fn new(_: NoConfig) -> Result<Self, String> {
        Ok(Self { request: |_| Decision::Proceed, response: |_| Decision::Proceed, body: |_, _| BodyDecision::Pass })
    }
    fn on_request(&self, exchange: &Exchange) -> Decision {
        (self.request)(exchange)
    }
    fn on_request_body(&self, exchange: &Exchange, chunk: Vec<u8>) -> BodyDecision {
        (self.body)(exchange, chunk)
    }
    fn on_response(&self, exchange: &Exchange) -> Decision {
        (self.response)(exchange)
    }
    fn on_complete(&self, exchange: &Exchange) {
        exchange.set_state(exchange.path().as_bytes()).unwrap();
        assert_eq!(exchange.set_identity("late", "{}"), Err(MutateError::WrongPhase));
    }
    fn on_tick(&self) -> Option<Duration> {
        shared_store::increment("ticks", 1, None).ok().map(|ticks| Duration::from_secs(ticks.unsigned_abs()))
    }
}

fn script() -> (Double, Script) {
    let gateway = Double::new();
    let script = gateway.configure("").unwrap();
    (gateway, script)
}

#[test]
fn the_manifest_says_what_the_code_says() {
    let manifest: Value = serde_json::from_str(&manifest::<Script>()).unwrap();
    assert_eq!(
        manifest,
        json!({
            "name": "script",
            "version": env!("CARGO_PKG_VERSION"),
            "state": "instance",
            "wants": ["http-client"],
            "metrics": [
                { "name": "seen", "kind": "counter", "help": "Requests seen.", "labels": ["method"] },
                { "name": "level", "kind": "gauge", "help": "A level.", "labels": [] },
                { "name": "took_seconds", "kind": "histogram", "help": "A duration.", "labels": [] },
            ],
            "config-schema": {
                "title": "NoConfig",
                "description": "The configuration of a plugin that has none: only `{}` is accepted.",
                "type": "object",
                "additionalProperties": false
            }
        })
    );
    assert_eq!(Script::HOOKS, ["on-request", "on-request-body", "on-response", "on-complete", "on-tick"]);
}

#[test]
fn configurations_are_strict() {
    #[config]
    #[derive(Debug, PartialEq)]
    struct Strict {
        every: Span,
        how: How,
    }
    #[config]
    #[derive(Debug, PartialEq)]
    enum How {
        AllAtOnce,
        OneBy { step_size: u8 },
    }
    let read = |text| serde_json::from_str::<Strict>(text).map_err(|error| error.to_string());
    let every = Span(Duration::from_secs(5));
    assert_eq!(read(r#"{ "every": "5s", "how": "all-at-once" }"#), Ok(Strict { every, how: How::AllAtOnce }));
    assert_eq!(
        read(r#"{ "every": "5s", "how": { "one-by": { "step_size": 2 } } }"#),
        Ok(Strict { every, how: How::OneBy { step_size: 2 } })
    );
    assert!(read(r#"{ "every": "5s", "how": "all-at-once", "evry": 1 }"#).unwrap_err().contains("evry"));
    assert!(read(r#"{ "every": "5s", "how": { "one-by": { "step_size": 2, "x": 1 } } }"#).unwrap_err().contains("`x`"));

    for (text, good) in [("", true), (" null ", true), ("{}", true), (r#"{"a":1}"#, false), ("1", false), ("{", false)]
    {
        assert_eq!(Double::new().configure::<Script>(text).is_ok(), good, "{text:?}");
    }
}

#[test]
fn a_request_is_read_and_changed() {
    let (gateway, mut script) = script();
    script.request = |exchange| {
        assert_eq!((exchange.method(), exchange.scheme()), (Method::POST, "http".to_owned()));
        assert_eq!((exchange.authority(), exchange.path()), ("example.org".to_owned(), "/a?b".to_owned()));
        assert_eq!((exchange.status(), exchange.end_of_stream()), (None, false));
        let headers = exchange.request_headers();
        assert_eq!(headers.select(["X-A", "x-none", "x-b"]), [Some("1".into()), None, Some("\u{fffd}".into())]);
        assert_eq!(headers.values("x-a"), [b"1".to_vec(), b"2".to_vec()]);
        assert_eq!(headers.all().len(), 3);

        exchange.set_method(&Method::PUT).unwrap();
        exchange.set_path("/c").unwrap();
        exchange.set_authority("inside:8080").unwrap();
        exchange.set_upstream("other").unwrap();
        exchange.set_attribute("seen", "yes").unwrap();
        headers.set("X-A", " 3 ").unwrap();
        headers.append(gatewright_sdk::header::VIA, "me").unwrap();
        headers.remove("x-b").unwrap();
        Decision::Proceed
    };
    gateway.allow_upstream("other");
    let request = Request::post("/a?b").authority("example.org").header("x-a", "1").header("X-A", "2");
    gateway.receive(request.header_bytes("x-b", b"\xff"));
    assert_eq!(gateway.on_request(&script), Decision::Proceed);
    let line = (gateway.method(), gateway.authority(), gateway.path(), gateway.chosen_upstream());
    assert_eq!(line, ("PUT".into(), "inside:8080".into(), "/c".into(), Some("other".into())));
    assert_eq!(gateway.attribute("plugin.under-test.seen").as_deref(), Some("yes"));
    assert_eq!(gateway.header_values(Section::RequestHeaders, "x-a"), ["3"]);
    assert_eq!((gateway.request_header("via").as_deref(), gateway.request_header("x-b")), (Some("me"), None));
}

#[test]
fn the_gateway_refuses_what_would_break_a_message() {
    let (gateway, mut script) = script();
    script.request = |exchange| {
        let headers = exchange.request_headers();
        for (name, value, error) in [
            ("x-a", "1\r\nx-b: 2", MutateError::InvalidSyntax),
            ("x-a", "\0", MutateError::InvalidSyntax),
            ("x a", "1", MutateError::InvalidSyntax),
            (":path", "/", MutateError::InvalidSyntax),
            ("Content-Length", "1", MutateError::Forbidden),
            ("host", "a", MutateError::Forbidden),
            ("x-large", &"x".repeat(1 << 20), MutateError::LimitExceeded),
        ] {
            assert_eq!(headers.set(name, value), Err(error.clone()), "{name}");
            assert_eq!(headers.append(name, value), Err(error), "{name}");
        }
        assert_eq!(headers.remove("te"), Err(MutateError::Forbidden));
        let first = (0..1000).find_map(|index| headers.append(format!("x-{index}"), "1").err());
        assert_eq!(first, Some(MutateError::LimitExceeded));
        for path in ["", "a", "/a b", "/a\r\n", "/../b", "/%2E%2e", "/#a", "http://a/"] {
            assert_eq!(exchange.set_path(path), Err(MutateError::InvalidSyntax), "{path}");
        }
        assert_eq!(exchange.set_authority("user@host"), Err(MutateError::InvalidSyntax));
        assert_eq!(exchange.set_method(&Method::CONNECT), Err(MutateError::Forbidden));
        assert_eq!(exchange.set_upstream("nowhere"), Err(MutateError::NotGranted));
        assert_eq!(exchange.set_identity("a", "[]"), Err(MutateError::InvalidSyntax));
        assert_eq!(exchange.set_state(&vec![0; 1 << 20]), Err(MutateError::LimitExceeded));
        assert_eq!(exchange.headers(Section::RequestTrailers).set("x-a", "1"), Err(MutateError::WrongPhase));
        assert_eq!(exchange.set_status(StatusCode::OK), Err(MutateError::WrongPhase));
        Decision::Abort
    };
    gateway.receive(Request::get("/"));
    assert_eq!(gateway.on_request(&script), Decision::Abort);
}

#[test]
fn the_request_hook_can_say_what_becomes_of_the_response() {
    let (gateway, mut script) = script();
    script.request = |exchange| {
        let headers = exchange.response_headers();
        assert_eq!(headers.set("content-length", "1"), Err(MutateError::Forbidden));
        let mut block = HeaderBlock::new();
        block.push("x-a", "1");
        block.push("x-b", "2");
        assert_eq!(headers.set_all(&block), Ok(()));
        assert_eq!(headers.append_all(&block), Ok(()));
        assert_eq!(headers.remove("x-b"), Ok(()));
        assert_eq!(headers.get("x-a"), None, "there is no response yet");
        block.push("te", "x");
        assert_eq!(exchange.request_headers().set_all(&block), Err(MutateError::Forbidden));
        assert_eq!(exchange.request_headers().get("x-a"), None, "all or none");
        Decision::Proceed
    };
    gateway.receive(Request::get("/"));
    assert_eq!(gateway.on_request(&script), Decision::Proceed);
    gateway.respond(StatusCode::OK, &[("x-a", "0")]);
    let _ = gateway.on_response(&script);
    assert_eq!(gateway.header_values(Section::ResponseHeaders, "x-a"), ["1", "1"]);
    assert_eq!(gateway.response_header("x-b"), None);
}

#[test]
fn a_response_is_changed_and_the_request_is_not() {
    let (gateway, mut script) = script();
    script.response = |exchange| {
        assert_eq!(exchange.status(), Some(StatusCode::NOT_FOUND));
        assert_eq!(exchange.request_headers().set("x-a", "1"), Err(MutateError::WrongPhase));
        assert_eq!(exchange.set_path("/b"), Err(MutateError::WrongPhase));
        assert_eq!(exchange.set_status(StatusCode::SWITCHING_PROTOCOLS), Err(MutateError::InvalidSyntax));
        exchange.set_status(StatusCode::OK).unwrap();
        exchange.response_headers().remove("server").unwrap();
        Decision::Proceed
    };
    gateway.receive(Request::get("/"));
    gateway.respond(StatusCode::NOT_FOUND, &[("Server", "a")]);
    assert_eq!(gateway.on_response(&script), Decision::Proceed);
    assert_eq!((gateway.status(), gateway.response_header("server")), (200, None));
    gateway.on_complete(&script);
    assert_eq!(gateway.state(), b"/");
}

#[test]
fn bodies_are_shown_in_the_mode_that_was_asked_for() {
    let chunks: [&[u8]; 3] = [b"ab", b"c", b"de"];
    let (gateway, mut script) = script();
    script.body = |exchange, chunk| match (exchange.end_of_stream(), chunk.as_slice()) {
        (false, b"ab") => BodyDecision::Hold,
        (false, b"abc") => BodyDecision::Replace(b"X".to_vec()),
        (true, b"abcde") => {
            BodyDecision::Replace(exchange.request_headers().set("x-whole", "1").map_or(vec![], |()| chunk))
        }
        _ => BodyDecision::Pass,
    };
    for (mode, sent) in [(BodyMode::Skip, "abcde"), (BodyMode::Chunks, "Xde"), (BodyMode::Whole, "abcde")] {
        script.request = match mode {
            BodyMode::Skip => |_| Decision::Proceed,
            BodyMode::Chunks => |exchange| ask(exchange, BodyMode::Chunks),
            BodyMode::Whole => |exchange| ask(exchange, BodyMode::Whole),
        };
        gateway.receive(Request::post("/"));
        assert_eq!(gateway.on_request(&script), Decision::Proceed);
        assert_eq!(gateway.body_mode(Direction::Request), mode);
        assert_eq!(gateway.request_body(&script, &chunks), Ok(sent.as_bytes().to_vec()), "{mode:?}");
        assert_eq!(gateway.request_header("x-whole").is_some(), mode == BodyMode::Whole);
    }
    script.body = |_, _| Response::new(StatusCode::PAYLOAD_TOO_LARGE).into();
    assert!(matches!(gateway.request_body(&script, &chunks), Err(BodyDecision::Respond(_))));
}

fn ask(exchange: &Exchange, mode: BodyMode) -> Decision {
    exchange.set_body_mode(Direction::Request, mode).unwrap();
    Decision::Proceed
}

#[test]
fn the_abilities_do_what_the_test_says() {
    let (gateway, mut script) = script();
    gateway.secret("pepper", "salt");
    gateway.upstream("users", |request| match request.path.as_str() {
        "/slow" => Err(CallError::TimedOut),
        path => Ok(http_client::Response {
            status: StatusCode::OK,
            headers: vec![("x-path".into(), path.as_bytes().to_vec())],
            body: request.body.clone(),
        }),
    });
    script.request = |exchange| {
        assert_eq!((secrets::get("pepper").as_deref(), secrets::get("other")), (Some("salt"), None));
        let answer = http_client::Request::post("users", "/a", "body").send().unwrap();
        assert_eq!((answer.header("x-path"), answer.body.as_slice()), (Some("/a"), b"body".as_slice()));
        let all = http_client::send_all(&[
            http_client::Request::get("users", "/slow"),
            http_client::Request::get("nowhere", "/"),
        ]);
        assert_eq!(all, [Err(CallError::TimedOut), Err(CallError::UnknownUpstream)]);
        assert_eq!(http_client::Request::get("users", "/slow").dispatch(), Ok(()));

        SEEN.add(1, &[exchange.method().as_str()]);
        LEVEL.set(0.5, &[]);
        TOOK.observe(clock::monotonic().as_secs_f64(), &[]);
        log::info("seen", &[("path", &exchange.path())]);
        assert!(log::enabled(log::Level::Error) && !log::enabled(log::Level::Debug));
        assert_eq!(random::bytes(9).len(), 9);
        assert_ne!(random::number(), random::number());
        Decision::Proceed
    };
    gateway.advance(Duration::from_secs(3));
    gateway.receive(Request::get("/a"));
    assert_eq!(gateway.on_request(&script), Decision::Proceed);
    assert_eq!(gateway.calls().len(), 4);
    let values: Vec<f64> = gateway.measures().iter().map(|measure| measure.value).collect();
    assert_eq!(values, [1.0, 0.5, 3.0]);
    assert_eq!(gateway.lines()[0].to_string(), "seen path=/a");
    assert_eq!(gateway.on_tick(&script), Some(Duration::from_secs(1)));
    assert_eq!(gateway.on_tick(&script), Some(Duration::from_secs(2)));

    gateway.receive(Request::get("/b"));
    assert_eq!(gateway.lines().len(), 1, "the log outlives the exchange");
    let _ = Double::new();
    assert_eq!(gateway.lines().len(), 0, "a new double starts afresh");
}

#[test]
fn what_traps_in_the_gateway_panics_here() {
    let _gateway = Double::new();
    let outside = Exchange::new(true);
    for trap in [
        || drop(Exchange::new(true).path()),
        || drop(random::bytes(65_537)),
        || drop(gatewright_sdk::jwt::declare("keys", "{}")),
        || Metric::counter("undeclared", "", &[]).add(1, &[]),
    ] as [fn(); 4]
    {
        assert!(panic::catch_unwind(trap).is_err());
    }
    assert!(outside.end_of_stream());
}
