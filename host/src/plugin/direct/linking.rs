//! Links the core modules of one plugin: each import to a function of the host, to the adapter, or to another module.

use wasmtime::{Engine, Error, Extern, Instance, InstancePre, Linker, Module, ModuleExport, Result, Store};

use super::super::artifact::Import;
use super::super::link::Counts;
use super::super::state::State;
use super::host::{Definition, Delivery};
use super::plan::{Imported, Place, Plan, Source};
use super::{Running, adapter, functions, minimal_wasi, not_there, waiting};

/// A core instance to be created.
pub enum Part {
    /// It imports only host functions.
    Whole(InstancePre<State>),
    /// It also imports exports of other instances.
    Joined { module: Module, linker: Linker<State>, imports: Vec<Origin> },
}

pub enum Origin {
    /// A host function, by the module's names for it.
    Host(String, String),
    /// An export of the adapter.
    Adapter(ModuleExport),
    /// An export of an earlier instance.
    Export(Place),
}

/// The adapter, linked.
pub struct Adapter {
    pub module: InstancePre<State>,
    pub table: ModuleExport,
}

impl Part {
    /// Creates the instance, which is the next after those that are running.
    pub async fn instantiate(&self, store: &mut Store<State>, running: &Running<'_>) -> Result<Instance> {
        let waits = running.adapter.is_some();
        let (module, linker, imports) = match self {
            Part::Whole(pre) if waits => return pre.instantiate_async(store).await,
            Part::Whole(pre) => return pre.instantiate(store),
            Part::Joined { module, linker, imports } => (module, linker, imports),
        };
        let mut given = Vec::with_capacity(imports.len());
        for import in imports {
            given.push(match import {
                Origin::Host(module, name) => linker.get(&mut *store, module, name)?,
                Origin::Adapter(export) => running.adapters(store, export).ok_or_else(not_there)?,
                Origin::Export(place) => running.named(store, place).ok_or_else(not_there)?,
            });
        }
        match waits {
            true => Instance::new_async(store, module, &given).await,
            false => Instance::new(store, module, &given),
        }
    }
}

/// The modules of a plan that are being linked.
pub struct Linking<'a> {
    pub engine: &'a Engine,
    pub plan: &'a Plan,
    /// The plan's allocators, by their numbers.
    pub allocators: &'a [&'a Place],
    pub counts: Counts,
    /// The adapter and its imports, if the plugin may wait.
    pub adapter: Option<(&'a Module, Linker<State>)>,
}

impl Linking<'_> {
    /// Links the modules of the plan's instances, and the adapter.
    pub fn link(mut self, modules: &[Module]) -> Result<(Vec<Part>, Option<Adapter>)> {
        let mut parts = Vec::with_capacity(modules.len());
        for (instance, (planned, module)) in self.plan.instances.iter().zip(modules).enumerate() {
            parts.push(self.part(instance, module, &planned.imports)?);
        }
        let Some((module, mut linker)) = self.adapter else { return Ok((parts, None)) };
        let (host, delivery) = (adapter::HOST, Delivery::Adapter);
        Definition { linker: &mut linker, module: host, name: adapter::PLACE, delivery }.place()?;
        Definition { linker: &mut linker, module: host, name: adapter::RETURNED, delivery }.returned()?;
        linker.define_unknown_imports_as_traps(module)?;
        let table = module.get_export_index(adapter::TABLE).ok_or_else(not_there)?;
        Ok((parts, Some(Adapter { module: linker.instantiate_pre(module)?, table })))
    }

    fn part(&mut self, instance: usize, module: &Module, imports: &[Imported]) -> Result<Part> {
        let mut linker = Linker::new(self.engine);
        let mut origins = Vec::with_capacity(imports.len());
        for (index, import) in imports.iter().enumerate() {
            origins.push(self.origin(import, &adapter::name(instance, index), &mut linker)?);
        }
        // The remaining imports are parts of WASI beyond the minimum.
        linker.define_unknown_imports_as_traps(module)?;
        if origins.iter().all(|origin| matches!(origin, Origin::Host(..))) {
            return Ok(Part::Whole(linker.instantiate_pre(module)?));
        }
        Ok(Part::Joined { module: module.clone(), linker, imports: origins })
    }

    /// Where an import comes from. A function of the host is defined for the adapter, if that exports `adapted` for
    /// it, and else for the module itself.
    fn origin(&mut self, import: &Imported, adapted: &str, linker: &mut Linker<State>) -> Result<Origin> {
        let (module, name) = (import.module.as_str(), import.name.as_str());
        let host = || Origin::Host(module.to_owned(), name.to_owned());
        let (interface, function, realloc) = match &import.source {
            Source::Function { interface, function, realloc } => (interface, function, realloc.as_ref()),
            Source::Export(place) => return Ok(Origin::Export(place.clone())),
            Source::Drop => {
                minimal_wasi::drop(Definition { linker, module, name, delivery: Delivery::Host(None) })?;
                return Ok(host());
            }
        };
        if let Some((adapter, linker)) = &mut self.adapter
            && let Some(export) = adapter.get_export_index(adapted)
        {
            let into = Definition { linker, module: adapter::HOST, name: adapted, delivery: Delivery::Adapter };
            let is_defined = define(into, interface, function, self.counts)?;
            return Ok(if is_defined { Origin::Adapter(export) } else { host() });
        }
        let delivery = Delivery::Host(number(self.allocators, realloc));
        define(Definition { linker, module, name, delivery }, interface, function, self.counts)?;
        Ok(host())
    }
}

/// The number of an allocator.
pub fn number(allocators: &[&Place], place: Option<&Place>) -> Option<usize> {
    allocators.iter().position(|known| Some(*known) == place)
}

/// Defines a function that a component imports. Returns whether there is one; a part of WASI may be missing.
pub fn define(into: Definition<'_>, interface: &str, function: &str, counts: Counts) -> Result<bool> {
    let Some(name) = interface.strip_prefix("gatewright:plugin/").and_then(|name| name.split('@').next()) else {
        return minimal_wasi::define(into, interface, function);
    };
    let is_defined = match Import::of(interface).is_ok_and(|import| import.waits(counts)) {
        true => waiting::define(into, name, function)?,
        false => functions::define(into, name, function)?,
    };
    if is_defined { Ok(true) } else { Err(Error::msg(format!("{interface} has no function {function:?}"))) }
}

impl Running<'_> {
    pub fn adapters(&self, store: &mut Store<State>, export: &ModuleExport) -> Option<Extern> {
        self.adapter?.get_module_export(&mut *store, export)
    }

    fn named(&self, store: &mut Store<State>, place: &Place) -> Option<Extern> {
        self.instances.get(place.instance)?.get_export(&mut *store, &place.name)
    }
}
