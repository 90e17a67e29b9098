//! Runs a component's core modules directly, with our own canonical ABI for the contract's types.
//!
//! wasmtime's component calls are general: a hook call costs 2,000 instructions and a host call 900, most of them to
//! look up what never changes. A plugin needs none of that. Its component is taken apart ([`plan`]): the same compiled
//! modules are instantiated and wired as the component says, and their imports and exports are passed by [`abi`]. The
//! checks are the same (each pointer, string, variant case and length), reading a guest's memory involves no unsafe
//! code, and a component that is not put together in the usual way runs as a component.

mod abi;
mod adapter;
mod functions;
mod hook;
mod host;
mod linking;
mod minimal_wasi;
mod outgoing;
mod plan;
#[cfg(test)]
mod tests;
mod types;
mod values;
mod waiting;

use std::sync::Arc;

use wasmtime::component::Instance as ComponentInstance;
use wasmtime::{
    Engine, Error, Extern, Instance, Linker, Module, ModuleExport, Ref, Result, Store, Table, TypedFunc, WasmParams,
    WasmResults,
};

pub(super) use self::hook::{Hook, Parameters, Returned};
pub(super) use self::host::Boundary;
use self::linking::{Adapter, Linking, Part};
use self::plan::{Place, Plan, Source};
use super::artifact::{Import, VERSION};
use super::link::Counts;
use super::state::State;

/// A component that can run directly, before compilation.
pub(super) struct Apart {
    plan: Plan,
    /// The number of the component's own core modules. The adapter, if it has one, comes after them.
    modules: u32,
    /// The component, changed to export its core modules too, so that wasmtime hands out the compiled modules.
    pub component: Vec<u8>,
}

impl Apart {
    /// `None` if the component is of another kind.
    pub fn take(component: &[u8]) -> Option<Apart> {
        let (plan, modules) = plan::read(component)?;
        let count = u32::try_from(modules.len()).ok()?;
        let component = match waits(&plan, Counts::Shared) {
            true => {
                let with_adapter = plan::with_module(component, &adapter::module(&plan, &modules)?);
                plan::exporting_modules(&with_adapter, count + 1)
            }
            false => plan::exporting_modules(component, count),
        };
        Some(Apart { plan, modules: count, component })
    }

    /// Links the compiled modules, taken from an instance of the component.
    ///
    /// # Errors
    /// It imports something unknown here, so it has to run as a component.
    pub fn link(&self, engine: &Engine, component: &ComponentInstance, store: &mut Store<State>) -> Result<Direct> {
        let mut module = |index: u32| component.get_module(&mut *store, plan::module_name(index)).ok_or_else(not_there);
        let modules = self.plan.instances.iter().map(|instance| module(instance.module)).collect::<Result<Vec<_>>>()?;
        let mut link = |counts| {
            let adapter = waits(&self.plan, counts).then(|| module(self.modules)).transpose()?;
            Linked::new(engine, &self.plan, &modules, adapter.as_ref(), counts).map(Arc::new)
        };
        Ok(Direct { own: link(Counts::Own)?, shared: link(Counts::Shared)? })
    }
}

/// Whether something that the plugin imports may wait.
fn waits(plan: &Plan, counts: Counts) -> bool {
    plan.instances.iter().flat_map(|instance| &instance.imports).any(|import| match &import.source {
        Source::Function { interface, .. } => Import::of(interface).is_ok_and(|import| import.waits(counts)),
        Source::Drop | Source::Export(_) => false,
    })
}

/// A plugin that runs directly, linked for each place where its counts may be.
pub(super) struct Direct {
    own: Arc<Linked>,
    shared: Arc<Linked>,
}

impl Direct {
    pub fn with(&self, counts: Counts) -> &Arc<Linked> {
        match counts {
            Counts::Own => &self.own,
            Counts::Shared => &self.shared,
        }
    }
}

/// Whether an export of a component is one that was added here.
pub(super) fn is_added(export: &str) -> bool {
    plan::is_module_name(export)
}

/// A plugin that runs directly, linked.
pub(super) struct Linked {
    /// Of a plugin that may wait.
    adapter: Option<Adapter>,
    parts: Vec<Part>,
    memory: Export,
    allocators: Vec<Export>,
    hooks: Vec<Exported>,
}

/// An export of one of the instances, resolved.
struct Export {
    instance: usize,
    export: ModuleExport,
}

/// A function of the contract that the plugin exports.
struct Exported {
    /// The name in the contract, without package and version.
    interface: String,
    function: String,
    core: Export,
    post_return: Option<Export>,
    adapted: Option<Adapted>,
    /// The number of the allocator for the parameters.
    realloc: Option<usize>,
}

/// A hook that is called through the adapter.
struct Adapted {
    /// The adapter's function.
    function: ModuleExport,
    /// Where the adapter looks for the hook and its post-return function.
    slots: [u64; 2],
}

impl Linked {
    fn new(
        engine: &Engine,
        plan: &Plan,
        modules: &[Module],
        adapter: Option<&Module>,
        counts: Counts,
    ) -> Result<Linked> {
        let find = |place: &Place| {
            let export = modules.get(place.instance).and_then(|module| module.get_export_index(&place.name));
            Ok(Export { instance: place.instance, export: export.ok_or_else(not_there)? })
        };
        let allocators = plan.allocators();
        let adapted = |index| {
            let function = adapter?.get_export_index(&adapter::hook_name(index))?;
            Some(Adapted { function, slots: adapter::slots(allocators.len(), index) })
        };
        let hooks = plan.exports.iter().enumerate().filter_map(|(index, export)| {
            let (package, version) = export.interface.split_once('@')?;
            let interface = package.strip_prefix("gatewright:plugin/").filter(|_| version == VERSION)?;
            Some((interface, export, adapted(index)))
        });
        let mut exported = Vec::new();
        for (interface, export, adapted) in hooks {
            exported.push(Exported {
                adapted,
                interface: interface.to_owned(),
                function: export.function.clone(),
                core: find(&export.core)?,
                post_return: export.post_return.as_ref().map(find).transpose()?,
                realloc: linking::number(&allocators, export.realloc.as_ref()),
            });
        }
        let adapter = adapter.map(|adapter| (adapter, Linker::new(engine)));
        let linking = Linking { engine, plan, allocators: &allocators, counts, adapter };
        let (parts, adapter) = linking.link(modules)?;
        let allocators = allocators.into_iter().map(find).collect::<Result<_>>()?;
        Ok(Linked { adapter, parts, memory: find(&plan.memory)?, allocators, hooks: exported })
    }

    /// Whether a hook of this plugin may wait, and so needs a fiber.
    pub fn waits(&self) -> bool {
        self.adapter.is_some()
    }

    /// Creates the instances. Waits for nothing if the plugin never does.
    pub async fn instantiate(&self, store: &mut Store<State>) -> Result<Running<'_>> {
        let adapter = match &self.adapter {
            Some(adapter) => Some(adapter.module.instantiate_async(&mut *store).await?),
            None => None,
        };
        let mut running = Running { linked: self, adapter, instances: Vec::with_capacity(self.parts.len()) };
        for part in &self.parts {
            let instance = part.instantiate(store, &running).await?;
            running.instances.push(instance);
            running.set_boundary(store)?;
        }
        Ok(running)
    }
}

/// The instances of one plugin in a store.
pub(super) struct Running<'a> {
    linked: &'a Linked,
    adapter: Option<Instance>,
    instances: Vec<Instance>,
}

impl Running<'_> {
    fn export(&self, store: &mut Store<State>, export: &Export) -> Option<Extern> {
        self.instances.get(export.instance)?.get_module_export(&mut *store, &export.export)
    }

    fn function<P: WasmParams, R: WasmResults>(
        &self,
        store: &mut Store<State>,
        export: &Export,
    ) -> Result<TypedFunc<P, R>> {
        let function = self.export(store, export).and_then(Extern::into_func);
        function.ok_or_else(not_there)?.typed(&mut *store)
    }

    /// Registers the last instance's part of the boundary, which the start function of the next instance may need.
    fn set_boundary(&self, store: &mut Store<State>) -> Result<()> {
        let last = self.instances.len().saturating_sub(1);
        if self.linked.memory.instance == last {
            let memory = self.export(store, &self.linked.memory).and_then(Extern::into_memory);
            store.data_mut().boundary.set_memory(memory.ok_or_else(not_there)?);
        }
        let allocators = self.linked.allocators.iter().enumerate();
        for (number, export) in allocators.filter(|(_, export)| export.instance == last) {
            let allocator = self.function(store, export)?;
            if let Some(table) = self.table(store)? {
                table.set(&mut *store, number as u64, Ref::Func(Some(*allocator.func())))?;
            }
            store.data_mut().boundary.set_realloc(number, allocator);
        }
        Ok(())
    }

    /// The adapter's table of the guest's functions.
    fn table(&self, store: &mut Store<State>) -> Result<Option<Table>> {
        let Some(adapter) = &self.linked.adapter else { return Ok(None) };
        let table = self.adapters(store, &adapter.table).and_then(Extern::into_table);
        table.ok_or_else(not_there).map(Some)
    }

    /// A function of the plugin, if it exports it.
    pub fn hook<P: Parameters, R: Returned>(
        &self,
        store: &mut Store<State>,
        interface: &str,
        function: &str,
    ) -> Result<Option<Hook<P, R>>> {
        let is_it = |export: &&Exported| export.interface == interface && export.function == function;
        let Some(export) = self.linked.hooks.iter().find(is_it) else { return Ok(None) };
        let realloc = export.realloc;
        let function = self.function::<P::Core, R::Core>(store, &export.core)?;
        let post_return = export.post_return.as_ref().map(|export| self.function::<R::Core, ()>(store, export));
        let post_return = post_return.transpose()?;
        let (Some(called), Some(adapted), Some(table)) = (&post_return, &export.adapted, self.table(store)?) else {
            return Ok(Some(Hook { function, post_return, is_adapted: false, realloc }));
        };
        for (slot, called) in adapted.slots.into_iter().zip([*function.func(), *called.func()]) {
            table.set(&mut *store, slot, Ref::Func(Some(called)))?;
        }
        let function = self.adapters(store, &adapted.function).and_then(Extern::into_func).ok_or_else(not_there)?;
        Ok(Some(Hook { function: function.typed(&mut *store)?, post_return: None, is_adapted: true, realloc }))
    }
}

fn not_there() -> Error {
    Error::msg("a core module of the component does not export what another one needs")
}
