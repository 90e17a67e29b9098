//! The response cache, for the metrics page and the admin API.

use crate::cache::{Cache, Event};
use crate::snapshot::Snapshot;
use crate::telemetry::exposition::{Series, Value};

/// The series of the cache; empty if no route has a cache.
pub(super) fn series(snapshot: &Snapshot) -> Vec<Series> {
    if snapshot.routes().iter().any(|route| route.cache.is_some()) { of_cache(&snapshot.cache) } else { Vec::new() }
}

fn of_cache(cache: &Cache) -> Vec<Series> {
    let series = |name: &str, help: &str, labels: Vec<(String, String)>, value| Series {
        name: name.to_owned(),
        help: help.to_owned(),
        labels,
        value,
    };
    let event = |event: &Event| {
        let labels = vec![("event".to_owned(), event.name().to_owned())];
        let help = "What requests met in the response cache, and what became of entries.";
        series("gatewright_cache_events", help, labels, Value::Counter(cache.counted(*event)))
    };
    let mut all: Vec<Series> = Event::ALL.iter().map(event).collect();
    let used = Value::Gauge(cache.used_bytes() as f64);
    all.push(series("gatewright_cache_bytes", "Memory that remembered responses take.", Vec::new(), used));
    let keys = Value::Gauge(cache.keys() as f64);
    all.push(series("gatewright_cache_keys", "Addresses of which something is remembered.", Vec::new(), keys));
    all
}
