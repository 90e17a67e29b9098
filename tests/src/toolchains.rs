//! Services that toolchains other than cargo make: components of `wasi:http` in Python and JavaScript.

use std::path::{Path, PathBuf};

use crate::companion::tools;
use crate::repository;

/// What componentize-py made of `tests/toolchains/service.py` and `service_p3.py`, and componentize-js of `service.js`.
pub fn made_of(source: &str) -> PathBuf {
    let (sources, made) = (repository().join("tests/toolchains"), tools().join("toolchains"));
    let is_new = |name: &Path| std::fs::read(sources.join(name)).ok() == std::fs::read(made.join("of").join(name)).ok();
    let mut names = std::fs::read_dir(&sources).unwrap().map(|entry| PathBuf::from(entry.unwrap().file_name()));
    assert!(names.all(|name| is_new(&name)), "make the components, and install what makes them, with: make toolchains");
    made.join(format!("{source}.wasm"))
}
