//! Fetched artifacts, on disk, by digest.
//!
//! ```text
//! blobs/sha256/HEX          manifests, components and payloads of signatures
//! signatures/sha256-HEX     the manifest of signatures of the artifact with this digest
//! ```
//!
//! A blob is verified against its name whenever it is read, and signatures against keys, so somebody who can write here
//! can remove plugins but not replace them. Damaged files count as absent, and are fetched again.

use std::fs;
use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::digest::{Context, SHA256};

use super::manifest::{Layer, Manifest};
use super::signature::Signature;
use super::{Error, MANIFEST_BYTES, Wanted, digest_of, named};
use crate::config::OciDigest;
use crate::regular_file;

/// The folder of the store.
#[derive(Clone, Debug)]
pub struct Store {
    folder: PathBuf,
}

/// Why a plugin cannot be taken from the store.
#[derive(Debug)]
pub enum Absent {
    /// It has to be fetched.
    Missing,
    /// It is there, but has no signature by an accepted key.
    Unsigned(String),
    /// It is there, but is not a plugin.
    NoPlugin(String),
}

/// A blob being written to the store. If it is dropped before it is complete, it leaves nothing behind.
pub struct Incoming {
    file: Option<fs::File>,
    partial: PathBuf,
    whole: PathBuf,
    context: Context,
}

impl Store {
    pub fn new(folder: PathBuf) -> Store {
        Store { folder }
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The bytes of a plugin, after all possible checks: digests, and a signature if one is needed.
    ///
    /// # Errors
    /// It must be fetched, or it may not run.
    pub fn component(&self, wanted: &Wanted) -> Result<Vec<u8>, Absent> {
        let manifest = self.read(&wanted.digest, MANIFEST_BYTES as u64).ok_or(Absent::Missing)?;
        let manifest = Manifest::parse(&manifest).map_err(Absent::NoPlugin)?;
        let layer = manifest.component().map_err(Absent::NoPlugin)?;
        if let Some(keys) = &wanted.keys {
            keys.accept(&self.signatures(&wanted.digest), &wanted.digest).map_err(Absent::Unsigned)?;
        }
        self.read(&layer.digest, layer.bytes.min(COMPONENT_BYTES)).ok_or(Absent::Missing)
    }

    /// A blob of at most this many bytes; `None` if it is missing or damaged.
    pub fn read(&self, digest: &OciDigest, limit: u64) -> Option<Vec<u8>> {
        let bytes = read_file(&self.blob(digest), limit)?;
        (digest_of(&bytes) == *digest).then_some(bytes)
    }

    /// Whether a component is completely there.
    pub fn has(&self, component: &Layer) -> bool {
        self.read(&component.digest, component.bytes.min(COMPONENT_BYTES)).is_some()
    }

    /// The stored signatures of an artifact.
    pub fn signatures(&self, artifact: &OciDigest) -> Vec<Signature> {
        let manifest = read_file(&self.signatures_of(artifact), MANIFEST_BYTES as u64);
        let manifest = manifest.and_then(|manifest| Manifest::parse(&manifest).ok());
        let layers = manifest.map(|manifest| manifest.layers).unwrap_or_default();
        let signature = |layer: &Layer| Signature::of(layer, self.read(&layer.digest, layer.bytes.min(PAYLOAD_BYTES))?);
        layers.iter().filter_map(signature).collect()
    }

    /// Begins to write a blob.
    pub fn write(&self, digest: &OciDigest) -> Result<Incoming, Error> {
        self.begin(self.blob(digest))
    }

    /// Writes a complete blob.
    pub fn put(&self, bytes: &[u8]) -> Result<(), Error> {
        let mut incoming = self.write(&digest_of(bytes))?;
        incoming.append(bytes)?;
        incoming.keep()
    }

    /// Writes the manifest of an artifact's signatures, and replaces any existing one.
    pub fn put_signatures(&self, artifact: &OciDigest, manifest: &[u8]) -> Result<(), Error> {
        let mut incoming = self.begin(self.signatures_of(artifact))?;
        incoming.append(manifest)?;
        incoming.keep()
    }

    fn begin(&self, whole: PathBuf) -> Result<Incoming, Error> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let partial = whole.with_extension(format!("{}-{number}.part", std::process::id()));
        let folder = whole.parent().unwrap_or(&self.folder);
        let made = fs::DirBuilder::new().recursive(true).mode(0o755).create(folder);
        let file = made.and_then(|()| fs::OpenOptions::new().write(true).create_new(true).open(&partial));
        let file = file.map_err(|error| Error::Store(partial.clone(), error))?;
        Ok(Incoming { file: Some(file), partial, whole, context: Context::new(&SHA256) })
    }

    /// The folders of all files.
    pub(super) fn folders(&self) -> [PathBuf; 2] {
        [self.folder.join("blobs/sha256"), self.folder.join("signatures")]
    }

    pub(super) fn blob(&self, digest: &OciDigest) -> PathBuf {
        self.folder.join("blobs/sha256").join(digest.hex())
    }

    pub(super) fn signatures_of(&self, artifact: &OciDigest) -> PathBuf {
        self.folder.join("signatures").join(format!("sha256-{}", artifact.hex()))
    }
}

impl Incoming {
    /// Appends bytes.
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.context.update(bytes);
        let Some(file) = &mut self.file else { return Ok(()) };
        file.write_all(bytes).map_err(|error| Error::Store(self.partial.clone(), error))
    }

    /// The digest of the bytes so far.
    pub fn digest(&self) -> OciDigest {
        named(&self.context.clone().finish())
    }

    /// Moves the blob to its place: it survives a crash, or is not there at all.
    pub fn keep(mut self) -> Result<(), Error> {
        let file = self.file.take();
        let synced = file.map_or(Ok(()), |file| file.sync_all());
        let kept = synced.and_then(|()| fs::rename(&self.partial, &self.whole));
        kept.map_err(|error| {
            let _ = fs::remove_file(&self.partial);
            Error::Store(self.whole.clone(), error)
        })
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if self.file.is_some() {
            let _ = fs::remove_file(&self.partial);
        }
    }
}

/// A file of at most this many bytes. It counts as absent if it cannot be read for any reason.
pub(super) fn read_file(path: &Path, limit: u64) -> Option<Vec<u8>> {
    regular_file::read(path, limit).ok()
}

/// No engine accepts a larger component.
const COMPONENT_BYTES: u64 = 64 << 20;
/// The largest payload of a signature; cosign's have some 250 bytes.
pub const PAYLOAD_BYTES: u64 = 64 << 10;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::manifest::{Target, of_component};
    use super::*;

    fn wanted(manifest: &[u8]) -> Wanted {
        let digest = digest_of(manifest);
        Wanted { reference: format!("a.test/b@{digest}").parse().unwrap(), digest, keys: None }
    }

    #[test]
    fn what_is_damaged_or_cut_or_gone_is_absent() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path().join("store"));
        let (_, manifest) = of_component(b"component", &Target { exports: Vec::new(), imports: Vec::new() });
        let wanted = wanted(&manifest);
        assert!(matches!(store.component(&wanted), Err(Absent::Missing)));
        store.put(&manifest).unwrap();
        assert!(matches!(store.component(&wanted), Err(Absent::Missing)));
        store.put(b"component").unwrap();
        assert_eq!(store.component(&wanted).unwrap(), b"component");
        let blobs = folder.path().join("store/blobs/sha256");
        for (digest, good) in [(digest_of(b"component"), &b"component"[..]), (wanted.digest.clone(), &manifest)] {
            let path = blobs.join(digest.hex());
            for bad in [&good[1..], b"", &[good, b"x"].concat(), b"<html>not found</html>"] {
                fs::write(&path, bad).unwrap();
                assert!(matches!(store.component(&wanted), Err(Absent::Missing)), "{bad:?}");
            }
            fs::write(&path, good).unwrap();
            assert_eq!(store.component(&wanted).unwrap(), b"component");
        }
    }

    #[test]
    fn a_blob_that_is_given_up_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path().to_owned());
        let mut incoming = store.write(&digest_of(b"whole")).unwrap();
        incoming.append(b"who").unwrap();
        drop(incoming);
        assert_eq!(fs::read_dir(folder.path().join("blobs/sha256")).unwrap().count(), 0);
    }
}
