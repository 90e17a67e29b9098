//! How long a middleware and what is behind it are waited for, and what is known of a request that is given up.

use gatewright_tests::{Client, Scripted, TestGateway, Wire, eventually, send};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::{config, file, gateway, silent};

#[tokio::test]
async fn a_deadline_of_grpc_holds_through_it() {
    let server = silent().await;
    let gateway = gateway(&server.text(), json!({}));
    let call = [("content-type", "application/grpc"), ("te", "trailers"), ("grpc-timeout", "2S")];
    let mut client = Client::http2(gateway.address()).await;
    let answer = client.send("POST", "/shop.Orders/Get", &call, "").await.unwrap();
    assert_eq!((answer.status, answer.header("grpc-status")), (200, Some("4")));
    let record = gateway.wait_for_records(1).await.remove(0);
    assert_eq!((&record["upstream"], &record["plugin"]), (&json!("behind"), &Value::Null), "{record}");
}

#[tokio::test]
async fn the_routes_timeout_says_who_was_waited_for() {
    let server = silent().await;
    // All of them are to have come to whom they wait for by then.
    let route = json!({ "timeouts": { "request": "2s" } });
    let gateway = TestGateway::start(config(&server.text(), json!({}), route));
    let upstream = ("The upstream did not answer in time.", json!("behind"), Value::Null);
    let itself = ("The service did not answer in time.", Value::Null, json!("between"));
    for (deed, (detail, upstream, plugin)) in [("pass", upstream.clone()), ("mark", upstream), ("hang", itself)] {
        // Several at a time, because one alone may be right by chance.
        let (address, path) = (gateway.address(), format!("/{deed}"));
        let ask = |_| {
            let path = path.clone();
            async move { send(address, "GET", &path, &[("x-do", deed)], "").await }
        };
        for answer in (0..8).map(ask).collect::<JoinSet<_>>().join_all().await {
            assert_eq!(answer.problem(504)["detail"], detail, "{deed}");
        }
        let records = async || {
            let records = gateway.records().into_iter().filter(|record| record["path"] == path);
            Some(records.collect::<Vec<_>>()).filter(|records| records.len() == 8)
        };
        for record in eventually("the records", records).await {
            assert_eq!(
                (&record["outcome"], &record["upstream"], &record["plugin"]),
                (&json!("timed-out"), &upstream, &plugin),
                "{record}"
            );
        }
    }
}

#[tokio::test]
async fn a_service_behind_it_has_no_more_time_than_an_upstream() {
    let route = json!({ "timeouts": { "request": "2s" }, "to": { "service": "later" } });
    let gateway = TestGateway::start(config("127.0.0.1:9", json!({}), route));
    let answer = gateway.get_with("/hang", &[("x-do", "pass")]).await;
    assert_eq!(answer.problem(504)["detail"], "The service did not answer in time.");
    let record = gateway.wait_for_records(1).await.remove(0);
    assert_eq!((&record["outcome"], &record["plugin"]), (&json!("timed-out"), &json!("later")), "{record}");
}

#[tokio::test]
async fn a_client_that_leaves_gives_up_the_request_behind_it() {
    let (came, mut ends) = tokio::sync::mpsc::unbounded_channel();
    let server = Scripted::start(move |stream| {
        let came = came.clone();
        async move {
            let mut wire = Wire::from(stream);
            wire.read_to("\r\n\r\n").await;
            came.send("asked").unwrap();
            wire.read_to_end().await;
            came.send("given up").unwrap();
        }
    })
    .await;
    for (plugins, request) in [
        (json!(["between"]), "GET /left HTTP/1.1\r\nhost: a\r\n\r\n"),
        // Then the exchange is with the hooks that the body goes through, and that it breaks off may be known before.
        (
            json!([{ "chunks": { "do": "pass" } }, "between"]),
            "POST /left HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n",
        ),
    ] {
        let mut config = config(&server.text(), json!({ "requests": 1 }), json!({ "plugins": plugins }));
        config["plugins"] = json!({ "chunks": { "source": file("guest-chunks") } });
        let gateway = TestGateway::start(config);
        let mut wire = Wire::connect(gateway.address()).await;
        wire.send(request).await;
        assert_eq!(ends.recv().await, Some("asked"));
        wire.reset();
        assert_eq!(ends.recv().await, Some("given up"));
        let is_free = async || (gateway.get_with("/", &[("x-do", "answer")]).await.status == 203).then_some(());
        eventually("its place is free", is_free).await;
        let record = async || gateway.records().into_iter().find(|record| record["path"] == "/left");
        let record = eventually("the record", record).await;
        assert_eq!(record["outcome"], "client-left", "{plugins}: {record}");
        assert_eq!((&record["upstream"], &record["plugin"]), (&json!("behind"), &Value::Null), "{plugins}: {record}");
        let is_counted = async || {
            let requests = gateway.metric("http_client_request_duration_seconds_count", &["\"behind\""]).await;
            (requests == 1.0).then_some(())
        };
        eventually("the request is counted", is_counted).await;
    }
}
