//! What a request pays for being seen: its access-log record, its place in a route's histogram, the count of a hook.

#![allow(clippy::unwrap_used)]

use std::hint::black_box;
use std::time::{Duration, SystemTime};

use criterion::{Criterion, criterion_group, criterion_main};
use gatewright::telemetry::access_log::{Settings, Target};
use gatewright::telemetry::durations::RequestDurations;
use gatewright::telemetry::metrics::{Hook, PluginMetrics};
use gatewright::telemetry::{AccessLog, Outcome, Record};
use http::Method;

fn access_log(criterion: &mut Criterion) {
    let settings = Settings { target: Target::File("/dev/null".into()), threads: 1, ..Settings::default() };
    let log = AccessLog::open(settings).unwrap();
    let record = Record {
        time: SystemTime::now(),
        request_id: "00112233445566778899aabbccddeeff",
        client: "203.0.113.9".parse().unwrap(),
        peer: "10.1.2.3:40000".parse().unwrap(),
        listener: ":8080",
        protocol: "http/1.1",
        method: "GET",
        scheme: "http",
        tls: None,
        host: b"api.example.com",
        path: "/orders/7?token=hush",
        user_agent: b"curl/8.5.0",
        route: "orders",
        version: "v2",
        status: Some(200),
        upstream: Some("orders"),
        endpoint: Some("10.0.0.3:80"),
        attempts: 1,
        request_bytes: 0,
        response_bytes: 512,
        duration: Duration::from_micros(1500),
        upstream_time: Some(Duration::from_micros(1200)),
        cache: Some("miss"),
        identity: Some("alice"),
        plugin: None,
        error: None,
        attributes: &[],
        outcome: Outcome::Complete,
    };
    criterion.bench_function("telemetry/access log record", |bencher| bencher.iter(|| log.write(black_box(&record))));
}

/// The series of a route are a list: most requests are in its first, and few in another.
fn request_durations(criterion: &mut Criterion) {
    let durations = RequestDurations::default();
    for status in [200, 404, 503] {
        durations.record(&Method::GET, status, Duration::ZERO, 0, 0);
    }
    for (status, place) in [(200, "first"), (503, "third")] {
        let mut number = 0_u64;
        criterion.bench_function(&format!("telemetry/request duration, {place} series"), |bencher| {
            bencher.iter(|| {
                number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
                durations.record(black_box(&Method::GET), status, Duration::from_nanos(number >> 38), 100, 1000);
            });
        });
    }
}

fn plugin_call(criterion: &mut Criterion) {
    let plugin = PluginMetrics::default();
    criterion.bench_function("telemetry/plugin call", |bencher| {
        bencher.iter(|| plugin.end(plugin.begin(black_box(Hook::Request))));
    });
}

criterion_group!(benches, access_log, request_durations, plugin_call);
criterion_main!(benches);
