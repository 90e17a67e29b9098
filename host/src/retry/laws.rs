//! Laws of retries.
#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;

fn policy() -> impl Strategy<Value = Policy> {
    let causes = proptest::sample::subsequence(Cause::ALL.to_vec(), 0..=Cause::ALL.len());
    (1..6u32, causes, 0..100u64, 0..1000u64).prop_map(|(attempts, causes, base, max)| Policy {
        attempts,
        causes,
        backoff: Backoff { base: Duration::from_millis(base), max: Duration::from_millis(max) },
        methods: idempotent(),
        ..Policy::failover()
    })
}

fn attempt() -> impl Strategy<Value = Attempt> {
    let cause = select(Cause::ALL.to_vec());
    (1..8u32, cause, any::<bool>(), any::<bool>(), any::<bool>()).prop_map(
        |(number, cause, unsent, elsewhere, repeatable)| Attempt { number, cause, unsent, elsewhere, repeatable },
    )
}

proptest! {
    /// Invariant 9 of ARCHITECTURE.md.
    #[test]
    fn only_what_may_be_repeated_goes_out_again(
        policy in policy(), attempt in attempt(), left in proptest::option::of(0..2000u64), granted: bool, random: u64,
    ) {
        let left = left.map(Duration::from_millis);
        let mut asked = false;
        let verdict = policy.verdict(&attempt, left, || { asked = true; granted }, random);
        let Verdict::Again(wait) = verdict else { return Ok(()) };
        prop_assert!(attempt.unsent || attempt.repeatable);
        prop_assert!(attempt.number < policy.attempts);
        prop_assert!(left.is_none_or(|left| wait < left));
        prop_assert!(wait <= policy.backoff.max);
        let moves_on = attempt.unsent && attempt.elsewhere;
        prop_assert_eq!(asked, !moves_on, "only a repetition costs budget");
        prop_assert!(moves_on || granted);
        let by_answer = matches!(attempt.cause, Cause::Status | Cause::GrpcStatus);
        prop_assert!(moves_on || by_answer || policy.causes.contains(&attempt.cause));
    }

    #[test]
    fn without_a_policy_nothing_is_sent_twice(mut attempt in attempt(), random: u64) {
        attempt.cause = Cause::Connect;
        let again = matches!(Policy::failover().verdict(&attempt, None, || true, random), Verdict::Again(_));
        prop_assert_eq!(again, attempt.unsent && attempt.elsewhere && attempt.number < FAILOVER_ATTEMPTS);
    }

    #[test]
    fn a_wait_is_below_its_bound_and_the_bound_doubles(base in 1..1000u64, factor in 1..100u64, random: u64) {
        let (base, max) = (Duration::from_millis(base), Duration::from_millis(base * factor));
        let backoff = Backoff { base, max };
        for attempt in 1..100 {
            let bound = base.saturating_mul(2_u32.saturating_pow(attempt - 1)).min(max);
            prop_assert!(backoff.before(attempt, random) <= bound);
            prop_assert!(backoff.before(attempt, u64::MAX) >= bound - Duration::from_nanos(1));
            prop_assert_eq!(backoff.before(attempt, 0), Duration::ZERO);
        }
    }

    /// However requests and failures come, the granted retries never exceed the share of the requests, plus the minimum
    /// per second, plus the initial balance.
    #[test]
    fn a_budget_never_grants_more_than_its_share(
        percent in 0..=100u32, min_per_second in 0..20u32, steps in vec((0..5000u64, 0..200u64, 0..200u64), 1..60),
    ) {
        let start = Instant::now();
        let budget = Budget::new(Share { percent, min_per_second }, start);
        let (mut now, mut requests, mut granted) = (start, 0, 0);
        for (milliseconds, more, failures) in steps {
            now += Duration::from_millis(milliseconds);
            requests += more;
            (0..more).for_each(|_| budget.count_request());
            granted += (0..failures).filter(|_| budget.withdraw(now)).count();
            let seconds = (now - start).as_secs_f64() + 10.0;
            let most = f64::from(percent) / 100.0 * requests as f64 + f64::from(min_per_second) * seconds;
            prop_assert!(granted as f64 <= most + 1e-6, "{granted} of {requests}, at most {most}");
        }
    }

    /// If one request in ten fails, a budget of one in five always covers it, at any pace.
    #[test]
    fn failures_within_the_share_are_all_covered(gap_micros in 1..20_000u64) {
        let start = Instant::now();
        let budget = Budget::new(Share { percent: 20, min_per_second: 1 }, start);
        for request in 1..5000u32 {
            budget.count_request();
            let now = start + Duration::from_micros(gap_micros) * request;
            prop_assert!(request % 10 != 0 || budget.withdraw(now), "request {request}");
        }
    }
}

#[test]
fn a_quiet_time_covers_a_short_failure_and_no_more() {
    let start = Instant::now();
    let budget = Budget::new(Share { percent: 20, min_per_second: 0 }, start);
    assert!(!budget.withdraw(start), "nothing was paid in");
    (0..36_000).for_each(|_| budget.count_request());
    // An hour at ten requests a second: only the last ten seconds count.
    let now = start + Duration::from_secs(3600);
    let granted = (0..100).filter(|_| budget.withdraw(now)).count();
    assert_eq!(granted, 20);
}

#[test]
fn answers_are_told_apart_by_status() {
    let policy = Policy {
        statuses: Statuses { server_errors: false, listed: vec![503, 429] },
        grpc: vec![14],
        ..Policy::failover()
    };
    let cause = |status: u16, grpc: Option<&str>| {
        let mut headers = HeaderMap::new();
        grpc.map(|code| headers.insert("grpc-status", code.parse().unwrap()));
        policy.cause_of(StatusCode::from_u16(status).unwrap(), &headers)
    };
    assert_eq!(cause(503, None), Some(Cause::Status));
    assert_eq!(cause(429, Some("0")), Some(Cause::Status));
    assert_eq!(cause(500, None), None);
    assert_eq!(cause(200, Some("14")), Some(Cause::GrpcStatus));
    assert_eq!(cause(200, Some("4")), None);
    assert_eq!(cause(200, Some("1")), None);
    let all = Statuses { server_errors: true, listed: vec![] };
    assert!(all.contains(StatusCode::NOT_IMPLEMENTED) && !all.contains(StatusCode::NOT_FOUND));
}
