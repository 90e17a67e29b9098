//! One instance of a component: a store, and the hooks it has.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use wasmtime::component::{
    Component, ComponentExportIndex, ComponentNamedList, Instance as Guest, InstancePre, Lift, Lower, TypedFunc,
};
use wasmtime::{Store, StoreContextMut};

use super::artifact::{Artifact, Exports, Import};
use super::bindings::{BodyDecision, Decision};
use super::direct::{self, Apart, Direct, Linked, Parameters, Returned, Running};
use super::engine::Engine;
use super::hook_set::HookSet;
use super::lent::Lent;
use super::link::{self, Counts};
use super::state::{Call, Limit, State};

/// Everything that is needed to create configured instances of one plugin.
pub(super) struct Prepared {
    engine: Engine,
    way: Way,
    exports: Exports,
    config: Arc<str>,
    pub lent: Arc<Lent>,
    /// Whether instances must be called on a fiber.
    pub waits: bool,
}

/// How instances run.
enum Way {
    /// As the component.
    Component(InstancePre<State>),
    /// As the core modules of the component.
    Direct(Arc<Linked>),
}

/// A live instance.
pub(super) struct Instance {
    pub store: Store<State>,
    pub hooks: Hooks,
    /// How many hooks it has run.
    pub calls: u32,
}

/// The exported hooks, ready to call.
pub(super) struct Hooks {
    pub on_request: Option<HeaderHook>,
    pub on_request_body: Option<BodyHook>,
    pub on_response: Option<HeaderHook>,
    pub on_response_body: Option<BodyHook>,
    pub on_complete: Option<Hook<(), ()>>,
    pub on_tick: Option<Hook<(), (Option<u32>,)>>,
}

/// An exported function, ready to call.
pub(super) enum Hook<P: Parameters, R: Returned> {
    Component(TypedFunc<P, R>),
    Direct(direct::Hook<P, R>),
}

type ConfigureHook = Hook<(String,), (Result<(), String>,)>;
pub(super) type HeaderHook = Hook<(bool,), (Decision,)>;
pub(super) type BodyHook = Hook<(Vec<u8>, bool), (BodyDecision,)>;

impl Prepared {
    pub fn new(engine: &Engine, artifact: &Artifact, lent: Arc<Lent>, config: Arc<str>) -> wasmtime::Result<Prepared> {
        let (way, waits) = match artifact.direct(lent.counts()) {
            Some(linked) => (Way::Direct(linked.clone()), linked.waits()),
            None => {
                let linker = link::linker(engine, artifact.component(), artifact.imports(), lent.counts())?;
                (Way::Component(linker.instantiate_pre(artifact.component())?), artifact.waits(lent.counts()))
            }
        };
        Ok(Prepared { engine: engine.clone(), way, exports: *artifact.exports(), config, waits, lent })
    }

    /// Creates a configured instance. Waits for nothing if the plugin never does.
    ///
    /// # Errors
    /// The pool is full, the guest trapped or hit a limit, or it rejected the configuration.
    pub async fn instantiate(&self) -> wasmtime::Result<Instance> {
        let mut store = new_store(&self.engine, &self.lent, &self.exports);
        arm(&mut store, Call::Configure);
        let guest = match &self.way {
            Way::Component(pre) if self.waits => {
                Exporting::Component(pre.instantiate_async(&mut store).await?, &self.exports)
            }
            Way::Component(pre) => Exporting::Component(pre.instantiate(&mut store)?, &self.exports),
            Way::Direct(linked) => Exporting::Direct(linked.instantiate(&mut store).await?),
        };
        let hooks = Hooks::find(&guest, &mut store)?;
        let configure = guest.configure(&mut store)?;
        let config = (self.config.to_string(),);
        let answer = match self.waits {
            true => configure.call_async(&mut store, config).await,
            false => configure.call(&mut store, config),
        };
        finish(store, hooks, answer)
    }

    /// Creates one instance as a trial when a plugin is loaded. `configure` never waits, since callouts are refused
    /// there, so one poll is enough.
    pub fn trial(&self) -> wasmtime::Result<Instance> {
        poll_once(self.instantiate())?
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.store.data().lent.abilities.counters.instance_dropped();
    }
}

/// The exports of an instance, either way.
enum Exporting<'a> {
    Component(Guest, &'a Exports),
    Direct(Running<'a>),
}

impl Exporting<'_> {
    fn configure(&self, store: &mut Store<State>) -> wasmtime::Result<ConfigureHook> {
        let hook = self.hook(store, "lifecycle", "configure", |exports| Some(exports.configure))?;
        hook.ok_or_else(|| wasmtime::Error::msg("it exports no lifecycle.configure"))
    }

    fn hook<P, R>(
        &self,
        store: &mut Store<State>,
        interface: &str,
        function: &str,
        pick: impl Fn(&Exports) -> Option<ComponentExportIndex>,
    ) -> wasmtime::Result<Option<Hook<P, R>>>
    where
        P: ComponentNamedList + Lower + Parameters,
        R: ComponentNamedList + Lift + Returned,
    {
        Ok(match self {
            Exporting::Component(guest, exports) => {
                let found = pick(exports).map(|index| guest.get_typed_func(store, index)).transpose()?;
                found.map(Hook::Component)
            }
            Exporting::Direct(running) => running.hook(store, interface, function)?.map(Hook::Direct),
        })
    }
}

impl<P, R> Hook<P, R>
where
    P: ComponentNamedList + Lower + Parameters + Send + Sync + 'static,
    R: ComponentNamedList + Lift + Returned + Send + Sync + 'static,
{
    /// Calls a plugin that never waits.
    pub fn call(&self, store: &mut Store<State>, parameters: P) -> wasmtime::Result<R> {
        match self {
            Hook::Component(function) => function.call(store, parameters),
            Hook::Direct(hook) => hook.call(store, parameters),
        }
    }

    /// Calls a plugin that may wait, on a fiber.
    pub async fn call_async(&self, store: &mut Store<State>, parameters: P) -> wasmtime::Result<R> {
        match self {
            Hook::Component(function) => function.call_async(store, parameters).await,
            Hook::Direct(hook) => hook.call_async(store, parameters).await,
        }
    }
}

impl Hooks {
    fn find(guest: &Exporting<'_>, store: &mut Store<State>) -> wasmtime::Result<Hooks> {
        Ok(Hooks {
            on_request: guest.hook(store, "request-hook", "on-request", |exports| exports.on_request)?,
            on_request_body: guest
                .hook(store, "request-body-hook", "on-request-body", |exports| exports.on_request_body)?,
            on_response: guest.hook(store, "response-hook", "on-response", |exports| exports.on_response)?,
            on_response_body: guest
                .hook(store, "response-body-hook", "on-response-body", |exports| exports.on_response_body)?,
            on_complete: guest.hook(store, "completion-hook", "on-complete", |exports| exports.on_complete)?,
            on_tick: guest.hook(store, "background", "on-tick", |exports| exports.on_tick)?,
        })
    }
}

/// Asks a component for its manifest, in an instance that is then discarded, and links the core modules if they can run
/// directly.
pub(super) fn describe(
    engine: &Engine,
    component: &Component,
    imports: &[Import],
    exports: &Exports,
    apart: Option<Apart>,
) -> Result<(String, Option<Direct>), String> {
    let work = async {
        let linker = link::linker(engine, component, imports, Counts::Own)?;
        let mut store = new_store(engine, &Lent::nothing(), exports);
        arm(&mut store, Call::Describe);
        let guest = linker.instantiate_pre(component)?.instantiate_async(&mut store).await?;
        let describe: TypedFunc<(), (String,)> = guest.get_typed_func(&mut store, exports.describe)?;
        let (text,) = describe.call_async(&mut store, ()).await?;
        let linked = apart.and_then(|apart| apart.link(engine.wasmtime(), &guest, &mut store).ok());
        Ok((text, linked))
    };
    poll_once(work).and_then(|answer| answer).map_err(|error: wasmtime::Error| super::explain(&error))
}

/// Sets the deadline of the next call.
pub(super) fn arm(store: &mut Store<State>, call: Call) {
    let ticks = store.data_mut().begin(call);
    store.set_epoch_deadline(ticks);
}

fn new_store(engine: &Engine, lent: &Arc<Lent>, exports: &Exports) -> Store<State> {
    let mut store =
        Store::new(engine.wasmtime(), State::new(lent.clone(), engine.epoch().clone(), HookSet::new(exports)));
    store.limiter(|state| state);
    store.epoch_deadline_callback(|mut store: StoreContextMut<'_, State>| Ok(store.data_mut().at_deadline()));
    store.set_hostcall_fuel(lent.limits.boundary_bytes);
    store
}

fn finish(
    mut store: Store<State>,
    hooks: Hooks,
    answer: wasmtime::Result<(Result<(), String>,)>,
) -> wasmtime::Result<Instance> {
    store.data_mut().end_line();
    match answer {
        Ok((Ok(()),)) => {
            store.data().lent.abilities.counters.instance_made();
            Ok(Instance { store, hooks, calls: 0 })
        }
        Ok((Err(reason),)) => {
            let reason = store.data().lent.abilities.substitutions.undo(&reason);
            Err(wasmtime::Error::msg(format!("{REFUSED_CONFIGURATION}{reason}")))
        }
        Err(error) => Err(match store.data().hit {
            Some(Limit::Time) => error.context("configure ran longer than limits.configure_time allows"),
            Some(Limit::Memory) => error.context("configure is over limits.memory"),
            Some(Limit::HostCalls) => error.context("configure is over limits.host_calls"),
            None => error.context("configure trapped"),
        }),
    }
}

/// Polls a future that never waits.
pub(super) fn poll_once<T>(future: impl Future<Output = T>) -> wasmtime::Result<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => Ok(answer),
        Poll::Pending => Err(wasmtime::Error::msg("the plugin waits where nothing may wait")),
    }
}

/// Precedes the plugin's own words when it rejects its configuration.
pub const REFUSED_CONFIGURATION: &str = "configure refused the configuration: ";
