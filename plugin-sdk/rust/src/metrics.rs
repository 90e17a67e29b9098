//! Metrics for the operator.

use serde::Serialize;

use crate::host::metrics as host;

/// A metric of a plugin: a `static`, listed in [`crate::Plugin::METRICS`]. The gateway prefixes it with the plugin's
/// name.
///
/// ```
/// # use gatewright_sdk::Metric;
/// static DENIED: Metric = Metric::counter("denied", "Requests that were refused.", &["reason"]);
/// // in the plugin:  const METRICS: &'static [&'static Metric] = &[&DENIED];
/// // in a hook:      DENIED.add(1, &["no-key"]);
/// ```
#[derive(Debug, Serialize)]
pub struct Metric {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    help: &'static str,
    labels: &'static [&'static str],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

impl Metric {
    /// Only goes up.
    #[must_use]
    pub const fn counter(name: &'static str, help: &'static str, labels: &'static [&'static str]) -> Self {
        Self { name, kind: Kind::Counter, help, labels }
    }

    /// Goes up and down.
    #[must_use]
    pub const fn gauge(name: &'static str, help: &'static str, labels: &'static [&'static str]) -> Self {
        Self { name, kind: Kind::Gauge, help, labels }
    }

    /// A distribution. Durations are in seconds.
    #[must_use]
    pub const fn histogram(name: &'static str, help: &'static str, labels: &'static [&'static str]) -> Self {
        Self { name, kind: Kind::Histogram, help, labels }
    }

    /// Adds to a counter. `labels` are the values, in the order of the declaration.
    pub fn add(&self, delta: u64, labels: &[&str]) {
        self.check(Kind::Counter, labels);
        host::count(self.name, labels, delta);
    }

    /// Sets a gauge.
    pub fn set(&self, value: f64, labels: &[&str]) {
        self.check(Kind::Gauge, labels);
        host::gauge(self.name, labels, value);
    }

    /// Records one value in a histogram.
    pub fn observe(&self, value: f64, labels: &[&str]) {
        self.check(Kind::Histogram, labels);
        host::observe(self.name, labels, value);
    }

    /// Reports a mistake in the plugin to its tests; in the gateway the call is dropped.
    fn check(&self, kind: Kind, labels: &[&str]) {
        debug_assert_eq!(self.kind, kind, "metric {} used as another kind", self.name);
        debug_assert_eq!(self.labels.len(), labels.len(), "metric {} has other labels", self.name);
    }
}
