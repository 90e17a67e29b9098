//! Laws of the state machine, for any course of events.

#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

#[derive(Clone, Copy, Debug)]
enum Event {
    Probed(bool),
    Failed,
    Passed(u64),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        any::<bool>().prop_map(Event::Probed),
        Just(Event::Failed),
        (1..60_000_u64).prop_map(Event::Passed),
    ];
    vec(event, 0..200)
}

proptest! {
    /// The result of the probes is that of the last unbroken run that reached its threshold.
    #[test]
    fn probes_decide_by_runs(initial: bool, results in vec(any::<bool>(), 0..60), rise in 1..5_u32, fall in 1..5_u32) {
        let mut health = Health::new(initial);
        let mut expected = initial;
        for (at, passed) in results.iter().enumerate() {
            health.probed(*passed, Thresholds { rise, fall });
            let run = results[..=at].iter().rev().take_while(|result| *result == passed).count();
            if at == 0 || run >= if *passed { rise } else { fall } as usize {
                expected = *passed;
            }
            prop_assert_eq!(health.state().is_available(), expected, "after {:?}", &results[..=at]);
        }
    }

    /// An ejection lasts for exactly its time, which is never above the maximum and never below the first one's.
    #[test]
    fn ejections_end(events in events(), time in 1..20_000_u64, cap in 1..60_000_u64) {
        let policy = Ejection {
            time: Duration::from_millis(time),
            max_time: Duration::from_millis(cap),
            ..Ejection::default()
        };
        let mut now = Instant::now();
        let mut health = Health::new(true);
        let thresholds = Thresholds { rise: 2, fall: 3 };
        for event in events {
            let before = health.state();
            let change = match event {
                Event::Probed(passed) => health.probed(passed, thresholds),
                Event::Failed => {
                    let was = health.ejected_until();
                    let change = health.eject(now, &policy);
                    let until = health.ejected_until().unwrap();
                    prop_assert!(was.is_none_or(|was| was == until));
                    prop_assert!(until - now <= policy.max_time);
                    prop_assert!(was.is_some() || until - now >= policy.time.min(policy.max_time));
                    change
                }
                Event::Passed(milliseconds) => {
                    now += Duration::from_millis(milliseconds);
                    health.tick(now)
                }
            };
            prop_assert_eq!(change.is_some(), before != health.state());
            prop_assert!(change.is_none_or(|change| change.from == before && change.to == health.state()));
            prop_assert!(health.state() != State::Ejected || health.ejected_until().unwrap() > now);
        }
        health.tick(now + policy.max_time);
        prop_assert_ne!(health.state(), State::Ejected);
    }

    /// Ejecting whenever it is allowed never exceeds the share, nor takes the last available endpoint.
    #[test]
    fn some_stay_in(down in vec(any::<bool>(), 1..40), max_ejected in 1..100_u8) {
        let policy = Ejection { max_ejected, ..Ejection::default() };
        let mut states: Vec<State> =
            down.iter().map(|down| if *down { State::Unhealthy } else { State::Healthy }).collect();
        let available = |states: &[State]| states.iter().filter(|state| state.is_available()).count();
        let before = available(&states);
        while let Some(next) = states.iter().position(|state| state.is_available())
            && policy.may_eject(0, states.iter().map(|state| (0, *state)))
        {
            states[next] = State::Ejected;
        }
        let ejected = before - available(&states);
        prop_assert!(before == 0 || available(&states) >= 1);
        prop_assert!(ejected <= 1 || ejected * 100 <= states.len() * usize::from(max_ejected));
        // As many are ejected as are allowed.
        prop_assert!(available(&states) <= 1 || (ejected + 1) * 100 > states.len() * usize::from(max_ejected));
    }

    /// Each group may give way whole to a later one that takes requests, and the last of those keeps an endpoint.
    #[test]
    fn requests_end_up_with_the_last_group(
        endpoints in vec((0..4_u32, any::<bool>()), 1..40), max_ejected in 1..100_u8,
    ) {
        let policy = Ejection { max_ejected, ..Ejection::default() };
        let state = |down: bool| if down { State::Unhealthy } else { State::Healthy };
        let mut states: Vec<(u32, State)> = endpoints.iter().map(|(group, down)| (*group, state(*down))).collect();
        let groups = |states: &[(u32, State)]| -> Vec<u32> {
            states.iter().filter(|(_, state)| state.is_available()).map(|(group, _)| *group).collect()
        };
        let last = groups(&states).into_iter().max();
        for is_last_failing in [false, true] {
            while let Some(next) = states.iter().position(|(group, state)| {
                (is_last_failing || Some(*group) < last)
                    && state.is_available()
                    && policy.may_eject(*group, states.iter().copied())
            }) {
                states[next].1 = State::Ejected;
            }
            let left = groups(&states);
            prop_assert_eq!(left.first().copied(), last);
            prop_assert!(left.iter().all(|group| Some(*group) == last), "{:?}", left);
        }
    }

    /// If all are alike, there is no outlier; the best endpoint never is one, nor are all of them.
    #[test]
    fn outliers_are_not_the_rule(samples in vec((100..1000_u64, 0..100_u64), 0..20), same in 0..100_u64) {
        let policy = SuccessRate::default();
        let samples: Vec<Sample> =
            samples.iter().map(|(requests, failures)| Sample { requests: *requests, failures: *failures }).collect();
        let outliers = policy.outliers(&samples);
        prop_assert!(outliers.is_empty() || outliers.len() < samples.len());
        let alike = vec![Sample { requests: 100, failures: same }; samples.len()];
        prop_assert!(policy.outliers(&alike).is_empty());
    }
}
