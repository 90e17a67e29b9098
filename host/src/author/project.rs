//! A plugin's folder and its `plugin.json`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::build::Profile;
use super::{Error, toolchain};
use crate::config::{self, Name};

/// A folder with a `plugin.json`.
#[derive(Clone)]
pub struct Project {
    /// An absolute path.
    pub folder: PathBuf,
    pub manifest: Manifest,
}

/// `plugin.json`: what the tools have to know of a plugin.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// What the plugin is called in gateway.json, and what its file is called.
    pub name: Name,

    /// What it is written in, which says how it is built.
    pub language: Language,

    /// What `plugin run`, `dev` and `bench` configure it with. Default: `{}`.
    #[serde(default = "empty")]
    pub config: Value,

    /// The upstreams that `plugin run` and `dev` lend it for calls, by name, each with its address. Default: none.
    #[serde(default)]
    pub upstreams: BTreeMap<String, String>,
}

/// A language with an SDK and a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Language {
    Rust,
    /// JavaScript.
    Js,
    /// TypeScript.
    Ts,
    Python,
    C,
    Go,
}

impl Language {
    /// The word in `--lang` and in `plugin.json`; also the name of its folder in `plugin-sdk/templates`.
    pub fn name(self) -> &'static str {
        match self {
            Language::Rust => "rust",
            Language::Js => "js",
            Language::Ts => "ts",
            Language::Python => "python",
            Language::C => "c",
            Language::Go => "go",
        }
    }
}

impl Project {
    /// Opens the project in `folder`.
    ///
    /// # Errors
    /// There is none, or its `plugin.json` is wrong.
    pub fn open(folder: &Path) -> Result<Project, Error> {
        let path = folder.join(FILE);
        if !path.is_file() {
            return Err(Error::told(format!(
                "there is no {FILE} in {}; `gatewright plugin new --lang rust NAME` begins a plugin, and \
                 `--component FILE` names one that is built already",
                folder.display()
            )));
        }
        let (manifest, _) = config::read::<Manifest>(&path)?;
        let folder = folder.canonicalize().map_err(|error| toolchain::unusable(folder, &error))?;
        Ok(Project { folder, manifest })
    }

    pub fn name(&self) -> &str {
        self.manifest.name.as_str()
    }

    /// The path of its built component.
    pub fn component(&self, profile: Profile) -> PathBuf {
        let file = match profile {
            Profile::Release => format!("{}.wasm", self.name()),
            Profile::Debug => format!("{}.debug.wasm", self.name()),
        };
        self.output().join(file)
    }

    /// The folder for generated files.
    pub fn output(&self) -> PathBuf {
        self.folder.join("build")
    }

    /// Its files of test cases, ordered by name.
    pub fn case_files(&self) -> Result<Vec<PathBuf>, Error> {
        let folder = self.folder.join("tests");
        let Ok(entries) = std::fs::read_dir(&folder) else { return Ok(Vec::new()) };
        let mut files: Vec<PathBuf> = entries
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
            .collect();
        files.sort();
        Ok(files)
    }

    /// The files whose changes require a new build.
    pub fn sources(&self) -> Vec<PathBuf> {
        let mut files = Vec::new();
        collect(&self.folder, &mut files);
        files.sort();
        files
    }
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if files.len() >= MOST_SOURCES || name.starts_with('.') || MADE.contains(&name) {
            continue;
        }
        if path.is_dir() {
            collect(&path, files);
        } else {
            files.push(path);
        }
    }
}

fn empty() -> Value {
    Value::Object(Map::new())
}

/// The file that makes a folder a project.
pub const FILE: &str = "plugin.json";
/// Generated files, which are not watched.
const MADE: &[&str] =
    &["build", "target", "node_modules", "__pycache__", "tests", "README.md", "Cargo.lock", "package-lock.json"];
/// Limit for watched files, since each costs the system something.
const MOST_SOURCES: usize = 2000;
