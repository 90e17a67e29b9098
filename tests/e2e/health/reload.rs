//! Health over a reload.

use super::*;

fn probed(endpoints: Value) -> Value {
    json!({ "endpoints": endpoints, "health": often(json!({ "path": "/healthz" })) })
}

fn reload(gateway: &TestGateway, config: Value) {
    gateway.write_config(config);
    gateway.reload().unwrap();
}

#[tokio::test]
async fn endpoints_that_stay_keep_their_health_whatever_else_changes() {
    let (good, bad) = (Moody::start(200).await, Moody::start(500).await);
    let gateway = gateway(probed(json!([good.text(), bad.text()])));
    let before = until(&gateway, &bad.text(), "unhealthy").await;

    // Another route, another timeout, another endpoint.
    let mut other = probed(json!([bad.text(), good.text(), "127.0.0.1:1"]));
    other["connect_timeout"] = json!("1s");
    let mut config = config(other);
    config["routes"][0]["match"] = json!({ "path": "/*" });
    reload(&gateway, config);
    let after = endpoint(&gateway, &bad.text()).await;
    assert_eq!((&after["state"], &after["since"]), (&json!("unhealthy"), &before["since"]));
    for _ in 0..10 {
        gateway.get("/").await;
    }
    assert_eq!(bad.requests(), 0);
    // And it is still probed.
    bad.answer(200);
    until(&gateway, &bad.text(), "healthy").await;
}

#[tokio::test]
async fn probes_of_what_is_removed_end() {
    let (stays, goes) = (Moody::start(200).await, Moody::start(200).await);
    let gateway = gateway(probed(json!([stays.text(), goes.text()])));
    eventually("both are probed", async || (stays.probes() > 0 && goes.probes() > 0).then_some(())).await;
    reload(&gateway, config(probed(json!([stays.text()]))));
    // One may have been on its way.
    let before = (stays.probes(), goes.probes());
    eventually("the other is probed on", async || (stays.probes() > before.0 + 5).then_some(())).await;
    assert!(goes.probes() <= before.1 + 1);

    // And where health is no longer configured, nothing is probed, and nothing stays out for it.
    stays.answer(500);
    until(&gateway, &stays.text(), "unhealthy").await;
    reload(&gateway, config(json!([stays.text()])));
    let found = endpoint(&gateway, &stays.text()).await;
    assert_eq!((&found["state"], &found["reason"]), (&json!("healthy"), &json!("no longer configured")));
}

#[tokio::test]
async fn a_reload_makes_no_wave_of_probes() {
    let server = Moody::start(200).await;
    let config = |route: &str| {
        let upstream = json!({ "endpoints": [server.text()], "health": { "interval": "1h" } });
        json!({ "upstreams": { "orders": upstream }, "routes": [{ "match": { "path": route }, "to": "orders" }] })
    };
    let gateway = TestGateway::start(config("/a"));
    eventually("it is probed", async || (server.probes() == 1).then_some(())).await;
    // Nothing about the upstream changes.
    for turn in 0..10 {
        reload(&gateway, config(&format!("/{turn}")));
        assert_eq!(gateway.get(&format!("/{turn}")).await.status, 200);
    }
    assert_eq!(server.probes(), 1);
    // Its settings change, its endpoint stays: that one waits for its turn, anywhere in the hour.
    let mut changed = config("/b");
    changed["upstreams"]["orders"]["body_timeout"] = json!("9s");
    reload(&gateway, changed);
    assert_eq!(gateway.get("/b").await.status, 200);
    assert_eq!(server.probes(), 1);
}
