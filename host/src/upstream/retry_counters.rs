//! An upstream's counters of retried requests, and of retries that were refused.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::retry::Cause;

/// Shared by all cores. Only failures are counted, so plain atomic counters suffice.
#[derive(Default)]
pub struct RetryCounters {
    by_cause: [AtomicU64; Cause::ALL.len()],
    over_budget: AtomicU64,
}

impl RetryCounters {
    /// How many requests were retried for this reason.
    pub fn after(&self, cause: Cause) -> u64 {
        self.cell(cause).map_or(0, |cell| cell.load(Relaxed))
    }

    /// How many were not retried because the budget was used up.
    pub fn over_budget(&self) -> u64 {
        self.over_budget.load(Relaxed)
    }

    pub(super) fn count(&self, cause: Cause) {
        self.cell(cause).map(|cell| cell.fetch_add(1, Relaxed));
    }

    pub(super) fn count_over_budget(&self) {
        self.over_budget.fetch_add(1, Relaxed);
    }

    fn cell(&self, cause: Cause) -> Option<&AtomicU64> {
        self.by_cause.get(cause as usize)
    }
}
