//! A minimal WASI: what a guest's language runtime expects of a system, without anything that waits or reaches outside.
//!
//! Clocks and random bytes are real. Standard output and error become lines of the plugin's log. The environment, the
//! arguments and the file system are empty, standard input is at its end, and `exit` is a trap. wasmtime-wasi is not
//! used because its functions are async or block the thread. Everything is defined under the very names that the
//! component imports (0.2.0 to 0.2.12 all occur); whatever else of WASI it imports traps when it is called.

use std::sync::LazyLock;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use wasmtime::component::{
    ComponentNamedList, ComponentType, Lift, Linker, LinkerInstance, Lower, Resource, ResourceType, Val,
};
use wasmtime::{StoreContextMut, error::Context as _};

use super::state::State;

/// Defines the supported part of one WASI interface; `full` is its name with the version.
pub(super) fn link(linker: &mut Linker<State>, full: &str) -> wasmtime::Result<()> {
    let Some(name) = full.strip_prefix("wasi:").and_then(|name| name.split('@').next()) else { return Ok(()) };
    let mut instance = linker.instance(full).context("a WASI interface is imported twice")?;
    let interface = &mut instance;
    // All resources under all names: an interface lists the types that it uses as its own.
    resource::<IoError>(interface, "error")?;
    resource::<Pollable>(interface, "pollable")?;
    resource::<InputStream>(interface, "input-stream")?;
    resource::<OutputStream>(interface, "output-stream")?;
    resource::<TerminalInput>(interface, "terminal-input")?;
    resource::<TerminalOutput>(interface, "terminal-output")?;
    resource::<Descriptor>(interface, "descriptor")?;
    resource::<DirectoryEntryStream>(interface, "directory-entry-stream")?;
    match name {
        "cli/environment" => {
            function(interface, "get-environment", |_, ()| Ok((Vec::<(String, String)>::new(),)))?;
            function(interface, "get-arguments", |_, ()| Ok((Vec::<String>::new(),)))?;
            function(interface, "initial-cwd", |_, ()| Ok((None::<String>,)))?;
        }
        "cli/exit" => {
            function(interface, "exit", |_, (_,): (Result<(), ()>,)| -> wasmtime::Result<()> {
                Err(wasmtime::Error::msg("the plugin called exit"))
            })?;
        }
        "cli/stdin" => function(interface, "get-stdin", |_, ()| Ok((Resource::<InputStream>::new_own(0),)))?,
        "cli/stdout" => function(interface, "get-stdout", |_, ()| Ok((Resource::<OutputStream>::new_own(1),)))?,
        "cli/stderr" => function(interface, "get-stderr", |_, ()| Ok((Resource::<OutputStream>::new_own(2),)))?,
        "cli/terminal-stdin" => {
            function(interface, "get-terminal-stdin", |_, ()| Ok((None::<Resource<TerminalInput>>,)))?;
        }
        "cli/terminal-stdout" => {
            function(interface, "get-terminal-stdout", |_, ()| Ok((None::<Resource<TerminalOutput>>,)))?;
        }
        "cli/terminal-stderr" => {
            function(interface, "get-terminal-stderr", |_, ()| Ok((None::<Resource<TerminalOutput>>,)))?;
        }
        "io/error" => {
            function(interface, "[method]error.to-debug-string", |_, (_,): (Resource<IoError>,)| {
                Ok((String::from("error"),))
            })?;
        }
        "io/streams" => streams(interface)?,
        "clocks/monotonic-clock" => {
            function(interface, "now", |_, ()| Ok((START.elapsed().as_nanos() as u64,)))?;
            function(interface, "resolution", |_, ()| Ok((1u64,)))?;
        }
        "clocks/wall-clock" => {
            function(interface, "now", |_, ()| Ok((Datetime::now(),)))?;
            function(interface, "resolution", |_, ()| Ok((Datetime { seconds: 0, nanoseconds: 1 },)))?;
        }
        "random/random" => {
            function(interface, "get-random-bytes", |_, (length,): (u64,)| Ok((random_bytes(length)?,)))?;
            function(interface, "get-random-u64", |_, ()| Ok((random_number()?,)))?;
        }
        "random/insecure" => {
            function(interface, "get-insecure-random-bytes", |_, (length,): (u64,)| Ok((random_bytes(length)?,)))?;
            function(interface, "get-insecure-random-u64", |_, ()| Ok((random_number()?,)))?;
        }
        "random/insecure-seed" => {
            function(interface, "insecure-seed", |_, ()| Ok(((random_number()?, random_number()?),)))?;
        }
        "filesystem/preopens" => interface.func_new("get-directories", |_, _, _, results| {
            if let Some(result) = results.first_mut() {
                *result = Val::List(Vec::new());
            }
            Ok(())
        })?,
        _ => {}
    }
    Ok(())
}

/// Random bytes from the operating system. More than 64 KiB at once is a trap, so that a guest cannot make the host
/// allocate arbitrary amounts.
pub(super) fn random_bytes(length: u64) -> wasmtime::Result<Vec<u8>> {
    const MOST: u64 = 65_536;
    if length > MOST {
        return Err(wasmtime::Error::msg(format!("{length} random bytes were asked for; at most {MOST} are given")));
    }
    let mut bytes = vec![0; length as usize];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| wasmtime::Error::msg("the system has no random bytes"))?;
    Ok(bytes)
}

pub(super) fn random_number() -> wasmtime::Result<u64> {
    let mut bytes = [0; 8];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| wasmtime::Error::msg("the system has no random bytes"))?;
    Ok(u64::from_le_bytes(bytes))
}

/// Microseconds since the first call in this process.
pub(super) fn monotonic_micros() -> u64 {
    START.elapsed().as_micros() as u64
}

pub(super) static START: LazyLock<Instant> = LazyLock::new(Instant::now);

struct IoError;
struct Pollable;
struct InputStream;
struct OutputStream;
struct TerminalInput;
struct TerminalOutput;
struct Descriptor;
struct DirectoryEntryStream;

#[derive(ComponentType, Lower, Lift)]
#[component(variant)]
enum StreamError {
    #[component(name = "last-operation-failed")]
    #[allow(dead_code)] // a case of the WIT type that is never answered here
    LastOperationFailed(Resource<IoError>),
    #[component(name = "closed")]
    Closed,
}

#[derive(ComponentType, Lower, Lift)]
#[component(record)]
pub(super) struct Datetime {
    pub seconds: u64,
    pub nanoseconds: u32,
}

impl Datetime {
    pub fn now() -> Datetime {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Datetime { seconds: since.as_secs(), nanoseconds: since.subsec_nanos() }
    }
}

type Written = Result<(), StreamError>;

fn streams(interface: &mut LinkerInstance<'_, State>) -> wasmtime::Result<()> {
    function(interface, "[method]output-stream.check-write", |_, (_,): (Resource<OutputStream>,)| {
        Ok((Ok::<u64, StreamError>(4096),))
    })?;
    for name in ["[method]output-stream.write", "[method]output-stream.blocking-write-and-flush"] {
        function(interface, name, |state, (_, bytes): (Resource<OutputStream>, Vec<u8>)| {
            state.print(&bytes);
            Ok((Written::Ok(()),))
        })?;
    }
    for name in ["[method]output-stream.flush", "[method]output-stream.blocking-flush"] {
        function(interface, name, |_, (_,): (Resource<OutputStream>,)| Ok((Written::Ok(()),)))?;
    }
    for name in ["[method]input-stream.read", "[method]input-stream.blocking-read"] {
        function(interface, name, |_, (_, _): (Resource<InputStream>, u64)| {
            Ok((Err::<Vec<u8>, _>(StreamError::Closed),))
        })?;
    }
    Ok(())
}

fn function<P, R>(
    interface: &mut LinkerInstance<'_, State>,
    name: &'static str,
    body: fn(&mut State, P) -> wasmtime::Result<R>,
) -> wasmtime::Result<()>
where
    P: ComponentNamedList + Lift + 'static,
    R: ComponentNamedList + Lower + 'static,
{
    interface.func_wrap(name, move |mut store: StoreContextMut<'_, State>, parameters: P| {
        store.data_mut().charge()?;
        body(store.data_mut(), parameters)
    })
}

fn resource<T: 'static>(interface: &mut LinkerInstance<'_, State>, name: &str) -> wasmtime::Result<()> {
    interface.resource(name, ResourceType::host::<T>(), |_, _| Ok(()))
}
