//! `plugin new`: a project from a template, including everything that it needs from this gateway.
//!
//! The SDK is copied into the project from the binary: so it matches the contract of this very gateway, the project
//! builds anywhere, and nothing has to be published for it. `plugin sdk` updates the copy.

use std::io;
use std::path::{Path, PathBuf};

use super::toolchain::unusable;
use super::{Error, Language};

include!(concat!(env!("OUT_DIR"), "/embedded.rs"));

/// Writes a new project into `folder`, which must be empty or not exist yet. Returns the paths of its own files,
/// without those of the SDK.
///
/// # Errors
/// The name is not valid for a plugin, or the folder is not empty: then nothing was written.
pub fn write(language: Language, name: &str, folder: &Path) -> Result<Vec<PathBuf>, Error> {
    check_name(name)?;
    check_folder(folder)?;
    let own = format!("plugin-sdk/templates/{}/", language.name());
    let mut written = Vec::new();
    for (path, text) in below(&own).chain(below("plugin-sdk/templates/common/")) {
        write_file(&folder.join(path), &renamed(text, name))?;
        written.push(PathBuf::from(path));
    }
    write_sdk(language, folder)?;
    Ok(written)
}

/// Replaces the SDK in the project's folder `sdk` with this gateway's, and writes the contract to where the language's
/// tools look for it.
pub fn write_sdk(language: Language, folder: &Path) -> Result<(), Error> {
    let sdk = folder.join("sdk");
    match std::fs::remove_dir_all(&sdk) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(unusable(&sdk, &error)),
        _ => {}
    }
    match language {
        Language::Rust => {
            // The repository's layout, because the crate finds the contract by its relative path.
            for prefix in ["plugin-sdk/rust/src/", "plugin-sdk/rust/macros/", "wit/"] {
                copy(prefix, &sdk.join(prefix))?;
            }
            write_file(&sdk.join("plugin-sdk/rust/Cargo.toml"), file("plugin-sdk/rust/Cargo.toml"))?;
            write_file(&sdk.join("Cargo.toml"), file("plugin-sdk/templates/rust.workspace.toml"))
        }
        Language::Js | Language::Ts => {
            copy("plugin-sdk/js/", &sdk)?;
            copy("wit/", &folder.join(CONTRACT))
        }
        Language::Python | Language::C | Language::Go => {
            copy(&format!("plugin-sdk/{}/", language.name()), &sdk)?;
            copy("wit/", &folder.join(CONTRACT))
        }
    }
}

fn copy(prefix: &str, folder: &Path) -> Result<(), Error> {
    below(prefix).try_for_each(|(path, text)| write_file(&folder.join(path), text))
}

/// The embedded files below a folder, by their path in it.
fn below(prefix: &str) -> impl Iterator<Item = (&'static str, &'static str)> + '_ {
    FILES.iter().filter_map(move |(path, text)| Some((path.strip_prefix(prefix)?, *text)))
}

/// An embedded file by its path in the repository.
pub(super) fn file(path: &str) -> &'static str {
    FILES.iter().find(|(known, _)| *known == path).map_or("", |(_, text)| text)
}

/// A template is a complete project with the name "my-plugin".
fn renamed(text: &str, name: &str) -> String {
    text.replace("my-plugin", name).replace("my_plugin", &name.replace('-', "_"))
}

fn check_name(name: &str) -> Result<(), Error> {
    let good = name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.len() <= LONGEST_NAME
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    if good {
        return Ok(());
    }
    Err(Error::told(format!(
        "{name:?} cannot be the name of a plugin: it has lower-case letters, digits and hyphens, begins with a letter and \
         is at most {LONGEST_NAME} characters long, such as \"no-bots\""
    )))
}

fn check_folder(folder: &Path) -> Result<(), Error> {
    match std::fs::read_dir(folder) {
        Ok(mut entries) => match entries.next() {
            None => Ok(()),
            Some(_) => Err(Error::told(format!(
                "{} is not empty, and nothing was written; name an empty or a new folder with --path",
                folder.display()
            ))),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(unusable(folder, &error)),
    }
}

fn write_file(path: &Path, text: &str) -> Result<(), Error> {
    let folder = path.parent().unwrap_or(Path::new(""));
    std::fs::create_dir_all(folder).map_err(|error| unusable(folder, &error))?;
    std::fs::write(path, text).map_err(|error| unusable(path, &error))
}

/// Where tools that read a world look for the package that it refers to.
const CONTRACT: &str = "wit/deps/gatewright";
/// Accepted by the packages of every language.
const LONGEST_NAME: usize = 40;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_every_language_accepts() {
        for (name, is_good) in [
            ("a", true),
            ("no-bots", true),
            ("geo2", true),
            (&"x".repeat(40), true),
            (&"x".repeat(41), false),
            ("", false),
            ("2geo", false),
            ("-a", false),
            ("No-Bots", false),
            ("no_bots", false),
            ("no bots", false),
            ("../up", false),
            ("überall", false),
        ] {
            assert_eq!(check_name(name).is_ok(), is_good, "{name}");
        }
    }

    #[test]
    fn the_copied_sdk_has_the_versions_of_this_workspace() {
        let ours: toml_lines::Lines = toml_lines::of(include_str!("../../../Cargo.toml"));
        for line in toml_lines::of(file("plugin-sdk/templates/rust.workspace.toml")) {
            assert!(line.starts_with("members") || ours.contains(&line), "not in our Cargo.toml: {line}");
        }
    }

    mod toml_lines {
        pub type Lines = Vec<String>;

        pub fn of(text: &str) -> Lines {
            text.lines()
                .map(str::trim)
                .filter(|line| line.contains('=') && !line.starts_with('#'))
                .map(str::to_owned)
                .collect()
        }
    }
}
