//! Metrics of a plugin: its calls, their duration, and all its failures.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use thread_local::ThreadLocal;

use super::counters::Counters;
use super::durations::Histogram;
use super::exposition::{Exposition, Kind};

/// One plugin, by its name in the configuration.
#[derive(Default)]
pub struct PluginMetrics {
    calls: Counters<{ Hook::ALL.len() }>,
    times: ThreadLocal<Box<[Histogram<BUCKETS>; Hook::ALL.len()]>>,
    limits: Counters<{ PluginLimit::ALL.len() }>,
    failures: Counters<{ OnError::ALL.len() }>,
    events: Counters<EVENTS>,
    /// A [`Breaker`] as its number.
    breaker: AtomicU8,
}

/// A running hook: returned by [`PluginMetrics::begin`] and passed to [`PluginMetrics::end`].
#[derive(Clone, Copy, Debug)]
#[must_use = "the call is only timed when it is given to `end`"]
pub struct HookCall {
    hook: Hook,
    /// Only one call in [`SAMPLE`] is timed.
    started: Option<Instant>,
}

labels! {
    /// An exported call.
    Hook {
        Request => "request",
        RequestBody => "request-body",
        Response => "response",
        ResponseBody => "response-body",
        Completion => "completion",
        Configure => "configure",
        Tick => "tick",
    }
}

labels! {
    /// A limit that a plugin ran into.
    PluginLimit {
        Time => "time",
        Memory => "memory",
        HostCalls => "host-calls",
        BodyBytes => "body-bytes",
        LogBytes => "log-bytes",
        /// All permitted instances were in use.
        Instances => "instances",
    }
}

labels! {
    /// What happened to an exchange whose plugin failed.
    OnError {
        Deny => "deny",
        Skip => "skip",
    }
}

labels! {
    /// What the breaker allows.
    Breaker {
        /// Everything.
        Closed => "closed",
        /// Nothing: the plugin failed too often.
        Open => "open",
    }
}

/// Events without a duration.
#[derive(Clone, Copy)]
enum Event {
    Trap,
    Answer,
    Abort,
    BreakerOpened,
    InstanceMade,
    InstanceDropped,
    SwapApplied,
    SwapRefused,
    MetricDropped,
}

const EVENTS: usize = Event::MetricDropped as usize + 1;

impl PluginMetrics {
    /// Call before a hook runs. Counts it, and reads the clock for one call in [`SAMPLE`].
    pub fn begin(&self, hook: Hook) -> HookCall {
        let before = self.calls.add(hook as usize, 1);
        HookCall { hook, started: before.is_multiple_of(SAMPLE).then(Instant::now) }
    }

    /// The hook has returned or trapped.
    pub fn end(&self, call: HookCall) {
        let Some(started) = call.started else { return };
        let times = self.times.get_or(|| Box::new(std::array::from_fn(|_| Histogram::default())));
        if let Some(histogram) = times.get(call.hook as usize) {
            histogram.record(&HOOK_BOUNDS, started.elapsed());
        }
    }

    /// An instance trapped, whatever the reason.
    pub fn trapped(&self) {
        self.count(Event::Trap);
    }

    pub fn limit_hit(&self, limit: PluginLimit) {
        self.limits.add(limit as usize, 1);
    }

    /// A hook failed, or the breaker kept it from running; `outcome` says what happened to the exchange.
    pub fn failed(&self, outcome: OnError) {
        self.failures.add(outcome as usize, 1);
    }

    /// The plugin answered the client itself.
    pub fn answered(&self) {
        self.count(Event::Answer);
    }

    /// The plugin ended an exchange without a response.
    pub fn aborted(&self) {
        self.count(Event::Abort);
    }

    pub fn set_breaker(&self, state: Breaker) {
        let before = self.breaker.swap(state as u8, Ordering::Relaxed);
        if state == Breaker::Open && before != Breaker::Open as u8 {
            self.count(Event::BreakerOpened);
        }
    }

    /// A new artifact replaced the old one, or failed its trial.
    pub fn swapped(&self, applied: bool) {
        self.count(if applied { Event::SwapApplied } else { Event::SwapRefused });
    }

    pub fn instance_made(&self) {
        self.count(Event::InstanceMade);
    }

    pub fn instance_dropped(&self) {
        self.count(Event::InstanceDropped);
    }

    /// The plugin used a metric that its manifest does not declare, or exceeded its number of series.
    pub fn metric_dropped(&self) {
        self.count(Event::MetricDropped);
    }

    fn count(&self, event: Event) {
        self.events.add(event as usize, 1);
    }

    fn sum(&self, event: Event) -> u64 {
        self.events.sum(event as usize)
    }

    fn times_of(&self, hook: Hook) -> ([u64; BUCKETS], Duration) {
        let (mut buckets, mut sum) = ([0; BUCKETS], Duration::ZERO);
        for histogram in self.times.iter().filter_map(|times| times.get(hook as usize)) {
            histogram.add_to(&mut buckets, &mut sum);
        }
        (buckets, sum)
    }

    pub(super) fn expose(page: &mut Exposition, plugins: &[(Arc<str>, Arc<PluginMetrics>)]) {
        let name = "gatewright_plugin_calls_total";
        page.family(name, Kind::Counter, "Hooks that ran.");
        for (plugin, metrics) in plugins {
            for hook in Hook::ALL {
                page.sample(name, &[("plugin", plugin), ("hook", hook.name())], metrics.calls.sum(*hook as usize));
            }
        }
        let name = "gatewright_plugin_hook_duration_seconds";
        page.family(name, Kind::Histogram, "How long hooks ran; one call in 16 is timed.");
        for (plugin, metrics) in plugins {
            for hook in Hook::ALL {
                let (buckets, sum) = metrics.times_of(*hook);
                if buckets.iter().any(|bucket| *bucket > 0) {
                    page.durations(name, &[("plugin", plugin), ("hook", hook.name())], &HOOK_BOUNDS, &buckets, sum);
                }
            }
        }
        let name = "gatewright_plugin_limit_hits_total";
        page.family(name, Kind::Counter, "Limits that a plugin ran into.");
        for (plugin, metrics) in plugins {
            for limit in PluginLimit::ALL {
                page.sample(name, &[("plugin", plugin), ("limit", limit.name())], metrics.limits.sum(*limit as usize));
            }
        }
        let name = "gatewright_plugin_failures_total";
        page.family(name, Kind::Counter, "Hooks that failed or were not run by the breaker, by what came of it.");
        for (plugin, metrics) in plugins {
            for outcome in OnError::ALL {
                let labels = [("plugin", &**plugin), ("on_error", outcome.name())];
                page.sample(name, &labels, metrics.failures.sum(*outcome as usize));
            }
        }
        Self::expose_events(page, plugins);
        Self::expose_state(page, plugins);
    }

    fn expose_events(page: &mut Exposition, plugins: &[(Arc<str>, Arc<PluginMetrics>)]) {
        let families = [
            ("gatewright_plugin_traps_total", Event::Trap, "Instances that trapped."),
            ("gatewright_plugin_answers_total", Event::Answer, "Exchanges that the plugin answered itself."),
            ("gatewright_plugin_aborts_total", Event::Abort, "Exchanges that the plugin ended without an answer."),
            ("gatewright_plugin_breaker_opened_total", Event::BreakerOpened, "Times that the breaker opened."),
            ("gatewright_plugin_instances_made_total", Event::InstanceMade, "Instances that were made."),
            ("gatewright_plugin_metrics_dropped_total", Event::MetricDropped, "Updates of metrics that were dropped."),
        ];
        for (name, event, help) in families {
            page.family(name, Kind::Counter, help);
            for (plugin, metrics) in plugins {
                page.sample(name, &[("plugin", plugin)], metrics.sum(event));
            }
        }
        let name = "gatewright_plugin_swaps_total";
        page.family(name, Kind::Counter, "New artifacts, by whether they were applied or refused.");
        for (plugin, metrics) in plugins {
            page.sample(name, &[("plugin", plugin), ("result", "applied")], metrics.sum(Event::SwapApplied));
            page.sample(name, &[("plugin", plugin), ("result", "refused")], metrics.sum(Event::SwapRefused));
        }
    }

    fn expose_state(page: &mut Exposition, plugins: &[(Arc<str>, Arc<PluginMetrics>)]) {
        let name = "gatewright_plugin_instances";
        page.family(name, Kind::Gauge, "Instances that are alive.");
        for (plugin, metrics) in plugins {
            let dropped = metrics.sum(Event::InstanceDropped);
            page.sample(name, &[("plugin", plugin)], metrics.sum(Event::InstanceMade).saturating_sub(dropped));
        }
        let name = "gatewright_plugin_breaker_state";
        page.family(name, Kind::Gauge, "1 for the state that the breaker is in.");
        for (plugin, metrics) in plugins {
            let state = metrics.breaker.load(Ordering::Relaxed);
            for one in Breaker::ALL {
                let labels = [("plugin", &**plugin), ("state", one.name())];
                page.sample(name, &labels, u64::from(*one as u8 == state));
            }
        }
    }
}

/// One in this many calls is timed, per hook and core: two readings of the clock cost a fifth of the smallest hook.
pub const SAMPLE: u64 = 16;

/// The buckets of hook times in nanoseconds: a no-op takes 0.2 µs, the default limit is in milliseconds.
const HOOK_BOUNDS: [u64; BUCKETS - 1] = [
    250,
    500,
    1_000,
    2_500,
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    100_000_000,
];

const BUCKETS: usize = 17;

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    #[test]
    fn every_call_counts_and_one_in_sixteen_is_timed() {
        let plugin = PluginMetrics::default();
        for _ in 0..SAMPLE * 10 {
            let call = plugin.begin(Hook::Response);
            plugin.end(call);
        }
        let call = plugin.begin(Hook::Request);
        plugin.end(call);
        assert_eq!(plugin.calls.sum(Hook::Response as usize), SAMPLE * 10);
        assert_eq!(plugin.times_of(Hook::Response).0.iter().sum::<u64>(), 10);
        assert_eq!(plugin.times_of(Hook::Request).0.iter().sum::<u64>(), 1, "the first call is timed");
        assert!(HOOK_BOUNDS.is_sorted());
    }

    #[test]
    fn the_breaker_counts_only_when_it_opens() {
        let plugin = PluginMetrics::default();
        for state in [Breaker::Open, Breaker::Open, Breaker::Closed, Breaker::Open, Breaker::Closed] {
            plugin.set_breaker(state);
        }
        assert_eq!(plugin.sum(Event::BreakerOpened), 2);
        assert_eq!(plugin.breaker.load(Ordering::Relaxed), Breaker::Closed as u8);
    }
}
