//! Ejection by what requests run into.

use super::*;

async fn refusing() -> String {
    tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string()
}

#[tokio::test]
async fn an_endpoint_that_refuses_connections_is_left_out_without_any_configuration() {
    let (good, bad) = (Moody::start(200).await, refusing().await);
    let gateway = gateway(json!([good.text(), bad]));
    // Each request that met it went on to the other one.
    for _ in 0..20 {
        assert_eq!(gateway.get("/").await.status, 200);
    }
    let found = endpoint(&gateway, &bad).await;
    assert_eq!(found["state"], "ejected");
    assert_eq!(found["reason"], "3 failures in a row, the last one no connection");
    assert_eq!((&found["ejections"], &found["connect_failures"]), (&json!(1), &json!(3)));
    let left = found["ejected_for_seconds"].as_f64().unwrap();
    assert!(left > 0.0 && left <= 10.0, "{left}");
}

#[tokio::test]
async fn error_answers_eject_where_they_count_and_time_brings_the_endpoint_back() {
    let (good, moody) = (Moody::start(200).await, Moody::start(500).await);
    let gateway = gateway(json!({
        "endpoints": [good.text(), moody.text()],
        "ejection": { "on": ["connect-failure", "reset", "timeout", "5xx"], "consecutive": 2, "time": "300ms" },
    }));
    let mut failed = 0;
    for _ in 0..12 {
        failed += u32::from(gateway.get("/").await.status == 500);
    }
    assert!(failed >= 2, "{failed}");
    moody.answer(200);
    until(&gateway, &moody.text(), "healthy").await;
    let before = moody.requests();
    for _ in 0..4 {
        assert_eq!(gateway.get("/").await.status, 200);
    }
    assert!(moody.requests() > before);
}

#[tokio::test]
async fn ejection_can_be_turned_off() {
    let (good, bad) = (Moody::start(200).await, refusing().await);
    let gateway = gateway(json!({ "endpoints": [good.text(), bad], "ejection": { "on": [] } }));
    for _ in 0..20 {
        assert_eq!(gateway.get("/").await.status, 200);
    }
    let found = endpoint(&gateway, &bad).await;
    assert_eq!(found["state"], "healthy");
    assert!(found["connect_failures"].as_u64().unwrap() >= 9, "{found}");
}

#[tokio::test]
async fn half_of_the_endpoints_stay_in() {
    let bad = [refusing().await, refusing().await, refusing().await, refusing().await];
    let gateway = gateway(json!(bad));
    for _ in 0..40 {
        gateway.get("/").await.problem(502);
    }
    let upstreams = send(gateway.admin(), "GET", "/upstreams", &[], "").await.json();
    assert_eq!(upstreams[0]["available"], 2, "{upstreams:#}");
}

#[tokio::test]
async fn a_group_that_is_down_is_left_out_whole_while_the_next_takes_over() {
    let (down, backup) = ([refusing().await, refusing().await], Moody::start(200).await);
    let gateway = gateway(json!({
        "endpoints": [down[0], down[1], { "address": backup.text(), "priority": 1 }],
        "ejection": { "time": "1m" },
    }));
    for _ in 0..40 {
        assert_eq!(gateway.get("/").await.status, 200);
    }
    for address in &down {
        let found = endpoint(&gateway, address).await;
        assert_eq!((&found["state"], &found["connect_failures"]), (&json!("ejected"), &json!(3)), "{found:#}");
    }
    assert_eq!(backup.requests(), 40);
}

#[tokio::test]
async fn an_endpoint_that_fails_far_more_than_the_others_is_left_out() {
    let good = [Moody::start(200).await, Moody::start(200).await];
    // Every second request, so that failures never come in a row.
    let counter = AtomicU16::new(0);
    let counter = Arc::new(counter);
    let bad = Server::start(move |_| {
        let status = if counter.fetch_add(1, SeqCst).is_multiple_of(2) { 500 } else { 200 };
        Response::builder().status(status).body(Full::default()).unwrap()
    })
    .await;
    let gateway = gateway(json!({
        "endpoints": [good[0].text(), good[1].text(), bad.text()],
        "ejection": { "on": ["5xx"], "success_rate": { "window": "1s", "min_requests": 10 } },
    }));
    let found = eventually("it is left out", async || {
        let mut client = gatewright_tests::Client::http1(gateway.address()).await;
        for _ in 0..30 {
            client.send("GET", "/", &[], "").await.unwrap();
        }
        let found = endpoint(&gateway, &bad.text()).await;
        (found["state"] == "ejected").then_some(found)
    })
    .await;
    assert!(
        found["reason"].as_str().unwrap().ends_with("% of its requests succeeded, 100 % of the others'"),
        "{found:#}"
    );
}
