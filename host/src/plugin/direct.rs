//! Runs a component's core modules directly, with our own canonical ABI for the contract's types.
//!
//! wasmtime's component calls are general: a hook call costs 2,000 instructions and a host call 900, most of them to
//! look up what never changes. A plugin that never waits needs none of that. Its component is taken apart ([`plan`]):
//! the same compiled modules are instantiated and wired as the component says, and their imports and exports are passed
//! by [`abi`]. The checks are the same (each pointer, string, variant case and length), reading a guest's memory
//! involves no unsafe code, and any other component runs as a component.

mod abi;
mod functions;
mod hook;
mod host;
mod minimal_wasi;
mod plan;
#[cfg(test)]
mod tests;
mod types;
mod values;

use wasmtime::component::Instance as ComponentInstance;
use wasmtime::{
    Engine, Error, Extern, Instance, InstancePre, Linker, Module, ModuleExport, Result, Store, TypedFunc, WasmParams,
    WasmResults,
};

pub(super) use self::hook::{Hook, Parameters, Returned};
pub(super) use self::host::Boundary;
use self::host::Definition;
use self::plan::{Imported, Place, Plan, Source};
use super::artifact::VERSION;
use super::state::State;

/// A component that can run directly, before compilation.
pub(super) struct Apart {
    plan: Plan,
    /// The component, changed to export its core modules too, so that wasmtime hands out the compiled modules.
    pub component: Vec<u8>,
}

impl Apart {
    /// `None` if the component is of another kind.
    pub fn take(component: &[u8]) -> Option<Apart> {
        let plan = plan::read(component)?;
        let count = plan.instances.iter().map(|instance| instance.module + 1).max()?;
        Some(Apart { component: plan::exporting_modules(component, count), plan })
    }

    /// Links the compiled modules, taken from an instance of the component.
    ///
    /// # Errors
    /// It imports something unknown here, so it has to run as a component.
    pub fn link(&self, engine: &Engine, component: &ComponentInstance, store: &mut Store<State>) -> Result<Linked> {
        let module = |index: u32| component.get_module(&mut *store, plan::module_name(index)).ok_or_else(not_there);
        let modules = self.plan.instances.iter().map(|instance| instance.module).map(module).collect::<Result<_>>()?;
        Linked::new(engine, &self.plan, modules)
    }
}

/// Whether an export of a component is one that was added here.
pub(super) fn is_added(export: &str) -> bool {
    plan::is_module_name(export)
}

/// A plugin that runs directly, linked.
pub(super) struct Linked {
    parts: Vec<Part>,
    memory: Export,
    reallocs: Vec<Export>,
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
    /// The number of the allocator for the parameters.
    realloc: Option<usize>,
}

/// A core instance to be created.
enum Part {
    /// It imports only host functions.
    Whole(InstancePre<State>),
    /// It also imports exports of other instances.
    Joined { module: Module, linker: Linker<State>, imports: Vec<Origin> },
}

enum Origin {
    /// A host function, by the module's names for it.
    Host(String, String),
    /// An export of an earlier instance.
    Export(Place),
}

impl Linked {
    fn new(engine: &Engine, plan: &Plan, modules: Vec<Module>) -> Result<Linked> {
        let find = |place: &Place| {
            let export = modules.get(place.instance).and_then(|module| module.get_export_index(&place.name));
            Ok(Export { instance: place.instance, export: export.ok_or_else(not_there)? })
        };
        let mut reallocs = Vec::new();
        let mut parts = Vec::with_capacity(plan.instances.len());
        for (instance, module) in plan.instances.iter().zip(&modules) {
            parts.push(Part::link(engine, module, &instance.imports, &mut reallocs)?);
        }
        let hooks = plan.exports.iter().filter_map(|export| {
            let (package, version) = export.interface.split_once('@')?;
            let interface = package.strip_prefix("gatewright:plugin/").filter(|_| version == VERSION)?;
            Some((interface, export))
        });
        let mut exported = Vec::new();
        for (interface, export) in hooks {
            exported.push(Exported {
                interface: interface.to_owned(),
                function: export.function.clone(),
                core: find(&export.core)?,
                post_return: export.post_return.as_ref().map(find).transpose()?,
                realloc: number(&mut reallocs, export.realloc.as_ref()),
            });
        }
        let reallocs = reallocs.iter().map(find).collect::<Result<_>>()?;
        Ok(Linked { parts, memory: find(&plan.memory)?, reallocs, hooks: exported })
    }

    /// Creates the instances.
    pub fn instantiate(&self, store: &mut Store<State>) -> Result<Running<'_>> {
        let mut running = Running { linked: self, instances: Vec::with_capacity(self.parts.len()) };
        for part in &self.parts {
            let instance = match part {
                Part::Whole(pre) => pre.instantiate(&mut *store)?,
                Part::Joined { module, linker, imports } => {
                    let mut given = Vec::with_capacity(imports.len());
                    for import in imports {
                        given.push(match import {
                            Origin::Host(module, name) => linker.get(&mut *store, module, name)?,
                            Origin::Export(place) => running.named(store, place).ok_or_else(not_there)?,
                        });
                    }
                    Instance::new(&mut *store, module, &given)?
                }
            };
            running.instances.push(instance);
            running.set_boundary(store)?;
        }
        Ok(running)
    }
}

impl Part {
    fn link(engine: &Engine, module: &Module, imports: &[Imported], reallocs: &mut Vec<Place>) -> Result<Part> {
        let mut linker = Linker::new(engine);
        let mut origins = Vec::with_capacity(imports.len());
        for import in imports {
            let (from, name) = (import.module.as_str(), import.name.as_str());
            match &import.source {
                Source::Export(place) => {
                    origins.push(Origin::Export(place.clone()));
                    continue;
                }
                Source::Function { interface, function, realloc } => {
                    let realloc = number(reallocs, realloc.as_ref());
                    let into = Definition { linker: &mut linker, module: from, name, realloc };
                    define(into, interface, function)?;
                }
                Source::Drop => {
                    minimal_wasi::drop(Definition { linker: &mut linker, module: from, name, realloc: None })?
                }
            }
            origins.push(Origin::Host(from.to_owned(), name.to_owned()));
        }
        // The remaining imports are parts of WASI beyond the minimum.
        linker.define_unknown_imports_as_traps(module)?;
        if origins.iter().all(|origin| matches!(origin, Origin::Host(..))) {
            return Ok(Part::Whole(linker.instantiate_pre(module)?));
        }
        Ok(Part::Joined { module: module.clone(), linker, imports: origins })
    }
}

fn define(into: Definition<'_>, interface: &str, function: &str) -> Result<()> {
    let is_defined = match interface.strip_prefix("gatewright:plugin/").and_then(|name| name.split('@').next()) {
        Some(ours) => functions::define(into, ours, function)?,
        None => return minimal_wasi::define(into, interface, function),
    };
    if is_defined { Ok(()) } else { Err(Error::msg(format!("{interface} has no function {function:?}"))) }
}

/// The number of an allocator; each allocator is numbered once.
fn number(reallocs: &mut Vec<Place>, place: Option<&Place>) -> Option<usize> {
    let place = place?;
    let known = reallocs.iter().position(|known| known == place);
    known.or_else(|| {
        reallocs.push(place.clone());
        Some(reallocs.len() - 1)
    })
}

/// The instances of one plugin in a store.
pub(super) struct Running<'a> {
    linked: &'a Linked,
    instances: Vec<Instance>,
}

impl Running<'_> {
    fn named(&self, store: &mut Store<State>, place: &Place) -> Option<Extern> {
        self.instances.get(place.instance)?.get_export(&mut *store, &place.name)
    }

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
        for (number, export) in self.linked.reallocs.iter().enumerate().filter(|(_, export)| export.instance == last) {
            let realloc = self.function(store, export)?;
            store.data_mut().boundary.set_realloc(number, realloc);
        }
        Ok(())
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
        Ok(Some(Hook {
            function: self.function(store, &export.core)?,
            post_return: export.post_return.as_ref().map(|export| self.function(store, export)).transpose()?,
            realloc: export.realloc,
        }))
    }
}

fn not_there() -> Error {
    Error::msg("a core module of the component does not export what another one needs")
}
