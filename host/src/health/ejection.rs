//! What counts as a failure of an endpoint, when it is ejected for them, and for how long.

use std::time::Duration;

use super::{State, SuccessRate};

/// When and how endpoints of an upstream are ejected.
#[derive(Clone, Debug, PartialEq)]
pub struct Ejection {
    /// What counts as a failure. If nothing does, no endpoint is ever ejected.
    pub on: Vec<FailureKind>,
    /// Consecutive failures, over all cores, with no success in between.
    pub consecutive: u32,
    /// How to treat an endpoint that fails more than the others.
    pub success_rate: Option<SuccessRate>,
    /// Duration of the first ejection. Each one that follows soon lasts twice as long as the one before.
    pub time: Duration,
    /// Maximum duration of an ejection.
    pub max_time: Duration,
    /// How many of the endpoints may be ejected at a time, in percent. One always may be; the last available endpoint
    /// stays in unless this is 100. Does not count while a later priority group has an available endpoint.
    pub max_ejected: u8,
}

impl Default for Ejection {
    fn default() -> Ejection {
        Ejection {
            on: vec![FailureKind::ConnectFailure],
            consecutive: 3,
            success_rate: None,
            time: Duration::from_secs(10),
            max_time: Duration::from_secs(300),
            max_ejected: 50,
        }
    }
}

/// Kinds of failures that an operator can choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// No connection could be made.
    ConnectFailure,
    /// The connection ended before the response began, or what arrived was not a response.
    Reset,
    /// The response did not begin in time.
    Timeout,
    /// 502, 503 or 504.
    GatewayError,
    /// Any status from 500 on.
    ServerError,
}

impl FailureKind {
    /// The name in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            FailureKind::ConnectFailure => "connect-failure",
            FailureKind::Reset => "reset",
            FailureKind::Timeout => "timeout",
            FailureKind::GatewayError => "gateway-error",
            FailureKind::ServerError => "5xx",
        }
    }
}

/// A failure of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    Connect,
    Reset,
    Timeout,
    Status(u16),
}

impl Ejection {
    /// Whether the policy counts this as a failure.
    pub fn counts(&self, failure: Failure) -> bool {
        self.on.iter().any(|kind| match (kind, failure) {
            (FailureKind::ConnectFailure, Failure::Connect)
            | (FailureKind::Reset, Failure::Reset)
            | (FailureKind::Timeout, Failure::Timeout) => true,
            (FailureKind::GatewayError, Failure::Status(status)) => matches!(status, 502..=504),
            (FailureKind::ServerError, Failure::Status(status)) => status >= 500,
            _ => false,
        })
    }

    /// Whether one more endpoint of this priority group may be ejected, given the groups and states of all endpoints of
    /// the upstream.
    ///
    /// A group may be ejected whole while a later one has an available endpoint: otherwise what is left of a group that
    /// is down would keep its share of the requests. Without one, the share of the endpoints that may be ejected counts
    /// among this group and those after it, which are all that is left to take requests.
    pub fn may_eject(&self, group: u32, endpoints: impl Iterator<Item = (u32, State)>) -> bool {
        let (mut all, mut available, mut ejected, mut takes_over) = (0_u64, 0_u64, 0_u64, false);
        for (other, state) in endpoints {
            available += u64::from(state.is_available());
            takes_over |= other > group && state.is_available();
            all += u64::from(other >= group);
            ejected += u64::from(other >= group && state == State::Ejected);
        }
        let within = ejected == 0 || (ejected + 1) * 100 <= all * u64::from(self.max_ejected);
        self.max_ejected >= 100 || takes_over || (within && available > 1)
    }

    /// Duration of an ejection that follows this many others.
    pub(super) fn time(&self, before: u32) -> Duration {
        let factor = 1_u32.checked_shl(before).unwrap_or(u32::MAX);
        self.time.saturating_mul(factor).min(self.max_time)
    }
}

impl Failure {
    /// The description for operators.
    pub fn describe(self) -> &'static str {
        match self {
            Failure::Connect => "no connection",
            Failure::Reset => "connection broken before an answer",
            Failure::Timeout => "no answer in time",
            Failure::Status(_) => "an answer with an error status",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_count_as_configured() {
        use FailureKind::{ConnectFailure, GatewayError, Reset, ServerError, Timeout};
        let counted = |on: &[FailureKind]| {
            let policy = Ejection { on: on.to_vec(), ..Ejection::default() };
            let all = [Failure::Connect, Failure::Reset, Failure::Timeout];
            let all = all.into_iter().chain([499, 500, 502, 504, 599].map(Failure::Status));
            all.map(|failure| if policy.counts(failure) { 'x' } else { '.' }).collect::<String>()
        };
        for (on, expected) in [
            (&[][..], "........"),
            (&[ConnectFailure], "x......."),
            (&[Reset, Timeout], ".xx....."),
            (&[GatewayError], ".....xx."),
            (&[ServerError, GatewayError], "....xxxx"),
        ] {
            assert_eq!(counted(on), expected, "{on:?}");
        }
    }

    #[test]
    fn at_most_a_share_is_ejected_and_never_the_last() {
        for (max_ejected, endpoints, expected) in [
            (50, "h", false),
            (50, "hh", true),
            (50, "he", false),
            (50, "hhhh", true),
            (50, "hhhe", true),
            (50, "hhee", false),
            (10, "hhhh", true),
            (10, "hhhe", false),
            // The last one that is available, though none is ejected.
            (50, "huuu", false),
            (100, "h", true),
            (100, "he", true),
            (100, "huuu", true),
        ] {
            let policy = Ejection { max_ejected, ..Ejection::default() };
            let states = endpoints.chars().map(|letter| (0, state(letter)));
            assert_eq!(policy.may_eject(0, states), expected, "{max_ejected} {endpoints}");
        }
    }

    #[test]
    fn a_group_is_ejected_whole_while_a_later_one_takes_over() {
        for (endpoints, group, expected) in [
            ("he h", 0, true),
            ("h u h", 0, true),
            ("he u", 0, false),
            ("he e", 0, false),
            // An earlier group does not take over: the share counts, without what was ejected there.
            ("hh h", 1, true),
            ("hh he", 1, false),
            ("ee hh", 1, true),
            ("ee he", 1, false),
            ("ee hhhe", 1, true),
            ("ee hhee", 1, false),
            ("ee h", 1, false),
        ] {
            let groups = (0..).zip(endpoints.split(' '));
            let states = groups.flat_map(|(group, letters)| letters.chars().map(move |letter| (group, state(letter))));
            assert_eq!(Ejection::default().may_eject(group, states), expected, "{group} of {endpoints}");
        }
    }

    fn state(letter: char) -> State {
        match letter {
            'h' => State::Healthy,
            'u' => State::Unhealthy,
            _ => State::Ejected,
        }
    }
}
