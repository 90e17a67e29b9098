//! Prometheus' text format, version 0.0.4: the response to `GET /metrics`.
//!
//! Written by hand because `prometheus-client` only encodes OpenMetrics, in which a counter's TYPE line has another
//! name than its sample; a scraper that did not ask for OpenMetrics must not get it. The remaining code is a page
//! (source: prometheus.io/docs/instrumenting/exposition_formats, "Text-based format").
//!
//! A label with an empty value is left out, which means the same to Prometheus.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write as _};
use std::time::Duration;

/// A page under construction.
#[derive(Default)]
pub struct Exposition {
    text: String,
    families: BTreeSet<String>,
}

/// The page's `Content-Type`.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// Names and values of one sample's labels.
pub type Labels<'a> = &'a [(&'a str, &'a str)];

/// A series from another room: a plugin's own metrics, the state of a pool. Series of one name need not be adjacent.
/// Whatever the names are, the page stays valid: see [`Exposition::add_series`].
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    pub name: String,
    /// One sentence; that of the first series of a name is used.
    pub help: String,
    pub labels: Vec<(String, String)>,
    pub value: Value,
}

impl Series {
    pub fn new<'a>(name: &str, help: &str, labels: impl IntoIterator<Item = (&'a str, &'a str)>, value: Value) -> Self {
        let labels = labels.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        Series { name: name.to_owned(), help: help.to_owned(), labels, value }
    }
}

/// The value of a series.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Its name gets the suffix `_total` if that is missing.
    Counter(u64),
    Gauge(f64),
    Histogram {
        /// Inclusive upper bounds, ascending.
        bounds: Vec<f64>,
        /// Observations per bucket, not cumulative, with one more at the end for those above all bounds.
        counts: Vec<u64>,
        sum: f64,
    },
}

impl Value {
    fn kind(&self) -> Kind {
        match self {
            Value::Counter(_) => Kind::Counter,
            Value::Gauge(_) => Kind::Gauge,
            Value::Histogram { .. } => Kind::Histogram,
        }
    }

    /// Adds the value of another series with the same labels. A value of another kind or with other bounds is ignored.
    pub fn add(&mut self, other: &Value) {
        match (self, other) {
            (Value::Counter(count), Value::Counter(more)) => *count = count.wrapping_add(*more),
            (Value::Gauge(value), Value::Gauge(more)) => *value += more,
            (
                Value::Histogram { bounds, counts, sum },
                Value::Histogram { bounds: others, counts: more, sum: other_sum },
            ) if bounds == others => {
                counts.iter_mut().zip(more).for_each(|(count, more)| *count = count.wrapping_add(*more));
                *sum += other_sum;
            }
            _ => {}
        }
    }
}

impl Exposition {
    /// Begins a family. All its samples must come before the next family begins.
    pub fn family(&mut self, name: &str, kind: Kind, help: &str) {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        let help = help.replace('\\', "\\\\").replace('\n', "\\n").replace('\r', " ");
        self.line(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
        self.families.insert(name.to_owned());
    }

    /// One sample of a counter, or of a gauge that counts.
    pub fn sample(&mut self, name: &str, labels: Labels<'_>, value: u64) {
        self.line(format_args!("{name}{} {value}\n", Braces(labels, None)));
    }

    /// One sample of a gauge that measures.
    pub fn measured(&mut self, name: &str, labels: Labels<'_>, value: f64) {
        self.line(format_args!("{name}{} {}\n", Braces(labels, None), Number(value)));
    }

    /// One histogram of durations, in seconds. `buckets` are not cumulative and one more than `bounds`.
    pub fn durations(&mut self, name: &str, labels: Labels<'_>, bounds: &[u64], buckets: &[u64], sum: Duration) {
        let seconds = bounds.iter().map(|nanos| Duration::from_nanos(*nanos).as_secs_f64());
        self.histogram(name, labels, seconds, buckets, sum.as_secs_f64());
    }

    /// Adds series of other rooms. Characters that are not allowed in a name become `_`. A series is left out if its
    /// family is one of the gateway's own or was begun with another kind, or if the same labels came before: otherwise
    /// the whole page would be refused.
    pub fn add_series(&mut self, series: &[Series]) {
        let mut families = BTreeMap::<String, Vec<&Series>>::new();
        for one in series {
            let mut name = legal_name(&one.name);
            if one.value.kind() == Kind::Counter && !name.ends_with("_total") {
                name.push_str("_total");
            }
            families.entry(name).or_default().push(one);
        }
        for (name, members) in families {
            let Some(first) = members.first().filter(|_| !self.is_taken(&name)) else { continue };
            self.family(&name, first.value.kind(), &first.help);
            let mut seen = BTreeSet::new();
            for one in members.iter().filter(|one| one.value.kind() == first.value.kind()) {
                let labels = legal_labels(&one.labels);
                if seen.insert(labels.clone()) {
                    let labels: Vec<_> = labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
                    self.value(&name, &labels, &one.value);
                }
            }
        }
    }

    /// Returns the page.
    pub fn finish(self) -> String {
        self.text
    }

    fn value(&mut self, name: &str, labels: Labels<'_>, value: &Value) {
        match value {
            Value::Counter(count) => self.sample(name, labels, *count),
            Value::Gauge(number) => self.measured(name, labels, *number),
            Value::Histogram { bounds, counts, sum } => {
                self.histogram(name, labels, bounds.iter().copied(), counts, *sum);
            }
        }
    }

    fn histogram(
        &mut self,
        name: &str,
        labels: Labels<'_>,
        bounds: impl Iterator<Item = f64>,
        buckets: &[u64],
        sum: f64,
    ) {
        let mut count = 0_u64;
        let bounds = bounds.chain(std::iter::once(f64::INFINITY));
        for (bound, bucket) in bounds.zip(buckets.iter().copied().chain(std::iter::repeat(0))) {
            count = count.wrapping_add(bucket);
            self.line(format_args!("{name}_bucket{} {count}\n", Braces(labels, Some(bound))));
        }
        self.line(format_args!("{name}_sum{} {}\n", Braces(labels, None), Number(sum)));
        self.line(format_args!("{name}_count{} {count}\n", Braces(labels, None)));
    }

    /// Whether samples of a family of this name could be mistaken for those of one that is on the page.
    fn is_taken(&self, name: &str) -> bool {
        let base = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix));
        self.families.contains(name) || base.is_some_and(|base| self.families.contains(base))
    }

    fn line(&mut self, text: fmt::Arguments<'_>) {
        // Writing to a String does not fail.
        let _ = self.text.write_fmt(text);
    }
}

/// `{name="value",...}`, with `le` at the end for a bucket; empty if there are no labels.
struct Braces<'a>(Labels<'a>, Option<f64>);

impl fmt::Display for Braces<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut before = '{';
        for (name, value) in self.0.iter().filter(|(_, value)| !value.is_empty()) {
            write!(f, "{before}{name}=\"{}\"", LabelValue(value))?;
            before = ',';
        }
        if let Some(bound) = self.1 {
            write!(f, "{before}le=\"{}\"", Number(bound))?;
            before = ',';
        }
        if before == ',' { f.write_str("}") } else { Ok(()) }
    }
}

/// Backslash, quote and line feed are escaped. A carriage return is legal but would break a reader that splits lines
/// on it, so it becomes a space.
struct LabelValue<'a>(&'a str);

impl fmt::Display for LabelValue<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        while let Some(at) = rest.find(['\\', '"', '\n', '\r']) {
            let (before, special) = rest.split_at(at);
            f.write_str(before)?;
            f.write_str(match special.as_bytes().first() {
                Some(b'\\') => "\\\\",
                Some(b'"') => "\\\"",
                Some(b'\n') => "\\n",
                _ => " ",
            })?;
            rest = special.get(1..).unwrap_or_default();
        }
        f.write_str(rest)
    }
}

/// A float as Go's parser reads it.
struct Number(f64);

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            infinite if infinite.is_infinite() => f.write_str(if infinite > 0.0 { "+Inf" } else { "-Inf" }),
            number => write!(f, "{number}"),
        }
    }
}

/// `[a-zA-Z_][a-zA-Z0-9_]*`: colons are reserved for recording rules.
fn legal_name(name: &str) -> String {
    let mut legal: String =
        name.chars().map(|character| if character.is_ascii_alphanumeric() { character } else { '_' }).collect();
    if legal.is_empty() || legal.starts_with(|first: char| first.is_ascii_digit()) {
        legal.insert(0, '_');
    }
    legal
}

/// Labels with legal names, sorted, each name once. `le` is reserved for histograms, and names that begin with `__` for
/// Prometheus.
fn legal_labels(labels: &[(String, String)]) -> BTreeMap<String, String> {
    let renamed = |name: &str| match legal_name(name) {
        reserved if reserved == "le" || reserved.starts_with("__") => format!("exported_{reserved}"),
        legal => legal,
    };
    labels.iter().map(|(name, value)| (renamed(name), value.clone())).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
pub(super) mod tests {
    use super::*;

    /// A strict parser of the format: every line, every name, every escape; samples only in their own family, no sample
    /// twice, buckets cumulative. Returns samples as `name{labels}` → value.
    pub(in super::super) fn parse(page: &str) -> BTreeMap<String, f64> {
        let mut samples = BTreeMap::new();
        let mut families = BTreeMap::<String, String>::new();
        let mut current = (String::new(), String::new());
        assert!(page.is_empty() || page.ends_with('\n'));
        let mut lines = page.split_terminator('\n').peekable();
        while let Some(line) = lines.next() {
            if let Some(help) = line.strip_prefix("# HELP ") {
                let (name, _) = help.split_once(' ').unwrap_or_else(|| panic!("no help text: {line}"));
                let kind = lines.next().and_then(|line| line.strip_prefix("# TYPE ")).expect("TYPE follows HELP");
                let (typed, kind) = kind.split_once(' ').unwrap();
                assert_eq!(typed, name);
                assert!(["counter", "gauge", "histogram"].contains(&kind), "{kind}");
                assert!(families.insert(name.to_owned(), kind.to_owned()).is_none(), "family {name} twice");
                assert!(kind != "counter" || name.ends_with("_total"), "{name}");
                current = (name.to_owned(), kind.to_owned());
                continue;
            }
            let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no value: {line}"));
            let value: f64 = value.replace("Inf", "inf").parse().unwrap_or_else(|_| panic!("not a number: {line}"));
            let (name, labels) = match series.split_once('{') {
                Some((name, labels)) => (name, parse_labels(labels)),
                None => (series, Vec::new()),
            };
            assert_name(name);
            let (family, kind) = &current;
            match kind.as_str() {
                "histogram" => assert!(
                    ["_bucket", "_sum", "_count"].iter().any(|suffix| name == format!("{family}{suffix}")),
                    "{line}"
                ),
                _ => assert_eq!(name, family, "{line}"),
            }
            assert!(kind == "gauge" || value >= 0.0 || value.is_nan(), "{line}");
            let names: BTreeSet<_> = labels.iter().map(|(name, _)| name.clone()).collect();
            assert_eq!(names.len(), labels.len(), "a label twice: {line}");
            assert!(samples.insert(series.to_owned(), value).is_none(), "sample twice: {line}");
        }
        check_histograms(&families, page, &samples);
        samples
    }

    fn parse_labels(text: &str) -> Vec<(String, String)> {
        let mut labels = Vec::new();
        let mut rest = text;
        loop {
            let (name, after) = rest.split_once("=\"").unwrap_or_else(|| panic!("label: {text}"));
            assert_name(name);
            let mut value = String::new();
            let mut characters = after.char_indices();
            let end = loop {
                match characters.next().unwrap_or_else(|| panic!("no end: {text}")) {
                    (at, '"') => break at,
                    (_, '\\') => value.push(match characters.next().unwrap().1 {
                        'n' => '\n',
                        same @ ('\\' | '"') => same,
                        other => panic!("escape \\{other}: {text}"),
                    }),
                    (_, other) => {
                        assert!(other != '\r', "{text}");
                        value.push(other);
                    }
                }
            };
            labels.push((name.to_owned(), value));
            rest = &after[end + 1..];
            if rest == "}" {
                return labels;
            }
            rest = rest.strip_prefix(',').unwrap_or_else(|| panic!("label: {text}"));
        }
    }

    fn assert_name(name: &str) {
        assert!(!name.is_empty() && !name.starts_with(|first: char| first.is_ascii_digit()), "{name:?}");
        assert!(name.chars().all(|character| character.is_ascii_alphanumeric() || character == '_'), "{name:?}");
    }

    fn check_histograms(families: &BTreeMap<String, String>, page: &str, samples: &BTreeMap<String, f64>) {
        for family in families.iter().filter(|(_, kind)| *kind == "histogram").map(|(name, _)| name) {
            let mut last = BTreeMap::<String, f64>::new();
            for line in page.lines().filter(|line| line.starts_with(&format!("{family}_bucket{{"))) {
                let (series, value) = line.rsplit_once(' ').unwrap();
                let (others, bound) = series.rsplit_once("le=\"").unwrap();
                let value: f64 = value.parse().unwrap();
                let before = last.insert(others.to_owned(), value).unwrap_or(0.0);
                assert!(value >= before, "not cumulative: {line}");
                if bound == "+Inf\"}" {
                    let labels = others.split_once('{').unwrap().1.trim_end_matches(',');
                    let braces = if labels.is_empty() { String::new() } else { format!("{{{labels}}}") };
                    assert_eq!(samples.get(&format!("{family}_count{braces}")), Some(&value), "{line}");
                    assert!(samples.contains_key(&format!("{family}_sum{braces}")), "{line}");
                }
            }
        }
    }

    fn series(name: &str, labels: &[(&str, &str)], value: Value) -> Series {
        Series::new(name, "Help.", labels.iter().copied(), value)
    }

    #[test]
    fn a_page() {
        let mut page = Exposition::default();
        page.family("a_total", Kind::Counter, "Line one\nand \\two.");
        page.sample("a_total", &[], 1);
        page.sample("a_total", &[("x", "1"), ("empty", ""), ("y", "a\"b\\c\nd\re")], u64::MAX);
        page.family("g", Kind::Gauge, "Gauge.");
        page.measured("g", &[], f64::NEG_INFINITY);
        page.measured("g", &[("x", "nan")], f64::NAN);
        page.family("h_seconds", Kind::Histogram, "Histogram.");
        page.durations("h_seconds", &[("r", "z")], &[500_000, 10_000_000_000], &[1, 2, 3], Duration::from_millis(1500));
        let text = page.finish();
        assert_eq!(
            text,
            "# HELP a_total Line one\\nand \\\\two.\n# TYPE a_total counter\na_total 1\n\
             a_total{x=\"1\",y=\"a\\\"b\\\\c\\nd e\"} 18446744073709551615\n\
             # HELP g Gauge.\n# TYPE g gauge\ng -Inf\ng{x=\"nan\"} NaN\n\
             # HELP h_seconds Histogram.\n# TYPE h_seconds histogram\n\
             h_seconds_bucket{r=\"z\",le=\"0.0005\"} 1\nh_seconds_bucket{r=\"z\",le=\"10\"} 3\n\
             h_seconds_bucket{r=\"z\",le=\"+Inf\"} 6\nh_seconds_sum{r=\"z\"} 1.5\nh_seconds_count{r=\"z\"} 6\n"
        );
        assert_eq!(parse(&text).len(), 9);
    }

    #[test]
    fn series_of_plugins_cannot_break_the_page() {
        let mut page = Exposition::default();
        page.family("own_seconds", Kind::Histogram, "Own.");
        page.durations("own_seconds", &[], &[1], &[0, 1], Duration::ZERO);
        page.add_series(&[
            series("hits", &[("plugin", "a")], Value::Counter(1)),
            series("own_seconds", &[], Value::Gauge(1.0)),
            series("own_seconds_bucket", &[("le", "1")], Value::Gauge(1.0)),
            series("0 bad-name\n", &[("__name__", "x"), ("le", "y"), ("9", "z")], Value::Gauge(2.5)),
            series("hits_total", &[("plugin", "b\"\n")], Value::Counter(2)),
            series("hits_total", &[("plugin", "a")], Value::Counter(9)),
            series("hits_total", &[], Value::Gauge(9.0)),
            series("size", &[], Value::Histogram { bounds: vec![1.0, 2.0], counts: vec![1, 1, 1], sum: 7.5 }),
            series("", &[], Value::Gauge(f64::INFINITY)),
        ]);
        let samples = parse(&page.finish());
        let theirs: Vec<_> = samples.iter().filter(|(name, _)| !name.starts_with("own")).collect();
        let expected = [
            ("_", f64::INFINITY),
            ("_0_bad_name_{_9=\"z\",exported___name__=\"x\",exported_le=\"y\"}", 2.5),
            ("hits_total{plugin=\"a\"}", 1.0),
            ("hits_total{plugin=\"b\\\"\\n\"}", 2.0),
            ("size_bucket{le=\"+Inf\"}", 3.0),
            ("size_bucket{le=\"1\"}", 1.0),
            ("size_bucket{le=\"2\"}", 2.0),
            ("size_count", 3.0),
            ("size_sum", 7.5),
        ];
        assert_eq!(
            theirs,
            expected.map(|(name, value)| (name.to_owned(), value)).iter().map(|(n, v)| (n, v)).collect::<Vec<_>>()
        );
        assert!(samples.contains_key("own_seconds_count"));
    }

    #[test]
    fn what_is_counted_of_the_same_is_added() {
        let histogram = |counts: [u64; 2], sum| Value::Histogram { bounds: vec![1.0], counts: counts.to_vec(), sum };
        let others = Value::Histogram { bounds: vec![2.0], counts: vec![1, 1], sum: 1.0 };
        for (one, other, both) in [
            (Value::Counter(1), Value::Counter(2), Value::Counter(3)),
            (Value::Gauge(1.5), Value::Gauge(-2.0), Value::Gauge(-0.5)),
            (histogram([1, 2], 0.5), histogram([3, 4], 1.0), histogram([4, 6], 1.5)),
            (histogram([1, 2], 0.5), others, histogram([1, 2], 0.5)),
            (Value::Counter(1), Value::Gauge(2.0), Value::Counter(1)),
        ] {
            let mut sum = one.clone();
            sum.add(&other);
            assert_eq!(sum, both, "{one:?} and {other:?}");
        }
    }

    #[test]
    fn an_empty_page_is_valid() {
        assert!(parse(&Exposition::default().finish()).is_empty());
    }
}
