//! The endpoints of all upstreams as the operator sees them: `GET /upstreams`, and their series on the metrics page.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use serde_json::{Value, json};

use crate::health::State;
use crate::snapshot::Snapshot;
use crate::telemetry::exposition::{self, Series};
use crate::telemetry::write_rfc3339;
use crate::upstream::{Endpoint, Upstream};

/// All upstreams with their endpoints.
pub(super) fn list(snapshot: &Snapshot) -> Value {
    let upstream = |upstream: &Arc<Upstream>| {
        let endpoints = upstream.endpoints();
        json!({
            "name": &**upstream.name(),
            "available": endpoints.iter().filter(|endpoint| endpoint.is_available()).count(),
            "probes": upstream.settings().probing.as_ref().map(|probing| probing.probe.to_string()),
            "endpoints": endpoints.iter().map(|endpoint| describe(endpoint)).collect::<Vec<_>>(),
        })
    };
    Value::Array(snapshot.upstreams().map(upstream).collect())
}

fn describe(endpoint: &Endpoint) -> Value {
    let (health, stats) = (endpoint.health().report(), endpoint.stats());
    let left = health.ejected_until.map(|until| until.saturating_duration_since(Instant::now()));
    json!({
        "address": endpoint.address().as_str(),
        "state": health.state.name(),
        "since": rfc3339(health.since),
        "reason": &*health.reason,
        "ejections": health.ejections,
        "ejected_for_seconds": left.map(|left| left.as_secs_f64()),
        "probes_passed": health.probes.passed,
        "probes_failed": health.probes.failed,
        "last_probe_error": health.probes.error.as_deref(),
        "requests": stats.requests,
        "failures": stats.failures,
        "counted_failures": health.counted_failures,
        "connects": stats.connects,
        "connect_failures": stats.connect_failures,
        "in_flight": stats.in_flight,
        "connections": stats.connections,
        "pending": stats.pending,
    })
}

fn rfc3339(time: SystemTime) -> String {
    let mut text = Vec::new();
    write_rfc3339(&mut text, time);
    String::from_utf8_lossy(&text).into_owned()
}

/// The state and the counters of every endpoint.
pub(super) fn series(snapshot: &Snapshot) -> Vec<Series> {
    let mut series = Vec::new();
    for upstream in snapshot.upstreams() {
        for endpoint in upstream.endpoints() {
            let (health, stats) = (endpoint.health().report(), endpoint.stats());
            let mut add = |name: &str, help: &str, label: Option<(&str, &str)>, value| {
                let labels = [("upstream", &**upstream.name()), ("endpoint", endpoint.address().as_str())];
                series.push(Series::new(name, help, labels.into_iter().chain(label), value));
            };
            for state in [State::Healthy, State::Unhealthy, State::Ejected] {
                let holds = f64::from(u8::from(state == health.state));
                let help = "1 for the state that the endpoint is in. It takes requests while it is healthy.";
                let label = Some(("state", state.name()));
                add("gatewright_endpoint_health", help, label, exposition::Value::Gauge(holds));
            }
            for (result, count) in [("passed", health.probes.passed), ("failed", health.probes.failed)] {
                let label = Some(("result", result));
                add("gatewright_endpoint_probes_total", "Probes, by result.", label, exposition::Value::Counter(count));
            }
            let help = "How often the endpoint was left out because requests to it failed.";
            let count = exposition::Value::Counter(health.ejections);
            add("gatewright_endpoint_ejections_total", help, None, count);
            let counters = [
                ("gatewright_endpoint_requests_total", stats.requests, "Attempts to get a request answered."),
                (
                    "gatewright_endpoint_failures_total",
                    stats.failures,
                    "Those without an answer, if the client is not to blame.",
                ),
                ("gatewright_endpoint_connects_total", stats.connects, "Connections made."),
                ("gatewright_endpoint_connect_failures_total", stats.connect_failures, "Connections that failed."),
            ];
            for (name, count, help) in counters {
                add(name, help, None, exposition::Value::Counter(count));
            }
            let gauges = [
                ("gatewright_endpoint_active_requests", stats.in_flight, "Requests under way to an endpoint."),
                ("gatewright_endpoint_open_connections", stats.connections, "Connections open or being made."),
                ("gatewright_endpoint_pending_requests", stats.pending, "Requests that wait for a connection."),
            ];
            for (name, count, help) in gauges {
                add(name, help, None, exposition::Value::Gauge(count as f64));
            }
        }
    }
    series
}
