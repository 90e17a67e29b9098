//! Metrics of the client side: routes, listeners, and the limits that requests run into.

use std::sync::Arc;
use std::time::Duration;

use http::Method;

use super::counters::Counters;
use super::durations::{Key, REQUEST_BOUNDS, RequestDurations, Totals};
use super::exposition::{Exposition, Kind};

/// The requests of one route.
#[derive(Default)]
pub struct RouteMetrics {
    requests: RequestDurations,
}

impl RouteMetrics {
    /// Adds one exchange at its end. `status` 0: the client left before there was one. `received` and `sent` are body
    /// bytes from and to the client.
    pub fn record(&self, method: &Method, status: u16, duration: Duration, received: u64, sent: u64) {
        self.requests.record(method, status, duration, received, sent);
    }

    pub fn requests(&self) -> &RequestDurations {
        &self.requests
    }

    pub(super) fn expose(page: &mut Exposition, routes: &[(Arc<str>, Arc<RouteMetrics>)]) {
        let totals: Vec<_> = routes.iter().map(|(name, route)| (&**name, route.requests.totals())).collect();
        let name = "http_server_request_duration_seconds";
        page.family(name, Kind::Histogram, "From a request's head to the last byte of its response.");
        for (route, totals) in &totals {
            for (key, total) in totals {
                expose_durations(page, name, ("http_route", route), *key, total);
            }
        }
        let name = "gatewright_request_body_bytes_total";
        page.family(name, Kind::Counter, "Body bytes that came from clients.");
        for (route, totals) in &totals {
            page.sample(name, &[("http_route", route)], totals.values().map(|total| total.received).sum());
        }
        let name = "gatewright_response_body_bytes_total";
        page.family(name, Kind::Counter, "Body bytes that went to clients.");
        for (route, totals) in &totals {
            page.sample(name, &[("http_route", route)], totals.values().map(|total| total.sent).sum());
        }
    }
}

/// One histogram with the labels that OpenTelemetry gives requests on either side.
pub(super) fn expose_durations(page: &mut Exposition, name: &str, owner: (&str, &str), key: Key, total: &Totals) {
    let status = key.status();
    let labels = [owner, ("http_request_method", key.method()), ("http_response_status_code", &status)];
    page.durations(name, &labels, &REQUEST_BOUNDS, &total.buckets, total.sum);
}

/// The connections of one listener.
#[derive(Default)]
pub struct ListenerMetrics {
    connections: Counters<5>,
    handshakes: Counters<{ Handshake::ALL.len() }>,
}

labels! {
    /// How a TLS handshake with a client ended.
    Handshake {
        Full => "full",
        /// An earlier session was resumed.
        Resumed => "resumed",
        /// Client and gateway did not agree, or one of them broke off.
        Failed => "failed",
        /// It took too long.
        TimedOut => "timed-out",
        /// The client spoke HTTP without TLS.
        PlainHttp => "plain-http",
    }
}

const ACCEPTED: usize = 0;
const CLOSED: usize = 1;
const REFUSED: usize = 2;
const LAIN_DOWN: usize = 3;
const WOKEN: usize = 4;

impl ListenerMetrics {
    pub fn accepted(&self) {
        self.connections.add(ACCEPTED, 1);
    }

    /// An accepted connection was closed.
    pub fn closed(&self) {
        self.connections.add(CLOSED, 1);
    }

    /// A connection was closed at once, because there are too many. It does not count as accepted.
    pub fn refused(&self) {
        self.connections.add(REFUSED, 1);
    }

    /// An open connection is idle until its client sends something. It is woken before it is closed, too.
    pub fn rests(&self) {
        self.connections.add(LAIN_DOWN, 1);
    }

    /// An idle connection is idle no more.
    pub fn woken(&self) {
        self.connections.add(WOKEN, 1);
    }

    /// Connections that are idle now.
    pub fn resting(&self) -> u64 {
        let woken = self.connections.sum(WOKEN);
        self.connections.sum(LAIN_DOWN).saturating_sub(woken)
    }

    /// A TLS handshake has ended.
    pub fn handshake(&self, end: Handshake) {
        self.handshakes.add(end as usize, 1);
    }

    /// Connections that are open now.
    pub fn open(&self) -> u64 {
        let closed = self.connections.sum(CLOSED);
        self.connections.sum(ACCEPTED).saturating_sub(closed)
    }

    pub(super) fn expose(page: &mut Exposition, listeners: &[(Arc<str>, Arc<ListenerMetrics>)]) {
        let counters = [
            ("gatewright_listener_accepted_connections_total", ACCEPTED, "Connections that were accepted."),
            ("gatewright_listener_refused_connections_total", REFUSED, "Connections over the limit, closed at once."),
        ];
        for (name, index, help) in counters {
            page.family(name, Kind::Counter, help);
            for (listener, metrics) in listeners {
                page.sample(name, &[("listener", listener)], metrics.connections.sum(index));
            }
        }
        type Now = fn(&ListenerMetrics) -> u64;
        let gauges: [(&str, Now, &str); 2] = [
            ("gatewright_listener_open_connections", ListenerMetrics::open, "Connections that are open."),
            (
                "gatewright_listener_resting_connections",
                ListenerMetrics::resting,
                "Connections of HTTP/1 in the clear, among those that are open, that have been idle for a second or more.",
            ),
        ];
        for (name, now, help) in gauges {
            page.family(name, Kind::Gauge, help);
            for (listener, metrics) in listeners {
                page.sample(name, &[("listener", listener)], now(metrics));
            }
        }
        let name = "gatewright_tls_handshakes_total";
        page.family(name, Kind::Counter, "TLS handshakes with clients, by how they ended.");
        for (listener, metrics) in listeners {
            for end in Handshake::ALL {
                page.sample(
                    name,
                    &[("listener", listener), ("result", end.name())],
                    metrics.handshakes.sum(*end as usize),
                );
            }
        }
    }
}

/// Metrics of the gateway as a whole.
#[derive(Default)]
pub struct ServerMetrics {
    active: Counters<1>,
    limits: Counters<{ RequestLimit::ALL.len() }>,
}

labels! {
    /// Why a connection was closed, or an HTTP/1 request refused, before a route was looked up.
    RequestLimit {
        /// A request line over its limit.
        RequestLine => "request-line",
        /// A head over its limit in bytes or fields.
        HeadBytes => "head-bytes",
        /// A head that did not arrive in time.
        HeadTime => "head-time",
        /// A head that is malformed, or whose framing could be read in two ways.
        Framing => "framing",
        /// A connection that did not begin with a header of the PROXY protocol, or came from a peer that may not send
        /// one.
        ProxyProtocol => "proxy-protocol",
        /// A connection from an address that its listener refuses.
        Address => "address",
    }
}

impl ServerMetrics {
    pub fn request_started(&self) {
        self.active.add(0, 1);
    }

    pub fn request_ended(&self) {
        self.active.subtract(0, 1);
    }

    /// Requests that have started and not ended.
    pub fn active_requests(&self) -> u64 {
        self.active.gauge(0)
    }

    pub fn limit_hit(&self, limit: RequestLimit) {
        self.limits.add(limit as usize, 1);
    }

    pub(super) fn expose(&self, page: &mut Exposition) {
        let name = "http_server_active_requests";
        page.family(name, Kind::Gauge, "Requests that have started and not ended.");
        page.sample(name, &[], self.active_requests());
        let name = "gatewright_limit_hits_total";
        page.family(name, Kind::Counter, "Connections and requests that ran into a limit.");
        for limit in RequestLimit::ALL {
            page.sample(name, &[("limit", limit.name())], self.limits.sum(*limit as usize));
        }
    }
}
