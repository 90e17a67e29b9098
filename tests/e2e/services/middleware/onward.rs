//! What a middleware hands on, and what stands behind it: as without it.

use std::collections::BTreeSet;

use bytes::Bytes;
use gatewright_tests::{GrpcServer, Server, TestGateway, Wire};
use http::Response;
use http_body_util::Full;
use serde_json::json;

use super::{config, gateway, silent, told};
use crate::cache::counting;

#[tokio::test]
async fn of_te_it_hands_on_trailers_alone() {
    let server = told().await;
    let gateway = gateway(&server.text(), json!({}));
    for (written, received) in [
        (&["trailers"][..], Some("trailers")),
        (&["gzip"], None),
        (&["trailers", "gzip"], None),
        (&["gzip", "trailers"], None),
    ] {
        server.forget();
        let mut fields = vec![("x-do", "te")];
        fields.extend(written.iter().map(|te| ("x-te", *te)));
        assert_eq!(gateway.get_with("/", &fields).await.status, 201, "{written:?}");
        assert_eq!(server.only().header("te"), received, "{written:?}");
    }
}

#[tokio::test]
async fn the_gateway_is_one_hop_however_often_it_is_crossed() {
    let server = Server::start(|_| {
        let answer = Response::builder().header("via", "1.1 behind");
        answer.body(Full::new(Bytes::from("told"))).unwrap()
    })
    .await;
    for (plugins, deed) in [(json!([]), ""), (json!(["between"]), ""), (json!(["between"]), "mark")] {
        let mut config = config(&server.text(), json!({}), json!({ "plugins": plugins }));
        config["forwarding"] = json!({ "response_via": true });
        let gateway = TestGateway::start(config);
        server.forget();
        let answer = gateway.get_with("/", &[("x-do", deed)]).await;
        let via = answer.headers.get_all("via");
        assert!(via.iter().eq(["1.1 behind", "1.1 gatewright"]), "{plugins} {deed:?}: {via:?}");
        let received = server.only();
        let via = received.headers.get_all("via");
        assert!(via.iter().eq(["1.1 gatewright"]), "{plugins} {deed:?}: {via:?}");
    }
}

#[tokio::test]
async fn an_endpoint_is_chosen_by_the_request_before_the_targets_edits() {
    let servers =
        [Server::named("a").await, Server::named("b").await, Server::named("c").await, Server::named("d").await];
    let endpoints: Vec<String> = servers.iter().map(Server::text).collect();
    for (by, edits) in [
        (json!({ "header": "x-user" }), json!({ "request_headers": { "remove": ["x-user"] } })),
        (json!({ "cookie": "user" }), json!({ "request_headers": { "remove": ["cookie"] } })),
        (json!("path"), json!({ "rewrite": { "path": "/same" } })),
    ] {
        let mut target = json!({ "upstream": "behind" });
        target.as_object_mut().unwrap().extend(edits.as_object().unwrap().clone());
        let mut config = config("127.0.0.1:9", json!({}), json!({ "to": [target] }));
        config["upstreams"]["behind"] = json!({ "endpoints": endpoints, "balance": { "hash": { "by": by } } });
        let gateway = TestGateway::start(config);
        let mut used = BTreeSet::new();
        for user in 0..12 {
            let (user, path) = (user.to_string(), format!("/{user}"));
            let cookie = format!("user={user}");
            let mut at = BTreeSet::new();
            for _ in 0..3 {
                let fields = [("x-do", "mark"), ("x-user", user.as_str()), ("cookie", cookie.as_str())];
                let answer = gateway.get_with(&path, &fields).await;
                assert_eq!((answer.status, answer.header("x-response")), (200, Some("marked")));
                at.insert(answer.text());
            }
            assert_eq!(at.len(), 1, "user {user} by {by} was at {at:?}");
            used.extend(at);
        }
        assert!(used.len() >= 2, "by {by}, only {used:?} were used");
    }
}

#[tokio::test]
async fn what_is_stale_in_the_cache_is_asked_for_through_it() {
    let server = counting(&[("cache-control", "max-age=0, stale-while-revalidate=1000")]).await;
    let gateway = TestGateway::start(config(&server.text(), json!({}), json!({ "cache": {} })));
    for count in 1..=3 {
        let answer = gateway.get_with("/", &[("x-do", "mark")]).await;
        assert_eq!((answer.text(), answer.header("x-response")), (format!("answer {count}"), Some("marked")));
        let received = server.received();
        assert!(received.iter().all(|request| request.header("x-request") == Some("marked")), "{received:#?}");
        assert_eq!(received.len(), count);
    }
}

#[tokio::test]
async fn a_question_about_the_server_itself_goes_through() {
    let server = told().await;
    for plugins in [json!([]), json!(["between"])] {
        let gateway = TestGateway::start(config(&server.text(), json!({}), json!({ "plugins": plugins })));
        let mut wire = Wire::connect(gateway.address()).await;
        wire.send("OPTIONS * HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
        let answer = wire.read_to_end().await;
        assert!(answer.starts_with("HTTP/1.1 201 ") && answer.contains("OPTIONS * "), "{plugins}: {answer}");
    }
}

#[tokio::test]
async fn what_a_plugin_makes_a_call_of_grpc_is_one_behind_it() {
    let (server, silent) = (GrpcServer::start().await, silent().await);
    let translate = json!({ "grpc-json": { "protos": { "notes.proto": GrpcServer::proto() } } });
    let gateway = |upstream: String| {
        let route = json!({ "plugins": [translate, "between"] });
        let mut config = config(&upstream, json!({ "response_timeout": "5s" }), route);
        config["upstreams"]["behind"] = json!({ "endpoints": [upstream], "protocol": "h2c" });
        config["plugins"] = json!({ "grpc-json": { "limits": { "memory": "64MiB", "time": "2s" } } });
        TestGateway::start(config)
    };
    let answer = gateway(server.text()).post("/v1/notes", &[], r#"{"text":"a"}"#).await;
    assert_eq!((answer.status, answer.json()), (200, json!({ "text": "a" })), "{answer:?}");
    let te = server.seen.headers.lock().unwrap().get("te").cloned();
    assert_eq!(te.unwrap(), "trailers", "servers insist on it");

    let gateway = gateway(silent.text());
    let answer = gateway.post("/v1/notes", &[("grpc-timeout", "2S")], r#"{"text":"a"}"#).await;
    assert_eq!(answer.status, 504, "{answer:?}");
    let record = gateway.wait_for_records(1).await.remove(0);
    assert_eq!(record["error"], "no complete answer came before the deadline that the client set", "{record}");
}
