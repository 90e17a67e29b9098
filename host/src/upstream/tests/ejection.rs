//! What requests tell of the endpoints, and what follows for the next ones.

use super::*;
use crate::health::{Ejection, FailureKind, State, SuccessRate};
use std::time::Duration;

/// An address that refuses connections.
async fn refusing() -> String {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string()
}

fn answer(status: &str) -> Vec<Vec<Step>> {
    let one = [HEAD, write(&format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n"))];
    vec![std::iter::repeat_n(one, 300).flatten().collect()]
}

fn ejecting(addresses: &[&str], ejection: Ejection) -> Arc<Upstream> {
    let settings = Settings { ejection, ..settings(addresses) };
    let upstream = Upstream::new(settings, None);
    tokio::spawn(upstream.clone().look_after(Probes::default()));
    upstream
}

fn states(upstream: &Upstream) -> Vec<State> {
    upstream.endpoints().iter().map(|endpoint| endpoint.health().report().state).collect()
}

async fn until_available(endpoint: &Endpoint) {
    while !endpoint.is_available() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Sends twenty requests, all of which are answered; returns how many needed another endpoint first.
async fn moved(upstream: &Upstream) -> u32 {
    let mut moved = 0;
    for _ in 0..20 {
        let (shown, facts) = exchange(upstream, request("GET", Body::Empty)).await;
        assert_eq!(shown, "200");
        moved += u32::from(facts.attempts > 1);
    }
    moved
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_refuses_is_left_out_and_comes_back_on_probation() {
    let (good, bad) = (scripted(answer("200 OK")).await, refusing().await);
    let upstream = ejecting(&[&good.address, &bad], Ejection::default());
    assert_eq!(moved(&upstream).await, 3);
    assert_eq!(states(&upstream), [State::Healthy, State::Ejected]);
    let report = upstream.endpoints()[1].health().report();
    assert_eq!((&*report.reason, report.ejections), ("3 failures in a row, the last one no connection", 1));

    let started = tokio::time::Instant::now();
    until_available(&upstream.endpoints()[1]).await;
    assert!(started.elapsed() >= Duration::from_secs(9), "{:?}", started.elapsed());
    // Now a single failure is enough.
    assert_eq!((moved(&upstream).await, states(&upstream)[1]), (1, State::Ejected));
    assert_eq!(upstream.endpoints()[1].health().report().ejections, 2);
}

#[tokio::test]
async fn the_last_endpoint_stays_in() {
    let bad = [refusing().await, refusing().await];
    let upstream = ejecting(&[&bad[0], &bad[1]], Ejection::default());
    for _ in 0..20 {
        assert_eq!(get(&upstream).await, "502 Connect");
    }
    assert_eq!(states(&upstream).iter().filter(|state| state.is_available()).count(), 1);
    // Unless the settings allow it.
    let upstream = ejecting(&[&bad[0]], Ejection { max_ejected: 100, ..Ejection::default() });
    for _ in 0..3 {
        assert_eq!(get(&upstream).await, "502 Connect");
    }
    assert_eq!(get(&upstream).await, "503 NoEndpoint");
}

#[tokio::test]
async fn what_counts_is_what_is_configured() {
    let good = scripted(answer("200 OK")).await;
    let closing = || vec![vec![HEAD, Step::Close]];
    for (script, on, expected) in [
        (answer("500 Oh"), FailureKind::ServerError, State::Ejected),
        (answer("500 Oh"), FailureKind::GatewayError, State::Healthy),
        (answer("503 Oh"), FailureKind::GatewayError, State::Ejected),
        (answer("404 No"), FailureKind::ServerError, State::Healthy),
        (closing(), FailureKind::Reset, State::Ejected),
        (closing(), FailureKind::ConnectFailure, State::Healthy),
    ] {
        let bad = scripted(script.clone()).await;
        let upstream = ejecting(&[&good.address, &bad.address], Ejection { on: vec![on], ..Ejection::default() });
        for _ in 0..20 {
            get(&upstream).await;
        }
        assert_eq!(states(&upstream)[1], expected, "{on:?} {script:.1?}");
    }
}

#[tokio::test]
async fn a_success_ends_the_run_of_failures() {
    let good = scripted(answer("200 OK")).await;
    let one = |status: &str| [HEAD, write(&format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n"))];
    let turns = std::iter::repeat_with(|| [one("500 Oh"), one("500 Oh"), one("200 OK")]).take(30).flatten().flatten();
    let moody = scripted(vec![turns.collect()]).await;
    let policy = Ejection { on: vec![FailureKind::ServerError], ..Ejection::default() };
    let upstream = ejecting(&[&good.address, &moody.address], policy);
    for _ in 0..60 {
        get(&upstream).await;
    }
    assert_eq!(states(&upstream), [State::Healthy; 2]);
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_far_below_the_others_is_left_out() {
    let good = [scripted(answer("200 OK")).await, scripted(answer("200 OK")).await];
    let one = |status: &str| [HEAD, write(&format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n"))];
    let turns = std::iter::repeat_with(|| [one("500 Oh"), one("200 OK")]).take(100).flatten().flatten();
    let moody = scripted(vec![turns.collect()]).await;
    let policy = Ejection {
        on: vec![FailureKind::ServerError],
        success_rate: Some(SuccessRate { min_requests: 20, ..SuccessRate::default() }),
        ..Ejection::default()
    };
    let upstream = ejecting(&[&good[0].address, &good[1].address, &moody.address], policy);
    tokio::task::yield_now().await;
    for _ in 0..90 {
        get(&upstream).await;
    }
    assert_eq!(states(&upstream), [State::Healthy; 3]);
    tokio::time::sleep(Duration::from_millis(10_100)).await;
    assert_eq!(states(&upstream), [State::Healthy, State::Healthy, State::Ejected]);
    let reason = upstream.endpoints()[2].health().report().reason;
    assert_eq!(&*reason, "50 % of its requests succeeded, 100 % of the others'");
}

#[tokio::test]
async fn health_survives_a_change_of_the_upstream_and_of_its_transport() {
    let (good, bad) = (scripted(answer("200 OK")).await, refusing().await);
    let before = ejecting(&[&good.address, &bad], Ejection::default());
    for _ in 0..20 {
        get(&before).await;
    }
    let mut changed = settings(&[&bad, &good.address, "127.0.0.1:1"]);
    changed.transport.connect_timeout = Duration::from_secs(1);
    let after = Upstream::new(changed.clone(), Some(&before));
    after.settle();
    assert_eq!(states(&after), [State::Ejected, State::Healthy, State::Healthy]);
    // Until ejection is turned off.
    changed.ejection.on.clear();
    let after = Upstream::new(changed, Some(&after));
    after.settle();
    assert_eq!(states(&after), [State::Healthy; 3]);
}

#[tokio::test(start_paused = true)]
async fn an_ejection_from_before_a_reload_ends_like_any_other() {
    let (good, bad) = (scripted(answer("200 OK")).await, refusing().await);
    let before = Upstream::new(settings(&[&good.address, &bad]), None);
    let mut changed = settings(&[&good.address, &bad]);
    changed.transport.connect_timeout = Duration::from_secs(1);
    let kept = Upstream::new(changed.clone(), Some(&before));
    changed.ejection.on.clear();
    let off = Upstream::new(changed, Some(&kept));
    for after in [kept, off] {
        let keeper = tokio::spawn(after.clone().look_after(Probes::default()));
        tokio::task::yield_now().await;
        for _ in 0..20 {
            get(&before).await;
        }
        let times = before.endpoints()[1].health().report().ejections;
        assert!(times > 0);
        until_available(&after.endpoints()[1]).await;
        keeper.abort();
    }
}

#[tokio::test]
async fn one_that_is_drained_is_nobody_to_leave_the_requests_to() {
    let bad = [refusing().await, refusing().await];
    let mut settings = settings(&[&bad[0], &bad[1]]);
    settings.endpoints[1].weight = 0;
    let upstream = Upstream::new(settings, None);
    for _ in 0..20 {
        assert_eq!(get(&upstream).await, "502 Connect");
    }
    assert_eq!(states(&upstream), [State::Healthy, State::Healthy]);
}

#[tokio::test]
async fn a_request_that_is_given_up_says_nothing_of_the_success_of_its_endpoint() {
    let silent = scripted(vec![vec![Step::Hang]]).await;
    let upstream = ejecting(&[&silent.address], Ejection::default());
    let mut counts = health::Counts::default();
    upstream.take_samples(&mut counts);
    for _ in 0..3 {
        assert!(tokio::time::timeout(Duration::from_millis(20), get(&upstream)).await.is_err());
    }
    let (_, samples) = upstream.take_samples(&mut counts);
    assert_eq!((samples[0].requests, samples[0].failures), (0, 0));
}
