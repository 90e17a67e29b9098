//! The lock file: the digests of tags. A tag moves whenever somebody pushes; the running version only moves when the
//! operator says so.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::config::{OciDigest, OciReference};
use crate::regular_file;

/// Digests by reference.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lock {
    plugins: BTreeMap<String, OciDigest>,
}

impl Lock {
    /// The path of a configuration's lock file: beside it, `gateway.lock` for gateway.json.
    pub fn path_of(config: &Path) -> PathBuf {
        config.with_extension("lock")
    }

    /// Reads the file; without one, nothing is locked.
    ///
    /// # Errors
    /// It exists but cannot be read.
    pub fn read(path: &Path) -> Result<Lock, String> {
        match std::fs::read(path) {
            Ok(text) => Lock::parse(&text).map_err(|reason| format!("{}: {reason}", path.display())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Lock::default()),
            Err(error) => Err(format!("{} cannot be read: {error}", path.display())),
        }
    }

    fn parse(text: &[u8]) -> Result<Lock, String> {
        let value: Value = serde_json::from_slice(text).map_err(|error| format!("it is no JSON: {error}"))?;
        if value.get("version").and_then(Value::as_u64) != Some(VERSION) {
            return Err(format!("it has another version than {VERSION}"));
        }
        let plugins = value.get("plugins").and_then(Value::as_object).ok_or("it has no \"plugins\"")?;
        let digest = |(reference, digest): (&String, &Value)| {
            let digest = digest.as_str().unwrap_or_default().parse::<OciDigest>();
            Ok((reference.clone(), digest.map_err(|reason| format!("{reference}: {reason}"))?))
        };
        Ok(Lock { plugins: plugins.iter().map(digest).collect::<Result<_, String>>()? })
    }

    /// The digest of a reference; `None` if it is not locked.
    pub fn digest(&self, reference: &OciReference) -> Option<&OciDigest> {
        self.plugins.get(&reference.to_string())
    }

    /// All locked digests.
    pub fn digests(&self) -> impl Iterator<Item = &OciDigest> {
        self.plugins.values()
    }

    pub fn insert(&mut self, reference: &OciReference, digest: OciDigest) {
        self.plugins.insert(reference.to_string(), digest);
    }

    /// Writes the file, completely or not at all.
    pub fn write(&self, path: &Path) -> std::io::Result<()> {
        let plugins: serde_json::Map<String, Value> =
            self.plugins.iter().map(|(reference, digest)| (reference.clone(), digest.to_string().into())).collect();
        let value = json!({ "version": VERSION, "plugins": plugins });
        let text = serde_json::to_string_pretty(&value).unwrap_or_default() + "\n";
        regular_file::replace(path, text.as_bytes())
    }
}

const VERSION: u64 = 1;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_is_locked_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = Lock::path_of(&folder.path().join("gateway.json"));
        assert_eq!(path.file_name().unwrap(), "gateway.lock");
        assert_eq!(Lock::read(&path), Ok(Lock::default()));
        let (reference, other) = ("a.test/b:1".parse().unwrap(), "a.test/b:2".parse().unwrap());
        let digest = super::super::digest_of(b"x");
        let mut lock = Lock::default();
        lock.insert(&reference, digest.clone());
        lock.write(&path).unwrap();
        let read = Lock::read(&path).unwrap();
        assert_eq!((read.digest(&reference), read.digest(&other)), (Some(&digest), None));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_is_no_lock_file() {
        for (text, words) in [
            ("", "no JSON"),
            ("{}", "version"),
            (r#"{ "version": 2, "plugins": {} }"#, "version"),
            (r#"{ "version": 1 }"#, "plugins"),
            (r#"{ "version": 1, "plugins": { "a.test/b:1": "latest" } }"#, "a.test/b:1"),
        ] {
            let reason = Lock::parse(text.as_bytes()).unwrap_err();
            assert!(reason.contains(words), "{text}: {reason}");
        }
    }
}
