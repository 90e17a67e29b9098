//! Rust: Cargo compiles straight to a component.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::Profile;
use crate::author::{Error, Project, toolchain};

/// Builds the crate, and returns the path of Cargo's component.
pub fn build(project: &Project, profile: Profile) -> Result<PathBuf, Error> {
    require_target()?;
    let mut cargo = Command::new("cargo");
    cargo.current_dir(&project.folder);
    cargo.args(["build", "--lib", "--target", TARGET, "--message-format", "json-render-diagnostics"]);
    if profile == Profile::Release {
        cargo.arg("--release");
    }
    let manifest = project.folder.join("Cargo.toml");
    let messages = toolchain::run(&mut cargo, HINT)?;
    component(&messages, &manifest).ok_or_else(|| {
        Error::told("Cargo built no component: the [lib] of Cargo.toml needs crate-type = [\"cdylib\"]".to_owned())
    })
}

/// Finds the component among the artifacts that Cargo reports.
fn component(messages: &str, manifest: &Path) -> Option<PathBuf> {
    let artifacts = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let ours = artifacts.filter(|message| message["manifest_path"].as_str().map(Path::new) == Some(manifest));
    let files = ours.filter_map(|message| message["filenames"].as_array().cloned()).flatten();
    files.filter_map(|file| Some(PathBuf::from(file.as_str()?))).find(|path| path.extension() == Some("wasm".as_ref()))
}

fn require_target() -> Result<(), Error> {
    let mut rustc = Command::new("rustc");
    rustc.args(["--print", "target-libdir", "--target", TARGET]);
    let folder = toolchain::run(&mut rustc, HINT)?;
    if Path::new(folder.trim()).is_dir() {
        return Ok(());
    }
    Err(Error::told(format!(
        "Rust's target for components is missing; install it with\n\n    rustup target add {TARGET}\n"
    )))
}

const TARGET: &str = "wasm32-wasip2";
const HINT: &str =
    "install Rust 1.95 or newer with rustup (rustup.rs), then run\n\n    rustup target add wasm32-wasip2\n";
