//! A temporary folder for a command.

use std::path::PathBuf;

use super::{Error, toolchain};

/// The folder is deleted on drop.
pub struct Scratch {
    pub path: PathBuf,
}

impl Scratch {
    /// Creates a folder that did not exist before, so nobody else has put anything into it. `purpose` is a part of its
    /// name.
    ///
    /// # Errors
    /// The folder for temporary files cannot be written to.
    pub fn new(purpose: &str) -> Result<Scratch, Error> {
        let name = format!("gatewright-{purpose}-{}-{:016x}", std::process::id(), fastrand::u64(..));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).map_err(|error| toolchain::unusable(&path, &error))?;
        Ok(Scratch { path })
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}
