//! Smooth weighted round-robin: an endpoint of weight 3 beside two of weight 1 is used as `a b a c a`, not `a a a b c`.
//!
//! The algorithm is that of nginx (`ngx_http_upstream_round_robin.c`): each endpoint gains its weight, the richest is
//! picked and pays what all gained. It looks at every endpoint. Its sequence has the length of the sum of the weights,
//! so for small sums it is computed once and then read off; equal weights need not even that, since their sequence is
//! the list itself. Weights are divided by their greatest common divisor first: 100 and 300 are 1 and 3.
//!
//! An endpoint that is not usable is skipped, and the rotation continues after the one that was picked. So the others
//! keep their shares exactly, and no neighbour of a failed endpoint takes all of its load.

/// The endless sequence of picks, and the position in it.
#[derive(Clone, Debug)]
pub(super) enum Rotation {
    /// `length` endpoints in turn.
    Equal { length: usize, next: usize },
    /// A precomputed sequence, repeated.
    Sequence { picks: Box<[u32]>, next: usize },
    /// Weights whose sequence is too long to store.
    Smooth(Smooth),
}

impl Rotation {
    pub(super) fn new(weights: &[u32], seed: u64) -> Self {
        let common = weights.iter().copied().fold(0, greatest_common_divisor).max(1);
        let weights: Vec<u32> = weights.iter().map(|weight| weight / common).collect();
        if weights.iter().all(|weight| *weight == 1) {
            return Rotation::Equal { length: weights.len(), next: start(seed, weights.len()) };
        }
        let sum: u64 = weights.iter().copied().map(u64::from).sum();
        let mut smooth = Smooth::new(&weights);
        match usize::try_from(sum) {
            Ok(length) if length <= MAX_SEQUENCE => {
                let picks =
                    (0..length).filter_map(|_| smooth.next(|_| true)).filter_map(|pick| u32::try_from(pick).ok());
                Rotation::Sequence { picks: picks.collect(), next: start(seed, length) }
            }
            _ => {
                for _ in 0..start(seed, weights.len().min(MAX_SKIPPED)) {
                    smooth.next(|_| true);
                }
                Rotation::Smooth(smooth)
            }
        }
    }

    /// The next usable position; `None` only if no position with a weight is usable. Calls `usable` once if all are
    /// usable, otherwise for each pick that is skipped, at most [`MAX_SEQUENCE`] times or the number of endpoints.
    pub(super) fn next(&mut self, usable: impl Fn(usize) -> bool) -> Option<usize> {
        match self {
            Rotation::Equal { length, next } => {
                let pick = (*next..*length).chain(0..*next).find(|position| usable(*position))?;
                *next = if pick + 1 < *length { pick + 1 } else { 0 };
                Some(pick)
            }
            Rotation::Sequence { picks, next } => {
                let (before, after) = picks.split_at_checked(*next)?;
                let from_here = (*next..).zip(after).chain((0..).zip(before));
                let mut from_here = from_here.map(|(place, pick)| (place, *pick as usize));
                let (place, pick) = from_here.find(|(_, pick)| usable(*pick))?;
                *next = if place + 1 < picks.len() { place + 1 } else { 0 };
                Some(pick)
            }
            Rotation::Smooth(smooth) => smooth.next(usable),
        }
    }
}

/// The algorithm itself: smooth weighted round robin.
#[derive(Clone, Debug)]
pub(super) struct Smooth {
    endpoints: Box<[Account]>,
}

#[derive(Clone, Debug)]
struct Account {
    weight: i64,
    /// What it gained minus what it paid. Stays within the sum of all weights on either side of zero.
    balance: i64,
}

impl Smooth {
    fn new(weights: &[u32]) -> Self {
        let account = |weight: &u32| Account { weight: i64::from(*weight), balance: 0 };
        Smooth { endpoints: weights.iter().map(account).collect() }
    }

    /// Unusable endpoints neither gain nor pay. Of equals, the first is picked.
    fn next(&mut self, usable: impl Fn(usize) -> bool) -> Option<usize> {
        let mut gained: i64 = 0;
        let mut richest: Option<(usize, &mut Account)> = None;
        let accounts = self.endpoints.iter_mut().enumerate();
        for (position, account) in accounts.filter(|(position, account)| account.weight > 0 && usable(*position)) {
            account.balance = account.balance.saturating_add(account.weight);
            gained = gained.saturating_add(account.weight);
            if richest.as_ref().is_none_or(|(_, richest)| account.balance > richest.balance) {
                richest = Some((position, account));
            }
        }
        let (position, account) = richest?;
        account.balance = account.balance.saturating_sub(gained);
        Some(position)
    }
}

/// A start position below `length` that differs for most seeds, even consecutive ones.
fn start(seed: u64, length: usize) -> usize {
    let spread = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    usize::try_from((u128::from(spread) * length as u128) >> 64).unwrap_or(0)
}

fn greatest_common_divisor(one: u32, other: u32) -> u32 {
    if other == 0 { one } else { greatest_common_divisor(other, one % other) }
}

/// Maximum length of a stored sequence: 4 KiB for each upstream and core. Beyond it, a pick checks every endpoint.
pub(super) const MAX_SEQUENCE: usize = 1024;
/// By how many picks cores may start apart if no sequence is stored: each of these picks checks every endpoint.
const MAX_SKIPPED: usize = 64;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// The picks of one turn, as letters.
    fn turn(weights: &[u32], down: &[usize]) -> String {
        let mut rotation = Rotation::new(weights, 0);
        let sum: u32 = weights.iter().sum();
        let letter = |pick: usize| char::from(b'a' + u8::try_from(pick).unwrap());
        (0..sum).filter_map(|_| rotation.next(|pick| !down.contains(&pick))).map(letter).collect()
    }

    #[test]
    fn weights_give_these_turns() {
        for (weights, down, expected) in [
            (&[5, 1, 1][..], &[][..], "aabacaa"),
            (&[3, 1, 1], &[], "abaca"),
            (&[300, 100], &[], &"aaba".repeat(100)),
            (&[1, 1, 1], &[], "abc"),
            (&[7, 7], &[], "abababababababab".get(..14).unwrap()),
            (&[0, 2, 0, 1], &[], "bdb"),
            (&[0, 5], &[], "bbbbb"),
            (&[0, 0], &[], ""),
            (&[], &[], ""),
            (&[1, 1, 1], &[1], "aca"),
            (&[3, 1, 1], &[0], "bcbcb"),
            (&[3, 1, 1], &[0, 1, 2], ""),
        ] {
            assert_eq!(turn(weights, down), expected, "{weights:?} without {down:?}");
        }
    }

    #[test]
    fn cores_start_at_different_places() {
        let first = |weights: &[u32]| -> Vec<usize> {
            (0..4).map(|core| Rotation::new(weights, core).next(|_| true).unwrap()).collect()
        };
        let different = |mut picks: Vec<usize>| {
            picks.sort_unstable();
            picks.dedup();
            picks.len()
        };
        assert_eq!(different(first(&[1; 8])), 4);
        assert!(different(first(&[3, 2, 2, 2, 1, 1, 1, 1])) >= 3);
        assert!(different(first(&[1_000_003, 1_000_005, 1_000_007, 1_000_009, 1_000_021])) >= 3);
    }

    proptest! {
        /// After any number of picks, an endpoint has its share to within a few requests.
        #[test]
        fn shares_are_exact(weights in vec(0..40u32, 1..40), scale in 1..100_000u32, seed: u64, picks in 1..5000usize) {
            let weights: Vec<u32> = weights.iter().map(|weight| weight * scale + (weight * scale) % 3).collect();
            let sum: u64 = weights.iter().copied().map(u64::from).sum();
            prop_assume!(sum > 0);
            let mut rotation = Rotation::new(&weights, seed);
            let mut counts = vec![0usize; weights.len()];
            for _ in 0..picks {
                counts[rotation.next(|_| true).unwrap()] += 1;
            }
            for (count, weight) in counts.iter().zip(&weights) {
                let expected = picks as f64 * f64::from(*weight) / sum as f64;
                let used = weights.iter().filter(|weight| **weight > 0).count() as f64;
                prop_assert!((*count as f64 - expected).abs() <= used, "{count} instead of {expected} in {weights:?}");
            }
        }

        /// The remaining endpoints share in proportion to their weights.
        #[test]
        fn a_failed_endpoint_leaves_the_shares_of_others(weights in vec(1..20u32, 2..12), scale in prop_oneof![Just(1), Just(99_991u32)], down in 0..12usize) {
            let down = down % weights.len();
            let weights: Vec<u32> = weights.iter().enumerate().map(|(at, weight)| weight * scale + u32::from(at == 0)).collect();
            let left: u64 = weights.iter().enumerate().filter(|(at, _)| *at != down).map(|(_, weight)| u64::from(*weight)).sum();
            let mut rotation = Rotation::new(&weights, 7);
            let mut counts = vec![0usize; weights.len()];
            for _ in 0..20_000 {
                counts[rotation.next(|pick| pick != down).unwrap()] += 1;
            }
            prop_assert_eq!(counts[down], 0);
            for (at, (count, weight)) in counts.iter().zip(&weights).enumerate().filter(|(at, _)| *at != down) {
                let expected = 20_000.0 * f64::from(*weight) / left as f64;
                prop_assert!((*count as f64 - expected).abs() <= 20.0, "{at}: {count} instead of {expected} in {weights:?}");
            }
        }

        #[test]
        fn equal_weights_never_repeat(length in 2..100usize, weight in 1..u32::MAX, seed: u64) {
            let mut rotation = Rotation::new(&vec![weight; length], seed);
            let mut last = rotation.next(|_| true);
            for _ in 0..300 {
                let next = rotation.next(|_| true);
                prop_assert!(next.is_some() && next != last);
                last = next;
            }
        }

        /// The precomputed sequence, read from any position, equals the algorithm's picks.
        #[test]
        fn a_sequence_is_the_algorithm(weights in vec(0..30u32, 1..20)) {
            let mut rotation = Rotation::new(&weights, 0);
            let mut smooth = Smooth::new(&weights);
            for _ in 0..2 * MAX_SEQUENCE {
                prop_assert_eq!(rotation.next(|_| true), smooth.next(|_| true));
            }
        }
    }
}
