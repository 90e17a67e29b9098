//! The response cache, for the metrics page and the admin API.

use crate::cache::{Cache, Event};
use crate::snapshot::Snapshot;
use crate::telemetry::exposition::{Series, Value};

/// The series of the cache; empty if no route has a cache.
pub(super) fn series(snapshot: &Snapshot) -> Vec<Series> {
    if snapshot.routes().iter().any(|route| route.cache.is_some()) { of_cache(&snapshot.cache) } else { Vec::new() }
}

fn of_cache(cache: &Cache) -> Vec<Series> {
    let event = |event: &Event| {
        let help = "What requests met in the response cache, and what became of entries.";
        let count = Value::Counter(cache.counted(*event));
        Series::new("gatewright_cache_events", help, [("event", event.name())], count)
    };
    let mut all: Vec<Series> = Event::ALL.iter().map(event).collect();
    let used = Value::Gauge(cache.used_bytes() as f64);
    all.push(Series::new("gatewright_cache_bytes", "Memory that remembered responses take.", [], used));
    let keys = Value::Gauge(cache.keys() as f64);
    all.push(Series::new("gatewright_cache_keys", "Addresses of which something is remembered.", [], keys));
    all
}
