//! Takes away what wit-component adds so that a module can import functions that need the module's own memory.
//!
//! A lowered function needs the memory of the module, which is there only once the module is instantiated, which needs
//! its imports. So the module gets a *shim*'s functions, each of which calls what is in a slot of a table, and once all
//! is instantiated a *fixup* writes the lowered functions into the slots. Who runs core modules itself can give the
//! module the lowered functions at once: then both instances go, and with them an indirect call for each call.
//!
//! Both are known by their code alone, to the last instruction. If anything is different they stay.

use std::collections::HashMap;
use std::rc::Rc;

use wasmparser::{ConstExpr, ElementSectionReader, RefType, TableInit, TableSectionReader, TypeRef, TypeSectionReader};
use wasmparser::{ElementItems, ElementKind, ExternalKind, FuncType, FunctionBody, Operator, Parser, Payload};

use super::spaces::at;
use super::{Place, Plan, Source};

/// The plan without shim and fixup, if it has both and nothing else needs them.
pub(super) fn without(plan: &Plan, modules: &[&[u8]]) -> Option<Plan> {
    let fixup = plan.instances.len().checked_sub(1)?;
    let (shim, lowered) = lowered(plan, modules, fixup)?;

    let mut plan = plan.clone();
    plan.instances.truncate(fixup);
    plan.instances.remove(shim);
    for import in plan.instances.iter_mut().flat_map(|instance| &mut instance.imports) {
        if let Source::Export(place) = &import.source
            && place.instance == shim
        {
            import.source = lowered.get(&place.name)?.clone();
        }
        match &mut import.source {
            Source::Function { realloc, .. } => {
                realloc.iter_mut().try_for_each(|place| renumber(place, shim, fixup))?
            }
            Source::Export(place) => renumber(place, shim, fixup)?,
            Source::Drop => {}
        }
    }
    renumber(&mut plan.memory, shim, fixup)?;
    for export in &mut plan.exports {
        let others = export.realloc.iter_mut().chain(&mut export.post_return);
        others.chain([&mut export.core]).try_for_each(|place| renumber(place, shim, fixup))?;
    }
    Some(plan)
}

/// Adjusts a place to the removal of the two instances; `None` if it is in one of them.
fn renumber(place: &mut Place, shim: usize, fixup: usize) -> Option<()> {
    if place.instance == shim || place.instance == fixup {
        return None;
    }
    if place.instance > shim {
        place.instance -= 1;
    }
    Some(())
}

/// The shim that the fixup belongs to, and what each of the shim's functions finally calls, by name.
fn lowered(plan: &Plan, modules: &[&[u8]], fixup: usize) -> Option<(usize, HashMap<String, Source>)> {
    let instance = plan.instances.get(fixup)?;
    let fixup = Fixup::read(at(modules, instance.module)?)?;
    let Source::Export(table) = &instance.imports.get(fixup.table)?.source else { return None };
    let shim_instance = plan.instances.get(table.instance)?;
    let shim = Shim::read(at(modules, shim_instance.module)?)?;
    if u64::try_from(fixup.written.len()).ok()? > shim.slots {
        return None;
    }

    let mut slots = Vec::new();
    for (import, signature) in fixup.written {
        match &instance.imports.get(import)?.source {
            Source::Export(_) => return None,
            source => slots.push((source, signature)),
        }
    }
    let mut lowered = HashMap::new();
    for (name, function) in shim.functions {
        let (source, signature) = slots.get(function.slot)?;
        if *signature != function.signature {
            return None;
        }
        lowered.insert(name, (*source).clone());
    }
    Some((table.instance, lowered))
}

/// A module that only writes imported functions into an imported table.
struct Fixup {
    /// Index of the import that is the table.
    table: usize,
    /// Index of the import that is written to each slot, from the first slot on.
    written: Vec<(usize, Rc<FuncType>)>,
}

impl Fixup {
    fn read(module: &[u8]) -> Option<Fixup> {
        let (mut types, mut functions, mut table, mut written) = (Vec::new(), Vec::new(), None, None);
        for payload in Parser::new(0).parse_all(module) {
            match payload.ok()? {
                Payload::Version { .. } | Payload::CustomSection(_) | Payload::End(_) => {}
                Payload::TypeSection(section) => types = signatures_of(section)?,
                Payload::ImportSection(section) => {
                    for (index, import) in section.into_imports().enumerate() {
                        match import.ok()?.ty {
                            TypeRef::Func(signature) => functions.push((index, at(&types, signature)?)),
                            TypeRef::Table(_) if table.is_none() => table = Some(index),
                            _ => return None,
                        }
                    }
                }
                Payload::ElementSection(section) => {
                    let indices = only_segment(section)?;
                    written = Some(indices.into_iter().map(|index| at(&functions, index)).collect::<Option<_>>()?);
                }
                _ => return None,
            }
        }
        Some(Fixup { table: table?, written: written? })
    }
}

/// A module each of whose functions calls the function in one slot of its table.
struct Shim {
    /// The number of slots in the table.
    slots: u64,
    /// The functions by their export names.
    functions: Vec<(String, ShimFunction)>,
}

#[derive(Clone)]
struct ShimFunction {
    signature: Rc<FuncType>,
    slot: usize,
}

impl Shim {
    fn read(module: &[u8]) -> Option<Shim> {
        let (mut types, mut signatures, mut slots, mut exports) = (Vec::new(), Vec::new(), None, Vec::new());
        let mut functions = Vec::new();
        for payload in Parser::new(0).parse_all(module) {
            match payload.ok()? {
                Payload::Version { .. } | Payload::CustomSection(_) | Payload::End(_) => {}
                Payload::TypeSection(section) => types = signatures_of(section)?,
                Payload::FunctionSection(section) => signatures = all(section)?,
                Payload::TableSection(section) => slots = Some(only_table(section)?),
                Payload::ExportSection(section) => exports = all(section)?,
                Payload::CodeSectionStart { .. } => {}
                Payload::CodeSectionEntry(body) => {
                    let signature = at(&types, *signatures.get(functions.len())?)?;
                    let slot = slot(&body, &signature, &types)?;
                    functions.push(ShimFunction { signature, slot });
                }
                _ => return None,
            }
        }
        let mut named = Vec::new();
        for export in exports {
            match export.kind {
                ExternalKind::Func => named.push((export.name.to_owned(), at(&functions, export.index)?)),
                ExternalKind::Table => {}
                _ => return None,
            }
        }
        Some(Shim { slots: slots?, functions: named })
    }
}

/// The slot whose function the body calls with its own arguments, if that is all it does.
fn slot(body: &FunctionBody<'_>, signature: &FuncType, types: &[Rc<FuncType>]) -> Option<usize> {
    if body.get_locals_reader().ok()?.get_count() != 0 {
        return None;
    }
    let mut operators = body.get_operators_reader().ok()?;
    for parameter in 0..u32::try_from(signature.params().len()).ok()? {
        let Operator::LocalGet { local_index } = operators.read().ok()? else { return None };
        if local_index != parameter {
            return None;
        }
    }
    let Operator::I32Const { value } = operators.read().ok()? else { return None };
    let Operator::CallIndirect { type_index, table_index: 0 } = operators.read().ok()? else { return None };
    let Operator::End = operators.read().ok()? else { return None };
    (operators.eof() && *at(types, type_index)? == *signature).then_some(usize::try_from(value).ok()?)
}

/// The size of the only table, if that holds functions and starts empty.
fn only_table(section: TableSectionReader<'_>) -> Option<u64> {
    let [table] = <[_; 1]>::try_from(all(section)?).ok()?;
    let plain = table.ty.element_type == RefType::FUNCREF && !table.ty.table64 && !table.ty.shared;
    (plain && matches!(table.init, TableInit::RefNull)).then_some(table.ty.initial)
}

/// The functions that the only segment writes, from the first slot on.
fn only_segment(section: ElementSectionReader<'_>) -> Option<Vec<u32>> {
    let [segment] = <[_; 1]>::try_from(all(section)?).ok()?;
    let ElementKind::Active { table_index: None | Some(0), offset_expr } = segment.kind else { return None };
    let ElementItems::Functions(functions) = segment.items else { return None };
    is_zero(&offset_expr)?;
    all(functions)
}

fn is_zero(expression: &ConstExpr<'_>) -> Option<()> {
    let mut operators = expression.get_operators_reader();
    let Operator::I32Const { value: 0 } = operators.read().ok()? else { return None };
    let Operator::End = operators.read().ok()? else { return None };
    operators.eof().then_some(())
}

/// The function types of a core module, by their indices.
pub(in super::super) fn signatures_of(section: TypeSectionReader<'_>) -> Option<Vec<Rc<FuncType>>> {
    Some(all(section.into_iter_err_on_gc_types())?.into_iter().map(Rc::new).collect())
}

fn all<T>(section: impl IntoIterator<Item = wasmparser::Result<T>>) -> Option<Vec<T>> {
    section.into_iter().collect::<wasmparser::Result<_>>().ok()
}
