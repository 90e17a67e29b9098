//! The gateway's metrics, and the page that shows them.
//!
//! Names follow OpenTelemetry's HTTP semantic conventions where these have one (`http.server.request.duration` is
//! `http_server_request_duration_seconds`), otherwise they begin with `gatewright_`.
//!
//! A room asks for its handle by name when a snapshot is built and counts through it; see [`super::counters`] for the
//! cost. The same name gives the same handle, so values survive a reload. A handle that only this register holds
//! belongs to no running snapshot: after [`RELOADS_KEPT`] reloads in that state it is dropped, so that a gateway whose
//! configuration keeps changing does not grow.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use super::access_log::AccessLog;
use super::exposition::{Exposition, Kind, Series};
use super::{log, process};

pub use super::layer4_metrics::{Dropped, Layer4Metrics};
pub use super::plugin_metrics::{Breaker, Hook, HookCall, OnError, PluginLimit, PluginMetrics};
pub use super::server_metrics::{ListenerMetrics, RequestLimit, RouteMetrics, ServerMetrics};
pub use super::upstream_metrics::{UpstreamEvent, UpstreamFailure, UpstreamMetrics};

/// All metrics of one gateway.
pub struct Metrics {
    /// Metrics that belong to no route, upstream or plugin.
    pub server: ServerMetrics,
    routes: Named<RouteMetrics>,
    listeners: Named<ListenerMetrics>,
    layer4: Named<Layer4Metrics>,
    upstreams: Named<UpstreamMetrics>,
    plugins: Named<PluginMetrics>,
    reloads: Reloads,
    started: SystemTime,
}

#[derive(Default)]
struct Reloads {
    applied: AtomicU64,
    refused: AtomicU64,
    /// Unix seconds of the last applied configuration.
    last_applied: AtomicU64,
    /// Whether the latest attempt was refused.
    last_refused: AtomicU64,
}

impl Metrics {
    pub fn new() -> Self {
        Metrics {
            server: ServerMetrics::default(),
            routes: Named::default(),
            listeners: Named::default(),
            layer4: Named::default(),
            upstreams: Named::default(),
            plugins: Named::default(),
            reloads: Reloads::default(),
            started: SystemTime::now(),
        }
    }

    /// The handle of a route. Requests that matched none count under the empty name.
    pub fn route(&self, name: &str) -> Arc<RouteMetrics> {
        self.routes.of(name)
    }

    pub fn listener(&self, name: &str) -> Arc<ListenerMetrics> {
        self.listeners.of(name)
    }

    /// The handle of a listener that forwards at layer 4.
    pub fn layer4(&self, listener: &str) -> Arc<Layer4Metrics> {
        self.layer4.of(listener)
    }

    pub fn upstream(&self, name: &str) -> Arc<UpstreamMetrics> {
        self.upstreams.of(name)
    }

    pub fn plugin(&self, name: &str) -> Arc<PluginMetrics> {
        self.plugins.of(name)
    }

    /// A new configuration runs; the old one may still have exchanges in flight.
    pub fn reload_applied(&self) {
        self.reloads.applied.fetch_add(1, Ordering::Relaxed);
        self.reloads.last_applied.store(unix_seconds(SystemTime::now()), Ordering::Relaxed);
        self.reloads.last_refused.store(0, Ordering::Relaxed);
        self.routes.forget_unused();
        self.listeners.forget_unused();
        self.layer4.forget_unused();
        self.upstreams.forget_unused();
        self.plugins.forget_unused();
    }

    /// A new configuration was refused; the old one continues to run.
    pub fn reload_refused(&self) {
        self.reloads.refused.fetch_add(1, Ordering::Relaxed);
        self.reloads.last_refused.store(1, Ordering::Relaxed);
    }

    /// The page of `GET /metrics`. `series` come from other rooms: plugins' own metrics, the state of pools.
    pub fn render(&self, access_log: &AccessLog, series: &[Series]) -> String {
        let mut page = Exposition::default();
        self.server.expose(&mut page);
        RouteMetrics::expose(&mut page, &self.routes.all());
        ListenerMetrics::expose(&mut page, &self.listeners.all());
        Layer4Metrics::expose(&mut page, &self.layer4.all());
        UpstreamMetrics::expose(&mut page, &self.upstreams.all());
        PluginMetrics::expose(&mut page, &self.plugins.all());
        self.expose_reloads(&mut page);
        expose_logs(&mut page, access_log);
        process::expose(&mut page, self.started);
        page.add_series(series);
        page.finish()
    }

    fn expose_reloads(&self, page: &mut Exposition) {
        let Reloads { applied, refused, last_applied, last_refused } = &self.reloads;
        let value = |cell: &AtomicU64| cell.load(Ordering::Relaxed);
        let name = "gatewright_reloads_total";
        page.family(
            name,
            Kind::Counter,
            "New configurations since the start, by whether they were applied or refused.",
        );
        page.sample(name, &[("result", "applied")], value(applied));
        page.sample(name, &[("result", "refused")], value(refused));
        let name = "gatewright_reload_last_applied_timestamp_seconds";
        page.family(name, Kind::Gauge, "When a new configuration was last applied; 0 for never.");
        page.sample(name, &[], value(last_applied));
        let name = "gatewright_reload_last_refused";
        page.family(name, Kind::Gauge, "1 where the newest attempt at a reload was refused.");
        page.sample(name, &[], value(last_refused));
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Metrics::new()
    }
}

fn expose_logs(page: &mut Exposition, access_log: &AccessLog) {
    let name = "gatewright_access_log_records_total";
    page.family(name, Kind::Counter, "Access-log records, by whether their target took them or they were dropped.");
    page.sample(name, &[("result", "accepted")], access_log.accepted());
    page.sample(name, &[("result", "dropped")], access_log.dropped());
    let name = "gatewright_log_lines_left_out_total";
    page.family(name, Kind::Counter, "Lines of the operator's log that were over the budget of their kind.");
    page.sample(name, &[], log::suppressed());
}

/// Handles by name.
pub(super) struct Named<T> {
    entries: Mutex<BTreeMap<Arc<str>, Entry<T>>>,
}

struct Entry<T> {
    handle: Arc<T>,
    /// For how many reloads nobody else has held the handle.
    unused: u32,
}

impl<T: Default> Named<T> {
    pub(super) fn of(&self, name: &str) -> Arc<T> {
        let mut entries = self.lock();
        if let Some(entry) = entries.get(name) {
            return Arc::clone(&entry.handle);
        }
        let handle = Arc::<T>::default();
        entries.insert(name.into(), Entry { handle: Arc::clone(&handle), unused: 0 });
        handle
    }

    /// Drops handles that no snapshot has held for [`RELOADS_KEPT`] reloads. Handles are given out under the same lock,
    /// so a handle is never dropped in the moment it is asked for.
    pub(super) fn forget_unused(&self) {
        self.lock().retain(|_, entry| {
            let unused = Arc::strong_count(&entry.handle) == 1;
            entry.unused = if unused { entry.unused + 1 } else { 0 };
            entry.unused < RELOADS_KEPT
        });
    }

    /// Every handle, sorted by name.
    pub(super) fn all(&self) -> Vec<(Arc<str>, Arc<T>)> {
        self.lock().iter().map(|(name, entry)| (Arc::clone(name), Arc::clone(&entry.handle))).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, Entry<T>>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Default for Named<T> {
    fn default() -> Self {
        Named { entries: Mutex::new(BTreeMap::new()) }
    }
}

pub(super) fn unix_seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// A name that comes back within this many reloads (a rollback) continues counting where it was.
pub const RELOADS_KEPT: u32 = 3;

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::super::access_log::{Settings, Target};
    use super::super::exposition::{Value, tests::parse};
    use super::*;
    use http::Method;
    use std::time::Duration;

    fn render(metrics: &Metrics, series: &[Series]) -> BTreeMap<String, f64> {
        let off = AccessLog::open(Settings { target: Target::Off, ..Settings::default() }).unwrap();
        parse(&metrics.render(&off, series))
    }

    #[test]
    fn the_page_of_an_idle_gateway_is_valid_and_names_what_matters() {
        let samples = render(&Metrics::new(), &[]);
        for name in [
            "http_server_active_requests",
            "gatewright_reloads_total{result=\"refused\"}",
            "gatewright_access_log_records_total{result=\"dropped\"}",
            "gatewright_limit_hits_total{limit=\"head-bytes\"}",
            "process_start_time_seconds",
        ] {
            assert!(samples.contains_key(name), "{name} is missing");
        }
    }

    #[test]
    fn the_page_of_a_busy_gateway() {
        let metrics = Metrics::new();
        let route = metrics.route("or\"ders\\\n");
        route.record(&Method::GET, 200, Duration::from_millis(3), 10, 100);
        route.record(&Method::GET, 502, Duration::from_millis(30), 1, 2);
        metrics.route("").record(&Method::GET, 404, Duration::ZERO, 0, 0);
        metrics.server.request_started();
        metrics.server.request_started();
        metrics.server.request_ended();
        metrics.server.limit_hit(RequestLimit::HeadBytes);
        let listener = metrics.listener(":8080");
        listener.accepted();
        listener.accepted();
        listener.closed();
        let upstream = metrics.upstream("orders");
        upstream.record(&Method::GET, 200, Duration::from_millis(2));
        upstream.event(UpstreamEvent::NameFailed);
        upstream.failed(UpstreamFailure::ConnectTimeout);
        let plugin = metrics.plugin("geo");
        let call = plugin.begin(Hook::Request);
        plugin.end(call);
        plugin.trapped();
        plugin.limit_hit(PluginLimit::Time);
        plugin.failed(OnError::Deny);
        plugin.set_breaker(Breaker::Open);
        plugin.swapped(true);
        metrics.reload_refused();
        let extra = Series::new("gatewright_plugin_cache_hits", "Hits.", [("plugin", "geo")], Value::Counter(5));

        let samples = render(&metrics, &[extra]);
        let route = "http_route=\"or\\\"ders\\\\\\n\"";
        let request = format!("{{{route},http_request_method=\"GET\",http_response_status_code");
        for (name, expected) in [
            (format!("http_server_request_duration_seconds_count{request}=\"200\"}}"), 1.0),
            (format!("http_server_request_duration_seconds_sum{request}=\"502\"}}"), 0.03),
            (format!("http_server_request_duration_seconds_bucket{request}=\"200\",le=\"0.0025\"}}"), 0.0),
            (format!("http_server_request_duration_seconds_bucket{request}=\"200\",le=\"0.005\"}}"), 1.0),
            (
                "http_server_request_duration_seconds_count{http_request_method=\"GET\",http_response_status_code=\"404\"}"
                    .into(),
                1.0,
            ),
            (format!("gatewright_request_body_bytes_total{{{route}}}"), 11.0),
            (format!("gatewright_response_body_bytes_total{{{route}}}"), 102.0),
            ("http_server_active_requests".into(), 1.0),
            ("gatewright_limit_hits_total{limit=\"head-bytes\"}".into(), 1.0),
            ("gatewright_listener_accepted_connections_total{listener=\":8080\"}".into(), 2.0),
            ("gatewright_listener_open_connections{listener=\":8080\"}".into(), 1.0),
            (
                "http_client_request_duration_seconds_count{upstream=\"orders\",http_request_method=\"GET\",\
                 http_response_status_code=\"200\"}"
                    .into(),
                1.0,
            ),
            ("gatewright_upstream_events_total{upstream=\"orders\",event=\"name-failed\"}".into(), 1.0),
            ("gatewright_upstream_failures_total{upstream=\"orders\",reason=\"connect-timeout\"}".into(), 1.0),
            ("gatewright_plugin_calls_total{plugin=\"geo\",hook=\"request\"}".into(), 1.0),
            ("gatewright_plugin_hook_duration_seconds_count{plugin=\"geo\",hook=\"request\"}".into(), 1.0),
            ("gatewright_plugin_traps_total{plugin=\"geo\"}".into(), 1.0),
            ("gatewright_plugin_limit_hits_total{plugin=\"geo\",limit=\"time\"}".into(), 1.0),
            ("gatewright_plugin_failures_total{plugin=\"geo\",on_error=\"deny\"}".into(), 1.0),
            ("gatewright_plugin_breaker_state{plugin=\"geo\",state=\"open\"}".into(), 1.0),
            ("gatewright_plugin_breaker_state{plugin=\"geo\",state=\"closed\"}".into(), 0.0),
            ("gatewright_plugin_swaps_total{plugin=\"geo\",result=\"applied\"}".into(), 1.0),
            ("gatewright_plugin_cache_hits_total{plugin=\"geo\"}".into(), 5.0),
            ("gatewright_reload_last_refused".into(), 1.0),
        ] {
            assert_eq!(samples.get(&name), Some(&expected), "{name}");
        }
    }

    #[test]
    fn values_survive_a_reload_and_unused_names_are_forgotten() {
        let metrics = Metrics::new();
        let kept = metrics.route("kept");
        metrics.route("gone").record(&Method::GET, 200, Duration::ZERO, 0, 0);
        assert!(Arc::ptr_eq(&kept, &metrics.route("kept")));

        for reload in 1..=RELOADS_KEPT {
            let names: Vec<_> = metrics.routes.all().into_iter().map(|(name, _)| name).collect();
            assert_eq!(names, ["gone".into(), "kept".into()] as [Arc<str>; 2], "before reload {reload}");
            metrics.reload_applied();
        }
        let names: Vec<_> = metrics.routes.all().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["kept".into()] as [Arc<str>; 1]);
        assert_eq!(render(&metrics, &[])["gatewright_reloads_total{result=\"applied\"}"], f64::from(RELOADS_KEPT));
    }

    #[test]
    fn a_name_that_comes_back_in_time_goes_on_counting() {
        let metrics = Metrics::new();
        metrics.route("back").record(&Method::GET, 200, Duration::ZERO, 0, 0);
        for _ in 0..RELOADS_KEPT * 3 {
            metrics.reload_applied();
            let held = metrics.route("back");
            metrics.reload_applied();
            drop(held);
        }
        assert_eq!(metrics.route("back").requests().totals().len(), 1);
    }
}
