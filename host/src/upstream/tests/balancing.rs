//! Picks with endpoints that come, go, and are taken out. No request is sent, so nothing listens at the addresses.

use std::collections::BTreeMap;

use super::super::affinity::{SameSite, Sticky, StickyKey};
use super::*;
use crate::health::State;

/// An upstream with this many endpoints in each of its priority groups, changed by `change`.
fn upstream(groups: &[u8], change: impl FnOnce(&mut Settings)) -> Arc<Upstream> {
    let mut servers = Vec::new();
    for (priority, count) in (0..).zip(groups) {
        let address = |at: &u8| format!("10.0.{priority}.{at}:80").parse::<Address>().unwrap();
        servers.extend((0..*count).map(|at| Server { priority, ..Server::from(address(&at)) }));
    }
    let mut settings = Settings::new("group", servers);
    change(&mut settings);
    Upstream::new(settings, None)
}

/// Sets the health as probes would.
fn set(endpoint: &Endpoint, available: bool) {
    endpoint.health().force(if available { State::Healthy } else { State::Unhealthy });
    if available {
        endpoint.begin_slow_start();
    }
}

/// How many of 1000 picks each group got, by the third number of its addresses; "none" for no endpoint.
fn picks(upstream: &Upstream, ask: &Ask) -> BTreeMap<String, u32> {
    let mut counts = BTreeMap::new();
    for _ in 0..1000 {
        let members = upstream.members.held();
        let picked = members.pick(&upstream.settings, ask, &Tried::default());
        let group = picked.map_or("none", |(_, endpoint)| endpoint.address().as_str().split('.').nth(2).unwrap());
        *counts.entry(group.to_owned()).or_default() += 1;
    }
    counts
}

fn groups<const N: usize>(counts: [(&str, u32); N]) -> BTreeMap<String, u32> {
    counts.map(|(group, count)| (group.to_owned(), count)).into()
}

#[test]
fn no_pick_of_an_unavailable_endpoint_while_there_is_another() {
    let by_key = Ask { key: Some(7), ..Ask::default() };
    for policy in [Policy::RoundRobin, Policy::LeastRequests, Policy::PeakEwma, Policy::Random] {
        for hashed in [false, true] {
            let upstream = upstream(&[5], |settings| {
                settings.balance = policy;
                settings.hash = hashed.then_some(Hash { by: HashBy::Source, bounded_load: Some(1.25) });
            });
            for down in upstream.endpoints() {
                set(&down, false);
                let left = upstream.endpoints().iter().filter(|endpoint| endpoint.is_available()).count();
                for _ in 0..100 {
                    let members = upstream.members.held();
                    let picked = members.pick(&upstream.settings, &by_key, &Tried::default());
                    assert_eq!(picked.is_some(), left > 0, "{policy:?}");
                    assert!(picked.is_none_or(|(_, endpoint)| endpoint.is_available()), "{policy:?}");
                }
            }
            set(&upstream.endpoints()[3], true);
            assert_eq!(upstream.members.held().pick(&upstream.settings, &by_key, &Tried::default()).unwrap().0, 3);
        }
    }
}

#[test]
fn priority_groups_fail_over_and_back() {
    let upstream = upstream(&[4, 4], |_| {});
    let endpoints = upstream.endpoints();
    assert_eq!(picks(&upstream, &Ask::default()), groups([("0", 1000)]));
    set(&endpoints[0], false);
    assert_eq!(picks(&upstream, &Ask::default()), groups([("0", 1000)]), "3 of 4 are enough");
    set(&endpoints[1], false);
    let spilled = picks(&upstream, &Ask::default());
    assert!((200..=400).contains(&spilled["1"]), "2 of 4 take 70 %: {spilled:?}");
    endpoints[2..4].iter().for_each(|endpoint| set(endpoint, false));
    assert_eq!(picks(&upstream, &Ask::default()), groups([("1", 1000)]));
    endpoints[0..3].iter().for_each(|endpoint| set(endpoint, true));
    assert_eq!(picks(&upstream, &Ask::default()), groups([("0", 1000)]));
}

#[test]
fn with_no_endpoint_available_requests_are_refused_or_sent_to_all() {
    for (none_available, expected) in [(NoneAvailable::Refuse, "none"), (NoneAvailable::UseAll, "0")] {
        let upstream = upstream(&[3], |settings| settings.none_available = none_available);
        upstream.endpoints().iter().for_each(|endpoint| set(endpoint, false));
        assert_eq!(picks(&upstream, &Ask::default()), groups([(expected, 1000)]));
    }
}

#[test]
fn an_endpoint_that_comes_back_starts_slowly() {
    let upstream = upstream(&[1, 0, 0], |settings| settings.slow_start = Some(Duration::from_secs(3600)));
    assert_eq!(picks(&upstream, &Ask::default()), groups([("0", 1000)]), "alone, it takes all");
    let mut settings = upstream.settings.clone();
    let new = Server::from("10.0.7.1:80".parse::<Address>().unwrap());
    settings.endpoints.push(new);
    let upstream = Upstream::new(settings, Some(&upstream));
    let counts = picks(&upstream, &Ask::default());
    assert!((40..200).contains(&counts["7"]), "{counts:?}");
    // The other one leaves and returns: now both are new.
    let other = &upstream.endpoints()[0];
    set(other, false);
    assert_eq!(picks(&upstream, &Ask::default()), groups([("7", 1000)]));
    set(other, true);
    let counts = picks(&upstream, &Ask::default());
    assert!((350..650).contains(&counts["7"]), "{counts:?}");
}

#[test]
fn a_sticky_client_leaves_an_endpoint_that_is_unavailable_or_tried() {
    let key = StickyKey::new("0123456789abcdef").unwrap();
    let sticky =
        Sticky { cookie: "gw".into(), path: "/".into(), ttl: None, same_site: SameSite::Lax, secure: None, key };
    let upstream = upstream(&[1, 1], |settings| settings.sticky = Some(sticky));
    let second = &upstream.endpoints()[1];
    let ask = Ask { tag: upstream.members.held().tag(second).copied(), ..Ask::default() };
    assert_eq!(picks(&upstream, &ask), groups([("1", 1000)]), "whatever its group");
    set(second, false);
    assert_eq!(picks(&upstream, &ask), groups([("0", 1000)]));
    set(second, true);
    assert_eq!(picks(&upstream, &ask), groups([("1", 1000)]));
}

#[tokio::test]
async fn by_time_an_endpoint_that_everybody_gives_up_on_is_not_the_fastest() {
    const PATIENCE: std::time::Duration = std::time::Duration::from_secs(1);
    let answer = [HEAD, write("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")];
    let good = scripted(vec![std::iter::repeat_n(answer, 300).flatten().collect()]).await;
    let silent = scripted(vec![vec![Step::Hang]]).await;
    let mut settings = settings(&[&good.address, &silent.address]);
    settings.balance = Policy::PeakEwma;
    let upstream = Upstream::new(settings, None);
    let (mut answered, mut given_up) = (0, 0);
    while answered == 0 || given_up == 0 {
        match tokio::time::timeout(PATIENCE, get(&upstream)).await {
            Ok(shown) => answered += usize::from(shown == "200"),
            Err(_) => given_up += 1,
        }
    }
    for _ in 0..100 {
        assert_eq!(get(&upstream).await, "200");
    }
}
