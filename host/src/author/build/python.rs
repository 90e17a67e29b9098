//! Python: pip installs componentize-py into a virtual environment of the project, which puts the code beside CPython.

use std::path::PathBuf;
use std::process::Command;

use crate::author::toolchain::{self, unusable};
use crate::author::{Error, Project};

/// Builds the component, and returns its path. There is no separate build for debugging: exceptions are always logged
/// with their traceback.
pub fn build(project: &Project) -> Result<PathBuf, Error> {
    let environment = environment(project, "requirements.txt")?;
    let made = project.output().join("cpython.wasm");
    let mut componentize = Command::new(environment.join("bin/python"));
    componentize.current_dir(&project.folder);
    // Not the script in bin/, which contains the name of the folder in which the environment was created.
    componentize.args(["-c", "import sys; from componentize_py import script; sys.exit(script())"]);
    componentize.args([
        "-d",
        "wit",
        "-w",
        "plugin",
        "componentize",
        "--stub-wasi",
        "-p",
        ".",
        "-p",
        "sdk",
        "main",
        "-o",
    ]);
    componentize.arg(&made);
    toolchain::run_quietly("putting the code beside CPython", &mut componentize, HINT)?;
    Ok(made)
}

/// The project's virtual environment with the packages of a file of requirements; it is created or updated if it does
/// not match the file.
pub fn environment(project: &Project, requirements: &str) -> Result<PathBuf, Error> {
    let folder = project.folder.join(".gatewright/python");
    let wanted = project.folder.join(requirements);
    let wanted_text = std::fs::read_to_string(&wanted).map_err(|error| unusable(&wanted, &error))?;
    let installed = folder.join("installed.txt");
    if std::fs::read_to_string(&installed).is_ok_and(|text| text == wanted_text) {
        return Ok(folder);
    }
    let mut venv = Command::new("python3");
    venv.args(["-m", "venv"]).arg(&folder);
    toolchain::run_quietly("python3 makes a virtual environment", &mut venv, HINT)?;
    let mut pip = Command::new(folder.join("bin/python"));
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"]).arg(&wanted);
    toolchain::run_quietly(&format!("pip installs what {requirements} names"), &mut pip, HINT)?;
    std::fs::write(&installed, wanted_text).map_err(|error| unusable(&installed, &error))?;
    Ok(folder)
}

pub const HINT: &str =
    "install Python 3.11 or newer with its venv; on Debian and Ubuntu\n\n    apt-get install python3 python3-venv\n";
