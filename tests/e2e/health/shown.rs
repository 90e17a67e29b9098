//! Health as an operator sees it: the admin API and the metrics. The log is in `host/tests/health.rs`, where the binary
//! runs.

use super::*;

#[tokio::test]
async fn the_admin_api_and_the_metrics_show_every_endpoint() {
    let (good, bad) = (Moody::start(200).await, Moody::start(500).await);
    let gateway = gateway(json!({
        "endpoints": [good.text(), bad.text()],
        "health": often(json!({ "path": "/healthz", "fall": 2 })),
    }));
    let shown = until(&gateway, &bad.text(), "unhealthy").await;
    assert!(shown["since"].as_str().unwrap().ends_with('Z'), "{shown:#}");
    assert_eq!(shown["last_probe_error"], "probe GET /healthz: the status is 500");
    assert!(shown["probes_failed"].as_u64().unwrap() >= 1);
    until_probed_again(&gateway, &good.text()).await;
    let shown = endpoint(&gateway, &good.text()).await;
    assert_eq!((&shown["state"], &shown["reason"]), (&json!("healthy"), &json!("configured")));
    assert_eq!(gateway.get("/").await.status, 200);
    let upstreams = send(gateway.admin(), "GET", "/upstreams", &[], "").await.json();
    assert_eq!(upstreams[0]["name"], "orders");
    assert_eq!((&upstreams[0]["available"], &upstreams[0]["probes"]), (&json!(1), &json!("probe GET /healthz")));
    assert_eq!(endpoint(&gateway, &good.text()).await["requests"], 1);

    let of = |server: &Moody, label: &str| [format!("endpoint=\"{}\"", server.text()), label.to_owned()];
    for (name, server, label, expected) in [
        ("gatewright_endpoint_health", &good, "state=\"healthy\"", 1.0),
        ("gatewright_endpoint_health", &good, "state=\"unhealthy\"", 0.0),
        ("gatewright_endpoint_health", &bad, "state=\"healthy\"", 0.0),
        ("gatewright_endpoint_health", &bad, "state=\"unhealthy\"", 1.0),
        ("gatewright_endpoint_ejections_total", &bad, "upstream=\"orders\"", 0.0),
        ("gatewright_endpoint_probes_total", &good, "result=\"failed\"", 0.0),
        ("gatewright_endpoint_probes_total", &bad, "result=\"passed\"", 0.0),
    ] {
        let [endpoint, label] = of(server, label);
        assert_eq!(gateway.metric(name, &[&endpoint, &label]).await, expected, "{name} {endpoint} {label}");
    }
    let [endpoint, label] = of(&bad, "result=\"failed\"");
    assert!(gateway.metric("gatewright_endpoint_probes_total", &[&endpoint, &label]).await >= 1.0);
}
