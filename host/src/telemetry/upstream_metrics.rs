//! Metrics of upstreams. Each endpoint keeps its own counters, because balancing uses them.

use std::sync::Arc;
use std::time::Duration;

use http::Method;

use super::counters::Counters;
use super::durations::RequestDurations;
use super::exposition::{Exposition, Kind};
use super::server_metrics::expose_durations;

/// The requests to one upstream.
#[derive(Default)]
pub struct UpstreamMetrics {
    requests: RequestDurations,
    events: Counters<{ UpstreamEvent::ALL.len() }>,
    failures: Counters<{ UpstreamFailure::ALL.len() }>,
}

labels! {
    /// Something that happened to an upstream.
    UpstreamEvent {
        /// DNS answered for one of its names, or did not.
        NameResolved => "name-resolved",
        NameFailed => "name-failed",
    }
}

labels! {
    /// Why an upstream did not answer a request, after all attempts.
    UpstreamFailure {
        NoEndpoint => "no-endpoint",
        /// The maximum number of requests or connections is in flight.
        Overloaded => "overloaded",
        Connect => "connect",
        ConnectTimeout => "connect-timeout",
        Tls => "tls",
        /// The connection, or the stream, ended before the head of a response.
        Closed => "closed",
        /// The head of a response did not arrive in time, for one attempt or for all.
        ResponseTimeout => "response-timeout",
        /// The response cannot be passed on.
        BadResponse => "bad-response",
    }
}

impl UpstreamMetrics {
    /// Adds one request: the time until the response head, over all attempts. `status` 0: there was none.
    pub fn record(&self, method: &Method, status: u16, duration: Duration) {
        self.requests.record(method, status, duration, 0, 0);
    }

    pub fn event(&self, event: UpstreamEvent) {
        self.events.add(event as usize, 1);
    }

    pub fn failed(&self, failure: UpstreamFailure) {
        self.failures.add(failure as usize, 1);
    }

    pub(super) fn expose(page: &mut Exposition, upstreams: &[(Arc<str>, Arc<UpstreamMetrics>)]) {
        let name = "http_client_request_duration_seconds";
        page.family(
            name,
            Kind::Histogram,
            "From sending a request to an upstream to the head of its response, over all attempts.",
        );
        for (upstream, metrics) in upstreams {
            for (key, total) in metrics.requests.totals() {
                expose_durations(page, name, ("upstream", upstream), key, &total);
            }
        }
        let name = "gatewright_upstream_events_total";
        page.family(name, Kind::Counter, "What happened to upstreams.");
        for (upstream, metrics) in upstreams {
            for event in UpstreamEvent::ALL {
                let labels = [("upstream", &**upstream), ("event", event.name())];
                page.sample(name, &labels, metrics.events.sum(*event as usize));
            }
        }
        let name = "gatewright_upstream_failures_total";
        page.family(name, Kind::Counter, "Requests that upstreams did not answer, by reason.");
        for (upstream, metrics) in upstreams {
            for failure in UpstreamFailure::ALL {
                let labels = [("upstream", &**upstream), ("reason", failure.name())];
                page.sample(name, &labels, metrics.failures.sum(*failure as usize));
            }
        }
    }
}
