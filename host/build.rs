//! Compiles the stock plugins and embeds them, so that the gateway is one file with its whole bundle; and embeds what
//! `gatewright plugin new` writes.

#![allow(clippy::expect_used, clippy::unwrap_used)] // a build script fails by panicking

#[path = "build/embedded.rs"]
mod embedded;
#[path = "build/guests.rs"]
mod guests;

use std::fmt::Write;
use std::path::PathBuf;

const PREFIX: &str = "gatewright-plugin-";

fn main() {
    let root = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").unwrap()).join("..");
    for input in ["plugins", "plugin-sdk", "wit", "host/build", "Cargo.toml", "Cargo.lock"] {
        println!("cargo:rerun-if-changed={}", root.join(input).display());
    }
    let out = PathBuf::from(std::env::var_os("OUT_DIR").unwrap());
    std::fs::write(out.join("embedded.rs"), embedded::table(&root.canonicalize().unwrap())).unwrap();
    let mut table = String::from("pub static STOCK: &[(&str, &[u8])] = &[\n");
    // What is not called so is no plugin, but what several of them are made of.
    let mut plugins = guests::packages_in(&root.join("plugins"));
    plugins.retain(|package| package.starts_with(PREFIX));
    for (package, component) in guests::build(&plugins) {
        let name = package.strip_prefix(PREFIX).unwrap_or_default();
        let embedded = out.join(format!("{name}.wasm"));
        std::fs::copy(&component, &embedded).unwrap_or_else(|error| panic!("{}: {error}", component.display()));
        writeln!(table, "    ({name:?}, include_bytes!({:?})),", embedded.display()).unwrap();
    }
    table.push_str("];\n");
    std::fs::write(out.join("stock.rs"), table).unwrap();
}
