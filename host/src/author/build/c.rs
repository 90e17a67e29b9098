//! C: bindings of the project's world, compiled by Zig's C compiler, which pip installs into a virtual environment of
//! the project; the component around the module is made here.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Profile, python, world};
use crate::author::toolchain::{self, unusable};
use crate::author::{Error, Project};

/// Builds the component, and returns its path.
pub fn build(project: &Project, profile: Profile) -> Result<PathBuf, Error> {
    let environment = python::environment(project, "requirements.txt")?;
    let (output, bindings) = (project.output(), project.output().join("bindings"));
    let files = world::World::of(project)?.bindings(wit_bindgen_c::Opts::default().build())?;
    world::write(files.iter(), &bindings)?;
    let compile = |doing: &str, flags: &[&str], files: &[PathBuf], made: &Path| {
        let mut zig = Command::new(environment.join("bin/python"));
        zig.current_dir(&project.folder).args(["-m", "ziglang", "cc"]).args(TARGET).args(flags);
        zig.args(if profile == Profile::Release { ["-Os", "-s"] } else { ["-O1", "-g"] });
        zig.arg("-Isdk").arg("-I").arg(&bindings).args(files).arg("-o").arg(made);
        toolchain::run_quietly(doing, &mut zig, python::HINT)
    };
    let mut inputs = sources(&project.folder.join("src"))?;
    for (source, object) in [(bindings.join("plugin.c"), "bindings.o"), (PathBuf::from("sdk/gatewright.c"), "sdk.o")] {
        let object = output.join(object);
        compile("zig cc compiles the SDK", &["-c"], &[source], &object)?;
        inputs.push(object);
    }
    inputs.push(bindings.join("plugin_component_type.o"));
    let module = output.join("core.wasm");
    compile("zig cc compiles the plugin", STRICT, &inputs, &module)?;
    let core = std::fs::read(&module).map_err(|error| unusable(&module, &error))?;
    let made = output.join("c.wasm");
    std::fs::write(&made, world::component(&core, None)?).map_err(|error| unusable(&made, &error))?;
    Ok(made)
}

/// The author's C files.
fn sources(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let entries = std::fs::read_dir(folder).map_err(|error| unusable(folder, &error))?;
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "c"))
        .collect();
    files.sort();
    Ok(files)
}

const TARGET: &[&str] = &[
    "-target",
    "wasm32-wasi",
    "-mexec-model=reactor",
    "-std=c17",
    // Zig's own checks report errors through a system, which is not there.
    "-fno-sanitize=undefined",
];
/// For the author's files.
const STRICT: &[&str] = &[
    "-Wall",
    "-Wextra",
    // A hook that the world does not export has no prototype, and would never be called.
    "-Werror=missing-prototypes",
    // Without it Zig reserves 16 MiB for the stack.
    "-Wl,-z,stack-size=65536",
];
