//! What shaped the plugin contract: `cargo bench -p gatewright-bench --bench contract`.
//!
//! Three questions, each as criterion groups. How should a guest read headers: getters, one list, or one encoded block,
//! asked for or handed over as an argument (`headers/5`, `/10`, `/30`)? Should host functions take `String` or the
//! borrowed `WasmStr` (`host-strings`)? What does a fiber cost (`calls`, `instances`)?
//!
//! The engine is set up as the gateway's, the host keeps its headers in the same `http::HeaderMap`, and the guest
//! (`guest-contract`) is compiled by this program as stock plugins are.

#![allow(clippy::expect_used, reason = "a measuring program ends at the first surprise")]
#![allow(dead_code, reason = "WIT types are matched exactly, so all their cases are spelled out")]

use std::future::Future;
use std::hint::black_box;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion};
use http::{HeaderMap, HeaderName, HeaderValue};
use wasmtime::component::{
    Component, ComponentNamedList, ComponentType, InstancePre, Lift, Linker, LinkerInstance, Lower, TypedFunc, WasmStr,
};
use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Store, StoreContextMut};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_millis(1000))
        .sample_size(40)
        .without_plots()
        .configure_from_args();
    let guest = std::fs::read(build_guest()).expect("reading the guest");
    let engine = engine();
    let component = Component::new(&engine, &guest).expect("compiling the guest");
    let borrowed = linked(&engine, &component, HostStrings::Borrowed);
    let owned = linked(&engine, &component, HostStrings::Owned);

    for count in [5, 10, 30] {
        reading_headers(&mut criterion, &engine, &borrowed, count);
    }
    host_strings(&mut criterion, &engine, &[("String", &owned), ("WasmStr", &borrowed)]);
    calls(&mut criterion, &engine, &borrowed);
    instances(&mut criterion, &engine, &borrowed);
    criterion.final_summary();
}

/// The same three headers found through every shape, among `count`.
fn reading_headers(criterion: &mut Criterion, engine: &Engine, pre: &InstancePre<Host>, count: usize) {
    let mut group = criterion.benchmark_group(format!("headers/{count}"));
    for export in
        ["no-op", "one-getter", "one-in-block", "three-getters", "three-selected", "three-in-list", "three-in-block"]
    {
        call_in(&mut group, engine, pre, count, export, export);
    }
    // The gateway could keep the encoded block for all plugins of a chain; then only the copy into the guest is left.
    let mut host = Host::with(count);
    host.encoded = Some(encoded(&host.headers).into());
    let mut guest = Guest::new(engine, pre, host);
    let three_in_block = guest.function("three-in-block");
    group.bench_function("three-in-block, encoded before", |bencher| {
        bencher.iter(|| guest.call(&three_in_block));
    });

    let mut guest = Guest::new(engine, pre, Host::with(count));
    let headers = Host::with(count).headers;
    let by_list: TypedFunc<(Vec<Field<'_>>, bool), (Decision,)> = guest.typed("three-in-list-argument");
    group.bench_function("three-in-list-argument", |bencher| {
        bencher.iter(|| {
            let fields = headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
            by_list.call(&mut guest.store, (fields, true)).expect("the guest answers")
        });
    });
    for export in ["no-op-block-argument", "three-in-block-argument"] {
        let by_block: TypedFunc<(&[u8], bool), (Decision,)> = guest.typed(export);
        group.bench_function(export, |bencher| {
            bencher.iter(|| by_block.call(&mut guest.store, (&encoded(&headers), true)).expect("the guest answers"));
        });
    }
    group.finish();
}

/// The same calls where the host takes its arguments as `String`, and where it borrows them from the guest's memory.
fn host_strings(criterion: &mut Criterion, engine: &Engine, linkers: &[(&str, &InstancePre<Host>)]) {
    let mut group = criterion.benchmark_group("host-strings");
    for export in ["one-getter", "three-getters", "three-selected", "set-two"] {
        for (taken_as, pre) in linkers {
            call_in(&mut group, engine, pre, 10, export, &format!("{export}/{taken_as}"));
        }
    }
    group.finish();
}

/// A plain call against one on a fiber, which is what a plugin pays for being lent something that waits.
fn calls(criterion: &mut Criterion, engine: &Engine, pre: &InstancePre<Host>) {
    let mut group = criterion.benchmark_group("calls");
    for export in ["no-op", "three-getters"] {
        call_in(&mut group, engine, pre, 10, export, &format!("{export}/call"));
        let mut guest = Guest::new(engine, pre, Host::with(10));
        let function = guest.function(export);
        group.bench_function(format!("{export}/call_async"), |bencher| {
            bencher.iter(|| {
                guest.store.set_epoch_deadline(EPOCHS);
                ready(function.call_async(&mut guest.store, (true,))).expect("the guest answers")
            });
        });
    }
    group.finish();
}

/// A fresh store and instance with one hook, plain and on a fiber.
fn instances(criterion: &mut Criterion, engine: &Engine, pre: &InstancePre<Host>) {
    let mut group = criterion.benchmark_group("instances");
    let index = pre.component().get_export_index(None, "no-op").expect("the guest exports it");
    group.bench_function("instantiate + no-op/call", |bencher| {
        bencher.iter(|| {
            let mut store = store(engine, Host::default());
            let instance = pre.instantiate(&mut store).expect("instantiating");
            let no_op: Hook = instance.get_typed_func(&mut store, index).expect("a hook");
            no_op.call(&mut store, (true,)).expect("the guest answers")
        });
    });
    group.bench_function("instantiate + no-op/call_async", |bencher| {
        bencher.iter(|| {
            let mut store = store(engine, Host::default());
            ready(async {
                let instance = pre.instantiate_async(&mut store).await.expect("instantiating");
                let no_op: Hook = instance.get_typed_func(&mut store, index).expect("a hook");
                no_op.call_async(&mut store, (true,)).await.expect("the guest answers")
            })
        });
    });
    group.finish();
}

fn call_in(
    group: &mut BenchmarkGroup<'_, WallTime>,
    engine: &Engine,
    pre: &InstancePre<Host>,
    count: usize,
    export: &str,
    name: &str,
) {
    let mut guest = Guest::new(engine, pre, Host::with(count));
    let function = guest.function(export);
    assert!(matches!(guest.call(&function), Decision::Proceed), "{export} does not find its headers");
    group.bench_function(name, |bencher| bencher.iter(|| black_box(guest.call(&function))));
}

/// One instance in one store, as a warm one of the gateway.
struct Guest {
    store: Store<Host>,
    instance: wasmtime::component::Instance,
}

impl Guest {
    fn new(engine: &Engine, pre: &InstancePre<Host>, host: Host) -> Self {
        let mut store = store(engine, host);
        let instance = pre.instantiate(&mut store).expect("instantiating");
        Self { store, instance }
    }

    fn function(&mut self, export: &str) -> Hook {
        self.typed(export)
    }

    fn typed<P: ComponentNamedList + Lower>(&mut self, export: &str) -> TypedFunc<P, (Decision,)> {
        self.instance.get_typed_func(&mut self.store, export).expect("the guest exports it")
    }

    fn call(&mut self, function: &Hook) -> Decision {
        self.store.set_epoch_deadline(EPOCHS);
        function.call(&mut self.store, (true,)).expect("the guest answers").0
    }
}

type Hook = TypedFunc<(bool,), (Decision,)>;
type Field<'a> = (&'a str, &'a [u8]);

#[derive(ComponentType, Lift)]
#[component(enum)]
#[repr(u8)]
enum Section {
    #[component(name = "request-headers")]
    RequestHeaders,
    #[component(name = "request-trailers")]
    RequestTrailers,
    #[component(name = "response-headers")]
    ResponseHeaders,
    #[component(name = "response-trailers")]
    ResponseTrailers,
}

#[derive(ComponentType, Lift, Lower)]
#[component(variant)]
enum MutateError {
    #[component(name = "invalid-syntax")]
    InvalidSyntax,
    #[component(name = "forbidden")]
    Forbidden,
    #[component(name = "limit-exceeded")]
    LimitExceeded,
    #[component(name = "wrong-phase")]
    WrongPhase,
    #[component(name = "not-granted")]
    NotGranted,
    #[component(name = "other")]
    Other(String),
}

#[derive(ComponentType, Lift)]
#[component(variant)]
enum Decision {
    #[component(name = "proceed")]
    Proceed,
    #[component(name = "respond")]
    Respond(LocalResponse),
    #[component(name = "abort")]
    Abort,
}

#[derive(ComponentType, Lift)]
#[component(record)]
struct LocalResponse {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

/// What a store holds: the request's headers, as the gateway keeps them.
#[derive(Default)]
struct Host {
    headers: HeaderMap,
    encoded: Option<Arc<[u8]>>,
}

impl Host {
    fn with(count: usize) -> Self {
        let fields = HEADERS.iter().take(count - 1).chain([&("x-api-key", "k1-5f2b8c9d0e1a")]);
        let headers = fields.map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        Self { headers: headers.collect(), encoded: None }
    }

    fn header(&self, name: &str) -> Option<String> {
        self.headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), MutateError> {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| MutateError::InvalidSyntax)?;
        let value = HeaderValue::from_str(value).map_err(|_| MutateError::InvalidSyntax)?;
        self.headers.insert(name, value);
        Ok(())
    }
}

#[derive(Clone, Copy)]
enum HostStrings {
    Owned,
    Borrowed,
}

fn linked(engine: &Engine, component: &Component, strings: HostStrings) -> InstancePre<Host> {
    let mut linker = Linker::new(engine);
    let mut exchange = linker.instance("gatewright:contract-bench/exchange@0.1.0").expect("a name of its own");
    match strings {
        HostStrings::Owned => owned_strings(&mut exchange),
        HostStrings::Borrowed => borrowed_strings(&mut exchange),
    }
    .and_then(|()| whole_blocks(&mut exchange))
    .expect("each function is defined once");
    linker.define_unknown_imports_as_traps(component).expect("WASI is never called");
    linker.instantiate_pre(component).expect("the linker has what the guest imports")
}

fn owned_strings(exchange: &mut LinkerInstance<'_, Host>) -> wasmtime::Result<()> {
    exchange
        .func_wrap("header", |store: Caller<'_>, (_, name): (Section, String)| Ok((store.data().header(&name),)))?;
    exchange.func_wrap("select-headers", |store: Caller<'_>, (_, names): (Section, Vec<String>)| {
        Ok((names.iter().map(|name| store.data().header(name)).collect::<Vec<_>>(),))
    })?;
    exchange.func_wrap("set-header", |mut store: Caller<'_>, (_, name, value): (Section, String, String)| {
        Ok((store.data_mut().set(&name, &value),))
    })
}

fn borrowed_strings(exchange: &mut LinkerInstance<'_, Host>) -> wasmtime::Result<()> {
    exchange.func_wrap("header", |store: Caller<'_>, (_, name): (Section, WasmStr)| {
        Ok((store.data().header(&name.to_str(&store)?),))
    })?;
    exchange.func_wrap("select-headers", |store: Caller<'_>, (_, names): (Section, Vec<WasmStr>)| {
        let values = names.iter().map(|name| Ok(store.data().header(&name.to_str(&store)?)));
        Ok((values.collect::<wasmtime::Result<Vec<_>>>()?,))
    })?;
    exchange.func_wrap("set-header", |mut store: Caller<'_>, (_, name, value): (Section, WasmStr, WasmStr)| {
        // Both are parsed, and so copied, before the map is borrowed: the guest's memory is the store's too.
        let name = HeaderName::from_bytes(name.to_str(&store)?.as_bytes());
        let value = HeaderValue::from_str(&value.to_str(&store)?);
        let (Ok(name), Ok(value)) = (name, value) else { return Ok((Err(MutateError::InvalidSyntax),)) };
        store.data_mut().headers.insert(name, value);
        Ok((Ok(()),))
    })
}

fn whole_blocks(exchange: &mut LinkerInstance<'_, Host>) -> wasmtime::Result<()> {
    exchange.func_wrap("headers", |store: Caller<'_>, (_,): (Section,)| {
        let fields = store.data().headers.iter();
        Ok((fields.map(|(name, value)| (name.to_string(), value.as_bytes().to_vec())).collect::<Vec<_>>(),))
    })?;
    exchange.func_wrap("encoded-headers", |store: Caller<'_>, (_,): (Section,)| {
        let host = store.data();
        Ok((host.encoded.clone().unwrap_or_else(|| encoded(&host.headers).into()),))
    })
}

type Caller<'a> = StoreContextMut<'a, Host>;

fn encoded(headers: &HeaderMap) -> Vec<u8> {
    let length = headers.iter().map(|(name, value)| 6 + name.as_str().len() + value.len()).sum();
    let mut block = Vec::with_capacity(length);
    for (name, value) in headers {
        block.extend_from_slice(&u16::try_from(name.as_str().len()).expect("a short name").to_le_bytes());
        block.extend_from_slice(&u32::try_from(value.len()).expect("a short value").to_le_bytes());
        block.extend_from_slice(name.as_str().as_bytes());
        block.extend_from_slice(value.as_bytes());
    }
    block
}

fn engine() -> Engine {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(100)
        .total_core_instances(1000)
        .total_memories(200)
        .total_tables(400)
        .total_stacks(100)
        .max_memory_size(128 << 20)
        .linear_memory_keep_resident(4 << 20)
        .table_keep_resident(64 << 10)
        .pagemap_scan(Enabled::Yes)
        .max_unused_warm_slots(100);
    let mut config = Config::new();
    config
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool))
        .epoch_interruption(true)
        .concurrency_support(false);
    Engine::new(&config).expect("an engine")
}

fn store(engine: &Engine, host: Host) -> Store<Host> {
    let mut store = Store::new(engine, host);
    store.set_epoch_deadline(EPOCHS);
    store
}

/// Nothing here waits, so one poll is all there is to run.
fn ready<F: Future>(future: F) -> F::Output {
    match std::pin::pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => unreachable!("a host function waited"),
    }
}

/// Compiles the guest as a stock plugin is compiled, beside all other guests, and answers where it is.
fn build_guest() -> PathBuf {
    let target = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).with_file_name("guests");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(["build", "--package", "guest-contract", "--target", "wasm32-wasip2", "--profile", "plugin"])
        .env("CARGO_TARGET_DIR", &target)
        .status()
        .expect("starting cargo");
    assert!(status.success(), "the guest does not build (is the target there? rustup target add wasm32-wasip2)");
    target.join("wasm32-wasip2/plugin/guest_contract.wasm")
}

/// Far enough that no hook here is ever interrupted.
const EPOCHS: u64 = 1_000_000;

/// What a browser behind a content delivery network sends; `x-api-key` is put behind as many of these as are wanted.
const HEADERS: [(&str, &str); 29] = [
    ("host", "api.example.com"),
    (
        "user-agent",
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36",
    ),
    ("accept", "application/json, text/plain, */*"),
    ("accept-encoding", "gzip, deflate, br, zstd"),
    ("accept-language", "en-GB,en;q=0.9,de;q=0.8"),
    ("cookie", "session=2f6c1e0a9b7d4c3e8f5a; theme=dark; consent=1; _ga=GA1.2.1234567890.1700000000"),
    ("referer", "https://www.example.com/orders/2031"),
    ("cache-control", "no-cache"),
    ("content-type", "application/json"),
    ("origin", "https://www.example.com"),
    ("pragma", "no-cache"),
    ("priority", "u=1, i"),
    ("sec-ch-ua", "\"Chromium\";v=\"140\", \"Not=A?Brand\";v=\"24\""),
    ("sec-ch-ua-mobile", "?0"),
    ("sec-ch-ua-platform", "\"Linux\""),
    ("sec-fetch-dest", "empty"),
    ("sec-fetch-mode", "cors"),
    ("sec-fetch-site", "same-site"),
    ("dnt", "1"),
    ("x-forwarded-for", "203.0.113.7, 198.51.100.23"),
    ("x-forwarded-proto", "https"),
    ("x-forwarded-host", "api.example.com"),
    ("x-request-id", "0b2f1a3c-9d4e-4f6a-8b7c-5e6d7f8a9b0c"),
    ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
    ("tracestate", "vendor=t61rcWkgMzE"),
    ("via", "1.1 cdn.example.net"),
    ("cdn-loop", "cdn.example.net"),
    ("if-none-match", "W/\"5f2b8c9d0e1a\""),
    ("x-client-version", "7.31.0"),
];
