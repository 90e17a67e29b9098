//! What stands between the host and a guest that runs on a fiber.
//!
//! A hook is more than one call of the guest: it allocates the memory for what the host answers, and it cleans up after
//! its own answer has been read. On a fiber the host cannot call the guest, for wasmtime wants another fiber for each
//! call. So these calls are made by a small module, generated here, that belongs to the guest's side:
//!
//! * The guest imports from it the functions whose answers need memory. They call the host, which works out the answer
//!   and says how much memory it needs, then the guest's allocator, then the host with the address, until the host
//!   needs no more.
//! * The host calls a hook through it. It calls the guest's hook, then the host, which reads the answer, and then the
//!   guest's post-return function.

use std::fmt::Write;

use wasmparser::{FuncType, Parser, Payload, TypeRef, ValType};

use super::host::NOTHING;
use super::plan::{Plan, Source, signatures_of};

/// The module's export for an import of one of the guest's modules, and the module's own import for it, from [`HOST`].
pub fn name(instance: usize, import: usize) -> String {
    format!("{instance}-{import}")
}

/// The module's export for the hook with this index in [`Plan::exports`].
pub fn hook_name(index: usize) -> String {
    format!("hook-{index}")
}

/// The places in the [table](TABLE) of a hook and of its post-return function, after the allocators.
pub fn slots(allocators: usize, index: usize) -> [u64; 2] {
    let first = (allocators + 2 * index) as u64;
    [first, first + 1]
}

/// The module from which all is imported.
pub const HOST: &str = "host";
/// The import that is told an address.
pub const PLACE: &str = "place";
/// The import that is told where a hook's answer is.
pub const RETURNED: &str = "returned";
/// The exported table of the guest's functions that are called from here, which come to exist after this module: the
/// plan's [allocators](Plan::allocators), then the hooks.
pub const TABLE: &str = "guest";

/// The module in binary, for a plan and the core modules that it was read from. `None` if they are not valid.
pub fn module(plan: &Plan, modules: &[&[u8]]) -> Option<Vec<u8>> {
    let allocators = plan.allocators();
    let (mut imports, mut functions) = (String::new(), String::new());
    for (instance, planned) in plan.instances.iter().enumerate() {
        let types = imported(modules.get(planned.module as usize)?)?;
        for (import, (imported, function)) in planned.imports.iter().zip(types).enumerate() {
            let Source::Function { realloc: Some(realloc), .. } = &imported.source else { continue };
            let Some(parameters) = function.as_ref().and_then(answered_in_memory) else { continue };
            let allocator = allocators.iter().position(|place| *place == realloc)?;
            let name = name(instance, import);
            let passed: String = (0..parameters.len()).map(|index| format!(" (local.get {index})")).collect();
            let parameters = parameters.join(" ");
            let host = format!(r#"(import "{HOST}" "{name}" (func $host-{name} (param {parameters}) (result i64)))"#);
            writeln!(imports, "{host}").ok()?;
            let called = format!("(call $allocate (call $host-{name}{passed}) (i32.const {allocator}))");
            writeln!(functions, r#"(func $call-{name} (export "{name}") (param {parameters}) {called})"#).ok()?;
        }
    }
    for (index, export) in plan.exports.iter().enumerate() {
        let (Some(parameters), Some(_)) = (hook_parameters(&export.function), &export.post_return) else { continue };
        let (name, [hook, post_return]) = (hook_name(index), slots(allocators.len(), index));
        let passed: String = (0..parameters.len()).map(|index| format!(" (local.get {index})")).collect();
        let parameters = parameters.join(" ");
        writeln!(
            functions,
            r#"(func ${name} (export "{name}") (param {parameters}) (result i32) (local $answer i32)
                (local.set $answer
                    (call_indirect (param {parameters}) (result i32){passed} (i32.const {hook})))
                (call $returned (local.get $answer))
                (call_indirect (param i32) (local.get $answer) (i32.const {post_return}))
                (local.get $answer))"#
        )
        .ok()?;
    }
    let ([size, _], nothing) = (slots(allocators.len(), plan.exports.len()), NOTHING.cast_signed());
    let text = format!(
        r#"(module $gatewright
            (type $allocator (func (param i32 i32 i32 i32) (result i32)))
            (import "{HOST}" "{PLACE}" (func $place (param i32) (result i64)))
            (import "{HOST}" "{RETURNED}" (func $returned (param i32)))
            {imports}
            (table (export "{TABLE}") {size} {size} funcref)
            {functions}
            (func $allocate (param $wanted i64) (param $allocator i32)
                (block $all
                    (loop $next
                        (br_if $all (i64.eq (local.get $wanted) (i64.const {nothing})))
                        (local.set $wanted (call $place (call_indirect (type $allocator)
                            (i32.const 0)
                            (i32.const 0)
                            (i32.wrap_i64 (i64.shr_u (local.get $wanted) (i64.const 32)))
                            (i32.wrap_i64 (local.get $wanted))
                            (local.get $allocator))))
                        (br $next)))))"#
    );
    wat::parse_str(text).ok()
}

/// The core parameters of a hook that answers something.
fn hook_parameters(function: &str) -> Option<&'static [&'static str]> {
    match function {
        "configure" => Some(&["i32", "i32"]),
        "on-request" | "on-response" => Some(&["i32"]),
        "on-request-body" | "on-response-body" => Some(&["i32", "i32", "i32"]),
        "on-tick" => Some(&[]),
        _ => None,
    }
}

/// The types of the functions that a core module imports, at their places among its imports.
fn imported(module: &[u8]) -> Option<Vec<Option<FuncType>>> {
    let (mut types, mut imports) = (Vec::new(), Vec::new());
    for payload in Parser::new(0).parse_all(module) {
        match payload.ok()? {
            Payload::TypeSection(section) => types = signatures_of(section)?,
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    imports.push(match import.ok()?.ty {
                        TypeRef::Func(index) => Some(types.get(index as usize)?.as_ref().clone()),
                        _ => None,
                    });
                }
            }
            Payload::FunctionSection(_) | Payload::CodeSectionStart { .. } => break,
            _ => {}
        }
    }
    Some(imports)
}

/// The parameters of a function that returns nothing directly.
fn answered_in_memory(function: &FuncType) -> Option<Vec<&'static str>> {
    let parameters = function.params().iter().map(|parameter| match parameter {
        ValType::I32 => Some("i32"),
        ValType::I64 => Some("i64"),
        ValType::F32 => Some("f32"),
        ValType::F64 => Some("f64"),
        _ => None,
    });
    parameters.collect::<Option<_>>().filter(|_| function.results().is_empty())
}
