//! One instance of a component: a store, and the hooks it has.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use wasmtime::component::{Component, ComponentNamedList, Instance as Guest, InstancePre, Lift, Lower, TypedFunc};
use wasmtime::{Store, StoreContextMut};

use super::artifact::{Artifact, Exports, Import};
use super::bindings::{BodyDecision, Decision};
use super::engine::Engine;
use super::hook_set::HookSet;
use super::lent::Lent;
use super::link::{self, Counts};
use super::state::{Call, Limit, State};

/// Everything it takes to make configured instances of one plugin.
pub(super) struct Prepared {
    engine: Engine,
    pre: InstancePre<State>,
    exports: Exports,
    config: Arc<str>,
    pub lent: Arc<Lent>,
    /// Whether instances must be called on a fiber.
    pub waits: bool,
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
    pub on_complete: Option<TypedFunc<(), ()>>,
    pub on_tick: Option<TypedFunc<(), (Option<u32>,)>>,
}

type ConfigureHook = TypedFunc<(String,), (Result<(), String>,)>;
pub(super) type HeaderHook = TypedFunc<(bool,), (Decision,)>;
pub(super) type BodyHook = TypedFunc<(Vec<u8>, bool), (BodyDecision,)>;

impl Prepared {
    pub fn new(engine: &Engine, artifact: &Artifact, lent: Arc<Lent>, config: Arc<str>) -> wasmtime::Result<Prepared> {
        let linker = link::linker(engine, artifact.component(), artifact.imports(), lent.counts())?;
        Ok(Prepared {
            engine: engine.clone(),
            pre: linker.instantiate_pre(artifact.component())?,
            exports: *artifact.exports(),
            config,
            waits: artifact.waits(lent.counts()),
            lent,
        })
    }

    /// A configured instance of a plugin that never waits.
    ///
    /// # Errors
    /// The pool is full, the guest trapped or ran into a limit, or it refused the configuration.
    pub fn instantiate(&self) -> wasmtime::Result<Instance> {
        let mut store = new_store(&self.engine, &self.lent, &self.exports);
        arm(&mut store, Call::Configure);
        let guest = self.pre.instantiate(&mut store)?;
        let hooks = Hooks::find(&self.exports, &guest, &mut store)?;
        let configure = self.configure(&guest, &mut store)?;
        let answer = configure.call(&mut store, (self.config.to_string(),));
        finish(store, hooks, answer)
    }

    /// The same on a fiber.
    pub async fn instantiate_async(&self) -> wasmtime::Result<Instance> {
        let mut store = new_store(&self.engine, &self.lent, &self.exports);
        arm(&mut store, Call::Configure);
        let guest = self.pre.instantiate_async(&mut store).await?;
        let hooks = Hooks::find(&self.exports, &guest, &mut store)?;
        let configure = self.configure(&guest, &mut store)?;
        let answer = configure.call_async(&mut store, (self.config.to_string(),)).await;
        finish(store, hooks, answer)
    }

    /// Makes one instance either way, for the trial when a plugin is loaded. Nothing waits in `configure`, since
    /// callouts are refused there, so one poll is all it takes.
    pub fn trial(&self) -> wasmtime::Result<Instance> {
        if self.waits { poll_once(self.instantiate_async())? } else { self.instantiate() }
    }

    fn configure(&self, guest: &Guest, store: &mut Store<State>) -> wasmtime::Result<ConfigureHook> {
        guest.get_typed_func(store, self.exports.configure)
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.store.data().lent.abilities.counters.instance_dropped();
    }
}

impl Hooks {
    fn find(exports: &Exports, guest: &Guest, store: &mut Store<State>) -> wasmtime::Result<Hooks> {
        Ok(Hooks {
            on_request: typed(guest, store, exports.on_request)?,
            on_request_body: typed(guest, store, exports.on_request_body)?,
            on_response: typed(guest, store, exports.on_response)?,
            on_response_body: typed(guest, store, exports.on_response_body)?,
            on_complete: typed(guest, store, exports.on_complete)?,
            on_tick: typed(guest, store, exports.on_tick)?,
        })
    }
}

/// Asks a component for its manifest, in an instance that is thrown away.
pub(super) fn describe(
    engine: &Engine,
    component: &Component,
    imports: &[Import],
    exports: &Exports,
) -> Result<String, String> {
    let work = async {
        let linker = link::linker(engine, component, imports, Counts::Own)?;
        let mut store = new_store(engine, &Lent::nothing(), exports);
        arm(&mut store, Call::Describe);
        let guest = linker.instantiate_pre(component)?.instantiate_async(&mut store).await?;
        let describe: TypedFunc<(), (String,)> = guest.get_typed_func(&mut store, exports.describe)?;
        Ok(describe.call_async(&mut store, ()).await?.0)
    };
    poll_once(work).and_then(|answer| answer).map_err(|error: wasmtime::Error| super::explain(&error))
}

/// Sets the deadline of the call that comes next.
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
        Ok((Err(reason),)) => Err(wasmtime::Error::msg(format!("configure refused the configuration: {reason}"))),
        Err(error) => Err(match store.data().hit {
            Some(Limit::Time) => error.context("configure ran longer than limits.configure_time allows"),
            Some(Limit::Memory) => error.context("configure is over limits.memory"),
            Some(Limit::HostCalls) => error.context("configure is over limits.host_calls"),
            None => error.context("configure trapped"),
        }),
    }
}

fn typed<P, R>(
    guest: &Guest,
    store: &mut Store<State>,
    index: Option<wasmtime::component::ComponentExportIndex>,
) -> wasmtime::Result<Option<TypedFunc<P, R>>>
where
    P: ComponentNamedList + Lower,
    R: ComponentNamedList + Lift,
{
    index.map(|index| guest.get_typed_func(store, index)).transpose()
}

/// Polls a future that has nothing to wait for.
fn poll_once<T>(future: impl Future<Output = T>) -> wasmtime::Result<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => Ok(answer),
        Poll::Pending => Err(wasmtime::Error::msg("the plugin waits where nothing may wait")),
    }
}
