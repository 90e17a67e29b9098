#![allow(clippy::unwrap_used)]

//! Against a real server: the scripts count like the rules in memory do.

use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use super::*;
use crate::capability::limiter::Quota;
use crate::capability::meters::{Meters, Now, Rule, Window};
use crate::capability::store::{StoreError, SwapError};

/// A server that ends with the test.
struct Server {
    port: u16,
    process: Child,
}

impl Server {
    fn start() -> Server {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut command = Command::new("redis-server");
        command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
        let process = command.stdout(Stdio::null()).spawn();
        let process = process.unwrap_or_else(|error| panic!("{error}; install it with: apt-get install redis-server"));
        let deadline = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < deadline, "redis-server does not answer");
            std::thread::yield_now();
        }
        Server { port, process }
    }

    fn share(&self, config: &str) -> Share {
        let settings = Settings {
            name: "test".into(),
            host: "127.0.0.1".into(),
            port: self.port,
            database: 0,
            tls: None,
            username: None,
            password: None,
            timeout: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(5),
            max_in_flight: 100,
            on_error: OnError::Local,
            prefix: String::new(),
            ahead: 1,
            place_lease: Duration::from_secs(30),
            entry_life: Duration::from_secs(60),
        };
        Share::new(Remote::new(settings, Box::new(|_, _| {})), "limits", config)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn a_rule() -> impl Strategy<Value = Rule> {
    let window = (0..20_u32, 1..2_000_u32, any::<u32>()).prop_map(|(requests, length_ms, anchor)| Window {
        requests,
        length_ms,
        anchor_ms: anchor.into(),
    });
    let bucket = (0..50_u32, 1..5_000_u32, 0..30_u32)
        .prop_map(|(requests, per_ms, burst)| Rule::TokenBucket(Quota { requests, per_ms, burst }));
    prop_oneof![bucket, window.clone().prop_map(Rule::FixedWindow), window.prop_map(Rule::SlidingWindow)]
}

#[tokio::test]
async fn the_script_decides_like_the_rules_in_memory() {
    let server = Server::start();
    let share = server.share("{}");
    let mut runner = TestRunner::deterministic();
    let cases = (prop::collection::vec(a_rule(), 1..4), prop::collection::vec(0..6_u32, 1..40));
    for case in 0..150 {
        let (rules, costs) = cases.new_tree(&mut runner).unwrap().current();
        let (meters, key) = (Meters::default(), format!("case {case}"));
        for cost in costs {
            let taken = share.ask(&key, &rules, cost, cost).await.unwrap();
            // On the clock that the server decided by.
            let now = Now { monotonic_ms: taken.now_ms, wall_ms: taken.now_ms };
            let expected = meters.take_all(&key, &rules, cost, now);
            assert_eq!(taken.outcomes, expected, "{rules:?}, cost {cost}");
            let all_allow = expected.iter().all(|outcome| outcome.allowed);
            assert_eq!(taken.number, if all_allow { cost } else { 0 });
        }
    }
}

#[tokio::test]
async fn configurations_and_keys_count_apart() {
    let server = Server::start();
    let (one, other) = (server.share("{}"), server.share("{\"limit\":1}"));
    let rule = [Rule::FixedWindow(Window { requests: 1, length_ms: 3_600_000, anchor_ms: 0 })];
    for (share, key, allowed) in [(&one, "k", true), (&one, "k", false), (&one, "l", true), (&other, "k", true)] {
        assert_eq!(share.take(key, &rule, 1).await.unwrap()[0].allowed, allowed);
    }
    // Named by another of its borders, a window is still the same.
    let moved = [Rule::FixedWindow(Window { requests: 1, length_ms: 3_600_000, anchor_ms: 7_200_000 })];
    assert!(!one.take("k", &moved, 1).await.unwrap()[0].allowed);
}

#[tokio::test]
async fn what_is_taken_ahead_is_spent_without_asking() {
    let server = Server::start();
    let share = server.share("{}");
    let rules = [Rule::FixedWindow(Window { requests: 25, length_ms: 86_400_000, anchor_ms: 0 })];
    let taken = share.ask("k", &rules, 1, 10).await.unwrap();
    assert_eq!((taken.number, taken.outcomes[0].remaining), (10, 15));
    let stocks = ahead::Stocks::default();
    assert_eq!(stocks.put("k", &rules, 1, &taken)[0].remaining, 24);
    for left in (15..24).rev() {
        assert_eq!(stocks.spend("k", &rules, 1).unwrap()[0].remaining, left);
    }
    assert!(stocks.spend("k", &rules, 1).is_none() && stocks.spend("other", &rules, 1).is_none());
    // As much as there is, but not less than is needed.
    assert_eq!(share.ask("k", &rules, 1, 20).await.unwrap().number, 15);
    assert_eq!(share.ask("k", &rules, 1, 20).await.unwrap().number, 0);
}

#[tokio::test]
async fn entries_behave_like_those_in_memory() {
    let server = Server::start();
    let share = server.share("{}");
    assert_eq!(share.get("k").await.unwrap(), None);
    assert_eq!(share.compare_and_set("k", Some(1), b"a", None).await.unwrap(), Err(SwapError::Conflict(None)));
    let first = share.compare_and_set("k", None, b"a\0b", None).await.unwrap().unwrap();
    let found = share.get("k").await.unwrap().unwrap();
    assert_eq!((&found.value[..], found.version), (&b"a\0b"[..], first));
    let conflict = share.compare_and_set("k", None, b"c", None).await.unwrap();
    assert_eq!(conflict, Err(SwapError::Conflict(Some(found))));
    let second = share.compare_and_set("k", Some(first), b"c", None).await.unwrap().unwrap();
    assert!(second > first);
    assert_eq!(share.increment("k", 1, None).await.unwrap(), Err(StoreError::NotANumber));
    assert!(share.remove("k").await.unwrap() && !share.remove("k").await.unwrap());
    assert!(share.set("k", b"d", None).await.unwrap().unwrap() > second, "also after it was gone");

    for (delta, sum) in [(5, 5), (-7, -2), (i64::MAX, i64::MAX - 2)] {
        assert_eq!(share.increment("n", delta, Some(60_000)).await.unwrap(), Ok(sum));
    }
    assert_eq!(share.increment("n", 3, None).await.unwrap(), Err(StoreError::LimitExceeded));
    assert_eq!(&share.get("n").await.unwrap().unwrap().value[..], (i64::MAX - 2).to_string().as_bytes());
    assert_eq!(share.set(&"k".repeat(1025), b"", None).await.unwrap(), Err(StoreError::LimitExceeded));
    assert!(share.set("short", b"v", Some(1)).await.unwrap().is_ok());
    let began = Instant::now();
    while share.get("short").await.unwrap().is_some() {
        assert!(began.elapsed() < Duration::from_secs(5), "an entry outlives its end");
    }
}

#[tokio::test]
async fn places_are_leases() {
    let server = Server::start();
    let share = server.share("{}");
    let (first, taken) = share.enter("k", 2).await.unwrap();
    assert!(first.is_some() && taken == 1);
    let (second, taken) = share.enter("k", 2).await.unwrap();
    assert!(second.is_some() && taken == 2);
    let (third, taken) = share.enter("k", 2).await.unwrap();
    assert!(third.is_none() && taken == 2);
    drop(first);
    let began = Instant::now();
    while share.enter("k", 2).await.unwrap().0.is_none() {
        assert!(began.elapsed() < Duration::from_secs(5), "a place does not come back");
    }
}
