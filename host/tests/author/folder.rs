//! An author's folder, and the binary running in it.

use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

/// A folder that is deleted with the test.
pub struct Folder(TempDir);

/// The output of the binary.
pub struct Said {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Folder {
    pub fn empty() -> Folder {
        Folder(tempfile::tempdir().unwrap())
    }

    /// A new project with the tools of its language, which are installed once for all tests and runs.
    pub fn project(language: &str, name: &str) -> Folder {
        let folder = Folder::empty();
        folder.run(&["plugin", "new", "--lang", language, name, "--path", "."]).good();
        let Some(kept) = tools(language) else { return folder };
        std::fs::create_dir_all(kept.parent().unwrap()).unwrap();
        let lock = File::create(kept.with_extension("lock")).unwrap();
        lock.lock().unwrap();
        if !kept.is_dir() {
            folder.run(&["plugin", "build"]).good();
            let beside = kept.with_extension("new");
            let _ = std::fs::remove_dir_all(&beside);
            std::fs::create_dir(&beside).unwrap();
            for made in made_tools(folder.path()) {
                let target = beside.join(made.file_name().unwrap());
                // It must be copied if it is not on the disk of temporary files.
                std::fs::rename(&made, &target).unwrap_or_else(|_| lay_over(&made, &target));
            }
            std::fs::rename(&beside, &kept).unwrap();
        }
        drop(lock);
        for made in made_tools(&kept) {
            let link = folder.path().join(made.file_name().unwrap());
            let _ = std::fs::remove_dir_all(&link);
            std::os::unix::fs::symlink(&made, &link).unwrap();
        }
        folder
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    pub fn read(&self, file: &str) -> String {
        std::fs::read_to_string(self.path().join(file)).unwrap()
    }

    pub fn write(&self, file: &str, text: impl AsRef<[u8]>) {
        std::fs::write(self.path().join(file), text).unwrap();
    }

    /// Copies another folder over this one.
    pub fn lay_over(&self, from: &Path) {
        lay_over(from, self.path());
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gatewright"));
        command.current_dir(self.path()).args(arguments);
        // One folder for all Rust plugins, so that the SDK is compiled once; and only crates that are already here.
        command.env("CARGO_TARGET_DIR", build_folder().join("rust")).env("CARGO_NET_OFFLINE", "true");
        // Nor is anything fetched for Go.
        command.env("GOPROXY", "off");
        command
    }

    /// Runs the toolchain of a project in Go.
    pub fn go(&self, arguments: &[&str]) -> Said {
        let mut go = Command::new(self.path().join(".gatewright/python/bin/python"));
        go.current_dir(self.path()).args(["-c", "from go import main; main()"]).args(arguments);
        Said::of(go.envs([("GOPROXY", "off"), ("GOTOOLCHAIN", "local"), ("GOWORK", "off")]).output().unwrap())
    }

    pub fn run(&self, arguments: &[&str]) -> Said {
        Said::of(self.command(arguments).output().unwrap())
    }
}

impl Said {
    pub fn of(output: Output) -> Said {
        Said {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    #[track_caller]
    pub fn good(self) -> Said {
        assert_eq!(self.code, Some(0), "{}\n{}", self.stdout, self.stderr);
        self
    }

    #[track_caller]
    pub fn bad(self) -> Said {
        assert_eq!(self.code, Some(1), "{}\n{}", self.stdout, self.stderr);
        self
    }

    /// Checks that these words were printed, to stdout or stderr.
    #[track_caller]
    pub fn says(&self, words: &str) {
        let said = format!("{}{}", self.stdout, self.stderr);
        assert!(said.contains(words), "{words:?} is not in\n{said}");
    }
}

pub fn repository() -> PathBuf {
    PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").unwrap()).join("..")
}

fn build_folder() -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("authors")
}

/// Where the tools of a language are kept between runs, by the file that lists them. Rust has no such file.
fn tools(language: &str) -> Option<PathBuf> {
    let template = repository().join("plugin-sdk/templates").join(language);
    let named = ["requirements.txt", "package.json"].iter().find_map(|file| std::fs::read(template.join(file)).ok())?;
    let mut hasher = DefaultHasher::new();
    named.hash(&mut hasher);
    let tools = PathBuf::from(std::env::var_os("HOME").unwrap()).join(".cache/gatewright/tools/authors");
    Some(tools.join(format!("{language}-{:016x}", hasher.finish())))
}

/// The folders that package managers fill.
fn made_tools(folder: &Path) -> impl Iterator<Item = PathBuf> {
    ["node_modules", ".gatewright"].map(|name| folder.join(name)).into_iter().filter(|path| path.is_dir())
}

/// Copies a folder; symbolic links stay links.
fn lay_over(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_symlink() {
            std::os::unix::fs::symlink(std::fs::read_link(&path).unwrap(), &target).unwrap();
        } else if path.is_dir() {
            lay_over(&path, &target);
        } else {
            std::fs::copy(&path, &target).unwrap();
        }
    }
}
