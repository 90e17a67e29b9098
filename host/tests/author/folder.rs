//! A folder of an author, and the binary in it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

/// A folder that goes away with the test.
pub struct Folder(TempDir);

/// What the binary said.
pub struct Said {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Folder {
    pub fn empty() -> Folder {
        Folder(tempfile::tempdir().unwrap())
    }

    /// A new project, with the tools of its language from an earlier run.
    pub fn project(language: &str, name: &str) -> Folder {
        let folder = Folder::empty();
        folder.run(&["plugin", "new", "--lang", language, name, "--path", "."]).good();
        for tools in ["node_modules", ".gatewright"] {
            let kept = kept(language).join(tools);
            if kept.is_dir() {
                std::os::unix::fs::symlink(&kept, folder.path().join(tools)).unwrap();
            }
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

    /// Lays another folder over this one.
    pub fn lay_over(&self, from: &Path) {
        lay_over(from, self.path());
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gatewright"));
        command.current_dir(self.path()).args(arguments);
        // One folder for all Rust plugins, so that the SDK is compiled once; and only crates that are here already.
        command.env("CARGO_TARGET_DIR", build_folder().join("rust")).env("CARGO_NET_OFFLINE", "true");
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Said {
        Said::of(self.command(arguments).output().unwrap())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // The first run leaves the tools to later ones.
        let Ok(text) = std::fs::read_to_string(self.path().join("plugin.json")) else { return };
        let Some(language) = text.split("\"language\": \"").nth(1).and_then(|rest| rest.split('"').next()) else {
            return;
        };
        for tools in ["node_modules", ".gatewright"] {
            let (made, kept) = (self.path().join(tools), kept(language).join(tools));
            if made.is_dir() && !made.is_symlink() && !kept.exists() {
                let _ = std::fs::create_dir_all(kept.parent().unwrap());
                let beside = kept.with_extension(std::process::id().to_string());
                lay_over(&made, &beside);
                // Another test may have been first.
                if std::fs::rename(&beside, &kept).is_err() {
                    let _ = std::fs::remove_dir_all(&beside);
                }
            }
        }
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

    /// Whether these words were said, on whichever side.
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

/// Where the tools of a language are between runs.
fn kept(language: &str) -> PathBuf {
    build_folder().join(language)
}

/// Copies a folder, with the symbolic links as they are.
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
