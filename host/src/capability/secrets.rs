//! `secrets`: values that are named in the configuration and kept out of its text.
//!
//! They are read once, when a snapshot is built, so a missing variable or an unreadable file is an error before any
//! traffic sees it, and a changed secret takes effect with the next reload. A plugin gets a [`Granted`]: the secrets
//! the operator listed for it and no way to the others. Nothing here shows a value: `Debug` prints names only.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::regular_file;

/// All secrets of one snapshot, by name.
#[derive(Clone, Default)]
pub struct Secrets {
    values: BTreeMap<String, Arc<str>>,
}

/// Where the value of a secret comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The name of an environment variable.
    Environment(String),
    /// The path of a regular file.
    File(PathBuf),
}

impl Secrets {
    /// Reads every secret. `environment` looks a variable up, like `std::env::var_os`.
    ///
    /// One line break at the end of a file is dropped, since editors and `echo` add one. A value must be UTF-8, not
    /// empty and at most [`MAX_SECRET_BYTES`] long. All mistakes are reported at once, by the name of the secret.
    pub fn read<'a>(
        sources: impl IntoIterator<Item = (&'a str, &'a Source)>,
        environment: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Secrets, Vec<String>> {
        let mut values = BTreeMap::new();
        let mut mistakes = Vec::new();
        for (name, source) in sources {
            match source.read(&environment) {
                Ok(value) => {
                    values.insert(name.to_owned(), value.into());
                }
                Err(mistake) => mistakes.push(format!("secret {name:?}: {mistake}")),
            }
        }
        if mistakes.is_empty() { Ok(Secrets { values }) } else { Err(mistakes) }
    }

    /// The secrets of these names, for one plugin. Each unknown name is an error.
    pub fn grant<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> Result<Granted, Vec<String>> {
        let mut values = BTreeMap::new();
        let mut unknown = Vec::new();
        for name in names {
            match self.values.get(name) {
                Some(value) => {
                    values.insert(name.to_owned(), Arc::clone(value));
                }
                None => unknown.push(format!("no secret is named {name:?}")),
            }
        }
        if unknown.is_empty() { Ok(Granted { values }) } else { Err(unknown) }
    }
}

/// The secrets that one plugin was granted.
#[derive(Clone, Default)]
pub struct Granted {
    values: BTreeMap<String, Arc<str>>,
}

impl Granted {
    /// A name that was not granted looks like one that does not exist.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(AsRef::as_ref)
    }

    /// A digest of names and values, to compare two grants without keeping either.
    pub fn fingerprint(&self) -> Vec<u8> {
        let mut context = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
        for text in self.values.iter().flat_map(|(name, value)| [name.as_str(), value.as_ref()]) {
            context.update(&(text.len() as u64).to_le_bytes());
            context.update(text.as_bytes());
        }
        context.finish().as_ref().to_vec()
    }

    /// Whether nothing was granted.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }
}

impl Source {
    fn read(&self, environment: &impl Fn(&str) -> Option<OsString>) -> Result<String, String> {
        let value = match self {
            Source::Environment(variable) => environment(variable)
                .ok_or_else(|| format!("the environment variable {variable} is not set"))?
                .into_string()
                .map_err(|_| format!("the environment variable {variable} is not UTF-8"))?,
            Source::File(path) => read_file(path).map_err(|problem| format!("{}: {problem}", path.display()))?,
        };
        match value.len() {
            0 => Err("the value is empty".to_owned()),
            length if length > MAX_SECRET_BYTES => Err(format!("the value is longer than {MAX_SECRET_BYTES} bytes")),
            _ => Ok(value),
        }
    }
}

fn read_file(path: &Path) -> Result<String, String> {
    let file = regular_file::open(path).map_err(|error| error.to_string())?;
    let mut bytes = Vec::new();
    // Two more for the line break; if it is still too long the caller refuses it.
    file.take(MAX_SECRET_BYTES as u64 + 2).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    let mut text = String::from_utf8(bytes).map_err(|_| "is not UTF-8".to_owned())?;
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    Ok(text)
}

impl fmt::Debug for Secrets {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_tuple("Secrets").field(&self.values.keys()).finish()
    }
}

impl fmt::Debug for Granted {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_tuple("Granted").field(&self.values.keys()).finish()
    }
}

pub const MAX_SECRET_BYTES: usize = 64 << 10;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn read(sources: &[(&str, Source)]) -> Result<Secrets, Vec<String>> {
        let environment = |name: &str| (name == "TOKEN").then(|| OsString::from("from the environment\n"));
        Secrets::read(sources.iter().map(|(name, source)| (*name, source)), environment)
    }

    #[test]
    fn values_come_from_the_environment_and_from_files() {
        let folder = tempfile::tempdir().unwrap();
        for (content, expected) in [
            ("plain", "plain"),
            ("unix\n", "unix"),
            ("windows\r\n", "windows"),
            ("two\n\n", "two\n"),
            (" spaces ", " spaces "),
        ] {
            let path = folder.path().join("secret");
            std::fs::write(&path, content).unwrap();
            let secrets = read(&[("s", Source::File(path))]).unwrap();
            assert_eq!(secrets.grant(["s"]).unwrap().get("s"), Some(expected));
        }
        let secrets = read(&[("e", Source::Environment("TOKEN".into()))]).unwrap();
        let from_environment = secrets.grant(["e"]).unwrap();
        assert_eq!(from_environment.get("e"), Some("from the environment\n"), "a variable is taken as it is");
    }

    #[test]
    fn every_mistake_is_reported_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, content: &[u8]| {
            let path = folder.path().join(name);
            std::fs::write(&path, content).unwrap();
            Source::File(path)
        };
        let mistakes = read(&[
            ("a", Source::Environment("MISSING".into())),
            ("b", Source::File(folder.path().join("missing"))),
            ("c", Source::File(folder.path().to_owned())),
            ("d", file("d", b"\n")),
            ("e", file("e", &[b'x'; MAX_SECRET_BYTES + 1])),
            ("f", file("f", b"\xff\xfe")),
            ("fine", file("fine", &[b'x'; MAX_SECRET_BYTES])),
        ])
        .unwrap_err();
        let expected =
            ["MISSING is not set", "No such file", "not a regular file", "empty", "longer than", "not UTF-8"];
        assert_eq!(mistakes.len(), expected.len(), "{mistakes:?}");
        for ((mistake, part), name) in mistakes.iter().zip(expected).zip(["a", "b", "c", "d", "e", "f"]) {
            assert!(mistake.contains(part) && mistake.starts_with(&format!("secret {name:?}")), "{mistake}");
        }
    }

    #[test]
    fn only_what_is_granted_can_be_read_and_nothing_is_shown() {
        let source = Source::Environment("TOKEN".into());
        let secrets = read(&[("one", source.clone()), ("two", source)]).unwrap();
        let granted = secrets.grant(["one"]).unwrap();
        assert!(granted.get("one").is_some());
        assert_eq!(granted.get("two"), None);
        assert_eq!(secrets.grant(["one", "three"]).unwrap_err(), ["no secret is named \"three\""]);
        for shown in [format!("{secrets:?}"), format!("{granted:#?}")] {
            assert!(shown.contains("one") && !shown.contains("environment"), "{shown}");
        }
    }
}
