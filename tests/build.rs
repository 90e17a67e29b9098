//! Compiles the guests that the tests run: `tests/guests/*`.

#![allow(clippy::expect_used, clippy::unwrap_used)] // a build script fails by panicking

#[path = "../host/build/guests.rs"]
mod guests;

use std::fmt::Write;
use std::path::PathBuf;

fn main() {
    let root = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").unwrap()).join("..");
    for input in ["tests/guests", "plugin-sdk/rust", "wit", "host/build", "Cargo.toml", "Cargo.lock"] {
        println!("cargo:rerun-if-changed={}", root.join(input).display());
    }
    let mut table = String::from("pub static GUESTS: &[(&str, &str)] = &[\n");
    for (package, component) in guests::build(&guests::packages_in(&root.join("tests/guests"))) {
        writeln!(table, "    ({package:?}, {:?}),", component.display()).unwrap();
    }
    table.push_str("];\n");
    let out = PathBuf::from(std::env::var_os("OUT_DIR").unwrap());
    std::fs::write(out.join("guests.rs"), table).unwrap();
}
