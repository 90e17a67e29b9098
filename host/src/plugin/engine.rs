//! The wasmtime engine, its limits, and the clock that interrupts hooks.
//!
//! One engine serves all plugins: pooled instances in pre-reserved address space, copy-on-write memory images, epochs
//! instead of fuel (a compare per loop instead of a counter), no component-model concurrency (it doubles the price of
//! a call). A thread of its own moves the epoch (`epoch`); compilation has threads of its own as well, so that neither hooks
//! nor deploys wait for each other.
//!
//! Component-model concurrency is enabled for a whole engine, and components of WASI 0.3 need it. So they have a second
//! engine, otherwise of the same kind, which is created with the first of them.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use wasmtime::{Config, Enabled, InstanceAllocationStrategy, PoolingAllocationConfig, WasmBacktraceDetails};

use super::artifact::Artifact;
use super::cache::CompileCache;
use super::epoch::Epoch;
use super::load_error::LoadError;
use crate::thread_priority;

/// Compiles components and runs their instances. Cheap to clone; dropping the last clone stops the clock.
#[derive(Clone)]
pub struct Engine {
    shared: Arc<Shared>,
}

struct Shared {
    wasmtime: wasmtime::Engine,
    /// The cache, or why it could not be opened; `None` if none is configured.
    cache: Option<Result<CompileCache, String>>,
    cache_directory: Option<PathBuf>,
    epoch: Arc<Epoch>,
    concurrent: Mutex<Option<Engine>>,
}

/// A component larger than this is refused before it is compiled: compile time grows with size.
pub const COMPONENT_BYTES: usize = 64 << 20;

/// The largest memory that the operator may allow a plugin; the pool reserves address space for this size.
pub const MEMORY_BYTES: usize = 1 << 30;

impl Engine {
    /// Creates the engine and starts its clock. Compiled components are kept in `cache_directory`, if there is one.
    ///
    /// # Errors
    /// The machine lacks a feature that the engine needs, or does not provide the address space.
    pub fn new(cache_directory: Option<&Path>) -> wasmtime::Result<Engine> {
        compilers();
        Engine::make(cache_directory, false)
    }

    fn make(cache_directory: Option<&Path>, is_concurrent: bool) -> wasmtime::Result<Engine> {
        let wasmtime = wasmtime::Engine::new(&config(is_concurrent))?;
        let cache = cache_directory.map(|directory| CompileCache::open(directory, &wasmtime));
        let clock = wasmtime.clone();
        let epoch = Arc::new(Epoch::start(move || clock.increment_epoch())?);
        let cache_directory = cache_directory.map(Path::to_path_buf);
        let concurrent = Mutex::default();
        Ok(Engine { shared: Arc::new(Shared { wasmtime, cache, cache_directory, epoch, concurrent }) })
    }

    /// The second engine, whose components may use the component model's concurrency. The first call creates it.
    ///
    /// # Errors
    /// The machine does not provide the address space.
    pub(super) fn concurrent(&self) -> wasmtime::Result<Engine> {
        let mut concurrent = self.shared.concurrent.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(engine) = &*concurrent {
            return Ok(engine.clone());
        }
        let engine = Engine::make(self.shared.cache_directory.as_deref(), true)?;
        Ok(concurrent.insert(engine).clone())
    }

    /// Compiles a component, or takes it from the cache, and reads its manifest in an instance that is then discarded.
    ///
    /// Takes from a millisecond (cached) to seconds: never call it on a data core.
    pub fn load(&self, bytes: &[u8]) -> Result<Artifact, LoadError> {
        Artifact::load(self, bytes)
    }

    pub(super) fn wasmtime(&self) -> &wasmtime::Engine {
        &self.shared.wasmtime
    }

    /// The clock that interrupts the hooks of its instances.
    pub(super) fn epoch(&self) -> &Arc<Epoch> {
        &self.shared.epoch
    }

    /// Why compiled components are not cached, if they should be and cannot.
    pub fn no_cache(&self) -> Option<&str> {
        self.shared.cache.as_ref()?.as_ref().err().map(String::as_str)
    }

    pub(super) fn cache(&self) -> Option<&CompileCache> {
        self.shared.cache.as_ref()?.as_ref().ok()
    }
}

/// Creates the compiler threads, one per core. wasmtime would do the same by itself, but with the priority of the
/// thread that compiles first; these have a lower priority than the threads that serve.
fn compilers() {
    let threads = rayon::ThreadPoolBuilder::new().thread_name(|index| format!("compiler-{index}"));
    // Fails if the threads exist already, because of an earlier engine.
    let _ = threads.start_handler(|_| thread_priority::step_back()).build_global();
}

fn config(is_concurrent: bool) -> Config {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(INSTANCES)
        .total_core_instances(INSTANCES * 8)
        .total_memories(INSTANCES * 2)
        .total_tables(INSTANCES * 4)
        .total_stacks(INSTANCES)
        .max_core_instances_per_component(64)
        .max_memories_per_component(8)
        .max_tables_per_component(32)
        .table_elements(60_000)
        .max_component_instance_size(8 << 20)
        .max_core_instance_size(8 << 20)
        .max_memory_size(MEMORY_BYTES)
        .linear_memory_keep_resident(KEEP_RESIDENT)
        .table_keep_resident(64 << 10)
        .pagemap_scan(Enabled::Auto)
        .max_unused_warm_slots(100);
    let mut config = Config::new();
    config
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool))
        .concurrency_support(is_concurrent)
        .epoch_interruption(true)
        .max_wasm_stack(WASM_STACK)
        .async_stack_size(ASYNC_STACK)
        .wasm_backtrace_max_frames(std::num::NonZeroUsize::new(32))
        // Traps name source lines if the component has debug information, as it does during development. Stock plugins
        // have none.
        .wasm_backtrace_details(WasmBacktraceDetails::Enable);
    config
}

/// How many instances may exist at once, over all plugins and cores.
const INSTANCES: u32 = 2000;

/// How much of an instance's memory is cleared in place when the instance ends, rather than returned to the kernel.
const KEEP_RESIDENT: usize = 2 << 20;

/// A guest's own stack; deeper recursion traps.
const WASM_STACK: usize = 512 << 10;

/// The fiber stack of a plugin that may wait: the guest's stack plus what the host needs.
const ASYNC_STACK: usize = 2 << 20;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::artifact;
    use super::*;

    #[test]
    fn whoever_makes_the_engine_the_threads_that_compile_come_after_those_that_serve() {
        let _engine = Engine::new(None).unwrap();
        let here = thread_priority::niceness();
        let compilers =
            rayon::broadcast(|_| (std::thread::current().name().map(str::to_owned), thread_priority::niceness()));
        assert!(!compilers.is_empty());
        for (index, (name, niceness)) in compilers.into_iter().enumerate() {
            assert_eq!(name, Some(format!("compiler-{index}")));
            assert!(niceness > here, "{niceness}");
        }
    }

    /// The number of components in the cache.
    fn kept(directory: &Path) -> usize {
        let names = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
        names.filter(|path| path.extension().is_some_and(|extension| extension == "cwasm")).count()
    }

    #[test]
    fn concurrency_is_the_second_engines_and_code_is_kept_for_each() {
        let directory = tempfile::tempdir().unwrap();
        let engine = Engine::new(Some(directory.path())).unwrap();
        assert!(engine.shared.concurrent.lock().unwrap().is_none(), "it is made when it is asked for");
        let concurrent = engine.concurrent().unwrap();
        assert!(Arc::ptr_eq(&engine.concurrent().unwrap().shared, &concurrent.shared), "there is one");
        assert!(!engine.wasmtime().get_concurrency_support() && concurrent.wasmtime().get_concurrency_support());
        let component = wat::parse_str("(component (core module (func (export \"a\"))))").unwrap();
        for count in [1, 2] {
            for (engine, kept_now) in [(&engine, 1), (&concurrent, 2)] {
                artifact::compile(engine, &component).unwrap();
                assert_eq!(kept(directory.path()), kept_now.max(count));
            }
        }
        let asynchronous = wat::parse_str("(component (type (stream u8)))").unwrap();
        assert!(artifact::compile(&engine, &asynchronous).is_err());
        assert!(artifact::compile(&concurrent, &asynchronous).is_ok());
    }
}
