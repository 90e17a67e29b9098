//! What an instance's store holds: the exchange while a hook runs, what the plugin is lent, and the rest of its budget.

use std::sync::Arc;

use tokio::task::JoinSet;
use wasmtime::{ResourceLimiter, UpdateDeadline};

use super::callout;
use super::constant_headers::ConstantHeaders;
use super::direct::Boundary;
use super::epoch::{Epoch, TICK};
use super::header_names::HeaderNames;
use super::hook_set::HookSet;
use super::journal::Journal;
use super::lent::Lent;
use super::lines::Lines;
use crate::capability::turns::Turn;
use crate::exchange::{Exchange, Parts};

/// The data of one store.
pub struct State {
    pub(super) lent: Arc<Lent>,
    epoch: Arc<Epoch>,
    /// The exchange of the running hook; empty between hooks.
    pub(super) exchange: Exchange,
    /// The plugin's position in the chain of that exchange.
    pub(super) position: usize,
    pub(super) journal: Journal,
    pub(super) names: HeaderNames,
    /// The boundary of an instance that runs directly.
    pub(super) boundary: Boundary,
    pub(super) call: Call,
    /// The remaining budgets of the hook.
    pub(super) host_calls: u32,
    pub(super) log_lines: u32,
    pub(super) callouts: u32,
    /// Callouts that the hook started, by their numbers; dropping them cancels them.
    pub(super) running: JoinSet<(u32, callout::Answer)>,
    /// The turns that the hook has taken; dropping them passes them on.
    pub(super) turns: Vec<Turn>,
    printed: Lines,
    memory_bytes: usize,
    /// The hooks to run: those that are exported, without those that `configure` opted out of.
    pub(super) hooks: HookSet,
    /// The header changes that `configure` declared for every exchange.
    pub(super) constant_headers: ConstantHeaders,
    /// The budget that ran out, for the failure's text and the metrics.
    pub(super) hit: Option<Limit>,
    clock: HookClock,
    /// `limits.time`.
    hook_ticks: u64,
}

/// Which exported function runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    Idle,
    Describe,
    Configure,
    Request,
    RequestBody,
    Response,
    ResponseBody,
    Complete,
    Tick,
}

/// A limit that a hook hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    Time,
    Memory,
    HostCalls,
}

/// The time of one hook, in ticks of the epoch.
///
/// The epoch counts wall time, and it is not the plugin's fault if its core was taken away for some milliseconds. So a
/// hook that exceeds its limit gets another quarter of the limit, and is ended if it used the processor for at least
/// half of that quarter. A loop therefore ends soon after its limit, while an innocent hook may continue.
#[derive(Default)]
struct HookClock {
    ticks: u64,
    overruns: u32,
    processor_at_overrun: Option<std::time::Duration>,
    waited: bool,
}

impl State {
    pub(super) fn new(lent: Arc<Lent>, epoch: Arc<Epoch>, hooks: HookSet) -> State {
        State {
            hook_ticks: ticks(lent.limits.time),
            lent,
            epoch,
            exchange: Exchange::default(),
            position: 0,
            journal: Journal::default(),
            names: HeaderNames::default(),
            boundary: Boundary::default(),
            call: Call::Idle,
            host_calls: 0,
            log_lines: 0,
            callouts: 0,
            running: JoinSet::new(),
            turns: Vec::new(),
            printed: Lines::default(),
            memory_bytes: 0,
            hooks,
            constant_headers: ConstantHeaders::default(),
            hit: None,
            clock: HookClock::default(),
        }
    }

    /// Prepares for one call and returns its deadline in ticks.
    pub(super) fn begin(&mut self, call: Call) -> u64 {
        let limits = &self.lent.limits;
        self.call = call;
        self.host_calls = limits.host_calls;
        self.log_lines = limits.log_lines;
        self.callouts = limits.callouts;
        self.hit = None;
        let ticks = match call {
            Call::Describe | Call::Configure => ticks(limits.configure_time),
            _ => self.hook_ticks,
        };
        self.clock = HookClock { ticks, ..HookClock::default() };
        self.epoch.deadline(ticks)
    }

    /// The exchange of the running hook.
    ///
    /// # Errors
    /// Traps if there is no exchange: `describe`, `configure` and `on-tick` have none.
    pub(super) fn exchange(&self) -> wasmtime::Result<&Parts> {
        if self.exchange.is_lent() { Err(outside()) } else { Ok(&self.exchange) }
    }

    pub(super) fn has_exchange(&self) -> wasmtime::Result<()> {
        self.exchange().map(|_| ())
    }

    /// Counts one call of a host function about the exchange, and returns the exchange.
    ///
    /// # Errors
    /// Traps if the hook's budget is used up, or if there is no exchange.
    #[inline]
    pub(super) fn asked(&mut self) -> wasmtime::Result<&Parts> {
        self.charge()?;
        self.exchange()
    }

    /// Counts one call of a host function.
    ///
    /// # Errors
    /// Traps if the hook's budget is used up.
    #[inline]
    pub(super) fn charge(&mut self) -> wasmtime::Result<()> {
        match self.host_calls.checked_sub(1) {
            Some(left) => {
                self.host_calls = left;
                Ok(())
            }
            None => {
                self.hit = Some(Limit::HostCalls);
                Err(wasmtime::Error::msg("the hook called host functions more often than it may"))
            }
        }
    }

    /// Counts one wait. A hook that waits gets more time, so the number of waits is limited as for callouts.
    ///
    /// # Errors
    /// Traps with this message if the hook's budget is used up.
    pub(super) fn charge_wait(&mut self, too_often: &'static str) -> wasmtime::Result<()> {
        self.callouts = self.callouts.checked_sub(1).ok_or_else(|| wasmtime::Error::msg(too_often))?;
        Ok(())
    }

    pub(super) fn in_body_hook(&self) -> bool {
        matches!(self.call, Call::RequestBody | Call::ResponseBody)
    }

    pub(super) fn is_completing(&self) -> bool {
        self.call == Call::Complete
    }

    /// Notes the end of a callout: the time spent waiting does not count for the hook.
    pub(super) fn has_waited(&mut self) {
        self.epoch.run_for(self.clock.ticks);
        self.clock.waited = true;
    }

    /// Ends the hook: its exchange goes back to the lender.
    #[inline]
    pub(super) fn give_back(&mut self) -> Exchange {
        self.call = Call::Idle;
        self.cancel_callouts();
        self.exchange.take()
    }

    /// Cancels what the hook started and did not wait for: nobody needs the answers.
    #[inline]
    pub(super) fn cancel_callouts(&mut self) {
        if !self.running.is_empty() {
            self.running = JoinSet::new();
        }
        self.turns.clear();
    }

    /// Decides about a hook that has reached its deadline.
    pub(super) fn at_deadline(&mut self) -> UpdateDeadline {
        let clock = &mut self.clock;
        if std::mem::take(&mut clock.waited) {
            clock.overruns = 0;
            clock.processor_at_overrun = None;
            return UpdateDeadline::Continue(self.epoch.deadline(clock.ticks));
        }
        let now = processor_time();
        let more = clock.ticks.div_ceil(4);
        let half = TICK.saturating_mul(u32::try_from(more).unwrap_or(u32::MAX)) / 2;
        // Measured since the hook was first late: on a crowded machine, a loop gets its time in many small slices.
        let first = *clock.processor_at_overrun.get_or_insert(now);
        let burned = now.saturating_sub(first) >= half;
        if burned || clock.overruns >= OVERRUNS {
            self.hit = Some(Limit::Time);
            return UpdateDeadline::Interrupt;
        }
        clock.overruns += 1;
        self.epoch.run_for(more);
        UpdateDeadline::Continue(more)
    }

    /// Takes output of the guest's runtime; each line becomes a line of the plugin's log.
    pub(super) fn print(&mut self, bytes: &[u8]) {
        let mut printed = std::mem::take(&mut self.printed);
        printed.take(bytes, |line| self.log_printed(line));
        self.printed = printed;
    }

    /// Logs an unfinished line.
    pub(super) fn end_line(&mut self) {
        std::mem::take(&mut self.printed).end(|line| self.log_printed(line));
    }

    fn log_printed(&mut self, line: &str) {
        self.log(super::bindings::log::Level::Error, line, &[]);
    }

    /// The linear memory that the instance has grown to, in bytes.
    pub(super) fn memory_bytes(&self) -> usize {
        self.memory_bytes
    }
}

impl ResourceLimiter for State {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let total = self.memory_bytes.saturating_add(desired.saturating_sub(current));
        if total > self.lent.limits.memory_bytes {
            self.hit = Some(Limit::Memory);
            return Ok(false);
        }
        self.memory_bytes = total;
        Ok(true)
    }

    fn table_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        Ok(desired <= TABLE_ELEMENTS)
    }
}

fn ticks(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_nanos().div_ceil(TICK.as_nanos())).unwrap_or(u64::MAX)
}

fn outside() -> wasmtime::Error {
    wasmtime::Error::msg("the exchange was asked for outside of a hook that has one")
}

/// Processor time of this thread; read only if a hook is late.
pub(super) fn processor_time() -> std::time::Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    std::time::Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// How often a hook that hardly uses the processor may be late before it is ended anyway.
const OVERRUNS: u32 = 80;
/// The most elements of one table.
const TABLE_ELEMENTS: usize = 60_000;
