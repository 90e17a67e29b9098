//! Removes from a store what nobody needs: artifacts that nothing names any more, and parts of blobs whose fetch was
//! interrupted.
//!
//! Only files with the names that the store itself gives are considered, and only those not written for a while: a
//! gateway may be fetching what its next configuration names.

use std::collections::BTreeSet;
use std::fs::{self, DirEntry, Metadata};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use super::manifest::Manifest;
use super::store::{Store, read_file};
use super::{Error, MANIFEST_BYTES};
use crate::config::OciDigest;

/// The removed files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    pub files: usize,
    pub bytes: u64,
}

impl Store {
    /// Removes files that none of these artifacts needs and that were not written for a day.
    ///
    /// # Errors
    /// A file cannot be removed. Those before it have been.
    pub fn prune(&self, artifacts: &BTreeSet<OciDigest>, now: SystemTime) -> Result<Pruned, Error> {
        let needed: BTreeSet<PathBuf> = artifacts.iter().flat_map(|artifact| self.files_of(artifact)).collect();
        let mut pruned = self.sweep(now)?;
        for (entry, metadata) in self.files() {
            let path = entry.path();
            if is_name(&entry) && !needed.contains(&path) && is_older(&metadata, KEPT, now) {
                remove(path, &metadata, &mut pruned)?;
            }
        }
        Ok(pruned)
    }

    /// Removes the parts of blobs of abandoned fetches: they are older than any fetch takes.
    ///
    /// # Errors
    /// As with `prune`.
    pub fn sweep(&self, now: SystemTime) -> Result<Pruned, Error> {
        let mut pruned = Pruned::default();
        for (entry, metadata) in self.files() {
            let path = entry.path();
            if path.extension().is_some_and(|extension| extension == "part") && is_older(&metadata, LONGEST_FETCH, now)
            {
                remove(path, &metadata, &mut pruned)?;
            }
        }
        Ok(pruned)
    }

    /// The files of an artifact and its signatures.
    fn files_of(&self, artifact: &OciDigest) -> Vec<PathBuf> {
        let signatures = self.signatures_of(artifact);
        let manifests = [self.read(artifact, MANIFEST_BYTES as u64), read_file(&signatures, MANIFEST_BYTES as u64)];
        let manifests = manifests.into_iter().flatten().filter_map(|bytes| Manifest::parse(&bytes).ok());
        let layers: Vec<PathBuf> =
            manifests.flat_map(|manifest| manifest.layers).map(|layer| self.blob(&layer.digest)).collect();
        layers.into_iter().chain([self.blob(artifact), signatures]).collect()
    }

    /// Every file; a missing folder has none.
    fn files(&self) -> impl Iterator<Item = (DirEntry, Metadata)> {
        let folders = self.folders().into_iter().filter_map(|folder| fs::read_dir(folder).ok()).flatten();
        let files = folders.filter_map(|entry| entry.and_then(|entry| Ok((entry.metadata()?, entry))).ok());
        files.filter(|(metadata, _)| metadata.is_file()).map(|(metadata, entry)| (entry, metadata))
    }
}

/// Whether the name is one that the store gives: a digest in hexadecimal, for signatures preceded by its algorithm.
fn is_name(entry: &DirEntry) -> bool {
    let name = entry.file_name();
    let hex = name.to_str().map(|name| name.strip_prefix("sha256-").unwrap_or(name));
    hex.is_some_and(|hex| hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// Nothing is old if the clock was set back.
fn is_older(metadata: &Metadata, time: Duration, now: SystemTime) -> bool {
    metadata.modified().is_ok_and(|written| now.duration_since(written).is_ok_and(|since| since > time))
}

fn remove(path: PathBuf, metadata: &Metadata, pruned: &mut Pruned) -> Result<(), Error> {
    match fs::remove_file(&path) {
        Ok(()) => {
            pruned.files += 1;
            pruned.bytes += metadata.len();
            Ok(())
        }
        // Another process was faster.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Error::Store(path, error)),
    }
}

/// How long unnamed files are kept: for a rollback, and for a gateway that is about to name them.
const KEPT: Duration = Duration::from_secs(24 * 3600);
/// The maximum of `registries.timeout`.
const LONGEST_FETCH: Duration = Duration::from_secs(3600);
