//! Numbers that every core adds to and that are summed when read.
//!
//! A core writes only its own cells, on its own cache lines, with a plain load and a plain store: no locked instruction
//! and no line that travels between cores. The sum is exact once the writers rest; while they run it lags a little,
//! like any such sum.

use std::sync::atomic::{AtomicU64, Ordering};

use thread_local::ThreadLocal;

/// `N` counters, identified by number (an enum of label values `as usize`).
pub struct Counters<const N: usize> {
    cores: ThreadLocal<Box<Cells<N>>>,
}

/// 128 bytes, because x86 fetches cache lines in pairs.
#[repr(align(128))]
struct Cells<const N: usize>([AtomicU64; N]);

impl<const N: usize> Counters<N> {
    /// Adds to counter number `index` and returns what this core alone counted before, which is useful for sampling one
    /// event in so many. A number that does not exist is ignored.
    pub fn add(&self, index: usize, delta: u64) -> u64 {
        let cells = self.cores.get_or(|| Box::new(Cells([const { AtomicU64::new(0) }; N])));
        let Some(cell) = cells.0.get(index) else { return 0 };
        let before = cell.load(Ordering::Relaxed);
        cell.store(before.wrapping_add(delta), Ordering::Relaxed);
        before
    }

    /// Subtracts from a counter that is used as a gauge. Another core may do so than the one that added.
    pub fn subtract(&self, index: usize, delta: u64) {
        self.add(index, delta.wrapping_neg());
    }

    /// The sum over all cores.
    pub fn sum(&self, index: usize) -> u64 {
        let cells = self.cores.iter().filter_map(|cells| cells.0.get(index));
        cells.map(|cell| cell.load(Ordering::Relaxed)).fold(0, u64::wrapping_add)
    }

    /// The sum of a counter that is used as a gauge. Cores are read one after the other, so a decrement may be seen
    /// before its increment: a negative sum counts as zero.
    pub fn gauge(&self, index: usize) -> u64 {
        u64::try_from(self.sum(index).cast_signed()).unwrap_or(0)
    }
}

impl<const N: usize> Default for Counters<N> {
    fn default() -> Self {
        Counters { cores: ThreadLocal::new() }
    }
}

/// Adds to a cell that only the current thread writes.
pub(super) fn add(cell: &AtomicU64, delta: u64) {
    cell.store(cell.load(Ordering::Relaxed).wrapping_add(delta), Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_over_cores_are_exact() {
        let counters = Counters::<3>::default();
        std::thread::scope(|scope| {
            for core in 1..=8 {
                let counters = &counters;
                scope.spawn(move || {
                    for _ in 0..10_000 {
                        counters.add(0, 1);
                        counters.add(1, core);
                    }
                });
            }
        });
        assert_eq!([0, 1, 2, 3].map(|index| counters.sum(index)), [80_000, 360_000, 0, 0]);
    }

    #[test]
    fn a_gauge_may_go_up_on_one_core_and_down_on_another() {
        let gauge = Counters::<1>::default();
        gauge.add(0, 5);
        std::thread::scope(|scope| scope.spawn(|| gauge.subtract(0, 3)).join().is_ok());
        assert_eq!(gauge.gauge(0), 2);
        gauge.subtract(0, 4);
        assert_eq!(gauge.gauge(0), 0);
    }
}
