#![allow(clippy::unwrap_used)]

//! Against a real server: the scripts count like the rules in memory.

use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use super::ahead::Unused;
use super::limits::Want;
use super::*;
use crate::capability::rate_limit::{Now, RateLimiter, Rule, Window};
use crate::capability::store::{StoreError, SwapError};
use crate::capability::token_bucket::Quota;

/// A server that stops with the test.
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
        let deadline = Instant::now() + Duration::from_secs(60);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < deadline, "redis-server does not answer");
            std::thread::yield_now();
        }
        Server { port, process }
    }

    fn share(&self, config: &str) -> Share {
        self.share_ahead(config, 1)
    }

    fn share_ahead(&self, config: &str, ahead: u32) -> Share {
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
            ahead,
            slot_ttl: Duration::from_secs(30),
            entry_ttl: Duration::from_secs(60),
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
        let (limiter, key) = (RateLimiter::default(), format!("case {case}"));
        for cost in costs {
            let taken = share.ask(&key, &rules, want(cost, cost)).await.unwrap();
            // On the clock by which the server decided.
            let now = Now { monotonic_ms: taken.now_ms, wall_ms: taken.now_ms };
            let expected = limiter.take_all(&key, &rules, cost, now);
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
    // Named by another of its boundaries, a window is still the same.
    let moved = [Rule::FixedWindow(Window { requests: 1, length_ms: 3_600_000, anchor_ms: 7_200_000 })];
    assert!(!one.take("k", &moved, 1).await.unwrap()[0].allowed);
}

fn want(cost: u32, most: u32) -> Want {
    Want { cost, most, back: Unused::default() }
}

#[tokio::test]
async fn no_more_than_a_quarter_of_what_is_left_is_taken_ahead_and_the_rest_comes_back() {
    let server = Server::start();
    let share = server.share("{}");
    let day = Window { requests: 100, length_ms: 86_400_000, anchor_ms: 0 };
    let slow = Quota { requests: 100, per_ms: 86_400_000, burst: 0 };
    for rule in [Rule::FixedWindow(day), Rule::SlidingWindow(day), Rule::TokenBucket(slow)] {
        for (cost, most, number, remaining) in [
            (1, 10, 10, 90),
            (1, 50, 22, 68),
            (40, 50, 40, 28),
            (29, 50, 0, 28),
            (1, 7, 7, 21),
            (20, 20, 20, 1),
            (1, 9, 1, 0),
        ] {
            let taken = share.ask("k", &[rule], want(cost, most)).await.unwrap();
            assert_eq!((taken.number, taken.outcomes[0].remaining), (number, remaining), "{rule:?}: {cost} to {most}");
        }
        let now_ms = share.ask("k", &[rule], want(0, 0)).await.unwrap().now_ms;
        for (number, counted_until_ms, remaining) in
            [(5, now_ms, 0), (5, now_ms + 86_400_000, 5), (500, now_ms + 86_400_000, 100)]
        {
            let back = Unused { number, counted_until_ms };
            let told = share.ask("k", &[rule], Want { cost: 0, most: 0, back }).await.unwrap();
            assert_eq!(told.outcomes[0].remaining, remaining, "{rule:?}: {back:?}");
        }
    }
}

#[tokio::test]
async fn what_a_bucket_has_leaked_does_not_come_back() {
    let server = Server::start();
    let share = server.share("{}");
    // One per minute.
    let rules = [Rule::TokenBucket(Quota { requests: 60, per_ms: 3_600_000, burst: 100 })];
    let now_ms = share.ask("k", &rules, want(100, 100)).await.unwrap().now_ms;
    // It counts for another two and a half minutes, so all but two of these have leaked, and the rest in the bucket
    // belongs to others.
    let back = Unused { number: 50, counted_until_ms: now_ms + 150_000 };
    let told = share.ask("k", &rules, Want { cost: 0, most: 0, back }).await.unwrap();
    assert_eq!(told.outcomes[0].remaining, 2);
}

#[tokio::test]
async fn what_gateways_let_through_and_what_the_server_has_left_are_always_the_limit() {
    let server = Server::start();
    let mut runner = TestRunner::deterministic();
    let cases = (1..200_u32, prop::collection::vec((0..3_usize, 1..8_u32), 1..120));
    for case in 0..30 {
        let (requests, steps) = cases.new_tree(&mut runner).unwrap().current();
        let rules = [Rule::FixedWindow(Window { requests, length_ms: u32::MAX, anchor_ms: 0 })];
        let gateways = [1, 10, 50].map(|ahead| server.share_ahead("{}", ahead));
        let (key, mut passed) = (format!("case {case}"), 0);
        for (at, cost) in steps {
            let told = gateways[at].take(&key, &rules, cost).await.unwrap()[0];
            passed += if told.allowed { cost } else { 0 };
            assert!(passed <= requests, "{passed} of {requests}");
        }
        let mut left = 0;
        for gateway in &gateways {
            let back = gateway.stocks.withdraw(gateway.stocks.print(&key, &rules));
            left = gateway.ask(&key, &rules, Want { cost: 0, most: 0, back }).await.unwrap().outcomes[0].remaining;
        }
        assert_eq!(passed + left, requests);
    }
}

#[tokio::test]
async fn who_comes_at_once_waits_for_one_question() {
    let server = Server::start();
    let share = Arc::new(server.share_ahead("{}", 100));
    let rules = Arc::new([Rule::FixedWindow(Window { requests: 1000, length_ms: u32::MAX, anchor_ms: 0 })]);
    for (round, expected) in [(100, 1), (600, 7)] {
        let mut all = tokio::task::JoinSet::new();
        for _ in 0..round {
            let (share, rules) = (share.clone(), rules.clone());
            all.spawn(async move { share.take("k", &*rules, 1).await.unwrap()[0].allowed });
        }
        assert!(all.join_all().await.into_iter().all(|allowed| allowed));
        assert_eq!(share.remote.count(Count::Answered), expected, "{round} more");
    }
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
        assert!(began.elapsed() < Duration::from_secs(20), "an entry outlives its end");
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
        assert!(began.elapsed() < Duration::from_secs(20), "a place does not come back");
    }
}
