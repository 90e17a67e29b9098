//! `metrics`: the counters, gauges and histograms that a plugin declares in its manifest.
//!
//! A series is a metric with the values of its labels. Series are made when they are first written and stay until the
//! plugin is unloaded; there are at most [`DEFAULT_MAX_SERIES`] of them per plugin, because label values often come
//! from clients, and writes beyond that are dropped and counted. A metric without labels has its one series from the
//! start, and is never dropped.
//!
//! Finding a series takes no lock, nor does dropping one over the bound: the map is immutable behind one atomic pointer
//! and copied when a series is added, which the bound makes rare. Its numbers are relaxed atomics, so a scrape never
//! stops a request.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use smallvec::SmallVec;

/// The metrics of one plugin.
#[derive(Default)]
pub struct Metrics {
    by_name: HashMap<String, Metric>,
    max_series: usize,
    series: AtomicUsize,
    /// Held while a series is added.
    adding: Mutex<()>,
    dropped: AtomicU64,
}

/// A metric as the manifest declares it.
#[derive(Debug, Clone, PartialEq)]
pub struct Declaration {
    /// A valid name for Prometheus: letters, digits, `_` and `:`, no digit first.
    pub name: String,
    pub kind: Kind,
    /// A one-line description. May be empty.
    pub help: String,
    /// Names of the labels, in the order in which their values are given.
    pub labels: Vec<String>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    Counter,
    Gauge,
    /// Upper bounds of the buckets, ascending and finite; empty stands for [`DEFAULT_BOUNDS`].
    Histogram(Vec<f64>),
}

/// One series, as a scrape sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample<'a> {
    pub metric: &'a Declaration,
    /// In the order of `metric.labels`.
    pub label_values: &'a [String],
    pub value: Value,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Counter(u64),
    Gauge(f64),
    Histogram {
        /// Bucket bounds, and how many observations were at or below each (cumulative).
        buckets: Vec<(f64, u64)>,
        sum: f64,
        count: u64,
    },
}

impl Metrics {
    /// At most `max_series` ([`DEFAULT_MAX_SERIES`]) series with labels. A declaration that cannot be exported is an
    /// error that says why.
    pub fn new(declarations: Vec<Declaration>, max_series: usize) -> Result<Metrics, String> {
        if declarations.len() > MAX_METRICS {
            return Err(format!("{} metrics are declared, at most {MAX_METRICS} are allowed", declarations.len()));
        }
        let mut by_name = HashMap::with_capacity(declarations.len());
        for declaration in declarations {
            declaration.check().map_err(|problem| format!("metric {:?}: {problem}", declaration.name))?;
            let name = declaration.name.clone();
            if by_name.insert(name, Metric::new(declaration)).is_some() {
                return Err("a metric is declared twice".to_owned());
            }
        }
        Ok(Metrics {
            by_name,
            max_series,
            series: AtomicUsize::new(0),
            adding: Mutex::new(()),
            dropped: AtomicU64::new(0),
        })
    }

    /// Adds to a counter. A write to a metric of another kind or an unknown name, with a wrong number of labels, or
    /// over the limit of series is dropped and counted; returns whether it was written. The same applies to
    /// [`Metrics::gauge`] and [`Metrics::observe`].
    pub fn count<L: AsRef<str>>(&self, name: &str, labels: &[L], delta: u64) -> bool {
        self.write(name, labels, |series| match series {
            Series::Counter(count) => {
                count.fetch_add(delta, Ordering::Relaxed);
                true
            }
            _ => false,
        })
    }

    /// Sets a gauge.
    pub fn gauge<L: AsRef<str>>(&self, name: &str, labels: &[L], value: f64) -> bool {
        self.write(name, labels, |series| match series {
            Series::Gauge(gauge) => {
                gauge.store(value.to_bits(), Ordering::Relaxed);
                true
            }
            _ => false,
        })
    }

    /// Adds an observation to a histogram. NaN is dropped: it would make the sum NaN for ever.
    pub fn observe<L: AsRef<str>>(&self, name: &str, labels: &[L], value: f64) -> bool {
        self.write(name, labels, |series| match series {
            Series::Histogram(histogram) if !value.is_nan() => {
                histogram.observe(value);
                true
            }
            _ => false,
        })
    }

    /// Shows every series, sorted by name and then by label values, so that the text of two scrapes can be compared.
    pub fn for_each(&self, mut show: impl FnMut(Sample<'_>)) {
        let mut metrics: Vec<&Metric> = self.by_name.values().collect();
        metrics.sort_unstable_by(|a, b| a.declaration.name.cmp(&b.declaration.name));
        for metric in metrics {
            let by_labels = metric.by_labels.load();
            let mut all: Vec<(&[String], &Series)> =
                by_labels.values().map(|labelled| (labelled.label_values.as_slice(), &labelled.series)).collect();
            all.extend(metric.plain.as_ref().map(|series| (&[][..], series)));
            all.sort_unstable_by_key(|(label_values, _)| *label_values);
            for (label_values, series) in all {
                show(Sample { metric: &metric.declaration, label_values, value: series.value() });
            }
        }
    }

    /// How many writes were dropped: over the limit, undeclared, of another kind or with other labels.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    fn write<L: AsRef<str>>(&self, name: &str, labels: &[L], apply: impl FnOnce(&Series) -> bool) -> bool {
        let written = self.by_name.get(name).is_some_and(|metric| {
            if metric.declaration.labels.len() != labels.len() {
                return false;
            }
            match &metric.plain {
                Some(series) => apply(series),
                None => self.write_labelled(metric, labels, apply),
            }
        });
        if !written {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        written
    }

    fn write_labelled<L: AsRef<str>>(
        &self,
        metric: &Metric,
        labels: &[L],
        apply: impl FnOnce(&Series) -> bool,
    ) -> bool {
        let key = key(labels);
        // Read before the map: once the count is full, the map read after it has every series there will be.
        let is_full = self.series.load(Ordering::Acquire) >= self.max_series;
        if let Some(labelled) = metric.by_labels.load().get(key.as_slice()) {
            return apply(&labelled.series);
        }
        if is_full {
            return false;
        }
        let _adding = self.adding.lock().unwrap_or_else(PoisonError::into_inner);
        let map = metric.by_labels.load_full();
        if let Some(labelled) = map.get(key.as_slice()) {
            return apply(&labelled.series);
        }
        if self.series.load(Ordering::Relaxed) >= self.max_series {
            return false;
        }
        let added = Arc::new(Labelled {
            label_values: labels.iter().map(|value| cut(value.as_ref()).to_owned()).collect(),
            series: Series::new(&metric.declaration.kind),
        });
        let mut map = HashMap::clone(&map);
        map.insert(key.as_slice().into(), Arc::clone(&added));
        metric.by_labels.store(Arc::new(map));
        self.series.fetch_add(1, Ordering::Release);
        apply(&added.series)
    }
}

impl Declaration {
    fn check(&self) -> Result<(), String> {
        if !is_name(&self.name) {
            return Err("is not a metric name".to_owned());
        }
        if self.labels.len() > MAX_LABELS {
            return Err(format!("has more than {MAX_LABELS} labels"));
        }
        for (at, label) in self.labels.iter().enumerate() {
            let is_reserved = label.starts_with("__") || label.contains(':') || label == "le";
            if !is_name(label) || is_reserved || self.labels.iter().take(at).any(|other| other == label) {
                return Err(format!("label {label:?} is no label name, is reserved, or is there twice"));
            }
        }
        match &self.kind {
            Kind::Histogram(bounds) if bounds.len() > MAX_BOUNDS => Err(format!("has more than {MAX_BOUNDS} buckets")),
            Kind::Histogram(bounds) => {
                let rises = bounds.iter().zip(bounds.iter().skip(1)).all(|(low, high)| low < high);
                let fits = rises && bounds.iter().all(|bound| bound.is_finite());
                fits.then_some(()).ok_or_else(|| "bucket bounds must be finite and rise".to_owned())
            }
            Kind::Counter | Kind::Gauge => Ok(()),
        }
    }
}

struct Metric {
    declaration: Declaration,
    /// The series of a metric without labels.
    plain: Option<Series>,
    by_labels: ArcSwap<HashMap<Box<[u8]>, Arc<Labelled>>>,
}

impl Metric {
    fn new(mut declaration: Declaration) -> Metric {
        if declaration.kind == Kind::Histogram(Vec::new()) {
            declaration.kind = Kind::Histogram(DEFAULT_BOUNDS.to_vec());
        }
        let plain = declaration.labels.is_empty().then(|| Series::new(&declaration.kind));
        Metric { declaration, plain, by_labels: ArcSwap::default() }
    }
}

struct Labelled {
    label_values: Vec<String>,
    series: Series,
}

enum Series {
    Counter(AtomicU64),
    /// The bits of an `f64`.
    Gauge(AtomicU64),
    Histogram(Histogram),
}

impl Series {
    fn new(kind: &Kind) -> Series {
        match kind {
            Kind::Counter => Series::Counter(AtomicU64::new(0)),
            Kind::Gauge => Series::Gauge(AtomicU64::new(0)),
            Kind::Histogram(bounds) => Series::Histogram(Histogram {
                buckets: bounds.iter().map(|bound| (*bound, AtomicU64::new(0))).collect(),
                above: AtomicU64::new(0),
                sum: AtomicU64::new(0),
            }),
        }
    }

    fn value(&self) -> Value {
        match self {
            Series::Counter(count) => Value::Counter(count.load(Ordering::Relaxed)),
            Series::Gauge(gauge) => Value::Gauge(f64::from_bits(gauge.load(Ordering::Relaxed))),
            Series::Histogram(histogram) => histogram.value(),
        }
    }
}

struct Histogram {
    /// Bounds, and how many observations fell into each bucket alone.
    buckets: Box<[(f64, AtomicU64)]>,
    above: AtomicU64,
    /// The bits of an `f64`.
    sum: AtomicU64,
}

impl Histogram {
    fn observe(&self, value: f64) {
        let bucket = self.buckets.iter().find(|(bound, _)| value <= *bound).map_or(&self.above, |(_, count)| count);
        bucket.fetch_add(1, Ordering::Relaxed);
        let add = |sum| Some((f64::from_bits(sum) + value).to_bits());
        // The closure always returns a value, so this cannot fail.
        let _ = self.sum.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
    }

    /// The count is the sum of the buckets as read here, so the lines of one scrape agree with each other.
    fn value(&self) -> Value {
        let mut count = 0;
        let cumulative = |(bound, in_bucket): &(f64, AtomicU64)| {
            count += in_bucket.load(Ordering::Relaxed);
            (*bound, count)
        };
        let buckets = self.buckets.iter().map(cumulative).collect();
        count += self.above.load(Ordering::Relaxed);
        Value::Histogram { buckets, sum: f64::from_bits(self.sum.load(Ordering::Relaxed)), count }
    }
}

/// The label values as one string of bytes, each preceded by its length. On the stack if it is short.
fn key<L: AsRef<str>>(labels: &[L]) -> SmallVec<[u8; 128]> {
    let mut key = SmallVec::new();
    for value in labels {
        let value = cut(value.as_ref());
        key.push(value.len() as u8);
        key.extend_from_slice(value.as_bytes());
    }
    key
}

fn cut(value: &str) -> &str {
    value.get(..value.floor_char_boundary(MAX_LABEL_BYTES)).unwrap_or(value)
}

fn is_name(name: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_' || byte == b':';
    name.len() <= MAX_LABEL_BYTES
        && name.bytes().next().is_some_and(is_letter)
        && name.bytes().all(|byte| is_letter(byte) || byte.is_ascii_digit())
}

/// Series with labels per plugin.
pub const DEFAULT_MAX_SERIES: usize = 1_000;
/// Prometheus' own defaults, suitable for seconds.
pub const DEFAULT_BOUNDS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// Longer label values are truncated. Below 256, since a key stores the length in one byte.
pub const MAX_LABEL_BYTES: usize = 128;
pub const MAX_METRICS: usize = 128;
pub const MAX_LABELS: usize = 8;
pub const MAX_BOUNDS: usize = 64;

#[cfg(test)]
mod tests;
