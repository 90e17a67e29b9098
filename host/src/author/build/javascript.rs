//! JavaScript and TypeScript: npm installs componentize-qjs into the project, which puts the code beside QuickJS.

use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};

use crate::author::toolchain::{self, unusable};
use crate::author::{Error, Language, Project};

/// Builds the component, and returns its path. There is no separate build for debugging: exceptions are always logged
/// with their stack.
pub fn build(project: &Project) -> Result<PathBuf, Error> {
    install(project)?;
    // The root of the component's code, with the project's layout, so that relative imports work.
    let (root, main) = match project.manifest.language {
        Language::Ts => (compile(project)?, "src/plugin.js"),
        _ => (project.folder.clone(), "src/plugin.js"),
    };
    let main = root.join(main);
    if !main.is_file() {
        return Err(Error::told(format!("there is no {}, where a plugin begins", main.display())));
    }
    let made = project.output().join("qjs.wasm");
    let mut componentize = tool(project, "componentize-qjs");
    componentize.args(["--wit", "wit", "--world", "plugin", "--sync", "--stub-wasi", "--js"]).arg(&main);
    componentize.arg("--module-root").arg(&root).arg("--output").arg(&made);
    toolchain::run_quietly("putting the code beside QuickJS", &mut componentize, NPM)?;
    Ok(made)
}

/// Installs the packages of package.json, the first time and whenever they have changed.
fn install(project: &Project) -> Result<(), Error> {
    let wanted = project.folder.join("package.json");
    let wanted_text = std::fs::read_to_string(&wanted).map_err(|error| unusable(&wanted, &error))?;
    let wanted_text = dependencies(&wanted_text);
    let installed = project.folder.join("node_modules/.gatewright.json");
    if std::fs::read_to_string(&installed).is_ok_and(|text| text == wanted_text) {
        return Ok(());
    }
    let mut npm = Command::new("npm");
    npm.current_dir(&project.folder).args(["install", "--no-audit", "--no-fund"]);
    toolchain::run_quietly("npm installs what package.json names", &mut npm, NPM)?;
    std::fs::write(&installed, wanted_text).map_err(|error| unusable(&installed, &error))
}

/// The parts of a package.json that determine what is installed.
fn dependencies(text: &str) -> String {
    let package: Value = serde_json::from_str(text).unwrap_or_default();
    json!([package["dependencies"], package["devDependencies"]]).to_string()
}

/// Checks the types and removes them; returns the folder with the code and the SDK.
fn compile(project: &Project) -> Result<PathBuf, Error> {
    let root = project.output().join("js");
    let mut tsc = tool(project, "tsc");
    tsc.args(["--project", "."]);
    toolchain::run_quietly("tsc checks the types", &mut tsc, NPM)?;
    let sdk = root.join("sdk");
    std::fs::create_dir_all(&sdk).map_err(|error| unusable(&sdk, &error))?;
    let from = project.folder.join("sdk");
    let entries = std::fs::read_dir(&from).map_err(|error| unusable(&from, &error))?;
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        if path.extension().is_some_and(|extension| extension == "js") {
            let to = sdk.join(path.file_name().unwrap_or_default());
            std::fs::copy(&path, &to).map_err(|error| unusable(&to, &error))?;
        }
    }
    Ok(root)
}

/// A tool that npm has installed in the project.
fn tool(project: &Project, name: &str) -> Command {
    let mut command = Command::new(project.folder.join("node_modules/.bin").join(name));
    command.current_dir(&project.folder);
    command
}

const NPM: &str =
    "install Node.js 20 or newer, which npm comes with; on Debian and Ubuntu\n\n    apt-get install nodejs npm\n";
