#![allow(clippy::unwrap_used)]

use super::*;

fn declaration(name: &str, kind: Kind, labels: &[&str]) -> Declaration {
    let labels = labels.iter().map(|label| label.to_string()).collect();
    Declaration { name: name.to_owned(), kind, help: String::new(), labels }
}

fn metrics(max_series: usize) -> Metrics {
    let declarations = vec![
        declaration("hits", Kind::Counter, &["route", "code"]),
        declaration("plain", Kind::Counter, &[]),
        declaration("level", Kind::Gauge, &["of"]),
        declaration("seconds", Kind::Histogram(vec![0.25, 1.0]), &[]),
    ];
    Metrics::new(declarations, max_series).unwrap()
}

fn shown(metrics: &Metrics) -> Vec<String> {
    let mut shown = Vec::new();
    metrics.for_each(|sample| {
        shown.push(format!("{}{:?} {:?}", sample.metric.name, sample.label_values, sample.value));
    });
    shown
}

#[test]
fn what_is_written_is_shown_in_order() {
    let metrics = metrics(DEFAULT_MAX_SERIES);
    metrics.count("hits", &["b", "200"], 2);
    metrics.count("hits", &["a", "200"], 1);
    metrics.count("hits", &["b", "200"], 3);
    metrics.gauge("level", &["tank"], -1.5);
    for value in [0.125, 0.25, 0.5, 7.0, f64::NAN] {
        metrics.observe("seconds", &[""; 0], value);
    }
    assert_eq!(
        shown(&metrics),
        [
            r#"hits["a", "200"] Counter(1)"#,
            r#"hits["b", "200"] Counter(5)"#,
            r#"level["tank"] Gauge(-1.5)"#,
            r#"plain[] Counter(0)"#,
            r#"seconds[] Histogram { buckets: [(0.25, 2), (1.0, 3)], sum: 7.875, count: 4 }"#,
        ]
    );
    assert_eq!(metrics.dropped(), 1);
}

#[test]
fn what_was_not_declared_so_is_dropped_and_counted() {
    let metrics = metrics(DEFAULT_MAX_SERIES);
    metrics.count("unknown", &["x"], 1);
    metrics.count("hits", &["one label"], 1);
    metrics.count("level", &["tank"], 1);
    metrics.gauge("hits", &["a", "b"], 1.0);
    metrics.observe("plain", &[""; 0], 1.0);
    assert_eq!(metrics.dropped(), 5);
}

#[test]
fn label_values_do_not_run_into_each_other_and_are_cut() {
    let metrics = metrics(DEFAULT_MAX_SERIES);
    metrics.count("hits", &["ab", "c"], 1);
    metrics.count("hits", &["a", "bc"], 2);
    let long = "漢".repeat(100);
    metrics.count("hits", &[long.as_str(), ""], 4);
    metrics.count("hits", &[&long[..126], ""], 8);
    let counts: Vec<_> = shown(&metrics).into_iter().filter(|line| line.starts_with("hits")).collect();
    assert_eq!(counts.len(), 3);
    assert!(counts[2].ends_with("Counter(12)"), "{counts:?}");
}

#[test]
fn series_are_bounded_and_those_there_go_on() {
    let metrics = metrics(10);
    for code in 0..100 {
        metrics.count("hits", &["r".to_owned(), code.to_string()], 1);
    }
    metrics.count("hits", &["r", "0"], 1);
    metrics.count("plain", &[""; 0], 1);
    assert_eq!(metrics.dropped(), 90);
    assert_eq!(shown(&metrics).iter().filter(|line| line.starts_with("hits")).count(), 10);
    assert!(shown(&metrics).contains(&r#"hits["r", "0"] Counter(2)"#.to_owned()));
}

#[test]
fn threads_that_add_the_same_series_share_it() {
    let metrics = metrics(64);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for n in 0..6_400u32 {
                    metrics.count("hits", &["r".to_owned(), (n % 64).to_string()], 1);
                    metrics.observe("seconds", &[""; 0], 1.0);
                }
            });
        }
    });
    let counts: Vec<_> = shown(&metrics).into_iter().filter(|line| line.starts_with("hits")).collect();
    assert_eq!(counts.len(), 64);
    assert!(counts.iter().all(|line| line.ends_with("Counter(800)")), "{counts:?}");
    assert_eq!(metrics.dropped(), 0);
    let histogram = "seconds[] Histogram { buckets: [(0.25, 0), (1.0, 51200)], sum: 51200.0, count: 51200 }";
    assert!(shown(&metrics).contains(&histogram.to_owned()));
}

#[test]
fn odd_declarations_are_refused() {
    let check = |declaration: Declaration| Metrics::new(vec![declaration], 10).err().unwrap();
    assert!(check(declaration("1st", Kind::Counter, &[])).contains("1st"));
    assert!(check(declaration("", Kind::Counter, &[])).contains("metric name"));
    assert!(check(declaration("a b", Kind::Counter, &[])).contains("metric name"));
    for label in ["__name__", "le", "a:b", "ä", ""] {
        assert!(check(declaration("a", Kind::Counter, &[label])).contains("label"), "{label}");
    }
    assert!(check(declaration("a", Kind::Counter, &["x", "x"])).contains("twice"));
    assert!(check(declaration("a", Kind::Histogram(vec![1.0, 1.0]), &[])).contains("rise"));
    assert!(check(declaration("a", Kind::Histogram(vec![f64::INFINITY]), &[])).contains("finite"));
    let twice = vec![declaration("a", Kind::Counter, &[]), declaration("a", Kind::Gauge, &[])];
    assert!(Metrics::new(twice, 10).is_err());
}
