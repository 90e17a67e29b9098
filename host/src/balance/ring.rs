//! Consistent hashing: requests with one key go to one endpoint, and when an endpoint leaves, only its keys move.
//!
//! Every endpoint has points on a ring of 2^32 positions, in proportion to its weight; a key belongs to the first point
//! at or after its own position (Karger et al., 1997). The points follow from the endpoint's name alone: every core and
//! every gateway with the same endpoints builds the same ring, whatever the order. A ring rather than Maglev's table,
//! because a table also moves some keys of endpoints that stay; the price is that shares are even only to a few
//! percent, which a bound on the load evens out (Mirrokni et al., "Consistent Hashing with Bounded Loads", 2016). It
//! moves a key on along the ring while its endpoint has more than its share of the requests currently in flight.
//!
//! The hash is fixed and public, so whoever chooses keys can choose endpoints. The bound limits that.

/// A consistent-hash ring. See the module. It is immutable and shared by all cores.
#[derive(Clone, Debug)]
pub struct Ring {
    /// By place.
    points: Box<[Point]>,
    /// By position.
    has_points: Box<[bool]>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Point {
    place: u32,
    position: u32,
}

impl Ring {
    /// A ring of endpoints, each with its name and weight. An endpoint of weight 0 gets no points.
    #[must_use]
    pub fn new(endpoints: &[(&str, u32)]) -> Self {
        let sum: u64 = endpoints.iter().map(|(_, weight)| u64::from(*weight)).sum();
        let per_weight = points_per_weight(sum);
        let mut points = Vec::new();
        for (position, (name, weight)) in (0..).zip(endpoints) {
            let seed = hash(name.as_bytes());
            let place = |number: u64| u32::try_from(mix(seed ^ mix(number)) >> 32).unwrap_or(0);
            let count = match u64::from(*weight) {
                weight if sum <= MOST_POINTS => weight * per_weight,
                weight => (weight * MOST_POINTS).div_ceil(sum),
            };
            points.extend((0..count).map(|number| Point { place: place(number), position }));
        }
        points.sort_unstable();
        Ring { points: points.into(), has_points: endpoints.iter().map(|(_, weight)| *weight > 0).collect() }
    }

    /// The endpoint of a key: the first along the ring that is `usable`, which is called at most once per endpoint.
    pub fn pick(&self, key: u64, usable: impl Fn(usize) -> bool) -> Option<usize> {
        let place = u32::try_from(mix(key) >> 32).unwrap_or(0);
        let start = self.points.partition_point(|point| point.place < place);
        let (before, behind) = self.points.split_at_checked(start)?;
        let mut along = behind.iter().chain(before).map(|point| point.position as usize);
        let first = along.next()?;
        if usable(first) {
            return Some(first);
        }
        let mut unasked = self.has_points.clone();
        *unasked.get_mut(first)? = false;
        let mut left = unasked.iter().filter(|unasked| **unasked).count();
        while left > 0 {
            let position = along.next()?;
            if std::mem::take(unasked.get_mut(position)?) {
                left -= 1;
                if usable(position) {
                    return Some(position);
                }
            }
        }
        None
    }
}

/// Maximum requests in flight at an endpoint, including the new one, when `total` are in flight at all endpoints:
/// `bound` times its share by weight, and at least one request.
pub fn most_in_flight(bound: f64, total: u64, weight: u32, weights: u64) -> u64 {
    let part = (total as f64 + 1.0) * f64::from(weight) / (weights.max(1) as f64);
    // Rounded up, so that all endpoints together can always hold one more request than there are.
    (bound * part).ceil().clamp(1.0, 9e15) as u64
}

/// A hash of bytes that never changes, on any platform: FNV-1a, well mixed.
pub fn hash(bytes: &[u8]) -> u64 {
    let fold = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    mix(bytes.iter().fold(0xcbf2_9ce4_8422_2325, fold))
}

/// Spreads a difference in any bit over all bits: the final step of splitmix64.
fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// As many as there is room for, in powers of two: so an endpoint that leaves does not change the number, and with it
/// the points of the others, unless the sum of weights falls below a power of two beyond 256.
fn points_per_weight(sum: u64) -> u64 {
    let room = (MOST_POINTS / sum.max(1)).clamp(1, POINTS);
    1 << room.ilog2()
}

/// Points per unit of weight: the share of an endpoint of weight 1 is then even to about 3 %.
const POINTS: u64 = 1024;

/// Maximum points of all endpoints together: 2 MiB. With 1000 endpoints of weight 1, shares are even to about 6 %.
const MOST_POINTS: u64 = 1 << 18;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn ring(endpoints: &[(String, u32)]) -> Ring {
        Ring::new(&endpoints.iter().map(|(name, weight)| (name.as_str(), *weight)).collect::<Vec<_>>())
    }

    fn endpoints(weights: &[u32]) -> Vec<(String, u32)> {
        weights.iter().enumerate().map(|(at, weight)| (format!("10.0.0.{at}:80"), *weight)).collect()
    }

    const KEYS: u64 = 20_000;

    fn owners(endpoints: &[(String, u32)]) -> Vec<String> {
        let ring = ring(endpoints);
        (0..KEYS).map(|key| endpoints[ring.pick(hash(&key.to_le_bytes()), |_| true).unwrap()].0.clone()).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

        /// With K keys and n endpoints, only the keys of the endpoint that leaves move: K/n, as even as the ring is.
        #[test]
        fn when_an_endpoint_leaves_only_its_keys_move(n in 2..20usize, leaving in any::<prop::sample::Index>(), seed: u64) {
            let mut endpoints: Vec<_> = (0..n).map(|at| (format!("10.{}.0.{at}:80", seed % 256), 1)).collect();
            let before = owners(&endpoints);
            let gone = endpoints.remove(leaving.index(n)).0;
            let after = owners(&endpoints);
            let moved = before.iter().zip(&after).filter(|(before, after)| before != after).count();
            prop_assert!(before.iter().zip(&after).all(|(before, after)| before == after || *before == gone));
            prop_assert_eq!(moved, before.iter().filter(|owner| **owner == gone).count());
            let fair = KEYS as f64 / n as f64;
            prop_assert!(moved as f64 <= fair * 1.2, "{moved} of {KEYS} keys moved, {fair} are one part of {n}");
        }

        /// A key whose endpoint is down goes where it would go if the endpoint had left.
        #[test]
        fn an_endpoint_that_is_down_is_as_one_that_left(n in 2..20usize, down in any::<prop::sample::Index>(), keys in vec(any::<u64>(), 100)) {
            let endpoints = endpoints(&vec![1; n]);
            let down = down.index(n);
            let mut left = endpoints.clone();
            left.remove(down);
            let (whole, without) = (ring(&endpoints), ring(&left));
            for key in keys {
                let picked = whole.pick(key, |position| position != down).unwrap();
                let expected = without.pick(key, |_| true).unwrap();
                prop_assert!(picked != down);
                prop_assert_eq!(&endpoints[picked].0, &left[expected].0);
            }
        }

        #[test]
        fn keys_are_shared_by_weight(weights in vec(0..5u32, 1..12)) {
            let sum: u32 = weights.iter().sum();
            prop_assume!(sum > 0);
            let endpoints = endpoints(&weights);
            let owners = owners(&endpoints);
            for (name, weight) in &endpoints {
                let share = owners.iter().filter(|owner| *owner == name).count() as f64 / KEYS as f64;
                let expected = f64::from(*weight) / f64::from(sum);
                prop_assert!((share - expected).abs() <= 0.25 * expected + 0.005, "{share} instead of {expected}");
            }
        }

        #[test]
        fn the_order_of_endpoints_does_not_matter(weights in vec(1..5u32, 2..10)) {
            let forward = endpoints(&weights);
            let mut backward = forward.clone();
            backward.reverse();
            prop_assert_eq!(owners(&forward), owners(&backward));
        }

        #[test]
        fn each_endpoint_is_asked_once(weights in vec(0..5u32, 0..40), key: u64) {
            let asked = std::cell::RefCell::new(Vec::new());
            let ring = ring(&endpoints(&weights));
            prop_assert_eq!(ring.pick(key, |position| { asked.borrow_mut().push(position); false }), None);
            let mut asked = asked.into_inner();
            asked.sort_unstable();
            let expected: Vec<usize> = (0..weights.len()).filter(|position| weights[*position] > 0).collect();
            prop_assert_eq!(asked, expected);
        }

        /// With requests that never end, all with one key, no endpoint exceeds its bound, and none is left out.
        #[test]
        fn a_bound_spreads_a_hot_key(n in 2..10usize, requests in 20..200u64, key: u64) {
            let ring = ring(&endpoints(&vec![1; n]));
            let mut loads = vec![0u64; n];
            for total in 0..requests {
                let most = most_in_flight(1.25, total, 1, n as u64);
                let picked = ring.pick(key, |position| loads[position] < most);
                prop_assert!(picked.is_some(), "one always has room");
                loads[picked.unwrap()] += 1;
            }
            let most = most_in_flight(1.25, requests, 1, n as u64);
            prop_assert!(loads.iter().all(|load| *load <= most), "{loads:?} of at most {most}");
        }
    }
}
