//! Priority groups: which of an upstream's groups of endpoints takes a request.
//!
//! The first group (priority 0) takes all requests while it is healthy; an unhealthy group takes its share and leaves
//! the rest to the next. Healthy means that 5 of 7 by weight are usable: a group takes 1.4 times its usable share, as
//! in Envoy, so that losing a few endpoints sends no traffic to another site. Once they are usable again, the requests
//! return by the same rule.

/// The priority group of each endpoint.
#[derive(Clone, Debug)]
pub struct Priorities {
    /// By position: group and weight.
    endpoints: Box<[(u32, u32)]>,
    /// The existing groups, highest priority first.
    groups: Box<[u32]>,
}

impl Priorities {
    /// One priority and weight per endpoint, in the order of the endpoints. `None` if there is only one group, since
    /// there is nothing to choose.
    #[must_use]
    pub fn new(endpoints: &[(u32, u32)]) -> Option<Self> {
        let mut groups: Vec<u32> = endpoints.iter().map(|(priority, _)| *priority).collect();
        groups.sort_unstable();
        groups.dedup();
        (groups.len() > 1).then(|| Priorities { endpoints: endpoints.into(), groups: groups.into() })
    }

    /// The group for one request; `None` if no endpoint with a weight is usable. Checks every endpoint.
    pub fn group(&self, usable: impl Fn(usize) -> bool, random: u64) -> Option<u32> {
        let shares: Vec<u64> = self.shares(usable).collect();
        let all: u64 = shares.iter().sum();
        let mut left = u64::try_from((u128::from(random) * u128::from(all)) >> 64).ok()?;
        for (group, share) in self.groups.iter().zip(shares) {
            match left.checked_sub(share) {
                Some(rest) => left = rest,
                None => return Some(*group),
            }
        }
        None
    }

    /// The group of the endpoint at this position; 0 if there is none.
    #[must_use]
    pub fn group_of(&self, position: usize) -> u32 {
        self.endpoints.get(position).map_or(0, |(priority, _)| *priority)
    }

    pub fn is_in(&self, position: usize, group: u32) -> bool {
        self.endpoints.get(position).is_some_and(|(priority, _)| *priority == group)
    }

    /// The shares of the groups, in parts of [`ALL`]. Their sum is less if all groups together lack capacity.
    fn shares(&self, usable: impl Fn(usize) -> bool) -> impl Iterator<Item = u64> {
        let mut left = ALL;
        self.groups.iter().map(move |group| {
            let (mut weights, mut usable_weights) = (0, 0);
            for (position, (priority, weight)) in self.endpoints.iter().enumerate() {
                if priority == group && *weight > 0 {
                    weights += u64::from(*weight);
                    usable_weights += if usable(position) { u64::from(*weight) } else { 0 };
                }
            }
            let able = (OVERPROVISION * usable_weights).div_ceil(weights.max(1)).min(ALL);
            let share = able.min(left);
            left -= share;
            share
        })
    }
}

/// All requests.
const ALL: u64 = 100_000;

/// The capacity of a group whose endpoints are all usable: 1.4 times all requests.
const OVERPROVISION: u64 = ALL / 10 * 14;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// The shares in percent, for groups of ten endpoints with this many of them usable.
    fn shares(usable: &[usize]) -> Vec<u64> {
        let endpoints: Vec<(u32, u32)> = (0..).zip(usable).flat_map(|(group, _)| vec![(group, 1); 10]).collect();
        let is_usable = |position: usize| position % 10 < usable[position / 10];
        Priorities::new(&endpoints).unwrap().shares(is_usable).map(|share| share * 100 / ALL).collect()
    }

    #[test]
    fn a_group_takes_what_it_is_able_to_and_the_next_the_rest() {
        for (usable, expected) in [
            (&[10, 10][..], &[100, 0][..]),
            (&[8, 10], &[100, 0]),
            (&[7, 10], &[98, 2]),
            (&[5, 10], &[70, 30]),
            (&[1, 10], &[14, 86]),
            (&[0, 10], &[0, 100]),
            (&[5, 1, 10], &[70, 14, 16]),
            (&[0, 0, 3], &[0, 0, 42]),
            (&[1, 1], &[14, 14]),
            (&[0, 0], &[0, 0]),
        ] {
            assert_eq!(shares(usable), expected, "{usable:?}");
        }
    }

    #[test]
    fn one_group_is_none() {
        assert!(Priorities::new(&[(3, 1), (3, 2)]).is_none());
        assert!(Priorities::new(&[]).is_none());
    }

    proptest! {
        #[test]
        fn a_group_is_of_a_usable_endpoint(
            endpoints in vec((0..4u32, 0..3u32), 1..20), up in vec(any::<bool>(), 20),
            random in prop_oneof![Just(0), Just(u64::MAX), any::<u64>()],
        ) {
            let Some(priorities) = Priorities::new(&endpoints) else { return Ok(()) };
            let usable = |position: usize| up[position];
            let able = |(position, (_, weight)): (usize, &(u32, u32))| up[position] && *weight > 0;
            let group = priorities.group(usable, random);
            prop_assert_eq!(group.is_some(), endpoints.iter().enumerate().any(able));
            let is_of = |group| (0..endpoints.len()).any(|at| priorities.is_in(at, group) && able((at, &endpoints[at])));
            prop_assert!(group.is_none_or(is_of));
        }
    }
}
