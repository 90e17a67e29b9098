//! Counters of queries to the stores, for the metrics page.

use crate::capability::remote::{Count, Remote};
use crate::snapshot::Snapshot;
use crate::telemetry::exposition::{Series, Value};

/// The series of all stores.
pub(super) fn series(snapshot: &Snapshot) -> Vec<Series> {
    snapshot.stores().flat_map(|store| of_store(store)).collect()
}

fn of_store(store: &Remote) -> Vec<Series> {
    let settings = store.settings();
    let series = |name: &str, help: &str, label: Option<(&str, &str)>, value| {
        Series::new(name, help, [("store", &*settings.name)].into_iter().chain(label), value)
    };
    let results = [
        (Count::Answered, "answered"),
        (Count::Down, "down"),
        (Count::Busy, "busy"),
        (Count::TimedOut, "timed-out"),
        (Count::Failed, "failed"),
    ];
    let mut all: Vec<Series> = results
        .iter()
        .map(|(count, result)| {
            let value = Value::Counter(store.count(*count));
            let help = "Questions to a store, by what came of them.";
            series("gatewright_store_questions", help, Some(("result", result)), value)
        })
        .collect();
    let fell_back = Value::Counter(store.count(Count::FellBack));
    let on_error = Some(("on_error", settings.on_error.name()));
    let help = "Decisions that were made without the store.";
    all.push(series("gatewright_store_fallbacks", help, on_error, fell_back));
    let connections = Value::Gauge(store.connections() as f64);
    all.push(series("gatewright_store_connections", "Connections to a store that are up.", None, connections));
    all
}
