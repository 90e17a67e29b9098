//! Compiles guest crates of this workspace to WebAssembly components. Used by the build scripts of the gateway (the
//! stock bundle) and of the tests (their guests).

use std::path::{Path, PathBuf};
use std::process::Command;

/// Builds `packages` and returns each with the path of its component, in the order given.
///
/// The guests have a target directory of their own beside the host's, shared by all profiles: they are always
/// compiled in the profile "plugin".
pub(crate) fn build(packages: &[String]) -> Vec<(String, PathBuf)> {
    require_target();
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    // <target>/<profile>/build/<package>/out
    let target = out.ancestors().nth(4).expect("OUT_DIR lies in a target directory").join("guests");
    let mut cargo = Command::new(std::env::var_os("CARGO").expect("cargo sets CARGO"));
    cargo.args(["build", "--quiet", "--profile", "plugin", "--target", TARGET, "--target-dir"]).arg(&target);
    for package in packages {
        cargo.args(["--package", package]);
    }
    // What is meant for the host (coverage, sanitizers, clippy as the compiler) does not fit the guests.
    for variable in ["CARGO_ENCODED_RUSTFLAGS", "RUSTFLAGS", "RUSTC_WORKSPACE_WRAPPER", "RUSTC_WRAPPER"] {
        cargo.env_remove(variable);
    }
    let status = cargo.status().expect("cargo starts");
    assert!(status.success(), "the guests do not compile; the errors are above");
    let component = |package: &String| {
        let file = format!("{}.wasm", package.replace('-', "_"));
        (package.clone(), target.join(TARGET).join("plugin").join(file))
    };
    packages.iter().map(component).collect()
}

/// The package names of the crates in a folder, sorted.
pub(crate) fn packages_in(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut names: Vec<String> = entries
        .filter_map(|entry| std::fs::read_to_string(entry.ok()?.path().join("Cargo.toml")).ok())
        .filter_map(|manifest| {
            let line = manifest.lines().find(|line| line.starts_with("name"))?.to_owned();
            Some(line.split('"').nth(1)?.to_owned())
        })
        .collect();
    names.sort();
    names
}

fn require_target() {
    let rustc = std::env::var_os("RUSTC").expect("cargo sets RUSTC");
    let output = Command::new(rustc)
        .args(["--print", "target-libdir", "--target", TARGET])
        .env_remove("RUSTC_WORKSPACE_WRAPPER")
        .output()
        .expect("rustc starts");
    let folder = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    assert!(
        output.status.success() && folder.is_dir(),
        "\n\n  The plugins are compiled to WebAssembly, and Rust's target for that is missing. Add it with\n\n      \
         rustup target add {TARGET}\n\n  or start with `make run`, which does it.\n"
    );
}

const TARGET: &str = "wasm32-wasip2";
