//! `wat2wasm IN OUT`: the one step between a module as text (`proxy-wasm/no-op.wat`) and what a peer of the benchmark loads.

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [text, binary] = &arguments[..] else {
        eprintln!("usage: wat2wasm IN OUT");
        return ExitCode::FAILURE;
    };
    let converted = wat::parse_file(text)
        .map_err(|error| error.to_string())
        .and_then(|bytes| std::fs::write(binary, bytes).map_err(|error| format!("{binary}: {error}")));
    if let Err(error) = converted {
        eprintln!("wat2wasm: {error}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
