//! Finds the files that `gatewright plugin new` writes into a project: the SDKs, their templates, the contract.

use std::fmt::Write;
use std::path::{Path, PathBuf};

/// The text of a Rust file that holds them all, by their path in the repository.
pub(crate) fn table(root: &Path) -> String {
    let mut files = Vec::new();
    for folder in ["plugin-sdk", "wit"] {
        collect(&root.join(folder), &mut files);
    }
    files.sort();
    let mut table = String::from("pub static FILES: &[(&str, &str)] = &[\n");
    for file in files {
        let inside = file.strip_prefix(root).expect("it was found below the root");
        writeln!(table, "    ({:?}, include_str!({:?})),", inside.display(), file.display()).unwrap();
    }
    table.push_str("];\n");
    table
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    for entry in entries {
        let path = entry.expect("a folder can be read").path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        if !path.is_dir() {
            files.push(path);
        } else if !LEFT_OUT.contains(&name.as_str()) {
            collect(&path, files);
        }
    }
}

/// What tools leave behind, in any language.
const LEFT_OUT: &[&str] = &["target", "node_modules", "__pycache__", ".gatewright"];
