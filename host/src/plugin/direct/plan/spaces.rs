//! Reads a component section by section into its index spaces, until the plan is known.
//!
//! Everything in a component is named by its number among things of its kind, and definitions, aliases, imports and
//! even exports each add one. So all kinds are counted, and what is not understood ends the reading.

use std::collections::HashMap;

use wasmparser::{
    CanonicalFunction, CanonicalOption, Chunk, ComponentAlias, ComponentExport, ComponentExternName,
    ComponentExternalKind as Kind, ComponentImport, ComponentInstance, ComponentOuterAliasKind as OuterKind,
    ComponentType, ComponentTypeRef, Encoding, ExternalKind, FromReader, Instance as CoreDefinition, Parser, Payload,
    SectionLimited, TypeBounds,
};

use super::{CoreInstance, Imported, Lifted, Place, Plan, Source, is_module_name};

/// The plan of a component as written, and the bytes of its core modules.
pub(super) fn read(component: &[u8]) -> Option<(Plan, Vec<&[u8]>)> {
    let mut spaces = Spaces::default();
    for payload in sections(component)? {
        spaces.section(component, payload)?;
    }
    let plan = Plan { instances: spaces.planned, memory: spaces.memory?, exports: spaces.exports };
    Some((plan, spaces.modules))
}

/// The index spaces of the component, as read so far.
#[derive(Default)]
struct Spaces<'a> {
    /// The number of items read so far.
    items: usize,
    planned: Vec<CoreInstance>,
    memory: Option<Place>,
    exports: Vec<Lifted>,

    modules: Vec<&'a [u8]>,
    core_instances: Vec<CoreItems<'a>>,
    core_functions: Vec<Source>,
    tables: Vec<Source>,
    memories: Vec<Source>,
    globals: Vec<Source>,
    tags: Vec<Source>,

    components: Vec<Wrapper<'a>>,
    instances: Vec<Instance<'a>>,
    functions: Vec<Function<'a>>,
    /// Whether each type is from an imported instance: a resource among those is not the component's own.
    types: Vec<bool>,
}

/// The exports of a core instance.
enum CoreItems<'a> {
    /// A module's instance, by its index in the plan.
    Planned(usize),
    /// Items from several places, combined under new names.
    Bag(HashMap<&'a str, Source>),
}

/// A component's function.
#[derive(Clone)]
enum Function<'a> {
    Imported { interface: &'a str, function: &'a str },
    Lifted { core: Place, realloc: Option<Place>, post_return: Option<Place> },
}

/// An instance of a component.
#[derive(Clone)]
enum Instance<'a> {
    Imported(&'a str),
    /// An instance nested in an imported one.
    Inner,
    /// Composed of the component's own functions.
    Made(Vec<(&'a str, Function<'a>)>),
}

/// A nested component that only changes the types of functions: each export's name, with that of the import behind it.
type Wrapper<'a> = Vec<(&'a str, &'a str)>;

/// The options of a lowered or lifted function, besides the memory.
#[derive(Default)]
struct Options {
    realloc: Option<Place>,
    post_return: Option<Place>,
}

impl<'a> Spaces<'a> {
    fn section(&mut self, component: &'a [u8], payload: Payload<'a>) -> Option<()> {
        match payload {
            Payload::Version { encoding: Encoding::Component, .. } | Payload::End(_) => Some(()),
            Payload::CustomSection(_) | Payload::CoreTypeSection(_) => Some(()),
            Payload::ModuleSection { unchecked_range, .. } => {
                self.modules.push(part(component, &unchecked_range)?);
                Some(())
            }
            Payload::ComponentSection { unchecked_range, .. } => {
                self.components.push(wrapper(part(component, &unchecked_range)?)?);
                Some(())
            }
            Payload::ComponentTypeSection(types) => self.each(types, |spaces, defined| spaces.define(&defined)),
            Payload::InstanceSection(instances) => self.each(instances, Spaces::core_instance),
            Payload::ComponentInstanceSection(instances) => self.each(instances, Spaces::instance),
            Payload::ComponentAliasSection(aliases) => self.each(aliases, Spaces::alias),
            Payload::ComponentCanonicalSection(functions) => self.each(functions, Spaces::canonical),
            Payload::ComponentImportSection(imports) => self.each(imports, Spaces::import),
            Payload::ComponentExportSection(exports) => self.each(exports, Spaces::export),
            _ => None,
        }
    }

    fn each<T: FromReader<'a>>(
        &mut self,
        section: SectionLimited<'a, T>,
        mut one: impl FnMut(&mut Self, T) -> Option<()>,
    ) -> Option<()> {
        each(section, |item| {
            self.count(1)?;
            one(self, item)
        })
    }

    fn count(&mut self, items: usize) -> Option<()> {
        self.items = self.items.checked_add(items)?;
        (self.items <= MOST_ITEMS).then_some(())
    }

    fn define(&mut self, defined: &ComponentType<'a>) -> Option<()> {
        if matches!(defined, ComponentType::Resource { .. }) {
            return None;
        }
        self.types.push(false);
        Some(())
    }

    fn core_instance(&mut self, definition: CoreDefinition<'a>) -> Option<()> {
        let items = match definition {
            CoreDefinition::Instantiate { module_index, args } => {
                let given: HashMap<_, _> = args.iter().map(|arg| (arg.name, arg.index)).collect();
                let mut imports = Vec::new();
                for (module, name) in imports_of(at(&self.modules, module_index)?)? {
                    self.count(1)?;
                    let source = self.core_export(*given.get(module)?, name)?;
                    imports.push(Imported { module: module.to_owned(), name: name.to_owned(), source });
                }
                self.planned.push(CoreInstance { module: module_index, imports });
                CoreItems::Planned(self.planned.len() - 1)
            }
            CoreDefinition::FromExports(exports) => {
                let mut bag = HashMap::new();
                for export in exports {
                    self.count(1)?;
                    bag.insert(export.name, at(self.core_space(export.kind)?, export.index)?);
                }
                CoreItems::Bag(bag)
            }
        };
        self.core_instances.push(items);
        Some(())
    }

    fn core_space(&mut self, kind: ExternalKind) -> Option<&mut Vec<Source>> {
        Some(match kind {
            ExternalKind::Func => &mut self.core_functions,
            ExternalKind::Table => &mut self.tables,
            ExternalKind::Memory => &mut self.memories,
            ExternalKind::Global => &mut self.globals,
            ExternalKind::Tag => &mut self.tags,
            ExternalKind::FuncExact => return None,
        })
    }

    fn core_export(&self, instance: u32, name: &str) -> Option<Source> {
        match self.core_instances.get(usize::try_from(instance).ok()?)? {
            CoreItems::Planned(instance) => Some(Source::Export(Place { instance: *instance, name: name.to_owned() })),
            CoreItems::Bag(bag) => bag.get(name).cloned(),
        }
    }

    fn instance(&mut self, definition: ComponentInstance<'a>) -> Option<()> {
        let mut functions = Vec::new();
        match definition {
            ComponentInstance::Instantiate { component_index, args } => {
                let given: HashMap<_, _> =
                    args.iter().filter(|arg| arg.kind == Kind::Func).map(|arg| (arg.name, arg.index)).collect();
                for (export, import) in self.components.get(usize::try_from(component_index).ok()?)? {
                    functions.push((*export, at(&self.functions, *given.get(import)?)?));
                }
            }
            ComponentInstance::FromExports(exports) => {
                for export in exports {
                    match export.kind {
                        Kind::Func => functions.push((plain(export.name)?, at(&self.functions, export.index)?)),
                        Kind::Type => {}
                        _ => return None,
                    }
                }
            }
        }
        self.count(functions.len())?;
        self.instances.push(Instance::Made(functions));
        Some(())
    }

    fn alias(&mut self, alias: ComponentAlias<'a>) -> Option<()> {
        match alias {
            ComponentAlias::CoreInstanceExport { kind, instance_index, name } => {
                let source = self.core_export(instance_index, name)?;
                self.core_space(kind)?.push(source);
            }
            ComponentAlias::InstanceExport { kind, instance_index, name } => {
                let instance = self.instances.get(usize::try_from(instance_index).ok()?)?;
                match (kind, instance) {
                    (Kind::Func, Instance::Imported(interface)) => {
                        self.functions.push(Function::Imported { interface, function: name });
                    }
                    (Kind::Func, Instance::Made(functions)) => {
                        let (_, function) = functions.iter().find(|(own, _)| *own == name)?;
                        self.functions.push(function.clone());
                    }
                    (Kind::Type, instance) => self.types.push(!matches!(instance, Instance::Made(_))),
                    (Kind::Instance, Instance::Imported(_) | Instance::Inner) => self.instances.push(Instance::Inner),
                    _ => return None,
                }
            }
            ComponentAlias::Outer { kind: OuterKind::Type, count: 0, index } => {
                self.types.push(at(&self.types, index)?)
            }
            ComponentAlias::Outer { kind: OuterKind::CoreType, .. } => {}
            ComponentAlias::Outer { .. } => return None,
        }
        Some(())
    }

    fn canonical(&mut self, function: CanonicalFunction) -> Option<()> {
        match function {
            CanonicalFunction::Lower { func_index, options } => {
                let Options { realloc, post_return: None } = self.options(&options)? else { return None };
                let Function::Imported { interface, function } = at(&self.functions, func_index)? else { return None };
                let (interface, function) = (interface.to_owned(), function.to_owned());
                self.core_functions.push(Source::Function { interface, function, realloc });
            }
            CanonicalFunction::Lift { core_func_index, options, .. } => {
                let Options { realloc, post_return } = self.options(&options)?;
                let core = place(&self.core_functions, core_func_index)?;
                self.functions.push(Function::Lifted { core, realloc, post_return });
            }
            CanonicalFunction::ResourceDrop { resource } if at(&self.types, resource)? => {
                self.core_functions.push(Source::Drop);
            }
            _ => return None,
        }
        Some(())
    }

    /// `None` for an option that a plan cannot express, or for a second memory.
    fn options(&mut self, options: &[CanonicalOption]) -> Option<Options> {
        let mut found = Options::default();
        for option in options {
            match *option {
                CanonicalOption::UTF8 => {}
                CanonicalOption::Memory(index) => {
                    let memory = place(&self.memories, index)?;
                    if *self.memory.get_or_insert_with(|| memory.clone()) != memory {
                        return None;
                    }
                }
                CanonicalOption::Realloc(index) => found.realloc = Some(place(&self.core_functions, index)?),
                CanonicalOption::PostReturn(index) => found.post_return = Some(place(&self.core_functions, index)?),
                _ => return None,
            }
        }
        Some(found)
    }

    fn import(&mut self, import: ComponentImport<'a>) -> Option<()> {
        match import.ty {
            ComponentTypeRef::Instance(_) => self.instances.push(Instance::Imported(plain(import.name)?)),
            ComponentTypeRef::Type(TypeBounds::Eq(index)) => self.types.push(at(&self.types, index)?),
            ComponentTypeRef::Type(TypeBounds::SubResource) => self.types.push(false),
            _ => return None,
        }
        Some(())
    }

    fn export(&mut self, export: ComponentExport<'a>) -> Option<()> {
        let name = plain(export.name)?;
        if is_module_name(name) {
            return None;
        }
        match export.kind {
            Kind::Instance => {
                let Instance::Made(functions) = at(&self.instances, export.index)? else { return None };
                self.count(functions.len())?;
                for (function, lifted) in &functions {
                    let Function::Lifted { core, realloc, post_return } = lifted.clone() else { return None };
                    let (interface, function) = (name.to_owned(), (*function).to_owned());
                    self.exports.push(Lifted { interface, function, core, realloc, post_return });
                }
                self.instances.push(Instance::Made(functions));
            }
            Kind::Func => self.functions.push(at(&self.functions, export.index)?),
            Kind::Type => self.types.push(at(&self.types, export.index)?),
            _ => return None,
        }
        Some(())
    }
}

/// Reads a nested component; `None` if it contains more than types and functions that are passed through.
fn wrapper(component: &[u8]) -> Option<Wrapper<'_>> {
    let mut imports = Vec::new();
    let mut exports = Vec::new();
    for payload in sections(component)? {
        match payload {
            Payload::Version { encoding: Encoding::Component, .. } | Payload::End(_) => {}
            Payload::CustomSection(_) | Payload::CoreTypeSection(_) => {}
            Payload::ComponentTypeSection(types) => {
                each(types, |defined| (!matches!(defined, ComponentType::Resource { .. })).then_some(()))?;
            }
            Payload::ComponentAliasSection(aliases) => each(aliases, |alias| match alias {
                ComponentAlias::InstanceExport { kind: Kind::Type, .. } => Some(()),
                ComponentAlias::Outer { kind: OuterKind::Type | OuterKind::CoreType, .. } => Some(()),
                _ => None,
            })?,
            Payload::ComponentImportSection(section) => each(section, |import| match import.ty {
                ComponentTypeRef::Func(_) => {
                    imports.push(plain(import.name)?);
                    Some(())
                }
                ComponentTypeRef::Type(_) | ComponentTypeRef::Instance(_) => Some(()),
                _ => None,
            })?,
            Payload::ComponentExportSection(section) => each(section, |export| match export.kind {
                Kind::Func => {
                    let import = at(&imports, export.index)?;
                    exports.push((plain(export.name)?, import));
                    imports.push(import);
                    Some(())
                }
                Kind::Type => Some(()),
                _ => None,
            })?,
            _ => return None,
        }
    }
    Some(exports)
}

/// The sections of a component, without those of components nested in it.
fn sections(component: &[u8]) -> Option<Vec<Payload<'_>>> {
    let mut parser = Parser::new(0);
    let mut rest = component;
    let mut sections = Vec::new();
    loop {
        let Chunk::Parsed { consumed, payload } = parser.parse(rest, true).ok()? else { return None };
        rest = rest.get(consumed..)?;
        if let Payload::ModuleSection { unchecked_range, .. } | Payload::ComponentSection { unchecked_range, .. } =
            &payload
        {
            let nested = unchecked_range.end.checked_sub(unchecked_range.start)?;
            rest = rest.get(usize::try_from(nested).ok()?..)?;
        }
        let end = matches!(payload, Payload::End(_));
        sections.push(payload);
        if end {
            return Some(sections);
        }
    }
}

/// The names of a core module's imports.
fn imports_of(module: &[u8]) -> Option<Vec<(&str, &str)>> {
    for payload in Parser::new(0).parse_all(module) {
        match payload.ok()? {
            Payload::ImportSection(imports) => {
                return imports.into_imports().map(|import| import.ok().map(|it| (it.module, it.name))).collect();
            }
            // Imports come before the code, which may be large.
            Payload::CodeSectionStart { .. } => break,
            _ => {}
        }
    }
    Some(Vec::new())
}

/// Calls `one` for each item of a section, until an item is not understood.
fn each<'a, T: FromReader<'a>>(section: SectionLimited<'a, T>, mut one: impl FnMut(T) -> Option<()>) -> Option<()> {
    section.into_iter().try_for_each(|item| one(item.ok()?))
}

fn part<'a>(component: &'a [u8], range: &std::ops::Range<u64>) -> Option<&'a [u8]> {
    component.get(usize::try_from(range.start).ok()?..usize::try_from(range.end).ok()?)
}

pub(super) fn at<T: Clone>(space: &[T], index: u32) -> Option<T> {
    space.get(usize::try_from(index).ok()?).cloned()
}

fn place(space: &[Source], index: u32) -> Option<Place> {
    match at(space, index)? {
        Source::Export(place) => Some(place),
        Source::Function { .. } | Source::Drop => None,
    }
}

/// A name without attributes that refer to another interface.
fn plain<'a>(name: ComponentExternName<'a>) -> Option<&'a str> {
    (name.implements.is_none() && name.version_suffix.is_none()).then_some(name.name)
}

/// Limit on the items of a component, so that one made to be slow to read does not hold up the gateway: some names are
/// found by linear search. A component with more has no plan. A CPython whose extensions are modules of their own has
/// 6,000, a plugin in Rust 200.
const MOST_ITEMS: usize = 20_000;
