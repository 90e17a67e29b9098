//! What is counted on the servers' side: upstreams and their endpoints.

use std::sync::Arc;
use std::time::Duration;

use http::Method;

use super::counters::Counters;
use super::durations::RequestDurations;
use super::exposition::{Exposition, Kind};
use super::metrics::Named;
use super::server_metrics::expose_durations;

/// The requests to one upstream.
#[derive(Default)]
pub struct UpstreamMetrics {
    requests: RequestDurations,
    events: Counters<{ UpstreamEvent::ALL.len() }>,
    failures: Counters<{ UpstreamFailure::ALL.len() }>,
    pub(super) endpoints: Named<EndpointMetrics>,
}

labels! {
    /// Something that happened on the way to an upstream and is no failure.
    UpstreamEvent {
        /// A request was sent to an endpoint, the first time or again.
        Attempt => "attempt",
        /// One of them was a repetition.
        Retry => "retry",
        /// A pooled connection turned out to be closed, and the request was sent over another.
        StaleConnection => "stale-connection",
        ConnectionOpened => "connection-opened",
        ConnectionReused => "connection-reused",
        ConnectionClosed => "connection-closed",
        /// DNS said what one of its names stands for, or did not.
        NameResolved => "name-resolved",
        NameFailed => "name-failed",
        /// An endpoint was taken out because it failed too often, and put back.
        Ejected => "ejected",
        Returned => "returned",
    }
}

labels! {
    /// Why a request to an upstream failed.
    UpstreamFailure {
        NoEndpoint => "no-endpoint",
        /// The caps on connections or on requests in flight were reached.
        Overloaded => "overloaded",
        ConnectRefused => "connect-refused",
        ConnectTimeout => "connect-timeout",
        Tls => "tls",
        /// The connection broke before the response head was there.
        Reset => "reset",
        ResponseTimeout => "response-timeout",
        /// The answer was not HTTP, or over a limit.
        BadResponse => "bad-response",
        /// The connection broke in the response body.
        BrokenBody => "broken-body",
    }
}

impl UpstreamMetrics {
    /// Adds one attempt: how long until the response head was there. `status` 0: there was none.
    pub fn record(&self, method: &Method, status: u16, duration: Duration) {
        self.requests.record(method, status, duration, 0, 0);
    }

    pub fn event(&self, event: UpstreamEvent) {
        self.events.add(event as usize, 1);
    }

    pub fn failed(&self, failure: UpstreamFailure) {
        self.failures.add(failure as usize, 1);
    }

    /// The handle of one endpoint, by its address.
    pub fn endpoint(&self, address: &str) -> Arc<EndpointMetrics> {
        self.endpoints.of(address)
    }

    pub(super) fn expose(page: &mut Exposition, upstreams: &[(Arc<str>, Arc<UpstreamMetrics>)]) {
        let name = "http_client_request_duration_seconds";
        page.family(name, Kind::Histogram, "From sending a request to an upstream to the head of its response.");
        for (upstream, metrics) in upstreams {
            for (key, total) in metrics.requests.totals() {
                expose_durations(page, name, ("upstream", upstream), key, &total);
            }
        }
        let name = "gatewright_upstream_events_total";
        page.family(name, Kind::Counter, "What happened on the way to upstreams.");
        for (upstream, metrics) in upstreams {
            for event in UpstreamEvent::ALL {
                let labels = [("upstream", &**upstream), ("event", event.name())];
                page.sample(name, &labels, metrics.events.sum(*event as usize));
            }
        }
        let name = "gatewright_upstream_failures_total";
        page.family(name, Kind::Counter, "Requests to upstreams that failed, by reason.");
        for (upstream, metrics) in upstreams {
            for failure in UpstreamFailure::ALL {
                let labels = [("upstream", &**upstream), ("reason", failure.name())];
                page.sample(name, &labels, metrics.failures.sum(*failure as usize));
            }
        }
        EndpointMetrics::expose(page, upstreams);
    }
}

/// What is open to one endpoint.
#[derive(Default)]
pub struct EndpointMetrics {
    counters: Counters<4>,
}

const ACTIVE: usize = 0;
const OPEN: usize = 1;
const REQUESTS: usize = 2;
const FAILURES: usize = 3;

impl EndpointMetrics {
    pub fn request_started(&self) {
        self.counters.add(ACTIVE, 1);
        self.counters.add(REQUESTS, 1);
    }

    /// The request that was started is over, however.
    pub fn request_ended(&self, failed: bool) {
        self.counters.subtract(ACTIVE, 1);
        if failed {
            self.counters.add(FAILURES, 1);
        }
    }

    pub fn connection_opened(&self) {
        self.counters.add(OPEN, 1);
    }

    pub fn connection_closed(&self) {
        self.counters.subtract(OPEN, 1);
    }

    fn expose(page: &mut Exposition, upstreams: &[(Arc<str>, Arc<UpstreamMetrics>)]) {
        let endpoints: Vec<_> = upstreams
            .iter()
            .flat_map(|(upstream, metrics)| {
                metrics.endpoints.all().into_iter().map(move |(endpoint, metrics)| (upstream, endpoint, metrics))
            })
            .collect();
        let families = [
            ("gatewright_endpoint_active_requests", Kind::Gauge, ACTIVE, "Requests under way to an endpoint."),
            ("gatewright_endpoint_open_connections", Kind::Gauge, OPEN, "Connections open to an endpoint."),
            ("gatewright_endpoint_requests_total", Kind::Counter, REQUESTS, "Requests sent to an endpoint."),
            ("gatewright_endpoint_failures_total", Kind::Counter, FAILURES, "Those of them that failed."),
        ];
        for (name, kind, index, help) in families {
            page.family(name, kind, help);
            for (upstream, endpoint, metrics) in &endpoints {
                let labels = [("upstream", &***upstream), ("endpoint", &**endpoint)];
                page.sample(name, &labels, metrics.counters.gauge(index));
            }
        }
    }
}
