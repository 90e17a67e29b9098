//! Go: bindings of the project's world, compiled by the stock toolchain, which pip installs into a virtual environment
//! of the project; the component around the module is made here.
//!
//! A Go module expects an operating system, WASI preview 1. The adapter that replaces it (`plugin-sdk/go/adapter.wat`)
//! is our own: the usual one takes memory before Go runs, or from where Go expects its own heap to grow.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Command;

use super::world::{self, World};
use super::{Profile, python};
use crate::author::toolchain::{self, unusable};
use crate::author::{Error, Project, template};

/// Builds the component, and returns its path.
pub fn build(project: &Project, profile: Profile) -> Result<PathBuf, Error> {
    let environment = python::environment(project, "requirements.txt")?;
    let mut world = World::of(project)?;
    let exports = world.exports();
    generate(project, &mut world)?;
    let modules = modules(project)?;
    let main = main_package(&module_path(project)?, &exports);
    world::write([("main.go", main.as_bytes())].into_iter(), &project.output().join("main"))?;
    let module = project.output().join("core.wasm");
    let mut go = Command::new(environment.join("bin/python"));
    // Not the script in bin/, which contains the name of the folder in which the environment was created.
    go.current_dir(&project.folder).args(["-c", "from go import main; main()", "build", "-trimpath"]);
    go.arg("-modfile").arg(&modules).arg("-buildmode=c-shared");
    if profile == Profile::Release {
        go.arg("-ldflags=-s -w");
    }
    go.arg("-o").arg(&module).arg("./build/main");
    // The toolchain of requirements.txt, whatever go.mod asks for.
    go.envs([("GOOS", "wasip1"), ("GOARCH", "wasm"), ("GOTOOLCHAIN", "local"), ("GOWORK", "off")]);
    toolchain::run_quietly("go compiles", &mut go, python::HINT)?;
    let mut core = std::fs::read(&module).map_err(|error| unusable(&module, &error))?;
    world.embed(&mut core)?;
    let adapter = wat::parse_str(template::file("plugin-sdk/go/adapter.wat"));
    let mut adapter = adapter.map_err(|error| Error::told(error.to_string()))?;
    World::of_contract(template::file("wit/plugin.wit"), "imports-core")?.embed(&mut adapter)?;
    let made = project.output().join("go.wasm");
    std::fs::write(&made, world::component(&core, Some(&adapter))?).map_err(|error| unusable(&made, &error))?;
    Ok(made)
}

/// Writes the bindings as the module `gatewright/wit`. The SDK has what they need of the generator's own library, so
/// nothing is fetched, and the library matches our adapter.
fn generate(project: &Project, world: &mut World) -> Result<(), Error> {
    let options = wit_bindgen_go::Opts {
        format: wit_bindgen_go::Format::False,
        pkg_name: Some("gatewright/wit".to_owned()),
        quiet: true,
        ..wit_bindgen_go::Opts::default()
    };
    let files = world.bindings(options.build())?;
    let files: Vec<(&str, String)> = files
        .iter()
        .map(|(name, bytes)| {
            let text = String::from_utf8_lossy(bytes)
                .replace(LIBRARY, "gatewright/internal/wit/")
                .replace(EXPORTS, "gatewright/internal/export_")
                // The bindings only use its Pinner.
                .replace("\"runtime\"\n", "runtime \"gatewright/internal/wit/pin\"\n");
            (name, text)
        })
        .collect();
    let module = [("go.mod", &b"module gatewright/wit\n\ngo 1.25\n\nrequire gatewright v0.1.0\n"[..])];
    let files = files.iter().map(|(name, text)| (*name, text.as_bytes()));
    world::write(files.chain(module), &project.output().join("bindings"))
}

/// The project's go.mod, in which the generated code replaces the double for tests.
fn modules(project: &Project) -> Result<PathBuf, Error> {
    let path = project.folder.join("go.mod");
    let text = std::fs::read_to_string(&path).map_err(|error| unusable(&path, &error))?;
    let made = project.output().join("wasm.mod");
    std::fs::write(&made, with_bindings(&text)).map_err(|error| unusable(&made, &error))?;
    // Go looks for the checksums of other modules beside it.
    let (sums, beside) = (project.folder.join("go.sum"), project.output().join("wasm.sum"));
    if sums.is_file() {
        std::fs::copy(&sums, &beside).map_err(|error| unusable(&beside, &error))?;
    }
    Ok(made)
}

fn with_bindings(modules: &str) -> String {
    let line = |line: &str| match line.split_once("=>") {
        // A line of its own begins with the word, and a version may follow the name.
        Some((module, _)) if module.split_whitespace().find(|word| *word != "replace") == Some("gatewright/wit") => {
            format!("{module}=> ./build/bindings\n")
        }
        _ => format!("{line}\n"),
    };
    modules.lines().map(line).collect()
}

/// The package to compile: the author's, with a line for each hook that the world exports. If a hook is not written, it
/// does not compile. On other systems the package is empty, so that `go test ./...` skips it: the double has no
/// exports.
fn main_package(module: &str, exports: &[String]) -> String {
    let mut text = format!(
        "// Code generated by gatewright plugin build of wit/world.wit. DO NOT EDIT.\n\n//go:build wasip1\n\n\
         package main\n\nimport (\n\t\"gatewright/export\"\n\t_ \"gatewright/wit/exports/wit_exports\"\n\n\
         \tplugin {module:?}\n)\n\nfunc init() {{\n"
    );
    for export in exports {
        let _ = writeln!(text, "\texport.{}(plugin.Plugin)", camel_case(export));
    }
    text + "}\n\nfunc main() {}\n"
}

/// The path of the project's module.
fn module_path(project: &Project) -> Result<String, Error> {
    let path = project.folder.join("go.mod");
    let text = std::fs::read_to_string(&path).map_err(|error| unusable(&path, &error))?;
    let module = text.lines().find_map(|line| line.trim().strip_prefix("module "));
    let module = module.map(|path| path.trim().trim_matches('"').to_owned());
    module.ok_or_else(|| Error::told(format!("{}: there is no line \"module NAME\"", path.display())))
}

fn camel_case(name: &str) -> String {
    let words = name.split('-').map(|word| {
        let (first, rest) = word.split_at(word.len().min(1));
        first.to_uppercase() + rest
    });
    words.collect()
}

/// The path under which generated code imports its generator's library and the functions that a world exports.
const LIBRARY: &str = "go.bytecodealliance.org/pkg/wit/";
const EXPORTS: &str = "gatewright/wit/exports/export_";

#[cfg(test)]
mod tests {
    use super::with_bindings;

    #[test]
    fn the_bindings_take_the_place_of_the_double() {
        for (line, expected) in [
            ("\tgatewright/wit => ./sdk/double", "\tgatewright/wit => ./build/bindings"),
            ("replace gatewright/wit => ./sdk/double", "replace gatewright/wit => ./build/bindings"),
            ("replace gatewright/wit v0.1.0 => ./sdk/double", "replace gatewright/wit v0.1.0 => ./build/bindings"),
            ("gatewright/wit => ./build/bindings", "gatewright/wit => ./build/bindings"),
            ("\tgatewright => ./sdk", "\tgatewright => ./sdk"),
            ("\tgatewright/wit v0.1.0", "\tgatewright/wit v0.1.0"),
            ("// gatewright/wit => ./x", "// gatewright/wit => ./x"),
        ] {
            assert_eq!(with_bindings(line), format!("{expected}\n"));
        }
    }
}
