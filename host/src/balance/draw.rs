//! Drawing endpoints by weight, in constant time.
//!
//! Vose's alias method: as many columns as endpoints, all of one height; each holds a piece of its own endpoint and, on
//! top, a piece of one other. A random number picks a column and a height in it. The pieces are computed in integers
//! and rounded once, to 2^-32 of a column.
//!
//! If the drawn endpoint is not usable, another is drawn, a few times; then one pass over all endpoints collects the
//! usable ones and draws among them. So the work is bounded, the shares stay those of the weights, and the result is
//! `None` only when there is no usable endpoint.

/// A table for weighted random draws. It is immutable; the state is in the caller's random numbers.
#[derive(Clone, Debug)]
pub(super) struct Draw {
    weights: Box<[u32]>,
    columns: Box<[Column]>,
}

#[derive(Clone, Debug)]
struct Column {
    /// Below this height, out of 2^32, the column's own endpoint is drawn.
    own: u64,
    /// Above it, this one is.
    other: u32,
}

impl Draw {
    pub(super) fn new(weights: &[u32]) -> Self {
        Draw { weights: weights.into(), columns: columns(weights) }
    }

    /// A usable endpoint.
    pub(super) fn one(&self, usable: impl Fn(usize) -> bool, random: &mut impl FnMut() -> u64) -> Option<usize> {
        for _ in 0..DRAWS {
            let drawn = self.any(random())?;
            if usable(drawn) {
                return Some(drawn);
            }
        }
        self.among_usable(usable, random)
    }

    /// Of two different usable endpoints, the one with less load relative to its weight; if equal, the one drawn first.
    pub(super) fn lighter_of_two(
        &self,
        load: impl Fn(usize) -> u32,
        usable: impl Fn(usize) -> bool,
        random: &mut impl FnMut() -> u64,
    ) -> Option<usize> {
        let (first, second) = self.two(usable, random)?;
        let Some(second) = second else { return Some(first) };
        // Compares (load + 1) / weight, the load including this request, by cross-multiplication.
        let weight = |endpoint: usize| self.weights.get(endpoint).copied().map_or(0, u64::from);
        let with_this = |endpoint: usize| u64::from(load(endpoint)) + 1;
        let first_is_lighter = with_this(first) * weight(second) <= with_this(second) * weight(first);
        Some(if first_is_lighter { first } else { second })
    }

    /// Of two different usable endpoints, the one with less cost relative to its weight; if equal, the one drawn first.
    pub(super) fn cheaper_of_two(
        &self,
        cost: impl Fn(usize) -> f64,
        usable: impl Fn(usize) -> bool,
        random: &mut impl FnMut() -> u64,
    ) -> Option<usize> {
        let (first, second) = self.two(usable, random)?;
        let Some(second) = second else { return Some(first) };
        let weight = |endpoint: usize| self.weights.get(endpoint).copied().map_or(0.0, f64::from);
        Some(if cost(first) * weight(second) <= cost(second) * weight(first) { first } else { second })
    }

    /// A usable endpoint, and a second one if there is one.
    fn two(&self, usable: impl Fn(usize) -> bool, random: &mut impl FnMut() -> u64) -> Option<(usize, Option<usize>)> {
        let first = self.one(&usable, random)?;
        Some((first, self.one(|endpoint| endpoint != first && usable(endpoint), random)))
    }

    /// An endpoint, usable or not.
    fn any(&self, random: u64) -> Option<usize> {
        let (high, height) = (random >> 32, random & 0xffff_ffff);
        let position = usize::try_from((u128::from(high) * self.columns.len() as u128) >> 32).ok()?;
        let column = self.columns.get(position)?;
        Some(if height < column.own { position } else { column.other as usize })
    }

    /// Draws among the usable endpoints in two passes: first their sum, then the one in which the drawn number falls.
    fn among_usable(&self, usable: impl Fn(usize) -> bool, random: &mut impl FnMut() -> u64) -> Option<usize> {
        let candidates = || {
            let weights = self.weights.iter().enumerate().filter(|(_, weight)| **weight > 0);
            weights.filter(|(endpoint, _)| usable(*endpoint))
        };
        let sum: u64 = candidates().map(|(_, weight)| u64::from(*weight)).sum();
        let mut left = u64::try_from((u128::from(random()) * u128::from(sum)) >> 64).ok()?;
        let mut last = None;
        for (endpoint, weight) in candidates() {
            last = Some(endpoint);
            match left.checked_sub(u64::from(*weight)) {
                Some(rest) => left = rest,
                None => break,
            }
        }
        // The last one is used also if endpoints became unusable between the passes.
        last
    }
}

/// Fills every column to the mean weight: a column below it gets the rest from an endpoint above it.
fn columns(weights: &[u32]) -> Box<[Column]> {
    // All weights are multiplied by the number of columns, so that the mean is a whole number: their sum.
    let count = weights.len() as u128;
    let mean: u128 = weights.iter().copied().map(u128::from).sum();
    if mean == 0 {
        return Box::default();
    }
    let mut columns: Vec<Column> = weights.iter().map(|_| Column { own: 1 << 32, other: 0 }).collect();
    let heights = (0..).zip(weights).map(|(endpoint, weight)| (endpoint, u128::from(*weight) * count));
    let (mut short, mut tall): (Vec<(u32, u128)>, Vec<_>) = heights.partition(|(_, height)| *height < mean);
    while let Some((endpoint, height)) = short.pop() {
        let Some((donor, donor_height)) = tall.pop() else { break };
        if let Some(column) = columns.get_mut(endpoint as usize) {
            column.own = u64::try_from((height << 32) / mean).unwrap_or(1 << 32);
            column.other = donor;
        }
        let rest = donor_height - (mean - height);
        if rest < mean { short.push((donor, rest)) } else { tall.push((donor, rest)) }
    }
    columns.into()
}

/// How often a draw is repeated after an unusable endpoint before all are checked: with one of two endpoints down, one
/// pick in sixteen gets there.
const DRAWS: usize = 4;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_lighter_for_its_weight_is_picked() {
        // With two endpoints, both are always drawn.
        for (weights, loads, expected) in [
            ([1, 1], [0, 1], Some(0)),
            ([1, 1], [5, 4], Some(1)),
            ([2, 1], [2, 1], Some(0)),
            ([2, 1], [4, 1], Some(1)),
            ([1, 4_000_000_000], [0, u32::MAX], Some(0)),
            ([u32::MAX, u32::MAX], [u32::MAX, u32::MAX - 1], Some(1)),
            ([0, 1], [0, 1000], Some(1)),
            ([0, 0], [0, 0], None),
        ] {
            let draw = Draw::new(&weights);
            let mut random = fastrand::Rng::with_seed(1);
            for _ in 0..200 {
                let picked = draw.lighter_of_two(|endpoint| loads[endpoint], |_| true, &mut || random.u64(..));
                assert_eq!(picked, expected, "weights {weights:?}, loads {loads:?}");
            }
        }
    }

    /// The exact share of every endpoint, summed over the columns of its table.
    fn shares(draw: &Draw) -> Vec<f64> {
        let mut shares = vec![0.0; draw.weights.len()];
        for (position, column) in draw.columns.iter().enumerate() {
            let own = column.own as f64 / 2f64.powi(32);
            shares[position] += own;
            shares[column.other as usize] += 1.0 - own;
        }
        shares.iter().map(|share| share / draw.columns.len() as f64).collect()
    }

    proptest! {
        #[test]
        fn the_columns_hold_every_weight_exactly(weights in vec(prop_oneof![0..4u32, 0..1000u32, any::<u32>()], 1..200)) {
            let sum: u64 = weights.iter().copied().map(u64::from).sum();
            prop_assume!(sum > 0);
            let draw = Draw::new(&weights);
            for (share, weight) in shares(&draw).iter().zip(&weights) {
                let expected = f64::from(*weight) / sum as f64;
                prop_assert!((share - expected).abs() < 1e-9, "{share} instead of {expected} in {weights:?}");
            }
        }

        /// Zero and the greatest number are the corners of the table.
        #[test]
        fn a_draw_is_of_a_weight(weights in vec(0..3u32, 0..20), random in prop_oneof![Just(0), Just(u64::MAX), any::<u64>()]) {
            let draw = Draw::new(&weights);
            let drawn = draw.any(random);
            prop_assert_eq!(drawn.is_some(), weights.iter().any(|weight| *weight > 0));
            prop_assert!(drawn.is_none_or(|endpoint| weights[endpoint] > 0));
        }

        #[test]
        fn those_that_are_left_keep_their_shares(weights in vec(1..10u32, 2..10), up in vec(any::<bool>(), 10), seed: u64) {
            let left: u32 = weights.iter().zip(&up).filter(|(_, up)| **up).map(|(weight, _)| weight).sum();
            prop_assume!(left > 0);
            let draw = Draw::new(&weights);
            let mut random = fastrand::Rng::with_seed(seed);
            let mut counts = vec![0u32; weights.len()];
            for _ in 0..50_000 {
                counts[draw.one(|endpoint| up[endpoint], &mut || random.u64(..)).unwrap()] += 1;
            }
            for ((count, weight), up) in counts.iter().zip(&weights).zip(&up) {
                let expected = if *up { 50_000.0 * f64::from(*weight) / f64::from(left) } else { 0.0 };
                // About six standard deviations.
                let tolerance = 6.0 * expected.sqrt();
                prop_assert!((f64::from(*count) - expected).abs() <= tolerance, "{count} instead of {expected}");
            }
        }
    }
}
