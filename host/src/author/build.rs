//! `plugin build`: from sources to a component, with the tools of the author's language.

mod c;
mod go;
mod javascript;
mod python;
mod rust;
mod world;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::toolchain::unusable;
use super::{Error, Language, Project};

/// The purpose of a build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// For traffic: fast, and without names.
    Release,
    /// For its author: traps name functions and, where the language can, lines.
    Debug,
}

/// The result of a build.
pub struct Built {
    pub component: PathBuf,
    /// In bytes.
    pub size: u64,
    pub time: Duration,
}

/// Builds the project's component.
///
/// # Errors
/// A tool is missing (the text says how to install it), or it refuses the sources (and has already reported why). A
/// component that was built before is left unchanged.
pub fn build(project: &Project, profile: Profile) -> Result<Built, Error> {
    let began = Instant::now();
    let output = project.output();
    std::fs::create_dir_all(&output).map_err(|error| unusable(&output, &error))?;
    let made = match project.manifest.language {
        Language::Rust => rust::build(project, profile)?,
        Language::Js | Language::Ts => javascript::build(project)?,
        Language::Python => python::build(project)?,
        Language::C => c::build(project, profile)?,
        Language::Go => go::build(project, profile)?,
    };
    let component = project.component(profile);
    put(&made, &component)?;
    let size = std::fs::metadata(&component).map_err(|error| unusable(&component, &error))?.len();
    Ok(Built { component, size, time: began.elapsed() })
}

/// Moves the component to its place atomically, because a gateway may be watching it.
fn put(made: &Path, component: &Path) -> Result<(), Error> {
    let beside = component.with_extension("wasm.new");
    std::fs::copy(made, &beside).map_err(|error| unusable(made, &error))?;
    std::fs::rename(&beside, component).map_err(|error| unusable(component, &error))
}
