//! What one route lookup costs, with one rule and with ten thousand.
//!
//! `hot` asks for one path over and over: the tables are in the first cache, as they are for one busy route. `spread`
//! asks for every rule in turn, far from the one before: each lookup touches memory, also that of the request, which was
//! not touched for ten thousand others.

#![allow(clippy::unwrap_used)]

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use gatewright::router::{HostPattern, PathPattern, RequestView, Router, Rule, ValueMatch, ValueTest};
use http::{HeaderMap, HeaderValue, Method};

/// A set of rules, and for each rule a request that it takes.
struct Case {
    name: &'static str,
    rule: fn(usize) -> Rule,
    request: fn(usize) -> Request,
}

struct Request {
    authority: String,
    path: String,
    headers: HeaderMap,
}

const CASES: [Case; 6] = [
    Case {
        name: "exact",
        rule: |n| path(format!("/api/v1/orders/{n}")),
        request: |n| get(format!("/api/v1/orders/{n}")),
    },
    Case {
        name: "prefix",
        rule: |n| path(format!("/api/v1/service-{n}/*")),
        request: |n| get(format!("/api/v1/service-{n}/users/42")),
    },
    Case {
        name: "template",
        rule: |n| path(format!("/api/service-{n}/users/{{id}}/posts/{{post}}")),
        request: |n| get(format!("/api/service-{n}/users/42/posts/7")),
    },
    Case {
        name: "host",
        rule: |n| Rule { hosts: vec![host(&format!("service-{n}.example.com"))], ..path("/*".into()) },
        request: |n| Request { authority: format!("service-{n}.example.com:8080"), ..get("/users/42".into()) },
    },
    Case {
        name: "wildcard-host",
        rule: |n| Rule { hosts: vec![host(&format!("*.service-{n}.example.com"))], ..path("/*".into()) },
        request: |n| Request { authority: format!("eu.service-{n}.example.com"), ..get("/users/42".into()) },
    },
    Case {
        name: "header",
        rule: |n| {
            let tenant = ValueMatch { name: "x-tenant".into(), test: ValueTest::Exact(n.to_string()) };
            Rule { headers: vec![tenant], ..path("/orders/*".into()) }
        },
        request: |n| Request {
            headers: [("x-tenant".parse().unwrap(), HeaderValue::from(n))].into_iter().collect(),
            ..get("/orders/42".into())
        },
    },
];

fn router(criterion: &mut Criterion) {
    for case in CASES {
        let mut group = criterion.benchmark_group(format!("router/{}", case.name));
        for rules in [1, 10_000] {
            let router = Router::build((0..rules).map(case.rule).collect()).unwrap();
            group.bench_function(BenchmarkId::new("hot", rules), |bencher| {
                let request = (case.request)(rules / 2);
                bencher.iter(|| find(&router, black_box(&request)));
            });
            if rules > 1 {
                let requests: Vec<Request> = (0..rules).map(|turn| (case.request)(turn * 7919 % rules)).collect();
                let mut requests = requests.iter().cycle();
                group.bench_function(BenchmarkId::new("spread", rules), |bencher| {
                    bencher.iter(|| find(&router, black_box(requests.next().unwrap())));
                });
            }
        }
        group.finish();
    }
}

fn find(router: &Router, request: &Request) -> usize {
    let view = RequestView::new(&Method::GET, &request.authority, &request.path, &request.headers);
    router.find(&view).unwrap()
}

fn path(text: String) -> Rule {
    Rule {
        hosts: Vec::new(),
        path: PathPattern::parse(&text).unwrap(),
        methods: Vec::new(),
        headers: Vec::new(),
        query: Vec::new(),
        route: 0,
    }
}

fn host(text: &str) -> HostPattern {
    HostPattern::parse(text).unwrap()
}

fn get(path: String) -> Request {
    Request { authority: "api.example.com".into(), path, headers: HeaderMap::new() }
}

criterion_group!(benches, router);
criterion_main!(benches);
