//! HTTP probes, against servers that fail, recover, hang, are slow, refuse.

use super::*;
use gatewright_tests::{Scripted, read_head};
use tokio::io::AsyncWriteExt;

#[tokio::test]
async fn an_endpoint_whose_probes_fail_gets_no_requests_until_they_pass() {
    let (good, moody) = (Moody::start(200).await, Moody::start(200).await);
    let gateway = gateway(json!({
        "endpoints": [good.text(), moody.text()],
        "health": often(json!({ "path": "/healthz" })),
    }));
    until_probed_again(&gateway, &moody.text()).await;
    for _ in 0..4 {
        assert_eq!(gateway.get("/").await.status, 200);
    }
    assert!(good.requests() > 0 && moody.requests() > 0);

    moody.answer(503);
    let found = until(&gateway, &moody.text(), "unhealthy").await;
    assert_eq!(found["reason"], "probe GET /healthz: the status is 503");
    let before = moody.requests();
    for _ in 0..10 {
        assert_eq!(gateway.get("/").await.status, 200);
    }
    assert_eq!(moody.requests(), before);

    moody.answer(200);
    assert_eq!(until(&gateway, &moody.text(), "healthy").await["reason"], "its probes pass");
    for _ in 0..4 {
        gateway.get("/").await;
    }
    assert!(moody.requests() > before);
}

#[tokio::test]
async fn a_probe_says_what_is_configured() {
    let server = Server::named("behind").await;
    let gateway = gateway(json!({
        "endpoints": [server.text()],
        "health": often(json!({
            "path": "/health?deep=1", "method": "HEAD", "host": "orders.internal", "headers": { "x-probe": "yes" },
        })),
    }));
    until_probed_again(&gateway, &server.text()).await;
    let probe = server.received().remove(0);
    assert_eq!((probe.method.as_str(), probe.target.as_str()), ("HEAD", "/health?deep=1"));
    assert_eq!((probe.header("host"), probe.header("x-probe")), (Some("orders.internal"), Some("yes")));
    assert_eq!(probe.header("user-agent"), Some("gatewright-health"));
}

#[tokio::test]
async fn the_answer_has_to_have_an_expected_status_and_body() {
    for (expect, status, passes) in [
        (json!({}), 204, true),
        (json!({}), 302, true),
        (json!({}), 404, false),
        (json!({ "status": "404" }), 404, true),
        (json!({ "status": ["200", "500-504"] }), 503, true),
        (json!({ "status": ["200", "500-504"] }), 505, false),
        (json!({ "body": "is well" }), 200, true),
        (json!({ "body": "is ill" }), 200, false),
        (json!({ "body": "is well" }), 500, false),
    ] {
        let server = Moody::start(status).await;
        let gateway = gateway(json!({ "endpoints": [server.text()], "health": often(json!({ "expect": expect })) }));
        let probed = until_probed_again(&gateway, &server.text()).await;
        assert_eq!(probed["state"] == "healthy", passes, "{expect} {status}: {probed:#}");
    }
}

#[tokio::test]
async fn a_server_that_hangs_is_slow_or_refuses_is_unhealthy() {
    let hangs = Scripted::start(|mut stream| async move {
        read_head(&mut stream).await;
        std::future::pending::<()>().await;
    })
    .await;
    // Its head comes in time, its body a byte at a time and never all of it.
    let slow = Scripted::start(|mut stream| async move {
        read_head(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n").await;
        while stream.write_all(b".").await.is_ok() {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    })
    .await;
    let closes = Scripted::answering(b"").await;
    let refuses = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string();
    for (address, reason) in [
        (hangs.text(), "no answer within 250ms"),
        (slow.text(), "no answer within 250ms"),
        (closes.text(), "closed the connection before it answered"),
        (refuses, "refused the connection"),
    ] {
        let gateway = gateway(json!({
            "endpoints": [address],
            "health": often(json!({ "path": "/", "expect": { "body": "well" } })),
        }));
        let found = until(&gateway, &address, "unhealthy").await;
        assert!(found["reason"].as_str().unwrap().contains(reason), "{found:#}");
        // Nobody is left, so the client is told so at once.
        gateway.get("/").await.problem(503);
    }
}

#[tokio::test]
async fn a_new_endpoint_waits_for_its_first_probe_where_initial_says_so() {
    let (release, gate) = tokio::sync::watch::channel(false);
    let server = Scripted::start(move |mut stream| {
        let mut gate = gate.clone();
        async move {
            read_head(&mut stream).await;
            gate.wait_for(|open| *open).await.unwrap();
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
        }
    })
    .await;
    let gateway = gateway(json!({
        "endpoints": [server.text()],
        "health": { "initial": "unhealthy", "interval": "10s", "timeout": "10s" },
    }));
    assert_eq!(endpoint(&gateway, &server.text()).await["state"], "unhealthy");
    gateway.get("/").await.problem(503);
    release.send(true).unwrap();
    // One probe is enough, whatever `rise` is.
    let found = until(&gateway, &server.text(), "healthy").await;
    assert_eq!(found["probes_passed"], 1);
    assert_eq!(gateway.get("/").await.status, 200);
}

#[tokio::test]
async fn probes_go_to_a_port_of_their_own() {
    let (server, health) = (Moody::start(200).await, Moody::start(500).await);
    let gateway = gateway(json!({
        "endpoints": [server.text()],
        "health": often(json!({ "port": health.server.address().port() })),
    }));
    until(&gateway, &server.text(), "unhealthy").await;
    assert_eq!(server.probes(), 0);
    health.answer(200);
    until(&gateway, &server.text(), "healthy").await;
    assert_eq!(gateway.get("/").await.text(), "an answer");
}

#[tokio::test]
async fn probes_speak_what_the_endpoints_speak() {
    let server = Server::start_h2c(|_| Response::new(Full::new(Bytes::from("all is well")))).await;
    let gateway = gateway(json!({
        "endpoints": [server.text()],
        "protocol": "h2c",
        "health": often(json!({ "path": "/healthz", "expect": { "body": "well" } })),
    }));
    let probed = until_probed_again(&gateway, &server.text()).await;
    assert_eq!((&probed["state"], &probed["probes_failed"]), (&json!("healthy"), &json!(0)));
    assert_eq!(server.received().remove(0).target, "/healthz");
}
