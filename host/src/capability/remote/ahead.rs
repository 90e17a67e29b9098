//! What was taken ahead from the server's limits, and is spent here without asking it.
//!
//! A stock is what one key has left of what was taken in one go. It is good for [`KEPT`] at the most and never beyond the
//! window that it was taken from; what is left then is lost, so that less than the limit may pass, and never more.

use std::time::{Duration, Instant};

use super::limits::Taken;
use crate::capability::limiter::{DEFAULT_MAX_KEYS, Outcome, clamp};
use crate::capability::meters::{Outcomes, Rule};
use crate::capability::table::{Print, Tables};

/// The stocks of one plugin configuration.
pub(super) struct Stocks {
    stocks: Tables<Stock>,
    began: Instant,
}

#[derive(Clone, Copy)]
struct Stock {
    left: u32,
    /// What each rule said when it was taken.
    told: [Option<Outcome>; MOST_RULES],
}

impl Stocks {
    /// Whether anything can be taken ahead under these rules.
    pub fn suit(&self, rules: &[Rule]) -> bool {
        rules.len() <= MOST_RULES
    }

    /// Takes from the stock of `key`, if it has as much.
    pub fn spend(&self, key: &str, rules: &[Rule], cost: u32) -> Option<Outcomes> {
        let (print, now_ms) = (self.stocks.print(&(key, rules)), self.now_ms());
        let mut table = self.stocks.of(print);
        let (ends_ms, stock) = table.get(table.find(print)).filter(|(ends_ms, _)| *ends_ms > now_ms)?;
        let stock = Stock { left: stock.left.checked_sub(cost)?, ..stock };
        let known = table.find(print);
        table.put(print, known, ends_ms, stock, now_ms);
        Some(stock.outcomes())
    }

    /// Keeps what was taken beyond `cost`.
    pub fn put(&self, key: &str, rules: &[Rule], cost: u32, taken: &Taken) -> Outcomes {
        let Some(left) = taken.number.checked_sub(cost).filter(|_| taken.number > 0) else {
            return taken.outcomes.clone();
        };
        let mut told = [None; MOST_RULES];
        told.iter_mut().zip(&taken.outcomes).for_each(|(place, outcome)| *place = Some(*outcome));
        let now_ms = self.now_ms();
        // A fixed window says when it ends; the others are whole only after that.
        let soonest = taken.outcomes.iter().map(|outcome| u64::from(outcome.reset_ms)).min().unwrap_or(0);
        let ends_ms = now_ms.saturating_add(soonest.min(KEPT.as_millis() as u64));
        let print: Print = self.stocks.print(&(key, rules));
        let mut table = self.stocks.of(print);
        let known = table.find(print);
        let before = table.get(known).filter(|(ends_ms, _)| *ends_ms > now_ms);
        // Somebody else took ahead meanwhile: both are good until the first of them is not.
        let (ends_ms, more) = before.map_or((ends_ms, 0), |(ends, stock)| (ends.min(ends_ms), stock.left));
        let stock = Stock { left: left.saturating_add(more), told };
        table.put(print, known, ends_ms, stock, now_ms);
        stock.outcomes()
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

impl Stock {
    fn outcomes(&self) -> Outcomes {
        let outcome =
            |told: Outcome| Outcome { remaining: clamp(u64::from(told.remaining) + u64::from(self.left)), ..told };
        self.told.iter().flatten().map(|told| outcome(*told)).collect()
    }
}

impl Default for Stocks {
    fn default() -> Stocks {
        Stocks { stocks: Tables::new(DEFAULT_MAX_KEYS), began: Instant::now() }
    }
}

/// More rules than that are not taken ahead from.
const MOST_RULES: usize = 4;
/// How long a stock is good.
const KEPT: Duration = Duration::from_secs(1);
