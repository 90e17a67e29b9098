#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::Path;

use proptest::prelude::*;
use wasmtime::component::ComponentType;
use wasmtime::{Instance, Linker, Memory, Module, Store, ValType};
use wit_parser::abi::{AbiVariant, WasmType};
use wit_parser::{Resolve, WorldItem};

use super::super::bindings::{
    BodyDecision, Caller, Decision, LocalResponse, MutateError, clock, codec, concurrency, consumers, hooks,
    http_client, json_schema, jwt, password, rate_limit, seal, shared_store, single_flight,
};
use super::super::engine::Engine;
use super::super::hook_set::HookSet;
use super::super::instance::poll_once;
use super::super::lent::Lent;
use super::super::link::Counts;
use super::super::state::{Call, State};
use super::abi::{Answer, Guest, Load, Pass, Realloc, Value};
use super::host::{Definition, Delivery};
use super::outgoing::Outgoing;
use super::plan::{CoreInstance, Imported, Lifted, Place, Plan, Source};
use super::{Hook, Linked, Returned, adapter, linking};

#[test]
fn every_function_of_the_contract_is_passed_as_the_contract_says() {
    let engine = Engine::new(None).unwrap();
    let mut store = store(&engine);
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../wit")).unwrap();
    let world = resolve.select_world(&[package], Some("imports-net")).unwrap();
    let mut functions = 0;
    for item in resolve.worlds[world].imports.values() {
        let WorldItem::Interface { id, .. } = item else { continue };
        let interface = resolve.id_of(*id).unwrap();
        for (name, function) in &resolve.interfaces[*id].functions {
            let due = resolve.wasm_signature(AbiVariant::GuestImport, function);
            let due = (due.params.iter().map(core).collect::<Vec<_>>(), due.results.iter().map(core).collect());
            for counts in [Counts::Own, Counts::Shared] {
                let mut linker = Linker::new(engine.wasmtime());
                let (linked, delivery) = (&mut linker, Delivery::Host(None));
                let into = Definition { linker: linked, module: "m", name: "n", delivery };
                assert!(linking::define(into, &interface, name, counts).unwrap());
                let found = linker.get(&mut store, "m", "n").unwrap().into_func().unwrap().ty(&store);
                let found = (texts(found.params()), texts(found.results()));
                assert_eq!(found, due, "{interface}.{name}");
            }
            functions += 1;
        }
    }
    assert!(functions > 60, "{functions}");
}

fn texts(types: impl Iterator<Item = ValType>) -> Vec<String> {
    types.map(|core| core.to_string()).collect()
}

fn core(core: &WasmType) -> String {
    match core {
        WasmType::I64 | WasmType::PointerOrI64 => "i64",
        WasmType::F32 => "f32",
        WasmType::F64 => "f64",
        WasmType::I32 | WasmType::Pointer | WasmType::Length => "i32",
    }
    .to_owned()
}

#[test]
fn every_type_of_the_contract_is_as_large_as_wasmtime_has_it() {
    fn same<T: Value + ComponentType>() {
        let due = (T::SIZE32, usize::try_from(T::ALIGN32).unwrap(), T::flatten_count());
        assert_eq!((T::SIZE as usize, T::ALIGN as usize, T::FLAT), due, "{}", std::any::type_name::<T>());
    }
    same::<Caller>();
    same::<LocalResponse>();
    same::<Decision>();
    same::<BodyDecision>();
    same::<MutateError>();
    same::<hooks::HeaderChange>();
    same::<clock::Timestamp>();
    same::<shared_store::Entry>();
    same::<shared_store::StoreError>();
    same::<shared_store::SwapError>();
    same::<rate_limit::Quota>();
    same::<rate_limit::Window>();
    same::<rate_limit::Rule>();
    same::<rate_limit::Outcome>();
    same::<rate_limit::LimitError>();
    same::<concurrency::Outcome>();
    same::<codec::Bounds>();
    same::<consumers::Credential>();
    same::<consumers::Limit>();
    same::<json_schema::Violation>();
    same::<json_schema::CheckError>();
    same::<jwt::VerifyError>();
    same::<seal::SealError>();
    same::<http_client::Request>();
    same::<http_client::Response>();
    same::<http_client::CallError>();
    same::<password::VerifyError>();
    same::<single_flight::Turn>();
    same::<Option<(u32, Result<http_client::Response, http_client::CallError>)>>();
    same::<Option<u64>>();
    same::<Option<String>>();
    same::<Result<u64, shared_store::SwapError>>();
    same::<Result<(), String>>();
    same::<(String, Vec<u8>)>();
}

/// A guest with an allocator that never frees anything.
struct Bump {
    store: Store<State>,
    memory: Memory,
    realloc: Realloc,
}

impl Bump {
    fn new() -> Bump {
        let engine = Engine::new(None).unwrap();
        let mut store = store(&engine);
        let module = Module::new(engine.wasmtime(), wat::parse_str(BUMP).unwrap()).unwrap();
        let instance = Instance::new(&mut store, &module, &[]).unwrap();
        let memory = instance.get_memory(&mut store, "memory").unwrap();
        let realloc = instance.get_typed_func(&mut store, "realloc").unwrap();
        super::super::instance::arm(&mut store, Call::Request);
        Bump { store, memory, realloc }
    }

    fn put<T: Answer>(&mut self, value: T, at: u32) {
        let mut outgoing = Outgoing::default();
        outgoing.start(T::SIZE, T::ALIGN, at).unwrap();
        value.store(&mut outgoing, 0).unwrap();
        while let Some(wanted) = outgoing.wanted() {
            outgoing.place(self.realloc.call(&mut self.store, (0, 0, wanted.align, wanted.size)).unwrap()).unwrap();
        }
        outgoing.deliver(self.memory.data_mut(&mut self.store)).unwrap();
    }

    fn get<T: for<'a> Load<'a>>(&self, at: u32) -> wasmtime::Result<T> {
        Guest::new(self.memory.data(&self.store), &[], BOUNDARY).value(at)
    }
}

fn store(engine: &Engine) -> Store<State> {
    let state = State::new(Lent::nothing(), engine.epoch().clone(), HookSet::default());
    let mut store = Store::new(engine.wasmtime(), state);
    store.set_epoch_deadline(1000);
    store
}

const BOUNDARY: usize = 1 << 20;

const BUMP: &str = r#"(module
  (memory (export "memory") 2)
  (global $next (mut i32) (i32.const 1024))
  (func (export "realloc") (param i32 i32 i32 i32) (result i32) (local $at i32)
    (local.set $at
      (i32.and
        (i32.add (global.get $next) (i32.sub (local.get 2) (i32.const 1)))
        (i32.sub (i32.const 0) (local.get 2))))
    (global.set $next (i32.add (local.get $at) (local.get 3)))
    (local.get $at)))"#;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_put_into_a_guests_memory_is_what_is_read_there(
        fields: Vec<(String, Vec<u8>)>,
        maybe: Option<Option<String>>,
        answer: Result<u64, String>,
        numbers: Vec<u32>,
    ) {
        let mut guest = Bump::new();
        guest.put(fields.clone(), 0);
        guest.put(maybe.clone(), 64);
        guest.put(answer.clone(), 128);
        guest.put(numbers.clone(), 192);
        prop_assert_eq!(guest.get::<Vec<(String, Vec<u8>)>>(0).unwrap(), fields);
        prop_assert_eq!(guest.get::<Option<Option<String>>>(64).unwrap(), maybe);
        prop_assert_eq!(guest.get::<Result<u64, String>>(128).unwrap(), answer);
        prop_assert_eq!(guest.get::<Vec<u32>>(192).unwrap(), numbers);
    }

    #[test]
    fn whatever_a_guest_passes_is_taken_or_is_a_trap(
        memory in proptest::collection::vec(prop_oneof![3 => 0_u8..4, 1 => any::<u8>()], 0..256),
        passed: [u32; 4],
        near in 0_u32..300,
    ) {
        let passed = passed.map(u64::from);
        for at in [near, near & !7, u32::MAX, u32::MAX - 7, u32::MAX - near] {
            let mut guest = Guest::new(&memory, &passed, 4096);
            let _ = guest.value::<Decision>(at);
            let _ = guest.value::<BodyDecision>(at);
            let _ = guest.value::<Option<u32>>(at);
            let _ = guest.value::<Result<(), String>>(at);
            let pointers = [at.into(), 9, near.into(), 1];
            for values in [&passed, &pointers] {
                let _ = Vec::<hooks::HeaderChange>::take(&mut Guest::new(&memory, values, 4096));
                let _ = Vec::<rate_limit::Rule>::take(&mut Guest::new(&memory, values, 4096));
                let _ = Vec::<String>::take(&mut Guest::new(&memory, values, 4096));
                let _ = Caller::take(&mut Guest::new(&memory, values, 4096));
                let _ = <Option<String> as Pass>::take(&mut Guest::new(&memory, values, 4096));
            }
        }
    }
}

#[test]
fn what_is_wrong_with_a_pointer_a_text_or_a_case_is_said() {
    let memory = [0xff; 64];
    let guest = |passed: &'static [u64]| Guest::new(&memory, passed, 32);
    let refused = |error: wasmtime::Error| error.to_string();
    let cases = [
        (String::take(&mut guest(&[60, 8])).map(drop), "a pointer of the plugin is outside of its memory"),
        (String::take(&mut guest(&[u32::MAX as u64, 1])).map(drop), "a pointer of the plugin is outside of its memory"),
        (String::take(&mut guest(&[0, 8])).map(drop), "a text of the plugin is not UTF-8"),
        (Vec::<u32>::take(&mut guest(&[2, 1])).map(drop), "a pointer of the plugin is not aligned"),
        (Vec::<u8>::take(&mut guest(&[0, 33])).map(drop), "the plugin passed more at once than may cross the boundary"),
        (
            Vec::<u32>::take(&mut guest(&[0, u32::MAX as u64])).map(drop),
            "the plugin passed more at once than may cross the boundary",
        ),
        (<Option<u32> as Pass>::take(&mut guest(&[2, 1])).map(drop), "the plugin passed a case that does not exist"),
        (guest(&[]).value::<Decision>(0).map(drop), "the plugin passed a case that does not exist"),
    ];
    for (answer, due) in cases {
        assert_eq!(refused(answer.unwrap_err()), due);
    }
}

#[test]
fn every_stock_plugin_runs_directly() {
    let engine = Engine::new(None).unwrap();
    for name in crate::stock::names() {
        let artifact = engine.load(crate::stock::component(name).unwrap()).unwrap();
        assert!(artifact.is_direct(), "{name}");
    }
}

/// A module that imports functions of the contract by their names; `realloc` allocates for what they answer. Its hooks
/// are `hook` (`on-complete`) and `tick` (`on-tick`), each with the post-return function `post` if there is one. With an
/// adapter it runs on fibers.
fn linked(engine: &Engine, text: &str, has_adapter: bool) -> Linked {
    let binary = wat::parse_str(text).unwrap();
    let module = Module::new(engine.wasmtime(), &binary).unwrap();
    let place = |name: &str| Place { instance: 0, name: name.to_owned() };
    let source = |name: &str| {
        let (interface, function) = name.split_once('.').unwrap();
        let interface = format!("gatewright:plugin/{interface}@0.1.0");
        Source::Function { interface, function: function.to_owned(), realloc: Some(place("realloc")) }
    };
    let imports = module.imports().map(|import| Imported {
        module: import.module().to_owned(),
        name: import.name().to_owned(),
        source: source(import.name()),
    });
    let hooks = [("completion-hook", "on-complete", "hook"), ("background", "on-tick", "tick")];
    let exports = hooks.into_iter().filter(|(_, _, name)| module.get_export(name).is_some());
    let exports = exports.map(|(interface, function, name)| Lifted {
        interface: format!("gatewright:plugin/{interface}@0.1.0"),
        function: function.to_owned(),
        core: place(name),
        realloc: None,
        post_return: module.get_export("post").map(|_| place("post")),
    });
    let plan = Plan {
        instances: vec![CoreInstance { module: 0, imports: imports.collect() }],
        memory: place("memory"),
        exports: exports.collect(),
    };
    let adapter = has_adapter.then(|| adapter::module(&plan, &[&binary]).unwrap());
    let adapter = adapter.map(|adapter| Module::new(engine.wasmtime(), adapter).unwrap());
    Linked::new(engine.wasmtime(), &plan, &[module], adapter.as_ref(), Counts::Own).unwrap()
}

fn called<R: Returned>(
    text: &str,
    has_adapter: bool,
    (interface, function, call): (&str, &str, Call),
) -> Result<R, String> {
    let engine = Engine::new(None).unwrap();
    let (linked, mut store) = (linked(&engine, text, has_adapter), store(&engine));
    super::super::instance::arm(&mut store, call);
    let work = async {
        let running = linked.instantiate(&mut store).await?;
        let hook: Hook<(), R> = running.hook(&mut store, interface, function)?.unwrap();
        match has_adapter {
            true => hook.call_async(&mut store, ()).await,
            false => hook.call(&mut store, ()),
        }
    };
    poll_once(work).unwrap().map_err(|error: wasmtime::Error| format!("{error:#}"))
}

const COMPLETE: (&str, &str, Call) = ("completion-hook", "on-complete", Call::Complete);
const TICK: (&str, &str, Call) = ("background", "on-tick", Call::Tick);

#[test]
fn the_host_is_called_by_a_whole_guest_that_runs_its_own_code_alone() {
    let guest = |realloc: &str, rest: &str| {
        format!(
            r#"(module
              (import "m" "clock.monotonic" (func $clock (result i64)))
              (import "m" "random.bytes" (func $bytes (param i32 i32)))
              (memory (export "memory") 1)
              (func $now (drop (call $clock)))
              (func (export "realloc") (param i32 i32 i32 i32) (result i32) {realloc} (i32.const 64))
              (func (export "hook") (call $now) (call $bytes (i32.const 8) (i32.const 16)) (call $now))
              {rest})"#
        )
    };
    let cases = [
        ("(call $now)", "", "the plugin called the host from its allocator"),
        ("", "(func (export \"post\") (call $now))", "the plugin called the host from its allocator"),
        ("(drop (i32.const 0)) (return (i32.const 65530))", "", "a pointer of the plugin is outside of its memory"),
    ];
    for has_adapter in [false, true] {
        called::<()>(&guest("", ""), has_adapter, COMPLETE).unwrap();
        // A start function can call what passes nothing through memory, and nothing else.
        called::<()>(&guest("", "(start $now)"), has_adapter, COMPLETE).unwrap();
        let early = guest("", "(func $early (call $bytes (i32.const 8) (i32.const 0))) (start $early)");
        let due = if has_adapter { "uninitialized element" } else { "has no allocator" };
        let error = called::<()>(&early, has_adapter, COMPLETE).unwrap_err();
        assert!(error.contains(due), "{due}: {error}");
        for (realloc, rest, due) in cases {
            let error = called::<()>(&guest(realloc, rest), has_adapter, COMPLETE).unwrap_err();
            assert!(error.contains(due), "{has_adapter}, {due}: {error}");
        }
    }
}

/// `password.check` may wait, and rejects what is no hash with a text.
#[test]
fn what_may_wait_is_called_on_a_fiber_and_its_answer_is_allocated_there() {
    let guest = |realloc: &str| {
        format!(
            r#"(module
              (import "m" "password.check" (func $check (param i32 i32 i32)))
              (memory (export "memory") 1)
              (func (export "realloc") (param i32 i32 i32 i32) (result i32) {realloc} (i32.const 64))
              (func (export "hook")
                (call $check (i32.const 0) (i32.const 0) (i32.const 16))
                (if (i32.ne (i32.load8_u (i32.const 16)) (i32.const 1)) (then unreachable))
                (if (i32.ne (i32.load (i32.const 20)) (i32.const 64)) (then unreachable))
                (if (i32.eqz (i32.load (i32.const 24))) (then unreachable))
                (if (i32.eqz (i32.load8_u (i32.const 64))) (then unreachable))))"#
        )
    };
    called::<()>(&guest(""), true, COMPLETE).unwrap();
    let guest = guest("(call $check (i32.const 0) (i32.const 0) (i32.const 16))");
    let error = called::<()>(&guest, true, COMPLETE).unwrap_err();
    assert!(error.contains("the plugin called the host from its allocator"), "{error}");
}

#[test]
fn an_answer_is_read_before_the_guest_cleans_up_and_then_the_guest_calls_nothing() {
    let guest = |post: &str| {
        format!(
            r#"(module
              (import "m" "clock.monotonic" (func $clock (result i64)))
              (memory (export "memory") 1)
              (func (export "realloc") (param i32 i32 i32 i32) (result i32) unreachable)
              (func (export "tick") (result i32)
                (i32.store (i32.const 8) (i32.const 1))
                (i32.store (i32.const 12) (i32.const 250))
                (i32.const 8))
              (func (export "post") (param i32) (i64.store (local.get 0) (i64.const -1)) {post}))"#
        )
    };
    for has_adapter in [false, true] {
        assert_eq!(called::<(Option<u32>,)>(&guest(""), has_adapter, TICK).unwrap(), (Some(250),));
        let error = called::<(Option<u32>,)>(&guest("(drop (call $clock))"), has_adapter, TICK).unwrap_err();
        assert!(error.contains("or while it cleaned up"), "{error}");
        let error = called::<(Option<u32>,)>(&guest("unreachable"), has_adapter, TICK).unwrap_err();
        assert!(error.contains("unreachable"), "{error}");
    }
}
