//! Compiled components on disk, so that a start takes milliseconds.
//!
//! Loading machine code means trusting it: a file is used only if it carries a MAC, under a key that only this user can
//! read, over the code and the name it is stored under. The name is the digest of the component and of everything in
//! the engine that the code depends on, so another wasmtime or another CPU simply misses. Anything wrong with the cache
//! (read-only, full, damaged) costs only a compilation; what keeps it from being used at all is reported.

use std::fs;
use std::hash::{Hash, Hasher};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use aws_lc_rs::{digest, hmac, rand};
use wasmtime::component::Component;

/// A directory of compiled components.
pub struct CompileCache {
    directory: PathBuf,
    key: hmac::Key,
    engine: Vec<u8>,
}

impl CompileCache {
    /// Opens the cache, and creates its directory if necessary.
    ///
    /// # Errors
    /// The directory cannot be used; the text says why, for the operator.
    pub fn open(directory: &Path, engine: &wasmtime::Engine) -> Result<CompileCache, String> {
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(directory);
        made.map_err(|error| format!("the directory cannot be made: {error}"))?;
        let about = fs::metadata(directory).map_err(|error| format!("the directory cannot be looked at: {error}"))?;
        // Checked before anything is written: the owner of the directory can write to it, and could have made the key.
        if !is_ours(&about) {
            return Err("the directory belongs to another user".to_owned());
        }
        if about.permissions().mode() & 0o022 != 0 {
            return Err("others than its owner can write to the directory".to_owned());
        }
        let key = hmac::Key::new(hmac::HMAC_SHA256, &read_or_make_key(&directory.join("key"))?);
        let mut hasher = EngineHash(digest::Context::new(&digest::SHA256));
        engine.precompile_compatibility_hash().hash(&mut hasher);
        Ok(CompileCache { directory: directory.into(), key, engine: hasher.0.finish().as_ref().to_vec() })
    }

    /// The compiled form of a component, if it is in the cache and authentic.
    pub fn get(&self, engine: &wasmtime::Engine, component: &[u8]) -> Option<Component> {
        let name = self.name(component);
        let file = fs::read(self.directory.join(&name)).ok()?;
        let (tag, code) = file.split_at_checked(TAG_BYTES)?;
        hmac::verify(&self.key, &self.message(&name, code), tag).ok()?;
        // SAFETY: `deserialize` requires bytes that `Component::serialize` produced and nobody changed. Only `put`
        // makes the MAC that was just verified, over exactly such bytes, with a key that no other user can read.
        #[allow(unsafe_code)]
        let component = unsafe { Component::deserialize(engine, code) };
        component.ok()
    }

    /// Stores the compiled form. If that fails, only the next start is slower.
    pub fn put(&self, component: &[u8], compiled: &Component) {
        let Ok(code) = compiled.serialize() else { return };
        let name = self.name(component);
        let tag = hmac::sign(&self.key, &self.message(&name, &code));
        let temporary = self.directory.join(format!("{name}.{}.part", std::process::id()));
        let written = new_private_file(&temporary)
            .and_then(|mut file| file.write_all(tag.as_ref()).and_then(|()| file.write_all(&code)))
            .and_then(|()| fs::rename(&temporary, self.directory.join(&name)));
        if written.is_err() {
            let _ = fs::remove_file(&temporary);
        }
    }

    fn name(&self, component: &[u8]) -> String {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(&self.engine);
        context.update(component);
        format!("{}.cwasm", hex(context.finish().as_ref()))
    }

    fn message(&self, name: &str, code: &[u8]) -> Vec<u8> {
        [name.as_bytes(), digest::digest(&digest::SHA256, code).as_ref()].concat()
    }
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn read_or_make_key(path: &Path) -> Result<[u8; KEY_BYTES], String> {
    let mut key = [0; KEY_BYTES];
    rand::fill(&mut key).map_err(|_| "the system gives no random bytes".to_owned())?;
    let temporary = path.with_extension(format!("{}.part", std::process::id()));
    let written = new_private_file(&temporary).and_then(|mut file| file.write_all(&key));
    written.map_err(|error| format!("nothing can be written to the directory: {error}"))?;
    // Linking fails if the key already exists. So if several gateways start for the first time, one wins, and all of
    // them read its key.
    let _ = fs::hard_link(&temporary, path);
    let _ = fs::remove_file(&temporary);
    let unreadable = |error: std::io::Error| format!("the key in the directory cannot be read: {error}");
    let about = fs::metadata(path).map_err(unreadable)?;
    if !is_ours(&about) {
        return Err("the key in the directory belongs to another user".to_owned());
    }
    if about.permissions().mode() & 0o077 != 0 {
        return Err("others than its owner can read the key in the directory".to_owned());
    }
    fs::read(path).map_err(unreadable)?.try_into().map_err(|_| "the key in the directory is damaged".to_owned())
}

fn is_ours(about: &fs::Metadata) -> bool {
    about.uid() == rustix::process::geteuid().as_raw()
}

fn new_private_file(path: &Path) -> std::io::Result<fs::File> {
    fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)
}

/// Feeds what wasmtime hashes into SHA-256: the 64 bits of a `Hasher` would be too short to identify machine code.
struct EngineHash(digest::Context);

impl Hasher for EngineHash {
    fn finish(&self) -> u64 {
        0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }
}

const KEY_BYTES: usize = 32;
const TAG_BYTES: usize = 32;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::fs::chown;

    use super::*;

    #[test]
    fn a_directory_that_cannot_be_used_is_refused_with_the_reason() {
        let folder = tempfile::tempdir().unwrap();
        let allow = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        let [file, open, told, damaged] = ["file", "open", "told", "damaged"].map(|name| folder.path().join(name));
        fs::write(&file, "").unwrap();
        for directory in [&open, &told, &damaged] {
            fs::create_dir(directory).unwrap();
        }
        allow(&open, 0o770);
        for directory in [&told, &damaged] {
            allow(directory, 0o700);
            fs::write(directory.join("key"), "short").unwrap();
        }
        allow(&told.join("key"), 0o640);
        allow(&damaged.join("key"), 0o600);
        let engine = wasmtime::Engine::default();
        for (directory, why) in [
            (file, "the directory cannot be made: "),
            (open, "others than its owner can write to the directory"),
            (told, "others than its owner can read the key in the directory"),
            (damaged, "the key in the directory is damaged"),
        ] {
            let reason = CompileCache::open(&directory, &engine).err().unwrap();
            assert!(reason.starts_with(why), "{}: {reason}", directory.display());
        }
        assert!(CompileCache::open(&folder.path().join("new/one"), &engine).is_ok());
        // Only root can give files away, and root has the most to lose.
        let (given, nobody) = (folder.path().join("new/one"), Some(65_534));
        if chown(given.join("key"), nobody, None).is_ok() {
            let reason = CompileCache::open(&given, &engine).err().unwrap();
            assert_eq!(reason, "the key in the directory belongs to another user");
            chown(&given, nobody, None).unwrap();
            assert_eq!(CompileCache::open(&given, &engine).err().unwrap(), "the directory belongs to another user");
        }
    }
}
