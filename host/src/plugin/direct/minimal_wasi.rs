//! The minimal WASI ([`super::super::minimal_wasi`]) for guests that run directly. A handle is a number that says what
//! it is of: there is nothing that would have to be kept for one, or given back.

use wasmtime::{Error, Result, ValType};

use super::super::minimal_wasi::{self, START};
use super::super::state::State;
use super::abi::Guest;
use super::host::{Definition, function};

const STDIN: u32 = 0;
const STDOUT: u32 = 1;
const STDERR: u32 = 2;

/// Defines `resource.drop`, which does nothing.
pub fn drop(into: Definition<'_>) -> Result<()> {
    into.function(vec![ValType::I32], |_: &mut State, _: &mut Guest<'_>| Ok(()))
}

/// Defines a WASI function if it is supported. One that is left undefined traps when it is called.
pub fn define(into: Definition<'_>, interface: &str, function: &str) -> Result<bool> {
    macro_rules! functions {
        ($($interface:literal $($function:literal)|+ |$state:ident $(, $parameter:ident: $type:ty)*| $body:expr;)*) => {
            match (interface.strip_prefix("wasi:").and_then(|name| name.split('@').next()).unwrap_or_default(), function) {
                $($(($interface, $function))|+ => {
                    function!(into, |$state $(, $parameter: $type)*| {
                        $state.charge()?;
                        $body
                    })
                })*
                _ => return Ok(false),
            }?
        };
    }

    functions! {
        "cli/environment" "get-environment" |s| Ok(Vec::<(String, String)>::new());
        "cli/environment" "get-arguments" |s| Ok(Vec::<String>::new());
        "cli/environment" "initial-cwd" |s| Ok(None::<String>);
        "cli/exit" "exit" |s, _code: u32| Err::<(), _>(Error::msg("the plugin called exit"));
        "cli/stdin" "get-stdin" |s| Ok(STDIN);
        "cli/stdout" "get-stdout" |s| Ok(STDOUT);
        "cli/stderr" "get-stderr" |s| Ok(STDERR);
        "cli/terminal-stdin" "get-terminal-stdin" |s| Ok(None::<u32>);
        "cli/terminal-stdout" "get-terminal-stdout" |s| Ok(None::<u32>);
        "cli/terminal-stderr" "get-terminal-stderr" |s| Ok(None::<u32>);
        "io/error" "[method]error.to-debug-string" |s, _error: u32| Ok(String::from("error"));
        "io/streams" "[method]output-stream.check-write" |s, _stream: u32| Ok(done(4096_u64));
        "io/streams" "[method]output-stream.write" | "[method]output-stream.blocking-write-and-flush"
            |s, stream: u32, bytes: &[u8]| {
                if stream != STDOUT && stream != STDERR {
                    return Err(Error::msg("the plugin writes to what is no output stream"));
                }
                s.print(bytes);
                Ok(done(()))
            };
        "io/streams" "[method]output-stream.flush" | "[method]output-stream.blocking-flush" |s, _stream: u32| {
            Ok(done(()))
        };
        "io/streams" "[method]input-stream.read" | "[method]input-stream.blocking-read" |s, _stream: u32, _length: u64| {
            Ok(Err::<Vec<u8>, _>(CLOSED))
        };
        "clocks/monotonic-clock" "now" |s| Ok(START.elapsed().as_nanos() as u64);
        "clocks/monotonic-clock" "resolution" |s| Ok(1_u64);
        "clocks/wall-clock" "now" |s| {
            let now = minimal_wasi::Datetime::now();
            Ok((now.seconds, now.nanoseconds))
        };
        "clocks/wall-clock" "resolution" |s| Ok((0_u64, 1_u32));
        "random/random" "get-random-bytes" |s, length: u64| minimal_wasi::random_bytes(length);
        "random/random" "get-random-u64" |s| minimal_wasi::random_number();
        "random/insecure" "get-insecure-random-bytes" |s, length: u64| minimal_wasi::random_bytes(length);
        "random/insecure" "get-insecure-random-u64" |s| minimal_wasi::random_number();
        "random/insecure-seed" "insecure-seed" |s| Ok((minimal_wasi::random_number()?, minimal_wasi::random_number()?));
        "filesystem/preopens" "get-directories" |s| Ok(Vec::<(u32, String)>::new());
    }
    Ok(true)
}

/// `stream-error`: `last-operation-failed` with a handle, or `closed`, which is the only one used here.
type StreamError = std::result::Result<u32, ()>;

const CLOSED: StreamError = Err(());

fn done<T>(value: T) -> std::result::Result<T, StreamError> {
    Ok(value)
}
