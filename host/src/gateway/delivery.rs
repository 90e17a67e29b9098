//! Counters of failures and overload of upstreams and routes, for the metrics page.

use crate::mirror::End;
use crate::retry::Cause;
use crate::snapshot::Snapshot;
use crate::telemetry::exposition::{Series, Value};

/// Adds the series of a configuration.
pub(super) fn series(snapshot: &Snapshot, series: &mut Vec<Series>) {
    let mut add = |name: &str, help: &str, labels: &[(&str, &str)], value: Value| {
        series.push(Series::new(name, help, labels.iter().copied(), value));
    };
    for upstream in snapshot.upstreams() {
        let of = ("upstream", &**upstream.name());
        let retries = upstream.retry_counters();
        for cause in Cause::ALL {
            let count = Value::Counter(retries.after(cause));
            let help = "Requests that were sent again, by what had happened to the attempt before.";
            add("gatewright_upstream_retries_total", help, &[of, ("cause", cause.name())], count);
        }
        let count = Value::Counter(retries.over_budget());
        let help = "Requests that were not sent again, because the budget for that was used up.";
        add("gatewright_upstream_retries_over_budget_total", help, &[of], count);
        if let Some((active, refused)) = upstream.requests() {
            let help = "Requests under way to an upstream whose max_requests is set.";
            add("gatewright_upstream_active_requests", help, &[of], Value::Gauge(active as f64));
            let help = "Requests over the max_requests of their upstream.";
            add("gatewright_upstream_refused_requests_total", help, &[of], Value::Counter(refused));
        }
    }
    for route in snapshot.routes() {
        for mirror in route.mirrors.iter().flat_map(|mirrors| mirrors.iter()).map(|one| &one.mirror) {
            let of = [("http_route", &*route.facts.name), ("upstream", &**mirror.upstream().name())];
            for end in End::ALL {
                let count = Value::Counter(mirror.counts().of(end));
                let help = "Copies of requests for the mirrors of a route, by what became of them.";
                let labels = [of[0], of[1], ("result", end.name())];
                add("gatewright_mirrored_requests_total", help, &labels, count);
            }
            let help = "Copies of requests that are under way to a mirror.";
            add("gatewright_mirror_active_requests", help, &of, Value::Gauge(mirror.counts().under_way() as f64));
        }
        let Some(admission) = &route.admission else { continue };
        let of = ("http_route", &*route.facts.name);
        let help = "Requests of a route whose max_concurrent is set.";
        add("gatewright_route_admitted_requests", help, &[of], Value::Gauge(admission.active() as f64));
        let help = "Requests that wait for their turn on a route.";
        add("gatewright_route_queued_requests", help, &[of], Value::Gauge(admission.waiting() as f64));
        let help = "Requests over the max_concurrent of their route, answered with 503.";
        add("gatewright_route_shed_requests_total", help, &[of], Value::Counter(admission.shed()));
    }
}
