//! Plugins: WebAssembly components that decide about exchanges. The only room that names wasmtime.
//!
//! An [`Artifact`] is a compiled component; a [`Plugin`] is an artifact with its configuration, its limits and its
//! granted capabilities; a [`Chain`] is a route's plugins in order. A hook call takes a warm instance from its core's
//! pool, moves the exchange into the instance's store, calls, and moves it back. This takes no lock, no fiber and no
//! allocation for a plugin whose imports never wait; any other runs on a fiber, and the core serves other requests
//! meanwhile.
//!
//! The guest is assumed to be faulty. Whatever it does ends at most its own hook and its own instance: its changes are
//! rolled back, and `on_error` decides about the request.

mod abilities;
mod artifact;
mod background;
mod bindings;
mod bodies;
mod breaker;
mod cache;
mod callout;
mod chain;
mod constant_headers;
mod direct;
mod edit;
mod engine;
mod epoch;
mod failure;
mod flight;
mod guard;
mod header_names;
mod hook_set;
mod instance;
mod journal;
mod lent;
mod limits;
mod lines;
mod link;
mod load_error;
mod loan;
mod minimal_wasi;
mod probation;
mod run;
mod service;
mod shared;
mod stage;
mod state;
mod substitutions;

use std::cell::RefCell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use thread_local::ThreadLocal;
use wasmtime::component::{ComponentNamedList, Lift, Lower};
use wasmtime::{Store, WasmBacktrace};

pub use artifact::{Artifact, Exports, Import, Manifest, MetricDeclaration, VERSION};
pub use background::tick;
pub use bindings::Direction;
pub use bodies::{Bodies, fault_of};
pub use breaker::Settings as BreakerSettings;
pub use callout::{Callee, Script};
pub use chain::{Chain, Stop};
use constant_headers::ConstantHeaders;
use direct::{Parameters, Returned};
pub use engine::{COMPONENT_BYTES, Engine, MEMORY_BYTES};
pub use failure::{Failure, FailureKind};
use hook_set::HookSet;
pub use instance::REFUSED_CONFIGURATION;
use instance::{Hook, Hooks, Instance, Prepared};
pub use lent::{Abilities, Lent, Limits};
pub use load_error::LoadError;
pub use loan::{Loan, Turn};
use probation::{Place, Probation};
pub use run::{Mode, Run};
pub use service::{Handled, Next, NextError, Service, ServiceError, ServiceLimits};
use state::{Call, State};
pub use substitutions::Substitutions;

use crate::exchange::Exchange;
use crate::telemetry::metrics::{Breaker, PluginLimit, PluginMetrics};

/// A component that is configured, limited and granted its capabilities: ready to run on every core.
pub struct Plugin {
    artifact: Artifact,
    settings: Settings,
    prepared: Prepared,
    hooks: HookSet,
    constant_headers: ConstantHeaders,
    breakers: breaker::Breakers,
    probation: Probation,
    /// Warm instances, per core. Boxed, because they are large and move between here and exchanges.
    #[allow(clippy::vec_box)]
    idle: ThreadLocal<RefCell<Vec<Box<Instance>>>>,
}

/// How a plugin is run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    pub on_error: OnError,
    pub isolation: Isolation,
    pub breaker: BreakerSettings,
}

/// What happens to a request when a hook fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnError {
    /// It is answered with an error. The default, since a policy that failed has not approved the request.
    #[default]
    Deny,
    /// It continues as if the plugin were not there.
    Skip,
}

impl OnError {
    /// The name in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            OnError::Deny => "deny",
            OnError::Skip => "skip",
        }
    }
}

/// How long an instance lives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Isolation {
    /// It serves exchanges one after the other, one hook at a time.
    #[default]
    Shared,
    /// It is created for one exchange and ends with it.
    Request,
}

impl Isolation {
    /// The name in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Isolation::Shared => "shared",
            Isolation::Request => "request",
        }
    }
}

impl Plugin {
    /// Links the plugin and creates one instance as a trial, so that a configuration that the plugin rejects is found
    /// now.
    ///
    /// # Errors
    /// An import is not granted, or the trial instance could not be created; the text is for the operator.
    pub fn new(
        engine: &Engine,
        artifact: Artifact,
        settings: Settings,
        lent: Lent,
        config: Arc<str>,
    ) -> Result<Plugin, String> {
        lent.check_grants(&artifact)?;
        let lent = Arc::new(lent);
        let prepared = Prepared::new(engine, &artifact, lent, config).map_err(|error| format!("{error:#}"))?;
        let mut trial = prepared.trial().map_err(|error| explain(&error))?;
        let State { hooks, constant_headers, .. } = trial.store.data_mut();
        let (hooks, constant_headers) = (*hooks, std::mem::take(constant_headers));
        Ok(Plugin {
            artifact,
            settings,
            prepared,
            hooks,
            constant_headers,
            breakers: breaker::Breakers::new(settings.breaker),
            probation: Probation::default(),
            idle: ThreadLocal::new(),
        })
    }

    /// Creates `count` configured instances, calls `look` and drops them again: for measurements.
    ///
    /// # Errors
    /// An instance could not be created.
    pub fn beside<T>(&self, count: usize, look: impl FnOnce() -> T) -> Result<T, String> {
        let made = (0..count).map(|_| self.prepared.trial()).collect::<wasmtime::Result<Vec<_>>>();
        let instances = made.map_err(|error| explain(&error))?;
        let seen = look();
        drop(instances);
        Ok(seen)
    }

    pub fn name(&self) -> &Arc<str> {
        &self.prepared.lent.name
    }

    pub fn artifact(&self) -> &Artifact {
        &self.artifact
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    pub fn lent(&self) -> &Lent {
        &self.prepared.lent
    }

    /// The hooks that run with this configuration.
    fn hooks(&self) -> HookSet {
        self.hooks
    }

    /// Makes the changes to the request's headers that the plugin makes in every exchange.
    fn change_request(&self, exchange: &mut Exchange) {
        let left_out = self.constant_headers.of_request(&mut exchange.request.headers, &self.lent().limits);
        self.note_left_out(left_out);
    }

    /// The same for the response's headers.
    fn change_response(&self, exchange: &mut Exchange) {
        let left_out = self.constant_headers.of_response(&mut exchange.response.headers, &self.lent().limits);
        self.note_left_out(left_out);
    }

    fn note_left_out(&self, left_out: usize) {
        if left_out > 0 {
            self.lent().note(&format!("{left_out} of the headers that it always changes: limit exceeded"));
        }
    }

    fn metrics(&self) -> &PluginMetrics {
        &self.prepared.lent.abilities.counters
    }

    /// Whether a circuit breaker keeps the plugin, or one of its hooks, from being called at the moment.
    pub fn is_breaker_open(&self) -> bool {
        self.breakers.is_open()
    }

    /// Runs one hook for an exchange. `read` converts the guest's answer for the chain; an answer that it refuses is a
    /// failure like a trap.
    async fn hook<P, R, T>(
        &self,
        exchange: &mut Exchange,
        position: usize,
        call: Call,
        pick: impl Fn(&Hooks) -> Option<&Hook<P, R>> + Send + 'static,
        parameters: P,
        read: impl FnOnce(R) -> Result<T, (FailureKind, &'static str)>,
    ) -> Result<Option<T>, Failure>
    where
        P: ComponentNamedList + Lower + Parameters + Send + Sync + 'static,
        R: ComponentNamedList + Lift + Returned + Send + Sync + 'static,
    {
        let breaker = self.breakers.of(call.hook());
        if !breaker.allows(Instant::now) {
            return Err(self.failure(call, FailureKind::Open, String::new()));
        }
        let off_core = match self.breakers.is_suspect(call.hook()) && !self.prepared.waits {
            true => Box::pin(self.probation_place(call)).await?,
            false => None,
        };
        let mut instance = match self.check_out(exchange, position) {
            Some(instance) => instance,
            // Boxed, because it is rare and would make the future of every request larger.
            None => Box::pin(self.make(call)).await?,
        };
        let Some(function) = pick(&instance.hooks) else {
            self.check_in(instance, exchange, position);
            return Ok(None);
        };
        instance::arm(&mut instance.store, call);
        let state = instance.store.data_mut();
        state.position = position;
        state.exchange = exchange.take();
        let timed = self.metrics().begin(call.hook());
        let answer = if let Some(place) = off_core {
            let (back, answer) = Box::pin(probation::call(place, instance, pick, parameters)).await;
            instance = back;
            *exchange = instance.store.data_mut().give_back();
            answer
        } else {
            let lending = Lending { store: &mut instance.store, exchange };
            match self.prepared.waits {
                // Boxed, because it is large and would make the future of every request large.
                true => Box::pin(function.call_async(&mut *lending.store, parameters)).await,
                false => function.call(&mut *lending.store, parameters),
            }
        };
        self.metrics().end(timed);
        let state = instance.store.data_mut();
        let failed = match answer {
            Ok(answer) => match read(answer) {
                Ok(answer) => {
                    state.journal.commit();
                    self.succeeded(call);
                    self.check_in(instance, exchange, position);
                    return Ok(Some(answer));
                }
                Err((kind, detail)) => (kind, detail.to_owned()),
            },
            Err(error) => {
                state.end_line();
                (FailureKind::of_trap(state), explain(&error))
            }
        };
        state.journal.roll_back(exchange, position);
        Err(self.failed(call, failed.0, failed.1))
    }

    /// Waits for the permit to run off the data cores, for a plugin that has yet to show that it terminates. `None` if
    /// it has shown that during the wait.
    async fn probation_place(&self, call: Call) -> Result<Option<Place>, Failure> {
        let breaker = self.breakers.of(call.hook());
        let is_probe = breaker.is_open();
        let place = self.probation.place().await;
        if breaker.is_open() && !is_probe {
            return Err(self.failure(call, FailureKind::Open, String::new()));
        }
        Ok(place.filter(|_| self.breakers.is_suspect(call.hook())))
    }

    /// A warm instance: the exchange's own, or one of this core's.
    fn check_out(&self, exchange: &mut Exchange, position: usize) -> Option<Box<Instance>> {
        match self.settings.isolation {
            Isolation::Shared => self.idle.get_or_default().borrow_mut().pop(),
            Isolation::Request => exchange.run.slot(position)?.instance.take(),
        }
    }

    fn check_in(&self, mut instance: Box<Instance>, exchange: &mut Exchange, position: usize) {
        instance.calls += 1;
        let limits = &self.prepared.lent.limits;
        match self.settings.isolation {
            Isolation::Shared => {
                let is_used_up = instance.calls >= limits.calls_per_instance
                    || instance.store.data().memory_bytes() > limits.memory_bytes / 2;
                let mut idle = self.idle.get_or_default().borrow_mut();
                if !is_used_up && idle.len() < limits.idle_instances {
                    idle.push(instance);
                }
            }
            Isolation::Request => {
                let is_last = !self.hooks.after_request();
                if let Some(slot) = exchange.run.slot(position).filter(|_| !is_last) {
                    slot.instance = Some(instance);
                }
            }
        }
    }

    async fn make(&self, call: Call) -> Result<Box<Instance>, Failure> {
        let made = self.prepared.instantiate().await;
        made.map(Box::new).map_err(|error| self.failed(call, FailureKind::Instance, explain(&error)))
    }

    fn succeeded(&self, call: Call) {
        if self.breakers.succeeded(call.hook()) {
            if !self.breakers.is_open() {
                self.metrics().set_breaker(Breaker::Closed);
            }
            self.prepared.lent.note(&format!("{} recovered; it is in the path again", call.name()));
        }
    }

    fn failed(&self, call: Call, kind: FailureKind, detail: String) -> Failure {
        let held = if kind == FailureKind::Time { self.prepared.lent.limits.time } else { Duration::ZERO };
        if self.breakers.of(call.hook()).failed(Instant::now(), held) {
            self.metrics().set_breaker(Breaker::Open);
            let text = format!("{} failed again and again; its breaker is open, and it will be probed", call.name());
            self.prepared.lent.note(&text);
        }
        self.failure(call, kind, detail)
    }

    fn failure(&self, call: Call, kind: FailureKind, detail: String) -> Failure {
        match kind {
            FailureKind::Trap => self.metrics().trapped(),
            FailureKind::Time => self.metrics().limit_hit(PluginLimit::Time),
            FailureKind::Memory => self.metrics().limit_hit(PluginLimit::Memory),
            FailureKind::HostCalls => self.metrics().limit_hit(PluginLimit::HostCalls),
            FailureKind::Body => self.metrics().limit_hit(PluginLimit::BodyBytes),
            FailureKind::Instance => self.metrics().limit_hit(PluginLimit::Instances),
            FailureKind::Answer | FailureKind::Coding | FailureKind::Open => {}
        }
        Failure { plugin: self.name().clone(), hook: call.name(), kind, detail }
    }
}

/// An exchange in the store of the instance whose hook runs. It comes back when the hook has returned, and also when
/// the future of a waiting hook is dropped because the client disconnected, so that the exchange can still end
/// normally.
struct Lending<'a> {
    store: &'a mut Store<State>,
    exchange: &'a mut Exchange,
}

impl Drop for Lending<'_> {
    fn drop(&mut self) {
        *self.exchange = self.store.data_mut().give_back();
    }
}

impl std::fmt::Debug for Plugin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Plugin").field("name", self.name()).field("digest", &self.artifact.digest()).finish()
    }
}

/// A trap as text for the operator: the reason, then the guest's stack, limited in length.
fn explain(error: &wasmtime::Error) -> String {
    const MOST: usize = 4096;
    // Not the debug format: with RUST_BACKTRACE set it would resolve the host's own stack, which keeps a core busy for
    // a long time and says nothing about the plugin.
    let stack = error.downcast_ref::<WasmBacktrace>().map(ToString::to_string);
    let causes = error.chain().map(ToString::to_string).filter(|cause| Some(cause) != stack.as_ref());
    let mut text = causes.collect::<Vec<_>>().join(": ");
    if let Some(stack) = stack {
        text.push('\n');
        text.push_str(&stack);
    }
    if text.len() > MOST {
        let end = (0..=MOST).rev().find(|&end| text.is_char_boundary(end)).unwrap_or(0);
        text.truncate(end);
        text.push_str(" ...");
    }
    text
}
